//! Which endpoints are nearer than others, as it is written.

use leeboard_policy::cluster::{Balancer, ByPlace, HashKey, Levels, LocalityPolicy, Place, Warmup};
use leeboard_policy::time::Span;

use super::*;

const USERS: &str = "outbound|80||users.example.com";

/// A service with endpoints in three zones and a policy, and this workload's own service in two of them.
fn world_of(policy: &str, locality: &str) -> World {
    let users = object(
        "ServiceEntry",
        "users",
        "{hosts: [users.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, \
         endpoints: [{address: 10.0.0.1, locality: eu/1}, {address: 10.0.0.2, locality: eu/2}, {address: 10.0.0.3, locality: us/1}]}",
    );
    let order = object(
        "ServiceEntry",
        "order",
        "{hosts: [order.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, \
         endpoints: [{address: 10.1.0.1, locality: eu/1, labels: {app: order}}, \
         {address: 10.1.0.2, locality: eu/1, labels: {app: order}}, {address: 10.1.0.3, locality: eu/2, labels: {app: order}}]}",
    );
    let rule = object("DestinationRule", "d", &format!("{{host: users.example.com, trafficPolicy: {policy}}}"));
    let mut site = site();
    site.workload.locality = locality.into();
    world_at(&(users + &order + &rule), &site)
}

fn shares(list: &[(&str, u32)]) -> LocalityPolicy {
    LocalityPolicy::Shares(list.iter().map(|(place, share)| (Place((*place).into()), *share)).collect())
}

fn levels(labels: &[(&str, Option<&str>)], by_place: ByPlace, next: Option<&str>) -> Levels {
    let labels = labels.iter().map(|(key, value)| ((*key).into(), value.map(Arc::from))).collect();
    Levels { labels, by_place, next_region: next.map(Arc::from) }
}

#[test]
fn settings_mean_levels_or_shares() {
    let by_place = |next| LocalityPolicy::Levels(levels(&[], ByPlace::Zone, next).into());
    let by_label =
        |by_place| LocalityPolicy::Levels(levels(&[("version", None), ("app", Some("x"))], by_place, None).into());
    let lb = |setting: &str| format!("{{loadBalancer: {{localityLbSetting: {setting}}}}}");
    let both = |setting: &str| format!("{{loadBalancer: {{localityLbSetting: {setting}}}, outlierDetection: {{}}}}");
    let distribute = "{distribute: [{from: us/*, to: {us/1: 100}}, {from: eu/1, to: {eu/1: 80, eu/2: 20}}]}";
    for (what, policy, here, expected) in [
        (
            "nothing is preferred",
            "{connectionPool: {tcp: {maxConnections: 1}}}".to_owned(),
            "eu/1",
            LocalityPolicy::Ignored,
        ),
        ("outlier detection turns levels on", "{outlierDetection: {}}".into(), "eu/1", by_place(None)),
        ("unless they are turned off", both("{enabled: false}"), "eu/1", LocalityPolicy::Ignored),
        ("shares need no outlier detection", lb(distribute), "eu/1", shares(&[("eu/1", 80), ("eu/2", 20)])),
        ("the first that is for here", lb(distribute), "us/9", shares(&[("us/1", 100)])),
        ("none is for here", lb(distribute), "eu/2", LocalityPolicy::Ignored),
        ("not even levels are then", both(distribute), "eu/2", LocalityPolicy::Ignored),
        (
            "shares can be turned off",
            lb("{enabled: false, distribute: [{from: eu, to: {eu: 100}}]}"),
            "eu/1",
            LocalityPolicy::Ignored,
        ),
        ("levels need outlier detection", lb("{failover: [{from: eu, to: us}]}"), "eu/1", LocalityPolicy::Ignored),
        ("the next region", both("{failover: [{from: us, to: eu}, {from: eu, to: us}]}"), "eu/1", by_place(Some("us"))),
        ("of another region", both("{failover: [{from: us, to: eu}]}"), "eu/1", by_place(None)),
        ("labels alone", both("{failoverPriority: [version, app=x]}"), "eu/1", by_label(ByPlace::No)),
        (
            "labels and places",
            both("{failoverPriority: [version, app=x], failover: [{from: us, to: eu}]}"),
            "eu/1",
            by_label(ByPlace::Zone),
        ),
    ] {
        assert_eq!(world_of(&policy, here).cluster(USERS).locality_policy, expected, "{what}");
    }
}

#[test]
fn zones_are_shared_with_the_workloads_own_kind() {
    let setting = |text: &str, rest: &str| format!("{{loadBalancer: {{zoneAwareLbSetting: {text}}}{rest}}}");
    for (policy, least, expected) in [
        (setting("{enabled: true}", ""), 6, Levels::default()),
        (setting("{minClusterSize: 2}", ", outlierDetection: {}"), 2, levels(&[], ByPlace::Region, None)),
        (
            setting("{failover: [{from: eu, to: us}]}", ", outlierDetection: {}"),
            6,
            levels(&[], ByPlace::Region, Some("us")),
        ),
    ] {
        let world = world_of(&policy, "eu/1");
        let LocalityPolicy::Zones(zones) = &world.cluster(USERS).locality_policy else { panic!("{policy}") };
        assert_eq!((&zones.levels, zones.least_endpoints), (&expected, least), "{policy}");
        assert_eq!(zones.callers, [("eu/1".into(), 2), ("eu/2".into(), 1)]);
    }
    let off = world_of(&setting("{enabled: false}", ", outlierDetection: {}"), "eu/1");
    assert_eq!(off.cluster(USERS).locality_policy, LocalityPolicy::Ignored);
}

