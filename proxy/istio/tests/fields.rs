//! Every field of Istio's traffic API has a row in `support.rs`, and so a line in `docs/support.md`.

use std::collections::{BTreeMap, BTreeSet};

use leeboard_istio::support::ALL;

const FIELDS: &str = include_str!("data/fields.txt");

/// Kind and place of a block, and its fields.
type Blocks<'a> = BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>;

fn wanted() -> Blocks<'static> {
    let lines = FIELDS.lines().filter(|line| !line.starts_with('#'));
    let block = |line: &'static str| {
        let [kind, place, fields] = line.splitn(3, '|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("`{line}` is not kind | place | fields");
        };
        ((kind, place), fields.split_whitespace().collect())
    };
    lines.map(block).collect()
}

fn known() -> Blocks<'static> {
    ALL.iter().map(|block| ((block.kind, block.path), block.rows.iter().map(|row| row.field).collect())).collect()
}

/// What a list asks for that another has not.
fn lacking<'a>(wanted: &Blocks<'a>, known: &Blocks<'a>) -> Vec<String> {
    let none = BTreeSet::new();
    let of = |(block, fields): (&(&'a str, &'a str), &BTreeSet<&'a str>)| {
        let has = known.get(block).unwrap_or(&none);
        fields.difference(has).map(|field| format!("{} {} {field}", block.0, block.1)).collect::<Vec<_>>()
    };
    wanted.iter().flat_map(of).collect()
}

#[test]
fn every_field_of_the_api_has_a_row() {
    assert_eq!(lacking(&wanted(), &known()), [""; 0]);
}

#[test]
fn every_row_of_istios_kinds_is_a_field_of_the_api() {
    let mut rows = known();
    let kinds: BTreeSet<&str> = wanted().keys().map(|(kind, _)| *kind).collect();
    rows.retain(|(kind, _), _| kinds.contains(kind));
    let extra = lacking(&rows, &wanted());
    assert_eq!(
        extra,
        ["MeshConfig MeshConfig apiVersion", "MeshConfig MeshConfig kind", "MeshConfig MeshConfig metadata"]
    );
}

#[test]
fn a_row_that_is_gone_is_noticed() {
    for (block, fields) in known() {
        let Some(api) = wanted().get(&block).cloned() else { continue };
        for field in fields.intersection(&api) {
            let mut rows = known();
            rows.get_mut(&block).expect("it is there").remove(field);
            assert_eq!(lacking(&wanted(), &rows).len(), 1, "{block:?} {field}");
        }
    }
}

#[test]
fn the_page_has_a_line_for_each() {
    let page = include_str!("../../../docs/support.md");
    let mut kind = "";
    let mut place = "";
    let mut lines: Blocks<'_> = BTreeMap::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            kind = heading;
        } else if let Some(heading) = line.strip_prefix("### ") {
            place = heading.trim_matches('`');
        } else if let Some((field, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once("` | ")) {
            assert!(rest.matches('|').count() == 2 && rest.len() > 20, "{line}");
            lines.entry((kind, place)).or_default().insert(field);
        }
    }
    assert_eq!(lacking(&wanted(), &lines), [""; 0]);
}
