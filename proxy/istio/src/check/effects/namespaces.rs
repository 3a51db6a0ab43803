//! Namespaces and callers that rules are for, and that are not there or cannot see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::Checking;
use crate::codes;
use crate::compile::objects::selects;
use crate::diagnostic::Diagnostic;
use crate::locations::{Path, way};
use crate::resources::{Labels, Meta};

pub(super) fn check(cx: &Checking<'_>) {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    cx.resources.each(|meta| {
        known.insert(meta.namespace());
    });
    let callers = callers(cx);
    for document in &cx.resources.virtual_services {
        exports(cx, &document.meta, &document.export_to, &known);
        for (entry, route) in document.http.iter().enumerate() {
            for (number, rule) in route.matches.iter().enumerate().filter(|(_, rule)| rule.gateways.is_empty()) {
                let path = way!["spec", "http", entry, "match", number];
                if let Some(namespace) = &rule.source_namespace {
                    let path = path.to("sourceNamespace");
                    if !cx.sees(namespace, document) {
                        let message = format!("callers in {namespace} do not see this VirtualService");
                        let complaint = cx.warning(codes::SOURCE_CANNOT_SEE, &document.meta, &path, message);
                        let there = cx.key(&document.meta, &way!["spec", "exportTo"]);
                        cx.tell(complaint.label(&there, "it is exported to others only"));
                    } else {
                        misspelt(cx, &document.meta, &path, namespace, &known);
                    }
                }
                labels(cx, &document.meta, &path.to("sourceLabels"), &rule.source_labels, &callers);
            }
        }
    }
    for rule in &cx.resources.destination_rules {
        exports(cx, &rule.meta, &rule.export_to, &known);
        if let Some(selector) = &rule.workload_selector {
            let path = way!["spec", "workloadSelector", "matchLabels"];
            fits_somebody(cx, &rule.meta, &path, selector, &callers);
        }
    }
    for entry in &cx.resources.service_entries {
        exports(cx, &entry.meta, &entry.export_to, &known);
    }
    for sidecar in &cx.resources.sidecars {
        for (listener, entry) in sidecar.egress.iter().enumerate() {
            for (number, host) in entry.hosts.iter().enumerate().filter(|(_, host)| !is_symbol(&host.namespace)) {
                let path = way!["spec", "egress", listener, "hosts", number];
                misspelt(cx, &sidecar.meta, &path, &host.namespace, &known);
            }
        }
        if let Some(selector) = &sidecar.workload_selector {
            let path = way!["spec", "workloadSelector", "labels"];
            fits_somebody(cx, &sidecar.meta, &path, selector, &callers);
        }
    }
    for gateway in &cx.resources.gateways {
        labels(cx, &gateway.meta, &way!["spec", "selector"], &gateway.selector, &callers);
    }
    for service in &cx.resources.services {
        labels(cx, &service.meta, &way!["spec", "selector"], &service.selector, &callers);
    }
    for object in cx.unread_objects.iter().filter(|object| !object.selector.is_empty()) {
        let wanted: Labels = object.selector.iter().map(|(key, value, _)| (key.clone(), value.clone())).collect();
        if is_fitting(cx, &object.namespace, &wanted) {
            continue;
        }
        let message = format!("no workload of namespace {} carries these labels", object.namespace);
        let spot = &object.selector[0].2;
        let complaint = Diagnostic::warning(codes::SELECTS_NOBODY, &object.resource, spot, message);
        let ist = if object.resource.starts_with("Telemetry ") { "IST0101" } else { "IST0127" };
        cx.tell(complaint.ist(ist));
    }
}

/// Whether a workload of a namespace carries all labels, or none is known there. What is in the mesh's own namespace is for all.
fn is_fitting(cx: &Checking<'_>, namespace: &str, wanted: &Labels) -> bool {
    let mut known = cx.workloads(namespace).peekable();
    cx.is_root(namespace) || known.peek().is_none() || known.any(|labels| selects(wanted, labels))
}

