//! `tls`, `tunnel` and `proxyProtocol`: how connections to a cluster are made, beyond plain TCP.

use std::sync::Arc;

use leeboard_policy::transport::{Identity, ProxyHeader, Tls, Transport, Trust, Tunnel};

use super::effective::Effective;
use crate::compile::services::service::Service;
use crate::resources::destination_rule::{ClientTls, ProxyProtocol, TlsMode};

/// What the policy in force says of a port and subset; `None` when it is plain TCP.
pub(crate) fn of(policy: &Effective<'_>, service: &Service, port: u16, subset: &str) -> Option<Arc<Transport>> {
    let transport = Transport {
        tls: policy.tls.and_then(|tls| secured(tls, service, port, subset)),
        proxy_header: policy.proxy_protocol.map(|version| match version {
            ProxyProtocol::V1 => ProxyHeader::V1,
            ProxyProtocol::V2 => ProxyHeader::V2,
        }),
        tunnel: policy.tunnel.map(|tunnel| Tunnel {
            method: if tunnel.post { "POST" } else { "CONNECT" },
            host: tunnel.host.value.clone(),
            port: tunnel.port,
        }),
    };
    (transport != Transport::default()).then(|| Arc::new(transport))
}

/// Istio: names that a rule does not say are those of the ServiceEntry. The mesh's own TLS asks for a name that says the
/// cluster. Better than Istio: a secret that a sidecar may not read, as its rule has no workloadSelector, does not make plain
/// text of what was to be secured.
fn secured(tls: &ClientTls, service: &Service, port: u16, subset: &str) -> Option<Tls> {
    let secret = tls.credential.as_ref().map(|secret| secret.value.clone());
    if tls.mode == TlsMode::Disable {
        return None;
    }
    let mesh = tls.mode == TlsMode::IstioMutual;
    let cluster_name = || Arc::from(format!("outbound_.{port}_.{subset}_.{}", service.host));
    Some(Tls {
        identity: identity(tls, secret.as_ref()),
        trust: trust(tls, secret),
        names: match tls.subject_alt_names.is_empty() && !mesh {
            true => service.subject_alt_names.clone(),
            false => tls.subject_alt_names.clone(),
        },
        server_name: tls.sni.clone().or_else(|| mesh.then(cluster_name)),
    })
}

fn identity(tls: &ClientTls, secret: Option<&Arc<str>>) -> Identity {
    match (tls.mode, secret, &tls.certificate, &tls.private_key) {
        (TlsMode::IstioMutual, ..) => Identity::Mesh,
        (TlsMode::Mutual, Some(secret), ..) => Identity::Secret(secret.clone()),
        (TlsMode::Mutual, None, Some(certificate), Some(key)) => {
            Identity::Files { certificate: certificate.clone(), key: key.clone() }
        }
        // The reader of the document has seen to it that nothing is lacking.
        (TlsMode::Mutual | TlsMode::Simple | TlsMode::Disable, ..) => Identity::Anonymous,
    }
}

fn trust(tls: &ClientTls, secret: Option<Arc<str>>) -> Trust {
    match (&tls.ca_certificates, secret) {
        _ if tls.mode == TlsMode::IstioMutual => Trust::Mesh,
        _ if tls.skip_verify => Trust::Anybody,
        (_, Some(secret)) => Trust::Secret(secret),
        (Some(file), None) => Trust::File { authorities: file.clone(), revoked: tls.ca_crl.clone() },
        (None, None) => Trust::System,
    }
}
