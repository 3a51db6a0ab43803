//! Which VirtualServices claim which hosts, port by port.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::compile::delegates::{Delegates, Rules};
use crate::compile::names::{complete, is_wildcard, within};
use crate::compile::objects::age;
use crate::compile::services::catalog::Catalog;
use crate::compile::services::egress::Egress;
use crate::compile::services::service::Service;
use crate::compile::site::Site;
use crate::resources::{Resources, VirtualService};

/// Istio: on this port a host of a VirtualService is routed even if no service of the port bears it.
const ALWAYS_ROUTED: u16 = 80;

/// What one VirtualService claims on one port.
pub(crate) struct Claim<'r> {
    pub(crate) document: &'r VirtualService,
    /// Its rules, those of its delegates among them.
    pub(crate) rules: Rules<'r>,
    /// Positions of services in the catalog.
    pub(crate) services: Vec<usize>,
    /// Hosts that no service of the port bears.
    pub(crate) names: Vec<Arc<str>>,
}

/// A VirtualService that the workload sees, with its hosts completed.
struct Candidate<'r> {
    document: &'r VirtualService,
    rules: Rules<'r>,
    hosts: Vec<Arc<str>>,
}

/// All claims by port, those of a port in the order in which they are tried.
pub(crate) fn claims<'r>(
    resources: &'r Resources,
    catalog: &Catalog,
    site: &Site,
    egress: &Egress<'_>,
) -> BTreeMap<u16, Vec<Claim<'r>>> {
    let candidates = candidates(resources, site);
    let index = HostIndex::of(&candidates);
    let mut claims: BTreeMap<u16, Vec<Claim<'r>>> = BTreeMap::new();
    for (order, candidate) in candidates.iter().enumerate() {
        for (port, claim) in of_candidate(order, candidate, &index, catalog, egress) {
            claims.entry(port).or_default().push(claim);
        }
    }
    claims
}

/// The VirtualServices that the workload sees and `applies` lets through.
/// Istio: those private to the namespace, then those that name it, then the public; in each group the oldest first.
pub(crate) fn in_order<'r>(
    resources: &'r Resources,
    site: &Site,
    applies: impl Fn(&VirtualService) -> bool,
) -> Vec<&'r VirtualService> {
    let mut seen: Vec<_> = resources
        .virtual_services
        .iter()
        .filter(|document| applies(document))
        .filter_map(|document| {
            let reach = site.mesh.reach_of_routes(document, &site.workload.namespace)?;
            Some((reach, age(&document.meta), &**document))
        })
        .collect();
    seen.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    seen.into_iter().map(|(_, _, document)| document).collect()
}

fn candidates<'r>(resources: &'r Resources, site: &Site) -> Vec<Candidate<'r>> {
    let delegates = Delegates::gather(resources, site);
    let complete = |document: &'r VirtualService| {
        let namespace = document.meta.namespace();
        let hosts = document.hosts.iter().map(|host| complete(&host.value, namespace, &site.cluster_domain));
        Candidate { document, rules: delegates.rules(document), hosts: hosts.map(|host| Arc::from(&*host)).collect() }
    };
    in_order(resources, site, VirtualService::applies_to_mesh).into_iter().map(complete).collect()
}

/// The hosts of all candidates: which is the most specific for a service.
struct HostIndex {
    exact: HashMap<Arc<str>, usize>,
    /// Wildcards without their `*`; of equal ones the candidate that comes first.
    wildcard: HashMap<Arc<str>, usize>,
}

impl HostIndex {
    fn of(candidates: &[Candidate<'_>]) -> Self {
        let mut index = Self { exact: HashMap::new(), wildcard: HashMap::new() };
        for (order, candidate) in candidates.iter().enumerate() {
            for host in &candidate.hosts {
                match host.strip_prefix('*') {
                    Some(suffix) => index.wildcard.entry(suffix.into()).or_insert(order),
                    None => index.exact.entry(host.clone()).or_insert(order),
                };
            }
        }
        index
    }

    fn most_specific(&self, host: &str) -> Option<usize> {
        let exact = self.exact.get(host).copied();
        // Istio: the longest wildcard; it stands for one letter at least.
        let ends = host.char_indices().skip(1).map(|(at, _)| &host[at..]).chain([""]);
        exact.or_else(|| ends.filter_map(|end| self.wildcard.get(end)).next().copied())
    }
}

/// Istio: an exact host claims its service; a wildcard claims each service it covers, if it is the most specific of all
/// hosts that do. On every port where it claims a service, and on port 80 always, its other hosts are claimed as names.
fn of_candidate<'r>(
    order: usize,
    candidate: &Candidate<'r>,
    index: &HostIndex,
    catalog: &Catalog,
    egress: &Egress<'_>,
) -> Vec<(u16, Claim<'r>)> {
    let follows = |port| egress.follows(port, candidate.document.meta.namespace(), &candidate.hosts);
    let mut services: BTreeMap<u16, Vec<usize>> = BTreeMap::from([(ALWAYS_ROUTED, Vec::new())]);
    let mut borne: Vec<BTreeSet<u16>> = vec![BTreeSet::new(); candidate.hosts.len()];
    let mut known = BTreeSet::new();
    let mut claim = |position: usize, owned: bool, borne: &mut BTreeSet<u16>| {
        let service = catalog.service(position);
        let seen = |port: &u16| egress.routes(*port, &service.namespace, &service.host) && follows(*port);
        for port in routed_ports(service).filter(seen) {
            borne.insert(port);
            let claimed = services.entry(port).or_default();
            if owned && known.insert((port, position)) {
                claimed.push(position);
            }
        }
    };
    for (host, borne) in candidate.hosts.iter().zip(&mut borne).filter(|(host, _)| !is_wildcard(host)) {
        if let Some(position) = catalog.position(host) {
            claim(position, true, borne);
        }
    }
    for (host, borne) in candidate.hosts.iter().zip(&mut borne).filter(|(host, _)| is_wildcard(host)) {
        for (position, service) in catalog.services().iter().enumerate() {
            if within(&service.host, host) {
                claim(position, index.most_specific(&service.host) == Some(order), borne);
            }
        }
    }
    let claim = |(port, services): (u16, Vec<usize>)| {
        let open = candidate.hosts.iter().zip(&borne).filter(|(_, borne)| !borne.contains(&port));
        let names: Vec<_> = open.map(|(host, _)| host.clone()).collect();
        let stands = !services.is_empty() || (port == ALWAYS_ROUTED && !names.is_empty() && follows(port));
        stands.then(|| (port, Claim { document: candidate.document, rules: candidate.rules.clone(), services, names }))
    };
    services.into_iter().filter_map(claim).collect()
}

fn routed_ports(service: &Service) -> impl Iterator<Item = u16> {
    service.ports.iter().filter(|port| port.protocol.is_routed()).map(|port| port.number)
}
