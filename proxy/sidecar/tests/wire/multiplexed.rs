//! What HTTP/2 asks of a proxy beside its bodies: fields that it must not carry, frames that nobody needs, pings, and streams
//! that do not wait for each other.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::config::{policy, route, service};
use crate::endpoint::{Endpoint, Gate};
use crate::http2::{self, Server, ask, drain, finish, request, send};
use crate::message::Wire;
use crate::patience::soon;
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";

async fn shop(address: std::net::SocketAddr, pool: &str, settings: &str) -> Leeboard {
    let mut config = service("shop.test", "HTTP2", &[(address, "v1")]) + &route("shop.test", settings);
    if !pool.is_empty() {
        config += &policy("shop.test", &format!("{{connectionPool: {pool}}}"));
    }
    Leeboard::start(&config).await
}

#[tokio::test]
async fn fields_of_a_connection_that_a_route_sets_are_not_carried() {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let heads = seen.clone();
    let server = Server::start(move |request, respond, _| {
        *heads.lock().unwrap() = request.headers().clone();
        async move { finish(respond, "ok", &[]) }
    })
    .await;
    let set = "{set: {connection: x-named, x-named: '1', te: gzip, keep-alive: '5', upgrade: h2c, x-kept: '1'}}";
    let leeboard = shop(server.address, "", &format!("headers: {{request: {set}, response: {set}}}")).await;
    let caller = http2::call(leeboard.port("outbound")).await;
    let answer = ask(&caller, request("GET", "/", &[]), None).await.unwrap();
    assert_eq!(answer.status, 200);
    for (what, fields) in [("request", seen.lock().unwrap().clone()), ("response", answer.headers)] {
        // A route's word of a connection is not taken, so that it names nothing either.
        assert!(fields["x-kept"] == "1" && fields["x-named"] == "1", "{what}");
        for name in ["connection", "te", "keep-alive", "upgrade"] {
            assert!(!fields.contains_key(name), "{what}: {name}");
        }
    }
}

#[tokio::test]
async fn a_head_says_how_long_its_body_is_when_that_is_known_and_an_answer_when_it_was_given() {
    let seen = Arc::new(Mutex::new(None));
    let lengths = seen.clone();
    let server = Server::start(move |request, mut respond, _| {
        *lengths.lock().unwrap() =
            request.headers().get("content-length").map(|value| value.to_str().unwrap().to_owned());
        async move {
            let dated = request.uri().path() == "/dated";
            let head = Response::builder().header(if dated { "date" } else { "x-other" }, "then");
            drop(respond.send_response(head.body(()).unwrap(), true));
        }
    })
    .await;
    let leeboard = shop(server.address, "", "timeout: 9s").await;
    let caller = http2::call(leeboard.port("outbound")).await;
    #[rustfmt::skip]
    let table = [
        // method, path, what the caller says of the length, body; what the endpoint hears
        ("GET", "/", None, None, None),
        ("POST", "/", None, None, Some("0")),
        ("DELETE", "/dated", None, None, None),
        ("POST", "/dated", None, Some("hello"), None),
        ("POST", "/", Some("5"), Some("hello"), Some("5")),
    ];
    for (method, path, said, body, heard) in table {
        let said: Vec<_> = said.into_iter().map(|length| ("content-length", length)).collect();
        let answer = ask(&caller, request(method, path, &said), body).await.unwrap();
        assert_eq!(seen.lock().unwrap().as_deref(), heard, "{method} {path}");
        let date = answer.headers["date"].to_str().unwrap();
        assert_eq!(date == "then", path == "/dated", "{method} {path}: {date}");
        assert!(date == "then" || date.ends_with(" GMT"), "{date}");
    }
    let unknown = http2::request("GET", "/", &[("host", "nobody.test:81")]);
    let answer = ask(&caller, unknown, None).await.unwrap();
    assert!(answer.headers.contains_key("date"));
}

/// The next frame: kind, flags, stream, payload.
async fn frame(wire: &mut Wire) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head = wire.exactly(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], stream, wire.exactly(length).await?))
}

