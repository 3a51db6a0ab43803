//! Which objects must stay as they are in force so that no route loses its destination.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Held;
use crate::compile::names::{complete, within};
use crate::compile::objects::selects;
use crate::compile::services::kubernetes;
use crate::compile::site::Site;
use crate::compile::{Lack, Reference, Referent, references};
use crate::resources::{Kind, Labels, Meta, ObjectId, Resources, VirtualService};
use crate::source::Located;

/// How often is looked whether it is enough; then everything stays.
const MOST_LOOKS: usize = 8;

/// Finds the objects that must stay as they are in `before`, so that in `written` nothing dangles that does not dangle
/// before, but for what is `accepted`.
///
/// A route that is new waits for its destination. A destination that goes stays for the routes that it had; but endpoints
/// that go are gone, and nothing is held for them. What this leaves dangling holds more, in the end everything; an object
/// that says the same as before is never held.
pub fn hold(before: &Resources, written: &Resources, site: &Site, accepted: &BTreeSet<Reference>) -> Held {
    let known = references(before, site);
    let search = Search { before, written, site, versions: Versions::of(before, written) };
    let mut held = Held { resources: written.clone(), ..Held::default() };
    let mut efforts: BTreeMap<Reference, usize> = BTreeMap::new();
    for look in 0.. {
        let mut grows = false;
        for (reference, lack) in references(&held.resources, site) {
            let Some(lack) = lack.filter(|_| !accepted.contains(&reference)) else { continue };
            let was_there = matches!(known.get(&reference), Some(None));
            if was_there && lack == Lack::Endpoints {
                continue;
            }
            let effort = efforts.entry(reference.clone()).or_default();
            if look == MOST_LOOKS {
                *effort = EFFORTS.len() - 1;
            }
            while let Some(widest) = EFFORTS.get(*effort) {
                *effort += 1;
                let mut objects = search.concerned(*widest, &reference, lack, was_there);
                objects.retain(|id| search.versions.differ(id));
                let new = objects.iter().any(|id| !held.objects.contains_key(id));
                for id in objects {
                    held.objects.entry(id).or_default().insert(reference.clone());
                }
                if new {
                    grows = true;
                    break;
                }
            }
        }
        if !grows || look == MOST_LOOKS {
            break;
        }
        held.resources = search.with(&held);
    }
    held.resources = search.with(&held);
    held
}

/// How much is held for one reference; each more than the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// What it was that changed: the route, or what it leads to.
    Cause,
    /// Both.
    Both,
    /// Also what says who sees what.
    Sight,
    /// Everything.
    Everything,
}

const EFFORTS: [Effort; 4] = [Effort::Cause, Effort::Both, Effort::Sight, Effort::Everything];

struct Search<'a> {
    before: &'a Resources,
    written: &'a Resources,
    site: &'a Site,
    versions: Versions<'a>,
}

