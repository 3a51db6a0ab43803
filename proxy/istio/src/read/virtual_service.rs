//! Reads VirtualService.

use std::net::IpAddr;
use std::sync::Arc;

use super::overlaps::Overlaps;
use super::scope::{Scope, gateways};
use super::{Object, export_to, http_route, stream_route, unreachable};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::{Cx, Fields};
use crate::names;
use crate::resources::VirtualService;
use crate::source::Located;
use crate::support::VIRTUAL_SERVICE;

pub(super) fn read(object: Object<'_>) -> Option<VirtualService> {
    let spec = object.spec(&VIRTUAL_SERVICE)?;
    let hosts = spec.get("hosts").texts();
    let gateways = gateways(spec.get("gateways"));
    let on_mesh = gateways.is_empty() || gateways.iter().any(|gateway| &*gateway.value == "mesh");
    let scope = Scope { gateway_only: !on_mesh, delegate: hosts.is_empty() && !object.cx.failed() };
    check_hosts(object.cx, &hosts, scope, spec.has("tls"));
    check_delegate(&spec, scope);
    if !on_mesh {
        let message = "it applies to gateways only, and this proxy is a sidecar";
        object.cx.warn(codes::NOT_ENFORCED, spec.place("gateways"), message);
    }
    let http = http_route::read(spec.get("http"), scope);
    let tls = stream_route::tls(spec.get("tls"), &hosts);
    let tcp = stream_route::tcp(spec.get("tcp"));
    // What is wrong with a match may make it look like one that matches everything.
    if !object.cx.failed() {
        unreachable::check(object.cx, &http);
    }
    spec.at_least_one(&["http", "tls", "tcp"]);
    let export_to = export_to(spec.get("exportTo"), object.meta.namespace(), false);
    Some(VirtualService { hosts, gateways, http, tls, tcp, export_to, meta: object.meta })
}

fn check_hosts(cx: &Cx, hosts: &[Located<Arc<str>>], scope: Scope, has_tls: bool) {
    let mut so_far = Overlaps::default();
    for (i, host) in hosts.iter().enumerate() {
        let error = |code, message: String| cx.push(Diagnostic::error(code, &cx.resource, &host.spot, message));
        // Istio: the names by which gateways of several networks call one another.
        let internal = host.starts_with("outbound_.") && has_tls && scope.gateway_only;
        if let Err(message) = names::host_or_ip(host) {
            if !internal {
                error(codes::BAD_HOST, message);
            }
        } else if &***host == "*" && !scope.gateway_only {
            error(codes::BAD_HOST, "the host `*` is for gateways; name the hosts that sidecars route".into());
        }
        if let Some(before) = so_far.add(host, i).map(|before| &hosts[before]) {
            let message = format!("the host `{}` overlaps `{}`", host.value, before.value);
            let diagnostic = Diagnostic::error(codes::DUPLICATE, &cx.resource, &host.spot, message);
            cx.push(diagnostic.label(&before.spot, "it is here"));
        }
    }
}

/// Istio: whether some name matches both hosts.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(suffix), None) => b.parse::<IpAddr>().is_err() && b.ends_with(suffix),
        (None, Some(suffix)) => a.parse::<IpAddr>().is_err() && a.ends_with(suffix),
        (None, None) => a == b,
    }
}

fn check_delegate(spec: &Fields<'_>, scope: Scope) {
    if !scope.delegate {
        return;
    }
    for name in spec.present(&["gateways", "tls", "tcp"]) {
        let message = format!("without `hosts` this is a delegate, which has no `{name}`");
        spec.cx.error(codes::CONFLICT, spec.place(name), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_overlap_both_ways() {
        let rows = [
            ("a.com", "a.com", true),
            ("A.com", "a.com", true),
            ("*.com", "*.foo.com", true),
            ("*.foo.com", "*.com", true),
            ("*.foo.com", "a.foo.com", true),
            ("*.foo.com", "foo.com", false),
            ("a.com", "b.com", false),
            ("*", "a", true),
            ("*.1", "10.0.0.1", false),
        ];
        for (a, b, wanted) in rows {
            assert_eq!(overlap(a, b), wanted, "{a} {b}");
        }
    }
}
