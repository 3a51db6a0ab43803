//! How many copies of requests a mirror may owe an answer to.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How many copies a mirror may owe an answer to: few until it has shown that it answers, more with each answer.
///
/// A copy holds a connection and memory until it is answered. A mirror that hangs is thus felt no more than [`Allowance::FIRST`]
/// of them are, for as long as it hangs; one that answers soon has all that it needs.
#[derive(Debug)]
pub(crate) struct Allowance {
    owed: AtomicU32,
    most: AtomicU32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { owed: AtomicU32::new(0), most: AtomicU32::new(Self::FIRST) }
    }
}

impl Allowance {
    /// How many a mirror is given that has not answered yet, or not of late.
    const FIRST: u32 = 64;
    /// The most that any mirror is given.
    const MOST: u32 = 4096;

    /// The same numbers, to count on from.
    pub(crate) fn detached(&self) -> Self {
        Self { owed: self.owed.load(Relaxed).into(), most: self.most.load(Relaxed).into() }
    }

    /// A place for one more, if there is one.
    pub(crate) fn room(self: &Arc<Self>) -> Option<Room> {
        let room = Room(self.clone());
        (self.owed.fetch_add(1, Relaxed) < self.most.load(Relaxed)).then_some(room)
    }

    /// One more for each answer; half as many after a copy that was lost.
    fn learn(&self, answered: bool) {
        let most = self.most.load(Relaxed);
        let next = if answered { most + 1 } else { most / 2 };
        // Two workers that learn at the same time may count as one; the next answer makes up for it.
        self.most.store(next.clamp(Self::FIRST, Self::MOST), Relaxed);
    }
}

/// A copy's part in what its mirror owes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(Arc<Allowance>);

impl Room {
    /// Notes whether the copy was answered.
    pub(crate) fn learn(&self, answered: bool) {
        self.0.learn(answered);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.owed.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_mirror_is_given_more_only_while_it_answers() {
        let allowance = Arc::new(Allowance::default());
        let first = Allowance::FIRST;
        let fill = || -> Vec<Room> { (0..10_000).map_while(|_| allowance.room()).collect() };
        assert_eq!(fill().len() as u32, first, "a silent mirror gets the first few and no more");
        assert_eq!(fill().len() as u32, first, "and what they held comes back");
        #[rustfmt::skip]
        let table = [
            // answered, times, then it may owe
            (true, 10, first + 10),
            (false, 1, first),
            (true, 100_000, Allowance::MOST),
            (false, 1, Allowance::MOST / 2),
            (false, 100, first),
        ];
        for (answered, times, most) in table {
            (0..times).for_each(|_| allowance.learn(answered));
            assert_eq!(fill().len() as u32, most, "{answered} {times}");
        }
    }
}
