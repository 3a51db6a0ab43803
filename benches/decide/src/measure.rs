//! Runs something over and over: how long it takes, and how often it asks for memory.

use std::alloc::GlobalAlloc;
use std::time::{Duration, Instant};

use stats_alloc::{Region, StatsAlloc};

/// Rounds per figure. Their minimum is what the work takes when nothing disturbs it.
const ROUNDS: usize = 40;
/// How long a round is about to last.
const ROUND: Duration = Duration::from_millis(5);

/// What one run costs.
pub(crate) struct Figures {
    /// Nanoseconds in the quickest round.
    pub(crate) least: f64,
    /// Nanoseconds in the middle one.
    pub(crate) median: f64,
    /// Requests for memory.
    pub(crate) allocations: f64,
}

/// Measures `work`, which is told which run it is.
pub(crate) fn measure<A: GlobalAlloc>(allocator: &StatsAlloc<A>, mut work: impl FnMut(u64)) -> Figures {
    let mut run = 0u64;
    let mut round = |times: u64| {
        let began = Instant::now();
        for _ in 0..times {
            work(run);
            run += 1;
        }
        began.elapsed()
    };
    let mut times = 16;
    while round(times) < ROUND / 2 {
        times *= 2;
    }
    // The first rounds are those of a processor that wakes up.
    for _ in 0..ROUNDS / 4 {
        round(times);
    }
    let region = Region::new(allocator);
    round(times);
    let change = region.change();
    let allocations = (change.allocations + change.reallocations) as f64 / times as f64;
    let mut each: Vec<f64> = (0..ROUNDS).map(|_| round(times).as_nanos() as f64 / times as f64).collect();
    each.sort_by(f64::total_cmp);
    Figures { least: each[0], median: each[ROUNDS / 2], allocations }
}
