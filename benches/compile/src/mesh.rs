//! The configurations that are measured: services, each with two subsets and so many routes.

use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::path::Path;

/// A number of services and of routes to each.
pub(crate) struct Mesh {
    pub(crate) services: usize,
    pub(crate) routes: usize,
}

/// Services per file.
const PER_FILE: usize = 100;
/// What the probe answers in the first version of a configuration.
pub(crate) const FIRST_STATUS: usize = 400;
/// The host that answers by itself.
pub(crate) const PROBE: &str = "probe.test";

impl Mesh {
    /// The files by name.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let all: Vec<usize> = (0..self.services).collect();
        let file = |(number, services): (usize, &[usize])| {
            let text = services.iter().map(|n| service(*n) + &rule(*n) + &self.routing(*n)).collect();
            (format!("mesh-{number:02}.yaml"), text)
        };
        all.chunks(PER_FILE).enumerate().map(file).chain([("probe.yaml".to_owned(), probe(0))]).collect()
    }

    /// Writes the files into a folder.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        self.files().iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
    }

    fn routing(&self, n: usize) -> String {
        let host = host(n);
        let mut text = format!(
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: svc-{n}, namespace: shop}}
spec:
  hosts: [{host}]
  http:
"
        );
        for route in 0..self.routes {
            let condition = match route % 4 {
                _ if route + 1 == self.routes => String::new(),
                0 => format!("    match: [{{uri: {{exact: /v1/items/{route}}}}}]\n"),
                1 => format!("    match: [{{uri: {{prefix: /v1/groups/{route}/}}}}]\n"),
                2 => format!("    match: [{{headers: {{x-user: {{exact: user-{route}}}}}}}]\n"),
                _ => format!("    match: [{{uri: {{prefix: /v2/{route}}}, method: {{exact: POST}}}}]\n"),
            };
            let _ = write!(
                text,
                "  - name: route-{route}
{condition}    route:
    - {{destination: {{host: {host}, subset: v1}}, weight: 90}}
    - {{destination: {{host: {host}, subset: v2}}, weight: 10}}
    timeout: 5s
    retries: {{attempts: 2, perTryTimeout: 2s, retryOn: '5xx,reset'}}
"
            );
        }
        text
    }
}

impl fmt::Display for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} services × {} routes × 2 subsets", self.services, self.routes)
    }
}

fn host(n: usize) -> String {
    format!("svc-{n}.shop.svc.cluster.local")
}

fn service(n: usize) -> String {
    let (high, low, host) = (n / 250, n % 250 + 1, host(n));
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: svc-{n}, namespace: shop}}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
  endpoints:
  - {{address: 10.1.{high}.{low}, labels: {{app: svc-{n}, version: v1}}}}
  - {{address: 10.2.{high}.{low}, labels: {{app: svc-{n}, version: v2}}}}
"
    )
}

fn rule(n: usize) -> String {
    let host = host(n);
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: svc-{n}, namespace: shop}}
spec:
  host: {host}
  trafficPolicy:
    connectionPool: {{http: {{http2MaxRequests: 1000}}}}
    outlierDetection: {{consecutive5xxErrors: 5, interval: 10s}}
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{version: v2}}}}
"
    )
}

/// A host that the proxy answers itself, with a status that tells which version of the configuration it has.
pub(crate) fn probe(version: usize) -> String {
    let status = FIRST_STATUS + version;
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: probe, namespace: shop}}
spec:
  hosts: [{PROBE}]
  http:
  - directResponse: {{status: {status}, body: {{string: ok}}}}
"
    )
}
