//! Virtual hosts and routes in Envoy's shape, one route configuration per port.

use std::collections::BTreeMap;

use leeboard_policy::dice::Share;
use leeboard_policy::headers::{HeaderOps, Part, Template};
use leeboard_policy::pattern::{PathMatch, Pattern};
use leeboard_policy::retry::{RetryPolicy, TOKENS};
use leeboard_policy::route::{Abort, Action, Fault, Forward, Match, Redirect, RedirectPath, Rewrite, Route, Target};
use leeboard_policy::snapshot::{Snapshot, VirtualHost};
use serde_json::{Map, Value as Json, json};

use super::{TYPE, origin, seconds};

pub(super) fn dump(snapshot: &Snapshot, updated: &str) -> Json {
    let mut ports: BTreeMap<u16, Vec<Json>> = BTreeMap::new();
    for host in snapshot.hosts() {
        ports.entry(host.port).or_default().push(virtual_host(snapshot, host));
    }
    let outbound = ports.into_iter().map(|(port, hosts)| (port.to_string(), hosts));
    let inbound = snapshot.inbound().iter().map(|inbound| {
        let name = format!("inbound|{}||", inbound.listen.port());
        let host = json!({"name": name, "domains": ["*"], "routes": [route(snapshot, &inbound.route)]});
        (name, vec![host])
    });
    let configs = outbound.chain(inbound).map(|(name, hosts)| {
        let config = json!({
            "@type": format!("{TYPE}.config.route.v3.RouteConfiguration"),
            "name": name,
            "virtual_hosts": hosts,
        });
        json!({"version_info": snapshot.version(), "route_config": config, "last_updated": updated})
    });
    json!({
        "@type": format!("{TYPE}.admin.v3.RoutesConfigDump"),
        "dynamic_route_configs": configs.collect::<Vec<_>>(),
    })
}

fn virtual_host(snapshot: &Snapshot, host: &VirtualHost) -> Json {
    json!({
        "name": &*host.name,
        "domains": host.domains.iter().map(|domain| &**domain).collect::<Vec<_>>(),
        "routes": host.routes.iter().map(|one| route(snapshot, one)).collect::<Vec<_>>(),
        "metadata": {"filter_metadata": {"leeboard": origin(&host.origin)}},
    })
}

fn route(snapshot: &Snapshot, route: &Route) -> Json {
    let mut json = json!({
        "name": &*route.name,
        "match": matcher(&route.when),
        "metadata": {"filter_metadata": {"leeboard": origin(&route.origin)}},
    });
    let object = json.as_object_mut().expect("an object was just made");
    match &route.action {
        Action::Forward(forward) => {
            object.insert("route".into(), action(snapshot, forward));
            headers(object, "request", &forward.request_headers);
            headers(object, "response", &forward.response_headers);
            if let Some(fault) = &forward.fault {
                object
                    .insert("typed_per_filter_config".into(), json!({"envoy.filters.http.fault": self::fault(fault)}));
            }
        }
        Action::Redirect(redirect) => {
            object.insert("redirect".into(), self::redirect(redirect));
            headers(object, "response", &redirect.response_headers);
        }
        Action::Direct(direct) => {
            let body = String::from_utf8_lossy(&direct.body);
            object.insert("direct_response".into(), json!({"status": direct.status, "body": {"inline_string": body}}));
            headers(object, "response", &direct.response_headers);
        }
    }
    json
}

fn matcher(when: &Match) -> Json {
    let mut json = match &when.path {
        PathMatch::Any => json!({"prefix": "/"}),
        PathMatch::Exact(path) => json!({"path": &**path}),
        PathMatch::ExactIgnoreCase(path) => json!({"path": &**path, "case_sensitive": false}),
        PathMatch::Prefix(prefix) => json!({"prefix": &**prefix}),
        PathMatch::PrefixIgnoreCase(prefix) => json!({"prefix": &**prefix, "case_sensitive": false}),
        PathMatch::Regex(regex) => json!({"safe_regex": {"regex": regex.as_str()}}),
    };
    let pseudo = [(":method", &when.method), (":scheme", &when.scheme), (":authority", &when.authority)];
    let pseudo = pseudo.into_iter().filter_map(|(name, pattern)| Some(named(name, pattern.as_ref()?)));
    let present = when.headers.iter().map(|header| named(&header.name, &header.value));
    let absent = when.without_headers.iter().map(|header| {
        let mut json = named(&header.name, &header.value);
        json["invert_match"] = true.into();
        json
    });
    let headers: Vec<Json> = pseudo.chain(present).chain(absent).collect();
    if !headers.is_empty() {
        json["headers"] = headers.into();
    }
    let query: Vec<Json> = when.query.iter().map(|parameter| named(&parameter.name, &parameter.value)).collect();
    if !query.is_empty() {
        json["query_parameters"] = query.into();
    }
    json
}

fn named(name: &str, pattern: &Pattern) -> Json {
    match pattern {
        Pattern::Present => json!({"name": name, "present_match": true}),
        Pattern::Exact(text) => json!({"name": name, "string_match": {"exact": &**text}}),
        Pattern::Prefix(text) => json!({"name": name, "string_match": {"prefix": &**text}}),
        Pattern::Regex(regex) => json!({"name": name, "string_match": {"safe_regex": {"regex": regex.as_str()}}}),
    }
}

