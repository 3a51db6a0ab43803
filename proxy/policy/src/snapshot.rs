//! The compiled configuration: hosts, routes and clusters. It never changes; a reload makes a new one.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use hashbrown::HashMap;

use crate::cluster::{Cluster, ClusterId, Workload};
use crate::origin::Origin;
use crate::route::Route;

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
    pub routes: Vec<Route>,
    /// The VirtualService it was made from, or the service when there is none.
    pub origin: Origin,
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
}

#[derive(Debug, Default)]
struct HostTable {
    exact: HashMap<Arc<str>, usize>,
    /// Suffixes (what follows the `*`), longest first, then in order of appearance.
    suffixes: Vec<(Arc<str>, usize)>,
    any: Option<usize>,
}

impl Snapshot {
    /// Indexes a draft.
    pub fn new(draft: Draft) -> Self {
        let mut ports: HashMap<u16, HostTable> = HashMap::new();
        for (index, host) in draft.hosts.iter().enumerate() {
            let table = ports.entry(host.port).or_default();
            for domain in &host.domains {
                table.claim(domain, index);
            }
        }
        for table in ports.values_mut() {
            table.suffixes.sort_by_key(|(suffix, _)| core::cmp::Reverse(suffix.len()));
        }
        let names = draft.clusters.iter().enumerate().map(|(i, c)| (c.name.clone(), ClusterId(i as u32))).collect();
        Self { draft, ports, names }
    }

    /// The virtual host for a port and a host name in lower case without port.
    /// Envoy: exact, then the longest suffix, then `*`.
    pub fn host(&self, port: u16, host: &str) -> Option<&VirtualHost> {
        let table = self.ports.get(&port)?;
        let host = host.strip_suffix('.').filter(|_| !table.exact.contains_key(host)).unwrap_or(host);
        let index = table.exact.get(host).copied().or_else(|| table.by_suffix(host)).or(table.any)?;
        self.draft.hosts.get(index)
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
    fn claim(&mut self, domain: &Arc<str>, index: usize) {
        match domain.strip_prefix('*') {
            None => {
                self.exact.entry(domain.clone()).or_insert(index);
            }
            Some("") => self.any = self.any.or(Some(index)),
            Some(suffix) => {
                if !self.suffixes.iter().any(|(known, _)| &**known == suffix) {
                    self.suffixes.push((suffix.into(), index));
                }
            }
        }
    }

    fn by_suffix(&self, host: &str) -> Option<usize> {
        let fits = |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
        self.suffixes.iter().find(|(suffix, _)| fits(suffix)).map(|(_, index)| *index)
    }
}

/// Splits an authority into host (lower case, without brackets' content changed) and port.
pub fn split_authority(authority: &str) -> (String, Option<u16>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, digits)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
            (host, digits.parse().ok())
        }
        _ => (authority, None),
    };
    (host.to_ascii_lowercase(), port)
}
