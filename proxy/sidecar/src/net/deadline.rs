//! Deadline timers that are armed once for many requests.
//!
//! Nearly every request has a deadline, and nearly none reaches it. A timer of its own would be put into the runtime's
//! timer wheel and taken out again for each. Instead a request borrows a timer that an earlier request has armed. It
//! fires too early for this request, if at all, and is then armed for the rest of the time.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use leeboard_policy::time::Time;
use tokio::time::Sleep;

use crate::host::clock::Clock;

/// A timer of the runtime's, and the moment for which it is armed.
pub(crate) struct DeadlineTimer {
    sleep: Pin<Box<Sleep>>,
    armed: Time,
}

impl DeadlineTimer {
    /// Waits until a moment, which may be another each time.
    pub(crate) fn poll_until(&mut self, clock: &Clock, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        if at < self.armed {
            self.arm(clock, at);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.armed >= at {
                return Poll::Ready(());
            }
            self.arm(clock, at);
        }
        Poll::Pending
    }

    fn arm(&mut self, clock: &Clock, at: Time) {
        self.sleep.as_mut().reset(clock.instant(at));
        self.armed = at;
    }
}

/// The most alarms that wait to be borrowed.
const SPARE: usize = 1024;

/// A worker's alarms that nobody needs just now.
#[derive(Default)]
pub(crate) struct DeadlineTimers(RefCell<Vec<DeadlineTimer>>);

impl DeadlineTimers {
    /// An alarm, armed for this moment or an earlier one if that can be had.
    pub(crate) fn take(&self, clock: &Clock, at: Time) -> DeadlineTimer {
        let spare = self.0.borrow_mut().pop();
        spare.unwrap_or_else(|| DeadlineTimer {
            sleep: Box::pin(tokio::time::sleep_until(clock.instant(at))),
            armed: at,
        })
    }

    /// Takes an alarm back as it is.
    pub(crate) fn put(&self, timer: DeadlineTimer) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE {
            spare.push(timer);
        }
    }

    /// Lets go of those that a burst has left.
    pub(crate) fn forget(&self) {
        let mut spare = self.0.borrow_mut();
        let keep = spare.len() / 2;
        spare.truncate(keep);
        spare.shrink_to(keep * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use leeboard_policy::time::Span;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_borrowed_alarm_waits_as_long_as_its_borrower_says() {
        let (clock, timers) = (Clock::start(), DeadlineTimers::default());
        let began = clock.now();
        for (spans, expected) in
            [(vec![50], 50), (vec![80], 80), (vec![500, 20], 20), (vec![10, 900], 900), (vec![0], 0)]
        {
            let from = clock.now();
            let mut timer = timers.take(&clock, from + Span::from_millis(spans[0]));
            for (turn, span) in spans.iter().enumerate() {
                let at = from + Span::from_millis(*span);
                let last = turn + 1 == spans.len();
                poll_fn(|cx| {
                    let polled = timer.poll_until(&clock, at, cx);
                    if last { polled } else { Poll::Ready(()) }
                })
                .await;
            }
            let waited = clock.now() - from;
            assert!(waited >= Span::from_millis(expected), "{spans:?}");
            assert!(waited <= Span::from_millis(expected + 2), "{spans:?} took {waited:?}");
            timers.put(timer);
        }
        assert!(clock.now() > began);
        assert_eq!(timers.0.borrow().len(), 1, "one alarm has served all");
        timers.forget();
        assert!(timers.0.borrow().is_empty());
    }
}
