//! Connections of callers after an answer that came before the request was over: kept, or their end announced.

use crate::config::{policy, routes, service};
use crate::endpoint::{Endpoint, say};
use crate::http2::{Server, drain, finish};
use crate::message::{Message, Wire, get, post};
use crate::patience::soon;
use crate::program::Leeboard;

/// More than is worth reading for nothing.
const MUCH: usize = 1 << 20;

/// A proxy that answers by itself in every way, and an endpoint behind it.
async fn leeboard() -> (Leeboard, Endpoint) {
    let mut gone = Endpoint::named("gone").await;
    gone.stop().await;
    let endpoint = Endpoint::named("app").await;
    let rules = "[{match: [{uri: {prefix: /direct}}], directResponse: {status: 200, body: {string: hi}}}, \
        {match: [{uri: {prefix: /abort}}], fault: {abort: {httpStatus: 500, percentage: {value: 100}}}, \
         route: [{destination: {host: shop.test}}]}, \
        {match: [{uri: {prefix: /redirect}}], redirect: {uri: /y}}, \
        {match: [{uri: {prefix: /dead}}], route: [{destination: {host: dead.test}}]}, \
        {match: [{uri: {prefix: /empty}}], route: [{destination: {host: shop.test, subset: v2}}]}, \
        {match: [{uri: {prefix: /app}}], route: [{destination: {host: shop.test}}]}]";
    let config = [
        service("shop.test", "HTTP", &[(endpoint.address, "v1")]),
        policy("shop.test", "{loadBalancer: {simple: RANDOM}}"),
        service("dead.test", "HTTP", &[(gone.address, "v1")]),
        routes("shop.test", rules),
    ];
    (Leeboard::start(&config.concat()).await, endpoint)
}

const OWN: [(&str, u16); 6] =
    [("/direct", 200), ("/abort", 500), ("/redirect", 301), ("/dead", 503), ("/empty", 503), ("/none", 404)];

async fn asked(wire: &mut Wire, request: impl AsRef<[u8]>) -> Message {
    wire.send(request).await.unwrap();
    soon("an answer", wire.response()).await.expect("an answer and not the connection's end")
}

#[tokio::test]
async fn a_small_body_costs_no_connection() {
    let (leeboard, endpoint) = leeboard().await;
    let chunked = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n"
        )
    };
    let mut wire = leeboard.dial().await;
    for (path, status) in OWN {
        for request in [post(path, "", "body"), chunked(path), post(path, "", &"x".repeat(60_000))] {
            let answer = asked(&mut wire, request).await;
            assert_eq!((answer.status(), answer.header("connection")), (status, None), "{path}");
        }
        // The body comes when its answer has been read.
        let whole = post(path, "", "GET /app HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        let (head, body) = whole.split_at(whole.find("\r\n\r\n").unwrap() + 4);
        let answer = asked(&mut wire, head).await;
        assert_eq!((answer.status(), answer.header("connection")), (status, None), "{path}");
        wire.send(body).await.unwrap();
    }
    assert_eq!(endpoint.hits(), 0);
    assert_eq!(asked(&mut wire, get("/app", "")).await.text(), "app");
}

#[tokio::test]
async fn a_body_that_may_not_come_to_its_end_ends_the_connection_and_that_is_said() {
    let (leeboard, endpoint) = leeboard().await;
    let head = |path: &str, fields: &str| format!("POST {path} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n\r\n");
    for (path, status) in OWN {
        for fields in [
            format!("Content-Length: {MUCH}"),
            "Transfer-Encoding: chunked".to_owned(),
            "Content-Length: 4\r\nExpect: 100-continue".to_owned(),
        ] {
            let mut wire = leeboard.dial().await;
            let answer = asked(&mut wire, head(path, &fields)).await;
            assert_eq!((answer.status(), answer.header("connection")), (status, Some("close")), "{path} {fields}");
            soon("the connection's end", wire.end()).await;
        }
    }
    assert_eq!(endpoint.hits(), 0);
}

#[tokio::test]
async fn an_endpoint_that_answers_early_costs_a_connection_only_when_much_is_left() {
    let endpoint = Endpoint::raw(|mut wire, _| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        wire.end().await;
    })
    .await;
    let leeboard = Leeboard::start(&service("shop.test", "HTTP", &[(endpoint.address, "v1")])).await;
    let mut wire = leeboard.dial().await;
    for _ in 0..2 {
        let answer = asked(&mut wire, "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\n\r\n").await;
        assert_eq!((answer.status(), answer.header("connection")), (413, None));
        wire.send("body").await.unwrap();
    }
    for fields in [format!("Content-Length: {MUCH}"), "Transfer-Encoding: chunked".to_owned()] {
        let mut wire = leeboard.dial().await;
        let answer = asked(&mut wire, format!("POST / HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")), "{fields}");
        soon("the connection's end", wire.end()).await;
    }
}