/// Istio: IST0101, a selector that no workload of its namespace fits, if some are known there; else what is nearly a label.
fn fits_somebody(cx: &Checking<'_>, meta: &Meta, path: &Path, wanted: &Labels, callers: &BTreeSet<&Labels>) {
    let before = cx.told_so_far();
    labels(cx, meta, path, wanted, callers);
    if wanted.is_empty() || before != cx.told_so_far() || is_fitting(cx, meta.namespace(), wanted) {
        return;
    }
    let message = format!("no workload of namespace {} carries these labels", meta.namespace());
    cx.tell(cx.warning(codes::SELECTS_NOBODY, meta, path, message).ist("IST0101"));
}

/// Each set of labels that some workload carries, written down in whatever way.
fn callers<'r>(cx: &Checking<'r>) -> BTreeSet<&'r Labels> {
    let resources = cx.resources;
    let pods = resources.pods.iter().map(|pod| &pod.meta.labels);
    let entries = resources.workload_entries.iter().map(|entry| &entry.spec.labels);
    let written =
        resources.service_entries.iter().flat_map(|entry| entry.endpoints.iter().map(|endpoint| &endpoint.labels));
    let made = cx.unread_objects.iter().filter_map(|object| object.pods.as_ref());
    pods.chain(entries).chain(written).chain(made).filter(|labels| !labels.is_empty()).collect()
}

fn exports(cx: &Checking<'_>, meta: &Meta, export_to: &[Arc<str>], known: &BTreeSet<&str>) {
    for (at, namespace) in export_to.iter().enumerate().filter(|(_, entry)| !is_symbol(entry)) {
        misspelt(cx, meta, &way!["spec", "exportTo", at], namespace, known);
    }
}

fn is_symbol(namespace: &str) -> bool {
    matches!(namespace, "." | "*" | "~" | "")
}

/// A namespace without any object is nothing to wonder at, unless it is nearly one that has some.
fn misspelt(cx: &Checking<'_>, meta: &Meta, path: &Path, namespace: &str, known: &BTreeSet<&str>) {
    if known.contains(namespace) {
        return;
    }
    let near = known.iter().copied().find(|other| namespace.len() > 3 && cx.distance(namespace, other) == 1);
    if let Some(near) = near {
        let message = format!("no object is of namespace {namespace}");
        let complaint = cx.warning(codes::UNKNOWN_NAMESPACE, meta, path, message);
        cx.tell(complaint.help(format!("did you mean `{near}`?")));
    }
}

/// Callers may be unknown here; labels that are nearly those of known workloads are not.
fn labels(cx: &Checking<'_>, meta: &Meta, path: &Path, wanted: &Labels, callers: &BTreeSet<&Labels>) {
    for (key, value) in wanted {
        let values: BTreeSet<&str> =
            callers.iter().filter_map(|labels| labels.get(key)).map(|value| &**value).collect();
        let path = path.to(key.to_string());
        if values.is_empty() {
            let keys: BTreeSet<&str> = callers.iter().flat_map(|labels| labels.keys()).map(|key| &**key).collect();
            let near = keys.into_iter().find(|other| key.len() > 2 && cx.distance(key, other) == 1);
            if let Some(near) = near {
                let spot = cx.key(meta, &path);
                let message = format!("no workload has a label `{key}`");
                let complaint = Diagnostic::warning(codes::SELECTS_NOBODY, &meta.resource, &spot, message);
                cx.tell(complaint.help(format!("did you mean `{near}`?")));
            }
        } else if !values.contains(&**value) {
            let near = values.into_iter().find(|other| value.len() > 3 && cx.distance(value, other) == 1);
            if let Some(near) = near {
                let message = format!("no workload has the label `{key}: {value}`");
                let complaint = cx.warning(codes::SELECTS_NOBODY, meta, &path, message);
                cx.tell(complaint.help(format!("did you mean `{near}`?")));
            }
        }
    }
}
