//! Documents of any form, read by the parser. Its only user.

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle};

use super::build::{Builder, node};
use super::{Document, Mark, Size, Start, Value};
use crate::codes;

/// Hands over the document at `start`, and with `all` those behind it; where else the next one starts that has `---` before it.
///
/// A syntax error costs its own document and no other.
pub(super) fn documents(
    text: &str,
    start: Start,
    all: bool,
    unfolded: &mut Size,
    take: &mut impl FnMut(Document),
) -> Option<Start> {
    let rest = &text[start.at..];
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_unresolved_aliases = true;
    let mut parser = Parser::new_from_str_with_options(rest, options);
    let mut builder = Builder::default();
    // Each recovery moves to a later `---`, so there are never more of them than bytes.
    let mut recoveries = rest.len();
    loop {
        match parser.next_event()? {
            Ok((Event::DocumentStart(true, _), span)) if !all && span.start.byte_offset().is_some_and(|at| at > 0) => {
                let (at, lines) = (span.start.byte_offset()?, span.start.line().saturating_sub(1));
                return Some(Start { at: start.at + at, lines: start.lines + lines as u32 });
            }
            Ok((Event::DocumentEnd, _)) => std::mem::take(&mut builder).finish(None).into_iter().for_each(&mut *take),
            Ok((event, span)) => read(&mut builder, event, mark(&span, rest, start.lines), unfolded),
            Err(error) => {
                let at = error.marker();
                let mark = Mark { line: start.lines + at.line().max(1) as u32, column: at.col() as u32 + 1, len: 1 };
                let problem = builder.syntax_error(mark, error.info());
                std::mem::take(&mut builder).finish(Some(problem)).into_iter().for_each(&mut *take);
                recoveries = recoveries.saturating_sub(1);
                if recoveries == 0 || !matches!(parser.proceed_next_document(), Ok(true)) {
                    return None;
                }
            }
        }
    }
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
