//! Complaints about what is named and not there.

use super::*;

fn complaints(http: &str, more: &str) -> Vec<String> {
    let text = format!("{}{}", service("users", 80), service("others", 81))
        + more
        + &object("VirtualService", "v", &format!("{{hosts: [users], http: [{http}]}}"));
    let mut told = world(&text).complaints();
    for line in &mut told {
        // `severity code line: message` without the line, which is of no matter here.
        let (head, message) = line.split_once(": ").expect("it has a message");
        *line = format!("{}: {message}", head.rsplit_once(' ').expect("it has a line").0);
    }
    told
}

#[test]
fn destinations_that_are_not_there() {
    let subsets = object("DestinationRule", "d", "{host: users, subsets: [{name: v1}, {name: v2}]}");
    let selected = object(
        "DestinationRule",
        "s",
        "{host: users, workloadSelector: {matchLabels: {app: order}}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}",
    );
    let to = |destination: &str| format!("{{route: [{{destination: {destination}}}]}}");
    for (http, more, expected) in [
        (to("{host: users}"), "", None),
        (to("{host: users, subset: v1}"), &*subsets, None),
        (to("{host: nobody}"), "", Some("warning L0301: no service nobody.demo.svc.cluster.local is defined here")),
        (to("{host: nobody.com, subset: v1}"), "", Some("warning L0301: no service nobody.com is defined here")),
        (
            to("{host: users, subset: v1}"),
            "",
            Some("warning L0302: no DestinationRule for users.demo.svc.cluster.local defines subset v1"),
        ),
        (to("{host: users, subset: v9}"), &subsets, Some("error L0302: DestinationRule demo/d has no subset v9")),
        (
            to("{host: users, subset: v1}"),
            &(subsets.clone() + &selected),
            Some("error L0302: DestinationRule demo/s has no subset v1"),
        ),
        (
            to("{host: users, port: {number: 99}}"),
            "",
            Some("warning L0303: users.demo.svc.cluster.local has no port 99"),
        ),
        (
            to("{host: others}"),
            "",
            Some(
                "warning L0303: no port is named, and others.demo.svc.cluster.local has no port 80, the one that is called",
            ),
        ),
        (
            "{mirror: {host: nobody}, route: [{destination: {host: users}}]}".into(),
            "",
            Some("warning L0301: no service nobody.demo.svc.cluster.local is defined here"),
        ),
    ] {
        assert_eq!(complaints(&http, more), Vec::from_iter(expected), "{http}");
    }
}

#[test]
fn a_complaint_points_at_the_word() {
    let text = service("users", 80)
        + "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: demo}\nspec:\n  \
           hosts: [users]\n  http:\n  - route:\n    - destination:\n        host: nobody\n";
    let world = world(&text);
    let [complaint] = &world.diagnostics[..] else { panic!("{:?}", world.complaints()) };
    assert_eq!((complaint.primary.line, complaint.primary.column, complaint.primary.len), (14, 15, 6));
    assert_eq!((complaint.ist, &*complaint.resource), (Some("IST0101"), "VirtualService demo/v"));
}

#[test]
fn a_rule_for_nobody() {
    for (host, told) in [("users", 0), ("nobody", 1), ("'*.nobody'", 0)] {
        let text = service("users", 80)
            + &object("DestinationRule", "d", &format!("{{host: {host}, trafficPolicy: {{outlierDetection: {{}}}}}}"));
        assert_eq!(world(&text).diagnostics.len(), told, "{host}");
    }
}

#[test]
fn a_mistake_is_told_once_though_it_is_met_on_every_port() {
    let entry = "{match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}], route: [{destination: {host: nobody}}]}";
    let http = format!("{{hosts: [users, others, a.com], http: [{entry}]}}");
    let text = service("users", 80) + &service("others", 81) + &object("VirtualService", "v", &http);
    assert_eq!(world(&text).complaints().len(), 1);
}
