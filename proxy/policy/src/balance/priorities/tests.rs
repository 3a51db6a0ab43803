//! Levels and localities: who takes how much, in health and in sickness.

use super::*;
use crate::cluster::{Address, ByPlace, Cluster, ClusterId, Discovery, EndpointSpec, HashKey, Levels, Outlier, Place};
use crate::live::tests::{address, any, cluster, reload_at};
use crate::live::{Live, LiveCluster};
use crate::outlier::Score;
use crate::time::Time;

/// A cluster with an endpoint at each of these localities, seen from a place.
fn live(locality_policy: LocalityPolicy, balancer: Balancer, here: &str, there: &[&str], panic_percent: u32) -> Live {
    let spec = |(n, locality): (u8, &&str)| EndpointSpec {
        address: address(n),
        weight: 1,
        workload: Arc::new(Workload { locality: (*locality).into(), ..Workload::default() }),
    };
    let outlier = Outlier { consecutive_5xx: 1, max_ejection_percent: 100, ..Outlier::default() };
    let cluster = Cluster {
        discovery: Discovery::Static((1u8..).zip(there).map(spec).collect()),
        locality_policy,
        outlier: Some(outlier),
        panic_percent,
        ..cluster("a", balancer, &[])
    };
    reload_at(Workload { locality: here.into(), ..Workload::default() }, vec![cluster])
}

fn only(live: &Live) -> &LiveCluster {
    live.cluster(ClusterId(0))
}

fn eject(live: &Live, out: &[usize]) {
    for index in out {
        let endpoint = &only(live).endpoints()[*index];
        assert!(only(live).score(endpoint, Score::Status(500), Time(0)).is_some());
    }
}

/// How many picks of 10,000 each endpoint gets.
fn hits(live: &Live, ask: impl Fn(u64) -> Pick<'static>) -> Vec<usize> {
    let mut hits = vec![0; only(live).endpoints().len()];
    for n in 0..10_000 {
        if let Some(picked) = only(live).pick(&ask(n)) {
            hits[index(live, picked.address())] += 1;
        }
    }
    hits
}

fn index(live: &Live, address: &Address) -> usize {
    only(live).endpoints().iter().position(|e| e.address() == address).expect("one of the cluster's")
}

fn assert_near(found: &[usize], expected: &[usize], what: &str) {
    let near = |(a, b): (&usize, &usize)| a.abs_diff(*b) <= 250 && (*a == 0) == (*b == 0);
    assert!(found.iter().zip(expected).all(near), "{what}: {found:?}, not {expected:?}");
}

fn levels() -> LocalityPolicy {
    LocalityPolicy::Levels(Levels { by_place: ByPlace::Zone, ..Levels::default() }.into())
}

fn all_balancers() -> [Balancer; 5] {
    let key = HashKey::SourceIp;
    [
        Balancer::LeastRequest,
        Balancer::RoundRobin,
        Balancer::Random,
        Balancer::RingHash { key: key.clone(), minimum_size: 1024 },
        Balancer::Maglev { key, table_size: 65_537 },
    ]
}

#[test]
fn loads_are_envoys() {
    #[rustfmt::skip]
    let table: [(&[(usize, usize)], u32, &[u32], &[bool]); 13] = [
        // healthy of all, panic below, shares, panics; the first three were measured
        (&[(3, 5), (5, 5)], 50, &[84, 16], &[false, false]),
        (&[(1, 5), (5, 5)], 50, &[28, 72], &[false, false]),
        (&[(1, 5), (1, 5)], 50, &[50, 50], &[true, true]),
        (&[(5, 5), (5, 5)], 50, &[100, 0], &[false, false]),
        (&[(5, 7), (1, 1)], 0, &[100, 0], &[false, false]),
        (&[(2, 3), (1, 1)], 0, &[93, 7], &[false, false]),
        (&[(0, 3), (1, 1)], 0, &[0, 100], &[false, false]),
        (&[(1, 5), (1, 5)], 0, &[50, 50], &[false, false]),
        (&[(1, 5), (2, 5)], 40, &[34, 66], &[true, false]),
        (&[(0, 5), (0, 5)], 0, &[100, 0], &[false, false]),
        (&[(0, 1), (0, 2)], 50, &[34, 66], &[true, true]),
        (&[(1, 4), (1, 4), (4, 4)], 50, &[35, 35, 30], &[false, false, false]),
        (&[], 50, &[], &[]),
    ];
    for (levels, panic, shares, panics) in table {
        let expected = Load { shares: shares.into(), panics: panics.into() };
        assert_eq!(Load::of(levels, panic, &[]), expected, "{levels:?} at {panic} %");
    }
}

