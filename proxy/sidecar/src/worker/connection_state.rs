//! The state of a downstream connection: since when a request head is incomplete, whether it is idle, and whether it is
//! to be closed.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use leeboard_policy::time::{Span, Time};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::drain::{DrainPhase, DrainState, Side};
use crate::http::informational::InformationalResponses;

/// The talk on one connection.
pub(crate) struct ConnectionState {
    side: Side,
    /// When the first byte of a head came that is not complete yet.
    head_since: Cell<Option<Time>>,
    closing: Cell<bool>,
    /// Whether nothing has gone on for too long.
    idle: Cell<bool>,
    /// How many requests are being served.
    open: Cell<u32>,
    /// Whether it has become a tunnel.
    tunnel: Cell<bool>,
    /// How often something has gone on; and that, and since when, as of the last look.
    turns: Cell<u32>,
    seen: Cell<(u32, Option<Time>)>,
    /// The caller, while an answer is made for it over HTTP/1.
    awaiting: RefCell<Option<InformationalResponses>>,
    /// Told when the caller has left meanwhile.
    left: Notify,
    /// Whom to wake when there is a cue.
    waiting: RefCell<Option<Waker>>,
}

/// Why a talk is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CloseReason {
    /// The process is leaving.
    Close,
    /// Nothing has gone on for too long.
    Idle,
}

/// How long nothing may go on; `None` is for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IdleTimeouts {
    /// While no request is being served.
    pub(crate) idle: Option<Span>,
    /// In a tunnel.
    pub(crate) tunnel: Option<Span>,
}

impl ConnectionState {
    /// A part of a head is here, and the rest is awaited: since when.
    pub(crate) fn mid_head_since(&self, now: Time) -> Time {
        let since = self.head_since.get().unwrap_or(now);
        self.head_since.set(Some(since));
        since
    }

    /// The head is complete.
    pub(crate) fn head_over(&self) {
        self.head_since.set(None);
    }

    /// Whether this is to be the last request.
    pub(crate) fn closing(&self) -> bool {
        self.closing.get()
    }

    /// A request is being served from now on.
    pub(crate) fn begins(&self) {
        self.open.set(self.open.get() + 1);
        self.moves();
    }

    /// It is served.
    pub(crate) fn ends(&self) {
        self.open.set(self.open.get() - 1);
        self.moves();
    }

    /// It has become a tunnel.
    pub(crate) fn tunnels(&self) {
        self.tunnel.set(true);
    }

    /// Something goes on.
    pub(crate) fn moves(&self) {
        self.turns.set(self.turns.get().wrapping_add(1));
        self.idle.set(false);
    }

    /// Whether it has been idle for too long by now. To be asked now and then, and by so much too late.
    fn tires(&self, now: Time, patience: IdleTimeouts) -> bool {
        let allowed = match (self.tunnel.get(), self.open.get()) {
            (true, _) => patience.tunnel,
            (false, 0) => patience.idle,
            (false, _) => None,
        };
        let ((turns, since), present) = (self.seen.get(), self.turns.get());
        match (allowed, since) {
            (None, _) => self.seen.set((present, None)),
            (Some(allowed), Some(since)) if turns == present => return now - since >= allowed,
            (Some(_), _) => self.seen.set((present, Some(now))),
        }
        false
    }

    /// Waits to be told that the connection is to end before its next request.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if self.closing.get() && self.head_since.get().is_none() {
            return Poll::Ready(CloseReason::Close);
        }
        if self.idle.get() {
            return Poll::Ready(CloseReason::Idle);
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Notes that the caller waits for an answer, or does not any more.
    pub(crate) fn awaits(&self, caller: Option<&InformationalResponses>) {
        *self.awaiting.borrow_mut() = caller.cloned();
    }

    /// Waits until the caller has left while it was waited for an answer.
    pub(crate) fn left(&self) -> Notified<'_> {
        self.left.notified()
    }

    fn look(&self) {
        if self.awaiting.borrow().as_ref().is_some_and(InformationalResponses::has_left_meanwhile) {
            self.left.notify_one();
        }
    }

    fn tell(&self, close_reason: &Cell<bool>) {
        close_reason.set(true);
        if let Some(waker) = &*self.waiting.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// All talks of a worker.
#[derive(Default)]
pub(crate) struct ConnectionRegistry {
    list: RefCell<Vec<Weak<ConnectionState>>>,
    drain_state: Cell<Option<DrainState>>,
}

impl ConnectionRegistry {
    /// Begins a talk.
    pub(crate) fn begin(&self, side: Side) -> Rc<ConnectionState> {
        let closing = self.drain_state.get().is_some_and(|drain_state| drain_state.of(side) == DrainPhase::Closing);
        let conn_state = Rc::new(ConnectionState {
            side,
            head_since: Cell::new(None),
            closing: Cell::new(closing),
            idle: Cell::new(false),
            open: Cell::new(0),
            tunnel: Cell::new(false),
            turns: Cell::new(0),
            seen: Cell::new((0, None)),
            awaiting: RefCell::default(),
            left: Notify::new(),
            waiting: RefCell::new(None),
        });
        self.list.borrow_mut().push(Rc::downgrade(&conn_state));
        conn_state
    }

    /// Forgets those that are over, and tells those to end that have been idle for too long; and looks whether those who wait for an answer are still there. A connection that nobody uses costs its
    /// descriptor all the same.
    pub(crate) fn tidy(&self, now: Time, patience: IdleTimeouts) {
        let mut list = self.list.borrow_mut();
        list.retain(|conn_state| {
            let Some(conn_state) = conn_state.upgrade() else { return false };
            if conn_state.tires(now, patience) {
                conn_state.tell(&conn_state.idle);
            }
            conn_state.look();
            true
        });
        if list.capacity() > 64 && list.capacity() / 4 > list.len() {
            list.shrink_to(64);
        }
    }

    /// Tells the talks of each side how the process means to end.
    pub(crate) fn heed(&self, drain_state: DrainState) {
        self.drain_state.set(Some(drain_state));
        let list = self.list.borrow();
        for conn_state in list
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|conn_state| drain_state.of(conn_state.side) == DrainPhase::Closing)
        {
            conn_state.tell(&conn_state.closing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talk_is_idle_from_its_last_turn_on_and_only_without_a_request() {
        let registry = ConnectionRegistry::default();
        let conn_state = registry.begin(Side::Outbound);
        let patience = IdleTimeouts { idle: Some(Span::from_secs(10)), tunnel: Some(Span::from_secs(3)) };
        let look = |second: u64| {
            registry.tidy(Time(second * 1_000_000_000), patience);
            conn_state.idle.get()
        };
        assert_eq!([0, 9, 10].map(look), [false, false, true]);
        conn_state.begins();
        assert_eq!([11, 40].map(look), [false, false], "a request may take its time");
        conn_state.ends();
        assert_eq!([41, 50, 51].map(look), [false, false, true]);
        conn_state.begins();
        conn_state.tunnels();
        assert_eq!([60, 62].map(look), [false, false]);
        conn_state.moves();
        assert_eq!([63, 65, 66].map(look), [false, false, true]);
        let forever = IdleTimeouts { idle: None, tunnel: None };
        conn_state.moves();
        registry.tidy(Time(u64::MAX), forever);
        assert!(!conn_state.idle.get());
        drop(conn_state);
        registry.tidy(Time(0), forever);
        assert!(registry.list.borrow().is_empty());
    }
}
