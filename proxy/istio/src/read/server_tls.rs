//! Reads `tls` of a gateway's server and of a Sidecar's inbound port.

use std::sync::Arc;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::{Field, Fields};
use crate::resources::gateway::{CertificateFiles, ServerTls, ServerTlsMode, TlsVersion};
use crate::support::{SERVER_TLS, TLS_CERTIFICATE};

const FILES: [&str; 3] = ["serverCertificate", "privateKey", "caCertificates"];

/// Envoy: the cipher suites that it knows.
const CIPHERS: [&str; 15] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

pub(super) fn read(field: Field<'_>) -> Option<ServerTls> {
    let fields = field.block(&SERVER_TLS)?;
    let modes = [
        ("PASSTHROUGH", ServerTlsMode::Passthrough),
        ("SIMPLE", ServerTlsMode::Simple),
        ("MUTUAL", ServerTlsMode::Mutual),
        ("AUTO_PASSTHROUGH", ServerTlsMode::AutoPassthrough),
        ("ISTIO_MUTUAL", ServerTlsMode::IstioMutual),
        ("OPTIONAL_MUTUAL", ServerTlsMode::OptionalMutual),
    ];
    let mode = fields.get("mode").choice(&modes).unwrap_or_default();
    let texts = |name| fields.get(name).texts().into_iter().map(|text| text.value).collect::<Vec<Arc<str>>>();
    let single = fields.get("credentialName").located().filter(|name| !name.is_empty());
    let several = fields.get("credentialNames").texts();
    let mut certificates = vec![files(&fields)];
    certificates.retain(|files| *files != CertificateFiles::default());
    certificates.extend(pairs(&fields));
    let tls = ServerTls {
        spot: fields.spot(),
        https_redirect: fields.get("httpsRedirect").bool().unwrap_or(false),
        mode,
        certificates,
        ca_crl: fields.get("caCrl").text().filter(|text| !text.is_empty()),
        credentials: single.into_iter().chain(several).collect(),
        ca_credential: fields.get("caCertCredentialName").text(),
        subject_alt_names: texts("subjectAltNames"),
        spki: texts("verifyCertificateSpki"),
        hashes: texts("verifyCertificateHash"),
        min_version: version(fields.get("minProtocolVersion")),
        max_version: version(fields.get("maxProtocolVersion")),
        cipher_suites: ciphers(fields.get("cipherSuites")),
        skip_verify: fields.get("insecureSkipVerify").bool().unwrap_or(false),
    };
    check_sources(&fields, &tls);
    check_versions(&fields, &tls);
    Some(tls)
}

fn files(fields: &Fields<'_>) -> CertificateFiles {
    let text = |name| fields.get(name).text().filter(|text| !text.is_empty());
    CertificateFiles {
        certificate: text("serverCertificate"),
        private_key: text("privateKey"),
        ca_certificates: text("caCertificates"),
    }
}

fn pairs(fields: &Fields<'_>) -> Vec<CertificateFiles> {
    let list = fields.get("tlsCertificates");
    let mut found = Vec::new();
    for entry in list.items(&TLS_CERTIFICATE) {
        for name in ["serverCertificate", "privateKey"].into_iter().filter(|name| !entry.fills(name)) {
            entry.cx.error(codes::MISSING, entry.mark, format!("an entry of `tlsCertificates` needs `{name}`"));
        }
        found.push(files(&entry));
    }
    if found.len() > 2 {
        list.cx.warn(codes::OUT_OF_RANGE, list.key, "of `tlsCertificates` two count: one of RSA and one of ECDSA");
    }
    found
}

fn version(field: Field<'_>) -> TlsVersion {
    let versions = [
        ("TLS_AUTO", TlsVersion::Auto),
        ("TLSV1_0", TlsVersion::V1_0),
        ("TLSV1_1", TlsVersion::V1_1),
        ("TLSV1_2", TlsVersion::V1_2),
        ("TLSV1_3", TlsVersion::V1_3),
    ];
    field.choice(&versions).unwrap_or_default()
}

