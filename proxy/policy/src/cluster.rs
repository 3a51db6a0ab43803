//! A cluster: one destination host, port and subset, with how to reach it and what to protect it with.

mod locality_policy;

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::dice::Share;
use crate::origin::Origin;
use crate::time::Span;
use crate::transport::Transport;

pub use self::locality_policy::{ByPlace, Levels, LocalityPolicy, Place, Zones};

/// The index of a cluster in its snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterId(pub u32);

/// A destination, ready to run.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Istio's name for it, such as `outbound|9080|v1|reviews.default.svc.cluster.local`.
    pub name: Arc<str>,
    /// What it is called in metrics.
    pub service: Service,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// What is spoken to its endpoints.
    pub protocol: Protocol,
    /// How an endpoint is chosen.
    pub balancer: Balancer,
    /// Which endpoints go before others for where they are.
    pub locality_policy: LocalityPolicy,
    /// How a new endpoint comes to its share; `None` is at once.
    pub warmup: Option<Warmup>,
    /// How much it may be given at a time.
    pub limits: Limits,
    /// How its connections are made and kept.
    pub connection: Connection,
    /// What is between them and the bytes on them; `None` is nothing.
    pub transport: Option<Arc<Transport>>,
    /// When an endpoint is set aside; `None` means never.
    pub outlier: Option<Outlier>,
    /// Below this percentage of available endpoints all of them are used. Envoy: `healthy_panic_threshold`; 0 disables.
    pub panic_percent: u32,
    /// The ServiceEntry or Service it was made from.
    pub origin: Origin,
    /// The DestinationRule whose policy it carries, if any.
    pub policy_origin: Option<Origin>,
}

impl Cluster {
    /// Whether its connections must be secured.
    pub fn needs_tls(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.tls.is_some())
    }
}

/// The service that a cluster is a part of, as metrics name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// The full host name, `reviews.default.svc.cluster.local`.
    pub host: Arc<str>,
    /// The short name, `reviews`; `PassthroughCluster` and the like for traffic to nowhere known.
    pub name: Arc<str>,
    /// The namespace it lives in, or `unknown`.
    pub namespace: Arc<str>,
    /// The service port.
    pub port: u16,
    /// The subset, or empty.
    pub subset: Arc<str>,
    /// Whether it lies outside the mesh.
    pub external: bool,
}

impl Service {
    /// The full name of what a caller names: of a cluster's service, or of a pod below it, in whichever of their forms.
    /// Kubernetes: the search list of the resolver does as much. Other names stay.
    pub fn full_name<'h>(&self, named: &'h str) -> Cow<'h, str> {
        let Some((own, _)) = self.host.split_once(".svc.") else { return Cow::Borrowed(named) };
        let bare = own.split_once('.').map_or(own, |(name, _)| name);
        let is_it = |short: &str| [own, bare].contains(&short.strip_suffix(".svc").unwrap_or(short));
        if is_it(named) {
            return Cow::Owned(self.host.as_ref().into());
        }
        match named.split_once('.') {
            Some((label, rest)) if is_it(rest) => Cow::Owned(alloc::format!("{label}.{}", self.host)),
            _ => Cow::Borrowed(named),
        }
    }
}

/// Where endpoints come from.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// Written down in the configuration.
    Static(Vec<EndpointSpec>),
    /// Every address of every name is an endpoint. Istio: `resolution: DNS`. Envoy: STRICT_DNS.
    Dns(Vec<DnsSpec>),
    /// One endpoint, whose address is the first of the latest answer. Istio: `DNS_ROUND_ROBIN`. Envoy: LOGICAL_DNS.
    DnsFirst(DnsSpec),
    /// Wherever the caller was going. Istio: `resolution: NONE`, headless services and passthrough.
    Original,
}

/// A name to resolve, and what its addresses have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsSpec {
    /// The name.
    pub name: Arc<str>,
    /// The port at every address of it.
    pub port: u16,
    /// Relative share of the traffic, at least 1.
    pub weight: u32,
    /// What is known of the workload behind it.
    pub workload: Arc<Workload>,
}

/// One endpoint as the configuration describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointSpec {
    /// Where it listens.
    pub address: Address,
    /// Relative share of the traffic, at least 1.
    pub weight: u32,
    /// What is known of the workload behind it.
    pub workload: Arc<Workload>,
}

/// Where an endpoint listens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Address {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A Unix socket's path; a leading `@` names an abstract one.
    Unix(Arc<str>),
}

impl Address {
    /// Its IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Socket(address) => Some(address.ip()),
            Address::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

/// What is known of a workload: ours, or the one behind an endpoint. Unknown values are empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Workload {
    /// The workload's name, usually its Deployment's.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its labels; `app` and `version` appear in metrics.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `region/zone/subzone`.
    pub locality: Arc<str>,
}

/// The labels that say where a workload is: the parts of its locality, in order.
pub const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

