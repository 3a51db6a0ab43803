//! The catalogue's configurations as Istio's resources.

use std::fmt::Write;

use super::super::catalogue::{GENERATION, Layout, Match, TENANT};
use super::super::{SERVICE_PORT, Site};

/// All documents of a layout.
pub(super) fn documents(site: &Site<'_>, layout: Layout, generation: Option<u64>) -> String {
    let matches = layout.matches();
    let mut out = String::new();
    for (number, host) in layout.hosts().iter().enumerate() {
        service(&mut out, site, number, host);
        virtual_service(&mut out, number, host, &matches, generation);
        destination_rule(&mut out, number, host);
    }
    out
}

/// One endpoint that both subsets select, by a label each.
fn service(out: &mut String, site: &Site<'_>, number: usize, host: &str) {
    let (address, port) = (site.upstream.ip(), site.upstream.port());
    let _ = write!(
        out,
        "\
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: service-{number}, namespace: default}}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {{number: {SERVICE_PORT}, name: http, protocol: HTTP}}
  endpoints:
  - address: {address}
    ports: {{http: {port}}}
    labels: {{version: v1, track: canary}}
"
    );
}

fn virtual_service(out: &mut String, number: usize, host: &str, matches: &[Match], generation: Option<u64>) {
    let _ = write!(
        out,
        "\
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: service-{number}, namespace: default}}
spec:
  hosts: [{host}]
  http:
"
    );
    for (index, rule) in matches.iter().enumerate() {
        let rule = match rule {
            Match::Exact(path) => format!("uri: {{exact: {path}}}"),
            Match::Prefix(prefix) => format!("uri: {{prefix: {prefix}}}"),
            Match::Tenant(tenant) => format!("headers: {{{TENANT}: {{exact: {tenant}}}}}"),
            Match::Any => continue,
        };
        let _ = write!(
            out,
            "  - name: rule-{index}\n    match: [{{{rule}}}]\n    route:\n    - destination: {{host: {host}, subset: v1}}\n"
        );
    }
    let _ = write!(
        out,
        "  - name: rest
    route:
    - {{destination: {{host: {host}, subset: v1}}, weight: 90}}
    - {{destination: {{host: {host}, subset: v2}}, weight: 10}}
    timeout: 15s
    retries: {{attempts: 3, perTryTimeout: 5s, retryOn: '5xx,connect-failure,reset'}}
"
    );
    if let Some(generation) = generation {
        let _ = writeln!(out, "    headers: {{response: {{set: {{{GENERATION}: '{generation}'}}}}}}");
    }
}

fn destination_rule(out: &mut String, number: usize, host: &str) {
    let _ = write!(
        out,
        "\
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: service-{number}, namespace: default}}
spec:
  host: {host}
  trafficPolicy:
    loadBalancer: {{simple: LEAST_REQUEST}}
    connectionPool:
      tcp: {{connectTimeout: 5s}}
      http: {{http1MaxPendingRequests: 10000, http2MaxRequests: 10000, maxRetries: 100}}
    outlierDetection: {{consecutive5xxErrors: 5, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 50}}
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{track: canary}}}}
"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Certificate;
    use crate::peers::{Needs, catalogue};
    use std::path::{Path, PathBuf};

    #[test]
    fn every_service_has_its_three_documents_and_its_routes() {
        let needs = Needs::default();
        let upstream = "127.0.0.1:1".parse().expect("an address");
        let certificate = Certificate { chain: PathBuf::new(), key: PathBuf::new(), both: PathBuf::new() };
        let site =
            Site { binary: Path::new("/"), dir: Path::new("/"), upstream, certificate: &certificate, needs: &needs };
        let count = |text: &str, part: &str| text.matches(part).count();
        for (layout, services, routes) in [
            (Layout::One, 1, 1),
            (Layout::Services, catalogue::SERVICES, catalogue::SERVICES * catalogue::RULES),
            (Layout::Rules, 1, catalogue::ROUTES),
        ] {
            let text = documents(&site, layout, Some(7));
            assert_eq!(count(&text, "\nkind: "), 3 * services, "{layout:?}");
            assert_eq!(count(&text, "\n  - name: "), routes, "{layout:?}");
            assert_eq!(count(&text, "set: {x-generation: '7'}"), services);
        }
    }
}
