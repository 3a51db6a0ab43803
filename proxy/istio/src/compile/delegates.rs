//! Delegation: the rules of VirtualServices without hosts, put in the place of the entries that lead to them.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::compile::names::complete;
use crate::compile::site::Site;
use crate::resources::virtual_service::{Delegate, Headers, HttpAction, HttpMatch, HttpRoute, StringMatch};
use crate::resources::{Labels, Meta, Resources, VirtualService};

/// The rules of a VirtualService in order, each with the object that it is written in.
#[derive(Clone)]
pub(crate) enum Rules<'r> {
    /// As they are written.
    Written(&'r VirtualService),
    /// With those of its delegates.
    Merged(Rc<[Merged<'r>]>),
}

/// A rule, after delegation.
pub(crate) struct Merged<'r> {
    /// The object that it is written in.
    meta: &'r Meta,
    entry: HttpRoute,
    /// The entry that led there, with its object, if it is of a delegate.
    root: Option<(&'r Meta, &'r HttpRoute)>,
}

impl<'r> Rules<'r> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Meta, &HttpRoute)> {
        self.with_roots().map(|(meta, entry, _)| (meta, entry))
    }

    /// The same, each with the entry that led to it.
    pub(crate) fn with_roots(&self) -> impl Iterator<Item = (&Meta, &HttpRoute, Option<(&'r Meta, &'r HttpRoute)>)> {
        let (written, merged) = match self {
            Rules::Written(document) => (Some(*document), &[][..]),
            Rules::Merged(rules) => (None, &rules[..]),
        };
        let written =
            written.into_iter().flat_map(|document| document.http.iter().map(|entry| (&document.meta, entry, None)));
        written.chain(merged.iter().map(|rule| (rule.meta, &rule.entry, rule.root)))
    }
}

/// VirtualServices that others can delegate to, by namespace and name.
pub(crate) struct Delegates<'r, 's> {
    by_name: HashMap<(&'r str, &'r str), &'r VirtualService>,
    site: &'s Site,
}

impl<'r, 's> Delegates<'r, 's> {
    pub(crate) fn gather(resources: &'r Resources, site: &'s Site) -> Self {
        let all = resources.virtual_services.iter().filter(|document| document.hosts.is_empty());
        let named = all.map(|document| ((&**document.meta.namespace(), &**document.meta.name()), &**document));
        Self { by_name: named.collect(), site }
    }

