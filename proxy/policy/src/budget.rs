//! Retry budgets: how many retries there may be, measured by the requests there are. Istio: `retryBudget`.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::cluster::RetryBudget;
use crate::time::{Span, Time};

/// Into how many parts an interval is cut. Envoy: 10, after tower's budget.
const PARTS: u64 = 10;

impl RetryBudget {
    /// How many retries may be scheduled or in flight for so many requests. Envoy: the share rounded down, at least `least`.
    pub fn most(&self, requests: u64) -> u32 {
        let share = u128::from(requests) * u128::from(self.share.0) / 1_000_000;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.least)
    }
}

/// How many requests began in the latest interval, in tenths of it. Any thread may count.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// For each part: in the upper half which tenth since the driver began it counts, in the lower half how many. The tenths
    /// are told apart by their lower 32 bits.
    parts: [AtomicU64; PARTS as usize],
}

impl Window {
    /// Counts a request.
    pub(crate) fn count(&self, interval: Span, now: Time) {
        let tenth = tenth(interval, now);
        let one_more = |part: u64| {
            let kept = if part >> 32 == u64::from(tenth) { part } else { u64::from(tenth) << 32 };
            (kept as u32 != u32::MAX).then_some(kept + 1)
        };
        // A part that is full stays so.
        let _ = self.parts[place(tenth)].fetch_update(Relaxed, Relaxed, one_more);
    }

    /// The same numbers, to count on from.
    pub(crate) fn detached(&self) -> Self {
        Self { parts: self.parts.each_ref().map(|part| part.load(Relaxed).into()) }
    }

    /// How many requests began in the latest ten tenths, the present one included.
    pub(crate) fn sum(&self, interval: Span, now: Time) -> u64 {
        let latest = tenth(interval, now);
        let parts = self.parts.iter().map(|part| part.load(Relaxed));
        let young = |part: &u64| u64::from(latest.wrapping_sub((part >> 32) as u32)) < PARTS;
        parts.filter(young).map(|part| u64::from(part as u32)).sum()
    }
}

fn tenth(interval: Span, now: Time) -> u32 {
    (now.0 / (interval.0 / PARTS).max(1)) as u32
}

fn place(tenth: u32) -> usize {
    (u64::from(tenth) % PARTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Share;

    extern crate std;

    #[test]
    fn a_share_of_requests_and_never_less_than_the_least() {
        for (percent, least, requests, most) in [
            (20.0, 3, 0, 3),
            (20.0, 3, 15, 3),
            (20.0, 3, 19, 3),
            (20.0, 3, 20, 4),
            (20.0, 3, 24, 4),
            (0.0, 0, 1_000, 0),
            (0.0, 2, 1_000, 2),
            (100.0, 0, 7, 7),
            (0.5, 0, 199, 0),
            (0.5, 0, 200, 1),
            (100.0, 0, u64::MAX, u32::MAX),
        ] {
            let budget = RetryBudget { share: Share::from_percent(percent), least, interval: None };
            assert_eq!(budget.most(requests), most, "{percent} % of {requests}, at least {least}");
        }
    }

    #[test]
    fn a_window_forgets_by_tenths() {
        let second = Span::from_secs(1);
        let at = |ms| Time(0) + Span::from_millis(ms);
        let window = Window::default();
        for (ms, times) in [(5_000, 3), (5_099, 1), (5_100, 10), (5_950, 100)] {
            (0..times).for_each(|_| window.count(second, at(ms)));
        }
        for (ms, sum) in
            [(5_950, 114), (5_999, 114), (6_000, 110), (6_099, 110), (6_100, 100), (6_899, 100), (6_900, 0)]
        {
            assert_eq!(window.sum(second, at(ms)), sum, "at {ms} ms");
        }
        // The part of the tenth that is long past is taken by a new one.
        window.count(second, at(17_000));
        assert_eq!(window.sum(second, at(17_000)), 1);
    }

    #[test]
    fn an_interval_too_short_to_be_cut_counts_all_the_same() {
        let window = Window::default();
        window.count(Span(1), Time(4));
        assert_eq!((window.sum(Span(1), Time(4)), window.sum(Span(1), Time(40))), (1, 0));
    }

    #[test]
    fn no_request_is_lost_between_threads() {
        let window = Window::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| window.count(Span::from_secs(1), Time(9))));
            }
        });
        assert_eq!(window.sum(Span::from_secs(1), Time(9)), 40_000);
    }
}
