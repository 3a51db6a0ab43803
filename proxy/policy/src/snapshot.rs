//! The compiled configuration: hosts, routes and clusters. It never changes; a reload makes a new one.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use hashbrown::HashMap;

use crate::cluster::{Cluster, ClusterId, Workload};
use crate::headers::HeaderOps;
use crate::origin::Origin;
use crate::retry::RetryPolicy;
use crate::route::{Action, Destination, Forward, Match, Route, Target};
use crate::routes::Routes;

/// Everything a snapshot is made of, as the compiler hands it over.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Which version of the configuration this is, for `/config_dump` and metrics.
    pub version: Arc<str>,
    /// The workload that this proxy stands beside.
    pub workload: Workload,
    /// Outbound virtual hosts, in order: a domain claimed twice on a port belongs to the first.
    pub hosts: Vec<VirtualHost>,
    /// What is done with a host that no virtual host claims.
    pub unknown: UnknownHosts,
    /// How many proxies before a caller are believed in what they say of who called them. Istio: `numTrustedProxies`.
    pub trusted_proxies: u32,
    /// The application's own ports.
    pub inbound: Vec<Inbound>,
    /// All destinations. A [`ClusterId`] is an index here.
    pub clusters: Vec<Cluster>,
}

/// A named set of domains on a port and their routes.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// Istio: `host:port`.
    pub name: Arc<str>,
    /// The port that callers address.
    pub port: u16,
    /// Domains in lower case, without port: exact, or `*` and a suffix (`*.example.com`), or `*` alone.
    pub domains: Vec<Arc<str>>,
    /// In order of priority.
    pub routes: Routes,
    /// The VirtualService it was made from, or the service when there is none.
    pub origin: Origin,
}

impl VirtualHost {
    /// By which of its domains it claims a name in lower case without port: the most specific one.
    pub fn domain_of(&self, name: &str) -> Option<&str> {
        let claims = |domain: &&Arc<str>| match domain.strip_prefix('*') {
            None => ***domain == *name,
            Some(suffix) => suffix.is_empty() || (name.ends_with(suffix) && name.len() > suffix.len()),
        };
        let claiming = self.domains.iter().filter(claims);
        claiming.max_by_key(|domain| (!domain.starts_with('*'), domain.len())).map(|domain| &**domain)
    }
}

/// What is done with a host that no virtual host claims. Istio: `outboundTrafficPolicy.mode`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum UnknownHosts {
    /// It is sent where its name says. The cluster is the one named `PassthroughCluster`. Istio: ALLOW_ANY.
    Allow(ClusterId),
    /// 502. Istio: REGISTRY_ONLY.
    #[default]
    Block,
}

/// A port of the application that this proxy answers on.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Where the proxy listens, as the command line says it.
    pub listen: SocketAddr,
    /// What is done with its requests: always a forward to the cluster `inbound|port||`.
    pub route: Route,
}

/// The compiled configuration. Its parts are reached by the questions that a request asks.
#[derive(Debug)]
pub struct Snapshot {
    draft: Draft,
    ports: HashMap<u16, HostTable>,
    names: HashMap<Arc<str>, ClusterId>,
    passthrough: Option<Route>,
}

impl From<Snapshot> for Draft {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.draft
    }
}

/// Which rule of a snapshot an exchange fell under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleId {
    /// A route of an outbound virtual host, both by index.
    Host(u32, u32),
    /// The route of an inbound listener, by index.
    Inbound(u32),
    /// The route of hosts that nobody claims.
    Passthrough,
}

#[derive(Debug, Default)]
struct HostTable {
    exact: HashMap<Arc<str>, u32>,
    /// By what follows the `*`.
    suffixes: HashMap<Box<str>, u32>,
    /// Whether every suffix begins with a dot, so that others need not be looked for.
    dotted: bool,
    any: Option<u32>,
}

impl Snapshot {
    /// Indexes a draft.
    pub fn new(draft: Draft) -> Self {
        let mut ports: HashMap<u16, HostTable> = HashMap::new();
        for (index, host) in (0u32..).zip(&draft.hosts) {
            let table = ports.entry(host.port).or_default();
            for domain in &host.domains {
                table.claim(domain, index);
            }
        }
        for table in ports.values_mut() {
            table.exact.shrink_to_fit();
            table.dotted = table.suffixes.keys().all(|suffix| suffix.starts_with('.'));
        }
        let names = draft.clusters.iter().enumerate().map(|(i, c)| (c.name.clone(), ClusterId(i as u32))).collect();
        let passthrough = match draft.unknown {
            UnknownHosts::Allow(cluster) => Some(passthrough_route(cluster)),
            UnknownHosts::Block => None,
        };
        Self { draft, ports, names, passthrough }
    }

    /// How many proxies before a caller are believed in what they say of who called them.
    pub fn trusted_proxies(&self) -> u32 {
        self.draft.trusted_proxies
    }

    /// The index of the virtual host for a port and a host name in lower case without port.
    /// Envoy: exact, then the longest suffix, then `*`.
    pub fn find_host(&self, port: u16, host: &str) -> Option<usize> {
        let table = self.ports.get(&port)?;
        table.exact.get(host).copied().or_else(|| table.by_suffix(host)).or(table.any).map(|index| index as usize)
    }

    /// The virtual host for a port and a host name in lower case without port.
    pub fn host(&self, port: u16, host: &str) -> Option<&VirtualHost> {
        self.draft.hosts.get(self.find_host(port, host)?)
    }

    /// The route of hosts that nobody claims; `None` when they are blocked.
    pub fn passthrough(&self) -> Option<&Route> {
        self.passthrough.as_ref()
    }

