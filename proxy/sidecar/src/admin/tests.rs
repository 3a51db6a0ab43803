//! The pages, called in memory.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use leeboard_istio::codes;
use leeboard_istio::diagnostic::Diagnostic;
use leeboard_istio::source::Spot;
use leeboard_policy::cluster::{
    Address, Balancer, Cluster, ClusterId, Connection, Discovery, EndpointSpec, Limits, Outlier, Protocol, Service,
};
use leeboard_policy::limits::Limit;
use leeboard_policy::live::{Live, Resolved};
use leeboard_policy::origin::Origin;
use leeboard_policy::outlier::Score;
use leeboard_policy::route::{Action, Destination, Forward, Route, Target};
use leeboard_policy::snapshot::{Draft, Inbound, Snapshot, VirtualHost};
use leeboard_policy::time::Time;
use serde_json::{Value as Json, json};

use super::service::Pages;
use super::*;
use crate::telemetry::access_log::Format;
use crate::telemetry::log_sink::Sink;
use crate::telemetry::samples;

mod guarded;

const NAME: &str = "outbound|9080||reviews.default.svc.cluster.local";

/// What the pages did to the process, in order; and its life, which tests set.
#[derive(Clone)]
struct Fake {
    life: Life,
    done: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn note(&self, what: String) {
        self.done.lock().unwrap().push(what);
    }
}

impl Controls for Fake {
    fn now(&self) -> Time {
        Time(60_000_000_000)
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_709_210_060)
    }

    fn life(&self) -> Life {
        self.life
    }

    fn drain_listeners(&self, drain: DrainListeners) {
        self.note(format!("drain inbound_only={} graceful={}", drain.inbound_only, drain.graceful));
    }

    fn drain(&self) {
        self.note("drain".into());
    }

    fn drained(&self) -> Drained {
        Drained { safe: self.life == Life::Draining, requests: 2, connections: 3 }
    }

    fn quit(&self) {
        self.note("quit".into());
    }

    fn log_level(&self) -> String {
        self.done.lock().unwrap().last().cloned().unwrap_or_else(|| "info".into())
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        if level == "loud" {
            return Err("no level is called loud".into());
        }
        self.note(level.into());
        Ok(())
    }
}

fn place(resource: &str, file: &str, line: u32) -> Origin {
    Origin { resource: resource.into(), file: file.into(), line, column: 3 }
}

fn reviews() -> Cluster {
    let endpoint = |last: u8| EndpointSpec {
        address: Address::Socket(SocketAddr::from(([10, 0, 0, last], 9080))),
        weight: 1,
        workload: Arc::new(samples::workload("reviews", "v1", "default")),
    };
    Cluster {
        name: NAME.into(),
        service: Service {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
            port: 9080,
            subset: "".into(),
            external: false,
        },
        discovery: Discovery::Static((1..=3).map(endpoint).collect()),
        protocol: Protocol::Http1,
        balancer: Balancer::LeastRequest,
        locality_policy: Default::default(),
        warmup: None,
        limits: Limits { requests: Some(2), ..Limits::default() },
        connection: Connection::default(),
        outlier: Some(Outlier { consecutive_5xx: 1, max_ejection_percent: 50, ..Outlier::default() }),
        panic_percent: 0,
        origin: place("Service default/reviews", "config/services.yaml", 4),
        transport: None,
        policy_origin: Some(place("DestinationRule default/reviews", "config/destinations.yaml", 9)),
    }
}

fn snapshot() -> Snapshot {
    snapshot_to(Target::Unknown("outbound|9080|v9|reviews.default.svc.cluster.local".into()))
}

fn snapshot_to(cluster: Target) -> Snapshot {
    let answers_for_app = matches!(cluster, Target::Cluster(_));
    let live = Route {
        name: "all".into(),
        origin: place("VirtualService default/reviews", "config/routes.yaml", 12),
        when: Default::default(),
        cors: None,
        action: Action::Forward(Box::new(Forward {
            destinations: [Destination {
                cluster,
                weight: 1,
                authority: None,
                request_headers: Default::default(),
                response_headers: Default::default(),
            }]
            .into(),
            ..Forward::default()
        })),
    };
    let inbound = Inbound { listen: ([0, 0, 0, 0], 8080).into(), route: live.clone() };
    Snapshot::new(Draft {
        version: "7f3a".into(),
        inbound: answers_for_app.then_some(inbound).into_iter().collect(),
        workload: samples::workload("web", "v1", "shop"),
        hosts: vec![VirtualHost {
            name: "reviews.default.svc.cluster.local:9080".into(),
            port: 9080,
            domains: vec!["reviews".into()],
            routes: vec![live].into(),
            origin: place("VirtualService default/reviews", "config/routes.yaml", 1),
        }],
        clusters: vec![reviews()],
        ..Draft::default()
    })
}

