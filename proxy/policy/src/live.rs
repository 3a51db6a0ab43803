//! The only shared mutable state: places, requests under way, ejections and cursors, kept over reloads by stable names.

mod detached;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use crate::allowance::Allowance;
pub use crate::balance::Pick;
use crate::balance::{Algorithm, Cursors, Health, HostSet, Priorities, View, Weights, shares_of};
use crate::budget::Window;
use crate::cluster::{
    Address, Cluster, ClusterId, Discovery, DnsSpec, EndpointSpec, Limits, LocalityPolicy, Outlier, Warmup, Workload,
};
use crate::endpoints::{Endpoint, EndpointId, EndpointState};
use crate::limits::{Counts, Limit, Slot};
use crate::outlier::{Detector, OutlierEvent, OutlierKind, Score};
use crate::snapshot::Snapshot;
use crate::time::{Span, Time};

/// The latest answer for each name that a snapshot's clusters ask for.
pub type Resolved = BTreeMap<Arc<str>, Vec<IpAddr>>;

/// A snapshot with the state that goes with it.
#[derive(Debug)]
pub struct Live {
    snapshot: Arc<Snapshot>,
    clusters: Vec<Arc<LiveCluster>>,
}

impl Live {
    /// Joins a snapshot and its names' addresses with what is known from before.
    ///
    /// State belongs to a cluster's name and an endpoint's address, and survives any other change. `previous` may go on
    /// serving the exchanges that began with it, but it has been succeeded: what has no place in the new one no longer counts.
    /// Endpoints that were not known before begin `now`.
    pub fn adopt(previous: Option<&Live>, snapshot: Arc<Snapshot>, resolved: &Resolved, now: Time) -> Live {
        let known = |name: &str| {
            let live = previous?;
            live.snapshot.cluster_named(name).and_then(|id| live.clusters.get(id.0 as usize))
        };
        let clusters: Vec<_> = (0u32..)
            .zip(snapshot.clusters())
            .map(|(index, cluster)| {
                Arc::new(LiveCluster::adopt(
                    known(&cluster.name).map(|c| &**c),
                    ClusterId(index),
                    cluster,
                    snapshot.workload(),
                    resolved,
                    now,
                ))
            })
            .collect();
        for gone in previous.iter().flat_map(|live| &live.clusters) {
            if snapshot.cluster_named(&gone.name).is_none() {
                gone.retire_all_but(&BTreeSet::new());
            }
        }
        Live { snapshot, clusters }
    }

    /// The configuration.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The configuration, to hold on to.
    pub fn shared_snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// A cluster by its index.
    ///
    /// # Panics
    /// When the index is of another snapshot.
    pub fn cluster(&self, id: ClusterId) -> &Arc<LiveCluster> {
        &self.clusters[id.0 as usize]
    }

    /// All clusters in order of their index.
    pub fn clusters(&self) -> &[Arc<LiveCluster>] {
        &self.clusters
    }

    /// Says that these addresses were named in answer to a question asked at a moment: what was doubted before is trusted.
    pub fn trust(&self, named: &[IpAddr], asked: Time) {
        self.clusters.iter().for_each(|cluster| cluster.trust(named, asked));
    }

    /// When [`Live::sweep`] has something to do; `None` when no cluster detects outliers.
    pub fn next_sweep(&self) -> Option<Time> {
        self.clusters.iter().filter_map(|cluster| cluster.sweep_due()).min()
    }

    /// Runs every cluster's sweep that is due: endpoints whose time is over return, and the healthy ones' next ejection
    /// becomes shorter.
    pub fn sweep(&self, now: Time) -> Vec<OutlierEvent> {
        self.clusters.iter().flat_map(|cluster| cluster.sweep(now)).collect()
    }
}

/// A cluster with its endpoints and what is going on in it.
#[derive(Debug)]
pub struct LiveCluster {
    /// Its index in its snapshot.
    pub id: ClusterId,
    /// Its name.
    pub name: Arc<str>,
    /// The places taken in it.
    pub counts: Arc<Counts>,
    limits: Limits,
    outlier: Option<Outlier>,
    panic_percent: u32,
    /// Whether its endpoints are the addresses of names.
    named: bool,
    endpoints: Vec<Arc<Endpoint>>,
    layout: Layout,
    warmup: Option<Warmup>,
    /// Until when some endpoints are warming up.
    warm: Time,
    state: Arc<ClusterState>,
}

