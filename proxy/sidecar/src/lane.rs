//! What a worker has to itself: its connections, its counters, its luck. Nothing here is locked or shared.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use leeboard_policy::dice::Dice;
use leeboard_policy::endpoints::Endpoint;
use leeboard_policy::live::{Live, LiveCluster};
use leeboard_policy::outlier::OutlierEvent;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::clock::Clock;
use crate::drain::Traffic;
use crate::listener::talk::Talks;
use crate::run::Shared;
use crate::telemetry::WorkerTelemetry;
use crate::telemetry::record::Destination;
use crate::upstream::connect::SWEEP;
use crate::upstream::pool::Pool;

/// One worker's own things.
pub(crate) struct Lane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) telemetry: WorkerTelemetry,
    pub(crate) pool: Pool,
    /// Whether exchanges keep what only the access log shows.
    pub(crate) logs: bool,
    live: RefCell<Cache<Arc<ArcSwap<Live>>, Arc<Live>>>,
    seed: Cell<u64>,
    /// What is going on here, for the end of the process to wait for.
    pub(crate) traffic: Arc<Traffic>,
    /// The callers' connections.
    pub(crate) talks: Talks,
    /// Copies of requests under way to mirrors.
    pub(crate) mirrors: Cell<usize>,
    destinations: RefCell<FxHashMap<u64, Arc<Destination>>>,
    nowhere: Arc<Destination>,
    /// The name of no route.
    pub(crate) no_route: Arc<str>,
}

impl Lane {
    /// A lane that has not carried anything.
    pub(crate) fn new(shared: Arc<Shared>, traffic: Arc<Traffic>) -> Rc<Self> {
        let nowhere = Destination { cluster: None, service: None, workload: None, endpoint: None };
        Rc::new(Self {
            clock: shared.clock,
            telemetry: shared.telemetry.worker(),
            pool: Pool::new(shared.pools.clone()),
            logs: shared.telemetry.logs(),
            live: RefCell::new(Cache::new(shared.live.clone())),
            seed: Cell::new(RandomState::new().hash_one(0)),
            destinations: RefCell::default(),
            no_route: "".into(),
            traffic,
            talks: Talks::default(),
            mirrors: Cell::new(0),
            nowhere: Arc::new(nowhere),
            shared,
        })
    }

    /// The live state as of now; an exchange keeps the one it begins with.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.borrow_mut().load().clone()
    }

    /// The luck of a new exchange.
    pub(crate) fn dice(&self) -> Dice {
        let seed = self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed.set(seed);
        Dice(seed)
    }

    /// Passes an ejection on to whoever counts and logs them.
    pub(crate) fn outlier(&self, event: &OutlierEvent) {
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

    /// Where an exchange went, as one value for all that went there, so that its series are found without looking at labels.
    pub(crate) fn destination(
        &self,
        live: &Live,
        cluster: Option<&Arc<LiveCluster>>,
        endpoint: Option<&Arc<Endpoint>>,
    ) -> Arc<Destination> {
        let Some(cluster) = cluster else { return self.nowhere.clone() };
        let key = endpoint.map_or(Arc::as_ptr(&cluster.counts).addr() as u64, |endpoint| endpoint.id().0);
        let spec = live.snapshot().cluster(cluster.id);
        let workload = endpoint.map(|endpoint| &endpoint.spec.workload);
        let mut known = self.destinations.borrow_mut();
        if let Some(destination) = known.get(&key)
            && destination.workload.as_ref() == workload
            && destination.service.as_ref() == Some(&spec.service)
        {
            return destination.clone();
        }
        let destination = Arc::new(Destination {
            cluster: Some(cluster.name.clone()),
            service: Some(spec.service.clone()),
            workload: workload.cloned(),
            endpoint: endpoint.map(|endpoint| endpoint.address().clone()),
        });
        known.insert(key, destination.clone());
        destination
    }

    /// The destination of what went nowhere.
    pub(crate) fn nowhere(&self) -> Arc<Destination> {
        self.nowhere.clone()
    }

    /// Tidies up for as long as the worker lives: connections, heads that never end, series, the log's buffer.
    pub(crate) async fn tidy(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        let mut swept: Option<Arc<Live>> = None;
        let mut wanted = FxHashSet::default();
        loop {
            ticks.tick().await;
            let (now, live) = (self.clock.now(), self.live());
            if !swept.as_ref().is_some_and(|before| Arc::ptr_eq(before, &live)) {
                wanted = live.clusters().iter().flat_map(|c| c.endpoints()).map(|e| e.id()).collect();
                self.destinations.borrow_mut().clear();
                swept = Some(live);
            }
            self.pool.sweep(now, &wanted);
            self.talks.hurry(now, self.shared.settings.header_timeout);
            self.telemetry.tick(self.clock.wall());
        }
    }
}