#[tokio::test]
async fn what_is_behind_a_tunnel_that_was_not_opened_is_no_request() {
    let endpoint = Endpoint::start(|_| say(426, "no")).await;
    let mut gone = Endpoint::named("gone").await;
    gone.stop().await;
    let config = [
        service("shop.test", "HTTP", &[(endpoint.address, "v1")]),
        service("dead.test", "HTTP", &[(gone.address, "v1")]),
        service("direct.test", "HTTP", &[(gone.address, "v1")]),
        routes("direct.test", "[{match: [{uri: {prefix: /}}], directResponse: {status: 200}}]"),
    ];
    let inbound = format!("127.0.0.1:0={}", endpoint.address);
    let leeboard = Leeboard::with(&config.concat(), &["--inbound", &inbound]).await;
    let smuggled = get("/smuggled", "");
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    #[rustfmt::skip]
    let table: &[(&str, String, u16)] = &[
        ("outbound", "CONNECT dead.test:80 HTTP/1.1\r\nHost: dead.test:80\r\n\r\n".into(), 503),
        ("outbound", "CONNECT direct.test:80 HTTP/1.1\r\nHost: direct.test:80\r\n\r\n".into(), 404),
        ("outbound", format!("CONNECT dead.test:80 HTTP/1.1\r\nHost: dead.test:80\r\nContent-Length: {}\r\n\r\n", smuggled.len()), 503),
        ("outbound", "CONNECT dead.test HTTP/1.1\r\nHost: dead.test\r\n\r\n".into(), 400),
        ("inbound", "CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test:80\r\n\r\n".into(), 403),
        ("outbound", get("/upgrade", upgrade), 426),
        ("outbound", post("/upgrade", upgrade, "body"), 426),
        ("inbound", get("/upgrade", upgrade), 426),
        ("outbound", format!("GET / HTTP/1.1\r\nHost: dead.test\r\n{upgrade}\r\n"), 503),
    ];
    for (kind, request, status) in table {
        let mut wire = Wire::to(leeboard.port(kind)).await;
        let answer = asked(&mut wire, request.clone() + &smuggled + &smuggled).await;
        assert_eq!((answer.status(), answer.header("connection")), (*status, Some("close")), "{request}");
        assert!(soon("the connection's end", wire.head()).await.is_none(), "{request}");
    }
    assert!(endpoint.seen().iter().all(|asked| asked.message.target() == "/upgrade"), "{:?}", endpoint.seen());
    assert_eq!(endpoint.hits(), 3);
}

#[tokio::test]
async fn the_endpoint_decides_whether_a_body_is_sent() {
    let endpoint = Endpoint::raw(|mut wire, _| async move {
        while let Some(head) = wire.head().await {
            assert_eq!(head.header("expect"), Some("100-continue"));
            match head.target() {
                "/refused" => return wire.send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n").await.unwrap(),
                _ => {
                    wire.send("HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                    assert_eq!(wire.exactly(4).await.as_deref(), Some(&b"body"[..]));
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            }
        }
    })
    .await;
    let leeboard = Leeboard::start(&service("shop.test", "HTTP", &[(endpoint.address, "v1")])).await;
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    };
    let mut wire = leeboard.dial().await;
    for _ in 0..2 {
        wire.send(head("/taken")).await.unwrap();
        assert_eq!(soon("leave to go on", wire.head()).await.unwrap().status(), 100);
        let answer = asked(&mut wire, "body").await;
        assert_eq!((answer.status(), answer.header("connection")), (200, None));
    }
    wire.send(head("/refused")).await.unwrap();
    let answer = soon("the refusal", wire.head()).await.unwrap();
    // It need not send its body now, so nothing is known of what follows.
    assert_eq!((answer.status(), answer.header("connection")), (417, Some("close")));
    soon("the connection's end", wire.end()).await;
}

#[tokio::test]
async fn leave_is_given_for_endpoints_that_cannot_give_it() {
    let server = Server::start(|request, respond, _| async move {
        assert!(!request.headers().contains_key("expect"));
        let said = drain(&mut request.into_body()).await.unwrap();
        finish(respond, &String::from_utf8(said).unwrap(), &[]);
    })
    .await;
    let leeboard = Leeboard::start(&service("shop.test", "HTTP2", &[(server.address, "v1")])).await;
    let mut wire = leeboard.dial().await;
    wire.send("POST / HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await.unwrap();
    assert_eq!(soon("leave to go on", wire.head()).await.unwrap().status(), 100);
    let answer = asked(&mut wire, "body").await;
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("body", None));
}
