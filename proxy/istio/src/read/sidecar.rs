//! Reads Sidecar, as far as it is enforced.

use super::{Object, selector};
use crate::codes;
use crate::resources::Sidecar;
use crate::resources::sidecar::OutboundTrafficPolicy;
use crate::support::{OUTBOUND_POLICY, SIDECAR, SIDECAR_SELECTOR};

pub(super) fn read(object: Object<'_>) -> Option<Sidecar> {
    let spec = object.spec(&SIDECAR)?;
    spec.at_least_one(&["egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool"]);
    let workload_selector = spec.get("workloadSelector").block(&SIDECAR_SELECTOR).map(|fields| {
        let labels = selector(fields.get("labels"));
        if labels.is_empty() {
            let message =
                "a `workloadSelector` without labels is no selector: every workload of the namespace is meant";
            fields.cx.warn(codes::NO_EFFECT, fields.mark, message);
        }
        labels
    });
    let outbound_traffic_policy = spec.get("outboundTrafficPolicy").block(&OUTBOUND_POLICY).map(|policy| {
        let modes =
            [("REGISTRY_ONLY", OutboundTrafficPolicy::RegistryOnly), ("ALLOW_ANY", OutboundTrafficPolicy::AllowAny)];
        let mode = policy.get("mode").choice(&modes).unwrap_or_default();
        if policy.has("egressProxy") && mode != OutboundTrafficPolicy::AllowAny {
            policy.cx.error(codes::NEEDS, policy.place("egressProxy"), "`egressProxy` needs `mode: ALLOW_ANY`");
        }
        mode
    });
    let workload_selector = workload_selector.filter(|labels| !labels.is_empty());
    Some(Sidecar { meta: object.meta, workload_selector, outbound_traffic_policy })
}
