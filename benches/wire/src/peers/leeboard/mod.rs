//! Leeboard itself, three times: with one static service and nothing else, with every mesh feature on, and with the access
//! log too.

mod many;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{HOST, Launch, Layout, Peer, Places, Protocol, Rewrite, SERVICE_PORT, Site, executable, program};
use crate::process::CommandLine;

const GET: &str = "cargo build --release -p leeboard, or --leeboard PATH";

pub(super) const PLAIN: Peer = Peer {
    name: "leeboard",
    about: "one static service, no rule of its own",
    get: GET,
    locate,
    version: &["--version"],
    prepare: |site| prepare_own(site, &service(site), Log::Off),
    rewrite: None,
};

pub(super) const MESH: Peer = Peer {
    name: "leeboard-mesh",
    about: "ten rules, retries, outlier detection, limits, timeout, fault and mirror at 0 %, metrics on, access log off",
    get: GET,
    locate,
    version: &["--version"],
    prepare: |site| match site.needs.layout {
        Layout::Own => prepare(site, &format!("{}---\n{}", service(site), mesh()), Log::Off),
        layout => prepare(site, &many::documents(site, layout, site.needs.generation), Log::Off),
    },
    rewrite: Some(rewrite),
};

pub(super) const LOGGING: Peer = Peer {
    name: "leeboard-log",
    about: "leeboard-mesh with its access log on, as JSON to a file",
    get: GET,
    locate,
    version: &["--version"],
    prepare: |site| prepare_own(site, &format!("{}---\n{}", service(site), mesh()), Log::Json),
    rewrite: None,
};

/// Where its configuration is, below its own folder.
const FOLDER: &str = "config";
const FILE: &str = "bench.yaml";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    Off,
    Json,
}

/// The binary of the same build as this one, unless told otherwise.
fn locate(places: &Places) -> Option<PathBuf> {
    if places.leeboard.is_some() {
        return program(places.leeboard.as_ref(), "leeboard");
    }
    let beside = std::env::current_exe().ok()?.with_file_name("leeboard");
    executable(&beside).then_some(beside)
}

/// For what differs from `leeboard-mesh` in its own configuration only.
fn prepare_own(site: &Site<'_>, config: &str, log: Log) -> io::Result<Launch> {
    match site.needs.layout {
        Layout::Own => prepare(site, config, log),
        _ => Ok(Launch::Unable("leeboard-mesh stands for it where all have the same configuration")),
    }
}

fn prepare(site: &Site<'_>, config: &str, log: Log) -> io::Result<Launch> {
    if site.needs.protocol == Protocol::Tls {
        return Ok(Launch::Unable("it does not terminate TLS"));
    }
    let folder = site.dir.join(FOLDER);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(FILE), config)?;
    let options = "--outbound 127.0.0.1:0 --admin off --status 127.0.0.1:0 --metrics 127.0.0.1:0 \
                   --access-log-format json --namespace default --workload bench";
    let log = match log {
        Log::Off => "off".into(),
        Log::Json => site.dir.join("access.log").into_os_string(),
    };
    let args = ["run".into(), "--config".into(), folder.into_os_string(), "--access-log".into(), log]
        .into_iter()
        .chain(["--workers".into(), site.needs.workers.to_string().into()])
        .chain(options.split_whitespace().map(OsString::from));
    Ok(Launch::Announced("outbound", CommandLine::new(site.binary, args)))
}

fn rewrite(site: &Site<'_>) -> io::Result<Rewrite> {
    // Outside the folder that is watched, and on the same file system.
    let from = site.dir.join(format!("next-{}.yaml", site.needs.generation.unwrap_or_default()));
    fs::write(&from, many::documents(site, site.needs.layout, site.needs.generation))?;
    Ok(Rewrite { from, to: site.dir.join(FOLDER).join(FILE) })
}

fn service(site: &Site<'_>) -> String {
    let (address, port) = (site.upstream.ip(), site.upstream.port());
    let protocol = match site.needs.protocol {
        Protocol::Http1 | Protocol::Tls => "HTTP",
        Protocol::Http2 => "HTTP2",
    };
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: bench, namespace: default}}
spec:
  hosts: [{HOST}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {{number: {SERVICE_PORT}, name: http, protocol: {protocol}}}
  endpoints:
  - address: {address}
    ports: {{http: {port}}}
    labels: {{version: v1}}
"
    )
}

/// Nine rules that the load's request does not match, one of each common kind, and the tenth that takes it.
fn mesh() -> String {
    let other = format!("route: [{{destination: {{host: {HOST}, subset: v1}}}}]");
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: bench, namespace: default}}
spec:
  hosts: [{HOST}]
  http:
  - {{match: [{{headers: {{x-canary: {{exact: v2}}}}}}], {other}}}
  - {{match: [{{uri: {{exact: /healthz}}}}], {other}}}
  - {{match: [{{uri: {{prefix: /admin}}}}], {other}}}
  - {{match: [{{uri: {{prefix: /api/v2/}}}}], {other}}}
  - {{match: [{{uri: {{regex: '/files/[0-9]+'}}}}], {other}}}
  - {{match: [{{method: {{exact: DELETE}}}}], {other}}}
  - {{match: [{{headers: {{end-user: {{prefix: test-}}}}}}], {other}}}
  - {{match: [{{queryParams: {{debug: {{exact: '1'}}}}}}], {other}}}
  - {{match: [{{uri: {{prefix: /api/v1/orders}}, headers: {{x-tenant: {{exact: acme}}}}}}], {other}}}
  - name: all-features
    route:
    - destination: {{host: {HOST}, subset: v1}}
    timeout: 15s
    retries: {{attempts: 3, perTryTimeout: 5s, retryOn: '5xx,connect-failure,reset'}}
    fault:
      delay: {{percentage: {{value: 0}}, fixedDelay: 1s}}
      abort: {{percentage: {{value: 0}}, httpStatus: 503}}
    mirror: {{host: {HOST}, subset: v1}}
    mirrorPercentage: {{value: 0}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: bench, namespace: default}}
spec:
  host: {HOST}
  trafficPolicy:
    loadBalancer: {{simple: LEAST_REQUEST}}
    connectionPool:
      tcp: {{maxConnections: 10000, connectTimeout: 5s}}
      http: {{http1MaxPendingRequests: 10000, http2MaxRequests: 10000, maxRetries: 100}}
    outlierDetection:
      consecutive5xxErrors: 5
      consecutiveGatewayErrors: 5
      interval: 10s
      baseEjectionTime: 30s
      maxEjectionPercent: 50
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
"
    )
}
