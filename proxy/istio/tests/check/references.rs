//! What objects say of one another: L03xx.

use leeboard_istio::codes::*;

use crate::{Pair, entry, http, object, rule};

const SUBSETS: &str = "host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]";

fn to(destination: &str) -> String {
    http(&format!("{{route: [{{destination: {destination}}}]}}"))
}

pub(crate) fn service(name: &str, namespace: &str, rest: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {rest}\n")
}

pub(crate) fn pod(name: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: demo, labels: {labels}}}\n\
         status: {{podIP: 10.9.0.1}}\n"
    )
}

fn gateway(name: &str, hosts: &str) -> String {
    let spec = format!(
        "{{selector: {{istio: gw}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{hosts}]}}]}}"
    );
    object("Gateway", name, &spec)
}

/// The pod of a gateway, and the Service in front of it.
fn fronted() -> String {
    pod("gw-1", "{istio: gw}")
        + &service(
            "gw",
            "demo",
            "{clusterIP: 10.0.0.8, selector: {istio: gw}, ports: [{name: http, port: 8080, targetPort: 80}]}",
        )
}

/// A VirtualService of some gateways.
fn bound(gateways: &str, host: &str, to: &str) -> String {
    object(
        "VirtualService",
        "g",
        &format!("{{hosts: [{host}], gateways: [{gateways}], http: [{{route: [{{destination: {to}}}]}}]}}"),
    )
}

pub(crate) fn pairs() -> Vec<Pair> {
    [hosts(), gateways(), callers(), subsets_and_ports(), conflicts(), rules()].concat()
}

fn hosts() -> Vec<Pair> {
    let elsewhere = service("stock", "prod", "{clusterIP: 10.0.0.9, ports: [{name: http, port: 80}]}");
    let private = |to: &str| {
        object(
            "ServiceEntry",
            "inner.prod",
            "{hosts: [inner.example.com], exportTo: ['.'], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
        )
        .replace("'.'", to)
    };
    let short = |host: &str| {
        let spec =
            "resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.0.7}]";
        object("ServiceEntry", "stock", &format!("{{hosts: [{host}], {spec}}}"))
    };
    let stock = || {
        let spec = "{hosts: [stock], http: [{route: [{destination: {host: stock}}]}]}";
        object("VirtualService", "stock", spec) + &rule("host: stock, trafficPolicy: {loadBalancer: {simple: RANDOM}}")
    };
    vec![
        (UNKNOWN_HOST, to("{host: «reviewz»}"), to("{host: reviews}")),
        (
            UNKNOWN_HOST,
            rule("host: «reveiws», trafficPolicy: {loadBalancer: {simple: RANDOM}}"),
            rule("host: '*.demo.svc.cluster.local'"),
        ),
        (UNKNOWN_HOST, entry("mirror: {host: «nobody»}"), entry("mirror: {host: ratings, port: {number: 9080}}")),
        (NEVER_EXPANDED, to("{host: «reviews.demo»}"), to("{host: reviews.demo.svc.cluster.local}")),
        (
            UNKNOWN_HOST,
            object("Sidecar", "s", "{egress: [{hosts: ['./*', «demo/reviewz.demo.svc.cluster.local»]}]}"),
            object(
                "Sidecar",
                "s",
                "{egress: [{hosts: ['./*', demo/reviews.demo.svc.cluster.local, 'istio-system/*']}]}",
            ),
        ),
        (
            NEVER_EXPANDED,
            elsewhere.clone() + &to("{host: «stock.prod»}"),
            elsewhere + &to("{host: stock.prod.svc.cluster.local}"),
        ),
        (
            NOT_EXPORTED,
            private("'.'") + &to("{host: «inner.example.com»}"),
            private("demo") + &to("{host: inner.example.com}"),
        ),
        (
            READER_CANNOT_SEE,
            private("demo")
                + &object(
                    "VirtualService",
                    "v",
                    "{hosts: [reviews], exportTo: [demo, other], http: [{route: [{destination: {host: «inner.example.com»}}]}]}",
                ),
            private("demo, other")
                + &object(
                    "VirtualService",
                    "v",
                    "{hosts: [reviews], exportTo: [demo, other], http: [{route: [{destination: {host: inner.example.com}}]}]}",
                ),
        ),
        (
            UNKNOWN_SUBSET,
            rule(&format!("{SUBSETS}, exportTo: [prod]")) + &to("{host: reviews, subset: «v1»}"),
            rule(&format!("{SUBSETS}, exportTo: [prod, demo]")) + &to("{host: reviews, subset: v1}"),
        ),
        (HOST_NOT_COMPLETED, short("«stock»") + &stock(), short("stock.demo.svc.cluster.local") + &stock()),
        (
            ROUTED_ON_80_ONLY,
            object(
                "VirtualService",
                "w",
                "{hosts: [reviews, «api.example.com»], http: [{route: [{destination: {host: reviews}}]}]}",
            ),
            object("VirtualService", "w", "{hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}"),
        ),
    ]
}

