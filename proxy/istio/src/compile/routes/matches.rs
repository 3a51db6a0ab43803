//! `match`: whether it can hold for this proxy at all, and what a request must look like.

use std::collections::BTreeSet;
use std::sync::Arc;

use leeboard_policy::pattern::{HeaderMatch, PathMatch, Pattern, QueryMatch};
use leeboard_policy::route::Match;

use crate::compile::site::Site;
use crate::resources::virtual_service::{HttpMatch, StringMatch};

/// Which gateways a proxy is.
#[derive(Clone, Copy)]
pub(crate) enum Place<'g> {
    /// None: it is a sidecar, of the gateway `mesh`.
    Mesh,
    /// Those of these names, as `namespace/name`.
    Edge(&'g BTreeSet<String>),
}

impl Place<'_> {
    /// Whether a gateway that an object of a namespace names is this proxy.
    pub(crate) fn is(self, gateway: &str, namespace: &str) -> bool {
        match self {
            Place::Mesh => gateway == "mesh",
            Place::Edge(names) => gateway != "mesh" && names.contains(&full_gateway(gateway, namespace)),
        }
    }
}

/// Istio: a gateway is `namespace/name`; `.` and no namespace are the object's own; a host name is the old way.
pub(crate) fn full_gateway(gateway: &str, namespace: &str) -> String {
    match gateway.split_once('/') {
        Some((".", name)) => format!("{namespace}/{name}"),
        Some(_) => gateway.to_owned(),
        None => match gateway.split_once('.') {
            Some((name, rest)) => format!("{}/{name}", rest.split('.').next().unwrap_or_default()),
            None => format!("{namespace}/{gateway}"),
        },
    }
}

/// Why a match cannot hold for a proxy, whatever the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unfit<'m> {
    /// The port that callers address is another.
    Port(u16),
    /// It is for other gateways.
    Gateways(&'m [Arc<str>]),
    /// The workload lacks a label, or has another value.
    Label(&'m Arc<str>, &'m Arc<str>),
    /// The workload is of another namespace.
    Namespace(&'m Arc<str>),
}

/// Whether a match can hold for the workload on a port.
pub(crate) fn is_for(rule: &HttpMatch, port: u16, place: Place<'_>, namespace: &str, site: &Site) -> bool {
    unfit(rule, port, place, namespace, site).is_none()
}

/// The first reason why a match cannot hold for the workload on a port. Istio: when `gateways` is written it alone decides,
/// and labels and namespace are not looked at.
pub(crate) fn unfit<'m>(
    rule: &'m HttpMatch,
    port: u16,
    place: Place<'_>,
    namespace: &str,
    site: &Site,
) -> Option<Unfit<'m>> {
    if let Some(wanted) = rule.port.filter(|wanted| *wanted != port) {
        return Some(Unfit::Port(wanted));
    }
    if !rule.gateways.is_empty() {
        let fits = rule.gateways.iter().any(|gateway| place.is(gateway, namespace));
        return (!fits).then_some(Unfit::Gateways(&rule.gateways));
    }
    let workload = &site.workload;
    let missing = rule.source_labels.iter().find(|(key, value)| workload.labels.get(*key) != Some(value));
    let other = rule.source_namespace.as_ref().filter(|namespace| **namespace != workload.namespace);
    missing.map(|(key, value)| Unfit::Label(key, value)).or_else(|| other.map(Unfit::Namespace))
}

/// Translates a match.
pub(crate) fn translate(rule: &HttpMatch) -> Match {
    Match {
        path: path(rule.uri.as_ref(), rule.ignore_uri_case),
        method: rule.method.as_ref().map(boxed),
        scheme: rule.scheme.as_ref().map(boxed),
        authority: rule.authority.as_ref().map(boxed),
        headers: headers(&rule.headers),
        without_headers: headers(&rule.without_headers),
        query: rule
            .query_params
            .iter()
            .map(|(name, value)| QueryMatch { name: name.clone(), value: pattern(value) })
            .collect(),
    }
}

/// Whether nothing behind a match can be reached. Istio: prefix `/`, or regex `.*`, and no other condition.
pub(crate) fn is_catch_all(when: &Match) -> bool {
    let path = match &when.path {
        PathMatch::Any => true,
        PathMatch::Prefix(prefix) | PathMatch::PrefixIgnoreCase(prefix) => &**prefix == "/",
        PathMatch::Regex(regex) => regex.as_str() == ".*",
        PathMatch::Exact(_) | PathMatch::ExactIgnoreCase(_) => false,
    };
    let plain = when.method.is_none() && when.scheme.is_none() && when.authority.is_none();
    path && plain && when.headers.is_empty() && when.without_headers.is_empty() && when.query.is_empty()
}

fn path(uri: Option<&StringMatch>, ignore_case: bool) -> PathMatch {
    match uri {
        None | Some(StringMatch::Present) => PathMatch::Any,
        Some(StringMatch::Exact(text)) if ignore_case => PathMatch::ExactIgnoreCase(text.clone()),
        Some(StringMatch::Exact(text)) => PathMatch::Exact(text.clone()),
        Some(StringMatch::Prefix(text)) if ignore_case => PathMatch::PrefixIgnoreCase(text.clone()),
        Some(StringMatch::Prefix(text)) => PathMatch::Prefix(text.clone()),
        Some(StringMatch::Regex(regex)) => PathMatch::Regex((**regex).clone()),
    }
}

fn boxed(text: &StringMatch) -> Box<Pattern> {
    Box::new(pattern(text))
}

pub(crate) fn pattern(text: &StringMatch) -> Pattern {
    match text {
        StringMatch::Present => Pattern::Present,
        StringMatch::Exact(text) => Pattern::Exact(text.clone()),
        StringMatch::Prefix(text) => Pattern::Prefix(text.clone()),
        StringMatch::Regex(regex) => Pattern::Regex((**regex).clone()),
    }
}

fn headers(wanted: &[(Arc<str>, StringMatch)]) -> Vec<HeaderMatch> {
    wanted.iter().map(|(name, value)| HeaderMatch { name: name.clone(), value: pattern(value) }).collect()
}