#[tokio::test]
async fn a_body_of_one_piece_is_one_frame_each_way() {
    const END: u8 = 1;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let frames = seen.clone();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let frames = frames.clone();
        async move {
            wire.exactly(24).await.unwrap();
            wire.send(http2::settings()).await.unwrap();
            while let Some((kind, flags, stream, payload)) = frame(&mut wire).await {
                if stream == 1 {
                    frames.lock().unwrap().push((kind, flags & END, payload.len()));
                }
                if stream == 1 && flags & END == END {
                    // `:status: 200` of the static table, and a body.
                    let answer = [http2::frame(1, 4, 1, &[0x88]), http2::frame(0, END, 1, b"re: order")].concat();
                    wire.send(answer).await.unwrap();
                }
            }
        }
    })
    .await;
    let leeboard = shop(endpoint.address, "", "timeout: 9s").await;
    let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
    let (answer, mut up) = caller.send_request(request("POST", "/", &[]), false).unwrap();
    up.send_data(Bytes::from_static(b"order"), true).unwrap();
    let mut down = soon("the head", answer).await.unwrap().into_body();
    let data = soon("the body", down.data()).await.unwrap().unwrap();
    assert_eq!((&data[..], down.is_end_stream()), (&b"re: order"[..], true));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!((seen[0].0, seen[0].1, seen[1]), (1, 0, (0, END, 5)));
}

#[tokio::test]
async fn an_upload_does_not_wait_for_a_caller_that_leaves_its_answer_for_later() {
    const ALL: usize = 4 << 20;
    let heard = Gate::closed();
    let tell = heard.clone();
    let server = Server::start(move |request, mut respond, _| {
        let tell = tell.clone();
        async move {
            let mut down = respond.send_response(Response::new(()), false).unwrap();
            // More than all windows between the two.
            send(&mut down, vec![b'x'; ALL]);
            let all = drain(&mut request.into_body()).await.unwrap();
            assert_eq!(all.len(), ALL);
            tell.pass();
            down.send_data(Bytes::new(), true).unwrap();
        }
    })
    .await;
    let leeboard = shop(server.address, "", "timeout: 60s").await;
    let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
    let (answer, mut up) = caller.send_request(request("POST", "/", &[]), false).unwrap();
    let answer = soon("the head", answer).await.unwrap();
    up.send_data(Bytes::from(vec![b'y'; ALL]), true).unwrap();
    soon("the endpoint has all of the request", heard.wait()).await;
    let all = soon("the answer", drain(&mut answer.into_body())).await.unwrap();
    assert_eq!(all.len(), ALL);
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_pings_is_left() {
    const PING: u8 = 6;
    let pings = Arc::new(AtomicUsize::new(0));
    let count = pings.clone();
    let endpoint = Endpoint::raw(move |mut wire, connection| {
        let count = count.clone();
        async move {
            wire.exactly(24).await.unwrap();
            wire.send(http2::settings()).await.unwrap();
            while let Some((kind, flags, _, payload)) = frame(&mut wire).await {
                if kind == PING && flags == 0 && count.fetch_add(1, Ordering::SeqCst) < 2 && connection == 1 {
                    wire.send(http2::frame(PING, 1, 0, &payload)).await.unwrap();
                }
            }
        }
    })
    .await;
    let alive = "{http: {http2KeepAlive: {interval: 100ms, timeout: 300ms}}}";
    let leeboard = shop(endpoint.address, alive, "retries: {attempts: 0}").await;
    let caller = http2::call(leeboard.port("outbound")).await;
    let answer = ask(&caller, request("POST", "/", &[]), None).await.unwrap();
    assert_eq!(answer.status, 503);
    let reason = answer.headers["x-leeboard-reason"].to_str().unwrap();
    assert!(reason.starts_with("connection-terminated"), "{reason}");
    assert_eq!(pings.load(Ordering::SeqCst), 3, "two were answered, and then the connection was asked once more");
    leeboard.at_rest(CLUSTER).await;
}
