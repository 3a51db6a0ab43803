//! Ejections, against a model that is told how attempts ended and when: who is set aside, for how long, who returns when.

use std::collections::BTreeMap;

use leeboard_policy::cluster::{Address, Outlier};
use leeboard_policy::outlier::{Cause, OutlierKind};
use leeboard_policy::step::{End, Outcome};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Verdict;
use leeboard_sim::{Conduct, Entry, Event, World};

use crate::scene::{Luck, Scene, address, assert_quiet, by_exchange};

/// What the model expects, or the trace tells: when, to whom, what.
type Happening = (Time, Address, OutlierKind);

/// An endpoint in the model.
#[derive(Default)]
struct Record {
    errors: u32,
    gateway: u32,
    local: u32,
    ejections: u32,
    /// How many base times its latest ejection was allowed, less one for each sweep that found it healthy since.
    times: u32,
    out: Option<(Time, Span)>,
}

struct Model<'r> {
    rules: &'r Outlier,
    records: Vec<Record>,
    swept: Time,
    happened: Vec<Happening>,
}

impl<'r> Model<'r> {
    fn new(rules: &'r Outlier, endpoints: usize) -> Self {
        let records = (0..endpoints).map(|_| Record::default()).collect();
        Self { rules, records, swept: Time(0), happened: Vec::new() }
    }

