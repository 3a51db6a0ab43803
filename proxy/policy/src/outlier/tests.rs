//! Ejection in tables: what ejects, how many may go, and how long for.

extern crate std;

use super::*;
use crate::cluster::{Balancer, Cluster, ClusterId};
use crate::dice::{Dice, Purpose};
use crate::live::tests::{cluster, reload};
use crate::live::{Live, LiveCluster};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A cluster of `n` endpoints that may all be ejected.
fn watched(n: usize, rules: Outlier) -> Live {
    let cluster = cluster("a", Balancer::Random, &vec![1; n]);
    reload(None, vec![Cluster { outlier: Some(rules), ..cluster }])
}

fn all_may_go() -> Outlier {
    Outlier { max_ejection_percent: 100, ..Outlier::default() }
}

fn only(live: &Live) -> &LiveCluster {
    live.cluster(ClusterId(0))
}

fn event(cluster: &LiveCluster, index: usize, score: Score, now: Time) -> Option<OutlierKind> {
    let event = cluster.score(&cluster.endpoints()[index], score, now)?;
    assert_eq!((&*event.cluster, &event.endpoint, event.at), ("a", cluster.endpoints()[index].address(), now));
    Some(event.kind)
}

/// `o` 200, `5` 500, `3` 503, `4` 504, `9` 429, `c` connect failure, `r` reset, `l` late reset, `t` timeout.
fn score(letter: char) -> Score {
    match letter {
        'o' => Score::Status(200),
        '5' => Score::Status(500),
        '3' => Score::Status(503),
        '4' => Score::Status(504),
        '9' => Score::Status(429),
        'c' => Score::ConnectFailure,
        'r' => Score::Reset,
        'l' => Score::LateReset,
        't' => Score::Timeout,
        other => panic!("no score is written {other}"),
    }
}

#[test]
fn what_ejects() {
    let any = |n| Outlier { consecutive_5xx: n, ..all_may_go() };
    let gateway = |n| Outlier { consecutive_5xx: 0, consecutive_gateway: n, ..all_may_go() };
    let split = |http, local| Outlier {
        consecutive_5xx: http,
        consecutive_local: local,
        split_local_origin: true,
        ..all_may_go()
    };
    let listed = |codes: &[u16]| Outlier { error_codes: codes.to_vec(), ..any(3) };
    let (http, gate, local) = (Cause::Consecutive5xx, Cause::ConsecutiveGateway, Cause::ConsecutiveLocal);
    // The last letter is the one that ejects, if any does.
    #[rustfmt::skip]
    let table: Vec<(Outlier, &str, Option<Cause>)> = vec![
        (any(5), "5353", None),
        (any(5), "53535", Some(http)),
        (any(5), "5555o5555", None),
        (any(5), "5555o55555", Some(http)),
        (any(0), "5555555555", None),
        (any(1), "5", Some(http)),
        (any(3), "999", None),
        // Local failures are 503 and 504, late ones too, unless they are split off.
        (any(5), "crlt3", Some(http)),
        (any(5), "lllll", Some(http)),
        (gateway(4), "crlt", Some(gate)),
        // A 500 ends a row of gateway errors, but not one of errors.
        (gateway(3), "335334", Some(gate)),
        (gateway(3), "33533", None),
        (gateway(0), "3333333333", None),
        (Outlier { consecutive_gateway: 2, ..any(3) }, "53o533", Some(gate)),
        (Outlier { consecutive_gateway: 3, ..any(3) }, "333", Some(gate)),
        (Outlier { consecutive_gateway: 3, ..any(3) }, "335", Some(http)),
        // Listed codes are the only statuses that count, but local failures do in any case.
        (listed(&[429]), "999", Some(http)),
        (listed(&[429]), "555333", None),
        (listed(&[429]), "995", None),
        (listed(&[429]), "995999", Some(http)),
        (listed(&[429]), "9c9", Some(http)),
        (Outlier { consecutive_gateway: 2, ..listed(&[503]) }, "33", Some(gate)),
        // Split: local failures are counted by themselves, and only a whole response ends their row.
        (split(5, 2), "tt", Some(local)),
        (split(5, 2), "rr", Some(local)),
        (split(5, 2), "cl", Some(local)),
        (split(5, 2), "totot", None),
        (split(5, 2), "t5t5t", None),
        (split(3, 0), "tttttttt", None),
        (split(3, 5), "555", Some(http)),
        (split(3, 5), "5t5t5", Some(http)),
        (split(3, 5), "ttt", None),
    ];
    for (rules, scores, expected) in table {
        let live = watched(1, rules.clone());
        let mut causes = Vec::new();
        for (n, letter) in scores.chars().enumerate() {
            match event(only(&live), 0, score(letter), Time(0)) {
                Some(OutlierKind::Ejected { cause, .. }) => causes.push((n + 1, cause)),
                Some(other) => panic!("{other:?}"),
                None => {}
            }
        }
        let wanted: Vec<_> = expected.into_iter().map(|cause| (scores.len(), cause)).collect();
        assert_eq!(causes, wanted, "{scores} under {rules:?}");
        assert_eq!(only(&live).endpoints()[0].ejected(), expected.is_some());
    }
}

