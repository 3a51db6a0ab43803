//! Reads ServiceEntry and WorkloadEntry.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use leeboard_policy::counted::counted;

use super::{Object, export_to, selector};
use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::{Cx, Field, Fields};
use crate::names;
use crate::resources::service_entry::{Resolution, ServicePort, TargetPort, WorkloadAddress, WorkloadSpec};
use crate::resources::{ServiceEntry, WorkloadEntry};
use crate::source::Located;
use crate::support::{ENTRY_STATUS, LABEL_SELECTOR, SERVICE_ENTRY, SERVICE_PORT, STATUS_ADDRESS, WORKLOAD};

/// Istio: the words for what a port speaks.
pub(super) const PROTOCOLS: [&str; 14] = [
    "HTTP",
    "HTTPS",
    "HTTP2",
    "GRPC",
    "GRPC-WEB",
    "GRPC-WEB-TEXT",
    "TCP",
    "TLS",
    "UDP",
    "MONGO",
    "REDIS",
    "MYSQL",
    "HTTP_PROXY",
    "HBONE",
];

/// The most endpoints of all ports of all hosts of one object, each of which is one of its own in a snapshot.
const MOST_ENDPOINTS: usize = 100_000;

pub(super) fn read(object: Object<'_>) -> Option<ServiceEntry> {
    let spec = object.spec(&SERVICE_ENTRY)?;
    let cx = object.cx;
    let resolutions = [
        ("NONE", Resolution::None),
        ("STATIC", Resolution::Static),
        ("DNS", Resolution::Dns),
        ("DNS_ROUND_ROBIN", Resolution::DnsRoundRobin),
        ("DYNAMIC_DNS", Resolution::DynamicDns),
    ];
    let chosen = spec.get("resolution").choice(&resolutions);
    // What is not legible may be meant as anything: nothing more is said of it.
    let legible = chosen.is_some() || !spec.has("resolution");
    let resolution = chosen.unwrap_or(if legible { Resolution::default() } else { Resolution::Dns });
    let locations = [("MESH_EXTERNAL", false), ("MESH_INTERNAL", true)];
    let selector = spec.get("workloadSelector").block(&LABEL_SELECTOR).map(|fields| {
        let labels = selector(fields.get("labels"));
        if labels.is_empty() {
            fields.cx.warn(codes::NO_EFFECT, fields.mark, "a `workloadSelector` without labels selects nothing");
        }
        labels
    });
    spec.at_most_one(&["endpoints", "workloadSelector"]);
    let entry = ServiceEntry {
        hosts: spec.required("hosts").texts(),
        addresses: addresses(spec.get("addresses")),
        ports: ports(spec.get("ports")),
        internal: spec.get("location").choice(&locations).unwrap_or(false),
        resolution,
        endpoints: spec
            .get("endpoints")
            .items(&WORKLOAD)
            .iter()
            .map(|fields| workload(fields, Some(resolution)))
            .collect(),
        workload_selector: selector,
        export_to: export_to(spec.get("exportTo"), object.meta.namespace(), true),
        subject_alt_names: spec.get("subjectAltNames").texts().into_iter().map(|name| name.value).collect(),
        allocated: allocated(&object),
        meta: object.meta,
    };
    check_sizes(&spec);
    if legible {
        check_hosts(cx, &spec, &entry);
        check_endpoints(cx, &spec, &entry);
        check_ports(cx, &spec, &entry);
    }
    Some(entry)
}

/// The virtual addresses that a cluster has given to the hosts.
fn allocated(object: &Object<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    let status = object.node.entries().and_then(|entries| entries.iter().find(|(key, _)| &*key.text == "status"));
    let Some(fields) = status.and_then(|(key, node)| Fields::of(node, key.mark, &ENTRY_STATUS, object.cx)) else {
        return Vec::new();
    };
    let read = |entry: &Fields<'_>| {
        let value = entry.get("value").checked(codes::BAD_VALUE, names::ip_or_cidr)?;
        Some((entry.get("host").text().unwrap_or_default(), value.value))
    };
    fields.get("addresses").items(&STATUS_ADDRESS).iter().filter_map(read).collect()
}

