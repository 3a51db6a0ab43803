//! Selectors and subset labels that no workload carries.

use std::collections::BTreeSet;
use std::sync::Arc;

use leeboard_policy::cluster::{TOPOLOGY, Workload};

use super::super::{Checking, list};
use super::destinations;
use super::labels::Misspelt;
use crate::compile::names::{complete, is_wildcard};
use crate::compile::objects::selects;
use crate::compile::services::service::{Backends, Service};
use crate::diagnostic::{Diagnostic, Severity};
use crate::locations::{Path, way};
use crate::resources::destination_rule::Subset;
use crate::resources::service_entry::Resolution;
use crate::resources::{DestinationRule, Labels, Meta};
use crate::{codes, names};

pub(super) fn check(cx: &Checking<'_>, misspelt: &Misspelt) {
    for rule in &cx.resources.destination_rules {
        subsets(cx, rule, misspelt);
    }
    selectors(cx);
}

/// Istio: IST0173, as far as the endpoints are known.
fn subsets(cx: &Checking<'_>, rule: &DestinationRule, misspelt: &Misspelt) {
    let host = complete(&rule.host.value, rule.meta.namespace(), cx.domain());
    let Some(view) = cx.view(rule.meta.namespace()).filter(|_| !is_wildcard(&host)) else { return };
    let Some(service) = view.catalog.find(&host) else { return };
    let found = carried(cx, service);
    if found.is_empty() {
        return;
    }
    let carried: Vec<Labels> =
        found.iter().map(|(labels, locality)| with_place(misspelt.mended(labels), locality)).collect();
    if service.origin.resource.starts_with("Service ") && found.iter().any(|(labels, _)| labels.is_empty()) {
        return unlabelled(cx, rule, &host, &carried);
    }
    let in_cluster = service.origin.resource.starts_with("Service ") || !service.selector.is_empty();
    for (at, subset) in rule.subsets.iter().enumerate() {
        let path = way!["spec", "subsets", at, "labels"];
        if subset.labels.is_empty() {
            let message = format!("subset {} has no labels: it is all endpoints of {host}", subset.name.value);
            cx.tell(cx.warning(codes::SUBSET_OF_ALL, &rule.meta, &path, message));
        } else if !carried.iter().any(|labels| may_select(&subset.labels, labels, in_cluster)) {
            let message = format!("no endpoint of {host} carries the labels of subset {}", subset.name.value);
            let complaint = nobody(cx, &rule.meta, &path, &subset.labels, &carried, message);
            cx.tell(Diagnostic { code: codes::SUBSET_SELECTS_NOTHING, ..complaint }.ist("IST0173"));
        }
    }
}

/// Labels that the cluster gives to pods, which no document tells: where they run, and of which template they are.
const GIVEN: [&str; 6] = [
    TOPOLOGY[0],
    TOPOLOGY[1],
    TOPOLOGY[2],
    "kubernetes.io/hostname",
    "pod-template-hash",
    "rollouts-pod-template-hash",
];

/// Whether a workload carries labels, as far as it is known: what a cluster gives its pods may be anything where nothing is said.
fn may_select(wanted: &Labels, labels: &Labels, in_cluster: bool) -> bool {
    wanted.iter().all(|(key, value)| match labels.get(key) {
        Some(own) => own == value,
        None => in_cluster && GIVEN.contains(&&**key),
    })
}

/// An endpoint of Kubernetes whose pod is not among the documents may carry anything; but nobody here knows.
fn unlabelled(cx: &Checking<'_>, rule: &DestinationRule, host: &str, carried: &[Labels]) {
    let empty = |subset: &&Subset| !carried.iter().any(|labels| selects(&subset.labels, labels));
    let names: Vec<&str> = rule.subsets.iter().filter(empty).map(|subset| &*subset.name.value).collect();
    if !names.is_empty() {
        let message = format!("no Pod tells the labels of {host}'s endpoints: {} stay empty", list(&names));
        let complaint = cx.info(codes::LABELS_UNKNOWN, &rule.meta, &way!["spec", "subsets"], message);
        let used = |name: &&str| is_routed_to(cx, host, name);
        let complaint = match names.iter().find(|name| used(name)) {
            Some(name) => Diagnostic {
                severity: Severity::Warning,
                message: format!("{}, and requests are routed to {name}: each is answered 503", complaint.message),
                ..complaint
            },
            None => complaint,
        };
        cx.tell(complaint.help("add the Pods that the endpoints point at, or write a ServiceEntry with labels"));
    }
}

