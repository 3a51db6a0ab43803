//! Large bodies: bytes per second and memory, down and up.

use std::path::Path;

use super::{Figures, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric};
use crate::lab::Lab;
use crate::peers::{Needs, Peer};
use crate::role::load::bulk::{BulkArgs, BulkReport};
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "bodies",
    about: "HTTP/1.1 bodies: 1 MiB on 8 connections, and one of 1 GiB (--large) on one; down and up",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("down_mib_rate", "1 MiB down: MB/s", 0, Table::Compared),
    metric("up_mib_rate", "1 MiB up: MB/s", 0, Table::Compared),
    metric("down_large_rate", "large down: MB/s", 0, Table::Compared),
    metric("up_large_rate", "large up: MB/s", 0, Table::Compared),
    metric("down_large_cpu", "large down: CPU ms/GB", 0, Table::Compared),
    metric("up_large_cpu", "large up: CPU ms/GB", 0, Table::Compared),
    metric("small_growth_mib", "1 MiB: RSS growth MiB", 1, Table::Shown),
    metric("large_growth_mib", "large: RSS growth MiB", 1, Table::Shown),
    metric("peak_mib", "RSS peak MiB", 1, Table::Compared),
    check("proxy_core", "proxy CPU %, large", f64::INFINITY),
    check("load_core", "load+upstream CPU %, large", f64::INFINITY),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "errors", 0.0),
];

const SMALL: u64 = 1024 * 1024;
const SMALL_CONNECTIONS: usize = 8;
/// Seconds beyond the window in which a large body may end.
const ENDING: f64 = 60.0;

/// One way and size, and the keys of its figures: rate, CPU, growth.
type Way = (bool, u64, usize, [&'static str; 3]);

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let ways: [Way; 4] = [
        (false, SMALL, SMALL_CONNECTIONS, ["down_mib_rate", "", "small_growth_mib"]),
        (true, SMALL, SMALL_CONNECTIONS, ["up_mib_rate", "", "small_growth_mib"]),
        (false, lab.plan.large, 1, ["down_large_rate", "down_large_cpu", "large_growth_mib"]),
        (true, lab.plan.large, 1, ["up_large_rate", "up_large_cpu", "large_growth_mib"]),
    ];
    let mut running = lab.start(peer, binary, &Needs::default())?;
    let mut figures = Figures::from([("errors", 0.0)]);
    for (upload, length, connections, keys) in ways {
        let load = lab.load_args(&running);
        // A large body is carried once, small ones as long as the window is.
        let seconds = if connections == 1 { 0.0 } else { lab.plan.seconds };
        let (target, host, proxy, upstream) = (load.target, load.host, load.proxy, load.upstream);
        let args = BulkArgs { target, host, length, upload, connections, seconds, proxy, upstream };
        let report: BulkReport = lab.run_role(&mut running, args.command_line(), seconds + ENDING)?;
        tell(&mut figures, &report, keys, proxy.is_some());
        if report.bytes == 0 {
            return Err(Trouble::Failed(format!("no body came through; {}", report.first_error.unwrap_or_default())));
        }
    }
    Ok(figures)
}

fn tell(figures: &mut Figures, report: &BulkReport, [rate, cpu, growth]: [&'static str; 3], proxied: bool) {
    let large = !cpu.is_empty();
    let share = |seconds: f64| 100.0 * seconds / report.seconds;
    let mut most = |key, value: f64| {
        let most = figures.entry(key).or_insert(0.0_f64);
        *most = most.max(value);
    };
    most(OTHER, share(report.other_cpu));
    if large {
        most("load_core", share(report.load_cpu + report.upstream_cpu));
    }
    if proxied {
        most(growth, report.peak_kib.saturating_sub(report.before_kib) as f64 / 1024.0);
        most("peak_mib", report.peak_kib as f64 / 1024.0);
    }
    if proxied && large {
        most("proxy_core", share(report.proxy_cpu));
        figures.insert(cpu, report.proxy_cpu * 1e12 / report.bytes.max(1) as f64);
    }
    figures.insert(rate, report.bytes as f64 / report.seconds / 1e6);
    *figures.entry("errors").or_default() += report.errors as f64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_and_memory_keeps_the_worst() {
        let mut figures = Figures::new();
        let report = |bytes, peak_kib| BulkReport {
            bytes,
            seconds: 2.0,
            proxy_cpu: 1.0,
            before_kib: 1024,
            peak_kib,
            errors: 1,
            ..BulkReport::default()
        };
        tell(
            &mut figures,
            &report(4_000_000_000, 3072),
            ["down_large_rate", "down_large_cpu", "large_growth_mib"],
            true,
        );
        tell(&mut figures, &report(2_000_000_000, 2048), ["up_large_rate", "up_large_cpu", "large_growth_mib"], true);
        tell(&mut figures, &report(1_000_000, 9216), ["up_mib_rate", "", "small_growth_mib"], true);
        let expected = [
            ("down_large_rate", 2000.0),
            ("up_large_rate", 1000.0),
            ("up_mib_rate", 0.5),
            ("down_large_cpu", 250.0),
            ("large_growth_mib", 2.0),
            ("small_growth_mib", 8.0),
            ("peak_mib", 9.0),
            ("proxy_core", 50.0),
            ("errors", 3.0),
        ];
        for (key, value) in expected {
            assert!((figures[key] - value).abs() < 1e-9, "{key}: {}", figures[key]);
        }
    }
}
