//! The mesh's defaults for a cluster: what holds where no DestinationRule says otherwise.

use leeboard_policy::cluster::{Connection, Protocol, TcpKeepalive};

use super::effective::Effective;
use super::traffic;
use crate::compile::protocol::PortProtocol;
use crate::resources::MeshConfig;
use crate::resources::destination_rule::{ConnectionPool, H2Upgrade};

impl MeshConfig {
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
