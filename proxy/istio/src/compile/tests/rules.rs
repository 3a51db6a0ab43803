//! Rules of a VirtualService: matches, destinations, rewrites and the rest, field by field.

use leeboard_policy::dice::Share;
use leeboard_policy::headers::{Part, Template};
use leeboard_policy::pattern::{PathMatch, Pattern};
use leeboard_policy::retry::{RetryOn, RetryPolicy};
use leeboard_policy::route::{Abort, Redirect, RedirectPath, Rewrite, Substitution};
use leeboard_policy::time::Span;

use super::*;

/// `users` on port 80 with the given entries of `http`, and a rule with subsets v1 and v2.
fn users(http: &str) -> World {
    let rule = "{host: users, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}";
    let text = service("users", 80)
        + &service("others", 81)
        + &object("DestinationRule", "users", rule)
        + &object("VirtualService", "v", &format!("{{hosts: [users], http: {http}}}"));
    world(&text)
}

const TO_USERS: &str = "route: [{destination: {host: users}}]";

fn forward(entry: &str) -> World {
    users(&format!("[{{{entry}}}]"))
}

#[test]
fn a_route_per_match_in_order_up_to_a_catch_all() {
    for (http, expected) in [
        ("[{name: a, TO}, {name: b, TO}]", &["a"][..]),
        (
            "[{name: a, match: [{uri: {prefix: /a}}, {name: x, uri: {prefix: /b}}], TO}, {name: b, TO}]",
            &["a", "a.x", "b"],
        ),
        ("[{name: a, match: [{uri: {prefix: /}}], TO}, {name: b, TO}]", &["a"]),
        ("[{name: a, match: [{uri: {regex: '.*'}}], TO}, {name: b, TO}]", &["a"]),
        ("[{name: a, match: [{uri: {}}], TO}, {name: b, TO}]", &["a"]),
        ("[{name: a, match: [{uri: {prefix: /}, headers: {x: {}}}], TO}, {name: b, TO}]", &["a", "b"]),
        ("[{name: a, match: [{uri: {prefix: /}, method: {exact: GET}}], TO}, {name: b, TO}]", &["a", "b"]),
        ("[{name: a, match: [{withoutHeaders: {x: {}}}], TO}, {name: b, TO}]", &["a", "b"]),
        ("[{name: a, match: [{queryParams: {x: {}}}], TO}, {name: b, TO}]", &["a", "b"]),
        ("[{match: [{name: x, uri: {prefix: /b}}], TO}]", &[".x"]),
    ] {
        let world = users(&http.replace("TO", TO_USERS));
        let names: Vec<_> = world.host("users", 80).expect("routed").routes.iter().map(|route| &*route.name).collect();
        assert_eq!(names, expected, "{http}");
    }
}

#[test]
fn matches_that_are_for_this_workload_on_this_port() {
    for (condition, kept) in [
        ("port: 80", true),
        ("port: 81", false),
        ("sourceLabels: {app: order}", true),
        ("sourceLabels: {app: order, version: v1}", true),
        ("sourceLabels: {app: order, version: v2}", false),
        ("sourceNamespace: demo", true),
        ("sourceNamespace: other", false),
        ("gateways: [mesh]", true),
        ("gateways: [front]", false),
        ("gateways: [front, mesh], sourceLabels: {app: nobody}", true),
        ("gateways: [mesh], port: 81", false),
    ] {
        let world = users(&format!("[{{name: a, match: [{{{condition}}}], {TO_USERS}}}]"));
        assert_eq!(&*world.first("users", 80).name == "a", kept, "{condition}");
    }
}

