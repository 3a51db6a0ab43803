//! What a gateway serves: a row for each of Istio's rules.

use leeboard_policy::route::Target;

use super::*;
use crate::compile::{Chain, Edge, Served, Stream, gateways};

const GATEWAY: &str = "Gateway";
const VS: &str = "VirtualService";

fn site() -> Site {
    let labels = [("istio", "edge"), ("app", "edge")].map(|(k, v)| (Arc::from(k), Arc::from(v)));
    let workload = Workload { namespace: "front".into(), labels: labels.into(), ..Workload::default() };
    Site { workload, ..Site::default() }
}

fn edge(text: &str) -> Edge {
    let loaded = load(&[Source::new("test.yaml", text)]);
    assert_eq!(loaded.errors(), 0, "{:#?}", loaded.diagnostics);
    gateways(&loaded.resources, &site()).0
}

/// A server of plain HTTP.
fn plain(name: &str, number: u16, hosts: &str) -> String {
    format!("{{port: {{number: {number}, name: {name}, protocol: HTTP}}, hosts: [{hosts}]}}")
}

/// A server with TLS.
fn secured(name: &str, protocol: &str, hosts: &str, tls: &str) -> String {
    format!("{{port: {{number: 443, name: {name}, protocol: {protocol}}}, hosts: [{hosts}], tls: {{{tls}}}}}")
}

fn gateway(day: u32, name: &str, servers: &[String]) -> String {
    object_of_day(day, GATEWAY, name, &format!("{{selector: {{istio: edge}}, servers: [{}]}}", servers.join(", ")))
}

/// A VirtualService that answers with a status, on paths that begin with something.
fn vs(day: u32, name: &str, gateways: &str, hosts: &str, prefix: &str, status: u16) -> String {
    let when = if prefix.is_empty() { String::new() } else { format!("match: [{{uri: {{prefix: {prefix}}}}}], ") };
    let spec =
        format!("{{hosts: [{hosts}], gateways: [{gateways}], http: [{{{when}directResponse: {{status: {status}}}}}]}}");
    object_of_day(day, VS, name, &spec)
}

/// Everything that is served, as `port names { domain status,status }`.
fn shown(edge: &Edge) -> String {
    let ports = edge.listeners.iter().flat_map(|listener| {
        listener.chains.iter().map(move |chain| {
            let names = chain.server_names.join(",");
            let space = if names.is_empty() { "" } else { " " };
            format!("{}{space}{names} {{ {} }}", listener.port, served(chain, edge))
        })
    });
    ports.collect::<Vec<_>>().join(" ")
}

fn served(chain: &Chain, edge: &Edge) -> String {
    match &chain.served {
        Served::Http(hosts) => {
            let shown = hosts.iter().map(|host| {
                let actions = host.routes.iter().map(|route| match &route.action {
                    Action::Direct(direct) => direct.status.to_string(),
                    Action::Redirect(redirect) => format!("{}!", redirect.status),
                    Action::Forward(forward) => target(&forward.destinations[0].cluster, edge),
                });
                format!("{} {}", host.domains.join(","), actions.collect::<Vec<_>>().join(","))
            });
            shown.collect::<Vec<_>>().join(" ")
        }
        Served::Streams(streams) => streams.iter().map(|one| stream(one, edge)).collect::<Vec<_>>().join(" "),
        Served::ByServerName => "by name".into(),
    }
}

fn stream(stream: &Stream, edge: &Edge) -> String {
    let to = stream.destinations.iter().map(|(to, weight)| format!("{}*{weight}", target(to, edge)));
    let subnets = stream.destination_subnets.join(",");
    format!("[{}{subnets}] {}", stream.server_names.join(","), to.collect::<Vec<_>>().join("+"))
}

fn target(target: &Target, edge: &Edge) -> String {
    match target {
        Target::Cluster(id) => edge.clusters[id.0 as usize].name.split('.').next().unwrap_or_default().to_owned(),
        Target::Unknown(name) => format!("!{name}"),
    }
}

fn check(rows: Vec<(&str, String, &str)>) {
    for (rule, text, expected) in rows {
        assert_eq!(shown(&edge(&text)), expected, "{rule}\n{text}");
    }
}