/// Whether some rule sends requests to a subset.
fn is_routed_to(cx: &Checking<'_>, host: &str, subset: &str) -> bool {
    cx.resources.virtual_services.iter().any(|document| {
        destinations(document).any(|(_, destination)| {
            destination.subset.as_ref().is_some_and(|named| *named.value == *subset)
                && *complete(&destination.host.value, document.meta.namespace(), cx.domain()) == *host
        })
    })
}

/// Labels with the locality of who carries them.
type Carried = BTreeSet<(Labels, Arc<str>)>;

/// The labels that the known endpoints of a service carry, each set once; those of its pods stand for endpoints not listed.
fn carried(cx: &Checking<'_>, service: &Service) -> Carried {
    let of = |workload: &Workload| (workload.labels.clone(), workload.locality.clone());
    let mut found = Carried::new();
    for port in &service.ports {
        match &port.backends {
            Backends::Written(all) => found.extend(all.iter().map(|spec| of(&spec.workload))),
            Backends::Names(all) | Backends::FirstName(all) if !service.external || all.len() > 1 => {
                found.extend(all.iter().map(|spec| of(&spec.workload)));
            }
            _ => {}
        }
    }
    if !service.selector.is_empty() {
        let pods = cx.pods(&service.namespace).filter(|labels| selects(&service.selector, labels));
        found.extend(pods.map(|labels| (labels.clone(), Arc::default())));
    }
    found
}

/// Istio: what is known of a workload's place counts as labels of it.
fn with_place(labels: Labels, locality: &Arc<str>) -> Labels {
    let mut workload = Workload { labels, locality: locality.clone(), ..Workload::default() };
    for key in TOPOLOGY {
        let value = workload.label(key);
        if !value.is_empty() {
            let value = value.into();
            workload.labels.insert(key.into(), value);
        }
    }
    workload.labels
}

/// Points at the label that keeps a selector from fitting: its key if nobody carries it, else its value.
fn nobody(
    cx: &Checking<'_>,
    meta: &Meta,
    path: &Path,
    wanted: &Labels,
    carried: &[Labels],
    message: String,
) -> Diagnostic {
    let lacking = wanted.iter().find(|(key, value)| !carried.iter().any(|labels| labels.get(*key) == Some(*value)));
    let Some((key, value)) = lacking else {
        return cx
            .warning(codes::SELECTS_NOBODY, meta, path, message)
            .help("each label is carried by some, all of them by none");
    };
    let path = path.to(key.to_string());
    let values: BTreeSet<&Arc<str>> = carried.iter().filter_map(|labels| labels.get(key)).collect();
    if values.is_empty() {
        let spot = cx.key(meta, &path);
        let complaint = Diagnostic::warning(codes::SELECTS_NOBODY, &meta.resource, &spot, message);
        let keys: BTreeSet<&str> = carried.iter().flat_map(|labels| labels.keys()).map(|key| &**key).collect();
        return match names::nearest(key, keys.iter().copied()) {
            Some(near) => complaint.help(format!("did you mean `{near}`?")),
            None => complaint.help(format!("none has a label `{key}`")),
        };
    }
    let complaint = cx.warning(codes::SELECTS_NOBODY, meta, &path, message);
    match names::nearest(value, values.iter().map(|value| &***value)) {
        Some(near) => complaint.help(format!("did you mean `{near}`?")),
        None => {
            let known: Vec<String> = values.iter().take(8).map(|value| format!("`{value}`")).collect();
            complaint.help(format!("`{key}` is {} there", known.join(" or ")))
        }
    }
}

/// Selectors of ServiceEntries, and services that can have no endpoint.
fn selectors(cx: &Checking<'_>) {
    for entry in cx.resources.service_entries.iter().filter(|entry| entry.resolution == Resolution::Static) {
        let Some(selector) = &entry.workload_selector else {
            if entry.endpoints.is_empty() {
                let message = "resolution STATIC without endpoints: every call is answered 503";
                let complaint = cx.warning(codes::NO_ENDPOINTS, &entry.meta, &way!["spec", "resolution"], message);
                cx.tell(complaint.help("write `endpoints`, a `workloadSelector`, or `resolution: DNS`"));
            }
            continue;
        };
        let namespace = entry.meta.namespace();
        let carried: Vec<Labels> = cx.workloads(namespace).cloned().collect();
        if selector.is_empty() || carried.is_empty() || carried.iter().any(|labels| selects(selector, labels)) {
            continue;
        }
        let message = format!("no workload of namespace {namespace} carries these labels");
        let path = way!["spec", "workloadSelector", "labels"];
        cx.tell(nobody(cx, &entry.meta, &path, selector, &carried, message).ist("IST0101"));
    }
}
