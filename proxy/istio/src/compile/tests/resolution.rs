//! How names, VirtualServices and DestinationRules are resolved: a row for each of Istio's rules.
//!
//! What is asked is a host and port, answered by its rules, or a cluster, answered by its policy. VirtualServices are told by
//! the status they answer with, DestinationRules by their `maxConnections`.

mod rules;

use leeboard_policy::cluster::Balancer;
use leeboard_policy::snapshot::UnknownHosts;

use super::*;

/// A rule, documents, the client's namespace, a question and its answer.
type Row = (&'static str, String, &'static str, &'static str, &'static str);

const DEFAULT: &str = "default -> outbound|80||users.demo.svc.cluster.local*1";
const USERS: &str = "outbound|80||users.demo.svc.cluster.local";
const FULL: &str = "users.demo.svc.cluster.local";

fn check(rows: Vec<Row>) {
    for (rule, text, client, question, expected) in rows {
        let world = world_at(&text, &site_in(client));
        let answer = match question.split_once(':') {
            _ if question.starts_with("outbound|") => policy(&world, question),
            Some((host, port)) => routes(&world, host, port.parse().expect("a port")),
            None => panic!("{question} asks nothing"),
        };
        assert_eq!(answer, expected, "{rule}\n{question} from {client}\n{text}");
    }
}

fn routes(world: &World, host: &str, port: u16) -> String {
    match (world.host(host, port), world.snapshot.unknown()) {
        (Some(_), _) => world.routes(host, port).join(", "),
        (None, UnknownHosts::Allow(id)) => format!("to {}", world.snapshot.cluster(*id).name),
        (None, UnknownHosts::Block) => "502".into(),
    }
}

/// `maxConnections balancer ejects endpoints` of a cluster, as far as they are not the default.
fn policy(world: &World, cluster: &str) -> String {
    let Some(id) = world.snapshot.cluster_named(cluster) else { return "no such cluster".into() };
    let cluster = world.snapshot.cluster(id);
    let balancer = match cluster.balancer {
        Balancer::Random => "random",
        Balancer::RoundRobin => "round-robin",
        _ => "",
    };
    let connections = cluster.limits.connections.map_or_else(String::new, |most| most.to_string());
    let parts = [&*connections, balancer, if cluster.outlier.is_some() { "ejects" } else { "" }];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "default".into() } else { parts.join(" ") }
}

/// A VirtualService that answers with a status.
fn vs(day: u32, name: &str, hosts: &str, status: u16, rest: &str) -> String {
    let spec = format!("{{hosts: [{hosts}], http: [{{directResponse: {{status: {status}}}}}]{rest}}}");
    object_of_day(day, "VirtualService", name, &spec)
}

/// A VirtualService for `users` that leads to a destination.
fn to(name: &str, destination: &str) -> String {
    let spec = format!("{{hosts: [{FULL}], http: [{{route: [{{destination: {{{destination}}}}}]}}]}}");
    object("VirtualService", name, &spec)
}

/// A DestinationRule of `maxConnections`.
fn dr(day: u32, name: &str, host: &str, most: u32, rest: &str) -> String {
    let pool = format!("connectionPool: {{tcp: {{maxConnections: {most}}}}}");
    object_of_day(day, "DestinationRule", name, &format!("{{host: '{host}', trafficPolicy: {{{pool}}}{rest}}}"))
}

/// A ServiceEntry with one address, so that it can be told which one is used.
fn entry(day: u32, name: &str, host: &str, rest: &str) -> String {
    let spec = format!(
        "{{hosts: ['{host}'], ports: [{{number: 80, name: http}}], resolution: STATIC, \
         endpoints: [{{address: 192.0.2.{day}}}]{rest}}}"
    );
    object_of_day(day, "ServiceEntry", name, &spec)
}

fn users() -> String {
    service("users", 80)
}

