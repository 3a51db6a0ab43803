//! Delegation: which rules come in the place of an entry, and what they inherit.

use super::*;

const VS: &str = "VirtualService";

/// Routes of `users`, whose VirtualService has one entry that leads to `part`, and a last one that answers 404.
fn delegated(entry: &str, part: &str) -> World {
    let entry = if entry.is_empty() { String::new() } else { format!("{entry}, ") };
    let root =
        format!("{{hosts: [users], http: [{{{entry}delegate: {{name: part}}}}, {{directResponse: {{status: 404}}}}]}}");
    let part = format!("{{http: [{part}]}}");
    world(&(service("users", 80) + &object(VS, "root", &root) + &object(VS, "part", &part)))
}

#[test]
fn rules_come_in_the_place_of_the_entry() {
    let direct = |status| format!("{{match: [{{uri: {{exact: /{status}}}}}], directResponse: {{status: {status}}}}}");
    let world = delegated("", &format!("{}, {}", direct(201), direct(202)));
    assert_eq!(world.routes("users", 80), [" -> direct 201", " -> direct 202", " -> direct 404"]);
    let origin = &world.first("users", 80).origin;
    assert_eq!(&*origin.resource, "VirtualService demo/part");
    assert_eq!(world.complaints(), [""; 0]);
}

#[test]
fn who_can_be_delegated_to() {
    let part = |export: &str| format!("{{http: [{{directResponse: {{status: 201}}}}]{export}}}");
    for (to, text, found) in [
        ("{name: part}", object(VS, "part", &part("")), true),
        ("{name: part}", object(VS, "part.other", &part("")), false),
        ("{name: part, namespace: other}", object(VS, "part.other", &part("")), true),
        ("{name: part, namespace: other}", object(VS, "part.other", &part(", exportTo: ['.']")), false),
        ("{name: part, namespace: other}", object(VS, "part.other", &part(", exportTo: [demo]")), true),
        ("{name: part}", object(VS, "part", &part(", exportTo: ['.']")), true),
        ("{name: part}", object(VS, "part", &format!("{{hosts: [a.com], {}", &part("")[1..])), false),
    ] {
        let root = format!("{{hosts: [users], http: [{{delegate: {to}}}, {{directResponse: {{status: 404}}}}]}}");
        let world = world(&(service("users", 80) + &object(VS, "root", &root) + &text));
        let first = if found { " -> direct 201" } else { " -> direct 404" };
        assert_eq!(world.routes("users", 80)[0], first, "{to} {text}");
    }
}

#[test]
fn matches_that_cannot_hold_together_drop_the_rule() {
    let uri = |form: &str| format!("uri: {{{form}}}");
    for (root, own, fits) in [
        (uri("prefix: /a"), uri("prefix: /a/b"), true),
        (uri("prefix: /a"), uri("exact: /ab"), true),
        (uri("prefix: /a"), uri("prefix: /b"), false),
        (uri("prefix: /a/b"), uri("prefix: /a"), false),
        (uri("prefix: /a"), uri(""), false),
        (uri("exact: /a"), uri("exact: /a"), true),
        (uri("exact: /a"), uri("prefix: /a"), false),
        (uri("exact: /a"), uri(""), false),
        (uri(""), uri("exact: /a"), true),
        (uri("regex: /a"), uri("regex: /a"), false),
        (uri("regex: /a"), uri("exact: /a"), false),
        (uri("prefix: /a"), uri("regex: /a.*"), false),
        (uri("regex: /a"), "method: {exact: GET}".into(), true),
        ("method: {exact: GET}".into(), "method: {exact: PUT}".into(), false),
        ("headers: {x: {exact: a}}".into(), "headers: {x: {exact: b}}".into(), false),
        ("headers: {x: {exact: a}}".into(), "headers: {y: {exact: b}}".into(), true),
        ("withoutHeaders: {x: {exact: a}}".into(), "withoutHeaders: {x: {exact: b}}".into(), false),
        ("queryParams: {x: {prefix: a}}".into(), "queryParams: {x: {prefix: ab}}".into(), true),
        ("{ignoreUriCase: true, uri: {prefix: /a}}".into(), uri("prefix: /a"), false),
        ("port: 80".into(), "port: 81".into(), false),
        ("port: 80".into(), "method: {exact: GET}".into(), true),
        ("sourceNamespace: demo".into(), "sourceNamespace: other".into(), false),
        ("sourceNamespace: demo".into(), "method: {exact: GET}".into(), true),
        ("sourceLabels: {app: order}".into(), "sourceLabels: {app: cart}".into(), false),
        ("sourceLabels: {app: order}".into(), "sourceLabels: {version: v1}".into(), true),
        ("gateways: [mesh]".into(), "gateways: [mesh, a/b]".into(), false),
        ("gateways: [mesh, a/b]".into(), "gateways: [mesh]".into(), true),
        ("method: {exact: GET}".into(), "gateways: [mesh]".into(), true),
    ] {
        let braced = |text: &str| if text.starts_with('{') { text.to_owned() } else { format!("{{{text}}}") };
        let part = format!("{{match: [{}], directResponse: {{status: 201}}}}", braced(&own));
        let world = delegated(&format!("match: [{}]", braced(&root)), &part);
        assert_eq!(world.routes("users", 80)[0] == " -> direct 201", fits, "{root} + {own}");
    }
}

