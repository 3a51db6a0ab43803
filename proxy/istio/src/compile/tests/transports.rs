//! How connections are made: which `tls`, `tunnel` and `proxyProtocol` are in force, and what they mean.

use leeboard_policy::transport::{Identity, ProxyHeader, Tls, Transport, Trust};

use super::*;

const USERS: &str = "outbound|80||users.demo.svc.cluster.local";
const V1: &str = "outbound|80|v1|users.demo.svc.cluster.local";

/// What connections of a cluster are, in words: the header, the tunnel's method, identity, trust, server name and names.
fn shown(world: &World, cluster: &str) -> String {
    let Some(Transport { tls, proxy_header, tunnel }) = world.cluster(cluster).transport.as_deref() else {
        return "plain".into();
    };
    let header = proxy_header.map(|version| if version == ProxyHeader::V1 { "v1" } else { "v2" }.to_owned());
    let tunnel = tunnel.as_ref().map(|tunnel| format!("{} {}:{}", tunnel.method, tunnel.host, tunnel.port));
    header.into_iter().chain(tunnel).chain(tls.as_ref().map(secured)).collect::<Vec<_>>().join(", ")
}

fn secured(tls: &Tls) -> String {
    let identity = match &tls.identity {
        Identity::Anonymous => "nobody".to_owned(),
        Identity::Files { certificate, key } => format!("{certificate}+{key}"),
        Identity::Secret(name) => format!("secret {name}"),
        Identity::Mesh => "mesh".into(),
    };
    let trust = match &tls.trust {
        Trust::System => "system".to_owned(),
        Trust::File { authorities, revoked } => format!("{authorities}{}", revoked.as_deref().unwrap_or("")),
        Trust::Secret(name) => format!("secret {name}"),
        Trust::Mesh => "mesh".into(),
        Trust::Anybody => "anybody".into(),
    };
    let name = tls.server_name.as_deref().unwrap_or("its host");
    format!("{identity} trusts {trust} as {name} [{}]", tls.names.join(" "))
}

fn rule(top: &str, subset: &str) -> World {
    let policy = |blocks: &str| match blocks {
        "" => String::new(),
        blocks => format!(", trafficPolicy: {{{blocks}}}"),
    };
    let spec = format!("{{host: users{}, subsets: [{{name: v1{}}}]}}", policy(top), policy(subset));
    world(&(service("users", 80) + &object("DestinationRule", "d", &spec)))
}

#[test]
fn what_tls_means() {
    for (tls, expected) in [
        ("{}", "plain"),
        ("{mode: DISABLE}", "plain"),
        ("{mode: SIMPLE}", "nobody trusts system as its host []"),
        ("{mode: SIMPLE, caCertificates: /ca, caCrl: /crl, sni: a.b}", "nobody trusts /ca/crl as a.b []"),
        ("{mode: SIMPLE, insecureSkipVerify: true}", "nobody trusts anybody as its host []"),
        ("{mode: SIMPLE, subjectAltNames: [a, b]}", "nobody trusts system as its host [a b]"),
        ("{mode: MUTUAL, clientCertificate: /c, privateKey: /k}", "/c+/k trusts system as its host []"),
        ("{mode: ISTIO_MUTUAL}", "mesh trusts mesh as outbound_.80_._.users.demo.svc.cluster.local []"),
        ("{mode: ISTIO_MUTUAL, sni: a.b}", "mesh trusts mesh as a.b []"),
        // A sidecar reads secrets for its own rules only, and yet this is not sent in plain text.
        ("{mode: MUTUAL, credentialName: s}", "secret s trusts secret s as its host []"),
    ] {
        assert_eq!(shown(&rule(&format!("tls: {tls}"), ""), USERS), expected, "{tls}");
    }
    let selected = "{host: users, workloadSelector: {matchLabels: {app: order}}, trafficPolicy: {tls: @}}";
    for (tls, expected) in [
        ("{mode: MUTUAL, credentialName: s}", "secret s trusts secret s as its host []"),
        ("{mode: SIMPLE, credentialName: s}", "nobody trusts secret s as its host []"),
    ] {
        let spec = selected.replace('@', tls);
        let world = world(&(service("users", 80) + &object("DestinationRule", "d", &spec)));
        assert_eq!(shown(&world, USERS), expected, "{tls}");
    }
}

#[test]
fn names_of_a_service_entry() {
    let entry = "{hosts: [a.com], ports: [{number: 80, name: http}], resolution: DNS, subjectAltNames: [x, z]}";
    for (tls, names) in
        [("{mode: SIMPLE}", "[x z]"), ("{mode: SIMPLE, subjectAltNames: [b]}", "[b]"), ("{mode: ISTIO_MUTUAL}", "[]")]
    {
        let rule = format!("{{host: a.com, trafficPolicy: {{tls: {tls}}}}}");
        let world = world(&(object("ServiceEntry", "e", entry) + &object("DestinationRule", "d", &rule)));
        assert!(shown(&world, "outbound|80||a.com").ends_with(names), "{tls}: {}", shown(&world, "outbound|80||a.com"));
    }
}

#[test]
fn which_blocks_are_in_force() {
    let (tls, simple) = ("tls: {mode: ISTIO_MUTUAL, sni: a}", "nobody trusts system as its host []");
    let (header, tunnel) = ("proxyProtocol: {version: V2}", "tunnel: {targetHost: p.q, targetPort: 1}");
    let mesh = "mesh trusts mesh as a []";
    let port = |blocks: &str| format!("portLevelSettings: [{{port: {{number: 80}}, {blocks}}}]");
    for (what, top, subset, plain, v1) in [
        ("inherited", format!("{tls}, {header}"), String::new(), format!("v2, {mesh}"), format!("v2, {mesh}")),
        ("replaced", tls.into(), "tls: {mode: SIMPLE}".into(), mesh.into(), simple.into()),
        ("turned off", tls.into(), "tls: {}".into(), mesh.into(), "plain".into()),
        (
            "the rest stays",
            format!("{tls}, {tunnel}"),
            "tls: {}".into(),
            format!("CONNECT p.q:1, {mesh}"),
            "CONNECT p.q:1".into(),
        ),
        ("a port drops the header", format!("{header}, {}", port(tls)), String::new(), mesh.into(), mesh.into()),
        (
            "and the tunnel",
            format!("{tunnel}, {}", port("tls: {mode: SIMPLE}")),
            String::new(),
            simple.into(),
            simple.into(),
        ),
        (
            "a subset's port drops TLS only",
            format!("{tls}, {header}"),
            port("loadBalancer: {}"),
            format!("v2, {mesh}"),
            "v2".into(),
        ),
        (
            "a subset's header stays with its port",
            tls.into(),
            format!("{header}, {}", port("tls: {mode: SIMPLE}")),
            mesh.into(),
            format!("v2, {simple}"),
        ),
    ] {
        let world = rule(&top, &subset);
        assert_eq!(shown(&world, USERS), plain, "{what}");
        assert_eq!(shown(&world, V1), v1, "{what}, subset");
    }
}
