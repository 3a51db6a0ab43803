//! Settings of the whole mesh: what they change where an object says nothing.

use std::sync::Arc;

use leeboard_policy::cluster::{Connection, Protocol, TcpKeepalive};
use leeboard_policy::retry::RetryPolicy;

use super::effective::Effective;
use super::protocol::PortProtocol;
use super::visibility::{Reach, reach};
use super::{Site, retries, traffic};
use crate::resources::destination_rule::{ConnectionPool, H2Upgrade};
use crate::resources::virtual_service::Retries;
use crate::resources::{DestinationRule, MeshConfig, Resources, ServiceEntry, VirtualService};

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

impl MeshConfig {
    /// How the workload's namespace comes to see a VirtualService.
    pub(crate) fn reach_of_routes(&self, document: &VirtualService, client: &str) -> Option<Reach> {
        let written = or(&document.export_to, &self.virtual_service_export_to);
        reach(written, document.meta.namespace(), client)
    }

    /// Whether a namespace sees a DestinationRule. Istio: one with a selector is of its own namespace only, whatever it says.
    pub(crate) fn shows_rule(&self, document: &DestinationRule, client: &str) -> bool {
        if document.workload_selector.is_some() {
            return **document.meta.namespace() == *client;
        }
        let written = or(&document.export_to, &self.destination_rule_export_to);
        reach(written, document.meta.namespace(), client).is_some()
    }

    /// Whether a namespace sees a ServiceEntry.
    pub(crate) fn shows_entry(&self, document: &ServiceEntry, client: &str) -> bool {
        self.reach_of_entry(document, client).is_some()
    }

    /// How a namespace comes to see a ServiceEntry.
    pub(crate) fn reach_of_entry(&self, document: &ServiceEntry, client: &str) -> Option<Reach> {
        reach(or(&document.export_to, &self.service_export_to), document.meta.namespace(), client)
    }

    /// What is tried again on a route: what it says itself, else what the mesh says.
    pub(crate) fn retries<'r>(&'r self, written: Option<&'r Retries>) -> Option<&'r Retries> {
        written.or(self.retries.as_ref())
    }

    /// What is tried again on the way to the application. Istio: of the mesh's policy attempts, conditions and back-off count.
    pub(crate) fn inbound_retries(&self) -> Option<RetryPolicy> {
        let default = RetryPolicy::istio_inbound();
        let Some(written) = &self.inbound_retries else { return Some(default) };
        let wanted = retries::policy(Some(written), false)?;
        let (on, status_codes) = match written.retry_on {
            Some(_) => (wanted.on, wanted.status_codes),
            None => (default.on, default.status_codes),
        };
        Some(RetryPolicy { attempts: wanted.attempts, backoff: wanted.backoff, on, status_codes, ..default })
    }

    /// Fills in blocks that a policy lacks.
    pub(crate) fn complete<'r>(&'r self, policy: &mut Effective<'r>) {
        policy.connection_pool = policy.connection_pool.or(self.connection_pool.as_deref());
        policy.outlier_detection = policy.outlier_detection.or(self.outlier_detection.as_deref());
    }

    /// Connections of a cluster. Istio: each field of a policy's `tcpKeepalive` goes before the mesh's.
    pub(crate) fn connection(&self, pool: Option<&ConnectionPool>, protocol: Protocol) -> Connection {
        let mut connection = traffic::connection(pool, protocol);
        if pool.is_none_or(|pool| pool.connect_timeout.is_none()) {
            connection.connect_timeout = self.connect_timeout.unwrap_or(connection.connect_timeout);
        }
        if let Some(mesh) = self.tcp_keepalive {
            let own = connection.tcp_keepalive.unwrap_or(TcpKeepalive { probes: None, time: None, interval: None });
            connection.tcp_keepalive = Some(TcpKeepalive {
                probes: own.probes.or(mesh.probes),
                time: own.time.or(mesh.time),
                interval: own.interval.or(mesh.interval),
            });
        }
        connection
    }

    /// What is spoken to a cluster's endpoints.
    pub(crate) fn protocol(&self, port: PortProtocol, pool: Option<&ConnectionPool>) -> Protocol {
        let says_nothing = |pool: &ConnectionPool| pool.h2_upgrade == H2Upgrade::Default && !pool.use_client_protocol;
        match self.h2_upgrade && port == PortProtocol::Http && pool.is_none_or(says_nothing) {
            true => Protocol::Http2,
            false => traffic::protocol(port, pool),
        }
    }
}

/// What is written, or else the default.
pub(crate) fn or<'e>(written: &'e [Arc<str>], default: &'e [Arc<str>]) -> &'e [Arc<str>] {
    if written.is_empty() { default } else { written }
}
