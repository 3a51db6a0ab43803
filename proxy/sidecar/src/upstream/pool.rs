//! A worker's connections to endpoints, and the way to one of them for a request.
//!
//! A cluster without `maxConnections` has connections of its own in each worker, and no lock is taken on the way to one.
//! A cluster with it has one set for all workers, in [`super::shared`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use leeboard_policy::cluster::{Address, Connection as Settings};
use leeboard_policy::endpoints::{Endpoint, EndpointId};
use leeboard_policy::limits::Slot;
use leeboard_policy::live::LiveCluster;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

use super::connect::{ConnectError, Sender, connect};
use super::http2::Share;
use super::room::{Allowance, Entered, Room, Taken};
use super::shared::{SharedPool, SharedPools};
use super::shelf::{Connection, Held, Many, Shelf, Wire};
use super::socket::Metered;
use super::upload::UpBody;
use crate::discovery::doubts::Doubts;
use crate::drain::Side;
use crate::exchange::departure::Departure;
use crate::fields::Fields;
use crate::http1::hints::Hints;
use crate::http1::read::{Response, Rules};
use crate::http2::MAX_STREAMS;
use crate::lane::Lane;
use crate::run::here::Here;
use crate::telemetry::WorkerTelemetry;
use crate::telemetry::worker::PoolCounters;

/// What a connection is wanted for.
pub(crate) struct Ask<'a> {
    /// The cluster.
    pub(crate) cluster: &'a LiveCluster,
    /// Its connection settings.
    pub(crate) settings: &'a Settings,
    /// The endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// HTTP/2 rather than HTTP/1.1.
    pub(crate) http2: bool,
    /// The bare connection, to carry a caller's own bytes. Never kept, so asked for with `fresh`.
    pub(crate) bare: bool,
    /// Only a new connection will do.
    pub(crate) fresh: bool,
    /// The endpoint is in no list: it is where the caller was going anyway.
    pub(crate) passing: bool,
    /// What the endpoint's heads may be.
    pub(crate) heads: Rules,
    /// How many connections may be open, and how many more may be in use for this caller.
    pub(crate) room: &'a Arc<Room>,
    pub(crate) allowance: Option<&'a Rc<Allowance>>,
    /// Where nothing may be sent to, and from which side this is sent.
    pub(crate) here: (&'a Here, Side),
    /// Now.
    pub(crate) now: Time,
    /// Which worker asks.
    pub(crate) worker: usize,
}

impl Ask<'_> {
    /// The endpoint's address, unless the caller has made it up.
    fn known_address(&self) -> Option<&Address> {
        Some(self.endpoint.address()).filter(|_| !self.passing)
    }

    /// What its caller may use of connections that carry one request at a time.
    fn allowance(&self) -> Option<&Rc<Allowance>> {
        self.allowance.filter(|_| !self.http2)
    }

    /// A place for a new connection. When there is none, one is made of a connection that nobody uses.
    pub(super) fn enter(&self, evict: impl FnOnce() -> bool) -> Result<Entered, ConnectError> {
        let entered = self.room.enter().or_else(|| if evict() { self.room.enter() } else { None });
        entered.ok_or_else(|| overflow("max-endpoint-connections"))
    }
}

fn overflow(limit: &str) -> ConnectError {
    ConnectError { failure: Failure::Overflow, words: limit.into() }
}

/// No answer before an answer, but one of its own, and not HTTP/2's.
const SWITCHING: u16 = 101;
/// The longest body that is read for nothing.
const DRAINED: u64 = 16 * 1024;
/// And the longest time that it may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A worker's connections.
pub(crate) struct Pool {
    shelf: Rc<RefCell<Shelf>>,
    /// Who waits for an HTTP/2 connection that is being made.
    joining: RefCell<FxHashMap<EndpointId, Rc<Notify>>>,
    counters: RefCell<FxHashMap<EndpointId, PoolCounters>>,
    shared: Arc<SharedPools>,
    doubts: Doubts,
    known_shared: RefCell<FxHashMap<usize, Arc<SharedPool>>>,
}

