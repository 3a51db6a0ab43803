//! Pools of clusters with `maxConnections`: one for all workers, so that the limit is exact, and a queue of requests
//! that wait for a connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leeboard_policy::endpoints::EndpointId;
use leeboard_policy::limits::{Limit, Slot};
use leeboard_policy::time::Time;
use leeboard_policy::verdict::Failure;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::oneshot;

use super::connect::make;
use super::connection::Connection;
use super::connection_request::{ConnectError, ConnectionRequest};
use super::idle::IdleConnections;
use crate::telemetry::worker::PoolCounters;

/// The shared pools, by cluster.
#[derive(Debug, Default)]
pub(crate) struct SharedPools(Mutex<FxHashMap<Arc<str>, Arc<SharedPool>>>);

impl SharedPools {
    /// A cluster's pool.
    pub(super) fn of(&self, cluster: &Arc<str>) -> Arc<SharedPool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.entry(cluster.clone()).or_default().clone()
    }
}

/// One cluster's connections.
#[derive(Debug, Default)]
pub(crate) struct SharedPool(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    idle: IdleConnections,
    /// Who waits, in order of arrival.
    line: VecDeque<(u64, oneshot::Sender<()>)>,
    next_number: u64,
    /// How many have been called and have not looked yet.
    called: usize,
}

/// What a look at the pool gave.
enum Look {
    Ready(Connection),
    Connect(Slot),
    Wait,
}

impl SharedPool {
    /// A connection that is there already. Nobody passes those who wait.
    pub(super) fn idle(&self, request: &ConnectionRequest<'_>) -> Option<Connection> {
        let mut state = self.lock();
        if !state.line.is_empty() || state.called > 0 {
            return None;
        }
        state.idle.take(request, request.full(), false)
    }

    /// A connection, the right to make one, or a wait in line for either; and whether it was there before.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        request: &ConnectionRequest<'_>,
        counters: &dyn Fn() -> PoolCounters,
    ) -> Result<(Connection, bool), ConnectError> {
        let mut ticket: Option<Ticket> = None;
        loop {
            match self.look(request, ticket.as_mut()) {
                Look::Ready(connection) => return Ok((connection, true)),
                Look::Connect(place) => {
                    let reservation = Reservation(self);
                    let entered = request.enter(|| self.lock().idle.evict())?;
                    let (connection, many) = make(request, (entered, Some(place)), counters).await?;
                    std::mem::forget(reservation);
                    if let Some(many) = many {
                        self.lock().idle.put_http2(request.endpoint.id(), &many);
                        self.call_all();
                    }
                    return Ok((connection, false));
                }
                Look::Wait => match &mut ticket {
                    None => ticket = Some(self.queue(request)?),
                    Some(ticket) => ticket.wait().await,
                },
            }
        }
    }

    /// Nobody passes those who wait: a newcomer looks only when the line is empty.
    fn look(&self, request: &ConnectionRequest<'_>, ticket: Option<&mut Ticket>) -> Look {
        let mut state = self.lock();
        match ticket {
            Some(ticket) if !ticket.called => return Look::Wait,
            Some(ticket) => {
                ticket.called = false;
                state.called -= 1;
            }
            None if state.line.is_empty() && state.called == 0 => {}
            None => return Look::Wait,
        }
        if !request.fresh
            && let Some(connection) = state.idle.take(request, request.full(), false)
        {
            return Look::Ready(connection);
        }
        if request.full() {
            state.idle.evict();
        }
        match request.cluster.take(Limit::Connections) {
            Some(place) => Look::Connect(place),
            None => Look::Wait,
        }
    }

    /// A place in line, if `http1MaxPendingRequests` has one left.
    fn queue(self: &Arc<Self>, request: &ConnectionRequest<'_>) -> Result<Ticket, ConnectError> {
        let overflow = || ConnectError { failure: Failure::Overflow, words: "overflow".into() };
        let pending = request.cluster.take(Limit::Pending).ok_or_else(overflow)?;
        let mut state = self.lock();
        let number = state.next_number;
        state.next_number += 1;
        let (sender, call) = oneshot::channel();
        state.line.push_back((number, sender));
        Ok(Ticket { pool: self.clone(), number, call, called: false, _pending: pending })
    }

    /// Lets the first in line look again: something has become free.
    pub(super) fn call_next(&self) {
        self.lock().call_next();
    }

    fn call_all(&self) {
        let mut state = self.lock();
        while state.call_next() {}
    }

    /// Keeps a connection, and lets the first in line look.
    pub(super) fn put_http1(&self, endpoint: EndpointId, connection: Connection) {
        let mut state = self.lock();
        state.idle.put_http1(endpoint, connection);
        state.call_next();
    }

    pub(super) fn sweep(&self, now: Time, wanted: &FxHashSet<EndpointId>, ejected: &FxHashSet<EndpointId>) {
        let mut state = self.lock();
        state.idle.sweep(now, wanted, ejected);
        state.call_next();
    }

    /// Closes what leads to an endpoint that is set aside, and lets the first in line have a place that this frees.
    pub(super) fn part_from(&self, endpoint: EndpointId) {
        let mut state = self.lock();
        state.idle.part_from(endpoint);
        state.call_next();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn call_next(&mut self) -> bool {
        while let Some((_, call)) = self.line.pop_front() {
            if call.send(()).is_ok() {
                self.called += 1;
                return true;
            }
        }
        false
    }
}

/// The right to make a connection, while it is being made. Dropping it gives the next in line their chance.
struct Reservation<'p>(&'p SharedPool);

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.0.call_next();
    }
}

/// A place in line. Dropping it leaves the line, and passes on a call that was not followed.
struct Ticket {
    pool: Arc<SharedPool>,
    number: u64,
    call: oneshot::Receiver<()>,
    called: bool,
    _pending: Slot,
}

impl Ticket {
    /// Waits to be called. Someone called in vain goes to the head of the line.
    async fn wait(&mut self) {
        if self.call.is_terminated() {
            let (sender, call) = oneshot::channel();
            self.call = call;
            self.pool.lock().line.push_front((self.number, sender));
        }
        self.called = (&mut self.call).await.is_ok();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.line.retain(|(number, _)| *number != self.number);
        let unheard = !self.called && self.call.try_recv().is_ok();
        if self.called || unheard {
            state.called -= 1;
            state.call_next();
        }
    }
}
