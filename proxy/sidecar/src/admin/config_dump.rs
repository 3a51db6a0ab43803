//! `/config_dump`: the configuration in force in Envoy's shape, and all diagnostics.

mod routes;

use std::collections::BTreeSet;

use leeboard_istio::diagnostic::Diagnostic;
use leeboard_policy::cluster::{
    Balancer, ByPlace, Cluster, Discovery, DnsSpec, EndpointSpec, HashKey, Levels, Limits, LocalityPolicy, Outlier,
    Protocol, Warmup,
};
use leeboard_policy::origin::Origin;
use leeboard_policy::snapshot::{Snapshot, UnknownHosts};
use leeboard_policy::time::Span;
use serde_json::{Map, Value as Json, json};

use super::clusters::{address, iso};
use super::page::{PageRequest, PageResponse};
use super::{AdminState, ConfigReport, Listening, pages};
use crate::http::sensitive::{REDACTED, SensitiveHeaders};

/// The names by which Envoy's tools tell the parts of a dump from one another.
const TYPE: &str = "type.googleapis.com/envoy";

pub(super) fn answer(state: &AdminState, _: &PageRequest) -> PageResponse {
    let live = state.live.load();
    let (snapshot, config) = (live.snapshot(), state.config.load());
    let updated = iso(config.read);
    let mut dump = json!({
        "configs": [
            {
                "@type": format!("{TYPE}.admin.v3.BootstrapConfigDump"),
                "bootstrap": {"node": pages::node(snapshot.workload())},
                "last_updated": iso(state.started),
            },
            clusters(snapshot, &updated),
            listeners(snapshot, &state.listening, &updated),
            routes::dump(snapshot, &updated),
        ],
        "leeboard": own(snapshot, &config),
    });
    let mut taken = Vec::new();
    redact(&mut dump, &state.secrets, &mut taken);
    // Complaints quote what is written.
    texts(&mut dump["leeboard"]["diagnostics"], &mut |text| {
        for secret in taken.iter().filter(|secret| secret.len() >= LEAST) {
            if text.contains(&**secret) {
                *text = text.replace(&**secret, REDACTED);
            }
        }
    });
    PageResponse::json(&dump)
}

/// The shortest value that is looked for in complaints.
const LEAST: usize = 4;

/// Takes away the values of what is secret, wherever they stand: header operations have a key and a value, matches a name and
/// what must be there.
fn redact(json: &mut Json, secrets: &SensitiveHeaders, taken: &mut Vec<String>) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| redact(item, secrets, taken)),
        Json::Object(fields) => {
            for (name, value) in [("key", "value"), ("name", "string_match")] {
                let secret = fields.get(name).and_then(Json::as_str).is_some_and(|name| secrets.hide(name));
                if let Some(value) = fields.get_mut(value).filter(|_| secret) {
                    texts(value, &mut |text| taken.push(text.clone()));
                    *value = REDACTED.into();
                }
            }
            fields.values_mut().for_each(|field| redact(field, secrets, taken));
        }
        _ => {}
    }
}

/// Every text in it.
fn texts(json: &mut Json, see: &mut dyn FnMut(&mut String)) {
    match json {
        Json::String(text) => see(text),
        Json::Array(items) => items.iter_mut().for_each(|item| texts(item, see)),
        Json::Object(fields) => fields.values_mut().for_each(|field| texts(field, see)),
        _ => {}
    }
}

fn clusters(snapshot: &Snapshot, updated: &str) -> Json {
    let version = snapshot.version();
    let dump = |cluster| json!({"version_info": version, "cluster": self::cluster(cluster), "last_updated": updated});
    json!({
        "@type": format!("{TYPE}.admin.v3.ClustersConfigDump"),
        "version_info": version,
        "dynamic_active_clusters": snapshot.clusters().iter().map(dump).collect::<Vec<_>>(),
    })
}

fn cluster(cluster: &Cluster) -> Json {
    let service = &cluster.service;
    let connection = &cluster.connection;
    let mut json = json!({
        "@type": format!("{TYPE}.config.cluster.v3.Cluster"),
        "name": &*cluster.name,
        "connect_timeout": seconds(connection.connect_timeout),
        "circuit_breakers": {"thresholds": [limits(&cluster.limits)]},
        "outlier_detection": cluster.outlier.as_ref().map(outlier),
        "common_lb_config": {"healthy_panic_threshold": {"value": cluster.panic_percent}},
        "slow_start_config": cluster.warmup.as_ref().map(warmup),
        "locality_config": locality_policy(&cluster.locality_policy),
        "http_protocol_options": {
            "protocol": match cluster.protocol {
                Protocol::Http1 => "HTTP/1.1",
                Protocol::Http2 => "HTTP/2",
                Protocol::Client => "as the caller",
            },
            "idle_timeout": connection.idle_timeout.map(seconds),
            "max_connection_duration": connection.max_age.map(seconds),
            "max_requests_per_connection": connection.max_requests,
            "max_concurrent_streams": connection.max_streams,
        },
        "metadata": {"filter_metadata": {
            "istio": {
                "services": [{"host": &*service.host, "name": &*service.name, "namespace": &*service.namespace}],
                "subset": &*service.subset,
                "external": service.external,
            },
            "leeboard": {
                "origin": origin(&cluster.origin),
                "policy_origin": cluster.policy_origin.as_ref().map(origin),
            },
        }},
    });
    let object = json.as_object_mut().expect("an object was just made");
    discovery(object, cluster);
    balancer(object, &cluster.balancer);
    json
}