impl Pool {
    /// An empty pool that shares what must be shared.
    pub(crate) fn new(shared: Arc<SharedPools>, doubts: Doubts) -> Self {
        Self {
            shelf: Rc::default(),
            joining: RefCell::default(),
            counters: RefCell::default(),
            shared,
            doubts,
            known_shared: RefCell::default(),
        }
    }

    /// A connection that is there already.
    pub(crate) fn idle(&self, ask: &Ask<'_>) -> Option<Lease> {
        if ask.fresh || ask.allowance().is_some_and(|allowance| allowance.is_full()) {
            return None;
        }
        if ask.cluster.limits().connections.is_some() {
            return self.shared_pool(ask.cluster).idle(ask);
        }
        let connection = self.shelf.borrow_mut().take(ask, true)?;
        Some(Lease::new(connection, ask, Home::Worker(self.shelf.clone()), true))
    }

    /// A connection for one request.
    pub(crate) async fn acquire(&self, ask: &Ask<'_>, telemetry: &WorkerTelemetry) -> Result<Lease, ConnectError> {
        let counters = || self.counters(ask, telemetry);
        let lease = if ask.allowance().is_some_and(|allowance| allowance.is_full()) {
            Err(overflow("max-caller-endpoint-connections"))
        } else if ask.cluster.limits().connections.is_some() {
            self.shared_pool(ask.cluster).acquire(ask, &counters).await
        } else if ask.http2 {
            self.acquire_stream(ask, &counters).await
        } else {
            self.acquire_one(ask, &counters).await
        };
        match &lease {
            Ok(lease) if !lease.reused => ask.endpoint.reached(ask.now),
            Ok(_) => {}
            Err(error) => {
                let address = ask.endpoint.address();
                let limit = (error.failure == Failure::Overflow).then_some(&*error.words);
                let cause = limit.unwrap_or(error.failure.reason());
                telemetry.connection_failed(&ask.cluster.name, ask.known_address(), cause);
                match (error.failure.is_connect(), ask.passing) {
                    (true, false) => self.doubts.unreachable(ask.cluster, ask.endpoint),
                    (true, true) => self.doubts.unreachable_anyway(address),
                    (false, _) => {}
                }
            }
        }
        lease
    }