/// A proxy whose first endpoint has been ejected at second 40 and whose limit of two requests is reached once over.
fn state(life: Life) -> (Arc<AdminState>, Arc<Mutex<Vec<String>>>, impl Sized) {
    let live = Live::adopt(None, Arc::new(snapshot()), &Resolved::new(), Time(0));
    let telemetry = Telemetry::start(samples::workload("web", "v1", "shop"), &Sink::Off, Format::Text, None).unwrap();
    let fake = Fake { life, done: Arc::default() };
    let cluster = live.clusters()[0].clone();
    let event = cluster.score(&cluster.endpoints()[0], Score::Status(500), Time(40_000_000_000)).unwrap();
    telemetry.outlier(&event, fake.wall());
    let held = (cluster.take(Limit::Requests), cluster.take(Limit::Requests), cluster.endpoints()[1].clone().enter());
    assert!(cluster.take(Limit::Requests).is_none());
    let resource: Arc<str> = "VirtualService default/ratings".into();
    let spot = Spot { file: "config/routes.yaml".into(), line: 40, column: 7, len: 3 };
    let report = ConfigReport {
        diagnostics: vec![Diagnostic::error(codes::KEPT, &resource, &spot, "weight is no number").help("write 10")],
        kept: vec![resource],
        left_out: Vec::new(),
        waiting: vec!["VirtualService default/web".into()],
        read: UNIX_EPOCH + Duration::from_millis(1_709_210_000_500),
        in_force: Arc::default(),
    };
    let state = AdminState {
        live: Arc::new(ArcSwap::from_pointee(live)),
        config: Arc::new(ArcSwap::from_pointee(report)),
        telemetry,
        listening: vec![Listening { name: "outbound".into(), address: ([127, 0, 0, 1], 15001).into() }],
        workers: 2,
        started: UNIX_EPOCH + Duration::from_secs(1_709_210_000),
        names: Vec::new(),
        secrets: SensitiveHeaders::default(),
        controls: Box::new(fake.clone()),
    };
    (Arc::new(state), fake.done, held)
}

