//! Which block of which DestinationRule is in force for a cluster, and where it is written.

use leeboard_policy::cluster::Cluster;
use leeboard_policy::origin::Origin;

use super::{Site, mesh, policy};
use crate::resources::destination_rule::{PolicyBlocks, TrafficPolicy};
use crate::resources::{Meta, Resources};
use crate::source::Spot;

/// A block in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provenance {
    /// Such as `connectionPool`.
    pub block: &'static str,
    /// Where in its DestinationRule it stands, such as `subsets[v1].trafficPolicy.portLevelSettings[80]`.
    pub part: String,
    /// The DestinationRule and the place of that part.
    pub origin: Origin,
}

/// The blocks in force for a cluster that was compiled from `resources` at `site`; none where Istio's defaults hold.
pub fn provenance(resources: &Resources, site: &Site, cluster: &Cluster) -> Vec<Provenance> {
    let site = &mesh::placed(resources, site);
    let policies = policy::gather(resources, site);
    let service = &cluster.service;
    let Some(rule) = policies.outbound(&service.host, &service.namespace) else { return Vec::new() };
    let meta = &rule.document.meta;
    let subset = rule.subset(&service.subset).filter(|_| !service.subset.is_empty());
    let own = subset.and_then(|subset| subset.traffic_policy.as_ref());
    let own_name = format!("subsets[{}].trafficPolicy", service.subset);
    let mut levels = Vec::new();
    // Istio: a port's blocks leave nothing of those beside them.
    let own_port = own.and_then(|own| level(own, service.port, &own_name));
    if own_port.is_none() {
        levels.extend(own.map(|own| (&own.blocks, own_name.clone(), &own.spot)));
        let top = rule.policy.map(|top| {
            let all = (&top.blocks, "trafficPolicy".to_owned(), &top.spot);
            level(top, service.port, "trafficPolicy").unwrap_or(all)
        });
        levels.extend(top);
    }
    levels.extend(own_port);
    let found = |(block, has): (&'static str, fn(&PolicyBlocks) -> bool)| {
        let (_, part, spot) = levels.iter().find(|(blocks, ..)| has(blocks))?;
        Some(Provenance { block, part: part.clone(), origin: origin(meta, spot) })
    };
    let blocks: [(&'static str, fn(&PolicyBlocks) -> bool); 4] = [
        ("loadBalancer", |blocks| blocks.load_balancer.is_some()),
        ("connectionPool", |blocks| blocks.connection_pool.is_some()),
        ("outlierDetection", |blocks| blocks.outlier_detection.is_some()),
        ("tls", |blocks| blocks.tls.is_some()),
    ];
    blocks.into_iter().filter_map(found).collect()
}

fn level<'p>(policy: &'p TrafficPolicy, port: u16, part: &str) -> Option<(&'p PolicyBlocks, String, &'p Spot)> {
    let (number, blocks) = policy.port_level.iter().find(|(number, _)| number.value == port)?;
    Some((blocks, format!("{part}.portLevelSettings[{port}]"), &number.spot))
}

fn origin(meta: &Meta, spot: &Spot) -> Origin {
    Origin { resource: meta.resource.clone(), file: spot.file.clone(), line: spot.line, column: spot.column }
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
    portLevelSettings:
      - port: {number: 81}
        outlierDetection: {}
  subsets:
    - name: v1
      trafficPolicy:
        connectionPool: {tcp: {maxConnections: 2}}
    - name: v2
      trafficPolicy:
        portLevelSettings:
          - port: {number: 80}
            loadBalancer: {simple: ROUND_ROBIN}
";

    #[test]
    fn every_block_is_told_where_the_compiler_takes_it_from() {
        let loaded = load(&[Source::new("a.yaml", TEXT)]);
        assert_eq!(loaded.errors(), 0, "{:?}", loaded.diagnostics);
        let (snapshot, _) = compile(&loaded.resources, &Site::default());
        #[rustfmt::skip]
        let table: &[(&str, &[(&str, &str)])] = &[
            ("outbound|80||a.example.com", &[("loadBalancer", "trafficPolicy"), ("connectionPool", "trafficPolicy")]),
            ("outbound|81||a.example.com", &[("outlierDetection", "trafficPolicy.portLevelSettings[81]")]),
            ("outbound|80|v1|a.example.com",
                &[("loadBalancer", "trafficPolicy"), ("connectionPool", "subsets[v1].trafficPolicy")]),
            ("outbound|81|v1|a.example.com",
                &[("connectionPool", "subsets[v1].trafficPolicy"), ("outlierDetection", "trafficPolicy.portLevelSettings[81]")]),
            ("outbound|80|v2|a.example.com", &[("loadBalancer", "subsets[v2].trafficPolicy.portLevelSettings[80]")]),
        ];
        for (name, expected) in table {
            let cluster = snapshot.cluster(snapshot.cluster_named(name).expect("it is compiled"));
            let found = provenance(&loaded.resources, &Site::default(), cluster);
            let told: Vec<_> = found.iter().map(|p| (p.block, p.part.as_str())).collect();
            assert_eq!(told, *expected, "{name}");
            assert!(found.iter().all(|p| &*p.origin.file == "a.yaml" && p.origin.line > 13), "{found:?}");
        }
    }
}
