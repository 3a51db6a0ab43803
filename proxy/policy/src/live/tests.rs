//! What a reload keeps and forgets; and clusters for the tests of other modules.

extern crate std;

use super::*;
use crate::cluster::{Balancer, Connection, LocalityPolicy, Protocol, Service, Workload};
use crate::dice::Dice;
use crate::origin::Origin;
use crate::snapshot::Draft;
use alloc::string::{String, ToString};

/// The address of the n-th endpoint of a test's cluster.
pub(crate) fn address(n: u8) -> Address {
    Address::Socket(SocketAddr::new([10, 0, 0, n].into(), 80))
}

/// A cluster of the endpoints 10.0.0.1:80 and on, with these weights.
pub(crate) fn cluster(name: &str, balancer: Balancer, weights: &[u32]) -> Cluster {
    let spec =
        |(n, weight): (u8, &u32)| EndpointSpec { address: address(n), weight: *weight, workload: Arc::default() };
    let service = Service {
        host: name.into(),
        name: name.into(),
        namespace: "default".into(),
        port: 80,
        subset: "".into(),
        external: false,
    };
    Cluster {
        name: name.into(),
        service,
        discovery: Discovery::Static((1u8..).zip(weights).map(spec).collect()),
        protocol: Protocol::Http1,
        balancer,
        locality_policy: LocalityPolicy::default(),
        warmup: None,
        limits: Limits::default(),
        connection: Connection::default(),
        outlier: None,
        panic_percent: 0,
        origin: Origin::built_in(),
        transport: None,
        policy_origin: None,
    }
}

/// A snapshot of clusters, joined with what was before.
pub(crate) fn reload(previous: Option<&Live>, clusters: Vec<Cluster>) -> Live {
    resolve(previous, clusters, &Resolved::new())
}

/// A snapshot of clusters that succeeds another at a time.
pub(crate) fn reload_then(previous: &Live, clusters: Vec<Cluster>, now: Time) -> Live {
    let snapshot = Snapshot::new(Draft { clusters, ..Draft::default() });
    Live::adopt(Some(previous), Arc::new(snapshot), &Resolved::new(), now)
}

/// A snapshot of clusters as a workload sees them.
pub(crate) fn reload_at(workload: Workload, clusters: Vec<Cluster>) -> Live {
    let draft = Draft { clusters, workload, ..Draft::default() };
    Live::adopt(None, Arc::new(Snapshot::new(draft)), &Resolved::new(), Time(0))
}

fn resolve(previous: Option<&Live>, clusters: Vec<Cluster>, resolved: &Resolved) -> Live {
    Live::adopt(previous, Arc::new(Snapshot::new(Draft { clusters, ..Draft::default() })), resolved, Time(0))
}

/// A pick that nothing is known for but the luck.
pub(crate) fn any(seed: u64) -> Pick<'static> {
    Pick { hash: None, tried: &[], avoid_tried: true, leave_levels: false, dice: Dice(seed), turn: 0, now: Time(0) }
}

fn watched(name: &str, weights: &[u32]) -> Cluster {
    let outlier = Outlier { consecutive_5xx: 2, max_ejection_percent: 100, ..Outlier::default() };
    Cluster { outlier: Some(outlier), ..cluster(name, Balancer::RoundRobin, weights) }
}

fn fail(cluster: &LiveCluster, index: usize, times: usize, now: Time) -> Option<OutlierEvent> {
    let endpoint = &cluster.endpoints()[index];
    (0..times).fold(None, |_, _| cluster.score(endpoint, Score::Status(500), now))
}

fn standing(cluster: &LiveCluster) -> Vec<(String, bool)> {
    cluster.endpoints().iter().map(|e| (e.address().to_string(), e.ejected())).collect()
}

#[test]
fn state_can_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Live>();
    shared::<Slot>();
    shared::<crate::endpoints::Active>();
}

