//! `localityLbSetting` and `zoneAwareLbSetting`: which endpoints are nearer to this workload than others.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::cluster::{ByPlace, Levels, LocalityPolicy, Place, TOPOLOGY, Zones};

use crate::compile::services::catalog::Catalog;
use crate::compile::services::kubernetes::HOSTNAME;
use crate::compile::services::service::{Backends, Port};
use crate::compile::services::workloads::is_ours;
use crate::compile::site::Site;
use crate::resources::destination_rule::{Failover, LoadBalancer, LocalityLb, ZoneAwareLb};
use crate::resources::kubernetes::TrafficDistribution;
use crate::source::Located;

/// Envoy: with fewer endpoints zones are not looked at.
const LEAST_ENDPOINTS: u64 = 6;

/// What is known of where this workload and its like are.
pub(crate) struct Surroundings {
    locality: Arc<str>,
    callers: Vec<(Arc<str>, u32)>,
}

impl Surroundings {
    /// Istio: the label goes before what the node says. The callers are the endpoints of the first service that this workload
    /// serves, as far as the configuration tells.
    pub(crate) fn of(catalog: &Catalog, site: &Site) -> Self {
        let mut count: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        let ports = catalog.services().iter().filter_map(|service| service.ports.first());
        let ours = |port: &&Port| port.backends.any(|_, workload| is_ours(workload, site));
        if let Some(Backends::Written(specs)) = ports.into_iter().find(ours).map(|port| &port.backends) {
            for spec in specs.iter().filter(|spec| is_ours(&spec.workload, site)) {
                *count.entry(spec.workload.locality.clone()).or_default() += 1;
            }
        }
        Self { locality: site.workload.locality.clone(), callers: count.into_iter().collect() }
    }

    fn region(&self) -> &str {
        self.locality.split('/').next().unwrap_or("")
    }

    /// What a cluster's setting means here; `ejects` tells whether it has outlier detection.
    ///
    /// Istio: `zoneAwareLbSetting` goes before `localityLbSetting`, and that before the mesh's, which is on. Shares need
    /// nothing else; levels need outlier detection, without which nothing would ever leave the first one. Between the rule's
    /// and the mesh's is what the service itself prefers, for which no outlier detection is asked.
    pub(crate) fn locality_policy(
        &self,
        load_balancer: Option<&LoadBalancer>,
        distribution: Option<TrafficDistribution>,
        mesh: Option<&LocalityLb>,
        ejects: bool,
    ) -> LocalityPolicy {
        let zone_aware = load_balancer.and_then(|load_balancer| load_balancer.zone_aware.as_deref());
        if let Some(setting) = zone_aware.filter(|setting| setting.enabled != Some(false)) {
            return self.zones(setting, ejects);
        }
        let own = load_balancer.and_then(|load_balancer| load_balancer.locality.as_deref());
        if let (None, None, Some(distribution)) = (zone_aware, own, distribution) {
            return LocalityPolicy::Levels(preferred(distribution).into());
        }
        let off = own.and_then(|setting| setting.enabled).or(mesh.and_then(|mesh| mesh.enabled)) == Some(false);
        if off || zone_aware.is_some() {
            return LocalityPolicy::Ignored;
        }
        let none = LocalityLb::default();
        let setting = own.or(mesh).unwrap_or(&none);
        if !setting.distribute.is_empty() {
            let from_here = |from: &Arc<str>| Place(from.clone()).covers(&self.locality);
            let chosen = setting.distribute.iter().find(|entry| from_here(&entry.from.value));
            return chosen.map_or(LocalityPolicy::Ignored, |entry| {
                LocalityPolicy::Shares(entry.to.iter().map(|(to, share)| (Place(to.value.clone()), *share)).collect())
            });
        }
        if !ejects {
            return LocalityPolicy::Ignored;
        }
        LocalityPolicy::Levels(self.levels(&setting.failover, &setting.failover_priority, ByPlace::Zone).into())
    }

    fn zones(&self, setting: &ZoneAwareLb, ejects: bool) -> LocalityPolicy {
        let levels = match ejects {
            true => self.levels(&setting.failover, &setting.failover_priority, ByPlace::Region),
            false => Levels::default(),
        };
        let least_endpoints = setting.min_cluster_size.unwrap_or(LEAST_ENDPOINTS);
        LocalityPolicy::Zones(Zones { levels, least_endpoints, callers: self.callers.clone() }.into())
    }

    /// Istio: places count unless labels are given and no failover is.
    fn levels(&self, failover: &[Failover], labels: &[Located<Arc<str>>], by_place: ByPlace) -> Levels {
        let next = failover.iter().find(|entry| *entry.from.value == *self.region());
        let label = |label: &Located<Arc<str>>| match label.value.split_once('=') {
            Some((key, value)) => (key.into(), Some(value.into())),
            None => (label.value.clone(), None),
        };
        Levels {
            labels: labels.iter().map(label).collect(),
            by_place: if labels.is_empty() || !failover.is_empty() { by_place } else { ByPlace::No },
            next_region: next.map(|entry| entry.to.value.clone()),
        }
    }
}

/// Istio: as if a failover by labels were written.
fn preferred(distribution: TrafficDistribution) -> Levels {
    let [region, zone, _] = TOPOLOGY;
    let node = (distribution == TrafficDistribution::SameNode).then_some(HOSTNAME);
    let labels = [region, zone].into_iter().chain(node).map(|key| (key.into(), None));
    Levels { labels: labels.collect(), by_place: ByPlace::No, next_region: None }
}
