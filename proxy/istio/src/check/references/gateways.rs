//! Gateways that VirtualServices name, and what they serve.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::Checking;
use super::destinations;
use crate::codes;
use crate::compile::names::complete;
use crate::compile::selects;
use crate::diagnostic::Diagnostic;
use crate::names;
use crate::places::way;
use crate::read::overlap;
use crate::resources::service_entry::{ServicePort, TargetPort};
use crate::resources::{Gateway, Labels, Service, VirtualService};

pub(super) fn check(cx: &Checking<'_>) {
    cx.resources.gateways.iter().for_each(|gateway| ports(cx, gateway));
    if cx.resources.virtual_services.iter().all(|document| document.gateways.is_empty()) {
        return;
    }
    let gateways =
        cx.resources.gateways.iter().map(|gateway| ((&**gateway.meta.namespace(), &**gateway.meta.name()), gateway));
    let gateways: HashMap<(&str, &str), &Arc<Gateway>> = gateways.collect();
    let splitting = splitting(cx);
    for document in &cx.resources.virtual_services {
        let mut served = Vec::new();
        let mut lost = false;
        for name in document.gateways.iter().filter(|name| &*name.value != "mesh" && !name.value.is_empty()) {
            let (namespace, short) = address(&name.value, document.meta.namespace());
            match gateways.get(&(&*namespace, &*short)) {
                Some(gateway) => served.push(*gateway),
                None => {
                    lost = true;
                    unknown(cx, document, name, &namespace, &short);
                }
            }
        }
        if !lost && !served.is_empty() && !document.applies_to_mesh() {
            unserved(cx, document, &served);
        }
        if !served.is_empty() {
            ingress(cx, document, &splitting);
        }
    }
}

/// Istio: IST0162, a port that the Service of the gateway's pods neither has nor leads to.
fn ports(cx: &Checking<'_>, gateway: &Gateway) {
    if gateway.selector.is_empty() {
        return;
    }
    let pods = cx.resources.pods.iter().filter(|pod| selects(&gateway.selector, &pod.meta.labels));
    let pods: Vec<(&str, &Labels)> = pods.map(|pod| (&**pod.meta.namespace(), &pod.meta.labels)).collect();
    let fronts = |service: &&Arc<Service>| {
        let namespace = &**service.meta.namespace();
        !service.selector.is_empty()
            && pods.iter().any(|(own, labels)| *own == namespace && selects(&service.selector, labels))
    };
    let services: Vec<&Arc<Service>> = cx.resources.services.iter().filter(fronts).collect();
    let Some(first) = services.first() else { return };
    for (at, server) in gateway.servers.iter().enumerate().filter(|(_, server)| server.port != 0) {
        let leads = |port: &ServicePort| match &port.target {
            Some(TargetPort::Number(target)) => *target == server.port || port.number == server.port,
            Some(TargetPort::Name(_)) => true,
            None => port.number == server.port,
        };
        if !services.iter().flat_map(|service| &service.ports).any(leads) {
            let message = format!("no Service of this gateway's pods has port {}", server.port);
            let path = way!["spec", "servers", at, "port", "number"];
            let complaint = cx.warning(codes::GATEWAY_PORT, &gateway.meta, &path, message).ist("IST0162");
            cx.tell(complaint.label(&first.meta.spot, "this one is in front of them"));
        }
    }
}

/// Istio: `name`, `namespace/name`, `./name`, and the old `name.namespace.svc…`.
fn address(name: &str, own: &str) -> (String, String) {
    match name.split_once('/') {
        Some((".", name)) => (own.into(), name.into()),
        Some((namespace, name)) => (namespace.into(), name.into()),
        None => match name.split_once('.') {
            Some((name, rest)) => (rest.split('.').next().unwrap_or_default().into(), name.into()),
            None => (own.into(), name.into()),
        },
    }
}

