//! Subsets that no rule defines, and subsets that no endpoint belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Checking, list};
use super::destinations;
use super::hosts::Lost;
use crate::compile::clusters::policy::Rule;
use crate::compile::names::{cluster_parts, complete};
use crate::compile::report::view::View;
use crate::diagnostic::Diagnostic;
use crate::locations::way;
use crate::resources::{DestinationRule, VirtualService};
use crate::source::Located;
use crate::{codes, names};

/// A subset that is named, and the rule in which it is looked for.
struct Named<'r, 'v> {
    document: &'r VirtualService,
    subset: &'r Located<Arc<str>>,
    host: String,
    rule: Option<&'v Rule<'r>>,
    elsewhere: Option<&'v Rule<'r>>,
}

pub(super) fn check<'r>(cx: &Checking<'r>, lost: &Lost<'r>) {
    let mut missing = Vec::new();
    let mut used: BTreeSet<(String, &str)> = BTreeSet::new();
    for document in &cx.resources.virtual_services {
        let Some(view) = cx.view(document.meta.namespace()) else { continue };
        for (_, destination) in destinations(document).filter(|(_, destination)| !destination.host.value.is_empty()) {
            let Some(subset) = &destination.subset else { continue };
            let host = complete(&destination.host.value, document.meta.namespace(), cx.domain());
            let host = view.catalog.resolve(&host).to_owned();
            let rule = in_force(view, &host, cx.domain());
            if rule.is_some_and(|rule| rule.subset(&subset.value).is_some()) {
                used.insert((host, &subset.value));
            } else if !is_excused(cx, view, &host, &subset.value, rule, lost) {
                let elsewhere = view.policies.elsewhere(&host, &subset.value);
                missing.push(Named { document, subset, host, rule, elsewhere });
            }
        }
    }
    let blamed = blame_rules(cx, &missing, &used);
    for one in missing.iter().filter(|one| !blamed.contains(&(&*one.host, &*one.subset.value))) {
        cx.tell(complaint(cx, one));
    }
}

fn in_force<'v, 'r>(view: &'v View<'r>, host: &str, domain: &str) -> Option<&'v Rule<'r>> {
    let namespace = view.catalog.find(host).map(|service| &*service.namespace);
    let namespace = namespace.or_else(|| cluster_parts(host, domain).map(|(_, namespace)| namespace));
    view.policies.outbound(host, namespace.unwrap_or_default())
}

/// Whether the fault is not the route's: the host is unknown, its rule is misspelt or broken, or is for some callers only.
fn is_excused(
    cx: &Checking<'_>,
    view: &View<'_>,
    host: &str,
    subset: &str,
    rule: Option<&Rule<'_>>,
    lost: &Lost<'_>,
) -> bool {
    let has = |rule: &DestinationRule| rule.subsets.iter().any(|known| **known.name == *subset);
    if lost.rules.get(host).is_some_and(|rules| rules.iter().any(|rule| has(rule))) {
        return true;
    }
    if view.catalog.find(host).is_none() && rule.is_none() {
        return true;
    }
    let own = &view.site.workload.namespace;
    let selected = |rule: &&Arc<DestinationRule>| {
        rule.workload_selector.is_some()
            && rule.meta.namespace() == own
            && *complete(&rule.host.value, own, cx.domain()) == *host
    };
    if cx.resources.destination_rules.iter().filter(selected).any(|rule| has(rule)) {
        return true;
    }
    match rule {
        // What is wrong in the rule itself has been told, and may be just this.
        Some(rule) => {
            let known = rule.subsets.iter().map(|known| &**known.name);
            cx.is_rejected(&rule.document.meta.id)
                && (rule.subsets.is_empty()
                    || names::nearest(subset, known).is_some()
                    || cx.is_broken(&rule.document.meta))
        }
        None => {
            let blank = |rule: &&Arc<DestinationRule>| rule.host.value.is_empty() && rule.meta.namespace() == own;
            cx.resources.destination_rules.iter().filter(blank).any(|rule| has(rule))
        }
    }
}

/// Subsets that no route names, when several routes name one that is nearly the same and not there; the names so explained.
fn blame_rules<'n>(
    cx: &Checking<'_>,
    missing: &'n [Named<'_, '_>],
    used: &BTreeSet<(String, &str)>,
) -> BTreeSet<(&'n str, &'n str)> {
    let mut users: BTreeMap<(&str, &str), Vec<&Named<'_, '_>>> = BTreeMap::new();
    for one in missing.iter().filter(|one| one.elsewhere.is_none()) {
        users.entry((&one.host, &one.subset.value)).or_default().push(one);
    }
    let mut blamed = BTreeSet::new();
    for ((host, subset), users) in users.into_iter().filter(|(_, users)| users.len() > 1) {
        let Some(rule) = users[0].rule else { continue };
        let unused = rule.subsets.iter().filter(|known| !used.contains(&(host.to_owned(), &*known.name.value)));
        let Some(near) = names::nearest(subset, unused.map(|known| &*known.name.value)) else { continue };
        let Some(known) = rule.subset(near) else { continue };
        let message = format!("no route names subset {near}, and {subset}, which {} name, is not there", users.len());
        let resource = &rule.document.meta.resource;
        let mut complaint =
            Diagnostic::error(codes::UNKNOWN_SUBSET, resource, &known.name.spot, message).ist("IST0101");
        for user in users.iter().take(2) {
            complaint = complaint.label(&user.subset.spot, "it is called so here");
        }
        cx.tell(complaint.help(format!("did you mean `{subset}`?")));
        blamed.insert((host, subset));
    }
    blamed
}

fn complaint(cx: &Checking<'_>, one: &Named<'_, '_>) -> Diagnostic {
    let (resource, subset, host) = (&one.document.meta.resource, &one.subset.value, &one.host);
    let Some(rule) = one.rule else {
        let message = format!("no DestinationRule for {host} defines subset {subset}");
        let complaint = Diagnostic::warning(codes::UNKNOWN_SUBSET, resource, &one.subset.spot, message).ist("IST0101");
        return match one.elsewhere {
            None => complaint.help(format!("define it under `subsets` of a DestinationRule for {host}")),
            Some(other) => {
                let hidden = format!("{} has it, and is not for this namespace", other.document.meta.resource);
                complaint.label(&other.document.host.spot, hidden)
            }
        };
    };
    let document = &rule.document.meta;
    let message = format!("{} has no subset {subset}", document.resource);
    let complaint = Diagnostic::error(codes::UNKNOWN_SUBSET, resource, &one.subset.spot, message).ist("IST0101");
    let known: Vec<&str> = rule.subsets.iter().map(|known| &*known.name.value).collect();
    let complaint = match known.is_empty() {
        true => complaint.label(&rule.document.host.spot, "the rule in force for this host has none"),
        false => {
            let there = cx.key(document, &way!["spec", "subsets"]);
            complaint.label(&there, format!("{host} has {}, defined here", list(&known)))
        }
    };
    if let Some(other) = one.elsewhere {
        let text = format!("{} has it, and is not in force here", other.document.meta.resource);
        return complaint.label(&other.document.host.spot, text);
    }
    // Of `v1` and `v2` neither is nearer to `v3`; the label lists them.
    match names::nearest(subset, known.iter().copied()).filter(|_| subset.len() > 2) {
        Some(near) => complaint.help(format!("did you mean `{near}`?")),
        None => complaint,
    }
}