/// Istio: how long the lists may be.
fn check_sizes(spec: &Fields<'_>) {
    for (name, most) in [("hosts", 256), ("addresses", 256), ("endpoints", 4096)] {
        let field = spec.get(name);
        if matches!(field.node.map(|node| &node.value), Some(crate::yaml::Value::Seq(items)) if items.len() > most) {
            spec.cx.error(codes::OUT_OF_RANGE, field.key, format!("`{name}` has at most {most} entries"));
        }
    }
}

fn addresses(field: Field<'_>) -> Vec<Arc<str>> {
    let found = field.checked_texts(codes::BAD_VALUE, names::ip_or_cidr);
    found.into_iter().map(|address| address.value).collect()
}

fn check_hosts(cx: &Cx, spec: &Fields<'_>, entry: &ServiceEntry) {
    if entry.hosts.is_empty() && spec.get("hosts").node.is_some() {
        cx.error(codes::MISSING, spec.place("hosts"), "a ServiceEntry needs a host");
    }
    let dynamic = entry.resolution == Resolution::DynamicDns;
    let dns = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    for host in &entry.hosts {
        let say = |severity, code, message: String| {
            cx.push(Diagnostic::new(severity, code, &cx.resource, &host.spot, message));
        };
        if &*host.value == "*" {
            say(Severity::Error, codes::BAD_HOST, "a ServiceEntry's host cannot be `*`".into());
        } else if let Err(message) = names::wildcard_domain(host) {
            say(Severity::Error, codes::BAD_HOST, message);
        } else if dynamic && !host.contains('*') {
            say(Severity::Error, codes::CONFLICT, "with `DYNAMIC_DNS` every host is a wildcard".into());
        } else if names::is_partial_wildcard(host) && !dynamic {
            say(Severity::Warning, codes::BAD_HOST, format!("`{}` matches parts of a label", host.value));
        } else if dns && entry.endpoints.is_empty() && host.contains('*') {
            let message =
                format!("`{}` cannot be resolved: without endpoints each host is looked up in DNS", host.value);
            say(Severity::Error, codes::CONFLICT, message);
        }
    }
    if dynamic {
        let message = "`DYNAMIC_DNS` is not enforced yet: its hosts are unknown to this proxy";
        cx.warn(codes::NOT_ENFORCED, spec.place("resolution"), message);
        if entry.internal && entry.meta.labels.contains_key("istio.io/use-waypoint") {
            let message = "`DYNAMIC_DNS` behind a waypoint is `MESH_EXTERNAL`";
            cx.error(codes::CONFLICT, spec.place("location"), message);
        }
        for name in spec.present(&["addresses", "endpoints"]) {
            cx.error(codes::CONFLICT, spec.place(name), format!("`{name}` cannot be set with `DYNAMIC_DNS`"));
        }
    }
    let cidr = entry.addresses.iter().any(|address| address.contains('/'));
    if cidr && !matches!(entry.resolution, Resolution::None | Resolution::Static) {
        cx.error(codes::CONFLICT, spec.place("addresses"), "CIDR blocks go with resolution `NONE` or `STATIC` only");
    }
}