#[test]
fn names() {
    let entry_of = |host: &str| entry(1, "e", host, "");
    check(vec![
        (
            "a short host is completed with its object's namespace",
            users() + &vs(1, "v", "users", 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        ("and with no other", users() + &vs(1, "v.other", "users", 201, ""), "demo", "users:80", DEFAULT),
        (
            "a host with a dot is not completed",
            users() + &vs(1, "v", "users.demo", 201, ""),
            "demo",
            "users:80",
            DEFAULT,
        ),
        (
            "but is a host of its own on port 80",
            vs(1, "v", "users.demo", 201, ""),
            "demo",
            "users.demo:80",
            " -> direct 201",
        ),
        (
            "a short destination is completed with its object's namespace",
            users() + &service("carts.other", 80) + &to("v.other", "host: carts"),
            "demo",
            "users:80",
            " -> outbound|80||carts.other.svc.cluster.local*0",
        ),
        ("the host of a DestinationRule too", users() + &dr(1, "d", "users", 7, ""), "other", USERS, "7"),
        ("and with no other", users() + &dr(1, "d.other", "users", 7, ""), "other", USERS, "default"),
        (
            "a ServiceEntry's host is never completed",
            entry_of("plain"),
            "demo",
            "plain:80",
            "default -> outbound|80||plain*1",
        ),
        (
            "not even to a service that is there",
            users() + &entry_of("plain"),
            "demo",
            "plain.demo:80",
            "to PassthroughCluster",
        ),
    ]);
}

#[test]
fn spellings_and_wildcards() {
    check(vec![
        (
            "case does not count in objects",
            users() + &vs(1, "v", "USERS", 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        ("a name may end in a dot", users(), "demo", "users.demo.svc.cluster.local.:80", DEFAULT),
        (
            "a wildcard covers names of any depth",
            vs(1, "v", "'*.foo.com'", 201, ""),
            "demo",
            "a.b.foo.com:80",
            " -> direct 201",
        ),
        (
            "but not what follows the star",
            vs(1, "v", "'*.foo.com'", 201, ""),
            "demo",
            "foo.com:80",
            "to PassthroughCluster",
        ),
        ("a star may stand in a label", vs(1, "v", "'*-x.com'", 201, ""), "demo", "a-x.com:80", " -> direct 201"),
        (
            "an exact name goes before a wildcard",
            vs(1, "v", "'*.foo.com'", 201, "") + &vs(2, "w", "a.foo.com", 202, ""),
            "demo",
            "a.foo.com:80",
            " -> direct 202",
        ),
        (
            "a longer wildcard before a shorter",
            vs(1, "v", "'*.com'", 201, "") + &vs(2, "w", "'*.foo.com'", 202, ""),
            "demo",
            "a.foo.com:80",
            " -> direct 202",
        ),
    ]);
}

#[test]
fn services() {
    let annotated =
        users().replace("namespace: demo}", "namespace: demo, annotations: {networking.istio.io/exportTo: .}}");
    let at = |rest: &str| entry(1, "e.other", "a.com", rest);
    let exact = "default -> outbound|80||a.com*1";
    check(vec![
        ("a service is seen by everybody", users(), "other", "users.demo:80", DEFAULT),
        ("unless it says otherwise", annotated.clone(), "other", "users.demo:80", "to PassthroughCluster"),
        ("its own namespace sees it", annotated, "demo", "users:80", DEFAULT),
        ("a ServiceEntry of another namespace is seen", at(""), "demo", "a.com:80", exact),
        ("unless it is private", at(", exportTo: ['.']"), "demo", "a.com:80", "to PassthroughCluster"),
        ("or for others", at(", exportTo: [third]"), "demo", "a.com:80", "to PassthroughCluster"),
        (
            "or for nobody, its own namespace included",
            at(", exportTo: ['~']"),
            "other",
            "a.com:80",
            "to PassthroughCluster",
        ),
    ]);
    let first = |text: &str, client: &str| {
        world_at(text, &site_in(client)).endpoints("outbound|80||users.demo.svc.cluster.local").join(" ")
    };
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, namespace: demo, \
                 labels: {kubernetes.io/service-name: users}}\naddressType: IPv4\nports: [{name: http, port: 80}]\n\
                 endpoints: [{addresses: [10.9.9.9]}]\n---\n";
    let kubernetes = users() + slice;
    let mine = |day, name: &str| entry(day, name, FULL, "");
    for (rule, text, client, expected) in [
        ("the client's own namespace goes first", kubernetes.clone() + &mine(1, "e.other"), "other", "192.0.2.1:80"),
        ("then Kubernetes", kubernetes.clone() + &mine(1, "e.other"), "third", "10.9.9.9:80"),
        ("then the oldest", mine(2, "e.a") + &mine(1, "e.b"), "third", "192.0.2.1:80"),
        ("in one namespace Kubernetes goes first", kubernetes + &mine(1, "e"), "demo", "10.9.9.9:80"),
        (
            "ServiceEntries of one namespace are joined",
            mine(1, "e.a") + &mine(2, "f.a"),
            "third",
            "192.0.2.1:80 192.0.2.2:80",
        ),
        ("of two namespaces they are not", mine(1, "e.a") + &mine(2, "f.b"), "third", "192.0.2.1:80"),
    ] {
        assert_eq!(first(&text, client), expected, "{rule}");
    }
}

#[test]
fn virtual_hosts() {
    let headless = core("Service", "users", "spec: {clusterIP: None, ports: [{name: http, port: 80}]}");
    let tcp = core("Service", "users", "spec: {clusterIP: 10.0.0.1, ports: [{name: tcp, port: 80}]}");
    let outside = object(
        "ServiceEntry",
        "e",
        "{hosts: [a.com], addresses: [192.0.2.9], ports: [{number: 80, name: http}], resolution: NONE}",
    );
    let sharing = |day, host: &str| {
        let spec = format!(
            "{{hosts: [{host}.com], addresses: [192.0.2.9], ports: [{{number: 80, name: http}}], resolution: NONE}}"
        );
        object_of_day(day, "ServiceEntry", host, &spec)
    };
    let twice = sharing(2, "a") + &sharing(1, "b");
    let blocked = object("Sidecar", "s", "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}");
    let at_9080 = service("users", 9080);
    let a_com = "default -> outbound|80||a.com*1";
    check(vec![
        ("the bare name is for its own namespace", users(), "demo", "users:80", DEFAULT),
        ("and for no other", users(), "other", "users:80", "to PassthroughCluster"),
        ("name.namespace is for all", users(), "other", "users.demo:80", DEFAULT),
        ("and name.namespace.svc", users(), "other", "users.demo.svc:80", DEFAULT),
        ("a virtual address is a name too", users(), "other", "10.0.0.1:80", DEFAULT),
        ("and an address of a ServiceEntry", outside.clone(), "demo", "192.0.2.9:80", a_com),
        ("pods of a headless service are reached by name", headless, "demo", "pod-0.users:80", DEFAULT),
        ("a port is asked for as it is", users(), "demo", "users:81", "to PassthroughCluster"),
        ("TCP is not routed by http rules", tcp, "demo", "users:80", "to PassthroughCluster"),
        ("on port 80 a host needs no service", vs(1, "v", "a.com", 201, ""), "demo", "a.com:80", " -> direct 201"),
        ("on another port it does", vs(1, "v", "a.com", 201, ""), "demo", "a.com:9080", "to PassthroughCluster"),
        (
            "or its VirtualService has one there",
            at_9080.clone() + &vs(1, "v", "a.com, users", 201, ""),
            "demo",
            "a.com:9080",
            " -> direct 201",
        ),
        (
            "port 80 has even a service that listens elsewhere",
            at_9080 + &vs(1, "v", "users", 201, ""),
            "demo",
            "users.demo.svc.cluster.local:80",
            " -> direct 201",
        ),
        (
            "a domain belongs to the first that claims it",
            twice,
            "demo",
            "192.0.2.9:80",
            "default -> outbound|80||b.com*1",
        ),
        ("unknown hosts are called", String::new(), "demo", "nobody.com:80", "to PassthroughCluster"),
        ("unless only known ones may be", blocked.clone(), "demo", "nobody.com:80", "502"),
        (
            "which a host of a VirtualService is",
            blocked + &vs(1, "v", "a.com", 201, ""),
            "demo",
            "a.com:80",
            " -> direct 201",
        ),
    ]);
}

#[test]
fn owners() {
    check(vec![
        ("no VirtualService: one route to the service", users(), "demo", "users:80", DEFAULT),
        (
            "one that is private to another namespace does not count",
            users() + &vs(1, "v.other", FULL, 201, ", exportTo: ['.']"),
            "demo",
            "users:80",
            DEFAULT,
        ),
        (
            "nor one for gateways",
            users() + &vs(1, "v", "users", 201, ", gateways: [front]"),
            "demo",
            "users:80",
            DEFAULT,
        ),
        (
            "one for both does",
            users() + &vs(1, "v", "users", 201, ", gateways: [front, mesh]"),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "of several the oldest is used alone",
            users() + &vs(2, "a", "users", 202, "") + &vs(1, "b", "users", 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "of one age the first by name",
            users() + &vs(1, "b", "users", 202, "") + &vs(1, "a", "users", 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "a private one goes before a public",
            users() + &vs(1, "a", "users", 202, "") + &vs(2, "b", "users", 201, ", exportTo: ['.']"),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "one that names the namespace too",
            users() + &vs(1, "a", "users", 202, "") + &vs(2, "b.other", FULL, 201, ", exportTo: [demo]"),
            "demo",
            "users:80",
            " -> direct 201",
        ),
    ]);
}

#[test]
fn owners_by_wildcard() {
    let nobody = |day, name: &str, hosts: &str| {
        let spec = format!(
            "{{hosts: [{hosts}], http: [{{match: [{{sourceLabels: {{app: nobody}}}}], directResponse: {{status: 299}}}}]}}"
        );
        object_of_day(day, "VirtualService", name, &spec)
    };
    let all = "'*.svc.cluster.local'";
    check(vec![
        (
            "the loser keeps its other hosts",
            users() + &vs(1, "a", "users", 201, "") + &vs(2, "b", "users, a.com", 202, ""),
            "demo",
            "a.com:80",
            " -> direct 202",
        ),
        (
            "an exact host goes before an older wildcard",
            users() + &vs(1, "a", all, 202, "") + &vs(2, "b", "users", 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "a wildcard owns what nobody names",
            users() + &vs(1, "a", all, 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "the most specific of them",
            users() + &vs(1, "a", all, 202, "") + &vs(2, "b", "'*.demo.svc.cluster.local'", 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "without a rule for this workload the next of the same host",
            users() + &nobody(1, "a", "users") + &vs(2, "b", "users", 201, ""),
            "demo",
            "users:80",
            " -> direct 201",
        ),
        (
            "but never a wildcard",
            users() + &nobody(1, "a", "users") + &vs(2, "b", all, 201, ""),
            "demo",
            "users:80",
            DEFAULT,
        ),
        (
            "a wildcard without a rule leaves the service alone",
            users() + &nobody(1, "a", all),
            "demo",
            "users:80",
            DEFAULT,
        ),
    ]);
}

#[test]
fn unknown_destinations() {
    let v9 = object("DestinationRule", "d", "{host: users, subsets: [{name: v1, labels: {version: v1}}]}");
    let split = format!(
        "{{hosts: [{FULL}], http: [{{route: [{{destination: {{host: users}}, weight: 1}}, {{destination: {{host: nobody}}, weight: 3}}]}}]}}"
    );
    let narrow = "{hosts: [users], http: [{match: [{uri: {prefix: /a}}], directResponse: {status: 201}}]}";
    check(vec![
        (
            "an unknown host",
            users() + &to("v", "host: nobody"),
            "demo",
            "users:80",
            " -> !outbound|80||nobody.demo.svc.cluster.local*0",
        ),
        (
            "an unknown subset",
            users() + &to("v", "host: users, subset: v9"),
            "demo",
            "users:80",
            " -> !outbound|80|v9|users.demo.svc.cluster.local*0",
        ),
        (
            "an unknown port",
            users() + &to("v", "host: users, port: {number: 81}"),
            "demo",
            "users:80",
            " -> !outbound|81||users.demo.svc.cluster.local*0",
        ),
        (
            "without a port it is the caller's, though the service has another",
            users() + &service("carts", 81) + &to("v", "host: carts"),
            "demo",
            "users:80",
            " -> !outbound|80||carts.demo.svc.cluster.local*0",
        ),
        (
            "a subset that selects nothing is a cluster without endpoints",
            users() + &v9 + &to("v", "host: users, subset: v1"),
            "demo",
            "users:80",
            " -> outbound|80|v1|users.demo.svc.cluster.local*0",
        ),
        (
            "only the share that is unknown fails",
            users() + &object("VirtualService", "v", &split),
            "demo",
            "users:80",
            " -> outbound|80||users.demo.svc.cluster.local*1 !outbound|80||nobody.demo.svc.cluster.local*3",
        ),
        (
            "what no rule matches does not fall through to the service",
            users() + &object("VirtualService", "v", narrow),
            "demo",
            "users:80",
            " -> direct 201",
        ),
    ]);
}
