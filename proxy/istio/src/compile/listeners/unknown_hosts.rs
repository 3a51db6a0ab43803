//! What is done with requests to hosts that no service has: passed through, sent to an egress proxy, or refused.

use leeboard_policy::route::Target;
use leeboard_policy::snapshot::UnknownHosts;

use crate::codes;
use crate::compile::clusters::{self, Clusters};
use crate::compile::site::Site;
use crate::diagnostic::Diagnostic;
use crate::resources::Sidecar;
use crate::resources::sidecar::OutboundTrafficPolicy;

/// Istio: what is done with unknown hosts when nobody says so.
const ALLOW_ANY: OutboundTrafficPolicy = OutboundTrafficPolicy::AllowAny;

/// What is done with requests to unknown hosts.
pub(crate) fn compile(
    sidecar: Option<&Sidecar>,
    clusters: &mut Clusters,
    site: &Site,
    diagnostics: &mut Vec<Diagnostic>,
) -> UnknownHosts {
    match sidecar.and_then(|sidecar| sidecar.outbound_traffic_policy).or(site.unknown).unwrap_or(ALLOW_ANY) {
        OutboundTrafficPolicy::RegistryOnly => return UnknownHosts::Block,
        OutboundTrafficPolicy::AllowAny => {}
    }
    let Some((sidecar, proxy)) = sidecar.and_then(|sidecar| Some((sidecar, sidecar.egress_proxy.as_ref()?))) else {
        return UnknownHosts::Allow(clusters.add(clusters::passthrough(site)));
    };
    let port = proxy.port.as_ref().map_or(0, |port| port.value);
    let subset = proxy.subset.as_ref().map_or("", |subset| &subset.value);
    match clusters.target(&proxy.host.to_ascii_lowercase(), port, subset) {
        Target::Cluster(id) => UnknownHosts::Allow(id),
        Target::Unknown(name) => {
            let message = format!("no cluster {name} is there to send unknown hosts to, so they are refused");
            let meta = &sidecar.meta;
            diagnostics.push(Diagnostic::error(codes::UNKNOWN_HOST, &meta.resource, &proxy.host.spot, message));
            UnknownHosts::Block
        }
    }
}
