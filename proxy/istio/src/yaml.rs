//! YAML and JSON text → a tree in which every key and value knows its place. The only user of the parser.
//!
//! A syntax error costs its own document and no other; what was read of it up to the error is kept, so that the object can be named.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle, Tag};

use crate::codes::{self, Code};

/// How deep blocks may be nested.
const MAX_DEPTH: usize = 64;
/// How many values the aliases of a document may unfold to.
const MAX_UNFOLDED: usize = 50_000;

/// A place in the file at hand: line and column from 1, and a length, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) len: u32,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) mark: Mark,
    /// Mistakes of form right here: keys written twice, unknown aliases and tags.
    problems: Vec<Problem>,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text, and whether it was written without quotes.
    Scalar { text: Box<str>, plain: bool },
    /// A list.
    Seq(Vec<Node>),
    /// A block of keys and values, in order of appearance, each key once.
    Map(Vec<(Key, Node)>),
}

/// A key of a block.
#[derive(Clone, Debug)]
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
#[derive(Debug)]
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

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::Seq(items) => items.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
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

/// Hands over all documents of a text, one after another so that no more than one is held. Empty ones are left out.
pub(crate) fn parse(text: &str, mut take: impl FnMut(Document)) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_unresolved_aliases = true;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::default();
    // Each recovery moves to a later `---`, so there are never more of them than lines.
    let mut recoveries = text.lines().count() + 1;
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((Event::DocumentEnd, _))) => {
                std::mem::take(&mut builder).finish(None).into_iter().for_each(&mut take)
            }
            Some(Ok((event, span))) => builder.take(event, span, text),
            Some(Err(error)) => {
                let at = error.marker();
                let mark = Mark { line: at.line().max(1) as u32, column: at.col() as u32 + 1, len: 1 };
                let problem = builder.syntax_error(mark, error.info());
                std::mem::take(&mut builder).finish(Some(problem)).into_iter().for_each(&mut take);
                recoveries = recoveries.saturating_sub(1);
                if recoveries == 0 || !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
}

/// Makes a tree of one document's events.
#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    unfolded: usize,
    /// Blocks beyond the depth limit that are being skipped.
    too_deep: usize,
    excess: Option<Problem>,
}

/// What an alias stands for, and how much that is.
#[derive(Clone)]
struct Anchored {
    node: Rc<Node>,
    size: usize,
    depth: usize,
}

/// A list or block that is not complete yet.
struct Frame {
    node: Node,
    /// Written in brackets.
    flow: bool,
    key: Option<Key>,
    anchor: usize,
    /// Where the keys of a large block are, by name.
    index: HashMap<Box<str>, usize>,
    /// What `<<` brought; a block's own keys win, wherever they stand.
    merges: Vec<(Key, Node)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span, text: &str) {
        let mark = mark(&span, text);
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let plain =
                    style == ScalarStyle::Plain && !tag.as_deref().is_some_and(|t| t.is_yaml_core_schema_tag("str"));
                let node = node(Value::Scalar { text: value.into(), plain }, mark, tag.as_deref());
                self.complete(node, anchor);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.begin(node(Value::Seq(Vec::new()), mark, tag.as_deref()), style, anchor);
            }
            Event::MappingStart(style, anchor, tag) => {
                self.begin(node(Value::Map(Vec::new()), mark, tag.as_deref()), style, anchor);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.unfold(anchor, mark),
            Event::UnresolvedAlias(name) => {
                self.flawed(codes::ALIAS, mark, format!("no anchor `&{name}` stands before this alias"));
            }
            _ => {}
        }
    }

    fn begin(&mut self, node: Node, style: StructureStyle, anchor: usize) {
        if self.open.len() >= MAX_DEPTH || self.too_deep > 0 {
            self.too_deep += 1;
            let message = format!("blocks are nested more than {MAX_DEPTH} deep");
            self.excess.get_or_insert(Problem { code: codes::TOO_DEEP, mark: node.mark, message, other: None });
            return;
        }
        self.open.push(Frame {
            node,
            flow: style == StructureStyle::Flow,
            key: None,
            anchor,
            index: HashMap::new(),
            merges: Vec::new(),
        });
    }

    fn end(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            if self.too_deep == 0 {
                let mark = self.excess.as_ref().map_or(Mark { line: 1, column: 1, len: 1 }, |problem| problem.mark);
                self.complete(null(mark), 0);
            }
        } else if let Some(mut frame) = self.open.pop() {
            for (key, node) in std::mem::take(&mut frame.merges) {
                frame.merge(&key, node);
            }
            if let (false, Value::Map(entries)) = (frame.flow, &frame.node.value)
                && let Some((key, _)) = entries.first()
            {
                frame.node.mark = key.mark;
            }
            self.complete(frame.node, frame.anchor);
        }
    }

    fn unfold(&mut self, anchor: usize, mark: Mark) {
        let Some(target) = self.anchors.get(&anchor).cloned() else {
            return self.flawed(codes::ALIAS, mark, "this alias is inside its own anchor".to_owned());
        };
        self.unfolded = self.unfolded.saturating_add(target.size);
        if self.unfolded > MAX_UNFOLDED || self.open.len() + target.depth > MAX_DEPTH {
            return self.flawed(codes::ALIAS, mark, format!("aliases unfold to more than {MAX_UNFOLDED} values"));
        }
        self.complete(Node::clone(&target.node), 0);
    }

    fn flawed(&mut self, code: Code, mark: Mark, message: String) {
        let mut node = null(mark);
        node.problems.push(Problem { code, mark, message, other: None });
        self.complete(node, 0);
    }

    fn complete(&mut self, node: Node, anchor: usize) {
        if self.too_deep > 0 {
            return;
        }
        if anchor != 0 {
            let (size, depth) = (node.size(), node.depth());
            self.anchors.insert(anchor, Anchored { node: Rc::new(node.clone()), size, depth });
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(frame) => frame.add(node),
        }
    }

    /// Istio's documents are full of `[…]` and `{…}`: one that is not closed is noticed lines later, but is the mistake itself.
    fn syntax_error(&self, mark: Mark, message: String) -> Problem {
        let unclosed = self.open.iter().rev().find(|frame| frame.flow).filter(|frame| frame.node.mark.line < mark.line);
        match unclosed {
            None => Problem { code: codes::SYNTAX, mark, message, other: None },
            Some(frame) => {
                let bracket = if matches!(frame.node.value, Value::Seq(_)) { '[' } else { '{' };
                let other = Some((mark, format!("reading stopped here: {message}")));
                Problem {
                    code: codes::SYNTAX,
                    mark: frame.node.mark,
                    message: format!("`{bracket}` is not closed"),
                    other,
                }
            }
        }
    }

    /// The document, closed where it ended.
    fn finish(mut self, broken: Option<Problem>) -> Option<Document> {
        self.too_deep = 0;
        while !self.open.is_empty() {
            self.end();
        }
        let broken = broken.or(self.excess);
        match self.root {
            Some(root) if broken.is_some() || !root.is_null() || !root.problems.is_empty() => {
                Some(Document { root, broken })
            }
            _ => broken.map(|problem| Document { root: null(problem.mark), broken: Some(problem) }),
        }
    }
}

