//! Which DestinationRule is in force for a service: lookup by namespace, merging, and selectors.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use crate::compile::names::{by_specificity, complete, is_wildcard, within};
use crate::compile::objects::{age, selects};
use crate::compile::site::Site;
use crate::compile::visibility::reach;
use crate::resources::destination_rule::{Subset, TrafficPolicy};
use crate::resources::{DestinationRule, Labels, Resources};

/// So many subsets are found by looking at each.
const FEW_SUBSETS: usize = 16;

/// One DestinationRule, or several of the same host merged into the first.
#[derive(Clone)]
pub(crate) struct Rule<'r> {
    /// The document that the others are merged into.
    pub(crate) document: &'r DestinationRule,
    /// The policy of the first document that has one, as a whole.
    pub(crate) policy: Option<&'r TrafficPolicy>,
    /// All subsets; of two of one name the first.
    pub(crate) subsets: Vec<&'r Subset>,
    /// Where each is, when there are many.
    index: HashMap<&'r str, usize>,
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
        let mut rule = Self { document, policy, subsets: Vec::new(), index: HashMap::new(), export_to };
        rule.take_subsets(&document.subsets);
        rule
    }

    fn take_subsets(&mut self, subsets: impl IntoIterator<Item = &'r Subset>) {
        for subset in subsets {
            if self.subset(&subset.name.value).is_none() {
                self.subsets.push(subset);
                if self.subsets.len() > FEW_SUBSETS {
                    let new = self.index.len()..self.subsets.len();
                    self.index.extend(new.map(|at| (&*self.subsets[at].name.value, at)));
                }
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
        match self.index.is_empty() {
            true => self.subsets.iter().copied().find(|subset| &**subset.name == name),
            false => self.index.get(name).map(|at| self.subsets[*at]),
        }
    }
}

/// The rules of one namespace. Istio: those that it sees itself and those that others may see are merged apart.
#[derive(Default)]
struct Namespace<'r> {
    all: ByHost<'r>,
    /// Without those that are exported to others only; `None` when there are none of that sort.
    own: Option<ByHost<'r>>,
}

impl<'r> Namespace<'r> {
    /// Those that the namespace itself sees.
    fn own(&self) -> &ByHost<'r> {
        self.own.as_ref().unwrap_or(&self.all)
    }
}

/// Rules by host, merged.
#[derive(Default)]
struct ByHost<'r> {
    exact: HashMap<Arc<str>, Vec<Rule<'r>>>,
    /// The most specific first.
    wildcard: Vec<(Arc<str>, Vec<Rule<'r>>)>,
}

impl<'r> ByHost<'r> {
    /// Merges documents of one namespace, in order.
    fn of(documents: impl IntoIterator<Item = &'r DestinationRule>, site: &Site) -> Self {
        let mut all = Self::default();
        let mut wildcard: HashMap<Arc<str>, Vec<Rule<'r>>> = HashMap::new();
        for document in documents {
            let host = complete(&document.host.value, document.meta.namespace(), &site.cluster_domain);
            let known = if is_wildcard(&host) { &mut wildcard } else { &mut all.exact };
            merge(known.entry(Arc::from(&*host)).or_default(), Rule::new(document));
        }
        all.wildcard = wildcard.into_iter().collect();
        all.wildcard.sort_by(|a, b| by_specificity(&a.0, &b.0));
        all
    }

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
    namespaces: Rc<HashMap<Arc<str>, Namespace<'r>>>,
    site: &'r Site,
}

/// Merges the rules of each namespace and host. Istio: those with a selector first, then the oldest.
pub(crate) fn gather<'r>(resources: &'r Resources, site: &'r Site) -> Policies<'r> {
    let mut documents: Vec<&DestinationRule> = resources.destination_rules.iter().map(|rule| &**rule).collect();
    documents.sort_by_cached_key(|rule| (rule.workload_selector.is_none(), age(&rule.meta)));
    let mut by_namespace: HashMap<Arc<str>, Vec<&DestinationRule>> = HashMap::new();
    for document in documents {
        by_namespace.entry(document.meta.namespace().clone()).or_default().push(document);
    }
    let namespaces = by_namespace.into_iter().map(|(namespace, documents)| {
        let is_seen = |rule: &&&DestinationRule| site.mesh.shows_rule(rule, &namespace);
        let own = documents.iter().filter(is_seen).copied();
        let own = (own.clone().count() < documents.len()).then(|| ByHost::of(own, site));
        let all = ByHost::of(documents.iter().copied(), site);
        (namespace.clone(), Namespace { all, own })
    });
    Policies { namespaces: Rc::new(namespaces.collect()), site }
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
    /// The same rules, as another site of the mesh sees them.
    pub(crate) fn at(&self, site: &'r Site) -> Self {
        Self { namespaces: self.namespaces.clone(), site }
    }

    /// The rule in force for a service, if any. Istio: the client's namespace (but what it exports to others only is not for
    /// it), the service's, the root namespace; the first with any match ends the search, even if its rule is for other workloads.
    pub(crate) fn outbound(&self, host: &str, service_namespace: &str) -> Option<&Rule<'r>> {
        self.choose(self.found(host, service_namespace)?, true)
    }

    /// A rule for a host that has a subset, whether it is in force or not; the oldest of the first namespace by name.
    pub(crate) fn elsewhere(&self, host: &str, subset: &str) -> Option<&Rule<'r>> {
        let mut names: Vec<&Arc<str>> = self.namespaces.keys().collect();
        names.sort();
        names.into_iter().find_map(|name| {
            let namespace = &self.namespaces[name].all;
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
        let own = self.namespaces.get(client).and_then(|rules| rules.own().most_specific(host, admits));
        if let Some(rules) = own {
            return Some(rules.iter().filter(|rule| admits(rule)).collect());
        }
        [service_namespace, root].into_iter().find_map(|owner| {
            // Istio: the host is matched before it is asked who sees the rule.
            let rules = self.namespaces.get(owner)?.all.most_specific(host, |_| true)?;
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
