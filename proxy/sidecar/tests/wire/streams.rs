//! Bodies that flow: both ways at once, at the pace of the slower side, with trailers, over HTTP/1 and HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::config::{policy, route, service};
use crate::endpoint::{Deed, Endpoint, Gate};
use crate::http2::{self, Server, ask, drain, finish, request, send};
use crate::message::{Wire, get, response};
use crate::patience::soon;
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";
/// More than all buffers between two ends hold, the kernel's included.
const LARGE: usize = 64 << 20;
/// How long a side takes nothing before it counts as stopped.
const STOPPED: Duration = Duration::from_millis(500);

async fn shop(protocol: &str, address: std::net::SocketAddr, pool: &str, settings: &str) -> Leeboard {
    let mut config = service("shop.test", protocol, &[(address, "v1")]);
    if !pool.is_empty() {
        config += &policy("shop.test", &format!("{{connectionPool: {pool}}}"));
    }
    if !settings.is_empty() {
        config += &route("shop.test", settings);
    }
    Leeboard::start(&config).await
}

#[tokio::test]
async fn a_slow_reader_stops_a_fast_endpoint() {
    let (stopped, sent) = (Gate::closed(), Arc::new(AtomicUsize::new(0)));
    let (tell, count) = (stopped.clone(), sent.clone());
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let (tell, count) = (tell.clone(), count.clone());
        async move {
            wire.request().await.unwrap();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await.unwrap();
            let first = wire.flood(LARGE, STOPPED).await;
            count.store(first, Ordering::SeqCst);
            tell.open();
            wire.flood(LARGE - first, Duration::from_secs(60)).await;
            wire.end().await;
        }
    })
    .await;
    let leeboard = shop("HTTP", endpoint.address, "", "").await;
    let mut wire = leeboard.dial().await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
    soon("the endpoint is stopped", stopped.wait()).await;
    let held = sent.load(Ordering::SeqCst);
    assert!(held < 24 << 20, "{held} bytes were taken though nobody read them");
    let mut read = 0;
    while read < LARGE {
        let part = (LARGE - read).min(1 << 20);
        assert!(soon("the rest", wire.exactly(part)).await.unwrap().iter().all(|byte| *byte == b'x'));
        read += part;
    }
    leeboard.at_rest(CLUSTER).await;
    assert_eq!(leeboard.record("/").await["bytes_sent"], LARGE);
}

#[tokio::test]
async fn a_slow_endpoint_stops_a_fast_caller() {
    let go_on = Gate::closed();
    let wait = go_on.clone();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let go_on = wait.clone();
        async move {
            wire.head().await.unwrap();
            go_on.wait().await;
            let mut read = 0;
            while read < LARGE {
                let part = (LARGE - read).min(1 << 20);
                read += wire.exactly(part).await.unwrap().len();
            }
            wire.send(response(200, &read.to_string())).await.unwrap();
            wire.end().await;
        }
    })
    .await;
    let leeboard = shop("HTTP", endpoint.address, "", "").await;
    let mut wire = leeboard.dial().await;
    wire.send(format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {LARGE}\r\n\r\n")).await.unwrap();
    let held = wire.flood(LARGE, STOPPED).await;
    assert!(held < 24 << 20, "{held} bytes were taken though nobody read them");
    go_on.open();
    assert_eq!(wire.flood(LARGE - held, Duration::from_secs(60)).await, LARGE - held);
    assert_eq!(soon("the answer", wire.response()).await.unwrap().text(), LARGE.to_string());
    assert_eq!(leeboard.record("/").await["bytes_received"], LARGE);
}