/// What goes through gateways.
fn gateways() -> Vec<Pair> {
    let claim = |gateways: &str| bound(gateways, "reviews", "{host: reviews}");
    vec![
        (
            UNKNOWN_GATEWAY,
            gateway("edge", "'*'") + &claim("mesh, «egde»"),
            gateway("edge", "'*'") + &claim("mesh, edge"),
        ),
        (
            NOT_EXPORTED,
            gateway("edge.front", "'*'") + &claim("«front/edge»").replace("{hosts", "{exportTo: ['.'], hosts"),
            gateway("edge.front", "'*'") + &claim("front/edge").replace("{hosts", "{exportTo: ['.', front], hosts"),
        ),
        (
            NOT_EXPORTED,
            pod("gw-1", "{istio: gw}").replace("namespace: demo", "namespace: pods")
                + &gateway("edge", "'*'")
                + &claim("«edge»").replace("{hosts", "{exportTo: ['.'], hosts"),
            pod("gw-1", "{istio: gw}")
                + &gateway("edge.front", "'*'")
                + &claim("front/edge").replace("{hosts", "{exportTo: ['.'], hosts"),
        ),
        (
            GENERATED_GATEWAY,
            claim("«edge-istio-autogenerated-k8s-gateway-http», mesh"),
            gateway("edge-istio-autogenerated", "'*'") + &claim("edge-istio-autogenerated, mesh"),
        ),
        (
            CLAIMS_UNVERIFIED,
            gateway("edge", "'*'")
                + &claim("edge").replace(
                    "[{route",
                    "[{match: [{headers: {«'@request.auth.claims.group'»: {exact: admin}}}], route",
                ),
            gateway("edge", "'*'")
                + &claim("edge").replace("[{route", "[{match: [{headers: {x-group: {exact: admin}}}], route"),
        ),
        (
            GATEWAY_PORT,
            fronted() + &gateway("edge", "'*'").replace("number: 80", "number: «8443»"),
            fronted() + &gateway("edge", "'*'"),
        ),
        (
            NOT_ON_GATEWAY,
            gateway("edge", "shop.example.com") + &bound("edge", "«shop.example.org»", "{host: reviews}"),
            gateway("edge", "'*.example.org'") + &bound("edge", "shop.example.org", "{host: reviews}"),
        ),
        (
            NOT_FOR_INGRESS,
            rule(SUBSETS)
                + &to("{host: reviews, subset: v1}")
                + &gateway("edge", "'*'")
                + &bound("edge", "shop.example.com", "{host: «reviews»}"),
            rule(SUBSETS)
                + &to("{host: reviews, subset: v1}")
                + &gateway("edge", "'*'")
                + &bound("edge", "shop.example.com", "{host: reviews, subset: v2}"),
        ),
    ]
}

/// The callers that rules are for.
fn callers() -> Vec<Pair> {
    vec![
        (
            SOURCE_CANNOT_SEE,
            object(
                "VirtualService",
                "v",
                "{hosts: [reviews], exportTo: ['.'], http: [{match: [{sourceNamespace: «other»}], route: [{destination: {host: reviews}}]}]}",
            ),
            object(
                "VirtualService",
                "v",
                "{hosts: [reviews], exportTo: ['.', other], http: [{match: [{sourceNamespace: other}], route: [{destination: {host: reviews}}]}]}",
            ),
        ),
        (
            UNKNOWN_NAMESPACE,
            object(
                "VirtualService",
                "v",
                "{hosts: [reviews], exportTo: [«deno»], http: [{route: [{destination: {host: reviews}}]}]}",
            ),
            object(
                "VirtualService",
                "v",
                "{hosts: [reviews], exportTo: [demo], http: [{route: [{destination: {host: reviews}}]}]}",
            ),
        ),
    ]
}

