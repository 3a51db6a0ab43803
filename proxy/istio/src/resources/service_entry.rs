//! ServiceEntry and WorkloadEntry: services and workloads that are written down.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, Meta};
use crate::source::{Located, Spot};

/// Istio: ServiceEntry.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    /// What every object has.
    pub meta: Meta,
    /// Each is a service of its own; never expanded, may be a wildcard.
    pub hosts: Vec<Located<Arc<str>>>,
    /// Virtual addresses: IPs, or CIDRs.
    pub addresses: Vec<Arc<str>>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Whether it belongs to the mesh (`MESH_INTERNAL`).
    pub internal: bool,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Endpoints that are written down.
    pub endpoints: Vec<WorkloadSpec>,
    /// Endpoints are the workloads of the same namespace that carry these.
    pub workload_selector: Option<Labels>,
    /// Who sees it; empty means everybody, `~` nobody.
    pub export_to: Vec<Arc<str>>,
    /// Names that certificates of its endpoints may bear.
    pub subject_alt_names: Vec<Arc<str>>,
    /// `status.addresses`: virtual addresses, each with the host it was given to, or an empty one for all.
    pub allocated: Vec<(Arc<str>, Arc<str>)>,
}

/// Istio: `resolution`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resolution {
    /// Wherever the caller was going.
    #[default]
    None,
    /// The addresses that are written down.
    Static,
    /// Every address of every name.
    Dns,
    /// The first address of the latest answer.
    DnsRoundRobin,
    /// By the name in each request; not enforced yet.
    DynamicDns,
}

/// A port of a service, of either origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePort {
    /// Where it is written.
    pub spot: Spot,
    /// The number that callers use.
    pub number: u16,
    /// Its name; may be empty on a Kubernetes service with one port.
    pub name: Arc<str>,
    /// `protocol` of a ServiceEntry, or `appProtocol` of a Kubernetes service; `None` when absent.
    pub protocol: Option<Arc<str>>,
    /// Whether the transport is TCP; false for UDP and SCTP.
    pub tcp: bool,
    /// The port at the endpoints.
    pub target: Option<TargetPort>,
}

/// A port at the endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container's port.
    Name(Arc<str>),
}

/// Istio: WorkloadEntry.
#[derive(Clone, Debug)]
pub struct WorkloadEntry {
    /// What every object has.
    pub meta: Meta,
    /// The workload. `metadata.labels` are laid over its labels.
    pub spec: WorkloadSpec,
}

/// One workload, as a WorkloadEntry's `spec` or an entry of `endpoints`.
#[derive(Clone, Debug)]
pub struct WorkloadSpec {
    /// Where it begins.
    pub spot: Spot,
    /// Where it listens; `None` when only a network is named.
    pub address: Option<WorkloadAddress>,
    /// The port for a service port of that name.
    pub ports: BTreeMap<Arc<str>, u16>,
    /// What it carries.
    pub labels: Labels,
    /// `region/zone/subzone`; may be empty.
    pub locality: Arc<str>,
    /// Relative share of the traffic; 0 is 1.
    pub weight: u32,
    /// The network it is in; may be empty.
    pub network: Arc<str>,
    /// The identity of its certificate; may be empty.
    pub service_account: Arc<str>,
}

/// Where a workload listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WorkloadAddress {
    /// An address.
    Ip(IpAddr),
    /// A name to resolve.
    Name(Arc<str>),
    /// A Unix socket's path; a leading `@` names an abstract one.
    Unix(Arc<str>),
}
