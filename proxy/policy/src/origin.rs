//! Where a rule came from: which resource, file, line and column.

use alloc::sync::Arc;
use core::fmt;

/// The place in the user's own text that a rule was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Kind, namespace and name, as `VirtualService demo/reviews`.
    pub resource: Arc<str>,
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Origin {
    /// The origin of a rule that nobody wrote: a default.
    pub fn built_in() -> Self {
        Self { resource: "built in".into(), file: "".into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Origin {
    /// `file:line`, or `-` for a default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() { f.write_str("-") } else { write!(f, "{}:{}", self.file, self.line) }
    }
}
