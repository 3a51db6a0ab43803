//! The application's own ports.

use std::net::SocketAddr;

use leeboard_policy::cluster::{Cluster, Protocol};
use leeboard_policy::retry::RetryPolicy;

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn serving(listen: &str, app: &str) -> Site {
    Site { inbound: vec![(at(listen), at(app))], ..site() }
}

/// The only inbound port: its cluster, and what it forwards.
fn only(world: &World) -> (&Cluster, &Forward) {
    let [inbound] = world.snapshot.inbound() else { panic!("one port") };
    let Action::Forward(forward) = &inbound.route.action else { panic!("it forwards") };
    let [destination] = &forward.destinations[..] else { panic!("one destination") };
    let Target::Cluster(id) = destination.cluster else { panic!("a cluster") };
    (world.snapshot.cluster(id), forward)
}

fn entry(name: &str, protocol: &str, endpoint: &str) -> String {
    let spec = format!(
        "{{hosts: [{name}.demo.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, \
         ports: [{{number: 5001, name: p, protocol: {protocol}}}], endpoints: [{endpoint}]}}"
    );
    object("ServiceEntry", name, &spec)
}

#[test]
fn the_service_that_is_served() {
    let here = "{address: 127.0.0.1, ports: {p: 25000}}";
    let there = "{address: 127.0.0.1, ports: {p: 25001}}";
    let labelled = "{address: 192.0.2.1, ports: {p: 25000}, labels: {app: order}}";
    let strangers = "{address: 192.0.2.1, ports: {p: 25000}, labels: {app: cart}}";
    let by_name = "{address: orders.example.com, ports: {p: 25000}, labels: {app: order, version: v1}}";
    let by_another_name = "{address: orders.example.com, ports: {p: 25000}, labels: {app: order, version: v2}}";
    let dns = |name: &str, endpoint: &str| entry(name, "HTTP", endpoint).replace("STATIC", "DNS");
    let by_app = "{address: 192.0.2.1, ports: {p: 5000}, labels: {app: order}}";
    let selecting = |target: u16| {
        let spec = format!("{{selector: {{app: order}}, ports: [{{name: http, port: 80, targetPort: {target}}}]}}");
        core("Service", "selecting", &format!("spec: {spec}"))
    };
    for (what, text, expected) in [
        ("the address itself", entry("a", "HTTP", there) + &entry("b", "HTTP", here), ("b", 5001)),
        ("the address before labels", entry("a", "HTTP", labelled) + &entry("b", "HTTP", here), ("b", 5001)),
        ("labels and port", entry("a", "HTTP", strangers) + &entry("b", "HTTP", labelled), ("b", 5001)),
        ("labels of a name to resolve", dns("a", by_another_name) + &dns("b", by_name), ("b", 5001)),
        ("the application's port", entry("a", "HTTP", by_app), ("a", 5001)),
        ("a selector and target port", selecting(25000), ("selecting", 80)),
        ("a selector and the application's port", selecting(5000), ("selecting", 80)),
        ("nobody", entry("a", "HTTP", there) + &selecting(7), ("order", 5000)),
    ] {
        let world = world_at(&text, &serving("127.0.0.1:25000", "127.0.0.1:5000"));
        let service = &only(&world).0.service;
        assert_eq!((&*service.name, service.port), expected, "{what}");
        assert_eq!(&*service.host, format!("{}.demo.svc.cluster.local", expected.0));
        assert_eq!(&*service.namespace, "demo");
    }
}

#[test]
fn its_cluster_and_route() {
    let endpoint = "{address: 127.0.0.1, ports: {p: 25000}}";
    for (protocol, upstream, retried) in [
        ("HTTP", Protocol::Http1, true),
        ("HTTP2", Protocol::Http2, true),
        ("GRPC", Protocol::Http2, false),
        ("''", Protocol::Client, true),
    ] {
        let world = world_at(&entry("a", protocol, endpoint), &serving("127.0.0.1:25000", "127.0.0.1:5000"));
        let (cluster, forward) = only(&world);
        assert_eq!(&*cluster.name, "inbound|5000||");
        assert_eq!(world.endpoints("inbound|5000||"), ["127.0.0.1:5000"]);
        assert_eq!(cluster.protocol, upstream, "{protocol}");
        assert_eq!(forward.retry.as_deref(), retried.then(RetryPolicy::istio_inbound).as_ref(), "{protocol}");
        assert_eq!((forward.timeout, cluster.outlier.is_none()), (None, true));
        assert_eq!(world.snapshot.inbound()[0].listen, at("127.0.0.1:25000"));
    }
}

#[test]
fn the_rules_connection_pool_is_the_servers_too() {
    let endpoint = "{address: 127.0.0.1, ports: {p: 25000}}";
    let pool = |most: u32| format!("connectionPool: {{tcp: {{maxConnections: {most}}}}}");
    let port = format!("portLevelSettings: [{{port: {{number: 5001}}, {}}}]", pool(2));
    let selector = ", workloadSelector: {matchLabels: {app: order}}";
    for (what, policy, rest, expected) in [
        ("top", pool(1), "", Some(1)),
        ("port before top", format!("{}, {port}", pool(1)), "", Some(2)),
        ("no outlier detection", "outlierDetection: {}".into(), "", None),
        ("selectors are for clients", pool(1), selector, None),
    ] {
        let spec = format!("{{host: a, trafficPolicy: {{{policy}}}{rest}}}");
        let text = entry("a", "HTTP", endpoint) + &object("DestinationRule", "d", &spec);
        let world = world_at(&text, &serving("127.0.0.1:25000", "127.0.0.1:5000"));
        let cluster = only(&world).0;
        assert_eq!((cluster.limits.connections, cluster.outlier.is_none()), (expected, true), "{what}");
    }
}

#[test]
fn two_ports_of_one_number_are_two_clusters() {
    let inbound = vec![
        (at("127.0.0.1:1"), at("127.0.0.1:5000")),
        (at("127.0.0.1:2"), at("127.0.0.2:5000")),
        (at("127.0.0.1:3"), at("127.0.0.1:5001")),
    ];
    let world = world_at("", &Site { inbound, ..site() });
    let names: Vec<_> = world.snapshot.clusters().iter().map(|cluster| &*cluster.name).collect();
    assert_eq!(names, ["inbound|5000||", "inbound|5000||127.0.0.2", "inbound|5001||", "PassthroughCluster"]);
}
