//! Splits: shares are as weighed, moving a weight moves callers one way only, and a draw holds for all attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leeboard_policy::retry::{RetryOn, RetryPolicy};
use leeboard_policy::time::{Span, Time};
use leeboard_sim::{Arrival, Conduct, Request, Seen};

use crate::scene::{Luck, Scene, assert_quiet};

/// Requests without trouble, weighed like this.
fn play(weights: &[u32], seed: u64, count: usize) -> Vec<Seen> {
    let scene = Scene { weights: weights.to_vec(), ..Scene::new(&vec![1; weights.len()]) };
    let mut world = scene.world(seed);
    let arrival = Arrival { at: Time(0), request: Request::get("a", "/"), script: Vec::new() };
    let seen = (0..count).flat_map(|_| world.play(std::slice::from_ref(&arrival))).collect();
    assert_quiet(&world);
    seen
}

#[test]
fn shares_are_as_weighed() {
    const COUNT: usize = 3_000;
    for seed in 0..24 {
        let mut luck = Luck::new(seed);
        let mut weights: Vec<u32> = (0..luck.between(2, 5)).map(|_| luck.between(0, 100) as u32).collect();
        if luck.percent(40) {
            weights[0] = 0;
        }
        weights[1] += 1;
        let mut found: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        play(&weights, seed, COUNT).into_iter().for_each(|one| *found.entry(one.cluster).or_default() += 1);
        let sum: u32 = weights.iter().sum();
        for (index, weight) in weights.iter().enumerate() {
            let had = found.get(&*format!("c{index}")).copied().unwrap_or(0);
            let share = f64::from(*weight) / f64::from(sum);
            // Five standard deviations of the binomial distribution; none when the share is nothing.
            let (mean, spread) = (COUNT as f64 * share, 5.0 * (COUNT as f64 * share * (1.0 - share)).sqrt());
            assert!((had as f64 - mean).abs() <= spread, "seed {seed}: {had} of {COUNT} at {weight} of {weights:?}");
        }
    }
}

#[test]
fn more_weight_takes_nobody_away() {
    for seed in 0..8 {
        let mut before = BTreeSet::new();
        for canary in [0, 1, 5, 10, 25, 50, 75, 99, 100] {
            let seen = play(&[100 - canary, canary], seed, 400);
            let now: BTreeSet<usize> = (0..400).filter(|n| &*seen[*n].cluster == "c1").collect();
            assert!(before.is_subset(&now), "seed {seed}: someone left the canary at {canary} %");
            before = now;
        }
        assert_eq!(before.len(), 400, "seed {seed}: a weight of 100 is everyone");
    }
}

#[test]
fn a_single_destination_takes_all_whatever_its_weight() {
    for weight in [0, 1, 100] {
        assert!(play(&[weight], 1, 50).iter().all(|one| &*one.cluster == "c0" && one.status == 200));
    }
}

#[test]
fn all_attempts_go_to_the_destination_that_was_drawn() {
    let retry = RetryPolicy { attempts: 4, on: RetryOn::SERVER_ERROR, ..RetryPolicy::istio_default() };
    for seed in 0..20 {
        let mut scene = Scene::new(&[2, 2, 2]);
        scene.forward.retry = Some(Arc::new(retry.clone()));
        let mut world = scene.world(seed);
        let arrival = Arrival { at: Time(0), request: Request::get("a", "/"), script: vec![Conduct::status(503)] };
        for one in world.play(&vec![arrival; 30]) {
            let third = |address: &String| address.split('.').nth(2).map(|octet| format!("c{octet}"));
            let clusters: BTreeSet<_> = one.endpoints.iter().map(|e| third(&e.to_string())).collect();
            assert_eq!(clusters, BTreeSet::from([Some(one.cluster.to_string())]), "seed {seed}");
            assert_eq!((one.attempts, one.status), (5, 503));
            assert!(one.took > Span(0));
        }
        assert_quiet(&world);
    }
}
