//! A worker's connections to endpoints, and the way to one of them for a request.
//!
//! A cluster without `maxConnections` has connections of its own in each worker, and no lock is taken on the way to one.
//! A cluster with it has one set for all workers, in [`super::shared`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use leeboard_policy::cluster::{Address, Connection as Settings};
use leeboard_policy::endpoints::{Endpoint, EndpointId};
use leeboard_policy::limits::Slot;
use leeboard_policy::live::LiveCluster;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

use super::connect::{ConnectError, Sender, connect};
use super::http2::{Shaken, Share};
use super::lease::{Home, Lease};
use super::room::{Allowance, Entered, Room, Taken};
use super::shared::{SharedPool, SharedPools};
use super::shelf::{Connection, Held, Many, Shelf, Wire};
use crate::backlog::Backlog;
use crate::discovery::doubts::Doubts;
use crate::drain::Side;
use crate::http1::read::Rules;
use crate::http2::MAX_STREAMS;
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
    /// What is held for callers who do not read.
    pub(crate) backlog: &'a Rc<Backlog>,
    /// Where nothing may be sent to, and from which side this is sent.
    pub(crate) here: (&'a Here, Side),
    /// After how long without a stream an HTTP/2 connection is asked for before it is used again; `None` is never.
    pub(crate) ping_after: Option<Span>,
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

    /// One of the connections that carry one request at a time and may be in use for its caller.
    fn take(&self) -> Result<Option<Taken>, ConnectError> {
        let Some(allowance) = self.allowance.filter(|_| !self.http2) else { return Ok(None) };
        allowance.take().map(Some).ok_or_else(|| overflow("max-caller-endpoint-connections"))
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
        if ask.fresh {
            return None;
        }
        let taken = ask.take().ok()?;
        if ask.cluster.limits().connections.is_some() {
            return self.shared_pool(ask.cluster).idle(ask).map(|lease| lease.counted(taken));
        }
        let connection = self.shelf.borrow_mut().take(ask, true, true)?;
        Some(Lease::new(connection, ask, Home::Worker(self.shelf.clone()), true).counted(taken))
    }

    /// A connection for one request.
    pub(crate) async fn acquire(&self, ask: &Ask<'_>, telemetry: &WorkerTelemetry) -> Result<Lease, ConnectError> {
        let counters = || self.counters(ask, telemetry);
        // It counts while it is being made.
        let (taken, full) = ask.take().map_or_else(|full| (None, Some(full)), |taken| (taken, None));
        let lease = if let Some(full) = full {
            Err(full)
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
        lease.map(|lease| lease.counted(taken))
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
                && let Some(share) = self.shelf.borrow_mut().take_stream(ask, true)
            {
                return Ok(Lease::new(stream_of(share, ask.now), ask, home(), true));
            }
            let unsure = if ask.fresh { None } else { self.shelf.borrow().unsure(ask) };
            if let Some(many) = unsure {
                many.look(ask).await;
                continue;
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
    let (sender, meter) = connect(ask).await?;
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
        Sender::Many(Shaken { sender, allowed, presence }) => {
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
                quiet: (AtomicU64::new(ask.now.0), AtomicU32::new(0)),
                presence,
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
