//! Istio: ServiceEntry, WorkloadEntry, Gateway, Sidecar; Kubernetes' own objects.

use leeboard_istio::codes::*;

use crate::{Row, check, error, good, warning};

fn spec(kind: &str, rows: &[Row]) {
    check(&format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: s}}\nspec:\n  @\n"), rows);
}

#[test]
fn service_entries() {
    spec(
        "ServiceEntry",
        &[
            good("{hosts: [a.com], ports: [{number: 80, name: http, protocol: http}], resolution: DNS}"),
            good("{hosts: [a.com]}"),
            error(MISSING, "{«hosts»: []}"),
            error(BAD_HOST, "{hosts: [«'*'»]}"),
            warning(BAD_HOST, "{hosts: [«'*foo.com'»]}"),
            error(BAD_HOST, "{hosts: [«10.0.0.1»]}"),
            error(CONFLICT, "{hosts: [«'*.foo.com'»], resolution: DNS}"),
            error(BAD_VALUE, "{hosts: [a.com], addresses: [«10.0.0.0/40»]}"),
            error(CONFLICT, "{hosts: [a.com], resolution: DNS, «addresses»: [10.0.0.0/8]}"),
            error(BAD_VALUE, "{hosts: [a.com], resolution: «Static»}"),
            error(CONFLICT, "{hosts: [a.com], «endpoints»: [{address: 10.0.0.1}]}"),
            error(BAD_VALUE, "{hosts: [a.com], resolution: STATIC, endpoints: [{address: «b.com»}]}"),
            error(MISSING, "{hosts: [a.com], resolution: STATIC, endpoints: [«{»weight: 1}]}"),
            error(ONE_OF, "{hosts: [a.com], resolution: STATIC, endpoints: [], «workloadSelector»: {labels: {a: b}}}"),
            error(
                CONFLICT,
                "{hosts: [a.com], resolution: DNS_ROUND_ROBIN, «endpoints»: [{address: a.b}, {address: c.d}]}",
            ),
            warning(NOT_ENFORCED, "{hosts: ['*.a.com'], «resolution»: DYNAMIC_DNS}"),
            error(
                BAD_NAME,
                "{hosts: [a.com], resolution: STATIC, endpoints: [«{»address: 10.0.0.1, ports: {web: 80}}]}",
            ),
            warning(NO_EFFECT, "{hosts: [a.com], «workloadSelector»: {labels: {a: b}}}"),
            good("{hosts: [a.com], exportTo: ['~']}"),
        ],
    );
    spec(
        "ServiceEntry",
        &[
            error(OUT_OF_RANGE, "{hosts: [a.com], ports: [{number: «0», name: http}]}"),
            error(DUPLICATE, "{hosts: [a.com], ports: [{number: 80, name: a}, «{»number: 80, name: b}]}"),
            error(DUPLICATE, "{hosts: [a.com], ports: [{number: 80, name: a}, «{»number: 81, name: a}]}"),
            error(MISSING, "{hosts: [a.com], ports: [«{»number: 80}]}"),
            error(BAD_NAME, "{hosts: [a.com], ports: [{number: 80, name: «a.b»}]}"),
            error(BAD_VALUE, "{hosts: [a.com], ports: [{number: 80, name: a, protocol: «HTPP»}]}"),
            error(OUT_OF_RANGE, "{hosts: [a.com], ports: [{number: 80, name: a, targetPort: «70000»}]}"),
            error(
                CONFLICT,
                "{hosts: [a.com, b.com], resolution: DNS, ports: [«{»number: 80, name: a, protocol: TCP}]}",
            ),
            warning(NOT_ENFORCED, "{hosts: [a.com], «subjectAltNames»: [x]}"),
        ],
    );
}

#[test]
fn workload_entries() {
    spec(
        "WorkloadEntry",
        &[
            good("{address: 10.0.0.1, ports: {http: 8080}, locality: a/b/c, weight: 3}"),
            good("{address: 'unix:///run/app.sock'}"),
            good("{address: 'unix://@abstract'}"),
            error(BAD_VALUE, "{address: «'unix://relative'»}"),
            error(BAD_VALUE, "{address: «'unix:///dir/'»}"),
            error(BAD_VALUE, "{address: «'unix:///a'», ports: {http: 80}}"),
            error(BAD_VALUE, "{address: «a_b»}"),
            error(OUT_OF_RANGE, "{address: a.b, ports: {http: «0»}}"),
            error(BAD_NAME, "{address: a.b, ports: {«a.b»: 80}}"),
            error(WRONG_TYPE, "{address: a.b, weight: «heavy»}"),
        ],
    );
}

#[test]
fn gateways() {
    let frame = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec:\n  servers: [@]\n";
    for (servers, messages) in [
        ("{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}", vec![]),
        (
            "{port: {number: 80, name: http, protocol: HTTP}, hosts: [short]}",
            vec!["`short` is a short name; a gateway's hosts are full names"],
        ),
        (
            "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.b]}",
            vec!["a server of protocol HTTPS needs `tls`"],
        ),
        ("{port: {number: 80, name: http, protocol: X}, hosts: [a.b]}", vec!["`X` is no protocol"]),
        (
            "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*a.b']}",
            vec!["`*a.b`: a wildcard is a whole label here"],
        ),
    ] {
        let loaded = leeboard_istio::load(&[leeboard_istio::source::Source::new("f", frame.replace('@', servers))]);
        let errors: Vec<_> = loaded
            .diagnostics
            .iter()
            .filter(|d| d.severity == leeboard_istio::diagnostic::Severity::Error)
            .map(|d| d.message.as_str())
            .collect();
        assert_eq!(errors, messages, "{servers}");
    }
}

#[test]
fn sidecars() {
    spec(
        "Sidecar",
        &[
            good("{outboundTrafficPolicy: {}}"),
            good("{outboundTrafficPolicy: {mode: ALLOW_ANY}}"),
            error(BAD_VALUE, "{outboundTrafficPolicy: {mode: «ANY»}}"),
            warning(NO_EFFECT, "{outboundTrafficPolicy: {mode: ALLOW_ANY}, «workloadSelector»: {}}"),
            error(BAD_NAME, "{outboundTrafficPolicy: {mode: ALLOW_ANY}, workloadSelector: {labels: {a: «'*'»}}}"),
            warning(NOT_ENFORCED, "{«egress»: [{hosts: ['./*']}]}"),
        ],
    );
}

#[test]
fn kubernetes() {
    check(
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: @\n",
        &[
            good(
                "{clusterIP: None, ports: [{port: 80, targetPort: web}], selector: {app: a}, ipFamilyPolicy: SingleStack}",
            ),
            error(BAD_VALUE, "{clusterIP: «nowhere»}"),
            error(OUT_OF_RANGE, "{ports: [{port: «0»}]}"),
            error(MISSING, "{ports: [«{»name: a}]}"),
            error(BAD_VALUE, "{type: «Clusterip»}"),
            warning(NOT_ENFORCED, "{«sessionAffinity»: ClientIP}"),
            warning(UNKNOWN_FIELD, "{«selctor»: {app: a}}"),
        ],
    );
    check(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: {kubernetes.io/service-name: s}}\n@\n",
        &[
            good("addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1]}]"),
            error(BAD_VALUE, "addressType: IPv4\nendpoints: [{addresses: [«x»]}]"),
            error(MISSING, "addressType: IPv4\nendpoints: [«{»conditions: {ready: true}}]"),
            error(BAD_VALUE, "addressType: «ipv4»"),
        ],
    );
}
