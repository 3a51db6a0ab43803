//! What explanations take from the text: places of conditions, rules that are not for the proxy, VirtualServices in vain.

use super::*;
use crate::compile::{definition, places, rules_as_written, unclaimed, unused};
use crate::resources::Resources;

const VS: &str = "VirtualService";

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: demo}
spec:
  hosts: [users]
  http:
    - name: mixed
      match:
        - uri: {prefix: /a}
          headers:
            X-Canary: {exact: v2}
            X-Other: {}
        - without_headers: {X-Old: {}}
          queryParams: {page: {exact: '1'}}
          sourceLabels: {app: order, version: v9}
        - {method: {exact: GET}, port: 81}
        - uri: {prefix: /edge}
          gateways: [edge]
      route: [{destination: {host: users}}]
    - name: part
      match:
        - headers: {x-root: {exact: r}}
      delegate: {name: part}
    - name: other
      match: [{sourceNamespace: prod}]
      route: [{destination: {host: users}}]
    - route: [{destination: {host: users}}]
    - name: beyond
      match: [{port: 81}]
      route: [{destination: {host: users}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: demo}
spec:
  http:
    - name: own
      match:
        - uri: {exact: /p}
      route: [{destination: {host: users}}]
---
";

fn read(text: &str) -> (Vec<Source>, Resources, Snapshot) {
    let sources = vec![Source::new("test.yaml", text)];
    let loaded = load(&sources);
    assert_eq!(loaded.errors(), 0, "{:#?}", loaded.diagnostics);
    let (snapshot, _) = compile(&loaded.resources, &site());
    (sources, loaded.resources, snapshot)
}

/// What stands at a place, up to the first `:` or `,`.
fn text_at(sources: &[Source], origin: &leeboard_policy::origin::Origin) -> String {
    let line = sources[0].text.lines().nth(origin.line as usize - 1).expect("the line is there");
    line[origin.column as usize - 1..].split([':', ',']).next().unwrap_or_default().to_owned()
}

#[test]
fn every_condition_is_found_where_it_is_written() {
    let (sources, resources, snapshot) = read(&(ROUTES.to_owned() + &service("users", 80)));
    let host = snapshot.host(80, "users").expect("it is routed");
    let rules = rules_as_written(&resources, &site(), host);
    let told: Vec<_> = rules
        .iter()
        .map(|rule| match &rule.lacking {
            None => format!("{} {}", rule.place, rule.name),
            Some(l) => format!("before {} {}: {} {} {:?}", rule.place, rule.name, l.part, l.wanted, l.is),
        })
        .collect();
    let expected = [
        "0 mixed",
        "before 1 mixed: sourceLabels[version] v9 Some(\"v1\")",
        "before 1 mixed: port 81 Some(\"80\")",
        "before 1 mixed: gateways edge Some(\"mesh\")",
        "1 part-own",
        "before 2 other: sourceNamespace prod Some(\"demo\")",
        "2 ",
    ];
    assert_eq!(told, expected);
    #[rustfmt::skip]
    let table = [
        // rule, part, line, what stands there
        (0, "uri", Some((10, "uri"))),
        (0, "headers[x-canary]", Some((12, "X-Canary"))),
        (0, "headers[x-other]", Some((13, "X-Other"))),
        (0, "method", None),
        (1, "withoutHeaders[x-old]", Some((14, "X-Old"))),
        (1, "queryParams[page]", Some((15, "page"))),
        (1, "queryParams[Page]", None),
        (1, "sourceLabels[version]", Some((16, "version"))),
        (2, "port", Some((17, "port"))),
        (2, "method", Some((17, "method"))),
        (3, "gateways", Some((19, "gateways"))),
        (4, "uri", Some((40, "uri"))),
        (4, "headers[x-root]", Some((23, "x-root"))),
        (5, "sourceNamespace", Some((26, "sourceNamespace"))),
    ];
    for (rule, part, expected) in table {
        let found = places(&[(&rules[rule], part)], &sources).remove(0);
        let found = found.map(|origin| (origin.line, text_at(&sources, &origin)));
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())), "{part} of {rule}");
    }
    let root = rules[4].root.as_ref().map(|root| (root.line, &*root.resource));
    assert_eq!(root, Some((21, "VirtualService demo/users")));
    for other in [vec![Source::new("test.yaml", "a: 1")], Vec::new()] {
        assert_eq!(places(&[(&rules[4], "headers[x-root]")], &other), [None]);
    }
}

#[test]
fn other_objects_than_it_was_made_of_say_nothing() {
    let (_, resources, _) = read(&(ROUTES.to_owned() + &service("users", 80)));
    let changed = ROUTES.replace("- name: mixed", "- name: changed") + &service("users", 80);
    let (_, _, snapshot) = read(&changed);
    let host = snapshot.host(80, "users").expect("it is routed");
    assert!(rules_as_written(&resources, &site(), host).is_empty());
    let (_, _, plain) = read(&service("users", 80));
    let host = plain.host(80, "users").expect("it is routed");
    assert!(rules_as_written(&resources, &site(), host).is_empty());
}

