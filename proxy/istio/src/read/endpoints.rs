//! Reads Kubernetes' Endpoints and EndpointSlice.

use std::sync::Arc;

use super::Object;
use super::kubernetes::ip;
use crate::codes;
use crate::fields::{Field, Fields};
use crate::resources::kubernetes::{EndpointAddress, EndpointPort, EndpointSubset, SliceEndpoint};
use crate::resources::{EndpointSlice, Endpoints};
use crate::support::{
    CONDITIONS, ENDPOINT_ADDRESS, ENDPOINT_PORT, ENDPOINT_SLICE, ENDPOINT_SUBSET, ENDPOINTS, SLICE_ENDPOINT, TARGET_REF,
};

pub(super) fn read(object: Object<'_>) -> Option<Endpoints> {
    let fields = Fields::of(object.node, object.name_mark, &ENDPOINTS, object.cx)?;
    let mut subsets = Vec::new();
    for subset in fields.get("subsets").items(&ENDPOINT_SUBSET) {
        subsets.push(EndpointSubset {
            addresses: addresses(subset.get("addresses")),
            not_ready: addresses(subset.get("notReadyAddresses")),
            ports: ports(subset.get("ports")),
        });
    }
    Some(Endpoints { meta: object.meta, subsets })
}

fn addresses(field: Field<'_>) -> Vec<EndpointAddress> {
    field.items(&ENDPOINT_ADDRESS).iter().filter_map(address).collect()
}

fn address(fields: &Fields<'_>) -> Option<EndpointAddress> {
    let field = fields.required("ip");
    let pod = pod(fields.get("targetRef"));
    let node = fields.get("nodeName").text().unwrap_or_default();
    let hostname = hostname(fields);
    let ip = field.text().and_then(|text| ip(&text, field.mark(), fields))?;
    Some(EndpointAddress { ip, pod, node, zone: Arc::default(), hostname })
}

fn hostname(fields: &Fields<'_>) -> Arc<str> {
    fields.get("hostname").text().map(|name| name.to_ascii_lowercase().into()).unwrap_or_default()
}

/// The name of the pod that a reference is to.
fn pod(field: Field<'_>) -> Option<Arc<str>> {
    let fields = field.block(&TARGET_REF)?;
    let kind = fields.get("kind").text();
    let name = fields.get("name").text();
    name.filter(|_| kind.as_deref() == Some("Pod"))
}

/// The TCP ports of a list; UDP and SCTP are none of our business.
fn ports(field: Field<'_>) -> Vec<EndpointPort> {
    let mut found = Vec::new();
    for fields in field.items(&ENDPOINT_PORT) {
        let transport = fields.get("protocol").choice(&[("TCP", true), ("UDP", false), ("SCTP", false)]);
        let name = fields.get("name").text().unwrap_or_default();
        let app_protocol = fields.get("appProtocol").text();
        let number = fields.get("port").port();
        if let Some(number) = number.filter(|_| transport.unwrap_or(true)) {
            found.push(EndpointPort { name, number, app_protocol });
        }
    }
    found
}

pub(super) fn read_slice(object: Object<'_>) -> Option<EndpointSlice> {
    let fields = Fields::of(object.node, object.name_mark, &ENDPOINT_SLICE, object.cx)?;
    let service = object.meta.labels.get("kubernetes.io/service-name").cloned();
    if service.is_none() {
        let message = "an EndpointSlice without label `kubernetes.io/service-name` belongs to no service";
        object.cx.warn(codes::NO_EFFECT, object.name_mark, message);
    }
    let fqdn = fields.get("addressType").choice(&[("IPv4", false), ("IPv6", false), ("FQDN", true)]).unwrap_or(false);
    let mut endpoints = Vec::new();
    for entry in fields.get("endpoints").items(&SLICE_ENDPOINT) {
        endpoints.extend(slice_endpoint(&entry, fqdn));
    }
    if fqdn {
        object.cx.warn(
            codes::IGNORED,
            fields.place("addressType"),
            "endpoints of type FQDN are deprecated and left out",
        );
    }
    let ports = ports(fields.get("ports"));
    Some(EndpointSlice { service: service.unwrap_or_default(), fqdn, endpoints, ports, meta: object.meta })
}

fn slice_endpoint(fields: &Fields<'_>, fqdn: bool) -> Option<SliceEndpoint> {
    let (mut ready, mut terminating) = (true, false);
    if let Some(conditions) = fields.get("conditions").block(&CONDITIONS) {
        ready = conditions.get("ready").bool().unwrap_or(true);
        terminating = conditions.get("terminating").bool().unwrap_or(false);
    }
    let pod = pod(fields.get("targetRef"));
    let node = fields.get("nodeName").text().unwrap_or_default();
    let zone = fields.get("zone").text().unwrap_or_default();
    let hostname = hostname(fields);
    let field = fields.required("addresses");
    let first = field.texts().into_iter().next().filter(|_| !fqdn)?;
    let ip = ip(&first, field.list().first().map_or(field.mark(), |node| node.mark), fields)?;
    Some(SliceEndpoint { address: EndpointAddress { ip, pod, node, zone, hostname }, ready, terminating })
}
