//! What happens when, if no endpoint ever answers: the exchange is played to its end, and it says itself what comes next.
//!
//! An attempt that has a timeout of its own is left hanging until then. One that has none fails in the first way that the
//! rule's `retryOn` names, as soon as it has begun; without such a way it hangs until the route's timeout.

use leeboard_policy::exchange::Exchange;
use leeboard_policy::retry::{ResponseHead, RetryPolicy};
use leeboard_policy::step::{Attempt, Outcome, Replay, Step};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;

use super::Answered;

/// The most stretches that are told.
pub(super) const MOST: usize = 64;

/// What is done for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// `try`, `back-off`, `injected delay`, or `injected abort` for an attempt that reaches no endpoint.
    pub what: &'static str,
    /// Which attempt, from 1, for a `try`, and for a fault within an attempt.
    pub attempt: Option<u32>,
    /// The endpoint of a `try`; `None` when the cluster has none of its own.
    pub endpoint: Option<String>,
    /// When it begins at the earliest, from the request's beginning.
    pub from: Span,
    /// When it ends at the latest; `None` is never.
    pub until: Option<Span>,
    /// The longest that a `back-off` may be with another seed.
    pub at_most: Option<Span>,
    /// What ends it, or what must end it for the next to follow.
    pub ends: String,
}

/// What came of playing.
#[derive(Default)]
pub(super) struct Played {
    pub(super) timeline: Vec<Stretch>,
    /// The answer before anything was sent.
    pub(super) answer: Option<Answered>,
    /// The answer after attempts.
    pub(super) at_worst: Option<Answered>,
}

impl Played {
    /// Whether anything was sent to an endpoint.
    pub(super) fn tried(&self) -> bool {
        self.timeline.iter().any(|stretch| stretch.what == "try")
    }
}

/// Plays an exchange on from its first step.
pub(super) fn run(exchange: &mut Exchange, first: Step, now: Time) -> Played {
    let mut clock = Clock { began: now, now };
    let mut played = Played::default();
    let mut next = Some(first);
    let mut before = (0, 0);
    while let Some(step) = next.take().filter(|_| played.timeline.len() < MOST) {
        let (attempts, aborts) = (exchange.attempts(), exchange.faults().aborts);
        if attempts > before.0 && aborts > before.1 {
            played.timeline.push(aborted(attempts, &clock));
        }
        before = (attempts, aborts);
        next = match step {
            Step::Wait(until) => {
                played.timeline.push(waits(exchange, &clock, until));
                clock.now = until;
                Some(exchange.woke(Replay::Whole, until))
            }
            Step::Try(attempt) => {
                let (stretch, step) = hangs(exchange, &mut clock, &attempt);
                played.timeline.push(stretch);
                step
            }
            Step::Forward => None,
            Step::Reply(reply) => {
                let answered = Some(Answered::of(&reply, exchange.flags().to_string()));
                *(if played.tried() { &mut played.at_worst } else { &mut played.answer }) = answered;
                None
            }
        };
    }
    played
}

struct Clock {
    began: Time,
    now: Time,
}

impl Clock {
    fn since(&self, time: Time) -> Span {
        time - self.began
    }
}

/// An attempt that met an injected abort, which takes no time.
fn aborted(attempt: u32, clock: &Clock) -> Stretch {
    Stretch {
        what: "injected abort",
        attempt: Some(attempt),
        endpoint: None,
        from: clock.since(clock.now),
        until: Some(clock.since(clock.now)),
        at_most: None,
        ends: String::new(),
    }
}

fn waits(exchange: &Exchange, clock: &Clock, until: Time) -> Stretch {
    let what = exchange.next_tick().map_or("", |(_, what)| what);
    let cut = what.starts_with("timeout");
    let back_off = exchange.is_backing_off().then(|| exchange.retry_policy()).flatten();
    let made = exchange.retries().made;
    Stretch {
        what: if back_off.is_some() { "back-off" } else { "injected delay" },
        attempt: exchange.is_stalling().then(|| exchange.attempts() + 1),
        endpoint: None,
        from: clock.since(clock.now),
        until: Some(clock.since(until)),
        at_most: back_off.map(|policy| policy.longest_backoff(made)),
        ends: if cut { what.into() } else { String::new() },
    }
}

/// An attempt that nobody answers; `None` when it never ends.
fn hangs(exchange: &mut Exchange, clock: &mut Clock, attempt: &Attempt) -> (Stretch, Option<Step>) {
    let now = clock.now;
    exchange.connected(now);
    let tick = exchange.next_tick();
    let mut stretch = Stretch {
        what: "try",
        attempt: Some(attempt.number),
        endpoint: attempt.endpoint.as_ref().map(|endpoint| endpoint.address().to_string()),
        from: clock.since(now),
        until: tick.map(|(at, _)| clock.since(at)),
        at_most: None,
        ends: tick.map_or_else(String::new, |(_, why)| why.to_owned()),
    };
    let own = tick.is_some_and(|(_, why)| why == "timeout of the attempt");
    let wanted = if own { None } else { exchange.retry_policy().and_then(wanted) };
    let retries_left = exchange.retry_policy().is_some_and(|policy| exchange.retries().made < policy.attempts);
    let step = match (wanted.filter(|_| retries_left), tick) {
        (Some((outcome, words)), _) => {
            stretch.ends = format!("if {words}");
            Some(exchange.after(outcome, Replay::Whole, now))
        }
        (None, Some((at, _))) => {
            clock.now = at;
            Some(exchange.woke(Replay::Whole, at))
        }
        (None, None) => None,
    };
    (stretch, step)
}

/// The first way of failing that a policy repeats.
fn wanted(policy: &RetryPolicy) -> Option<(Outcome, String)> {
    let failures = [(Failure::ConnectRefused, false), (Failure::RefusedStream, true), (Failure::Terminated, true)];
    let failed = failures.into_iter().find(|(failure, written)| policy.wants_after_failure(*failure, *written));
    if let Some((failure, written)) = failed {
        return Some((Outcome::Failed { failure, reused: false, written }, failure.reason().to_owned()));
    }
    let statuses = policy.status_codes.iter().copied().chain([503, 409]);
    let head = |status| ResponseHead { status, grpc_status: None, rate_limited: false };
    let status = statuses.map(head).find(|head| policy.wants_after(*head));
    let limited = ResponseHead { rate_limited: true, ..head(429) };
    let grpc = (1..=16).map(|status| ResponseHead { grpc_status: Some(status), ..head(200) });
    let found = status.or_else(|| [limited].into_iter().chain(grpc).find(|head| policy.wants_after(*head)))?;
    let words = match found.grpc_status {
        Some(status) => format!("gRPC status {status}"),
        None => format!("status {}", found.status),
    };
    Some((Outcome::Response(found), words))
}
