//! Objects that claim the same thing, and which of them loses.

mod rules;
mod services;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Checking, list};
use crate::codes;
use crate::compile::names::complete;
use crate::compile::objects::{age, selects};
use crate::diagnostic::{Diagnostic, Severity};
use crate::read::overlap;
use crate::resources::{Gateway, Meta, Sidecar, VirtualService};
use crate::source::{Located, Spot};

/// How many objects of one port, host or namespace are compared with one another.
const MOST_COMPARED: usize = 200;

pub(super) fn check(cx: &Checking<'_>) {
    hosts(cx);
    sidecars(cx);
    gateways(cx);
    certificates(cx);
    rules::check(cx);
    services::check(cx);
}

/// Istio: IST0109, two VirtualServices of the mesh with one host, when some namespace sees both. The older one is used.
fn hosts(cx: &Checking<'_>) {
    let mut claims: BTreeMap<String, Vec<(&VirtualService, &Located<Arc<str>>)>> = BTreeMap::new();
    for document in cx.resources.virtual_services.iter().filter(|document| document.applies_to_mesh()) {
        for host in document.hosts.iter().filter(|host| !host.value.is_empty()) {
            let full = complete(&host.value, document.meta.namespace(), cx.domain());
            claims.entry(full.into_owned()).or_default().push((document, host));
        }
    }
    for (host, mut claims) in claims.into_iter().filter(|(_, claims)| claims.len() > 1) {
        claims.sort_by_cached_key(|(document, _)| age(&document.meta));
        for (at, (document, claim)) in claims.iter().enumerate().skip(1) {
            // One that names the host twice, by its short and its full name, is not in its own way.
            let others = claims[..at].iter().take(MOST_COMPARED).filter(|(older, _)| !std::ptr::eq(*older, *document));
            let older = others.into_iter().find(|(older, _)| both_seen(cx, older, document));
            let Some((winner, first)) = older else { continue };
            let message = format!(
                "{host} is routed by {}, which is older: these rules are not used for it",
                winner.meta.resource
            );
            let at = &claim.spot;
            let complaint =
                Diagnostic::error(codes::HOST_CONFLICT, &document.meta.resource, at, message).ist("IST0109");
            let complaint = complaint.label(&first.spot, "this one is used");
            cx.tell(complaint.help("put all rules for the host into one VirtualService"));
        }
    }
}

/// Whether some namespace sees both.
fn both_seen(cx: &Checking<'_>, a: &VirtualService, b: &VirtualService) -> bool {
    let named = a.export_to.iter().chain(&b.export_to);
    someone([&a.meta, &b.meta], named, |namespace| cx.sees(namespace, a) && cx.sees(namespace, b))
}

/// Whether some namespace sees two objects that are exported to those named: one that either names, or any at all.
fn someone<'a>(
    objects: [&'a Meta; 2],
    named: impl Iterator<Item = &'a Arc<str>>,
    sees_both: impl Fn(&str) -> bool,
) -> bool {
    let named = named.map(|entry| &**entry).filter(|entry| !matches!(*entry, "." | "*" | "~"));
    // A namespace that nobody names stands for all such.
    let own = objects.into_iter().map(|meta| &**meta.namespace()).chain([""]);
    named.chain(own).any(sees_both)
}

/// Istio: IST0111, several Sidecars of a namespace without a selector, and IST0110, several that select one pod.
fn sidecars(cx: &Checking<'_>) {
    let mut namespaces: BTreeMap<&str, Vec<&Sidecar>> = BTreeMap::new();
    for sidecar in &cx.resources.sidecars {
        namespaces.entry(sidecar.meta.namespace()).or_default().push(sidecar);
    }
    for (namespace, mut all) in namespaces.into_iter().filter(|(_, all)| all.len() > 1) {
        all.sort_by_cached_key(|sidecar| age(&sidecar.meta));
        let mut general = all.iter().filter(|sidecar| sidecar.workload_selector.is_none());
        if let Some(first) = general.next() {
            for other in general {
                let message =
                    format!("namespace {namespace} has a Sidecar for all workloads already, which is used instead");
                cx.tell(sidecar_conflict(other, first, message).ist("IST0111"));
            }
        }
        let selecting = |sidecar: &&&Sidecar| sidecar.workload_selector.is_some();
        let selecting: Vec<&&Sidecar> = all.iter().filter(selecting).collect();
        for (at, sidecar) in selecting.iter().enumerate() {
            let Some(selector) = &sidecar.workload_selector else { continue };
            let shared = selecting[..at].iter().take(MOST_COMPARED).find(|before| {
                let Some(earlier) = &before.workload_selector else { return false };
                earlier == selector
                    || cx.workloads(namespace).any(|labels| selects(selector, labels) && selects(earlier, labels))
            });
            if let Some(first) = shared {
                let message = format!("{} selects the same workload, and is used instead", first.meta.resource);
                cx.tell(sidecar_conflict(sidecar, first, message).ist("IST0110"));
            }
        }
    }
}