#[test]
fn how_many_may_be_out() {
    #[rustfmt::skip]
    let table = [
        // endpoints, most percent, out
        (1, 10, 0), (1, 99, 0), (1, 100, 1),
        (2, 10, 0), (2, 49, 0), (2, 50, 1), (2, 99, 1), (2, 100, 2),
        (3, 33, 0), (3, 34, 1), (3, 50, 1), (3, 67, 2),
        (4, 50, 2),
        (9, 10, 0), (10, 10, 1), (10, 25, 2), (20, 10, 2),
        (10, 0, 0),
    ];
    for (total, percent, out) in table {
        let live = watched(total, Outlier { consecutive_5xx: 1, max_ejection_percent: percent, ..Outlier::default() });
        let cluster = only(&live);
        for index in 0..total {
            let cause = Cause::Consecutive5xx;
            let kind = event(cluster, index, Score::Status(500), Time(0)).expect("one error is enough");
            let expected = if index < out {
                OutlierKind::Ejected { cause, lasts: Span::from_secs(30), number: 1 }
            } else {
                OutlierKind::Suppressed { cause }
            };
            assert_eq!(kind, expected, "number {index} of {total} at {percent} %");
        }
        let ejected = cluster.endpoints().iter().filter(|e| e.ejected()).count();
        assert_eq!((ejected, cluster.ejected() as usize), (out, out), "{total} at {percent} %");
    }
}

#[test]
fn one_that_may_not_go_asks_again_after_as_many_errors() {
    let live = watched(2, Outlier { consecutive_5xx: 3, ..Outlier::default() });
    let suppressed = |_: &u32| event(only(&live), 0, Score::Status(500), Time(0)).is_some();
    let asked: Vec<_> = (1..=9).filter(suppressed).collect();
    assert_eq!(asked, [3, 6, 9]);
}

#[test]
fn errors_of_an_ejected_endpoint_say_nothing_new() {
    let live = watched(2, Outlier { consecutive_5xx: 2, ..all_may_go() });
    let events = (0..10).filter_map(|_| event(only(&live), 0, Score::Status(500), Time(0))).count();
    assert_eq!((events, only(&live).ejected()), (1, 1));
}

/// An endpoint that always fails, asked every 10 ms while it is in; sweeps when they are due. Times in ms.
fn ejections(rules: Outlier, until: u64) -> Vec<String> {
    let live = watched(1, rules);
    let mut story = Vec::new();
    for ms in 0..until {
        let now = Time(0) + Span::from_millis(ms);
        if live.next_sweep().is_some_and(|due| due <= now) {
            story.extend(live.sweep(now).iter().map(|event| {
                assert_eq!(event.kind, OutlierKind::Returned);
                format!("in at {ms}")
            }));
        }
        let asked = ms % 10 == 0 && !only(&live).endpoints()[0].ejected();
        let kind = if asked { event(only(&live), 0, Score::Timeout, now) } else { None };
        if let Some(OutlierKind::Ejected { lasts, number, .. }) = kind {
            story.push(format!("out at {ms} for {lasts}, {number}"));
        }
    }
    story
}

#[test]
fn an_ejection_is_rounded_up_to_a_sweep_and_grows() {
    let rules = Outlier {
        consecutive_5xx: 3,
        interval: Span::from_millis(300),
        base_ejection: Span::from_secs(1),
        max_ejection: Span::from_secs(3),
        ..all_may_go()
    };
    // Envoy, measured: 1.15, 2.22, 3.11, 3.10 s.
    #[rustfmt::skip]
    assert_eq!(ejections(rules, 14_000), [
        "out at 20 for 1s, 1", "in at 1200",
        "out at 1220 for 2s, 2", "in at 3300",
        "out at 3320 for 3s, 3", "in at 6600",
        "out at 6620 for 3s, 4", "in at 9900",
        "out at 9920 for 3s, 5", "in at 13200",
        "out at 13220 for 3s, 6",
    ]);
}

