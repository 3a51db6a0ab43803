//! Which DestinationRule is in force, and which of its blocks.

use leeboard_policy::cluster::Balancer;
use leeboard_policy::time::Span;

use super::*;

const DR: &str = "DestinationRule";
const USERS: &str = "outbound|80||users.demo.svc.cluster.local";

/// A rule that is told by its ring's size.
fn rule(day: u32, name: &str, host: &str, size: u64, rest: &str) -> String {
    let policy =
        format!("loadBalancer: {{consistentHash: {{useSourceIp: true, ringHash: {{minimumRingSize: {size}}}}}}}");
    object_of_day(day, DR, name, &format!("{{host: '{host}', trafficPolicy: {{{policy}}}{rest}}}"))
}

/// The size of the ring of a cluster; 0 when it has none.
fn ring(world: &World, cluster: &str) -> u64 {
    match world.cluster(cluster).balancer {
        Balancer::RingHash { minimum_size, .. } => minimum_size,
        _ => 0,
    }
}

const FULL: &str = "users.demo.svc.cluster.local";

#[test]
fn lookup_by_namespace() {
    let in_root = |rest: &str| rule(1, "r.istio-system", "*.local", 3, rest);
    let private = ", exportTo: ['.']";
    let for_other = || rule(1, "d", "users", 1, ", exportTo: [other]");
    for (what, text, client, expected) in [
        ("nothing", String::new(), "demo", 0),
        ("the service's", rule(1, "d", "users", 1, ""), "demo", 1),
        ("the service's, from elsewhere", rule(1, "d", "users", 1, ""), "other", 1),
        ("the client's first", rule(1, "d", "users", 1, "") + &rule(2, "c.other", FULL, 2, ""), "other", 2),
        ("though it is a wildcard", rule(1, "d", "users", 1, "") + &rule(2, "c.other", "*.local", 2, ""), "other", 2),
        ("though it is private", rule(1, "d", "users", 1, "") + &rule(2, "c.other", FULL, 2, private), "other", 2),
        ("not of a third namespace", rule(1, "d.third", FULL, 1, ""), "other", 0),
        ("private to the service's", rule(1, "d", "users", 1, private), "other", 0),
        ("named by the service's", for_other(), "other", 1),
        ("for others only, so not for its own", for_other(), "demo", 0),
        ("one for others does not hide the root's", for_other() + &in_root(""), "demo", 3),
        ("nor a wildcard beside it", for_other() + &rule(2, "w", "*.local", 2, ""), "demo", 2),
        (
            "a wider rule is not merged into one that the namespace does not see",
            rule(1, "a", "users", 1, ", exportTo: [other]") + &rule(2, "b", "users", 2, ", exportTo: [other, '.']"),
            "demo",
            2,
        ),
        (
            "but into it for those that do",
            rule(1, "a", "users", 1, ", exportTo: [other]") + &rule(2, "b", "users", 2, ", exportTo: [other, '.']"),
            "other",
            1,
        ),
        ("the root's last", in_root(""), "other", 3),
        ("the service's before the root's", in_root("") + &rule(2, "d", "users", 1, ""), "other", 1),
        (
            "a hidden exact rule hides a wildcard beside it",
            rule(1, "d", "users", 1, private) + &rule(2, "w", "*.demo.svc.cluster.local", 2, ""),
            "other",
            0,
        ),
        ("and the search goes on at the root", rule(1, "d", "users", 1, private) + &in_root(""), "other", 3),
        ("the root's own private rule", in_root(private), "istio-system", 3),
        ("the root's private rule is not for others", in_root(private), "other", 0),
        (
            "of the root's rules its clients see only private ones before the service's",
            in_root("") + &rule(2, "d", "users", 1, ""),
            "istio-system",
            1,
        ),
        (
            "the most specific host",
            rule(1, "w", "*.local", 1, "") + &rule(2, "x", "*.demo.svc.cluster.local", 2, ""),
            "demo",
            2,
        ),
        (
            "exact before wildcard",
            rule(1, "w", "*.demo.svc.cluster.local", 1, "") + &rule(2, "x", "users", 2, ""),
            "demo",
            2,
        ),
    ] {
        let world = world_at(&(service("users", 80) + &text), &site_in(client));
        assert_eq!(ring(&world, USERS), expected, "{what}");
    }
}