#[test]
fn the_nearest_take_all_until_too_few_are_healthy() {
    let there = ["r/z/s", "r/z/s", "r/z/s", "r/z/s", "r/y/s", "q/z/s"];
    #[rustfmt::skip]
    let table: [(&[usize], &[usize]); 6] = [
        (&[], &[2_500, 2_500, 2_500, 2_500, 0, 0]),
        (&[0], &[0, 3_333, 3_333, 3_333, 0, 0]),
        (&[0, 1], &[0, 0, 3_500, 3_500, 3_000, 0]),
        (&[0, 1, 2, 3], &[0, 0, 0, 0, 10_000, 0]),
        (&[0, 1, 2, 3, 4], &[0, 0, 0, 0, 0, 10_000]),
        (&[0, 1, 2, 3, 4, 5], &[0, 0, 0, 0, 0, 0]),
    ];
    for balancer in all_balancers() {
        for (out, expected) in table {
            let live = live(levels(), balancer.clone(), "r/z/s", &there, 0);
            eject(&live, out);
            assert_near(&hits(&live, any), expected, &alloc::format!("{balancer:?} without {out:?}"));
        }
    }
}

#[test]
fn a_request_without_its_level_keeps_to_one_of_the_next() {
    let live =
        live(levels(), Balancer::RingHash { key: HashKey::SourceIp, minimum_size: 1024 }, "r", &["r", "q", "q"], 0);
    eject(&live, &[0]);
    for n in 0..100u64 {
        let ask = Pick { hash: Some(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ..any(n) };
        let first = only(&live).pick(&ask).expect("healthy").id();
        let again = only(&live).pick(&Pick { dice: Dice(n + 1), ..ask }).expect("healthy").id();
        assert_eq!(first, again);
    }
}

#[test]
fn shares_hold_whatever_the_numbers_of_endpoints() {
    let shares =
        |list: &[(&str, u32)]| LocalityPolicy::Shares(list.iter().map(|(p, n)| (Place((*p).into()), *n)).collect());
    let there = ["r/a", "r/b", "r/b", "r/b", "q/a"];
    #[rustfmt::skip]
    let table: [(&[(&str, u32)], &[usize], &[usize]); 6] = [
        (&[("r/a", 80), ("r/b", 20)], &[], &[8_000, 667, 667, 667, 0]),
        (&[("r/*", 90), ("q/*", 10)], &[], &[2_300, 2_233, 2_233, 2_233, 1_000]),
        (&[("q", 100)], &[], &[0, 0, 0, 0, 10_000]),
        (&[("p", 100)], &[], &[0, 0, 0, 0, 0]),
        // Envoy: a locality that is two thirds healthy weighs 140 % of two thirds.
        (&[("r/a", 50), ("r/b", 50)], &[1], &[5_172, 0, 2_414, 2_414, 0]),
        (&[("r/a", 50), ("r/b", 50)], &[0], &[0, 3_333, 3_333, 3_333, 0]),
    ];
    for balancer in all_balancers().into_iter().take(3) {
        for (list, out, expected) in table {
            let live = live(shares(list), balancer.clone(), "r/a", &there, 0);
            eject(&live, out);
            assert_near(&hits(&live, any), expected, &alloc::format!("{balancer:?} {list:?} without {out:?}"));
        }
    }
    let hashed = |n: u64| Pick { hash: Some(Dice(n).roll(Purpose::RequestId, 0)), ..any(n) };
    for balancer in all_balancers().into_iter().skip(3) {
        let live = live(shares(&[("r/a", 80), ("r/b", 20)]), balancer, "r/a", &there, 0);
        assert_near(&hits(&live, hashed), &[8_000, 667, 667, 667, 0], "hashed");
    }
}

#[test]
fn all_endpoints_of_a_level_in_panic_are_used() {
    let there = ["r/a", "r/b", "r/b", "r/b"];
    let shares: Arc<[_]> = [(Place("r/a".into()), 70), (Place("r/b".into()), 30)].into();
    let live = live(LocalityPolicy::Shares(shares), Balancer::Random, "r/a", &there, 50);
    eject(&live, &[1, 2, 3]);
    assert_near(&hits(&live, any), &[2_500, 2_500, 2_500, 2_500], "one healthy of four");
}

#[test]
fn a_retry_leaves_a_locality_whose_endpoints_were_tried() {
    let shares: Arc<[_]> = [(Place("r/a".into()), 99), (Place("r/b".into()), 1)].into();
    let live = live(LocalityPolicy::Shares(shares), Balancer::LeastRequest, "r/a", &["r/a", "r/b"], 0);
    let tried = [only(&live).endpoints()[0].id()];
    for n in 0..100 {
        let picked = only(&live).pick(&Pick { tried: &tried, ..any(n) }).expect("healthy");
        assert_eq!(index(&live, picked.address()), 1);
    }
}

#[test]
fn levels_are_left_after_two_attempts_when_asked_to() {
    let live = live(levels(), Balancer::LeastRequest, "r", &["r", "r", "r", "q", "q"], 0);
    let ids: Vec<EndpointId> = only(&live).endpoints().iter().map(|e| e.id()).collect();
    #[rustfmt::skip]
    let table: [(bool, &[usize], &[usize]); 8] = [
        (true, &[], &[0, 1, 2]),
        (true, &[0], &[1, 2]),
        (true, &[0, 1], &[3, 4]),
        (true, &[0, 1, 3], &[4]),
        // All have been left: they begin anew.
        (true, &[0, 1, 3, 4], &[2]),
        (true, &[0, 1, 3, 4, 2], &[0, 1, 2]),
        (false, &[0, 1], &[2]),
        (false, &[0, 1, 2], &[0, 1, 2]),
    ];
    for (leave_levels, tried, expected) in table {
        let tried: Vec<EndpointId> = tried.iter().map(|index| ids[*index]).collect();
        let mut found: Vec<usize> = (0..200)
            .filter_map(|n| only(&live).pick(&Pick { tried: &tried, leave_levels, turn: tried.len() as u32, ..any(n) }))
            .map(|picked| index(&live, picked.address()))
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected, "{leave_levels} after {tried:?}");
    }
}

