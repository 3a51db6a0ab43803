//! What the blocks of a policy mean for a cluster: Istio's fields with their defaults filled in.

use std::sync::Arc;

use leeboard_policy::cluster::{
    Balancer, Connection, HashCookie, HashKey, Limits, Outlier, Protocol, RetryBudget, TcpKeepalive, Warmup,
};
use leeboard_policy::dice::Share;
use leeboard_policy::time::Span;

use crate::compile::protocol::PortProtocol;
use crate::resources::destination_rule::{
    self, Algorithm, ConnectionPool, H2Upgrade, HashTable, LoadBalancer, OutlierDetection,
};

/// Envoy: the panic threshold of a cluster that does not say otherwise.
pub(crate) const DEFAULT_PANIC_PERCENT: u32 = 50;
/// Envoy: the least number of entries on a ring.
const DEFAULT_RING_SIZE: u64 = 1024;
/// Envoy: the number of entries in Maglev's table.
const DEFAULT_TABLE_SIZE: u32 = 65_537;
/// Envoy: so many retries are within every budget.
const LEAST_RETRIES: u32 = 3;
/// Envoy: an ejection lasts no longer, unless the first one already does.
const MAX_EJECTION: Span = Span::from_secs(300);

/// Istio: LEAST_REQUEST unless another is asked for. PASSTHROUGH has no balancer: see [`is_passthrough`].
pub(crate) fn balancer(load_balancer: Option<&LoadBalancer>) -> Balancer {
    match load_balancer.map(|load_balancer| &load_balancer.algorithm) {
        None | Some(Algorithm::LeastRequest | Algorithm::Passthrough) => Balancer::LeastRequest,
        Some(Algorithm::RoundRobin) => Balancer::RoundRobin,
        Some(Algorithm::Random) => Balancer::Random,
        Some(Algorithm::ConsistentHash { key, table }) => match table {
            HashTable::Ring { minimum_size } => Balancer::RingHash {
                key: hash_key(key),
                minimum_size: minimum_size.filter(|size| *size > 0).unwrap_or(DEFAULT_RING_SIZE),
            },
            HashTable::Maglev { table_size } => Balancer::Maglev {
                key: hash_key(key),
                table_size: table_size.and_then(|size| u32::try_from(size).ok()).unwrap_or(DEFAULT_TABLE_SIZE),
            },
        },
    }
}

/// Envoy: a cookie lives for whole seconds; without a `ttl` it is only read.
fn hash_key(key: &destination_rule::HashKey) -> HashKey {
    match key {
        destination_rule::HashKey::Header(name) => HashKey::Header(name.clone()),
        destination_rule::HashKey::QueryParameter(name) => HashKey::Query(name.clone()),
        destination_rule::HashKey::SourceIp => HashKey::SourceIp,
        destination_rule::HashKey::Cookie(cookie) => HashKey::Cookie(Arc::new(HashCookie {
            name: cookie.name.clone(),
            path: cookie.path.clone().unwrap_or_default(),
            max_age: cookie.ttl.map(|ttl| ttl.0 / 1_000_000_000),
            attributes: cookie.attributes.clone(),
        })),
    }
}

/// Istio: new endpoints of ROUND_ROBIN and LEAST_REQUEST only come to their share little by little.
pub(crate) fn warmup(load_balancer: Option<&LoadBalancer>) -> Option<Warmup> {
    let load_balancer = load_balancer?;
    let written = load_balancer.warmup?;
    matches!(load_balancer.algorithm, Algorithm::LeastRequest | Algorithm::RoundRobin).then_some(Warmup {
        duration: written.duration,
        least: written.minimum_percent / 100.0,
        aggression: written.aggression,
    })
}

/// Istio: PASSTHROUGH sends requests wherever the caller was going.
pub(crate) fn is_passthrough(load_balancer: Option<&LoadBalancer>) -> bool {
    load_balancer.is_some_and(|load_balancer| load_balancer.algorithm == Algorithm::Passthrough)
}

/// Istio: a limit of 0 is none, and a budget's least that is 0 is the default.
pub(crate) fn limits(pool: Option<&ConnectionPool>, budget: Option<destination_rule::RetryBudget>) -> Limits {
    let budget = budget.map(|budget| RetryBudget {
        share: Share::from_percent(budget.percent),
        least: if budget.min_retry_concurrency == 0 { LEAST_RETRIES } else { budget.min_retry_concurrency },
        interval: budget.interval.filter(|interval| interval.0 > 0),
    });
    let Some(pool) = pool else { return Limits { budget, ..Limits::default() } };
    let limit = |value: Option<u32>| value.filter(|value| *value > 0);
    Limits {
        connections: limit(pool.max_connections),
        pending: limit(pool.max_pending_requests),
        requests: limit(pool.max_requests),
        retries: limit(pool.max_retries),
        budget,
    }
}

