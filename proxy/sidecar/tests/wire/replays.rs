//! A body that cannot be sent again whole is not sent again: whatever asks for another attempt, over either protocol.

use std::sync::{Arc, Mutex};

use crate::config::{route, service};
use crate::endpoint::{Deed, Endpoint, say};
use crate::http2::{self, Server};
use crate::message::{Wire, get};
use crate::patience::soon;
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";
/// More than the buffer that these tests allow.
const LONG: usize = 200_000;
const BUFFER: [&str; 2] = ["--replay-buffer", "64KiB"];
const RETRIES: &str = "retries: {attempts: 2, perTryTimeout: 300ms, retryOn: '5xx,reset', backoff: 1ms}";

/// A request with a long body.
fn long(method: &str, chunked: bool) -> Vec<u8> {
    let body = vec![b'x'; LONG];
    let mut bytes = format!("{method} / HTTP/1.1\r\nHost: shop.test\r\n").into_bytes();
    if chunked {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for chunk in body.chunks(10_000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        bytes.extend_from_slice(format!("Content-Length: {LONG}\r\n\r\n").as_bytes());
        bytes.extend_from_slice(&body);
    }
    bytes
}

#[tokio::test]
async fn nothing_that_has_outgrown_the_buffer_is_sent_twice_over_http_1() {
    #[rustfmt::skip]
    let table = [
        // what the endpoint does with the body, the answer, its flags
        (Deed::Hang, 504, "UT"), (Deed::Reset, 503, "UC"), (Deed::Close, 503, "UC"), (Deed::Send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec()), 503, "-"),
    ];
    for (deed, status, flags) in table {
        for chunked in [true, false] {
            let script = deed.clone();
            let endpoint =
                Endpoint::start(move |asked| if asked.number == 1 { vec![script.clone()] } else { say(200, "twice") })
                    .await;
            let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &route("shop.test", RETRIES);
            let leeboard = Leeboard::with(&config, &BUFFER).await;
            let answer = leeboard.ask(long("PUT", chunked)).await;
            let lengths: Vec<_> = endpoint.seen().iter().map(|asked| asked.message.body.len()).collect();
            assert_eq!((answer.status(), lengths), (status, vec![LONG]), "{flags} chunked: {chunked}");
            assert_eq!(leeboard.record("/").await["response_flags"], flags);
            let labels = [&format!("cluster=\"{CLUSTER}\"")[..], "limit=\"request\""];
            leeboard.metric_becomes("leeboard_replay_abandoned_total", &labels, 1.0).await;
            leeboard.at_rest(CLUSTER).await;
        }
    }
}

#[tokio::test]
async fn nothing_that_has_outgrown_the_buffer_is_sent_twice_over_http_2() {
    #[rustfmt::skip]
    let table = [
        // what the endpoint does with the body, the answer, its flags
        ("hang", 504, "UT"), ("reset", 503, "UR"), ("refuse", 503, "UR"), ("503", 503, "-"),
    ];
    for (deed, status, flags) in table {
        for chunked in [true, false] {
            let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
            let noted = seen.clone();
            let server = Server::start(move |mut request, mut respond, number| {
                let noted = noted.clone();
                async move {
                    let whole = http2::drain(request.body_mut()).await.map_or(0, |body| body.len());
                    noted.lock().unwrap().push(whole);
                    let say = |status| http::Response::builder().status(status).body(()).unwrap();
                    match (number, deed) {
                        (1, "hang") => std::future::pending().await,
                        (1, "reset") => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                        (1, "refuse") => respond.send_reset(h2::Reason::REFUSED_STREAM),
                        (1, _) => drop(respond.send_response(say(503), true)),
                        _ => drop(respond.send_response(say(200), true)),
                    }
                }
            })
            .await;
            let config = service("shop.test", "HTTP2", &[(server.address, "v1")]) + &route("shop.test", RETRIES);
            let leeboard = Leeboard::with(&config, &BUFFER).await;
            let answer = leeboard.ask(long("PUT", chunked)).await;
            assert_eq!((answer.status(), &*seen.lock().unwrap()), (status, &vec![LONG]), "{deed} chunked: {chunked}");
            assert_eq!(leeboard.record("/").await["response_flags"], flags, "{deed}");
            leeboard.at_rest(CLUSTER).await;
        }
    }
}

#[tokio::test]
async fn a_long_body_on_a_stale_connection_is_not_replayed() {
    for chunked in [true, false] {
        let endpoint = Endpoint::start(|asked| match asked.number {
            1 | 3 => say(200, "fresh"),
            _ => vec![Deed::Reset],
        })
        .await;
        let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]);
        let leeboard = Leeboard::with(&config, &BUFFER).await;
        assert_eq!(leeboard.ask(get("/first", "")).await.status(), 200);
        let answer = leeboard.ask(long("PUT", chunked)).await;
        assert_eq!((answer.status(), endpoint.hits()), (503, 2), "chunked: {chunked}");
    }
}

#[tokio::test]
async fn a_mirror_is_given_the_whole_of_a_body_that_is_not_kept() {
    let (primary, mirror) = (Endpoint::named("primary").await, Endpoint::named("mirror").await);
    let config = service("shop.test", "HTTP", &[(primary.address, "v1")])
        + &service("mirror.test", "HTTP", &[(mirror.address, "v1")])
        + &route("shop.test", "mirror: {host: mirror.test}");
    let leeboard = Leeboard::with(&config, &BUFFER).await;
    for (turn, chunked) in [(1, true), (2, false)] {
        assert_eq!(leeboard.ask(long("PUT", chunked)).await.status(), 200);
        mirror.reached(turn).await;
    }
    for asked in mirror.seen() {
        assert_eq!(asked.message.body.len(), LONG);
    }
}

#[tokio::test]
async fn what_all_requests_keep_together_is_limited() {
    let gate = crate::endpoint::Gate::closed();
    let wait = gate.clone();
    let endpoint = Endpoint::start(move |asked| match (asked.message.target(), asked.number) {
        ("/held", _) => vec![Deed::Wait(wait.clone()), Deed::Send(crate::message::response(200, ""))],
        (_, 2 | 3) => say(503, ""),
        _ => say(200, ""),
    })
    .await;
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &route("shop.test", RETRIES);
    let config = config.replace("perTryTimeout: 300ms, ", "");
    let leeboard = Leeboard::with(&config, &["--replay-memory", "300000"]).await;
    let put = |path: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {LONG}\r\n\r\n{}", "x".repeat(LONG))
    };
    let mut held = Wire::to(leeboard.port("outbound")).await;
    held.send(put("/held")).await.unwrap();
    endpoint.reached(1).await;
    assert_eq!(leeboard.ask(put("/second")).await.status(), 503, "there is no room to keep it");
    let labels = [&format!("cluster=\"{CLUSTER}\"")[..], "limit=\"process\""];
    leeboard.metric_becomes("leeboard_replay_abandoned_total", &labels, 1.0).await;
    gate.open();
    assert_eq!(soon("the first answer", held.response()).await.unwrap().status(), 200);
    leeboard.record("/held").await;
    endpoint.reached(2).await;
    assert_eq!(leeboard.ask(put("/third")).await.status(), 200);
    assert_eq!(endpoint.seen().iter().map(|asked| asked.message.body.len()).collect::<Vec<_>>(), [LONG; 4]);
}