#[test]
fn with_the_defaults_an_ejection_lasts_30_to_40_seconds() {
    let story = ejections(all_may_go(), 125_000);
    let expected =
        ["out at 40 for 30s, 1", "in at 40000", "out at 40040 for 60s, 2", "in at 110000", "out at 110040 for 90s, 3"];
    assert_eq!(story, expected);
}

#[test]
fn good_conduct_shortens_the_next_ejection() {
    let live = watched(1, Outlier { consecutive_5xx: 1, ..all_may_go() });
    let fail = |at| match event(only(&live), 0, Score::Status(500), at) {
        Some(OutlierKind::Ejected { lasts, .. }) => lasts,
        other => panic!("{other:?}"),
    };
    let second = |s: u64| Time(0) + Span::from_secs(s);
    assert_eq!(fail(second(0)), Span::from_secs(30));
    (1..=3).for_each(|n| drop(live.sweep(second(n * 10))));
    assert_eq!(fail(second(31)), Span::from_secs(60), "out again before it has passed a sweep");
    (4..=10).for_each(|n| drop(live.sweep(second(n * 10))));
    assert!(!only(&live).endpoints()[0].ejected());
    live.sweep(second(110));
    assert_eq!(fail(second(111)), Span::from_secs(60), "one sweep passed takes one base time off");
    (12..=20).for_each(|n| drop(live.sweep(second(n * 10))));
    assert_eq!(fail(second(201)), Span::from_secs(30), "and two take two");
    assert_eq!(only(&live).endpoints()[0].ejections(), 4);
}

#[test]
fn a_return_ends_the_rows_of_errors_but_not_of_local_failures() {
    // The scores at 0, 1 and 40 seconds; the sweep at 40 lets the endpoint back in.
    #[rustfmt::skip]
    let table = [
        (Outlier { consecutive_5xx: 3, ..all_may_go() }, ["555", "55", "5"], false),
        (Outlier { consecutive_5xx: 0, consecutive_gateway: 3, ..all_may_go() }, ["333", "33", "3"], false),
        (Outlier { consecutive_local: 2, split_local_origin: true, ..all_may_go() }, ["cc", "c", "c"], true),
    ];
    for (rules, scores, out_again) in table {
        let live = watched(1, rules);
        for (scores, (seconds, out)) in scores.iter().zip([(0, true), (1, true), (40, out_again)]) {
            let now = Time(0) + Span::from_secs(seconds);
            live.sweep(now);
            for letter in scores.chars() {
                let _ = event(only(&live), 0, score(letter), now);
            }
            assert_eq!(only(&live).endpoints()[0].ejected(), out, "{scores} at {seconds} s");
        }
    }
}

#[test]
fn grpc_statuses_count_as_http_ones() {
    #[rustfmt::skip]
    let table = [
        200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 404, 500, 503, 500, 401,
    ];
    for (grpc, http) in (0..).zip(table) {
        assert_eq!(grpc_to_http(grpc), http, "{grpc}");
    }
    assert_eq!(grpc_to_http(17), 500);
}

#[test]
fn racing_threads_never_eject_more_than_the_cap() {
    let rules = Outlier { consecutive_5xx: 1, max_ejection_percent: 30, ..Outlier::default() };
    let live = watched(10, rules);
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let live = &live;
            scope.spawn(move || {
                for n in 0..2_000u64 {
                    let now = Time(0) + Span::from_secs(n * 40);
                    let index = ((n * 7 + worker * 3) % 10) as usize;
                    let _ = event(only(live), index, Score::Status(500), now);
                    let out = only(live).endpoints().iter().filter(|e| e.ejected()).count();
                    assert!(out <= 4, "{out} are out; one may return and another go while they are counted");
                    assert!(only(live).ejected() <= 3);
                    live.sweep(now);
                }
            });
        }
    });
    let out = only(&live).endpoints().iter().filter(|e| e.ejected()).count();
    assert_eq!(out, only(&live).ejected() as usize, "the count and the flags agree");
}

