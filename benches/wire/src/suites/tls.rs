//! TLS 1.3 in front of HTTP/1.1, with the upstream in the clear.

use std::path::Path;

use super::{
    Figures, LOAD_IS_THE_LIMIT, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric, other_share,
    per_request_us,
};
use crate::lab::Lab;
use crate::peers::{Needs, Peer, Protocol};
use crate::role::load::LoadArgs;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "tls",
    about: "HTTP/1.1 over TLS 1.3 that the proxy terminates, P-256 certificate; then a full handshake for each request",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("cpu_us", "CPU µs/req", 1, Table::Compared),
    metric("rps", "req/s", 0, Table::Compared),
    metric("open_p50_us", "p50 µs", 0, Table::Compared),
    metric("open_p99_us", "p99 µs", 0, Table::Compared),
    metric("open_p999_us", "p99.9 µs", 0, Table::Compared),
    metric("handshake_cpu_us", "handshake: CPU µs/req", 0, Table::Compared),
    metric("rss_load_mib", "RSS loaded MiB", 1, Table::Compared),
    check("proxy_core", "proxy CPU %", f64::INFINITY),
    check("load_core", "load+upstream CPU %", LOAD_IS_THE_LIMIT),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "errors", 0.0),
    check("unserved", "unserved", 0.0),
];

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let needs = Needs { protocol: Protocol::Tls, ..Needs::default() };
    let mut running = lab.start(peer, binary, &needs)?;
    let closed = lab.load(&mut running, None)?;
    let open = lab.load(&mut running, Some(lab.plan.rate))?;
    let fresh = LoadArgs { fresh: true, ..lab.load_args(&running) };
    let fresh = lab.run_load(&mut running, &fresh)?;
    let share = |seconds: f64| 100.0 * seconds / closed.seconds;
    let other = [&closed, &open, &fresh].map(other_share).into_iter().fold(0.0, f64::max);
    let mut figures = Figures::from([
        ("cpu_us", per_request_us(&closed)),
        ("rps", closed.answered as f64 / closed.seconds),
        ("handshake_cpu_us", per_request_us(&fresh)),
        ("rss_load_mib", closed.proxy_rss_kib as f64 / 1024.0),
        ("proxy_core", share(closed.proxy_cpu)),
        ("load_core", share(closed.load_cpu + closed.upstream_cpu)),
        (OTHER, other),
        ("errors", (closed.errors + open.errors + fresh.errors) as f64),
        ("unserved", open.unserved as f64),
    ]);
    for (key, value) in [("open_p50_us", open.p50_us), ("open_p99_us", open.p99_us), ("open_p999_us", open.p999_us)] {
        figures.extend(value.map(|value| (key, value)));
    }
    Ok(figures)
}