async fn ask(
    state: &Arc<AdminState>,
    scope: Scope,
    method: Method,
    path: &str,
) -> (StatusCode, http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(path).body(()).unwrap();
    let (head, body) = Pages { state: state.clone(), scope }.answer(&request).into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(path: &str) -> String {
    let (state, _, _held) = state(Life::Live);
    let (status, _, body) = ask(&state, Scope::Admin, Method::GET, path).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    body
}

#[tokio::test]
async fn pages_are_served_where_they_belong() {
    #[rustfmt::skip]
    let table = [
        (Scope::Admin, "GET", "/", 200), (Scope::Admin, "GET", "/clusters", 200), (Scope::Admin, "GET", "/config_dump", 200),
        (Scope::Admin, "GET", "/listeners", 200), (Scope::Admin, "GET", "/metrics", 200), (Scope::Admin, "GET", "/stats/prometheus", 200),
        (Scope::Admin, "GET", "/ready", 200), (Scope::Admin, "GET", "/healthz/ready", 200), (Scope::Admin, "GET", "/server_info", 200),
        (Scope::Admin, "GET", "/logging", 200), (Scope::Admin, "POST", "/logging?level=debug", 200), (Scope::Admin, "POST", "/logging", 400),
        (Scope::Admin, "POST", "/logging?level=loud", 400), (Scope::Admin, "HEAD", "/ready/", 200), (Scope::Admin, "POST", "/ready", 405),
        (Scope::Admin, "GET", "/drain_listeners", 405), (Scope::Admin, "GET", "/quitquitquit", 405), (Scope::Admin, "PUT", "/logging", 405),
        (Scope::Admin, "POST", "/drain_listeners", 200), (Scope::Admin, "GET", "/drain", 200), (Scope::Status, "POST", "/drain", 404), (Scope::Admin, "POST", "/quitquitquit", 200), (Scope::Admin, "GET", "/nothing", 404),
        (Scope::Status, "GET", "/healthz/ready", 200), (Scope::Status, "GET", "/ready", 200), (Scope::Status, "GET", "/metrics", 404),
        (Scope::Status, "GET", "/config_dump", 404), (Scope::Status, "POST", "/quitquitquit", 404),
        (Scope::Metrics, "GET", "/metrics", 200), (Scope::Metrics, "GET", "/stats/prometheus", 200), (Scope::Metrics, "GET", "/ready", 404),
        (Scope::Metrics, "POST", "/logging?level=debug", 404),
    ];
    let (state, _, _held) = state(Life::Live);
    for (scope, method, path, expected) in table {
        let (status, headers, _) = ask(&state, scope, method.parse().unwrap(), path).await;
        assert_eq!(status, expected, "{scope:?} {method} {path}");
        assert_eq!(headers.contains_key("allow"), expected == 405, "{scope:?} {method} {path}");
    }
}

#[tokio::test]
async fn readiness_follows_the_processs_life() {
    for (life, status, body) in
        [(Life::Starting, 503, "INITIALIZING\n"), (Life::Live, 200, "LIVE\n"), (Life::Draining, 503, "DRAINING\n")]
    {
        let (state, _, _held) = state(life);
        for path in ["/ready", "/healthz/ready"] {
            let answer = ask(&state, Scope::Status, Method::GET, path).await;
            assert_eq!((answer.0.as_u16(), &*answer.2), (status, body));
        }
    }
}

#[tokio::test]
async fn who_serves_without_some_objects_is_ready_and_names_them() {
    for (count, says) in [(1, "LIVE\nleft out, since it is broken: VirtualService ns/v0\n"), (12, "and 2 more\n")] {
        let (state, _, _held) = state(Life::Live);
        let mut report = ConfigReport::clone(&state.config.load());
        report.left_out = (0..count).map(|n| format!("VirtualService ns/v{n}").into()).collect();
        state.config.store(Arc::new(report));
        let (status, _, body) = ask(&state, Scope::Status, Method::GET, "/healthz/ready").await;
        assert_eq!(status, 200);
        assert!(body.starts_with("LIVE\n") && body.ends_with(says), "{body}");
        let (_, _, metrics) = ask(&state, Scope::Metrics, Method::GET, "/metrics").await;
        assert!(metrics.contains(&format!("\nleeboard_config_objects_left_out {count}\n")), "{metrics}");
        let dump: Json = serde_json::from_str(&ask(&state, Scope::Admin, Method::GET, "/config_dump").await.2).unwrap();
        assert_eq!(dump["leeboard"]["left_out"].as_array().map(Vec::len), Some(count));
    }
}

#[tokio::test]
async fn whether_the_application_may_end_is_shown() {
    for (life, state_name, safe) in [(Life::Live, "LIVE", false), (Life::Draining, "DRAINING", true)] {
        let (state, done, _held) = state(life);
        let (_, _, body) = ask(&state, Scope::Admin, Method::GET, "/drain").await;
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told, serde_json::json!({"state": state_name, "safe": safe, "requests": 2, "connections": 3}));
        assert!(done.lock().unwrap().is_empty(), "to look changes nothing");
    }
}

#[tokio::test]
async fn what_changes_the_process_reaches_it() {
    let (state, done, _held) = state(Life::Live);
    for path in [
        "/logging?level=leeboard%3Ddebug,info",
        "/drain_listeners",
        "/drain_listeners?graceful&inboundonly",
        "/drain",
        "/quitquitquit",
    ] {
        ask(&state, Scope::Admin, Method::POST, path).await;
    }
    assert_eq!(
        *done.lock().unwrap(),
        [
            "leeboard=debug,info",
            "drain inbound_only=false graceful=false",
            "drain inbound_only=true graceful=true",
            "drain",
            "quit"
        ]
    );
}

