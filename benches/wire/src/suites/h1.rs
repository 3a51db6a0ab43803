//! HTTP/1.1 keep-alive with small answers: cost per request and capacity at saturation, latency at a fixed rate, memory.

use std::path::Path;

use super::{
    Figures, LOAD_IS_THE_LIMIT, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric, other_share,
    per_request_us,
};
use crate::lab::Lab;
use crate::peers::{Needs, Peer};
use crate::role::load::LoadReport;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "h1",
    about: "HTTP/1.1 keep-alive, small answers: saturation by a closed loop, latency by an open loop",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("cpu_us", "CPU µs/req", 1, Table::Compared),
    metric("rps", "req/s", 0, Table::Compared),
    metric("open_p50_us", "p50 µs", 0, Table::Compared),
    metric("open_p99_us", "p99 µs", 0, Table::Compared),
    metric("open_p999_us", "p99.9 µs", 0, Table::Compared),
    metric("open_cpu_us", "CPU µs/req at rate", 1, Table::Compared),
    metric("rss_idle_mib", "RSS idle MiB", 1, Table::Compared),
    metric("rss_load_mib", "RSS loaded MiB", 1, Table::Compared),
    metric("start_ms", "start ms", 0, Table::Shown),
    check("proxy_core", "proxy CPU %", f64::INFINITY),
    check("load_core", "load+upstream CPU %", LOAD_IS_THE_LIMIT),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("closed_p99_us", "p99 µs saturated", f64::INFINITY),
    check("open_max_us", "worst µs at rate", f64::INFINITY),
    check("errors", "errors", 0.0),
    check("unserved", "unserved", 0.0),
];

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let mut running = lab.start(peer, binary, &Needs::default())?;
    let mut figures = Figures::from([("start_ms", running.start_ms)]);
    if let Some(kib) = running.idle_rss_kib {
        figures.insert("rss_idle_mib", kib as f64 / 1024.0);
    }
    let proxied = running.idle_rss_kib.is_some();
    let closed = lab.load(&mut running, None)?;
    let open = lab.load(&mut running, Some(lab.plan.rate))?;
    drop(running);
    tell(&mut figures, proxied, &closed, &open);
    if closed.answered == 0 || open.answered == 0 {
        let reason = closed.first_error.or(open.first_error).unwrap_or_default();
        return Err(Trouble::Failed(format!("no request was answered; {reason}")));
    }
    Ok(figures)
}

/// Turns the two reports into figures.
fn tell(figures: &mut Figures, proxied: bool, closed: &LoadReport, open: &LoadReport) {
    let share = |seconds: f64| 100.0 * seconds / closed.seconds;
    figures.insert("rps", closed.answered as f64 / closed.seconds);
    figures.insert("load_core", share(closed.load_cpu + closed.upstream_cpu));
    // The worse of the two windows: either may have been disturbed.
    figures.insert(OTHER, other_share(closed).max(other_share(open)));
    figures.insert("errors", (closed.errors + open.errors) as f64);
    figures.insert("unserved", open.unserved as f64);
    let latencies = [
        ("closed_p99_us", closed.p99_us),
        ("open_p50_us", open.p50_us),
        ("open_p99_us", open.p99_us),
        ("open_p999_us", open.p999_us),
        ("open_max_us", open.max_us),
    ];
    for (key, value) in latencies {
        if let Some(value) = value {
            figures.insert(key, value);
        }
    }
    if proxied {
        figures.insert("cpu_us", per_request_us(closed));
        figures.insert("open_cpu_us", per_request_us(open));
        figures.insert("proxy_core", share(closed.proxy_cpu));
        figures.insert("rss_load_mib", closed.proxy_rss_kib as f64 / 1024.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports() -> (LoadReport, LoadReport) {
        let closed = LoadReport {
            answered: 200_000,
            seconds: 4.0,
            proxy_cpu: 2.6,
            load_cpu: 1.0,
            upstream_cpu: 1.0,
            other_cpu: 0.2,
            p99_us: Some(900.0),
            proxy_rss_kib: 10 * 1024,
            ..LoadReport::default()
        };
        let open = LoadReport {
            answered: 20_000,
            seconds: 4.0,
            proxy_cpu: 0.4,
            other_cpu: 1.0,
            errors: 2,
            unserved: 1,
            p50_us: Some(60.0),
            ..LoadReport::default()
        };
        (closed, open)
    }

    #[test]
    fn figures_of_a_proxy() {
        let (closed, open) = reports();
        let mut figures = Figures::new();
        tell(&mut figures, true, &closed, &open);
        let expected = [
            ("cpu_us", 13.0),
            ("rps", 50_000.0),
            ("open_cpu_us", 20.0),
            ("proxy_core", 65.0),
            ("load_core", 50.0),
            ("other", 25.0),
            ("errors", 2.0),
            ("unserved", 1.0),
            ("rss_load_mib", 10.0),
            ("open_p50_us", 60.0),
            ("closed_p99_us", 900.0),
        ];
        for (key, value) in expected {
            assert!((figures[key] - value).abs() < 1e-9, "{key}: {}", figures[key]);
        }
        assert!(!figures.contains_key("open_p99_us"), "not measured, not shown");
    }

    #[test]
    fn without_a_proxy_there_is_no_cpu_figure() {
        let (closed, open) = reports();
        let mut figures = Figures::new();
        tell(&mut figures, false, &closed, &open);
        for key in ["cpu_us", "open_cpu_us", "proxy_core", "rss_load_mib"] {
            assert!(!figures.contains_key(key), "{key}");
        }
    }
}