impl Workload {
    /// A label's value, or the empty string. Istio: what is known of a workload's place counts as labels of it, before those
    /// that are written.
    pub fn label(&self, key: &str) -> &str {
        let Some(part) = TOPOLOGY.iter().position(|known| *known == key) else { return self.written_label(key) };
        match self.locality.split('/').nth(part) {
            None | Some("") => self.written_label(key),
            Some(known) => known,
        }
    }

    fn written_label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", |v| v)
    }

    /// Whether it carries all of some labels.
    pub fn carries(&self, labels: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
        // A label without a value is still one, and told from none.
        let has =
            |key: &str, value: &str| self.label(key) == value && (!value.is_empty() || self.labels.contains_key(key));
        labels.iter().all(|(key, value)| has(key, value))
    }

    /// Istio: canonical name is `service.istio.io/canonical-name`, `app.kubernetes.io/name`, `app`, else the workload's name.
    pub fn canonical_name(&self) -> &str {
        self.first_label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or(&self.name)
    }

    /// Istio: canonical revision is `service.istio.io/canonical-revision`, `app.kubernetes.io/version`, `version`, else `latest`.
    pub fn canonical_revision(&self) -> &str {
        self.first_label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"])
            .unwrap_or("latest")
    }

    fn first_label(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().map(|key| self.label(key)).find(|value| !value.is_empty())
    }
}

/// What is spoken to endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
    /// Whatever the caller spoke. Istio: `useClientProtocol`, and ports whose protocol is not declared.
    Client,
}

impl Protocol {
    /// Whether HTTP/2 is spoken for a caller who does, or does not, speak it.
    #[must_use]
    pub fn speaks_http2(self, caller_does: bool) -> bool {
        match self {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Client => caller_does,
        }
    }
}

/// How an endpoint is chosen.
#[derive(Clone, PartialEq, Debug)]
pub enum Balancer {
    /// The less busy of two. Istio: `LEAST_REQUEST`, the default, also spelled `LEAST_CONN`.
    LeastRequest,
    /// Each in turn, by weight.
    RoundRobin,
    /// Any, by weight.
    Random,
    /// The place of a hash on a ring.
    RingHash {
        /// What is hashed.
        key: HashKey,
        /// The least number of entries on the ring.
        minimum_size: u64,
    },
    /// The place of a hash in Maglev's table. Istio: `consistentHash.maglev`.
    Maglev {
        /// What is hashed.
        key: HashKey,
        /// The number of entries, a prime. Envoy: 65537 by default.
        table_size: u32,
    },
}

impl Balancer {
    /// What it hashes, if it does.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match self {
            Balancer::RingHash { key, .. } | Balancer::Maglev { key, .. } => Some(key),
            Balancer::LeastRequest | Balancer::RoundRobin | Balancer::Random => None,
        }
    }
}

/// What a consistent hash is taken of. Without a value the pick is random.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashKey {
    /// A request header's values, in lower case.
    Header(Arc<str>),
    /// A cookie's value.
    Cookie(Arc<HashCookie>),
    /// The first value of a query parameter, undecoded.
    Query(Arc<str>),
    /// The caller's IP address.
    SourceIp,
}

/// A cookie that is hashed. Istio: `httpCookie`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashCookie {
    /// Its name.
    pub name: Arc<str>,
    /// The path of one that the proxy makes; empty is none.
    pub path: Arc<str>,
    /// Whether a caller without one is given one, and for how many seconds; 0 lasts as long as the browser.
    pub max_age: Option<u64>,
    /// More attributes of one that the proxy makes, in order; an empty value stands for the name alone.
    pub attributes: Vec<(Arc<str>, Arc<str>)>,
}

/// How a new endpoint comes to its share. Istio: `warmup`. Envoy: slow start.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Warmup {
    /// How long it takes.
    pub duration: Span,
    /// What it begins with, as a fraction of its share. Istio: 0.1.
    pub least: f64,
    /// The shape: its share after a fraction `t` of the time is `t^(1/aggression)`. Istio: 1, a straight line.
    pub aggression: f64,
}

/// How much a cluster may be given at a time, per proxy; `None` is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Connections, exact over all workers. Istio: `tcp.maxConnections`.
    pub connections: Option<u32>,
    /// Requests waiting for a connection. Istio: `http1MaxPendingRequests`.
    pub pending: Option<u32>,
    /// Requests in flight, any HTTP version. Istio: `http2MaxRequests`.
    pub requests: Option<u32>,
    /// Retries scheduled or in flight. Istio: `maxRetries`.
    pub retries: Option<u32>,
    /// Takes the place of `retries`. Istio: `retryBudget`.
    pub budget: Option<RetryBudget>,
}

/// How many retries there may be for how many requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryBudget {
    /// Retries scheduled or in flight, as a share of requests. Istio: 20 %.
    pub share: Share,
    /// So many are allowed in any case. Istio: 3.
    pub least: u32,
    /// Requests that began in the latest interval count; `None` counts those in flight.
    pub interval: Option<Span>,
}

