//! Connections that leave HTTP: upgrades through both listeners, and CONNECT.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::{policy, route, service};
use crate::endpoint::{Deed, Endpoint, say};
use crate::message::{Message, Wire, get};
use crate::patience::{Stopwatch, soon};
use crate::program::Leeboard;

const WEBSOCKET: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const REGISTRY_ONLY: &str = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: all, namespace: default}\n\
    spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n";
/// More than all the buffers on the way hold.
const LARGE: usize = 64 * 1024 * 1024;

fn shop(endpoint: &Endpoint) -> String {
    service("shop.test", "HTTP", &[(endpoint.address, "v1")])
        + &policy("shop.test", "{loadBalancer: {simple: ROUND_ROBIN}}")
}

/// Says hello, sends back every four bytes, and has the last word once the caller has ended.
async fn echo(mut wire: Wire) {
    wire.send("hello").await.unwrap();
    while let Some(four) = wire.exactly(4).await {
        wire.send(four).await.unwrap();
    }
    wire.send("bye").await.unwrap();
}

/// An endpoint that switches to [`echo`] when it is asked to upgrade, and answers with 200 otherwise.
async fn echoing() -> Endpoint {
    Endpoint::raw(|mut wire, _| async move {
        while let Some(asked) = wire.head().await {
            let pair = (asked.header("connection"), asked.header("upgrade"));
            match pair {
                (Some(connection), Some("websocket")) if connection.eq_ignore_ascii_case("upgrade") => {
                    assert_eq!(asked.header("sec-websocket-key"), Some("k"));
                    wire.send(SWITCHING).await.unwrap();
                    return echo(wire).await;
                }
                _ => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap(),
            }
        }
    })
    .await
}

async fn heads(wire: &mut Wire, request: impl AsRef<[u8]>) -> Message {
    wire.send(request).await.unwrap();
    soon("a head", wire.head()).await.expect("a head and not the connection's end")
}

async fn read(wire: &mut Wire, expected: &str) {
    let got = soon("bytes from the far side", wire.exactly(expected.len())).await;
    assert_eq!(got.as_deref().map(String::from_utf8_lossy), Some(expected.into()));
}

#[tokio::test]
async fn an_upgrade_carries_bytes_both_ways_until_both_sides_have_ended() {
    let endpoint = echoing().await;
    let inbound = format!("127.0.0.1:0={}", endpoint.address);
    let leeboard = Leeboard::with(&shop(&endpoint), &["--inbound", &inbound]).await;
    let application = format!("inbound|{}||", endpoint.address.port());
    for (kind, cluster) in [("outbound", "outbound|80||shop.test"), ("inbound", &*application)] {
        let mut wire = Wire::to(leeboard.port(kind)).await;
        let path = format!("/{kind}");
        // What is sent before the answer waits for it.
        let switched = heads(&mut wire, get(&path, WEBSOCKET) + "soon").await;
        assert_eq!(switched.status(), 101, "{kind}");
        assert_eq!((switched.header("connection"), switched.header("upgrade")), (Some("Upgrade"), Some("websocket")));
        read(&mut wire, "hellosoon").await;
        wire.send("GET ").await.unwrap();
        read(&mut wire, "GET ").await;
        let labels = [&*format!("cluster=\"{cluster}\"")];
        leeboard.metric_becomes("leeboard_upstream_requests_active", &labels, 1.0).await;
        wire.half_close().await;
        read(&mut wire, "bye").await;
        soon("the end", wire.end()).await;
        let record = leeboard.record(&path).await;
        assert_eq!((&record["response_code"], &record["response_flags"]), (&101.into(), &"-".into()));
        assert_eq!((&record["bytes_received"], &record["bytes_sent"]), (&8.into(), &16.into()));
        leeboard.at_rest(cluster).await;
        let (before, path) = (endpoint.connections(), format!("/{kind}/after"));
        assert_eq!(leeboard.ask_at(kind, get(&path, "")).await.status(), 200);
        assert_eq!(endpoint.connections(), before + 1, "a connection that has left HTTP is not used again");
    }
    let total = leeboard.metric("istio_requests_total", &["response_code=\"101\""]).await;
    assert_eq!(total, Some(2.0));
}

