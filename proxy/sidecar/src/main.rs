//! The `leeboard` binary.
fn main() {}
