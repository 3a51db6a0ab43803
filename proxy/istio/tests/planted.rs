//! A shop's configuration with mistakes in it. Below each is a comment that says where it is and what its code is: `^` stands below
//! the first character, `#<-` means the first of the line. Every one is told once, and nothing else is told.

use std::collections::BTreeMap;

use leeboard_istio::check::check;
use leeboard_istio::compile::Site;
use leeboard_istio::render;
use leeboard_istio::source::Source;

fn sources() -> Vec<Source> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/planted");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("legible").path()).collect();
    files.sort();
    let name = |path: &std::path::Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    files.iter().map(|path| Source::new(name(path), std::fs::read_to_string(path).expect("legible"))).collect()
}

/// File, line, column and code.
type Told = (String, u32, u32, String);

/// What the comments of a file promise.
fn promised(source: &Source) -> Vec<Told> {
    let mut above = 0;
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let mark = line.strip_prefix("#<- L").map(|code| (1, code));
        let mark = mark.or_else(|| {
            let (before, code) = line.split_once("^ L").filter(|(before, _)| before.starts_with('#'))?;
            before[1..].trim().is_empty().then_some((before.chars().count() + 1, code))
        });
        match mark {
            Some((column, code)) => {
                found.push((source.name.to_string(), above, column as u32, format!("L{}", code.trim())));
            }
            None => above = number as u32 + 1,
        }
    }
    found
}

#[test]
fn every_planted_mistake_is_told_once_where_it_is_and_nothing_else_is() {
    let sources = sources();
    let checked = check(&sources, &Site::default());
    let mut wanted: Vec<Told> = sources.iter().flat_map(promised).collect();
    let mut found: Vec<Told> = checked
        .diagnostics
        .iter()
        .map(|d| (d.primary.file.to_string(), d.primary.line, d.primary.column, d.code.to_string()))
        .collect();
    wanted.sort();
    found.sort();
    assert!(wanted.len() >= 40, "only {} mistakes are planted", wanted.len());
    let mut count: BTreeMap<&Told, i32> = BTreeMap::new();
    wanted.iter().for_each(|told| *count.entry(told).or_default() += 1);
    found.iter().for_each(|told| *count.entry(told).or_default() -= 1);
    let missed: Vec<_> = count.iter().filter(|(_, n)| **n > 0).map(|(told, _)| told).collect();
    let extra: Vec<_> = count.iter().filter(|(_, n)| **n < 0).map(|(told, _)| told).collect();
    let shown = render(&checked.diagnostics, &sources, false);
    assert!(missed.is_empty() && extra.is_empty(), "missed: {missed:#?}\ntoo much: {extra:#?}\n{shown}");
}

#[test]
fn good_files_are_not_blamed() {
    let sources = sources();
    let checked = check(&sources, &Site::default());
    let blamed = checked.diagnostics.iter().filter(|d| d.primary.file.starts_with("good-")).count();
    assert_eq!(blamed, 0);
    assert!(sources.iter().filter(|source| source.name.starts_with("good-")).count() >= 2);
}
