//! Heads of requests: what is refused, what is taken away, what is kept as it was.

use crate::config::{route, service};
use crate::endpoint::{Deed, Endpoint, Gate};
use crate::message::{get, post, response};
use crate::patience::{Stopwatch, soon, until};
use crate::program::Leeboard;

async fn shop(endpoint: &Endpoint, flags: &[&str]) -> Leeboard {
    Leeboard::with(&service("shop.test", "HTTP", &[(endpoint.address, "v1")]), flags).await
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint, &[]).await;
    #[rustfmt::skip]
    let table: &[(&str, u16, Option<&str>)] = &[
        // request, status, x-leeboard-reason
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, Some("ambiguous-length")),
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, Some("ambiguous-length")),
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, Some("ambiguous-length")),
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, Some("ambiguous-length")),
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: -1\r\n\r\n", 400, Some("ambiguous-length")),
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: +3\r\n\r\nabc", 400, Some("ambiguous-length")),
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, Some("unknown-coding")),
        // RFC 9112 §6.3: a coding that does not end in chunked gives no length, which is 400.
        ("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: gzip\r\n\r\n", 400, Some("ambiguous-length")),
        ("GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n\r\n", 400, Some("invalid-host")),
        ("GET / HTTP/1.1\r\nHost: shop.test\r\nHost: shop.test\r\n\r\n", 400, Some("invalid-host")),
        ("GET / HTTP/1.1\r\nHost: user@shop.test\r\n\r\n", 400, Some("invalid-host")),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, Some("missing-host")),
        ("GET / HTTP/1.1\r\nX: 1\r\n\r\n", 400, Some("missing-host")),
        ("GET /%00 HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400, Some("invalid-target")),
        ("GET / HTTP/1.1\r\nHost : shop.test\r\n\r\n", 400, Some("malformed")),
        ("GET / HTTP/1.1\r\nHost: shop.test\r\nX: a\r\n b\r\n\r\n", 400, Some("malformed")),
        ("GET / x HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400, Some("malformed")),
        ("CONNECT shop.test HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400, Some("invalid-target")),
        ("\x01\x02\x03\r\n\r\n", 400, Some("malformed")),
    ];
    for (request, status, reason) in table {
        let mut wire = leeboard.dial().await;
        wire.send(request).await.unwrap();
        let answer = soon("a refusal", wire.response()).await.unwrap_or_else(|| panic!("no answer to {request:?}"));
        assert_eq!((answer.status(), answer.header("x-leeboard-reason")), (*status, *reason), "{request:?}");
        soon("the connection's end", wire.end()).await;
    }
    assert_eq!(endpoint.hits(), 0);
    for (reason, count) in
        [("ambiguous-length", 7.0), ("malformed", 4.0), ("unknown-coding", 1.0), ("invalid-host", 3.0)]
    {
        let label = format!("reason=\"{reason}\"");
        leeboard.metric_becomes("leeboard_bad_requests_total", &[&label], count).await;
    }
}

#[tokio::test]
async fn a_body_is_not_taken_for_a_head() {
    let endpoint = Endpoint::start(|asked| vec![Deed::Send(response(200, &asked.message.text()))]).await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    let body = "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    for turn in 0..2 {
        let head = format!("POST /{turn} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {}\r\n\r\n", body.len());
        wire.send(head).await.unwrap();
        endpoint_waits(&leeboard, turn + 1).await;
        wire.send(body).await.unwrap();
        let answer = soon("an answer", wire.response()).await.unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, body));
    }
}

/// Waits until the proxy is in the middle of a request, so that what is sent next comes in a piece of its own.
async fn endpoint_waits(leeboard: &Leeboard, begun: u32) {
    leeboard.metric_becomes("leeboard_upstream_requests_active", &["shop.test"], 1.0).await;
    assert!(begun > 0);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint, &[]).await;
    let fields = |count: usize| (0..count).map(|at| format!("X-{at}: 1\r\n")).collect::<String>();
    let large = |size: usize| format!("X-Large: {}\r\n", "x".repeat(size));
    for (what, request, status) in [
        ("100 fields", get("/", &fields(99)), 200),
        ("101 fields", get("/", &fields(100)), 431),
        ("50 KiB", get("/", &large(50 << 10)), 200),
        ("70 KiB", get("/", &large(70 << 10)), 431),
        ("many of 50 KiB", get("/", &large(50 << 10).repeat(4)), 431),
    ] {
        assert_eq!(leeboard.ask(request).await.status(), status, "{what}");
    }
    leeboard.metric_becomes("leeboard_bad_requests_total", &["reason=\"header-too-large\""], 3.0).await;
    assert_eq!(endpoint.hits(), 2);
}

