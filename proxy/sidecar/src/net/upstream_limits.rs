//! The limit on open upstream connections. Envoy: as many as `maxConnections` of the clusters allow together, which by
//! default is no limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The connections of all workers.
#[derive(Debug)]
pub(crate) struct UpstreamConnections {
    open: AtomicUsize,
    most: usize,
}

impl UpstreamConnections {
    /// Nothing is open yet.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), most })
    }

    /// Whether there is a place for one more.
    pub(crate) fn has_place(&self) -> bool {
        self.open.load(Relaxed) < self.most
    }

    /// A place for one more, if there is any.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<UpstreamSlot> {
        let more = |open| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(UpstreamSlot(self.clone()))
    }
}

/// An open connection's place. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct UpstreamSlot(Arc<UpstreamConnections>);

impl Drop for UpstreamSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_back_can_be_taken_again() {
        let upstream_connections = UpstreamConnections::new(2);
        let places = [upstream_connections.enter(), upstream_connections.enter()];
        assert!(places.iter().all(Option::is_some) && upstream_connections.enter().is_none());
        drop(places);
        assert!(upstream_connections.enter().is_some());
    }
}
