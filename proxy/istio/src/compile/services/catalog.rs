//! The services that a workload sees, whatever kind of document they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::egress::{Egress, Ports};
use super::service::{Document, Service};
use super::workloads::Workloads;
use super::{entries, kubernetes};
use crate::compile::objects::age;
use crate::compile::site::Site;
use crate::diagnostic::Diagnostic;
use crate::resources::{Resources, Service as KubernetesService};

/// All services that a workload sees, one per host, the oldest first.
pub(crate) struct Catalog {
    services: Vec<Service>,
    by_host: FxHashMap<Arc<str>, usize>,
    aliases: FxHashMap<Arc<str>, Arc<str>>,
    /// Hosts that are there, but which a Sidecar hides from the workload.
    hidden: BTreeSet<Arc<str>>,
}

impl Catalog {
    /// Whether a host is there, though the workload does not see it.
    pub(crate) fn is_hidden(&self, host: &str) -> bool {
        self.hidden.contains(host)
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(crate) fn service(&self, index: usize) -> &Service {
        &self.services[index]
    }

    /// The position of the service of a host.
    pub(crate) fn position(&self, host: &str) -> Option<usize> {
        self.by_host.get(host).copied()
    }

    /// The service of a host; an ExternalName stands for what it names.
    pub(crate) fn find(&self, host: &str) -> Option<&Service> {
        self.position(self.resolve(host)).map(|index| &self.services[index])
    }

    /// What an ExternalName stands for, or the host itself. Istio: one level.
    pub(crate) fn resolve<'h>(&'h self, host: &'h str) -> &'h str {
        self.aliases.get(host).map_or(host, |target| target)
    }
}

/// Gathers the services that are visible from the workload's namespace.
pub(crate) fn gather(
    resources: &Resources,
    site: &Site,
    egress: &Egress<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Catalog {
    let workloads = Workloads::gather(resources);
    let slices = kubernetes::Listings::gather(resources, site);
    let mut by_host: BTreeMap<Arc<str>, Vec<Document<'_>>> = BTreeMap::new();
    for service in kubernetes::visible(resources, site) {
        by_host.entry(kubernetes::host(service, site)).or_default().push(Document::Kubernetes(service));
    }
    for (host, entry) in entries::visible(resources, site) {
        by_host.entry(host).or_default().push(Document::Entry(entry));
    }
    let wanted = egress.destinations(resources, site);
    let mut hidden = BTreeSet::new();
    let mut aged = Vec::new();
    let mut aliases = Vec::new();
    for (host, documents) in by_host {
        let Some((documents, ports)) = seen(&host, documents, egress, wanted.get(&host)) else {
            hidden.insert(host);
            continue;
        };
        let chosen = choose(documents, site);
        match chosen[0] {
            Document::Kubernetes(service) => {
                entries::report_shadowed(&host, &chosen, diagnostics);
                if let Some(target) = &service.external_name {
                    aliases.push((host, Arc::from(target.to_ascii_lowercase()), service));
                } else {
                    let found = kubernetes::service(host, service, &slices, &workloads);
                    aged.push((age(&service.meta), limited(found, &ports)));
                }
            }
            Document::Entry(oldest) => {
                let service = entries::service(host, &chosen, &workloads, site, diagnostics);
                aged.push((age(&oldest.meta), limited(service, &ports)));
            }
        }
    }
    Catalog { hidden, ..link(aged, aliases) }
}

/// The documents of a host that a Sidecar lets the workload see, and which ports.
/// Istio: what a route leads to is seen even so; of several namespaces the client's own counts, else the first by name.
fn seen<'r>(
    host: &str,
    documents: Vec<Document<'r>>,
    egress: &Egress<'_>,
    wanted: Option<&Ports>,
) -> Option<(Vec<Document<'r>>, Ports)> {
    if egress.is_everything() {
        return Some((documents, Ports::All));
    }
    let mut ports = wanted.cloned().unwrap_or(Ports::These(BTreeSet::new()));
    let mut imported = Vec::new();
    for document in &documents {
        let own = egress.ports(document.meta().namespace(), host);
        if !own.is_empty() {
            ports.join(&own);
            imported.push(*document);
        }
    }
    if imported.is_empty() {
        wanted?;
        let first = documents.iter().map(|document| document.meta().namespace()).min()?.clone();
        let own = documents.iter().any(|document| *document.meta().namespace() == egress.own);
        let namespace = if own { egress.own.clone() } else { first };
        imported = documents.into_iter().filter(|document| *document.meta().namespace() == namespace).collect();
    }
    Some((imported, ports))
}

fn limited(mut service: Service, ports: &Ports) -> Service {
    service.ports.retain(|port| ports.has(port.number));
    service
}

/// The documents that make up a host's service, the one that gives its attributes first, all of one namespace.
/// Istio: the client's own namespace, else Kubernetes', else the oldest's; there a Kubernetes Service before ServiceEntries,
/// and the oldest of these.
fn choose<'r>(mut documents: Vec<Document<'r>>, site: &Site) -> Vec<Document<'r>> {
    documents.sort_by_cached_key(|document| {
        let own = document.meta().namespace() == &site.workload.namespace;
        (!own, matches!(document, Document::Entry(_)), age(document.meta()))
    });
    let namespace = documents[0].meta().namespace();
    documents.retain(|document| document.meta().namespace() == namespace);
    documents
}

/// Sorts services by age and lets each ExternalName stand for the service it names, if that is known.
/// Istio: if it is not, the name is resolved by DNS.
fn link(mut aged: Vec<(impl Ord + Clone, Service)>, aliases: Vec<(Arc<str>, Arc<str>, &KubernetesService)>) -> Catalog {
    aged.sort_by(|a, b| a.0.cmp(&b.0));
    let mut services: Vec<Service> = aged.into_iter().map(|(_, service)| service).collect();
    let mut by_host: FxHashMap<_, _> = services.iter().enumerate().map(|(i, s)| (s.host.clone(), i)).collect();
    let mut standing = FxHashMap::default();
    for (host, target, document) in aliases {
        let target: Arc<str> = target.strip_suffix('.').map_or(target.clone(), Arc::from);
        if let Some(&index) = by_host.get(&target) {
            services[index].aliases.push(host.clone());
            standing.insert(host, target);
        } else {
            services.push(kubernetes::external(host, &target, document));
        }
    }
    for (index, service) in services.iter().enumerate() {
        by_host.entry(service.host.clone()).or_insert(index);
    }
    Catalog { services, by_host, aliases: standing, hidden: BTreeSet::new() }
}
