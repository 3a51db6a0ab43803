//! Each bound of Istio's fields, from both sides, as `tests/data/boundaries.txt` has them.

use leeboard_istio::check::check;
use leeboard_istio::compile::Site;
use leeboard_istio::diagnostic::Severity;
use leeboard_istio::render;
use leeboard_istio::source::Source;

/// A row with its long words written out.
fn unfolded(row: &str) -> String {
    let mut text = String::new();
    let mut rest = row;
    while let Some((before, after)) = rest.split_once('<') {
        let (count, after) = after.split_once("*a>").expect("a number of letters");
        text += before;
        text += &"a".repeat(count.parse().expect("a number"));
        rest = after;
    }
    text + rest
}

#[test]
fn every_bound_holds_on_both_sides() {
    let table = include_str!("../data/boundaries.txt");
    let (mut accepted, mut refused, mut wrong) = (0, 0, String::new());
    for row in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (sign, row) = row.split_once(' ').expect("a sign");
        let (kind, spec) = row.split_once(' ').expect("a kind");
        let spec = unfolded(spec);
        let text = format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
        let sources = [Source::new("f.yaml", text)];
        let told = check(&sources, &Site::default()).diagnostics;
        let is_refused = told.iter().any(|told| told.severity == Severity::Error);
        match sign {
            "+" => accepted += 1,
            _ => refused += 1,
        }
        if is_refused != (sign == "-") {
            wrong += &format!("{sign} {kind} {spec}\n{}\n", render(&told, &sources, false));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(accepted > 200 && refused > 300, "{accepted} and {refused}");
}
