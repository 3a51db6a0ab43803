//! Documents of any form, read by the parser. Its only user.

use std::borrow::Cow;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, Span, StructureStyle};

use super::build::{Builder, node};
use super::simple::end;
use super::{Document, Mark, Size, Start, Value};
use crate::codes;

/// Hands over the document at `start`, and with `all` those behind it; where else the next one starts that has `---` before it.
///
/// A syntax error costs its own document and no other. The parser's is none if quoted text is what is not indented far
/// enough: the text is read again with more blanks there, which are not part of it.
pub(super) fn documents(
    text: &str,
    start: Start,
    all: bool,
    unfolded: &mut Size,
    take: &mut impl FnMut(Document),
) -> Option<Start> {
    let mut indented = Indented::default();
    let whole = &text[start.at..];
    let mut rest = Cow::Borrowed(whole);
    let mut taken = 0;
    loop {
        let before = *unfolded;
        let mut count = 0;
        let mut new = |document| {
            count += 1;
            if count > taken {
                take(document);
            }
        };
        match read_documents(&rest, start, all, &indented, unfolded, &mut new) {
            Ok(next) if all || indented.runs.is_empty() => return next,
            // What was read again is this document only.
            Ok(_) => {
                let end = end(whole);
                let lines = whole[..end].matches('\n').count() as u32;
                return (end < whole.len()).then_some(Start { at: start.at + end, lines: start.lines + lines });
            }
            Err(line) => {
                taken = count;
                *unfolded = before;
                let again = if all { &*rest } else { &rest[..end(&rest)] };
                rest = Cow::Owned(indented.more(again, line));
            }
        }
    }
}

/// What is read of the documents of a text; or the line, from 0, at which quoted text must be indented further.
fn read_documents(
    rest: &str,
    start: Start,
    all: bool,
    indented: &Indented,
    unfolded: &mut Size,
    take: &mut impl FnMut(Document),
) -> Result<Option<Start>, usize> {
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_unresolved_aliases = true;
    let mut parser = Parser::new_from_str_with_options(rest, options);
    let mut builder = Builder::default();
    // Each recovery moves to a later `---`, so there are never more of them than bytes.
    let mut recoveries = rest.len();
    loop {
        let Some(event) = parser.next_event() else { return Ok(None) };
        match event {
            Ok((Event::DocumentStart(true, _), span)) if !all && span.start.byte_offset().is_some_and(|at| at > 0) => {
                let (at, lines) = (span.start.byte_offset().unwrap_or(0), span.start.line().saturating_sub(1));
                return Ok(Some(Start { at: start.at + at, lines: start.lines + lines as u32 }));
            }
            Ok((Event::DocumentEnd, _)) => std::mem::take(&mut builder).finish(None).into_iter().for_each(&mut *take),
            Ok((event, span)) => read(&mut builder, event, mark(&span, rest, start.lines), unfolded),
            Err(error) => {
                let at = error.marker();
                let line = at.line().max(1) - 1;
                if matches!(error.kind(), ErrorKind::InvalidQuotedScalarIndent) && indented.may_help(rest, line) {
                    return Err(line);
                }
                let mark = Mark { line: start.lines + at.line().max(1) as u32, column: at.col() as u32 + 1, len: 1 };
                let problem = builder.syntax_error(mark, error.info());
                std::mem::take(&mut builder).finish(Some(problem)).into_iter().for_each(&mut *take);
                recoveries = recoveries.saturating_sub(1);
                if recoveries == 0 || !matches!(parser.proceed_next_document(), Ok(true)) {
                    return Ok(None);
                }
            }
        }
    }
}

/// The lines of quoted text that were indented further than they are written.
#[derive(Default)]
struct Indented {
    /// First lines and how many, from 0.
    runs: Vec<(usize, usize)>,
}

