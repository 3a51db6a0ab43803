//! `leeboard version`.

use std::io::{self, Write};

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the name and the version.
pub(crate) fn print(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "leeboard {VERSION}")
}
