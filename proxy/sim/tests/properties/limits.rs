//! Limits, against a ledger of who holds what: never more than allowed, nobody turned away or kept waiting without need,
//! and nothing held in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::cluster::Limits;
use leeboard_policy::limits::Limit;
use leeboard_policy::retry::{RetryOn, RetryPolicy};
use leeboard_policy::step::Outcome;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::{Failure, Verdict};
use leeboard_sim::{Arrival, Conduct, Entry, Event, World};

use crate::scene::{Luck, Scene, assert_quiet};

/// What one exchange holds, in the order of [`Limit::ALL`].
struct Holder {
    cluster: Arc<str>,
    holds: [bool; 4],
    attempts: u32,
    /// Whether its last attempt ended in a way that asks for another.
    wanted: bool,
}

/// Who holds what in all clusters, as the trace tells it.
struct Ledger<'w> {
    world: &'w World,
    retries: u32,
    holders: BTreeMap<u64, Holder>,
    turned_away: BTreeMap<Arc<str>, [u64; 4]>,
    at: Time,
    /// How often a cluster was full, by what for.
    full: [usize; 4],
}

impl<'w> Ledger<'w> {
    fn new(world: &'w World, retries: u32) -> Self {
        let (holders, turned_away) = (BTreeMap::new(), BTreeMap::new());
        Self { world, retries, holders, turned_away, at: Time(0), full: [0; 4] }
    }

    fn held(&self, cluster: &str, limit: Limit) -> u32 {
        let of_it = self.holders.values().filter(|holder| &*holder.cluster == cluster);
        of_it.filter(|holder| holder.holds[limit as usize]).count() as u32
    }

    fn most(&self, cluster: &str, limit: Limit) -> Option<u32> {
        let id = self.world.live().snapshot().cluster_named(cluster).expect("it is one of ours");
        self.world.live().snapshot().cluster(id).limits.most(limit)
    }

    fn is_full(&self, cluster: &str, limit: Limit) -> bool {
        self.most(cluster, limit) == Some(self.held(cluster, limit))
    }

    fn refuse(&mut self, cluster: &Arc<str>, limit: Limit) {
        // Nobody passes those who wait, who are served at the same moment.
        let passes = limit == Limit::Connections && self.held(cluster, Limit::Pending) > 0;
        assert!(passes || self.is_full(cluster, limit), "{limit:?} of {cluster} refused with places left");
        self.turned_away.entry(cluster.clone()).or_default()[limit as usize] += 1;
    }

    fn see(&mut self, entry: &Entry) {
        if entry.at > self.at {
            self.nobody_waits_without_need();
            self.at = entry.at;
        }
        let Some(exchange) = entry.exchange else { return };
        if let Event::Began { cluster: Some(cluster), .. } = &entry.what {
            let holder = Holder { cluster: cluster.clone(), holds: [false; 4], attempts: 0, wanted: false };
            self.holders.insert(exchange, holder);
            return;
        }
        let cluster = self.holders[&exchange].cluster.clone();
        self.before(exchange, &cluster, &entry.what);
        self.holders.get_mut(&exchange).expect("it has begun").change(&entry.what);
        if matches!(entry.what, Event::Ends(_) | Event::Replies(_)) {
            self.holders.remove(&exchange);
        }
        for limit in Limit::ALL {
            let (held, most) = (self.held(&cluster, limit), self.most(&cluster, limit));
            assert!(most.is_none_or(|most| held <= most), "{held} of {most:?} {limit:?} in {cluster} after {entry:?}");
            self.full[limit as usize] += usize::from(most == Some(held));
        }
    }

    /// Whether those who are turned away had to be.
    fn before(&mut self, exchange: u64, cluster: &Arc<str>, what: &Event) {
        let holder = &self.holders[&exchange];
        let attempts_left = holder.attempts <= self.retries;
        match what {
            Event::Queues => self.refuse(cluster, Limit::Connections),
            Event::Meets(Outcome::Failed { failure: Failure::Overflow, .. }) => {
                self.refuse(cluster, Limit::Connections);
                self.refuse(cluster, Limit::Pending);
            }
            Event::Replies(Verdict::Failed(Failure::Overflow)) if !holder.holds[Limit::Requests as usize] => {
                self.refuse(cluster, Limit::Requests);
            }
            Event::Forwards { .. } | Event::Replies(Verdict::Failed(_)) if holder.wanted && attempts_left => {
                self.refuse(cluster, Limit::Retries);
            }
            _ => {}
        }
    }

    fn nobody_waits_without_need(&self) {
        for holder in self.holders.values().filter(|holder| holder.holds[Limit::Pending as usize]) {
            assert!(self.is_full(&holder.cluster, Limit::Connections), "someone waits for a free connection");
        }
    }
}

impl Holder {
    fn change(&mut self, what: &Event) {
        let [connection, pending, request, retry] = &mut self.holds;
        match what {
            Event::Tries { number, .. } => {
                (self.attempts, self.wanted) = (*number, false);
                *request = true;
            }
            Event::Queues => *pending = true,
            Event::Connects => (*connection, *pending) = (true, false),
            Event::Meets(outcome) => {
                // A response that is passed on keeps its connection.
                *connection &= matches!(outcome, Outcome::Response(_));
                (*pending, *retry) = (false, false);
                self.wanted = match outcome {
                    Outcome::Response(head) => head.status >= 500,
                    Outcome::Failed { failure, .. } => *failure != Failure::Overflow,
                };
            }
            // The timeout of an attempt ends it; a back-off that is over keeps its retry.
            Event::Wakes("timeout of the attempt") => {
                (*connection, *pending, *retry) = (false, false, false);
                self.wanted = true;
            }
            Event::Wakes(_) => (*connection, *pending) = (false, false),
            Event::Waits { .. } => (*connection, *request, *retry) = (false, false, true),
            _ => {}
        }
    }
}

