//! Time series: counters for one set of labels, one for each worker. Their number is bounded, a scrape adds them up,
//! and unused ones are removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The values of a series' labels, in the order of its family's label names.
pub(crate) type LabelValues = Arc<[Arc<str>]>;

/// Something that a worker counts with.
pub(crate) trait Tally: Default + Send + Sync + 'static {
    /// Tallies of all workers added up.
    type Total: Default + Clone + std::fmt::Debug;

    /// Adds what was counted here.
    fn add_to(&self, total: &mut Self::Total);
}

/// One worker's share of a series. Whoever holds it may count on it: a share that is held is never forgotten.
#[derive(Debug, Default)]
pub(crate) struct Share<T> {
    /// What is counted with.
    pub(crate) tally: T,
    used: AtomicU64,
}

impl<T> Share<T> {
    /// Notes that the share was used at this second.
    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Relaxed);
    }

    /// The second of the last use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

/// What a worker counts with.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    /// Its share of a series.
    pub(crate) share: Arc<Share<T>>,
    /// Whether it is the series that was asked for, and not the one of all that there was no room for.
    pub(crate) own: bool,
}

/// All series of a kind, in order of their keys.
#[derive(Debug)]
pub(crate) struct SeriesTable<K, T: Tally> {
    series: BTreeMap<K, Series<T>>,
    bound: usize,
    keep_seconds: u64,
    /// The second of the last look for what is no longer used.
    expired: u64,
}

#[derive(Debug)]
struct Series<T: Tally> {
    /// Shares that nobody holds any more, added up: a series never goes back while it lives.
    retired: T::Total,
    shares: Vec<(usize, Arc<Share<T>>)>,
    used: u64,
}

impl<K: Ord + Clone, T: Tally> SeriesTable<K, T> {
    /// An empty table for at most `bound` series, each forgotten after `keep_seconds` without use.
    pub(crate) fn new(bound: usize, keep_seconds: u64) -> Self {
        Self { series: BTreeMap::new(), bound, keep_seconds, expired: 0 }
    }

    /// A worker's share of a series, which is made if it is new. When there is no room for another it is of the series `other`,
    /// of which there are few and always room for.
    pub(crate) fn share(&mut self, key: K, other: impl FnOnce() -> K, worker: usize, now: u64) -> Shared<T> {
        let mut fits = true;
        if self.series.len() >= self.bound && !self.series.contains_key(&key) {
            // Once a second at most: while the table is full every new label set comes this way.
            if now > self.expired {
                self.expire(now);
            }
            fits = self.series.len() < self.bound;
        }
        let key = if fits { key } else { other() };
        let series = self.series.entry(key).or_insert_with(|| Series {
            retired: T::Total::default(),
            shares: Vec::new(),
            used: now,
        });
        let share = match series.shares.iter().find(|(owner, _)| *owner == worker) {
            Some((_, share)) => share.clone(),
            None => {
                let share = Arc::new(Share::default());
                series.shares.push((worker, Arc::clone(&share)));
                share
            }
        };
        share.touch(now);
        Shared { share, own: fits }
    }

    /// Forgets what was not used for long and is not held by anyone.
    pub(crate) fn expire(&mut self, now: u64) {
        self.expired = now;
        let keep = self.keep_seconds;
        self.series.retain(|_, series| {
            let Series { retired, shares, used } = series;
            shares.retain(|(_, share)| {
                // A share with no other holder cannot be written: new holders come through this table only.
                let held = Arc::strong_count(share) > 1;
                let stays = held || share.used().saturating_add(keep) > now;
                if !stays {
                    share.tally.add_to(retired);
                    *used = (*used).max(share.used());
                }
                stays
            });
            !shares.is_empty() || used.saturating_add(keep) > now
        });
    }

    /// All series with the shares of their workers added up.
    pub(crate) fn totals(&self) -> Vec<(K, T::Total)> {
        self.series.iter().map(|(key, series)| (key.clone(), series.total())).collect()
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.series.len()
    }
}

impl<T: Tally> Series<T> {
    fn total(&self) -> T::Total {
        let mut total = self.retired.clone();
        for (_, share) in &self.shares {
            share.tally.add_to(&mut total);
        }
        total
    }
}

/// A number that goes up, or, for a gauge, also down. Any thread may count.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// Takes away. The sum over all shares is right even when one of them wraps.
    pub(crate) fn subtract(&self, by: u64) {
        self.0.fetch_sub(by, Relaxed);
    }
}

impl Tally for Count {
    type Total = u64;

    fn add_to(&self, total: &mut u64) {
        *total = total.wrapping_add(self.0.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bound: usize) -> SeriesTable<&'static str, Count> {
        SeriesTable::new(bound, 600)
    }

    fn share(
        table: &mut SeriesTable<&'static str, Count>,
        key: &'static str,
        worker: usize,
        now: u64,
    ) -> Shared<Count> {
        table.share(key, || "other", worker, now)
    }

    #[test]
    fn workers_are_added_up() {
        let mut table = table(8);
        for (worker, by) in [(0, 2), (1, 3), (0, 4)] {
            share(&mut table, "a", worker, 0).share.tally.add(by);
        }
        assert_eq!(table.totals(), [("a", 9)]);
    }

    #[test]
    fn what_a_full_table_has_no_room_for_counts_as_other_until_an_old_series_expires() {
        let mut table = table(2);
        let held = share(&mut table, "held", 0, 0);
        share(&mut table, "idle", 0, 0);
        for (key, now, own) in [("new", 0, false), ("newer", 0, false), ("idle", 0, true), ("new", 599, false)] {
            let shared = share(&mut table, key, 0, now);
            shared.share.tally.add(1);
            assert_eq!(shared.own, own, "{key} at {now}");
        }
        held.share.tally.add(1);
        assert_eq!(table.totals(), [("held", 1), ("idle", 1), ("other", 3)]);
        assert!(share(&mut table, "new", 0, 1300).own, "what was idle has left");
        assert_eq!(table.totals(), [("held", 1), ("new", 0)]);
    }

    #[test]
    fn a_series_in_use_never_goes_back() {
        let mut table = table(8);
        share(&mut table, "a", 0, 0).share.tally.add(5);
        let other = share(&mut table, "a", 1, 900);
        other.share.tally.add(1);
        table.expire(1000);
        assert_eq!(table.totals(), [("a", 6)], "worker 0's share has gone, its count has not");
        share(&mut table, "a", 0, 1001).share.tally.add(1);
        assert_eq!(table.totals(), [("a", 7)]);
        drop(other);
        table.expire(1700);
        assert_eq!(table.len(), 0);
    }
}
