//! The `leeboard` binary: Istio's traffic management beside one application, with no control plane.

mod admin;
mod alarm;
mod background;
mod backlog;
mod bell;
mod cli;
mod clock;
mod discovery;
mod drain;
mod env;
mod exchange;
mod exit;
mod fields;
mod hops;
mod host_limits;
mod http1;
mod http2;
mod inquiry;
mod lane;
mod listener;
mod log;
mod memory;
mod net;
mod outbox;
mod run;
mod secrets;
mod settings;
mod spool;
mod store;
mod target;
mod telemetry;
mod texts;
mod tunnel;
mod turn;
mod upgrade;
mod upstream;
mod worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::begin()
}
