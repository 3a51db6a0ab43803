//! Gateway: a load balancer at the edge. It is read and checked; a sidecar does not serve it.

use std::sync::Arc;

use super::{Labels, Meta};
use crate::source::{Located, Spot};

/// Istio: Gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// What every object has.
    pub meta: Meta,
    /// Which workloads; empty is every gateway.
    pub selector: Labels,
    /// What is served.
    pub servers: Vec<Server>,
}

/// One entry of `servers`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it begins.
    pub spot: Spot,
    /// The port's number; 0 at a Unix socket.
    pub port: u16,
    /// The port's name.
    pub port_name: Arc<str>,
    /// What it speaks, in upper case.
    pub protocol: Arc<str>,
    /// The address, or `unix://` and a path; `None` is all addresses.
    pub bind: Option<Arc<str>>,
    /// `[namespace/]name` of the hosts.
    pub hosts: Vec<Located<Arc<str>>>,
    /// How callers' connections are secured.
    pub tls: Option<Box<ServerTls>>,
}

/// Istio: `tls` of a server, and of an entry of a Sidecar's `ingress`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerTls {
    /// Where it begins.
    pub spot: Spot,
    /// Every request is answered with a redirect to https.
    pub https_redirect: bool,
    /// `mode`.
    pub mode: ServerTlsMode,
    /// `serverCertificate`, `privateKey` and `caCertificates`, or those of `tlsCertificates`. Files.
    pub certificates: Vec<CertificateFiles>,
    /// `caCrl`, a file.
    pub ca_crl: Option<Arc<str>>,
    /// `credentialName` or `credentialNames`: secrets.
    pub credentials: Vec<Located<Arc<str>>>,
    /// `caCertCredentialName`, a secret.
    pub ca_credential: Option<Arc<str>>,
    /// Names, any of which a caller's certificate must bear.
    pub subject_alt_names: Vec<Arc<str>>,
    /// Base64 of SHA-256 hashes of keys.
    pub spki: Vec<Arc<str>>,
    /// Hexadecimal SHA-256 hashes of certificates.
    pub hashes: Vec<Arc<str>>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest.
    pub max_version: TlsVersion,
    /// By OpenSSL's names; empty takes the default.
    pub cipher_suites: Vec<Arc<str>>,
    /// Callers are let in whose certificate cannot be verified.
    pub skip_verify: bool,
}

/// A certificate, its key, and the authorities of those it is shown to. All may be absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: Option<Arc<str>>,
    /// Its key.
    pub private_key: Option<Arc<str>>,
    /// The authorities.
    pub ca_certificates: Option<Arc<str>>,
}

/// Istio: `tls.mode` of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ServerTlsMode {
    /// Bytes are passed on by server name.
    #[default]
    Passthrough,
    /// The server shows a certificate.
    Simple,
    /// Both sides do.
    Mutual,
    /// Bytes are passed on by a server name that says the cluster.
    AutoPassthrough,
    /// Both sides do, with the certificates of the mesh.
    IstioMutual,
    /// A caller may show one.
    OptionalMutual,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum TlsVersion {
    /// What is usual.
    #[default]
    Auto,
    /// TLS 1.0.
    V1_0,
    /// TLS 1.1.
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}
