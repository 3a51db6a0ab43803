//! Places in a cluster: how many connections, requests and retries it holds, exactly, and who was turned away.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::cluster::Limits;

/// What a place is for. Envoy: circuit breakers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Limit {
    /// A connection to an endpoint. Istio: `tcp.maxConnections`.
    Connections,
    /// A request that waits for a connection. Istio: `http1MaxPendingRequests`.
    Pending,
    /// A request in flight. Istio: `http2MaxRequests`.
    Requests,
    /// A retry, scheduled or in flight. Istio: `maxRetries`.
    Retries,
}

impl Limit {
    /// All of them, in order.
    pub const ALL: [Limit; 4] = [Limit::Connections, Limit::Pending, Limit::Requests, Limit::Retries];
}

impl Limits {
    /// How many places there are; `None` is no limit.
    pub fn most(&self, limit: Limit) -> Option<u32> {
        match limit {
            Limit::Connections => self.connections,
            Limit::Pending => self.pending,
            Limit::Requests => self.requests,
            Limit::Retries => self.retries,
        }
    }
}

/// The places taken in one cluster, shared by all workers and by every reload.
///
/// Envoy checks and then counts, so that racing workers overshoot; here a place is taken in one atomic step.
#[derive(Debug, Default)]
pub struct Counts {
    taken: [AtomicU32; 4],
    overflows: [AtomicU64; 4],
}

impl Counts {
    /// Takes a place if fewer than `most` are taken, else counts an overflow. `None` for `most` is no limit.
    pub fn take(self: &Arc<Self>, limit: Limit, most: Option<u32>) -> Option<Slot> {
        let taken = &self.taken[limit as usize];
        // No memory is published by a place, only the count itself, which an atomic orders in any case.
        let admitted = match most {
            None => {
                taken.fetch_add(1, Relaxed);
                true
            }
            Some(most) => taken.fetch_update(Relaxed, Relaxed, |taken| (taken < most).then(|| taken + 1)).is_ok(),
        };
        if !admitted {
            self.overflows[limit as usize].fetch_add(1, Relaxed);
        }
        admitted.then(|| Slot { counts: self.clone(), limit })
    }

    /// The same numbers, to count on from.
    pub(crate) fn detached(&self) -> Self {
        Self {
            taken: self.taken.each_ref().map(|taken| taken.load(Relaxed).into()),
            overflows: self.overflows.each_ref().map(|overflows| overflows.load(Relaxed).into()),
        }
    }

    /// How many places are taken now.
    pub fn current(&self, limit: Limit) -> u32 {
        self.taken[limit as usize].load(Relaxed)
    }

    /// Counts someone who was not let in since others wait already.
    pub fn turned_away(&self, limit: Limit) {
        self.overflows[limit as usize].fetch_add(1, Relaxed);
    }

    /// How many times nobody was let in, since the cluster appeared.
    pub fn overflows(&self, limit: Limit) -> u64 {
        self.overflows[limit as usize].load(Relaxed)
    }
}

/// A place, held. Dropping it is the only way to give it back.
#[must_use = "a place that is dropped at once is not held"]
pub struct Slot {
    counts: Arc<Counts>,
    limit: Limit,
}

impl Slot {
    /// What the place is for.
    pub fn limit(&self) -> Limit {
        self.limit
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counts.taken[self.limit as usize].fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({:?})", self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    extern crate std;

    #[test]
    fn no_more_than_most_are_let_in() {
        #[rustfmt::skip]
        let table = [
            // most, asked, let in, turned away
            (None, 5, 5, 0),
            (Some(0), 2, 0, 2),
            (Some(1), 3, 1, 2),
            (Some(3), 3, 3, 0),
            (Some(3), 5, 3, 2),
        ];
        for (most, asked, held, overflows) in table {
            for limit in Limit::ALL {
                let counts = Arc::new(Counts::default());
                let slots: Vec<_> = (0..asked).filter_map(|_| counts.take(limit, most)).collect();
                assert_eq!(slots.len(), held, "{limit:?} {most:?}");
                assert!(slots.iter().all(|slot| slot.limit() == limit));
                assert_eq!(counts.overflows(limit), overflows, "{limit:?} {most:?}");
                for other in Limit::ALL {
                    assert_eq!(counts.current(other), if other == limit { held as u32 } else { 0 });
                }
                drop(slots);
                assert_eq!(counts.current(limit), 0, "every place is given back");
            }
        }
    }

    #[test]
    fn racing_threads_neither_overshoot_nor_leak() {
        const THREADS: u64 = 8;
        const TURNS: u64 = 5_000;
        const MOST: u32 = 3;
        let counts = Arc::new(Counts::default());
        let held = AtomicU32::new(0);
        let won = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..TURNS {
                        if let Some(slot) = counts.take(Limit::Connections, Some(MOST)) {
                            assert!(held.fetch_add(1, Relaxed) < MOST, "more than {MOST} hold a place");
                            won.fetch_add(1, Relaxed);
                            std::thread::yield_now();
                            held.fetch_sub(1, Relaxed);
                            drop(slot);
                        }
                    }
                });
            }
        });
        assert_eq!(counts.current(Limit::Connections), 0);
        assert_eq!(won.into_inner() + counts.overflows(Limit::Connections), THREADS * TURNS);
    }
}