fn discovery(json: &mut Map<String, Json>, cluster: &Cluster) {
    let (kind, endpoints): (_, Vec<Json>) = match &cluster.discovery {
        Discovery::Static(specs) => ("STATIC", specs.iter().map(endpoint).collect()),
        Discovery::Dns(names) => ("STRICT_DNS", names.iter().map(name).collect()),
        Discovery::DnsFirst(one) => ("LOGICAL_DNS", vec![name(one)]),
        Discovery::Original => ("ORIGINAL_DST", Vec::new()),
    };
    json.insert("type".into(), kind.into());
    if !endpoints.is_empty() {
        let assignment = json!({"cluster_name": &*cluster.name, "endpoints": [{"lb_endpoints": endpoints}]});
        json.insert("load_assignment".into(), assignment);
    }
}

fn endpoint(spec: &EndpointSpec) -> Json {
    json!({"endpoint": {"address": address(&spec.address)}, "load_balancing_weight": spec.weight})
}

fn name(spec: &DnsSpec) -> Json {
    let address = json!({"socket_address": {"address": &*spec.name, "port_value": spec.port}});
    json!({"endpoint": {"address": address}, "load_balancing_weight": spec.weight})
}

fn balancer(json: &mut Map<String, Json>, balancer: &Balancer) {
    let policy = match balancer {
        Balancer::LeastRequest => "LEAST_REQUEST",
        Balancer::RoundRobin => "ROUND_ROBIN",
        Balancer::Random => "RANDOM",
        Balancer::RingHash { minimum_size, .. } => {
            json.insert("ring_hash_lb_config".into(), json!({"minimum_ring_size": minimum_size}));
            "RING_HASH"
        }
        Balancer::Maglev { table_size, .. } => {
            json.insert("maglev_lb_config".into(), json!({"table_size": table_size}));
            "MAGLEV"
        }
    };
    json.insert("lb_policy".into(), policy.into());
    if let Some(key) = balancer.hash_key() {
        json.insert("hash_policy".into(), json!([hash_policy(key)]));
    }
}

fn hash_policy(key: &HashKey) -> Json {
    match key {
        HashKey::Cookie(cookie) => json!({"cookie": {
            "name": &*cookie.name,
            "path": &*cookie.path,
            "ttl": cookie.max_age.map(|age| format!("{age}s")),
        }}),
        HashKey::Header(name) => json!({"header": {"header_name": &**name}}),
        HashKey::Query(name) => json!({"query_parameter": {"name": &**name}}),
        HashKey::SourceIp => json!({"connection_properties": {"source_ip": true}}),
    }
}

fn warmup(warmup: &Warmup) -> Json {
    json!({
        "slow_start_window": seconds(warmup.duration),
        "min_weight_percent": {"value": warmup.least * 100.0},
        "aggression": {"default_value": warmup.aggression},
    })
}

/// Envoy has priorities and weights of endpoints instead, which `/clusters` shows; this is what they are made from.
fn locality_policy(locality_policy: &LocalityPolicy) -> Json {
    let levels = |levels: &Levels| {
        let labels = levels.labels.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.to_string(),
        });
        json!({
            "failover_priority": labels.collect::<Vec<_>>(),
            "by": match levels.by_place {
                ByPlace::No => "labels",
                ByPlace::Region => "region",
                ByPlace::Zone => "subzone",
            },
            "next_region": levels.next_region.as_deref(),
        })
    };
    match locality_policy {
        LocalityPolicy::Ignored => Json::Null,
        LocalityPolicy::Shares(shares) => {
            json!({"distribute": shares.iter().map(|(to, share)| json!({"to": &*to.0, "share": share})).collect::<Vec<_>>()})
        }
        LocalityPolicy::Levels(rule) => json!({"failover": levels(rule)}),
        LocalityPolicy::Zones(zones) => json!({"zone_aware": {
            "failover": levels(&zones.levels),
            "min_cluster_size": zones.least_endpoints,
            "callers": zones.callers.iter().map(|(zone, n)| json!({"locality": &**zone, "count": n})).collect::<Vec<_>>(),
        }}),
    }
}

/// Absent is no limit.
fn limits(limits: &Limits) -> Json {
    json!({
        "priority": "DEFAULT",
        "max_connections": limits.connections,
        "max_pending_requests": limits.pending,
        "max_requests": limits.requests,
        "max_retries": limits.retries,
        "retry_budget": limits.budget.map(|budget| json!({
            "budget_percent": {"value": f64::from(budget.share.0) / 10_000.0},
            "min_retry_concurrency": budget.least,
            "budget_interval": budget.interval.map(seconds),
        })),
        "track_remaining": true,
    })
}

