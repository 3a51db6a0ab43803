//! The Kubernetes objects that say which services exist and where they listen.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::service_entry::ServicePort;
use super::{Labels, Meta};
use crate::source::Spot;

/// Kubernetes: v1 Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What every object has.
    pub meta: Meta,
    /// Its virtual addresses; empty for a headless service.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`: callers see the endpoints themselves.
    pub headless: bool,
    /// `type: ExternalName`: another name for this host.
    pub external_name: Option<Arc<str>>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Pods that belong to it; empty when endpoints are written down.
    pub selector: Labels,
    /// `publishNotReadyAddresses`: pods count before they are ready.
    pub publish_not_ready: bool,
    /// Which endpoints are preferred: the field, or else the annotation.
    pub distribution: Option<TrafficDistribution>,
}

/// Which endpoints of a service are preferred. Kubernetes: `trafficDistribution`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrafficDistribution {
    /// `PreferSameZone`, also spelt `PreferClose`.
    SameZone,
    /// `PreferSameNode`: the node's, then the zone's.
    SameNode,
}

/// Kubernetes: v1 Endpoints, of the service of the same name.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// What every object has.
    pub meta: Meta,
    /// Addresses and ports that go together.
    pub subsets: Vec<EndpointSubset>,
}

/// One entry of `subsets`.
#[derive(Clone, Debug)]
pub struct EndpointSubset {
    /// Ready addresses.
    pub addresses: Vec<EndpointAddress>,
    /// Addresses that are not.
    pub not_ready: Vec<EndpointAddress>,
    /// Their ports.
    pub ports: Vec<EndpointPort>,
}

/// An address, and what is behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointAddress {
    /// The address.
    pub ip: IpAddr,
    /// The pod, when `targetRef` names one; it is in the object's namespace.
    pub pod: Option<Arc<str>>,
    /// The node's name; may be empty.
    pub node: Arc<str>,
    /// The zone; may be empty.
    pub zone: Arc<str>,
    /// What it is called below a headless service's name; may be empty.
    pub hostname: Arc<str>,
}

/// A port of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointPort {
    /// The name of the service's port that it serves; empty when it has one only.
    pub name: Arc<str>,
    /// The number at the endpoint.
    pub number: u16,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
}

/// Kubernetes: discovery.k8s.io/v1 EndpointSlice.
#[derive(Clone, Debug)]
pub struct EndpointSlice {
    /// What every object has.
    pub meta: Meta,
    /// The service, from label `kubernetes.io/service-name`.
    pub service: Arc<str>,
    /// `addressType: FQDN`, which is deprecated: its endpoints have no IP and are left out.
    pub fqdn: bool,
    /// Its endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// Their ports.
    pub ports: Vec<EndpointPort>,
}

/// One entry of `endpoints`.
#[derive(Clone, Debug)]
pub struct SliceEndpoint {
    /// The first of its addresses, which are interchangeable.
    pub address: EndpointAddress,
    /// `conditions.ready`; absent is ready.
    pub ready: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
}

/// Kubernetes: v1 Pod, as far as it tells what an endpoint is.
#[derive(Clone, Debug)]
pub struct Pod {
    /// What every object has; the labels choose subsets.
    pub meta: Meta,
    /// `status.podIP` and `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// Condition `Ready`; true when the status has no conditions.
    pub ready: bool,
    /// `metadata.deletionTimestamp` is there.
    pub terminating: bool,
    /// Its node; may be empty.
    pub node: Arc<str>,
    /// Its workload: the owner, of a ReplicaSet the Deployment, else the pod's own name.
    pub workload: Arc<str>,
    /// Named container ports, for services whose `targetPort` is a name.
    pub ports: BTreeMap<Arc<str>, u16>,
    /// Where it says that the application runs as user 1337, which is the proxy's.
    pub proxy_user: Vec<Spot>,
}
