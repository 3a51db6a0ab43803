//! What one decision costs: from a request's head to the end of its exchange, without a socket, a timer or a record.
//!
//! `cargo run --release -p leeboard-decide [WORD]…` prints the rows whose name holds every word. The figures that count are
//! the minima: whatever else runs on the machine only adds.

mod cases;
mod measure;
mod request;

use std::alloc::System;
use std::io::{self, Write};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::measure::Figures;

/// The system's allocator with its calls counted. The proxy's own is quicker.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "| {:<46} | ns, least | ns, median | allocations |", "decision")?;
    writeln!(out, "|{:-<48}|----------:|-----------:|------------:|", "")?;
    for case in cases::all() {
        if !words.iter().all(|word| case.name.contains(word.as_str())) {
            continue;
        }
        let decide = case.prepare();
        let Figures { least, median, allocations } = measure::measure(ALLOCATOR, decide);
        writeln!(out, "| {:<46} | {least:>9.0} | {median:>10.0} | {allocations:>11.1} |", case.name)?;
        out.flush()?;
    }
    Ok(())
}
