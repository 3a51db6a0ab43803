//! `/clusters`: Envoy's text and JSON, with Leeboard's own values under `leeboard`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use leeboard_policy::cluster::Address;
use serde_json::{Value as Json, json};

use super::AdminState;
use super::page::{PageRequest, PageResponse};
use super::status::{ClusterStatus, EndpointStatus, Moment, clusters};
use crate::telemetry::access_log::timestamp;
use crate::telemetry::exposition::{Family, Value};
use crate::telemetry::families;

/// What Istio writes for a limit that there is not.
const UNLIMITED: u32 = u32::MAX;

/// Connections by cluster and endpoint: open now, made, and failed.
type Connections = BTreeMap<(Arc<str>, Arc<str>), [u64; 3]>;

pub(super) fn answer(state: &AdminState, ask: &PageRequest) -> PageResponse {
    let live = state.live.load();
    let now = Moment { time: state.controls.now(), wall: state.controls.wall() };
    let connections = connections(&state.telemetry.families(now.wall));
    let clusters = clusters(&live, now);
    if ask.json() {
        let statuses: Vec<Json> = clusters.map(|status| as_json(&status, &connections)).collect();
        return PageResponse::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for status in clusters {
        as_text(&mut text, &status, &connections).expect("a String takes all that is written");
    }
    PageResponse::text(text)
}

fn connections(families: &[Family]) -> Connections {
    let wanted = [&families::UPSTREAM_ACTIVE, &families::UPSTREAM_OPENED, &families::UPSTREAM_FAILED];
    let mut connections = Connections::new();
    for (index, metric) in wanted.iter().enumerate() {
        let samples = families.iter().filter(|family| *family.metric == **metric).flat_map(|family| &family.samples);
        for (labels, value) in samples {
            // Both begin with cluster and endpoint; failures have a cause more and are added up.
            let [cluster, endpoint, ..] = &labels[..] else { continue };
            let count = match value {
                Value::Counter(count) => *count,
                Value::Gauge(count) => *count as u64,
                Value::Seconds(_) | Value::Histogram(_) => continue,
            };
            connections.entry((cluster.clone(), endpoint.clone())).or_default()[index] += count;
        }
    }
    connections
}

/// The stats of a host, by Envoy's names and types.
fn stats(
    name: &Arc<str>,
    endpoint: &EndpointStatus<'_>,
    connections: &Connections,
) -> [(&'static str, &'static str, u64); 4] {
    let key = (name.clone(), endpoint.spec.address.to_string().into());
    let [active, made, failed] = connections.get(&key).copied().unwrap_or_default();
    [
        ("cx_active", "GAUGE", active),
        ("cx_connect_fail", "COUNTER", failed),
        ("cx_total", "COUNTER", made),
        ("rq_active", "GAUGE", endpoint.active.into()),
    ]
}

fn as_text(out: &mut String, status: &ClusterStatus<'_>, connections: &Connections) -> std::fmt::Result {
    let cluster = status.cluster;
    let name = &cluster.name;
    writeln!(out, "{name}::observability_name::{name}")?;
    for (key, most) in thresholds(status) {
        writeln!(out, "{name}::default_priority::{key}::{most}")?;
    }
    for limit in status.limits {
        writeln!(out, "{name}::leeboard::{}::taken::{}", limit.name, limit.taken)?;
        writeln!(out, "{name}::leeboard::{}::overflows::{}", limit.name, limit.overflows)?;
    }
    writeln!(out, "{name}::added_via_api::true")?;
    for endpoint in &status.endpoints {
        let host = format!("{name}::{}", endpoint.spec.address);
        for (stat, _, value) in stats(name, endpoint, connections) {
            writeln!(out, "{host}::{stat}::{value}")?;
        }
        let [region, zone, sub_zone] = locality(endpoint);
        writeln!(out, "{host}::hostname::{}", endpoint.spec.workload.name)?;
        writeln!(out, "{host}::health_flags::{}", if endpoint.ejected { "/failed_outlier_check" } else { "healthy" })?;
        writeln!(out, "{host}::weight::{}", endpoint.weight())?;
        writeln!(out, "{host}::region::{region}\n{host}::zone::{zone}\n{host}::sub_zone::{sub_zone}")?;
        writeln!(out, "{host}::canary::false\n{host}::priority::{}", endpoint.level.unwrap_or(0))?;
        writeln!(out, "{host}::leeboard::ejections::{}", endpoint.ejections)?;
        if let Some(returns) = endpoint.returns {
            writeln!(out, "{host}::leeboard::ejected_until::{}", iso(returns))?;
        }
    }
    Ok(())
}

fn as_json(status: &ClusterStatus<'_>, connections: &Connections) -> Json {
    let cluster = status.cluster;
    let mut thresholds: serde_json::Map<_, _> =
        thresholds(status).into_iter().map(|(key, most)| (key.to_owned(), json!(most))).collect();
    thresholds.insert("priority".into(), json!("DEFAULT"));
    let hosts: Vec<Json> = status.endpoints.iter().map(|endpoint| host(&cluster.name, endpoint, connections)).collect();
    let limits: Vec<Json> = (status.limits.iter())
        .map(|limit| {
            json!({
                "limit": limit.name, "most": limit.most, "taken": limit.taken, "remaining": limit.remaining(),
                "open": limit.remaining() == Some(0), "overflows": limit.overflows,
            })
        })
        .collect();
    json!({
        "name": &*cluster.name,
        "observability_name": &*cluster.name,
        "added_via_api": true,
        "host_statuses": hosts,
        "circuit_breakers": {"thresholds": [thresholds]},
        "leeboard": {
            "service": &*cluster.service.host,
            "subset": &*cluster.service.subset,
            "origin": cluster.origin.to_string(),
            "policy_origin": cluster.policy_origin.as_ref().map(ToString::to_string),
            "limits": limits,
            "ejected": status.endpoints.iter().filter(|endpoint| endpoint.ejected).count(),
        },
    })
}

fn host(name: &Arc<str>, endpoint: &EndpointStatus<'_>, connections: &Connections) -> Json {
    let [region, zone, sub_zone] = locality(endpoint);
    let stats: Vec<Json> = (stats(name, endpoint, connections).iter())
        // Envoy's numbers of 64 bits are strings, as protobuf's JSON has them.
        .map(|(name, kind, value)| json!({"name": name, "type": kind, "value": value.to_string()}))
        .collect();
    let workload = &endpoint.spec.workload;
    json!({
        "address": address(&endpoint.spec.address),
        "hostname": &*workload.name,
        "stats": stats,
        "health_status": {"eds_health_status": "HEALTHY", "failed_outlier_check": endpoint.ejected},
        "weight": endpoint.weight(),
        "priority": endpoint.level.unwrap_or(0),
        "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
        "leeboard": {
            "ejected": endpoint.ejected,
            "ejected_until": endpoint.returns.map(iso),
            "ejections": endpoint.ejections,
            "workload": &*workload.name,
            "version": workload.label("version"),
        },
    })
}

/// An address as Envoy's JSON has it.
pub(super) fn address(address: &Address) -> Json {
    match address {
        Address::Socket(socket) => {
            json!({"socket_address": {"address": socket.ip().to_string(), "port_value": socket.port()}})
        }
        Address::Unix(path) => json!({"pipe": {"path": &**path}}),
    }
}

/// The limits by Envoy's names.
fn thresholds(status: &ClusterStatus<'_>) -> [(&'static str, u32); 4] {
    let limits = &status.cluster.limits;
    // A budget makes it move with the traffic.
    let retries = status.limits.iter().find(|limit| limit.name == "retries");
    [
        ("max_connections", limits.connections),
        ("max_pending_requests", limits.pending),
        ("max_requests", limits.requests),
        ("max_retries", retries.and_then(|limit| limit.most)),
    ]
    .map(|(name, most)| (name, most.unwrap_or(UNLIMITED)))
}

fn locality<'a>(endpoint: &EndpointStatus<'a>) -> [&'a str; 3] {
    let mut parts = endpoint.spec.workload.locality.split('/');
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

/// ISO 8601 in UTC.
pub(super) fn iso(time: SystemTime) -> String {
    let mut out = Vec::new();
    timestamp(&mut out, time);
    String::from_utf8(out).expect("a timestamp is ASCII")
}
