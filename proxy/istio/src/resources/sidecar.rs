//! Sidecar: what a proxy sees of the mesh.

use super::{Labels, Meta};

/// Istio: Sidecar, as far as it is enforced.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// What every object has.
    pub meta: Meta,
    /// Workloads of the namespace that it is for; `None` is all.
    pub workload_selector: Option<Labels>,
    /// What is done with unknown hosts; `None` takes the mesh's.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
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
