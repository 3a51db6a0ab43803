//! One worker beside two: what a request costs each, on the same two cores.

use std::path::Path;

use super::{Figures, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric, other_share, per_request_us};
use crate::lab::Lab;
use crate::peers::{Needs, Peer};
use crate::role::load::LoadArgs;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "scale",
    about: "HTTP/1.1 with one and with two workers, both free to use both cores: what a request costs each",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("one_cpu_us", "1 worker: CPU µs/req", 1, Table::Compared),
    metric("two_cpu_us", "2 workers: CPU µs/req", 1, Table::Compared),
    metric("cpu_growth", "2 to 1", 2, Table::Shown),
    metric("one_open_cpu_us", "1 worker: at half the rate", 1, Table::Compared),
    metric("two_open_cpu_us", "2 workers: at rate", 1, Table::Compared),
    metric("open_cpu_growth", "2 to 1 at rate", 2, Table::Shown),
    metric("one_rss_mib", "1 worker: RSS MiB", 1, Table::Shown),
    metric("two_rss_mib", "2 workers: RSS MiB", 1, Table::Shown),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "errors", 0.0),
    check("unserved", "unserved", 0.0),
];

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let mut figures = Figures::new();
    for workers in [1, 2] {
        let keys = match workers {
            1 => ["one_cpu_us", "one_open_cpu_us", "one_rss_mib"],
            _ => ["two_cpu_us", "two_open_cpu_us", "two_rss_mib"],
        };
        let needs = Needs { workers, both_cores: true, ..Needs::default() };
        let mut running = lab.start(peer, binary, &needs)?;
        let closed = lab.load(&mut running, None)?;
        // Each worker gets the same: what a wake-up costs is shared by the requests that it finds.
        let half = if workers == 1 { 2 } else { 1 };
        let args = lab.load_args(&running);
        let connections = args.connections.div_ceil(half);
        let args = LoadArgs { rate: Some(lab.plan.rate / half as f64), connections, ..args };
        let open = lab.run_load(&mut running, &args)?;
        figures.insert(keys[0], per_request_us(&closed));
        figures.insert(keys[1], per_request_us(&open));
        figures.insert(keys[2], closed.proxy_rss_kib as f64 / 1024.0);
        *figures.entry("errors").or_default() += (closed.errors + open.errors) as f64;
        *figures.entry("unserved").or_default() += open.unserved as f64;
        let other = figures.entry(OTHER).or_default();
        *other = other.max(other_share(&closed)).max(other_share(&open));
    }
    figures.insert("cpu_growth", figures["two_cpu_us"] / figures["one_cpu_us"]);
    figures.insert("open_cpu_growth", figures["two_open_cpu_us"] / figures["one_open_cpu_us"]);
    Ok(figures)
}
