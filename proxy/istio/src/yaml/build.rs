//! Makes a tree of one document's events, whoever found them.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::Tag;

use super::{Document, Key, MAX_ANCHORED, MAX_DEPTH, MAX_UNFOLDED, Mark, Node, Problem, Size, Value};
use crate::codes::{self, Code};

/// Makes a tree of one document's events.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    /// What is anchored; `None` for what is too large.
    anchors: HashMap<usize, Option<Anchored>>,
    anchored: Size,
    unfolded: Size,
    /// Blocks beyond the depth limit that are being skipped.
    too_deep: usize,
    excess: Option<Problem>,
}

/// What an alias stands for, and how much that is.
#[derive(Clone)]
struct Anchored {
    node: Rc<Node>,
    size: Size,
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
    /// Opens a list or block, written in brackets if `flow`.
    pub(super) fn begin(&mut self, node: Node, flow: bool, anchor: usize) {
        if self.open.len() >= MAX_DEPTH || self.too_deep > 0 {
            self.too_deep += 1;
            let message = format!("blocks are nested more than {MAX_DEPTH} deep");
            self.excess.get_or_insert(Problem { code: codes::TOO_DEEP, mark: node.mark, message, other: None });
            return;
        }
        self.open.push(Frame { node, flow, key: None, anchor, index: HashMap::new(), merges: Vec::new() });
    }

    pub(super) fn end(&mut self) {
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

    /// Puts what is anchored in the place of an alias; `before` is what those of all documents have unfolded to.
    pub(super) fn unfold(&mut self, anchor: usize, mark: Mark, before: &mut Size) {
        let target = match self.anchors.get(&anchor).cloned() {
            Some(Some(target)) => target,
            Some(None) => return self.flawed(codes::ALIAS, mark, "what this alias stands for is too large".to_owned()),
            None => return self.flawed(codes::ALIAS, mark, "this alias is inside its own anchor".to_owned()),
        };
        self.unfolded = self.unfolded.and(target.size);
        *before = before.and(target.size);
        if !self.unfolded.fits(MAX_UNFOLDED) || self.open.len() + target.depth > MAX_DEPTH {
            let Size { values, bytes } = MAX_UNFOLDED;
            let message = format!("aliases unfold to more than {values} values or {} MiB of text", bytes >> 20);
            return self.flawed(codes::ALIAS, mark, message);
        }
        if !before.is_bearable() {
            let message = "the aliases of all documents together unfold to too much".to_owned();
            return self.flawed(codes::ALIAS, mark, message);
        }
        self.complete(Node::clone(&target.node), 0);
    }

    pub(super) fn flawed(&mut self, code: Code, mark: Mark, message: String) {
        let mut node = null(mark);
        node.problems.push(Problem { code, mark, message, other: None });
        self.complete(node, 0);
    }

    pub(super) fn complete(&mut self, node: Node, anchor: usize) {
        if self.too_deep > 0 {
            return;
        }
        if anchor != 0 {
            let (size, depth) = (node.size(), node.depth());
            self.anchored = self.anchored.and(size);
            let kept = self.anchored.fits(MAX_ANCHORED).then(|| Anchored { node: Rc::new(node.clone()), size, depth });
            self.anchors.insert(anchor, kept);
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(frame) => frame.add(node),
        }
    }

    /// Istio's documents are full of `[…]` and `{…}`: one that is not closed is noticed lines later, but is the mistake itself.
    pub(super) fn syntax_error(&self, mark: Mark, message: String) -> Problem {
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
    pub(super) fn finish(mut self, broken: Option<Problem>) -> Option<Document> {
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

pub(super) fn null(mark: Mark) -> Node {
    Node { value: Value::Scalar { text: "".into(), plain: true }, mark, problems: Vec::new() }
}

pub(super) fn node(value: Value, mark: Mark, tag: Option<&Tag>) -> Node {
    let mut node = Node { value, mark, problems: Vec::new() };
    if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
        let message = format!("the tag `{}` is not understood", tag.original());
        node.problems.push(Problem { code: codes::TAG, mark, message, other: None });
    }
    node
}
