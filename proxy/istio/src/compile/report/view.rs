//! What the workloads of a namespace see: for `check`, which looks at the configuration from every namespace in turn.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::compile::clusters::policy::{self, Policies};
use crate::compile::services::catalog::{self, Catalog};
use crate::compile::services::egress::Egress;
use crate::compile::services::kubernetes;
use crate::compile::site::Site;
use crate::compile::visibility::Reach;
use crate::diagnostic::Diagnostic;
use crate::resources::{Resources, Service, ServiceEntry};

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
    let Some(first) = sites.first() else { return (Vec::new(), Vec::new()) };
    let (contested, hidden) = (contested(resources, first), Hidden::of(resources, first));
    let policies = policy::gather(resources, first);
    let mut gathered: HashMap<(Vec<usize>, &str), Seen> = HashMap::new();
    let mut told = Vec::new();
    let mut views = Vec::with_capacity(sites.len());
    for site in sites {
        let namespace = &*site.workload.namespace;
        let apart = if contested.contains(namespace) { namespace } else { "" };
        let seen = gathered.entry((hidden.seen(site), apart)).or_insert_with(|| {
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
        views.push(View { site, catalog: seen.0.clone(), policies: policies.at(site) });
    }
    (views, told)
}

/// What not every namespace sees.
struct Hidden<'r> {
    services: Vec<&'r Service>,
    entries: Vec<&'r ServiceEntry>,
}

impl<'r> Hidden<'r> {
    fn of(resources: &'r Resources, site: &Site) -> Self {
        let mesh = &site.mesh;
        let services = resources.services.iter().map(|service| &**service);
        let entries = resources.service_entries.iter().map(|entry| &**entry);
        Self {
            services: services.filter(|one| kubernetes::reach_of(one, mesh, "") != Some(Reach::Public)).collect(),
            entries: entries.filter(|one| mesh.reach_of_entry(one, "") != Some(Reach::Public)).collect(),
        }
    }

    /// What of it a namespace sees, by addresses in memory.
    fn seen(&self, site: &Site) -> Vec<usize> {
        let namespace = &site.workload.namespace;
        let services = self.services.iter().filter(|one| kubernetes::reach_of(one, &site.mesh, namespace).is_some());
        let entries = self.entries.iter().filter(|one| site.mesh.shows_entry(one, namespace));
        let services = services.map(|one| std::ptr::from_ref(*one).addr());
        services.chain(entries.map(|one| std::ptr::from_ref(*one).addr())).collect()
    }
}

/// The namespaces that define a host which another one defines, too: each sees its own.
fn contested<'r>(resources: &'r Resources, site: &Site) -> HashSet<&'r str> {
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
