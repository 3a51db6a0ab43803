//! Reads `trafficPolicy`: load balancing, connection pool, outlier detection.

use super::{both, ceiling, client_tls, limit, load_balancer};
use crate::codes;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::destination_rule::{
    ConnectionPool, H2Upgrade, OutlierDetection, PolicyBlocks, ProxyProtocol, RetryBudget, TcpKeepalive, TrafficPolicy,
    Tunnel,
};
use crate::source::Located;
use crate::support::{
    CONNECTION_POOL, HTTP_SETTINGS, HTTP2_KEEPALIVE, LOAD_BALANCER, OUTLIER_DETECTION, POLICY_PORT, PORT_POLICY,
    PROXY_PROTOCOL, RETRY_BUDGET, TCP_KEEPALIVE, TCP_SETTINGS, TRAFFIC_POLICY, TUNNEL,
};

pub(super) fn read(field: Field<'_>) -> Option<Box<TrafficPolicy>> {
    let fields = field.block(&TRAFFIC_POLICY)?;
    fields.at_least_one(&[
        "loadBalancer",
        "connectionPool",
        "outlierDetection",
        "tls",
        "portLevelSettings",
        "tunnel",
        "proxyProtocol",
        "retryBudget",
    ]);
    fields.at_most_one(&["tunnel", "proxyProtocol"]);
    let mut port_level = Vec::new();
    for entry in fields.get("portLevelSettings").items(&PORT_POLICY) {
        entry.at_least_one(&["loadBalancer", "connectionPool", "outlierDetection", "tls"]);
        let number = entry.required("port").block(&POLICY_PORT).and_then(|port| {
            let number = port.required("number");
            number.port().map(|value| Located::new(value, port.cx.spot(number.mark())))
        });
        port_level.extend(number.map(|number| (number, blocks(&entry))));
    }
    let retry_budget = retry_budget(fields.get("retryBudget"));
    let tunnel = tunnel(fields.get("tunnel")).map(Box::new);
    let proxy_protocol = fields.get("proxyProtocol").block(&PROXY_PROTOCOL).map(|fields| {
        let versions = [("V1", ProxyProtocol::V1), ("V2", ProxyProtocol::V2)];
        fields.get("version").choice(&versions).unwrap_or_default()
    });
    Some(Box::new(TrafficPolicy {
        spot: fields.spot(),
        blocks: blocks(&fields),
        port_level,
        retry_budget,
        tunnel,
        proxy_protocol,
    }))
}

fn blocks(fields: &Fields<'_>) -> PolicyBlocks {
    PolicyBlocks {
        load_balancer: fields.get("loadBalancer").block(&LOAD_BALANCER).map(|f| Box::new(load_balancer::read(&f))),
        connection_pool: pool(fields.get("connectionPool")).map(Box::new),
        outlier_detection: outlier(fields.get("outlierDetection")).map(Box::new),
        tls: client_tls::read(fields).map(Box::new),
    }
}

fn tunnel(field: Field<'_>) -> Option<Tunnel> {
    let fields = field.block(&TUNNEL)?;
    let post = fields.get("protocol").choice(&[("CONNECT", false), ("POST", true)]).unwrap_or(false);
    let host = fields.required("targetHost").checked(codes::BAD_HOST, |host| {
        if host.parse::<std::net::IpAddr>().is_ok() { Ok(()) } else { names::fqdn(host) }
    });
    let port = fields.required("targetPort").port();
    Some(Tunnel { post, host: host?, port: port? })
}

fn retry_budget(field: Field<'_>) -> Option<RetryBudget> {
    let fields = field.block(&RETRY_BUDGET)?;
    Some(RetryBudget {
        percent: fields.get("percent").number(|percent| (0.0..=100.0).contains(&percent), "0 to 100").unwrap_or(20.0),
        min_retry_concurrency: fields.get("minRetryConcurrency").uint().unwrap_or(3),
        interval: fields.get("budgetInterval").any_duration(),
    })
}

/// Reads a connection pool, wherever one may be written.
pub(super) fn pool(field: Field<'_>) -> Option<ConnectionPool> {
    field.block(&CONNECTION_POOL).map(|fields| connection_pool(&fields))
}

