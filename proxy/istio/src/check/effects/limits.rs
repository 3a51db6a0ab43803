//! Limits and connection settings that bind less, or more, than they seem to.

use super::super::Checking;
use super::Scope;
use crate::codes;
use crate::compile::protocol::PortProtocol;
use crate::resources::destination_rule::{Algorithm, H2Upgrade};

pub(super) fn check(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    per_sidecar(cx, at);
    tcp_only(cx, at);
    http2(cx, at);
    passthrough(cx, at);
}

/// Envoy: a limit counts what one proxy sends to all endpoints of a cluster.
fn per_sidecar(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    let Some(pool) = &at.blocks.connection_pool else { return };
    let endpoints = at.endpoints().unwrap_or(1);
    let limits = [("tcp", "maxConnections", pool.max_connections), ("http", "http2MaxRequests", pool.max_requests)];
    for (block, name, limit) in limits {
        let Some(limit) = limit.filter(|limit| *limit == 1 || (*limit as usize) < endpoints) else { continue };
        let message = match endpoints {
            1 => format!("{name} {limit}: this limit is per sidecar, not for all callers together"),
            n => format!(
                "{name} {limit}: this limit is per sidecar, and for all {n} endpoints of {} together",
                at.whose()
            ),
        };
        let path = at.path.to("connectionPool").to(block).to(name);
        cx.tell(cx.info(codes::LIMIT_PER_SIDECAR, &at.rule.meta, &path, message));
    }
}

/// Settings of requests, when no port of the service carries any.
fn tcp_only(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    let (Some(pool), Some(service)) = (&at.blocks.connection_pool, at.service) else { return };
    let mut ports = service.ports.iter().filter(|port| at.port.is_none_or(|wanted| wanted == port.number)).peekable();
    if ports.peek().is_none() || ports.any(|port| port.protocol.is_routed()) {
        return;
    }
    let written = [
        ("http1MaxPendingRequests", pool.max_pending_requests.is_some()),
        ("http2MaxRequests", pool.max_requests.is_some()),
        ("maxRequestsPerConnection", pool.max_requests_per_connection.is_some()),
        ("maxRetries", pool.max_retries.is_some()),
        ("idleTimeout", pool.http_idle_timeout.is_some()),
    ];
    if let Some((name, _)) = written.into_iter().find(|(_, written)| *written) {
        let message = format!("{name} has no effect: no port of {} is HTTP", service.host);
        let path = at.path.to("connectionPool").to("http").to(name);
        cx.tell(
            cx.warning(codes::HTTP_POOL_ON_TCP, &at.rule.meta, &path, message).help("bound it by `tcp.maxConnections`"),
        );
    }
}

/// Settings of HTTP/2, when none of the service's ports speaks it.
fn http2(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    let (Some(pool), Some(service)) = (&at.blocks.connection_pool, at.service) else { return };
    let mut ports = service.ports.iter().filter(|port| at.port.is_none_or(|wanted| wanted == port.number)).peekable();
    if ports.peek().is_none() {
        return;
    }
    let protocols: Vec<PortProtocol> = ports.map(|port| port.protocol).collect();
    let path = at.path.to("connectionPool").to("http");
    let upgraded = pool.h2_upgrade == H2Upgrade::Upgrade;
    if upgraded && !protocols.contains(&PortProtocol::Http) {
        let message = format!("h2UpgradePolicy has no effect: no port of {} is declared as HTTP", service.host);
        cx.tell(cx.warning(codes::NOT_HTTP2, &at.rule.meta, &path.to("h2UpgradePolicy"), message));
    }
    let speaks = |protocol: &PortProtocol| {
        matches!(protocol, PortProtocol::Http2 | PortProtocol::Grpc | PortProtocol::GrpcWeb)
            || (upgraded && *protocol == PortProtocol::Http)
    };
    if protocols.iter().any(speaks) {
        return;
    }
    let written = [
        ("http2KeepAlive", pool.http2_keepalive.is_some()),
        ("maxConcurrentStreams", pool.max_concurrent_streams.is_some()),
    ];
    for (name, _) in written.into_iter().filter(|(_, written)| *written) {
        let message = format!("{name} has no effect: no port of {} is declared as HTTP2 or GRPC", service.host);
        cx.tell(cx.warning(codes::NOT_HTTP2, &at.rule.meta, &path.to(name), message));
    }
}

/// Istio: PASSTHROUGH dials what the caller dialled.
fn passthrough(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    let passes = at.blocks.load_balancer.as_ref().is_some_and(|balancer| balancer.algorithm == Algorithm::Passthrough);
    if !passes {
        return;
    }
    let labelled = match at.subset {
        Some(subset) => !subset.labels.is_empty(),
        None => at.rule.subsets.iter().any(|subset| !subset.labels.is_empty() && subset.traffic_policy.is_none()),
    };
    let what = match (labelled, at.blocks.outlier_detection.is_some()) {
        (true, _) => "subsets choose nothing",
        (false, true) => "nothing is ejected",
        (false, false) => return,
    };
    let message = format!("with PASSTHROUGH requests go where the caller was going, so {what}");
    let path = at.path.to("loadBalancer").to("simple");
    cx.tell(cx.warning(codes::PASSTHROUGH_BYPASSES, &at.rule.meta, &path, message));
}
