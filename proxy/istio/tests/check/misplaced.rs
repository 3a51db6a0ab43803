//! Settings in the wrong block: each is told with the place where it belongs, and all the others are in force.

use leeboard_istio::load;
use leeboard_istio::source::Source;
use leeboard_policy::time::Span;

use crate::{WORLD, found, policy};

const POLICY: &str = "{
  loadBalancer: {consistentHash: {httpHeaderName: x-user-id}},
  connectionPool: {
    tcp: {maxConnections: 100, keepAlive: {time: 7200s, interval: 75s}},
    http: {http1MaxPendingRequests: 50, maxRetries: 3, consecutiveGatewayErrors: 5, baseEjectionTime: 30s}},
  circuitBreaker: {consecutiveGatewayErrors: 5, interval: 30s},
  outlierDetection: {consecutiveGatewayErrors: 5, baseEjectionTime: 20s, maxEjectionPercent: 50, minHealthPercent: 50}}";

#[test]
fn a_misplaced_field_is_told_where_it_belongs() {
    let text = format!("{WORLD}{}", policy(POLICY));
    let told: Vec<(String, Option<String>)> = found(&text).into_iter().map(|d| (d.message, d.help)).collect();
    let told: Vec<(&str, &str)> =
        told.iter().map(|(message, help)| (&**message, help.as_deref().unwrap_or(""))).collect();
    let place = |field: &str| format!("`{field}` belongs in `trafficPolicy.outlierDetection`");
    let (gateway, base) = (place("consecutiveGatewayErrors"), place("baseEjectionTime"));
    let breaker = "what is in `circuitBreaker` belongs in `trafficPolicy.outlierDetection`";
    let wanted = [
        ("unknown field `keepAlive` in `connectionPool.tcp`", "did you mean `tcpKeepalive`?"),
        ("unknown field `consecutiveGatewayErrors` in `connectionPool.http`", &*gateway),
        ("unknown field `baseEjectionTime` in `connectionPool.http`", &*base),
        ("unknown field `circuitBreaker` in `trafficPolicy`", breaker),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn what_stands_where_it_belongs_is_in_force() {
    let loaded = load(&[Source::new("f.yaml", format!("{WORLD}{}", policy(POLICY)))]);
    assert_eq!(loaded.errors(), 0);
    let rule = &loaded.resources.destination_rules[0];
    let blocks = &rule.traffic_policy.as_ref().expect("there is one").blocks;
    let pool = blocks.connection_pool.as_ref().expect("a pool");
    assert_eq!((pool.max_connections, pool.max_pending_requests, pool.max_retries), (Some(100), Some(50), Some(3)));
    let detection = blocks.outlier_detection.as_ref().expect("outlier detection");
    assert_eq!((detection.consecutive_gateway, detection.base_ejection), (Some(5), Some(Span::from_secs(20))));
}
