//! What a rule is translated for: a port of a proxy, the clusters that it may name, and where its complaints go.

use std::collections::HashSet;

use leeboard_policy::route::Target;

use super::matches::{self, Place};
use crate::codes::{self, Code};
use crate::compile::clusters::{Clusters, member_host};
use crate::compile::names::complete;
use crate::compile::services::catalog::Catalog;
use crate::compile::services::service::Port;
use crate::compile::site::Site;
use crate::diagnostic::Diagnostic;
use crate::resources::Meta;
use crate::resources::virtual_service::{Destination as Written, HttpMatch};
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

    pub(super) fn admits(&self, rule: &HttpMatch, meta: &Meta) -> bool {
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
