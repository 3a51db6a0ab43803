//! Istio: MeshConfig.

use leeboard_istio::codes::*;
use leeboard_istio::load;
use leeboard_istio::source::Source;

use crate::{check, error, good, warning};

#[test]
fn settings() {
    check(
        "kind: MeshConfig\n@\n",
        &[
            good(""),
            good("spec: {connectTimeout: 1s}"),
            error(BAD_DURATION, "connectTimeout: «0s»"),
            good("connectTimeout: 1ms"),
            good("connectTimeout: 1h"),
            error(BAD_DURATION, "connectTimeout: «1h1ms»"),
            error(BAD_DURATION, "connectTimeout: «876000h»"),
            error(BAD_DURATION, "drainDuration: «1h1s»"),
            error(BAD_DURATION, "drainDuration: «1500ms»"),
            warning(NO_EFFECT, "defaultHttpRetryPolicy: {attempts: 1, «perTryTimeout»: 1s}"),
            warning(NO_EFFECT, "defaultInboundHttpRetryPolicy: {attempts: 1, «retryRemoteLocalities»: true}"),
            error(BAD_VALUE, "defaultHttpRetryPolicy: {attempts: 1, retryOn: '5xx,« reset»'}"),
            error(OUT_OF_RANGE, "defaultHttpRetryPolicy: {attempts: «-1»}"),
            error(BAD_VALUE, "outboundTrafficPolicy: {mode: «ANY»}"),
            error(BAD_VALUE, "h2UpgradePolicy: «upgrade»"),
            error(NEEDS, "defaultHttpRetryPolicy: {«retryOn»: 5xx}"),
            good("defaultHttpRetryPolicy: {attempts: 0}"),
            error(MISSING, "defaultTrafficPolicy: {«connectionPool»: {}}"),
            error(OUT_OF_RANGE, "defaultTrafficPolicy: {outlierDetection: {maxEjectionPercent: «101»}}"),
            error(BAD_DURATION, "tcpKeepalive: {time: «60»}"),
            error(BAD_NAME, "defaultServiceExportTo: ['.', «a_b»]"),
            error(BAD_NAME, "rootNamespace: «a.b»"),
            error(BAD_VALUE, "pathNormalization: {normalization: «base»}"),
            warning(NOT_ENFORCED, "pathNormalization: {«normalization»: MERGE_SLASHES}"),
            good("pathNormalization: {normalization: DEFAULT}"),
            warning(NOT_ENFORCED, "«accessLogFormat»: '%PROTOCOL%'"),
            error(WRONG_TYPE, "accessLogFile: «1»"),
            error(BAD_VALUE, "accessLogEncoding: «json»"),
            warning(NOT_ENFORCED, "«enableAutoMtls»: true"),
            good("enableAutoMtls: false"),
            error(WRONG_TYPE, "enableAutoMtls: «'false'»"),
            good("defaultConfig: {tracing: {}, gatewayTopology: {numTrustedProxies: 2}}"),
            error(OUT_OF_RANGE, "defaultConfig: {gatewayTopology: {numTrustedProxies: «-1»}}"),
            warning(IGNORED, "«discoverySelectors»: [{}]"),
            warning(UNKNOWN_FIELD, "«conectTimeout»: 1s"),
            error(DUPLICATE_OBJECT, "connectTimeout: 1s\n---\n«kind»: MeshConfig"),
        ],
    );
    check("apiVersion: @\nkind: MeshConfig\nrootNamespace: a\n", &[good("mesh.istio.io/v1alpha1")]);
}

#[test]
fn a_file_of_the_mesh_needs_no_kind() {
    let text = "rootNamespace: a\nconnectTimeout: 3s\n";
    let loaded = load(&[Source::mesh("mesh.yaml", text)]);
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(loaded.resources.mesh.and_then(|mesh| mesh.root_namespace.clone()).as_deref(), Some("a"));
    assert!(load(&[Source::new("mesh.yaml", text)]).resources.mesh.is_none());
    assert_eq!(load(&[Source::mesh("mesh.yaml", "")]).diagnostics, []);
    assert_eq!(load(&[Source::mesh("mesh.yaml", "just text")]).errors(), 1);
}

#[test]
fn the_last_good_settings_stay_in_force() {
    let good = load(&[Source::mesh("mesh.yaml", "rootNamespace: a")]);
    let root = |text: &str| {
        let now = load(&[Source::mesh("mesh.yaml", text)]).keep(&good.resources);
        now.resources.mesh.and_then(|mesh| mesh.root_namespace.clone()).unwrap_or_default()
    };
    for (text, expected) in [
        ("rootNamespace: b", "b"),
        ("rootNamespace: b.c", "a"),
        ("rootNamespace: [", "a"),
        ("", ""),
        ("connectTimeout: 1s", ""),
    ] {
        assert_eq!(&*root(text), expected, "{text}");
    }
}
