//! A new TCP connection for each request: what accepting and closing cost.

use std::path::Path;

use super::{
    Figures, LOAD_IS_THE_LIMIT, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric, other_share,
    per_request_us,
};
use crate::lab::Lab;
use crate::peers::{Needs, Peer};
use crate::role::load::LoadArgs;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "churn",
    about: "HTTP/1.1, a new connection for each request, closed by the client: by a closed loop and at a fixed rate",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("cpu_us", "CPU µs/req", 1, Table::Compared),
    metric("rps", "req/s", 0, Table::Compared),
    metric("open_p50_us", "p50 µs", 0, Table::Compared),
    metric("open_p99_us", "p99 µs", 0, Table::Compared),
    metric("open_p999_us", "p99.9 µs", 0, Table::Compared),
    metric("rss_load_mib", "RSS loaded MiB", 1, Table::Compared),
    check("proxy_core", "proxy CPU %", f64::INFINITY),
    check("load_core", "load+upstream CPU %", LOAD_IS_THE_LIMIT),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "errors", 0.0),
    check("unserved", "unserved", 0.0),
];

/// Addresses that connections come from, so that no run finds its ports blocked by the one before.
const SOURCES: usize = 64;
/// New connections per second of the open loop: less than any proxy's capacity.
const MOST_PER_SECOND: f64 = 2000.0;

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let mut running = lab.start(peer, binary, &Needs::default())?;
    let proxied = running.idle_rss_kib.is_some();
    // No more sources than connections are used, and the rate's connections are taken in turns.
    let args = LoadArgs { fresh: true, sources: SOURCES, ..lab.load_args(&running) };
    let closed = lab.run_load(&mut running, &args)?;
    let open_args =
        LoadArgs { rate: Some(lab.plan.rate.min(MOST_PER_SECOND)), connections: args.connections.max(SOURCES), ..args };
    let open = lab.run_load(&mut running, &open_args)?;
    let share = |seconds: f64| 100.0 * seconds / closed.seconds;
    let mut figures = Figures::from([
        ("rps", closed.answered as f64 / closed.seconds),
        ("load_core", share(closed.load_cpu + closed.upstream_cpu)),
        (OTHER, other_share(&closed).max(other_share(&open))),
        ("errors", (closed.errors + open.errors) as f64),
        ("unserved", open.unserved as f64),
    ]);
    if proxied {
        figures.insert("cpu_us", per_request_us(&closed));
        figures.insert("proxy_core", share(closed.proxy_cpu));
        figures.insert("rss_load_mib", closed.proxy_rss_kib as f64 / 1024.0);
    }
    for (key, value) in [("open_p50_us", open.p50_us), ("open_p99_us", open.p99_us), ("open_p999_us", open.p999_us)] {
        figures.extend(value.map(|value| (key, value)));
    }
    Ok(figures)
}