fn limits(luck: &mut Luck) -> Limits {
    let mut some = |most| luck.percent(70).then(|| luck.between(0, most) as u32);
    Limits {
        connections: some(6).map(|n| n.max(1)),
        pending: some(5),
        requests: some(12),
        retries: some(3),
        budget: None,
    }
}

/// Bursts and a steady stream.
fn arrivals(luck: &mut Luck) -> Vec<Arrival> {
    let mut arrivals = luck.arrivals(80, Time(0), Span::from_secs(3));
    for burst in 1..=3 {
        let many = luck.between(1, 20) as usize;
        arrivals.extend(luck.arrivals(many, Time(Span::from_secs(burst).0), Span(0)));
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    arrivals
}

#[test]
fn no_place_is_taken_beyond_a_limit_nor_refused_below_it() {
    let (mut full, mut refused) = ([0; 4], [0; 4]);
    for seed in 0..120 {
        let mut luck = Luck::new(seed);
        let mut scene = Scene::new(&[3, 2]);
        for cluster in &mut scene.clusters {
            (cluster.limits, cluster.balancer) = (limits(&mut luck), luck.balancer());
        }
        scene.forward.timeout = Some(luck.millis(300, 2_000));
        let retries = luck.between(0, 3) as u32;
        let per_try_timeout = luck.percent(40).then(|| luck.millis(50, 250));
        let on = RetryOn::SERVER_ERROR;
        scene.forward.retry =
            Some(Arc::new(RetryPolicy { attempts: retries, per_try_timeout, on, ..RetryPolicy::istio_default() }));
        let mut world = scene.world(seed);
        let arrivals = arrivals(&mut luck);
        let seen = world.play(&arrivals);
        assert!(seen.iter().all(|one| one.status != 0) && seen.len() == arrivals.len(), "seed {seed}");
        let trace = world.take_trace();
        let mut ledger = Ledger::new(&world, retries);
        trace.iter().for_each(|entry| ledger.see(entry));
        assert!(ledger.holders.is_empty(), "seed {seed}: all exchanges end");
        for cluster in world.live().clusters() {
            let found = Limit::ALL.map(|limit| cluster.counts.overflows(limit));
            let expected = ledger.turned_away.get(&cluster.name).copied().unwrap_or_default();
            assert_eq!(found, expected, "seed {seed}: overflows of {}", cluster.name);
            (0..4).for_each(|limit| refused[limit] += expected[limit]);
        }
        (0..4).for_each(|limit| full[limit] += ledger.full[limit]);
        assert_quiet(&world);
    }
    // The ledger is of use only if every limit was reached.
    assert!(full.iter().all(|times| *times > 500) && refused.iter().all(|times| *times > 50), "{full:?} {refused:?}");
}

#[test]
fn who_waits_is_served_in_the_order_of_arrival() {
    let mut scene = Scene::new(&[1]);
    scene.clusters[0].limits = Limits { connections: Some(2), ..Limits::default() };
    for seed in 0..20 {
        let mut luck = Luck::new(seed);
        let mut world = scene.world(seed);
        let mut arrivals = luck.arrivals(30, Time(0), Span::from_millis(50));
        for arrival in &mut arrivals {
            arrival.script = vec![Conduct::after(200, luck.millis(10, 90))];
        }
        let seen = world.play(&arrivals);
        let served: Vec<Time> = seen.iter().map(|one| one.began + one.started.expect("it is served")).collect();
        assert!(served.is_sorted(), "seed {seed}: {served:?}");
        assert!(served.iter().zip(&seen).any(|(at, one)| *at > one.began), "seed {seed}: nobody waited");
        assert_quiet(&world);
    }
}

#[test]
fn callers_without_an_answer_hold_nothing_when_they_are_gone() {
    let mut scene = Scene::new(&[2]);
    scene.clusters[0].limits = Limits { connections: Some(1), pending: Some(1), ..Limits::default() };
    let mut world = scene.world(1);
    let hanging = Luck::new(1).arrivals(3, Time(0), Span(0)).into_iter();
    let hanging: Vec<_> = hanging.map(|arrival| Arrival { script: vec![Conduct::Hangs], ..arrival }).collect();
    let statuses: Vec<u16> = world.play(&hanging).iter().map(|one| one.status).collect();
    assert_eq!(statuses, [0, 0, 503], "one hangs, one waits, one is turned away");
    let abandoned = world.take_trace().iter().filter(|entry| entry.what == Event::Abandoned).count();
    assert_eq!(abandoned, 2);
    assert_quiet(&world);
}

#[test]
fn who_tries_again_does_not_pass_those_who_wait() {
    let mut scene = Scene::new(&[1]);
    scene.clusters[0].limits = Limits { connections: Some(1), ..Limits::default() };
    scene.forward.retry = Some(Arc::new(RetryPolicy {
        attempts: 1,
        on: RetryOn::SERVER_ERROR,
        per_try_timeout: None,
        backoff: Span(0),
        ..RetryPolicy::istio_default()
    }));
    let mut world = scene.world(1);
    let mut arrivals = Luck::new(1).arrivals(2, Time(0), Span(0));
    let slow = |status| Conduct::after(status, Span::from_millis(10));
    arrivals[0].script = vec![slow(503), slow(200)];
    arrivals[1].script = vec![slow(200)];
    let seen = world.play(&arrivals);
    assert_eq!(seen[1].started, Some(Span::from_millis(10)), "as soon as the first attempt is over");
    assert_eq!([seen[0].status, seen[1].status], [200, 200]);
    assert_quiet(&world);
}
