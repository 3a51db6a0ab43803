//! The codes of `istioctl analyze`: on which kinds of objects each is found here, and under which codes of ours.

/// A code of Istio's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// As `IST0101`.
    pub code: &'static str,
    /// What Istio calls it.
    pub name: &'static str,
    /// The kinds of objects on which it is found here; empty when it is not.
    pub kinds: &'static [&'static str],
    /// Our codes for it.
    pub ours: &'static [&'static str],
    /// Why it is not found; empty when it is.
    pub why: &'static str,
}

/// The row of a code; case does not matter.
pub fn named(code: &str) -> Option<&'static Row> {
    ALL.iter().find(|row| row.code.eq_ignore_ascii_case(code))
}

const fn found(
    code: &'static str,
    name: &'static str,
    kinds: &'static [&'static str],
    ours: &'static [&'static str],
) -> Row {
    Row { code, name, kinds, ours, why: "" }
}

const fn lacking(code: &'static str, name: &'static str, why: &'static str) -> Row {
    Row { code, name, kinds: &[], ours: &[], why }
}

/// The kinds that Istio's validator knows.
const VALIDATED: &[&str] =
    &["VirtualService", "DestinationRule", "ServiceEntry", "WorkloadEntry", "Gateway", "Sidecar"];

/// Every code that is about what this proxy does, and those nearby.
pub static ALL: &[Row] = &[
    found("IST0002", "Deprecated", &["VirtualService", "Sidecar"], &["L0207"]),
    found(
        "IST0101",
        "ReferencedResourceNotFound",
        &["VirtualService", "DestinationRule", "ServiceEntry", "Service", "Sidecar", "Telemetry"],
        &["L0301", "L0302", "L0303", "L0305", "L0309", "L0311", "L0322", "L0338"],
    ),
    found("IST0106", "SchemaValidationError", VALIDATED, &["L0103", "L0104", "L0105", "L0201"]),
    found("IST0109", "ConflictingMeshGatewayVirtualServiceHosts", &["VirtualService"], &["L0304"]),
    found("IST0110", "ConflictingSidecarWorkloadSelectors", &["Sidecar"], &["L0312"]),
    found("IST0111", "MultipleSidecarsWithoutWorkloadSelectors", &["Sidecar"], &["L0312"]),
    found("IST0112", "VirtualServiceDestinationPortSelectorRequired", &["VirtualService"], &["L0306"]),
    lacking("IST0116", "DeploymentAssociatedToMultipleServices", "of Deployments only labels and users are looked at"),
    found("IST0118", "PortNameIsNotUnderNamingConvention", &["Service"], &["L0325"]),
    found(
        "IST0127",
        "NoMatchingWorkloadsFound",
        &["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "EnvoyFilter", "WasmPlugin"],
        &["L0311"],
    ),
    found("IST0128", "NoServerCertificateVerificationDestinationLevel", &["DestinationRule"], &["L0546"]),
    found("IST0129", "NoServerCertificateVerificationPortLevel", &["DestinationRule"], &["L0546"]),
    found("IST0130", "VirtualServiceUnreachableRule", &["VirtualService"], &["L0205", "L0542"]),
    found("IST0131", "VirtualServiceIneffectiveMatch", &["VirtualService"], &["L0205", "L0542"]),
    found("IST0132", "VirtualServiceHostNotFoundInGateway", &["VirtualService"], &["L0310"]),
    found("IST0133", "SchemaWarning", VALIDATED, &["L0206", "L0207"]),
    found("IST0134", "ServiceEntryAddressesRequired", &["ServiceEntry"], &["L0324", "L0325"]),
    lacking("IST0137", "DeploymentConflictingPorts", "of Deployments only labels and users are looked at"),
    found("IST0138", "GatewayDuplicateCertificate", &["Gateway"], &["L0329"]),
    found("IST0140", "IngressRouteRulesNotAffected", &["VirtualService"], &["L0320"]),
    lacking("IST0143", "LocalhostListener", "it takes a look into a running pod"),
    found(
        "IST0144",
        "InvalidApplicationUID",
        &["Pod", "Deployment", "StatefulSet", "DaemonSet", "CronJob"],
        &["L0548"],
    ),
    found("IST0145", "ConflictingGateways", &["Gateway"], &["L0313"]),
    found("IST0149", "JwtClaimBasedRoutingWithoutRequestAuthN", &["VirtualService"], &["L0334"]),
    found("IST0150", "ExternalNameServiceTypeInvalidPortName", &["Service"], &["L0326"]),
    lacking("IST0161", "InvalidGatewayCredential", "Secrets are not read"),
    found("IST0162", "GatewayPortNotDefinedOnService", &["Gateway"], &["L0332"]),
    found("IST0165", "ReferencedInternalGateway", &["VirtualService"], &["L0333"]),
    lacking("IST0167", "IneffectivePolicy", "there is no ambient mode here"),
    found("IST0173", "DestinationRuleSubsetNotSelectPods", &["DestinationRule"], &["L0307"]),
    found("IST0174", "UnknownDestinationRuleHost", &["DestinationRule"], &["L0301"]),
    found("IST0177", "ConflictingServiceEntryProtocol", &["ServiceEntry"], &["L0314"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Code;

    #[test]
    fn rows_are_in_order_and_name_codes_that_exist() {
        assert!(ALL.is_sorted_by_key(|row| row.code));
        for row in ALL {
            assert!(row.ours.iter().all(|code| Code::named(code).is_some()), "{}", row.code);
            assert!(
                row.kinds.is_empty() == row.ours.is_empty() && row.kinds.is_empty() != row.why.is_empty(),
                "{}",
                row.code
            );
        }
        assert_eq!(named("ist0177").map(|row| row.kinds), Some(&["ServiceEntry"][..]));
        assert_eq!(named("IST0100"), None);
    }
}
