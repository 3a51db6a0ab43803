//! The exit codes of every command.

/// Everything was done.
pub(crate) const DONE: u8 = 0;
/// It was done, and there is something to mend.
pub(crate) const FINDINGS: u8 = 1;
/// It could not be done: usage, unreadable input, an address that is taken.
pub(crate) const COULD_NOT: u8 = 2;
