//! Virtual hosts: each port's domains and their routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use leeboard_policy::origin::Origin;
use leeboard_policy::route::Route;
use leeboard_policy::routes::Routes;
use leeboard_policy::snapshot::VirtualHost;
use rustc_hash::{FxHashMap, FxHashSet};

use super::owners::{Claim, claims};
use crate::codes;
use crate::compile::clusters::{Clusters, member_host};
use crate::compile::names::{self, domains};
use crate::compile::routes::context::{Complaints, Scope};
use crate::compile::routes::matches::Place;
use crate::compile::routes::{default_route, translate};
use crate::compile::services::catalog::Catalog;
use crate::compile::services::egress::Egress;
use crate::compile::services::kubernetes::address_domain;
use crate::compile::services::service::{Port, Service};
use crate::compile::site::Site;
use crate::diagnostic::Diagnostic;
use crate::resources::{Resources, VirtualService};

/// Makes the virtual hosts of all ports. Istio: on each, VirtualServices in their order, then services without one.
pub(crate) fn compile(
    resources: &Resources,
    catalog: &Catalog,
    clusters: &Clusters,
    site: &Site,
    egress: &Egress<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<VirtualHost> {
    let mut claims = claims(resources, catalog, site, egress);
    let mut services: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (position, service) in catalog.services().iter().enumerate() {
        let routed =
            |port: &&Port| port.protocol.is_routed() && egress.routes(port.number, &service.namespace, &service.host);
        for port in service.ports.iter().filter(routed) {
            services.entry(port.number).or_default().push(position);
        }
    }
    let ports: BTreeSet<u16> = services.keys().chain(claims.keys()).copied().collect();
    let answered: Vec<_> = catalog.services().iter().map(|service| service_domains(service, site)).collect();
    let mut hosts = Vec::new();
    let mut complaints = Complaints::default();
    for port in ports {
        let mut table = Table {
            port,
            answered: &answered,
            taken: FxHashMap::default(),
            claimed: FxHashSet::default(),
            hosts: Vec::new(),
        };
        for claim in claims.remove(&port).unwrap_or_default() {
            let serves = !claim.services.is_empty();
            let scope = Scope { catalog, clusters, site, port, serves, place: Place::Mesh, member: None };
            let routes = translate(&claim.rules, &scope, &mut complaints);
            if !routes.is_empty() {
                for position in table.add(&claim, routes.into(), catalog, &mut complaints) {
                    let service = catalog.service(position);
                    let origin = claim.document.meta.origin(&claim.document.meta.spot);
                    table.add_members(position, service, origin, |label| {
                        let member = Some((&*service.host, label));
                        translate(&claim.rules, &Scope { member, ..scope }, &mut complaints)
                    });
                }
            }
        }
        for position in services.remove(&port).unwrap_or_default() {
            table.add_default(position, catalog.service(position), clusters);
        }
        hosts.append(&mut table.hosts);
    }
    diagnostics.append(&mut complaints.into_list());
    hosts
}

/// The domains of a service: its own names, its addresses, then the names of what stands for it.
fn service_domains(service: &Service, site: &Site) -> Vec<Arc<str>> {
    let names = |host: &str| domains(host, &site.workload.namespace, &site.cluster_domain, service.headless);
    let own = names(&service.host).into_iter().map(Arc::from);
    let aliases = service.aliases.iter().flat_map(|alias| names(alias)).map(Arc::from);
    own.chain(service.addresses.iter().cloned()).chain(aliases).collect()
}

/// The virtual hosts of one port.
struct Table<'r, 'c> {
    port: u16,
    answered: &'c [Vec<Arc<str>>],
    /// Names of virtual hosts, with the VirtualService that they are of.
    taken: FxHashMap<Arc<str>, Option<&'r VirtualService>>,
    claimed: FxHashSet<Arc<str>>,
    hosts: Vec<VirtualHost>,
}

impl<'r> Table<'r, '_> {
    /// Adds what a VirtualService claims, save for hosts that an earlier one has. Istio: rules for one host are not merged.
    /// Returns the positions of the services that it gets.
    fn add(&mut self, claim: &Claim<'r>, routes: Routes, catalog: &Catalog, complaints: &mut Complaints) -> Vec<usize> {
        let services = claim
            .services
            .iter()
            .map(|&position| (catalog.service(position).host.clone(), self.answered[position].clone(), Some(position)));
        let named = claim.names.iter().map(|host| (host.clone(), vec![name_domain(host)], None));
        let mut open = Vec::new();
        for (host, domains, position) in services.chain(named).collect::<Vec<_>>() {
            match self.taken.get(&host) {
                None => open.push((host, domains, position)),
                Some(Some(winner)) if !std::ptr::eq(*winner, claim.document) => {
                    complaints.tell(conflict(&host, claim.document, winner));
                }
                Some(_) => {}
            }
        }
        let origin = claim.document.meta.origin(&claim.document.meta.spot);
        let mut won = Vec::new();
        for (host, domains, position) in open {
            self.taken.insert(host.clone(), Some(claim.document));
            self.push(&host, domains, routes.clone(), origin.clone());
            won.extend(position);
        }
        won
    }

    /// Adds the endpoints of a headless service by their own names, for which the same rules lead to that endpoint.
    fn add_members(
        &mut self,
        position: usize,
        service: &Service,
        origin: Origin,
        mut routes: impl FnMut(&str) -> Vec<Route>,
    ) {
        // A headless service has no addresses of its own among these.
        let names = &self.answered[position];
        for label in service.members.keys() {
            let host = member_host(label, &service.host);
            let domains = names.iter().map(|name| member_host(label, name).into()).collect();
            self.push(&host, domains, routes(label).into(), origin.clone());
        }
    }

    /// Adds a service that no VirtualService has claimed.
    fn add_default(&mut self, position: usize, service: &Service, clusters: &Clusters) {
        if !self.taken.contains_key(&service.host) {
            self.taken.insert(service.host.clone(), None);
            let routes = vec![default_route(service, &service.host, self.port, clusters)];
            self.push(&service.host, self.answered[position].clone(), routes.into(), service.origin.clone());
            let port = self.port;
            self.add_members(position, service, service.origin.clone(), |label| {
                vec![default_route(service, &member_host(label, &service.host), port, clusters)]
            });
        }
    }

    /// Istio: a domain that an earlier virtual host has is left out of later ones.
    fn push(&mut self, host: &str, mut domains: Vec<Arc<str>>, routes: Routes, origin: Origin) {
        domains.retain(|domain| self.claimed.insert(domain.clone()));
        domains.shrink_to_fit();
        let name = format!("{host}:{}", self.port).into();
        self.hosts.push(VirtualHost { name, port: self.port, domains, routes, origin });
    }
}

/// The domain of a host that is no service's.
fn name_domain(host: &Arc<str>) -> Arc<str> {
    if names::is_wildcard(host) {
        return host.clone();
    }
    host.parse::<IpAddr>().map_or_else(|_| host.clone(), address_domain)
}

fn conflict(host: &str, loser: &VirtualService, winner: &VirtualService) -> Diagnostic {
    let message = format!(
        "host {host} is routed by {}, which comes first; these rules are not used for it",
        winner.meta.resource
    );
    Diagnostic::warning(codes::HOST_CONFLICT, &loser.meta.resource, &loser.meta.spot, message)
        .ist("IST0109")
        .label(&winner.meta.spot, "this one is used")
        .help("put all rules for the host into one VirtualService")
}