fn check_endpoints(cx: &Cx, spec: &Fields<'_>, entry: &ServiceEntry) {
    let at = spec.place("endpoints");
    match entry.resolution {
        Resolution::None if !entry.endpoints.is_empty() => {
            let diagnostic = cx.at(Severity::Error, codes::CONFLICT, at, "resolution `NONE` has no endpoints");
            cx.push(diagnostic.help("write `resolution: STATIC` for addresses, `DNS` for names"));
        }
        Resolution::None if entry.workload_selector.is_some() => {
            let message = "resolution `NONE` has no endpoints, so `workloadSelector` selects nothing";
            cx.warn(codes::NO_EFFECT, spec.place("workloadSelector"), message);
        }
        Resolution::DnsRoundRobin if entry.endpoints.len() > 1 => {
            cx.error(codes::CONFLICT, at, "`DNS_ROUND_ROBIN` has one endpoint at most; write `DNS` for several");
        }
        _ => {}
    }
    let together = entry.hosts.len().saturating_mul(entry.ports.len()).saturating_mul(entry.endpoints.len());
    if together > MOST_ENDPOINTS {
        let message = format!(
            "{} with {} at {} each are {together} in all, and {MOST_ENDPOINTS} at most",
            counted(entry.hosts.len(), "host"),
            counted(entry.ports.len(), "port"),
            counted(entry.endpoints.len(), "endpoint")
        );
        cx.error(codes::OUT_OF_RANGE, spec.place("endpoints"), message);
    }
    let known: HashSet<&str> = entry.ports.iter().map(|port| &*port.name).collect();
    for endpoint in &entry.endpoints {
        for name in endpoint.ports.keys().filter(|name| !known.contains(&***name)) {
            let message = format!("`{name}` is no port of this ServiceEntry");
            let names = entry.ports.iter().map(|port| format!("`{}`", port.name)).collect::<Vec<_>>().join(", ");
            let diagnostic = Diagnostic::error(codes::BAD_NAME, &cx.resource, &endpoint.spot, message);
            cx.push(diagnostic.help(format!("the names in `ports` are {names}")));
        }
        if matches!(endpoint.address, Some(WorkloadAddress::Unix(_))) && entry.ports.len() != 1 {
            cx.error(codes::CONFLICT, at, "an endpoint at a Unix socket goes with exactly one port");
        }
    }
}

fn check_ports(cx: &Cx, spec: &Fields<'_>, entry: &ServiceEntry) {
    let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
    for port in &entry.ports {
        let say = |severity, code, message: String| {
            cx.push(Diagnostic::new(severity, code, &cx.resource, &port.spot, message));
        };
        if !numbers.insert(port.number) && port.number != 0 {
            say(Severity::Error, codes::DUPLICATE, format!("port {} is listed twice", port.number));
        }
        if !names.insert(&*port.name) && !port.name.is_empty() {
            say(Severity::Error, codes::DUPLICATE, format!("the port name `{}` is used twice", port.name));
        }
        let protocol = port.protocol.as_deref().unwrap_or("").to_ascii_uppercase();
        let named = !matches!(&*protocol, "" | "TCP" | "UDP" | "MONGO" | "REDIS" | "MYSQL");
        if !named && entry.hosts.len() > 1 && entry.resolution != Resolution::None {
            let message = "several hosts cannot share a port that is neither HTTP nor TLS".to_owned();
            say(Severity::Error, codes::CONFLICT, message);
        }
        if entry.resolution == Resolution::DynamicDns && !matches!(&*protocol, "HTTP" | "HTTP2" | "GRPC" | "TLS") {
            let message = "with `DYNAMIC_DNS` a port speaks HTTP, HTTP2, GRPC or TLS".to_owned();
            say(Severity::Error, codes::CONFLICT, message);
        }
        if protocol == "TCP" && entry.hosts.len() > 1 && !entry.addresses.is_empty() {
            let message = "several hosts share these addresses, and TCP cannot tell them apart";
            cx.warn(codes::NO_EFFECT, spec.place("addresses"), message);
        }
    }
}

fn ports(field: Field<'_>) -> Vec<ServicePort> {
    field.items(&SERVICE_PORT).iter().map(port).collect()
}

fn port(fields: &Fields<'_>) -> ServicePort {
    let number = fields.required("number");
    let protocol = fields.get("protocol");
    let word = protocol.text().filter(|word| !word.is_empty());
    if let Some(word) = &word {
        let upper = word.to_ascii_uppercase();
        if !PROTOCOLS.contains(&&*upper) {
            let message = format!("`{word}` is no protocol");
            let diagnostic = fields.cx.at(Severity::Error, codes::BAD_VALUE, protocol.mark(), message);
            fields.cx.push(match names::nearest(&upper, PROTOCOLS.into_iter()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help("among them are HTTP, HTTP2, GRPC, HTTPS, TLS and TCP"),
            });
        }
    }
    let name = fields.required("name").checked(codes::BAD_NAME, names::dns_label);
    ServicePort {
        spot: fields.spot(),
        number: number.port().unwrap_or(0),
        name: name.map(|name| name.value).unwrap_or_default(),
        tcp: !word.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("UDP")),
        protocol: word,
        target: fields.get("targetPort").port().map(TargetPort::Number),
    }
}