fn subsets_and_ports() -> Vec<Pair> {
    let two = |destination: &str| {
        object(
            "ServiceEntry",
            "two",
            "{hosts: [two.demo.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, \
             ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: http-b, protocol: HTTP}], \
             endpoints: [{address: 10.0.2.1}]}",
        ) + &to(destination)
    };
    let tls = |protocol: &str, http: &str| {
        object(
            "ServiceEntry",
            "tls",
            &format!(
                "{{hosts: [tls.example.com], resolution: DNS, ports: [{{number: 443, name: https, protocol: {protocol}}}]}}"
            ),
        ) + &object(
            "VirtualService",
            "t",
            &format!("{{hosts: [tls.example.com], {http}: [{{route: [{{destination: {{host: tls.example.com}}}}]}}]}}"),
        )
    };
    let listed = |labels: &str| {
        service("listed", "demo", "{clusterIP: 10.0.0.9, ports: [{name: http, port: 80}]}")
            + "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: listed, namespace: demo}\n\
               subsets: [{addresses: [{ip: 10.9.0.1, targetRef: {kind: Pod, name: p-1}}], ports: [{name: http, port: 80}]}]\n"
            + &if labels.is_empty() { String::new() } else { pod("p-1", labels) }
    };
    vec![
        (
            UNKNOWN_SUBSET,
            rule(SUBSETS) + &to("{host: reviews, subset: «v3»}"),
            rule(SUBSETS) + &to("{host: reviews, subset: v2}"),
        ),
        (UNKNOWN_SUBSET, to("{host: reviews, subset: «v1»}"), rule(SUBSETS) + &to("{host: reviews, subset: v1}")),
        (UNKNOWN_PORT, to("{host: ratings, port: {number: «8080»}}"), to("{host: ratings, port: {number: 9080}}")),
        (PORT_NOT_NAMED, to("{host: «ratings»}"), to("{host: ratings, port: {number: 9080}}")),
        (PORT_NOT_NAMED, two("{host: «two»}"), two("{host: two, port: {number: 81}}")),
        (
            SUBSET_SELECTS_NOTHING,
            rule("host: reviews, subsets: [{name: v1, labels: {version: «v11»}}]"),
            rule("host: reviews, subsets: [{name: v1, labels: {version: v1}}]"),
        ),
        (
            SUBSET_SELECTS_NOTHING,
            rule("host: reviews, subsets: [{name: v1, labels: {«versoin»: v1}}]"),
            rule("host: ratings, subsets: [{name: v1, labels: {version: v1}}]"),
        ),
        (
            SUBSET_SELECTS_NOTHING,
            listed("{version: v2}") + &rule("host: listed, subsets: [{name: v1, labels: {version: «v1»}}]"),
            listed("{version: v1}") + &rule("host: listed, subsets: [{name: v1, labels: {version: v1}}]"),
        ),
        (
            LABELS_UNKNOWN,
            // Whose pod is not among the documents may carry any label, but nobody here knows.
            listed("") + &rule("host: listed, «subsets»: [{name: v1, labels: {version: v1}}]"),
            listed("{version: v1, app: a}") + &rule("host: listed, subsets: [{name: v1, labels: {version: v1}}]"),
        ),
        (NOT_HTTP, tls("TLS", "«http»"), tls("HTTP", "http")),
    ]
}

fn conflicts() -> Vec<Pair> {
    let claim = |name: &str, host: &str| {
        object(
            "VirtualService",
            name,
            &format!(
                "{{hosts: [{host}], http: [{{route: [{{destination: {{host: reviews.demo.svc.cluster.local, port: {{number: 80}}}}}}]}}]}}"
            ),
        )
    };
    let sidecar = |name: &str, selector: &str| {
        object("Sidecar", name, &format!("{{{selector}outboundTrafficPolicy: {{mode: ALLOW_ANY}}}}"))
    };
    let secured = |name: &str, host: &str, credential: &str| {
        let server = format!(
            "{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [{host}], tls: {{mode: SIMPLE, credentialName: {credential}}}}}"
        );
        object("Gateway", name, &format!("{{selector: {{istio: gw}}, servers: [{server}]}}"))
    };
    let of_two = |name: &str, to: &str, protocol: &str| {
        let spec = format!(
            "{{hosts: [two.example.com], exportTo: [{to}], resolution: STATIC, ports: [{{number: 80, name: http, protocol: {protocol}}}], endpoints: [{{address: 10.0.0.4}}]}}"
        );
        object("ServiceEntry", name, &spec)
    };
    let named = |name: &str| sidecar(name, "").replace(&format!("name: {name}"), &format!("name: «{name}»"));
    vec![
        (
            HOST_CONFLICT,
            claim("a", "reviews") + &claim("b", "«reviews»"),
            claim("a", "reviews") + &claim("b", "ratings"),
        ),
        (
            HOST_DEFINED_TWICE,
            of_two("e.prod", "'*'", "HTTP")
                + &of_two("f.prod", "'*'", "HTTP").replace("[two", "[«two").replace("com]", "com»]"),
            of_two("e.prod", "'*'", "HTTP") + &of_two("f.prod", "'*'", "HTTP").replace("[two", "[three"),
        ),
        (
            HOST_DEFINED_TWICE,
            of_two("e.prod", "'*'", "HTTP")
                + &of_two("f.stage", "'*'", "HTTP").replace("[two", "[«two").replace("com]", "com»]"),
            of_two("e.prod", "'.'", "HTTP") + &of_two("f.stage", "'*'", "HTTP"),
        ),
        (
            SIDECAR_CONFLICT,
            sidecar("a", "") + &named("b"),
            sidecar("a", "") + &sidecar("b", "workloadSelector: {labels: {app: x}}, "),
        ),
        (
            GATEWAY_CONFLICT,
            gateway("a", "'*'") + &gateway("b", "«x.example.com»"),
            gateway("a", "y.example.com") + &gateway("b", "x.example.com"),
        ),
        (
            DUPLICATE_CERTIFICATE,
            secured("a", "a.example.com", "shop") + &secured("b", "b.example.com", "«shop»"),
            secured("a", "a.example.com", "shop") + &secured("b", "b.example.com", "other"),
        ),
        (
            PROTOCOL_CONFLICT,
            object(
                "ServiceEntry",
                "p",
                "{hosts: [reviews.demo.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: tls, protocol: «TLS»}], endpoints: [{address: 10.0.0.4}]}",
            ),
            object(
                "ServiceEntry",
                "p",
                "{hosts: [reviews.demo.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 81, name: tls, protocol: TLS}], endpoints: [{address: 10.0.0.4}]}",
            ),
        ),
        (
            PROTOCOL_CONFLICT,
            of_two("e.prod", "'.'", "HTTP") + &of_two("f.prod", "'*'", "«HTTP2»"),
            of_two("e.prod", "'.'", "HTTP") + &of_two("f.stage", "'.'", "HTTP2"),
        ),
    ]
}

