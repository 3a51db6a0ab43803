//! What the workloads of a namespace see: for `check`, which looks at the configuration from every namespace in turn.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::Site;
use super::catalog::{self, Catalog};
use super::policy::{self, Policies};
use super::sidecar::Egress;
use crate::diagnostic::Diagnostic;
use crate::resources::Resources;

/// The configuration as one namespace sees it.
pub(crate) struct View<'r> {
    /// Where it is looked at from.
    pub(crate) site: &'r Site,
    /// The services that are visible.
    pub(crate) catalog: Rc<Catalog>,
    /// The DestinationRules, by who uses them.
    pub(crate) policies: Policies<'r>,
}

/// Looks at `resources` from each of `sites`, whose workloads carry no labels. The complaints are those about services, in the
/// namespace that they are of.
pub(crate) fn views<'r>(resources: &'r Resources, sites: &'r [Site]) -> (Vec<View<'r>>, Vec<Diagnostic>) {
    let mut told = Vec::new();
    let alike = is_alike(resources, sites);
    let mut shared: Option<Rc<Catalog>> = None;
    let mut views = Vec::with_capacity(sites.len());
    for site in sites {
        let catalog = shared.clone().unwrap_or_else(|| {
            let mut diagnostics = Vec::new();
            // A Sidecar narrows what some workloads see; what is there is there all the same.
            let catalog = Rc::new(catalog::gather(resources, site, &Egress::of(None, site), &mut diagnostics));
            let own = |diagnostic: &Diagnostic| {
                let object = diagnostic.resource.split_once(' ').and_then(|(_, object)| object.split_once('/'));
                object.is_some_and(|(namespace, _)| *namespace == *site.workload.namespace)
            };
            diagnostics.retain(|diagnostic| alike || own(diagnostic));
            told.append(&mut diagnostics);
            catalog
        });
        if alike {
            shared = Some(catalog.clone());
        }
        views.push(View { site, catalog, policies: policy::gather(resources, site) });
    }
    (views, told)
}

/// Whether every namespace sees the same services: none is hidden from some, and no host is defined by several namespaces.
fn is_alike(resources: &Resources, sites: &[Site]) -> bool {
    let everybody = |export_to: &[Arc<str>]| export_to.iter().all(|entry| &**entry == "*");
    let annotation = "networking.istio.io/exportTo";
    if resources.service_entries.iter().any(|entry| !everybody(&entry.export_to))
        || resources.services.iter().any(|service| service.meta.annotations.contains_key(annotation))
        || sites.iter().any(|site| !everybody(&site.mesh.service_export_to))
    {
        return false;
    }
    let Some(site) = sites.first() else { return true };
    let mut owners: HashMap<String, &Arc<str>> = HashMap::new();
    let entries = resources
        .service_entries
        .iter()
        .flat_map(|entry| entry.hosts.iter().map(|host| (host.value.to_ascii_lowercase(), entry.meta.namespace())));
    let services = resources.services.iter().map(|service| {
        let namespace = service.meta.namespace();
        (format!("{}.{namespace}.svc.{}", service.meta.name(), site.cluster_domain), namespace)
    });
    entries.chain(services).all(|(host, namespace)| *owners.entry(host).or_insert(namespace) == namespace)
}
