//! Diagnostics as text for people, with the lines they are about; for programs see [`programs`].

mod programs;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

pub use programs::{to_github, to_json, to_sarif};

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Source, Spot};

/// The most bytes of a text that are shown. What is written on one line of megabytes is told by its place.
const LONGEST_EXCERPT: usize = 8_000;

/// Diagnostics as a compiler would print them, in their order.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let spots = diagnostics.iter().flat_map(|d| d.labels.iter().map(|(spot, _)| spot).chain([&d.primary]));
    let mentioned: HashSet<&str> = spots.map(|spot| &*spot.file).collect();
    let shown = sources.iter().filter(|source| mentioned.contains(&*source.name));
    let lines: Texts<'_> = shown.map(|source| (&*source.name, Lines::of(source))).collect();
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&[group(diagnostic, &lines)]));
        text.push_str("\n\n");
    }
    text
}

/// The texts that diagnostics are about, by file name.
type Texts<'s> = HashMap<&'s str, Lines<'s>>;

/// A place, whether it is the place, and what is there.
type Piece<'d> = (&'d Spot, AnnotationKind, Option<&'d str>);

fn group<'d>(diagnostic: &'d Diagnostic, sources: &'d Texts<'d>) -> Group<'d> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(id(diagnostic));
    let mut group = Group::with_title(title);
    let mut pieces: Vec<Piece<'_>> = vec![(&diagnostic.primary, AnnotationKind::Primary, None)];
    pieces.extend(diagnostic.labels.iter().map(|(spot, text)| (spot, AnnotationKind::Context, Some(text.as_str()))));
    while let Some((spot, ..)) = pieces.first().copied() {
        // Places that are near one another share an excerpt.
        let near = |other: &Spot| other.file == spot.file && other.line.abs_diff(spot.line) <= 12;
        let (together, apart): (Vec<_>, Vec<_>) = pieces.iter().copied().partition(|(other, ..)| near(other));
        pieces = apart;
        group = match excerpt(&together, sources) {
            Some(snippet) => group.element(snippet),
            None => {
                let mut origin = Origin::path(&*spot.file);
                if spot.line > 0 {
                    origin = origin.line(spot.line as usize).char_column(spot.column as usize);
                }
                let labels = together.iter().filter_map(|(.., label)| *label);
                labels.fold(group.element(origin), |group, label| group.element(Level::NOTE.message(label)))
            }
        };
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    group
}

/// The code, and Istio's where it says more than that its validator complains.
fn id(diagnostic: &Diagnostic) -> String {
    match diagnostic.ist.filter(|ist| !matches!(*ist, "IST0106" | "IST0133")) {
        Some(ist) => format!("{}, {ist}", diagnostic.code),
        None => diagnostic.code.to_string(),
    }
}

/// The lines that some places of one file are on.
fn excerpt<'d>(pieces: &[Piece<'d>], sources: &'d Texts<'d>) -> Option<Snippet<'d, annotate_snippets::Annotation<'d>>> {
    let (spot, ..) = pieces.first()?;
    let lines = sources.get(&*spot.file)?;
    let first = pieces.iter().map(|(spot, ..)| spot.line).min()?;
    let last = pieces.iter().map(|(spot, ..)| spot.line).max()?;
    let range = lines.range(first)?.start..lines.range(last)?.end;
    let text = lines.source.text.get(range.clone()).filter(|text| text.len() <= LONGEST_EXCERPT)?;
    let mut snippet = Snippet::source(text).line_start(first as usize).path(&*lines.source.name).fold(true);
    for (spot, kind, label) in pieces {
        let bytes = lines.bytes(spot)?;
        let annotation = kind.span(bytes.start - range.start..bytes.end - range.start);
        snippet = snippet.annotation(match label {
            Some(label) => annotation.label(*label),
            None => annotation,
        });
    }
    Some(snippet)
}

/// A text and where its lines begin.
struct Lines<'s> {
    source: &'s Source,
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    fn of(source: &'s Source) -> Self {
        let breaks = source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// A line's bytes, without its end; the line after the last is empty.
    fn range(&self, line: u32) -> Option<Range<usize>> {
        let index = (line as usize).checked_sub(1)?.min(self.starts.len() - 1);
        let start = self.starts[index];
        let end = self.starts.get(index + 1).map_or(self.source.text.len(), |next| next - 1);
        let end = if self.source.text[start..end].ends_with('\r') { end - 1 } else { end };
        Some(start..end)
    }

    /// A place's bytes, at least one character where there is one.
    fn bytes(&self, spot: &Spot) -> Option<Range<usize>> {
        let range = self.range(spot.line)?;
        let line = self.source.text.get(range.clone())?;
        // A byte order mark takes no column.
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let range = range.end - line.len()..range.end;
        let at = |column: u32| line.char_indices().nth(column as usize).map_or(line.len(), |(at, _)| at);
        let start = at(spot.column.saturating_sub(1));
        let end = at(spot.column.saturating_sub(1).saturating_add(spot.len)).max(start);
        Some(range.start + start..range.start + end)
    }
}