fn connection_pool(fields: &Fields<'_>) -> ConnectionPool {
    fields.at_least_one(&["tcp", "http"]);
    let mut pool = ConnectionPool::default();
    if let Some(tcp) = fields.get("tcp").block(&TCP_SETTINGS) {
        pool.max_connections = ceiling(tcp.get("maxConnections"));
        pool.connect_timeout = tcp.get("connectTimeout").duration();
        pool.max_connection_duration = tcp.get("maxConnectionDuration").duration();
        pool.tcp_idle_timeout = tcp.get("idleTimeout").duration_or_zero();
        pool.tcp_keepalive = tcp_keepalive(tcp.get("tcpKeepalive"));
    }
    if let Some(http) = fields.get("http").block(&HTTP_SETTINGS) {
        pool.max_pending_requests = ceiling(http.get("http1MaxPendingRequests"));
        pool.max_requests = ceiling(http.get("http2MaxRequests"));
        pool.max_requests_per_connection = limit(http.get("maxRequestsPerConnection"));
        pool.max_retries = ceiling(http.get("maxRetries"));
        pool.http_idle_timeout = http.get("idleTimeout").duration();
        pool.max_concurrent_streams = limit(http.get("maxConcurrentStreams"));
        let upgrade = [
            ("DEFAULT", H2Upgrade::Default),
            ("DO_NOT_UPGRADE", H2Upgrade::DoNotUpgrade),
            ("UPGRADE", H2Upgrade::Upgrade),
        ];
        pool.h2_upgrade = http.get("h2UpgradePolicy").choice(&upgrade).unwrap_or_default();
        pool.use_client_protocol = http.get("useClientProtocol").bool().unwrap_or(false);
        if pool.use_client_protocol && pool.h2_upgrade == H2Upgrade::Upgrade {
            let message = "`useClientProtocol` cannot be set together with `h2UpgradePolicy: UPGRADE`";
            http.cx.error(codes::CONFLICT, http.place("useClientProtocol"), message);
        }
        let keepalive = http.get("http2KeepAlive").block(&HTTP2_KEEPALIVE);
        pool.http2_keepalive = keepalive.and_then(|keepalive| both(&keepalive, "interval", "timeout"));
    }
    pool
}

/// Reads `tcpKeepalive`, wherever one may be written.
pub(super) fn tcp_keepalive(field: Field<'_>) -> Option<TcpKeepalive> {
    field.block(&TCP_KEEPALIVE).map(|keepalive| TcpKeepalive {
        probes: keepalive.get("probes").uint(),
        time: keepalive.get("time").duration(),
        interval: keepalive.get("interval").duration(),
    })
}

/// Reads outlier detection, wherever it may be written.
pub(super) fn outlier(field: Field<'_>) -> Option<OutlierDetection> {
    field.block(&OUTLIER_DETECTION).map(|fields| outlier_detection(&fields))
}

fn outlier_detection(fields: &Fields<'_>) -> OutlierDetection {
    let split_local_origin = fields.get("splitExternalLocalOriginErrors").bool().unwrap_or(false);
    let consecutive_local = fields.get("consecutiveLocalOriginFailures").uint();
    if consecutive_local.is_some_and(|n| n > 0) && !split_local_origin {
        let message = "`consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors: true`";
        fields.cx.error(codes::NEEDS, fields.place("consecutiveLocalOriginFailures"), message);
    }
    let percent = |name| fields.get(name).int(0..=100).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    fields.get("consecutiveErrors").count();
    OutlierDetection {
        consecutive_5xx: fields.get("consecutive5xxErrors").uint(),
        consecutive_gateway: fields.get("consecutiveGatewayErrors").uint(),
        split_local_origin,
        consecutive_local,
        interval: fields.get("interval").duration(),
        base_ejection: fields.get("baseEjectionTime").duration(),
        max_ejection_percent: percent("maxEjectionPercent"),
        min_health_percent: percent("minHealthPercent"),
        error_codes: error_codes(fields.get("outlierDetectionHttpErrorCodes")),
    }
}

fn error_codes(field: Field<'_>) -> Vec<u16> {
    let numbers = field.list().iter().map(|node| Field { node: Some(node), key: node.mark, ..field }.int(100..=599));
    numbers.flatten().filter_map(|code| u16::try_from(code).ok()).collect()
}