#[test]
fn conditions_are_translated() {
    let world = forward(&format!(
        "match: [{{uri: {{exact: /A}}, ignoreUriCase: true, scheme: {{exact: https}}, method: {{prefix: P}}, \
         authority: {{regex: 'a.*'}}, headers: {{X-One: {{}}, two: {{exact: ''}}}}, withoutHeaders: {{three: {{prefix: p}}}}, \
         queryParams: {{Four: {{exact: v}}}}}}], {TO_USERS}"
    ));
    let when = world.when("users", 80);
    assert!(matches!(&when.path, PathMatch::ExactIgnoreCase(path) if &**path == "/A"));
    assert!(matches!(when.scheme.as_deref(), Some(Pattern::Exact(scheme)) if &**scheme == "https"));
    assert!(matches!(when.method.as_deref(), Some(Pattern::Prefix(method)) if &**method == "P"));
    let authority = when.authority.as_ref().expect("it is there");
    assert!(authority.matches(b"abc") && !authority.matches(b"cab"));
    let headers: Vec<_> = when.headers.iter().map(|header| format!("{} {}", header.name, header.value)).collect();
    assert_eq!(headers, ["two exact ", "x-one present"]);
    assert_eq!(when.without_headers[0].value.to_string(), "prefix p");
    assert_eq!((&*when.query[0].name, when.query[0].value.to_string()), ("Four", "exact v".to_owned()));
}

#[test]
fn destinations_by_weight_subset_and_port() {
    let users = "outbound|80||users.demo.svc.cluster.local";
    let v1 = "outbound|80|v1|users.demo.svc.cluster.local";
    let v2 = "outbound|80|v2|users.demo.svc.cluster.local";
    let to = |rest: &str| format!("{{destination: {{host: users{rest}}}");
    for (route, expected) in [
        (format!("{}}}", to("")), format!("{users}*0")),
        (format!("{}, weight: 7}}", to(", subset: v1")), format!("{v1}*7")),
        (
            format!("{}, weight: 90}}, {}, weight: 10}}", to(", subset: v1"), to(", subset: v2")),
            format!("{v1}*90 {v2}*10"),
        ),
        (
            format!(
                "{}, weight: 1}}, {}, weight: 0}}, {}, weight: 3}}",
                to(", subset: v1"),
                to(""),
                to(", subset: v2")
            ),
            format!("{v1}*1 {v2}*3"),
        ),
        // One of several keeps its place among several: operations on headers are done in another order then.
        (format!("{}}}, {}, weight: 100}}", to(", subset: v1"), to(", subset: v2")), format!("{v1}*0 {v2}*100")),
        (format!("{}}}", to(", subset: v9")), "!outbound|80|v9|users.demo.svc.cluster.local*0".into()),
        (format!("{}}}", to(", port: {number: 99}")), "!outbound|99||users.demo.svc.cluster.local*0".into()),
        ("{destination: {host: nobody.com}}".into(), "!outbound|80||nobody.com*0".into()),
        // Without a port it is the caller's, though the destination has another.
        ("{destination: {host: others}}".into(), "!outbound|80||others.demo.svc.cluster.local*0".into()),
        (
            "{destination: {host: others, port: {number: 81}}}".into(),
            "outbound|81||others.demo.svc.cluster.local*0".into(),
        ),
        ("{destination: {host: USERS.demo.svc.cluster.local}}".into(), format!("{users}*0")),
    ] {
        let world = forward(&format!("name: r, route: [{route}]"));
        assert_eq!(world.routes("users", 80), [format!("r -> {expected}")], "{route}");
    }
}

#[test]
fn rewrites_depend_on_how_the_path_is_matched() {
    for (uri, rewrite, expected) in [
        ("{prefix: /abc}", "{uri: /z}", "prefix 4 /z"),
        ("{exact: /abc}", "{uri: /z}", "whole /z"),
        ("{regex: '/a.*'}", "{uri: /z}", "whole /z"),
        ("{}", "{uri: /z}", "prefix 1 /z"),
        ("{prefix: /abc}", "{authority: a.com}", "none"),
    ] {
        let world = forward(&format!("match: [{{uri: {uri}}}], rewrite: {rewrite}, {TO_USERS}"));
        let found = match world.forward("users", 80).rewrite.as_deref() {
            Some(Rewrite::Prefix { cut, with }) => format!("prefix {cut} {with}"),
            Some(Rewrite::Whole(path)) => format!("whole {path}"),
            Some(Rewrite::Regex { .. }) => "regex".into(),
            None => "none".into(),
        };
        assert_eq!(found, expected, "{uri} {rewrite}");
    }
    let unmatched = forward(&format!("rewrite: {{uri: /v2}}, {TO_USERS}"));
    assert!(matches!(unmatched.forward("users", 80).rewrite.as_deref(), Some(Rewrite::Prefix { cut: 1, .. })));
}

