//! The workloads that selectors choose from: pods and WorkloadEntries, and what is known of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use leeboard_policy::cluster::Workload;

use crate::compile::objects::selects;
use crate::compile::site::Site;
use crate::resources::service_entry::WorkloadSpec;
use crate::resources::{Labels, Pod, Resources, WorkloadEntry};

/// A WorkloadEntry, and the workload it describes.
pub(crate) struct Entry<'r> {
    pub(crate) entry: &'r WorkloadEntry,
    pub(crate) workload: Arc<Workload>,
}

/// A pod, and the workload it describes.
pub(crate) struct PodWorkload<'r> {
    pub(crate) pod: &'r Pod,
    pub(crate) workload: Arc<Workload>,
}

/// Pods and WorkloadEntries, by what they are asked for.
pub(crate) struct Workloads<'r> {
    entries: Vec<Entry<'r>>,
    pods: Vec<PodWorkload<'r>>,
    entries_by_label: ByLabel<'r>,
    pods_by_label: ByLabel<'r>,
    pods_by_name: HashMap<(&'r str, &'r str), usize>,
    pods_by_ip: HashMap<IpAddr, usize>,
}

/// Positions by namespace and one label; they ascend.
type ByLabel<'r> = HashMap<(Arc<str>, Arc<str>, Arc<str>), Vec<usize>>;

impl<'r> Workloads<'r> {
    pub(crate) fn gather(resources: &'r Resources) -> Self {
        let entries: Vec<_> = resources.workload_entries.iter().map(|entry| described_entry(entry)).collect();
        let pods: Vec<_> = resources.pods.iter().map(|pod| described_pod(pod)).collect();
        let mut all = Self {
            entries_by_label: by_label(entries.iter().map(|entry| &*entry.workload)),
            pods_by_label: by_label(pods.iter().map(|pod| &*pod.workload)),
            pods_by_name: HashMap::new(),
            pods_by_ip: HashMap::new(),
            entries,
            pods,
        };
        for (index, pod) in resources.pods.iter().enumerate() {
            all.pods_by_name.insert((pod.meta.namespace(), pod.meta.name()), index);
            for ip in &pod.ips {
                all.pods_by_ip.entry(*ip).or_insert(index);
            }
        }
        all
    }

    /// The WorkloadEntries of a namespace that carry a selector's labels, in order of appearance. An empty one selects none.
    pub(crate) fn entries(&self, namespace: &Arc<str>, selector: &Labels) -> impl Iterator<Item = &Entry<'r>> {
        let found = candidates(&self.entries_by_label, namespace, selector).iter().map(|&index| &self.entries[index]);
        found.filter(|entry| selects(selector, &entry.workload.labels))
    }

    /// The pods of a namespace that carry a selector's labels.
    pub(crate) fn pods(&self, namespace: &Arc<str>, selector: &Labels) -> impl Iterator<Item = &PodWorkload<'r>> {
        let found = candidates(&self.pods_by_label, namespace, selector).iter().map(|&index| &self.pods[index]);
        found.filter(|pod| selects(selector, &pod.workload.labels))
    }

    /// The pod of a name, else the one with an address.
    pub(crate) fn pod(&self, namespace: &str, name: Option<&str>, ip: IpAddr) -> Option<&PodWorkload<'r>> {
        let named = name.and_then(|name| self.pods_by_name.get(&(namespace, name)));
        named.or_else(|| self.pods_by_ip.get(&ip)).map(|&index| &self.pods[index])
    }
}

fn by_label<'r, 'w>(workloads: impl Iterator<Item = &'w Workload>) -> ByLabel<'r> {
    let mut index = ByLabel::new();
    for (position, workload) in workloads.enumerate() {
        for (key, value) in &workload.labels {
            let place = (workload.namespace.clone(), key.clone(), value.clone());
            index.entry(place).or_default().push(position);
        }
    }
    index
}

fn candidates<'i>(index: &'i ByLabel<'_>, namespace: &Arc<str>, selector: &Labels) -> &'i [usize] {
    let first = selector.iter().next();
    let place = first.map(|(key, value)| (namespace.clone(), key.clone(), value.clone()));
    place.and_then(|place| index.get(&place)).map_or(&[], Vec::as_slice)
}

fn described_entry(entry: &WorkloadEntry) -> Entry<'_> {
    let mut labels = entry.spec.labels.clone();
    labels.extend(entry.meta.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    let workload = Workload {
        name: entry.meta.name().clone(),
        namespace: entry.meta.namespace().clone(),
        locality: locality(&entry.spec.locality, &labels),
        labels,
    };
    Entry { entry, workload: Arc::new(workload) }
}

fn described_pod(pod: &Pod) -> PodWorkload<'_> {
    let workload = Workload {
        name: pod.workload.clone(),
        namespace: pod.meta.namespace().clone(),
        labels: pod.meta.labels.clone(),
        locality: locality(&"".into(), &pod.meta.labels),
    };
    PodWorkload { pod, workload: Arc::new(workload) }
}

/// The workload behind an endpoint that a ServiceEntry writes down.
pub(crate) fn inline(spec: &WorkloadSpec, namespace: &Arc<str>) -> Arc<Workload> {
    Arc::new(Workload {
        name: "".into(),
        namespace: namespace.clone(),
        labels: spec.labels.clone(),
        locality: locality(&spec.locality, &spec.labels),
    })
}

/// Istio: the label `topology.istio.io/locality` goes first, `istio-locality` (with dots for slashes) is its older name.
fn locality(written: &Arc<str>, labels: &Labels) -> Arc<str> {
    if let Some(label) = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality")) {
        return if label.contains('/') { label.clone() } else { label.replace('.', "/").into() };
    }
    written.clone()
}

/// Whether an endpoint is of this workload, as far as labels tell: what it carries the workload carries too.
pub(crate) fn is_ours(workload: &Workload, site: &Site) -> bool {
    let ours = &site.workload;
    workload.namespace == ours.namespace && !workload.labels.is_empty() && selects(&workload.labels, &ours.labels)
}
