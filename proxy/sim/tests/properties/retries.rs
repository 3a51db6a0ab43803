//! Retries: how many, where to, after which pause, and never beyond the route's timeout.

use std::collections::BTreeSet;
use std::sync::Arc;

use leeboard_policy::cluster::Address;
use leeboard_policy::dice::Share;
use leeboard_policy::retry::{RetryOn, RetryPolicy};
use leeboard_policy::route::Fault;
use leeboard_policy::step::{End, Outcome};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::{Failure, Verdict};
use leeboard_sim::{Arrival, Conduct, Entry, Event};

use crate::scene::{Luck, Scene, address, assert_quiet, by_exchange};

/// What is allowed to happen.
struct Rules {
    policy: RetryPolicy,
    endpoints: usize,
    timeout: Option<Span>,
    delay: Option<Span>,
}

/// What has happened so far in one exchange.
struct Watched<'r> {
    rules: &'r Rules,
    began: Time,
    tried: Vec<Address>,
    number: u32,
    repeated: bool,
    /// When the attempt under way had its connection.
    connected: Option<Time>,
    /// Whether the last attempt ended in a way that asks for another.
    wanted: bool,
    retries: u32,
    back: Option<Time>,
    /// Every pause as a part of its bound, when the timeout did not cut it short.
    pauses: Vec<f64>,
}

impl<'r> Watched<'r> {
    fn new(rules: &'r Rules, began: Time) -> Self {
        let (tried, pauses) = (Vec::new(), Vec::new());
        let (number, retries) = (0, 0);
        let (repeated, wanted) = (false, false);
        Self { rules, began, tried, number, repeated, connected: None, wanted, retries, back: None, pauses }
    }

    /// When the route's time is over. It begins when an injected delay is.
    fn deadline(&self) -> Option<Time> {
        Some(self.departure() + self.rules.timeout?)
    }

    fn departure(&self) -> Time {
        self.began + self.rules.delay.unwrap_or_default()
    }

    fn see(&mut self, entry: &Entry) {
        let at = entry.at;
        assert!(self.deadline().is_none_or(|deadline| at <= deadline), "{entry:?} is too late");
        self.in_attempt_time(at);
        match &entry.what {
            Event::Began { .. } | Event::Queues | Event::Connects | Event::Outlier(_) => {}
            Event::Connected => self.connected = Some(at),
            Event::Tries { endpoint: Some(endpoint), number, fresh } => self.tries(endpoint, *number, *fresh, at),
            Event::Meets(outcome) => {
                self.connected = None;
                self.wanted = match outcome {
                    Outcome::Response(head) => head.status >= 500,
                    Outcome::Failed { failure, .. } => *failure != Failure::Overflow,
                };
            }
            Event::Wakes(_) if self.deadline() == Some(at) => {}
            Event::Wakes("timeout of the attempt") => {
                let allowed = self.rules.policy.per_try_timeout.expect("an attempt's time is limited");
                let connected = self.connected.take().expect("an attempt's time begins with its connection");
                assert_eq!(at, connected + allowed);
                self.wanted = true;
            }
            Event::Wakes(_) => assert_eq!(Some(at), self.back.or(Some(self.departure()))),
            Event::Waits { until } if self.number == 0 => assert_eq!(*until, self.departure()),
            Event::Waits { until } => self.waits(*until, at),
            Event::Forwards { .. } | Event::Replies(Verdict::Failed(_)) => {
                let all = self.number == self.rules.policy.attempts + 1;
                assert!(!self.wanted || all, "given up after {} of {}", self.number, self.rules.policy.attempts + 1);
            }
            Event::Ends(End::TimedOut) | Event::Replies(Verdict::Timeout) => assert_eq!(Some(at), self.deadline()),
            Event::Ends(_) => {}
            other => panic!("{other:?} has no reason here"),
        }
    }

    /// An attempt's own timeout counts when it is shorter than the route's. A connection that is never made has no such time.
    fn in_attempt_time(&self, at: Time) {
        let allowed = self.rules.policy.per_try_timeout;
        let allowed = allowed.filter(|allowed| self.rules.timeout.is_none_or(|whole| *allowed < whole));
        if let (Some(connected), Some(allowed)) = (self.connected, allowed) {
            assert!(at <= connected + allowed, "an attempt of {}", at - connected);
        }
    }

    fn tries(&mut self, endpoint: &Address, number: u32, fresh: bool, at: Time) {
        assert!(self.deadline().is_none_or(|deadline| at < deadline), "an attempt at the deadline");
        self.connected = None;
        if fresh {
            assert!(!self.repeated && number == self.number && self.tried.last() == Some(endpoint));
            self.repeated = true;
            return;
        }
        assert_eq!(number, self.number + 1);
        assert!(number <= self.rules.policy.attempts + 1, "attempt {number}");
        assert!(number == 1 || (self.wanted && self.back == Some(at)), "a retry that nothing asked for");
        let all: BTreeSet<Address> = (0..self.rules.endpoints).map(|host| address(0, host)).collect();
        assert!(all.contains(endpoint));
        if self.rules.policy.avoid_tried && all.iter().any(|one| !self.tried.contains(one)) {
            assert!(!self.tried.contains(endpoint), "{endpoint} again, with others untried: {:?}", self.tried);
        }
        self.tried.push(endpoint.clone());
        (self.number, self.repeated, self.wanted) = (number, false, false);
    }

    fn waits(&mut self, until: Time, at: Time) {
        assert!(self.wanted && until >= at);
        assert!(self.deadline().is_none_or(|deadline| until <= deadline), "a pause beyond the deadline");
        let base = self.rules.policy.backoff;
        let bound = base.times(1 << self.retries).min(base.times(10));
        assert!((until - at).0 < bound.0.max(1), "a pause of {} of {bound}", until - at);
        if bound > Span(0) && self.deadline() != Some(until) {
            self.pauses.push((until - at).0 as f64 / bound.0 as f64);
        }
        self.retries += 1;
        self.back = Some(until);
    }
}