#[tokio::test]
async fn both_directions_flow_at_once_over_http_1() {
    let endpoint = Endpoint::raw(|mut wire, _| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        while let Some(Some(chunk)) = wire.chunk().await {
            let echo = [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat();
            wire.send(echo).await.unwrap();
        }
        wire.send("0\r\n\r\n").await.unwrap();
        wire.end().await;
    })
    .await;
    let leeboard = shop("HTTP", endpoint.address, "", "").await;
    let mut wire = leeboard.dial().await;
    wire.send("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
    for word in ["one", "two", "three"] {
        wire.send(format!("{:x}\r\n{word}\r\n", word.len())).await.unwrap();
        assert_eq!(soon("the echo", wire.chunk()).await.unwrap().unwrap(), word.as_bytes());
    }
    wire.send("0\r\n\r\n").await.unwrap();
    assert_eq!(soon("the end", wire.chunk()).await, Some(None));
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn trailers_pass_between_http_1_peers_that_want_them() {
    let endpoint = Endpoint::start(|asked| {
        let sum = asked.message.trailers.iter().map(|(name, value)| format!("{name}={value}")).collect::<String>();
        let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: ";
        vec![Deed::Send(format!("{answer}{sum}\r\n\r\n").into())]
    })
    .await;
    let leeboard = shop("HTTP", endpoint.address, "", "").await;
    let mut wire = leeboard.dial().await;
    let head =
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTE: trailers\r\nTrailer: x-up\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(format!("{head}2\r\nhi\r\n0\r\nx-up: 7\r\n\r\n")).await.unwrap();
    let answer = soon("the answer", wire.response()).await.unwrap();
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.trailers.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["x-up=7"]);
}

#[tokio::test]
async fn a_unary_grpc_call_passes_with_its_trailers() {
    let server = Server::start(|request, respond, _| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let (_, mut body) = request.into_parts();
        let asked = String::from_utf8(drain(&mut body).await.unwrap()).unwrap();
        let status = if asked == "fail" { "13" } else { "0" };
        finish(respond, &format!("re: {asked}"), &[("grpc-status", status), ("x-trailer", "kept")]);
    })
    .await;
    let leeboard = shop("GRPC", server.address, "", "").await;
    let caller = http2::call(leeboard.port("outbound")).await;
    for (body, status) in [("hello", "0"), ("fail", "13")] {
        let call = request("POST", &format!("/s/{body}"), &[("content-type", "application/grpc"), ("te", "trailers")]);
        let answer = ask(&caller, call, Some(body)).await.unwrap();
        assert_eq!((answer.status, answer.body), (200, format!("re: {body}").into_bytes()));
        assert_eq!(answer.trailers["grpc-status"], status);
        assert_eq!(answer.trailers["x-trailer"], "kept");
        let labels = [format!("grpc_response_status=\"{status}\""), "request_protocol=\"grpc\"".to_owned()];
        leeboard.metric_becomes("istio_requests_total", &[&labels[0], &labels[1]], 1.0).await;
    }
    assert_eq!(server.connections(), 1);
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn a_grpc_stream_goes_both_ways() {
    let server = Server::start(|request, mut respond, _| async move {
        let (_, mut body) = request.into_parts();
        let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut down = respond.send_response(head, false).unwrap();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            send(&mut down, data);
        }
        down.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect()).unwrap();
    })
    .await;
    let leeboard = shop("GRPC", server.address, "", "").await;
    let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
    let call = request("POST", "/chat", &[("content-type", "application/grpc"), ("te", "trailers")]);
    let (answer, mut up) = caller.send_request(call, false).unwrap();
    let mut down = soon("the head, while the request goes on", answer).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        send(&mut up, word);
        let echo = soon("the echo", down.data()).await.unwrap().unwrap();
        down.flow_control().release_capacity(echo.len()).unwrap();
        assert_eq!(echo, word);
    }
    up.send_data(Bytes::new(), true).unwrap();
    assert!(soon("the end", down.data()).await.is_none());
    assert_eq!(down.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn an_http_2_reader_that_takes_nothing_stops_its_endpoint_alone() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let server = Server::start(move |request, mut respond, _| {
        let count = count.clone();
        async move {
            if request.uri().path() == "/small" {
                return finish(respond, "small", &[]);
            }
            let mut down = respond.send_response(Response::new(()), false).unwrap();
            loop {
                down.reserve_capacity(64 << 10);
                let Some(Ok(room)) = std::future::poll_fn(|cx| down.poll_capacity(cx)).await else { return };
                count.fetch_add(room, Ordering::SeqCst);
                send(&mut down, vec![b'x'; room]);
            }
        }
    })
    .await;
    let leeboard = shop("HTTP2", server.address, "", "").await;
    let caller = http2::call(leeboard.port("outbound")).await;
    let (answer, _up) =
        caller.clone().ready().await.unwrap().send_request(request("GET", "/endless", &[]), true).unwrap();
    let _unread = soon("the head", answer).await.unwrap();
    let mut before = usize::MAX;
    soon("the endpoint is stopped", async {
        let mut looks = tokio::time::interval(STOPPED);
        while std::mem::replace(&mut before, sent.load(Ordering::SeqCst)) != sent.load(Ordering::SeqCst) {
            looks.tick().await;
        }
    })
    .await;
    assert!(before < 4 << 20, "{before} bytes were taken though nobody read them");
    let small = ask(&caller, request("GET", "/small", &[]), None).await.unwrap();
    assert_eq!(small.body, b"small", "the other streams of the connection go on");
}

