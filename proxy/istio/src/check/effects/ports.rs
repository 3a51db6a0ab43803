//! Settings of single ports: those that are for no port, and those that drop what holds for all.

use super::super::references::ports::defined;
use super::super::{Checking, list};
use crate::codes;
use crate::compile::services::service::Service;
use crate::locations::{Path, way};
use crate::resources::DestinationRule;
use crate::resources::destination_rule::{PolicyBlocks, TrafficPolicy};

pub(super) fn check(cx: &Checking<'_>, rule: &DestinationRule) {
    let service = super::service(cx, rule);
    let top = rule.traffic_policy.as_ref();
    if let Some(policy) = top {
        level(cx, rule, policy, &way!["spec", "trafficPolicy"], &[&policy.blocks], service);
    }
    for (at, subset) in rule.subsets.iter().enumerate() {
        if let Some(policy) = &subset.traffic_policy {
            let mut above = vec![&policy.blocks];
            above.extend(top.map(|policy| &policy.blocks));
            level(cx, rule, policy, &way!["spec", "subsets", at, "trafficPolicy"], &above, service);
        }
    }
}

/// Istio: the blocks of a port replace all others, and what it does not write is not in force.
fn level(
    cx: &Checking<'_>,
    rule: &DestinationRule,
    policy: &TrafficPolicy,
    path: &Path,
    above: &[&PolicyBlocks],
    service: Option<&Service>,
) {
    for (at, (port, blocks)) in policy.port_level.iter().enumerate() {
        let path = path.to("portLevelSettings").to(at);
        if let Some(service) = service.filter(|service| !service.ports.is_empty() && service.port(port.value).is_none())
        {
            let known = list(service.ports.iter().map(|port| port.number));
            let message = format!("{} has no port {}: these settings are for nothing", service.host, port.value);
            let complaint = cx.warning(codes::PORT_LEVEL_NEVER, &rule.meta, &path.to("port").to("number"), message);
            cx.tell(complaint.label(&defined(service), format!("it has {known}, defined here")));
            continue;
        }
        let mut lost: Vec<&str> = ["loadBalancer", "connectionPool", "outlierDetection", "tls"]
            .into_iter()
            .filter(|name| !has(blocks, name) && above.iter().any(|above| has(above, name)))
            .collect();
        // Istio: these have no form of their own for a port.
        lost.extend(policy.retry_budget.is_some().then_some("retryBudget"));
        lost.extend(policy.tunnel.is_some().then_some("tunnel"));
        lost.extend(policy.proxy_protocol.is_some().then_some("proxyProtocol"));
        if !lost.is_empty() {
            let is = if lost.len() == 1 { "is" } else { "are" };
            let message = format!(
                "on port {} {} of the rule {is} not in force: a port inherits nothing",
                port.value,
                list(&lost)
            );
            let complaint = cx.warning(codes::PORT_LEVEL_DROPS, &rule.meta, &path, message);
            cx.tell(complaint.help(format!("repeat {} here", list(&lost))));
        }
    }
}

fn has(blocks: &PolicyBlocks, name: &str) -> bool {
    match name {
        "loadBalancer" => blocks.load_balancer.is_some(),
        "connectionPool" => blocks.connection_pool.is_some(),
        "tls" => blocks.tls.is_some(),
        _ => blocks.outlier_detection.is_some(),
    }
}