/// How endpoints stand to one another.
#[derive(Debug)]
enum Layout {
    /// All are alike.
    Flat(Weights, Algorithm),
    /// Some go before others.
    Priorities(Box<Priorities>),
}

impl Layout {
    fn new(cluster: &Cluster, here: &Workload, endpoints: &[Arc<Endpoint>], previous: Option<&Layout>) -> Self {
        let (algorithm, priorities) = match previous {
            Some(Self::Flat(_, algorithm)) => (Some(algorithm), None),
            Some(Self::Priorities(priorities)) => (None, Some(&**priorities)),
            None => (None, None),
        };
        if cluster.locality_policy != LocalityPolicy::Ignored
            && let Some(priorities) =
                Priorities::new(&cluster.locality_policy, here, endpoints, &cluster.balancer, priorities)
        {
            return Self::Priorities(Box::new(priorities));
        }
        let algorithm = Algorithm::new(&cluster.balancer, endpoints, || shares_of(endpoints), algorithm);
        Self::Flat(Weights::new(endpoints.iter().map(|e| e.weight())), algorithm)
    }
}

/// What outlives a reload, beside the counts and the endpoints' own state.
#[derive(Debug, Default)]
struct ClusterState {
    /// Whose turn it is in a round robin.
    cursors: Cursors,
    /// How many endpoints are ejected.
    out: AtomicU32,
    /// Whether some endpoint may be doubted, which spares a look at each.
    doubts: AtomicBool,
    /// When the latest sweep was due, in nanoseconds of [`Time`].
    swept: AtomicU64,
    /// How many requests began of late, where a retry budget asks for that.
    began: Window,
    /// What it may owe as a mirror.
    copies: Arc<Allowance>,
}

impl LiveCluster {
    fn adopt(
        previous: Option<&LiveCluster>,
        id: ClusterId,
        cluster: &Cluster,
        here: &Workload,
        resolved: &Resolved,
        now: Time,
    ) -> Self {
        let known: BTreeMap<&Address, &Arc<Endpoint>> =
            previous.iter().flat_map(|p| &p.endpoints).map(|e| (e.address(), e)).collect();
        let mut addresses = BTreeSet::new();
        let mut endpoints = Vec::new();
        for spec in specs(&cluster.discovery, resolved) {
            if addresses.insert(spec.address.clone()) {
                let kept = known.get(&spec.address).copied();
                endpoints.push(endpoint(&cluster.name, spec, kept, now));
            }
        }
        if let Some(previous) = previous {
            previous.retire_all_but(&addresses);
        }
        let live = Self {
            id,
            name: cluster.name.clone(),
            counts: previous.map(|p| p.counts.clone()).unwrap_or_default(),
            limits: cluster.limits,
            outlier: cluster.outlier.clone(),
            panic_percent: cluster.panic_percent,
            named: matches!(cluster.discovery, Discovery::Dns(_) | Discovery::DnsFirst(_)),
            layout: Layout::new(cluster, here, &endpoints, previous.map(|p| &p.layout)),
            warmup: cluster.warmup,
            warm: cluster.warmup.map_or(Time(0), |warmup| warmup.ends(&endpoints)),
            endpoints,
            state: previous.map(|p| p.state.clone()).unwrap_or_default(),
        };
        if live.outlier.is_none() {
            live.readmit_all();
        }
        live
    }

    /// All endpoints, ejected ones too, in the configuration's order; each address once.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How many places there are for what.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The level of the endpoint of this index, 0 being the nearest; `None` for one that takes nothing. Envoy: its priority.
    pub fn level(&self, index: usize) -> Option<u32> {
        match &self.layout {
            Layout::Flat(..) => Some(0),
            Layout::Priorities(priorities) => priorities.level(index),
        }
    }

    /// The outlier rules, if any.
    pub fn outlier(&self) -> Option<&Outlier> {
        self.outlier.as_ref()
    }

    /// How many endpoints are ejected.
    pub fn ejected(&self) -> u32 {
        self.state.out.load(Acquire)
    }

