//! What an explanation takes from the text of the configuration: where each condition is written, which rules are for
//! other callers, and which block of which DestinationRule each setting is from.

use leeboard_istio::compile::{
    Provenance, Settings, Site, WrittenRule, definition, places, provenance, rules_as_written, unclaimed, unused,
};
use leeboard_istio::resources::Resources;
use leeboard_istio::source::Source;
use leeboard_policy::cluster::Discovery;
use leeboard_policy::snapshot::Snapshot;
use leeboard_sim::explain::{Explanation, Setting, Tried};

/// A configuration as it is written, and where a proxy stands that `snapshot`s were compiled for.
pub(crate) struct ConfigSources<'t> {
    /// The objects in force.
    pub(crate) resources: &'t Resources,
    /// Where the proxy stands.
    pub(crate) site: &'t Site,
    /// What the objects were read from.
    pub(crate) sources: &'t [Source],
}

impl ConfigSources<'_> {
    /// Adds what they tell to an explanation by a snapshot that was compiled from them.
    pub(crate) fn complete(&self, told: &mut Explanation, snapshot: &Snapshot) {
        self.settings(told, snapshot);
        if told.came.passes.is_some() {
            let found = unclaimed(self.resources, self.site, &told.came.host, told.came.port);
            told.unused = found.into_iter().map(|u| (u.origin, u.why)).collect();
            told.definition = definition(self.resources, self.site, &told.came.host, told.came.port);
        }
        let host = told.host.as_ref().and_then(|_| snapshot.host(told.came.port, &told.came.host));
        let Some(host) = host else { return };
        told.unused = unused(self.resources, self.site, host).into_iter().map(|u| (u.origin, u.why)).collect();
        let rules = rules_as_written(self.resources, self.site, host);
        let last = told.rule.as_ref().and_then(|_| told.tried.last()).map_or(usize::MAX, |tried| tried.place);
        let lacking = rules.iter().filter(|rule| rule.place < last).filter_map(absent);
        told.absent = lacking.collect();
        self.place(told, &rules);
    }

    /// Where the cluster's settings are from, and why it has no endpoint.
    fn settings(&self, told: &mut Explanation, snapshot: &Snapshot) {
        let Some(cluster) = &mut told.cluster else { return };
        let Some(id) = snapshot.cluster_named(&cluster.name) else { return };
        let Settings { blocks, labels } = provenance(self.resources, self.sources, self.site, snapshot.cluster(id));
        let setting = |p: Provenance| Setting { block: p.block.to_owned(), part: p.part, origin: p.origin };
        told.settings = blocks.into_iter().map(setting).collect();
        let of_kubernetes = cluster.origin.resource.starts_with("Service ");
        let is_bare = |id| matches!(&snapshot.cluster(id).discovery, Discovery::Static(all) if all.is_empty());
        let all = cluster.name.replacen(&format!("|{}|", cluster.subset), "||", 1);
        if of_kubernetes && snapshot.cluster_named(&all).is_some_and(is_bare) {
            // Which route is taken was asked, and that is as told.
            cluster.why_empty = Some(format!(
                "the configuration holds none for {}; they live in the cluster: add its EndpointSlices (kubectl get \
                 endpointslices -o yaml)",
                cluster.origin.resource
            ));
        } else if cluster.endpoints.is_empty() && !cluster.subset.is_empty() {
            let whole = cluster.name.replacen(&format!("|{}|", cluster.subset), "||", 1);
            let all = snapshot.cluster_named(&whole).map(|id| snapshot.cluster(id));
            let number = all.and_then(|all| match &all.discovery {
                Discovery::Static(all) => Some(all.len()),
                _ => None,
            });
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            cluster.why_empty = number.filter(|_| !labels.is_empty()).map(|number| {
                format!("{number} of the service's endpoints are known, and none carries {}", labels.join(","))
            });
        }
    }

    /// Finds where what does not hold is written.
    fn place(&self, told: &mut Explanation, rules: &[WrittenRule]) {
        let (here, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.lacking.is_none());
        for tried in &mut told.tried {
            tried.root = here.get(tried.place - 1).and_then(|rule| rule.root.clone());
        }
        let tried = told.tried.iter_mut().filter_map(|tried| Some((*here.get(tried.place - 1)?, tried)));
        let absent = others.into_iter().zip(&mut told.absent);
        let (rules, tried): (Vec<_>, Vec<_>) = tried.chain(absent).filter(|(_, tried)| tried.part.is_some()).unzip();
        let parts: Vec<_> =
            rules.into_iter().zip(tried.iter().map(|tried| tried.part.as_deref().unwrap_or_default())).collect();
        let found = places(&parts, self.sources);
        tried.into_iter().zip(found).for_each(|(tried, at)| tried.at = at);
    }
}

/// A rule that the proxy does not have, as one that was tried.
fn absent(rule: &WrittenRule) -> Option<Tried> {
    let lacking = rule.lacking.clone()?;
    Some(Tried {
        place: rule.place + 1,
        name: rule.name.to_string(),
        origin: rule.origin.clone(),
        root: rule.root.clone(),
        part: Some(lacking.part),
        wanted: lacking.wanted,
        is: lacking.is,
        at: None,
        holds: Vec::new(),
    })
}