fn outlier(outlier: &Outlier) -> Json {
    json!({
        "consecutive_5xx": outlier.consecutive_5xx,
        "consecutive_gateway_failure": outlier.consecutive_gateway,
        "split_external_local_origin_errors": outlier.split_local_origin,
        "consecutive_local_origin_failure": outlier.consecutive_local,
        "http_error_codes": outlier.error_codes,
        "interval": seconds(outlier.interval),
        "base_ejection_time": seconds(outlier.base_ejection),
        "max_ejection_time": seconds(outlier.max_ejection),
        "max_ejection_percent": outlier.max_ejection_percent,
    })
}

fn listeners(snapshot: &Snapshot, listening: &[Listening], updated: &str) -> Json {
    let traffic = listening.iter().filter(|socket| !matches!(&*socket.name, "admin" | "status" | "metrics"));
    let listeners = traffic.map(|socket| {
        let listener = json!({
            "@type": format!("{TYPE}.config.listener.v3.Listener"),
            "name": &*socket.name,
            "address": {"socket_address": {"address": socket.address.ip().to_string(), "port_value": socket.address.port()}},
        });
        let active = json!({"version_info": snapshot.version(), "listener": listener, "last_updated": updated});
        json!({"name": &*socket.name, "active_state": active})
    });
    json!({
        "@type": format!("{TYPE}.admin.v3.ListenersConfigDump"),
        "version_info": snapshot.version(),
        "dynamic_listeners": listeners.collect::<Vec<_>>(),
    })
}

/// What only we have to say.
fn own(snapshot: &Snapshot, config: &ConfigReport) -> Json {
    json!({
        "version": snapshot.version(),
        "read": iso(config.read),
        "unknown_hosts": match snapshot.unknown() {
            UnknownHosts::Allow(_) => "ALLOW_ANY",
            UnknownHosts::Block => "REGISTRY_ONLY",
        },
        "diagnostics": config.diagnostics.iter().map(diagnostic).collect::<Vec<_>>(),
        "kept": config.kept.iter().map(|object| json!(**object)).collect::<Vec<_>>(),
        "left_out": config.left_out.iter().map(|object| json!(**object)).collect::<Vec<_>>(),
        "waiting": config.waiting.iter().map(|object| json!(**object)).collect::<Vec<_>>(),
        "objects": objects(snapshot),
    })
}

/// The objects that serve, and where each is written.
fn objects(snapshot: &Snapshot) -> Vec<Json> {
    let hosts = snapshot
        .hosts()
        .iter()
        .flat_map(|host| std::iter::once(&host.origin).chain(host.routes.iter().map(|route| &route.origin)));
    let clusters =
        snapshot.clusters().iter().flat_map(|cluster| std::iter::once(&cluster.origin).chain(&cluster.policy_origin));
    let origins = hosts.chain(clusters).filter(|origin| !origin.file.is_empty());
    // An object has one entry for each file that it is written in: at its first line that serves.
    let places: BTreeSet<_> = origins.map(|origin| (&origin.resource, &origin.file, origin.line)).collect();
    let mut objects: Vec<Json> = Vec::new();
    let mut last = None;
    for (resource, file, line) in places {
        if last != Some((resource, file)) {
            objects.push(json!({"resource": &**resource, "file": &**file, "line": line}));
            last = Some((resource, file));
        }
    }
    objects
}

/// A complaint as JSON: code, severity, message, file, line, column, help.
fn diagnostic(diagnostic: &Diagnostic) -> Json {
    let place = &diagnostic.primary;
    let label = |(spot, text): &(leeboard_istio::source::Spot, String)| json!({"file": &*spot.file, "line": spot.line, "column": spot.column, "message": text});
    let mut json = json!({
        "code": diagnostic.code.to_string(),
        "severity": diagnostic.severity.name(),
        "message": diagnostic.message,
        "file": &*place.file,
        "line": place.line,
        "column": place.column,
        "resource": &*diagnostic.resource,
        "labels": diagnostic.labels.iter().map(label).collect::<Vec<_>>(),
    });
    if let Some(ist) = diagnostic.ist {
        json["ist"] = ist.into();
    }
    if let Some(help) = &diagnostic.help {
        json["help"] = help.as_str().into();
    }
    json
}

fn origin(origin: &Origin) -> Json {
    json!({"resource": &*origin.resource, "at": origin.to_string()})
}

/// A length of time as protobuf's JSON has it.
fn seconds(span: Span) -> String {
    let (whole, nanos) = (span.0 / 1_000_000_000, span.0 % 1_000_000_000);
    if nanos == 0 {
        return format!("{whole}s");
    }
    format!("{whole}.{nanos:09}").trim_end_matches('0').to_owned() + "s"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_protobufs() {
        for (span, text) in [(0, "0s"), (2_000_000_000, "2s"), (300_000_000, "0.3s"), (1_000_000_025, "1.000000025s")] {
            assert_eq!(seconds(Span(span)), text);
        }
    }
}
