//! The one place that reads the clock. Everything else gets the time as an argument.

use std::time::{Duration, SystemTime};

use leeboard_policy::time::{Span, Time};
use tokio::time::Instant;

/// What the policy's [`Time`] counts from, and the wall time of that moment. Copies agree with one another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    began_wall: SystemTime,
}

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), began_wall: SystemTime::now() }
    }

    /// Nanoseconds since this clock began. It never goes back.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn now(&self) -> Time {
        Time(nanos(Instant::now().saturating_duration_since(self.began)))
    }

    /// The runtime's name for a moment, to wait for it. A moment too far to name is the farthest that it can wait for.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        const FARTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
        self.began + Duration::from_nanos(time.0).min(FARTHEST)
    }

    /// The wall time, for people and for certificates. It may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    /// The wall time of a moment, as the wall clock was when this clock began.
    pub(crate) fn wall_at(&self, time: Time) -> SystemTime {
        self.began_wall + Duration::from_nanos(time.0)
    }

    /// Waits until a moment.
    pub(crate) async fn until(&self, time: Time) {
        tokio::time::sleep_until(self.instant(time)).await;
    }
}

/// A policy's length of time as the runtime's.
pub(crate) fn duration(span: Span) -> Duration {
    Duration::from_nanos(span.0)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_distance_as_instants() {
        let clock = Clock::start();
        let (a, b) = (Time(5_000), Time(5_000) + Span::from_millis(7));
        assert_eq!(clock.instant(b) - clock.instant(a), Duration::from_millis(7));
        assert_eq!(clock.wall_at(b).duration_since(clock.wall_at(a)).unwrap(), Duration::from_millis(7));
    }

    #[test]
    fn the_end_of_time_can_be_waited_for() {
        let clock = Clock::start();
        assert!(clock.instant(Time(u64::MAX)) > clock.instant(clock.now()));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_takes_as_long_as_it_says() {
        let clock = Clock::start();
        let due = clock.now() + Span::from_secs(3_600);
        clock.until(due).await;
        assert!(clock.now() >= due);
    }
}
