//! Reads `tls` of a traffic policy: how connections to endpoints are secured.

use crate::codes;
use crate::fields::Fields;
use crate::resources::destination_rule::{ClientTls, TlsMode};
use crate::support::CLIENT_TLS;

const FILES: [&str; 4] = ["clientCertificate", "privateKey", "caCertificates", "caCrl"];

/// Reads `tls` of a block of policy.
pub(super) fn read(policy: &Fields<'_>) -> Option<ClientTls> {
    let fields = policy.get("tls").block(&CLIENT_TLS)?;
    let modes = [
        ("DISABLE", TlsMode::Disable),
        ("SIMPLE", TlsMode::Simple),
        ("MUTUAL", TlsMode::Mutual),
        ("ISTIO_MUTUAL", TlsMode::IstioMutual),
    ];
    let mode = fields.get("mode").choice(&modes).unwrap_or_default();
    let text = |name| fields.get(name).text().filter(|text| !text.is_empty());
    let tls = ClientTls {
        spot: fields.spot(),
        mode,
        certificate: text("clientCertificate"),
        private_key: text("privateKey"),
        ca_certificates: text("caCertificates"),
        ca_crl: text("caCrl"),
        credential: fields.get("credentialName").located().filter(|name| !name.is_empty()),
        subject_alt_names: fields.get("subjectAltNames").texts().into_iter().map(|name| name.value).collect(),
        sni: text("sni"),
        skip_verify: fields.get("insecureSkipVerify").bool().unwrap_or(false),
    };
    check(&fields, &tls);
    if tls.mode != TlsMode::Disable {
        policy.not_enforced("tls");
    }
    Some(tls)
}

fn check(fields: &Fields<'_>, tls: &ClientTls) {
    let refuse = |names: &[&'static str], why: &str| {
        for name in names.iter().filter(|name| fields.fills(name)) {
            fields.cx.error(codes::CONFLICT, fields.place(name), format!("`{name}` cannot be set {why}"));
        }
    };
    if tls.skip_verify {
        refuse(&["caCertificates", "subjectAltNames"], "with `insecureSkipVerify: true`");
        if tls.mode == TlsMode::Simple {
            refuse(&["credentialName"], "with `mode: SIMPLE` and `insecureSkipVerify: true`");
        }
    }
    match tls.mode {
        TlsMode::Simple | TlsMode::Mutual if tls.credential.is_some() => refuse(&FILES, "with `credentialName`"),
        TlsMode::Mutual => {
            for name in ["clientCertificate", "privateKey"].into_iter().filter(|name| !fields.fills(name)) {
                fields.cx.error(
                    codes::NEEDS,
                    fields.mark,
                    format!("`mode: MUTUAL` needs `{name}` or `credentialName`"),
                );
            }
        }
        TlsMode::IstioMutual => {
            refuse(&FILES, "with `mode: ISTIO_MUTUAL`, which uses the mesh's certificates");
            refuse(&["credentialName"], "with `mode: ISTIO_MUTUAL`, which uses the mesh's certificates");
        }
        TlsMode::Simple | TlsMode::Disable => {}
    }
}
