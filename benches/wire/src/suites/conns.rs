//! Idle connections: memory of each, and how much of it comes back.

use std::path::Path;

use super::{Figures, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric};
use crate::lab::Lab;
use crate::peers::{Needs, Peer};
use crate::role::load::LoadArgs;
use crate::role::load::idle::IdleReport;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "conns",
    about: "HTTP/1.1 connections that were answered once and then rest: memory of each, and what is left when they are closed",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("connection_kib", "KiB/connection", 2, Table::Compared),
    metric("rss_start_mib", "RSS start MiB", 1, Table::Compared),
    metric("rss_open_mib", "RSS open MiB", 1, Table::Compared),
    metric("rss_end_mib", "RSS closed MiB", 1, Table::Compared),
    metric("end_to_start", "closed to start", 2, Table::Shown),
    metric("back_s", "back within 10 % after s", 1, Table::Shown),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "errors", 0.0),
];

/// Seconds that connections rest before memory is read: long enough for buffers to be given back.
const REST: f64 = 5.0;
/// Seconds that memory gets to come back.
const RELEASE: f64 = 30.0;
/// Seconds that opening thousands of connections may take.
const OPENING: f64 = 60.0;
fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let connections = lab.plan.idle;
    let needs = Needs { connections, ..Needs::default() };
    let mut running = lab.start(peer, binary, &needs)?;
    if running.idle_rss_kib.is_none() {
        return Err(Trouble::Unable("there is no proxy that could need memory"));
    }
    let mut line = LoadArgs { connections, ..lab.load_args(&running) }.command_line();
    line[0] = "idle".into();
    line.extend(["--rest".into(), REST.to_string(), "--release".into(), RELEASE.to_string()]);
    let report: IdleReport = lab.run_role(&mut running, line, OPENING + REST + RELEASE)?;
    Ok(tell(&report, connections))
}

fn tell(report: &IdleReport, connections: usize) -> Figures {
    let mib = |kib: u64| kib as f64 / 1024.0;
    let mut figures = Figures::from([
        ("connection_kib", report.open_kib.saturating_sub(report.start_kib) as f64 / connections as f64),
        ("rss_start_mib", mib(report.start_kib)),
        ("rss_open_mib", mib(report.open_kib)),
        ("rss_end_mib", mib(report.end_kib)),
        ("end_to_start", report.end_kib as f64 / report.start_kib.max(1) as f64),
        (OTHER, 100.0 * report.other_cpu / report.seconds),
        ("errors", report.errors as f64),
    ]);
    figures.extend(report.back_seconds.map(|seconds| ("back_s", seconds)));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_out_among_connections() {
        let report = IdleReport {
            start_kib: 10_240,
            open_kib: 30_240,
            end_kib: 12_288,
            errors: 2,
            other_cpu: 0.5,
            seconds: 2.0,
            ..IdleReport::default()
        };
        let figures = tell(&report, 1000);
        for (key, value) in
            [("connection_kib", 20.0), ("rss_start_mib", 10.0), ("end_to_start", 1.2), ("errors", 2.0), (OTHER, 25.0)]
        {
            assert!((figures[key] - value).abs() < 1e-9, "{key}: {}", figures[key]);
        }
        assert!(!figures.contains_key("back_s"), "it never came back");
    }
}
