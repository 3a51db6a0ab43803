//! Which DestinationRule is in force for a service: lookup by namespace, merging, and selectors.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::names::{by_specificity, complete, is_wildcard, within};
use super::visibility::reach;
use super::{Site, age, selects};
use crate::resources::destination_rule::{Subset, TrafficPolicy};
use crate::resources::{DestinationRule, Labels, Resources};

/// One DestinationRule, or several of the same host merged into the first.
#[derive(Clone)]
pub(crate) struct Rule<'r> {
    /// The document that the others are merged into.
    pub(crate) document: &'r DestinationRule,
    /// The policy of the first document that has one, as a whole.
    pub(crate) policy: Option<&'r TrafficPolicy>,
    /// All subsets; of two of one name the first.
    pub(crate) subsets: Vec<&'r Subset>,
    export_to: BTreeSet<&'r str>,
}

impl<'r> Rule<'r> {
    fn new(document: &'r DestinationRule) -> Self {
        // Istio: a rule with a selector is of its own namespace only, whatever it says.
        let export_to = match document.workload_selector {
            Some(_) => BTreeSet::from(["."]),
            None => document.export_to.iter().map(|entry| &**entry).collect(),
        };
        let policy = document.traffic_policy.as_deref();
        let mut rule = Self { document, policy, subsets: Vec::new(), export_to };
        rule.take_subsets(&document.subsets);
        rule
    }

    fn take_subsets(&mut self, subsets: impl IntoIterator<Item = &'r Subset>) {
        for subset in subsets {
            if self.subset(&subset.name.value).is_none() {
                self.subsets.push(subset);
            }
        }
    }

    /// Istio: subsets are added, and a policy is taken whole or not at all.
    fn absorb(&mut self, other: &Rule<'r>) {
        self.take_subsets(other.subsets.iter().copied());
        self.policy = self.policy.or(other.policy);
    }

    fn selector(&self) -> Option<&'r Labels> {
        self.document.workload_selector.as_ref()
    }

    /// A subset by name.
    pub(crate) fn subset(&self, name: &str) -> Option<&'r Subset> {
        self.subsets.iter().copied().find(|subset| &**subset.name == name)
    }
}

/// The rules of one namespace by host.
#[derive(Default)]
struct Namespace<'r> {
    exact: HashMap<Arc<str>, Vec<Rule<'r>>>,
    /// The most specific first.
    wildcard: Vec<(Arc<str>, Vec<Rule<'r>>)>,
}

impl<'r> Namespace<'r> {
    /// The rules of the most specific host that covers a service, among those that `admits` lets through.
    fn most_specific(&self, host: &str, admits: impl Fn(&Rule<'r>) -> bool) -> Option<&[Rule<'r>]> {
        let fits = |rules: &[Rule<'r>]| rules.iter().any(&admits);
        let exact = self.exact.get(host).map(Vec::as_slice).filter(|rules| fits(rules));
        exact.or_else(|| {
            let covering = self.wildcard.iter().filter(|(pattern, _)| within(host, pattern));
            covering.map(|(_, rules)| rules.as_slice()).find(|rules| fits(rules))
        })
    }
}

/// All DestinationRules, merged and indexed.
pub(crate) struct Policies<'r> {
    namespaces: HashMap<Arc<str>, Namespace<'r>>,
    site: &'r Site,
}

/// Merges the rules of each namespace and host. Istio: those with a selector first, then the oldest.
pub(crate) fn gather<'r>(resources: &'r Resources, site: &'r Site) -> Policies<'r> {
    let mut documents: Vec<&DestinationRule> = resources.destination_rules.iter().map(|rule| &**rule).collect();
    documents.sort_by_cached_key(|rule| (rule.workload_selector.is_none(), age(&rule.meta)));
    let mut namespaces: HashMap<Arc<str>, Namespace<'r>> = HashMap::new();
    for document in documents {
        let host = complete(&document.host.value, document.meta.namespace(), &site.cluster_domain);
        let namespace = namespaces.entry(document.meta.namespace().clone()).or_default();
        let rules = if !is_wildcard(&host) {
            namespace.exact.entry(Arc::from(&*host)).or_default()
        } else {
            let known = namespace.wildcard.iter().position(|(pattern, _)| **pattern == *host);
            let index = known.unwrap_or_else(|| {
                namespace.wildcard.push((Arc::from(&*host), Vec::new()));
                namespace.wildcard.len() - 1
            });
            &mut namespace.wildcard[index].1
        };
        merge(rules, Rule::new(document));
    }
    for namespace in namespaces.values_mut() {
        namespace.wildcard.sort_by(|a, b| by_specificity(&a.0, &b.0));
    }
    Policies { namespaces, site }
}

/// Adds a rule to those of its host. Istio: equal selectors and equal `exportTo` make one rule of two; a wider `exportTo`
/// is merged into the narrower rule. Unlike Istio, a general rule that is merged into one with a selector also stays on
/// its own, so that workloads which the selector leaves out keep it.
fn merge<'r>(rules: &mut Vec<Rule<'r>>, new: Rule<'r>) {
    let mut stands_alone = true;
    for old in rules.iter_mut() {
        let comparable = match (old.selector(), new.selector()) {
            (Some(old), Some(new)) => old == new,
            (None, Some(_)) => false,
            (Some(_) | None, None) => true,
        };
        let wider = !old.export_to.is_empty() && old.export_to.is_subset(&new.export_to);
        if comparable && (old.export_to == new.export_to || wider) {
            old.absorb(&new);
            stands_alone &= old.selector().is_some() && new.selector().is_none();
        }
    }
    if stands_alone {
        rules.push(new);
    }
}

