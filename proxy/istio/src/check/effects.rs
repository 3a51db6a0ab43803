//! What settings really do: computed, and compared with what their author can have meant.

mod doubles;
mod ejection;
mod faults;
mod headers;
mod limits;
mod matches;
mod namespaces;
mod paths;
mod ports;
mod retries;
mod security;
mod sidecars;
mod weights;

use super::Checking;
use crate::compile::names::{complete, is_wildcard};
use crate::compile::report::view::View;
use crate::compile::services::service::{Backends, Service};
use crate::locations::{Path, way};
use crate::resources::destination_rule::{PolicyBlocks, Subset, TrafficPolicy};
use crate::resources::virtual_service::HttpRoute;
use crate::resources::{DestinationRule, Labels, VirtualService};

pub(super) fn check(cx: &Checking<'_>) {
    for document in &cx.resources.virtual_services {
        for (at, entry) in document.http.iter().enumerate() {
            let entry = Entry { document, at, entry, path: way!["spec", "http", at] };
            retries::check(cx, &entry);
            faults::check(cx, &entry);
            weights::check(cx, &entry);
            headers::check(cx, &entry);
            paths::check(cx, &entry);
        }
        matches::check(cx, document);
    }
    for rule in &cx.resources.destination_rules {
        let scopes = scopes(cx, rule);
        for scope in &scopes {
            ejection::check(cx, scope);
            limits::check(cx, scope);
            security::check(cx, scope);
        }
        ports::check(cx, rule);
    }
    headers::names(cx);
    doubles::check(cx);
    namespaces::check(cx);
    sidecars::check(cx);
    security::users(cx);
}

/// An entry of `http`, and where it stands.
struct Entry<'r> {
    document: &'r VirtualService,
    /// Its position, from 0.
    at: usize,
    entry: &'r HttpRoute,
    path: Path,
}

/// Blocks of a policy, and the endpoints that they are for.
struct Scope<'r, 'v> {
    rule: &'r DestinationRule,
    blocks: &'r PolicyBlocks,
    path: Path,
    /// The service, when the rule is for one.
    service: Option<&'v Service>,
    /// `None` for all endpoints.
    subset: Option<&'r Subset>,
    /// `None` for all ports.
    port: Option<u16>,
}

impl Scope<'_, '_> {
    /// How many endpoints are meant, as far as they are written down; the most of all ports.
    fn endpoints(&self) -> Option<usize> {
        let everything = Labels::new();
        let labels = self.subset.map_or(&everything, |subset| &subset.labels);
        let ports = self.service?.ports.iter().filter(|port| self.port.is_none_or(|wanted| wanted == port.number));
        let count = ports.filter_map(|port| match &port.backends {
            Backends::Written(all) => Some(all.iter().filter(|spec| spec.workload.carries(labels)).count()),
            _ => None,
        });
        count.max().filter(|count| *count > 0)
    }

    /// What the blocks are for, in words.
    fn whose(&self) -> String {
        match self.subset {
            Some(subset) => format!("subset {}", subset.name.value),
            None => self.rule.host.value.to_string(),
        }
    }
}

/// Every set of blocks that a rule has.
fn scopes<'r, 'v>(cx: &'v Checking<'r>, rule: &'r DestinationRule) -> Vec<Scope<'r, 'v>> {
    let mut found = Vec::new();
    let service = service(cx, rule);
    let mut add = |policy: Option<&'r TrafficPolicy>, path: Path, subset: Option<&'r Subset>| {
        let Some(policy) = policy else { return };
        found.push(Scope { rule, blocks: &policy.blocks, path: path.clone(), service, subset, port: None });
        for (at, (port, blocks)) in policy.port_level.iter().enumerate() {
            let path = path.to("portLevelSettings").to(at);
            found.push(Scope { rule, blocks, path, service, subset, port: Some(port.value) });
        }
    };
    add(rule.traffic_policy.as_deref(), way!["spec", "trafficPolicy"], None);
    for (at, subset) in rule.subsets.iter().enumerate() {
        add(subset.traffic_policy.as_deref(), way!["spec", "subsets", at, "trafficPolicy"], Some(subset));
    }
    found
}

/// The service that a rule is for; a wildcard is for many.
fn service<'v>(cx: &'v Checking<'_>, rule: &DestinationRule) -> Option<&'v Service> {
    let host = complete(&rule.host.value, rule.meta.namespace(), cx.domain());
    let view: &View<'_> = cx.view(rule.meta.namespace())?;
    if is_wildcard(&host) { None } else { view.catalog.find(&host) }
}
