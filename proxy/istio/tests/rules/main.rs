//! Istio's rules for every field, as tables: a piece of YAML, the place of the mistake between `«` and `»`, and the complaint's code.
//! A piece without marks deserves none. That a field is not enforced yet is looked at in the rows about just that.

mod boundaries;
mod destination_rule;
mod edges;
mod envelope;
mod mesh;
mod others;
mod virtual_service;

use leeboard_istio::codes::{Code, NOT_ENFORCED};
use leeboard_istio::diagnostic::Severity;
use leeboard_istio::source::Source;
use leeboard_istio::{load, render};

/// A piece of YAML and its complaint.
type Row = (&'static str, Option<(Severity, Code)>);

const fn good(yaml: &'static str) -> Row {
    (yaml, None)
}

const fn error(code: Code, yaml: &'static str) -> Row {
    (yaml, Some((Severity::Error, code)))
}

const fn warning(code: Code, yaml: &'static str) -> Row {
    (yaml, Some((Severity::Warning, code)))
}

const fn info(code: Code, yaml: &'static str) -> Row {
    (yaml, Some((Severity::Info, code)))
}

/// Puts each piece where `frame` says `@`, and compares what is found: code, severity, line, column and length.
fn check(frame: &str, rows: &[Row]) {
    for (piece, wanted) in rows {
        let marked = frame.replace('@', piece);
        let text = marked.replace(['«', '»'], "");
        let place = wanted.map(|_| place(&marked));
        let sources = [Source::new("f.yaml", text)];
        let loaded = load(&sources);
        let found: Vec<_> = loaded
            .diagnostics
            .iter()
            .filter(|d| d.code != NOT_ENFORCED || wanted.is_none_or(|(_, code)| code == NOT_ENFORCED))
            .map(|d| ((d.severity, d.code), (d.primary.line, d.primary.column, d.primary.len)))
            .collect();
        let wanted: Vec<_> = wanted.iter().copied().zip(place).collect();
        assert_eq!(found, wanted, "{piece}\n\n{}", render(&loaded.diagnostics, &sources, false));
        let broken = wanted.iter().any(|((severity, _), _)| *severity == Severity::Error);
        assert_eq!(loaded.errors() > 0, broken, "{piece}");
    }
}

/// Line, column and length of what stands between the marks.
fn place(marked: &str) -> (u32, u32, u32) {
    let (before, rest) = marked.split_once('«').expect("a mark");
    let (inside, _) = rest.split_once('»').expect("its end");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line as u32, column as u32, inside.chars().count() as u32)
}
