//! The life of a request, as decisions: what is done first, and what after each thing that happens.
//!
//! *listener → host → route → redirect/direct → fault → origin → split → mirror → limits → pick → deadlines.*

mod answers;
mod faults;
mod reasons;
mod replay;
mod running;
mod search;
pub mod sending;
mod view;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use self::answers::score_of;
pub use self::sending::{fits_http2, is_authority, is_path};

use self::running::Running;
use self::search::find_rule;
use self::sending::Sending;
use crate::balance::{Pick, hash_of};
use crate::cluster::{ClusterId, Discovery};
use crate::cors::Grant;
use crate::dice::Dice;
use crate::endpoints::{Active, Endpoint, EndpointId};
use crate::fault::{Abortion, DrawnFault};
use crate::limits::{Limit, Slot};
use crate::live::Live;
use crate::narrate::Narrator;
use crate::outlier::{OutlierEvent, Score, grpc_to_http};
use crate::request::{Caller, Entrance, Head, Tunnel};
use crate::retry::ResponseHead;
use crate::route::{Action, Destination, Forward, Target};
use crate::snapshot::RuleId;
use crate::split;
use crate::step::{Attempt, End, Faults, Outcome, Replay, Retries, RetryEnd, Step};
use crate::time::{Span, Time};
use crate::verdict::{Failure, Flags, Stall, Verdict};

/// A request's whole life. Dropping it gives back whatever it holds.
#[derive(Debug)]
pub struct Exchange {
    live: Arc<Live>,
    client: SocketAddr,
    rule: Option<RuleId>,
    destination: usize,
    cluster: Option<ClusterId>,
    dice: Dice,
    grpc: bool,
    tunnel: Option<Tunnel>,
    idempotent: bool,
    hash: Option<u64>,
    /// The value of a cookie that the caller is given with an endpoint's response.
    cookie: Option<u64>,
    cors: Option<alloc::boxed::Box<Grant>>,
    sending: Sending,
    /// The whole time allowed from `received`.
    timeout: Option<Span>,
    /// When the request was complete; the route's clock starts then, or after an injected delay.
    received: Option<Time>,
    /// When the first attempt was decided.
    routed: Option<Time>,
    abortion: Option<Abortion>,
    faults: Faults,
    /// Whether attempts draw faults of their own.
    faults_attempts: bool,
    phase: Phase,
    attempts: u32,
    retries_left: u32,
    retries: Retries,
    running: Option<Running>,
    tried: Vec<EndpointId>,
    retry_slot: Option<Slot>,
    flags: Flags,
    /// The status that the response being passed on counts as.
    status: u16,
    /// Whether an endpoint's response was passed on.
    answered: bool,
    events: Vec<OutlierEvent>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Delaying(Time),
    /// Within an attempt, before it goes to an endpoint.
    Stalling {
        since: Time,
        until: Time,
    },
    Trying,
    BackingOff(Time),
    Responding,
    Over,
}

impl Exchange {
    /// Decides what is done first with a request.
    pub fn begin(
        live: &Arc<Live>,
        entrance: Entrance,
        head: &impl Head,
        caller: Caller,
        dice: Dice,
        now: Time,
    ) -> (Self, Step) {
        Self::begin_narrated(live, entrance, head, caller, dice, now, &mut ())
    }

