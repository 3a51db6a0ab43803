//! Sidecar: what a proxy sees of the mesh.

use std::sync::Arc;

use super::destination_rule::ConnectionPool;
use super::gateway::ServerTls;
use super::virtual_service::Destination;
use super::{Labels, Meta};
use crate::source::{Located, Spot};

/// Istio: Sidecar.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// What every object has.
    pub meta: Meta,
    /// Workloads of the namespace that it is for; `None` is all.
    pub workload_selector: Option<Labels>,
    /// What is seen; empty is everything.
    pub egress: Vec<EgressListener>,
    /// Inbound ports; empty takes those of the services.
    pub ingress: Vec<IngressListener>,
    /// How much the application may be given, at ports that do not say so themselves.
    pub inbound_connection_pool: Option<Box<ConnectionPool>>,
    /// What is done with unknown hosts; `None` takes the mesh's.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// Where unknown hosts are sent.
    pub egress_proxy: Option<Box<Destination>>,
}

/// Istio: `outboundTrafficPolicy.mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OutboundTrafficPolicy {
    /// Only known hosts. Istio: an empty `outboundTrafficPolicy: {}` means this.
    #[default]
    RegistryOnly,
    /// Unknown hosts are sent where their name says.
    AllowAny,
}

/// One entry of `egress`.
#[derive(Clone, Debug)]
pub struct EgressListener {
    /// Where it begins.
    pub spot: Spot,
    /// The only port of its hosts; `None` is every port that no other entry has.
    pub port: Option<ListenerPort>,
    /// The address, or `unix://` and a path.
    pub bind: Option<Arc<str>>,
    /// How traffic gets there.
    pub capture: CaptureMode,
    /// What is seen.
    pub hosts: Vec<EgressHost>,
}

/// One entry of `hosts`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EgressHost {
    /// As it is written, and where.
    pub written: Located<Arc<str>>,
    /// A namespace; `.` is the workload's, `*` is all, `~` is none.
    pub namespace: Arc<str>,
    /// A full name or a wildcard, in lower case.
    pub host: Arc<str>,
    /// It is left out rather than seen (`~name/…`).
    pub excluded: bool,
}

/// Istio: `captureMode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CaptureMode {
    /// As the workload is set up.
    #[default]
    Default,
    /// By redirecting it in the kernel.
    Iptables,
    /// Not at all: the application addresses the listener.
    None,
}

/// The port of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerPort {
    /// Its number; 0 at a Unix socket.
    pub number: Located<u16>,
    /// What it speaks, in upper case.
    pub protocol: Arc<str>,
    /// Its name; may be empty.
    pub name: Arc<str>,
}

/// One entry of `ingress`.
#[derive(Clone, Debug)]
pub struct IngressListener {
    /// Where it begins.
    pub spot: Spot,
    /// The port that callers address.
    pub port: ListenerPort,
    /// The address that is listened at.
    pub bind: Option<Arc<str>>,
    /// How traffic gets there.
    pub capture: CaptureMode,
    /// Where the application listens; `None` is where the caller was going.
    pub default_endpoint: Option<Arc<str>>,
    /// How callers' connections are secured.
    pub tls: Option<Box<ServerTls>>,
    /// How much the application may be given at this port.
    pub connection_pool: Option<Box<ConnectionPool>>,
}