#[test]
fn kubernetes_endpoints_are_in_the_region_of_the_cluster() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {name: users-1, namespace: demo, labels: {kubernetes.io/service-name: users}}\n\
                 addressType: IPv4\nports: [{name: http, port: 80}]\n\
                 endpoints: [{addresses: [10.0.0.1], zone: eu-1a}, {addresses: [10.0.0.2]}]\n---\n";
    for (here, expected) in [("eu/eu-1a", "eu/eu-1a"), ("", "/eu-1a")] {
        let mut site = site();
        site.workload.locality = here.into();
        let world = world_at(&(service("users", 80) + slice), &site);
        let Discovery::Static(specs) = &world.cluster("outbound|80||users.demo.svc.cluster.local").discovery else {
            panic!("the endpoints are listed")
        };
        let localities: Vec<_> = specs.iter().map(|spec| &*spec.workload.locality).collect();
        assert_eq!(localities, [expected, ""]);
    }
}

#[test]
fn warmups() {
    let warmup = |least, aggression| Some(Warmup { duration: Span::from_secs(9), least, aggression });
    for (load_balancer, expected) in [
        ("{simple: ROUND_ROBIN, warmup: {duration: 9s}}", warmup(0.1, 1.0)),
        ("{warmup: {duration: 9s, minimumPercent: 50, aggression: 2}}", warmup(0.5, 2.0)),
        ("{warmupDurationSecs: 9s}", warmup(0.1, 1.0)),
        ("{warmupDurationSecs: 9s, warmup: {duration: 9s, aggression: 3}}", warmup(0.1, 3.0)),
        ("{simple: RANDOM, warmup: {duration: 9s}}", None),
        ("{consistentHash: {useSourceIp: true}, warmup: {duration: 9s}}", None),
        ("{}", None),
    ] {
        let world = world_of(&format!("{{loadBalancer: {load_balancer}}}"), "");
        assert_eq!(world.cluster(USERS).warmup, expected, "{load_balancer}");
    }
}

#[test]
fn cookies_and_tables() {
    let world = world_of(
        "{loadBalancer: {consistentHash: {maglev: {tableSize: 101}, \
         httpCookie: {name: s, ttl: 1.5s, path: /p, attributes: [{name: SameSite, value: Lax}, {name: Secure}]}}}}",
        "",
    );
    let Balancer::Maglev { key: HashKey::Cookie(cookie), table_size: 101 } = &world.cluster(USERS).balancer else {
        panic!("{:?}", world.cluster(USERS).balancer)
    };
    assert_eq!((&*cookie.name, &*cookie.path, cookie.max_age), ("s", "/p", Some(1)));
    assert_eq!(cookie.attributes, [("SameSite".into(), "Lax".into()), ("Secure".into(), "".into())]);
    let world = world_of("{loadBalancer: {consistentHash: {httpCookie: {name: s}}}}", "");
    let Balancer::RingHash { key: HashKey::Cookie(cookie), minimum_size: 1024 } = &world.cluster(USERS).balancer else {
        panic!("{:?}", world.cluster(USERS).balancer)
    };
    assert_eq!(cookie.max_age, None, "it is only read");
}

#[test]
fn budgets_are_blocks_that_ports_lack() {
    let budget = |n: u32| format!("retryBudget: {{minRetryConcurrency: {n}}}");
    let port = "portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]";
    for (what, spec, expected) in [
        ("none", "trafficPolicy: {loadBalancer: {}}".to_owned(), [None, None]),
        ("the rule's", format!("trafficPolicy: {{{}}}", budget(1)), [Some(1), Some(1)]),
        ("a port drops it", format!("trafficPolicy: {{{}, {port}}}", budget(1)), [None, None]),
    ] {
        let subset = "subsets: [{name: s}]";
        let text =
            service("users", 80) + &object("DestinationRule", "d", &format!("{{host: users, {spec}, {subset}}}"));
        assert_eq!(least(&world(&text)), expected, "{what}");
    }
    for (what, rule, subset, expected) in [
        ("the subset's goes first", budget(1), budget(2), [Some(1), Some(2)]),
        ("and stays when its port says something", budget(1), format!("{}, {port}", budget(2)), [Some(1), Some(2)]),
        ("the rule's stays then too", budget(1), port.into(), [Some(1), Some(1)]),
    ] {
        let spec =
            format!("{{host: users, trafficPolicy: {{{rule}}}, subsets: [{{name: s, trafficPolicy: {{{subset}}}}}]}}");
        let text = service("users", 80) + &object("DestinationRule", "d", &spec);
        assert_eq!(least(&world(&text)), expected, "{what}");
    }
}

/// The least of the retry budgets of a service and its subset.
fn least(world: &World) -> [Option<u32>; 2] {
    ["", "s"].map(|subset| {
        let name = format!("outbound|80|{subset}|users.demo.svc.cluster.local");
        world.cluster(&name).limits.budget.map(|budget| budget.least)
    })
}