    /// The same, and tells why.
    pub fn begin_narrated<N: Narrator>(
        live: &Arc<Live>,
        entrance: Entrance,
        head: &impl Head,
        caller: Caller,
        dice: Dice,
        now: Time,
        narrator: &mut N,
    ) -> (Self, Step) {
        let caller = caller.trusted(head, live.snapshot().trusted_proxies());
        let mut exchange = Self::new(live.clone(), head, caller, dice);
        let rule = match find_rule(live, entrance, head, narrator) {
            Ok(rule) => rule,
            Err(verdict) => {
                let step = exchange.reply(verdict);
                return (exchange, step);
            }
        };
        exchange.rule = Some(rule);
        let route = live.snapshot().rule(rule);
        exchange.cors = route.and_then(|route| route.cors.as_ref()?.decide(head));
        if N::HEARS {
            exchange.tell_origin(route.and_then(|route| route.cors.as_deref()), head, narrator);
        }
        let step = match route.map(|route| &route.action) {
            None => exchange.reply(Verdict::NoRoute),
            // The caller has no use for what these say; a 2xx would even tell it that its tunnel is open.
            Some(Action::Redirect(_) | Action::Direct(_)) if exchange.tunnel == Some(Tunnel::Connect) => {
                exchange.reply(Verdict::NoRoute)
            }
            Some(Action::Redirect(_) | Action::Direct(_)) if exchange.is_preflight() => {
                exchange.reply(Verdict::Preflight)
            }
            Some(Action::Redirect(redirect)) => exchange.redirect(redirect, head),
            Some(Action::Direct(direct)) => exchange.direct(direct),
            Some(Action::Forward(forward)) => exchange.forward(forward, head, caller, now, narrator),
        };
        (exchange, step)
    }

    fn new(live: Arc<Live>, head: &impl Head, caller: Caller, dice: Dice) -> Self {
        Self {
            live,
            client: caller.remote,
            rule: None,
            destination: 0,
            cluster: None,
            dice,
            grpc: head.is_grpc() && head.tunnel().is_none(),
            tunnel: head.tunnel(),
            idempotent: matches!(head.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
            hash: None,
            cookie: None,
            cors: None,
            sending: Sending::default(),
            timeout: None,
            received: None,
            routed: None,
            abortion: None,
            faults: Faults::default(),
            faults_attempts: false,
            phase: Phase::Trying,
            attempts: 0,
            retries_left: 0,
            retries: Retries::default(),
            running: None,
            tried: Vec::new(),
            retry_slot: None,
            flags: Flags::NONE,
            status: 0,
            answered: false,
            events: Vec::new(),
        }
    }

    fn forward<N: Narrator>(
        &mut self,
        forward: &Forward,
        head: &impl Head,
        caller: Caller,
        now: Time,
        narrator: &mut N,
    ) -> Step {
        let trouble = match &forward.fault {
            Some(fault) => self.fault_of_request(fault),
            None => DrawnFault::default(),
        };
        self.abortion = trouble.abortion;
        self.destination = split::choose(forward, self.live.snapshot(), head, caller, self.dice);
        self.timeout = forward.time_allowed(head, self.grpc);
        self.retries_left = forward.retry.as_ref().map_or(0, |policy| policy.attempts);
        if let Some(Destination { cluster: Target::Cluster(id), .. }) = forward.destinations.get(self.destination) {
            self.cluster = Some(*id);
            if let Some(key) = self.live.snapshot().cluster(*id).balancer.hash_key() {
                let hashed = hash_of(key, head, caller);
                (self.hash, self.cookie) = (hashed.hash, hashed.cookie);
            }
        }
        self.sending = self.prepare(forward, head);
        if N::HEARS {
            self.tell(forward, head, caller, narrator);
        }
        match trouble.delay {
            Some(delay) => {
                self.flags = self.flags.with(Flags::DELAY_INJECTED);
                self.faults.delays += 1;
                self.wait(Phase::Delaying(now + delay))
            }
            None => self.depart(now),
        }
    }

    /// After any injected delay: the abort, or the first attempt.
    fn depart(&mut self, now: Time) -> Step {
        if let Some(abortion) = self.abortion {
            // Envoy: the filter of faults comes before that of origins.
            self.cors = None;
            self.faults.aborts += 1;
            return self.reply(abortion.verdict());
        }
        if self.is_preflight() {
            return self.reply(Verdict::Preflight);
        }
        let Some(id) = self.cluster else { return self.reply(Verdict::NoCluster) };
        if let Some(verdict) = self.sending.refused {
            return self.reply(verdict);
        }
        self.live.cluster(id).count_request(now);
        self.routed = Some(now);
        // Nothing of it has been read yet.
        self.attempt(Replay::Whole, now)
    }

    fn attempt(&mut self, replay: Replay, now: Time) -> Step {
        match self.faults_attempts.then(|| self.attempt_fault(replay, now)).flatten() {
            Some(step) => step,
            None => self.try_endpoint(now),
        }
    }

    fn try_endpoint(&mut self, now: Time) -> Step {
        let Some(id) = self.cluster else { return self.reply(Verdict::NoCluster) };
        let cluster = self.live.cluster(id);
        let Some(slot) = cluster.take(Limit::Requests) else { return self.reply(Verdict::Failed(Failure::Overflow)) };
        let endpoint = match self.live.snapshot().cluster(id).discovery {
            Discovery::Original => None,
            _ => match cluster.pick(&self.pick(now)) {
                None => return self.reply(Verdict::NoEndpoint),
                endpoint => endpoint,
            },
        };
        self.attempts += 1;
        self.running = Some(Running {
            connected: None,
            replayed: false,
            scored: false,
            active: endpoint.clone().map(Endpoint::enter),
            _slot: slot,
        });
        self.phase = Phase::Trying;
        Step::Try(Attempt { endpoint, number: self.attempts, at: now, fresh: false })
    }

    fn pick(&self, now: Time) -> Pick<'_> {
        let policy = self.retry_policy();
        Pick {
            hash: self.hash,
            tried: &self.tried,
            avoid_tried: policy.is_some_and(|policy| policy.avoid_tried),
            leave_levels: policy.is_some_and(|policy| policy.leave_levels),
            dice: self.dice,
            turn: self.attempts,
            now,
        }
    }

