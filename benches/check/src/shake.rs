//! Damaged documents, read, checked, printed and compiled for as long as is asked, on as many threads as there are CPUs.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use leeboard_istio::check::check;
use leeboard_istio::compile::{Site, compile};
use leeboard_istio::source::Source;
use leeboard_istio::{load, render, to_github, to_json, to_sarif};
use leeboard_policy::cluster::Workload;

use crate::damage::{Luck, damaged};

/// Where the texts come from.
const FOLDERS: [&str; 6] = [
    "../../config",
    "../../config/bookinfo",
    "../../manifests",
    "../../proxy/istio/tests/data/known",
    "../../proxy/istio/tests/data/mistakes",
    "../../proxy/istio/tests/data/planted",
];

/// Shakes for some time; an error when something gave way.
pub(crate) fn run(time: Duration, seed: u64) -> io::Result<()> {
    let texts = texts()?;
    let end = Instant::now() + time;
    let (next, failed) = (AtomicU64::new(seed), AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let shake = || {
        let mut told = 0;
        while Instant::now() < end && !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match catch_unwind(AssertUnwindSafe(|| one(&texts, seed))) {
                Ok(complaints) => told += complaints,
                Err(_) => {
                    failed.store(true, Ordering::Relaxed);
                    report(&texts, seed);
                }
            }
        }
        told
    };
    let told: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(shake)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    let texts = next.load(Ordering::Relaxed) - seed;
    writeln!(io::stdout().lock(), "{texts} damaged texts in {:.0} s, {told} complaints", time.as_secs_f64())?;
    if failed.load(Ordering::Relaxed) { Err(io::Error::other("something gave way")) } else { Ok(()) }
}

fn texts() -> io::Result<Vec<String>> {
    let mut texts = Vec::new();
    for folder in FOLDERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files: Vec<_> =
            std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        for file in files {
            texts.push(std::fs::read_to_string(file)?);
        }
    }
    Ok(texts)
}

fn sources(texts: &[String], seed: u64) -> Vec<Source> {
    let mut luck = Luck::new(seed);
    let files = 1 + luck.below(3);
    let text = |luck: &mut Luck| damaged(&texts[luck.below(texts.len())], texts, luck);
    (0..files).map(|n| Source::new(format!("f{n}.yaml"), text(&mut luck))).collect()
}

/// Everything that is done with a configuration, to one that is damaged; how much there is to say of it.
fn one(texts: &[String], seed: u64) -> usize {
    let sources = sources(texts, seed);
    let loaded = load(&sources);
    let checked = check(&sources, &Site::default()).diagnostics;
    for diagnostic in loaded.diagnostics.iter().chain(&checked) {
        let spots = diagnostic.labels.iter().map(|(spot, _)| spot).chain([&diagnostic.primary]);
        for spot in spots {
            let source = sources.iter().find(|source| *source.name == *spot.file).expect("a place is in a file");
            let lines = source.text.split('\n').count() as u32 + 1;
            assert!(spot.line <= lines && !diagnostic.message.is_empty(), "{diagnostic:?}");
        }
    }
    assert_eq!(render(&checked, &sources, seed.is_multiple_of(2)).is_empty(), checked.is_empty());
    assert_eq!(to_json(&checked).as_array().map(Vec::len), Some(checked.len()));
    assert_eq!(to_github(&checked).lines().count(), checked.len());
    assert!(serde_json::to_string(&to_sarif(&checked, "0")).is_ok());
    for namespace in ["default", "demo", "shop"] {
        let workload = Workload { namespace: namespace.into(), ..Workload::default() };
        drop(compile(&loaded.resources, &Site { workload, ..Site::default() }));
    }
    checked.len()
}

fn report(texts: &[String], seed: u64) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "seed {seed} gave way:");
    for source in sources(texts, seed) {
        let _ = writeln!(out, "==== {}\n{}", source.name, source.text);
    }
}
