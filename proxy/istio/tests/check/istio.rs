//! Istio's own codes: the table of `docs/check.md` says on which kinds of objects each is found, and here it is found on each.

use std::collections::{BTreeMap, BTreeSet};

use leeboard_istio::check::check;
use leeboard_istio::compile::Site;
use leeboard_istio::ist;
use leeboard_istio::source::Source;

use crate::{WORLD, entry, http, object, rule};

const SUBSETS: &str = "host: reviews, subsets: [{name: v1, labels: {version: v1}}]";
const HTTP: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";

fn plain(version: &str, kind: &str, name: &str, rest: &str) -> String {
    format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: demo}}\n{rest}\n")
}

fn service(rest: &str) -> String {
    plain("v1", "Service", "s", &format!("spec: {rest}"))
}

fn pod(labels: &str) -> String {
    plain("v1", "Pod", "p", "spec: {}").replace("name: p,", &format!("name: p, labels: {labels},"))
}

/// A Deployment or its like, whose container runs as some user.
fn made(kind: &str, user: u32) -> String {
    let template = format!(
        "{{metadata: {{labels: {{app: a}}}}, spec: {{containers: [{{name: a, securityContext: {{runAsUser: {user}}}}}]}}}}"
    );
    match kind {
        "CronJob" => {
            plain("batch/v1", kind, "d", &format!("spec: {{jobTemplate: {{spec: {{template: {template}}}}}}}"))
        }
        kind => plain("apps/v1", kind, "d", &format!("spec: {{template: {template}}}")),
    }
}

fn gateway(name: &str, server: &str) -> String {
    object("Gateway", name, &format!("{{selector: {{istio: gw}}, servers: [{server}]}}"))
}

fn secured(credential: &str) -> String {
    format!(
        "{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['{credential}.example.com'], \
         tls: {{mode: SIMPLE, credentialName: same}}}}"
    )
}

const OPEN: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";

fn bound(gateways: &str, rest: &str) -> String {
    let spec = format!("{{hosts: [shop.example.com], gateways: [{gateways}], http: [{{{rest}}}]}}");
    object("VirtualService", "g", &spec)
}

fn sidecar(name: &str, spec: &str) -> String {
    object("Sidecar", name, &format!("{{{spec}outboundTrafficPolicy: {{mode: ALLOW_ANY}}}}"))
}

fn service_entry(spec: &str) -> String {
    object("ServiceEntry", "e", &format!("{{hosts: [e.example.com], {spec}}}"))
}

/// A policy for workloads that are not there, beside one that is.
fn policy(version: &str, kind: &str) -> String {
    let selector = if kind == "EnvoyFilter" { "workloadSelector: {labels" } else { "selector: {matchLabels" };
    pod("{app: a}") + &plain(version, kind, "x", &format!("spec: {{{selector}: {{app: b}}}}}}"))
}

