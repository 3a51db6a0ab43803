//! The context of one worker: its connections, counters and random seeds. Nothing in it is locked or shared.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use leeboard_policy::cluster::{Cluster, Discovery, Service, Workload};
use leeboard_policy::dice::Dice;
use leeboard_policy::endpoints::EndpointId;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::live::{Live, LiveCluster};
use leeboard_policy::outlier::{OutlierEvent, OutlierKind};
use leeboard_policy::request::{self, Entrance};
use leeboard_policy::step::Step;
use leeboard_policy::time::Time;
use rustc_hash::{FxHashMap, FxHashSet};

use super::connection_state::ConnectionRegistry;
use super::peers::Peers;
use super::shared::Shared;
use crate::drain::Traffic;
use crate::host::clock::Clock;
use crate::http::fields::{self, Name, Names};
use crate::http::http2::send_buffer::WorkerSendBuffer;
use crate::net::deadline::DeadlineTimers;
use crate::net::turn::Queue;
use crate::net::write_batch;
use crate::request::head::RequestHead;
use crate::request::peer_header;
use crate::telemetry::WorkerTelemetry;
use crate::telemetry::metrics::KEEP_SECONDS;
use crate::telemetry::record::{Destination, Reporter};
use crate::upstream::idle::SWEEP;
use crate::upstream::pool::Pool;

/// After how many sweeps half of what is kept for exchanges to come is let go.
const FORGET: u64 = 10;
/// After how many sweeps callers are forgotten that have not called in between: as long as series stay.
const FORGET_PEERS: u64 = KEEP_SECONDS * 1_000_000_000 / SWEEP.as_nanos() as u64;
/// The most destinations that are remembered; beyond it all are found again.
const DESTINATIONS: usize = 16_384;

/// A destination, and whatever its key is the address of: while it is held, nothing else can be there.
type KnownDestination = (Rc<Destination>, Arc<LiveCluster>, Option<Arc<Workload>>);

/// One worker's own things.
pub(crate) struct WorkerContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) telemetry: WorkerTelemetry,
    pub(crate) pool: Pool,
    /// Whether exchanges keep what only the access log shows.
    pub(crate) logs: bool,
    live: RefCell<Cache<Arc<ArcSwap<Live>>, Arc<Live>>>,
    seed: Cell<u64>,
    date: Cell<[u8; 29]>,
    /// What is going on here, for the end of the process to wait for.
    pub(crate) traffic: Arc<Traffic>,
    /// The callers' connections.
    pub(crate) registry: ConnectionRegistry,
    /// What is held for callers who do not read.
    pub(crate) send_buffer: Rc<WorkerSendBuffer>,
    /// Callers' connections on which more requests have come than one may begin at once.
    pub(crate) queue: Queue,
    /// Timers to borrow.
    pub(crate) timers: DeadlineTimers,
    destinations: RefCell<FxHashMap<(usize, u64, usize), KnownDestination>>,
    /// What this workload's proxy tells the next one.
    introduction: Option<String>,
    /// Who calls.
    pub(crate) peers: Peers,
    nowhere: Rc<Destination>,
    black_hole: Rc<Destination>,
}

impl WorkerContext {
    /// The context of a worker that has served nothing.
    pub(crate) fn new(shared: Arc<Shared>, traffic: Arc<Traffic>) -> Rc<Self> {
        let nowhere = Destination { cluster: None, service: None, caller: None, workload: None, endpoint: None };
        let telemetry = shared.telemetry.worker();
        // What is counted before the first tick would be taken for very old, and forgotten.
        telemetry.tick(shared.clock.wall());
        Rc::new(Self {
            clock: shared.clock,
            telemetry,
            pool: Pool::new(shared.pools.clone(), shared.unreachable.clone()),
            logs: shared.telemetry.logs(),
            live: RefCell::new(Cache::new(shared.live.clone())),
            seed: Cell::new(RandomState::new().hash_one(0)),
            date: Cell::new(date_at(shared.clock.wall())),
            destinations: RefCell::default(),
            introduction: peer_header::describe(&shared.settings.workload),
            peers: Peers::new(shared.settings.trusted_peers.clone()),
            traffic,
            registry: ConnectionRegistry::default(),
            send_buffer: WorkerSendBuffer::new(
                shared.settings.max_unread / shared.settings.workers.max(1),
                shared.settings.max_caller_unread,
            ),
            queue: Queue::default(),
            timers: DeadlineTimers::default(),
            nowhere: Rc::new(nowhere),
            black_hole: Rc::new(black_hole()),
            shared,
        })
    }

    /// Begins an exchange with the live state as of now, which it keeps.
    #[inline(always)]
    pub(crate) fn begin(
        &self,
        entrance: Entrance,
        head: &RequestHead,
        caller: request::Caller,
        dice: Dice,
        now: Time,
    ) -> (Exchange, Step) {
        Exchange::begin(self.live.borrow_mut().load(), entrance, head, caller, dice, now)
    }

    /// The date as HTTP writes it, as of the last tick. Envoy: it is made twice a second.
    pub(crate) fn date(&self) -> [u8; 29] {
        self.date.get()
    }

    /// The luck of a new exchange.
    pub(crate) fn dice(&self) -> Dice {
        let seed = self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed.set(seed);
        Dice(seed)
    }