    async fn acquire_one(&self, ask: &Ask<'_>, counters: &dyn Fn() -> PoolCounters) -> Result<Lease, ConnectError> {
        let kept = if ask.fresh { None } else { self.shelf.borrow_mut().take_one(ask, true) };
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let entered = ask.enter(|| self.shelf.borrow_mut().evict())?;
                make(ask, (entered, None), counters).await?.0
            }
        };
        Ok(Lease::new(connection, ask, Home::Worker(self.shelf.clone()), reused))
    }

    /// Streams share connections: whoever comes while one is being made waits for that one.
    async fn acquire_stream(&self, ask: &Ask<'_>, counters: &dyn Fn() -> PoolCounters) -> Result<Lease, ConnectError> {
        let endpoint = ask.endpoint.id();
        let home = || Home::Worker(self.shelf.clone());
        loop {
            if !ask.fresh
                && let Some(share) = self.shelf.borrow_mut().take_stream(endpoint, ask.settings.max_requests, ask.now)
            {
                return Ok(Lease::new(stream_of(share, ask.now), ask, home(), true));
            }
            let arriving = self.joining.borrow().get(&endpoint).cloned();
            match arriving {
                Some(arrival) if !ask.fresh => arrival.notified().await,
                _ => break,
            }
        }
        let entered = ask.enter(|| self.shelf.borrow_mut().evict())?;
        let _joining = Joining::begin(self, endpoint);
        let (connection, many) = make(ask, (entered, None), counters).await?;
        if let Some(many) = many {
            self.shelf.borrow_mut().put_many(endpoint, &many);
        }
        Ok(Lease::new(connection, ask, home(), false))
    }

    fn shared_pool(&self, cluster: &LiveCluster) -> Arc<SharedPool> {
        let key = Arc::as_ptr(&cluster.counts).addr();
        if let Some(pool) = self.known_shared.borrow().get(&key) {
            return pool.clone();
        }
        let pool = self.shared.of(&cluster.name);
        self.known_shared.borrow_mut().insert(key, pool.clone());
        pool
    }

    fn counters(&self, ask: &Ask<'_>, telemetry: &WorkerTelemetry) -> PoolCounters {
        let mut counters = self.counters.borrow_mut();
        let new = || telemetry.pool(&ask.cluster.name, ask.known_address());
        counters.entry(ask.endpoint.id()).or_insert_with(new).clone()
    }

    /// Closes what leads to an endpoint that has just been set aside. Other workers follow with their next sweep.
    pub(crate) fn part_from(&self, cluster: &Arc<str>, endpoint: EndpointId) {
        self.shelf.borrow_mut().part_from(endpoint);
        self.shared.of(cluster).part_from(endpoint);
    }

    /// Closes what has waited too long, or leads to an endpoint that is not wanted any more or is set aside.
    pub(crate) fn sweep(&self, now: Time, wanted: &FxHashSet<EndpointId>, ejected: &FxHashSet<EndpointId>) {
        self.shelf.borrow_mut().sweep(now, wanted, ejected);
        self.counters.borrow_mut().retain(|endpoint, _| wanted.contains(endpoint));
        self.known_shared.borrow().values().for_each(|pool| pool.sweep(now, wanted, ejected));
    }
}

/// Lets others wait for an HTTP/2 connection; dropping it tells them to look again.
struct Joining<'p> {
    pool: &'p Pool,
    endpoint: EndpointId,
}

impl<'p> Joining<'p> {
    fn begin(pool: &'p Pool, endpoint: EndpointId) -> Self {
        pool.joining.borrow_mut().entry(endpoint).or_default();
        Self { pool, endpoint }
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if let Some(arrival) = self.pool.joining.borrow_mut().remove(&self.endpoint) {
            arrival.notify_waiters();
        }
    }
}

/// Makes a connection; an HTTP/2 one comes with the handle that others find it by.
pub(super) async fn make(
    ask: &Ask<'_>,
    (entered, place): (Entered, Option<Slot>),
    counters: &dyn Fn() -> PoolCounters,
) -> Result<(Connection, Option<Arc<Many>>), ConnectError> {
    let (here, side) = ask.here;
    if let Address::Socket(address) = ask.endpoint.address()
        && here.leads_back(side, *address)
    {
        let words = "the request was addressed to this proxy itself".into();
        return Err(ConnectError { failure: Failure::ConnectRefused, words });
    }
    let (sender, meter) = connect(ask.endpoint.address(), ask.settings, ask.http2, ask.bare, ask.heads).await?;
    let held = Held { _place: place, _entered: entered, _counted: counters().opened() };
    let old_at = ask.settings.max_age.map(|age| ask.now + age);
    let alone = |wire, held| Connection {
        wire,
        meter: meter.clone(),
        served: 0,
        idle_since: ask.now,
        keep: ask.settings.idle_timeout,
        old_at,
        _held: Some(held),
        passing: ask.passing,
        worker: ask.worker,
    };
    match sender {
        Sender::Bare(socket) => Ok((alone(Wire::Bare(Some(socket)), held), None)),
        Sender::One(sender) => Ok((alone(Wire::One(sender), held), None)),
        Sender::Many(sender, allowed) => {
            let many = Arc::new(Many {
                sender: sender.clone(),
                meter,
                active: AtomicU32::new(1),
                served: AtomicU32::new(1),
                allowed,
                most: ask.settings.max_streams.unwrap_or(MAX_STREAMS),
                spent: AtomicBool::new(ask.settings.max_requests == Some(1)),
                keep: ask.settings.idle_timeout,
                old_at,
                quiet: Default::default(),
                passing: ask.passing,
                _held: held,
            });
            Ok((stream_of(Share::new(many.clone(), sender), ask.now), Some(many)))
        }
    }
}