    /// Says that the last byte of the request has come. The route's timeout begins here.
    pub fn received(&mut self, now: Time) {
        self.received.get_or_insert(now);
    }

    /// Says that the attempt under way has a connection. The timeout of an attempt begins here, or when the request is received.
    pub fn connected(&mut self, now: Time) {
        if let Some(running) = &mut self.running {
            running.connected.get_or_insert(now);
        }
    }

    /// When to call [`Exchange::woke`] at the latest, and what for.
    pub fn next_tick(&self) -> Option<(Time, &'static str)> {
        let own = match self.phase {
            Phase::Delaying(until) => return Some((until, "injected delay")),
            Phase::BackingOff(until) => Some((until, "back-off")),
            Phase::Stalling { until, .. } => {
                let timeout = self.attempt_deadline().filter(|at| *at < until);
                Some(timeout.map_or((until, "injected delay"), |at| (at, "timeout of the attempt")))
            }
            Phase::Trying => self.attempt_deadline().map(|at| (at, "timeout of the attempt")),
            Phase::Responding => None,
            Phase::Over => return None,
        };
        let whole = self.deadline().map(|at| (at, "timeout of the route"));
        match (own, whole) {
            (Some(own), Some(whole)) if own.0 <= whole.0 => Some(own),
            (own, whole) => whole.or(own),
        }
    }

    /// When the route's timeout is over, once it runs.
    pub fn deadline(&self) -> Option<Time> {
        Some(self.clock_start()? + self.timeout?)
    }

    fn clock_start(&self) -> Option<Time> {
        // A fault within the first attempt comes before the request's body is read.
        let stalls = if let Phase::Stalling { since, .. } = self.phase { Some(since) } else { None };
        Some(self.received.or(stalls)?.max(self.routed?))
    }

    /// Envoy: an attempt's timeout that is no shorter than the route's is ignored.
    fn attempt_deadline(&self) -> Option<Time> {
        let allowed = self.retry_policy()?.per_try_timeout?;
        if self.timeout.is_some_and(|whole| allowed >= whole) {
            return None;
        }
        let began = match self.phase {
            Phase::Stalling { since, .. } => since,
            _ => self.running.as_ref()?.connected?,
        };
        Some(began.max(self.clock_start()?) + allowed)
    }

