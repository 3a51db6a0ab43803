//! HTTP/2 frames as no decent caller or endpoint sends them: they begin and do not end, say what is no request, come by the thousand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;

use crate::config::{route, service};
use crate::endpoint::{Endpoint, Gate, say};
use crate::http2::{self, Server, ask, frame, request, send};
use crate::message::{Wire, get};
use crate::patience::{Stopwatch, soon};
use crate::program::Leeboard;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Fields that nobody remembers. RFC 7541 §6.2.2.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn head(method: &str, scheme: &str, path: &str, authority: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)])
}

/// A connection that has begun as it should.
async fn begin(leeboard: &Leeboard) -> Wire {
    let mut wire = leeboard.dial().await;
    wire.send([PREFACE, &http2::settings()].concat()).await.unwrap();
    wire
}

/// The next frame: kind, flags, stream, payload.
async fn next(wire: &mut Wire) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head = wire.exactly(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], stream, wire.exactly(length).await?))
}

/// The next frame of a kind; `None` when the connection ends before.
async fn next_of(wire: &mut Wire, kind: u8) -> Option<Vec<u8>> {
    loop {
        let (came, _, _, payload) = soon("a frame", next(wire)).await?;
        if came == kind {
            return Some(payload);
        }
    }
}

async fn before(endpoint: std::net::SocketAddr, protocol: &str, flags: &[&str]) -> Leeboard {
    Leeboard::with(&service("shop.test", protocol, &[(endpoint, "v1")]), flags).await
}

#[tokio::test]
async fn what_begins_and_does_not_end_is_waited_for_as_long_as_a_head() {
    let endpoint = Endpoint::named("one").await;
    let leeboard = before(endpoint.address, "HTTP", &["--header-timeout", "300ms"]).await;
    let settings = http2::settings();
    let whole = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "http", "/", "shop.test"));
    let parts: [(&str, Vec<u8>); 4] = [
        ("a preface", Vec::new()),
        ("half a frame", [&settings[..], &whole[..whole.len() - 3]].concat()),
        ("a block without end", [settings.clone(), frame(HEADERS, 0, 1, &block(&[("x", "y")]))].concat()),
        ("a piece of a frame's head", [settings.clone(), vec![0, 0]].concat()),
    ];
    for (what, bytes) in &parts {
        let (mut wire, watch) = (leeboard.dial().await, Stopwatch::start());
        wire.send([PREFACE, bytes].concat()).await.unwrap();
        let said = next_of(&mut wire, GO_AWAY).await.unwrap_or_else(|| panic!("{what}: no GOAWAY"));
        assert_eq!(said[4..8], 11_u32.to_be_bytes(), "{what}: ENHANCE_YOUR_CALM");
        soon("the end", wire.end()).await;
        watch.check(what, 300);
    }
    leeboard.metric_becomes("leeboard_bad_requests_total", &["reason=\"header-timeout\""], 4.0).await;
    // A body may take its time.
    let mut wire = begin(&leeboard).await;
    wire.send(frame(HEADERS, END_HEADERS, 1, &head("POST", "http", "/", "shop.test"))).await.unwrap();
    let body = frame(DATA, END_STREAM, 1, b"order");
    wire.send(&body[..11]).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(700), next_of(&mut wire, GO_AWAY)).await;
    assert!(quiet.is_err(), "{quiet:?}");
    wire.send(&body[11..]).await.unwrap();
    assert!(next_of(&mut wire, HEADERS).await.is_some());
}

#[tokio::test]
async fn what_is_no_request_reaches_nobody() {
    let endpoint = Endpoint::start(|_| say(200, "")).await;
    let leeboard = before(endpoint.address, "HTTP", &[]).await;
    #[rustfmt::skip]
    let table = [
        // method, scheme, path, authority, reason
        ("GET", "", "/", "shop.test", "malformed"),
        ("GET", "http", "*", "shop.test", "invalid-target"),
        ("GET", "http", "/", "shop.test,evil.test", "invalid-host"),
    ];
    for (method, scheme, path, authority, reason) in table {
        let mut wire = begin(&leeboard).await;
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(method, scheme, path, authority))).await.unwrap();
        let answer = next_of(&mut wire, HEADERS).await.unwrap();
        // `:status: 400` of the static table.
        assert_eq!(answer[0], 0x8c, "{scheme} {path} {authority}");
        let labels = [&*format!("reason=\"{reason}\"")];
        leeboard.metric_becomes("leeboard_bad_requests_total", &labels, 1.0).await;
    }
    assert_eq!(endpoint.hits(), 0);
}