/// One stream's part in a connection; its place among the streams has been taken.
pub(super) fn stream_of(share: Share, now: Time) -> Connection {
    let meter = share.many().meter.clone();
    let wire = Wire::Many(Box::new(share));
    Connection {
        wire,
        meter,
        served: 0,
        idle_since: now,
        keep: None,
        old_at: None,
        _held: None,
        passing: false,
        worker: 0,
    }
}

/// Where a connection goes back to.
pub(super) enum Home {
    /// This worker's own.
    Worker(Rc<RefCell<Shelf>>),
    /// The cluster's, for all workers.
    Cluster(Arc<SharedPool>),
}

/// A connection, for as long as one request uses it. Dropping it closes an HTTP/1 connection and frees a stream.
pub(crate) struct Lease {
    connection: Option<Connection>,
    endpoint: EndpointId,
    /// `None` once it has been given back.
    home: Option<Home>,
    max_requests: Option<u32>,
    written_before: u64,
    /// What it takes of what its caller may use.
    _taken: Option<Taken>,
    /// Whether the connection has served a request before.
    pub(crate) reused: bool,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
}

/// Why a request was not answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotAnswered {
    /// What went wrong.
    pub(crate) failure: Failure,
    /// Whether none of it was handed to the connection.
    pub(crate) unsent: bool,
}

impl Lease {
    pub(super) fn new(connection: Connection, ask: &Ask<'_>, home: Home, reused: bool) -> Self {
        Self {
            written_before: connection.meter.written(),
            connection: Some(connection),
            endpoint: ask.endpoint.id(),
            home: Some(home),
            max_requests: ask.settings.max_requests,
            _taken: ask.allowance().map(Allowance::take),
            reused,
        }
    }

    /// Sends a request and waits for the head of its response. `hints` takes what an endpoint says before that.
    pub(crate) async fn send(
        &mut self,
        request: &Departure<'_>,
        body: UpBody,
        hints: Option<&Hints>,
    ) -> Result<Arrived, NotAnswered> {
        let Some(connection) = &mut self.connection else { unreachable!("a lease has its connection until it ends") };
        connection.served += 1;
        let mut interim = |status, fields| {
            // Leave to go on is for those who have asked for it.
            let passes = status != SWITCHING && (status != 100 || request.expects);
            if let Some(hints) = hints.filter(|_| passes) {
                hints.pass_on(status, fields);
            }
        };
        match &mut connection.wire {
            Wire::One(one) => {
                one.begin(body, request.manner(), |out| request.write(out));
                let mut posted = one.post();
                let mut interim = |response: Response| interim(response.status, response.fields);
                let answered = poll_fn(|cx| one.poll_head(cx, &mut interim)).await;
                if posted.as_mut().is_some_and(|posted| posted.take_back().is_some()) {
                    one.not_sent();
                }
                let response = answered.map_err(|failure| NotAnswered { failure, unsent: false })?;
                Ok(Arrived { status: response.status, fields: response.fields })
            }
            Wire::Many(stream) => {
                let head = request.http2(body.size_hint().exact());
                let head = head.map_err(|_| NotAnswered { failure: Failure::Protocol, unsent: true })?;
                stream.begin(head, body)?;
                poll_fn(|cx| stream.poll_head(cx, &mut interim)).await
            }
            Wire::Bare(_) => unreachable!("a bare connection is asked for when there is no request to send"),
        }
    }

