//! Which DestinationRule is in force, and which of its blocks: a row for each of Istio's rules.

use super::*;

#[test]
fn which_rule_is_in_force() {
    let private = ", exportTo: ['.']";
    let own = || users() + &dr(1, "d", "users", 1, "");
    check(vec![
        ("the service's namespace is asked", own(), "other", USERS, "1"),
        ("the client's is asked first", own() + &dr(2, "c.other", FULL, 2, ""), "other", USERS, "2"),
        ("its private rules too", own() + &dr(2, "c.other", FULL, 2, private), "other", USERS, "2"),
        (
            "the first namespace with any match ends the search, though it is a wildcard",
            own() + &dr(2, "c.other", "*.local", 2, ""),
            "other",
            USERS,
            "2",
        ),
        (
            "nothing is merged across namespaces",
            own()
                + &dr(2, "c.other", FULL, 2, "")
                    .replace("connectionPool: {tcp: {maxConnections: 2}}", "loadBalancer: {simple: RANDOM}"),
            "other",
            USERS,
            "random",
        ),
        ("a third namespace is not asked", users() + &dr(1, "d.third", FULL, 1, ""), "other", USERS, "default"),
        (
            "a private rule of the service's namespace is not for others",
            users() + &dr(1, "d", "users", 1, private),
            "other",
            USERS,
            "default",
        ),
        ("one that names the client is", users() + &dr(1, "d", "users", 1, ", exportTo: [other]"), "other", USERS, "1"),
    ]);
}

#[test]
fn which_rule_of_the_root_is_in_force() {
    let in_root = |rest: &str| dr(1, "r.istio-system", "*.local", 3, rest);
    let private = ", exportTo: ['.']";
    check(vec![
        ("then the root namespace is asked", users() + &in_root(""), "other", USERS, "3"),
        (
            "even when the service's has only a hidden rule",
            users() + &dr(1, "d", "users", 1, private) + &in_root(""),
            "other",
            USERS,
            "3",
        ),
        (
            "a hidden exact rule hides an exported wildcard",
            users() + &dr(1, "d", "users", 1, private) + &dr(2, "w", "*.local", 2, ""),
            "other",
            USERS,
            "default",
        ),
        ("a private rule of the root is for the root", users() + &in_root(private), "other", USERS, "default"),
        (
            "clients in the root ask its private rules first",
            users() + &dr(1, "d", "users", 1, "") + &in_root(private),
            "istio-system",
            USERS,
            "3",
        ),
        ("its public rules last", users() + &dr(1, "d", "users", 1, "") + &in_root(""), "istio-system", USERS, "1"),
        (
            "the exact host goes first",
            users() + &dr(1, "w", "*.demo.svc.cluster.local", 1, "") + &dr(2, "x", "users", 2, ""),
            "demo",
            USERS,
            "2",
        ),
        (
            "then the longest wildcard",
            users() + &dr(1, "w", "*.local", 1, "") + &dr(2, "x", "*.demo.svc.cluster.local", 2, ""),
            "demo",
            USERS,
            "2",
        ),
    ]);
}

#[test]
fn rules_of_one_host() {
    let subset = |name: &str| format!(", subsets: [{{name: {name}}}]");
    let both = |a: &str, b: &str| {
        users() + &dr(1, "a", "users", 1, &(subset("x") + a)) + &dr(2, "b", "users", 2, &(subset("z") + b))
    };
    let bare = object_of_day(1, "DestinationRule", "a", "{host: users, subsets: [{name: x}]}");
    let z = "outbound|80|z|users.demo.svc.cluster.local";
    let x = "outbound|80|x|users.demo.svc.cluster.local";
    check(vec![
        ("equal exports are merged: the older's policy", both("", ""), "demo", USERS, "1"),
        ("and the younger's subsets", both("", ""), "demo", z, "1"),
        (
            "of two subsets of one name the older stays",
            users()
                + &dr(1, "a", "users", 1, ", subsets: [{name: x, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]")
                + &dr(2, "b", "users", 2, &subset("x")),
            "demo",
            x,
            "1 random",
        ),
        (
            "a policy is taken whole where there is none",
            users() + &bare + &dr(2, "b", "users", 2, ""),
            "demo",
            USERS,
            "2",
        ),
        (
            "and not block by block",
            users()
                + &dr(1, "a", "users", 1, "")
                + &dr(2, "b", "users", 2, "")
                    .replace("connectionPool: {tcp: {maxConnections: 2}}", "loadBalancer: {simple: RANDOM}"),
            "demo",
            USERS,
            "1",
        ),
        (
            "a wider export is merged into the narrower",
            both(", exportTo: ['.']", ", exportTo: ['.', other]"),
            "demo",
            z,
            "1",
        ),
        (
            "other exports are not: the youngest alone",
            both(", exportTo: ['*']", ", exportTo: ['.']"),
            "demo",
            USERS,
            "2",
        ),
        ("and its subsets alone", both(", exportTo: ['*']", ", exportTo: ['.']"), "demo", x, "no such cluster"),
        ("nothing written is not the same as `*`", both(", exportTo: ['*']", ""), "demo", USERS, "2"),
    ]);
}