fn rules(luck: &mut Luck) -> Rules {
    let per_try_timeout = luck.percent(50).then(|| luck.millis(20, 300));
    let policy = RetryPolicy {
        attempts: luck.between(0, 6) as u32,
        per_try_timeout,
        on: RetryOn::SERVER_ERROR,
        status_codes: Vec::new(),
        backoff: Span::from_millis(luck.one_of(&[0, 1, 25, 25, 100])),
        avoid_tried: luck.percent(80),
        leave_levels: luck.percent(20),
    };
    let timeout = luck.percent(60).then(|| luck.millis(50, 1_500));
    let delay = luck.percent(30).then(|| luck.millis(1, 500));
    Rules { policy, endpoints: luck.between(1, 6) as usize, timeout, delay }
}

fn scene(rules: &Rules, luck: &mut Luck) -> Scene {
    let mut scene = Scene::new(&[rules.endpoints]);
    scene.clusters[0].balancer = luck.balancer();
    scene.forward.timeout = rules.timeout;
    scene.forward.retry = Some(Arc::new(rules.policy.clone()));
    scene.forward.fault =
        Some(Box::new(Fault { delay: rules.delay.map(|delay| (delay, Share::ALL)), ..Fault::default() }));
    scene
}

/// The arrivals of [`Luck`], with refused streams among what they meet and nothing that hangs for ever.
fn arrivals(rules: &Rules, luck: &mut Luck) -> Vec<Arrival> {
    let ends = rules.timeout.is_some() || rules.policy.per_try_timeout.is_some();
    let mut arrivals = luck.arrivals(25, Time(0), Span::from_secs(3));
    for conduct in arrivals.iter_mut().flat_map(|arrival| &mut arrival.script) {
        if luck.percent(10) || (*conduct == Conduct::Hangs && !ends) {
            *conduct = Conduct::Fails(Failure::RefusedStream);
        }
    }
    arrivals
}

#[test]
fn every_attempt_and_every_pause_is_within_the_policy() {
    let (mut pauses, mut most, mut repeated, mut expired, mut cut) = (Vec::new(), 0, 0, 0, 0);
    for seed in 0..250 {
        let mut luck = Luck::new(seed);
        let rules = rules(&mut luck);
        let mut world = scene(&rules, &mut luck).world(seed);
        let seen = world.play(&arrivals(&rules, &mut luck));
        let trace = world.take_trace();
        for ((exchange, entries), one) in by_exchange(&trace).into_iter().zip(&seen) {
            let mut watched = Watched::new(&rules, one.began);
            for entry in &entries {
                watched.see(entry);
            }
            assert_eq!((watched.number, &watched.tried), (one.attempts, &one.endpoints), "seed {seed}, {exchange}");
            // A timeout that cuts an answer short is told by the same details.
            let timed_out = entries.iter().any(|e| e.what == Event::Replies(Verdict::Timeout));
            let ran_out = watched.wanted && watched.number == rules.policy.attempts + 1 && !timed_out;
            assert_eq!(one.flags.contains("URX"), ran_out, "seed {seed}, {exchange}: {one:?}");
            pauses.extend(watched.pauses);
            most = most.max(one.attempts);
            repeated += entries.iter().filter(|e| matches!(e.what, Event::Tries { fresh: true, .. })).count();
            expired += usize::from(timed_out);
            cut += entries.iter().filter(|e| e.what == Event::Ends(End::TimedOut)).count();
        }
        assert_eq!(seen.len(), 25);
        assert_quiet(&world);
    }
    // The rules above are of use only if all of it happened.
    assert!(most == 7 && repeated > 100 && expired > 100 && cut > 50, "{most} {repeated} {expired} {cut}");
    let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
    assert!(pauses.len() > 2_000 && (0.47..0.53).contains(&mean), "{} pauses, {mean}", pauses.len());
}

#[test]
fn endpoints_are_tried_again_when_the_policy_does_not_mind() {
    let mut scene = Scene::new(&[3]);
    let mut again = 0;
    for avoid_tried in [true, false] {
        let on = RetryOn::SERVER_ERROR;
        scene.forward.retry =
            Some(Arc::new(RetryPolicy { attempts: 2, on, avoid_tried, ..RetryPolicy::istio_default() }));
        let mut world = scene.world(1);
        let arrival =
            Arrival { at: Time(0), request: Luck::new(1).request(), script: vec![Conduct::after(503, Span(1))] };
        let seen = world.play(&vec![arrival; 100]);
        again = seen.iter().filter(|one| one.endpoints.iter().collect::<BTreeSet<_>>().len() < 3).count();
        assert!(!avoid_tried || again == 0, "{again} went to an endpoint twice");
        assert_quiet(&world);
    }
    // 21 of 27 draws of three among three repeat one, if all are alike.
    assert!((50..=95).contains(&again), "{again}");
}

#[test]
fn without_a_policy_there_is_one_attempt() {
    for seed in 0..50 {
        let mut luck = Luck::new(seed);
        let mut scene = Scene::new(&[3]);
        scene.forward.timeout = Some(Span::from_secs(1));
        let mut world = scene.world(seed);
        for one in world.play(&luck.arrivals(20, Time(0), Span::from_secs(2))) {
            assert_eq!((one.attempts, one.endpoints.len()), (1, 1), "seed {seed}");
            assert!(one.took <= Span::from_secs(1) && one.status != 0, "seed {seed}");
        }
        assert_quiet(&world);
    }
}
