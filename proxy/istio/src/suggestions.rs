//! Suggestions for an unknown key: the block that has it, or how the setting is written in Istio.

use std::cmp::Reverse;

use crate::support::{ALL, Block};
use crate::yaml::{Key, Node};

/// Words of other configurations, and Istio's for the same thing.
const HABITS: &[(&str, &str)] = &[
    (
        "circuitBreaker",
        "limits are written in `trafficPolicy.connectionPool`, ejection in `trafficPolicy.outlierDetection`",
    ),
    (
        "circuitBreakers",
        "limits are written in `trafficPolicy.connectionPool`, ejection in `trafficPolicy.outlierDetection`",
    ),
    ("retry", "retries are written as `retries: {attempts: …, perTryTimeout: …, retryOn: …}`"),
    ("retryPolicy", "retries are written as `retries: {attempts: …, perTryTimeout: …, retryOn: …}`"),
    ("canary", "a canary is written as several entries of `route`, each with a `weight`"),
    ("rateLimit", "Istio has no rate limit here; `connectionPool` bounds what is in flight"),
];

/// The most places that are named for one key.
const MOST_HOMES: usize = 3;

/// Advice about a key that is unknown here: where it belongs, or how it is written. `value` is what it holds, and `beside` are
/// the keys of its block, which mostly went astray together.
pub(crate) fn advice(key: &str, value: &Node, beside: &[(Key, Node)], here: &'static Block) -> Option<String> {
    if let Some(home) = value.entries().and_then(|inside| home_of_all(inside, here)) {
        let child = home.path.strip_prefix(here.path).and_then(|rest| rest.strip_prefix('.'));
        return Some(match child.filter(|child| here.row(child).is_some()) {
            Some(child) => format!("did you mean `{child}`?"),
            None => format!("what is in `{key}` belongs in `{}`", full_path(home)),
        });
    }
    if let Some((_, advice)) = HABITS.iter().find(|(word, _)| *word == key) {
        return Some((*advice).to_owned());
    }
    let strays = || beside.iter().filter(|(key, _)| here.row(&key.text).is_none());
    let knows = |block: &Block| strays().filter(|(key, _)| block.row(&key.text).is_some()).count();
    let others = ALL.iter().filter(|block| block.kind == here.kind && !std::ptr::eq(**block, here));
    let homes: Vec<_> = others.filter(|block| block.row(key).is_some()).map(|block| (knows(block), *block)).collect();
    let most = homes.iter().map(|(known, _)| *known).max()?;
    let likely: Vec<_> = homes.iter().filter(|(known, _)| *known == most).map(|(_, block)| full_path(block)).collect();
    let named = likely.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" or ");
    (likely.len() <= MOST_HOMES).then(|| format!("`{key}` belongs in {named}"))
}

/// Whether another block of the kind has a field of this very name.
pub(crate) fn is_known(key: &str, here: &'static Block) -> bool {
    ALL.iter().any(|block| block.kind == here.kind && !std::ptr::eq(*block, here) && block.row(key).is_some())
}

/// The block that knows most of several keys, and more than half of them.
fn home_of_all(inside: &[(Key, Node)], here: &'static Block) -> Option<&'static Block> {
    let knows = |block: &Block| inside.iter().filter(|(key, _)| block.row(&key.text).is_some()).count();
    let others = ALL.iter().filter(|block| block.kind == here.kind && !std::ptr::eq(**block, here));
    let mut homes: Vec<_> = others.map(|block| (knows(block), *block)).collect();
    homes.sort_by_key(|(known, _)| Reverse(*known));
    match homes[..] {
        [(most, home), (next, _), ..] if most > next && most > 1 && 2 * most > inside.len() => Some(home),
        _ => None,
    }
}

/// Where a block stands, from `spec` on.
fn full_path(block: &Block) -> String {
    let parts = ["loadBalancer", "connectionPool", "outlierDetection", "tls"];
    let of_policy = block.kind == "DestinationRule" && parts.iter().any(|part| block.path.starts_with(part));
    if of_policy { format!("trafficPolicy.{}", block.path) } else { block.path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{HTTP_ROUTE, HTTP_SETTINGS, TCP_SETTINGS, TRAFFIC_POLICY};
    use crate::yaml;

    /// Advice about the first key of a block.
    fn check(text: &str, here: &'static Block, wanted: Option<&str>) {
        yaml::parse(text, |document| {
            let entries = document.root.entries().expect("a block");
            let (key, value) = &entries[0];
            assert_eq!(advice(&key.text, value, entries, here).as_deref(), wanted, "{text}");
        });
    }

    #[test]
    fn a_misplaced_field_is_told_where_it_belongs() {
        let ejection = |key: &str| format!("`{key}` belongs in `trafficPolicy.outlierDetection`");
        let five = ejection("consecutive5xxErrors");
        check("consecutive5xxErrors: 1", &HTTP_SETTINGS, Some(&five));
        check("perTryTimeout: 1s", &HTTP_ROUTE, Some("`perTryTimeout` belongs in `http[].retries`"));
        check(
            "maxConnections: 1",
            &HTTP_SETTINGS,
            Some("`maxConnections` belongs in `trafficPolicy.connectionPool.tcp`"),
        );
        check("zebra: 1", &TRAFFIC_POLICY, None);
    }

    #[test]
    fn keys_that_went_astray_together_belong_together() {
        let alone = "`interval` belongs in `trafficPolicy.connectionPool.tcp.tcpKeepalive` or \
                     `trafficPolicy.connectionPool.http.http2KeepAlive` or `trafficPolicy.outlierDetection`";
        check("interval: 1s", &HTTP_SETTINGS, Some(alone));
        let together = "`interval` belongs in `trafficPolicy.outlierDetection`";
        check("{interval: 1s, baseEjectionTime: 1s, maxRetries: 1}", &HTTP_SETTINGS, Some(together));
        let keepalive = "`interval` belongs in `trafficPolicy.connectionPool.tcp.tcpKeepalive`";
        check("{interval: 1s, probes: 3, time: 1s}", &TCP_SETTINGS, Some(keepalive));
    }

    #[test]
    fn a_block_of_another_name_is_told_by_what_is_in_it() {
        let ejection = "what is in `circuitBreaker` belongs in `trafficPolicy.outlierDetection`";
        check("circuitBreaker: {interval: 1s, maxEjectionPercent: 5}", &TRAFFIC_POLICY, Some(ejection));
        let pool = "what is in `limits` belongs in `trafficPolicy.connectionPool.http`";
        check("limits: {http2MaxRequests: 1, maxRetries: 5, other: 1}", &TRAFFIC_POLICY, Some(pool));
        check("limits: {http2MaxRequests: 1, a: 5, b: 1}", &TRAFFIC_POLICY, None);
        let both = "limits are written in `trafficPolicy.connectionPool`, ejection in `trafficPolicy.outlierDetection`";
        let child = "did you mean `tcpKeepalive`?";
        check("pings: {time: 1s, interval: 1s, probes: 3}", &TCP_SETTINGS, Some(child));
        check("circuitBreaker: {}", &TRAFFIC_POLICY, Some(both));
        check("circuitBreaker: {simpleCb: {maxConnections: 1}}", &TRAFFIC_POLICY, Some(both));
    }
}