impl Search<'_> {
    fn with(&self, held: &Held) -> Resources {
        let mut resources = self.written.clone();
        resources.put_back(self.before, &held.ids());
        resources
    }

    fn concerned(&self, effort: Effort, reference: &Reference, lack: Lack, was_there: bool) -> BTreeSet<ObjectId> {
        let of = |lacks: &[Lack]| -> BTreeSet<ObjectId> {
            let both = [self.before, self.written].into_iter();
            both.flat_map(|resources| self.defining(resources, &reference.to, lacks)).collect()
        };
        let all = [Lack::Host, Lack::Subset, Lack::Port, Lack::Delegate];
        match effort {
            Effort::Cause if was_there => of(&[lack]),
            Effort::Cause => self.routes_with(&reference.who),
            Effort::Both => of(&all).into_iter().chain(self.routes_with(&reference.who)).collect(),
            Effort::Sight => self.versions.all(|id| matches!(id.kind, Kind::Sidecar | Kind::MeshConfig)),
            Effort::Everything => self.versions.all(|_| true),
        }
    }

    /// A VirtualService, and those that share a host with it: a route may have moved from one to another.
    fn routes_with(&self, who: &ObjectId) -> BTreeSet<ObjectId> {
        let both = || [self.before, self.written].into_iter().flat_map(|resources| &resources.virtual_services);
        let hosts = |document: &VirtualService| -> Vec<String> {
            let own = document.meta.namespace();
            let full = document.hosts.iter().map(|host| complete(&host.value, own, &self.site.cluster_domain));
            full.map(Cow::into_owned).collect()
        };
        let own: BTreeSet<String> = both().filter(|document| document.meta.id == *who).flat_map(|d| hosts(d)).collect();
        let shares = |document: &VirtualService| hosts(document).iter().any(|host| own.contains(host));
        let others = both().filter(|document| shares(document)).map(|document| document.meta.id.clone());
        others.chain([who.clone()]).collect()
    }

    /// The objects of one configuration that have a say in whether something is there.
    fn defining(&self, resources: &Resources, to: &Referent, lacks: &[Lack]) -> Vec<ObjectId> {
        let mut found = Vec::new();
        match to {
            Referent::Delegate { namespace, name } => {
                found.push(ObjectId { kind: Kind::VirtualService, namespace: namespace.clone(), name: name.clone() });
            }
            Referent::Destination { host, .. } => {
                if lacks.contains(&Lack::Subset) {
                    found.extend(self.rules(resources, host));
                }
                if lacks.contains(&Lack::Host) || lacks.contains(&Lack::Port) {
                    self.services(resources, host, &mut found);
                }
            }
        }
        found
    }

    fn rules<'r>(&self, resources: &'r Resources, host: &'r str) -> impl Iterator<Item = ObjectId> {
        let domain = self.site.cluster_domain.clone();
        let rules = resources
            .destination_rules
            .iter()
            .filter(move |rule| within(host, &complete(&rule.host.value, rule.meta.namespace(), &domain)));
        rules.map(|rule| rule.meta.id.clone())
    }

    /// Services of a host. With one that goes, what lists its endpoints stays if it goes too.
    fn services(&self, resources: &Resources, host: &str, found: &mut Vec<ObjectId>) {
        for service in resources.services.iter().filter(|service| &*kubernetes::host(service, self.site) == host) {
            found.push(service.meta.id.clone());
            let (namespace, name) = (service.meta.namespace(), service.meta.name());
            let slices =
                resources.endpoint_slices.iter().filter(|slice| slice.service == *name).map(|slice| &slice.meta);
            let lists = resources.endpoints.iter().map(|list| &list.meta).filter(|meta| meta.name() == name);
            let own = slices.chain(lists).filter(|meta| meta.namespace() == namespace && self.goes(&meta.id));
            found.extend(own.map(|meta| meta.id.clone()));
            self.selected(resources, &service.meta, &service.selector, found);
        }
        let of_host =
            |hosts: &[Located<Arc<str>>]| hosts.iter().any(|written| written.value.eq_ignore_ascii_case(host));
        for entry in resources.service_entries.iter().filter(|entry| of_host(&entry.hosts)) {
            found.push(entry.meta.id.clone());
            if let Some(selector) = &entry.workload_selector {
                self.selected(resources, &entry.meta, selector, found);
            }
        }
    }

    /// Workloads of a service that go with it.
    fn selected(&self, resources: &Resources, service: &Meta, selector: &Labels, found: &mut Vec<ObjectId>) {
        if selector.is_empty() || !self.goes(&service.id) {
            return;
        }
        let pods = resources.pods.iter().filter(|pod| selects(selector, &pod.meta.labels)).map(|pod| &pod.meta);
        let entries = resources.workload_entries.iter();
        let entries =
            entries.filter(|entry| selects(selector, &entry.spec.labels) || selects(selector, &entry.meta.labels));
        let all = pods.chain(entries.map(|entry| &entry.meta));
        let own = all.filter(|meta| meta.namespace() == service.namespace() && self.goes(&meta.id));
        found.extend(own.map(|meta| meta.id.clone()));
    }

    /// Whether an object is taken away.
    fn goes(&self, id: &ObjectId) -> bool {
        !self.versions.written.contains_key(id)
    }
}

/// What each object says, before and as it is written.
struct Versions<'a> {
    before: BTreeMap<&'a ObjectId, u64>,
    written: BTreeMap<&'a ObjectId, u64>,
}

impl<'a> Versions<'a> {
    fn of(before: &'a Resources, written: &'a Resources) -> Self {
        let of = |resources: &'a Resources| {
            let mut all = BTreeMap::new();
            resources.each(|meta| _ = all.insert(&meta.id, meta.fingerprint));
            all.extend(resources.mesh.iter().filter_map(|mesh| mesh.meta.as_ref()).map(|m| (&m.id, m.fingerprint)));
            all
        };
        Self { before: of(before), written: of(written) }
    }

    fn differ(&self, id: &ObjectId) -> bool {
        self.before.get(id) != self.written.get(id)
    }

    fn all(&self, wanted: impl Fn(&ObjectId) -> bool) -> BTreeSet<ObjectId> {
        let all = self.before.keys().chain(self.written.keys());
        all.filter(|id| wanted(id)).map(|id| ObjectId::clone(id)).collect()
    }
}
