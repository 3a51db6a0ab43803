//! Reads the entries of `http`: what they match and where they lead.

use super::destination::{check_weights, destination};
use super::scope::Scope;
use super::{actions, cors, headers, http_match, or_blank};
use crate::codes;
use crate::fields::{Field, Fields};
use crate::names;
use crate::resources::virtual_service::{
    Delegate, HttpAction, HttpMatch, HttpRoute, RedirectPath, RouteDestination, StringMatch,
};
use crate::support::{DELEGATE, HTTP_ROUTE, ROUTE_DESTINATION};

pub(super) fn read(field: Field<'_>, scope: Scope) -> Vec<HttpRoute> {
    field.items(&HTTP_ROUTE).iter().map(|fields| one(fields, scope)).collect()
}

fn one(fields: &Fields<'_>, scope: Scope) -> HttpRoute {
    exclusions(fields, scope);
    let matches = http_match::read(fields.get("match"), scope);
    let action = action(fields, &matches);
    let route = HttpRoute {
        spot: fields.spot(),
        name: fields.get("name").text().unwrap_or_default(),
        action,
        matches,
        rewrite: actions::rewrite(fields.get("rewrite")).map(Box::new),
        timeout: fields.get("timeout").duration(),
        retries: actions::retries(fields.get("retries")).map(Box::new),
        fault: actions::fault(fields.get("fault")).map(Box::new),
        mirrors: actions::mirrors(fields),
        cors: cors::read(fields.get("corsPolicy")).map(Box::new),
        headers: headers::read(fields.get("headers")),
    };
    check_authority(fields, &route);
    route
}

/// Istio: what may not stand beside what.
fn exclusions(fields: &Fields<'_>, scope: Scope) {
    let rules: &[(&'static str, &[&'static str])] = match fields.has("delegate") {
        // Istio: the delegate's own entries are looked at for the rest.
        true => &[("delegate", &["route", "redirect"])],
        false => &[
            ("redirect", &["route", "fault", "rewrite", "directResponse"]),
            ("directResponse", &["route", "fault", "rewrite"]),
        ],
    };
    for (action, others) in rules {
        for other in *others {
            fields.at_most_one(&[action, other]);
        }
    }
    if scope.delegate && fields.has("delegate") {
        fields.cx.error(codes::CONFLICT, fields.place("delegate"), "a delegate cannot delegate further");
    }
    fields.at_least_one(&["route", "redirect", "directResponse", "delegate"]);
}

fn action(fields: &Fields<'_>, matches: &[HttpMatch]) -> HttpAction {
    let destinations = destinations(fields.get("route"));
    let redirect = actions::redirect(fields.get("redirect"));
    let direct = actions::direct_response(fields.get("directResponse"));
    if let Some(redirect) = redirect {
        let prefixes = |m: &HttpMatch| matches!(m.uri, None | Some(StringMatch::Prefix(_) | StringMatch::Present));
        if matches!(redirect.path, Some(RedirectPath::Prefix(_))) && !matches.iter().all(prefixes) {
            let message = "`prefixRewrite` needs every `uri` of `match` to be a prefix";
            fields.cx.error(codes::NEEDS, fields.place("redirect"), message);
        }
        return HttpAction::Redirect(Box::new(redirect));
    }
    match (delegate(fields.get("delegate")), direct) {
        (Some(delegate), direct) => {
            HttpAction::Delegate(Box::new(Delegate { direct: direct.map(Box::new), ..delegate }))
        }
        (None, Some(direct)) => HttpAction::Direct(direct),
        (None, None) => HttpAction::Route(destinations),
    }
}

fn delegate(field: Field<'_>) -> Option<Delegate> {
    let fields = field.block_of(&DELEGATE, "name")?;
    let name = fields.required("name").checked(codes::BAD_NAME, names::object_name);
    let namespace = fields.get("namespace").filled(codes::BAD_NAME, names::dns_label);
    Some(Delegate { name: or_blank(name, &fields), namespace, direct: None })
}

fn destinations(field: Field<'_>) -> Vec<RouteDestination> {
    let mut found = Vec::new();
    for entry in field.items(&ROUTE_DESTINATION) {
        found.push(RouteDestination {
            destination: destination(entry.required("destination"), &entry),
            weight: entry.get("weight").count().unwrap_or(0),
            headers: headers::read(entry.get("headers")),
        });
    }
    // Most routes have one destination, and there may be very many routes.
    found.shrink_to_fit();
    check_weights(field, &found.iter().map(|entry: &RouteDestination| entry.weight).collect::<Vec<_>>(), false);
    found
}

/// Istio: Host is given once at most.
fn check_authority(fields: &Fields<'_>, route: &HttpRoute) {
    let given = [
        ("rewrite", route.rewrite.as_ref().is_some_and(|rewrite| rewrite.authority.is_some())),
        ("headers", headers::names_host(&route.headers.request.set)),
        ("headers", headers::names_host(&route.headers.request.add)),
    ];
    let given: Vec<_> = given.into_iter().filter(|(_, given)| *given).collect();
    if let [_, .., (last, _)] = given[..] {
        let message =
            "Host is given by more than one of `rewrite.authority`, `headers.request.set` and `headers.request.add`";
        fields.cx.error(codes::CONFLICT, fields.place(last), message);
    }
}
