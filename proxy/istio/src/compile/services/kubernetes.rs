//! Services of Kubernetes: Service, with its endpoints from EndpointSlice or Endpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use leeboard_policy::cluster::{Address, DnsSpec, EndpointSpec, Workload};

use super::service::{Backends, Port, Service};
use super::workloads::Workloads;
use crate::compile::protocol::PortProtocol;
use crate::compile::site::Site;
use crate::compile::visibility::{Reach, annotated, reach};
use crate::resources::kubernetes::{EndpointAddress, EndpointPort, TrafficDistribution};
use crate::resources::service_entry::{ServicePort, TargetPort, WorkloadAddress};
use crate::resources::{EndpointSlice, Endpoints, MeshConfig, Resources, Service as Document};

/// The Services that the workload's namespace sees. Istio: annotation `networking.istio.io/exportTo`.
pub(crate) fn visible<'r>(resources: &'r Resources, site: &'r Site) -> impl Iterator<Item = &'r Document> {
    let services = resources.services.iter().map(|service| &**service);
    services.filter(|service| reach_of(service, &site.mesh, &site.workload.namespace).is_some())
}

/// How a namespace comes to see a Service.
pub(crate) fn reach_of(service: &Document, mesh: &MeshConfig, client: &str) -> Option<Reach> {
    let export_to = annotated(service.meta.annotations.get("networking.istio.io/exportTo"));
    match export_to.is_empty() {
        true => reach(&mesh.service_export_to, service.meta.namespace(), client),
        false => reach(&export_to, service.meta.namespace(), client),
    }
}

/// The full name of a Service.
pub(crate) fn host(service: &Document, site: &Site) -> Arc<str> {
    format!("{}.{}.svc.{}", service.meta.name(), service.meta.namespace(), site.cluster_domain).into()
}

/// The lists of endpoints, by namespace and service.
pub(crate) struct Listings<'r> {
    slices: HashMap<(&'r str, &'r str), Vec<&'r EndpointSlice>>,
    endpoints: HashMap<(&'r str, &'r str), &'r Endpoints>,
    /// The region that all of them are in.
    region: &'r str,
}

impl<'r> Listings<'r> {
    /// Kubernetes: a slice names zones only, and the nodes of a cluster are in one region. It is this workload's own.
    pub(crate) fn gather(resources: &'r Resources, site: &'r Site) -> Self {
        let region = site.workload.locality.split('/').next().unwrap_or("");
        let mut slices: HashMap<_, Vec<_>> = HashMap::new();
        for slice in resources.endpoint_slices.iter().filter(|slice| !slice.fqdn) {
            slices.entry((&**slice.meta.namespace(), &*slice.service)).or_default().push(&**slice);
        }
        let endpoints = resources.endpoints.iter();
        let endpoints = endpoints.map(|e| ((&**e.meta.namespace(), &**e.meta.name()), &**e)).collect();
        Self { slices, endpoints, region }
    }

    /// Whether a service's endpoints are listed, be it that there are none.
    fn know(&self, service: &Document) -> bool {
        let key = (&**service.meta.namespace(), &**service.meta.name());
        self.slices.contains_key(&key) || self.endpoints.contains_key(&key)
    }

    /// What the endpoints of a headless service are called below its name. Kubernetes: those without a hostname by their
    /// address, with dashes.
    fn members(&self, service: &Document) -> BTreeMap<Arc<str>, Vec<IpAddr>> {
        let mut members: BTreeMap<Arc<str>, Vec<IpAddr>> = BTreeMap::new();
        for (listed, _) in service.ports.iter().flat_map(|port| self.of(service, port)) {
            let label = match listed.hostname.is_empty() {
                true => listed.ip.to_string().replace(['.', ':'], "-").into(),
                false => listed.hostname.clone(),
            };
            let addresses = members.entry(label).or_default();
            if !addresses.contains(&listed.ip) {
                addresses.push(listed.ip);
            }
        }
        members
    }

    /// The addresses that serve a port, and their port number: of the slices if there are any, else of the Endpoints.
    fn of(&self, service: &Document, port: &ServicePort) -> Vec<(&'r EndpointAddress, u16)> {
        let key = (&**service.meta.namespace(), &**service.meta.name());
        let number = |ports: &[EndpointPort]| {
            let named = ports.iter().find(|listed| listed.name == port.name);
            let only = || (ports.len() == 1 && service.ports.len() == 1).then(|| &ports[0]);
            named.or_else(only).map(|listed| listed.number)
        };
        let mut found = Vec::new();
        if let Some(slices) = self.slices.get(&key) {
            for slice in slices {
                let Some(number) = number(&slice.ports) else { continue };
                let ready = slice.endpoints.iter().filter(|e| !e.terminating && (e.ready || service.publish_not_ready));
                found.extend(ready.map(|endpoint| (&endpoint.address, number)));
            }
        } else if let Some(listing) = self.endpoints.get(&key) {
            for subset in &listing.subsets {
                let Some(number) = number(&subset.ports) else { continue };
                let unready = subset.not_ready.iter().filter(|_| service.publish_not_ready);
                found.extend(subset.addresses.iter().chain(unready).map(|address| (address, number)));
            }
        }
        found
    }
}