/// Istio: the HTTP idle timeout goes before TCP's, where zero means for ever. Settings of HTTP/2 connections hold only
/// where HTTP/2 is spoken for certain.
pub(crate) fn connection(pool: Option<&ConnectionPool>, protocol: Protocol) -> Connection {
    let mut connection = Connection::default();
    let Some(pool) = pool else { return connection };
    connection.connect_timeout = pool.connect_timeout.unwrap_or(connection.connect_timeout);
    connection.idle_timeout = match pool.http_idle_timeout.or(pool.tcp_idle_timeout) {
        None => connection.idle_timeout,
        Some(Span(0)) => None,
        Some(idle) => Some(idle),
    };
    connection.max_age = pool.max_connection_duration;
    connection.max_requests = pool.max_requests_per_connection.filter(|most| *most > 0);
    if protocol == Protocol::Http2 {
        connection.max_streams = pool.max_concurrent_streams.filter(|most| *most > 0);
        connection.http2_keepalive = pool.http2_keepalive;
    }
    connection.tcp_keepalive = pool.tcp_keepalive.map(|keepalive| TcpKeepalive {
        probes: keepalive.probes,
        time: keepalive.time,
        interval: keepalive.interval,
    });
    connection
}

/// Istio: `useClientProtocol` goes before `h2UpgradePolicy`. Who writes `UPGRADE` for a host knows that it is HTTP, so that
/// it holds for a port which does not say so, too.
pub(crate) fn protocol(port: PortProtocol, pool: Option<&ConnectionPool>) -> Protocol {
    match pool {
        Some(pool) if pool.use_client_protocol && port.is_routed() => Protocol::Client,
        Some(pool)
            if pool.h2_upgrade == H2Upgrade::Upgrade
                && matches!(port, PortProtocol::Http | PortProtocol::HttpProxy | PortProtocol::Auto) =>
        {
            Protocol::Http2
        }
        _ => port.upstream(),
    }
}

