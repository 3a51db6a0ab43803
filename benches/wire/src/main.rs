//! Compares Leeboard with other proxies on one machine, in one run: CPU per request, capacity, latency, memory.

mod bytes;
mod certificate;
mod compare;
mod grpc;
mod histogram;
mod hpack;
mod http1;
mod http2;
mod lab;
mod options;
mod peers;
mod process;
mod procfs;
mod report;
mod role;
mod statistics;
mod suites;
mod trouble;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use compare::Comparison;
use lab::Lab;
use options::{Command, Options};
use report::Machine;
use trouble::{Interrupt, Trouble};

/// A peer could not be measured, or the command line makes no sense.
const FAILED: u8 = 2;
/// What shells report of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let command = Command::parse();
    let result = match command.role {
        Some(role) => role.run().map(|()| true).map_err(Trouble::from),
        None => compare(&command.options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(trouble) => {
            // Nowhere else to say it when standard error is gone.
            let _ = writeln!(io::stderr(), "leeboard-wire: {trouble}");
            ExitCode::from(match trouble {
                Trouble::Interrupted => INTERRUPTED,
                Trouble::Failed(_) | Trouble::Unable(_) => FAILED,
            })
        }
    }
}

/// Measures and prints; `false` when a peer failed.
fn compare(options: &Options) -> Result<bool, Trouble> {
    let suite = suites::find(&options.suite).map_err(Trouble::Failed)?;
    let peers = options.peers().map_err(Trouble::Failed)?;
    let plan = options.plan().map_err(Trouble::Failed)?;
    let cores = options.cores().map_err(Trouble::Failed)?;
    let machine = Machine::look();
    let interrupt = Interrupt::listen()?;
    let mut comparison = Comparison::of(suite, &peers, &options.places());

    let mut out = io::stdout().lock();
    writeln!(out, "suite {}: {}", suite.name, suite.about)?;
    writeln!(
        out,
        "{} rounds of {} s; {} connections, {} requests/s in the open loop, {} byte answers",
        options.rounds, plan.seconds, plan.connections, plan.rate, plan.body
    )?;
    writeln!(
        out,
        "{}, {} cores, Linux {}, load average {}; proxy on core {}, load on {}, upstream on {}\n",
        machine.cpu, machine.cores, machine.kernel, machine.load_average, cores.proxy, cores.load, cores.upstream
    )?;
    for entry in &comparison.measured {
        let (about, binary) = (entry.peer.about, entry.binary.display());
        writeln!(out, "{}: {about}", entry.peer.name)?;
        if !entry.peer.version.is_empty() {
            writeln!(out, "  {} at {binary}", entry.version)?;
        }
    }
    out.flush()?;

    let lab = Lab::open(plan, cores, interrupt)?;
    let ended = comparison.run(&lab, options.rounds);
    drop(lab);
    writeln!(out, "\n{}", report::tables(&comparison))?;
    if let Some(path) = &options.json {
        let document = report::json(&comparison, &machine, &plan);
        fs::write(path, format!("{document:#}\n"))?;
    }
    // What was measured before an interrupt is printed all the same.
    ended?;
    Ok(comparison.measured.iter().all(|entry| entry.failure.is_none()))
}
