//! The only shared mutable state: places, requests under way, ejections and cursors, kept over reloads by stable names.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

pub use crate::balance::Pick;
use crate::balance::{Algorithm, Field, Weights, hash_of};
use crate::cluster::{
    Address, Balancer, Cluster, ClusterId, Discovery, DnsSpec, EndpointSpec, HashKey, Limits, Outlier,
};
use crate::endpoints::{Endpoint, EndpointId, EndpointState};
use crate::limits::{Counts, Limit, Slot};
use crate::mirror::Allowance;
use crate::outlier::{Detector, OutlierEvent, OutlierKind, Score};
use crate::request::{Caller, Head};
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
    pub fn adopt(previous: Option<&Live>, snapshot: Arc<Snapshot>, resolved: &Resolved) -> Live {
        let known = |name: &str| {
            let live = previous?;
            live.snapshot.cluster_named(name).and_then(|id| live.clusters.get(id.0 as usize))
        };
        let clusters: Vec<_> = (0u32..)
            .zip(snapshot.clusters())
            .map(|(index, cluster)| {
                Arc::new(LiveCluster::adopt(known(&cluster.name).map(|c| &**c), ClusterId(index), cluster, resolved))
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
    endpoints: Vec<Arc<Endpoint>>,
    weights: Weights,
    algorithm: Algorithm,
    hash_key: Option<HashKey>,
    state: Arc<ClusterState>,
}

/// What outlives a reload, beside the counts and the endpoints' own state.
#[derive(Debug, Default)]
struct ClusterState {
    /// Whose turn it is in a round robin; 0 before the first.
    cursor: AtomicU64,
    /// How many endpoints are ejected.
    out: AtomicU32,
    /// When the latest sweep was due, in nanoseconds of [`Time`].
    swept: AtomicU64,
    /// What it may owe as a mirror.
    copies: Arc<Allowance>,
}

impl LiveCluster {
    fn adopt(previous: Option<&LiveCluster>, id: ClusterId, cluster: &Cluster, resolved: &Resolved) -> Self {
        let known: BTreeMap<&Address, &Arc<Endpoint>> =
            previous.iter().flat_map(|p| &p.endpoints).map(|e| (e.address(), e)).collect();
        let mut addresses = BTreeSet::new();
        let mut endpoints = Vec::new();
        for spec in specs(&cluster.discovery, resolved) {
            if addresses.insert(spec.address.clone()) {
                let kept = known.get(&spec.address).copied();
                endpoints.push(endpoint(&cluster.name, spec, kept));
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
            weights: Weights::new(endpoints.iter().map(|e| e.weight())),
            algorithm: Algorithm::new(&cluster.balancer, &endpoints, previous.map(|p| &p.algorithm)),
            hash_key: match &cluster.balancer {
                Balancer::RingHash { key, .. } => Some(key.clone()),
                Balancer::LeastRequest | Balancer::RoundRobin | Balancer::Random => None,
            },
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

    /// A request's consistent hash; `None` when the balancer does not hash or the request lacks what is hashed.
    pub fn hash(&self, head: &impl Head, caller: Caller) -> Option<u64> {
        hash_of(self.hash_key.as_ref()?, head, caller.ip)
    }

    /// An endpoint that is in no list: where the caller was going anyway. It is never set aside.
    pub fn passing(&self, address: Address) -> Arc<Endpoint> {
        endpoint(&self.name, EndpointSpec { address, weight: 1, workload: Arc::default() }, None)
    }

    /// An endpoint for an attempt; `None` when none is healthy. Envoy: `no_healthy_upstream`.
    pub fn pick(&self, ask: &Pick<'_>) -> Option<Arc<Endpoint>> {
        let field = Field {
            endpoints: &self.endpoints,
            weights: &self.weights,
            algorithm: &self.algorithm,
            cursor: &self.state.cursor,
            panic_percent: self.panic_percent,
            all_in: self.ejected() == 0,
        };
        field.pick(ask)
    }

    /// Scores an attempt when it has ended.
    pub fn score(&self, endpoint: &Endpoint, score: Score, now: Time) -> Option<OutlierEvent> {
        let kind = self.detector()?.score(endpoint, score, now)?;
        Some(self.event(endpoint, now, kind))
    }

    /// Takes a place, or counts an overflow.
    pub fn take(&self, limit: Limit) -> Option<Slot> {
        self.counts.take(limit, self.limits.most(limit))
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
        Some(Detector { rules, total: self.endpoints.len() as u32, out: &self.state.out })
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

fn endpoint(cluster: &str, spec: EndpointSpec, kept: Option<&Arc<Endpoint>>) -> Arc<Endpoint> {
    match kept {
        Some(kept) if kept.spec == spec => kept.clone(),
        Some(kept) => Arc::new(Endpoint { spec, state: kept.state.clone() }),
        None => {
            let id = EndpointId::of(cluster, &spec.address);
            Arc::new(Endpoint { spec, state: Arc::new(EndpointState::new(id)) })
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
