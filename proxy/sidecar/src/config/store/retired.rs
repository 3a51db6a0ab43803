//! Configurations that have been replaced. They and the memory that they used are freed on a background thread.

use std::sync::Arc;
use std::thread::JoinHandle;

use leeboard_policy::live::Live;
use leeboard_policy::time::{Span, Time};

use crate::host::background;
use crate::host::memory::resident_pages;

/// How often is looked whether there is free memory to give back, when nothing else is to be done.
const LOOK: Span = Span::from_secs(5);
/// A change of resident memory that says so, in pages.
const CHANGE: u64 = 64;
/// How often is looked whether somebody still uses what has been succeeded.
const STEP: Span = Span::from_secs(1);
/// For how many steps after a configuration was let go, free memory is given back. The allocator keeps it for a second.
const STEPS: u32 = 3;

/// What has been succeeded, until nobody uses it any more. A worker never is the last to let go of it.
#[derive(Debug)]
pub(crate) struct Retired {
    list: Vec<Arc<Live>>,
    steps: u32,
    due: Time,
    /// Resident memory at the last look, in pages.
    resident: u64,
}

impl Retired {
    /// Nothing yet, at the start of the process; what reading the first configuration took is given back soon.
    pub(crate) fn new(now: Time) -> Self {
        Self { list: Vec::new(), steps: STEPS, due: now + STEP, resident: 0 }
    }

    /// Keeps what has just been succeeded: it can be asked for no more, but what has begun with it goes on.
    pub(crate) fn add(&mut self, live: Arc<Live>, now: Time) {
        self.list.push(live);
        self.due = self.due.min(now + STEP);
    }

    /// When [`Retired::step`] has something to do.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Lets go of what nobody uses, and gives free memory back, on a thread that is returned.
    ///
    /// A worker that is quiet after a burst, ten thousand callers who left, gives nothing back by itself; so memory that changes
    /// is looked after until it rests.
    pub(crate) fn step(&mut self, now: Time) -> Option<JoinHandle<()>> {
        self.step_with(now, resident_pages())
    }

    fn step_with(&mut self, now: Time, resident: u64) -> Option<JoinHandle<()>> {
        let (unused, used) = std::mem::take(&mut self.list).into_iter().partition(|live| Arc::strong_count(live) == 1);
        self.list = used;
        let unused: Vec<_> = unused;
        if !unused.is_empty() {
            self.steps = STEPS;
        }
        let works = self.steps > 0 || resident.abs_diff(self.resident) > CHANGE;
        self.resident = resident;
        self.steps = self.steps.saturating_sub(1);
        self.due = now + if self.steps > 0 || !self.list.is_empty() { STEP } else { LOOK };
        // Memory is given back as the thread ends.
        works.then(|| background::spawn(move || drop(unused))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use leeboard_policy::live::Resolved;
    use leeboard_policy::snapshot::{Draft, Snapshot};

    use super::*;

    #[test]
    fn what_is_used_is_kept_and_then_let_go_by_another_thread() {
        let at = |second| Time(0) + Span::from_secs(second);
        let mut retired = Retired::new(at(0));
        let live = Arc::new(Live::adopt(None, Arc::new(Snapshot::new(Draft::default())), &Resolved::new(), at(0)));
        let gone = Arc::downgrade(&live);
        let worker = live.clone();
        retired.add(live, at(0));
        for second in 1..10 {
            assert_eq!(retired.due(), at(second), "somebody still uses it");
            retired.step_with(at(second), 0).into_iter().for_each(|thread| thread.join().unwrap());
            assert!(gone.upgrade().is_some());
        }
        drop(worker);
        assert!(gone.upgrade().is_some(), "the last to use it does not let it go");
        retired.step_with(at(10), 0).expect("there is something to let go of").join().unwrap();
        assert!(gone.upgrade().is_none());
        for second in [11, 12] {
            retired.step_with(at(second), 0).expect("its memory is given back").join().unwrap();
        }
        assert_eq!(retired.due(), at(12) + LOOK);
    }

    #[test]
    fn memory_that_changes_is_given_back_until_it_rests() {
        let mut now = Time(0);
        let mut retired = Retired::new(now);
        for (resident, works) in [
            (3_000, true),
            (3_000, true),
            (3_000, true),
            (3_010, false),
            (12_000, true),
            (12_000, false),
            (5_000, true),
            (3_020, true),
            (3_030, false),
        ] {
            now = retired.due();
            let thread = retired.step_with(now, resident);
            assert_eq!(thread.is_some(), works, "{resident} pages at {now:?}");
            thread.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!(retired.due(), now + LOOK);
    }
}
