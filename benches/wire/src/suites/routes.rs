//! Many routes: what they cost a request, the start and memory.

use std::fs;
use std::path::Path;

use super::{
    Figures, LOAD_IS_THE_LIMIT, MACHINE_IS_NOT_QUIET, Metric, OTHER, Suite, Table, check, metric, other_share,
    per_request_us,
};
use crate::lab::Lab;
use crate::peers::{Layout, Needs, Peer};
use crate::role::load::LoadArgs;
use crate::trouble::Trouble;

pub(super) const SUITE: Suite = Suite {
    name: "routes",
    about: "HTTP/1.1 with one route, with 1,000 services of 10 routes and 2 subsets, and with 10,000 routes of one service",
    metrics: METRICS,
    measure,
};

const METRICS: &[Metric] = &[
    metric("one_cpu_us", "1 route: CPU µs/req", 1, Table::Compared),
    metric("services_cpu_us", "1,000×10: CPU µs/req", 1, Table::Compared),
    metric("services_growth", "to 1 route", 2, Table::Shown),
    metric("spread_cpu_us", "1,000×10, all asked: CPU µs/req", 1, Table::Compared),
    metric("one_mixed_cpu_us", "1 route, mix: CPU µs/req", 1, Table::Compared),
    metric("rules_cpu_us", "10,000, mix: CPU µs/req", 1, Table::Compared),
    metric("rules_growth", "to 1 route, mix", 2, Table::Shown),
    metric("one_start_ms", "1 route: start ms", 0, Table::Shown),
    metric("services_start_ms", "1,000×10: start ms", 0, Table::Compared),
    metric("rules_start_ms", "10,000: start ms", 0, Table::Compared),
    metric("one_rss_mib", "1 route: RSS MiB", 1, Table::Compared),
    metric("services_rss_mib", "1,000×10: RSS MiB", 1, Table::Compared),
    metric("services_rss_load_mib", "1,000×10, all asked: RSS MiB", 1, Table::Compared),
    metric("rules_rss_mib", "10,000: RSS MiB", 1, Table::Compared),
    check("load_core", "load+upstream CPU %", LOAD_IS_THE_LIMIT),
    check(OTHER, "other CPU %", MACHINE_IS_NOT_QUIET),
    check("errors", "errors", 0.0),
];

/// One layout: the keys of its start and memory, and what is asked of it.
struct Part {
    layout: Layout,
    start: &'static str,
    rss: &'static str,
    loads: &'static [Load],
}

/// One window: the key of its cost, the mix of which layout is asked for, and the key of the memory at its end.
struct Load {
    cpu: &'static str,
    mix: Option<Layout>,
    rss: Option<&'static str>,
}

const PARTS: [Part; 3] = [
    Part {
        layout: Layout::One,
        start: "one_start_ms",
        rss: "one_rss_mib",
        loads: &[
            Load { cpu: "one_cpu_us", mix: None, rss: None },
            Load { cpu: "one_mixed_cpu_us", mix: Some(Layout::Rules), rss: None },
        ],
    },
    Part {
        layout: Layout::Services,
        start: "services_start_ms",
        rss: "services_rss_mib",
        loads: &[
            Load { cpu: "services_cpu_us", mix: None, rss: None },
            Load { cpu: "spread_cpu_us", mix: Some(Layout::Services), rss: Some("services_rss_load_mib") },
        ],
    },
    Part {
        layout: Layout::Rules,
        start: "rules_start_ms",
        rss: "rules_rss_mib",
        loads: &[Load { cpu: "rules_cpu_us", mix: Some(Layout::Rules), rss: None }],
    },
];

fn measure(lab: &Lab, peer: &Peer, binary: &Path) -> Result<Figures, Trouble> {
    let mut figures = Figures::from([("errors", 0.0)]);
    for part in &PARTS {
        let needs = Needs { layout: part.layout, ..Needs::default() };
        let mut running = lab.start(peer, binary, &needs)?;
        figures.insert(part.start, running.start_ms);
        figures.extend(running.idle_rss_kib.map(|kib| (part.rss, kib as f64 / 1024.0)));
        for load in part.loads {
            let mut args = lab.load_args(&running);
            if let Some(layout) = load.mix {
                let path = lab.folder().join("mix");
                fs::write(&path, layout.mix().join("\n"))?;
                args = LoadArgs { mix: Some(path), ..args };
            }
            let report = lab.run_load(&mut running, &args)?;
            figures.insert(load.cpu, per_request_us(&report));
            figures.extend(load.rss.map(|key| (key, report.proxy_rss_kib as f64 / 1024.0)));
            *figures.entry("errors").or_default() += report.errors as f64;
            let share = 100.0 * (report.load_cpu + report.upstream_cpu) / report.seconds;
            for (key, value) in [("load_core", share), (OTHER, other_share(&report))] {
                let most = figures.entry(key).or_default();
                *most = most.max(value);
            }
        }
    }
    figures.insert("services_growth", figures["services_cpu_us"] / figures["one_cpu_us"]);
    figures.insert("rules_growth", figures["rules_cpu_us"] / figures["one_mixed_cpu_us"]);
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_part_is_a_metric() {
        let loads = PARTS.iter().flat_map(|part| part.loads);
        let keys = loads.flat_map(|load| [Some(load.cpu), load.rss]).flatten();
        for key in keys.chain(PARTS.iter().flat_map(|part| [part.start, part.rss])) {
            assert!(METRICS.iter().any(|metric| metric.key == key), "{key}");
        }
    }
}