fn unknown(
    cx: &Checking<'_>,
    document: &VirtualService,
    name: &crate::source::Located<Arc<str>>,
    namespace: &str,
    short: &str,
) {
    let message = format!("no Gateway {namespace}/{short} is defined here");
    let resource = &document.meta.resource;
    let complaint = Diagnostic::warning(codes::UNKNOWN_GATEWAY, resource, &name.spot, message).ist("IST0101");
    let gateways = || cx.resources.gateways.iter().map(|gateway| &gateway.meta);
    let elsewhere = gateways().find(|meta| **meta.name() == *short);
    let near =
        names::nearest(short, gateways().filter(|meta| **meta.namespace() == *namespace).map(|meta| &**meta.name()));
    cx.tell(match (elsewhere, near) {
        (Some(meta), _) => {
            complaint.help(format!("there is one in namespace {}: write `{0}/{short}`", meta.namespace()))
        }
        (None, Some(near)) => complaint.help(format!("did you mean `{near}`?")),
        (None, None) if names::nearest(short, ["mesh"].into_iter()).is_some() => complaint.help("did you mean `mesh`?"),
        (None, None) => complaint,
    });
}

/// Istio: IST0132, if none of the hosts is one that some server takes from this namespace.
fn unserved(cx: &Checking<'_>, document: &VirtualService, gateways: &[&Arc<Gateway>]) {
    let namespace = document.meta.namespace();
    let taken = |host: &str| {
        gateways.iter().any(|gateway| {
            gateway.servers.iter().flat_map(|server| &server.hosts).any(|served| {
                let (admits, name) = served.value.split_once('/').unwrap_or(("*", &served.value));
                let admitted = match admits {
                    "*" => true,
                    "." => gateway.meta.namespace() == namespace,
                    named => **namespace == *named,
                };
                admitted && overlap(name, &complete(host, namespace, cx.domain()))
            })
        })
    };
    if document.hosts.is_empty() || document.hosts.iter().any(|host| taken(&host.value)) {
        return;
    }
    let hosts: BTreeSet<&str> = gateways
        .iter()
        .flat_map(|gateway| gateway.servers.iter().flat_map(|server| &server.hosts))
        .map(|host| &*host.value)
        .collect();
    let host = &document.hosts[0];
    let message = format!("no server of its gateways takes `{}`", host.value);
    let complaint = Diagnostic::warning(codes::NOT_ON_GATEWAY, &document.meta.resource, &host.spot, message);
    let complaint =
        complaint.ist("IST0132").label(&cx.key(&gateways[0].meta, &way!["spec", "servers"]), "its hosts are here");
    cx.tell(match names::nearest(&host.value, hosts.iter().copied()) {
        Some(near) => complaint.help(format!("did you mean `{near}`?")),
        None => complaint,
    });
}

/// The VirtualServices of sidecars that choose subsets, by host.
fn splitting<'r>(cx: &Checking<'r>) -> HashMap<String, Vec<&'r VirtualService>> {
    let mut found: HashMap<String, Vec<&VirtualService>> = HashMap::new();
    let all = cx.resources.virtual_services.iter().filter(|document| document.applies_to_mesh());
    for document in all.filter(|document| destinations(document).any(|(_, destination)| destination.subset.is_some())) {
        for host in &document.hosts {
            let host = complete(&host.value, document.meta.namespace(), cx.domain());
            found.entry(host.into_owned()).or_default().push(document);
        }
    }
    found
}

/// Istio: IST0140, when sidecars choose subsets of a host that a gateway sends to as a whole.
fn ingress(cx: &Checking<'_>, document: &VirtualService, splitting: &HashMap<String, Vec<&VirtualService>>) {
    let own = document.meta.namespace();
    for (_, destination) in destinations(document).filter(|(_, destination)| destination.subset.is_none()) {
        let host = complete(&destination.host.value, own, cx.domain());
        let others = splitting.get(&*host).into_iter().flatten();
        let mut seen = others.filter(|other| !std::ptr::eq(**other, document) && cx.sees(own, other));
        if let Some(other) = seen.next() {
            let message = format!("requests from a gateway do not go by the rules of {}", other.meta.resource);
            let spot = &destination.host.spot;
            let complaint = Diagnostic::warning(codes::NOT_FOR_INGRESS, &document.meta.resource, spot, message);
            let complaint = complaint.ist("IST0140").label(&other.meta.spot, "these choose subsets, for sidecars only");
            return cx.tell(complaint.help("name a subset here"));
        }
    }
}