fn sidecar_conflict(loser: &Sidecar, winner: &Sidecar, message: String) -> Diagnostic {
    let severity = Severity::Error;
    let complaint = Diagnostic::new(severity, codes::SIDECAR_CONFLICT, &loser.meta.resource, &loser.meta.spot, message);
    complaint.label(&winner.meta.spot, "this one is used")
}

/// Istio: IST0145, two Gateways for the same workloads with one host on one port.
fn gateways(cx: &Checking<'_>) {
    let mut ports: BTreeMap<u16, Vec<(&Gateway, usize)>> = BTreeMap::new();
    for gateway in &cx.resources.gateways {
        for (at, server) in gateway.servers.iter().enumerate().filter(|(_, server)| server.port != 0) {
            ports.entry(server.port).or_default().push((gateway, at));
        }
    }
    let mut told: HashMap<(&str, &str), Vec<String>> = HashMap::new();
    let mut complaints: Vec<(Diagnostic, &str, &str)> = Vec::new();
    for (port, mut servers) in ports.into_iter().filter(|(_, servers)| servers.len() > 1) {
        servers.sort_by_cached_key(|(gateway, at)| (age(&gateway.meta), *at));
        for (place, (gateway, at)) in servers.iter().enumerate().take(MOST_COMPARED) {
            for (older, before) in servers[..place].iter().filter(|(older, _)| !std::ptr::eq(*older, *gateway)) {
                if !(selects(&older.selector, &gateway.selector) || selects(&gateway.selector, &older.selector)) {
                    continue;
                }
                let Some((host, spot)) = shared_host(older, *before, gateway, *at) else { continue };
                let pair = (&*gateway.meta.resource, &*older.meta.resource);
                let ports = told.entry(pair).or_default();
                ports.push(port.to_string());
                if ports.len() == 1 {
                    let message = format!(
                        "{} has host {host} on port {port} already, for the same workloads",
                        older.meta.resource
                    );
                    let resource = &gateway.meta.resource;
                    let complaint = Diagnostic::error(codes::GATEWAY_CONFLICT, resource, &spot, message).ist("IST0145");
                    let first = &older.servers[*before].hosts[0].spot;
                    complaints.push((complaint.label(first, "this one is used"), pair.0, pair.1));
                }
            }
        }
    }
    for (complaint, younger, older) in complaints {
        let ports = &told[&(younger, older)];
        cx.tell(if ports.len() > 1 {
            complaint.help(format!("the same holds for ports {}", list(ports)))
        } else {
            complaint
        });
    }
}

/// Istio: IST0138, two Gateways for the same workloads that show one certificate.
fn certificates(cx: &Checking<'_>) {
    let mut shown: BTreeMap<&str, Vec<(&Gateway, &Located<Arc<str>>)>> = BTreeMap::new();
    for gateway in &cx.resources.gateways {
        for credential in
            gateway.servers.iter().filter_map(|server| server.tls.as_ref()).flat_map(|tls| &tls.credentials)
        {
            shown.entry(&credential.value).or_default().push((gateway, credential));
        }
    }
    for (name, mut all) in shown.into_iter().filter(|(_, all)| all.len() > 1) {
        all.sort_by_cached_key(|(gateway, _)| age(&gateway.meta));
        for (at, (gateway, credential)) in all.iter().enumerate().take(MOST_COMPARED) {
            let same = |other: &&(&Gateway, &Located<Arc<str>>)| {
                !std::ptr::eq(other.0, *gateway)
                    && (selects(&other.0.selector, &gateway.selector) || selects(&gateway.selector, &other.0.selector))
            };
            let Some((_, first)) = all[..at].iter().find(same) else { continue };
            let message = format!(
                "two gateways of the same workloads show certificate {name}: callers that reuse connections get 404"
            );
            let spot = &credential.spot;
            let complaint = Diagnostic::warning(codes::DUPLICATE_CERTIFICATE, &gateway.meta.resource, spot, message);
            cx.tell(complaint.ist("IST0138").label(&first.spot, "it is shown here, too"));
        }
    }
}

fn shared_host(a: &Gateway, of_a: usize, b: &Gateway, of_b: usize) -> Option<(Arc<str>, Spot)> {
    let name = |host: &'_ str| host.split_once('/').map_or(host.to_owned(), |(_, name)| name.to_owned());
    let taken: Vec<String> = a.servers[of_a].hosts.iter().map(|host| name(&host.value)).collect();
    let both = |host: &&Located<Arc<str>>| taken.iter().any(|known| overlap(known, &name(&host.value)));
    b.servers[of_b].hosts.iter().find(both).map(|host| (host.value.clone(), host.spot.clone()))
}
