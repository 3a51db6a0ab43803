//! What is read directly is what the parser reads, in documents of every form, and in what is left of them after some damage.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Document, Size, Start, events, parse, simple};

/// A small generator of its own, so that a failure can be repeated.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

fn read(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    parse(text, |document| documents.push(document));
    documents
}

fn by_the_parser(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    events::documents(text, Start::default(), true, &mut Size::default(), &mut |document| documents.push(document));
    documents
}

fn same(text: &str) {
    let (now, wanted) = (read(text), by_the_parser(text));
    if now != wanted {
        let lines = |documents| format!("{documents:#?}").lines().map(str::to_owned).collect::<Vec<_>>();
        let (now, wanted) = (lines(now), lines(wanted));
        let at = now.iter().zip(&wanted).take_while(|(now, wanted)| now == wanted).count();
        let near = |lines: &[String]| lines[at.saturating_sub(6)..lines.len().min(at + 3)].join("\n");
        panic!("{text:?}\nis read as\n{}\nand by the parser as\n{}", near(&now), near(&wanted));
    }
}

/// How many documents there are, and how many of them are simple.
fn count(text: &str) -> (usize, usize) {
    let (mut start, mut all, mut simple) = (Some(Start::default()), 0, 0);
    while let Some(at) = start.filter(|start| start.at < text.len()) {
        all += 1;
        let direct = simple::document(text, at).map(|(_, behind)| behind);
        simple += usize::from(direct.is_some());
        start = direct.or_else(|| events::documents(text, at, false, &mut Size::default(), &mut |_| ()));
    }
    (all, simple)
}

/// The YAML files of this repository, and the blocks of YAML in its texts.
fn shipped() -> Vec<String> {
    fn walk(folder: &Path, into: &mut Vec<String>) {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path()).collect();
        paths.sort();
        for path in paths {
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                _ if path.is_dir() => walk(&path, into),
                Some("yaml" | "yml" | "json") => into.push(fs::read_to_string(&path).expect("text")),
                Some("md") => {
                    let text = fs::read_to_string(&path).expect("text");
                    let blocks = text.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
                    into.extend(blocks.map(str::to_owned));
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["tests", "../../config", "../../manifests", "../../docs"] {
        walk(&root.join(folder), &mut found);
    }
    found
}

#[test]
fn shipped_documents_are_read_alike_and_nearly_all_directly() {
    let (mut all, mut simple) = (0, 0);
    for text in shipped() {
        same(&text);
        let (here, direct) = count(&text);
        (all, simple) = (all + here, simple + direct);
    }
    assert!(all > 100 && simple * 10 > all * 7, "{simple} of {all}");
}

#[test]
fn damaged_documents_are_read_alike() {
    const TOKENS: [&str; 40] = [
        "---\n", "\n---\n", "- ", ": ", ":", "{", "}", "[", "]", "\"", "'", "''", "&a ", "*a", "<<: *a\n", "!x ",
        "|\n", "\t", "\n", "\n\n", " ", "  ", "#", " #", " # c\n", "null", "-1", ",", ", ", "é", "\u{feff}", "\u{0}",
        "%", "?", "? ", "...", "\n...\n", "!!str ", "\\", "\r\n",
    ];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let texts = shipped();
    for _ in 0..4_000 {
        let text = &texts[noise.below(texts.len())];
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let from = noise.below(lines.len());
        let mut text: String = lines[from..].iter().take(1 + noise.below(40)).copied().collect();
        for _ in 0..1 + noise.below(4) {
            let mut at = noise.below(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match noise.below(3) {
                0 => text.insert_str(at, noise.one(&TOKENS)),
                1 if at < text.len() => drop(text.remove(at)),
                _ => {
                    let piece: String = text[at..].chars().take(noise.below(12)).collect();
                    text.insert_str(at, &piece);
                }
            }
        }
        same(&text);
    }
}

#[test]
fn lines_of_every_form_are_read_alike_in_any_order() {
    const INDENTS: [&str; 6] = ["", "", "  ", "    ", " ", "      "];
    const FORMS: [&str; 44] = [
        "a: 1",
        "b:",
        "c: x y",
        "- d",
        "- e: 1",
        "- f:",
        "- - g",
        "-",
        "h: [1, {i: j}]",
        "k: {l: 'm', n: [o]}",
        "- {p: q}",
        "- [r]",
        "s: 's''t'",
        "\"u\": \"v\"",
        "w: 5xx,reset # c",
        "# c",
        "",
        "x:  y  ",
        "z : 1",
        "- a:  b",
        "a: b: c",
        "'a'",
        "plain",
        "{a: b}",
        "c: {d}",
        "e: [f,]",
        "g: {}",
        "- []",
        "h: a#b",
        "i: 'j' # k",
        "l: 'm'n",
        "o: -1",
        "p: - q",
        "---",
        "...",
        "r: s:",
        "t:u",
        "- ? v",
        "\"w\":x",
        "y: {z:1, \"a\":2}",
        "<<: {b: c}",
        "d: [e: f]",
        "g: |",
        "h: [",
    ];
    let mut noise = Noise(7);
    let mut simple = 0;
    for _ in 0..60_000 {
        let mut text = String::new();
        for _ in 0..1 + noise.below(6) {
            text += noise.one(&INDENTS);
            text += noise.one(&FORMS);
            text.push('\n');
        }
        if noise.below(8) == 0 {
            text.pop();
        }
        same(&text);
        simple += count(&text).1;
    }
    assert!(simple > 5_000, "{simple}");
}
