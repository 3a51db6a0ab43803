//! Whatever is done to a document, loading and compiling answer: no panic, places that exist, and an object for every
//! complaint's name.

use leeboard_istio::check::check;
use leeboard_istio::compile::{Site, compile, gateways};
use leeboard_istio::source::Source;
use leeboard_istio::{load, render};

/// A small generator of its own, so that a failure can be repeated from its seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const TOKENS: [&str; 32] = [
    "---\n",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: *a\n",
    "!x ",
    "|\n",
    "\t",
    "\n",
    "#",
    "null",
    "-1",
    "0s",
    "99999999999999999999",
    "1e400",
    "é",
    "\u{feff}",
    "\u{0}",
    "%",
    "?",
    "...",
    "!!str ",
    "true",
    "*",
    "\\",
];

fn edit(text: &str, noise: &mut Noise) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=noise.below(6) {
        let at = noise.below(bytes.len());
        match noise.below(5) {
            0 => bytes[at] = noise.next() as u8,
            1 => drop(bytes.remove(at)),
            2 => {
                let token = TOKENS[noise.below(TOKENS.len())].bytes();
                bytes.splice(at..at, token);
            }
            3 => {
                let end = (at + noise.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = noise.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let end = (at + noise.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

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
        let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let text = edit(&documents[noise.below(documents.len())], &mut noise);
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