    /// Passes an ejection on to whoever counts and logs them, and parts from the endpoint. Envoy: its idle connections are
    /// closed at once, the others when their request is over.
    pub(crate) fn outlier(&self, event: &OutlierEvent) {
        if matches!(event.kind, OutlierKind::Ejected { .. }) {
            self.pool.part_from(&event.cluster, EndpointId::of(&event.cluster, &event.endpoint));
        }
        self.shared.outlier(event);
    }

    /// The addresses of a host that the configuration does not know; none when it has none or cannot be resolved now.
    pub(crate) async fn resolve(&self, host: &str) -> Arc<[IpAddr]> {
        match self.shared.names.resolve(host).await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::debug!(host, error, "host not resolved");
                Arc::new([])
            }
        }
    }

    /// Tells the next proxy who calls. Nothing outside the mesh is told.
    pub(crate) fn introduce(&self, head: &mut RequestHead, to: &Cluster, reporter: Reporter) {
        head.fields.drop_all(const { Names::of(&[Name::Peer]) });
        if let (true, Reporter::Source, Some(introduction)) = (is_inside(to), reporter, &self.introduction) {
            match head.hops {
                0 => head.fields.put(Name::Peer, introduction.as_bytes()),
                hops => head.fields.put(Name::Peer, peer_header::come_through(hops + 1, introduction).as_bytes()),
            }
        }
    }

    /// Where an exchange went, as one value for all that went there, so that its series are found without looking at labels.
    pub(crate) fn destination(&self, exchange: &Exchange, caller: Option<&Arc<Workload>>) -> Rc<Destination> {
        let Some(cluster) = exchange.cluster() else { return self.nowhere.clone() };
        let endpoint = exchange.endpoint();
        let key = (
            Arc::as_ptr(cluster).addr(),
            endpoint.map_or(0, |endpoint| endpoint.id().0),
            caller.map_or(0, |caller| Arc::as_ptr(caller).addr()),
        );
        let mut known = self.destinations.borrow_mut();
        if let Some((destination, ..)) = known.get(&key) {
            return destination.clone();
        }
        let spec = exchange.live().snapshot().cluster(cluster.id);
        let destination = Rc::new(Destination {
            cluster: Some(cluster.name.clone()),
            service: Some(spec.service.clone()),
            caller: caller.cloned(),
            workload: endpoint.map(|endpoint| endpoint.spec.workload.clone()),
            endpoint: endpoint.map(|endpoint| endpoint.address().clone()),
        });
        if known.len() >= DESTINATIONS {
            known.clear();
        }
        known.insert(key, (destination.clone(), cluster.clone(), caller.cloned()));
        destination
    }

    /// The destination of what went nowhere.
    pub(crate) fn nowhere(&self) -> Rc<Destination> {
        self.nowhere.clone()
    }

    /// The destination of what asked for a host that may not be asked for.
    pub(crate) fn black_hole(&self) -> Rc<Destination> {
        self.black_hole.clone()
    }

    /// Tidies up for as long as the worker lives: connections, series, the log's buffer. `forget` lets go of what exchanges have left
    /// for others to come.
    pub(crate) async fn tidy(self: Rc<Self>, forget: fn()) {
        let mut ticks = tokio::time::interval(SWEEP);
        let mut swept: Option<Arc<Live>> = None;
        let mut wanted = FxHashSet::default();
        for turn in 1_u64.. {
            ticks.tick().await;
            let (now, live) = (self.clock.now(), self.live.borrow_mut().load().clone());
            if !swept.as_ref().is_some_and(|before| Arc::ptr_eq(before, &live)) {
                wanted = live.clusters().iter().flat_map(|c| c.endpoints()).map(|e| e.id()).collect();
                self.destinations.borrow_mut().clear();
                self.peers.follow(&live);
                swept = Some(live.clone());
            }
            let out = live.clusters().iter().filter(|cluster| cluster.ejected() > 0);
            let out = out.flat_map(|cluster| cluster.endpoints()).filter(|endpoint| endpoint.ejected());
            let ejected: FxHashSet<EndpointId> = out.map(|endpoint| endpoint.id()).collect();
            self.pool.sweep(now, &wanted, &ejected);
            self.registry.tidy(now, self.shared.settings.patience);
            let wall = self.clock.wall();
            self.telemetry.tick(wall);
            self.date.set(date_at(wall));
            if turn.is_multiple_of(FORGET_PEERS) {
                self.peers.forget();
            }
            if turn.is_multiple_of(FORGET) {
                self.send_buffer.tidy();
                self.timers.forget();
                forget();
                fields::forget();
                write_batch::forget();
            }
        }
    }
}

/// Istio: where requests go whose host is not known, under REGISTRY_ONLY. It is one for all hosts, for callers make them up.
fn black_hole() -> Destination {
    let name: Arc<str> = "BlackHoleCluster".into();
    let (host, unknown) = (name.clone(), "unknown".into());
    let service = Service { host, name: name.clone(), namespace: unknown, port: 0, subset: "".into(), external: true };
    Destination { cluster: Some(name), service: Some(service), caller: None, workload: None, endpoint: None }
}

/// Whether there may be a Leeboard beside the endpoints of a cluster, so that it is told things and believed.
pub(crate) fn is_inside(cluster: &Cluster) -> bool {
    !cluster.service.external && !matches!(cluster.discovery, Discovery::Original)
}

/// A moment as HTTP writes it. RFC 9110 §5.6.7.
fn date_at(wall: SystemTime) -> [u8; 29] {
    httpdate::fmt_http_date(wall).as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}