#[tokio::test]
async fn whoever_resets_a_stream_gives_up_its_places() {
    let reached = Gate::closed();
    let tell = reached.clone();
    let server = Server::start(move |request, respond, _| {
        let tell = tell.clone();
        async move {
            let _open = (request, respond);
            tell.pass();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let leeboard = shop("HTTP2", server.address, "{tcp: {maxConnections: 1}, http: {http2MaxRequests: 1}}", "").await;
    let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
    for turn in 0..3 {
        let (answer, mut up) = caller.send_request(request("POST", "/hang", &[]), false).unwrap();
        soon("the endpoint has it", reached.wait()).await;
        if turn == 0 {
            let refused = ask(&caller, request("GET", "/", &[]), None).await.unwrap();
            assert_eq!((refused.status, &refused.headers["x-envoy-overloaded"]), (503, &"true".parse().unwrap()));
        }
        up.send_reset(h2::Reason::CANCEL);
        drop(answer);
        leeboard.at_rest(CLUSTER).await;
    }
    assert_eq!(server.connections(), 1, "the connection outlives its streams");
    for record in leeboard.records("/hang", 3).await {
        assert_eq!((&record["response_flags"], &record["response_code"]), (&"DR".into(), &0.into()));
        assert_eq!(record["response_code_details"], "http2.remote_reset");
    }
}

#[tokio::test]
async fn an_upload_that_is_cancelled_does_not_look_whole() {
    let (begun, ends) = (Gate::closed(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let (tell, seen) = (begun.clone(), ends.clone());
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let (tell, seen) = (tell.clone(), seen.clone());
        async move {
            wire.head().await.unwrap();
            assert_eq!(wire.chunk().await.unwrap().unwrap(), b"half");
            tell.pass();
            let end = wire.chunk().await;
            seen.lock().unwrap().push(end);
        }
    })
    .await;
    let leeboard = shop("HTTP", endpoint.address, "", "").await;
    for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR, h2::Reason::INTERNAL_ERROR] {
        let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
        let (_answer, mut up) = caller.send_request(request("POST", "/half", &[]), false).unwrap();
        send(&mut up, "half");
        soon("the endpoint has the first half", begun.wait()).await;
        up.send_reset(reason);
        leeboard.at_rest(CLUSTER).await;
    }
    crate::patience::until("all ends", || async { ends.lock().unwrap().len() == 3 }).await;
    assert_eq!(*ends.lock().unwrap(), [None, None, None], "the last chunk never came");
    for record in leeboard.records("/half", 3).await {
        assert_eq!((&record["response_flags"], &record["response_code"]), (&"DR".into(), &0.into()));
        assert_eq!(record["response_code_details"], "http2.remote_reset");
    }
}

#[tokio::test]
async fn the_protocol_upstream_is_the_port_s_the_caller_s_or_upgraded() {
    let versions = |name: &'static str| {
        move |asked: &crate::endpoint::Asked| {
            vec![Deed::Send(response(200, &format!("{name} {}", asked.message.start.rsplit(' ').next().unwrap())))]
        }
    };
    let one = Endpoint::start(versions("one")).await;
    let two = Server::start(|_, respond, _| async move { finish(respond, "two HTTP/2", &[]) }).await;
    #[rustfmt::skip]
    let table = [
        // protocol, settings, endpoint, HTTP/1 callers see, HTTP/2 callers see
        ("HTTP", "", one.address, Some("one HTTP/1.1"), Some("one HTTP/1.1")),
        ("HTTP2", "", two.address, Some("two HTTP/2"), Some("two HTTP/2")),
        ("HTTP", "{http: {h2UpgradePolicy: UPGRADE}}", two.address, Some("two HTTP/2"), Some("two HTTP/2")),
        ("HTTP", "{http: {useClientProtocol: true}}", one.address, Some("one HTTP/1.1"), None),
        ("HTTP", "{http: {useClientProtocol: true}}", two.address, None, Some("two HTTP/2")),
    ];
    for (protocol, pool, address, by_one, by_two) in table {
        let leeboard = shop(protocol, address, pool, "").await;
        if let Some(expected) = by_one {
            assert_eq!(leeboard.ask(get("/", "")).await.text(), expected, "{protocol} {pool}");
        }
        if let Some(expected) = by_two {
            let caller = http2::call(leeboard.port("outbound")).await;
            let answer = ask(&caller, request("GET", "/", &[]), None).await.unwrap();
            assert_eq!(String::from_utf8(answer.body).unwrap(), expected, "{protocol} {pool}");
        }
    }
}

/// An endpoint that reads the preface and the first HEADERS, says what it has to say and closes, or waits.
async fn frames(say: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> (Endpoint, Arc<AtomicUsize>) {
    let heads = Arc::new(AtomicUsize::new(0));
    let (count, say) = (heads.clone(), Arc::new(say));
    let endpoint = Endpoint::raw(move |mut wire: Wire, connection| {
        let (count, say) = (count.clone(), say.clone());
        async move {
            wire.exactly(24).await.unwrap();
            wire.send(http2::settings()).await.unwrap();
            while let Some(head) = wire.exactly(9).await {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                wire.exactly(length).await.unwrap();
                if head[3] == 1 {
                    count.fetch_add(1, Ordering::SeqCst);
                    break;
                }
            }
            // The caller may have gone already.
            let _ = wire.send(say(connection)).await;
            wire.leave().await;
        }
    })
    .await;
    (endpoint, heads)
}

#[tokio::test]
async fn what_a_peer_says_it_has_not_looked_at_is_sent_again() {
    const REFUSED: u32 = 7;
    let refusals: [(&str, fn(u32) -> Vec<u8>); 2] =
        [("REFUSED_STREAM", |code| http2::reset(1, code)), ("GOAWAY before it", |_| http2::go_away(0, 0))];
    for (what, refusal) in refusals {
        let (endpoint, heads) = frames(move |_| refusal(REFUSED)).await;
        let leeboard = shop("HTTP2", endpoint.address, "", "retries: {attempts: 0}").await;
        let caller = http2::call(leeboard.port("outbound")).await;
        let answer = ask(&caller, request("POST", "/", &[]), Some("order")).await.unwrap();
        assert_eq!((answer.status, heads.load(Ordering::SeqCst)), (503, 2), "{what}: once more and no further");
        let reason = answer.headers["x-leeboard-reason"].to_str().unwrap().to_owned();
        assert!(reason.starts_with("refused-stream"), "{what}: {reason}");
        assert_eq!(leeboard.record("/").await["response_flags"], "UR", "{what}");
    }
}

#[tokio::test]
async fn what_a_peer_may_have_looked_at_is_not_sent_again() {
    const INTERNAL: u32 = 2;
    let ends: [(&str, &str, fn(u32) -> Vec<u8>); 4] = [
        ("RST_STREAM", "remote-reset", |code| http2::reset(1, code)),
        ("GOAWAY behind it", "connection-terminated", |_| http2::go_away(1, 0)),
        ("GOAWAY with an error behind it", "connection-terminated", |code| http2::go_away(1, code)),
        ("the connection's end", "connection-terminated", |_| Vec::new()),
    ];
    for (what, reason, end) in ends {
        let (endpoint, heads) = frames(move |_| end(INTERNAL)).await;
        let leeboard = shop("HTTP2", endpoint.address, "", "").await;
        let caller = http2::call(leeboard.port("outbound")).await;
        let answer = ask(&caller, request("POST", "/", &[]), Some("order")).await.unwrap();
        assert_eq!((answer.status, heads.load(Ordering::SeqCst)), (503, 1), "{what}");
        let said = answer.headers["x-leeboard-reason"].to_str().unwrap();
        assert!(said.starts_with(reason), "{what}: {said}");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_http_2_is_a_protocol_error() {
    let endpoint = Endpoint::start(|_| vec![Deed::Send(response(400, "what?")), Deed::Hang]).await;
    let leeboard = shop("HTTP2", endpoint.address, "", "").await;
    let answer = leeboard.ask(get("/", "")).await;
    assert_eq!(answer.status(), 502);
    assert!(answer.header("x-leeboard-reason").unwrap().starts_with("protocol-error"));
    assert_eq!(leeboard.record("/").await["response_flags"], "UPE");
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let gone = Gate::closed();
    let tell = gone.clone();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let tell = tell.clone();
        async move {
            wire.head().await.unwrap();
            wire.send(response(413, "too much")).await.unwrap();
            wire.end().await;
            tell.pass();
        }
    })
    .await;
    let leeboard = shop("HTTP", endpoint.address, "", "").await;
    let mut wire = leeboard.dial().await;
    wire.send("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n").await.unwrap();
    let answer = soon("the answer", wire.response()).await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "too much"));
    assert_eq!(answer.header("x-envoy-upstream-service-time"), None);
    soon("the upstream connection's end", gone.wait()).await;
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn a_refusal_is_heard_by_a_caller_that_goes_on_sending() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop("HTTP", endpoint.address, "", "match: [{uri: {exact: /only}}]").await;
    for turn in 0..5 {
        let mut wire = leeboard.dial().await;
        let head = format!("POST /{turn} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {}\r\n\r\n", 16 << 20);
        wire.send(head).await.unwrap();
        // It is cut off at some point, which is what a caller like this one deserves.
        let _ = wire.send(vec![b'x'; 16 << 20]).await;
        let answer = soon("the answer", wire.response()).await.expect("the answer, and not only the cut");
        assert_eq!(answer.status(), 404);
    }
}

#[tokio::test]
async fn heads_over_http_2_have_their_limits_too() {
    let server = Server::start(|_, respond, _| async move { finish(respond, "ok", &[]) }).await;
    let leeboard = shop("HTTP2", server.address, "", "").await;
    let caller = http2::call(leeboard.port("outbound")).await;
    let large = "x".repeat(70 << 10);
    let answer = ask(&caller, request("GET", "/", &[("x-large", &large)]), None).await;
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 431), "{answer:?}");
    let caller = http2::call(leeboard.port("outbound")).await;
    for (target, fields, status) in
        [("/%00", vec![], 400), ("/", vec![("content-length", "5")], 200), ("/a/../b", vec![], 200)]
    {
        let body = fields.is_empty().then_some("").or(Some("12345"));
        let answer = ask(&caller, request("POST", target, &fields), body).await.unwrap();
        assert_eq!(answer.status, status, "{target}");
    }
    assert_eq!(server.streams(), 2);
}