fn rules() -> Vec<Pair> {
    let named = |name: &str, spec: &str| object("DestinationRule", name, &format!("{{{spec}}}"));
    let lb = "trafficPolicy: {loadBalancer: {simple: RANDOM}}";
    let selected = "workloadSelector: {matchLabels: {app: order}}";
    vec![
        (
            POLICY_DROPPED,
            named("a", &format!("host: reviews, {lb}"))
                + &named("b", "host: reviews, «trafficPolicy»: {loadBalancer: {simple: RANDOM}}"),
            named("a", &format!("host: reviews, {lb}")) + &named("b", &format!("host: ratings, {lb}")),
        ),
        (
            POLICY_DROPPED,
            named("a", SUBSETS) + &named("b", "host: reviews, subsets: [{name: «v1», labels: {version: v1}}]"),
            named("a", SUBSETS) + &named("b", "host: reviews, subsets: [{name: v3, labels: {version: v3}}]"),
        ),
        (
            RULE_SHADOWED,
            named("a", &format!("host: reviews, {lb}")) + &named("b.other", &format!("host: «'*.local'», {lb}")),
            named("a", &format!("host: reviews, exportTo: ['.'], {lb}"))
                + &named("b.other", &format!("host: '*.local', {lb}"))
                + &named("c", &format!("host: reviews, exportTo: [third], {lb}"))
                + &named("d.other", &format!("host: '*.other.svc.cluster.local', {lb}"))
                + &service("x", "other", "{ports: [{name: http, port: 80}]}"),
        ),
        (
            RULE_HIDDEN_BY_SELECTOR,
            named("a", SUBSETS)
                + &named("b", &format!("host: reviews, «workloadSelector»: {{matchLabels: {{app: order}}}}, {lb}")),
            named("a", SUBSETS) + &named("b", &format!("{SUBSETS}, {selected}, {lb}")),
        ),
        (
            UNKNOWN_DELEGATE,
            http("{delegate: {name: «parts»}}"),
            http("{delegate: {name: parts}}")
                + &object("VirtualService", "parts", "{http: [{route: [{destination: {host: reviews}}]}]}"),
        ),
        (
            DELEGATE_DROPPED,
            http("{match: [{uri: {prefix: /a}}], delegate: {name: parts}}")
                + &object(
                    "VirtualService",
                    "parts",
                    "{http: [{match: [{«uri»: {prefix: /b}}], route: [{destination: {host: reviews}}]}]}",
                ),
            http("{match: [{uri: {prefix: /a}}], delegate: {name: parts}}")
                + &object(
                    "VirtualService",
                    "parts",
                    "{http: [{match: [{uri: {prefix: /a/b}}], route: [{destination: {host: reviews}}]}]}",
                ),
        ),
        (
            UNUSED_DELEGATE,
            object("VirtualService", "parts", "{http: [{route: [{destination: {host: reviews}}]}]}")
                .replace("name: parts", "name: «parts»"),
            http("{delegate: {name: parts}}")
                + &object("VirtualService", "parts", "{http: [{route: [{destination: {host: reviews}}]}]}"),
        ),
    ]
}
