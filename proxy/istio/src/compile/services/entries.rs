//! Services of ServiceEntries, with their endpoints: written down, selected, or found by DNS.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use leeboard_policy::cluster::{Address, DnsSpec, EndpointSpec, Workload};

use super::kubernetes::address_domain;
use super::service::{Backends, Document, Port, Service};
use super::workloads::{Workloads, inline};
use crate::annotations::distribution;
use crate::codes;
use crate::compile::names::cluster_parts;
use crate::compile::protocol::PortProtocol;
use crate::compile::site::Site;
use crate::diagnostic::Diagnostic;
use crate::resources::ServiceEntry;
use crate::resources::service_entry::{Resolution, ServicePort, TargetPort, WorkloadAddress};

/// The hosts that the workload's namespace sees, and their ServiceEntries.
pub(crate) fn visible<'r>(
    resources: &'r crate::resources::Resources,
    site: &'r Site,
) -> impl Iterator<Item = (Arc<str>, &'r ServiceEntry)> {
    let entries = resources.service_entries.iter().map(|entry| &**entry);
    let seen = entries.filter(|entry| site.mesh.shows_entry(entry, &site.workload.namespace));
    seen.flat_map(|entry| entry.hosts.iter().map(move |host| (lower(&host.value), entry)))
}

fn lower(host: &Arc<str>) -> Arc<str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) { host.to_ascii_lowercase().into() } else { host.clone() }
}