pub(super) fn read_workload(object: Object<'_>) -> Option<WorkloadEntry> {
    let fields = object.spec(&WORKLOAD)?;
    let mut spec = workload(&fields, None);
    spec.labels.extend(object.meta.labels.clone());
    Some(WorkloadEntry { meta: object.meta, spec })
}

/// An endpoint; `resolution` is that of the entry that it stands in.
fn workload(fields: &Fields<'_>, resolution: Option<Resolution>) -> WorkloadSpec {
    let address = fields.get("address");
    let text = address.located().filter(|text| !text.is_empty());
    if text.is_none() {
        if fields.has("network") {
            fields.cx.warn(codes::MISSING, fields.mark, "an endpoint without `address` is reached by nobody here");
        } else {
            fields.cx.error(codes::MISSING, fields.mark, "an endpoint needs `address`");
        }
    }
    let ports = workload_ports(fields.get("ports"));
    for (name, most) in [("ports", 128), ("labels", 256)] {
        let field = fields.get(name);
        if field.members().len() > most {
            fields.cx.error(codes::OUT_OF_RANGE, field.key, format!("`{name}` has at most {most} entries"));
        }
    }
    let locality = fields.get("locality").text().unwrap_or_default();
    let label = fields.get("labels").checked_labels();
    let locality = match label.get("istio-locality") {
        Some(short) if locality.is_empty() => short.replace('.', "/").into(),
        _ => locality,
    };
    let address = text.and_then(|text| workload_address(fields, &text, resolution, !ports.is_empty()));
    let weight = fields.get("weight").uint().unwrap_or(0);
    let account = fields.get("serviceAccount").checked(codes::BAD_NAME, |account| match account.len() {
        0..=253 => Ok(()),
        _ => Err("`serviceAccount` has at most 253 characters".into()),
    });
    WorkloadSpec {
        spot: fields.spot(),
        address,
        ports,
        labels: label,
        locality,
        weight,
        network: fields.get("network").text().unwrap_or_default(),
        service_account: account.map(|account| account.value).unwrap_or_default(),
    }
}

fn workload_ports(field: Field<'_>) -> BTreeMap<Arc<str>, u16> {
    let mut ports = BTreeMap::new();
    for (key, node) in field.members() {
        field.cx.check(codes::BAD_NAME, key.mark, names::dns_label(&key.text));
        let number = Field { cx: field.cx, name: "ports", key: key.mark, node: Some(node) };
        if let Some(number) = number.port() {
            ports.insert(Arc::from(&*key.text), number);
        }
    }
    ports
}

fn workload_address(
    fields: &Fields<'_>,
    text: &Located<Arc<str>>,
    resolution: Option<Resolution>,
    has_ports: bool,
) -> Option<WorkloadAddress> {
    let wrong = |message: String| {
        fields.cx.push(Diagnostic::error(codes::BAD_VALUE, &fields.cx.resource, &text.spot, message));
        None
    };
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with(['/', '@']) || path.ends_with('/') || path.len() < 2 {
            return wrong("a Unix socket is `unix:///absolute/path` or `unix://@name`".into());
        }
        if matches!(resolution, Some(Resolution::Dns | Resolution::DnsRoundRobin)) {
            return wrong("a Unix socket has no name to resolve: it goes with resolution `STATIC`".into());
        }
        if has_ports {
            return wrong("an endpoint at a Unix socket has no `ports`".into());
        }
        return Some(WorkloadAddress::Unix(path.into()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(WorkloadAddress::Ip(ip));
    }
    if let Err(message) = names::fqdn(text) {
        return wrong(message);
    }
    if resolution == Some(Resolution::Static) {
        return wrong(format!("`{}` is a name; with resolution `STATIC` an endpoint is an IP address", text.value));
    }
    Some(WorkloadAddress::Name(text.value.clone()))
}
