//! References between objects: destinations whose host, port or subset nothing defines, and delegates that are not there.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::codes;
use crate::compile::clusters::policy::{Policies, Rule};
use crate::compile::delegates::Delegates;
use crate::compile::names::{cluster_parts, complete, is_wildcard};
use crate::compile::services::catalog::Catalog;
use crate::compile::services::service::Service;
use crate::compile::site::Site;
use crate::diagnostic::Diagnostic;
use crate::resources::virtual_service::{Delegate, Destination, HttpAction};
use crate::resources::{Labels, Meta, ObjectId, Resources, VirtualService};
use crate::source::{Located, Spot};

/// What a route leads to, wherever and however often its object says so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reference {
    /// The VirtualService, which may be a delegate.
    pub who: ObjectId,
    /// What it leads to.
    pub to: Referent,
}

/// What a route can lead to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Referent {
    /// Istio: `destination`, of a route or a mirror.
    Destination {
        /// The full name of the host.
        host: Arc<str>,
        /// The subset, if one is named.
        subset: Option<Arc<str>>,
        /// The port, if one is named.
        port: Option<u16>,
    },
    /// Istio: `delegate`.
    Delegate {
        /// The other VirtualService's namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

impl fmt::Display for Referent {
    /// `subset v2 of reviews.demo.svc.cluster.local`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Referent::Destination { host, subset: Some(subset), .. } => write!(f, "subset {subset} of {host}"),
            Referent::Destination { host, port: Some(port), .. } => write!(f, "port {port} of {host}"),
            Referent::Destination { host, .. } => write!(f, "host {host}"),
            Referent::Delegate { namespace, name } => write!(f, "delegate {namespace}/{name}"),
        }
    }
}

/// What of a referent is missing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lack {
    /// The service.
    Host,
    /// The subset.
    Subset,
    /// The port.
    Port,
    /// The delegate.
    Delegate,
    /// Its endpoints: all else is there.
    Endpoints,
}

/// A reference to what is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dangling {
    /// Who refers to what.
    pub reference: Reference,
    /// What of it is missing.
    pub lack: Lack,
    /// Where the missing thing is named first.
    pub spot: Spot,
}

/// Complains about destinations that are not there. A host that nothing defines may live elsewhere, so that is a warning;
/// a subset that the DestinationRule in force lacks is an error. Each is compiled all the same, and answers 503.
pub(crate) fn check(
    resources: &Resources,
    catalog: &Catalog,
    policies: &Policies<'_>,
    site: &Site,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Dangling> {
    let (mut dangling, mut told) = (Vec::new(), HashSet::new());
    each(resources, catalog, policies, site, |seen| {
        let Some((lack, complaint)) = &seen.lack else { return };
        let spot = complaint.as_ref().map_or_else(|| seen.link.spot(), |complaint| &complaint.primary).clone();
        dangling.push(Dangling { reference: seen.reference(site), lack: *lack, spot });
        diagnostics.extend(complaint.clone().filter(|complaint| told.insert(complaint.primary.clone())));
    });
    check_rules(resources, catalog, site, diagnostics);
    dangling
}

/// What an entry of a VirtualService leads to, as it is written.
#[derive(Clone, Copy)]
enum Link<'r> {
    Destination(&'r Destination),
    Delegate(&'r Delegate),
}

impl<'r> Link<'r> {
    fn spot(self) -> &'r Spot {
        match self {
            Link::Destination(destination) => &destination.host.spot,
            Link::Delegate(delegate) => &delegate.name.spot,
        }
    }
}

/// A reference that was met.
pub(crate) struct Seen<'r> {
    meta: &'r Meta,
    link: Link<'r>,
    /// What of it is missing, and what there is to say about it: `leeboard check` speaks of delegates and endpoints.
    pub(crate) lack: Option<(Lack, Option<Diagnostic>)>,
}