#[tokio::test]
async fn floods_end_their_connection_and_no_other() {
    let (reached, gate) = (Gate::closed(), Gate::closed());
    let (tell, wait) = (reached.clone(), gate.clone());
    let server = Server::start(move |request, mut respond, _| {
        let (tell, wait) = (tell.clone(), wait.clone());
        async move {
            if request.uri().path() == "/held" {
                tell.pass();
                wait.wait().await;
            }
            // A caller that is gone is no reason to panic.
            let _ = respond.send_response(Response::new(()), true);
        }
    })
    .await;
    let leeboard = before(server.address, "HTTP2", &[]).await;
    let polite = http2::call(leeboard.port("outbound")).await;
    let held = tokio::spawn(async move { ask(&polite, request("GET", "/held", &[]), None).await });
    soon("a request that is held", reached.wait()).await;

    let mut wire = begin(&leeboard).await;
    let never = head("GET", "http", "/held", "shop.test");
    for stream in (1..2000_u32).step_by(2) {
        let both = [frame(HEADERS, END_HEADERS | END_STREAM, stream, &never), http2::reset(stream, 8)].concat();
        if wire.send(both).await.is_err() {
            break;
        }
    }
    soon("the end of whoever resets", wire.end()).await;
    assert!(server.streams() < 600, "{} streams", server.streams());
    let mut wire = begin(&leeboard).await;
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]);
    // The connection may be gone before all has been taken.
    let _ = wire.send(priority.repeat(300)).await;
    soon("the end of whoever sets priorities", wire.end()).await;
    leeboard.metric_becomes("leeboard_bad_requests_total", &["reason=\"frame-flood\""], 1.0).await;
    for (counted, (what, frames)) in (2_u8..).zip([
        ("updates windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(2_000)),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(5_000)),
        ("sends settings", frame(SETTINGS, 0, 0, &[]).repeat(5_000)),
        ("sends nothing", [frame(HEADERS, END_HEADERS, 1, &never), frame(DATA, 0, 1, b"").repeat(2)].concat()),
    ]) {
        let mut wire = begin(&leeboard).await;
        let _ = wire.send(frames).await;
        soon(what, wire.end()).await;
        let label = &["reason=\"frame-flood\""];
        leeboard.metric_becomes("leeboard_bad_requests_total", label, f64::from(counted)).await;
    }

    gate.open();
    assert_eq!(soon("the polite caller's answer", held).await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_asked_for_before_it_is_used_again() {
    // Whoever does not read has been forgotten by what is between.
    let silent = Endpoint::raw(move |mut wire, _| async move {
        let preface = wire.exactly(PREFACE.len()).await;
        assert_eq!(preface.as_deref(), Some(PREFACE));
        wire.send(http2::settings()).await.unwrap();
        while let Some((kind, _, stream, _)) = next(&mut wire).await {
            if kind == HEADERS {
                // `:status: 200` of the static table.
                wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])).await.unwrap();
                break;
            }
        }
        std::future::pending::<()>().await;
    })
    .await;
    let decent = Server::start(|_, mut respond, _| async move {
        respond.send_response(Response::new(()), true).unwrap();
    })
    .await;
    for (address, connections) in [(silent.address, 2), (decent.address, 1)] {
        let leeboard =
            before(address, "HTTP2", &["--ping-after", "600ms", "--idle-timeout", "1900ms", "--workers", "1"]).await;
        assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
        // It is not known to be idle before a sweep or two, which is before a caller that says nothing has to leave.
        soon("the end of an idle caller's connection", leeboard.dial().await.end()).await;
        assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
        leeboard.metric_becomes("leeboard_upstream_connections_opened_total", &[], f64::from(connections)).await;
    }
}

#[tokio::test]
async fn what_is_taken_back_with_the_bytes_that_brought_it_goes_nowhere() {
    let endpoint = Endpoint::named("one").await;
    let leeboard = before(endpoint.address, "HTTP", &[]).await;
    let mut wire = begin(&leeboard).await;
    let settings = soon("settings", next_of(&mut wire, SETTINGS)).await;
    assert!(settings.is_some(), "HTTP/2 has begun");
    let [never, after] = ["/never", "/after"].map(|path| head("GET", "http", path, "shop.test"));
    let ask = |stream, head: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, stream, head);
    let both = |stream| [ask(stream, &never), http2::reset(stream, 8)].concat();
    let streams = (1..=200_u32).step_by(2);
    wire.send([streams.flat_map(both).collect(), ask(201, &after)].concat()).await.unwrap();
    let records = leeboard.records("/never", 100).await;
    leeboard.record("/after").await;
    assert_eq!((endpoint.hits(), endpoint.connections()), (1, 1));
    for record in records {
        let seen = (&record["response_flags"], &record["response_code_details"], &record["upstream_cluster"]);
        assert_eq!(seen, (&"DR".into(), &"http2.remote_reset".into(), &serde_json::Value::Null));
    }
}