    /// All the sweeps up to a time, that included.
    fn pass_until(&mut self, now: Time) {
        while self.swept + self.rules.interval <= now {
            self.swept = self.swept + self.rules.interval;
            for (host, record) in self.records.iter_mut().enumerate() {
                match record.out {
                    None => record.times = record.times.saturating_sub(1),
                    Some((since, lasts)) if self.swept >= since + lasts => {
                        (record.out, record.errors, record.gateway) = (None, 0, 0);
                        self.happened.push((self.swept, address(0, host), OutlierKind::Returned));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// An attempt ended with this status, or with none: late, or broken off.
    fn ended(&mut self, host: usize, status: Option<u16>, late: bool, now: Time) {
        let (rules, record) = (self.rules, &mut self.records[host]);
        let full = |count: &mut u32, threshold: u32| {
            *count += 1;
            let full = threshold > 0 && *count >= threshold;
            *count = if full { 0 } else { *count };
            full
        };
        let cause = if status.is_none() && rules.split_local_origin {
            full(&mut record.local, rules.consecutive_local).then_some(Cause::ConsecutiveLocal)
        } else {
            record.local = 0;
            let counts_as = status.unwrap_or(if late { 504 } else { 503 });
            let listed = rules.error_codes.contains(&counts_as);
            let error = status.is_none() || if rules.error_codes.is_empty() { counts_as >= 500 } else { listed };
            if error {
                let gateway = (502..=504).contains(&counts_as);
                record.gateway = if gateway { record.gateway } else { 0 };
                let gateway = gateway && full(&mut record.gateway, rules.consecutive_gateway);
                let any = full(&mut record.errors, rules.consecutive_5xx);
                gateway.then_some(Cause::ConsecutiveGateway).or(any.then_some(Cause::Consecutive5xx))
            } else {
                (record.errors, record.gateway) = (0, 0);
                None
            }
        };
        if let Some(cause) = cause.filter(|_| record.out.is_none()) {
            let kind = self.eject(host, cause, now);
            self.happened.push((now, address(0, host), kind));
        }
    }

    fn eject(&mut self, host: usize, cause: Cause, now: Time) -> OutlierKind {
        let out = self.records.iter().filter(|record| record.out.is_some()).count();
        let percent = 100.0 * (out + 1) as f64 / self.records.len() as f64;
        if percent > f64::from(self.rules.max_ejection_percent) {
            return OutlierKind::Suppressed { cause };
        }
        let (base, most) = (self.rules.base_ejection, self.rules.max_ejection);
        let record = &mut self.records[host];
        if base.times(u64::from(record.times)).0 < most.0 + base.0 {
            record.times += 1;
        }
        record.ejections += 1;
        let lasts = base.times(u64::from(record.times)).min(most);
        record.out = Some((now, lasts));
        OutlierKind::Ejected { cause, lasts, number: record.ejections }
    }
}

fn rules(luck: &mut Luck) -> Outlier {
    let base = Span::from_secs(luck.between(1, 30));
    Outlier {
        consecutive_5xx: luck.between(0, 5) as u32,
        consecutive_gateway: luck.between(0, 4) as u32,
        split_local_origin: luck.percent(50),
        consecutive_local: luck.between(1, 4) as u32,
        error_codes: luck.one_of(&[vec![], vec![], vec![404, 503]]),
        interval: Span::from_secs(luck.between(1, 10)),
        base_ejection: base,
        max_ejection: luck.one_of(&[Span::from_secs(300), Span::from_secs(60)]).max(base),
        max_ejection_percent: luck.one_of(&[10, 30, 50, 99, 100, 100]),
    }
}

/// Some minutes with endpoints that fail for a while and recover.
fn live_through(world: &mut World, endpoints: usize, luck: &mut Luck) {
    for _ in 0..12 {
        let host = luck.between(0, endpoints as u64 - 1) as usize;
        let conduct = match luck.between(1, 3) {
            1 => luck.conduct(),
            2 => Conduct::status(503),
            _ => Conduct::status(200),
        };
        world.set_endpoint(address(0, host), conduct);
        let over = Span::from_secs(luck.between(5, 60));
        let arrivals = luck.arrivals(60, world.now(), over);
        world.play(&arrivals);
    }
}

fn happened(trace: &[Entry]) -> Vec<Happening> {
    let outlier = |entry: &Entry| match &entry.what {
        Event::Outlier(event) => {
            assert_eq!(entry.at, event.at);
            Some((event.at, event.endpoint.clone(), event.kind))
        }
        _ => None,
    };
    trace.iter().filter_map(outlier).collect()
}

/// Tells the model how every attempt ended.
fn model<'r>(rules: &'r Outlier, endpoints: usize, trace: &[Entry], now: Time) -> Model<'r> {
    let mut model = Model::new(rules, endpoints);
    let (mut whereto, mut statuses) = (BTreeMap::new(), BTreeMap::new());
    for entry in trace {
        model.pass_until(entry.at);
        let Some(exchange) = entry.exchange else { continue };
        match &entry.what {
            Event::Tries { endpoint: Some(endpoint), .. } => {
                let host = (0..endpoints).find(|host| address(0, *host) == *endpoint).expect("it is one of them");
                assert!(model.records[host].out.is_none(), "{endpoint} is used while it is out");
                whereto.insert(exchange, host);
            }
            // Headers alone are no success, but they can be a failure.
            Event::Meets(Outcome::Response(head)) if head.status >= 500 => {
                model.ended(whereto[&exchange], Some(head.status), false, entry.at);
                whereto.remove(&exchange);
            }
            Event::Meets(Outcome::Response(head)) => drop(statuses.insert(exchange, head.status)),
            Event::Ends(end) => {
                let status = matches!(end, End::Complete { .. }).then(|| statuses.get(&exchange).copied()).flatten();
                if let Some(host) = whereto.get(&exchange) {
                    model.ended(*host, status, *end == End::TimedOut, entry.at);
                }
            }
            Event::Meets(Outcome::Failed { .. }) => model.ended(whereto[&exchange], None, false, entry.at),
            Event::Wakes("timeout of the route") => model.ended(whereto[&exchange], None, true, entry.at),
            Event::Replies(Verdict::NoEndpoint) => {
                assert!(model.records.iter().all(|record| record.out.is_some()), "someone was healthy");
            }
            _ => {}
        }
    }
    model.pass_until(now);
    model
}

#[test]
fn who_is_set_aside_and_who_returns_is_as_the_model_says() {
    let (mut ejected, mut again, mut suppressed, mut unserved) = (0, 0, 0, 0);
    for seed in 0..100 {
        let mut luck = Luck::new(seed);
        let endpoints = luck.between(1, 8) as usize;
        let mut scene = Scene::new(&[endpoints]);
        let rules = rules(&mut luck);
        scene.clusters[0].outlier = Some(rules.clone());
        scene.clusters[0].balancer = luck.balancer();
        scene.forward.timeout = Some(luck.millis(100, 800));
        let mut world = scene.world(seed);
        live_through(&mut world, endpoints, &mut luck);
        world.wait(Span(rules.max_ejection.0 + rules.interval.0));
        let trace = world.take_trace();
        let happened = happened(&trace);
        assert_eq!(happened, model(&rules, endpoints, &trace, world.now()).happened, "seed {seed}: {rules:?}");
        check_plainly(&rules, endpoints, &happened);
        assert_eq!(world.live().clusters()[0].ejected(), 0, "seed {seed}: all are back");
        assert_quiet(&world);
        let count = |is: fn(&OutlierKind) -> bool| happened.iter().filter(|(.., kind)| is(kind)).count();
        ejected += count(|kind| matches!(kind, OutlierKind::Ejected { .. }));
        again += count(|kind| matches!(kind, OutlierKind::Ejected { number: 3.., .. }));
        suppressed += count(|kind| matches!(kind, OutlierKind::Suppressed { .. }));
        let last = |entries: Vec<&Entry>| entries.last().is_some_and(|e| e.what == Event::Replies(Verdict::NoEndpoint));
        unserved += by_exchange(&trace).into_values().filter(|entries| last(entries.clone())).count();
    }
    // The comparison is of use only if all of it happened.
    assert!(
        ejected > 300 && again > 50 && suppressed > 50 && unserved > 20,
        "{ejected} {again} {suppressed} {unserved}"
    );
}

/// The promises to the user, without the model.
fn check_plainly(rules: &Outlier, endpoints: usize, happened: &[Happening]) {
    let mut out: Vec<(&Address, Time, Span)> = Vec::new();
    for (at, endpoint, kind) in happened {
        match kind {
            OutlierKind::Ejected { lasts, .. } => {
                assert!(out.iter().all(|(one, ..)| one != &endpoint), "{endpoint} is set aside twice");
                assert!(*lasts >= rules.base_ejection && *lasts <= rules.max_ejection);
                out.push((endpoint, *at, *lasts));
                assert!(out.len() * 100 <= rules.max_ejection_percent as usize * endpoints, "{} out", out.len());
            }
            OutlierKind::Returned => {
                let place = out.iter().position(|(one, ..)| one == &endpoint).expect("it was out");
                let (_, since, lasts) = out.remove(place);
                assert_eq!(at.0 % rules.interval.0, 0, "a return between sweeps");
                assert!(*at >= since + lasts && *at - (since + lasts) < rules.interval, "not at the first sweep");
            }
            OutlierKind::Suppressed { .. } => {}
        }
    }
}

#[test]
fn a_row_of_ejections_lasts_longer_each_time() {
    let rules = Outlier {
        consecutive_5xx: 1,
        interval: Span::from_secs(10),
        base_ejection: Span::from_secs(30),
        max_ejection: Span::from_secs(100),
        max_ejection_percent: 100,
        ..Outlier::default()
    };
    let mut scene = Scene::new(&[1]);
    scene.clusters[0].outlier = Some(rules);
    let mut world = scene.world(1);
    world.set_endpoint(address(0, 0), Conduct::status(500));
    let mut luck = Luck::new(1);
    for _ in 0..400 {
        world.play(&luck.arrivals(1, world.now(), Span(0)));
        world.wait(Span::from_secs(1));
    }
    let lasts = happened(&world.take_trace()).into_iter().filter_map(|(.., kind)| match kind {
        OutlierKind::Ejected { lasts, .. } => Some(lasts.0 / 1_000_000_000),
        _ => None,
    });
    assert_eq!(lasts.take(5).collect::<Vec<_>>(), [30, 60, 90, 100, 100]);
}
