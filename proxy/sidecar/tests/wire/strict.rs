//! What could be read in two ways is passed on in one way or not at all, in both directions.

use std::fmt::Write;

use crate::config::service;
use crate::endpoint::{Deed, Endpoint, say};
use crate::message::{get, post};
use crate::patience::{Stopwatch, soon};
use crate::program::Leeboard;

async fn shop(endpoint: &Endpoint, flags: &[&str]) -> Leeboard {
    Leeboard::with(&service("shop.test", "HTTP", &[(endpoint.address, "v1")]), flags).await
}

#[tokio::test]
async fn lines_of_a_head_end_in_crlf() {
    let endpoint = Endpoint::named("app").await;
    let (strict, mild) = (shop(&endpoint, &[]).await, shop(&endpoint, &["--allow-bare-lf"]).await);
    for (request, mildly) in [
        ("GET / HTTP/1.1\nHost: shop.test\n\n", 200),
        ("GET / HTTP/1.1\r\nHost: shop.test\nX: 1\r\n\r\n", 200),
        ("GET / HTTP/1.1\nHost: shop.test\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: shop.test\r\n\n", 200),
        ("GET / HTTP/1.1\r\nHost: shop.test \t\n\r\n", 200),
        ("GET / HTTP/1.1\r\nX:\nHost: shop.test\r\n\r\n", 200),
        ("\nGET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: shop.test\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\rHost: shop.test\r\n\r\n", 400),
    ] {
        let answer = strict.ask(request).await;
        assert_eq!((answer.status(), answer.header("x-leeboard-reason")), (400, Some("malformed")), "{request:?}");
        assert_eq!(mild.ask(request).await.status(), mildly, "{request:?}");
    }
    assert_eq!(strict.ask("\r\n\r\nGET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.status(), 200);
}

#[tokio::test]
async fn bodies_that_are_not_what_their_heads_say_go_no_further() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint, &[]).await;
    let chunked = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\r\nabc\r\n0\r\n\r\n",
        "3\u{c}\r\nabc\r\n0\r\n\r\n",
        "3\u{b};a\r\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc",
        "0\r\nX: 1\n\r\n",
        "0\r\n:path: /\r\n\r\n",
        "0\r\nX : 1\r\n\r\n",
    ] {
        let mut wire = leeboard.dial().await;
        wire.send(chunked.to_owned() + body).await.unwrap();
        let answer = soon("a refusal", wire.response()).await.unwrap_or_else(|| panic!("no answer to {body:?}"));
        assert_eq!((answer.status(), answer.header("connection")), (400, Some("close")), "{body:?}");
        soon("the connection's end", wire.end()).await;
    }
    assert_eq!(endpoint.hits(), 0, "no request was whole");
    for length in ["9223372036854775808", "18446744073709551615", "5 5", "0x5"] {
        let head = format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\nabcde");
        assert_eq!(leeboard.ask(head).await.header("x-leeboard-reason"), Some("ambiguous-length"), "{length}");
    }
}