/// A code, a kind, and a text in which the code is found on an object of the kind, beside [`WORLD`].
#[rustfmt::skip]
fn cases() -> Vec<(&'static str, &'static str, String)> {
    let to = "route: [{destination: {host: reviews}}]";
    let tls = "trafficPolicy: {tls: {mode: SIMPLE}}";
    let of = |ist: &'static str, kind: &'static str, text: String| (ist, kind, text);
    vec![
        of("IST0002", "VirtualService", entry("fault: {delay: {fixedDelay: 1s, percent: 5}}")),
        of("IST0002", "Sidecar", object("Sidecar", "s", "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: reviews.demo.svc.cluster.local, port: {number: 80}}}}")),
        of("IST0101", "VirtualService", http("{route: [{destination: {host: nobody}}]}")),
        of("IST0101", "VirtualService", entry("mirror: {host: nobody}")),
        of("IST0101", "VirtualService", http("{route: [{destination: {host: reviews, port: {number: 81}}}]}")),
        of("IST0101", "VirtualService", rule(SUBSETS) + &http("{route: [{destination: {host: reviews, subset: v9}}]}")),
        of("IST0101", "VirtualService", rule(SUBSETS) + &entry("mirror: {host: reviews, subset: v9}")),
        of("IST0101", "VirtualService", bound("nowhere", to)),
        of("IST0101", "DestinationRule", pod("{app: a}") + &rule(&format!("{SUBSETS}, workloadSelector: {{matchLabels: {{team: x}}}}"))),
        of("IST0101", "ServiceEntry", pod("{app: a}") + &service_entry(&format!("{HTTP}, resolution: STATIC, workloadSelector: {{labels: {{app: zebra}}}}"))),
        of("IST0101", "Service", service("{clusterIP: 10.0.0.9, ports: [{name: http, port: 80}]}").replace("name: s,", "name: shipping,")
            + &object("VirtualService", "a", "{hosts: [a.example.com], http: [{route: [{destination: {host: shippin}}]}]}")
            + &object("VirtualService", "b", "{hosts: [b.example.com], http: [{route: [{destination: {host: shippin}}]}]}")),
        of("IST0101", "Sidecar", object("Sidecar", "s", "{egress: [{hosts: ['./*', demo/reviewz.demo.svc.cluster.local]}]}")),
        of("IST0101", "Sidecar", pod("{app: a}") + &sidecar("s", "workloadSelector: {labels: {team: x}}, ")),
        of("IST0101", "Telemetry", policy("telemetry.istio.io/v1", "Telemetry")),
        of("IST0106", "VirtualService", entry("timeout: 0s")),
        of("IST0106", "DestinationRule", rule("host: 'a..b'")),
        of("IST0106", "ServiceEntry", object("ServiceEntry", "e", "{hosts: ['*']}")),
        of("IST0106", "WorkloadEntry", object("WorkloadEntry", "w", "{weight: 1}")),
        of("IST0106", "Gateway", object("Gateway", "g", "{servers: []}")),
        of("IST0106", "Sidecar", object("Sidecar", "s", "{egress: [{hosts: []}]}")),
        of("IST0109", "VirtualService", entry("timeout: 1s") + &object("VirtualService", "w", &format!("{{hosts: [reviews.demo.svc.cluster.local], http: [{{{to}}}]}}"))),
        of("IST0110", "Sidecar", pod("{app: a, tier: b}") + &sidecar("s", "workloadSelector: {labels: {app: a}}, ") + &sidecar("t", "workloadSelector: {labels: {tier: b}}, ")),
        of("IST0111", "Sidecar", sidecar("s", "") + &sidecar("t", "")),
        of("IST0112", "VirtualService", http("{route: [{destination: {host: ratings}}]}")),
        of("IST0118", "Service", service("{clusterIP: 10.0.0.9, ports: [{name: web, port: 80}]}")),
        of("IST0127", "AuthorizationPolicy", policy("security.istio.io/v1", "AuthorizationPolicy")),
        of("IST0127", "PeerAuthentication", policy("security.istio.io/v1", "PeerAuthentication")),
        of("IST0127", "RequestAuthentication", policy("security.istio.io/v1", "RequestAuthentication")),
        of("IST0127", "EnvoyFilter", policy("networking.istio.io/v1alpha3", "EnvoyFilter")),
        of("IST0127", "WasmPlugin", policy("extensions.istio.io/v1alpha1", "WasmPlugin")),
        of("IST0128", "DestinationRule", rule(&format!("host: reviews, {tls}"))),
        of("IST0129", "DestinationRule", rule("host: reviews, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}")),
        of("IST0130", "VirtualService", http(&format!("{{{to}}}, {{{to}}}"))),
        of("IST0130", "VirtualService", http(&format!("{{match: [{{uri: {{prefix: /a}}}}], {to}}}, {{match: [{{uri: {{prefix: /a/b}}}}], {to}}}, {{{to}}}"))),
        of("IST0130", "VirtualService", object("VirtualService", "v", &format!("{{hosts: [reviews], tcp: [{{{to}}}, {{{to}}}]}}"))),
        of("IST0131", "VirtualService", entry("match: [{uri: {prefix: /a}}, {uri: {prefix: /a/b}}]")),
        of("IST0131", "VirtualService", entry("match: [{uri: {prefix: /a}}, {uri: {prefix: /a}}]")),
        of("IST0132", "VirtualService", gateway("edge", &OPEN.replace("'*'", "a.example.com")) + &bound("edge", to)),
        of("IST0132", "VirtualService", gateway("edge", OPEN) + &gateway("side", &OPEN.replace("'*'", "a.example.com").replace("80", "81")) + &bound("edge, side", to)),
        of("IST0133", "VirtualService", entry("mirrorPercent: 5, mirror: {host: ratings, port: {number: 9080}}")),
        of("IST0133", "DestinationRule", rule("host: reviews, trafficPolicy: {loadBalancer: {simple: RANDOM, warmup: {duration: 10s}}}")),
        of("IST0133", "ServiceEntry", object("ServiceEntry", "e", "{hosts: ['*foo.com']}")),
        of("IST0133", "WorkloadEntry", object("WorkloadEntry", "w", "{network: n}")),
        of("IST0133", "Gateway", gateway("g", "{port: {number: 443, name: a, protocol: TLS}, hosts: [a.b], tls: {httpsRedirect: true}}")),
        of("IST0133", "Sidecar", sidecar("s", "workloadSelector: {}, ")),
        of("IST0134", "ServiceEntry", service_entry("resolution: DNS, ports: [{number: 6000, name: tcp, protocol: TCP}]")),
        of("IST0134", "ServiceEntry", service_entry("resolution: DNS, ports: [{number: 6000, name: any}]")),
        of("IST0138", "Gateway", gateway("a", &secured("a")) + &gateway("b", &secured("b"))),
        of("IST0140", "VirtualService", rule(SUBSETS) + &http("{route: [{destination: {host: reviews, subset: v1}}]}") + &gateway("edge", OPEN) + &bound("edge", to)),
        of("IST0144", "Pod", plain("v1", "Pod", "p", "spec: {securityContext: {runAsUser: 1337}}")),
        of("IST0144", "Pod", plain("v1", "Pod", "p", "spec: {initContainers: [{name: i, securityContext: {runAsUser: 1337}}]}")),
        of("IST0144", "Deployment", made("Deployment", 1337)),
        of("IST0144", "StatefulSet", made("StatefulSet", 1337)),
        of("IST0144", "DaemonSet", made("DaemonSet", 1337)),
        of("IST0144", "CronJob", made("CronJob", 1337)),
        of("IST0145", "Gateway", gateway("a", OPEN) + &gateway("b", OPEN)),
        of("IST0149", "VirtualService", gateway("edge", OPEN) + &bound("edge", &format!("match: [{{headers: {{'@request.auth.claims.g': {{exact: a}}}}}}], {to}"))),
        of("IST0150", "Service", service("{type: ExternalName, externalName: a.example.com, ports: [{name: web, port: 80}]}")),
        of("IST0162", "Gateway", pod("{istio: gw}") + &service("{clusterIP: 10.0.0.8, selector: {istio: gw}, ports: [{name: http, port: 8080, targetPort: 81}]}") + &gateway("edge", OPEN)),
        of("IST0165", "VirtualService", bound("edge-istio-autogenerated-k8s-gateway-http", to)),
        of("IST0173", "DestinationRule", rule("host: reviews, subsets: [{name: v9, labels: {version: v9}}]")),
        of("IST0173", "DestinationRule", made("Deployment", 1000) + &service("{clusterIP: 10.0.0.8, selector: {app: a}, ports: [{name: http, port: 80}]}") + &rule("host: s, subsets: [{name: v9, labels: {version: v9}}]")),
        of("IST0174", "DestinationRule", rule("host: nobody")),
        of("IST0177", "ServiceEntry", service_entry(&format!("{HTTP}, resolution: DNS")) + &service_entry("ports: [{number: 80, name: tls, protocol: TLS}], resolution: DNS").replace("name: e,", "name: f,")),
    ]
}