#[test]
fn virtual_services_in_vain_are_told_with_the_reason() {
    let routes = "http: [{route: [{destination: {host: users}}]}]";
    #[rustfmt::skip]
    let table = [
        (object(VS, "a", &format!("{{hosts: [users], {routes}}}")), "VirtualService demo/first comes first"),
        (object(VS, "a.other", &format!("{{hosts: [users.demo.svc.cluster.local], {routes}, exportTo: ['.']}}")),
            "it is not exported to namespace demo"),
        (object(VS, "a", &format!("{{hosts: [users], {routes}, gateways: [edge]}}")), "its `gateways` are edge, without `mesh`"),
        (object(VS, "a", &format!("{{hosts: ['*.svc.cluster.local'], {routes}}}")), "names the host more precisely than by *.svc"),
        (object(VS, "a", &format!("{{hosts: [elsewhere], {routes}}}")), ""),
    ];
    for (text, expected) in table {
        let first = object(VS, "first", &format!("{{hosts: [users], {routes}}}"));
        let (_, resources, snapshot) = read(&(first + &text + &service("users", 80)));
        let found = unused(&resources, &site(), snapshot.host(80, "users").expect("it is routed"));
        let why = found.first().map_or("", |unused| unused.why.as_str());
        assert!(why.contains(expected) && why.is_empty() == expected.is_empty(), "{text}: {why}");
    }
    let only_prod = object(
        VS,
        "a",
        "{hosts: [users], http: [{match: [{sourceNamespace: prod}], route: [{destination: {host: users}}]}]}",
    );
    let (_, resources, snapshot) = read(&(only_prod + &service("users", 80)));
    let found = unused(&resources, &site(), snapshot.host(80, "users").expect("it is routed"));
    assert_eq!(found[0].why, "none of its rules is for this proxy: the first wants sourceNamespace prod");
}

#[test]
fn a_name_that_nobody_claims_is_told_why() {
    let text = service("users", 80)
        + &service("stock.prod", 80)
        + &core(
            "Service",
            "hidden.prod",
            "spec: {clusterIP: 10.0.0.3, ports: [{name: http, port: 80}, {name: tcp-db, port: 5432}]}",
        )
        .replace("namespace: prod}", "namespace: prod, annotations: {networking.istio.io/exportTo: '.'}}")
        + &core("Service", "db", "spec: {clusterIP: 10.0.0.4, ports: [{name: tcp, port: 5432}]}")
        + &object(
            "ServiceEntry",
            "e.prod",
            "{hosts: ['*.example.com'], exportTo: ['.'], ports: [{number: 80, name: http, protocol: HTTP}]}",
        )
        + &object(VS, "a", "{hosts: [out.test], http: [{route: [{destination: {host: users}}]}]}")
        + &object(VS, "b", "{hosts: [ratings], http: [{route: [{destination: {host: ratings}}]}]}");
    let (_, resources, snapshot) = read(&text);
    #[rustfmt::skip]
    let table = [
        ("users", 8080, "it has no port 8080, but 80"),
        ("stock", 80, "from namespace demo it is called stock.prod"),
        ("hidden.prod", 80, "it is not exported to namespace demo"),
        ("db", 5432, "its port 5432 is not HTTP"),
        ("a.example.com", 80, "it is not exported to namespace demo"),
        (
            "out.test",
            8080,
            "no service out.test is defined, without which its rules hold for that very name on port 80 only",
        ),
        (
            "ratings",
            80,
            "no service ratings.demo.svc.cluster.local is defined, without which its rules hold for that very name on \
             port 80 only",
        ),
        ("user", 80, "users is nearly that name"),
        ("nobody.knows", 80, ""),
    ];
    for (name, port, expected) in table {
        assert!(snapshot.host(port, name).is_none(), "{name}");
        let found = unclaimed(&resources, &site(), name, port);
        let why: Vec<_> = found.iter().map(|unused| unused.why.as_str()).collect();
        assert_eq!(why.join("; "), expected, "{name}");
    }
}

#[test]
fn what_would_define_a_host_that_only_rules_name_is_written_out() {
    let rules = |host: &str| {
        object(VS, "a", &format!("{{hosts: [{host}], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}"))
    };
    for (text, name, port, host) in [
        (rules("ratings"), "ratings", 80, Some("ratings.demo.svc.cluster.local")),
        (rules("ratings"), "ratings.demo", 9080, Some("ratings.demo.svc.cluster.local")),
        (rules("out.test"), "out.test", 81, Some("out.test")),
        (rules("'*.out.test'"), "a.out.test", 81, Some("a.out.test")),
        (rules("users") + &service("users", 80), "users", 81, None),
        (rules("ratings").replace("{hosts", "{exportTo: [prod], hosts"), "ratings", 80, None),
        (String::new(), "ratings", 80, None),
    ] {
        let (_, resources, _) = read(&text);
        let found = definition(&resources, &site(), name, port);
        assert_eq!(found.is_some(), host.is_some(), "{name}: {found:?}");
        let (Some(found), Some(host)) = (found, host) else { continue };
        // What is to be pasted is in order, and does what it says.
        let (_, _, snapshot) = read(&(text + &found));
        assert!(snapshot.cluster_named(&format!("outbound|{port}||{host}")).is_some(), "{found}");
        assert!(snapshot.host(port, name).is_some(), "{found}");
    }
}

#[test]
fn a_short_host_of_a_service_entry_is_not_the_one_that_rules_complete() {
    let text = object(
        "ServiceEntry",
        "e",
        "{hosts: [reviews], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
    ) + &object(VS, "a", "{hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}");
    let (_, resources, snapshot) = read(&text);
    let host = snapshot.host(80, "reviews").expect("the ServiceEntry's");
    let why: Vec<_> = unused(&resources, &site(), host).into_iter().map(|unused| unused.why).collect();
    assert_eq!(why, ["its `reviews` means reviews.demo.svc.cluster.local, which is what the ServiceEntry has to say"]);
}
