//! What the workloads of a namespace see: for `check`, which looks at the configuration from every namespace in turn.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::Site;
use super::catalog::{self, Catalog};
use super::kubernetes;
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

/// The services that some namespaces see alike, and what is said of them.
type Seen = Rc<(Rc<Catalog>, Vec<Diagnostic>)>;

/// Looks at `resources` from each of `sites`, whose workloads carry no labels. The complaints are those about services, in the
/// namespace that they are of. Most namespaces see the same, which is gathered once.
pub(crate) fn views<'r>(resources: &'r Resources, sites: &'r [Site]) -> (Vec<View<'r>>, Vec<Diagnostic>) {
    let contested = contested(resources, sites);
    let mut gathered: HashMap<(Vec<usize>, &str), Seen> = HashMap::new();
    let mut told = Vec::new();
    let mut views = Vec::with_capacity(sites.len());
    for site in sites {
        let namespace = &*site.workload.namespace;
        let apart = if contested.contains(namespace) { namespace } else { "" };
        let seen = gathered.entry((visible(resources, site), apart)).or_insert_with(|| {
            let mut diagnostics = Vec::new();
            // A Sidecar narrows what some workloads see; what is there is there all the same.
            let catalog = catalog::gather(resources, site, &Egress::of(None, site), &mut diagnostics);
            Rc::new((Rc::new(catalog), diagnostics))
        });
        let own = |diagnostic: &&Diagnostic| {
            let object = diagnostic.resource.split_once(' ').and_then(|(_, object)| object.split_once('/'));
            object.is_some_and(|(own, _)| own == namespace)
        };
        told.extend(seen.1.iter().filter(own).cloned());
        views.push(View { site, catalog: seen.0.clone(), policies: policy::gather(resources, site) });
    }
    (views, told)
}

/// Which services a namespace sees, by their addresses in memory.
fn visible(resources: &Resources, site: &Site) -> Vec<usize> {
    let services = kubernetes::visible(resources, site).map(|service| std::ptr::from_ref(service).addr());
    let entries =
        resources.service_entries.iter().filter(|entry| site.mesh.shows_entry(entry, &site.workload.namespace));
    services.chain(entries.map(|entry| Arc::as_ptr(entry).addr())).collect()
}

/// The namespaces that define a host which another one defines, too: each sees its own.
fn contested<'r>(resources: &'r Resources, sites: &[Site]) -> HashSet<&'r str> {
    let Some(site) = sites.first() else { return HashSet::new() };
    let mut owners: HashMap<String, HashSet<&str>> = HashMap::new();
    for entry in &resources.service_entries {
        for host in &entry.hosts {
            owners.entry(host.value.to_ascii_lowercase()).or_default().insert(entry.meta.namespace());
        }
    }
    for service in &resources.services {
        owners.entry(kubernetes::host(service, site).to_string()).or_default().insert(service.meta.namespace());
    }
    owners.into_values().filter(|owners| owners.len() > 1).flatten().collect()
}
