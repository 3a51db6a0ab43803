//! What a configuration costs: how long it takes to read and compile, and how much memory it keeps.
//!
//! `cargo run --release -p leeboard-compile` measures the steps in this process. With `--binary PATH` it starts that
//! Leeboard on the same configurations, and says when it is ready, what it holds, and what a reload is like for a client.

mod mesh;
mod process;
mod steps;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::mesh::Mesh;

/// The system's allocator with its bytes counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const MESHES: [Mesh; 4] = [
    Mesh { services: 1, routes: 1 },
    Mesh { services: 100, routes: 10 },
    Mesh { services: 1_000, routes: 10 },
    Mesh { services: 1, routes: 10_000 },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => steps(),
        ["--binary", path] => binary(&PathBuf::from(path)),
        ["--write", folder] => MESHES[2].write(folder.as_ref()),
        _ => Err(io::Error::other("usage: leeboard-compile [--binary LEEBOARD | --write FOLDER]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn steps() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| configuration                     | text MB | load ms | compile ms | adopt ms | resources MB | snapshot MB | live MB | all MB  |"
    )?;
    writeln!(
        out,
        "|-----------------------------------|--------:|--------:|-----------:|---------:|-------------:|------------:|--------:|--------:|"
    )?;
    for mesh in &MESHES {
        let steps::Figures { text, load, compile, adopt, resources, snapshot, live, held } =
            steps::measure(ALLOCATOR, &mesh.files());
        let mb = |bytes: usize| bytes as f64 / 1e6;
        writeln!(
            out,
            "| {:<33} | {:>7.2} | {load:>7.1} | {compile:>10.1} | {adopt:>8.1} | {:>12.2} | {:>11.2} | {:>7.2} | {:>7.1} |",
            mesh.to_string(),
            mb(text),
            mb(resources),
            mb(snapshot),
            mb(live),
            mb(held)
        )?;
    }
    Ok(())
}

fn binary(path: &std::path::Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| configuration                     | ready ms | RSS MB | peak MB | settled MB | reload ms | longest answer ms | RSS after reloads MB | peak of reloads MB |"
    )?;
    writeln!(
        out,
        "|-----------------------------------|---------:|-------:|--------:|-----------:|----------:|------------------:|---------------------:|-------------------:|"
    )?;
    for mesh in &MESHES {
        let figures = process::measure(path, mesh)?;
        let process::Figures { ready, rss, peak, settled, reload, longest, rss_after, peak_after } = figures;
        writeln!(
            out,
            "| {:<33} | {ready:>8.0} | {rss:>6.1} | {peak:>7.1} | {settled:>10.1} | {reload:>9.0} | {longest:>17.1} | {rss_after:>20.1} | {peak_after:>18.1} |",
            mesh.to_string()
        )?;
    }
    Ok(())
}
