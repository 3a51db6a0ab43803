//! Whatever is done to a document, loading and compiling answer: no panic, places that exist, and an object for every
//! complaint's name.

use leeboard_istio::check::check;
use leeboard_istio::compile::{Site, compile, gateways};
use leeboard_istio::source::Source;
use leeboard_istio::{load, render};

/// The same damage as `benches/check` does for as long as it is asked to.
#[path = "../../../benches/check/src/damage.rs"]
mod damage;

use damage::{Luck, damaged};

fn documents() -> Vec<String> {
    let mut texts = Vec::new();
    for folder in ["known", "mistakes", "adopted"] {
        let path = format!("{}/tests/data/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<_> =
            std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("legible").path()).collect();
        files.sort();
        texts.extend(files.iter().map(|file| std::fs::read_to_string(file).expect("legible")));
    }
    texts
}

#[test]
fn edits_at_random_never_panic() {
    let documents = documents();
    let mut complaints = 0;
    for seed in 1..=800u64 {
        let mut luck = Luck::new(seed);
        let text = damaged(&documents[luck.below(documents.len())], &documents, &mut luck);
        let sources = if seed % 16 == 0 { [Source::mesh("f.yaml", text)] } else { [Source::new("f.yaml", text)] };
        let loaded = load(&sources);
        let again = load(&sources);
        assert_eq!(loaded.diagnostics, again.diagnostics, "seed {seed}");
        let lines = sources[0].text.split('\n').count() as u32 + 1;
        for diagnostic in &loaded.diagnostics {
            assert!(diagnostic.primary.line <= lines, "seed {seed}: {diagnostic:?}");
            assert!(!diagnostic.message.is_empty(), "seed {seed}: {diagnostic:?}");
        }
        let shown = render(&loaded.diagnostics, &sources, seed % 2 == 0);
        assert_eq!(shown.is_empty(), loaded.diagnostics.is_empty(), "seed {seed}");
        let checked = check(&sources, &Site::default()).diagnostics;
        assert!(checked.iter().all(|d| d.primary.line <= lines), "seed {seed}: {checked:?}");
        complaints += loaded.diagnostics.len();
        drop(compile(&loaded.resources, &Site::default()));
        drop(gateways(&loaded.resources, &Site::default()));
        let _ = load(&sources).keep(&loaded.resources);
    }
    assert!(complaints > 500, "the edits hardly break anything: {complaints}");
}