impl Frame {
    fn add(&mut self, node: Node) {
        let frame = &mut self.node;
        match &mut frame.value {
            Value::Scalar { .. } => {}
            Value::Seq(items) => items.push(node),
            Value::Map(entries) => match self.key.take() {
                None => self.key = Some(key(node, &mut frame.problems)),
                Some(key) if &*key.text == "<<" => self.merges.push((key, node)),
                Some(key) => match find(entries, &mut self.index, &key.text) {
                    None => entries.push((key, node)),
                    Some(known) => frame.problems.push(Problem {
                        code: codes::DUPLICATE_KEY,
                        mark: key.mark,
                        message: format!("`{}` is written twice in this block", key.text),
                        other: Some((entries[known].0.mark, "it is first written here".to_owned())),
                    }),
                },
            },
        }
    }

    /// YAML 1.1's `<<`: the keys of other blocks, where this one does not have them.
    fn merge(&mut self, key: &Key, node: Node) {
        let Value::Map(entries) = &mut self.node.value else { return };
        let blocks = match node.value {
            Value::Seq(items) => items,
            value => vec![Node { value, ..node }],
        };
        for block in blocks {
            self.node.problems.extend(block.problems);
            let Value::Map(members) = block.value else {
                let message = "`<<` takes a block, or a list of blocks".to_owned();
                self.node.problems.push(Problem { code: codes::WRONG_TYPE, mark: key.mark, message, other: None });
                continue;
            };
            for (name, value) in members {
                if !entries.iter().any(|(known, _)| known.text == name.text) {
                    entries.push((name, value));
                }
            }
        }
    }
}

/// The place of a key among others. Large blocks are indexed, so that reading them takes no more than its time.
fn find(entries: &[(Key, Node)], index: &mut HashMap<Box<str>, usize>, text: &str) -> Option<usize> {
    if entries.len() < 32 {
        return entries.iter().position(|(known, _)| *known.text == *text);
    }
    for (at, (key, _)) in entries.iter().enumerate().skip(index.len()) {
        index.insert(key.text.clone(), at);
    }
    index.get(text).copied()
}

fn key(node: Node, problems: &mut Vec<Problem>) -> Key {
    let mark = node.mark;
    let text = match node.value {
        Value::Scalar { text, .. } => text,
        Value::Seq(_) | Value::Map(_) => {
            let message = "a key must be text".to_owned();
            problems.push(Problem { code: codes::WRONG_TYPE, mark, message, other: None });
            "".into()
        }
    };
    problems.extend(node.problems);
    Key { text, mark }
}

fn null(mark: Mark) -> Node {
    Node { value: Value::Scalar { text: "".into(), plain: true }, mark, problems: Vec::new() }
}

fn node(value: Value, mark: Mark, tag: Option<&Tag>) -> Node {
    let mut node = Node { value, mark, problems: Vec::new() };
    if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
        let message = format!("the tag `{}` is not understood", tag.original());
        node.problems.push(Problem { code: codes::TAG, mark, message, other: None });
    }
    node
}

/// Where an event is, as far as it stands on one line.
fn mark(span: &Span, text: &str) -> Mark {
    let (start, end) = (span.start, span.end);
    let len = if start.line() == end.line() {
        end.col().saturating_sub(start.col())
    } else {
        let rest = start.byte_offset().and_then(|from| text.get(from..)).unwrap_or("");
        rest.lines().next().map_or(1, |line| line.trim_end().chars().count())
    };
    Mark { line: start.line().max(1) as u32, column: start.col() as u32 + 1, len: len.max(1) as u32 }
}

#[cfg(test)]
mod tests;
