//! A service, its ports and where their endpoints come from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use leeboard_policy::cluster::{Address, Discovery, DnsSpec, EndpointSpec, Workload};
use leeboard_policy::origin::Origin;

use crate::compile::protocol::PortProtocol;
use crate::resources::kubernetes::TrafficDistribution;
use crate::resources::{Labels, Meta, Service as KubernetesService, ServiceEntry};

/// A service, ready to be given clusters and virtual hosts.
pub(crate) struct Service {
    /// Its full name in lower case; a ServiceEntry's may be a wildcard.
    pub(crate) host: Arc<str>,
    /// What metrics call it.
    pub(crate) name: Arc<str>,
    /// The namespace of the document it comes from.
    pub(crate) namespace: Arc<str>,
    /// Where it is written.
    pub(crate) origin: Origin,
    /// Whether it lies outside the mesh.
    pub(crate) external: bool,
    /// Whether callers see its pods by name, and only DNS knows them.
    pub(crate) headless: bool,
    /// Of a headless service whose endpoints are listed: what they are called below its name, and their addresses.
    pub(crate) members: BTreeMap<Arc<str>, Vec<IpAddr>>,
    /// Which of its endpoints are preferred, unless a DestinationRule says so.
    pub(crate) distribution: Option<TrafficDistribution>,
    /// Its virtual addresses, as domains.
    pub(crate) addresses: Vec<Arc<str>>,
    /// Names of ExternalName services that stand for it.
    pub(crate) aliases: Vec<Arc<str>>,
    /// Pods of its namespace that belong to it; empty when unknown.
    pub(crate) selector: Labels,
    /// Names that certificates of its endpoints may bear.
    pub(crate) subject_alt_names: Vec<Arc<str>>,
    /// Its ports, by number.
    pub(crate) ports: Vec<Port>,
}

/// A port of a service.
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) protocol: PortProtocol,
    /// The port at the workloads, when it is a number.
    pub(crate) target: Option<u16>,
    pub(crate) backends: Backends,
}

/// Where the endpoints of a port come from.
pub(crate) enum Backends {
    Written(Vec<EndpointSpec>),
    Names(Vec<DnsSpec>),
    FirstName(Vec<DnsSpec>),
    Original,
}

impl Backends {
    /// Those that carry a subset's labels.
    pub(crate) fn subset(&self, labels: &Labels) -> Discovery {
        let names = |all: &[DnsSpec]| -> Vec<DnsSpec> {
            all.iter().filter(|spec| spec.workload.carries(labels)).cloned().collect()
        };
        match self {
            Backends::Written(all) => {
                let chosen = all.iter().filter(|spec| spec.workload.carries(labels));
                Discovery::Static(chosen.cloned().collect())
            }
            Backends::Names(all) => Discovery::Dns(names(all)),
            Backends::FirstName(all) => match names(all).into_iter().next() {
                Some(spec) => Discovery::DnsFirst(spec),
                None => Discovery::Static(Vec::new()),
            },
            Backends::Original => Discovery::Original,
        }
    }

    /// Those at some addresses.
    pub(crate) fn at(&self, addresses: &[IpAddr]) -> Discovery {
        let there =
            |spec: &&EndpointSpec| matches!(&spec.address, Address::Socket(socket) if addresses.contains(&socket.ip()));
        match self {
            Backends::Written(all) => Discovery::Static(all.iter().filter(there).cloned().collect()),
            Backends::Names(_) | Backends::FirstName(_) | Backends::Original => Discovery::Original,
        }
    }

    /// Whether any of them carries a subset's labels.
    pub(crate) fn has(&self, labels: &Labels) -> bool {
        match self {
            Backends::Written(all) => all.iter().any(|spec| spec.workload.carries(labels)),
            Backends::Names(all) | Backends::FirstName(all) => all.iter().any(|spec| spec.workload.carries(labels)),
            Backends::Original => true,
        }
    }

    /// Whether any of them, told by its port (a Unix socket has none) and workload, is so.
    pub(crate) fn any(&self, is_so: impl Fn(Option<u16>, &Workload) -> bool) -> bool {
        match self {
            Backends::Written(all) => all.iter().any(|spec| match &spec.address {
                Address::Socket(address) => is_so(Some(address.port()), &spec.workload),
                Address::Unix(_) => is_so(None, &spec.workload),
            }),
            Backends::Names(all) | Backends::FirstName(all) => {
                all.iter().any(|spec| is_so(Some(spec.port), &spec.workload))
            }
            Backends::Original => false,
        }
    }
}

impl Service {
    /// A port by the number that callers use.
    pub(crate) fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }
}

/// A document that describes the service of a host.
#[derive(Clone, Copy)]
pub(crate) enum Document<'r> {
    Kubernetes(&'r KubernetesService),
    Entry(&'r ServiceEntry),
}

impl<'r> Document<'r> {
    pub(crate) fn meta(self) -> &'r Meta {
        match self {
            Document::Kubernetes(service) => &service.meta,
            Document::Entry(entry) => &entry.meta,
        }
    }
}