#[test]
fn rules_with_selectors() {
    let selected = |day, name: &str, app: &str, most, rest: &str| {
        dr(day, name, "users", most, &format!(", workloadSelector: {{matchLabels: {{app: {app}}}}}{rest}"))
    };
    let subset = |name: &str| format!(", subsets: [{{name: {name}}}]");
    let x = "outbound|80|x|users.demo.svc.cluster.local";
    let general = users() + &dr(1, "g", "users", 1, &subset("x"));
    check(vec![
        (
            "a rule for this workload goes before the general one",
            general.clone() + &selected(2, "s", "order", 2, ""),
            "demo",
            USERS,
            "2",
        ),
        (
            "and does not have its subsets",
            general.clone() + &selected(2, "s", "order", 2, ""),
            "demo",
            x,
            "no such cluster",
        ),
        (
            "one for another workload does not count",
            general.clone() + &selected(2, "s", "cart", 2, ""),
            "demo",
            USERS,
            "1",
        ),
        ("a selector is for its own namespace", users() + &selected(1, "s", "order", 2, ""), "other", USERS, "default"),
        (
            "without a fitting one no other namespace is asked",
            users() + &selected(1, "s", "cart", 2, "") + &dr(1, "r.istio-system", "*.local", 3, ""),
            "demo",
            USERS,
            "default",
        ),
        (
            "the oldest that fits",
            users()
                + &selected(1, "s", "order", 2, "")
                + &selected(2, "t", "order", 3, "").replace("app: order", "version: v1"),
            "demo",
            USERS,
            "2",
        ),
        (
            "equal selectors are merged",
            users() + &selected(1, "s", "order", 2, "") + &selected(2, "t", "order", 3, &subset("x")),
            "demo",
            x,
            "2",
        ),
        (
            "a general rule of a wider export is merged into a selector's",
            users()
                + &selected(1, "s", "order", 2, "")
                + &dr(2, "g", "users", 1, &(subset("x") + ", exportTo: ['.', other]")),
            "demo",
            x,
            "2",
        ),
        (
            "a general rule of the same export stays for the others",
            users() + &selected(1, "s", "cart", 2, "") + &dr(2, "g", "users", 1, ", exportTo: ['.']"),
            "demo",
            USERS,
            "1",
        ),
    ]);
}

#[test]
fn effective_policy() {
    let (pool, random) = ("connectionPool: {tcp: {maxConnections: 5}}", "loadBalancer: {simple: RANDOM}");
    let (ejects, round) = ("outlierDetection: {}", "loadBalancer: {simple: ROUND_ROBIN}");
    let retries = "connectionPool: {http: {maxRetries: 1}}";
    let port = |number: u16, blocks: &str| format!("portLevelSettings: [{{port: {{number: {number}}}, {blocks}}}]");
    let rule = |top: &[&str], subset: &[&str]| {
        let policy = |blocks: &[&str]| match blocks.is_empty() {
            true => String::new(),
            false => format!(", trafficPolicy: {{{}}}", blocks.join(", ")),
        };
        let spec = format!("{{host: users{}, subsets: [{{name: v1{}}}]}}", policy(top), policy(subset));
        users() + &object("DestinationRule", "d", &spec)
    };
    let v1 = "outbound|80|v1|users.demo.svc.cluster.local";
    check(vec![
        ("all ports have the rule's blocks", rule(&[pool, ejects], &[]), "demo", USERS, "5 ejects"),
        ("and all subsets", rule(&[pool, ejects], &[]), "demo", v1, "5 ejects"),
        ("a port's blocks inherit nothing", rule(&[pool, ejects, &port(80, random)], &[]), "demo", USERS, "random"),
        ("not those of another port", rule(&[pool, &port(81, random)], &[]), "demo", USERS, "5"),
        ("a port is the service's, not the endpoint's", rule(&[&port(8080, random)], &[]), "demo", USERS, "default"),
        ("a subset's block replaces the rule's", rule(&[pool, random], &[round]), "demo", v1, "5 round-robin"),
        ("as a whole, not field by field", rule(&[pool], &[retries]), "demo", v1, "default"),
        ("the other blocks stay", rule(&[pool, random, ejects], &[round]), "demo", v1, "5 round-robin ejects"),
        ("the rule itself does not change", rule(&[pool, random], &[round]), "demo", USERS, "5 random"),
        ("a subset's block replaces a port's", rule(&[&port(80, random)], &[round]), "demo", v1, "round-robin"),
        (
            "a subset's port replaces everything",
            rule(&[pool, random, ejects], &[ejects, &port(80, round)]),
            "demo",
            v1,
            "round-robin",
        ),
    ]);
}
