//! Which VirtualService owns which host.

use super::*;

const VS: &str = "VirtualService";

/// A VirtualService whose only rule answers with a status.
fn answers(day: u32, name: &str, hosts: &str, status: u16) -> String {
    object_of_day(day, VS, name, &format!("{{hosts: {hosts}, http: [{{directResponse: {{status: {status}}}}}]}}"))
}

#[test]
fn the_oldest_owns_an_exact_host_and_nothing_is_merged() {
    let text = service("users", 80)
        + &answers(3, "a", "[users]", 203)
        + &answers(1, "c", "[users.demo.svc.cluster.local]", 201)
        + &answers(2, "b", "[users, other]", 202);
    let world = world(&text);
    assert_eq!(world.routes("users", 80), [" -> direct 201"]);
    assert_eq!(world.routes("other.demo.svc.cluster.local", 80), [" -> direct 202"]);
    let winner = "is routed by VirtualService demo/c, which comes first; these rules are not used for it";
    let lost: Vec<_> = world.complaints().into_iter().filter(|told| told.contains(winner)).collect();
    assert_eq!(lost.len(), 2, "{:?}", world.complaints());
}

#[test]
fn without_a_time_stamp_the_order_of_the_text_counts() {
    let rule = |name: &str, status| {
        answers(1, name, "[users]", status).replace(", creationTimestamp: \"2026-01-01T00:00:00Z\"", "")
    };
    let text = service("users", 80) + &rule("z", 201) + &rule("a", 202);
    assert_eq!(world(&text).routes("users", 80), [" -> direct 201"]);
}

#[test]
fn of_one_age_the_name_counts() {
    let text = service("users", 80) + &answers(1, "b", "[users]", 202) + &answers(1, "a", "[users]", 201);
    assert_eq!(world(&text).routes("users", 80), [" -> direct 201"]);
}

#[test]
fn private_goes_before_exported_before_public() {
    let rule = |day, name: &str, export: &str, status| {
        let spec = format!(
            "{{hosts: [users.demo.svc.cluster.local], exportTo: {export}, \
             http: [{{directResponse: {{status: {status}}}}}]}}"
        );
        object_of_day(day, VS, name, &spec)
    };
    let public = rule(1, "public", "['*']", 201);
    let exported = rule(2, "exported.other", "[demo]", 202);
    let private = rule(3, "private", "['.']", 203);
    let hidden = rule(4, "hidden.other", "['.']", 204);
    for (text, expected) in [
        (hidden.clone(), "default -> outbound|80||users.demo.svc.cluster.local*1"),
        (public.clone() + &hidden, " -> direct 201"),
        (public.clone() + &exported, " -> direct 202"),
        (public + &exported + &private, " -> direct 203"),
    ] {
        assert_eq!(world(&(service("users", 80) + &text)).routes("users", 80), [expected]);
    }
}

#[test]
fn gateways_decide_where_it_applies() {
    for (gateways, applies) in [("[]", true), ("[mesh]", true), ("[front]", false), ("[front, mesh]", true)] {
        let spec = format!("{{hosts: [users], gateways: {gateways}, http: [{{directResponse: {{status: 201}}}}]}}");
        let world = world(&(service("users", 80) + &object(VS, "v", &spec)));
        assert_eq!(world.routes("users", 80) == [" -> direct 201"], applies, "{gateways}");
    }
}

#[test]
fn wildcards_own_what_nothing_more_specific_names() {
    let services = service("users", 80) + &service("orders", 80) + &service("far.other", 80);
    let all = answers(1, "all", "['*.cluster.local']", 201);
    let demo = answers(2, "demo", "['*.demo.svc.cluster.local']", 202);
    let exact = answers(3, "exact", "[users]", 203);
    let world = world(&(services + &all + &demo + &exact));
    assert_eq!(world.routes("users", 80), [" -> direct 203"]);
    assert_eq!(world.routes("orders", 80), [" -> direct 202"]);
    assert_eq!(world.routes("far.other", 80), [" -> direct 201"]);
}