#[test]
fn rules_of_one_host_and_namespace() {
    let subset = |name: &str| format!(", subsets: [{{name: {name}}}]");
    let export = |subset_name: &str, list: &str| format!("{}, exportTo: {list}", subset(subset_name));
    for (what, text, expected, subsets) in [
        (
            "merged",
            rule(1, "a", "users", 1, &subset("x")) + &rule(2, "b", "users", 2, &subset("z")),
            1,
            &["x", "z"][..],
        ),
        (
            "the oldest first",
            rule(2, "a", "users", 1, &subset("x")) + &rule(1, "b", "users", 2, &subset("z")),
            2,
            &["x", "z"],
        ),
        (
            "a policy is taken when there is none",
            object_of_day(1, DR, "a", "{host: users, subsets: [{name: x}]}") + &rule(2, "b", "users", 2, &subset("z")),
            2,
            &["x", "z"],
        ),
        (
            "a wider export is merged into the narrower",
            rule(1, "a", "users", 1, &export("x", "['.']")) + &rule(2, "b", "users", 2, &export("z", "['.', other]")),
            1,
            &["x", "z"],
        ),
        (
            "other exports are not merged, and the newest is used alone",
            rule(1, "a", "users", 1, &export("x", "['*']")) + &rule(2, "b", "users", 2, &export("z", "['.']")),
            2,
            &["z"],
        ),
        (
            "nothing written is not the same as everybody",
            rule(1, "a", "users", 1, &export("x", "['*']")) + &rule(2, "b", "users", 2, &subset("z")),
            2,
            &["z"],
        ),
    ] {
        let world = world(&(service("users", 80) + &text));
        assert_eq!(ring(&world, USERS), expected, "{what}");
        for name in ["x", "z"] {
            let cluster = format!("outbound|80|{name}|{FULL}");
            assert_eq!(world.snapshot.cluster_named(&cluster).is_some(), subsets.contains(&name), "{what}: {name}");
        }
    }
}

#[test]
fn of_two_subsets_of_one_name_the_first_stays() {
    let text = service("users", 80)
        + &object_of_day(
            1,
            DR,
            "a",
            "{host: users, subsets: [{name: x, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]}",
        )
        + &object_of_day(2, DR, "b", "{host: users, subsets: [{name: x}]}");
    let world = world(&text);
    assert_eq!(world.cluster(&format!("outbound|80|x|{FULL}")).balancer, Balancer::Random);
}

#[test]
fn selectors() {
    let general = rule(1, "general", "users", 1, "");
    let for_app = |app: &str, day, size| {
        rule(day, &format!("for-{app}"), "users", size, &format!(", workloadSelector: {{matchLabels: {{app: {app}}}}}"))
    };
    let narrow = rule(1, "narrow", "users", 1, ", exportTo: ['.']");
    for (what, text, expected) in [
        ("a fitting selector", general.clone() + &for_app("order", 2, 2), 2),
        ("one that does not fit", general + &for_app("cart", 2, 2), 1),
        (
            "none fits: no rule at all, not even the root's",
            for_app("cart", 2, 2) + &rule(1, "r.istio-system", "*.local", 3, ""),
            0,
        ),
        ("the oldest that fits", for_app("order", 1, 2) + &for_app("order", 2, 3).replace("for-order", "second"), 2),
        ("a narrow general rule stays for the others", narrow + &for_app("cart", 2, 2), 1),
    ] {
        assert_eq!(ring(&world(&(service("users", 80) + &text)), USERS), expected, "{what}");
    }
    let elsewhere = for_app("order", 1, 2);
    let world = world_at(&(service("users", 80) + &elsewhere), &site_in("other"));
    assert_eq!(ring(&world, USERS), 0, "a selector is for its own namespace");
}

/// The policy of `users` on port 80, subset v1, as `balancer/connections/outlier`.
fn effective(top: &str, subset: &str, cluster: &str) -> String {
    let spec = format!("{{host: users{top}, subsets: [{{name: v1{subset}}}]}}");
    let world = world(&(service("users", 80) + &object(DR, "d", &spec)));
    let cluster = world.cluster(cluster);
    let balancer = match cluster.balancer {
        Balancer::LeastRequest => "least",
        Balancer::RoundRobin => "round",
        Balancer::Random => "random",
        Balancer::RingHash { .. } => "ring",
        Balancer::Maglev { .. } => "maglev",
    };
    let connections = cluster.limits.connections.map_or("-".into(), |most| most.to_string());
    format!("{balancer}/{connections}/{}", if cluster.outlier.is_some() { "out" } else { "-" })
}

