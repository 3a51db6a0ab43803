//! Delegates that are not there, that nobody uses, or whose entries fit no entry that delegates to them.

use std::collections::{BTreeMap, HashMap};

use super::super::Checking;
use crate::codes;
use crate::compile::delegates::fits;
use crate::diagnostic::Diagnostic;
use crate::locations::way;
use crate::names;
use crate::resources::VirtualService;
use crate::resources::virtual_service::{Delegate, HttpAction, HttpMatch, HttpRoute};
use crate::source::Spot;

pub(super) fn check(cx: &Checking<'_>) {
    let all = cx.resources.virtual_services.iter().filter(|document| document.hosts.is_empty());
    let known: BTreeMap<(&str, &str), &VirtualService> =
        all.map(|document| ((&**document.meta.namespace(), &**document.meta.name()), &**document)).collect();
    let mut uses: HashMap<(&str, &str), Vec<(&VirtualService, &HttpRoute)>> = HashMap::new();
    for root in &cx.resources.virtual_services {
        for entry in &root.http {
            let HttpAction::Delegate(delegate) = &entry.action else { continue };
            let namespace = delegate.namespace.as_ref().map_or(root.meta.namespace(), |namespace| &namespace.value);
            let name = (&**namespace, &*delegate.name.value);
            match known.get(&name) {
                None => {
                    // What is nearly named so is meant, and not unused.
                    if let Some(near) = unknown(cx, root, delegate, namespace, &known) {
                        uses.entry(near).or_default();
                    }
                }
                Some(document) if !cx.sees(root.meta.namespace(), document) => {
                    let message =
                        format!("{} is not exported to namespace {}", document.meta.resource, root.meta.namespace());
                    let spot = &delegate.name.spot;
                    let complaint = Diagnostic::warning(codes::NOT_EXPORTED, &root.meta.resource, spot, message);
                    cx.tell(complaint.label(&document.meta.spot, "it is here"));
                    uses.entry(name).or_default();
                }
                Some(_) => uses.entry(name).or_default().push((root, entry)),
            }
        }
    }
    for (name, document) in known {
        match uses.get(&name) {
            None => unused(cx, document),
            Some(roots) => dropped(cx, document, roots),
        }
    }
}

/// Complains, and says which delegate is most likely meant.
fn unknown<'k>(
    cx: &Checking<'_>,
    root: &VirtualService,
    delegate: &Delegate,
    namespace: &str,
    known: &BTreeMap<(&'k str, &'k str), &VirtualService>,
) -> Option<(&'k str, &'k str)> {
    let name = &delegate.name.value;
    let message = format!("no VirtualService {namespace}/{name} without hosts is here: this entry vanishes");
    let complaint = Diagnostic::warning(codes::UNKNOWN_DELEGATE, &root.meta.resource, &delegate.name.spot, message);
    let here = || known.keys().copied().filter(|(own, _)| *own == namespace);
    let near = names::nearest(name, here().map(|(_, name)| name));
    let all = &cx.resources.virtual_services;
    let hosted = all.iter().find(|other| **other.meta.namespace() == *namespace && other.meta.name() == name);
    cx.tell(match (near, hosted) {
        (_, Some(other)) => complaint.label(&other.meta.spot, "this one has hosts, so it is no delegate"),
        (Some(near), None) => complaint.help(format!("did you mean `{near}`?")),
        (None, None) => complaint,
    });
    here().find(|(_, name)| Some(*name) == near)
}

fn unused(cx: &Checking<'_>, document: &VirtualService) {
    if document.http.is_empty() || cx.is_rejected(&document.meta.id) {
        return;
    }
    let message = "without `hosts` this is a delegate, and nothing here delegates to it";
    let spot = &document.meta.spot;
    let complaint = Diagnostic::warning(codes::UNUSED_DELEGATE, &document.meta.resource, spot, message);
    cx.tell(complaint.help("name its `hosts` if it is to route by itself"));
}

/// Istio: a match that fits none of the root's drops its whole entry, under that root and under no other.
fn dropped(cx: &Checking<'_>, document: &VirtualService, roots: &[(&VirtualService, &HttpRoute)]) {
    for (number, own) in document.http.iter().enumerate() {
        let misfit = |root: &HttpRoute| {
            let fitting = |rule: &HttpMatch| root.matches.iter().any(|wide| fits(wide, rule));
            let misfit = own.matches.iter().position(|rule| !fitting(rule));
            misfit.filter(|_| !root.matches.is_empty())
        };
        let misfits: Vec<Option<usize>> = roots.iter().map(|(_, entry)| misfit(entry)).collect();
        let everywhere = misfits.iter().all(Option::is_some);
        let first = misfits.iter().zip(roots).find_map(|(at, root)| at.map(|at| (at, root)));
        let Some((at, (root, delegating))) = first else { continue };
        let path = way!["spec", "http", number, "match", at];
        let spot: Spot = match own.matches[at].uri {
            Some(_) => cx.spot(&document.meta, &path.to("uri")),
            None => cx.spot(&document.meta, &path),
        };
        let message = match everywhere {
            true => "this match fits none of the entry that delegates here, so its entry is dropped".to_owned(),
            false => format!("under {} this match fits none, so its entry is dropped there", root.meta.resource),
        };
        let complaint = Diagnostic::warning(codes::DELEGATE_DROPPED, &document.meta.resource, &spot, message);
        cx.tell(complaint.label(&delegating.spot, "this one delegates"));
    }
}
