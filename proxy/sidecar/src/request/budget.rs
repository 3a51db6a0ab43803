//! How many upstream connections may be in use for one downstream connection, which may carry a thousand requests at
//! once.

use std::cell::Cell;
use std::rc::Rc;

use crate::http::http2::send_buffer::ConnectionSendBuffer;

/// The connections that are in use for one connection of a caller, and what is held for it.
#[derive(Debug)]
pub(crate) struct ConnectionBudget {
    used: Cell<usize>,
    most: usize,
    send_buffer: Rc<ConnectionSendBuffer>,
}

impl ConnectionBudget {
    /// Nothing is in use yet.
    pub(crate) fn new(most: usize, send_buffer: Rc<ConnectionSendBuffer>) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), most, send_buffer })
    }

    /// How many answers the caller leaves unread.
    pub(crate) fn unread(&self) -> u32 {
        self.send_buffer.unread()
    }

    /// One more, if there is any left.
    pub(crate) fn take(self: &Rc<Self>) -> Option<BudgetSlot> {
        let used = self.used.get();
        (used < self.most).then(|| {
            self.used.set(used + 1);
            BudgetSlot(self.clone())
        })
    }
}

/// A connection that is in use for a caller. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct BudgetSlot(Rc<ConnectionBudget>);

impl Drop for BudgetSlot {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::http2::send_buffer::WorkerSendBuffer;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = ConnectionBudget::new(1, WorkerSendBuffer::new(1, 1).of_caller());
        let taken = budget.take();
        assert!(taken.is_some() && budget.take().is_none());
        drop(taken);
        assert!(budget.take().is_some());
    }
}
