//! What a Sidecar lets the workload see, where unknown hosts go, and how much the application is given.

use leeboard_policy::snapshot::UnknownHosts;

use super::*;

/// Services of three namespaces, one of them on two ports, and a host outside.
fn services() -> String {
    let two = "spec: {clusterIP: 10.0.0.1, ports: [{name: http-a, port: 80}, {name: http-b, port: 81}]}";
    let outside = "{hosts: [api.example.com], ports: [{number: 80, name: http}], resolution: DNS}";
    service("users", 80)
        + &core("Service", "carts", two)
        + &service("far.other", 80)
        + &service("third.third", 80)
        + &object("ServiceEntry", "outside.other", outside)
}

/// The virtual hosts and clusters that are left, as `users:80`.
fn seen(egress: &str, more: &str) -> (Vec<String>, Vec<String>) {
    let world = world(&(services() + &object("Sidecar", "s", &format!("{{egress: {egress}}}")) + more));
    let short = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
    let mut hosts: Vec<_> =
        world.snapshot.hosts().iter().map(|host| format!("{}:{}", short(&host.name), host.port)).collect();
    let outbound = |name: &str| name.strip_prefix("outbound|").map(str::to_owned);
    let clusters = world.snapshot.clusters().iter().filter_map(|cluster| outbound(&cluster.name));
    let mut clusters: Vec<_> = clusters
        .filter_map(|name| name.split_once("||").map(|(port, host)| format!("{}:{port}", short(host))))
        .collect();
    hosts.sort();
    clusters.sort();
    assert_eq!(world.complaints(), [""; 0], "{egress} {more}");
    (hosts, clusters)
}

#[test]
fn what_is_imported() {
    let all = ["api:80", "carts:80", "carts:81", "far:80", "third:80", "users:80"];
    let own = ["carts:80", "carts:81", "users:80"];
    for (egress, expected) in [
        ("[{hosts: ['*/*']}]", &all[..]),
        ("[{hosts: ['./*']}]", &own),
        ("[{hosts: ['demo/*']}]", &own),
        ("[{hosts: ['~/*']}]", &[]),
        ("[{hosts: ['other/*']}]", &["api:80", "far:80"]),
        ("[{hosts: ['other/*.svc.cluster.local']}]", &["far:80"]),
        ("[{hosts: ['*/*.example.com']}]", &["api:80"]),
        ("[{hosts: ['./users.demo.svc.cluster.local']}]", &["users:80"]),
        ("[{hosts: ['other/users.demo.svc.cluster.local']}]", &[]),
        ("[{hosts: ['*/*', '~other/*', '~demo/users.demo.svc.cluster.local']}]", &["carts:80", "carts:81", "third:80"]),
        // An entry with a port brings that port only; on it, the entry without one is not asked.
        ("[{port: {number: 81}, hosts: ['./*']}]", &["carts:81"]),
        ("[{port: {number: 80}, hosts: ['./*']}, {hosts: ['other/*']}]", &["carts:80", "users:80"]),
        ("[{port: {number: 81}, hosts: ['~/*']}, {hosts: ['./*']}]", &["carts:80", "users:80"]),
    ] {
        assert_eq!(seen(egress, "").0, expected, "{egress}");
    }
    let sidecar = |name: &str| object("Sidecar", name, "{egress: [{hosts: ['./users.demo.svc.cluster.local']}]}");
    for (name, count) in [("own", 1), ("own.other", 6), ("root.istio-system", 1)] {
        assert_eq!(world(&(services() + &sidecar(name))).snapshot.hosts().len(), count, "{name}");
    }
}