#[test]
fn which_gateways_and_ports() {
    let all = plain("http", 80, "'*'");
    let of =
        |name: &str, selector: &str, server: &str| object(GATEWAY, name, &format!("{{{selector}servers: [{server}]}}"));
    let rules = |name: &str| vs(1, "v", name, "a.com", "", 201);
    let front = core(
        "Service",
        "front.front",
        "spec: {selector: {app: edge}, ports: [{name: http, port: 80, targetPort: 8080}]}",
    );
    let elsewhere =
        core("Service", "front", "spec: {selector: {app: edge}, ports: [{name: http, port: 80, targetPort: 8081}]}");
    check(vec![
        ("a selector of any namespace", of("g", "selector: {istio: edge}, ", &all) + &rules("g"), "80 { a.com 201 }"),
        ("one that does not fit", of("g", "selector: {istio: other}, ", &all) + &rules("g"), ""),
        ("no selector is every gateway", of("g", "", &all) + &rules("g"), "80 { a.com 201 }"),
        (
            "a port of the Service in front is its target",
            of("g", "", &all) + &rules("g") + &front,
            "8080 { a.com 201 }",
        ),
        ("of the Service of its own namespace", of("g", "", &all) + &rules("g") + &elsewhere, "80 { a.com 201 }"),
        (
            "an address of its own is a port of its own",
            of("g", "", &format!("{all}, {}", plain("b", 80, "b.com").replace("hosts", "bind: 127.0.0.1, hosts")))
                + &rules("g"),
            "80 { a.com 201 } 80 {  }",
        ),
        ("no VirtualService: nothing but 404", of("g", "", &all), "80 {  }"),
    ]);
}

#[test]
fn which_virtual_services() {
    let open = gateway(1, "g", &[plain("http", 80, "'*'")]);
    let at = |hosts: &str| gateway(1, "g", &[plain("http", 80, hosts)]);
    let rule = |name: &str, gateways: &str| vs(1, name, gateways, "a.com", "", 201);
    let found = "80 { a.com 201 }";
    check(vec![
        ("its name is of the same namespace", open.clone() + &rule("v", "g"), found),
        ("not of another", open.clone() + &rule("v.other", "g"), "80 {  }"),
        ("a namespace may be written", open.clone() + &rule("v.other", "demo/g"), found),
        ("a dot is the own one", open.clone() + &rule("v", "./g"), found),
        ("the old way", open.clone() + &rule("v.other", "g.demo.svc.cluster.local"), found),
        ("without gateways it is for sidecars", open.clone() + &rule("v", "mesh"), "80 {  }"),
        ("both", open.clone() + &rule("v", "mesh, g"), found),
        (
            "one that the gateway's workload does not see",
            open.clone() + &rule("v", "g").replace("spec: {", "spec: {exportTo: ['.'], "),
            "80 {  }",
        ),
        ("one that it sees", open.clone() + &rule("v", "g").replace("spec: {", "spec: {exportTo: [front], "), found),
        ("hosts of the server's namespace only", at("./a.com") + &rule("v.other", "demo/g"), "80 {  }"),
        ("which this is", at("./a.com") + &rule("v", "g"), found),
        ("hosts of a named namespace", at("other/a.com") + &rule("v.other", "demo/g"), found),
        ("hosts of all", at("'*/a.com'") + &rule("v.other", "demo/g"), found),
        ("hosts that do not overlap", at("b.com") + &rule("v", "g"), "80 {  }"),
        ("a server's wildcard: the VirtualService's host", at("'*.com'") + &rule("v", "g"), found),
        (
            "a VirtualService's wildcard: the server's host",
            at("a.com, b.com") + &vs(1, "v", "g", "'*.com'", "", 201),
            "80 { a.com 201 b.com 201 }",
        ),
        ("everything", at("a.com") + &vs(1, "v", "g", "'*'", "", 201), found),
        (
            "a short host is completed",
            at("'*'") + &vs(1, "v", "g", "users", "", 201),
            "80 { users.demo.svc.cluster.local 201 }",
        ),
    ]);
}