    /// A rule by its place; `None` when the place is of another snapshot.
    pub fn rule(&self, id: RuleId) -> Option<&Route> {
        match id {
            RuleId::Host(host, route) => self.draft.hosts.get(host as usize)?.routes.get(route as usize),
            RuleId::Inbound(index) => Some(&self.draft.inbound.get(index as usize)?.route),
            RuleId::Passthrough => self.passthrough(),
        }
    }

    /// A cluster by its index.
    ///
    /// # Panics
    /// When the index is of another snapshot: the compiler makes both together.
    pub fn cluster(&self, id: ClusterId) -> &Cluster {
        &self.draft.clusters[id.0 as usize]
    }

    /// A cluster's index by its Istio name.
    pub fn cluster_named(&self, name: &str) -> Option<ClusterId> {
        self.names.get(name).copied()
    }

    /// All clusters in order of their index.
    pub fn clusters(&self) -> &[Cluster] {
        &self.draft.clusters
    }

    /// All outbound virtual hosts, in order.
    pub fn hosts(&self) -> &[VirtualHost] {
        &self.draft.hosts
    }

    /// The application's ports, in the order of the command line.
    pub fn inbound(&self) -> &[Inbound] {
        &self.draft.inbound
    }

    /// What is done with unknown hosts.
    pub fn unknown(&self) -> &UnknownHosts {
        &self.draft.unknown
    }

    /// The workload that this proxy stands beside.
    pub fn workload(&self) -> &Workload {
        &self.draft.workload
    }

    /// Which version of the configuration this is.
    pub fn version(&self) -> &str {
        &self.draft.version
    }
}

impl HostTable {
    fn claim(&mut self, domain: &Arc<str>, index: u32) {
        match domain.strip_prefix('*') {
            None => {
                self.exact.entry(domain.clone()).or_insert(index);
            }
            Some("") => self.any = self.any.or(Some(index)),
            Some(suffix) => {
                self.suffixes.entry(suffix.into()).or_insert(index);
            }
        }
    }

    /// The longest suffix wins, and the `*` before it stands for one letter at least.
    fn by_suffix(&self, host: &str) -> Option<u32> {
        if self.suffixes.is_empty() {
            return None;
        }
        let mut starts = host.char_indices().skip(1).filter(|(_, letter)| !self.dotted || *letter == '.');
        starts.find_map(|(start, _)| self.suffixes.get(&host[start..]).copied())
    }
}

/// Istio: the catch-all virtual host `allow_any`.
fn passthrough_route(cluster: ClusterId) -> Route {
    let destination = Destination {
        cluster: Target::Cluster(cluster),
        weight: 1,
        authority: None,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    };
    let forward = Forward {
        destinations: [destination].into(),
        retry: Some(Arc::new(RetryPolicy::istio_default())),
        ..Forward::default()
    };
    Route {
        name: "allow_any".into(),
        origin: Origin::built_in(),
        when: Match::default(),
        cors: None,
        action: Action::Forward(Box::new(forward)),
    }
}

/// Splits an authority into its host in lower case and its port, if it has one.
pub fn split_authority(authority: &str) -> (Cow<'_, str>, Option<u16>) {
    // Nearly all are in lower case and have no port: one look tells.
    let odd = |b: u8| b == b':' || b.is_ascii_uppercase();
    if authority.bytes().fold(0, |any, b| any | u8::from(odd(b))) == 0 {
        return (Cow::Borrowed(authority), None);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, digits)) if !host.contains(':') || host.ends_with(']') => match digits.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    };
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        (Cow::Owned(host.to_ascii_lowercase()), port)
    } else {
        (Cow::Borrowed(host), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn authorities_fall_into_host_and_port() {
        for (authority, host, port) in [
            ("A.b", "a.b", None),
            ("a:80", "a", Some(80)),
            ("[::1]:8080", "[::1]", Some(8080)),
            ("[::1]", "[::1]", None),
            ("::1", "::1", None),
            ("a:", "a:", None),
            ("a:99999", "a:99999", None),
        ] {
            assert_eq!(split_authority(authority), (host.into(), port), "{authority}");
        }
    }

    #[test]
    fn the_most_specific_domain_wins() {
        let host = |name: &str, port, domains: &[&str]| VirtualHost {
            name: name.into(),
            port,
            domains: domains.iter().map(|d| (*d).into()).collect(),
            routes: Routes::default(),
            origin: Origin::built_in(),
        };
        let hosts = vec![
            host("any", 80, &["*"]),
            host("wide", 80, &["*.com"]),
            host("narrow", 80, &["*.foo.com"]),
            host("odd", 80, &["*-x.foo.com"]),
            host("exact", 80, &["a.foo.com", "a.foo.com."]),
            host("late", 80, &["a.foo.com", "b.foo.com"]),
            host("other", 81, &["c"]),
            host("twice", 83, &["*.b", "*.b"]),
            host("too late", 83, &["*.b", "*.a.b"]),
        ];
        let snapshot = Snapshot::new(Draft { hosts, ..Draft::default() });
        for (port, name, found) in [
            (80, "a.foo.com", Some("exact")),
            (80, "a.foo.com.", Some("exact")),
            (80, "b.foo.com", Some("late")),
            (80, "x.y.foo.com", Some("narrow")),
            (80, "foo.com", Some("wide")),
            (80, ".foo.com", Some("wide")),
            (80, "a-x.foo.com", Some("odd")),
            (80, "-x.foo.com", Some("narrow")),
            (83, "x.b", Some("twice")),
            (83, "x.a.b", Some("too late")),
            (83, "b", None),
            (83, ".b", None),
            (83, "é.b", Some("twice")),
            (80, "org", Some("any")),
            (81, "org", None),
            (82, "c", None),
        ] {
            assert_eq!(snapshot.host(port, name).map(|h| &*h.name), found, "{name}:{port}");
        }
    }
}
