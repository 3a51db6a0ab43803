//! Reading a block field by field: each mistake is recorded where it is, and reading goes on.
//!
//! A reader asks a [`Fields`] for each field of its [`Block`] by name and says what it must be. The block's rows decide what happens
//! to fields that nobody enforces, so a reader cannot forget one.

mod field;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Severity};
use crate::expressions;
use crate::names;
use crate::source::Spot;
use crate::suggestions;
use crate::support::{self, Block, Status, same};
use crate::yaml::{Key, Mark, Node, Value};

pub(crate) use field::Field;

/// So many complaints of one code are kept of an object; of more only their number.
pub(crate) const MOST_OF_A_KIND: usize = 1_000;

/// What is being read, and what was found wrong with it.
pub(crate) struct Cx {
    file: Arc<str>,
    /// `VirtualService demo/reviews`, or empty.
    pub(crate) resource: Arc<str>,
    /// Whether Istio's own validator would read it.
    istio: bool,
    /// Whether a misspelt key is taken for the one it is nearest to, so that one mistake is not followed by others.
    guessing: bool,
    found: RefCell<Vec<Diagnostic>>,
    /// How many complaints there were of each kind.
    counts: RefCell<BTreeMap<(Severity, Code), usize>>,
    failed: Cell<bool>,
    /// What the expressions weigh that were met, and what they may.
    expressions: Cell<usize>,
    most_expressions: usize,
    /// Whether one was refused for that.
    overfull: Cell<bool>,
    /// Texts so far: a host is named again in route after route.
    texts: RefCell<FxHashSet<Arc<str>>>,
}

impl Cx {
    pub(crate) fn new(file: &Arc<str>, resource: Arc<str>, istio: bool) -> Self {
        Self {
            file: file.clone(),
            resource,
            istio,
            guessing: false,
            found: RefCell::default(),
            counts: RefCell::default(),
            failed: Cell::new(false),
            expressions: Cell::new(0),
            most_expressions: expressions::MOST,
            overfull: Cell::new(false),
            texts: RefCell::default(),
        }
    }

    /// The same, which takes a misspelt key for the one it is nearest to.
    pub(crate) fn guessing(mut self, guessing: bool) -> Self {
        self.guessing = guessing;
        self
    }

    /// The same, when the expressions of other objects weigh so much.
    pub(crate) fn after_expressions(mut self, weight: usize) -> Self {
        self.most_expressions = expressions::MOST.saturating_sub(weight);
        self
    }

    /// Whether there is room for an expression, which then counts.
    fn has_room_for(&self, expression: &str) -> bool {
        let all = self.expressions.get().saturating_add(expressions::weight(expression));
        match all <= self.most_expressions {
            true => self.expressions.set(all),
            false => self.overfull.set(true),
        }
        all <= self.most_expressions
    }

    /// What the expressions weigh, and whether there were more than there is room for.
    pub(crate) fn expressions(&self) -> (usize, bool) {
        (self.expressions.get(), self.overfull.get())
    }

    /// A text, the same as an equal one before.
    fn shared(&self, text: &str) -> Arc<str> {
        let mut texts = self.texts.borrow_mut();
        if let Some(known) = texts.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        texts.insert(text.clone());
        text
    }

    pub(crate) fn spot(&self, mark: Mark) -> Spot {
        Spot { file: self.file.clone(), line: mark.line, column: mark.column, len: mark.len }
    }

    pub(crate) fn error(&self, code: Code, mark: Mark, message: impl Into<String>) {
        self.push(Diagnostic::error(code, &self.resource, &self.spot(mark), message));
    }

    pub(crate) fn warn(&self, code: Code, mark: Mark, message: impl Into<String>) {
        self.push(Diagnostic::warning(code, &self.resource, &self.spot(mark), message));
    }

    pub(crate) fn at(&self, severity: Severity, code: Code, mark: Mark, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(severity, code, &self.resource, &self.spot(mark), message)
    }

    /// Istio: the analyzer's IST0106 is any error of its validator, IST0133 any warning that has no code of its own.
    pub(crate) fn push(&self, mut diagnostic: Diagnostic) {
        if diagnostic.severity == Severity::Error {
            self.failed.set(true);
        }
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry((diagnostic.severity, diagnostic.code)).or_default();
        *count += 1;
        if *count > MOST_OF_A_KIND {
            return;
        }
        if self.istio && diagnostic.ist.is_none() && diagnostic.code.is_validation() {
            diagnostic.ist = Some(if diagnostic.severity == Severity::Error { "IST0106" } else { "IST0133" });
        }
        // Messages quote what the user wrote, and are shown on terminals and in logs.
        if diagnostic.message.contains(char::is_control) {
            diagnostic.message = diagnostic.message.escape_debug().to_string();
        }
        self.found.borrow_mut().push(diagnostic);
    }