#[tokio::test]
async fn a_scrape_says_what_is_ejected_limited_and_configured() {
    let text = get("/stats/prometheus").await;
    for line in [
        "leeboard_ejections_total{cluster=\"C\",endpoint=\"10.0.0.1:9080\",cause=\"consecutive_5xx\",enforced=\"true\"} 1",
        "leeboard_endpoint_ejected{cluster=\"C\",endpoint=\"10.0.0.1:9080\"} 1",
        "leeboard_endpoint_ejected{cluster=\"C\",endpoint=\"10.0.0.2:9080\"} 0",
        "leeboard_cluster_endpoints{cluster=\"C\",state=\"available\"} 2",
        "leeboard_cluster_endpoints{cluster=\"C\",state=\"ejected\"} 1",
        "leeboard_upstream_requests_active{cluster=\"C\"} 1",
        "leeboard_breaker_open{cluster=\"C\",limit=\"requests\"} 1",
        "leeboard_breaker_remaining{cluster=\"C\",limit=\"requests\"} 0",
        "leeboard_breaker_overflows_total{cluster=\"C\",limit=\"requests\"} 1",
        "leeboard_config_info{version=\"7f3a\"} 1",
        "leeboard_config_errors 1",
        "leeboard_config_objects_kept 1",
        "leeboard_config_objects_left_out 0",
        "leeboard_config_objects_waiting 1",
        "leeboard_config_last_reload_timestamp_seconds 1709210000.5",
        "leeboard_config_last_reload_successful 0",
        "leeboard_ready 1",
        "istio_build{component=\"proxy\",tag=\"leeboard-0.1.0\"} 1",
        "process_start_time_seconds 1709210000",
    ] {
        let line = line.replace("\"C\"", &format!("\"{NAME}\""));
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    assert!(!text.contains("limit=\"pending\""), "where there is no limit nothing is said of it");
}

#[tokio::test]
async fn clusters_are_envoys_with_what_is_ours_beside() {
    let json: Json = serde_json::from_str(&get("/clusters?format=json").await).unwrap();
    let cluster = &json["cluster_statuses"][0];
    let (out, busy) = (&cluster["host_statuses"][0], &cluster["host_statuses"][1]);
    #[rustfmt::skip]
    let table = [
        (&cluster["name"], json!(NAME)),
        (&cluster["circuit_breakers"]["thresholds"][0]["max_requests"], json!(2)),
        (&cluster["circuit_breakers"]["thresholds"][0]["max_connections"], json!(u32::MAX)),
        (&cluster["leeboard"]["policy_origin"], json!("config/destinations.yaml:9")),
        (&cluster["leeboard"]["limits"][2], json!({"limit": "requests", "most": 2, "taken": 2, "remaining": 0, "open": true, "overflows": 1})),
        (&out["address"], json!({"socket_address": {"address": "10.0.0.1", "port_value": 9080}})),
        (&out["health_status"]["failed_outlier_check"], json!(true)),
        (&out["leeboard"]["ejected_until"], json!("2024-02-29T12:34:30.000Z")),
        (&out["leeboard"]["ejections"], json!(1)),
        (&busy["health_status"]["failed_outlier_check"], json!(false)),
        (&busy["leeboard"]["ejected_until"], Json::Null),
        (&busy["stats"][3], json!({"name": "rq_active", "type": "GAUGE", "value": "1"})),
    ];
    for (found, expected) in table {
        assert_eq!(*found, expected);
    }
    let text = get("/clusters").await;
    for line in [
        "::default_priority::max_requests::2",
        "::leeboard::requests::overflows::1",
        "::10.0.0.1:9080::health_flags::/failed_outlier_check",
        "::10.0.0.1:9080::leeboard::ejected_until::2024-02-29T12:34:30.000Z",
        "::10.0.0.2:9080::health_flags::healthy",
        "::10.0.0.2:9080::rq_active::1",
    ] {
        assert!(text.lines().any(|found| found == format!("{NAME}{line}")), "{line} not in\n{text}");
    }
}

#[tokio::test]
async fn the_configuration_is_dumped_with_its_places_and_complaints() {
    let json: Json = serde_json::from_str(&get("/config_dump").await).unwrap();
    let kinds: Vec<&str> =
        json["configs"].as_array().unwrap().iter().map(|part| part["@type"].as_str().unwrap()).collect();
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.rsplit('.').next().unwrap()).collect();
    assert_eq!(kinds, ["BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "RoutesConfigDump"]);
    let cluster = &json["configs"][1]["dynamic_active_clusters"][0]["cluster"];
    let route = &json["configs"][3]["dynamic_route_configs"][0]["route_config"]["virtual_hosts"][0]["routes"][0];
    let own = &json["leeboard"];
    #[rustfmt::skip]
    let table = [
        (&cluster["type"], json!("STATIC")),
        (&cluster["outlier_detection"]["base_ejection_time"], json!("30s")),
        (&route["route"]["cluster"], json!("outbound|9080|v9|reviews.default.svc.cluster.local")),
        (&route["metadata"]["filter_metadata"]["leeboard"]["at"], json!("config/routes.yaml:12")),
        (&own["version"], json!("7f3a")),
        (&own["kept"], json!(["VirtualService default/ratings"])),
        (&own["diagnostics"], json!([{
            "code": "L0009", "severity": "error", "message": "weight is no number", "file": "config/routes.yaml", "line": 40,
            "column": 7, "resource": "VirtualService default/ratings", "labels": [], "help": "write 10",
        }])),
        (&own["objects"], json!([
            {"resource": "DestinationRule default/reviews", "file": "config/destinations.yaml", "line": 9},
            {"resource": "Service default/reviews", "file": "config/services.yaml", "line": 4},
            {"resource": "VirtualService default/reviews", "file": "config/routes.yaml", "line": 1},
        ])),
    ];
    for (found, expected) in table {
        assert_eq!(*found, expected);
    }
}

#[tokio::test]
async fn the_small_pages_say_who_and_where() {
    assert_eq!(get("/listeners").await, "outbound::127.0.0.1:15001\n");
    let listeners: Json = serde_json::from_str(&get("/listeners?format=json").await).unwrap();
    assert_eq!(listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"], 15001);
    let info: Json = serde_json::from_str(&get("/server_info").await).unwrap();
    assert_eq!((&info["state"], &info["uptime_all_epochs"]), (&json!("LIVE"), &json!("60s")));
    assert_eq!(info["node"]["metadata"]["LABELS"], json!({"app": "web", "version": "v1"}));
    assert_eq!(get("/logging").await, "active loggers:\n  leeboard: info\n");
    let front = get("/").await;
    for part in ["web in shop", "href=\"/clusters\"", "POST /quitquitquit", "outbound on 127.0.0.1:15001"] {
        assert!(front.contains(part), "{part} not in\n{front}");
    }
}
#[test]
fn sockets_serve_their_own_pages_over_http() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let (state, _, _held) = state(Life::Live);
    let sockets = [Scope::Status, Scope::Metrics].map(|scope| (scope, TcpListener::bind("127.0.0.1:0").unwrap()));
    let addresses = sockets.each_ref().map(|(_, socket)| socket.local_addr().unwrap());
    server::start(sockets.into(), state).unwrap();
    let table = [(0, "/ready", "200 OK"), (0, "/metrics", "404 Not Found"), (1, "/metrics", "200 OK")];
    for (socket, path, status) in table {
        let mut stream = TcpStream::connect(addresses[socket]).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_request_is_explained_with_the_state_of_the_moment_and_leaves_it_alone() {
    let (state, _, _held) = state(Life::Live);
    let reaching = Arc::new(snapshot_to(Target::Cluster(ClusterId(0))));
    state.live.store(Arc::new(Live::adopt(Some(&state.live.load()), reaching, &Resolved::new(), Time(50_000_000_000))));
    let explain = async |query: &str| ask(&state, Scope::Admin, Method::GET, &format!("/explain{query}")).await;
    #[rustfmt::skip]
    let table = [
        ("?url=http://reviews:9080/x", 200, "requests: 2 of 2 taken"),
        ("?url=http://reviews:9080/x", 200, "ejected, back in 10s"),
        ("?url=http://reviews:9080/x", 200, "answer       503 UO"),
        ("?url=reviews:9080/x&method=POST&header=a:%20b&header=c:d&format=json", 200, "[\n        \"c\",\n        \"d\"\n      ]"),
        ("?url=http://reviews:9080/x&seed=18446744073709551615", 200, "seed         18446744073709551615"),
        ("?url=http://nobody/", 200, "answer       502"),
        ("", 400, "/explain?url="), ("?url=ftp://a/", 400, "begins with http://"),
        ("?url=http://app/&inbound=8080", 200, "listener     inbound 0.0.0.0:8080"), ("?url=a&inbound=1", 400, "no inbound listener"),
        ("?url=a&seed=x", 400, "is no seed"), ("?url=a&header=x", 400, "not 'name: value'"),
    ];
    for (query, status, words) in table {
        let (found, _, body) = explain(query).await;
        assert_eq!(found, status, "{query}: {body}");
        assert!(body.contains(words), "{query}: no `{words}` in {body}");
    }
    let live = state.live.load();
    let cluster = &live.clusters()[0];
    assert_eq!((cluster.counts.overflows(Limit::Requests), cluster.counts.current(Limit::Requests)), (1, 2));
}
