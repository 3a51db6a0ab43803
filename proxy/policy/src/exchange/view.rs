//! What a driver may ask an exchange: where it goes, what it has come to, and how heads change on the way.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Exchange, Phase};
use crate::cluster::{Cluster, HashKey};
use crate::dice::{Dice, Purpose};
use crate::endpoints::Endpoint;
use crate::headers::{self, Facts, HeaderEdit, HeaderOps};
use crate::live::{Live, LiveCluster};
use crate::mirror::{self, Copy};
use crate::narrate::Narrator;
use crate::outlier::OutlierEvent;
use crate::retry::RetryPolicy;
use crate::route::{Action, Destination, Forward, Route};
use crate::step::{Faults, Retries};
use crate::time::{Span, Time};
use crate::verdict::Flags;

impl Exchange {
    /// The rule it fell under.
    pub fn route(&self) -> Option<&Route> {
        self.live.snapshot().rule(self.rule?)
    }

    /// Whom it is from, as far as that can be trusted.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// What its rule says of sending it on; `None` when it is answered here.
    pub fn forwarding(&self) -> Option<&Forward> {
        match &self.route()?.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }

    /// The destination that it goes to.
    pub fn chosen(&self) -> Option<&Destination> {
        self.forwarding()?.destinations.get(self.destination)
    }

    /// The retry policy of its route.
    pub fn retry_policy(&self) -> Option<&RetryPolicy> {
        self.forwarding()?.retry.as_deref()
    }

    /// The destination's cluster, when there is one.
    pub fn cluster(&self) -> Option<&Arc<LiveCluster>> {
        Some(self.live.cluster(self.cluster?))
    }

    /// The destination's cluster as the configuration describes it, when there is one.
    pub fn described(&self) -> Option<&Cluster> {
        Some(self.live.snapshot().cluster(self.cluster?))
    }