#[test]
fn of_equal_wildcards_the_oldest_owns() {
    let text = service("users", 80)
        + &answers(2, "a", "['*.svc.cluster.local']", 202)
        + &answers(1, "b", "['*.svc.cluster.local']", 201);
    assert_eq!(world(&text).routes("users", 80), [" -> direct 201"]);
}

#[test]
fn an_owner_without_a_rule_for_this_workload_yields_to_the_same_exact_host_only() {
    let nobody = |day, name: &str| {
        let spec = "{hosts: [users], http: [{match: [{sourceLabels: {app: nobody}}], directResponse: {status: 201}}]}";
        object_of_day(day, VS, name, spec)
    };
    let wildcard = answers(1, "w", "['*.svc.cluster.local']", 202);
    let base = service("users", 80) + &nobody(1, "a") + &wildcard;
    let default = "default -> outbound|80||users.demo.svc.cluster.local*1";
    assert_eq!(world(&base).routes("users", 80), [default]);
    let second = base + &answers(2, "b", "[users]", 203);
    assert_eq!(world(&second).routes("users", 80), [" -> direct 203"]);
    assert!(world(&second).complaints().is_empty());
}

#[test]
fn hosts_that_are_no_service_of_the_port() {
    let users = service("users", 9080);
    let rule = |hosts: &str| answers(1, "v", hosts, 201);
    for (hosts, name, port, routed) in [
        // Port 80 always has them, even a service that listens elsewhere.
        ("[a.com]", "a.com", 80, true),
        ("[a.com]", "a.com", 9080, false),
        ("[users]", "users.demo.svc.cluster.local", 80, true),
        ("['*.a.com']", "b.a.com", 80, true),
        ("['*.a.com']", "b.a.com", 9080, false),
        // Then only the host itself: no short names.
        ("[users]", "users", 80, false),
        // Another host of the VirtualService brings them to its ports.
        ("[a.com, users]", "a.com", 9080, true),
        ("['*.a.com', users]", "b.a.com", 9080, true),
        ("[a.com, users]", "a.com", 9081, false),
    ] {
        let world = world(&(users.clone() + &rule(hosts)));
        let found = world.host(name, port).is_some();
        assert_eq!(found, routed, "{hosts} {name}:{port}");
    }
}

#[test]
fn a_wildcard_that_covers_a_service_is_no_host_of_its_own_there() {
    let text = service("users", 8080) + &answers(1, "v", "['*.demo.svc.cluster.local']", 201);
    let world = world(&text);
    assert_eq!(world.routes("users", 8080), [" -> direct 201"]);
    assert!(world.host("nobody.demo.svc.cluster.local", 8080).is_none());
    assert_eq!(&*world.host("nobody.demo.svc.cluster.local", 80).expect("port 80").name, "*.demo.svc.cluster.local:80");
}

#[test]
fn a_wildcard_service_is_owned_by_its_name_or_a_wider_one() {
    let entry =
        object("ServiceEntry", "e", "{hosts: ['*.a.com'], ports: [{number: 8080, name: http}], resolution: NONE}");
    for (hosts, owned) in [("['*.a.com']", true), ("['*.com']", true), ("['*.b.a.com']", false), ("[x.a.com]", false)] {
        let world = world(&(entry.clone() + &answers(1, "v", hosts, 201)));
        assert_eq!(world.routes("c.a.com", 8080) == [" -> direct 201"], owned, "{hosts}");
    }
}

#[test]
fn one_rule_set_for_many_hosts() {
    let text = service("users", 80) + &service("orders", 80) + &answers(1, "v", "[users, orders, a.com]", 201);
    let world = world(&text);
    for name in ["users", "orders", "a.com"] {
        assert_eq!(world.routes(name, 80), [" -> direct 201"], "{name}");
    }
}

#[test]
fn short_hosts_are_of_the_virtual_services_namespace() {
    let text = service("users", 80) + &answers(1, "v.other", "[users]", 201);
    assert_eq!(world(&text).routes("users", 80), ["default -> outbound|80||users.demo.svc.cluster.local*1"]);
}
