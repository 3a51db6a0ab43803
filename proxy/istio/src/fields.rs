//! Reading a block field by field: each mistake is recorded where it is, and reading goes on.
//!
//! A reader asks a [`Fields`] for each field of its [`Block`] by name and says what it must be. The block's rows decide what happens
//! to fields that nobody enforces, so a reader cannot forget one.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use leeboard_policy::time::Span;
use regex::Regex;

use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Severity};
use crate::homes;
use crate::names;
use crate::resources::Labels;
use crate::source::{Located, Spot};
use crate::support::{self, Block, Status};
use crate::yaml::{Key, Mark, Meaning, Node, Value, meaning};

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
    /// Texts so far: a host is named again in route after route.
    texts: RefCell<HashSet<Arc<str>>>,
}

impl Cx {
    pub(crate) fn new(file: &Arc<str>, resource: Arc<str>, istio: bool) -> Self {
        Self {
            file: file.clone(),
            resource,
            istio,
            guessing: false,
            found: RefCell::default(),
            texts: RefCell::default(),
        }
    }

    /// The same, which takes a misspelt key for the one it is nearest to.
    pub(crate) fn guessing(mut self, guessing: bool) -> Self {
        self.guessing = guessing;
        self
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

    /// Whether an error was found.
    pub(crate) fn failed(&self) -> bool {
        self.found.borrow().iter().any(|d| d.severity == Severity::Error)
    }

    pub(crate) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// A block whose fields are being read.
pub(crate) struct Fields<'a> {
    pub(crate) cx: &'a Cx,
    block: &'static Block,
    /// Where the block is: its key, or its first line in a list.
    pub(crate) mark: Mark,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    name: &'static str,
    key: Mark,
    node: &'a Node,
}

impl<'a> Fields<'a> {
    /// Sorts a block's keys by the block's rows. `None`, with an error, when it is not a block at all.
    pub(crate) fn of(node: &'a Node, mark: Mark, block: &'static Block, cx: &'a Cx) -> Option<Self> {
        let mut fields = Self { cx, block, mark, entries: Vec::new() };
        match &node.value {
            Value::Map(entries) => {
                let mut guesses = Vec::new();
                for (key, value) in entries {
                    guesses.extend(fields.sort(key, value, entries));
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
    fn sort(&mut self, key: &'a Key, node: &'a Node, beside: &[(Key, Node)]) -> Option<Entry<'a>> {
        let Some(row) = self.block.row(&key.text) else {
            return self.unknown(key, node, beside).map(|name| Entry { name, key: key.mark, node });
        };
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.name == row.field) {
            let message = format!("`{}` is written in both its spellings; `{0}` is taken", row.field);
            self.cx.warn(codes::SPELLED_TWICE, key.mark, message);
            if *key.text == *row.field {
                (known.key, known.node) = (key.mark, node);
            }
            return None;
        }
        self.entries.push(Entry { name: row.field, key: key.mark, node });
        if node.is_null() {
            return None;
        }
        let (severity, code, what, why) = match row.status {
            Status::Enforced | Status::Passed => return None,
            Status::Later(why) => (Severity::Warning, codes::NOT_ENFORCED, "is not enforced yet", why),
            Status::Ignored(why) => (Severity::Warning, codes::IGNORED, "has no effect here", why),
            Status::Refused(why) => (Severity::Error, codes::REFUSED, "is never accepted", why),
        };
        self.cx.push(self.cx.at(severity, code, key.mark, format!("`{}` {what}", row.field)).help(why));
        None
    }

    /// Complains about a key without a row; the row's field that it most likely means.
    fn unknown(&self, key: &Key, node: &Node, beside: &[(Key, Node)]) -> Option<&'static str> {
        let near = names::nearest(&key.text, self.block.rows.iter().map(|row| row.field));
        if self.block.open && near.is_none() {
            return None;
        }
        let severity = if self.block.strict { Severity::Error } else { Severity::Warning };
        let message = format!("unknown field `{}` in `{}`", key.text, self.block.path);
        let mut diagnostic = self.cx.at(severity, codes::UNKNOWN_FIELD, key.mark, message);
        let home = homes::advice(&key.text, node, beside, self.block);
        if let Some(home) = &home {
            diagnostic = diagnostic.help(home.as_str());
        } else if let Some(near) = near {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        self.cx.push(diagnostic);
        near.filter(|_| home.is_none())
    }

    /// A field, present or not.
    pub(crate) fn get(&self, name: &'static str) -> Field<'a> {
        support::asked(self.block, name);
        match self.entries.iter().find(|entry| entry.name == name && !entry.node.is_null()) {
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

    /// Whether a field is written, enforced or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name && !entry.node.is_null())
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

    /// Those of some fields that are written.
    pub(crate) fn present(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.has(name)).collect()
    }

    /// Records an error when more than one of some fields is written.
    pub(crate) fn at_most_one(&self, names: &[&'static str]) {
        if let [first, second, ..] = self.present(names)[..] {
            let message = format!("`{second}` cannot be set together with `{first}`");
            let label = self.cx.spot(self.place(first));
            let diagnostic = self.cx.at(Severity::Error, codes::ONE_OF, self.place(second), message);
            self.cx.push(diagnostic.label(&label, format!("`{first}` is here")));
        }
    }

    /// Records an error when none of some fields is written. Istio: an empty text is not there.
    pub(crate) fn at_least_one(&self, names: &[&'static str]) {
        let filled = |entry: &Entry<'_>| !entry.node.is_null() && entry.node.raw() != Some("");
        if !self.entries.iter().any(|entry| names.contains(&entry.name) && filled(entry)) {
            let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            self.cx.error(codes::MISSING, self.mark, format!("`{}` needs one of {list}", self.block.path));
        }
    }

    pub(crate) fn spot(&self) -> Spot {
        self.cx.spot(self.mark)
    }
}

/// One field of a block. Each method that reads it gives `None` when it is absent, `null` or wrong; what is wrong is recorded.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) cx: &'a Cx,
    pub(crate) name: &'static str,
    /// Where its key is, or the block when it is absent.
    pub(crate) key: Mark,
    pub(crate) node: Option<&'a Node>,
}

impl<'a> Field<'a> {
    /// Where the value is, or else the key.
    pub(crate) fn mark(&self) -> Mark {
        self.node.map_or(self.key, |node| match &node.value {
            Value::Scalar { .. } => node.mark,
            Value::Seq(_) | Value::Map(_) => self.key,
        })
    }

    fn wrong(&self, wanted: &str) {
        let found = match self.node.and_then(Node::raw) {
            Some(text) if text.len() <= 40 => format!("`{text}`"),
            _ => self.node.map_or("nothing", Node::describe).to_owned(),
        };
        self.cx.error(codes::WRONG_TYPE, self.mark(), format!("`{}` must be {wanted}, not {found}", self.name));
    }

    fn scalar(&self, wanted: &str) -> Option<(&'a str, bool)> {
        match &self.node?.value {
            Value::Scalar { text, plain } => Some((text, *plain)),
            Value::Seq(_) | Value::Map(_) => {
                self.wrong(wanted);
                None
            }
        }
    }

    /// Text. What YAML takes for a number or boolean is not text unless it is quoted.
    pub(crate) fn text(self) -> Option<Arc<str>> {
        self.located().map(|located| located.value)
    }

    /// Text and its place.
    pub(crate) fn located(self) -> Option<Located<Arc<str>>> {
        text_of(self.node?, self.name, self.cx)
    }

    /// Text that passes a check.
    pub(crate) fn checked(self, code: Code, check: impl Fn(&str) -> Result<(), String>) -> Option<Located<Arc<str>>> {
        let text = self.located()?;
        self.cx.check(code, self.mark(), check(&text));
        Some(text)
    }

    /// A boolean, without quotes.
    pub(crate) fn bool(self) -> Option<bool> {
        let (text, plain) = self.scalar("`true` or `false`")?;
        match meaning(text) {
            Meaning::Bool(value) if plain => Some(value),
            _ => {
                self.wrong("`true` or `false`");
                None
            }
        }
    }

    /// A whole number within bounds; it may be quoted.
    pub(crate) fn int(self, range: RangeInclusive<i64>) -> Option<i64> {
        let (text, _) = self.scalar("a whole number")?;
        let Some(number) = whole_number(text) else {
            self.wrong("a whole number");
            return None;
        };
        if !range.contains(&number) {
            let message = format!("`{}` is {number}; it must be {}", self.name, bounds(&range));
            self.cx.error(codes::OUT_OF_RANGE, self.mark(), message);
            return None;
        }
        Some(number)
    }

    /// A number that is not negative.
    pub(crate) fn uint(self) -> Option<u32> {
        self.int(0..=i64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok())
    }

    /// A number of Istio's `int32` kind that is not negative.
    pub(crate) fn count(self) -> Option<u32> {
        self.int(0..=i64::from(i32::MAX)).and_then(|n| u32::try_from(n).ok())
    }

    /// A port number.
    pub(crate) fn port(self) -> Option<u16> {
        self.int(1..=65535).and_then(|n| u16::try_from(n).ok())
    }

    /// A number with a fraction; it may be quoted.
    pub(crate) fn double(self) -> Option<f64> {
        let (text, _) = self.scalar("a number")?;
        let number =
            if matches!(meaning(text), Meaning::Number) { text.replace('_', "").parse::<f64>().ok() } else { None };
        if number.is_none_or(f64::is_nan) {
            self.wrong("a number");
        }
        number.filter(|n| !n.is_nan())
    }

    /// A number with a fraction that lies within bounds, which `wanted` names.
    pub(crate) fn number(self, fits: impl Fn(f64) -> bool, wanted: &str) -> Option<f64> {
        let number = self.double()?;
        if !fits(number) {
            let message = format!("`{}` is {number}; it must be {wanted}", self.name);
            self.cx.error(codes::OUT_OF_RANGE, self.mark(), message);
            return None;
        }
        Some(number)
    }

    /// A duration of at least 1 ms.
    pub(crate) fn duration(self) -> Option<Span> {
        self.duration_with(|text| names::duration(text, false))
    }

    /// A duration, or zero to turn something off.
    pub(crate) fn duration_or_zero(self) -> Option<Span> {
        self.duration_with(|text| names::duration(text, true))
    }

    /// A duration that Istio does not validate; what is below zero is zero.
    pub(crate) fn any_duration(self) -> Option<Span> {
        let clamped = |nanoseconds: i128| Span(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX));
        self.duration_with(|text| names::go_duration(text).map(clamped))
    }

    fn duration_with(self, parse: impl Fn(&str) -> Result<Span, String>) -> Option<Span> {
        let (text, plain) = self.scalar("a duration such as `5s`")?;
        if plain && matches!(meaning(text), Meaning::Number) {
            let message = format!("`{}` must be a duration, not a bare number", self.name);
            let diagnostic = self.cx.at(Severity::Error, codes::BAD_DURATION, self.mark(), message);
            self.cx.push(diagnostic.help(format!("a duration has a unit: `{text}s` or `{text}ms`")));
            return None;
        }
        match parse(text) {
            Ok(span) => Some(span),
            Err(message) => {
                let message = format!("`{}`: {message}", self.name);
                let mut diagnostic = self.cx.at(Severity::Error, codes::BAD_DURATION, self.mark(), message);
                if names::go_duration(text) == Ok(0) {
                    diagnostic = diagnostic.help(format!("leave `{}` out to have no limit", self.name));
                }
                self.cx.push(diagnostic);
                None
            }
        }
    }

    /// One of several words, exactly as written.
    pub(crate) fn choice<T: Copy>(self, words: &[(&'static str, T)]) -> Option<T> {
        let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let (text, _) = self.scalar(&format!("one of {list}"))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let message = format!("`{}` cannot be `{text}`", self.name);
        let diagnostic = self.cx.at(Severity::Error, codes::BAD_VALUE, self.mark(), message);
        self.cx.push(match names::nearest(text, words.iter().map(|(word, _)| *word)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("it is one of {list}")),
        });
        None
    }

    /// A regular expression of RE2's syntax, compiled by `compile`.
    pub(crate) fn regex(self, compile: impl Fn(&str) -> Result<Regex, regex::Error>) -> Option<Regex> {
        let text = self.located()?;
        if text.is_empty() || text.len() > 1024 {
            self.cx.error(codes::BAD_REGEX, self.mark(), "a regular expression has 1 to 1024 bytes");
            return None;
        }
        match compile(&text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
                self.cx.error(codes::BAD_REGEX, self.mark(), format!("`{}` does not compile: {reason}", self.name));
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(self) -> Vec<Located<Arc<str>>> {
        self.list().iter().filter_map(|node| text_of(node, self.name, self.cx)).collect()
    }

    /// A list of texts, each of which passes a check.
    pub(crate) fn checked_texts(
        self,
        code: Code,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Vec<Located<Arc<str>>> {
        let texts = self.texts();
        for text in &texts {
            if let Err(message) = check(text) {
                self.cx.push(Diagnostic::error(code, &self.cx.resource, &text.spot, message));
            }
        }
        texts
    }

    /// The nodes of a list.
    pub(crate) fn list(self) -> &'a [Node] {
        match self.node.map(|node| &node.value) {
            None => &[],
            Some(Value::Seq(items)) => items,
            Some(_) => {
                self.wrong("a list");
                &[]
            }
        }
    }

    /// A list of blocks.
    pub(crate) fn items(self, block: &'static Block) -> Vec<Fields<'a>> {
        self.list().iter().filter_map(|node| Fields::of(node, node.mark, block, self.cx)).collect()
    }

    /// A block.
    pub(crate) fn block(self, block: &'static Block) -> Option<Fields<'a>> {
        Fields::of(self.node?, self.key, block, self.cx)
    }

    /// The keys and values of a block whose keys are free.
    pub(crate) fn members(self) -> &'a [(Key, Node)] {
        match self.node.map(|node| &node.value) {
            None => &[],
            Some(Value::Map(entries)) => entries,
            Some(_) => {
                self.wrong("a block");
                &[]
            }
        }
    }

    /// Names and texts, in order of name.
    pub(crate) fn labels(self) -> Labels {
        let read = |(key, node): &(Key, Node)| {
            let value =
                if node.is_null() { Some("".into()) } else { text_of(node, &key.text, self.cx).map(|text| text.value) };
            value.map(|value| (Arc::from(&*key.text), value))
        };
        self.members().iter().filter_map(read).collect()
    }

    /// Labels of Kubernetes' syntax.
    pub(crate) fn checked_labels(self) -> Labels {
        for (key, node) in self.members() {
            self.cx.check(codes::BAD_NAME, key.mark, names::label_key(&key.text));
            if let Some(value) = node.raw() {
                self.cx.check(codes::BAD_NAME, node.mark, names::label_value(value));
            }
        }
        self.labels()
    }
}

/// Text in a node, for a field or list of that name.
pub(crate) fn text_of(node: &Node, name: &str, cx: &Cx) -> Option<Located<Arc<str>>> {
    match &node.value {
        Value::Scalar { text, plain } if !plain || meaning(text) == Meaning::Text => {
            Some(Located::new(cx.shared(text), cx.spot(node.mark)))
        }
        Value::Scalar { text, .. } => {
            let message = format!("`{name}` must be text, not {}", node.describe());
            let diagnostic = cx.at(Severity::Error, codes::WRONG_TYPE, node.mark, message);
            cx.push(diagnostic.help(format!("put it in quotes: `\"{text}\"`")));
            None
        }
        Value::Seq(_) | Value::Map(_) => {
            cx.error(codes::WRONG_TYPE, node.mark, format!("`{name}` must be text, not {}", node.describe()));
            None
        }
    }
}

fn whole_number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let radix = |prefix: &str, radix| digits.strip_prefix(prefix).map(|d| i64::from_str_radix(d, radix));
    let number =
        radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)).unwrap_or_else(|| digits.parse());
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    number.ok()?.checked_mul(sign)
}

fn bounds(range: &RangeInclusive<i64>) -> String {
    let (least, most) = (*range.start(), *range.end());
    if most >= i64::from(i32::MAX) { format!("{least} or more") } else { format!("{least} to {most}") }
}