#[tokio::test]
async fn an_answer_other_than_101_is_an_ordinary_response() {
    let endpoint = Endpoint::start(|asked| say(if asked.number == 1 { 426 } else { 200 }, "no")).await;
    let leeboard = Leeboard::start(&shop(&endpoint)).await;
    for (fields, status) in [(WEBSOCKET, 426), ("", 200)] {
        let mut wire = leeboard.dial().await;
        wire.send(get("/", fields)).await.unwrap();
        let answer = soon("an answer", wire.response()).await.unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (status, "no"));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn the_route_s_timeout_and_retries_last_until_the_switch() {
    let endpoint = Endpoint::start(|asked| match (asked.message.target(), asked.number) {
        ("/never", _) => vec![Deed::Hang],
        (_, 1) => say(503, "again"),
        _ => vec![
            Deed::Send(SWITCHING.into()),
            Deed::Pause(Duration::from_millis(600)),
            Deed::Send("late".into()),
            Deed::Close,
        ],
    })
    .await;
    let config = shop(&endpoint) + &route("shop.test", "timeout: 300ms, retries: {attempts: 1, retryOn: 5xx}");
    let leeboard = Leeboard::start(&config).await;
    let mut wire = leeboard.dial().await;
    assert_eq!(heads(&mut wire, get("/retried", WEBSOCKET)).await.status(), 101);
    read(&mut wire, "late").await;
    drop(wire);
    assert_eq!(leeboard.record("/retried").await["response_flags"], "-");
    let watch = Stopwatch::start();
    let answer = leeboard.ask(get("/never", WEBSOCKET)).await;
    watch.check("the wait for 101", 300);
    assert_eq!((answer.status(), answer.text().as_str()), (504, "upstream request timeout"));
    assert_eq!(leeboard.record("/never").await["response_flags"], "UT");
    leeboard.at_rest("outbound|80||shop.test").await;
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_no_answer() {
    let endpoint = Endpoint::start(|_| vec![Deed::Send(SWITCHING.into())]).await;
    let leeboard = Leeboard::start(&shop(&endpoint)).await;
    // Without `Connection: upgrade` none is asked for.
    let answer = leeboard.ask(get("/", "Upgrade: websocket\r\n")).await;
    assert_eq!(
        (answer.status(), answer.header("x-leeboard-reason").unwrap().starts_with("protocol-error")),
        (502, true)
    );
    assert_eq!(endpoint.seen()[0].message.header("upgrade"), None);
}

#[tokio::test]
async fn who_breaks_off_is_in_the_record() {
    let endpoint = Endpoint::raw(|mut wire, _| async move {
        let asked = wire.head().await.unwrap();
        wire.send(SWITCHING).await.unwrap();
        match asked.target() {
            "/endpoint" => {
                wire.exactly(2).await.unwrap();
                wire.reset();
            }
            _ => wire.end().await,
        }
    })
    .await;
    let leeboard = Leeboard::start(&shop(&endpoint)).await;
    for (path, flags) in [("/endpoint", "UC"), ("/caller", "DC")] {
        let mut wire = leeboard.dial().await;
        assert_eq!(heads(&mut wire, get(path, WEBSOCKET)).await.status(), 101);
        wire.send("go").await.unwrap();
        match path {
            "/endpoint" => soon("the end", wire.end()).await,
            _ => wire.reset(),
        }
        let record = leeboard.record(path).await;
        assert_eq!((&record["response_code"], &record["response_flags"]), (&101.into(), &flags.into()), "{path}");
    }
    leeboard.at_rest("outbound|80||shop.test").await;
}

#[tokio::test]
async fn a_side_that_does_not_read_stops_the_other() {
    let (sender, mut flooded) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            wire.head().await.unwrap();
            wire.send(SWITCHING).await.unwrap();
            let first = wire.flood(LARGE, Duration::from_millis(300)).await;
            sender.send(first).unwrap();
            wire.flood(LARGE - first, Duration::from_secs(60)).await;
        }
    })
    .await;
    let leeboard = Leeboard::start(&shop(&endpoint)).await;
    let mut wire = leeboard.dial().await;
    assert_eq!(heads(&mut wire, get("/", WEBSOCKET)).await.status(), 101);
    let first = soon("the endpoint is stopped", flooded.recv()).await.unwrap();
    assert!(first < LARGE / 2, "{first} bytes went somewhere");
    assert_eq!(soon("all of it", wire.exactly(LARGE)).await.map(|all| all.len()), Some(LARGE));
    wire.half_close().await;
    assert_eq!(leeboard.record("/").await["bytes_sent"], LARGE);
}