/// The same rules once more, written down as plainly as can be.
#[derive(Clone, Copy, Default)]
struct Model {
    errors: u32,
    gateway: u32,
    local: u32,
    times: u64,
    out_since: Option<u64>,
}

impl Model {
    /// Whether this score asks for an ejection.
    fn score(&mut self, rules: &Outlier, letter: char) -> bool {
        let is_local = matches!(letter, 'c' | 'r' | 'l' | 't');
        if rules.split_local_origin && is_local {
            self.local += 1;
            let full = self.local == rules.consecutive_local;
            self.local = if full { 0 } else { self.local };
            return full;
        }
        if !is_local {
            self.local = 0;
        }
        let error = is_local || matches!(letter, '5' | '3' | '4');
        let gateway = is_local || matches!(letter, '3' | '4');
        self.errors = if error { self.errors + 1 } else { 0 };
        self.gateway = if gateway { self.gateway + 1 } else { 0 };
        let full =
            [self.errors == rules.consecutive_5xx && error, self.gateway == rules.consecutive_gateway && gateway];
        self.errors = if full[0] { 0 } else { self.errors };
        self.gateway = if full[1] { 0 } else { self.gateway };
        full[0] || full[1]
    }

    fn eject(&mut self, rules: &Outlier, now: u64) {
        if self.times * rules.base_ejection.0 < rules.max_ejection.0 + rules.base_ejection.0 {
            self.times += 1;
        }
        self.out_since = Some(now);
    }

    fn sweep(&mut self, rules: &Outlier, now: u64) {
        match self.out_since {
            None => self.times = self.times.saturating_sub(1),
            Some(since) if now - since >= rules.max_ejection.0.min(self.times * rules.base_ejection.0) => {
                *self = Self { local: self.local, times: self.times, ..Self::default() };
            }
            Some(_) => {}
        }
    }
}

#[test]
fn it_does_what_a_plain_model_of_the_rules_does() {
    let mut ejections = 0;
    for seed in Dice(11).sequence(300) {
        let draw = |turn: u32, below: u64| seed.below(Purpose::Balance, turn, below);
        let rules = Outlier {
            consecutive_5xx: draw(0, 5) as u32,
            consecutive_gateway: draw(1, 4) as u32,
            split_local_origin: draw(2, 2) == 1,
            consecutive_local: draw(3, 4) as u32,
            base_ejection: Span::from_secs(1 + draw(4, 40)),
            max_ejection: Span::from_secs(41 + draw(5, 100)),
            max_ejection_percent: draw(6, 101) as u32,
            ..Outlier::default()
        };
        let total = 1 + draw(7, 6) as usize;
        let live = watched(total, rules.clone());
        let mut models = vec![Model::default(); total];
        for step in 0..400u32 {
            let now = Time(0) + Span::from_millis(u64::from(step) * 500);
            if live.next_sweep().is_some_and(|due| due <= now) {
                live.sweep(now);
                models.iter_mut().for_each(|model| model.sweep(&rules, now.0));
            }
            let index = draw(1_000 + step, total as u64) as usize;
            // Half of the endpoints fail mostly, the others seldom.
            let letters = if index.is_multiple_of(2) { "5343crltc5o9" } else { "oooooo95oooo" };
            let letter = letters.as_bytes()[draw(2_000 + step, letters.len() as u64) as usize] as char;
            let kind = event(only(&live), index, score(letter), now);
            let out = models.iter().filter(|model| model.out_since.is_some()).count();
            let fits = 100.0 * (out as f64 + 1.0) / total as f64 <= f64::from(rules.max_ejection_percent);
            let asked = models[index].score(&rules, letter) && models[index].out_since.is_none();
            if asked && fits {
                models[index].eject(&rules, now.0);
                ejections += 1;
            }
            assert_eq!(kind.is_some(), asked, "{seed:?}, step {step}: {kind:?}");
            assert_eq!(
                matches!(kind, Some(OutlierKind::Ejected { .. })),
                asked && fits,
                "{seed:?}, step {step}: {kind:?}"
            );
            let flags = only(&live).endpoints().iter().map(|e| e.ejected());
            assert!(flags.eq(models.iter().map(|model| model.out_since.is_some())), "{seed:?}, step {step}");
        }
    }
    assert!(ejections > 1_000, "only {ejections} ejections were compared");
}