impl Seen<'_> {
    pub(crate) fn reference(&self, site: &Site) -> Reference {
        let own = self.meta.namespace();
        let to = match self.link {
            Link::Destination(destination) => Referent::Destination {
                host: Arc::from(&*complete(&destination.host.value, own, &site.cluster_domain)),
                subset: destination.subset.as_ref().map(|subset| subset.value.clone()),
                port: destination.port.as_ref().map(|port| port.value),
            },
            Link::Delegate(delegate) => Referent::Delegate {
                namespace: delegate.namespace.as_ref().map_or(own, |namespace| &namespace.value).clone(),
                name: delegate.name.value.clone(),
            },
        };
        Reference { who: self.meta.id.clone(), to }
    }
}

/// Shows every reference of the VirtualServices that matter to the workload, in order.
pub(crate) fn each<'r>(
    resources: &'r Resources,
    catalog: &Catalog,
    policies: &Policies<'_>,
    site: &Site,
    mut see: impl FnMut(Seen<'r>),
) {
    let delegates = Delegates::gather(resources, site);
    for document in documents(resources, &delegates, site) {
        let meta = &document.meta;
        for entry in &document.http {
            let routed = match &entry.action {
                HttpAction::Route(destinations) => &destinations[..],
                HttpAction::Redirect(_) | HttpAction::Direct(_) => &[],
                HttpAction::Delegate(delegate) => {
                    let lack = delegates.find(document, delegate).is_none().then_some((Lack::Delegate, None));
                    see(Seen { meta, link: Link::Delegate(delegate), lack });
                    &[]
                }
            };
            // Nobody is answered by what has no weight, or by a mirror: they may be empty.
            let answers = |weight: u32| weight > 0 || routed.len() == 1;
            let routed = routed.iter().map(|routed| (&routed.destination, answers(routed.weight)));
            let mirrors = entry.mirrors.iter().map(|mirror| (&mirror.destination, false));
            for (destination, answers) in routed.chain(mirrors) {
                let lack = destination_of(meta, destination, catalog, policies, site);
                let lack = lack.filter(|(lack, _)| answers || *lack != Lack::Endpoints);
                see(Seen { meta, link: Link::Destination(destination), lack });
            }
        }
    }
}

/// The VirtualServices that the workload sees, and the delegates that only these see.
fn documents<'r>(resources: &'r Resources, delegates: &Delegates<'r, '_>, site: &Site) -> Vec<&'r VirtualService> {
    let is_seen = |document: &VirtualService| {
        document.applies_to_mesh() && site.mesh.reach_of_routes(document, &site.workload.namespace).is_some()
    };
    let mut all: Vec<&VirtualService> =
        resources.virtual_services.iter().map(|document| &**document).filter(|document| is_seen(document)).collect();
    let seen = all.len();
    for index in 0..seen {
        for entry in &all[index].http {
            if let HttpAction::Delegate(delegate) = &entry.action
                && let Some(behind) = delegates.find(all[index], delegate)
                && !is_seen(behind)
                && !all[seen..].iter().any(|known| std::ptr::eq(*known, behind))
            {
                all.push(behind);
            }
        }
    }
    all
}

fn destination_of(
    meta: &Meta,
    destination: &Destination,
    catalog: &Catalog,
    policies: &Policies<'_>,
    site: &Site,
) -> Option<(Lack, Option<Diagnostic>)> {
    let host = complete(&destination.host.value, meta.namespace(), &site.cluster_domain);
    let host = catalog.resolve(&host);
    if catalog.is_hidden(host) {
        return None;
    }
    let service = catalog.find(host);
    let namespace = service.map(|service| &*service.namespace);
    let namespace = namespace.or_else(|| cluster_parts(host, &site.cluster_domain).map(|(_, namespace)| namespace));
    let rule = policies.outbound(host, namespace.unwrap_or_default());
    if let (Some(subset), Some(rule)) = (&destination.subset, rule)
        && rule.subset(&subset.value).is_none()
    {
        let complaint = lacking_subset(meta, subset, rule, policies.elsewhere(host, &subset.value));
        return Some((Lack::Subset, Some(complaint)));
    }
    let Some(service) = service else {
        return Some((Lack::Host, Some(lacking_service(meta, destination, host, catalog))));
    };
    if let (Some(subset), None) = (&destination.subset, rule) {
        let message = format!("no DestinationRule for {host} defines subset {}", subset.value);
        let complaint = Diagnostic::warning(codes::UNKNOWN_SUBSET, &meta.resource, &subset.spot, message);
        return Some((Lack::Subset, Some(complaint.ist("IST0101"))));
    }
    let Some(port) = destination.port.as_ref().filter(|port| service.port(port.value).is_none()) else {
        let labels = destination.subset.as_ref().zip(rule).and_then(|(subset, rule)| rule.subset(&subset.value));
        return lacks_endpoints(service, destination, labels.map(|subset| &subset.labels))
            .then_some((Lack::Endpoints, None));
    };
    let message = format!("{host} has no port {}", port.value);
    let known: Vec<String> = service.ports.iter().map(|port| port.number.to_string()).collect();
    let complaint = Diagnostic::warning(codes::UNKNOWN_PORT, &meta.resource, &port.spot, message);
    Some((Lack::Port, Some(complaint.label(&destination.host.spot, format!("it has {}", known.join(", "))))))
}