#[test]
fn pairs_that_fit_and_one_that_does_not() {
    let root = "match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}]";
    for (own, routes) in [
        ("[{uri: {prefix: /a/1}}]", 1),
        ("[{uri: {prefix: /a/1}}, {uri: {prefix: /b/1}}]", 2),
        ("[{method: {exact: GET}}]", 2),
        ("[{uri: {prefix: /a/1}}, {uri: {prefix: /c}}]", 0),
    ] {
        let world = delegated(root, &format!("{{match: {own}, directResponse: {{status: 201}}}}"));
        assert_eq!(world.routes("users", 80).len(), 1 + routes, "{own}");
    }
}

#[test]
fn what_is_merged_into_a_match() {
    let root = "name: r, match: [{name: rm, uri: {prefix: /a}, headers: {x: {exact: '1'}, z: {}}, sourceLabels: {app: order}}]";
    let own = "{name: o, match: [{name: om, uri: {prefix: /a/b}, headers: {y: {}}}], directResponse: {status: 201}}";
    let world = delegated(root, own);
    let route = world.first("users", 80);
    assert_eq!(&*route.name, "r-o.rm-om");
    assert!(matches!(&route.when.path, leeboard_policy::pattern::PathMatch::Prefix(path) if &**path == "/a/b"));
    assert_eq!(route.when.headers.iter().map(|header| &*header.name).collect::<Vec<_>>(), ["x", "y", "z"]);
    let unlabelled = delegated("match: [{sourceLabels: {app: cart}}]", "{directResponse: {status: 201}}");
    assert_eq!(unlabelled.routes("users", 80), [" -> direct 404"], "the root's predicates hold for its delegate");
}

#[test]
fn blocks_are_inherited_whole() {
    let to = "route: [{destination: {host: users}}]";
    let root = "timeout: 1s, retries: {attempts: 1}, rewrite: {authority: a.b}, headers: {request: {set: {x: r}}}, \
                mirror: {host: shadow}, fault: {abort: {httpStatus: 500, percentage: {value: 1}}}";
    let shown = |own: &str| {
        let world = delegated(root, &format!("{{{to}{own}}}"));
        let forward = world.forward("users", 80);
        let mirror = forward.mirrors.first().map(|mirror| world.target(&mirror.cluster)).unwrap_or_default();
        let attempts = forward.retry.as_ref().map_or(0, |retry| retry.attempts);
        let header = forward.request_headers.set.first().map(|(name, _)| name.to_string()).unwrap_or_default();
        let seconds = forward.timeout.map_or(0, |timeout| timeout.0 / 1_000_000_000);
        format!("{seconds}s {attempts} {header} {mirror} {} {}", forward.fault.is_some(), forward.authority.is_some())
    };
    let shadow = "!outbound|80||shadow.demo.svc.cluster.local";
    assert_eq!(shown(""), format!("1s 1 x {shadow} true true"));
    assert_eq!(shown(", timeout: 2s, retries: {attempts: 3, retryOn: 5xx}"), format!("2s 3 x {shadow} true true"));
    assert_eq!(shown(", headers: {response: {set: {y: o}}}"), format!("1s 1  {shadow} true true"));
    assert_eq!(shown(", mirror: {host: dark}"), "1s 1 x !outbound|80||dark.demo.svc.cluster.local true true");
}

#[test]
fn names_are_completed_where_they_are_written() {
    let root = "{hosts: [users], http: [{delegate: {name: part, namespace: other}, mirror: {host: shadow}}]}";
    let part = "{http: [{route: [{destination: {host: carts}}]}]}";
    let text = service("users", 80) + &service("carts.other", 80) + &service("shadow", 80);
    let world = world(&(text + &object(VS, "root", root) + &object(VS, "part.other", part)));
    assert_eq!(world.routes("users", 80), [" -> outbound|80||carts.other.svc.cluster.local*0"]);
    let mirror = &world.forward("users", 80).mirrors[0];
    assert_eq!(world.target(&mirror.cluster), "outbound|80||shadow.demo.svc.cluster.local");
}

#[test]
fn a_direct_response_beside_a_delegate_goes_before_its_route() {
    let beside = "directResponse: {status: 503}";
    let route = delegated(beside, "{route: [{destination: {host: users}}]}");
    assert_eq!(route.routes("users", 80)[0], " -> direct 503");
    let redirect = delegated(beside, "{redirect: {uri: /x}}");
    assert_eq!(redirect.routes("users", 80)[0], " -> redirect 301");
}