#[tokio::test]
async fn an_answer_that_could_be_read_in_two_ways_is_none() {
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(61 << 10));
    let chunks = |coding: &str| format!("HTTP/1.1 200 OK\r\n{coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    let answers = [
        chunks("Transfer-Encoding: gzip, chunked"),
        chunks("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        chunks("Transfer-Encoding: identity, chunked"),
        chunks("Transfer-Encoding: chunked;a=b"),
        chunks("Transfer-Encoding: chunked\r\nContent-Length: 2"),
        chunks("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok".into(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nok".into(),
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".into(),
        "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "HTTP/1.1 204 None\r\nContent-Length: 2\r\n\r\nok".into(),
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok".into(),
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n"
            .into(),
        "HTTP/1.1 103 Hints\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into(),
        hints + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        large,
    ];
    let said = answers.clone();
    let endpoint = Endpoint::start(move |asked| {
        let at: usize = asked.message.target()[1..].parse().unwrap();
        vec![Deed::Send(said[at].clone().into_bytes()), Deed::Close]
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    for (at, answer) in answers.iter().enumerate() {
        let path = format!("/{at}");
        let got = leeboard.ask(get(&path, "Connection: upgrade\r\nUpgrade: websocket\r\n")).await;
        let reason = got.header("x-leeboard-reason").unwrap_or_default().split(';').next().unwrap();
        assert_eq!((got.status(), reason), (502, "protocol-error"), "{:.120}", answer);
        assert_eq!(leeboard.record(&path).await["response_flags"], "UPE");
    }
    let mild = ["--allow-chunked-length", "--max-response-header-bytes", "64KiB"];
    let leeboard = shop(&endpoint, &mild).await;
    for at in [4, answers.len() - 1] {
        let got = leeboard.ask(get(&format!("/{at}"), "")).await;
        assert_eq!((got.status(), got.text().as_str()), (200, "ok"), "{at}");
        assert!(got.header("transfer-encoding").is_none() || got.header("content-length").is_none(), "{got:?}");
    }
    // What says that there is no body may say how long it is.
    let bodiless = "HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n";
    let endpoint = Endpoint::start(move |_| vec![Deed::Send(bodiless.into())]).await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    for _ in 0..2 {
        wire.send(get("/", "")).await.unwrap();
        let answer = soon("the answer", wire.response()).await.unwrap();
        assert_eq!((answer.status(), answer.header("content-length")), (204, None));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn a_trailer_passes_only_if_it_may_be_one() {
    const FORGED: &str = "Host: b\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nConnection: x\r\nAuthorization: x\r\n\
        X-Forwarded-For: 1.2.3.4\r\nX-Envoy-Retry-On: 5xx\r\nX-Leeboard-Peer: x\r\nCookie: a\r\nSet-Cookie: a\r\n";
    let endpoint = Endpoint::start(|_| {
        let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
        vec![Deed::Send(format!("{start}{FORGED}X-Sum: 1\r\n\r\n").into())]
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    let head =
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n";
    let sum = vec![("x-sum".to_owned(), "1".to_owned())];
    for (sent, passed) in [(format!("{FORGED}X-Sum: 1\r\n"), sum.clone()), (FORGED.to_owned(), Vec::new())] {
        let mut wire = leeboard.dial().await;
        wire.send(format!("{head}{sent}\r\n")).await.unwrap();
        let answer = soon("the answer", wire.response()).await.unwrap();
        assert_eq!((answer.text().as_str(), &answer.trailers), ("ok", &sum));
        assert_eq!(endpoint.seen().pop().unwrap().message.trailers, passed);
    }
}

#[tokio::test]
async fn a_request_without_a_body_says_so_where_that_needs_a_word() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint, &[]).await;
    for (method, length) in
        [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("GET", None), ("DELETE", None)]
    {
        leeboard.ask(format!("{method} / HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await;
        assert_eq!(endpoint.seen().pop().unwrap().message.header("content-length"), length, "{method}");
    }
    leeboard.ask(post("/", "", "")).await;
    let sent = endpoint.seen().pop().unwrap().message;
    let lengths = sent.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    assert_eq!(lengths.count(), 1, "said once");
}

#[tokio::test]
async fn tiny_chunks_leave_together_and_what_stands_beside_them_is_bounded() {
    const BYTES: usize = 1 << 20;
    let (sender, mut counted) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            wire.head().await.unwrap();
            let (mut chunks, mut bytes) = (0_usize, 0);
            while let Some(Some(chunk)) = wire.chunk().await {
                (chunks, bytes) = (chunks + 1, bytes + chunk.len());
            }
            sender.send((chunks, bytes)).unwrap();
            let tiny = "1\r\nx\r\n".repeat(BYTES) + "0\r\n\r\n";
            let _ = wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned() + &tiny).await;
            wire.end().await;
        }
    })
    .await;
    let leeboard = shop(&endpoint, &[]).await;
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut wire = leeboard.dial().await;
    wire.send(head.to_owned() + &"1\r\nx\r\n".repeat(BYTES) + "0\r\n\r\n").await.unwrap();
    let (chunks, bytes) = soon("the upload", counted.recv()).await.unwrap();
    assert_eq!(bytes, BYTES);
    assert!(chunks < BYTES / 100, "{chunks} chunks");
    assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
    let (mut chunks, mut bytes) = (0, 0);
    while let Some(Some(chunk)) = soon("a chunk", wire.chunk()).await {
        (chunks, bytes) = (chunks + 1, bytes + chunk.len());
    }
    assert_eq!(bytes, BYTES);
    assert!(chunks < BYTES / 100, "{chunks} chunks");

    let mut beside = String::new();
    for _ in 0..20 {
        write!(beside, "1;{}\r\nx\r\n", "e".repeat(3 << 10)).unwrap();
    }
    assert_eq!(leeboard.ask(head.to_owned() + &beside + "0\r\n\r\n").await.status(), 400);
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte_and_takes_no_longer_than_it_may() {
    const TURNS: u64 = 10;
    let endpoint = Endpoint::start(|_| say(200, "app")).await;
    let leeboard = shop(&endpoint, &[]).await;
    let mut wire = leeboard.dial().await;
    for byte in get("/", "X-A: 1\r\n").bytes() {
        wire.send([byte]).await.unwrap();
    }
    assert_eq!(soon("the answer", wire.response()).await.unwrap().text(), "app");

    let leeboard = shop(&endpoint, &["--header-timeout", "100ms"]).await;
    let watch = Stopwatch::start();
    for _ in 0..TURNS {
        let mut wire = leeboard.dial().await;
        wire.send("GET / HTTP/1.1\r\nX: ").await.unwrap();
        assert_eq!(soon("the refusal", wire.response()).await.unwrap().status(), 408);
    }
    // Were it looked at twice a second only, this would take five.
    let took = watch.read().as_millis();
    assert!((1_000..3_500).contains(&took), "{TURNS} heads of 100 ms took {took} ms");
}
