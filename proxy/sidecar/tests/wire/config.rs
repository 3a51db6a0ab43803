//! The configuration of a test, in a few words.

use std::net::SocketAddr;

/// A service `host` on port 80 with endpoints, each with its version.
pub(crate) fn service(host: &str, protocol: &str, endpoints: &[(SocketAddr, &str)]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(at, version)| {
            format!("{{address: {}, ports: {{main: {}}}, labels: {{version: {version}}}}}", at.ip(), at.port())
        })
        .collect();
    let spec = format!(
        "{{hosts: [{host}], location: MESH_INTERNAL, resolution: STATIC, \
         ports: [{{number: 80, name: main, protocol: {protocol}}}], endpoints: [{}]}}",
        endpoints.join(", ")
    );
    document("ServiceEntry", host, &spec)
}

/// A VirtualService of a host with these `http` rules, in flow style.
pub(crate) fn routes(host: &str, http: &str) -> String {
    document("VirtualService", host, &format!("{{hosts: [{host}], http: {http}}}"))
}

/// One rule to the host itself with more settings, as `timeout: 1s`.
pub(crate) fn route(host: &str, settings: &str) -> String {
    routes(host, &format!("[{{route: [{{destination: {{host: {host}}}}}], {settings}}}]"))
}

/// A DestinationRule of a host with a traffic policy and the subsets v1 and v2.
pub(crate) fn policy(host: &str, policy: &str) -> String {
    let subsets = "[{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]";
    document("DestinationRule", host, &format!("{{host: {host}, trafficPolicy: {policy}, subsets: {subsets}}}"))
}

/// An Istio object with a spec in flow style.
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\nspec: {spec}\n"
    )
}
