//! What stands between a connection and the bytes on it: TLS, a PROXY header, a tunnel. It is part of a cluster for whoever
//! makes connections. TLS is not spoken yet: what must be secured is not sent at all. Nobody acts on the rest yet.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// How a cluster's connections are made, beyond plain TCP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transport {
    /// How they are secured; `None` is plain text.
    pub tls: Option<Tls>,
    /// Which PROXY header tells the endpoint who calls; `None` sends none.
    pub proxy_header: Option<ProxyHeader>,
    /// What they are carried through.
    pub tunnel: Option<Tunnel>,
}

/// How connections are secured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// What the proxy shows.
    pub identity: Identity,
    /// What the endpoint must show.
    pub trust: Trust,
    /// Names, any of which its certificate must bear. Empty is the server name that was asked for.
    pub names: Vec<Arc<str>>,
    /// The server name that is asked for; `None` is the request's Host.
    pub server_name: Option<Arc<str>>,
}

/// The certificate that a proxy shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// None.
    Anonymous,
    /// From files.
    Files {
        /// The certificate and what leads up to its authority.
        certificate: Arc<str>,
        /// Its key.
        key: Arc<str>,
    },
    /// From a secret of this name.
    Secret(Arc<str>),
    /// The workload's own, of the mesh.
    Mesh,
}

/// Whose certificates are trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Those of the system's authorities.
    System,
    /// Those of the authorities in a file.
    File {
        /// The authorities.
        authorities: Arc<str>,
        /// What they have revoked.
        revoked: Option<Arc<str>>,
    },
    /// Those of the authorities in a secret.
    Secret(Arc<str>),
    /// The mesh's.
    Mesh,
    /// Everybody's.
    Anybody,
}

/// A version of the PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// Text.
    V1,
    /// Bytes.
    V2,
}

/// Another proxy that carries connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// `CONNECT` or `POST`.
    pub method: &'static str,
    /// Where it leads.
    pub host: Arc<str>,
    /// The port there.
    pub port: u16,
}
