//! Sending a request again without being asked to: when it certainly did nothing yet. Once in an attempt, and it counts as no
//! retry.

use super::Exchange;
use crate::balance::Pick;
use crate::endpoints::Endpoint;
use crate::outlier::Score;
use crate::step::{Attempt, Step};
use crate::time::Time;
use crate::verdict::{Failure, Verdict};

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
}
