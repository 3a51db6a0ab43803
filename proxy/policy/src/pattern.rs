//! Patterns for text, paths, headers and query parameters.

use alloc::sync::Arc;
use core::fmt;

use crate::expression::Expression;

/// A pattern for a value, which is compared byte by byte, whether it is text or not.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Anything, as long as it is there. Istio: an empty StringMatch.
    Present,
    /// Exactly this.
    Exact(Arc<str>),
    /// Anything that begins so.
    Prefix(Arc<str>),
    /// Anything that the expression, a whole one, matches.
    Regex(Expression),
}

impl Pattern {
    /// Whether a value that is present matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Present => true,
            Pattern::Exact(wanted) => wanted.as_bytes() == value,
            Pattern::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Present => f.write_str("present"),
            Pattern::Exact(text) => write!(f, "exact {text}"),
            Pattern::Prefix(text) => write!(f, "prefix {text}"),
            Pattern::Regex(regex) => write!(f, "regex {}", regex.as_str()),
        }
    }
}

/// A pattern for the path without query. Istio: prefixes are plain string prefixes, and case is ignored in exact and prefix only.
#[derive(Clone, Debug, Default)]
pub enum PathMatch {
    /// Every path.
    #[default]
    Any,
    /// This path.
    Exact(Arc<str>),
    /// This path, ASCII case aside.
    ExactIgnoreCase(Arc<str>),
    /// Paths that begin with these bytes.
    Prefix(Arc<str>),
    /// Paths that begin with these bytes, ASCII case aside.
    PrefixIgnoreCase(Arc<str>),
    /// Paths that the expression, a whole one, matches.
    Regex(Expression),
}

impl PathMatch {
    /// Whether a path without query matches.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            PathMatch::Any => true,
            PathMatch::Exact(wanted) => **wanted == *path,
            PathMatch::ExactIgnoreCase(wanted) => wanted.eq_ignore_ascii_case(path),
            PathMatch::Prefix(prefix) => path.starts_with(&**prefix),
            PathMatch::PrefixIgnoreCase(prefix) => {
                path.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            PathMatch::Regex(regex) => regex.is_match(path.as_bytes()),
        }
    }
}

/// A header and what it must be. Several values are joined with `,` first.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// The name in lower case; `:method`, `:scheme`, `:authority` and `:path` are understood.
    pub name: Arc<str>,
    /// What its value must be.
    pub value: Pattern,
}

/// A query parameter and what it must be. The first of repeated ones counts, undecoded.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// The name, case-sensitive.
    pub name: Arc<str>,
    /// What its value must be.
    pub value: Pattern,
}

impl QueryMatch {
    /// Whether a query string (without `?`) matches.
    pub fn matches(&self, query: &str) -> bool {
        first_value(query, &self.name).is_some_and(|value| self.value.matches(value.as_bytes()))
    }
}

/// The first value of a query parameter, undecoded; empty for `?name`.
pub fn first_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}