#[tokio::test]
async fn heads_that_are_too_slow_are_refused() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint, &["--header-timeout", "300ms"]).await;
    for start in ["GET / HTTP/1.1\r\nHost: shop.te", "G", "POST / HT"] {
        let mut wire = leeboard.dial().await;
        let watch = Stopwatch::start();
        wire.send(start).await.unwrap();
        let answer = soon("a refusal", wire.response()).await.unwrap_or_else(|| panic!("no answer to {start:?}"));
        watch.check("a slow head", 300);
        assert_eq!((answer.status(), answer.text().as_str()), (408, "request header timeout"), "{start:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        soon("the connection's end", wire.end()).await;
    }
    leeboard.metric_becomes("leeboard_bad_requests_total", &["reason=\"header-timeout\""], 3.0).await;

    // The second head of a connection is awaited like the first, and an idle connection is not cut.
    let mut wire = leeboard.dial().await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(wire.response().await.unwrap().status(), 200);
    let watch = Stopwatch::start();
    wire.send("GET /again HTTP/1.1\r\n").await.unwrap();
    assert_eq!(soon("a refusal", wire.response()).await.unwrap().status(), 408);
    watch.check("the second head", 300);
}

#[tokio::test]
async fn a_slow_body_is_no_slow_head() {
    let (begun, end) = (Gate::closed(), Gate::closed());
    let (told, last) = (begun.clone(), end.clone());
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let (begun, end) = (told.clone(), last.clone());
        async move {
            // It answers while the request is still coming.
            wire.head().await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
            while let Some(Some(chunk)) = wire.chunk().await {
                if chunk == b"b" {
                    begun.pass();
                }
            }
            end.wait().await;
            wire.send("3\r\nbye\r\n0\r\n\r\n").await.unwrap();
            wire.end().await;
        }
    })
    .await;
    let leeboard = shop(&endpoint, &["--header-timeout", "200ms"]).await;
    let mut wire = leeboard.dial().await;
    wire.send("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await.unwrap();
    assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
    assert_eq!(wire.chunk().await.unwrap().unwrap(), b"hi");
    wire.send("1\r\nb\r\n").await.unwrap();
    soon("the second piece", begun.wait()).await;
    let watch = Stopwatch::start();
    let mut beats = tokio::time::interval(std::time::Duration::from_millis(50));
    while watch.read() < std::time::Duration::from_millis(1_500) {
        beats.tick().await;
        wire.send("1\r\nc\r\n").await.unwrap();
    }
    wire.send("0\r\n\r\n").await.unwrap();
    end.open();
    assert_eq!(soon("the rest", wire.chunk()).await.unwrap().unwrap(), b"bye");
    assert_eq!(wire.chunk().await, Some(None));
}

