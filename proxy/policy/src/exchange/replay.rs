//! Sending a request again: without being asked to, when it certainly did nothing yet (once in an attempt, and it counts as no
//! retry); and as a retry.

use super::{Exchange, Phase};
use crate::balance::Pick;
use crate::endpoints::Endpoint;
use crate::outlier::Score;
use crate::step::{Attempt, Replay, RetryEnd, Step};
use crate::time::{Span, Time};
use crate::verdict::{Failure, Flags, Verdict};

impl Exchange {
    /// A used connection may end just as a request is written to it. RFC 9110 §9.2.2 and RFC 9113 §8.7 say when the
    /// request may be sent again without being asked to: nothing was written, the peer says it did nothing, or the
    /// method is idempotent.
    pub(super) fn was_harmless(&self, failure: Failure, reused: bool, written: bool) -> bool {
        let once = self.running.as_ref().is_some_and(|running| !running.replayed);
        let harmless = match failure {
            Failure::RefusedStream | Failure::Unprocessed => true,
            Failure::Terminated => reused && (!written || self.idempotent),
            _ => false,
        };
        once && harmless
    }

    /// To the same endpoint, on a fresh connection. An endpoint whose application is gone is left for another.
    pub(super) fn replay(&mut self, failure: Failure, now: Time) -> Step {
        let elsewhere = failure == Failure::Unprocessed;
        if elsewhere {
            self.score(Score::ConnectFailure, now);
        }
        let Some(mut running) = self.running.take() else { return self.reply(Verdict::Failed(failure)) };
        if let Some(active) = running.active.take_if(|_| elsewhere) {
            self.tried.push(active.endpoint().id());
            let other = self.cluster.and_then(|id| {
                let ask = Pick { avoid_tried: true, ..self.pick(now) };
                self.live.cluster(id).pick(&ask)
            });
            running.active = other.map(Endpoint::enter);
            running.scored = false;
            if running.active.is_none() {
                return self.reply(Verdict::Failed(failure));
            }
        }
        running.replayed = true;
        running.connected = None;
        let endpoint = running.endpoint().cloned();
        self.running = Some(running);
        Step::Try(Attempt { endpoint, number: self.attempts, at: now, fresh: true })
    }

    /// Schedules another attempt if one is wanted and allowed.
    pub(super) fn retry(&mut self, wanted: bool, replay: Replay, now: Time) -> Option<Step> {
        if !wanted {
            return None;
        }
        self.retry_slot = None;
        if replay == Replay::Gone {
            self.retries.end = Some(RetryEnd::NotReplayable);
            return None;
        }
        if self.retries_left == 0 {
            self.flags = self.flags.with(Flags::RETRY_LIMIT);
            self.retries.end = Some(RetryEnd::LimitExceeded);
            return None;
        }
        self.retries_left -= 1;
        let Some(slot) = self.cluster.and_then(|id| self.live.cluster(id).take_retry(now)) else {
            self.flags = self.flags.with(Flags::OVERFLOW);
            self.retries.end = Some(RetryEnd::Overflow);
            return None;
        };
        self.retry_slot = Some(slot);
        self.retries.made += 1;
        if let Some(active) = self.running.take().and_then(|running| running.active) {
            self.tried.push(active.endpoint().id());
        }
        let pause = self.retry_policy().map_or(Span(0), |policy| policy.backoff(self.retries.made, self.dice));
        Some(self.wait(Phase::BackingOff(now + pause)))
    }
}