/// How connections are made and kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// How long TCP (and TLS) may take. Istio: 10 s.
    pub connect_timeout: Span,
    /// How long an unused connection is kept; `None` for ever.
    pub idle_timeout: Option<Span>,
    /// How old a connection may become; one that is older takes no further request. `None` for ever.
    pub max_age: Option<Span>,
    /// After this many requests a connection is not used again; `None` is no limit.
    pub max_requests: Option<u32>,
    /// How many streams share one HTTP/2 connection.
    pub max_streams: Option<u32>,
    /// PING interval and timeout of HTTP/2 connections.
    pub http2_keepalive: Option<(Span, Span)>,
    /// TCP keep-alive.
    pub tcp_keepalive: Option<TcpKeepalive>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            connect_timeout: Span::from_secs(10),
            idle_timeout: Some(Span::from_secs(3600)),
            max_age: None,
            max_requests: None,
            max_streams: None,
            http2_keepalive: None,
            tcp_keepalive: None,
        }
    }
}

/// TCP keep-alive; an absent value leaves the system's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Span>,
    /// Time between probes.
    pub interval: Option<Span>,
}

/// When an endpoint is set aside for a while. Istio: `outlierDetection`, with Envoy's defaults filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Outlier {
    /// Errors in a row; 0 disables. Default 5.
    pub consecutive_5xx: u32,
    /// 502, 503 and 504 in a row; 0 disables, which is the default.
    pub consecutive_gateway: u32,
    /// Connect failures and timeouts are counted apart from statuses.
    pub split_local_origin: bool,
    /// Local failures in a row when split; 0 disables. Default 5.
    pub consecutive_local: u32,
    /// If not empty, only these statuses are errors.
    pub error_codes: Vec<u16>,
    /// Time between sweeps, at which ejected endpoints return. Default 10 s.
    pub interval: Span,
    /// How long the first ejection lasts; the n-th in a row lasts n times as long. Default 30 s.
    pub base_ejection: Span,
    /// The longest ejection: 300 s, or `base_ejection` when that is longer.
    pub max_ejection: Span,
    /// No more than this percentage of endpoints is out at a time. Default 10.
    pub max_ejection_percent: u32,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway: 0,
            split_local_origin: false,
            consecutive_local: 5,
            error_codes: Vec::new(),
            interval: Span::from_secs(10),
            base_ejection: Span::from_secs(30),
            max_ejection: Span::from_secs(300),
            max_ejection_percent: 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_spoken_where_it_is_known_to_be_understood() {
        use Protocol::{Client, Http1, Http2};
        for (protocol, caller_does, speaks) in
            [(Http1, true, false), (Http2, false, true), (Client, false, false), (Client, true, true)]
        {
            assert_eq!(protocol.speaks_http2(caller_does), speaks, "{protocol:?}");
        }
    }

    #[test]
    fn names_of_a_service_are_completed() {
        let of = |host: &str| Service {
            host: host.into(),
            name: "".into(),
            namespace: "".into(),
            port: 80,
            subset: "".into(),
            external: false,
        };
        let solr = of("solr.demo.svc.cluster.local");
        for (named, full) in [
            ("solr", "solr.demo.svc.cluster.local"),
            ("solr.demo", "solr.demo.svc.cluster.local"),
            ("solr.demo.svc", "solr.demo.svc.cluster.local"),
            ("solr-1.solr", "solr-1.solr.demo.svc.cluster.local"),
            ("solr-1.solr.demo.svc", "solr-1.solr.demo.svc.cluster.local"),
            ("solr.demo.svc.cluster.local", "solr.demo.svc.cluster.local"),
            ("solr.other", "solr.other"),
            ("a.example.com", "a.example.com"),
            ("sol", "sol"),
        ] {
            assert_eq!(solr.full_name(named), full, "{named}");
        }
        assert_eq!(of("PassthroughCluster").full_name("solr"), "solr");
        assert_eq!(of("*.example.com").full_name("a.example.com"), "a.example.com");
    }

    #[test]
    fn a_place_counts_as_labels() {
        let labels = [("version", "v1"), ("topology.kubernetes.io/zone", "old"), ("empty", "")];
        let labels = labels.map(|(k, v)| (k.into(), v.into())).into();
        let workload = Workload { labels, locality: "eu/1".into(), ..Workload::default() };
        let carries = |key: &str, value: &str| workload.carries(&[(key.into(), value.into())].into());
        assert!(carries("version", "v1") && carries("topology.kubernetes.io/region", "eu") && carries("empty", ""));
        assert!(carries("topology.kubernetes.io/zone", "1") && !carries("topology.kubernetes.io/zone", "old"));
        assert!(!carries("topology.istio.io/subzone", "a") && !carries("absent", ""));
    }
}
