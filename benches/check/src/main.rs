//! Shakes and measures `leeboard check`.
//!
//! `cargo run --release -p leeboard-check-bench -- --minutes 10` damages the documents of this repository at random, and reads,
//! checks and prints each; a panic ends it with the seed and the text that did it. `-- --documents 1000` says how long the
//! check of so many sound documents takes.

mod damage;
mod measure;
mod shake;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &words[..] {
        ["--minutes", minutes] => minutes.parse().map_err(io::Error::other).and_then(|n| shake(n, 1)),
        ["--minutes", minutes, "--seed", seed] => match (minutes.parse(), seed.parse()) {
            (Ok(minutes), Ok(seed)) => shake(minutes, seed),
            _ => Err(usage()),
        },
        ["--documents", documents] => documents.parse().map_err(io::Error::other).and_then(measure::print),
        _ => Err(usage()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> io::Error {
    io::Error::other("usage: leeboard-check-bench --minutes N [--seed S] | --documents N")
}

fn shake(minutes: f64, seed: u64) -> io::Result<()> {
    shake::run(Duration::from_secs_f64(minutes * 60.0), seed)
}