#[test]
fn substitutions_of_a_regex_rewrite() {
    let literal = |text: &str| Substitution::Literal(text.into());
    for (with, expected) in [
        (r"/new/\1", vec![literal("/new/"), Substitution::Group(1)]),
        (r"\2\1\0", vec![Substitution::Group(2), Substitution::Group(1), Substitution::Group(0)]),
        (r"a\\b", vec![literal(r"a\b")]),
        (r"\12", vec![Substitution::Group(1), literal("2")]),
        ("$1", vec![literal("$1")]),
    ] {
        let entry = format!("rewrite: {{uriRegexRewrite: {{match: '/(a)/(b)', rewrite: '{with}'}}}}, {TO_USERS}");
        let world = forward(&entry);
        let Some(Rewrite::Regex { with: found, .. }) = world.forward("users", 80).rewrite.as_deref() else {
            panic!("{with}")
        };
        assert_eq!(found, &expected, "{with}");
    }
}

#[test]
fn who_decides_the_authority() {
    let text = |authority: &Option<Arc<str>>| authority.as_deref().unwrap_or("-").to_owned();
    let own = "headers: {request: {set: {host: dest.com}}}";
    for (entry, route, destination) in [
        ("rewrite: {authority: re.com}", "re.com", "-"),
        ("headers: {request: {set: {Host: set.com}}}", "set.com", "-"),
        ("headers: {request: {add: {':authority': add.com}}}", "add.com", "-"),
        ("timeout: 1s", "-", "-"),
    ] {
        let world = forward(&format!("{entry}, {TO_USERS}"));
        let forward = world.forward("users", 80);
        assert_eq!(
            (text(&forward.authority), text(&forward.destinations[0].authority)),
            (route.to_owned(), destination.to_owned())
        );
        assert!(forward.request_headers.set.is_empty() && forward.request_headers.add.is_empty(), "{entry}");
    }
    let world = forward(&format!("route: [{{destination: {{host: users}}, {own}}}]"));
    assert_eq!(text(&world.forward("users", 80).destinations[0].authority), "dest.com");
}

#[test]
fn header_operations_stay_with_their_level() {
    let world = forward(
        "headers: {request: {set: {X: '1', empty: ''}, remove: [Gone]}, response: {add: {r: '%RESPONSE_CODE%'}}}, \
         route: [{destination: {host: users}, headers: {request: {add: {d: '2'}}, response: {remove: [s]}}}]",
    );
    let forward = world.forward("users", 80);
    let names = |list: &[(Arc<str>, Template)]| list.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&forward.request_headers.set), ["x"]);
    assert_eq!(forward.request_headers.remove, ["gone".into()]);
    assert_eq!(names(&forward.response_headers.add), ["r"]);
    assert!(matches!(forward.response_headers.add[0].1.0[..], [Part::Operator(_)]));
    let destination = &forward.destinations[0];
    assert_eq!(names(&destination.request_headers.add), ["d"]);
    assert_eq!(destination.response_headers.remove, ["s".into()]);
}