/// When endpoints are ejected, and below which share of available ones all are used.
/// Istio: with outlier detection the panic threshold is `minHealthPercent`, so it is off unless that is set.
pub(crate) fn outlier(detection: Option<&OutlierDetection>) -> (Option<Outlier>, u32) {
    let Some(detection) = detection else { return (None, DEFAULT_PANIC_PERCENT) };
    let default = Outlier::default();
    let base_ejection = detection.base_ejection.unwrap_or(default.base_ejection);
    let outlier = Outlier {
        consecutive_5xx: detection.consecutive_5xx.unwrap_or(default.consecutive_5xx),
        consecutive_gateway: detection.consecutive_gateway.unwrap_or(default.consecutive_gateway),
        split_local_origin: detection.split_local_origin,
        // Istio passes this on only when it is above zero; otherwise Envoy's default stands, and is enforced.
        consecutive_local: detection.consecutive_local.filter(|n| *n > 0).unwrap_or(default.consecutive_local),
        error_codes: detection.error_codes.clone(),
        interval: detection.interval.unwrap_or(default.interval),
        base_ejection,
        max_ejection: base_ejection.max(MAX_EJECTION),
        max_ejection_percent: match detection.max_ejection_percent {
            0 => default.max_ejection_percent,
            percent => percent,
        },
    };
    (Some(outlier), detection.min_health_percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balancers() {
        let hash = |key, minimum_size| Algorithm::ConsistentHash { key, table: HashTable::Ring { minimum_size } };
        let ring = |key, minimum_size| Balancer::RingHash { key, minimum_size };
        for (written, expected) in [
            (None, Balancer::LeastRequest),
            (Some(Algorithm::LeastRequest), Balancer::LeastRequest),
            (Some(Algorithm::RoundRobin), Balancer::RoundRobin),
            (Some(Algorithm::Random), Balancer::Random),
            (Some(Algorithm::Passthrough), Balancer::LeastRequest),
            (Some(hash(destination_rule::HashKey::SourceIp, None)), ring(HashKey::SourceIp, 1024)),
            (Some(hash(destination_rule::HashKey::SourceIp, Some(0))), ring(HashKey::SourceIp, 1024)),
            (
                Some(hash(destination_rule::HashKey::Header("x-user".into()), Some(7))),
                ring(HashKey::Header("x-user".into()), 7),
            ),
            (
                Some(hash(destination_rule::HashKey::QueryParameter("u".into()), None)),
                ring(HashKey::Query("u".into()), 1024),
            ),
        ] {
            let written = written.map(|algorithm| LoadBalancer { algorithm, ..LoadBalancer::default() });
            assert_eq!(balancer(written.as_ref()), expected, "{written:?}");
        }
    }

    #[test]
    fn no_pool_and_zero_are_no_limit() {
        assert_eq!(limits(None, None), Limits::default());
        let pool = ConnectionPool {
            max_connections: Some(0),
            max_pending_requests: Some(1),
            max_requests: Some(2),
            max_retries: Some(3),
            ..ConnectionPool::default()
        };
        let expected =
            Limits { connections: None, pending: Some(1), requests: Some(2), retries: Some(3), budget: None };
        assert_eq!(limits(Some(&pool), None), expected);
    }

    #[test]
    fn budgets() {
        let second = Span::from_secs(1);
        for (percent, least, interval, expected) in [
            (20.0, 3, None, (200_000, 3, None)),
            (0.5, 0, Some(Span(0)), (5_000, 3, None)),
            (100.0, 7, Some(second), (1_000_000, 7, Some(second))),
        ] {
            let written = destination_rule::RetryBudget { percent, min_retry_concurrency: least, interval };
            let pool = ConnectionPool { max_retries: Some(9), ..ConnectionPool::default() };
            for (pool, retries) in [(None, None), (Some(&pool), Some(9))] {
                let limits = limits(pool, Some(written));
                let budget = limits.budget.expect("one is written");
                assert_eq!((budget.share.0, budget.least, budget.interval), expected, "{written:?}");
                assert_eq!(limits.retries, retries);
            }
        }
    }

    #[test]
    fn idle_timeouts() {
        let (hour, second) = (Span::from_secs(3600), Span::from_secs(1));
        for (http, tcp, expected) in [
            (None, None, Some(hour)),
            (Some(second), Some(hour), Some(second)),
            (None, Some(second), Some(second)),
            (None, Some(Span(0)), None),
        ] {
            let pool = ConnectionPool { http_idle_timeout: http, tcp_idle_timeout: tcp, ..ConnectionPool::default() };
            assert_eq!(connection(Some(&pool), Protocol::Http1).idle_timeout, expected, "{http:?} {tcp:?}");
        }
    }

    #[test]
    fn streams_are_of_http2_only() {
        let keepalive = Some((Span::from_secs(1), Span::from_secs(2)));
        let pool = ConnectionPool {
            max_concurrent_streams: Some(5),
            http2_keepalive: keepalive,
            max_requests_per_connection: Some(9),
            connect_timeout: Some(Span::from_millis(30)),
            max_connection_duration: Some(Span::from_secs(60)),
            ..ConnectionPool::default()
        };
        for (protocol, streams, pings) in
            [(Protocol::Http1, None, None), (Protocol::Client, None, None), (Protocol::Http2, Some(5), keepalive)]
        {
            let connection = connection(Some(&pool), protocol);
            assert_eq!((connection.max_streams, connection.http2_keepalive), (streams, pings), "{protocol:?}");
            assert_eq!((connection.max_requests, connection.connect_timeout), (Some(9), Span::from_millis(30)));
            assert_eq!(connection.max_age, Some(Span::from_secs(60)));
        }
    }

    #[test]
    fn protocols() {
        use PortProtocol::{Auto, Grpc, Http, Http2, Tcp};
        for (port, h2_upgrade, use_client_protocol, expected) in [
            (Http, H2Upgrade::Default, false, Protocol::Http1),
            (Http, H2Upgrade::Upgrade, false, Protocol::Http2),
            (Http, H2Upgrade::DoNotUpgrade, false, Protocol::Http1),
            (Http, H2Upgrade::Upgrade, true, Protocol::Client),
            (Http2, H2Upgrade::Default, false, Protocol::Http2),
            (Grpc, H2Upgrade::DoNotUpgrade, false, Protocol::Http2),
            (Auto, H2Upgrade::Upgrade, false, Protocol::Http2),
            (Auto, H2Upgrade::Upgrade, true, Protocol::Client),
            (Auto, H2Upgrade::DoNotUpgrade, false, Protocol::Client),
            (PortProtocol::HttpProxy, H2Upgrade::Upgrade, false, Protocol::Http2),
            (Tcp, H2Upgrade::Upgrade, true, Protocol::Http1),
        ] {
            let pool = ConnectionPool { h2_upgrade, use_client_protocol, ..ConnectionPool::default() };
            assert_eq!(protocol(port, Some(&pool)), expected, "{port:?} {h2_upgrade:?} {use_client_protocol}");
        }
        assert_eq!(protocol(Auto, None), Protocol::Client);
    }

    #[test]
    fn outlier_detection_fills_in_envoys_defaults() {
        assert_eq!(outlier(None), (None, 50));
        assert_eq!(outlier(Some(&OutlierDetection::default())), (Some(Outlier::default()), 0));
        let written = OutlierDetection {
            consecutive_5xx: Some(0),
            consecutive_gateway: Some(3),
            split_local_origin: true,
            consecutive_local: Some(2),
            interval: Some(Span::from_secs(1)),
            base_ejection: Some(Span::from_secs(400)),
            max_ejection_percent: 100,
            min_health_percent: 20,
            error_codes: vec![429],
        };
        let expected = Outlier {
            consecutive_5xx: 0,
            consecutive_gateway: 3,
            split_local_origin: true,
            consecutive_local: 2,
            error_codes: vec![429],
            interval: Span::from_secs(1),
            base_ejection: Span::from_secs(400),
            max_ejection: Span::from_secs(400),
            max_ejection_percent: 100,
        };
        assert_eq!(outlier(Some(&written)), (Some(expected), 20));
    }
}