#[tokio::test]
async fn what_belongs_to_one_connection_stays_there() {
    let endpoint = Endpoint::start(|_| {
        let answer = "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\nProxy-Connection: x\r\nContent-Length: 0\r\n\r\n";
        vec![Deed::Send(answer.into())]
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    let fields = "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nTE: gzip, trailers\r\n\
        Upgrade: h2c\r\nX-Envoy-Retry-On: 5xx\r\nX-Envoy-Max-Retries: 9\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\n\
        X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 1\r\nX-Envoy-Internal: true\r\nX-Envoy-Attempt-Count: 7\r\n\
        X-Envoy-Original-Path: /forged\r\nX-Envoy-Expected-Rq-Timeout-Ms: 1\r\nX-Leeboard-Peer: forged\r\n\
        X-Forwarded-Client-Cert: URI=spiffe://forged\r\nX-Envoy-Ip-Tags: forged\r\nX-Envoy-Original-Url: /forged\r\n\
        X-Envoy-Peer-Metadata: forged\r\nX-Envoy-Peer-Metadata-Id: forged\r\nX-Kept: 1\r\nX-Request-Id: mine\r\n";
    let answer = leeboard.ask(get("/", fields)).await;
    let names = |message: &crate::message::Message| -> Vec<String> {
        let mut names: Vec<_> = message.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    let sent = endpoint.seen()[0].message.clone();
    assert_eq!(
        names(&sent),
        ["host", "te", "x-envoy-attempt-count", "x-forwarded-proto", "x-kept", "x-leeboard-peer", "x-request-id"]
    );
    assert_ne!(sent.header("x-leeboard-peer"), Some("forged"));
    assert_eq!(sent.header("te"), Some("trailers"));
    assert_eq!(sent.header("x-envoy-attempt-count"), Some("1"));
    assert_eq!(sent.header("x-request-id"), Some("mine"));
    assert_eq!(names(&answer), ["content-length", "date", "x-envoy-upstream-service-time", "x-kept"]);
}

#[tokio::test]
async fn the_case_of_names_is_kept() {
    let endpoint = Endpoint::start(|_| {
        vec![Deed::Send("HTTP/1.1 200 OK\r\nX-UPPER: 1\r\nx-lower: 2\r\nETag: x\r\nContent-Length: 0\r\n\r\n".into())]
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    let answer = leeboard.ask(get("/", "X-SOAPAction: a\r\nx-lower: b\r\nX-Both: c\r\nx-both: d\r\n")).await;
    let has = |message: &crate::message::Message, wanted: &str| message.headers.iter().any(|(name, _)| name == wanted);
    let sent = &endpoint.seen()[0].message;
    for name in ["Host", "X-SOAPAction", "x-lower", "X-Both", "x-both"] {
        assert!(has(sent, name), "{name} in {:?}", sent.headers);
    }
    for name in ["X-UPPER", "x-lower", "ETag"] {
        assert!(has(&answer, name), "{name} in {:?}", answer.headers);
    }
}

#[tokio::test]
async fn callers_of_http_1_0_are_served() {
    let endpoint = Endpoint::start(|_| {
        vec![Deed::Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into())]
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n").await.unwrap();
    let answer = soon("the answer", wire.response()).await.unwrap();
    assert_eq!((answer.header("transfer-encoding"), answer.text().as_str()), (None, "hello"), "{answer:?}");
    assert!(endpoint.seen()[0].message.start.ends_with("HTTP/1.1"));
    soon("the connection's end", wire.end()).await;

    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    for _ in 0..2 {
        wire.send("GET / HTTP/1.0\r\nHost: shop.test\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        assert_eq!(soon("the answer", wire.response()).await.unwrap().text(), "app", "a kept connection");
    }
}

#[tokio::test]
async fn half_closed_callers_are_answered() {
    let endpoint = Endpoint::start(|asked| vec![Deed::Send(response(200, &asked.message.text()))]).await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send(post("/", "", "last words")).await.unwrap();
    wire.half_close().await;
    assert_eq!(soon("the answer", wire.response()).await.unwrap().text(), "last words");
}

#[tokio::test]
async fn an_endpoint_may_say_100_and_103_first() {
    let endpoint = Endpoint::start(|_| {
        let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        vec![Deed::Send(early.into()), Deed::Send(response(200, "final"))]
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    for request in [post("/", "", "x"), get("/", "")] {
        wire.send(request).await.unwrap();
        let early = soon("the hint", wire.head()).await.unwrap();
        assert_eq!((early.status(), early.header("link")), (103, Some("</a>")));
        assert_eq!(soon("the answer", wire.response()).await.unwrap().text(), "final");
    }
    // A caller of HTTP/1.0 does not know that there may be two heads.
    let mut wire = leeboard.dial().await;
    wire.send("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n").await.unwrap();
    assert_eq!(soon("the answer", wire.head()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let endpoint = Endpoint::start(|asked| vec![Deed::Send(response(200, asked.message.target()))]).await;
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &route("shop.test", "timeout: 10s");
    let leeboard = Leeboard::start(&config).await;
    let mut wire = leeboard.dial().await;
    wire.send(get("/1", "") + &post("/2", "", "GET /x HTTP/1.1\r\n\r\n") + &get("/3", "")).await.unwrap();
    for path in ["/1", "/2", "/3"] {
        assert_eq!(soon("an answer", wire.response()).await.unwrap().text(), path);
    }
    assert_eq!(endpoint.hits(), 3);
}

#[tokio::test]
async fn answers_that_wait_for_their_reader_come_whole_and_in_order_and_before_the_end() {
    const MANY: usize = 300;
    let body = |path: &str| path.repeat(8 * 1024 / path.len());
    let endpoint = Endpoint::start(move |asked| vec![Deed::Send(response(200, &body(asked.message.target())))]).await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    let asked: String = (1..MANY).map(|number| get(&format!("/{number}"), "")).collect();
    wire.send(asked + &get(&format!("/{MANY}"), "Connection: close\r\n")).await.unwrap();
    until("nobody reads, so it cannot all be asked for", || async { endpoint.hits() > 1 }).await;
    for number in 1..=MANY {
        let answer = soon("an answer", wire.response()).await.unwrap();
        assert_eq!(answer.text(), body(&format!("/{number}")), "{number}");
    }
    assert!(soon("the end", wire.head()).await.is_none(), "the last answer ends the connection");
    assert_eq!(endpoint.hits(), MANY);
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let endpoint = Endpoint::start(|asked| {
        let head = match asked.message.target() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        };
        vec![Deed::Send(head.into())]
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    for (method, path, status, length) in [
        ("HEAD", "/", 200, Some("5")),
        ("GET", "/304", 304, Some("5")),
        ("GET", "/204", 204, None),
        ("HEAD", "/204", 204, None),
    ] {
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await.unwrap();
        let answer = soon("the answer", wire.bodyless()).await.unwrap();
        assert_eq!((answer.status(), answer.header("content-length")), (status, length), "{method} {path}");
    }
    assert_eq!((endpoint.hits(), endpoint.connections()), (4, 1));
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole() {
    let endpoint =
        Endpoint::start(|_| vec![Deed::Send("HTTP/1.0 200 OK\r\n\r\nuntil the end".into()), Deed::Close]).await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    for _ in 0..2 {
        wire.send(get("/", "")).await.unwrap();
        let answer = soon("the answer", wire.response()).await.unwrap();
        assert_eq!((answer.header("transfer-encoding"), answer.text().as_str()), (Some("chunked"), "until the end"));
    }
    assert_eq!(leeboard.record("/").await["response_flags"], "-");
}
