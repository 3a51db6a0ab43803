//! DestinationRules of one host that drop, hide or shadow one another.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::counted::counted;

use super::super::Checking;
use super::MOST_COMPARED;
use crate::codes;
use crate::compile::names::{complete, is_wildcard, within};
use crate::compile::objects::age;
use crate::compile::services::service::Service;
use crate::diagnostic::Diagnostic;
use crate::locations::way;
use crate::resources::DestinationRule;
use crate::source::Spot;

pub(super) fn check(cx: &Checking<'_>) {
    let mut hosts: BTreeMap<(String, String), Vec<&DestinationRule>> = BTreeMap::new();
    for rule in cx.resources.destination_rules.iter().filter(|rule| !rule.host.value.is_empty()) {
        let host = complete(&rule.host.value, rule.meta.namespace(), cx.domain()).into_owned();
        hosts.entry((rule.meta.namespace().to_string(), host)).or_default().push(rule);
    }
    for ((_, host), rules) in hosts.iter_mut().filter(|(_, rules)| rules.len() > 1) {
        rules.sort_by_cached_key(|rule| age(&rule.meta));
        merged(cx, host, rules);
        hidden(cx, host, rules);
    }
    shadowed(cx, &hosts);
}

/// Istio: rules of one host are merged into the oldest; a policy is taken whole or not at all, a subset by its name.
fn merged(cx: &Checking<'_>, host: &str, rules: &[&DestinationRule]) {
    for (at, rule) in rules.iter().enumerate().skip(1) {
        let comparable = |older: &&&DestinationRule| {
            older.workload_selector == rule.workload_selector && older.export_to == rule.export_to
        };
        let older: Vec<&&DestinationRule> = rules[..at].iter().take(MOST_COMPARED).filter(comparable).collect();
        if let (Some(policy), Some(winner)) =
            (&rule.traffic_policy, older.iter().find(|older| older.traffic_policy.is_some()))
        {
            let message = format!("this policy is dropped: {} has one for {host}, and is older", winner.meta.resource);
            let complaint = dropped(rule, &policy.spot, message);
            let used = cx.key(&winner.meta, &way!["spec", "trafficPolicy"]);
            cx.tell(complaint.label(&used, "this one is used").help("write one DestinationRule for the host"));
        }
        for subset in &rule.subsets {
            let known = older.iter().find_map(|older| {
                older.subsets.iter().find(|known| known.name.value == subset.name.value).map(|known| (older, known))
            });
            if let Some((winner, known)) = known {
                let message =
                    format!("subset {} is dropped: {} has one of that name", subset.name.value, winner.meta.resource);
                let complaint = dropped(rule, &subset.name.spot, message);
                cx.tell(complaint.label(&known.name.spot, "this one is used"));
            }
        }
    }
}

fn dropped(rule: &DestinationRule, at: &Spot, message: String) -> Diagnostic {
    Diagnostic::warning(codes::POLICY_DROPPED, &rule.meta.resource, at, message)
}

/// Istio: a workload that a selector fits uses that rule alone.
fn hidden(cx: &Checking<'_>, host: &str, rules: &[&DestinationRule]) {
    let seen = |rule: &&&DestinationRule| rule.workload_selector.is_none() && cx.sees_rule(rule.meta.namespace(), rule);
    let Some(general) = rules.iter().find(seen) else { return };
    for rule in rules.iter().filter(|rule| rule.workload_selector.is_some()) {
        let lacks = |name: &str| !rule.subsets.iter().any(|known| **known.name == *name);
        let lost: Vec<&str> = general.subsets.iter().map(|subset| &**subset.name).filter(|name| lacks(name)).collect();
        let policy = general.traffic_policy.is_some() && rule.traffic_policy.is_none();
        if lost.is_empty() && !policy {
            continue;
        }
        let what = match (lost.is_empty(), policy) {
            (false, true) => format!("subset {} and the policy", super::list(&lost)),
            (false, false) => format!("subset {}", super::list(&lost)),
            (true, _) => "the policy".into(),
        };
        let message = format!("workloads that this selector fits lose {what} of {} for {host}", general.meta.resource);
        let path = way!["spec", "workloadSelector"];
        let complaint = cx.warning(codes::RULE_HIDDEN_BY_SELECTOR, &rule.meta, &path, message);
        cx.tell(complaint.label(&general.host.spot, "the general rule").help("repeat here what they need"));
    }
}

/// Istio: the namespace of the caller is searched first, and any match there ends the search.
fn shadowed(cx: &Checking<'_>, hosts: &BTreeMap<(String, String), Vec<&DestinationRule>>) {
    for ((namespace, pattern), rules) in hosts.iter().filter(|((_, host), _)| is_wildcard(host)) {
        let Some(view) = cx.view(namespace) else { continue };
        if **namespace == *view.site.root_namespace {
            continue;
        }
        let owned = |host: &str, owner: &str| hosts.get(&(owner.to_owned(), host.to_owned()));
        let covered = view.catalog.services().iter().filter(|service| {
            *service.namespace != **namespace
                && within(&service.host, pattern)
                && owned(&service.host, namespace).is_none()
        });
        let seen = |rules: &'_ [&'_ DestinationRule]| rules.iter().position(|rule| cx.sees_rule(namespace, rule));
        let theirs = |service: &Service| {
            let rules = owned(&service.host, &service.namespace)?;
            seen(rules).map(|at| rules[at])
        };
        let hidden: Vec<_> = covered.filter_map(|service| Some((service, theirs(service)?))).collect();
        let (Some((service, theirs)), Some(own)) = (hidden.first(), seen(rules)) else { continue };
        let more = match hidden.len() {
            1 => String::new(),
            n => format!(", and those of {}", counted(n - 1, "other service")),
        };
        let rule: &DestinationRule = rules[own];
        let message = format!("for callers in {namespace} this puts {} out of force{more}", theirs.meta.resource);
        let spot = &rule.host.spot;
        let complaint = Diagnostic::warning(codes::RULE_SHADOWED, &rule.meta.resource, spot, message);
        let text: Arc<str> = format!("the rule of {}'s owner", service.host).into();
        cx.tell(complaint.label(&theirs.host.spot, &*text));
    }
}
