//! Services that are defined in two ways, or whose ports do not say what they speak.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Checking;
use super::{MOST_COMPARED, someone};
use crate::codes;
use crate::compile::objects::age;
use crate::compile::protocol::PortProtocol;
use crate::diagnostic::{Diagnostic, Severity};
use crate::locations::way;
use crate::resources::service_entry::ServicePort;
use crate::resources::{Service, ServiceEntry};
use crate::source::Located;

/// Istio: the label by which a ServiceEntry is given addresses of its own.
const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

pub(super) fn check(cx: &Checking<'_>) {
    protocols(cx);
    twice(cx);
    for entry in &cx.resources.service_entries {
        addresses(cx, entry);
    }
    for service in &cx.resources.services {
        port_names(cx, service);
    }
}

/// Istio: IST0177, two ServiceEntries that say of one port of a host that it speaks different protocols.
fn protocols(cx: &Checking<'_>) {
    let mut ports: BTreeMap<(&str, u16), Vec<(&ServiceEntry, &ServicePort, usize)>> = BTreeMap::new();
    for entry in &cx.resources.service_entries {
        for host in &entry.hosts {
            for (at, port) in entry.ports.iter().enumerate().filter(|(_, port)| port.number != 0) {
                ports.entry((&host.value, port.number)).or_default().push((entry, port, at));
            }
        }
    }
    let word = |port: &ServicePort| port.protocol.as_deref().unwrap_or("").to_ascii_uppercase();
    for ((host, number), all) in ports.iter().filter(|(_, all)| all.len() > 1) {
        for (number_of, (entry, port, at)) in all.iter().enumerate().skip(1) {
            let before = all[..number_of].iter().take(MOST_COMPARED);
            let differing = before.filter(|(_, known, _)| word(port) != word(known));
            let Some((first, known, _)) = differing.into_iter().find(|(first, ..)| compete(cx, first, entry)) else {
                continue;
            };
            let spoken = |port: &ServicePort| match &*word(port) {
                "" => "what the first bytes tell".to_owned(),
                word => word.to_owned(),
            };
            let message = format!("port {number} of {host} speaks {}, says {}", spoken(known), first.meta.resource);
            let complaint =
                cx.warning(codes::PROTOCOL_CONFLICT, &entry.meta, &way!["spec", "ports", *at, "protocol"], message);
            cx.tell(complaint.ist("IST0177").label(&known.spot, "the older one, which is used"));
        }
    }
}

/// Whether two entries define one host for somebody. Istio: a namespace with an entry of its own uses that, whatever others are
/// exported to it.
fn compete(cx: &Checking<'_>, a: &ServiceEntry, b: &ServiceEntry) -> bool {
    let named = a.export_to.iter().chain(&b.export_to);
    let (own, other) = (a.meta.namespace(), b.meta.namespace());
    someone([&a.meta, &b.meta], named, |namespace| {
        let settled = own != other && (*namespace == **own || *namespace == **other);
        !settled && cx.sees_entry(namespace, a) && cx.sees_entry(namespace, b)
    })
}

/// Two ServiceEntries with one host and port. Istio: those of one namespace are taken together, of several namespaces one is used.
fn twice(cx: &Checking<'_>) {
    let mut hosts: BTreeMap<String, Vec<(&ServiceEntry, &Located<Arc<str>>)>> = BTreeMap::new();
    for entry in &cx.resources.service_entries {
        for host in &entry.hosts {
            hosts.entry(host.value.to_ascii_lowercase()).or_default().push((entry, host));
        }
    }
    for (host, mut all) in hosts.into_iter().filter(|(_, all)| all.len() > 1) {
        all.sort_by_cached_key(|(entry, _)| age(&entry.meta));
        for (at, (entry, name)) in all.iter().enumerate().skip(1) {
            let shared = |older: &ServiceEntry| {
                // Of two protocols more is to be said.
                let word = |port: &ServicePort| port.protocol.as_deref().unwrap_or("").to_ascii_uppercase();
                let same = |own: &ServicePort, port: &ServicePort| own.number == port.number && word(own) == word(port);
                let numbers = |port: &&ServicePort| entry.ports.iter().any(|own| same(own, port));
                older.ports.iter().find(numbers).map(|port| port.number)
            };
            let found = all[..at].iter().take(MOST_COMPARED).find_map(|(older, first)| {
                let apart = !std::ptr::eq(*older, *entry) && compete(cx, older, entry);
                apart.then(|| shared(older)).flatten().map(|port| (older, first, port))
            });
            let Some((older, first, port)) = found else { continue };
            let together = older.meta.namespace() == entry.meta.namespace();
            let (severity, what) = match together {
                true => (Severity::Info, "the endpoints of both are used"),
                false => (Severity::Warning, "only one of them is used where both are seen"),
            };
            let message = format!("port {port} of {host} is defined by {}, too: {what}", older.meta.resource);
            let resource = &entry.meta.resource;
            let complaint = Diagnostic::new(severity, codes::HOST_DEFINED_TWICE, resource, &name.spot, message);
            cx.tell(complaint.label(&first.spot, "the older one").help("define each host once"));
        }
    }
}

/// Istio: IST0134, a port of plain TCP without an address to tell it by.
fn addresses(cx: &Checking<'_>, entry: &ServiceEntry) {
    let allocates = entry.meta.labels.get(AUTO_ALLOCATE).is_some_and(|word| &**word == "true");
    let addressed = !entry.addresses.is_empty() || !entry.allocated.is_empty() || allocates;
    let word = |port: &ServicePort| port.protocol.as_deref().unwrap_or("").to_ascii_uppercase();
    let mut told = addressed;
    for (at, port) in entry.ports.iter().enumerate() {
        let path = way!["spec", "ports", at, "protocol"];
        match &*word(port) {
            "TCP" if !told => {
                told = true;
                let message = format!("without `addresses` TCP port {} is told by its number alone", port.number);
                cx.tell(cx.warning(codes::ADDRESSES_NEEDED, &entry.meta, &path, message).ist("IST0134"));
            }
            "" => {
                let message =
                    format!("port {} does not say what it speaks: it is found out from each connection", port.number);
                let complaint = cx.info(codes::PORT_NAME, &entry.meta, &path, message);
                let complaint = if addressed { complaint } else { complaint.ist("IST0134") };
                cx.tell(complaint.help("write its `protocol`, such as HTTP, GRPC or TLS"));
            }
            _ => {}
        }
    }
}

/// Istio: IST0118, a port whose name and `appProtocol` tell nothing, and IST0150 for ExternalName services.
fn port_names(cx: &Checking<'_>, service: &Service) {
    for (at, port) in service.ports.iter().enumerate().filter(|(_, port)| port.tcp) {
        let protocol = PortProtocol::of_service_port("TCP", port.protocol.as_deref(), &port.name, port.number);
        let path = way!["spec", "ports", at, "name"];
        if service.external_name.is_some() && matches!(protocol, PortProtocol::Auto | PortProtocol::Tcp) {
            let message = format!("port {} of an ExternalName service is TCP, unless its name says HTTP", port.number);
            cx.tell(cx.warning(codes::EXTERNAL_NAME_PORT, &service.meta, &path, message).ist("IST0150"));
        } else if protocol == PortProtocol::Auto {
            let message =
                format!("port {} does not say what it speaks: it is found out from each connection", port.number);
            let spot = cx.spot(&service.meta, &path);
            let complaint = Diagnostic::new(Severity::Info, codes::PORT_NAME, &service.meta.resource, &spot, message);
            cx.tell(complaint.ist("IST0118").help("name it `http`, or `http-` and more, or set `appProtocol`"));
        }
    }
}
