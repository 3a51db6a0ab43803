//! What callers can make of the metrics and the access log: all that they do is seen, and no more than what is known of them.

use std::net::SocketAddr;

use crate::config::{policy, route, service};
use crate::endpoint::{Endpoint, say};
use crate::http2;
use crate::message::{self, Wire, get};
use crate::patience::soon;
use crate::program::Leeboard;

/// One in front of an application, which is at 127.0.0.1.
async fn beside(application: &Endpoint, flags: &[&str]) -> Leeboard {
    let inbound = format!("127.0.0.1:0={}", application.address);
    Leeboard::with("", &[&["--inbound", &inbound], flags].concat()).await
}

/// Asks on one connection as so many workloads.
async fn introduce(wire: &mut Wire, names: impl IntoIterator<Item = String>) {
    for name in names {
        wire.send(get("/", &format!("X-Leeboard-Peer: name={name};namespace=demo\r\n"))).await.unwrap();
        assert_eq!(wire.response().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn strangers_do_not_say_who_they_are() {
    let application = Endpoint::named("app").await;
    let leeboard = beside(&application, &["--trusted-peers", "127.0.0.3"]).await;
    let inbound = leeboard.port("inbound");
    for (from, name) in [("127.0.0.1", "inside"), ("127.0.0.2", "stranger"), ("127.0.0.3", "trusted")] {
        introduce(&mut Wire::between(from, inbound).await, [name.to_owned()]).await;
    }
    for (name, count) in [("inside", Some(1.0)), ("trusted", Some(1.0)), ("unknown", Some(1.0)), ("stranger", None)] {
        let label = format!("source_workload=\"{name}\"");
        assert_eq!(leeboard.metric("istio_requests_total", &[&label]).await, count, "{name}");
    }
}

#[tokio::test]
async fn forged_names_and_statuses_leave_room_for_honest_callers() {
    // Each answer has a status of its own, as a hostile endpoint might.
    let application = Endpoint::start(|asked| {
        let number = asked.number;
        vec![crate::endpoint::Deed::Send(
            format!("HTTP/1.1 200 OK\r\nGrpc-Status: {number}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        )]
    });
    let application = application.await;
    let leeboard = beside(&application, &[]).await;
    let mut wire = Wire::between("127.0.0.2", leeboard.port("inbound")).await;
    for number in 0..200 {
        let fields = format!("X-Leeboard-Peer: name=forged-{number}\r\nContent-Type: application/grpc\r\n");
        wire.send(get("/", &fields)).await.unwrap();
        assert_eq!(wire.response().await.unwrap().status(), 200);
    }
    let page = leeboard.page("/stats/prometheus").await;
    let series = page.lines().filter(|line| line.starts_with("istio_requests_total{")).count();
    assert_eq!(series, 17, "16 that gRPC knows, and one for the rest");
    assert_eq!(leeboard.metric("istio_requests_total", &["grpc_response_status=\"unknown\""]).await, Some(184.0));
}

#[tokio::test]
async fn addresses_that_a_caller_makes_up_are_one_series() {
    let here = Endpoint::start(|_| say(200, "")).await;
    let there = Endpoint::start(|_| say(200, "")).await;
    let leeboard = Leeboard::start("").await;
    for endpoint in [&here, &there] {
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", endpoint.address);
        assert_eq!(leeboard.ask(request).await.status(), 200);
    }
    let labels = ["cluster=\"PassthroughCluster\"", "endpoint=\"unknown\""];
    assert_eq!(leeboard.metric("leeboard_upstream_connections_opened_total", &labels).await, Some(2.0));
    assert_eq!(leeboard.metric("leeboard_upstream_connections_opened_total", &[]).await, Some(2.0));
}

#[tokio::test]
async fn what_is_refused_before_an_exchange_leaves_a_line() {
    let leeboard = Leeboard::with("", &["--header-timeout", "100ms", "--max-header-bytes", "8192"]).await;
    let long = format!("GET /long HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "x".repeat(9_000));
    let chunks = "POST /chunks HTTP/1.1\r\nHost: a.test\r\n";
    let (both, coded) = ("Content-Length: 1\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked");
    #[rustfmt::skip]
    let table: &[(&str, u16, &str, &str, &str, &str, &str)] = &[
        // what is sent, status, flags, details, method, path, authority
        ("GET /bad HTTP/1.1\r\nHost : a.test\r\n\r\n", 400, "DPE", "http1.codec_error", "GET", "/bad", ""),
        ("\u{1}\u{2}hello\r\n\r\n", 400, "DPE", "http1.codec_error", "", "\u{1}\u{2}hello", ""),
        ("GET /late HTTP/1.1\r\nX: ", 408, "-", "request_header_timeout", "GET", "/late", ""),
        ("GET /la", 408, "-", "request_header_timeout", "GET", "/la", ""),
        (&long, 431, "DPE", "http1.headers_too_large", "GET", "/long", ""),
        (&format!("{chunks}{coded}\r\n\r\n"), 501, "DPE", "http1.invalid_transfer_encoding", "POST", "/chunks", "a.test"),
        (&format!("{chunks}{both}\r\n\r\n"), 400, "DPE", "http1.content_length_and_chunked_not_allowed", "POST", "/chunks", "a.test"),
        ("GET no-path HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "DPE", "path_normalization_failed", "GET", "no-path", "a.test"),
        ("GET /none HTTP/1.1\r\nX: 1\r\n\r\n", 400, "DPE", "missing_host_header", "GET", "/none", ""),
        ("GET /a%00b HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "DPE", "path_normalization_failed", "GET", "/a%00b", "a.test"),
        ("GET /up HTTP/1.1\r\nHost: a.test\r\nX-Leeboard-Hops: 16\r\n\r\n", 508, "-", "loop_detected", "GET", "/up", "a.test"),
    ];
    for (index, (sent, status, flags, details, method, path, authority)) in table.iter().enumerate() {
        let mut wire = leeboard.dial().await;
        let caller = wire.local().to_string();
        // Not all of what is too long need be taken.
        let _ = wire.send(sent).await;
        assert_eq!(soon("a refusal", wire.response()).await.map(|answer| answer.status()), Some(*status), "{sent:?}");
        drop(wire);
        let record = leeboard.all_records(index + 1).await.remove(index);
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (record["response_code"].as_u64(), text("response_flags"), text("response_code_details")),
            (Some(u64::from(*status)), (*flags).to_owned(), (*details).to_owned()),
            "{sent:?}"
        );
        assert_eq!(
            (text("method"), text("path"), text("authority")),
            ((*method).into(), (*path).into(), (*authority).into())
        );
        assert_eq!(text("downstream_remote_address"), caller, "{sent:?}");
    }
    for (code, flags, count) in [("400", "DPE", 6.0), ("408", "-", 2.0), ("431", "DPE", 1.0), ("501", "DPE", 1.0)] {
        let labels = [format!("response_code=\"{code}\""), format!("response_flags=\"{flags}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        leeboard.metric_becomes("istio_requests_total", &labels, count).await;
    }
}

#[tokio::test]
async fn a_malformed_body_is_its_callers_mistake_and_no_parting() {
    let endpoint = Endpoint::start(|_| say(200, "app")).await;
    let leeboard = Leeboard::start("").await;
    let mut wire = leeboard.dial().await;
    let head = format!("POST /chunks HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", endpoint.address);
    wire.send(head + "3\r\nabc\r\nnonsense\r\n").await.unwrap();
    let answer = soon("a refusal", wire.response()).await.unwrap();
    assert_eq!((answer.status(), answer.header("x-leeboard-reason")), (400, Some("malformed")));
    let record = leeboard.record("/chunks").await;
    assert_eq!(record["response_code"], 400);
    assert_eq!(record["response_flags"], "DPE");
    assert_eq!(record["response_code_details"], "http1.codec_error");
    leeboard.metric_becomes("istio_requests_total", &["response_code=\"400\"", "response_flags=\"DPE\""], 1.0).await;
    assert_eq!(leeboard.metric("istio_requests_total", &["response_flags=\"DC\""]).await, None);
}

/// A service whose endpoint is ejected for its first failure and whose requests are repeated where they may be.
async fn strictly_judged(address: SocketAddr, protocol: &str) -> Leeboard {
    let judged = "{outlierDetection: {consecutive5xxErrors: 1, consecutiveGatewayErrors: 1, baseEjectionTime: 60s, \
                  maxEjectionPercent: 100, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 1}}";
    let config = service("shop.test", protocol, &[(address, "v1")])
        + &policy("shop.test", judged)
        + &route("shop.test", "retries: {attempts: 3, retryOn: \"5xx,reset,gateway-error\"}");
    Leeboard::start(&config).await
}

/// Nobody but the caller is at fault: the record says so, and the endpoint, which has been told, goes on in good standing.
async fn is_the_callers_fault(leeboard: &Leeboard, path: &str, status: u16, what: &str) {
    let record = leeboard.record(path).await;
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    assert_eq!(
        (record["response_code"].as_u64(), text("response_flags"), text("response_code_details")),
        (Some(u64::from(status)), "DPE", "http1.codec_error"),
        "{what}"
    );
    leeboard.metric_becomes("leeboard_bad_requests_total", &["reason=\"malformed\""], 1.0).await;
    leeboard.at_rest("outbound|80||shop.test").await;
    assert_eq!(leeboard.ask(get("/next", "Connection: close\r\n")).await.status(), 200, "{what}");
    let page = leeboard.page("/clusters").await;
    assert!(page.contains("health_flags::healthy"), "{what}: {page}");
}

#[tokio::test]
async fn an_endpoint_is_not_blamed_for_a_body_that_is_none() {
    let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let plain = Endpoint::raw(move |mut wire: Wire, _| async move {
        while let Some(head) = wire.head().await {
            match head.target() {
                "/next" => wire.send(message::response(200, "")).await.unwrap(),
                target => {
                    if target == "/after" {
                        wire.send(part).await.unwrap();
                    }
                    return wire.end().await;
                }
            }
        }
    })
    .await;
    let multiplexed = http2::Server::start(|request, mut respond, _| async move {
        let over = request.uri().path() == "/next";
        if over || request.uri().path() == "/after" {
            let mut answer = respond.send_response(http::Response::new(()), over).unwrap();
            if !over {
                http2::send(&mut answer, "hello");
                let _ = http2::drain(&mut request.into_body()).await;
            }
        } else {
            let _ = http2::drain(&mut request.into_body()).await;
        }
    })
    .await;
    for (address, protocol) in [(plain.address, "HTTP"), (multiplexed.address, "HTTP2")] {
        for (path, chunked, stream) in [("/before", 400, 0), ("/after", 200, 200)] {
            let what = format!("{path} at {protocol}");
            let leeboard = strictly_judged(address, protocol).await;
            let mut wire = leeboard.dial().await;
            wire.send(format!("POST {path} HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"))
                .await
                .unwrap();
            wire.send("3\r\nabc\r\n").await.unwrap();
            if path == "/after" {
                assert_eq!(soon("a head", wire.head()).await.unwrap().status(), 200);
                assert_eq!(soon("a piece", wire.chunk()).await, Some(Some(b"hello".to_vec())));
            }
            wire.send("nonsense\r\n").await.unwrap();
            is_the_callers_fault(&leeboard, path, chunked, &what).await;
            // It is told by the connection's end, though it stays.
            soon("the end", wire.end()).await;

            let leeboard = strictly_judged(address, protocol).await;
            // The caller's side of h2 would not send what contradicts the length.
            let mut wire = Wire::to(leeboard.port("outbound")).await;
            wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
            wire.send(http2::settings()).await.unwrap();
            wire.send(http2::frame(1, 4, 1, &announcing(path, 9))).await.unwrap();
            wire.send(http2::frame(0, 0, 1, b"abc")).await.unwrap();
            if path == "/after" {
                heard(&mut wire, 0).await;
            }
            wire.send(http2::frame(0, 1, 1, b"too much for nine")).await.unwrap();
            heard(&mut wire, 3).await;
            is_the_callers_fault(&leeboard, path, stream, &format!("{what}, as a stream")).await;
        }
    }
}

/// The head of a POST with a length, by hand. RFC 7541 §6.2.2.
fn announcing(path: &str, length: usize) -> Vec<u8> {
    let length = length.to_string();
    let fields = [
        (":method", "POST"),
        (":path", path),
        (":scheme", "http"),
        (":authority", "shop.test"),
        ("content-length", &length),
    ];
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], literal(name), literal(value)].concat()).collect()
}

/// Waits for a frame of a kind.
async fn heard(wire: &mut Wire, kind: u8) {
    loop {
        let head = soon("a frame", wire.exactly(9)).await.unwrap();
        soon("its payload", wire.exactly(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize)).await.unwrap();
        if head[3] == kind {
            return;
        }
    }
}

#[tokio::test]
async fn hosts_that_are_blocked_or_passed_through_are_one_destination_each() {
    let endpoint = Endpoint::start(|_| say(200, "app")).await;
    let blocking = Leeboard::with("", &["--outbound-traffic-policy", "registry-only"]).await;
    let passing = Leeboard::start("").await;
    for number in 0..20 {
        let blocked = format!("GET /{number} HTTP/1.1\r\nHost: made-up-{number}.test\r\n\r\n");
        assert_eq!(blocking.ask(blocked).await.status(), 502);
    }
    let passed = format!("GET /passed HTTP/1.1\r\nHost: {}\r\n\r\n", endpoint.address);
    assert_eq!(passing.ask(passed).await.status(), 200);
    for (leeboard, path, host, cluster, route, count) in [
        (&blocking, "/19", "made-up-19.test".to_owned(), "BlackHoleCluster", "", 20.0),
        (&passing, "/passed", endpoint.address.to_string(), "PassthroughCluster", "allow_any", 1.0),
    ] {
        let record = leeboard.record(path).await;
        let found = ["authority", "upstream_cluster", "route_name"].map(|key| record[key].as_str().unwrap_or_default());
        assert_eq!(found, [host.as_str(), cluster, route]);
        let service = format!("destination_service=\"{cluster}\"");
        let labels = [service, format!("destination_service_name=\"{cluster}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        leeboard.metric_becomes("istio_requests_total", &labels, count).await;
        let page = leeboard.page("/stats/prometheus").await;
        assert_eq!(page.lines().filter(|line| line.starts_with("istio_requests_total{")).count(), 1);
    }
}

#[tokio::test]
async fn a_reload_says_what_it_changed() {
    let service = |name: &str, port: u16| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: demo}}\n\
             spec: {{hosts: [{name}.test], resolution: STATIC, ports: [{{number: {port}, name: http, protocol: HTTP}}]}}\n---\n"
        )
    };
    let mut leeboard = Leeboard::start(&(service("a", 80) + &service("b", 80))).await;
    leeboard.edit(&(service("c", 80) + &service("b", 81)));
    leeboard.logged("1 added: ServiceEntry demo/c (").await;
    leeboard.logged("; 1 changed: ServiceEntry demo/b (").await;
    leeboard.logged("; 1 removed: ServiceEntry demo/a (").await;
}
