//! Labels of workloads that are nearly those of others, and hosts that are nearly the cluster's.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Checking;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::locations::{Path, way};
use crate::resources::{Labels, Meta};

/// Labels that are misspelt, and what is meant.
#[derive(Default)]
pub(super) struct Misspelt {
    keys: BTreeMap<String, String>,
}

impl Misspelt {
    /// Labels as they are meant.
    pub(super) fn mended(&self, labels: &Labels) -> Labels {
        if self.keys.is_empty() {
            return labels.clone();
        }
        let mend = |key: &std::sync::Arc<str>| {
            self.keys.get(&**key).map_or_else(|| key.clone(), |meant| meant.as_str().into())
        };
        labels.iter().map(|(key, value)| (mend(key), value.clone())).collect()
    }
}

/// A label's key that few workloads carry, and differs in one letter from one that more do and these do not.
pub(super) fn check(cx: &Checking<'_>) -> Misspelt {
    let mut carriers: BTreeMap<&str, Vec<(&Meta, Path, &Labels)>> = BTreeMap::new();
    let mut see = |meta, path: Path, labels| {
        let labels: &Labels = labels;
        for key in labels.keys() {
            carriers.entry(key).or_default().push((meta, path.clone(), labels));
        }
    };
    for entry in &cx.resources.service_entries {
        for (at, endpoint) in entry.endpoints.iter().enumerate() {
            see(&entry.meta, way!["spec", "endpoints", at, "labels"], &endpoint.labels);
        }
    }
    for pod in &cx.resources.pods {
        see(&pod.meta, way!["metadata", "labels"], &pod.meta.labels);
    }
    let mut found = Misspelt::default();
    let counts: Vec<(&str, usize)> = carriers.iter().map(|(key, all)| (*key, all.len())).collect();
    for (key, all) in &carriers {
        let near = counts.iter().find(|(other, count)| {
            *count > all.len()
                && key.len() > 2
                && cx.distance(key, other) == 1
                && all.iter().all(|(_, _, labels)| !labels.contains_key(*other))
        });
        let Some((meant, _)) = near else { continue };
        found.keys.insert((*key).to_owned(), (*meant).to_owned());
        for (meta, path, _) in all {
            let spot = cx.key(meta, &path.to((*key).to_owned()));
            let message = format!("label `{key}` is nearly `{meant}`, which other workloads carry");
            let complaint = Diagnostic::warning(codes::LABEL_NAME, &meta.resource, &spot, message);
            cx.tell(complaint.help(format!("did you mean `{meant}`?")));
        }
    }
    found
}

/// Hosts of ServiceEntries that end nearly as the cluster's do, or name a namespace that is nearly one.
pub(super) fn cluster_hosts(cx: &Checking<'_>) {
    let end = format!("svc.{}", cx.domain());
    let parts = end.split('.').count();
    let mut namespaces: BTreeSet<&str> = BTreeSet::new();
    cx.resources.each(|meta| {
        namespaces.insert(meta.namespace());
    });
    for entry in &cx.resources.service_entries {
        for host in &entry.hosts {
            let labels: Vec<&str> = host.value.split('.').collect();
            let Some(rest) = labels.len().checked_sub(parts).filter(|rest| *rest > 1) else { continue };
            let (namespace, found) = (labels[rest - 1], labels[rest..].join("."));
            let (code, message, meant) = if found != end && cx.distance(&found, &end) <= 2 {
                let message = format!("`{}` is no host of the cluster: those end with `.{end}`", host.value);
                (codes::NEARLY_CLUSTER, message, end.clone())
            } else if found == end && !namespaces.contains(namespace) {
                let near = namespaces.iter().find(|known| namespace.len() > 3 && cx.distance(namespace, known) == 1);
                let Some(near) = near else { continue };
                (codes::UNKNOWN_NAMESPACE, format!("no object is of namespace {namespace}"), (*near).to_owned())
            } else {
                continue;
            };
            let complaint = Diagnostic::warning(code, &entry.meta.resource, &host.spot, message);
            if !cx.has_told(&host.spot) {
                cx.tell(complaint.help(format!("did you mean `{meant}`?")));
            }
        }
    }
}
