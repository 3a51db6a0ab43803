//! Reads MeshConfig: settings of the whole mesh, in a file or document of their own.

use std::sync::Arc;

use leeboard_policy::time::Span;

use super::{actions, fingerprint, load_balancer, traffic_policy};
use crate::codes;
use crate::fields::{Cx, Field, Fields};
use crate::names;
use crate::resources::sidecar::OutboundTrafficPolicy;
use crate::resources::virtual_service::Retries;
use crate::resources::{Created, MeshConfig, Meta, ObjectId};
use crate::source::Spot;
use crate::support::{MESH_CONFIG, MESH_OUTBOUND, MESH_POLICY, MESH_PROXY, MESH_TOPOLOGY, PATH_NORMALIZATION, RETRIES};
use crate::yaml::Node;

/// Reads the settings at the top of a document, or below its `spec`; and where they are.
pub(super) fn read(cx: &Cx, node: &Node, id: &ObjectId) -> Option<(MeshConfig, Spot)> {
    let spec = node.entries().and_then(|entries| entries.iter().find(|(key, _)| &*key.text == "spec"));
    let (node, mark) = spec.map_or((node, node.mark), |(key, spec)| (spec, key.mark));
    let fields = Fields::of(node, mark, &MESH_CONFIG, cx)?;
    let upgrade = [("DEFAULT", false), ("DO_NOT_UPGRADE", false), ("UPGRADE", true)];
    let policy = fields.get("defaultTrafficPolicy").block(&MESH_POLICY);
    let pool = policy.as_ref().and_then(|policy| traffic_policy::pool(policy.get("connectionPool")));
    let outlier = policy.as_ref().and_then(|policy| traffic_policy::outlier(policy.get("outlierDetection")));
    normalization(fields.get("pathNormalization"));
    of_others(&fields);
    let spot = fields.spot();
    let meta = Meta {
        id: id.clone(),
        labels: Default::default(),
        annotations: Default::default(),
        created: Created::default(),
        resource: cx.resource.clone(),
        spot: spot.clone(),
        fingerprint: fingerprint::of(node),
    };
    let mesh = MeshConfig {
        connect_timeout: within_an_hour(fields.get("connectTimeout")),
        outbound_traffic_policy: fields.get("outboundTrafficPolicy").block(&MESH_OUTBOUND).map(|f| outbound(&f)),
        locality: load_balancer::locality(fields.get("localityLbSetting")).map(Box::new),
        h2_upgrade: fields.get("h2UpgradePolicy").choice(&upgrade).unwrap_or(false),
        retries: retries(fields.get("defaultHttpRetryPolicy"), &["perTryTimeout"]),
        inbound_retries: retries(
            fields.get("defaultInboundHttpRetryPolicy"),
            &["perTryTimeout", "retryRemoteLocalities", "retryIgnorePreviousHosts"],
        ),
        connection_pool: pool.map(Box::new),
        outlier_detection: outlier.map(Box::new),
        tcp_keepalive: traffic_policy::tcp_keepalive(fields.get("tcpKeepalive")),
        service_export_to: export_to(fields.get("defaultServiceExportTo")),
        virtual_service_export_to: export_to(fields.get("defaultVirtualServiceExportTo")),
        destination_rule_export_to: export_to(fields.get("defaultDestinationRuleExportTo")),
        root_namespace: fields.get("rootNamespace").checked(codes::BAD_NAME, names::dns_label).map(|ns| ns.value),
        auto_mtls: auto_mtls(&fields),
        access_log_file: fields.get("accessLogFile").text(),
        access_log_json: fields.get("accessLogEncoding").choice(&[("TEXT", false), ("JSON", true)]),
        trusted_proxies: trusted_proxies(fields.get("defaultConfig")),
        meta: Some(meta),
    };
    Some((mesh, spot))
}

/// Istio: the mesh's own durations are an hour at most.
fn within_an_hour(field: Field<'_>) -> Option<Span> {
    let span = field.duration()?;
    if span > HOUR {
        let message = format!("`{}` is an hour at most", field.name);
        field.cx.error(codes::BAD_DURATION, field.mark(), message);
        return None;
    }
    Some(span)
}

const HOUR: Span = Span::from_secs(3_600);

/// Istio: the mesh's own policies of retries are without some settings.
fn retries(field: Field<'_>, without: &[&'static str]) -> Option<Retries> {
    let found = actions::retries(field)?;
    if let Some(fields) = field.block(&RETRIES) {
        for name in fields.present(without) {
            let message = format!("`{name}` is not among what the mesh sets for all: it is for a route to say");
            fields.cx.warn(codes::NO_EFFECT, fields.place(name), message);
        }
    }
    Some(found)
}

fn outbound(fields: &Fields<'_>) -> OutboundTrafficPolicy {
    let modes = [
        ("REGISTRY_ONLY", OutboundTrafficPolicy::RegistryOnly),
        ("ALLOW_ANY", OutboundTrafficPolicy::AllowAny),
        ("ALLOW_ANY_DYNAMIC_DNS", OutboundTrafficPolicy::AllowAny),
    ];
    fields.get("mode").choice(&modes).unwrap_or_default()
}

/// Istio: the defaults of `exportTo` are `.`, `*` or `~`, or names of namespaces.
fn export_to(field: Field<'_>) -> Vec<Arc<str>> {
    let entries = field.checked_texts(codes::BAD_NAME, |entry| match entry {
        "." | "*" | "~" => Ok(()),
        name => names::dns_label(name),
    });
    entries.into_iter().map(|entry| entry.value).collect()
}

fn trusted_proxies(field: Field<'_>) -> u32 {
    let topology = field.block(&MESH_PROXY).and_then(|proxy| proxy.get("gatewayTopology").block(&MESH_TOPOLOGY));
    topology.and_then(|topology| topology.get("numTrustedProxies").uint()).unwrap_or(0)
}

fn auto_mtls(fields: &Fields<'_>) -> Option<bool> {
    let on = fields.get("enableAutoMtls").bool();
    if on == Some(true) {
        fields.not_enforced("enableAutoMtls");
    }
    on
}

fn normalization(field: Field<'_>) {
    let Some(fields) = field.block(&PATH_NORMALIZATION) else { return };
    let levels = [
        ("DEFAULT", true),
        ("BASE", true),
        ("NONE", false),
        ("MERGE_SLASHES", false),
        ("DECODE_AND_MERGE_SLASHES", false),
    ];
    let level = fields.get("normalization");
    if level.choice(&levels) == Some(false) {
        fields.not_enforced("normalization");
    }
}

/// Settings that are looked at for their form only.
fn of_others(fields: &Fields<'_>) {
    fields.get("protocolDetectionTimeout").duration_or_zero();
    let drain = fields.get("drainDuration");
    if within_an_hour(drain).is_some_and(|span| span.as_millis() % 1_000 != 0) {
        drain.cx.error(codes::BAD_DURATION, drain.mark(), "`drainDuration` is in whole seconds");
    }
    fields.get("terminationDrainDuration").duration_or_zero();
    if fields.get("accessLogFormat").text().is_some_and(|format| !format.is_empty()) {
        fields.not_enforced("accessLogFormat");
    }
    fields.get("discoverySelectors").list();
}