    /// When an ejected endpoint's time is over; it returns at the first sweep from then on. `None` when it is not ejected.
    pub fn returns(&self, endpoint: &Endpoint) -> Option<Time> {
        self.detector().filter(|_| endpoint.ejected()).map(|detector| detector.returns(endpoint))
    }

    /// An endpoint that is in no list: where the caller was going anyway. It is never set aside.
    pub fn passing(&self, address: Address) -> Arc<Endpoint> {
        endpoint(&self.name, EndpointSpec { address, weight: 1, workload: Arc::default() }, None, Time(0))
    }

    /// An endpoint for an attempt; `None` when there is none, or all are ejected as the rules allow. Envoy: `no_healthy_upstream`.
    ///
    /// Better than Envoy: where the rules keep some endpoints in, these may leave afterwards, or refuse. Rather than none, an
    /// ejected one is picked.
    pub fn pick(&self, ask: &Pick<'_>) -> Option<Arc<Endpoint>> {
        let (all_in, doubts) = (self.ejected() == 0, self.state.doubts.load(Relaxed));
        let last_resort = !all_in && self.outlier.as_ref().is_some_and(|rules| rules.max_ejection_percent < 100);
        let warmup = self.warmup.as_ref().filter(|_| ask.now < self.warm);
        match &self.layout {
            Layout::Flat(weights, algorithm) => {
                let health = if all_in { Health::AllIn } else { Health::Above(self.panic_percent) };
                let cursor = self.state.cursors.at(0);
                HostSet { endpoints: &self.endpoints, weights, algorithm, cursor, health, doubts, last_resort, warmup }
                    .pick(ask)
            }
            Layout::Priorities(priorities) => {
                let (cursors, panic_percent) = (&self.state.cursors, self.panic_percent);
                priorities.pick(ask, View { cursors, panic_percent, all_in, doubts, last_resort, warmup })
            }
        }
    }

    /// Whether its endpoints are the addresses of names, so that another answer may bring others.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// Says that an endpoint could not be connected to. Until an answer about its name names it again, it is picked only when
    /// there is no other. An endpoint that is written down is left to the outlier rules: nothing would name it again.
    ///
    /// Better than Envoy: which believes an answer for as long as it lasts, whatever comes of it.
    pub fn doubt(&self, endpoint: &Endpoint, now: Time) {
        if self.named {
            endpoint.state.doubt(now);
            self.state.doubts.store(true, Relaxed);
        }
    }

    /// Says that these addresses were named in answer to a question asked at a moment.
    fn trust(&self, named: &[IpAddr], asked: Time) {
        if !self.named || !self.state.doubts.load(Relaxed) {
            return;
        }
        for endpoint in &self.endpoints {
            if endpoint.address().ip().is_some_and(|ip| named.contains(&ip)) {
                endpoint.state.trust(asked);
            }
        }
        self.state.doubts.store(self.endpoints.iter().any(|endpoint| endpoint.doubted()), Relaxed);
    }

    /// Scores an attempt when it has ended.
    pub fn score(&self, endpoint: &Endpoint, score: Score, now: Time) -> Option<OutlierEvent> {
        let kind = self.detector()?.score(endpoint, score, now)?;
        Some(self.event(endpoint, now, kind))
    }

    /// Takes a place, or counts an overflow. A retry's place is taken by [`LiveCluster::take_retry`].
    pub fn take(&self, limit: Limit) -> Option<Slot> {
        self.counts.take(limit, self.limits.most(limit))
    }

    /// Takes a retry's place, or counts an overflow.
    pub fn take_retry(&self, now: Time) -> Option<Slot> {
        self.counts.take(Limit::Retries, self.most_retries(now))
    }

    /// How many retries there may be now; `None` is no limit. Envoy: a budget goes before the limit.
    pub fn most_retries(&self, now: Time) -> Option<u32> {
        let Some(budget) = self.limits.budget else { return self.limits.retries };
        // What waits for a connection already counts as a request here, unlike Envoy's, which adds the two.
        let requests = match budget.interval {
            Some(interval) => self.state.began.sum(interval, now),
            None => u64::from(self.counts.current(Limit::Requests)),
        };
        Some(budget.most(requests))
    }

    /// Says that a request is about to be sent here for the first time.
    pub(crate) fn count_request(&self, now: Time) {
        if let Some(interval) = self.limits.budget.and_then(|budget| budget.interval) {
            self.state.began.count(interval, now);
        }
    }

