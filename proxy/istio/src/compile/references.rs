//! References between objects: destinations whose host, port or subset nothing defines.

use std::collections::HashSet;
use std::sync::Arc;

use super::Site;
use super::catalog::Catalog;
use super::names::{cluster_parts, complete, is_wildcard};
use super::policy::{Policies, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::resources::virtual_service::{Destination, HttpAction};
use crate::resources::{Meta, Resources};
use crate::source::Located;

/// Complains about destinations that are not there. A host that nothing defines may live elsewhere, so that is a warning;
/// a subset that the DestinationRule in force lacks is an error. Each is compiled all the same, and answers 503.
pub(crate) fn check(
    resources: &Resources,
    catalog: &Catalog,
    policies: &Policies<'_>,
    site: &Site,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut told = HashSet::new();
    for document in resources.virtual_services.iter().filter(|document| document.applies_to_mesh()) {
        if site.mesh.reach_of_routes(document, &site.workload.namespace).is_none() {
            continue;
        }
        for entry in &document.http {
            let routed = match &entry.action {
                HttpAction::Route(destinations) => &destinations[..],
                HttpAction::Redirect(_) | HttpAction::Direct(_) | HttpAction::Delegate(_) => &[],
            };
            let routed = routed.iter().map(|routed| &routed.destination);
            for destination in routed.chain(entry.mirrors.iter().map(|mirror| &mirror.destination)) {
                let complaint = destination_of(&document.meta, destination, catalog, policies, site);
                diagnostics.extend(complaint.filter(|complaint| told.insert(complaint.primary.clone())));
            }
        }
    }
    check_rules(resources, catalog, site, diagnostics);
}

fn destination_of(
    meta: &Meta,
    destination: &Destination,
    catalog: &Catalog,
    policies: &Policies<'_>,
    site: &Site,
) -> Option<Diagnostic> {
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
        return Some(lacking_subset(meta, subset, rule, policies.elsewhere(host, &subset.value)));
    }
    let Some(service) = service else { return Some(lacking_service(meta, destination, host)) };
    if let (Some(subset), None) = (&destination.subset, rule) {
        let message = format!("no DestinationRule for {host} defines subset {}", subset.value);
        let complaint = Diagnostic::warning(codes::UNKNOWN_SUBSET, &meta.resource, &subset.spot, message);
        return Some(complaint.ist("IST0101"));
    }
    let port = destination.port.as_ref().filter(|port| service.port(port.value).is_none())?;
    let message = format!("{host} has no port {}", port.value);
    let known: Vec<String> = service.ports.iter().map(|port| port.number.to_string()).collect();
    let complaint = Diagnostic::warning(codes::UNKNOWN_PORT, &meta.resource, &port.spot, message);
    Some(complaint.label(&destination.host.spot, format!("it has {}", known.join(", "))))
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

fn lacking_service(meta: &Meta, destination: &Destination, host: &str) -> Diagnostic {
    let written = &destination.host;
    let message = format!("no service {host} is defined here");
    let complaint = Diagnostic::warning(codes::UNKNOWN_HOST, &meta.resource, &written.spot, message).ist("IST0101");
    if written.value.contains('.') {
        return complaint;
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
