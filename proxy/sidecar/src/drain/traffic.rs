//! What is in flight on each worker. The drain waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Side;

/// What is going on in a worker.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    inbound: Counts,
    outbound: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    exchanges: AtomicUsize,
    connections: AtomicUsize,
    listeners: AtomicUsize,
    begun: AtomicU64,
}

impl Traffic {
    fn of(&self, side: Side) -> &Counts {
        match side {
            Side::Inbound => &self.inbound,
            Side::Outbound => &self.outbound,
        }
    }

    /// An exchange has begun. Only the worker itself counts its exchanges, so that a load and a store are enough.
    pub(crate) fn exchange_began(&self, side: Side) {
        let counts = self.of(side);
        counts.begun.store(counts.begun.load(Ordering::Relaxed) + 1, Ordering::Release);
        counts.exchanges.store(counts.exchanges.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// It is over.
    pub(crate) fn exchange_over(&self, side: Side) {
        let counts = self.of(side);
        counts.exchanges.store(counts.exchanges.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    /// Counts a caller's connection until the guard is dropped.
    pub(crate) fn connection(self: &Arc<Self>, side: Side) -> Open {
        self.of(side).connections.fetch_add(1, Ordering::AcqRel);
        Open { traffic: self.clone(), side, listens: false }
    }

    /// Counts a listener until the guard is dropped.
    pub(crate) fn listener(self: &Arc<Self>, side: Side) -> Open {
        self.of(side).listeners.fetch_add(1, Ordering::AcqRel);
        Open { traffic: self.clone(), side, listens: true }
    }
}

/// A caller's connection or a listener, which the end of the process waits for.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub(crate) struct Open {
    traffic: Arc<Traffic>,
    side: Side,
    listens: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        let counts = self.traffic.of(self.side);
        let count = if self.listens { &counts.listeners } else { &counts.connections };
        count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is in flight on a side at a moment, and how many exchanges have begun so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Load {
    /// Requests that are being served.
    pub(crate) exchanges: usize,
    /// Callers' connections, idle ones too.
    pub(crate) connections: usize,
    /// Sockets that accept.
    pub(super) listeners: usize,
    pub(super) begun: u64,
}

impl Load {
    /// What is in flight on a side of all workers.
    pub(super) fn of(workers: &[Arc<Traffic>], side: Side) -> Self {
        let sum = |read: fn(&Counts) -> &AtomicUsize| {
            workers.iter().map(|traffic| read(traffic.of(side)).load(Ordering::Acquire)).sum()
        };
        Self {
            exchanges: sum(|counts| &counts.exchanges),
            connections: sum(|counts| &counts.connections),
            listeners: sum(|counts| &counts.listeners),
            begun: workers.iter().map(|traffic| traffic.of(side).begun.load(Ordering::Acquire)).sum(),
        }
    }

    /// Whether somebody is connected or being served.
    pub(super) fn is_open(self) -> bool {
        self.exchanges + self.connections > 0
    }
}

/// What is in flight on both sides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loads {
    pub(crate) inbound: Load,
    pub(crate) outbound: Load,
}