impl<'r> Policies<'r> {
    /// The rule in force for a service, if any. Istio: the client's namespace, the service's, the root namespace; the first
    /// with any match ends the search, even if its rule is for other workloads.
    pub(crate) fn outbound(&self, host: &str, service_namespace: &str) -> Option<&Rule<'r>> {
        self.choose(self.found(host, service_namespace)?, true)
    }

    /// A rule for a host that has a subset, whether it is in force or not; the oldest of the first namespace by name.
    pub(crate) fn elsewhere(&self, host: &str, subset: &str) -> Option<&Rule<'r>> {
        let mut names: Vec<&Arc<str>> = self.namespaces.keys().collect();
        names.sort();
        names.into_iter().find_map(|name| {
            let namespace = &self.namespaces[name];
            let wildcard = namespace.wildcard.iter().filter(|(pattern, _)| within(host, pattern));
            let rules = namespace.exact.get(host).into_iter().chain(wildcard.map(|(_, rules)| rules)).flatten();
            rules.into_iter().find(|rule| rule.subset(subset).is_some())
        })
    }

    /// The rule whose connection pool holds on the server's side. Istio: rules with a selector are for clients.
    pub(crate) fn inbound(&self, host: &str, service_namespace: &str) -> Option<&Rule<'r>> {
        self.choose(self.found(host, service_namespace)?, false)
    }

    fn found(&self, host: &str, service_namespace: &str) -> Option<Vec<&Rule<'r>>> {
        let client = &*self.site.workload.namespace;
        let root = &*self.site.root_namespace;
        let admits = |rule: &Rule<'r>| client != root || self.is_private(rule, root);
        let own = self.namespaces.get(client).and_then(|rules| rules.most_specific(host, admits));
        if let Some(rules) = own {
            return Some(rules.iter().filter(|rule| admits(rule)).collect());
        }
        [service_namespace, root].into_iter().find_map(|owner| {
            // Istio: the host is matched before it is asked who sees the rule.
            let rules = self.namespaces.get(owner)?.most_specific(host, |_| true)?;
            let seen: Vec<_> = rules.iter().filter(|rule| self.is_seen(rule, owner, client)).collect();
            (!seen.is_empty()).then_some(seen)
        })
    }

    /// Istio: the first rule whose selector fits the workload, else the last without one.
    fn choose<'s>(&self, rules: Vec<&'s Rule<'r>>, outbound: bool) -> Option<&'s Rule<'r>> {
        let workload = &self.site.workload;
        let selected = rules.iter().find(|rule| {
            let local = rule.document.meta.namespace() == &workload.namespace;
            rule.selector().is_some_and(|selector| outbound && local && selects(selector, &workload.labels))
        });
        selected.or_else(|| rules.iter().rfind(|rule| rule.selector().is_none())).copied()
    }

    /// Istio: who sees a rule that does not say so is for the mesh to say, but only here: rules that say different things are
    /// not merged.
    fn exported<'s>(&'s self, rule: &'s Rule<'r>) -> Vec<&'s str> {
        let default = &self.site.mesh.destination_rule_export_to;
        match rule.export_to.is_empty() {
            true => default.iter().map(|entry| &**entry).collect(),
            false => rule.export_to.iter().copied().collect(),
        }
    }

    fn is_private(&self, rule: &Rule<'r>, owner: &str) -> bool {
        let export_to = self.exported(rule);
        !export_to.is_empty() && export_to.iter().all(|entry| *entry == "." || *entry == owner)
    }

    fn is_seen(&self, rule: &Rule<'r>, owner: &str, client: &str) -> bool {
        reach(&self.exported(rule), owner, client).is_some()
    }
}
