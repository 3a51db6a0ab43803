//! Clusters: one per service port, and one per subset of it, each with the policy that holds for it.
//!
//! `policy` finds the DestinationRule, `effective` its blocks in force, `mesh` the defaults; `traffic`, `locality` and `transport`
//! translate the blocks.

pub(crate) mod effective;
pub(crate) mod locality;
pub(crate) mod mesh;
pub(crate) mod policy;
pub(crate) mod shared;
pub(crate) mod traffic;
pub(crate) mod transport;

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Arc;

use leeboard_policy::cluster::{Balancer, Cluster, ClusterId, Discovery, LocalityPolicy, Protocol, Service as Named};
use leeboard_policy::origin::Origin;
use leeboard_policy::route::Target;
use leeboard_policy::time::Span;
use rustc_hash::FxHashMap;

use self::effective::Effective;
use self::locality::Surroundings;
use self::policy::{Policies, Rule};
use self::shared::Shared;
use crate::compile::protocol::PortProtocol;
use crate::compile::services::catalog::Catalog;
use crate::compile::services::service::{Port, Service};
use crate::compile::site::Site;
use crate::resources::MeshConfig;
use crate::resources::destination_rule::Subset;

/// Envoy: the idle timeout of connections to hosts that nobody has described.
const PASSTHROUGH_IDLE: Span = Span::from_secs(300);

/// The clusters made so far, by name.
#[derive(Default)]
pub(crate) struct Clusters {
    list: Vec<Cluster>,
    by_name: FxHashMap<Arc<str>, ClusterId>,
    /// The name that was asked for last, so that its room is used again.
    asked: RefCell<String>,
    /// What the routes to them have in common.
    pub(crate) shared: Shared,
    /// Settings of the mesh.
    pub(crate) mesh: Arc<MeshConfig>,
}

impl Clusters {
    /// Adds a cluster; of two of one name the first stays.
    pub(crate) fn add(&mut self, cluster: Cluster) -> ClusterId {
        let next = ClusterId(u32::try_from(self.list.len()).expect("fewer than 2^32 clusters fit into memory"));
        let id = *self.by_name.entry(cluster.name.clone()).or_insert(next);
        if id == next {
            self.list.push(cluster);
        }
        id
    }

    /// The cluster of a host, port and subset, or its name when there is none.
    pub(crate) fn target(&self, host: &str, port: u16, subset: &str) -> Target {
        let mut name = self.asked.borrow_mut();
        name.clear();
        write_outbound_name(&mut name, host, port, subset);
        match self.by_name.get(&**name) {
            Some(id) => Target::Cluster(*id),
            None => Target::Unknown(self.shared.name(&name)),
        }
    }

    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether endpoints of a destination are chosen by a consistent hash.
    pub(crate) fn is_hashed(&self, target: &Target) -> bool {
        match target {
            Target::Cluster(id) => self.list[id.0 as usize].balancer.hash_key().is_some(),
            Target::Unknown(_) => false,
        }
    }

    pub(crate) fn into_list(self) -> Vec<Cluster> {
        self.list
    }
}

/// Istio: `outbound|port|subset|host`.
fn outbound_name(host: &str, port: u16, subset: &str) -> String {
    let mut name = String::new();
    write_outbound_name(&mut name, host, port, subset);
    name
}

fn write_outbound_name(name: &mut String, host: &str, port: u16, subset: &str) {
    // Writing to a string does not fail.
    let _ = write!(name, "outbound|{port}");
    for part in [subset, host] {
        name.push('|');
        name.push_str(part);
    }
}