/// Whether there is no endpoint on the port of a destination, or on any port if it names none.
fn lacks_endpoints(service: &Service, destination: &Destination, labels: Option<&Labels>) -> bool {
    let none = Labels::new();
    let labels = labels.unwrap_or(&none);
    let named = destination.port.as_ref().map(|port| port.value);
    let mut ports = service.ports.iter().filter(|port| named.is_none_or(|named| named == port.number));
    !service.ports.is_empty() && !ports.any(|port| port.backends.has(labels))
}

/// The rule in force lacks a subset. If another rule has it, that one is for other workloads, or hidden from this one.
fn lacking_subset(
    meta: &Meta,
    subset: &Located<Arc<str>>,
    rule: &Rule<'_>,
    elsewhere: Option<&Rule<'_>>,
) -> Diagnostic {
    let message = format!("{} has no subset {}", rule.document.meta.resource, subset.value);
    let complaint = Diagnostic::error(codes::UNKNOWN_SUBSET, &meta.resource, &subset.spot, message)
        .ist("IST0101")
        .label(&rule.document.host.spot, "the rule in force for this host");
    if let Some(other) = elsewhere {
        return complaint.label(&other.document.host.spot, "another rule, which has the subset");
    }
    let known: Vec<&str> = rule.subsets.iter().map(|subset| &*subset.name.value).collect();
    if known.is_empty() { complaint } else { complaint.help(format!("it has {}", known.join(", "))) }
}

fn lacking_service(meta: &Meta, destination: &Destination, host: &str, catalog: &Catalog) -> Diagnostic {
    let written = &destination.host;
    let message = format!("no service {host} is defined here");
    let complaint = Diagnostic::warning(codes::UNKNOWN_HOST, &meta.resource, &written.spot, message).ist("IST0101");
    if written.value.contains('.') {
        return complaint;
    }
    // Istio: a ServiceEntry's hosts are taken as they are written.
    if catalog.find(&written.value.to_ascii_lowercase()).is_some() {
        return complaint
            .help(format!("write {host} in the ServiceEntry too: its `{}` is not completed", written.value));
    }
    complaint.help(format!("a short name is completed with namespace {}", meta.namespace()))
}

/// A DestinationRule for a host that nothing defines has no effect here.
fn check_rules(resources: &Resources, catalog: &Catalog, site: &Site, diagnostics: &mut Vec<Diagnostic>) {
    for rule in &resources.destination_rules {
        let host = complete(&rule.host.value, rule.meta.namespace(), &site.cluster_domain);
        let seen = site.mesh.shows_rule(rule, &site.workload.namespace);
        if seen && !is_wildcard(&host) && catalog.find(&host).is_none() && !catalog.is_hidden(&host) {
            let message = format!("no service {host} is defined here");
            let complaint = Diagnostic::warning(codes::UNKNOWN_HOST, &rule.meta.resource, &rule.host.spot, message);
            diagnostics.push(complaint.ist("IST0101"));
        }
    }
}