#[tokio::test]
async fn a_drain_waits_for_tunnels() {
    let endpoint = echoing().await;
    let inbound = format!("127.0.0.1:0={}", endpoint.address);
    let mut leeboard = Leeboard::with(&shop(&endpoint), &["--inbound", &inbound]).await;
    let (mut near, mut far) = (leeboard.dial().await, Wire::to(leeboard.port("inbound")).await);
    for wire in [&mut near, &mut far] {
        assert_eq!(heads(wire, get("/", WEBSOCKET)).await.status(), 101);
        read(wire, "hello").await;
    }
    leeboard.signal(Signal::SIGTERM);
    leeboard.logged("drain").await;
    for wire in [&mut far, &mut near] {
        wire.send("ping").await.unwrap();
        read(wire, "ping").await;
        wire.half_close().await;
        read(wire, "bye").await;
    }
    assert_eq!(leeboard.ended().await.code(), Some(0));
}

fn connect(authority: &str) -> String {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Connection: keep-alive\r\n\r\n")
}

#[tokio::test]
async fn connect_opens_a_tunnel_to_known_and_unknown_hosts() {
    let endpoint = Endpoint::raw(|wire, _| echo(wire)).await;
    let leeboard = Leeboard::start(&shop(&endpoint)).await;
    let elsewhere = endpoint.address.to_string();
    for authority in ["shop.test:80", &elsewhere] {
        let mut wire = leeboard.dial().await;
        let open = heads(&mut wire, connect(authority) + "soon").await;
        assert_eq!((open.status(), open.header("content-length"), open.header("transfer-encoding")), (200, None, None));
        read(&mut wire, "hellosoon").await;
        wire.half_close().await;
        read(&mut wire, "bye").await;
        soon("the end", wire.end()).await;
    }
    leeboard.at_rest("outbound|80||shop.test").await;
    let records = leeboard.records("/", 2).await;
    for (record, cluster) in records.iter().zip(["outbound|80||shop.test", "PassthroughCluster"]) {
        assert_eq!((&record["method"], &record["response_code"]), (&"CONNECT".into(), &200.into()));
        assert_eq!((&record["bytes_received"], &record["bytes_sent"]), (&4.into(), &12.into()));
        assert_eq!(record["upstream_cluster"], cluster);
        assert_eq!(record["upstream_host"], elsewhere.as_str());
    }
}

#[tokio::test]
async fn connect_is_refused_like_any_request() {
    let mut endpoint = Endpoint::named("app").await;
    let address = endpoint.address;
    endpoint.stop().await;
    let rules = "[{match: [{uri: {prefix: /}}], directResponse: {status: 200}}]";
    let config = shop(&endpoint)
        + &service("direct.test", "HTTP", &[(address, "v1")])
        + &crate::config::routes("direct.test", rules)
        + REGISTRY_ONLY;
    let leeboard = Leeboard::with(&config, &["--inbound", &format!("127.0.0.1:0={address}")]).await;
    #[rustfmt::skip]
    let table: &[(&str, &str, u16, &str)] = &[
        ("outbound", "shop.test:80", 503, "connect-refused"),
        ("outbound", "other.test:443", 502, "unknown-host"),
        ("outbound", "direct.test:80", 404, "no-route"),
        ("inbound", "shop.test:80", 403, "upgrade-not-enabled"),
    ];
    for (kind, authority, status, reason) in table {
        let answer = leeboard.ask_at(kind, connect(authority)).await;
        let said = answer.header("x-leeboard-reason").unwrap_or_default();
        assert_eq!((answer.status(), said.split(';').next()), (*status, Some(*reason)), "{kind} {authority}");
    }
    assert_eq!(leeboard.records("/", 3).await[0]["response_flags"], "URX,UF");
}
