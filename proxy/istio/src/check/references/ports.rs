//! Ports that a service does not have, and destinations that leave open which port they mean.

use std::collections::BTreeSet;

use super::super::{Checking, list};
use super::destinations;
use crate::codes;
use crate::compile::names::{complete, is_wildcard, within};
use crate::compile::protocol::PortProtocol;
use crate::compile::report::view::View;
use crate::compile::services::service::Service;
use crate::diagnostic::{Diagnostic, Severity};
use crate::locations::way;
use crate::resources::VirtualService;
use crate::resources::virtual_service::Destination;
use crate::source::Spot;

pub(super) fn check(cx: &Checking<'_>) {
    for document in &cx.resources.virtual_services {
        let Some(view) = cx.view(document.meta.namespace()) else { continue };
        let called = called(cx, document, view);
        let mut told = BTreeSet::new();
        for (_, destination) in destinations(document) {
            let host = complete(&destination.host.value, document.meta.namespace(), cx.domain());
            let Some(service) = view.catalog.find(&host).filter(|service| !service.ports.is_empty()) else { continue };
            let complaint = match &destination.port {
                Some(_) => lacking(document, destination, service),
                None => unnamed(document, destination, service, &called),
            };
            if let Some(complaint) = complaint.filter(|complaint| told.insert(complaint.message.clone())) {
                cx.tell(complaint);
            }
        }
        not_http(cx, document, view);
    }
}

/// The ports on which sidecars ask a VirtualService: those of the services of its hosts.
pub(in crate::check) fn called(cx: &Checking<'_>, document: &VirtualService, view: &View<'_>) -> BTreeSet<u16> {
    let services = services(cx, document, view);
    let ports = services.iter().flat_map(|service| &service.ports).filter(|port| port.protocol.is_routed());
    ports.map(|port| port.number).collect()
}

/// The services that a VirtualService's hosts stand for.
fn services<'v>(cx: &Checking<'_>, document: &VirtualService, view: &'v View<'_>) -> Vec<&'v Service> {
    let mut found = Vec::new();
    for host in document.hosts.iter().filter(|_| document.applies_to_mesh()) {
        let host = complete(&host.value, document.meta.namespace(), cx.domain());
        if is_wildcard(&host) {
            found.extend(view.catalog.services().iter().filter(|service| within(&service.host, &host)));
        } else {
            found.extend(view.catalog.find(&host));
        }
    }
    found
}

fn lacking(document: &VirtualService, destination: &Destination, service: &Service) -> Option<Diagnostic> {
    let port = destination.port.as_ref().filter(|port| service.port(port.value).is_none())?;
    let known = list(service.ports.iter().map(|port| port.number));
    let message = format!("{} has no port {}", service.host, port.value);
    let complaint =
        Diagnostic::warning(codes::UNKNOWN_PORT, &document.meta.resource, &port.spot, message).ist("IST0101");
    let complaint = complaint.label(&defined(service), format!("it has {known}, defined here"));
    let target = service.ports.iter().find(|known| known.target == Some(port.value));
    Some(match (target, &service.ports[..]) {
        (Some(known), _) => {
            complaint.help(format!("{} is the port at the endpoints; callers name {}", port.value, known.number))
        }
        (None, [only]) => complaint.help(format!("did you mean `{}`?", only.number)),
        (None, _) => complaint,
    })
}

/// Istio: without a port it is the one that the caller addresses, since a sidecar looks only among services that have it.
fn unnamed(
    document: &VirtualService,
    destination: &Destination,
    service: &Service,
    called: &BTreeSet<u16>,
) -> Option<Diagnostic> {
    let lacking: Vec<u16> = called.iter().copied().filter(|port| service.port(*port).is_none()).collect();
    let spot = &destination.host.spot;
    let resource = &document.meta.resource;
    if !lacking.is_empty() {
        let message =
            format!("no port is named, and {} has no port {}, the one that is called", service.host, list(&lacking));
        let complaint = Diagnostic::warning(codes::PORT_NOT_NAMED, resource, spot, message);
        let number = service.ports.first().map_or(0, |port| port.number);
        return Some(complaint.ist("IST0112").help(format!("add `port: {{number: {number}}}`")));
    }
    if service.ports.len() > 1 {
        let known = list(service.ports.iter().map(|port| port.number));
        let message = format!("no port is named, and {} has {known}: the one that is called is used", service.host);
        return Some(Diagnostic::new(Severity::Info, codes::PORT_NOT_NAMED, resource, spot, message).ist("IST0112"));
    }
    None
}

/// `http` rules for hosts none of whose ports is routed by them.
fn not_http(cx: &Checking<'_>, document: &VirtualService, view: &View<'_>) {
    if document.http.is_empty() {
        return;
    }
    for host in document.hosts.iter().filter(|_| document.applies_to_mesh()) {
        let full = complete(&host.value, document.meta.namespace(), cx.domain());
        let Some(service) = view.catalog.find(&full).filter(|service| !service.ports.is_empty()) else { continue };
        if service.ports.iter().any(|port| port.protocol.is_routed()) {
            continue;
        }
        let ports = list(service.ports.iter().map(|port| format!("{} ({})", port.number, word(port.protocol))));
        let message = format!("`http` rules are never asked: no port of {} is HTTP", service.host);
        let complaint = cx.warning(codes::NOT_HTTP, &document.meta, &way!["spec", "http"], message);
        cx.tell(complaint.label(&defined(service), format!("its ports are {ports}")));
    }
}

fn word(protocol: PortProtocol) -> &'static str {
    match protocol {
        PortProtocol::Tls => "TLS",
        PortProtocol::Udp => "UDP",
        _ => "TCP",
    }
}

/// Where a service is defined.
pub(in crate::check) fn defined(service: &Service) -> Spot {
    let origin = &service.origin;
    Spot { file: origin.file.clone(), line: origin.line, column: origin.column, len: 1 }
}
