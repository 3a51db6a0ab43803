//! Reads the entries of `tls` and `tcp`: where connections lead that are not HTTP to this proxy.

use std::net::IpAddr;
use std::sync::Arc;

use super::destination::{check_weights, destination};
use super::scope::gateways;
use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::{Cx, Field, Fields};
use crate::names;
use crate::resources::virtual_service::{StreamDestination, StreamMatch, StreamRoute};
use crate::source::Located;
use crate::support::{STREAM_DESTINATION, TCP_MATCH, TCP_ROUTE, TLS_MATCH, TLS_ROUTE};

/// Reads `tls`; `hosts` are those of the object, which must cover every server name.
pub(super) fn tls(field: Field<'_>, hosts: &[Located<Arc<str>>]) -> Vec<StreamRoute> {
    let mut routes = Vec::new();
    for fields in field.items(&TLS_ROUTE) {
        let list = fields.required("match");
        let mut matches = Vec::new();
        for one in list.items(&TLS_MATCH) {
            let names = one.required("sniHosts");
            let sni_hosts = names.texts();
            if names.node.is_some() && sni_hosts.is_empty() {
                one.cx.error(codes::MISSING, names.key, "`sniHosts` names no host");
            }
            sni_hosts.iter().for_each(|name| check_server_name(one.cx, name, hosts));
            matches.push(StreamMatch { sni_hosts, ..common(&one) });
        }
        if list.node.is_some() && matches.is_empty() && !fields.cx.failed() {
            fields.cx.error(codes::MISSING, list.key, "an entry of `tls` needs a match");
        }
        routes.push(StreamRoute { spot: fields.spot(), matches, route: destinations(&fields) });
    }
    routes
}

/// Reads `tcp`.
pub(super) fn tcp(field: Field<'_>) -> Vec<StreamRoute> {
    let mut routes = Vec::new();
    for fields in field.items(&TCP_ROUTE) {
        let read = |one: &Fields<'_>| {
            one.get("sourceSubnet").text();
            common(one)
        };
        let matches = fields.get("match").items(&TCP_MATCH).iter().map(read).collect();
        routes.push(StreamRoute { spot: fields.spot(), matches, route: destinations(&fields) });
    }
    check_reach(field.cx, &routes);
    routes
}

fn common(fields: &Fields<'_>) -> StreamMatch {
    StreamMatch {
        spot: fields.spot(),
        sni_hosts: Vec::new(),
        destination_subnets: fields.get("destinationSubnets").checked_texts(codes::BAD_VALUE, names::ip_or_cidr),
        port: fields.get("port").int(0..=65535).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
        source_labels: fields.get("sourceLabels").checked_labels(),
        source_namespace: fields.get("sourceNamespace").filled(codes::BAD_NAME, names::dns_label).map(|ns| ns.value),
        gateways: gateways(fields.get("gateways")).into_iter().map(|gateway| gateway.value).collect(),
    }
}

fn destinations(fields: &Fields<'_>) -> Vec<StreamDestination> {
    let field = fields.required("route");
    let read = |entry: &Fields<'_>| StreamDestination {
        destination: destination(entry.required("destination"), entry),
        weight: entry.get("weight").count().unwrap_or(0),
    };
    let found: Vec<_> = field.items(&STREAM_DESTINATION).iter().map(read).collect();
    check_weights(field, &found.iter().map(|entry| entry.weight).collect::<Vec<_>>(), true);
    found
}

/// Istio: a server name is a host, and one that the object's hosts cover.
fn check_server_name(cx: &Cx, name: &Located<Arc<str>>, hosts: &[Located<Arc<str>>]) {
    let say = |severity, code, message: String| {
        cx.push(Diagnostic::new(severity, code, &cx.resource, &name.spot, message));
    };
    if name.parse::<IpAddr>().is_ok() {
        let message = "a server name is never an IP address; few clients send one".into();
        return say(Severity::Warning, codes::BAD_HOST, message);
    } else if let Err(message) = names::wildcard_domain(name) {
        return say(Severity::Error, codes::BAD_HOST, message);
    }
    let covers = |host: &str| match host.strip_prefix('*') {
        Some(suffix) => name.to_ascii_lowercase().ends_with(&suffix.to_ascii_lowercase()),
        None => host.eq_ignore_ascii_case(name),
    };
    if !hosts.iter().any(|host| covers(host)) {
        say(
            Severity::Error,
            codes::CONFLICT,
            format!("no host of this object covers the server name `{}`", name.value),
        );
    }
}

/// Istio: an entry of `tcp` that matches everything ends the list.
fn check_reach(cx: &Cx, routes: &[StreamRoute]) {
    let Some(end) = routes.iter().position(|route| route.matches.is_empty()) else { return };
    for route in &routes[end + 1..] {
        let message = "no connection reaches this entry: an earlier one matches everything";
        let diagnostic = Diagnostic::warning(codes::UNREACHABLE, &cx.resource, &route.spot, message);
        cx.push(diagnostic.ist("IST0130").label(&routes[end].spot, "this one"));
    }
}