    /// Decides what is done at a tick. During an attempt this ends it: the driver drops what it was doing.
    pub fn woke(&mut self, replay: Replay, now: Time) -> Step {
        match self.phase {
            Phase::Delaying(_) => self.depart(now),
            _ if self.deadline().is_some_and(|deadline| now >= deadline) => {
                self.score(Score::Timeout, now);
                self.reply(Verdict::Timeout)
            }
            Phase::BackingOff(_) => self.attempt(replay, now),
            Phase::Stalling { until, .. } if now >= until => self.recover(replay, now),
            Phase::Stalling { .. } => {
                self.attempts += 1;
                let failure = Failure::PerTryTimeout;
                self.after(Outcome::Failed { failure, reused: false, written: true }, replay, now)
            }
            Phase::Trying | Phase::Responding | Phase::Over => {
                let failure = Failure::PerTryTimeout;
                self.after(Outcome::Failed { failure, reused: false, written: true }, replay, now)
            }
        }
    }

    /// Decides what is done when the request's body has not moved for too long. Envoy: the idle timeout of a stream.
    pub fn stalled(&mut self, who: Stall, now: Time) -> Step {
        if who == Stall::Endpoint {
            self.score(Score::Timeout, now);
        }
        self.reply(Verdict::Stalled(who))
    }

    /// Decides what is done after an attempt.
    pub fn after(&mut self, outcome: Outcome, replay: Replay, now: Time) -> Step {
        match outcome {
            Outcome::Response(head) => self.after_response(head, replay, now),
            Outcome::Failed { failure, reused, written } => {
                if replay == Replay::Whole && self.was_harmless(failure, reused, written) {
                    return self.replay(failure, now);
                }
                if let Some(score) = score_of(failure) {
                    self.score(score, now);
                }
                let wanted = self.retry_policy().is_some_and(|policy| policy.wants_after_failure(failure, written));
                match self.retry(wanted, replay, now) {
                    Some(step) => step,
                    None => self.reply(Verdict::Failed(failure)),
                }
            }
        }
    }

    fn after_response(&mut self, head: ResponseHead, replay: Replay, now: Time) -> Step {
        let status = match head.grpc_status {
            Some(grpc) if self.grpc => grpc_to_http(grpc.into()),
            _ => head.status,
        };
        let wanted = self.retry_policy().is_some_and(|policy| policy.wants_after(head));
        if wanted || status >= 500 {
            self.score(Score::Status(status), now);
        }
        self.status = status;
        if let Some(step) = self.retry(wanted, replay, now) {
            return step;
        }
        if self.retries.made > 0 && !wanted {
            self.retries.end = Some(RetryEnd::Success);
        }
        self.retry_slot = None;
        self.phase = Phase::Responding;
        self.answered = true;
        if self.opens_tunnel(head.status) {
            // Envoy: the route's timeout covers only the wait for the switch.
            self.timeout = None;
        }
        Step::Forward
    }

    fn wait(&mut self, phase: Phase) -> Step {
        self.phase = phase;
        self.next_tick().map_or(Step::Forward, |(at, _)| Step::Wait(at))
    }

    /// Says how a response that was passed on ended.
    pub fn ended(&mut self, end: End, now: Time) {
        if self.phase != Phase::Responding {
            return;
        }
        match end {
            End::Complete { grpc_status } => {
                let status = grpc_status.filter(|_| self.grpc).map_or(self.status, |grpc| grpc_to_http(grpc.into()));
                self.score(Score::Status(status), now);
            }
            End::Broken(failure) => {
                self.flags = self.flags.with(Verdict::Failed(failure).answer(false).flags);
                self.score(Score::LateReset, now);
            }
            End::TimedOut => {
                self.flags = self.flags.with(Flags::UPSTREAM_TIMEOUT);
                self.score(Score::Timeout, now);
            }
            End::CallerGone => self.flags = self.flags.with(Flags::DOWNSTREAM_TERMINATED),
            End::CallerReset => self.flags = self.flags.with(Flags::DOWNSTREAM_RESET),
            End::Stalled => self.flags = self.flags.with(Flags::STREAM_IDLE),
        }
        self.finish();
    }

    /// Judges the endpoint of the attempt under way, once.
    fn score(&mut self, score: Score, now: Time) {
        let (Some(running), Some(id)) = (&mut self.running, self.cluster) else { return };
        let Some(endpoint) = running.active.as_ref().map(Active::endpoint).filter(|_| !running.scored) else { return };
        running.scored = true;
        self.events.extend(self.live.cluster(id).score(endpoint, score, now));
    }
}
