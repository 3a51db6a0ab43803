//! Routes: the rules of a VirtualService, or of a service without one, on one port.

pub(crate) mod actions;
pub(crate) mod context;
pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod matches;
pub(crate) mod retries;

use std::sync::Arc;

use leeboard_policy::headers::HeaderOps;
use leeboard_policy::route::{Action, Destination, Forward, Match, Route, Target};

use self::context::{Complaints, Report, Scope};
use crate::compile::clusters::Clusters;
use crate::compile::delegates::Rules;
use crate::compile::services::service::Service;
use crate::resources::Meta;
use crate::resources::virtual_service::HttpRoute;

/// Translates a VirtualService for one port: a route for each match of each entry, in order, up to the first that leaves
/// nothing to those behind it. Matches that cannot hold for this workload are left out; so none may remain.
pub(crate) fn translate(rules: &Rules<'_>, scope: &Scope<'_>, complaints: &mut Complaints) -> Vec<Route> {
    let mut routes = Vec::with_capacity(rules.iter().map(|(_, entry)| entry.matches.len().max(1)).sum());
    for (meta, entry) in rules.iter() {
        if entry.matches.is_empty() {
            let route = route(meta, entry, None, Match::default(), scope, complaints);
            let last = route.is_some();
            routes.extend(route);
            if last {
                return routes;
            }
        }
        for rule in entry.matches.iter().filter(|rule| scope.admits(rule, meta)) {
            let when = matches::translate(rule);
            let last = matches::is_catch_all(&when);
            let found = route(meta, entry, Some(&rule.name), when, scope, complaints);
            let made = found.is_some();
            routes.extend(found);
            if last && made {
                return routes;
            }
        }
    }
    routes
}

fn route(
    meta: &Meta,
    entry: &HttpRoute,
    match_name: Option<&Arc<str>>,
    when: Match,
    scope: &Scope<'_>,
    complaints: &mut Complaints,
) -> Option<Route> {
    let mut report = Report { meta, spot: &entry.spot, complaints };
    let action = actions::translate(entry, &when.path, scope, &mut report)?;
    let name = name(entry, match_name);
    let cors = entry.cors.as_deref().map(|cors| Box::new(cors::translate(cors)));
    Some(Route { name, origin: meta.origin(&entry.spot), when, cors, action })
}

/// Istio: the entry's name, with `.` and the match's when that has one.
pub(crate) fn name(entry: &HttpRoute, match_name: Option<&Arc<str>>) -> Arc<str> {
    match match_name.filter(|name| !name.is_empty()) {
        Some(own) => format!("{}.{own}", entry.name).into(),
        None => entry.name.clone(),
    }
}

/// The route of a service, or of one of its endpoints, that no VirtualService claims. Istio: it is named `default`, has no timeout, and the default
/// retries.
pub(crate) fn default_route(service: &Service, host: &str, port: u16, clusters: &Clusters) -> Route {
    let cluster = clusters.target(host, port, "");
    let hashes = clusters.is_hashed(&cluster);
    let retry = clusters.shared.policy(retries::policy(clusters.mesh.retries(None), hashes));
    let forward = Forward { destinations: [only(cluster)].into(), retry, ..Forward::default() };
    Route {
        name: "default".into(),
        origin: service.origin.clone(),
        when: Match::default(),
        cors: None,
        action: Action::Forward(Box::new(forward)),
    }
}

/// The single destination of a generated route.
pub(crate) fn only(cluster: Target) -> Destination {
    Destination {
        cluster,
        weight: 1,
        authority: None,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    }
}