    /// What it may owe as a mirror, kept over reloads.
    pub(crate) fn allowance(&self) -> &Arc<Allowance> {
        &self.state.copies
    }

    /// When the next sweep is due. Envoy: one timer per cluster. They all begin with the driver, so that idle clusters of the
    /// same interval share their wake-ups.
    fn sweep_due(&self) -> Option<Time> {
        let interval = Span(self.detector()?.rules.interval.0.max(1));
        Some(Time(self.state.swept.load(Relaxed)) + interval)
    }

    fn sweep(&self, now: Time) -> Vec<OutlierEvent> {
        let (Some(detector), Some(due)) = (self.detector(), self.sweep_due()) else { return Vec::new() };
        if now < due {
            return Vec::new();
        }
        let late = (now - due).0 % detector.rules.interval.0.max(1);
        self.state.swept.store(now.0 - late, Relaxed);
        let back = self.endpoints.iter().filter(|endpoint| detector.sweep(endpoint, now));
        back.map(|endpoint| self.event(endpoint, now, OutlierKind::Returned)).collect()
    }

    /// `None` when nothing is detected: no rules, or no endpoints of the cluster's own.
    fn detector(&self) -> Option<Detector<'_>> {
        let rules = self.outlier.as_ref().filter(|_| !self.endpoints.is_empty())?;
        let total = match &self.layout {
            Layout::Flat(..) => self.endpoints.len(),
            Layout::Priorities(priorities) => priorities.len(),
        };
        Some(Detector { rules, total: total as u32, out: &self.state.out })
    }

    fn event(&self, endpoint: &Endpoint, at: Time, kind: OutlierKind) -> OutlierEvent {
        OutlierEvent { cluster: self.name.clone(), endpoint: endpoint.address().clone(), at, kind }
    }

    fn retire_all_but(&self, staying: &BTreeSet<Address>) {
        for gone in self.endpoints.iter().filter(|e| !staying.contains(e.address())) {
            if gone.state.retire() {
                self.state.out.fetch_sub(1, AcqRel);
            }
        }
    }

    /// Without rules there are no sweeps, so nothing could return later.
    fn readmit_all(&self) {
        for endpoint in &self.endpoints {
            if endpoint.state.readmit() {
                self.state.out.fetch_sub(1, AcqRel);
            }
        }
    }
}

fn endpoint(cluster: &str, spec: EndpointSpec, kept: Option<&Arc<Endpoint>>, now: Time) -> Arc<Endpoint> {
    match kept {
        Some(kept) if kept.spec == spec => kept.clone(),
        Some(kept) => Arc::new(Endpoint { spec, state: kept.state.clone() }),
        None => {
            let id = EndpointId::of(cluster, &spec.address);
            Arc::new(Endpoint { spec, state: Arc::new(EndpointState::new(id, now)) })
        }
    }
}

/// What the endpoints are now, in order.
fn specs(discovery: &Discovery, resolved: &Resolved) -> Vec<EndpointSpec> {
    match discovery {
        Discovery::Static(specs) => specs.clone(),
        Discovery::Dns(names) => names.iter().flat_map(|name| all(name, resolved)).collect(),
        Discovery::DnsFirst(name) => answer(name, resolved).first().map(|ip| at(name, *ip)).into_iter().collect(),
        Discovery::Original => Vec::new(),
    }
}

/// Sorted, since resolvers rotate their answers and nothing has changed by that.
fn all(name: &DnsSpec, resolved: &Resolved) -> Vec<EndpointSpec> {
    let mut ips = answer(name, resolved);
    ips.sort_unstable();
    ips.into_iter().map(|ip| at(name, ip)).collect()
}

fn answer(name: &DnsSpec, resolved: &Resolved) -> Vec<IpAddr> {
    match name.name.parse() {
        Ok(ip) => vec![ip],
        Err(_) => resolved.get(&name.name).cloned().unwrap_or_default(),
    }
}

fn at(name: &DnsSpec, ip: IpAddr) -> EndpointSpec {
    let address = Address::Socket(SocketAddr::new(ip, name.port));
    EndpointSpec { address, weight: name.weight, workload: name.workload.clone() }
}

#[cfg(test)]
pub(crate) mod tests;
