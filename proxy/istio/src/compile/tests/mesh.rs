//! What settings of the mesh change.

use leeboard_policy::cluster::Protocol;
use leeboard_policy::retry::{RetryOn, RetryPolicy};
use leeboard_policy::snapshot::UnknownHosts;
use leeboard_policy::time::Span;

use super::*;
use crate::resources::sidecar::OutboundTrafficPolicy;

const USERS: &str = "outbound|80||users.demo.svc.cluster.local";

fn mesh(settings: &str) -> String {
    format!("kind: MeshConfig\n{settings}\n---\n")
}

fn policy(blocks: &str) -> String {
    object("DestinationRule", "d", &format!("{{host: users, trafficPolicy: {{{blocks}}}}}"))
}

#[test]
fn connections() {
    let own = policy("connectionPool: {tcp: {connectTimeout: 1s, tcpKeepalive: {probes: 2}}}");
    let none = policy("loadBalancer: {simple: RANDOM}");
    let settings = mesh("connectTimeout: 3s\ntcpKeepalive: {probes: 9, time: 60s}");
    let keepalive = |world: &World, name: &str| {
        world.cluster(name).connection.tcp_keepalive.map(|keepalive| (keepalive.probes, keepalive.time))
    };
    let minute = Some(Span::from_secs(60));
    for (text, seconds, expected) in [
        (String::new(), 10, None),
        (settings.clone(), 3, Some((Some(9), minute))),
        (settings.clone() + &none, 3, Some((Some(9), minute))),
        (settings.clone() + &own, 1, Some((Some(2), minute))),
        (own.clone(), 1, Some((Some(2), None))),
    ] {
        let world = world(&(service("users", 80) + &text));
        assert_eq!(world.cluster(USERS).connection.connect_timeout, Span::from_secs(seconds), "{text}");
        assert_eq!(keepalive(&world, USERS), expected, "{text}");
    }
    let world = world(&settings);
    assert_eq!(world.cluster("PassthroughCluster").connection.connect_timeout, Span::from_secs(3));
}

#[test]
fn http2() {
    let pool = |http: &str| policy(&format!("connectionPool: {{http: {{{http}}}}}"));
    for (settings, own, expected) in [
        ("", String::new(), Protocol::Http1),
        ("h2UpgradePolicy: UPGRADE", String::new(), Protocol::Http2),
        ("h2UpgradePolicy: DO_NOT_UPGRADE", String::new(), Protocol::Http1),
        ("h2UpgradePolicy: UPGRADE", pool("h2UpgradePolicy: DO_NOT_UPGRADE"), Protocol::Http1),
        ("h2UpgradePolicy: UPGRADE", pool("h2UpgradePolicy: DEFAULT"), Protocol::Http2),
        ("h2UpgradePolicy: UPGRADE", pool("useClientProtocol: true"), Protocol::Client),
        ("", pool("h2UpgradePolicy: UPGRADE"), Protocol::Http2),
    ] {
        let world = world(&(service("users", 80) + &mesh(settings) + &own));
        assert_eq!(world.cluster(USERS).protocol, expected, "{settings} {own}");
    }
}

#[test]
fn retries() {
    let route = |retries: &str| {
        let route = format!("{{hosts: [users], http: [{{route: [{{destination: {{host: users}}}}]{retries}}}]}}");
        object("VirtualService", "v", &route)
    };
    let default = RetryPolicy::istio_default();
    for (settings, own, attempts, on) in [
        ("", String::new(), 2, default.on),
        ("defaultHttpRetryPolicy: {attempts: 5, retryOn: 5xx}", String::new(), 5, RetryOn::SERVER_ERROR),
        ("defaultHttpRetryPolicy: {attempts: 5, retryOn: 5xx}", route(""), 5, RetryOn::SERVER_ERROR),
        ("defaultHttpRetryPolicy: {attempts: 5, retryOn: 5xx}", route(", retries: {attempts: 1}"), 1, default.on),
        ("defaultHttpRetryPolicy: {attempts: 0}", String::new(), 0, RetryOn::default()),
        ("defaultHttpRetryPolicy: {attempts: 0}", route(""), 0, RetryOn::default()),
        ("defaultHttpRetryPolicy: {attempts: 0}", route(", retries: {attempts: 3}"), 3, default.on),
    ] {
        let world = world(&(service("users", 80) + &mesh(settings) + &own));
        let retry = world.forward("users", 80).retry.as_deref();
        let found = retry.map_or((0, RetryOn::default()), |retry| (retry.attempts, retry.on));
        assert_eq!(found, (attempts, on), "{settings} {own}");
    }
}

#[test]
fn inbound_retries() {
    let default = RetryPolicy::istio_inbound();
    let millis = Span::from_millis;
    for (settings, expected) in [
        ("", Some((2, default.on, default.backoff))),
        ("defaultInboundHttpRetryPolicy: {attempts: 0}", None),
        ("defaultInboundHttpRetryPolicy: {attempts: 7}", Some((7, default.on, default.backoff))),
        (
            "defaultInboundHttpRetryPolicy: {attempts: 1, retryOn: reset, backoff: 5ms, perTryTimeout: 1s}",
            Some((1, RetryOn::RESET, millis(5))),
        ),
        ("defaultHttpRetryPolicy: {attempts: 9}", Some((2, default.on, default.backoff))),
    ] {
        let mut site = site();
        site.inbound.push(("0.0.0.0:15006".parse().unwrap(), "127.0.0.1:8080".parse().unwrap()));
        let world = world_at(&mesh(settings), &site);
        let Action::Forward(forward) = &world.snapshot.inbound()[0].route.action else { panic!("it forwards") };
        let retry = forward.retry.as_deref();
        assert_eq!(retry.map(|retry| (retry.attempts, retry.on, retry.backoff)), expected, "{settings}");
        assert!(retry.is_none_or(|retry| retry.per_try_timeout.is_none()), "{settings}");
    }
}

