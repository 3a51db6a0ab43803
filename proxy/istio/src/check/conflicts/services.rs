//! Services that are defined in two ways, or whose ports do not say what they speak.

use std::collections::BTreeMap;

use super::super::Checking;
use super::someone;
use crate::codes;
use crate::compile::protocol::PortProtocol;
use crate::diagnostic::{Diagnostic, Severity};
use crate::places::way;
use crate::resources::service_entry::ServicePort;
use crate::resources::{Service, ServiceEntry};

pub(super) fn check(cx: &Checking<'_>) {
    protocols(cx);
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
        let (first, known, _) = all[0];
        for (entry, _, at) in all[1..].iter().filter(|(_, port, _)| word(port) != word(known)) {
            let named = first.export_to.iter().chain(&entry.export_to);
            let sees_both = |namespace: &str| cx.sees_entry(namespace, first) && cx.sees_entry(namespace, entry);
            if !someone([&first.meta, &entry.meta], named, sees_both) {
                continue;
            }
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

/// Istio: IST0134, a port of plain TCP without an address to tell it by.
fn addresses(cx: &Checking<'_>, entry: &ServiceEntry) {
    if !entry.addresses.is_empty() {
        return;
    }
    let plain =
        |port: &&(usize, &ServicePort)| port.1.protocol.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("TCP"));
    if let Some((at, port)) = entry.ports.iter().enumerate().collect::<Vec<_>>().iter().find(plain) {
        let message = format!("without `addresses` TCP port {} is told by its number alone", port.number);
        let path = way!["spec", "ports", *at, "protocol"];
        cx.tell(cx.warning(codes::ADDRESSES_NEEDED, &entry.meta, &path, message).ist("IST0134"));
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
