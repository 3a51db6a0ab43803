//! Istio: ServiceEntry and WorkloadEntry; Kubernetes' own objects.

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
            warning(MISSING, "{hosts: [a.com], resolution: STATIC, endpoints: [«{»network: net}]}"),
            error(
                ONE_OF,
                "{hosts: [a.com], resolution: STATIC, endpoints: [{address: 10.0.0.1}], «workloadSelector»: {labels: {a: b}}}",
            ),
            good("{hosts: [a.com], resolution: STATIC, endpoints: [], workloadSelector: {labels: {a: b}}}"),
            warning(NOT_ENFORCED, "{hosts: ['*.a.com'], «resolution»: DYNAMIC_DNS, addresses: [], endpoints: []}"),
            good(
                "{hosts: [a.com], resolution: STATIC, endpoints: [{address: 'unix:///a'}], ports: [{number: 80, name: a}]}",
            ),
            error(
                BAD_VALUE,
                "{hosts: [a.com], resolution: DNS, endpoints: [{address: «'unix:///a'»}], ports: [{number: 80, name: a}]}",
            ),
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
            error(WRONG_TYPE, "{hosts: [a.com], subjectAltNames: «x»}"),
            good("{hosts: [a.com]}\nstatus: {addresses: [{value: 240.240.0.1}], conditions: []}"),
            error(BAD_VALUE, "{hosts: [a.com]}\nstatus: {addresses: [{value: «here», host: a.com}]}"),
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
            warning(NOT_ENFORCED, "{address: a.b, «network»: net}"),
            warning(NOT_ENFORCED, "{address: a.b, «serviceAccount»: s}"),
            error(WRONG_TYPE, "{address: a.b, network: «1»}"),
        ],
    );
}

#[test]
fn hosts_ports_and_endpoints_that_are_too_many_together() {
    let list = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<Vec<_>>().join(", ");
    for (ports, errors) in [(9, 0), (11, 1)] {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec:\n  hosts: [{}]\n  \
             resolution: STATIC\n  ports: [{}]\n  endpoints: [{}]\n",
            list(10, &|i| format!("h{i}.com")),
            list(ports, &|i| format!("{{number: {}, name: http-{i}, protocol: HTTP}}", 80 + i)),
            list(1_000, &|i| format!("{{address: 10.0.{}.{}}}", i / 250, i % 250)),
        );
        let loaded = leeboard_istio::load(&[leeboard_istio::source::Source::new("f.yaml", text)]);
        assert_eq!(loaded.errors(), errors, "{:?}", loaded.diagnostics);
    }
}

#[test]
fn lists_that_are_too_long() {
    let list = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<Vec<_>>().join(", ");
    for (kind, spec, most, one) in [
        ("ServiceEntry", "{hosts: [@]}", 256, &(|i| format!("h{i}.com")) as &dyn Fn(usize) -> String),
        ("ServiceEntry", "{hosts: [a.com], addresses: [@]}", 256, &|i| format!("10.0.{}.{}", i / 250, i % 250)),
        ("WorkloadEntry", "{address: a.b, ports: {@}}", 128, &|i| format!("p{i}: 80")),
        ("WorkloadEntry", "{address: a.b, labels: {@}}", 256, &|i| format!("l{i}: x")),
    ] {
        for (count, errors) in [(most, 0), (most + 1, 1)] {
            let spec = spec.replace('@', &list(count, one));
            let text =
                format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: s}}\nspec: {spec}\n");
            let loaded = leeboard_istio::load(&[leeboard_istio::source::Source::new("f.yaml", text)]);
            assert_eq!(loaded.errors(), errors, "{kind} {count}");
        }
    }
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
            good("{trafficDistribution: PreferSameNode}"),
            warning(BAD_VALUE, "{trafficDistribution: «PreferHome»}"),
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
