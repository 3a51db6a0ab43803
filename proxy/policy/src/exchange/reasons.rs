//! The reasons of what is decided once a rule has been found that forwards.

use super::Exchange;
use crate::balance::known;
use crate::cluster::HashKey;
use crate::cors::{self, Cors};
use crate::dice::{Purpose, Share};
use crate::narrate::{Choice, InjectedFault, Narrator, Reason};
use crate::request::{Caller, Head};
use crate::route::{Fault, FaultScope, Forward};

impl Exchange {
    /// Tells why the request goes where it goes, if it does.
    pub(super) fn tell(&self, forward: &Forward, head: &impl Head, caller: Caller, narrator: &mut impl Narrator) {
        if let Some(fault) = forward.fault.as_deref() {
            self.tell_faults(fault, narrator);
        }
        let by = self.choice(forward, head, caller);
        narrator.hear(Reason::Destination { place: self.destination, among: &forward.destinations, by });
        let asked = head.grpc_timeout().filter(|_| self.grpc);
        narrator.hear(Reason::Timeout { allowed: self.timeout, route: forward.timeout, asked });
        if let Some(key) = self.hash_key() {
            narrator.hear(Reason::Hash { key, hash: self.hash, gives_cookie: self.cookie.is_some() });
        }
    }

    /// Tells what the rules for pages of other origins make of the request, if there are any.
    pub(super) fn tell_origin(&self, rules: Option<&Cors>, head: &impl Head, narrator: &mut impl Narrator) {
        if rules.is_some() {
            let origin = head.header("origin").filter(|origin| !origin.is_empty());
            let preflight = cors::preflight(head).filter(|_| origin.is_some());
            // Leave is given in headers, and an answer without leave has none.
            let allowed = self.cors.as_ref().is_some_and(|grant| !grant.headers.is_empty());
            let (origin, preflight) = (origin.as_deref(), preflight.as_deref());
            narrator.hear(Reason::Origin { origin, preflight, allowed, answered: self.is_preflight() });
        }
    }

    fn tell_faults(&self, fault: &Fault, narrator: &mut impl Narrator) {
        let scope = fault.scope;
        let drawn = |purpose| {
            let parts = self.dice.below(purpose, 0, Share::ALL.0.into());
            (scope == FaultScope::Request).then_some(Share(parts as u32))
        };
        if let Some((delay, share)) = fault.delay {
            let drawn = drawn(Purpose::FaultDelay);
            narrator.hear(Reason::Fault { fault: InjectedFault::Delay(delay), share, drawn, scope });
        }
        if let Some((abort, share)) = fault.abort {
            let drawn = drawn(Purpose::FaultAbort);
            narrator.hear(Reason::Fault { fault: InjectedFault::Abort(abort), share, drawn, scope });
        }
    }

    fn choice<'f>(&self, forward: &'f Forward, head: &impl Head, caller: Caller) -> Choice<'f> {
        let destinations = &forward.destinations;
        match forward.split_key.as_deref() {
            _ if destinations.len() < 2 => Choice::Only,
            Some(key) if known(key, head, caller).is_some() => Choice::Key(key),
            _ => {
                let total = destinations.iter().map(|destination| u64::from(destination.weight)).sum();
                Choice::Draw { point: self.dice.below(Purpose::Split, 0, total), total }
            }
        }
    }

    fn hash_key(&self) -> Option<&HashKey> {
        self.live.snapshot().cluster(self.cluster?).balancer.hash_key()
    }
}
