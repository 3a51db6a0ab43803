//! Which endpoints of a cluster go before others for where they are.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// Which endpoints go before others for where they are. Istio: `localityLbSetting`, `zoneAwareLbSetting`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum LocalityPolicy {
    /// None do.
    #[default]
    Ignored,
    /// Each place takes a fixed share, and endpoints of no listed place take nothing. Istio: `distribute`, already chosen
    /// for where this proxy is.
    Shares(Arc<[(Place, u32)]>),
    /// The nearest take everything while enough of them are healthy, then the next nearest. Istio: `failover`,
    /// `failoverPriority`.
    Levels(Arc<Levels>),
    /// The same, and of the nearest those of this proxy's zone take as much as leaves every zone with its share. Istio:
    /// `zoneAwareLbSetting`.
    Zones(Arc<Zones>),
}

/// A locality or several: `region/zone/subzone`. Istio: `*` or a missing tail stands for anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place(pub Arc<str>);

/// How endpoints are put into levels, the nearest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// Labels that this proxy's workload and a near endpoint have in common, the weightiest first. A value that is given
    /// stands in for the workload's own. Istio: `failoverPriority`.
    pub labels: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Which part of a locality counts, after the labels.
    pub by_place: ByPlace,
    /// The region that is next when this proxy's own fails; `None` is all others alike. Istio: `failover`.
    pub next_region: Option<Arc<str>>,
}

/// Which part of a locality puts endpoints into levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ByPlace {
    /// None of it.
    #[default]
    No,
    /// The region.
    Region,
    /// Region, zone and subzone.
    Zone,
}

/// What zone-aware balancing needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zones {
    /// The levels; only the first is balanced by zone.
    pub levels: Levels,
    /// With fewer healthy endpoints zones are not looked at. Envoy: `min_cluster_size`, 6.
    pub least_endpoints: u64,
    /// How many callers of this kind there are in each locality, this proxy among them. Envoy: the local cluster.
    pub callers: Vec<(Arc<str>, u32)>,
}