/// The codes and kinds under which complaints about a text are found.
fn found(text: &str) -> BTreeSet<(String, String)> {
    let diagnostics = check(&[Source::new("f.yaml", text)], &Site::default()).diagnostics;
    let of = |kind: &str| kind.split_once(' ').map_or(kind, |(kind, _)| kind).to_owned();
    diagnostics.iter().filter_map(|told| Some((told.ist?.to_owned(), of(&told.resource)))).collect()
}

/// Each code with its kinds, as the table of the page has them.
fn of_the_page() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../../../docs/check.md");
    let rows = page.lines().filter(|line| line.starts_with("| IST"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let kinds = if cells[3].starts_with("not found") { "" } else { cells[3] };
        (cells[1].to_owned(), kinds.split(", ").filter(|kind| !kind.is_empty()).map(str::to_owned).collect())
    };
    rows.map(row).collect()
}

#[test]
fn each_code_is_found_on_every_kind_that_the_page_names() {
    let mut wrong = String::new();
    let mut tried: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (ist, kind, text) in cases() {
        tried.entry(ist.into()).or_default().insert(kind.into());
        if !found(&format!("{WORLD}{text}")).contains(&(ist.to_owned(), kind.to_owned())) {
            wrong += &format!("{ist} is not found on a {kind}:\n{text}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let page = of_the_page();
    let claimed: BTreeMap<_, _> = page.iter().filter(|(_, kinds)| !kinds.is_empty()).collect();
    assert_eq!(tried.iter().collect::<BTreeMap<_, _>>(), claimed, "the page, and what is tried here");
    let rows =
        ist::ALL.iter().map(|row| (row.code.to_owned(), row.kinds.iter().map(|kind| (*kind).to_owned()).collect()));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), page, "the rows of `ist.rs`, and the page");
}

#[test]
fn no_code_is_found_on_a_kind_that_the_page_does_not_name() {
    let page = of_the_page();
    let texts = crate::pairs().into_iter().flat_map(|(_, fires, quiet)| [fires, quiet]);
    for text in texts.chain(cases().into_iter().map(|(.., text)| text)) {
        for (ist, kind) in found(&format!("{WORLD}{}", text.replace(['«', '»'], ""))) {
            let known = page.get(&ist).is_some_and(|kinds| kinds.contains(&kind));
            assert!(known, "{ist} on a {kind} is not on the page:\n{text}");
        }
    }
}

/// What looks like one of these and is none.
#[test]
#[rustfmt::skip]
fn what_is_in_order_has_no_code() {
    let entry_of = |name: &str, to: &str, protocol: &str| {
        object("ServiceEntry", name, &format!("{{hosts: [two.example.com], exportTo: ['{to}'], resolution: DNS, ports: [{{number: 80, name: p, protocol: {protocol}}}]}}"))
    };
    let tcp = "{hosts: [db.example.com], resolution: DNS, ports: [{number: 6000, name: tcp, protocol: TCP}]}";
    let listed = service("{clusterIP: 10.0.0.9, selector: {app: a}, ports: [{name: http, port: 80}]}") + &made("Deployment", 1000);
    let private = |to: &str| object("ServiceEntry", "inner.prod", &format!("{{hosts: [inner.example.com], exportTo: [{to}], resolution: DNS, {HTTP}}}"));
    let table = [
        ("IST0109", object("VirtualService", "v", "{hosts: [reviews, reviews.demo.svc.cluster.local], http: [{route: [{destination: {host: reviews}}]}]}")),
        ("IST0177", entry_of("a.one", ".", "HTTP") + &entry_of("b.two", ".", "TLS")),
        ("IST0177", entry_of("a.one", ".", "HTTP") + &entry_of("b.two", "*", "TLS")),
        ("IST0134", object("ServiceEntry", "t", tcp) + "status: {addresses: [{value: 240.240.0.1}]}\n"),
        ("IST0134", object("ServiceEntry", "t", tcp).replace("name: t,", "name: t, labels: {networking.istio.io/enable-autoallocate-ip: 'true'},")),
        ("IST0173", listed.clone() + &rule("host: s, subsets: [{name: east, labels: {topology.kubernetes.io/zone: east}}, {name: hash, labels: {app: a, rollouts-pod-template-hash: x}}]")),
        ("IST0101", private("other") + &object("VirtualService", "v.prod", "{hosts: [reviews.example.com], exportTo: [other], http: [{route: [{destination: {host: inner.example.com}}]}]}")),
        ("IST0174", private("other") + &object("DestinationRule", "d.prod", "{host: inner.example.com, exportTo: [other]}")),
        ("IST0101", pod("{app: a}") + &sidecar("s", "workloadSelector: {labels: {app: a}}, ")),
        ("IST0127", plain("policy/v1", "PodDisruptionBudget", "p", "spec: {selector: {matchLabels: {app: x}}}") + &pod("{app: a}")),
        ("IST0144", plain("apps/v1", "Deployment", "d", "spec: {template: {spec: {containers: [{name: istio-proxy, securityContext: {runAsUser: 1337}}]}}}")),
    ];
    for (ist, text) in table {
        let found = found(&format!("{WORLD}{text}"));
        assert!(found.iter().all(|(code, _)| code != ist), "{ist}: {found:?}\n{text}");
    }
}