    /// The next frame of the response.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self.connection.as_mut().map(|connection| &mut connection.wire) {
            Some(Wire::One(one)) => one.poll_frame(cx),
            Some(Wire::Many(stream)) => stream.poll_frame(cx),
            Some(Wire::Bare(_)) | None => Poll::Ready(None),
        }
    }

    /// Takes in what has come of the response although nobody wants it yet, where it would stand in the way of others.
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) {
        if let Some(Wire::Many(stream)) = self.connection.as_mut().map(|connection| &mut connection.wire) {
            stream.gather(cx);
        }
    }

    /// How much has been taken in.
    pub(crate) fn gathered(&self) -> usize {
        match self.connection.as_ref().map(|connection| &connection.wire) {
            Some(Wire::Many(stream)) => stream.gathered(),
            _ => 0,
        }
    }

    /// Sends what can be sent of the request, while nobody asks for the response. Over HTTP/2 it goes up by itself.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Some(Wire::One(one)) = self.connection.as_mut().map(|connection| &mut connection.wire) {
            one.poll_upload(cx);
        }
    }

    /// Whether the response is over.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self.connection.as_ref().map(|connection| &connection.wire) {
            Some(Wire::One(one)) => one.is_end_stream(),
            Some(Wire::Many(stream)) => stream.is_end_stream(),
            Some(Wire::Bare(_)) | None => true,
        }
    }

    /// How long the rest of the response's body is, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.connection.as_ref().map(|connection| &connection.wire) {
            Some(Wire::One(one)) => one.left(),
            Some(Wire::Many(stream)) => stream.left(),
            Some(Wire::Bare(_)) | None => Some(0),
        }
    }

    /// The connection itself, once, and what has been read from it: it leaves HTTP, or never was. The lease still holds its
    /// place.
    pub(crate) fn take_socket(&mut self) -> Option<(Metered, Bytes)> {
        match std::mem::replace(&mut self.connection.as_mut()?.wire, Wire::Bare(None)) {
            Wire::Bare(socket) => Some((socket?, Bytes::new())),
            Wire::One(one) => Some(one.into_socket()),
            Wire::Many(_) => None,
        }
    }

    /// Whether the connection never was HTTP.
    pub(crate) fn is_bare(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| matches!(connection.wire, Wire::Bare(_)))
    }

    /// Whether anything has been handed to the kernel on this connection since it was leased.
    pub(crate) fn written(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.meter.written() > self.written_before)
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<std::net::SocketAddr> {
        self.connection.as_ref()?.meter.local()
    }

    /// Reads what is left of a response that is not passed on, so that the connection can be kept. A long one is not worth it.
    pub(crate) fn drain(mut self, lane: &Rc<Lane>) {
        if self.is_end_stream() {
            return self.give_back(lane.clock.now(), None);
        }
        if self.left().is_none_or(|left| left > DRAINED) {
            return;
        }
        let lane = lane.clone();
        tokio::task::spawn_local(async move {
            let rest = async { while let Some(Ok(_)) = poll_fn(|cx| self.poll_frame(cx)).await {} };
            if tokio::time::timeout(DRAIN_TIME, rest).await.is_ok() && self.is_end_stream() {
                self.give_back(lane.clock.now(), None);
            }
        });
    }

    /// Keeps the connection for another request. `peer_keeps` is how long the peer says that it waits.
    pub(crate) fn give_back(mut self, now: Time, peer_keeps: Option<Span>) {
        let Some(mut connection) = self.connection.take() else { return };
        let spent = self.max_requests.is_some_and(|most| connection.served >= most);
        let Wire::One(one) = &mut connection.wire else { return };
        if one.rest() && !spent {
            connection.idle_since = now;
            connection.keep = [connection.keep, peer_keeps].into_iter().flatten().min();
            match self.home.take() {
                Some(Home::Worker(shelf)) => shelf.borrow_mut().put_one(self.endpoint, connection),
                Some(Home::Cluster(pool)) => pool.put_one(self.endpoint, connection),
                None => {}
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.connection.take());
        if let Some(Home::Cluster(pool)) = &self.home {
            pool.call_next();
        }
    }
}