    /// The rules of a VirtualService with those of its delegates.
    /// Istio: an entry whose delegate is not there, or not exported to the namespace, vanishes.
    pub(crate) fn rules(&self, root: &'r VirtualService) -> Rules<'r> {
        if !root.http.iter().any(|entry| matches!(entry.action, HttpAction::Delegate(_))) {
            return Rules::Written(root);
        }
        let mut rules = Vec::new();
        for written in &root.http {
            let mut entry = written.clone();
            let HttpAction::Delegate(delegate) = &written.action else {
                rules.push(Merged { meta: &root.meta, entry, root: None });
                continue;
            };
            let Some(document) = self.find(root, delegate) else { continue };
            self.complete_mirrors(&mut entry, root.meta.namespace());
            let merged = document.http.iter().filter_map(|own| merge(&entry, delegate, own));
            let led = Some((&root.meta, written));
            rules.extend(merged.map(|entry| Merged { meta: &document.meta, entry, root: led }));
        }
        Rules::Merged(rules.into())
    }

    /// The VirtualServices that a root delegates to.
    pub(crate) fn of(&self, root: &'r VirtualService) -> impl Iterator<Item = &'r VirtualService> {
        root.http.iter().filter_map(move |entry| match &entry.action {
            HttpAction::Delegate(delegate) => self.find(root, delegate),
            _ => None,
        })
    }

    /// The VirtualService that an entry leads to, if it is there and exported to the root's namespace.
    pub(crate) fn find(&self, root: &VirtualService, delegate: &Delegate) -> Option<&'r VirtualService> {
        let namespace = delegate.namespace.as_ref().map_or(root.meta.namespace(), |namespace| &namespace.value);
        let document = *self.by_name.get(&(&**namespace, &*delegate.name.value))?;
        self.site.mesh.reach_of_routes(document, root.meta.namespace()).map(|_| document)
    }

    /// What an entry hands on to its delegate is completed with its own namespace, not with the delegate's.
    fn complete_mirrors(&self, entry: &mut HttpRoute, namespace: &str) {
        for mirror in &mut entry.mirrors {
            let host = &mut mirror.destination.host;
            host.value = Arc::from(&*complete(&host.value, namespace, &self.site.cluster_domain));
        }
    }
}

/// An entry of a delegate, with what the root's entry adds. Istio: the delegate's block goes before the root's, each as a
/// whole; a redirect is not handed on. `None` when a match of the delegate cannot hold together with any of the root's.
fn merge(root: &HttpRoute, delegate: &Delegate, own: &HttpRoute) -> Option<HttpRoute> {
    let action = match (&own.action, &delegate.direct) {
        (HttpAction::Delegate(_), _) => return None,
        (HttpAction::Route(_), Some(direct)) => HttpAction::Direct((**direct).clone()),
        (action, _) => action.clone(),
    };
    Some(HttpRoute {
        spot: own.spot.clone(),
        name: joined(&root.name, &own.name),
        matches: merge_matches(&root.matches, &own.matches)?,
        action,
        rewrite: own.rewrite.clone().or_else(|| root.rewrite.clone()),
        timeout: own.timeout.or(root.timeout),
        retries: own.retries.clone().or_else(|| root.retries.clone()),
        fault: own.fault.clone().or_else(|| root.fault.clone()),
        mirrors: if own.mirrors.is_empty() { root.mirrors.clone() } else { own.mirrors.clone() },
        cors: own.cors.clone().or_else(|| root.cors.clone()),
        headers: if own.headers == Headers::default() { root.headers.clone() } else { own.headers.clone() },
    })
}

/// Istio: `root-delegate`, or the one that is there.
fn joined(root: &Arc<str>, own: &Arc<str>) -> Arc<str> {
    match (root.is_empty(), own.is_empty()) {
        (_, true) => root.clone(),
        (true, false) => own.clone(),
        (false, false) => format!("{root}-{own}").into(),
    }
}

/// Istio: every pair that can hold together; each of the delegate's matches must be in one.
fn merge_matches(root: &[HttpMatch], own: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() || own.is_empty() {
        return Some(if root.is_empty() { own.to_vec() } else { root.to_vec() });
    }
    let mut merged = Vec::new();
    for own in own {
        let before = merged.len();
        merged.extend(root.iter().filter(|root| fits(root, own)).map(|root| merge_match(root, own)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

pub(crate) fn fits(root: &HttpMatch, own: &HttpMatch) -> bool {
    let each = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let named = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    each.into_iter()
        .all(|(root, own)| root.as_ref().zip(own.as_ref()).is_none_or(|(root, own)| patterns_fit(root, own)))
        && named.into_iter().all(|(root, own)| {
            own.iter()
                .all(|(name, own)| root.iter().filter(|(n, _)| n == name).all(|(_, root)| patterns_fit(root, own)))
        })
        && root.ignore_uri_case == own.ignore_uri_case
        && root.port.zip(own.port).is_none_or(|(root, own)| root == own)
        && root.source_namespace.as_ref().zip(own.source_namespace.as_ref()).is_none_or(|(root, own)| root == own)
        && own.source_labels.iter().all(|(key, own)| root.source_labels.get(key).is_none_or(|root| root == own))
        && (root.gateways.is_empty() || own.gateways.iter().all(|gateway| root.gateways.contains(gateway)))
}

/// Istio: nothing is narrower than an expression, an exact text only itself, a prefix a longer one or a text that begins so.
fn patterns_fit(root: &StringMatch, own: &StringMatch) -> bool {
    match (root, own) {
        (StringMatch::Present, _) => true,
        (StringMatch::Regex(_), own) => matches!(own, StringMatch::Present),
        (_, StringMatch::Regex(_)) => false,
        (StringMatch::Exact(root), StringMatch::Exact(own)) => root == own,
        (StringMatch::Prefix(root), StringMatch::Exact(own) | StringMatch::Prefix(own)) => own.starts_with(&**root),
        (StringMatch::Exact(_), StringMatch::Prefix(_) | StringMatch::Present)
        | (StringMatch::Prefix(_), StringMatch::Present) => false,
    }
}

fn merge_match(root: &HttpMatch, own: &HttpMatch) -> HttpMatch {
    let or = |own: &Option<StringMatch>, root: &Option<StringMatch>| own.clone().or_else(|| root.clone());
    HttpMatch {
        spot: own.spot.clone(),
        name: joined(&root.name, &own.name),
        uri: or(&own.uri, &root.uri),
        ignore_uri_case: own.ignore_uri_case,
        scheme: or(&own.scheme, &root.scheme),
        method: or(&own.method, &root.method),
        authority: or(&own.authority, &root.authority),
        headers: union(&root.headers, &own.headers),
        without_headers: union(&root.without_headers, &own.without_headers),
        query_params: union(&root.query_params, &own.query_params),
        port: own.port.or(root.port),
        source_labels: labels(&root.source_labels, &own.source_labels),
        source_namespace: own.source_namespace.clone().or_else(|| root.source_namespace.clone()),
        gateways: if own.gateways.is_empty() { root.gateways.clone() } else { own.gateways.clone() },
    }
}

/// Both lists in order of name; the delegate's goes before the root's of the same name.
fn union(root: &[(Arc<str>, StringMatch)], own: &[(Arc<str>, StringMatch)]) -> Vec<(Arc<str>, StringMatch)> {
    let inherited = root.iter().filter(|(name, _)| own.iter().all(|(n, _)| n != name));
    let mut all: Vec<_> = own.iter().chain(inherited).cloned().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn labels(root: &Labels, own: &Labels) -> Labels {
    let mut all = root.clone();
    all.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}