#[test]
fn a_reload_keeps_the_state_of_whatever_survives() {
    let before = reload(None, vec![watched("a", &[1, 1, 1]), watched("b", &[1])]);
    let a = before.cluster(ClusterId(0));
    assert!(fail(a, 0, 2, Time(5)).is_some(), "the first is out");
    assert!(fail(a, 1, 1, Time(5)).is_none(), "the second is one error short");
    let (slot, active) = (a.take(Limit::Requests), a.endpoints()[1].clone().enter());
    assert!(slot.is_some());

    // Another place in the snapshot, other limits, weights, labels, rules and one endpoint more.
    let mut changed = watched("a", &[5, 2, 3, 4]);
    changed.limits.requests = Some(1);
    if let Some(outlier) = &mut changed.outlier {
        outlier.base_ejection = Span::from_secs(60);
    }
    if let Discovery::Static(specs) = &mut changed.discovery {
        specs[0].workload = Arc::new(Workload { name: "renamed".into(), ..Workload::default() });
    }
    let after = reload(Some(&before), vec![watched("c", &[1]), changed]);
    let now = after.cluster(ClusterId(1));
    assert_eq!(now.ejected(), 1);
    assert_eq!(
        standing(now).into_iter().map(|(_, out)| out).collect::<Vec<_>>(),
        [true, false, false, false],
        "the ejection goes on"
    );
    assert_eq!(now.endpoints()[0].spec.workload.name.as_ref(), "renamed");
    assert_eq!(now.endpoints()[0].id(), a.endpoints()[0].id());
    assert_eq!(now.endpoints()[1].active(), 1);
    assert_eq!(now.counts.current(Limit::Requests), 1);
    assert!(now.take(Limit::Requests).is_none(), "the new limit counts what the old configuration let in");
    assert!(fail(now, 1, 1, Time(6)).is_some(), "the second error in a row, over the reload");
    drop((slot, active));
    assert_eq!((now.counts.current(Limit::Requests), now.endpoints()[1].active()), (0, 0));
}

#[test]
fn what_goes_away_takes_its_ejection_along_and_returns_afresh() {
    let first = reload(None, vec![watched("a", &[1, 1])]);
    assert!(fail(first.cluster(ClusterId(0)), 1, 2, Time(0)).is_some());
    let second = reload(Some(&first), vec![watched("a", &[1])]);
    assert_eq!(second.cluster(ClusterId(0)).ejected(), 0);
    let _twice = reload(Some(&first), vec![watched("a", &[1])]);
    assert_eq!(second.cluster(ClusterId(0)).ejected(), 0, "an ejection is taken along once");
    let old = first.cluster(ClusterId(0));
    assert!(old.endpoints()[1].ejected(), "an exchange that began before still passes it over");
    assert!(fail(old, 1, 2, Time(1)).is_none(), "and no longer moves the count");
    let third = reload(Some(&second), vec![watched("a", &[1, 1])]);
    let back = third.cluster(ClusterId(0));
    assert_eq!((back.ejected(), back.endpoints()[1].ejected()), (0, false));
    assert_eq!(back.endpoints()[1].id(), old.endpoints()[1].id());
}

#[test]
fn without_rules_nothing_stays_out() {
    let first = reload(None, vec![watched("a", &[1, 1])]);
    assert!(fail(first.cluster(ClusterId(0)), 0, 2, Time(0)).is_some());
    let second = reload(Some(&first), vec![Cluster { outlier: None, ..watched("a", &[1, 1]) }]);
    let a = second.cluster(ClusterId(0));
    assert_eq!((a.ejected(), a.endpoints()[0].ejected(), second.next_sweep()), (0, false, None));
}

#[test]
fn names_become_endpoints() {
    let name = |name: &str, port| DnsSpec { name: name.into(), port, weight: 3, workload: Arc::default() };
    let resolved: Resolved = [("x", vec!["10.0.0.9", "10.0.0.2"]), ("y", vec!["10.0.0.2"])]
        .map(|(name, ips)| (name.into(), ips.iter().map(|ip| ip.parse().expect("an address")).collect()))
        .into();
    #[rustfmt::skip]
    let table: [(Discovery, &[&str]); 6] = [
        (Discovery::Dns(vec![name("x", 80)]), &["10.0.0.2:80", "10.0.0.9:80"]),
        (Discovery::Dns(vec![name("x", 80), name("y", 80), name("y", 81)]), &["10.0.0.2:80", "10.0.0.9:80", "10.0.0.2:81"]),
        (Discovery::Dns(vec![name("gone", 80), name("::1", 80)]), &["[::1]:80"]),
        (Discovery::DnsFirst(name("x", 80)), &["10.0.0.9:80"]),
        (Discovery::DnsFirst(name("gone", 80)), &[]),
        (Discovery::Original, &[]),
    ];
    for (discovery, expected) in table {
        let cluster = Cluster { discovery: discovery.clone(), ..watched("a", &[]) };
        let live = resolve(None, vec![cluster], &resolved);
        let found: Vec<_> = standing(live.cluster(ClusterId(0))).into_iter().map(|(address, _)| address).collect();
        assert_eq!(found, expected, "{discovery:?}");
        assert_eq!(live.cluster(ClusterId(0)).pick(&any(0)).is_some(), !expected.is_empty());
    }
}

