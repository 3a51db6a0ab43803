//! Regular expressions in RE2's syntax, which Istio's are, matched by bytes and in linear time by the regex crate.

mod class;
mod input;
mod letters;
mod re2;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// The most bytes of a compiled program. An expression that needs more is refused. RE2's own bound is on the memory of all of
/// its parts, and of the same size.
const PROGRAM: usize = 2 << 20;

/// The most bytes that are kept of the states met while matching, in each thread; beyond that they are found anew.
const STATES: usize = 256 << 10;

/// An expression.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    regex: Regex,
}

impl Expression {
    /// One that matches bytes from end to end, as RE2's full match does.
    ///
    /// # Errors
    /// When it is none in RE2's syntax, or too large.
    pub fn whole(text: &str) -> Result<Self, ExpressionError> {
        Self::compile(text, |translated| {
            let mut anchored = String::with_capacity(translated.len() + 8);
            anchored.push_str("^(?:");
            anchored.push_str(&translated);
            anchored.push_str(")$");
            anchored
        })
    }

    /// One that is sought in bytes.
    ///
    /// # Errors
    /// When it is none in RE2's syntax, or too large.
    pub fn part(text: &str) -> Result<Self, ExpressionError> {
        Self::compile(text, |translated| translated)
    }

    fn compile(text: &str, anchored: impl Fn(String) -> String) -> Result<Self, ExpressionError> {
        let mut builder = RegexBuilder::new(&anchored(re2::translate(text)?));
        builder.unicode(false).size_limit(PROGRAM).dfa_size_limit(STATES).nest_limit(re2::DEEPEST * 2 + 8);
        match builder.build() {
            Ok(regex) => Ok(Self { text: text.into(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err(ExpressionError::new(0, "it needs too much memory", text)),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(ExpressionError { at: 0, message: reason.into() })
            }
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a value has it, from end to end if it is [`Expression::whole`].
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }

    /// How many groups it has, itself included.
    pub fn captures_len(&self) -> usize {
        self.regex.captures_len()
    }

    /// What it and its groups match in a value, one after the other.
    pub(crate) fn captures_iter<'t>(&self, value: &'t [u8]) -> impl Iterator<Item = Captures<'t>> {
        self.regex.captures_iter(value)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

/// Why a text is no expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpressionError {
    /// The byte of the text at which that shows.
    pub at: usize,
    /// In words, with the part of the text that is meant.
    pub message: String,
}

impl ExpressionError {
    fn new(at: usize, what: &str, part: &str) -> Self {
        const SHOWN: usize = 40;
        let mut message = String::from(what);
        if !part.is_empty() {
            message.push_str(": `");
            message.extend(part.chars().take(SHOWN));
            message.push_str(if part.chars().nth(SHOWN).is_some() { "…`" } else { "`" });
        }
        Self { at, message }
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for ExpressionError {}

#[cfg(test)]
mod tests;
