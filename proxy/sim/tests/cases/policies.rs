//! A cluster's policy in the words of the cases.

use std::collections::BTreeMap;

use leeboard_policy::cluster::{Balancer, Cluster, Discovery, DnsSpec, Protocol};

/// A cluster's policy.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The balancer.
    pub(crate) balancer: &'static str,
    /// Limits by name; `none` without one.
    pub(crate) limits: BTreeMap<&'static str, String>,
    /// Whether it ejects.
    pub(crate) outlier: bool,
    /// What its endpoints are spoken to in.
    pub(crate) protocol: &'static str,
    /// Its endpoints, or the names that DNS is asked for.
    pub(crate) members: String,
}

/// What a cluster's policy is.
pub(crate) fn policy_of(cluster: &Cluster) -> Policy {
    let limits = &cluster.limits;
    let named = [
        ("connections", limits.connections),
        ("pending", limits.pending),
        ("requests", limits.requests),
        ("retries", limits.retries),
    ];
    Policy {
        balancer: match cluster.balancer {
            Balancer::LeastRequest => "least-request",
            Balancer::RoundRobin => "round-robin",
            Balancer::Random => "random",
            Balancer::RingHash { .. } => "ring-hash",
            Balancer::Maglev { .. } => "maglev",
        },
        limits: named
            .into_iter()
            .map(|(name, most)| (name, most.map_or_else(|| "none".to_owned(), |most| most.to_string())))
            .collect(),
        outlier: cluster.outlier.is_some(),
        protocol: match cluster.protocol {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Client => "client",
        },
        members: members(&cluster.discovery),
    }
}

fn members(discovery: &Discovery) -> String {
    let name = |spec: &DnsSpec| format!("{}:{}", spec.name, spec.port);
    match discovery {
        Discovery::Static(specs) => specs.iter().map(|spec| spec.address.to_string()).collect::<Vec<_>>().join(" "),
        Discovery::Dns(specs) => specs.iter().map(name).collect::<Vec<_>>().join(" "),
        Discovery::DnsFirst(spec) => name(spec),
        Discovery::Original => "original".into(),
    }
}