/// Makes the clusters of every service in the catalog.
pub(crate) fn compile(catalog: &Catalog, policies: &Policies<'_>, site: &Site) -> Clusters {
    let around = Surroundings::of(catalog, site);
    let mut clusters = Clusters { mesh: site.mesh.clone(), ..Clusters::default() };
    let no_subset: Arc<str> = "".into();
    for service in catalog.services() {
        let rule = policies.outbound(&service.host, &service.namespace);
        for port in service.ports.iter().filter(|port| port.protocol != PortProtocol::Udp) {
            clusters.add(outbound(service, port, rule, None, &no_subset, &around, site));
            for (label, addresses) in &service.members {
                let whole = outbound(service, port, rule, None, &no_subset, &around, site);
                let name = outbound_name(&member_host(label, &service.host), port.number, "");
                clusters.add(Cluster { name: name.into(), discovery: port.backends.at(addresses), ..whole });
            }
            for subset in rule.map_or(&[][..], |rule| &rule.subsets) {
                clusters.add(outbound(service, port, rule, Some(subset), &subset.name.value, &around, site));
            }
        }
    }
    clusters
}

fn outbound(
    service: &Service,
    port: &Port,
    rule: Option<&Rule<'_>>,
    subset: Option<&Subset>,
    subset_name: &Arc<str>,
    around: &Surroundings,
    site: &Site,
) -> Cluster {
    let mut policy = Effective::of(rule, port.number, subset);
    site.mesh.complete(&mut policy);
    let protocol = site.mesh.protocol(port.protocol, policy.connection_pool);
    let (outlier, panic_percent) = traffic::outlier(policy.outlier_detection);
    let everything = crate::resources::Labels::new();
    let labels = subset.map_or(&everything, |subset| &subset.labels);
    Cluster {
        name: outbound_name(&service.host, port.number, subset_name).into(),
        service: named(service, port.number, subset_name),
        discovery: match traffic::is_passthrough(policy.load_balancer) {
            true => Discovery::Original,
            false => port.backends.subset(labels),
        },
        protocol,
        balancer: traffic::balancer(policy.load_balancer),
        locality_policy: around.locality_policy(
            policy.load_balancer,
            service.distribution,
            site.mesh.locality.as_deref(),
            outlier.is_some(),
        ),
        warmup: traffic::warmup(policy.load_balancer),
        limits: traffic::limits(policy.connection_pool, policy.retry_budget),
        connection: site.mesh.connection(policy.connection_pool, protocol),
        transport: transport::of(&policy, service, port.number, subset_name),
        outlier,
        panic_percent,
        origin: service.origin.clone(),
        policy_origin: rule.map(|rule| rule.document.meta.origin(&rule.document.meta.spot)),
    }
}

/// The name of one endpoint of a headless service.
pub(crate) fn member_host(label: &str, host: &str) -> String {
    format!("{label}.{host}")
}

/// How metrics name a service. Istio: the namespace of what lies outside the mesh is unknown.
pub(crate) fn named(service: &Service, port: u16, subset: &Arc<str>) -> Named {
    Named {
        host: service.host.clone(),
        name: service.name.clone(),
        namespace: if service.external { "unknown".into() } else { service.namespace.clone() },
        port,
        subset: subset.clone(),
        external: service.external,
    }
}

/// The cluster of hosts that nobody has described. Istio: it has the mesh's default policy, like any other.
pub(crate) fn passthrough(site: &Site) -> Cluster {
    let name: Arc<str> = "PassthroughCluster".into();
    let mut policy = Effective::default();
    site.mesh.complete(&mut policy);
    let (pool, protocol) = (policy.connection_pool, Protocol::Client);
    let (outlier, panic_percent) = traffic::outlier(policy.outlier_detection);
    let mut connection = site.mesh.connection(pool, protocol);
    if pool.is_none_or(|pool| pool.http_idle_timeout.or(pool.tcp_idle_timeout).is_none()) {
        connection.idle_timeout = Some(PASSTHROUGH_IDLE);
    }
    Cluster {
        service: Named {
            host: name.clone(),
            name: name.clone(),
            namespace: "unknown".into(),
            port: 0,
            subset: "".into(),
            external: true,
        },
        name,
        discovery: Discovery::Original,
        protocol,
        balancer: Balancer::LeastRequest,
        locality_policy: LocalityPolicy::default(),
        warmup: None,
        limits: traffic::limits(pool, None),
        connection,
        transport: None,
        outlier,
        panic_percent,
        origin: Origin::built_in(),
        policy_origin: None,
    }
}
