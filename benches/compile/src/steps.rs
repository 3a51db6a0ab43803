//! The steps from text to live state, in this process.

use std::alloc::System;
use std::sync::Arc;
use std::time::Instant;

use leeboard_istio::compile::{Site, compile};
use leeboard_istio::load_in;
use leeboard_istio::source::Source;
use leeboard_policy::cluster::Workload;
use leeboard_policy::live::{Live, Resolved};
use leeboard_policy::time::Time;
use stats_alloc::StatsAlloc;

/// Rounds per configuration. The quickest counts.
const ROUNDS: usize = 7;

/// What a configuration costs: milliseconds in the quickest round, bytes as they were asked for.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) text: usize,
    pub(crate) load: f64,
    pub(crate) compile: f64,
    pub(crate) adopt: f64,
    pub(crate) resources: usize,
    pub(crate) snapshot: usize,
    pub(crate) live: usize,
    /// What all of them hold together, texts included.
    pub(crate) held: usize,
}

/// Measures all steps.
pub(crate) fn measure(allocator: &StatsAlloc<System>, files: &[(String, String)]) -> Figures {
    let site = Site { workload: Workload { namespace: "shop".into(), ..Workload::default() }, ..Site::default() };
    let in_use = || {
        let stats = allocator.stats();
        stats.bytes_allocated - stats.bytes_deallocated
    };
    let mut least = Figures { load: f64::MAX, compile: f64::MAX, adopt: f64::MAX, ..Figures::default() };
    for _ in 0..ROUNDS {
        let before = in_use();
        let sources: Vec<Source> = files.iter().map(|(name, text)| Source::new(&**name, &**text)).collect();
        let text = in_use();
        let began = Instant::now();
        let loaded = load_in(&sources, &site.workload.namespace);
        let load = milliseconds(began);
        assert_eq!(loaded.errors(), 0, "{:?}", loaded.diagnostics);
        let resources = in_use();
        let began = Instant::now();
        let (snapshot, diagnostics) = compile(&loaded.resources, &site);
        let compile = milliseconds(began);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let snapshot = Arc::new(snapshot);
        let compiled = in_use();
        let began = Instant::now();
        let live = Live::adopt(None, snapshot, &Resolved::default(), Time(0));
        let adopt = milliseconds(began);
        let adopted = in_use();
        least = Figures {
            text: text - before,
            load: least.load.min(load),
            compile: least.compile.min(compile),
            adopt: least.adopt.min(adopt),
            resources: resources - text,
            snapshot: compiled - resources,
            live: adopted - compiled,
            held: adopted - before,
        };
        drop((live, loaded, sources));
    }
    least
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