#[test]
fn timeouts_retries_faults_and_mirrors() {
    let world = forward(&format!(
        "timeout: 2s, retries: {{attempts: 5, perTryTimeout: 500ms, retryOn: '5xx,503', backoff: 10ms}}, \
         fault: {{delay: {{fixedDelay: 100ms, percentage: {{value: 12.5}}}}, \
         abort: {{grpcStatus: UNAVAILABLE, percentage: {{value: 0.0001}}}}}}, \
         mirrors: [{{destination: {{host: others, port: {{number: 81}}}}, percentage: {{value: 50}}}}, \
         {{destination: {{host: users, subset: v2}}}}], {TO_USERS}"
    ));
    let forward = world.forward("users", 80);
    assert_eq!(forward.timeout, Some(Span::from_secs(2)));
    let expected = RetryPolicy {
        attempts: 5,
        per_try_timeout: Some(Span::from_millis(500)),
        on: RetryOn::SERVER_ERROR.with(RetryOn::STATUS_CODES),
        status_codes: vec![503],
        backoff: Span::from_millis(10),
        avoid_tried: true,
        leave_levels: false,
    };
    assert_eq!(forward.retry.as_deref(), Some(&expected));
    let fault = forward.fault.as_ref().expect("there is one");
    assert_eq!(fault.delay, Some((Span::from_millis(100), Share(125_000))));
    assert_eq!(fault.abort, Some((Abort::Grpc(14), Share(1))));
    let mirrors: Vec<_> = forward.mirrors.iter().map(|to| (world.target(&to.cluster), to.share)).collect();
    let expected = [
        ("outbound|81||others.demo.svc.cluster.local".to_owned(), Share(500_000)),
        ("outbound|80|v2|users.demo.svc.cluster.local".to_owned(), Share::ALL),
    ];
    assert_eq!(mirrors, expected);
}

#[test]
fn a_percentage_that_is_not_written_is_none() {
    let world = forward(&format!("fault: {{abort: {{httpStatus: 500}}, delay: {{fixedDelay: 1s}}}}, {TO_USERS}"));
    let fault = world.forward("users", 80).fault.as_ref().expect("there is one");
    let shares = (fault.delay.map(|(_, share)| share), fault.abort.map(|(_, share)| share));
    assert!(shares.0.is_none_or(|share| share == Share::NONE) && shares.1.is_none_or(|share| share == Share::NONE));
}

fn redirect(entry: &str) -> Redirect {
    let world = forward(entry);
    match &world.first("users", 80).action {
        Action::Redirect(redirect) => Redirect::clone(redirect),
        other => panic!("{other:?}"),
    }
}

#[test]
fn redirects() {
    let whole = |path: &str| Some(RedirectPath::Whole(path.into()));
    for (entry, path, port, status) in [
        ("redirect: {uri: /x}", whole("/x"), None, 301),
        ("redirect: {authority: a.com, redirectCode: 308}", None, None, 308),
        ("redirect: {scheme: https, port: 8443}", None, Some(8443), 301),
        ("redirect: {scheme: https, derivePort: FROM_REQUEST_PORT}", None, Some(80), 301),
        ("redirect: {scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}", None, None, 301),
        (
            "match: [{uri: {prefix: /old/}}], redirect: {prefixRewrite: /new/}",
            Some(RedirectPath::Prefix { cut: 5, with: "/new/".into() }),
            None,
            301,
        ),
    ] {
        let redirect = redirect(entry);
        assert_eq!((redirect.path, redirect.port, redirect.status), (path, port, status), "{entry}");
    }
    let other = redirect("redirect: {authority: a.com, scheme: https}, headers: {response: {set: {x: '1'}}}");
    assert_eq!((other.authority.as_deref(), other.scheme.as_deref()), (Some("a.com"), Some("https")));
    assert_eq!(other.response_headers.set.len(), 1);
}

#[test]
fn direct_answers() {
    let world = forward("directResponse: {status: 418, body: {string: tea}}, headers: {response: {set: {x: '1'}}}");
    let Action::Direct(direct) = &world.first("users", 80).action else { panic!("it answers itself") };
    assert_eq!((direct.status, &*direct.body, direct.response_headers.set.len()), (418, &b"tea"[..], 1));
}

