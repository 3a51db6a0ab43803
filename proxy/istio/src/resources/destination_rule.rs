//! DestinationRule: what happens to requests once they are routed.

use std::sync::Arc;

use leeboard_policy::time::Span;

use super::{Labels, Meta};
use crate::source::{Located, Spot};

/// Istio: DestinationRule.
#[derive(Clone, Debug)]
pub struct DestinationRule {
    /// What every object has.
    pub meta: Meta,
    /// Whose policy; unexpanded, may be a wildcard.
    pub host: Located<Arc<str>>,
    /// For all ports and subsets that do not say otherwise.
    pub traffic_policy: Option<Box<TrafficPolicy>>,
    /// Named parts of the host's endpoints.
    pub subsets: Vec<Subset>,
    /// Who sees it; empty means everybody.
    pub export_to: Vec<Arc<str>>,
    /// Client workloads of the same namespace that use it; `None` is all.
    pub workload_selector: Option<Labels>,
}

/// One entry of `subsets`.
#[derive(Clone, Debug)]
pub struct Subset {
    /// Its name.
    pub name: Located<Arc<str>>,
    /// What an endpoint must carry; empty takes them all.
    pub labels: Labels,
    /// Blocks that replace the rule's own, each as a whole.
    pub traffic_policy: Option<Box<TrafficPolicy>>,
}

/// Istio: `trafficPolicy`.
#[derive(Clone, Debug)]
pub struct TrafficPolicy {
    /// Where it begins.
    pub spot: Spot,
    /// The blocks for all ports.
    pub blocks: PolicyBlocks,
    /// The blocks of single service ports; nothing is inherited. In order of appearance.
    pub port_level: Vec<(Located<u16>, PolicyBlocks)>,
    /// `retryBudget`; takes the place of `connectionPool.http.maxRetries`.
    pub retry_budget: Option<RetryBudget>,
    /// `tunnel`.
    pub tunnel: Option<Box<Tunnel>>,
    /// `proxyProtocol`.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Istio: `tunnel`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Whether it is opened by POST instead of CONNECT.
    pub post: bool,
    /// Where it leads.
    pub host: Located<Arc<str>>,
    /// The port there.
    pub port: u16,
}

/// Istio: `proxyProtocol.version`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProxyProtocol {
    /// Text.
    #[default]
    V1,
    /// Bytes.
    V2,
}

/// Istio: `tls` of a traffic policy. Present even for `{}`, which is [`TlsMode::Disable`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientTls {
    /// Where it begins.
    pub spot: Spot,
    /// `mode`.
    pub mode: TlsMode,
    /// `clientCertificate`, a file.
    pub certificate: Option<Arc<str>>,
    /// `privateKey`, a file.
    pub private_key: Option<Arc<str>>,
    /// `caCertificates`, a file; `None` is the system's authorities.
    pub ca_certificates: Option<Arc<str>>,
    /// `caCrl`, a file.
    pub ca_crl: Option<Arc<str>>,
    /// `credentialName`, a secret.
    pub credential: Option<Located<Arc<str>>>,
    /// `subjectAltNames`, any of which the certificate must bear.
    pub subject_alt_names: Vec<Arc<str>>,
    /// `sni`; `None` is the request's Host.
    pub sni: Option<Arc<str>>,
    /// `insecureSkipVerify`.
    pub skip_verify: bool,
}

/// Istio: `tls.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TlsMode {
    /// Plain text.
    #[default]
    Disable,
    /// The endpoint shows a certificate.
    Simple,
    /// Both sides do.
    Mutual,
    /// Both sides do, with the certificates of the mesh.
    IstioMutual,
}

/// Istio: `retryBudget`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RetryBudget {
    /// How many retries may be under way, in percent of the requests that are; 0 to 100, 20 when absent.
    pub percent: f64,
    /// How many may be under way in any case; 3 when absent.
    pub min_retry_concurrency: u32,
    /// `budgetInterval`; absent means that only requests under way count.
    pub interval: Option<Span>,
}

/// The blocks of a traffic policy that a port or subset overrides as a whole.
#[derive(Clone, Debug, Default)]
pub struct PolicyBlocks {
    /// How an endpoint is chosen.
    pub load_balancer: Option<Box<LoadBalancer>>,
    /// How much it may be given.
    pub connection_pool: Option<Box<ConnectionPool>>,
    /// When an endpoint is set aside; present even for `{}`.
    pub outlier_detection: Option<Box<OutlierDetection>>,
    /// How connections are secured; `None` leaves it to the mesh.
    pub tls: Option<Box<ClientTls>>,
}

/// Istio: `loadBalancer`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LoadBalancer {
    /// How one of the endpoints at hand is chosen.
    pub algorithm: Algorithm,
    /// `localityLbSetting`: which endpoints are at hand; `None` takes the mesh's.
    pub locality: Option<Box<LocalityLb>>,
    /// `zoneAwareLbSetting`, which takes its place.
    pub zone_aware: Option<Box<ZoneAwareLb>>,
    /// `warmup`, or `warmupDurationSecs` in its absence.
    pub warmup: Option<Warmup>,
}

/// Istio: `simple` or `consistentHash`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// `LEAST_REQUEST`, `LEAST_CONN`, `UNSPECIFIED`, or nothing.
    #[default]
    LeastRequest,
    /// `ROUND_ROBIN`.
    RoundRobin,
    /// `RANDOM`.
    Random,
    /// `PASSTHROUGH`: wherever the caller was going.
    Passthrough,
    /// `consistentHash`.
    ConsistentHash {
        /// What is hashed.
        key: HashKey,
        /// What the hash is looked up in.
        table: HashTable,
    },
}

