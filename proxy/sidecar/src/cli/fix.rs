//! `leeboard check --fix`: applies the fixes that are certain, and shows the differences.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use leeboard_istio::diagnostic::{Diagnostic, Fix};
use leeboard_istio::source::Source;

/// Lines that are shown around a change.
const AROUND: usize = 2;

/// A file that is put right.
pub(crate) struct Fixed {
    /// Its name.
    pub(crate) file: Arc<str>,
    /// What it says then.
    pub(crate) text: String,
    /// The lines that change, as `diff -u` shows them.
    pub(crate) diff: String,
    /// How many places are put right.
    pub(crate) count: usize,
}

/// What the files say when every certain mistake is put right.
pub(crate) fn mended(diagnostics: &[Diagnostic], sources: &[Source]) -> Vec<Fixed> {
    let mut fixes: BTreeMap<&str, Vec<&Fix>> = BTreeMap::new();
    for fix in diagnostics.iter().filter_map(|diagnostic| diagnostic.fix.as_ref()) {
        fixes.entry(&fix.at.file).or_default().push(fix);
    }
    let of = |source: &Source| {
        let mut fixes = fixes.remove(&*source.name)?;
        fixes.sort_by_key(|fix| (fix.at.line, fix.at.column));
        let (text, count) = replaced(&source.text, &fixes);
        let diff = diff(&source.name, &source.text, &text);
        (count > 0).then(|| Fixed { file: source.name.clone(), text, diff, count })
    };
    sources.iter().filter_map(of).collect()
}

/// Writes what was put right.
///
/// # Errors
/// In words, naming the file that cannot be written.
pub(crate) fn write(all: &[Fixed]) -> Result<(), String> {
    all.iter().try_for_each(|mended| {
        fs::write(&*mended.file, &mended.text)
            .map_err(|error| format!("error: {} cannot be written: {error}", mended.file))
    })
}

/// A text with other words at some places, in order; and how many there were. What overlaps an earlier one is left.
fn replaced(text: &str, fixes: &[&Fix]) -> (String, usize) {
    let mut mended = String::with_capacity(text.len());
    let mut count = 0;
    for (line, number) in text.split_inclusive('\n').zip(1u32..) {
        let mut rest = line;
        let mut column = 1;
        for fix in fixes.iter().filter(|fix| fix.at.line == number) {
            let Some(skip) = fix.at.column.checked_sub(column) else { continue };
            let (Some(from), Some(to)) = (at(rest, skip), at(rest, skip + fix.at.len)) else { continue };
            mended.push_str(&rest[..from]);
            mended.push_str(&fix.with);
            rest = &rest[to..];
            column = fix.at.column + fix.at.len;
            count += 1;
        }
        mended.push_str(rest);
    }
    (mended, count)
}

/// Where a character of a line begins; the end is behind the last.
fn at(line: &str, characters: u32) -> Option<usize> {
    let ends = line.trim_end_matches(['\n', '\r']);
    ends.char_indices().map(|(at, _)| at).chain([ends.len()]).nth(characters as usize)
}

/// Lines that differ, with some around them. No line comes or goes.
fn diff(name: &str, before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let changed: Vec<usize> = (0..before.len().min(after.len())).filter(|at| before[*at] != after[*at]).collect();
    let mut text = format!("--- {name}\n+++ {name}\n");
    let near = |a: &usize, b: &usize| b - a <= 2 * AROUND;
    for group in changed.chunk_by(near) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (from, to) = (first.saturating_sub(AROUND), (last + AROUND + 1).min(before.len()));
        let _ = writeln!(text, "@@ -{0},{1} +{0},{1} @@", from + 1, to - from);
        for line in from..to {
            let _ = match group.contains(&line) {
                true => writeln!(text, "-{}\n+{}", before[line], after[line]),
                false => writeln!(text, " {}", before[line]),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use leeboard_istio::check::check;
    use leeboard_istio::compile::Site;
    use leeboard_istio::diagnostic::Severity;

    use super::*;

    const HEAD: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a.example.com]\n";

    #[test]
    fn what_is_certain_is_put_right_and_shown() {
        let table = [
            ("- match: [{name: ü, uri: /x}]", "- match: [{name: ü, uri: {exact: /x}}]"),
            ("- match: [{method: GET, uri: {prefix: /}}]", "- match: [{method: {exact: GET}, uri: {prefix: /}}]"),
            (
                "- match: [{headers: {x-user: 'it''s', y: {exact: 1}}}]",
                "- match: [{headers: {x-user: {exact: \"it's\"}, y: {exact: \"1\"}}}]",
            ),
            (
                "- match: [{uri: {prefix: /}, ignoreUriCase: \"true\"}]",
                "- match: [{uri: {prefix: /}, ignoreUriCase: true}]",
            ),
            ("- mirror: b\n    mirrorPercentage: 10", "- mirror: {host: b}\n    mirrorPercentage: {value: 10}"),
            (
                "- fault: {abort: {httpStatus: 500, percentage: 5.5}}",
                "- fault: {abort: {httpStatus: 500, percentage: {value: 5.5}}}",
            ),
        ];
        for (wrong, right) in table {
            let text = |entry: &str| format!("{HEAD}  http:\n  {entry}\n    route: [{{destination: {{host: a}}}}]\n");
            let sources = [Source::new("a.yaml", text(wrong))];
            let told = check(&sources, &Site::default()).diagnostics;
            let [mended] = &mended(&told, &sources)[..] else { panic!("{wrong}: {told:?}") };
            assert_eq!(mended.text, text(right), "{wrong}");
            assert!(mended.diff.starts_with("--- a.yaml\n+++ a.yaml\n@@ -5,"), "{}", mended.diff);
            let last = right.lines().last().unwrap();
            assert!(
                mended.diff.contains(&format!("\n+{}{last}\n", if right.contains('\n') { "" } else { "  " })),
                "{}",
                mended.diff
            );
            let again = check(&[Source::new("a.yaml", &*mended.text)], &Site::default()).diagnostics;
            assert!(again.iter().all(|told| told.severity != Severity::Error), "{wrong}: {again:?}");
        }
    }

    #[test]
    fn what_is_not_certain_stays() {
        for entry in ["- timeout: 3", "- match: [{uri: {regex: '('}}]", "- retrys: {attempts: 1}"] {
            let text = format!("{HEAD}  http:\n  {entry}\n    route: [{{destination: {{host: a}}}}]\n");
            let sources = [Source::new("a.yaml", text)];
            let told = check(&sources, &Site::default()).diagnostics;
            assert!(told.iter().any(|told| told.severity == Severity::Error), "{entry}");
            assert!(mended(&told, &sources).is_empty(), "{entry}");
        }
    }
}