#[test]
fn zones_keep_what_they_can_serve() {
    let zones = |callers: &[(&str, u32)], least_endpoints| {
        let levels = Levels { by_place: ByPlace::Region, ..Levels::default() };
        let callers = callers.iter().map(|(zone, n)| (Arc::from(*zone), *n)).collect();
        LocalityPolicy::Zones(Zones { levels, least_endpoints, callers }.into())
    };
    let there = ["r/a", "r/a", "r/b", "r/b", "r/b", "r/b", "q/a"];
    #[rustfmt::skip]
    let table: [(&[(&str, u32)], u64, &[usize], &[usize]); 5] = [
        // A third of the endpoints and half of the callers: two thirds stay.
        (&[("r/a", 1), ("r/b", 1)], 6, &[], &[3_333, 3_333, 833, 833, 833, 833, 0]),
        (&[("r/a", 1), ("r/b", 3)], 6, &[], &[5_000, 5_000, 0, 0, 0, 0, 0]),
        (&[("r/a", 1), ("r/b", 1)], 7, &[], &[1_667, 1_667, 1_667, 1_667, 1_667, 1_667, 0]),
        (&[("r/b", 1)], 6, &[], &[1_667, 1_667, 1_667, 1_667, 1_667, 1_667, 0]),
        (&[("r/a", 1), ("r/b", 1)], 5, &[5], &[4_000, 4_000, 667, 667, 667, 0, 0]),
    ];
    for (callers, least, out, expected) in table {
        let live = live(zones(callers, least), Balancer::LeastRequest, "r/a", &there, 0);
        eject(&live, out);
        assert_near(&hits(&live, any), expected, &alloc::format!("{callers:?}, at least {least}, without {out:?}"));
    }
}

#[test]
fn where_nothing_is_nearer_than_another_there_are_no_levels() {
    for (locality_policy, there, some) in [
        (levels(), &["r/a", "r/a"][..], false),
        (levels(), &["q/a", "p/b"], false),
        (levels(), &[], false),
        (levels(), &["r/a", "p/b"], true),
        (LocalityPolicy::Ignored, &["r/a", "p/b"], false),
        (LocalityPolicy::Shares([(Place("q".into()), 100)].into()), &["r/a"], true),
    ] {
        let live = live(locality_policy.clone(), Balancer::RoundRobin, "r/a", there, 0);
        let endpoints = only(&live).endpoints();
        let here = Workload { locality: "r/a".into(), ..Workload::default() };
        assert_eq!(
            Priorities::new(&locality_policy, &here, endpoints, &Balancer::Random, None).is_some(),
            some,
            "{locality_policy:?} {there:?}"
        );
    }
}

#[test]
fn levels_are_told() {
    let live = live(levels(), Balancer::RoundRobin, "r/z/s", &["q/z/s", "r/z/s", "r/y/s"], 0);
    let found: Vec<_> = (0..3).map(|index| only(&live).level(index)).collect();
    assert_eq!(found, [Some(2), Some(0), Some(1)]);
}
