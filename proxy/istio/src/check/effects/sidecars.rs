//! What Sidecars do without saying so.

use super::super::Checking;
use crate::codes;
use crate::locations::way;
use crate::resources::sidecar::OutboundTrafficPolicy;

/// Istio: an `outboundTrafficPolicy` without `mode` is REGISTRY_ONLY.
pub(super) fn check(cx: &Checking<'_>) {
    for sidecar in &cx.resources.sidecars {
        let policy = way!["spec", "outboundTrafficPolicy"];
        let blocks = sidecar.outbound_traffic_policy == Some(OutboundTrafficPolicy::RegistryOnly);
        if blocks && !cx.is_written(&sidecar.meta, &policy.to("mode")) {
            let message = "without `mode` calls to hosts that are not defined are refused";
            let complaint = cx.warning(codes::BLOCKS_UNKNOWN, &sidecar.meta, &policy, message);
            cx.tell(complaint.help("write `mode: REGISTRY_ONLY` if that is meant, else `mode: ALLOW_ANY`"));
        }
    }
}