    /// Records what a check from [`names`] has to say.
    pub(crate) fn check(&self, code: Code, mark: Mark, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.error(code, mark, message);
        }
    }

    /// Whether a further complaint of a kind would only be counted.
    fn is_full(&self, severity: Severity, code: Code) -> bool {
        self.counts.borrow().get(&(severity, code)).is_some_and(|count| *count >= MOST_OF_A_KIND)
    }

    /// Whether an error was found.
    pub(crate) fn failed(&self) -> bool {
        self.failed.get()
    }

    /// All complaints; where there are too many of a kind, the last one says how many more.
    pub(crate) fn into_found(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        for ((severity, code), count) in self.counts.into_inner() {
            let more = count.saturating_sub(MOST_OF_A_KIND);
            let last = found.iter().rfind(|known| (known.severity, known.code) == (severity, code));
            if let Some(last) = last.filter(|_| more > 0) {
                let message = format!("and {more} more of this kind in this object");
                found.push(Diagnostic::new(severity, code, &last.resource, &last.primary, message));
            }
        }
        found
    }
}

/// Whether a value is as good as none, whatever its field.
fn is_nothing(node: &Node) -> bool {
    node.is_null() || matches!(&node.value, Value::Seq(items) if items.is_empty())
}

/// A block whose fields are being read.
pub(crate) struct Fields<'a> {
    pub(crate) cx: &'a Cx,
    block: &'static Block,
    /// Where the block is: its key, or its first line in a list.
    pub(crate) mark: Mark,
    entries: Vec<Entry<'a>>,
}

/// The keys of a block, and which of its rows they are.
struct Beside<'a> {
    entries: &'a [(Key, Node)],
    rows: OnceCell<FxHashSet<&'static str>>,
}

impl Beside<'_> {
    fn rows(&self, block: &'static Block) -> &FxHashSet<&'static str> {
        let known = |(key, _): &(Key, Node)| block.row(&key.text).map(|row| row.field);
        self.rows.get_or_init(|| self.entries.iter().filter_map(known).collect())
    }
}

struct Entry<'a> {
    name: &'static str,
    key: Mark,
    node: &'a Node,
}

impl<'a> Fields<'a> {
    /// Sorts a block's keys by the block's rows. `None`, with an error, when it is not a block at all.
    pub(crate) fn of(node: &'a Node, mark: Mark, block: &'static Block, cx: &'a Cx) -> Option<Self> {
        let count = node.entries().map_or(0, <[_]>::len);
        let mut fields = Self { cx, block, mark, entries: Vec::with_capacity(count) };
        match &node.value {
            Value::Map(entries) => {
                let mut guesses = Vec::new();
                let beside = Beside { entries, rows: OnceCell::new() };
                for (key, value) in entries {
                    guesses.extend(fields.sort(key, value, &beside));
                }
                for guess in guesses.into_iter().filter(|_| cx.guessing) {
                    if !fields.has(guess.name) {
                        fields.entries.push(guess);
                    }
                }
            }
            _ if node.is_null() => {}
            _ => {
                cx.error(codes::WRONG_TYPE, node.mark, format!("a block is wanted here, not {}", node.describe()));
                return None;
            }
        }
        Some(fields)
    }

