//! Virtual hosts: ports, domains, what is unknown.

use leeboard_policy::snapshot::UnknownHosts;

use super::*;

#[test]
fn domains_of_a_service() {
    for (client, extra) in [("demo", &["users"][..]), ("other", &[])] {
        let world = world_at(&service("users", 80), &site_in(client));
        let host = &world.snapshot.hosts()[0];
        let mut expected = vec!["users.demo.svc.cluster.local", "users.demo.svc.cluster.local."];
        expected.extend(extra);
        expected.extend(["users.demo.svc", "users.demo", "10.0.0.1"]);
        assert_eq!(host.domains.iter().map(|domain| &**domain).collect::<Vec<_>>(), expected, "{client}");
        assert_eq!((&*host.name, host.port), ("users.demo.svc.cluster.local:80", 80));
    }
}

#[test]
fn addresses_of_an_entry_are_domains_and_ranges_are_not() {
    let spec = "{hosts: [a.com], addresses: [192.0.2.1, 10.0.0.0/8, 'fd00::1'], \
                ports: [{number: 80, name: http}], resolution: NONE}";
    let world = world(&object("ServiceEntry", "a", spec));
    let domains: Vec<_> = world.snapshot.hosts()[0].domains.iter().map(|domain| &**domain).collect();
    assert_eq!(domains, ["a.com", "a.com.", "192.0.2.1", "[fd00::1]"]);
}

#[test]
fn ports_that_are_routed() {
    let ports = "[{name: http, port: 80}, {name: grpc-x, port: 81}, {name: whatever, port: 82}, {name: tcp, port: 83}, \
                 {name: https, port: 84}, {name: x, port: 3306}, {name: u, port: 53, protocol: UDP}, \
                 {name: other, port: 85, appProtocol: kubernetes.io/h2c}]";
    let world = world(&core("Service", "users", &format!("spec: {{clusterIP: 10.0.0.1, ports: {ports}}}")));
    for (port, routed, protocol) in [
        (80, true, Some("Http1")),
        (81, true, Some("Http2")),
        (82, true, Some("Client")),
        (83, false, Some("Http1")),
        (84, false, Some("Http1")),
        (3306, false, Some("Http1")),
        (53, false, None),
        (85, true, Some("Http2")),
    ] {
        assert_eq!(world.host("users", port).is_some(), routed, "{port}");
        let cluster = world.snapshot.cluster_named(&format!("outbound|{port}||users.demo.svc.cluster.local"));
        let found = cluster.map(|id| format!("{:?}", world.snapshot.cluster(id).protocol));
        assert_eq!(found.as_deref(), protocol, "{port}");
    }
}

#[test]
fn a_domain_belongs_to_the_first_that_claims_it() {
    let entry = |day, host: &str| {
        let spec = format!(
            "{{hosts: [{host}], addresses: [192.0.2.1], ports: [{{number: 80, name: http}}], resolution: NONE}}"
        );
        object_of_day(day, "ServiceEntry", host.split('.').next().unwrap(), &spec)
    };
    let world = world(&(entry(2, "a.com") + &entry(1, "b.com")));
    assert_eq!(&*world.host("192.0.2.1", 80).unwrap().name, "b.com:80");
    let claims =
        world.snapshot.hosts().iter().flat_map(|host| &host.domains).filter(|domain| &***domain == "192.0.2.1");
    assert_eq!(claims.count(), 1);
}

#[test]
fn default_route_of_a_service() {
    let world = world(&service("users", 80));
    let route = world.first("users", 80);
    assert_eq!(&*route.name, "default");
    assert_eq!(&*route.origin.resource, "Service demo/users");
    let forward = world.forward("users", 80);
    assert_eq!(forward.timeout, None);
    assert_eq!(forward.retry.as_deref(), Some(&leeboard_policy::retry::RetryPolicy::istio_default()));
}

#[test]
fn unknown_hosts() {
    let sidecar = |name: &str, spec: &str| object("Sidecar", name, spec);
    let (block, allow) = ("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", "outboundTrafficPolicy: {mode: ALLOW_ANY}");
    let selecting = |app: &str, rest: &str| format!("{{workloadSelector: {{labels: {{app: {app}}}}}, {rest}}}");
    for (text, allowed) in [
        (String::new(), true),
        (sidecar("own", &format!("{{{block}}}")), false),
        (sidecar("own", "{outboundTrafficPolicy: {}}"), false),
        (sidecar("own.other", &format!("{{{block}}}")), true),
        (sidecar("root.istio-system", &format!("{{{block}}}")), false),
        (sidecar("root.istio-system", &format!("{{{block}}}")) + &sidecar("own", &format!("{{{allow}}}")), true),
        (sidecar("own", &format!("{{{allow}}}")) + &sidecar("mine", &selecting("order", block)), false),
        (sidecar("own", &format!("{{{allow}}}")) + &sidecar("else", &selecting("other", block)), true),
        (sidecar("first", &selecting("order", allow)) + &sidecar("second", &selecting("order", block)), true),
    ] {
        let world = world(&text);
        let found = match world.snapshot.unknown() {
            UnknownHosts::Allow(id) => {
                assert_eq!(&*world.snapshot.cluster(*id).name, "PassthroughCluster");
                true
            }
            UnknownHosts::Block => false,
        };
        assert_eq!(found, allowed, "{text}");
    }
}

#[test]
fn the_command_line_gives_the_default_for_unknown_hosts() {
    let site = Site { unknown: Some(crate::resources::sidecar::OutboundTrafficPolicy::RegistryOnly), ..site() };
    assert_eq!(world_at("", &site).snapshot.unknown(), &UnknownHosts::Block);
    assert!(world_at("", &site).snapshot.cluster_named("PassthroughCluster").is_none());
}

#[test]
fn the_same_input_gives_the_same_snapshot() {
    let text: String = (0..20)
        .map(|i| {
            let route =
                format!("{{hosts: [s{i}, '*.x{i}.com'], http: [{{route: [{{destination: {{host: s{i}}}}}]}}]}}");
            let rule = format!("{{host: s{i}, subsets: [{{name: a}}, {{name: b}}]}}");
            service(&format!("s{i}"), 80 + i % 3)
                + &object("VirtualService", &format!("v{i}"), &route)
                + &object("DestinationRule", &format!("d{i}"), &rule)
        })
        .collect();
    let shape = || {
        let world = world(&text);
        format!("{:?} {:?} {:?}", world.snapshot.hosts(), world.snapshot.clusters(), world.diagnostics)
    };
    assert_eq!(shape(), shape());
}