#[test]
fn every_rule_knows_where_it_is_written() {
    let text = service("users", 80)
        + "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: demo}\nspec:\n  \
           hosts: [users]\n  http:\n  - match: [{uri: {prefix: /a}}]\n    directResponse: {status: 201}\n  \
           - directResponse: {status: 202}\n";
    let world = world(&text);
    let routes = &world.host("users", 80).expect("routed").routes;
    let places: Vec<_> = routes.iter().map(|route| (&*route.origin.resource, route.origin.line)).collect();
    assert_eq!(places, [("VirtualService demo/v", 12), ("VirtualService demo/v", 14)]);
}

#[test]
fn a_single_hashed_destination_is_retried_in_place() {
    let hashed = "{host: users, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x}}}}";
    let split = "{hosts: [users], http: [{route: [{destination: {host: users}, weight: 1}, \
                 {destination: {host: users}, weight: 1}]}]}";
    let single = "{hosts: [users], http: [{route: [{destination: {host: users}}]}]}";
    let base = service("users", 80) + &object("DestinationRule", "d", hashed);
    for (extra, avoided) in [
        (String::new(), false),
        (object("VirtualService", "v", single), false),
        (object("VirtualService", "v", split), true),
    ] {
        let world = world(&(base.clone() + &extra));
        assert_eq!(world.forward("users", 80).retry.as_ref().expect("the default").avoid_tried, avoided, "{extra}");
    }
}

#[test]
fn origins() {
    let cors = "corsPolicy: {allowOrigins: [{exact: a}, {prefix: b}, {regex: 'c.*'}], allowMethods: [GET, PUT], \
                allowHeaders: ['*'], exposeHeaders: [x-1, x-2], maxAge: 60s, allowCredentials: true, unmatchedPreflights: IGNORE}";
    let world = forward(&format!("{cors}, {TO_USERS}"));
    let cors = world.host("users", 80).expect("it is routed").routes[0].cors.clone().expect("there is one");
    let origins: Vec<_> = cors.origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["exact a", "prefix b", "regex c.*"]);
    assert_eq!((&*cors.methods, &*cors.headers, &*cors.exposed), ("GET,PUT", "*", "x-1,x-2"));
    assert_eq!((cors.max_age, cors.credentials, cors.ignores_unmatched), (Some(60), true, true));
    assert!(forward(TO_USERS).host("users", 80).expect("it is routed").routes[0].cors.is_none());
}

#[test]
fn annotations_of_our_own() {
    use leeboard_policy::cluster::HashKey;
    use leeboard_policy::route::FaultScope;
    let text = object(
        "VirtualService",
        "v",
        &format!(
            "{{hosts: [users], http: [{{fault: {{abort: {{httpStatus: 500, percentage: {{value: 1}}}}}}, \
             route: [{{destination: {{host: users}}, weight: 1}}, {{destination: {{host: others, port: {{number: 81}}}}, weight: 1}}]}}, \
             {{{TO_USERS}}}]}}"
        ),
    );
    let noted = |notes: &str| text.replace("namespace: demo}", &format!("namespace: demo, annotations: {{{notes}}}}}"));
    for (notes, key, scope) in [
        ("", None, FaultScope::Request),
        ("leeboard.dev/split-key: source-ip", Some(HashKey::SourceIp), FaultScope::Request),
        ("leeboard.dev/split-key: 'header:X-User'", Some(HashKey::Header("x-user".into())), FaultScope::Request),
        ("leeboard.dev/fault-scope: attempt", None, FaultScope::Attempt),
    ] {
        let world = world(&(service("users", 80) + &service("others", 81) + &noted(notes)));
        let forward = world.forward("users", 80);
        assert_eq!(forward.split_key.as_deref(), key.as_ref(), "{notes}");
        assert_eq!(forward.fault.as_ref().map(|fault| fault.scope), Some(scope), "{notes}");
    }
}