/// A Service with its endpoints.
pub(crate) fn service(
    host: Arc<str>,
    document: &Document,
    listings: &Listings<'_>,
    workloads: &Workloads<'_>,
) -> Service {
    let members = if document.headless { listings.members(document) } else { BTreeMap::new() };
    let selects_entries = || workloads.entries(document.meta.namespace(), &document.selector).next().is_some();
    let unlisted = document.headless && !listings.know(document) && !selects_entries();
    let ports = document.ports.iter().map(|port| {
        // Istio: callers of a headless service dial the pod that they resolved. Where the pods are listed nobody resolves.
        let backends = if unlisted {
            Backends::Original
        } else {
            Backends::Written(endpoints(document, port, listings, workloads))
        };
        Port { number: port.number, protocol: protocol(port), target: target_number(port), backends }
    });
    Service {
        host,
        name: document.meta.name().clone(),
        namespace: document.meta.namespace().clone(),
        origin: document.meta.origin(&document.meta.spot),
        external: false,
        headless: unlisted,
        members,
        distribution: document.distribution,
        addresses: document.cluster_ips.iter().map(|ip| address_domain(*ip)).collect(),
        aliases: Vec::new(),
        subject_alt_names: Vec::new(),
        selector: document.selector.clone(),
        ports: ports.collect(),
    }
}

/// An ExternalName that stands for no service known here. Istio: it is resolved by DNS, and lies outside the mesh.
pub(crate) fn external(host: Arc<str>, target: &Arc<str>, document: &Document) -> Service {
    let workload = Arc::new(Workload::default());
    let ports = document.ports.iter().map(|port| {
        let spec = DnsSpec { name: target.clone(), port: port.number, weight: 1, workload: workload.clone() };
        let protocol = protocol(port);
        Port { number: port.number, protocol, target: Some(port.number), backends: Backends::Names(vec![spec]) }
    });
    Service {
        host,
        name: document.meta.name().clone(),
        namespace: document.meta.namespace().clone(),
        origin: document.meta.origin(&document.meta.spot),
        external: true,
        headless: false,
        members: BTreeMap::new(),
        distribution: None,
        addresses: Vec::new(),
        aliases: Vec::new(),
        subject_alt_names: Vec::new(),
        selector: crate::resources::Labels::new(),
        ports: ports.collect(),
    }
}

/// Endpoints that are listed, then WorkloadEntries that the Service selects beside its pods.
fn endpoints(
    document: &Document,
    port: &ServicePort,
    listings: &Listings<'_>,
    workloads: &Workloads<'_>,
) -> Vec<EndpointSpec> {
    let namespace = document.meta.namespace();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (listed, number) in listings.of(document, port) {
        let address = Address::Socket(SocketAddr::new(listed.ip, number));
        if seen.insert(address.clone()) {
            found.push(EndpointSpec {
                address,
                weight: 1,
                workload: behind(listed, document, workloads, listings.region),
            });
        }
    }
    for selected in workloads.entries(namespace, &document.selector) {
        let spec = &selected.entry.spec;
        // Istio: a target's name is looked up among the workload's ports; one that lacks it does not serve the port.
        let number = match &port.target {
            Some(TargetPort::Name(name)) => spec.ports.get(name).or_else(|| spec.ports.get(&port.name)).copied(),
            Some(TargetPort::Number(_)) | None => spec.ports.get(&port.name).copied().or(target_number(port)),
        };
        if let (Some(number), Some(WorkloadAddress::Ip(ip))) = (number, &spec.address) {
            let ip = *ip;
            let address = Address::Socket(SocketAddr::new(ip, number));
            if seen.insert(address.clone()) {
                found.push(EndpointSpec { address, weight: spec.weight.max(1), workload: selected.workload.clone() });
            }
        }
    }
    found
}

/// What is known of the workload at a listed address.
fn behind(listed: &EndpointAddress, document: &Document, workloads: &Workloads<'_>, region: &str) -> Arc<Workload> {
    let namespace = document.meta.namespace();
    let by_node = document.distribution == Some(TrafficDistribution::SameNode) && !listed.node.is_empty();
    let mut workload = match workloads.pod(namespace, listed.pod.as_deref(), listed.ip) {
        Some(pod) if !by_node && (listed.zone.is_empty() || !pod.workload.locality.is_empty()) => {
            return pod.workload.clone();
        }
        Some(pod) => Workload::clone(&pod.workload),
        None => Workload {
            name: listed.pod.clone().unwrap_or_default(),
            namespace: namespace.clone(),
            ..Workload::default()
        },
    };
    if !listed.zone.is_empty() && workload.locality.is_empty() {
        workload.locality = format!("{region}/{}", listed.zone).into();
    }
    if by_node {
        workload.labels.insert(HOSTNAME.into(), listed.node.clone());
    }
    Arc::new(workload)
}

/// Kubernetes: the label of a node's name.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

fn protocol(port: &ServicePort) -> PortProtocol {
    let transport = if port.tcp { "TCP" } else { "UDP" };
    PortProtocol::of_service_port(transport, port.protocol.as_deref(), &port.name, port.number)
}

/// Kubernetes: `targetPort` is the port's own number when absent; a name is looked up in each pod.
fn target_number(port: &ServicePort) -> Option<u16> {
    match &port.target {
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(_)) => None,
        None => Some(port.number),
    }
}

/// An IP address as a domain: callers write IPv6 in brackets.
pub(crate) fn address_domain(ip: IpAddr) -> Arc<str> {
    match ip {
        IpAddr::V4(ip) => ip.to_string().into(),
        IpAddr::V6(ip) => format!("[{ip}]").into(),
    }
}