#[test]
fn blocks_are_overridden_whole() {
    let (round, random) = ("loadBalancer: {simple: ROUND_ROBIN}", "loadBalancer: {simple: RANDOM}");
    let (pool, out) = ("connectionPool: {tcp: {maxConnections: 5}}", "outlierDetection: {}");
    let bare_pool = "connectionPool: {http: {maxRetries: 1}}";
    let policy = |blocks: &[&str]| format!(", trafficPolicy: {{{}}}", blocks.join(", "));
    let port = |number: u16, blocks: &str| format!("portLevelSettings: [{{port: {{number: {number}}}, {blocks}}}]");
    for (what, top, subset, plain, v1) in [
        ("nothing", String::new(), String::new(), "least/-/-", "least/-/-"),
        ("inherited", policy(&[round, pool, out]), String::new(), "round/5/out", "round/5/out"),
        ("one block", policy(&[round, pool, out]), policy(&[random]), "round/5/out", "random/5/out"),
        ("no merging of fields", policy(&[pool]), policy(&[bare_pool]), "least/5/-", "least/-/-"),
        ("a port inherits nothing", policy(&[pool, out, &port(80, round)]), String::new(), "round/-/-", "round/-/-"),
        ("another port's", policy(&[pool, out, &port(81, round)]), String::new(), "least/5/out", "least/5/out"),
        ("a subset over a port", policy(&[&port(80, round)]), policy(&[pool]), "round/-/-", "round/5/-"),
        (
            "a subset's port over all",
            policy(&[round, pool, out]),
            policy(&[pool, &port(80, random)]),
            "round/5/out",
            "random/-/-",
        ),
    ] {
        assert_eq!(effective(&top, &subset, USERS), plain, "{what}");
        assert_eq!(effective(&top, &subset, &format!("outbound|80|v1|{FULL}")), v1, "{what}, subset");
    }
}

#[test]
fn a_clusters_policy_says_where_it_is_from() {
    let text = service("users", 80) + &service("others", 80) + &rule(1, "d", "users", 1, ", subsets: [{name: v1}]");
    let world = world(&text);
    for (cluster, rule) in [
        (USERS, Some("DestinationRule demo/d")),
        ("outbound|80|v1|users.demo.svc.cluster.local", Some("DestinationRule demo/d")),
        ("outbound|80||others.demo.svc.cluster.local", None),
    ] {
        let cluster = world.cluster(cluster);
        assert_eq!(cluster.policy_origin.as_ref().map(|origin| &*origin.resource), rule);
        assert!(cluster.origin.resource.starts_with("Service demo/"));
    }
}

#[test]
fn blocks_reach_the_cluster() {
    let policy = "connectionPool: {tcp: {connectTimeout: 30ms, maxConnections: 7}, http: {http1MaxPendingRequests: 8, \
                  http2MaxRequests: 9, maxRetries: 3, idleTimeout: 5s, useClientProtocol: true}}, \
                  outlierDetection: {consecutive5xxErrors: 2, minHealthPercent: 40}";
    let spec = format!("{{host: users, trafficPolicy: {{{policy}}}}}");
    let world = world(&(service("users", 80) + &object(DR, "d", &spec)));
    let cluster = world.cluster(USERS);
    let limits = (cluster.limits.connections, cluster.limits.pending, cluster.limits.requests, cluster.limits.retries);
    assert_eq!(limits, (Some(7), Some(8), Some(9), Some(3)));
    assert_eq!(cluster.connection.connect_timeout, Span::from_millis(30));
    assert_eq!(cluster.connection.idle_timeout, Some(Span::from_secs(5)));
    assert_eq!(cluster.protocol, leeboard_policy::cluster::Protocol::Client);
    assert_eq!(cluster.outlier.as_ref().map(|outlier| outlier.consecutive_5xx), Some(2));
    assert_eq!(cluster.panic_percent, 40);
}

#[test]
fn passthrough_goes_where_the_caller_was_going() {
    let spec = "{host: users, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}";
    assert_eq!(world(&(service("users", 80) + &object(DR, "d", spec))).endpoints(USERS), ["original"]);
}
