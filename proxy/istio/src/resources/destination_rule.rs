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
    pub traffic_policy: Option<TrafficPolicy>,
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
    pub traffic_policy: Option<TrafficPolicy>,
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
}

/// The blocks of a traffic policy that a port or subset overrides as a whole.
#[derive(Clone, Debug, Default)]
pub struct PolicyBlocks {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// How much it may be given.
    pub connection_pool: Option<ConnectionPool>,
    /// When an endpoint is set aside; present even for `{}`.
    pub outlier_detection: Option<OutlierDetection>,
}

/// Istio: `loadBalancer`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadBalancer {
    /// `LEAST_REQUEST`, `LEAST_CONN`, `UNSPECIFIED`, or nothing.
    LeastRequest,
    /// `ROUND_ROBIN`.
    RoundRobin,
    /// `RANDOM`.
    Random,
    /// `PASSTHROUGH`: wherever the caller was going.
    Passthrough,
    /// `consistentHash`, on a ring.
    ConsistentHash {
        /// What is hashed.
        key: HashKey,
        /// The least size of the ring; `None` is 1024.
        minimum_ring_size: Option<u64>,
    },
}

/// What a consistent hash is taken of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashKey {
    /// `httpHeaderName`, in lower case.
    Header(Arc<str>),
    /// `httpQueryParameterName`.
    QueryParameter(Arc<str>),
    /// `useSourceIp`.
    SourceIp,
}

/// Istio: `connectionPool`. Absent values and those that mean "no limit" are `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConnectionPool {
    /// `tcp.maxConnections`.
    pub max_connections: Option<u32>,
    /// `tcp.connectTimeout`.
    pub connect_timeout: Option<Span>,
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
