//! The `leeboard` binary.

mod admin;
#[expect(dead_code, reason = "the proxy is not joined together yet")]
mod telemetry;

fn main() {}