impl Indented {
    /// Enough for any block that may be nested: 64 deep.
    const BLANKS: &'static str = match str::from_utf8(&[b' '; 512]) {
        Ok(blanks) => blanks,
        Err(_) => "",
    };
    /// Each costs another reading.
    const MOST: usize = 64;
    /// So much may be read again in all.
    const MOST_BYTES: usize = 256 << 20;

    /// Whether a line is within quoted text that ends, and was not indented yet.
    fn may_help(&self, text: &str, line: usize) -> bool {
        self.runs.len() < Self::MOST
            && text.len().saturating_mul(self.runs.len() + 1) <= Self::MOST_BYTES
            && self.runs.last().is_none_or(|(from, count)| line >= from + count)
            && lines_of_quote(text, line).is_some()
    }

    /// The text with the rest of a quoted text indented from a line on.
    fn more(&mut self, text: &str, line: usize) -> String {
        let count = lines_of_quote(text, line).unwrap_or(1);
        self.runs.push((line, count));
        let mut wider = String::with_capacity(text.len() + count * Self::BLANKS.len());
        for (at, one) in text.split_inclusive('\n').enumerate() {
            if (line..line + count).contains(&at) {
                wider.push_str(Self::BLANKS);
            }
            wider.push_str(one);
        }
        wider
    }
}

/// How many lines a quoted text goes on for, from one of its lines on. Where it begins is looked for in the lines before.
fn lines_of_quote(text: &str, line: usize) -> Option<usize> {
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).take(line + 1).collect();
    let from = *starts.get(line)?;
    let opened = |start: &usize| {
        let written = text[*start..from].lines().next()?;
        let at = [": ", "- ", ":\t"].iter().flat_map(|before| written.match_indices(before)).map(|(at, _)| at + 2);
        let mut quotes: Vec<usize> = at.filter(|at| written[*at..].trim_start().starts_with(['\'', '"'])).collect();
        quotes.sort_unstable();
        let open = |at: &usize| {
            let at = start + at + (written[*at..].len() - written[*at..].trim_start().len());
            let end = end_of_quote(&text[at..])?;
            (at + end >= from).then_some(at + end)
        };
        quotes.iter().find_map(open)
    };
    let end = starts[..line].iter().rev().find_map(opened)?;
    Some(text[from..end].matches('\n').count() + 1)
}

/// Where a quoted text ends that begins here, if it does.
fn end_of_quote(text: &str) -> Option<usize> {
    let single = text.starts_with('\'');
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if !single => _ = letters.next(),
            '\'' if single && letters.peek().is_some_and(|(_, next)| *next == '\'') => _ = letters.next(),
            '\'' if single => return Some(at),
            '"' if !single => return Some(at),
            _ => {}
        }
    }
    None
}

fn read(builder: &mut Builder, event: Event<'_>, mark: Mark, unfolded: &mut Size) {
    let flow = |style| style == StructureStyle::Flow;
    match event {
        Event::Scalar(value, style, anchor, tag) => {
            let plain =
                style == ScalarStyle::Plain && !tag.as_deref().is_some_and(|t| t.is_yaml_core_schema_tag("str"));
            let node = node(Value::Scalar { text: value.into(), plain }, mark, tag.as_deref());
            builder.complete(node, anchor);
        }
        Event::SequenceStart(style, anchor, tag) => {
            builder.begin(node(Value::Seq(Vec::new()), mark, tag.as_deref()), flow(style), anchor);
        }
        Event::MappingStart(style, anchor, tag) => {
            builder.begin(node(Value::Map(Vec::new()), mark, tag.as_deref()), flow(style), anchor);
        }
        Event::SequenceEnd | Event::MappingEnd => builder.end(),
        Event::Alias(anchor) => builder.unfold(anchor, mark, unfolded),
        Event::UnresolvedAlias(name) => {
            builder.flawed(codes::ALIAS, mark, format!("no anchor `&{name}` stands before this alias"));
        }
        _ => {}
    }
}

/// Where an event is, as far as it stands on one line.
fn mark(span: &Span, text: &str, lines: u32) -> Mark {
    let (start, end) = (span.start, span.end);
    let len = if start.line() == end.line() {
        end.col().saturating_sub(start.col())
    } else {
        let rest = start.byte_offset().and_then(|from| text.get(from..)).unwrap_or("");
        rest.lines().next().map_or(1, |line| line.trim_end().chars().count())
    };
    let line = lines + start.line().max(1) as u32;
    Mark { line, column: start.col() as u32 + 1, len: len.max(1) as u32 }
}
