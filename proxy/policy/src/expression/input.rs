//! The text of an expression while it is read, byte by byte.

use alloc::string::String;

use super::ExpressionError;

/// What is left to read.
pub(super) struct Input<'t> {
    text: &'t [u8],
    pub(super) at: usize,
}

impl<'t> Input<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text: text.as_bytes(), at: 0 }
    }

    pub(super) fn rest(&self) -> &'t [u8] {
        &self.text[self.at..]
    }

    /// The next byte as Latin-1's letter.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().first().copied().map(char::from)
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    /// Reads a word if it comes next.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let comes = self.rest().starts_with(word.as_bytes());
        if comes {
            self.at += word.len();
        }
        comes
    }

    /// What comes before the next such word, if there is one.
    pub(super) fn until(&self, word: &[u8]) -> Option<&'t [u8]> {
        let end = self.rest().windows(word.len()).position(|part| part == word)?;
        Some(&self.rest()[..end])
    }

    /// What was read since a place, if it is text.
    pub(super) fn since(&self, start: usize) -> &'t str {
        core::str::from_utf8(&self.text[start..self.at]).unwrap_or_default()
    }

    /// An error about what was read since a place.
    pub(super) fn error(&self, start: usize, what: &str) -> ExpressionError {
        // A letter of several bytes is shown whole.
        let rest = self.rest().iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
        ExpressionError::new(start, what, &String::from_utf8_lossy(&self.text[start..self.at + rest]))
    }

    /// An error about everything behind a place.
    pub(super) fn error_behind(&self, start: usize, what: &str) -> ExpressionError {
        ExpressionError::new(start, what, &String::from_utf8_lossy(&self.text[start..]))
    }
}
