//! Which block of which DestinationRule is in force for a cluster, and where it is written.

use leeboard_policy::cluster::Cluster;
use leeboard_policy::origin::Origin;

use crate::compile::clusters::effective::Effective;
use crate::compile::clusters::policy;
use crate::compile::site::{Site, placed};
use crate::locations::{Locations, Path, way};
use crate::resources::destination_rule::{PolicyBlocks, TrafficPolicy};
use crate::resources::{DestinationRule, Labels, Meta, Resources};
use crate::source::Source;

/// A block in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provenance {
    /// Such as `connectionPool`.
    pub block: &'static str,
    /// Where in its DestinationRule it stands, such as `subsets[v1].trafficPolicy.portLevelSettings[80]`.
    pub part: String,
    /// The DestinationRule and the place of the block.
    pub origin: Origin,
}

/// The settings in force for a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// The blocks; none where Istio's defaults hold.
    pub blocks: Vec<Provenance>,
    /// The labels that the endpoints of its subset must carry.
    pub labels: Labels,
}

/// A policy that has a say, and the way to it.
struct Level<'p> {
    meta: &'p Meta,
    part: String,
    path: Path,
    policy: &'p TrafficPolicy,
}

/// The settings of a cluster that was compiled, at `site`, from `resources` that were read from `sources`.
pub fn provenance(resources: &Resources, sources: &[Source], site: &Site, cluster: &Cluster) -> Settings {
    let site = &placed(resources, site);
    let policies = policy::gather(resources, site);
    let service = &cluster.service;
    let Some(rule) = policies.outbound(&service.host, &service.namespace) else { return Settings::default() };
    let subset = rule.subset(&service.subset).filter(|_| !service.subset.is_empty());
    let own = subset.and_then(|subset| subset.traffic_policy.as_deref());
    // Rules for one host are merged: each policy may be of another document.
    let of = |policy| resources.destination_rules.iter().find_map(|document| level(document, policy));
    let levels: Vec<Level<'_>> = [own, rule.policy].into_iter().flatten().filter_map(of).collect();
    let effective = Effective::of(Some(rule), service.port, subset);
    let places = Locations::of(sources);
    let tell = |block: &'static str, found: Option<(&Meta, String, Path)>| {
        let (meta, part, path) = found?;
        let spot = places.key(meta, &path.then(block));
        Some(Provenance { block, part, origin: meta.origin(&spot) })
    };
    let in_blocks = |is: &dyn Fn(&PolicyBlocks) -> bool| levels.iter().find_map(|level| level.blocks(is));
    let unported = |is: &dyn Fn(&TrafficPolicy) -> bool| {
        let level = levels.iter().find(|level| is(level.policy))?;
        Some((level.meta, level.part.clone(), level.path.clone()))
    };
    let blocks = [
        tell("loadBalancer", in_blocks(&|blocks| same(blocks.load_balancer.as_deref(), effective.load_balancer))),
        tell("connectionPool", in_blocks(&|blocks| same(blocks.connection_pool.as_deref(), effective.connection_pool))),
        tell("outlierDetection", in_blocks(&|b| same(b.outlier_detection.as_deref(), effective.outlier_detection))),
        tell("tls", in_blocks(&|blocks| same(blocks.tls.as_deref(), effective.tls))),
        tell("tunnel", unported(&|policy| same(policy.tunnel.as_deref(), effective.tunnel))),
        tell("retryBudget", unported(&|p| effective.retry_budget.is_some() && p.retry_budget.is_some())),
        tell("proxyProtocol", unported(&|p| effective.proxy_protocol.is_some() && p.proxy_protocol.is_some())),
    ];
    let labels = subset.map(|subset| subset.labels.clone()).unwrap_or_default();
    Settings { blocks: blocks.into_iter().flatten().collect(), labels }
}

/// Whether both are one and the same, and not merely equal.
fn same<T>(written: Option<&T>, in_force: Option<&T>) -> bool {
    written.zip(in_force).is_some_and(|(written, in_force)| std::ptr::eq(written, in_force))
}

