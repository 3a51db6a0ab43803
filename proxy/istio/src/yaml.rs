//! YAML and JSON text → a tree in which every key and value knows its place.
//!
//! A syntax error costs its own document and no other; what was read of it up to the error is kept, so that the object can be named.

mod build;
mod events;
mod simple;

use crate::codes::Code;
use build::null;

/// How deep blocks may be nested.
const MAX_DEPTH: usize = 64;
/// How much the aliases of a document may unfold to.
const MAX_UNFOLDED: Size = Size { values: 50_000, bytes: 4 << 20 };
/// How much the aliases of all documents together may unfold to.
const MAX_UNFOLDED_IN_ALL: Size = Size { values: 1_000_000, bytes: 64 << 20 };
/// How much of a document may be anchored: what is anchored within what is anchored counts again.
const MAX_ANCHORED: Size = Size { values: 1_000_000, bytes: 64 << 20 };

/// How much something is: values, and bytes of text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Size {
    values: usize,
    bytes: usize,
}

impl Size {
    /// Both together.
    pub(crate) fn and(self, more: Self) -> Self {
        Self { values: self.values.saturating_add(more.values), bytes: self.bytes.saturating_add(more.bytes) }
    }

    fn fits(self, most: Self) -> bool {
        self.values <= most.values && self.bytes <= most.bytes
    }

    /// Whether the aliases of all documents may unfold to so much.
    pub(crate) fn is_bearable(self) -> bool {
        self.fits(MAX_UNFOLDED_IN_ALL)
    }
}

/// A place in the file at hand: line and column from 1, and a length, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) len: u32,
}

/// A value and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) mark: Mark,
    /// Mistakes of form right here: keys written twice, unknown aliases and tags.
    problems: Vec<Problem>,
}

/// What a node holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// Text, and whether it was written without quotes.
    Scalar { text: Box<str>, plain: bool },
    /// A list.
    Seq(Vec<Node>),
    /// A block of keys and values, in order of appearance, each key once.
    Map(Vec<(Key, Node)>),
}

/// A key of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(crate) text: Box<str>,
    pub(crate) mark: Mark,
}

/// A mistake of form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) mark: Mark,
    pub(crate) message: String,
    /// Another place that has to do with it, and what is there.
    pub(crate) other: Option<(Mark, String)>,
}

/// One document of a file.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Document {
    /// Its value, or what could be read of it.
    pub(crate) root: Node,
    /// What ended the reading early.
    pub(crate) broken: Option<Problem>,
}

/// What an unquoted scalar means. YAML 1.1's words are understood, as Kubernetes' tools do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    Text,
    Null,
    Bool(bool),
    Number,
}

impl Node {
    /// A value without a mistake of form.
    pub(crate) fn of(value: Value, mark: Mark) -> Self {
        Self { value, mark, problems: Vec::new() }
    }

    /// A value that is not there.
    pub(crate) fn nothing() -> Self {
        null(Mark { line: 1, column: 1, len: 1 })
    }

    /// The members of a block.
    pub(crate) fn entries(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Scalar { .. } | Value::Seq(_) => None,
        }
    }

    /// A member of a block.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|(k, _)| &*k.text == key).map(|(_, node)| node)
    }

    /// A scalar's text, whatever it means.
    pub(crate) fn raw(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Seq(_) | Value::Map(_) => None,
        }
    }

    /// Whether this is nothing at all.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if meaning(text) == Meaning::Null)
    }

    /// What stands here, in words.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::Seq(_) => "a list",
            Value::Map(_) => "a block",
            Value::Scalar { plain: false, .. } => "text",
            Value::Scalar { text, plain: true } => match meaning(text) {
                Meaning::Text => "text",
                Meaning::Null => "nothing",
                Meaning::Bool(_) => "a boolean",
                Meaning::Number => "a number",
            },
        }
    }

    /// Every mistake of form here and below, in order.
    pub(crate) fn problems(&self) -> Vec<&Problem> {
        let mut found = Vec::new();
        self.gather(&mut found);
        found
    }

    fn gather<'n>(&'n self, into: &mut Vec<&'n Problem>) {
        into.extend(&self.problems);
        match &self.value {
            Value::Scalar { .. } => {}
            Value::Seq(items) => items.iter().for_each(|node| node.gather(into)),
            Value::Map(entries) => entries.iter().for_each(|(_, node)| node.gather(into)),
        }
    }

    fn size(&self) -> Size {
        let own = |bytes| Size { values: 1, bytes };
        match &self.value {
            Value::Scalar { text, .. } => own(text.len()),
            Value::Seq(items) => items.iter().map(Node::size).fold(own(0), Size::and),
            Value::Map(entries) => {
                let size = |(key, node): &(Key, Node)| Size { values: 0, bytes: key.text.len() }.and(node.size());
                entries.iter().map(size).fold(own(0), Size::and)
            }
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::Seq(items) => items.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
        }
    }
}

/// What unquoted text means.
pub(crate) fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Meaning::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Meaning::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Meaning::Number,
        _ if is_number(text) => Meaning::Number,
        _ => Meaning::Text,
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let all = |rest: &str, radix: u32| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix) || c == '_');
    match digits.get(..2) {
        Some("0x") => return all(&digits[2..], 16),
        Some("0o") => return all(&digits[2..], 8),
        Some("0b") => return all(&digits[2..], 2),
        _ => {}
    }
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-' | '_'))
        && digits.replace('_', "").parse::<f64>().is_ok()
}

/// A document's start: a place in the text, and how many lines are before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Start {
    at: usize,
    lines: u32,
}

/// Hands over all documents of a text, one after another so that no more than one is held. Empty ones are left out.
///
/// Nearly every document is written in the few forms that [`simple`] reads, at many times the parser's speed. The parser reads
/// the others, and says what is wrong.
pub(crate) fn parse(text: &str, take: impl FnMut(Document)) {
    parse_after(&mut Size::default(), text, take);
}

/// The same, after other texts, whose aliases have unfolded to so much.
pub(crate) fn parse_after(unfolded: &mut Size, text: &str, mut take: impl FnMut(Document)) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A directive is before the document that it is for, and the parser takes a zero for the end.
    let all = text.starts_with('%') || text.contains("\n%") || text.contains('\0');
    let mut next = Some(Start::default());
    while let Some(start) = next.filter(|start| start.at < text.len()) {
        let read = if all { None } else { simple::document(text, start) };
        next = match read {
            Some((document, behind)) => {
                document.into_iter().for_each(&mut take);
                Some(behind)
            }
            None => events::documents(text, start, all, unfolded, &mut take),
        };
    }
}

#[cfg(test)]
mod tests;
