//! Memory: the allocator's settings, and giving free memory back.

use std::fs;

use leeboard_policy::time::{Span, Time};

use super::clock::Clock;
use super::{background, env};

/// Resident memory of which little can be given back, in pages.
const LITTLE: u64 = 4_096;
/// The kernel clears a huge page whole when it is first touched, which stalls a worker for milliseconds just when memory
/// grows, and a small process leaves most of each unused.
pub(crate) fn decline_huge_pages() {
    // A kernel without them has nothing to decline.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// How long the allocator keeps what has been freed before it gives that back, in milliseconds: long enough that a busy process
/// gives back little that it is about to use.
pub(crate) const FREE_FOR_MS: u64 = 10;

/// The allocator takes memory in large steps, and keeps what has been freed for a second and until someone asks for memory
/// again: a process that is quiet after a burst keeps it for ever. It takes its options from the environment only, and only
/// when a process begins, so the process begins again with them set.
pub(crate) fn begin_again_with_little_memory() {
    use std::os::unix::process::CommandExt;
    const OPTIONS: [(&str, u64); 2] = [("MIMALLOC_PURGE_DELAY", FREE_FOR_MS), ("MIMALLOC_ARENA_EAGER_COMMIT", 0)];
    let mut words = std::env::args_os();
    if let (None, Ok(program)) = (env::variable(OPTIONS[0].0), std::env::current_exe()) {
        let mut again = std::process::Command::new(program);
        if let Some(name) = words.next() {
            again.arg0(name);
        }
        // It returns only when it failed, and then this process does as well without.
        let _ = again.args(words).envs(OPTIONS.map(|(name, value)| (name, value.to_string()))).exec();
    }
}

/// Gives back what was needed to read the first configuration and was `freed` then, if it may be much: a process that says that it
/// is ready holds what it needs from now on.
pub(crate) async fn give_back(clock: Clock, freed: Time) {
    give_back_of(clock, freed, resident_pages()).await;
}

async fn give_back_of(clock: Clock, freed: Time, resident: u64) {
    if resident > LITTLE {
        clock.until(freed + Span::from_millis(FREE_FOR_MS)).await;
        // The allocator gives back what has been free for long enough when a thread ends.
        background::run(|| ());
    }
}

/// Resident memory, in pages. Linux tells; elsewhere it never changes.
pub(crate) fn resident_pages() -> u64 {
    let sizes = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    sizes.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_start_is_waited_for_only_when_there_is_much_to_give_back() {
        let clock = Clock::start();
        let (freed, least) = (clock.now(), Span::from_millis(FREE_FOR_MS));
        give_back_of(clock, freed, LITTLE).await;
        assert!(clock.now() < freed + least);
        give_back_of(clock, freed, LITTLE + 1).await;
        let over = clock.now();
        assert!(over >= freed + least);
        give_back_of(clock, freed, LITTLE + 1).await;
        assert!(clock.now() < over + least, "it has been long enough");
    }
}