fn action(snapshot: &Snapshot, forward: &Forward) -> Json {
    let mut json = Map::new();
    match &forward.destinations[..] {
        [only] => {
            json.insert("cluster".into(), target(snapshot, &only.cluster));
            headers(&mut json, "request", &only.request_headers);
            headers(&mut json, "response", &only.response_headers);
        }
        several => {
            let clusters = several.iter().map(|destination| {
                let mut json = Map::new();
                json.insert("name".into(), target(snapshot, &destination.cluster));
                json.insert("weight".into(), destination.weight.into());
                headers(&mut json, "request", &destination.request_headers);
                headers(&mut json, "response", &destination.response_headers);
                Json::Object(json)
            });
            json.insert("weighted_clusters".into(), json!({"clusters": clusters.collect::<Vec<_>>()}));
        }
    }
    // Envoy: 0 is no timeout.
    json.insert("timeout".into(), forward.timeout.map_or_else(|| "0s".into(), seconds).into());
    if let Some(policy) = &forward.retry {
        json.insert("retry_policy".into(), retry(policy));
    }
    match forward.rewrite.as_deref() {
        Some(Rewrite::Prefix { with, .. }) => drop(json.insert("prefix_rewrite".into(), json!(**with))),
        Some(Rewrite::Whole(path)) => drop(json.insert("path_rewrite".into(), json!(**path))),
        Some(Rewrite::Regex { find, .. }) => {
            drop(json.insert("regex_rewrite".into(), json!({"pattern": {"regex": find.as_str()}})));
        }
        None => {}
    }
    if let Some(authority) = &forward.authority {
        json.insert("host_rewrite_literal".into(), json!(**authority));
    }
    let mirrors = forward.mirrors.iter().map(|mirror| {
        json!({"cluster": target(snapshot, &mirror.cluster), "runtime_fraction": {"default_value": share(mirror.share)}})
    });
    let mirrors: Vec<Json> = mirrors.collect();
    if !mirrors.is_empty() {
        json.insert("request_mirror_policies".into(), mirrors.into());
    }
    Json::Object(json)
}

fn target(snapshot: &Snapshot, target: &Target) -> Json {
    match target {
        Target::Cluster(id) => json!(*snapshot.cluster(*id).name),
        Target::Unknown(name) => json!(**name),
    }
}

fn retry(policy: &RetryPolicy) -> Json {
    let on: Vec<&str> = TOKENS.iter().filter(|(_, on)| policy.on.any(*on)).map(|(token, _)| *token).collect();
    json!({
        "retry_on": on.join(","),
        "num_retries": policy.attempts,
        "per_try_timeout": policy.per_try_timeout.map(seconds),
        "retriable_status_codes": policy.status_codes,
        "retry_back_off": {"base_interval": seconds(policy.backoff)},
        "avoid_tried_hosts": policy.avoid_tried,
    })
}

fn redirect(redirect: &Redirect) -> Json {
    let mut json = json!({
        "host_redirect": redirect.authority.as_deref(),
        "scheme_redirect": redirect.scheme.as_deref(),
        "port_redirect": redirect.port,
        "response_code": redirect.status,
    });
    match &redirect.path {
        Some(RedirectPath::Whole(path)) => json["path_redirect"] = json!(**path),
        Some(RedirectPath::Prefix { with, .. }) => json["prefix_rewrite"] = json!(**with),
        None => {}
    }
    json
}

fn fault(fault: &Fault) -> Json {
    let mut json = Map::new();
    if let Some((delay, percentage)) = fault.delay {
        json.insert("delay".into(), json!({"fixed_delay": seconds(delay), "percentage": share(percentage)}));
    }
    if let Some((abort, percentage)) = fault.abort {
        let (kind, status) = match abort {
            Abort::Http(status) => ("http_status", status),
            Abort::Grpc(status) => ("grpc_status", status),
        };
        json.insert("abort".into(), json!({kind: status, "percentage": share(percentage)}));
    }
    Json::Object(json)
}

fn share(share: Share) -> Json {
    json!({"numerator": share.0, "denominator": "MILLION"})
}

/// Header operations by Envoy's names for a direction.
fn headers(json: &mut Map<String, Json>, direction: &str, ops: &HeaderOps) {
    let one = |action: &'static str| move |(name, value): &(std::sync::Arc<str>, Template)| json!({"header": {"key": &**name, "value": template(value)}, "append_action": action});
    let set = ops.set.iter().map(one("OVERWRITE_IF_EXISTS_OR_ADD"));
    let added: Vec<Json> = set.chain(ops.add.iter().map(one("APPEND_IF_EXISTS_OR_ADD"))).collect();
    if !added.is_empty() {
        json.insert(format!("{direction}_headers_to_add"), added.into());
    }
    if !ops.remove.is_empty() {
        let removed: Vec<&str> = ops.remove.iter().map(|name| &**name).collect();
        json.insert(format!("{direction}_headers_to_remove"), removed.into());
    }
}

/// A value as it was written, but for operators, which are shown by what they mean.
fn template(template: &Template) -> String {
    let part = |part: &Part| match part {
        Part::Literal(text) => text.replace('%', "%%"),
        Part::Operator(operator) => format!("%{operator:?}%"),
    };
    template.0.iter().map(part).collect()
}
