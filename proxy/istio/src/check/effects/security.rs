//! TLS that is less than it seems.

use super::super::Checking;
use super::Scope;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::resources::destination_rule::TlsMode;

/// Istio: IST0128 and IST0129, and the credentials that sidecars do not read.
pub(super) fn check(cx: &Checking<'_>, at: &Scope<'_, '_>) {
    let Some(tls) = at.blocks.tls.as_ref().filter(|tls| matches!(tls.mode, TlsMode::Simple | TlsMode::Mutual)) else {
        return;
    };
    let path = at.path.to("tls");
    let meta = &at.rule.meta;
    match &tls.credential {
        Some(_) if at.rule.workload_selector.is_none() => {
            let message = "sidecars read no `credentialName` without a `workloadSelector`";
            let complaint = cx.warning(codes::CREDENTIAL_IGNORED, meta, &path.to("credentialName"), message);
            cx.tell(
                complaint.help("name the files, or add a `workloadSelector` for the workloads that have the secret"),
            );
        }
        None if tls.ca_certificates.is_none() && !tls.skip_verify => {
            let ist = if at.port.is_some() { "IST0129" } else { "IST0128" };
            let message = "without `caCertificates` the endpoint's certificate may be of any authority of the system";
            cx.tell(cx.info(codes::NOT_VERIFIED, meta, &path, message).ist(ist));
        }
        _ => {}
    }
}

/// Istio: IST0144.
pub(super) fn users(cx: &Checking<'_>) {
    let pods = cx.resources.pods.iter().map(|pod| (&pod.meta.resource, &pod.proxy_user));
    let made = cx.unread_objects.iter().map(|object| (&object.resource, &object.proxy_user));
    for (resource, spots) in pods.chain(made) {
        for spot in spots {
            let message = "user 1337 is the proxy's: what this container sends is never redirected to it";
            let complaint = Diagnostic::warning(codes::PROXY_USER, resource, spot, message);
            cx.tell(complaint.ist("IST0144").help("let the application run as another user"));
        }
    }
}