/// Says which ServiceEntries a Kubernetes Service of the same name puts out of force.
pub(crate) fn report_shadowed(host: &str, documents: &[Document<'_>], diagnostics: &mut Vec<Diagnostic>) {
    let Some(Document::Kubernetes(winner)) = documents.first() else { return };
    for document in &documents[1..] {
        let Document::Entry(entry) = document else { continue };
        let message = format!("host {host} is a Kubernetes Service of this namespace, which is used instead");
        let complaint = Diagnostic::warning(codes::HOST_CONFLICT, &entry.meta.resource, &entry.meta.spot, message);
        diagnostics.push(complaint.label(&winner.meta.spot, "the Service"));
    }
}

/// One host of one or several ServiceEntries of a namespace, the oldest first. Istio: the oldest gives the attributes,
/// ports and endpoints of the others are added.
pub(crate) fn service(
    host: Arc<str>,
    documents: &[Document<'_>],
    workloads: &Workloads<'_>,
    site: &Site,
    diagnostics: &mut Vec<Diagnostic>,
) -> Service {
    let entries: Vec<&ServiceEntry> = documents
        .iter()
        .filter_map(|document| match document {
            Document::Entry(entry) => Some(*entry),
            Document::Kubernetes(_) => None,
        })
        .collect();
    let oldest = entries[0];
    let mut ports: Vec<Port> = Vec::new();
    let mut joined: HashMap<u16, Joined> = HashMap::new();
    for entry in &entries {
        for port in &entry.ports {
            let found = Port {
                number: port.number,
                protocol: protocol(port),
                target: Some(target(port)),
                backends: backends(&host, entry, port, workloads, diagnostics),
            };
            let known = joined.entry(port.number).or_insert_with(|| Joined { at: ports.len(), seen: BTreeSet::new() });
            match ports.get_mut(known.at) {
                None => ports.push(found),
                Some(port) => known.join(port, found, entry, oldest, diagnostics),
            }
        }
    }
    let cluster_name = cluster_parts(&host, &site.cluster_domain).map(|(name, _)| Arc::from(name));
    Service {
        name: cluster_name.unwrap_or_else(|| host.clone()),
        namespace: oldest.meta.namespace().clone(),
        origin: oldest.meta.origin(&oldest.meta.spot),
        external: !oldest.internal,
        headless: false,
        members: BTreeMap::new(),
        distribution: distribution(&oldest.meta.annotations),
        addresses: addresses(&host, &entries),
        aliases: Vec::new(),
        subject_alt_names: oldest.subject_alt_names.clone(),
        selector: oldest.workload_selector.clone().unwrap_or_default(),
        ports,
        host,
    }
}

/// A port of several ServiceEntries: where it is in the list, and its endpoints, once there is more than one object.
struct Joined {
    at: usize,
    seen: BTreeSet<Address>,
}

impl Joined {
    /// Adds the endpoints of a younger ServiceEntry to the port, if they are found in the same way.
    fn join(
        &mut self,
        known: &mut Port,
        found: Port,
        entry: &ServiceEntry,
        oldest: &ServiceEntry,
        out: &mut Vec<Diagnostic>,
    ) {
        if let (true, Backends::Written(all)) = (self.seen.is_empty(), &known.backends) {
            self.seen.extend(all.iter().map(|spec| spec.address.clone()));
        }
        match (&mut known.backends, found.backends) {
            (Backends::Written(all), Backends::Written(more)) => {
                // An object may name an address twice, of which only that of another object is left out.
                let new: Vec<EndpointSpec> =
                    more.into_iter().filter(|spec| !self.seen.contains(&spec.address)).collect();
                self.seen.extend(new.iter().map(|spec| spec.address.clone()));
                all.extend(new);
            }
            (Backends::Names(all), Backends::Names(more)) => {
                let new: Vec<DnsSpec> = more.into_iter().filter(|spec| !all.contains(spec)).collect();
                all.extend(new);
            }
            (Backends::FirstName(_), Backends::FirstName(_)) | (Backends::Original, Backends::Original) => {}
            _ => {
                let message = format!("port {} of this host is resolved otherwise by an older object", known.number);
                let complaint =
                    Diagnostic::warning(codes::HOST_CONFLICT, &entry.meta.resource, &entry.meta.spot, message);
                out.push(complaint.label(&oldest.meta.spot, "the older one, which is used"));
            }
        }
    }
}

/// Addresses that are names for the service in HTTP; a range is not.
/// Istio: those that a cluster has given count where none are written.
fn addresses(host: &str, entries: &[&ServiceEntry]) -> Vec<Arc<str>> {
    let of = |entry: &&ServiceEntry| -> Vec<Arc<str>> {
        let given = entry.allocated.iter().filter(|(of, _)| of.is_empty() || of.eq_ignore_ascii_case(host));
        if entry.addresses.is_empty() { given.map(|(_, ip)| ip.clone()).collect() } else { entry.addresses.clone() }
    };
    let all = entries.iter().flat_map(of);
    all.filter_map(|address| address.parse::<IpAddr>().ok()).map(address_domain).collect()
}

/// Istio: endpoints that are written down or selected; by DNS without any, the host itself.
fn backends(
    host: &Arc<str>,
    entry: &ServiceEntry,
    port: &ServicePort,
    workloads: &Workloads<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Backends {
    if matches!(entry.resolution, Resolution::None | Resolution::DynamicDns) {
        if target(port) != port.number {
            let message = "targetPort has no effect on a host that is dialled as the caller names it";
            let complaint = Diagnostic::warning(codes::NOT_ENFORCED, &entry.meta.resource, &port.spot, message);
            diagnostics.push(complaint);
        }
        return Backends::Original;
    }
    let members = members(entry, port, workloads);
    if entry.resolution == Resolution::Static {
        report_names(entry, port, &members, diagnostics);
        return Backends::Written(members.into_iter().filter_map(Member::written).collect());
    }
    let by_itself = members.is_empty() && entry.endpoints.is_empty() && entry.workload_selector.is_none();
    let names: Vec<DnsSpec> = if by_itself {
        let workload = Workload { namespace: entry.meta.namespace().clone(), ..Workload::default() };
        vec![DnsSpec { name: host.clone(), port: target(port), weight: 1, workload: Arc::new(workload) }]
    } else if members.iter().all(|member| matches!(member.address, WorkloadAddress::Ip(_) | WorkloadAddress::Unix(_))) {
        return Backends::Written(members.into_iter().filter_map(Member::written).collect());
    } else {
        members.into_iter().filter_map(Member::named).collect()
    };
    if entry.resolution == Resolution::Dns { Backends::Names(names) } else { Backends::FirstName(names) }
}

/// Says once per ServiceEntry which of its workloads cannot be used because nothing resolves their names.
fn report_names(entry: &ServiceEntry, port: &ServicePort, members: &[Member], diagnostics: &mut Vec<Diagnostic>) {
    if entry.ports.first().is_none_or(|first| first.number != port.number) {
        return;
    }
    for member in members {
        if let WorkloadAddress::Name(name) = &member.address {
            let message = format!("workload address {name} is a name, which resolution STATIC does not look up");
            let complaint = Diagnostic::warning(codes::NO_EFFECT, &entry.meta.resource, &entry.meta.spot, message);
            diagnostics.push(complaint.help("write an IP address, or use resolution: DNS"));
        }
    }
}

/// A workload that serves a port.
struct Member {
    address: WorkloadAddress,
    port: u16,
    weight: u32,
    workload: Arc<Workload>,
}

impl Member {
    fn written(self) -> Option<EndpointSpec> {
        let address = match self.address {
            WorkloadAddress::Ip(ip) => Address::Socket(SocketAddr::new(ip, self.port)),
            WorkloadAddress::Unix(path) => Address::Unix(path),
            WorkloadAddress::Name(_) => return None,
        };
        Some(EndpointSpec { address, weight: self.weight, workload: self.workload })
    }

    fn named(self) -> Option<DnsSpec> {
        let name = match self.address {
            WorkloadAddress::Name(name) => name,
            WorkloadAddress::Ip(ip) => ip.to_string().into(),
            WorkloadAddress::Unix(_) => return None,
        };
        Some(DnsSpec { name, port: self.port, weight: self.weight, workload: self.workload })
    }
}

/// The endpoints that are written down, else the WorkloadEntries and ready pods that are selected.
/// Istio: the endpoint's own port for the port's name goes before targetPort, and that before the port's number.
fn members(entry: &ServiceEntry, port: &ServicePort, workloads: &Workloads<'_>) -> Vec<Member> {
    let of_spec = |spec: &crate::resources::service_entry::WorkloadSpec, workload: Arc<Workload>| {
        let number = spec.ports.get(&port.name).copied().unwrap_or_else(|| target(port));
        let address = spec.address.clone()?;
        Some(Member { address, port: number, weight: spec.weight.max(1), workload })
    };
    let namespace = entry.meta.namespace();
    let Some(selector) = &entry.workload_selector else {
        return entry.endpoints.iter().filter_map(|spec| of_spec(spec, inline(spec, namespace))).collect();
    };
    let entries = workloads.entries(namespace, selector);
    let mut found: Vec<Member> = entries.filter_map(|e| of_spec(&e.entry.spec, e.workload.clone())).collect();
    let pods = workloads.pods(namespace, selector).filter(|found| found.pod.ready && !found.pod.terminating);
    found.extend(pods.filter_map(|found| {
        let address = WorkloadAddress::Ip(*found.pod.ips.first()?);
        Some(Member { address, port: target(port), weight: 1, workload: found.workload.clone() })
    }));
    found
}

fn protocol(port: &ServicePort) -> PortProtocol {
    PortProtocol::of_word(port.protocol.as_deref().unwrap_or_default(), port.number)
}

fn target(port: &ServicePort) -> u16 {
    match port.target {
        Some(TargetPort::Number(number)) => number,
        Some(TargetPort::Name(_)) | None => port.number,
    }
}
