//! Reading one field: what it must be, and what is wrong with it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use leeboard_policy::expression::{Expression, ExpressionError};
use leeboard_policy::time::Span;

use super::{Cx, Fields};
use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Severity};
use crate::names;
use crate::resources::Labels;
use crate::source::Located;
use crate::support::Block;
use crate::yaml::{Key, Mark, Meaning, Node, Value, meaning};

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

    /// The same of a text that may be empty, which is as good as none.
    pub(crate) fn filled(self, code: Code, check: impl Fn(&str) -> Result<(), String>) -> Option<Located<Arc<str>>> {
        self.checked(code, |text| if text.is_empty() { Ok(()) } else { check(text) }).filter(|text| !text.is_empty())
    }

    /// A boolean, without quotes.
    pub(crate) fn bool(self) -> Option<bool> {
        let (text, plain) = self.scalar("`true` or `false`")?;
        match meaning(text) {
            Meaning::Bool(value) if plain => Some(value),
            Meaning::Bool(value) => {
                let message = format!("`{}` must be `{value}` without quotes, not the text \"{text}\"", self.name);
                let diagnostic = self.cx.at(Severity::Error, codes::WRONG_TYPE, self.mark(), message);
                self.cx.push(diagnostic.fix(value.to_string()));
                None
            }
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
        let found = self.node?.raw().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let (text, _) = self.scalar(&format!("one of {list}"))?;
        let message = format!("`{}` cannot be `{text}`", self.name);
        let diagnostic = self.cx.at(Severity::Error, codes::BAD_VALUE, self.mark(), message);
        self.cx.push(match names::nearest(text, words.iter().map(|(word, _)| *word)) {
            Some(near) if near.eq_ignore_ascii_case(text) => {
                diagnostic.help(format!("did you mean `{near}`?")).fix(near)
            }
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("it is one of {list}")),
        });
        None
    }

    /// A regular expression of RE2's syntax, compiled by `compile`.
    pub(crate) fn regex(self, compile: impl Fn(&str) -> Result<Expression, ExpressionError>) -> Option<Expression> {
        let text = self.located()?;
        if text.is_empty() || text.len() > 1024 {
            self.cx.error(codes::BAD_REGEX, self.mark(), "a regular expression has 1 to 1024 bytes");
            return None;
        }
        if text.ends_with('\n') {
            let message =
                format!("`{}` ends in a line break, which nothing that is matched has: it never holds", self.name);
            let diagnostic = self.cx.at(Severity::Warning, codes::BAD_REGEX, self.mark(), message);
            self.cx.push(diagnostic.help("write it on one line, or `|-` instead of `|`"));
        }
        if !self.cx.has_room_for(&text) {
            let message = "the expressions of all objects together would take too much memory";
            self.cx.error(codes::BAD_REGEX, self.mark(), message);
            return None;
        }
        match compile(&text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.cx.error(codes::BAD_REGEX, self.mark(), format!("`{}` does not compile: {error}", self.name));
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

    /// A block, which is often written as the one thing that is mostly in it: `key`.
    pub(crate) fn block_of(self, block: &'static Block, key: &str) -> Option<Fields<'a>> {
        let node = self.node?;
        let Value::Scalar { text, plain } = &node.value else { return self.block(block) };
        let written = match (plain, meaning(text)) {
            (true, Meaning::Number) if key == "value" || key == "number" => text.to_string(),
            (true, Meaning::Text) if !text.contains([',', '[', ']', '{', '}', '#', ':', '\'', '"', '\n']) => {
                text.to_string()
            }
            _ if key == "value" || key == "number" => return self.block(block),
            // JSON's texts are YAML's, too.
            _ => serde_json::Value::from(&**text).to_string(),
        };
        let message = format!("`{}` is a block, not {}", self.name, node.describe());
        let diagnostic = self.cx.at(Severity::Error, codes::WRONG_TYPE, node.mark, message);
        let meant = format!("{{{key}: {written}}}");
        // Text of several lines is not put right at one place.
        let diagnostic = diagnostic.help(format!("write `{}: {meant}`", self.name));
        self.cx.push(if text.contains('\n') { diagnostic } else { diagnostic.fix(meant) });
        None
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
            cx.push(diagnostic.help(format!("put it in quotes: `\"{text}\"`")).fix(format!("\"{text}\"")));
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

#[cfg(test)]
mod tests {
    use crate::load;
    use crate::source::Source;

    #[test]
    fn a_boolean_in_quotes_is_told_as_text() {
        let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  \
                    http:\n  - match: [{uri: {prefix: /A}, ignoreUriCase: \"true\"}]\n    route: [{destination: {host: a}}]\n";
        let loaded = load(&[Source::new("f.yaml", text)]);
        let messages: Vec<&str> = loaded.diagnostics.iter().map(|told| told.message.as_str()).collect();
        assert_eq!(messages, ["`ignoreUriCase` must be `true` without quotes, not the text \"true\""]);
    }
}