#[tokio::test]
async fn who_asks_for_a_thousand_things_at_once_is_served_beside_the_others() {
    const MANY: u32 = 1000;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let note = asked.clone();
    let server = Server::start(move |request, mut respond, _| {
        note.lock().unwrap().push(request.uri().path().to_owned());
        async move {
            let _ = respond.send_response(Response::new(()), true);
        }
    })
    .await;
    let leeboard = before(server.address, "HTTP2", &["--workers", "1"]).await;
    let (mut polite, mut wire) = (leeboard.dial().await, begin(&leeboard).await);
    polite.send(get("/before", "")).await.unwrap();
    soon("an answer", polite.response()).await.unwrap();
    let head = head("GET", "http", "/many", "shop.test");
    let all = (0..MANY).flat_map(|at| frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * at, &head));
    wire.send(all.collect::<Vec<u8>>()).await.unwrap();
    polite.send(get("/polite", "")).await.unwrap();
    soon("an answer", polite.response()).await.unwrap();
    leeboard.records("/many", MANY as usize).await;
    let asked = asked.lock().unwrap();
    let turn = asked.iter().position(|path| path == "/polite").unwrap();
    assert!(turn < MANY as usize - 100, "the polite caller had turn {turn} of {}", asked.len());
}

#[tokio::test]
async fn heads_of_requests_are_as_long_as_the_flags_allow() {
    let endpoint = Endpoint::start(|_| say(200, "")).await;
    let leeboard = before(endpoint.address, "HTTP", &["--max-headers", "10", "--max-header-bytes", "4KiB"]).await;
    let caller = http2::call(leeboard.port("outbound")).await;
    let (long, longer) = ("v".repeat(3500), "v".repeat(4100));
    let many: Vec<String> = (0..11).map(|at| format!("x-{at}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    for (path, fields, status) in [
        ("/few", &many[..9], 200),
        ("/many", &many[..], 431),
        ("/long", &[("x-long", &*long)][..], 200),
        ("/longer", &[("x-long", &*longer)][..], 431),
    ] {
        let answer = ask(&caller, request("GET", path, fields), None).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
    leeboard.metric_becomes("leeboard_bad_requests_total", &["reason=\"header-too-large\""], 2.0).await;
    assert_eq!(endpoint.hits(), 2);
}

#[tokio::test]
async fn answers_have_heads_of_sixty_kilobytes_and_not_more() {
    let server = Server::start(|request, mut respond, _| async move {
        let kilobytes: usize = request.uri().path()[1..].parse().unwrap();
        let mut head = Response::builder();
        for at in 0..kilobytes / 10 {
            head = head.header(format!("x-{at}"), "v".repeat(10 * 1024));
        }
        let _ = respond.send_response(head.body(()).unwrap(), true);
    })
    .await;
    let config =
        service("shop.test", "HTTP2", &[(server.address, "v1")]) + &route("shop.test", "retries: {attempts: 0}");
    let leeboard = Leeboard::start(&config).await;
    for (path, status) in [("/20", 200), ("/50", 200), ("/60", 200), ("/80", 502)] {
        let answer = leeboard.ask(get(path, "")).await;
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn early_hints_pass_whatever_either_side_speaks() {
    let server = Server::start(|_, mut respond, _| async move {
        for (status, link) in [(103, "</a.css>"), (103, "</b.css>")] {
            let hint = Response::builder().status(status).header("link", link).body(()).unwrap();
            respond.send_informational(hint).unwrap();
        }
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        send(&mut down, "page");
        down.send_data("".into(), true).unwrap();
    })
    .await;
    let plain = Endpoint::raw(|mut wire, _| async move {
        while wire.request().await.is_some() {
            let hints =
                "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </b.css>\r\n\r\n";
            wire.send(format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")).await.unwrap();
        }
    })
    .await;
    for (endpoint, protocol) in [(server.address, "HTTP2"), (plain.address, "HTTP")] {
        let leeboard = before(endpoint, protocol, &[]).await;
        let mut wire = leeboard.dial().await;
        wire.send(get("/", "")).await.unwrap();
        for expected in [(103, Some("</a.css>")), (103, Some("</b.css>")), (200, None)] {
            let head = soon("a head", wire.head()).await.unwrap();
            assert_eq!((head.status(), head.header("link")), expected, "{protocol} to HTTP/1.1");
        }
        let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
        let (mut answer, _) = caller.send_request(request("GET", "/", &[]), true).unwrap();
        let mut links = Vec::new();
        while let Some(hint) = soon("a hint", std::future::poll_fn(|cx| answer.poll_informational(cx))).await {
            let hint = hint.unwrap();
            links.push((hint.status().as_u16(), hint.headers()["link"].to_str().unwrap().to_owned()));
        }
        assert_eq!(links, [(103, "</a.css>".to_owned()), (103, "</b.css>".to_owned())], "{protocol} to HTTP/2");
        assert_eq!(soon("the answer", answer).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_endpoint_that_allows_no_stream_just_now_is_waited_for_on_one_connection() {
    const SETTINGS: u8 = 4;
    let allow = Gate::closed();
    let wait = allow.clone();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let wait = wait.clone();
        async move {
            wire.exactly(24).await.unwrap();
            let streams = |most: u32| frame(SETTINGS, 0, 0, &[&[0, 3][..], &most.to_be_bytes()].concat());
            wire.send(streams(0)).await.unwrap();
            wait.wait().await;
            wire.send(streams(100)).await.unwrap();
            while let Some((kind, _, stream, _)) = next(&mut wire).await {
                if kind == HEADERS {
                    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])).await.unwrap();
                }
                assert_ne!(kind, RESET);
            }
        }
    })
    .await;
    let config = service("shop.test", "HTTP2", &[(endpoint.address, "v1")]);
    let leeboard = Leeboard::start(&(config + &route("shop.test", "retries: {attempts: 0}"))).await;
    // Once the endpoint's settings are known: this one waits until its own time is over.
    let config = service("shop.test", "HTTP2", &[(endpoint.address, "v1")]);
    let impatient = Leeboard::start(&(config + &route("shop.test", "timeout: 300ms, retries: {attempts: 0}"))).await;
    let watch = Stopwatch::start();
    assert_eq!(impatient.ask(get("/", "")).await.status(), 504);
    watch.check("a request that nobody lets in", 300);
    let mut wires = Vec::new();
    for _ in 0..10 {
        let mut wire = leeboard.dial().await;
        wire.send(get("/", "")).await.unwrap();
        wires.push(wire);
    }
    leeboard.metric_becomes("leeboard_upstream_requests_active", &[], 10.0).await;
    assert!(endpoint.connections() <= 3, "{} connections", endpoint.connections());
    allow.open();
    for wire in &mut wires {
        assert_eq!(soon("an answer", wire.response()).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn heads_that_are_none_leave_a_record_as_well() {
    let endpoint = Endpoint::named("one").await;
    let leeboard = before(endpoint.address, "HTTP", &[]).await;
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop.test")];
    let with = |more: (&'static str, &'static str)| block(&[&fields[..], &[more]].concat());
    let table = [with(("connection", "close")), with(("te", "gzip")), head("GET", "http", "nopath", "shop.test")];
    let mut wire = begin(&leeboard).await;
    let caller = wire.local().to_string();
    for (index, head) in table.iter().enumerate() {
        let stream = 1 + 2 * u32::try_from(index).unwrap();
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, head)).await.unwrap();
        assert_eq!(next_of(&mut wire, RESET).await, Some(1_u32.to_be_bytes().to_vec()), "{stream}");
        let record = leeboard.all_records(index + 1).await.remove(index);
        assert_eq!(record["response_code"], 0, "{record}");
        assert_eq!(record["response_flags"], "DPE", "{record}");
        assert_eq!(record["response_code_details"], "http2.violation.of.messaging.rule", "{record}");
        assert_eq!(record["downstream_remote_address"], *caller, "{record}");
    }
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 7, &block(&fields))).await.unwrap();
    assert!(next_of(&mut wire, HEADERS).await.is_some(), "the connection lives on");
    leeboard.metric_becomes("leeboard_bad_requests_total", &["reason=\"malformed\""], 3.0).await;
    assert_eq!(leeboard.all_records(4).await.len(), 4);
    // What ends the connection is one as well.
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 9, &head("b@d", "http", "/", "shop.test"))).await.unwrap();
    let record = leeboard.all_records(5).await.remove(4);
    assert_eq!(record["response_flags"], "DPE", "{record}");
    // What is wrong with the connection alone is no request.
    let mut wire = begin(&leeboard).await;
    wire.send(frame(DATA, 0, 0, b"x")).await.unwrap();
    assert!(next_of(&mut wire, GO_AWAY).await.is_some());
    soon("the end", wire.end()).await;
    let mut wire = leeboard.dial().await;
    wire.send("GET /last HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    assert!(soon("an answer", wire.response()).await.is_some());
    let records = leeboard.all_records(6).await;
    assert_eq!((records.len(), &records[5]["path"]), (6, &"/last".into()));
}
