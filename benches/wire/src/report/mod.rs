//! What a run says at its end: tables to read, JSON to keep.

mod json;
mod table;

pub(crate) use json::json;
pub(crate) use table::tables;

/// The peers that the others are divided by, where they were measured.
const BASES: [&str; 3] = ["haproxy", "envoy", "envoy-log"];

/// What a reader must know of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Load average of the last minute when the run began.
    pub(crate) load_average: String,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn look() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let first_word = |text: String| text.split_whitespace().next().unwrap_or("?").to_owned();
        Self {
            cpu: model(&read("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: first_word(read("/proc/sys/kernel/osrelease")),
            load_average: first_word(read("/proc/loadavg")),
        }
    }
}

fn model(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Comparison, Measured};
    use crate::peers;
    use crate::suites::{self, Figures};
    use std::path::PathBuf;

    /// A comparison of two peers over two rounds and one that is not installed.
    pub(super) fn sample() -> Comparison {
        let measured = |name, cpu: [f64; 2]| Measured {
            peer: peers::find(name).expect("a peer"),
            binary: PathBuf::from("/bin/true"),
            version: format!("{name} 1"),
            rounds: cpu.map(|cpu| Some(Figures::from([("cpu_us", cpu), ("errors", 0.0)]))).into(),
            failure: None,
            unable: None,
        };
        let mut failed = measured("nginx", [1.0, 1.0]);
        failed.rounds = vec![None, None];
        failed.failure = Some("no port".into());
        Comparison {
            suite: suites::find("h1").expect("a suite"),
            measured: vec![measured("leeboard", [10.0, 12.0]), measured("haproxy", [20.0, 24.0]), failed],
            skipped: vec![peers::find("envoy").expect("a peer")],
        }
    }

    #[test]
    fn the_cpu_model() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(model(""), "unknown CPU");
    }
}