#[test]
fn a_doubted_address_is_picked_when_there_is_no_other_until_it_is_named_again() {
    let name = DnsSpec { name: "x".into(), port: 80, weight: 1, workload: Arc::default() };
    let ips: Vec<IpAddr> = (1..=3).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    let resolved: Resolved = [("x".into(), ips.clone())].into();
    for balancer in [Balancer::RoundRobin, Balancer::LeastRequest, Balancer::Random] {
        let shop = Cluster { discovery: Discovery::Dns(vec![name.clone()]), ..cluster("shop", balancer, &[]) };
        let live = resolve(None, vec![shop], &resolved);
        let shop = live.cluster(ClusterId(0));
        let picked = || {
            let all: BTreeSet<String> =
                (0..60).filter_map(|seed| Some(shop.pick(&any(seed))?.address().to_string())).collect();
            all.iter().map(|address| address.as_bytes()[7] - b'0').collect::<Vec<u8>>()
        };
        assert_eq!(picked(), [1, 2, 3]);
        shop.doubt(&shop.endpoints()[0], Time(5));
        assert_eq!((picked(), shop.endpoints()[0].doubted()), (vec![2, 3], true));
        live.trust(&ips, Time(4));
        assert_eq!(picked(), [2, 3], "that answer was asked for before");
        live.trust(&ips[1..], Time(6));
        assert_eq!(picked(), [2, 3], "that answer does not name it");
        live.trust(&ips, Time(6));
        assert_eq!(picked(), [1, 2, 3]);

        shop.endpoints().iter().for_each(|endpoint| shop.doubt(endpoint, Time(7)));
        assert_eq!(picked(), [1, 2, 3], "there is no other");
        shop.endpoints()[1].reached(Time(8));
        assert_eq!(picked(), [2], "a connection was made");
        live.trust(&ips, Time(9));
        let tried = [shop.endpoints()[0].id()];
        shop.doubt(&shop.endpoints()[1], Time(10));
        let others = (0..60).filter_map(|seed| shop.pick(&Pick { tried: &tried, ..any(seed) }));
        assert!(others.into_iter().all(|endpoint| endpoint.id() == shop.endpoints()[2].id()));
    }
}

#[test]
fn what_is_left_is_picked_though_it_is_ejected_unless_all_may_be() {
    let name = DnsSpec { name: "x".into(), port: 80, weight: 1, workload: Arc::default() };
    let settings = [
        // most percent, balancer, whether endpoints have places
        (50, Balancer::RoundRobin, false),
        (50, Balancer::LeastRequest, true),
        (99, Balancer::Random, false),
        (100, Balancer::RoundRobin, false),
        (100, Balancer::RoundRobin, true),
    ];
    for (most, balancer, places) in settings {
        let outlier = Outlier { consecutive_5xx: 1, max_ejection_percent: most, ..Outlier::default() };
        let here = Arc::new([(crate::cluster::Place("*".into()), 100)]);
        let shop = Cluster {
            discovery: Discovery::Dns(vec![name.clone()]),
            locality_policy: if places { LocalityPolicy::Shares(here) } else { LocalityPolicy::Ignored },
            outlier: Some(outlier),
            ..cluster("shop", balancer, &[])
        };
        let named = |previous: Option<&Live>, ips: &[u8]| {
            let ips = ips.iter().map(|n| IpAddr::from([10, 0, 0, *n])).collect();
            resolve(previous, vec![shop.clone()], &[("x".into(), ips)].into())
        };
        let picked = |live: &Live, tried: &[EndpointId]| {
            let all: BTreeSet<u8> = (0..60)
                .filter_map(|seed| live.cluster(ClusterId(0)).pick(&Pick { tried, ..any(seed) }))
                .map(|endpoint| endpoint.address().to_string().as_bytes()[7] - b'0')
                .collect();
            all.into_iter().collect::<Vec<u8>>()
        };
        let rather_than_none = |ips: &[u8]| if most < 100 { ips.to_vec() } else { Vec::new() };

        let first = named(None, &[1, 2]);
        assert!(fail(first.cluster(ClusterId(0)), 0, 1, Time(5)).is_some());
        assert_eq!(picked(&first, &[]), [2]);
        let alone = named(Some(&first), &[1]);
        assert!(alone.cluster(ClusterId(0)).endpoints()[0].ejected(), "its time is not over");
        assert_eq!(picked(&alone, &[]), rather_than_none(&[1]), "at {most} %");
        let other = named(Some(&alone), &[1, 3]);
        assert_eq!(picked(&other, &[]), [3], "there is another at once");

        let shop = other.cluster(ClusterId(0));
        shop.doubt(&shop.endpoints()[1], Time(6));
        assert_eq!(picked(&other, &[]), if most < 100 { vec![1, 3] } else { vec![3] }, "who refused is no better");
        let refused = [shop.endpoints()[1].id()];
        assert_eq!(picked(&other, &refused), if most < 100 { [1] } else { [3] });
    }
}

