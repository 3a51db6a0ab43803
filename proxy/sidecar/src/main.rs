//! The `leeboard` binary: Istio's traffic management beside one application, with no control plane.

mod admin;
mod body;
mod cli;
mod config;
mod dns;
mod downstream;
mod drain;
mod exchange;
mod explain;
mod host;
mod http;
mod net;
mod process;
mod request;
mod telemetry;
mod upstream;
mod worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::begin()
}
