//! HTTP/2 without TLS, plain and in the shape of unary gRPC calls.

use std::path::Path;

use super::{
    Figures, LOAD_IS_THE_LIMIT, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric, other_share,
    per_request_us,
};
use crate::grpc;
use crate::lab::Lab;
use crate::peers::{Needs, Peer, Protocol};
use crate::role::load::LoadArgs;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "h2",
    about: "HTTP/2 with prior knowledge to the proxy and the upstream, 8 requests at once on a connection; unary gRPC likewise",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("cpu_us", "CPU µs/req", 1, Table::Compared),
    metric("rps", "req/s", 0, Table::Compared),
    metric("open_p50_us", "p50 µs", 0, Table::Compared),
    metric("open_p99_us", "p99 µs", 0, Table::Compared),
    metric("open_p999_us", "p99.9 µs", 0, Table::Compared),
    metric("grpc_cpu_us", "gRPC: CPU µs/call", 1, Table::Compared),
    metric("grpc_rps", "gRPC: calls/s", 0, Table::Compared),
    metric("grpc_p50_us", "gRPC: p50 µs", 0, Table::Compared),
    metric("grpc_p99_us", "gRPC: p99 µs", 0, Table::Compared),
    metric("rss_load_mib", "RSS loaded MiB", 1, Table::Compared),
    check("proxy_core", "proxy CPU %", f64::INFINITY),
    check("load_core", "load+upstream CPU %", LOAD_IS_THE_LIMIT),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "errors", 0.0),
    check("unserved", "unserved", 0.0),
];

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let needs = Needs { protocol: Protocol::Http2, ..Needs::default() };
    let mut running = lab.start(peer, binary, &needs)?;
    let proxied = running.idle_rss_kib.is_some();
    let mut figures = Figures::new();
    let plain = lab.load_args(&running);
    let calls = LoadArgs { grpc: true, path: grpc::PATH.into(), ..plain.clone() };
    for (args, [cpu, rps, p50, p99]) in [
        (plain, ["cpu_us", "rps", "open_p50_us", "open_p99_us"]),
        (calls, ["grpc_cpu_us", "grpc_rps", "grpc_p50_us", "grpc_p99_us"]),
    ] {
        let closed = lab.run_load(&mut running, &args)?;
        let open = lab.run_load(&mut running, &LoadArgs { rate: Some(lab.plan.rate), ..args.clone() })?;
        figures.insert(rps, closed.answered as f64 / closed.seconds);
        if proxied {
            figures.insert(cpu, per_request_us(&closed));
            figures.insert("proxy_core", 100.0 * closed.proxy_cpu / closed.seconds);
            figures.insert("rss_load_mib", closed.proxy_rss_kib as f64 / 1024.0);
        }
        let tail = if args.grpc { None } else { open.p999_us };
        for (key, value) in [(p50, open.p50_us), (p99, open.p99_us), ("open_p999_us", tail)] {
            if let Some(value) = value {
                figures.insert(key, value);
            }
        }
        let load = figures.entry("load_core").or_default();
        *load = load.max(100.0 * (closed.load_cpu + closed.upstream_cpu) / closed.seconds);
        let other = figures.entry(OTHER).or_default();
        *other = other.max(other_share(&closed)).max(other_share(&open));
        *figures.entry("errors").or_default() += (closed.errors + open.errors) as f64;
        *figures.entry("unserved").or_default() += open.unserved as f64;
    }
    Ok(figures)
}