#[test]
fn rules_for_one_host_are_put_together() {
    let open = gateway(1, "g", &[plain("http", 80, "'*'")]);
    let private = |text: String| text.replace("spec: {", "spec: {exportTo: [front], ");
    check(vec![
        (
            "the older first",
            open.clone() + &vs(2, "a", "g", "a.com", "/a", 202) + &vs(1, "b", "g", "a.com", "/a/b", 201),
            "80 { a.com 201,202 }",
        ),
        (
            "whatever the length of a prefix",
            open.clone() + &vs(1, "a", "g", "a.com", "/a", 202) + &vs(2, "b", "g", "a.com", "/a/b", 201),
            "80 { a.com 202,201 }",
        ),
        (
            "what matches everything last",
            open.clone() + &vs(1, "a", "g", "a.com", "", 202) + &vs(2, "b", "g", "a.com", "/a", 201),
            "80 { a.com 201,202 }",
        ),
        (
            "one that names the namespace before the public",
            open.clone() + &vs(1, "a", "g", "a.com", "/a", 202) + &private(vs(2, "b", "g", "a.com", "/b", 201)),
            "80 { a.com 201,202 }",
        ),
        (
            "other hosts stay apart",
            open.clone()
                + &vs(1, "a", "g", "'a.com, b.com'".trim_matches('\''), "/a", 202)
                + &vs(2, "b", "g", "b.com", "/b", 201),
            "80 { a.com 202 b.com 202,201 }",
        ),
        (
            "a wildcard is a host of its own",
            open + &vs(1, "a", "g", "'*.com'", "/a", 202) + &vs(2, "b", "g", "b.com", "/b", 201),
            "80 { *.com 202 b.com 201 }",
        ),
        (
            "servers of plain HTTP share a port",
            gateway(1, "g", &[plain("http", 80, "a.com")])
                + &gateway(2, "h", &[plain("http", 80, "b.com")])
                + &vs(1, "v", "g, h", "'*'", "", 201),
            "80 { a.com 201 b.com 201 }",
        ),
    ]);
}

#[test]
fn matches_of_a_gateway() {
    let open = gateway(1, "g", &[plain("http", 80, "'*'")]) + &gateway(2, "h", &[plain("http", 81, "'*'")]);
    let when = |when: &str| {
        let spec =
            format!("{{hosts: [a.com], gateways: [g], http: [{{match: [{when}], directResponse: {{status: 201}}}}]}}");
        open.clone() + &object(VS, "v", &spec)
    };
    let (found, lost) = ("80 { a.com 201 } 81 {  }", "80 {  } 81 {  }");
    check(vec![
        ("this gateway", when("{gateways: [g]}"), found),
        ("another that the workload is, too", when("{gateways: [demo/h]}"), found),
        ("one that it is not", when("{gateways: [other]}"), lost),
        ("sidecars", when("{gateways: [mesh]}"), lost),
        ("the server's port", when("{port: 80}"), found),
        ("another port", when("{port: 8080}"), lost),
        ("labels of the gateway's workload", when("{sourceLabels: {app: edge}}"), found),
        ("other labels", when("{sourceLabels: {app: order}}"), lost),
    ]);
}

#[test]
fn https() {
    let simple = "mode: SIMPLE, credentialName: s";
    let rule = vs(1, "v", "g", "'*'", "", 201);
    let redirecting = plain("http", 80, "a.com").replace("hosts:", "tls: {httpsRedirect: true}, hosts:");
    check(vec![
        (
            "a chain for each server",
            gateway(1, "g", &[secured("a", "HTTPS", "a.com", simple), secured("b", "HTTPS", "b.com", simple)]) + &rule,
            "443 a.com { a.com 201 } 443 b.com { b.com 201 }",
        ),
        (
            "a name belongs to the first server",
            gateway(1, "g", &[secured("a", "HTTPS", "a.com", simple), secured("b", "HTTPS", "'a.com', b.com", simple)])
                + &rule,
            "443 a.com { a.com 201 } 443 b.com { a.com 201 b.com 201 }",
        ),
        (
            "a server without a name of its own is left out",
            gateway(1, "g", &[secured("a", "HTTPS", "a.com", simple), secured("b", "HTTPS", "a.com", simple)]) + &rule,
            "443 a.com { a.com 201 }",
        ),
        (
            "what speaks otherwise than the port's first server is left out",
            gateway(1, "g", &[plain("http", 443, "a.com"), secured("b", "HTTPS", "b.com", simple)]) + &rule,
            "443 { a.com 201 }",
        ),
        (
            "a redirect goes before all rules",
            gateway(1, "g", std::slice::from_ref(&redirecting)) + &rule,
            "80 { a.com 301! }",
        ),
        ("and needs none", gateway(1, "g", &[redirecting]), "80 { a.com 301! }"),
    ]);
    let found = edge(&(gateway(1, "g", &[secured("a", "HTTPS", "a.com", simple)]) + &rule));
    let tls = found.listeners[0].chains[0].tls.as_ref().expect("it has TLS");
    assert_eq!(&*tls.credentials[0].value, "s");
}

