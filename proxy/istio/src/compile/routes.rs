//! The rules of a VirtualService, or of a service without one, on one port.

use std::collections::HashSet;
use std::sync::Arc;

use leeboard_policy::headers::HeaderOps;
use leeboard_policy::route::{Action, Destination, Forward, Match, Route, Target};

use super::catalog::{Catalog, Port, Service};
use super::clusters::{Clusters, member_host};
use super::delegates::Rules;
use super::matches::Place;
use super::names::complete;
use super::{Site, actions, cors, matches, retries};
use crate::codes::{self, Code};
use crate::diagnostic::Diagnostic;
use crate::resources::Meta;
use crate::resources::virtual_service::{Destination as Written, HttpMatch, HttpRoute};
use crate::source::Spot;

/// Where rules are translated for.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'c> {
    pub(crate) catalog: &'c Catalog,
    pub(crate) clusters: &'c Clusters,
    pub(crate) site: &'c Site,
    /// The port that callers address.
    pub(crate) port: u16,
    /// Whether a service of this port is routed, rather than a mere host name.
    pub(crate) serves: bool,
    /// Which gateways the proxy is.
    pub(crate) place: Place<'c>,
    /// The endpoint of a headless service that is called by its own name: the service's host, and what it is called below it.
    pub(crate) member: Option<(&'c str, &'c str)>,
}

/// Complaints so far. One that is made again, for another port or match, is told once.
#[derive(Default)]
pub(crate) struct Complaints {
    list: Vec<Diagnostic>,
    told: HashSet<(Spot, String)>,
}

impl Complaints {
    pub(crate) fn tell(&mut self, complaint: Diagnostic) {
        if self.told.insert((complaint.primary.clone(), complaint.message.clone())) {
            self.list.push(complaint);
        }
    }

    pub(crate) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }
}

/// Where complaints about one rule go.
pub(crate) struct Report<'d> {
    pub(crate) meta: &'d Meta,
    pub(crate) spot: &'d Spot,
    pub(crate) complaints: &'d mut Complaints,
}

impl Report<'_> {
    pub(crate) fn error(&mut self, code: Code, message: String) {
        self.complaints.tell(Diagnostic::error(code, &self.meta.resource, self.spot, message));
    }

    pub(crate) fn warn(&mut self, code: Code, message: String) {
        self.complaints.tell(Diagnostic::warning(code, &self.meta.resource, self.spot, message));
    }
}

impl Scope<'_> {
    /// The cluster of a destination. Istio: without a port it is, beside an application, the one that the caller addresses,
    /// as a sidecar looks only among services that have it.
    pub(crate) fn target(&self, destination: &Written, report: &mut Report<'_>) -> Target {
        let host = complete(&destination.host.value, report.meta.namespace(), &self.site.cluster_domain);
        let host = self.catalog.resolve(&host);
        let port = destination.port.as_ref().map_or_else(|| self.inferred(host), |port| port.value);
        let subset = destination.subset.as_ref().map_or("", |subset| &subset.value);
        if destination.port.is_none() && self.serves {
            self.report_inferred(host, destination, report);
        }
        // Istio: who has resolved the name of a pod goes to that pod, whatever subset is named.
        match self.member {
            Some((service, label)) if service == host => self.clusters.target(&member_host(label, host), port, ""),
            _ => self.clusters.target(host, port, subset),
        }
    }

    /// Istio: a gateway looks among all services, and takes the only port of one that has no other.
    fn inferred(&self, host: &str) -> u16 {
        let sole = |ports: &[Port]| match ports {
            [only] => Some(only.number),
            _ => None,
        };
        match self.place {
            Place::Mesh => self.port,
            Place::Edge(_) => self.catalog.find(host).and_then(|service| sole(&service.ports)).unwrap_or(self.port),
        }
    }

    fn admits(&self, rule: &HttpMatch, meta: &Meta) -> bool {
        matches::is_for(rule, self.port, self.place, meta.namespace(), self.site)
    }

    fn report_inferred(&self, host: &str, destination: &Written, report: &mut Report<'_>) {
        let lacking = self.catalog.find(host).filter(|service| service.port(self.port).is_none());
        let Some(service) = lacking else { return };
        let message = format!("no port is named, and {host} has no port {}, the one that is called", self.port);
        let spot = &destination.host.spot;
        let mut complaint = Diagnostic::warning(codes::UNKNOWN_PORT, &report.meta.resource, spot, message);
        if let Some(port) = service.ports.first() {
            complaint = complaint.help(format!("add `port: {{number: {}}}`", port.number));
        }
        report.complaints.tell(complaint);
    }
}

/// Translates a VirtualService for one port: a route for each match of each entry, in order, up to the first that leaves
/// nothing to those behind it. Matches that cannot hold for this workload are left out; so none may remain.
pub(crate) fn translate(rules: &Rules<'_>, scope: &Scope<'_>, complaints: &mut Complaints) -> Vec<Route> {
    let mut routes = Vec::with_capacity(rules.iter().map(|(_, entry)| entry.matches.len().max(1)).sum());
    for (meta, entry) in rules.iter() {
        if entry.matches.is_empty() {
            let route = route(meta, entry, None, Match::default(), scope, complaints);
            let last = route.is_some();
            routes.extend(route);
            if last {
                return routes;
            }
        }
        for rule in entry.matches.iter().filter(|rule| scope.admits(rule, meta)) {
            let when = matches::translate(rule);
            let last = matches::is_catch_all(&when);
            let found = route(meta, entry, Some(&rule.name), when, scope, complaints);
            let made = found.is_some();
            routes.extend(found);
            if last && made {
                return routes;
            }
        }
    }
    routes
}

fn route(
    meta: &Meta,
    entry: &HttpRoute,
    match_name: Option<&Arc<str>>,
    when: Match,
    scope: &Scope<'_>,
    complaints: &mut Complaints,
) -> Option<Route> {
    let mut report = Report { meta, spot: &entry.spot, complaints };
    let action = actions::translate(entry, &when.path, scope, &mut report)?;
    let name = name(entry, match_name);
    let cors = entry.cors.as_deref().map(|cors| Box::new(cors::translate(cors)));
    Some(Route { name, origin: meta.origin(&entry.spot), when, cors, action })
}

/// Istio: the entry's name, with `.` and the match's when that has one.
pub(crate) fn name(entry: &HttpRoute, match_name: Option<&Arc<str>>) -> Arc<str> {
    match match_name.filter(|name| !name.is_empty()) {
        Some(own) => format!("{}.{own}", entry.name).into(),
        None => entry.name.clone(),
    }
}

/// The route of a service, or of one of its endpoints, that no VirtualService claims. Istio: it is named `default`, has no timeout, and the default
/// retries.
pub(crate) fn default_route(service: &Service, host: &str, port: u16, clusters: &Clusters) -> Route {
    let cluster = clusters.target(host, port, "");
    let hashes = clusters.is_hashed(&cluster);
    let retry = clusters.shared.policy(retries::policy(clusters.mesh.retries(None), hashes));
    let forward = Forward { destinations: [only(cluster)].into(), retry, ..Forward::default() };
    Route {
        name: "default".into(),
        origin: service.origin.clone(),
        when: Match::default(),
        cors: None,
        action: Action::Forward(Box::new(forward)),
    }
}

/// The single destination of a generated route.
pub(crate) fn only(cluster: Target) -> Destination {
    Destination {
        cluster,
        weight: 1,
        authority: None,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    }
}