    /// Takes a key for its row; if it is misspelt, what it may mean.
    fn sort(&mut self, key: &'a Key, node: &'a Node, beside: &Beside<'a>) -> Option<Entry<'a>> {
        let Some(row) = self.block.row(&key.text) else {
            return self.unknown(key, node, beside).map(|name| Entry { name, key: key.mark, node });
        };
        if let Some(known) = self.entries.iter_mut().find(|entry| same(entry.name, row.field)) {
            let message = format!("`{}` is written in both its spellings; `{0}` is taken", row.field);
            self.cx.warn(codes::SPELLED_TWICE, key.mark, message);
            if *key.text == *row.field {
                (known.key, known.node) = (key.mark, node);
            }
            return None;
        }
        self.entries.push(Entry { name: row.field, key: key.mark, node });
        if is_nothing(node) {
            return None;
        }
        let (severity, code, what, why) = match row.status {
            Status::Enforced | Status::InPart(_) | Status::Passed => return None,
            Status::Later(why) => (Severity::Warning, codes::NOT_ENFORCED, "is not enforced yet", why),
            Status::Ignored(why) => (Severity::Warning, codes::IGNORED, "has no effect here", why),
            Status::Refused(why) => (Severity::Error, codes::REFUSED, "is never accepted", why),
        };
        self.cx.push(self.cx.at(severity, code, key.mark, format!("`{}` {what}", row.field)).help(why));
        None
    }

    /// Complains about a key without a row; the row's field that it most likely means.
    fn unknown(&self, key: &Key, node: &Node, beside: &Beside<'_>) -> Option<&'static str> {
        let severity = if self.block.strict { Severity::Error } else { Severity::Warning };
        if !self.block.open && self.cx.is_full(severity, codes::UNKNOWN_FIELD) {
            self.cx.push(self.cx.at(severity, codes::UNKNOWN_FIELD, key.mark, ""));
            return None;
        }
        // A word that another block knows is not misspelt, and neither is one beside what it would mean.
        let written = beside.rows(self.block);
        let free = |row: &&support::Row| !written.contains(row.field);
        let near = names::nearest(&key.text, self.block.rows.iter().filter(free).map(|row| row.field));
        let near = near.filter(|_| !suggestions::is_known(&key.text, self.block));
        if self.block.open && near.is_none() {
            return None;
        }
        let message = format!("unknown field `{}` in `{}`", key.text, self.block.path);
        let mut diagnostic = self.cx.at(severity, codes::UNKNOWN_FIELD, key.mark, message);
        let meant = || near.map(|near| format!("did you mean `{near}`?"));
        diagnostic.help = meant().or_else(|| suggestions::advice(&key.text, node, beside.entries, self.block));
        self.cx.push(diagnostic);
        near
    }

    /// A field, present or not.
    pub(crate) fn get(&self, name: &'static str) -> Field<'a> {
        support::asked(self.block, name);
        match self.entries.iter().find(|entry| same(entry.name, name) && !entry.node.is_null()) {
            Some(entry) => Field { cx: self.cx, name, key: entry.key, node: Some(entry.node) },
            None => Field { cx: self.cx, name, key: self.mark, node: None },
        }
    }

    /// A field that must be there.
    pub(crate) fn required(&self, name: &'static str) -> Field<'a> {
        let field = self.get(name);
        if field.node.is_none() {
            self.cx.error(codes::MISSING, self.mark, format!("`{}` needs `{name}`", self.block.path));
        }
        field
    }

    /// Whether a field is written, enforced or not. Istio's decoder does not tell an empty list from none.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| same(entry.name, name) && !is_nothing(entry.node))
    }

    /// Whether a field is written and not empty. Istio: an empty text or list is not there.
    pub(crate) fn fills(&self, name: &str) -> bool {
        let filled = |node: &Node| match &node.value {
            Value::Scalar { text, .. } => !node.is_null() && !text.is_empty(),
            Value::Seq(items) => !items.is_empty(),
            Value::Map(_) => true,
        };
        self.entries.iter().any(|entry| entry.name == name && filled(entry.node))
    }

    /// Where a field's key is, or the block when the field is not there.
    pub(crate) fn place(&self, name: &str) -> Mark {
        self.entries.iter().find(|entry| entry.name == name).map_or(self.mark, |entry| entry.key)
    }

    /// Warns that a field is not enforced as it is written, for the reason of its row.
    pub(crate) fn not_enforced(&self, name: &'static str) {
        let row = self.block.row(name);
        if let Some(Status::InPart(limit)) = row.map(|row| row.status) {
            let message = format!("`{name}` is not enforced yet");
            self.cx.push(self.cx.at(Severity::Warning, codes::NOT_ENFORCED, self.place(name), message).help(limit));
        }
    }

    /// Those of some fields that are written.
    pub(crate) fn present(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.has(name)).collect()
    }

    /// Records an error when more than one of some fields is written.
    pub(crate) fn at_most_one(&self, names: &[&'static str]) {
        let mut present = names.iter().copied().filter(|name| self.has(name));
        if let (Some(first), Some(second)) = (present.next(), present.next()) {
            let message = format!("`{second}` cannot be set together with `{first}`");
            let label = self.cx.spot(self.place(first));
            let diagnostic = self.cx.at(Severity::Error, codes::ONE_OF, self.place(second), message);
            self.cx.push(diagnostic.label(&label, format!("`{first}` is here")));
        }
    }

    /// Records an error when none of some fields is written. Istio: an empty text or list is not there.
    pub(crate) fn at_least_one(&self, names: &[&'static str]) {
        let mut named = self.entries.iter().filter(|entry| names.contains(&entry.name)).peekable();
        let place = named.peek().filter(|entry| matches!(entry.node.value, Value::Seq(_))).map(|entry| entry.key);
        if !named.any(|entry| !is_nothing(entry.node) && entry.node.raw() != Some("")) {
            let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message = format!("`{}` needs one of {list}", self.block.path);
            self.cx.error(codes::MISSING, place.unwrap_or(self.mark), message);
        }
    }

    pub(crate) fn spot(&self) -> Spot {
        self.cx.spot(self.mark)
    }
}