#[test]
fn destinations_without_a_port() {
    let to = "{hosts: [a.com], gateways: [g], http: [{route: [{destination: {host: users}}]}]}";
    let text = |port: &str| {
        let service = core("Service", "users", &format!("spec: {{clusterIP: 10.0.0.1, ports: [{port}]}}"));
        service + &gateway(1, "g", &[plain("http", 80, "a.com")]) + &object(VS, "v", to)
    };
    check(vec![
        ("the only one", text("{name: http, port: 9080}"), "80 { a.com outbound|9080||users }"),
        (
            "of several the gateway's",
            text("{name: http-a, port: 80}, {name: http-b, port: 81}"),
            "80 { a.com outbound|80||users }",
        ),
        (
            "which must be there",
            text("{name: http-a, port: 82}, {name: http-b, port: 81}"),
            "80 { a.com !outbound|80||users.demo.svc.cluster.local }",
        ),
    ]);
}

#[test]
fn streams() {
    let services = core("Service", "db", "spec: {clusterIP: 10.0.0.1, ports: [{name: tcp, port: 5432}]}")
        + &core("Service", "web", "spec: {clusterIP: 10.0.0.2, ports: [{name: tls, port: 443}]}");
    let tcp = gateway(1, "g", &["{port: {number: 5432, name: db, protocol: TCP}, hosts: ['*']}".to_owned()]);
    let passed = |hosts: &str, mode: &str| {
        services.clone() + &gateway(1, "g", &[secured("a", "TLS", hosts, &format!("mode: {mode}"))])
    };
    let vs = |day, name: &str, rules: &str| {
        object_of_day(day, VS, name, &format!("{{hosts: ['*.com'], gateways: [g], {rules}}}"))
    };
    let db = |rest: &str| format!("tcp: [{{{rest}route: [{{destination: {{host: db}}}}]}}]");
    let web =
        |names: &str| format!("tls: [{{match: [{{sniHosts: [{names}]}}], route: [{{destination: {{host: web}}}}]}}]");
    let split = "tcp: [{route: [{destination: {host: db}, weight: 1}, {destination: {host: web}}, {destination: {host: web}, weight: 3}]}]";
    let terminated =
        services.clone() + &gateway(1, "g", &[secured("a", "TLS", "a.com", "mode: SIMPLE, credentialName: s")]);
    check(vec![
        ("TCP, whatever the host", services.clone() + &tcp + &vs(1, "v", &db("")), "5432 { [] outbound|5432||db*0 }"),
        (
            "the first VirtualService with a rule",
            services.clone()
                + &tcp
                + &vs(1, "a", &db("match: [{port: 1}], "))
                + &vs(2, "b", &db(""))
                + &vs(3, "c", split),
            "5432 { [] outbound|5432||db*0 }",
        ),
        (
            "by the address that is dialled",
            services.clone() + &tcp + &vs(1, "v", &db("match: [{destinationSubnets: [10.0.0.0/8]}], ")),
            "5432 { [10.0.0.0/8] outbound|5432||db*0 }",
        ),
        (
            "of several destinations those with a weight",
            services.clone() + &tcp + &vs(1, "v", split),
            "5432 { [] outbound|5432||db*1+outbound|443||web*3 }",
        ),
        (
            "TLS that is passed through, by name",
            passed("a.com", "PASSTHROUGH") + &vs(1, "v", &web("a.com, b.com")),
            "443 a.com { [a.com] outbound|443||web*0 }",
        ),
        (
            "a name belongs to the first rule",
            passed("'*'", "PASSTHROUGH") + &vs(1, "v", &web("a.com")) + &vs(2, "w", &web("a.com, b.com")),
            "443 * { [a.com] outbound|443||web*0 [b.com] outbound|443||web*0 }",
        ),
        ("by the cluster that the name says", passed("'*.local'", "AUTO_PASSTHROUGH"), "443 *.local { by name }"),
        ("TLS that ends here carries TCP", terminated + &vs(1, "v", &db("")), "443 a.com { [] outbound|5432||db*0 }"),
    ]);
}
