//! The same configuration, arrivals and seed give the same trace, to the last pause; and a reload that changes nothing
//! changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use leeboard_istio::compile::{Site, compile};
use leeboard_istio::load;
use leeboard_istio::source::Source;
use leeboard_policy::cluster::{
    ByPlace, Cluster, Discovery, Levels, Limits, LocalityPolicy, Outlier, Place, RetryBudget, Warmup, Workload, Zones,
};
use leeboard_policy::dice::Share;
use leeboard_policy::live::Live;
use leeboard_policy::retry::{RetryOn, RetryPolicy};
use leeboard_policy::route::{Abort, Fault, FaultScope};
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::time::{Span, Time};
use leeboard_sim::{Arrival, Entry, Request, Seen, World};

use crate::scene::{Luck, Scene, assert_quiet};

const PLACES: [&str; 4] = ["eu/1", "eu/2", "us/1", ""];

fn locality_policy(luck: &mut Luck) -> LocalityPolicy {
    let levels = Levels { by_place: ByPlace::Zone, ..Levels::default() };
    let share = |(place, share): &(&str, u32)| (Place((*place).into()), *share);
    let shares = [("eu", 60), ("us", 30), ("", 10)].iter().map(share).collect();
    let callers = vec![("eu/1".into(), 2), ("eu/2".into(), 1)];
    let zones = Zones { levels: Levels::default(), least_endpoints: 1, callers };
    luck.one_of(&[
        LocalityPolicy::Ignored,
        LocalityPolicy::Levels(levels.into()),
        LocalityPolicy::Shares(shares),
        LocalityPolicy::Zones(zones.into()),
    ])
}

/// Puts a cluster's endpoints somewhere.
fn place(cluster: &mut Cluster, luck: &mut Luck) {
    let Discovery::Static(specs) = &mut cluster.discovery else { return };
    for spec in specs {
        let locality = luck.one_of(&PLACES).into();
        spec.workload = Arc::new(Workload { locality, ..Workload::default() });
    }
}

/// A route with everything that rolls dice, counts or waits.
fn scene(luck: &mut Luck) -> Scene {
    let mut scene = Scene::new(&[4, 2, 3]);
    scene.weights = vec![10, luck.between(0, 90) as u32, 5];
    for cluster in &mut scene.clusters {
        cluster.balancer = luck.balancer();
        cluster.limits = Limits {
            connections: Some(luck.between(2, 9) as u32),
            pending: Some(3),
            requests: None,
            retries: Some(luck.between(1, 4) as u32),
            budget: luck.percent(50).then(|| RetryBudget {
                share: Share::from_percent(30.0),
                least: 1,
                interval: luck.percent(50).then_some(Span::from_secs(2)),
            }),
        };
        cluster.warmup =
            luck.percent(50).then_some(Warmup { duration: Span::from_secs(2), least: 0.1, aggression: 2.0 });
        cluster.locality_policy = locality_policy(luck);
        place(cluster, luck);
        cluster.outlier = Some(Outlier {
            consecutive_5xx: luck.between(1, 4) as u32,
            interval: Span::from_secs(1),
            base_ejection: Span::from_millis(luck.between(500, 3_000)),
            max_ejection_percent: 60,
            ..Outlier::default()
        });
    }
    scene.forward.timeout = Some(luck.millis(200, 900));
    scene.forward.retry = Some(Arc::new(RetryPolicy {
        attempts: 3,
        per_try_timeout: Some(luck.millis(50, 190)),
        on: RetryOn::SERVER_ERROR,
        ..RetryPolicy::istio_default()
    }));
    let delay = Some((Span::from_millis(30), Share::from_percent(20.0)));
    let abort = Some((Abort::Http(418), Share::from_percent(5.0)));
    scene.forward.fault =
        Some(Box::new(Fault { delay, abort, scope: luck.one_of(&[FaultScope::Request, FaultScope::Attempt]) }));
    scene
}

/// All that happens in a world, made anew from the scene.
fn play(scene: &Scene, parts: &[&[Arrival]], seed: u64, reloads: bool) -> (Vec<Seen>, Vec<Entry>) {
    let mut world = scene.world(seed);
    let mut seen = Vec::new();
    for part in parts {
        seen.extend(world.play(part));
        if reloads {
            world.reload(scene.snapshot(), &BTreeMap::new());
        }
    }
    assert_quiet(&world);
    (seen, world.take_trace())
}

#[test]
fn what_is_played_again_is_the_same() {
    for seed in 0..40 {
        let mut luck = Luck::new(seed);
        let scene = scene(&mut luck);
        let arrivals = luck.arrivals(150, Time(0), Span::from_secs(6));
        let first = play(&scene, &[&arrivals], seed, false);
        assert_eq!(first, play(&scene, &[&arrivals], seed, false), "seed {seed}");
        assert_ne!(first.1, play(&scene, &[&arrivals], seed + 1, false).1, "seed {seed}: luck must show");
    }
}

#[test]
fn a_reload_of_the_same_configuration_changes_nothing() {
    for seed in 0..40 {
        let mut luck = Luck::new(seed);
        let scene = scene(&mut luck);
        let arrivals = luck.arrivals(150, Time(0), Span::from_secs(6));
        let parts: Vec<&[Arrival]> = arrivals.chunks(luck.between(1, 40) as usize).collect();
        assert_eq!(play(&scene, &parts, seed, false), play(&scene, &parts, seed, true), "seed {seed}");
    }
}

/// The demo's configuration, compiled.
fn demo() -> Arc<Snapshot> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let source = |name| Source::new(name, fs::read_to_string(config.join(name)).expect("the demo has this file"));
    let resources = load(&["services.yaml", "destinations.yaml", "routes.yaml"].map(source)).resources;
    Arc::new(compile(&resources, &Site::default()).0)
}

#[test]
fn what_is_compiled_again_plays_the_same() {
    let play = || {
        let snapshot = demo();
        let addresses = snapshot.hosts().iter().filter_map(|host| Some((host.domains.first()?.clone(), host.port)));
        let mut luck = Luck::new(7);
        let mut arrivals = Vec::new();
        for (domain, port) in addresses.filter(|(domain, _)| !domain.starts_with('*')) {
            for mut arrival in luck.arrivals(40, Time(0), Span::from_secs(5)) {
                arrival.request = Request::get(&format!("{domain}:{port}"), "/");
                arrivals.push(arrival);
            }
        }
        arrivals.sort_by_key(|arrival| arrival.at);
        let mut world = World::new(Live::adopt(None, snapshot, &BTreeMap::new(), Time(0)), 3);
        let seen = world.play(&arrivals);
        assert_quiet(&world);
        (seen, world.take_trace())
    };
    let first = play();
    assert!(first.1.len() > 500, "{} entries", first.1.len());
    assert_eq!(first, play());
}