/// What a consistent hash is taken of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashKey {
    /// `httpHeaderName`, in lower case.
    Header(Arc<str>),
    /// `httpCookie`.
    Cookie(Box<HashCookie>),
    /// `httpQueryParameterName`.
    QueryParameter(Arc<str>),
    /// `useSourceIp`.
    SourceIp,
}

/// Istio: `httpCookie`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashCookie {
    /// Its name.
    pub name: Arc<str>,
    /// The path of a cookie that the proxy makes.
    pub path: Option<Arc<str>>,
    /// How long such a cookie lives; zero lasts as long as the browser, and `None` makes none.
    pub ttl: Option<Span>,
    /// More attributes of such a cookie, in order of appearance; the value may be empty.
    pub attributes: Vec<(Arc<str>, Arc<str>)>,
}

/// What a consistent hash is looked up in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashTable {
    /// `ringHash`, or neither.
    Ring {
        /// The least number of its entries; `None` is 1024.
        minimum_size: Option<u64>,
    },
    /// `maglev`.
    Maglev {
        /// The number of its entries, a prime; `None` is 65537.
        table_size: Option<u64>,
    },
}

/// Istio: `localityLbSetting`. Localities are `region/zone/subzone`, the tail of which may be missing or `*`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalityLb {
    /// `enabled`; `None` takes the mesh's.
    pub enabled: Option<bool>,
    /// `distribute`, in order of appearance.
    pub distribute: Vec<Distribute>,
    /// `failover`, in order of appearance.
    pub failover: Vec<Failover>,
    /// `failoverPriority`: label keys, or `key=value`.
    pub failover_priority: Vec<Located<Arc<str>>>,
}

/// One entry of `distribute`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distribute {
    /// Callers of this locality …
    pub from: Located<Arc<str>>,
    /// … send this many of a hundred requests to each of these, in order of appearance.
    pub to: Vec<(Located<Arc<str>>, u32)>,
}

/// One entry of `failover`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failover {
    /// When this region fails …
    pub from: Located<Arc<str>>,
    /// … this one is next.
    pub to: Located<Arc<str>>,
}

/// Istio: `zoneAwareLbSetting`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ZoneAwareLb {
    /// `enabled`.
    pub enabled: Option<bool>,
    /// `failover`, in order of appearance.
    pub failover: Vec<Failover>,
    /// `failoverPriority`: label keys, or `key=value`.
    pub failover_priority: Vec<Located<Arc<str>>>,
    /// `minClusterSize`: with fewer endpoints zones are not looked at; `None` is 6.
    pub min_cluster_size: Option<u64>,
}

/// Istio: `warmup`: a new endpoint takes its share little by little.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Warmup {
    /// How long.
    pub duration: Span,
    /// What it begins with, in percent of its share; 0 to 100, 10 when absent.
    pub minimum_percent: f64,
    /// The shape of the curve; above 0, and 1 (a straight line) when absent.
    pub aggression: f64,
}

/// Istio: `connectionPool`. Absent values and those that mean "no limit" are `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConnectionPool {
    /// `tcp.maxConnections`.
    pub max_connections: Option<u32>,
    /// `tcp.connectTimeout`.
    pub connect_timeout: Option<Span>,
    /// `tcp.maxConnectionDuration`.
    pub max_connection_duration: Option<Span>,
    /// `tcp.idleTimeout`; zero turns it off.
    pub tcp_idle_timeout: Option<Span>,
    /// `http.http1MaxPendingRequests`.
    pub max_pending_requests: Option<u32>,
    /// `http.http2MaxRequests`.
    pub max_requests: Option<u32>,
    /// `http.maxRequestsPerConnection`.
    pub max_requests_per_connection: Option<u32>,
    /// `http.maxRetries`.
    pub max_retries: Option<u32>,
    /// `http.idleTimeout`.
    pub http_idle_timeout: Option<Span>,
    /// `http.h2UpgradePolicy`.
    pub h2_upgrade: H2Upgrade,
    /// `http.useClientProtocol`.
    pub use_client_protocol: bool,
    /// `http.maxConcurrentStreams`.
    pub max_concurrent_streams: Option<u32>,
    /// `http.http2KeepAlive`: interval and timeout.
    pub http2_keepalive: Option<(Span, Span)>,
    /// `tcp.tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
}

/// Istio: `h2UpgradePolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum H2Upgrade {
    /// The mesh's: do not upgrade.
    #[default]
    Default,
    /// HTTP/1.1 stays.
    DoNotUpgrade,
    /// HTTP/2 is spoken to the endpoint.
    Upgrade,
}

/// Istio: `tcpKeepalive`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Span>,
    /// Time between probes.
    pub interval: Option<Span>,
}

/// Istio: `outlierDetection`. `None` is absent; an explicit 0 stays 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OutlierDetection {
    /// `consecutive5xxErrors`; 0 turns it off, absent is 5.
    pub consecutive_5xx: Option<u32>,
    /// `consecutiveGatewayErrors`; absent and 0 are off.
    pub consecutive_gateway: Option<u32>,
    /// `splitExternalLocalOriginErrors`.
    pub split_local_origin: bool,
    /// `consecutiveLocalOriginFailures`; absent is 5.
    pub consecutive_local: Option<u32>,
    /// `interval`.
    pub interval: Option<Span>,
    /// `baseEjectionTime`.
    pub base_ejection: Option<Span>,
    /// `maxEjectionPercent`; absent and 0 are 10.
    pub max_ejection_percent: u32,
    /// `minHealthPercent`; 0 turns panic off.
    pub min_health_percent: u32,
    /// `outlierDetectionHttpErrorCodes`.
    pub error_codes: Vec<u16>,
}
