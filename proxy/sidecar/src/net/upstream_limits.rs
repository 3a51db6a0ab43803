//! How many connections to endpoints may be open: in all, and in use for one connection of a caller, which may ask for a
//! thousand things at once. Envoy: as many as `maxConnections` of the clusters allow together, which by default is no limit.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::http::http2::send_buffer::CallerBacklog;

/// The connections of all workers.
#[derive(Debug)]
pub(crate) struct Room {
    open: AtomicUsize,
    most: usize,
}

impl Room {
    /// Nothing is open yet.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), most })
    }

    /// Whether there is a place for one more.
    pub(crate) fn has_place(&self) -> bool {
        self.open.load(Relaxed) < self.most
    }

    /// A place for one more, if there is any.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let more = |open| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Entered(self.clone()))
    }
}

/// An open connection's place. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Entered(Arc<Room>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// The connections that are in use for one connection of a caller, and what is held for it.
#[derive(Debug)]
pub(crate) struct Allowance {
    used: Cell<usize>,
    most: usize,
    backlog: Rc<CallerBacklog>,
}

impl Allowance {
    /// Nothing is in use yet.
    pub(crate) fn new(most: usize, backlog: Rc<CallerBacklog>) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), most, backlog })
    }

    /// How many answers the caller leaves unread.
    pub(crate) fn unread(&self) -> u32 {
        self.backlog.unread()
    }

    /// One more, if there is any left.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Taken> {
        let used = self.used.get();
        (used < self.most).then(|| {
            self.used.set(used + 1);
            Taken(self.clone())
        })
    }
}

/// A connection that is in use for a caller. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Taken(Rc<Allowance>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::http2::send_buffer::Backlog;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let room = Room::new(2);
        let places = [room.enter(), room.enter()];
        assert!(places.iter().all(Option::is_some) && room.enter().is_none());
        drop(places);
        assert!(room.enter().is_some());
        let allowance = Allowance::new(1, Backlog::new(1, 1).of_caller());
        let taken = allowance.take();
        assert!(taken.is_some() && allowance.take().is_none());
        drop(taken);
        assert!(allowance.take().is_some());
    }
}
