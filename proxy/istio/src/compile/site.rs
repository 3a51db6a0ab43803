//! The proxy that a configuration is compiled for: its workload, its ports, and what holds for the whole mesh.

use std::net::SocketAddr;
use std::sync::Arc;

use leeboard_policy::cluster::Workload;

use crate::resources::sidecar::OutboundTrafficPolicy;
use crate::resources::{MeshConfig, Resources};

/// Where a proxy stands: what the configuration itself does not say.
#[derive(Clone, Debug)]
pub struct Site {
    /// The workload beside it. Its namespace decides what it sees, its labels which rules are for it.
    pub workload: Workload,
    /// The application's ports: where the proxy listens, and where the application does.
    pub inbound: Vec<(SocketAddr, SocketAddr)>,
    /// The end of every cluster service's name; default `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// The namespace whose objects are for the whole mesh; default `istio-system`.
    pub root_namespace: Arc<str>,
    /// What is done with unknown hosts unless a Sidecar says otherwise; `None` leaves it to the mesh, whose default is
    /// [`OutboundTrafficPolicy::AllowAny`].
    pub unknown: Option<OutboundTrafficPolicy>,
    /// Settings of the mesh, unless the configuration has its own; default: Istio's.
    pub mesh: Arc<MeshConfig>,
    /// What the snapshot calls itself in `/config_dump` and metrics.
    pub version: Arc<str>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            workload: Workload { namespace: "default".into(), ..Workload::default() },
            inbound: Vec::new(),
            cluster_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            unknown: None,
            mesh: Arc::default(),
            version: "".into(),
        }
    }
}

/// Where the proxy stands, with what the configuration says of the mesh.
pub(crate) fn placed(resources: &Resources, site: &Site) -> Site {
    let mesh = resources.mesh.as_ref().unwrap_or(&site.mesh).clone();
    Site {
        root_namespace: mesh.root_namespace.clone().unwrap_or_else(|| site.root_namespace.clone()),
        unknown: site.unknown.or(mesh.outbound_traffic_policy),
        mesh,
        ..site.clone()
    }
}