fn level<'p>(document: &'p DestinationRule, wanted: &TrafficPolicy) -> Option<Level<'p>> {
    let is = |policy: &Option<Box<TrafficPolicy>>| same(policy.as_deref(), Some(wanted));
    let meta = &document.meta;
    if is(&document.traffic_policy) {
        let (part, path) = ("trafficPolicy".to_owned(), way!["spec", "trafficPolicy"]);
        return Some(Level { meta, part, path, policy: document.traffic_policy.as_deref()? });
    }
    let at = document.subsets.iter().position(|subset| is(&subset.traffic_policy))?;
    let subset = &document.subsets[at];
    let part = format!("subsets[{}].trafficPolicy", *subset.name);
    Some(Level {
        meta,
        part,
        path: way!["spec", "subsets", at, "trafficPolicy"],
        policy: subset.traffic_policy.as_deref()?,
    })
}

impl<'p> Level<'p> {
    /// The way to the blocks of the policy, or of one of its ports, of which something holds.
    fn blocks(&self, is: &dyn Fn(&PolicyBlocks) -> bool) -> Option<(&'p Meta, String, Path)> {
        if is(&self.policy.blocks) {
            return Some((self.meta, self.part.clone(), self.path.clone()));
        }
        let at = self.policy.port_level.iter().position(|(_, blocks)| is(blocks))?;
        let part = format!("{}.portLevelSettings[{}]", self.part, *self.policy.port_level[at].0);
        Some((self.meta, part, self.path.to("portLevelSettings").then(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::load;
    use crate::source::Source;

    const TEXT: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: other, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a.example.com
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {maxConnections: 1}}
    retryBudget: {percent: 10}
    portLevelSettings:
      - port: {number: 81}
        outlierDetection: {}
  subsets:
    - name: v1
      trafficPolicy:
        connectionPool: {tcp: {maxConnections: 2}}
    - name: v2
      labels: {version: v2}
      trafficPolicy:
        portLevelSettings:
          - port: {number: 80}
            loadBalancer: {simple: ROUND_ROBIN}
";

    #[test]
    fn every_block_is_told_where_the_compiler_takes_it_from() {
        let sources = [Source::new("a.yaml", TEXT)];
        let loaded = load(&sources);
        assert_eq!(loaded.errors(), 0, "{:?}", loaded.diagnostics);
        let (snapshot, _) = compile(&loaded.resources, &Site::default());
        #[rustfmt::skip]
        let table: &[(&str, &[(&str, &str, u32)])] = &[
            ("outbound|80||a.example.com", &[
                ("loadBalancer", "trafficPolicy", 16), ("connectionPool", "trafficPolicy", 17), ("retryBudget", "trafficPolicy", 18)]),
            ("outbound|81||a.example.com", &[("outlierDetection", "trafficPolicy.portLevelSettings[81]", 21)]),
            ("outbound|80|v1|a.example.com", &[
                ("loadBalancer", "trafficPolicy", 16), ("connectionPool", "subsets[v1].trafficPolicy", 25),
                ("retryBudget", "trafficPolicy", 18)]),
            ("outbound|81|v1|a.example.com", &[
                ("connectionPool", "subsets[v1].trafficPolicy", 25), ("outlierDetection", "trafficPolicy.portLevelSettings[81]", 21)]),
            ("outbound|80|v2|a.example.com", &[
                ("loadBalancer", "subsets[v2].trafficPolicy.portLevelSettings[80]", 31), ("retryBudget", "trafficPolicy", 18)]),
        ];
        for (name, expected) in table {
            let cluster = snapshot.cluster(snapshot.cluster_named(name).expect("it is compiled"));
            let found = provenance(&loaded.resources, &sources, &Site::default(), cluster).blocks;
            let told: Vec<_> = found.iter().map(|p| (p.block, p.part.as_str(), p.origin.line)).collect();
            assert_eq!(told, *expected, "{name}");
            assert!(found.iter().all(|p| &*p.origin.file == "a.yaml"), "{found:?}");
        }
        let cluster = snapshot.cluster(snapshot.cluster_named("outbound|80|v2|a.example.com").expect("it is compiled"));
        let labels = provenance(&loaded.resources, &sources, &Site::default(), cluster).labels;
        assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("version".into(), "v2".into())]);
    }
}