fn ciphers(field: Field<'_>) -> Vec<Arc<str>> {
    let all = field.texts();
    for (i, cipher) in all.iter().enumerate() {
        let warn = |code, message| field.cx.push(Diagnostic::warning(code, &field.cx.resource, &cipher.spot, message));
        if !CIPHERS.contains(&&*cipher.value) {
            warn(codes::BAD_VALUE, format!("`{}` is no cipher suite that is known, and is left out", cipher.value));
        } else if all[..i].iter().any(|before| before.value == cipher.value) {
            warn(codes::DUPLICATE, format!("`{}` is named twice", cipher.value));
        }
    }
    all.into_iter().map(|cipher| cipher.value).collect()
}

/// Istio: where the certificates come from, and which of them a mode needs.
fn check_sources(fields: &Fields<'_>, tls: &ServerTls) {
    let error = |code, name: &str, message: String| fields.cx.error(code, fields.place(name), message);
    let written = |names: &[&'static str]| names.iter().copied().find(|name| fields.fills(name));
    let secret = written(&["credentialName", "credentialNames"]);
    let sources = [written(&["credentialName"]), written(&["credentialNames"]), written(&["tlsCertificates"])];
    // Istio: files beside the name of a Secret are not looked at.
    let own_files = written(&FILES).filter(|_| secret.is_none());
    let sources: Vec<_> = sources.into_iter().chain([own_files]).flatten().collect();
    match tls.mode {
        ServerTlsMode::IstioMutual => {
            let own = written(&FILES).or(secret).or(written(&["caCrl", "tlsCertificates", "caCertCredentialName"]));
            if let Some(name) = own {
                let message = format!("`{name}` cannot be set with `ISTIO_MUTUAL`, which uses the mesh's certificates");
                error(codes::CONFLICT, name, message);
            }
            return;
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            if let Some(name) = written(&FILES).or(secret).or(written(&["caCrl", "tlsCertificates"])) {
                let message = format!("`{name}` does nothing: what is passed through is not decrypted");
                fields.cx.warn(codes::NO_EFFECT, fields.place(name), message);
            }
            return;
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {}
    }
    if let [first, second, ..] = sources[..] {
        return error(codes::ONE_OF, second, format!("`{second}` cannot be set together with `{first}`"));
    }
    if fields.fills("caCrl") && (secret.is_some() || tls.mode == ServerTlsMode::Simple) {
        error(codes::CONFLICT, "caCrl", "`caCrl` is for MUTUAL, with certificates in files".into());
    }
    if tls.credentials.len() > 2 {
        error(codes::OUT_OF_RANGE, "credentialNames", "`credentialNames` has two names at most".into());
    }
    if let Some(secret) = secret {
        if let Some(name) = written(&FILES) {
            let message = format!("`{name}` is not read: the certificates are those of `{secret}`");
            fields.cx.warn(codes::NO_EFFECT, fields.place(name), message);
        }
        return;
    }
    let need = |name: &str| {
        let message = format!("this mode needs `{name}` or `credentialName`");
        fields.cx.error(codes::NEEDS, fields.mark, message);
    };
    if written(&["tlsCertificates"]).is_none() {
        FILES[..2].iter().filter(|name| !fields.fills(name)).for_each(|name| need(name));
    }
    let trusts = tls.certificates.iter().any(|files| files.ca_certificates.is_some()) || tls.ca_credential.is_some();
    if tls.mode != ServerTlsMode::Simple && !trusts {
        need("caCertificates");
    }
}

fn check_versions(fields: &Fields<'_>, tls: &ServerTls) {
    if matches!(tls.min_version, TlsVersion::V1_0 | TlsVersion::V1_1) && tls.cipher_suites.is_empty() {
        let message = "TLS 1.0 and 1.1 need `cipherSuites` of theirs; the usual ones are not";
        fields.cx.warn(codes::NEEDS, fields.place("minProtocolVersion"), message);
    }
}
