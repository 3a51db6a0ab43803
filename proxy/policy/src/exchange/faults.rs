//! Faults that are injected into attempts, so that retries answer them. Leeboard: `leeboard.dev/fault-scope: attempt`.
//!
//! Better than Envoy, whose faults come before the router, where no retry and no timeout sees them. An attempt that meets
//! one reaches no endpoint, takes no place and is held against nobody.

use super::{Exchange, Phase};
use crate::fault::{self, Abortion, DrawnFault};
use crate::route::{Fault, FaultScope};
use crate::step::{Replay, Step};
use crate::time::Time;
use crate::verdict::Flags;

impl Exchange {
    /// What is drawn for the whole request: nothing when each attempt draws for itself.
    pub(super) fn fault_of_request(&mut self, fault: &Fault) -> DrawnFault {
        self.faults_attempts = fault.scope == FaultScope::Attempt;
        if self.faults_attempts { DrawnFault::default() } else { fault::draw(fault, self.dice, 0) }
    }

    /// What an attempt meets instead of an endpoint; `None` lets it go on.
    pub(super) fn attempt_fault(&mut self, replay: Replay, now: Time) -> Option<Step> {
        let fault = self.forwarding()?.fault.as_deref()?;
        let trouble = fault::draw(fault, self.dice, self.attempts + 1);
        match trouble.delay {
            Some(delay) => {
                self.flags = self.flags.with(Flags::DELAY_INJECTED);
                self.faults.delays += 1;
                self.abortion = trouble.abortion;
                Some(self.wait(Phase::Stalling { since: now, until: now + delay }))
            }
            None => trouble.abortion.map(|abortion| self.abort_attempt(abortion, replay, now)),
        }
    }

    /// After a delay within an attempt: its abort, or the attempt itself.
    pub(super) fn recover(&mut self, replay: Replay, now: Time) -> Step {
        match self.abortion.take() {
            Some(abortion) => self.abort_attempt(abortion, replay, now),
            None => self.try_endpoint(now),
        }
    }

    fn abort_attempt(&mut self, abortion: Abortion, replay: Replay, now: Time) -> Step {
        self.attempts += 1;
        self.faults.aborts += 1;
        self.flags = self.flags.with(Flags::FAULT_INJECTED);
        let wanted = self.retry_policy().is_some_and(|policy| policy.wants_after(abortion.response()));
        match self.retry(wanted, replay, now) {
            Some(step) => step,
            None => self.reply(abortion.verdict()),
        }
    }
}