#[test]
fn what_is_written_down_is_not_doubted() {
    let live = reload(None, vec![cluster("a", Balancer::RoundRobin, &[1, 1])]);
    let a = live.cluster(ClusterId(0));
    a.doubt(&a.endpoints()[0], Time(5));
    assert!(!a.endpoints()[0].doubted() && !a.is_named());
}

#[test]
fn sweeps_keep_each_clusters_own_interval() {
    let every = |name: &str, seconds| {
        let mut cluster = watched(name, &[1]);
        if let Some(outlier) = &mut cluster.outlier {
            outlier.interval = Span::from_secs(seconds);
        }
        cluster
    };
    let second = |s: u64| Time(0) + Span::from_secs(s);
    let live = reload(None, vec![every("a", 10), every("b", 4)]);
    let mut due = Vec::new();
    for _ in 0..5 {
        let at = live.next_sweep().expect("two clusters detect outliers");
        due.push(at);
        live.sweep(at);
    }
    assert_eq!(due, [4, 8, 10, 12, 16].map(second));
    live.sweep(second(33));
    assert_eq!(live.next_sweep(), Some(second(36)), "a late sweep does not shift the ones after it");
    let after = reload(Some(&live), vec![every("a", 10), every("b", 1)]);
    assert_eq!(after.next_sweep(), Some(second(33)), "a shorter interval counts from the latest sweep");
}
#[test]
fn reloads_under_load_leave_nothing_behind() {
    let config = |endpoints: usize| vec![watched("a", &[1, 1, 1][..endpoints])];
    let live = std::sync::Mutex::new(Arc::new(reload(None, config(3))));
    let now = || live.lock().expect("no thread panics").clone();
    let tick = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (now, tick) = (&now, &tick);
            scope.spawn(move || {
                for n in 0..3_000 {
                    let live = now();
                    let cluster = live.cluster(ClusterId(0));
                    let slot = cluster.take(Limit::Requests);
                    let Some(picked) = cluster.pick(&any(worker * 10_000 + n)) else { continue };
                    let active = picked.clone().enter();
                    let score = Score::Status(if n % 3 == 0 { 200 } else { 503 });
                    cluster.score(&picked, score, Time(tick.fetch_add(1_000_000_000, Relaxed)));
                    drop((slot, active));
                }
            });
        }
        for n in 0..300 {
            let before = now();
            let after = reload(Some(&before), config(1 + n % 3));
            after.sweep(Time(tick.fetch_add(40_000_000_000, Relaxed)));
            *live.lock().expect("no thread panics") = Arc::new(after);
            std::thread::yield_now();
        }
    });
    let last = now();
    let cluster = last.cluster(ClusterId(0));
    let out = cluster.endpoints().iter().filter(|e| e.ejected()).count();
    assert_eq!(cluster.ejected() as usize, out, "the count and the flags agree");
    assert_eq!(cluster.counts.current(Limit::Requests), 0);
    assert!(cluster.endpoints().iter().all(|e| e.active() == 0));
}