#[test]
fn what_a_route_leads_to_is_there_but_has_no_host_of_its_own() {
    let vs = |name: &str, spec: &str| object("VirtualService", name, spec);
    let to = |host: &str, port: &str| format!("http: [{{route: [{{destination: {{host: {host}{port}}}}}]}}]");
    let users = "[{hosts: ['./users.demo.svc.cluster.local']}]";
    let far = "far.other.svc.cluster.local";
    for (what, egress, more, hosts, clusters) in [
        ("nothing", users, String::new(), &["users:80"][..], &["users:80"][..]),
        (
            "a destination",
            users,
            vs("v", &format!("{{hosts: [users], {}}}", to(far, ""))),
            &["users:80"],
            &["far:80", "users:80"],
        ),
        (
            "the ports that are used",
            users,
            vs("v", &format!("{{hosts: [users], {}}}", to("carts", ", port: {number: 81}"))),
            &["users:80"],
            &["carts:81", "users:80"],
        ),
        (
            "a VirtualService of a namespace that is not seen",
            users,
            vs("v.other", &format!("{{hosts: [users.demo.svc.cluster.local], {}}}", to(far, ""))),
            &["users:80"],
            &["users:80"],
        ),
        (
            "one that is seen for another host",
            users,
            vs("v", &format!("{{hosts: [carts], {}}}", to(far, ""))),
            &["users:80"],
            &["users:80"],
        ),
    ] {
        let found = seen(egress, &more);
        assert_eq!((&found.0[..], &found.1[..]), (&strings(hosts)[..], &strings(clusters)[..]), "{what}");
    }
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_of_namespaces_that_are_not_seen_do_not_count() {
    let rule = "{hosts: [users.demo.svc.cluster.local], http: [{directResponse: {status: 201}}]}";
    let text = services() + &object("VirtualService", "v.other", rule);
    for (egress, ruled) in [
        ("[{hosts: ['*/*']}]", true),
        ("[{hosts: ['./*']}]", false),
        ("[{hosts: ['./*', 'other/users.demo.svc.cluster.local']}]", true),
        ("[{hosts: ['./*', 'other/*.example.com']}]", false),
        ("[{port: {number: 80}, hosts: ['./*']}, {hosts: ['*/*']}]", false),
    ] {
        let world = world(&(text.clone() + &object("Sidecar", "s", &format!("{{egress: {egress}}}"))));
        assert_eq!(world.routes("users", 80) == [" -> direct 201"], ruled, "{egress}");
    }
}

#[test]
fn unknown_hosts_are_sent_to_the_egress_proxy() {
    let sidecar = |host: &str, port: u16| {
        let proxy = format!("egressProxy: {{host: {host}, port: {{number: {port}}}}}");
        object("Sidecar", "s", &format!("{{outboundTrafficPolicy: {{mode: ALLOW_ANY, {proxy}}}}}"))
    };
    let found = world(&(services() + &sidecar("far.other.svc.cluster.local", 80)));
    let UnknownHosts::Allow(id) = found.snapshot.unknown() else { panic!("they are sent somewhere") };
    assert_eq!(&*found.snapshot.cluster(*id).name, "outbound|80||far.other.svc.cluster.local");
    let lost = world(&(services() + &sidecar("nobody.example.com", 80)));
    assert_eq!(lost.snapshot.unknown(), &UnknownHosts::Block);
    assert!(lost.complaints()[0].starts_with("error L0301"), "{:?}", lost.complaints());
}

#[test]
fn how_much_the_application_is_given() {
    let pool = |n: u32| format!("connectionPool: {{http: {{http2MaxRequests: {n}}}}}");
    let rule = object("DestinationRule", "d", &format!("{{host: order, trafficPolicy: {{{}}}}}", pool(1)));
    let order =
        core("Service", "order", "spec: {selector: {app: order}, ports: [{name: http, port: 80, targetPort: 8080}]}");
    let top = "inboundConnectionPool: {http: {http2MaxRequests: 2}}";
    let ingress = |port: u16, rest: &str| format!("ingress: [{{port: {{number: {port}}}{rest}}}]");
    for (sidecar, expected) in [
        (String::new(), Some(1)),
        (format!("{{{top}}}"), Some(2)),
        (format!("{{{top}, {}}}", ingress(8080, &format!(", {}", pool(3)))), Some(3)),
        (format!("{{{top}, {}}}", ingress(9090, &format!(", {}", pool(3)))), Some(2)),
        (format!("{{{}}}", ingress(8080, "")), Some(1)),
        ("{inboundConnectionPool: {tcp: {maxConnections: 9}}}".into(), None),
    ] {
        let sidecar = if sidecar.is_empty() { sidecar } else { object("Sidecar", "s", &sidecar) };
        let mut site = site();
        site.inbound.push(("0.0.0.0:15006".parse().unwrap(), "127.0.0.1:8080".parse().unwrap()));
        let world = world_at(&(order.clone() + &rule + &sidecar), &site);
        assert_eq!(world.cluster("inbound|8080||").limits.requests, expected, "{sidecar}");
    }
}