    /// The endpoint of the latest attempt.
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.running.as_ref()?.endpoint()
    }

    /// The live state and snapshot it began with and keeps.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Attempts so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Envoy's response flags so far.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether its method may be sent twice. RFC 9110 §9.2.2.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether the request is gRPC's.
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// How its retries went so far.
    pub fn retries(&self) -> Retries {
        self.retries
    }

    /// Whether it waits before another attempt.
    pub fn is_backing_off(&self) -> bool {
        matches!(self.phase, Phase::BackingOff(_))
    }

    /// Whether an attempt waits, for a fault, before it goes to an endpoint.
    pub fn is_stalling(&self) -> bool {
        matches!(self.phase, Phase::Stalling { .. })
    }

    /// The faults that were injected so far.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// The ejections, and those that a cap prevented, that this exchange has brought about since it was last asked.
    pub fn take_events(&mut self) -> Vec<OutlierEvent> {
        core::mem::take(&mut self.events)
    }

    /// When the request's response is due upstream, for `x-envoy-expected-rq-timeout-ms` and `grpc-timeout`; `None` is never.
    pub fn expected(&self, now: Time) -> Option<Span> {
        let whole = self.timeout.map(|all| {
            let spent = self.clock_start().map_or(Span(0), |start| now - start);
            Span(all.0.saturating_sub(spent.0))
        });
        let each = self.retry_policy().and_then(|policy| policy.per_try_timeout);
        match (whole, each) {
            (Some(whole), Some(each)) => Some(whole.min(each)),
            (whole, each) => whole.or(each),
        }
    }

    /// Whether an attempt may follow the first, so that the request's body is worth keeping: by the retry policy, or
    /// since a used connection may turn out to be dead.
    pub fn may_repeat(&self) -> bool {
        self.forwarding().is_some()
    }

    /// When the last byte of the request came, if it has.
    pub fn received_at(&self) -> Option<Time> {
        self.received
    }

    /// Says which endpoint an attempt without one was made to: wherever the caller was going.
    pub fn went_to(&mut self, endpoint: Arc<Endpoint>) {
        if let Some(running) = &mut self.running {
            running.active = Some(endpoint.enter());
        }
    }

    /// The path and query that are sent on, when a rewrite has made them.
    pub fn path(&self) -> Option<&str> {
        self.sending.path.as_deref()
    }

    /// The authority that is sent on, when it differs from the caller's.
    #[inline]
    pub fn authority(&self) -> Option<&str> {
        self.forwarding()?.authority.as_deref().or(self.chosen()?.authority.as_deref())
    }

    /// Makes the route's and the destination's changes to the request's headers, and says what path and authority were before
    /// they change, which they must not have yet. Envoy: `x-envoy-original-path`, `x-envoy-original-host`.
    pub fn edit_request(&self, message: &mut (impl Facts + HeaderEdit + ?Sized)) {
        if let (Some(forward), Some(destination)) = (self.forwarding(), self.chosen()) {
            let several = forward.destinations.len() > 1;
            headers::apply(&forward.request_headers, &destination.request_headers, several, message);
        }
        let changes = [
            (self.path(), ":path", "x-envoy-original-path"),
            (self.authority(), ":authority", "x-envoy-original-host"),
        ];
        for (_, is, was) in changes.into_iter().filter(|(new, ..)| new.is_some()) {
            let before = message.request(is).unwrap_or_default().into_owned();
            message.set(was, &before);
        }
    }

    /// Whether the request is a preflight that is answered here.
    pub(super) fn is_preflight(&self) -> bool {
        self.cors.as_ref().is_some_and(|grant| grant.answers)
    }

    /// Makes the route's and the destination's changes to the response's headers, whoever made the response. What the origin
    /// may do goes last. Envoy: the answer to a preflight comes before the route has any part in it.
    pub fn edit_response(&self, message: &mut (impl Facts + HeaderEdit + ?Sized)) {
        if !self.is_preflight() {
            self.give_cookie(message);
            self.change_response(message);
        }
        for (name, value) in self.cors.iter().flat_map(|grant| &grant.headers) {
            message.set(name, value);
        }
    }

    fn change_response(&self, message: &mut (impl Facts + HeaderEdit + ?Sized)) {
        const NONE: &HeaderOps = &HeaderOps::NONE;
        match self.route().map(|route| &route.action) {
            Some(Action::Forward(forward)) => {
                let several = forward.destinations.len() > 1;
                let destination = self.chosen().map_or(NONE, |chosen| &chosen.response_headers);
                headers::apply(&forward.response_headers, destination, several, message);
            }
            Some(Action::Redirect(redirect)) => headers::apply(&redirect.response_headers, NONE, false, message),
            Some(Action::Direct(direct)) => headers::apply(&direct.response_headers, NONE, false, message),
            None => {}
        }
    }

    /// Envoy: with an endpoint's response, before the route's changes to it.
    fn give_cookie(&self, message: &mut (impl HeaderEdit + ?Sized)) {
        let Some(value) = self.cookie.filter(|_| self.answered) else { return };
        let key = self.cluster.and_then(|id| self.live.snapshot().cluster(id).balancer.hash_key());
        if let Some(HashKey::Cookie(cookie)) = key {
            message.append("set-cookie", cookie.set(value).as_bytes());
        }
    }

    /// The copies of the request that are sent to mirrors, each with its places taken. Asked once, with the first attempt.
    pub fn copies(&self) -> Vec<Copy> {
        self.copies_narrated(&mut ())
    }

    /// The same, and tells why.
    pub fn copies_narrated(&self, narrator: &mut impl Narrator) -> Vec<Copy> {
        let mirrors = match self.tunnel {
            // What follows the request is a talk, which nobody at a mirror could hold. Envoy: CONNECT is never mirrored.
            Some(_) => &[][..],
            None => self.forwarding().map_or(&[][..], |forward| &forward.mirrors),
        };
        let now = self.routed.unwrap_or_default();
        mirror::draw(mirrors, &self.live, self.hash, self.timeout, self.dice, now, narrator)
    }

    /// A fresh request id's bits.
    pub fn request_id(dice: Dice) -> u128 {
        u128::from(dice.roll(Purpose::RequestId, 0)) << 64 | u128::from(dice.roll(Purpose::RequestId, 1))
    }
}