#[test]
fn blocks_that_a_policy_lacks() {
    let settings = mesh(
        "defaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}, outlierDetection: {consecutive5xxErrors: 8}}",
    );
    let pool = "connectionPool: {http: {maxRetries: 1}}";
    let port = format!("portLevelSettings: [{{port: {{number: 80}}, {pool}}}]");
    for (own, connections, errors) in [
        (String::new(), Some(3), Some(8)),
        (policy("loadBalancer: {simple: RANDOM}"), Some(3), Some(8)),
        (policy(pool), None, Some(8)),
        (policy("outlierDetection: {consecutive5xxErrors: 1}"), Some(3), Some(1)),
        (policy(&format!("outlierDetection: {{consecutive5xxErrors: 1}}, {port}")), None, Some(8)),
    ] {
        let world = world(&(service("users", 80) + &settings + &own));
        let cluster = world.cluster(USERS);
        let found = (cluster.limits.connections, cluster.outlier.as_ref().map(|outlier| outlier.consecutive_5xx));
        assert_eq!(found, (connections, errors), "{own}");
    }
}

#[test]
fn who_sees_what_does_not_say_so() {
    let users = service("users.other", 80);
    let entry = "{hosts: [a.com], ports: [{number: 80, name: http}], resolution: NONE}";
    let entry = object("ServiceEntry", "e.other", entry);
    let full = "users.other.svc.cluster.local";
    let rule = object("DestinationRule", "d.other", "{host: users, trafficPolicy: {loadBalancer: {simple: RANDOM}}}");
    let vs = |rest: &str| {
        let spec = format!("{{hosts: [users], http: [{{directResponse: {{status: 201}}}}]{rest}}}");
        object("VirtualService", "v.other", &spec)
    };
    let seen = |settings: &str, text: &str| world(&(mesh(settings) + text));
    for (settings, shown) in
        [("", true), ("defaultServiceExportTo: ['.']", false), ("defaultServiceExportTo: [demo]", true)]
    {
        assert_eq!(seen(settings, &users).host(full, 80).is_some(), shown, "{settings}");
        assert_eq!(seen(settings, &entry).host("a.com", 80).is_some(), shown, "{settings}");
    }
    for (settings, rest, shown) in [
        ("", "", true),
        ("defaultVirtualServiceExportTo: ['.']", "", false),
        ("defaultVirtualServiceExportTo: ['.']", ", exportTo: ['*']", true),
        ("defaultVirtualServiceExportTo: ['~']", "", false),
    ] {
        let world = seen(settings, &(users.clone() + &vs(rest)));
        assert_eq!(world.routes(full, 80) == [" -> direct 201"], shown, "{settings} {rest}");
    }
    for (settings, shown) in [("", true), ("defaultDestinationRuleExportTo: ['.']", false)] {
        let world = seen(settings, &(users.clone() + &rule));
        let balancer = &world.cluster(&format!("outbound|80||{full}")).balancer;
        assert_eq!(*balancer == leeboard_policy::cluster::Balancer::Random, shown, "{settings}");
    }
}

#[test]
fn localities() {
    let out = "outlierDetection: {}";
    let own = format!("loadBalancer: {{localityLbSetting: {{enabled: true}}}}, {out}");
    let locality_policy = |text: &str| {
        let mut site = site();
        site.workload.locality = "eu/1/a".into();
        let world = world_at(&(service("users", 80) + text), &site);
        world.cluster(USERS).locality_policy.clone()
    };
    let usual = locality_policy(&policy(out));
    assert_ne!(usual, locality_policy(""), "outlier detection brings localities with it");
    assert_eq!(locality_policy(&(mesh("localityLbSetting: {enabled: false}") + &policy(out))), locality_policy(""));
    assert_eq!(locality_policy(&(mesh("localityLbSetting: {enabled: false}") + &policy(&own))), usual);
    assert_eq!(locality_policy(&(mesh("localityLbSetting: {}") + &policy(out))), usual);
}

#[test]
fn the_root_namespace() {
    let sidecar = object("Sidecar", "s.mesh-root", "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}");
    for (settings, blocked) in [("", false), ("rootNamespace: mesh-root", true)] {
        let world = world(&(mesh(settings) + &sidecar));
        assert_eq!(world.snapshot.unknown() == &UnknownHosts::Block, blocked, "{settings}");
    }
}

#[test]
fn who_decides_on_unknown_hosts() {
    use OutboundTrafficPolicy::{AllowAny, RegistryOnly};
    let (open, shut) = ("outboundTrafficPolicy: {mode: ALLOW_ANY}", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    let sidecar = |policy: &str| object("Sidecar", "s", &format!("{{{policy}}}"));
    for (settings, sidecar, command_line, blocked) in [
        ("", String::new(), None, false),
        (shut, String::new(), None, true),
        ("outboundTrafficPolicy: {}", String::new(), None, true),
        (shut, String::new(), Some(AllowAny), false),
        (open, String::new(), Some(RegistryOnly), true),
        (shut, sidecar(open), None, false),
        (open, sidecar(shut), Some(AllowAny), true),
        ("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}", String::new(), None, false),
    ] {
        let world = world_at(&(mesh(settings) + &sidecar), &Site { unknown: command_line, ..site() });
        assert_eq!(world.snapshot.unknown() == &UnknownHosts::Block, blocked, "{settings} {sidecar} {command_line:?}");
    }
}
