//! Pools of clusters with `maxConnections`: one for all workers, so that the limit is exact, and a queue of requests
//! that wait for a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leeboard_policy::endpoints::EndpointId;
use leeboard_policy::fairness::{PendingQueue, Ticket};
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
    pending: PendingQueue<oneshot::Sender<()>>,
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
        if state.pending.is_open() { state.idle.take(request, request.full(), false) } else { None }
    }

    /// A connection, the right to make one, or a wait in the queue for either; and whether it was there before.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        request: &ConnectionRequest<'_>,
        counters: &dyn Fn() -> PoolCounters,
    ) -> Result<(Connection, bool), ConnectError> {
        let mut pending: Option<Pending> = None;
        loop {
            match self.look(request, pending.as_mut()) {
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
                Look::Wait => match &mut pending {
                    None => pending = Some(self.queue(request)?),
                    Some(pending) => pending.wait().await,
                },
            }
        }
    }

    /// Nobody passes those who wait: a newcomer looks only when the queue is empty.
    fn look(&self, request: &ConnectionRequest<'_>, pending: Option<&mut Pending>) -> Look {
        let mut state = self.lock();
        match pending {
            Some(pending) if !pending.called => return Look::Wait,
            Some(pending) => {
                pending.called = false;
                state.pending.looked();
            }
            None if state.pending.is_open() => {}
            None => {
                request.cluster.counts.turned_away(Limit::Connections);
                return Look::Wait;
            }
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

    /// A place in the queue, if `http1MaxPendingRequests` has one left.
    fn queue(self: &Arc<Self>, request: &ConnectionRequest<'_>) -> Result<Pending, ConnectError> {
        let overflow = || ConnectError { failure: Failure::Overflow, words: "overflow".into() };
        let slot = request.cluster.take(Limit::Pending).ok_or_else(overflow)?;
        let (sender, call) = oneshot::channel();
        let ticket = self.lock().pending.join(sender);
        Ok(Pending { pool: self.clone(), ticket, call, called: false, _slot: slot })
    }

    /// Lets the first in the queue look again: something has become free.
    pub(super) fn call_next(&self) {
        self.lock().call_next();
    }

    fn call_all(&self) {
        let mut state = self.lock();
        while state.call_next() {}
    }

    /// Keeps a connection, and lets the first in the queue look.
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

    /// Closes what leads to an endpoint that is set aside, and lets the first in the queue have a place that this frees.
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
        while let Some(call) = self.pending.call() {
            if call.send(()).is_ok() {
                return true;
            }
            self.pending.looked();
        }
        false
    }
}

/// The right to make a connection, while it is being made. Dropping it gives the next in the queue their chance.
struct Reservation<'p>(&'p SharedPool);

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.0.call_next();
    }
}

/// A place in the queue. Dropping it leaves the queue, and passes on a call that was not followed.
struct Pending {
    pool: Arc<SharedPool>,
    ticket: Ticket,
    call: oneshot::Receiver<()>,
    called: bool,
    _slot: Slot,
}

impl Pending {
    /// Waits to be called. Someone called in vain goes to the head of the queue.
    async fn wait(&mut self) {
        if self.call.is_terminated() {
            let (sender, call) = oneshot::channel();
            self.call = call;
            self.pool.lock().pending.rejoin(self.ticket, sender);
        }
        self.called = (&mut self.call).await.is_ok();
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.pending.leave(self.ticket);
        let unheard = !self.called && self.call.try_recv().is_ok();
        if self.called || unheard {
            state.pending.looked();
            state.call_next();
        }
    }
}
