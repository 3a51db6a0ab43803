//! Callers who do not read: what they ask for is bounded, and stops nobody else.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::Response;
use tokio::net::TcpStream;

use crate::config::{route, service};
use crate::http2::{self, Server, ask, drain, request, send};
use crate::message::{Wire, get};
use crate::patience::{soon, until};
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";

/// An endpoint that answers `/large/N` with so many bytes, `/pieces/N` with so many pieces of five bytes, each when the one before
/// has been taken by the connection, and anything else with a word.
async fn shop() -> (Server, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let pieces = sent.clone();
    let server = Server::start(move |request, mut respond, _| {
        let pieces = pieces.clone();
        async move {
            let path = request.uri().path().to_owned();
            let number = |prefix: &str| path.strip_prefix(prefix).and_then(|count| count.parse::<usize>().ok());
            // A caller that is gone is no reason to panic.
            let Ok(mut down) = respond.send_response(Response::new(()), false) else { return };
            if let Some(count) = number("/large/") {
                let _ = down.send_data(vec![b'x'; count].into(), true);
            } else if let Some(count) = number("/pieces/") {
                for _ in 0..count {
                    down.reserve_capacity(5);
                    while down.capacity() < 5 {
                        if !matches!(poll_fn(|cx| down.poll_capacity(cx)).await, Some(Ok(_))) {
                            return;
                        }
                    }
                    send(&mut down, "piece");
                    pieces.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                let _ = down.send_data(Bytes::new(), true);
            } else {
                let _ = down.send_data("word".into(), true);
            }
            let _ = poll_fn(|cx| down.poll_reset(cx)).await;
        }
    })
    .await;
    (server, sent)
}

async fn before(server: &Server, flags: &[&str], settings: &str) -> Leeboard {
    let config = service("shop.test", "HTTP2", &[(server.address, "v1")]) + &route("shop.test", settings);
    Leeboard::with(&config, flags).await
}

/// A caller whose streams have so much room until they are read.
async fn slow(leeboard: &Leeboard, window: u32) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(leeboard.port("outbound")).await.unwrap();
    let shaken = h2::client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(1 << 30)
        .handshake(stream)
        .await;
    let (sender, connection) = shaken.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// Asks, and has the answer's head.
async fn begin(caller: &SendRequest<Bytes>, path: &str) -> RecvStream {
    let mut caller = soon("room for a stream", caller.clone().ready()).await.unwrap();
    let (answer, _) = caller.send_request(request("GET", path, &[]), true).unwrap();
    soon("a head", answer).await.unwrap().into_body()
}

#[tokio::test]
async fn a_few_who_do_not_read_stop_nobody_else() {
    let (server, _) = shop().await;
    let leeboard = before(&server, &[], "timeout: 60s").await;
    let greedy = slow(&leeboard, 0).await;
    let mut unread = Vec::new();
    for _ in 0..15 {
        unread.push(begin(&greedy, "/large/1000000").await);
    }
    let polite = http2::call(leeboard.port("outbound")).await;
    for _ in 0..3 {
        let whole = ask(&polite, request("GET", "/large/1000000", &[]), None).await.unwrap();
        assert_eq!(whole.body.len(), 1_000_000);
    }
    let mut wire = leeboard.dial().await;
    wire.send(get("/large/1000000", "")).await.unwrap();
    assert_eq!(soon("an answer", wire.response()).await.unwrap().body.len(), 1_000_000);
    assert_eq!(server.connections(), 1, "they were all on one connection");
    drop(unread);
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn who_reads_gets_a_connection_without_the_many_that_nobody_reads() {
    let (server, _) = shop().await;
    let leeboard = before(&server, &["--workers", "1"], "timeout: 60s").await;
    let greedy = slow(&leeboard, 0).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(begin(&greedy, "/large/1000000").await);
    }
    assert_eq!(server.connections(), 1);
    let polite = http2::call(leeboard.port("outbound")).await;
    until("one more connection", || async {
        // What has come is known to be unread when the greedy caller's connection has been looked at.
        let whole = ask(&polite, request("GET", "/large/1000000", &[]), None).await.unwrap();
        whole.body.len() == 1_000_000 && server.connections() == 2
    })
    .await;
    for _ in 0..20 {
        ask(&polite, request("GET", "/", &[]), None).await.unwrap();
        unread.push(begin(&greedy, "/large/1000000").await);
    }
    assert_eq!(server.connections(), 2, "who does not read stays where much is unread");
    drop(unread);
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn small_pieces_that_nobody_reads_end_no_connection_and_arrive_in_the_end() {
    // More of them than the h2 crate lets wait unread on a connection.
    const PIECES: usize = 12_000;
    let (server, sent) = shop().await;
    let leeboard = before(&server, &[], "timeout: 60s").await;
    let greedy = slow(&leeboard, 0).await;
    let mut wire = Wire::to(leeboard.port("outbound")).await;
    let mut unread = begin(&greedy, &format!("/pieces/{PIECES}")).await;
    until("all pieces have left the endpoint", || async { sent.load(Ordering::SeqCst) == PIECES }).await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(soon("an answer", wire.response()).await.unwrap().text(), "word");
    assert_eq!(server.connections(), 1);
    // Only what has come can be given back, so the room is made by the caller's settings.
    let _ = unread.flow_control();
    let polite = http2::call(leeboard.port("outbound")).await;
    let whole = ask(&polite, request("GET", &format!("/pieces/{PIECES}"), &[]), None).await.unwrap();
    assert_eq!(whole.body, "piece".repeat(PIECES).as_bytes());
    drop(unread);
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn what_waited_for_a_slow_reader_arrives_whole_and_in_order() {
    let server = Server::start(|_, mut respond, _| async move {
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        for turn in 0..4000_u32 {
            send(&mut down, turn.to_be_bytes().repeat(1 + turn as usize % 40));
        }
        let trailers = [("x-end", "1")].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        down.send_trailers(trailers.into_iter().collect::<http::HeaderMap>()).unwrap();
    })
    .await;
    let leeboard = before(&server, &[], "timeout: 60s").await;
    let caller = slow(&leeboard, 100).await;
    let mut down = begin(&caller, "/").await;
    let all = soon("the body", drain(&mut down)).await.unwrap();
    let expected: Vec<u8> = (0..4000_u32).flat_map(|turn| turn.to_be_bytes().repeat(1 + turn as usize % 40)).collect();
    assert!(all == expected, "{} of {} bytes", all.len(), expected.len());
    assert_eq!(soon("trailers", down.trailers()).await.unwrap().unwrap()["x-end"], "1");
}

#[tokio::test]
async fn too_much_for_one_caller_costs_that_caller_alone() {
    let (server, _) = shop().await;
    let leeboard = before(&server, &["--max-caller-unread", "1MiB"], "timeout: 60s").await;
    let polite = http2::call(leeboard.port("outbound")).await;
    let modest = slow(&leeboard, 0).await;
    let kept = begin(&modest, "/large/100000").await;
    let greedy = slow(&leeboard, 0).await;
    let mut unread = Vec::new();
    for _ in 0..60 {
        let mut caller = soon("room for a stream", greedy.clone().ready()).await.unwrap();
        let (answer, _) = caller.send_request(request("GET", "/large/100000", &[]), true).unwrap();
        unread.push(tokio::spawn(answer));
    }
    let refused = |record: &serde_json::Value| record["response_flags"] == "OM";
    let records = leeboard.records("/large/100000", 20).await;
    assert!(records.iter().all(refused), "{records:?}");
    let (begun, turned_away): (Vec<_>, Vec<_>) = records.iter().partition(|record| record["response_code"] == 200);
    assert!(begun.iter().chain(&turned_away).all(|record| record["response_code_details"] == "overload"));
    let whole = ask(&polite, request("GET", "/large/100000", &[]), None).await.unwrap();
    assert_eq!((whole.status, whole.body.len()), (200, 100_000));
    // The one that holds too much is told so when it asks for more.
    let mut greedy = soon("room for a stream", greedy.ready()).await.unwrap();
    let (more, _) = greedy.send_request(request("GET", "/", &[]), true).unwrap();
    let more = soon("a head", more).await.unwrap();
    assert_eq!((more.status().as_u16(), more.headers()["x-leeboard-reason"].to_str().unwrap()), (503, "overload"));
    drop((kept, unread, greedy));
    leeboard.metric_becomes("leeboard_upstream_requests_active", &[], 0.0).await;
}

#[tokio::test]
async fn small_answers_that_nobody_reads_are_bounded_too() {
    const ASKED: usize = 300;
    let (server, _) = shop().await;
    let leeboard = before(&server, &["--max-caller-unread", "256KiB"], "timeout: 60s").await;
    let greedy = slow(&leeboard, 0).await;
    let (mut unread, mut refused) = (Vec::new(), 0);
    for _ in 0..ASKED {
        let mut caller = soon("room for a stream", greedy.clone().ready()).await.unwrap();
        let (answer, _) = caller.send_request(request("GET", "/small", &[]), true).unwrap();
        match soon("a head", answer).await {
            Ok(answer) if answer.status() == 503 => {
                assert_eq!(answer.headers()["x-leeboard-reason"], "overload");
                refused += 1;
                unread.push(answer.into_body());
            }
            Ok(answer) => unread.push(answer.into_body()),
            Err(error) => {
                assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
                refused += 1;
            }
        }
    }
    assert!(refused > ASKED / 3, "{refused} of {ASKED}");
    let polite = http2::call(leeboard.port("outbound")).await;
    let whole = ask(&polite, request("GET", "/large/100000", &[]), None).await.unwrap();
    assert_eq!((whole.status, whole.body.len()), (200, 100_000));
}

#[tokio::test]
async fn endpoints_send_less_while_much_is_held() {
    const PIECES: usize = 12_000;
    let (server, sent) = shop().await;
    let flags = ["--max-unread", "1MiB", "--max-caller-unread", "1MiB", "--workers", "1"];
    let leeboard = before(&server, &flags, "timeout: 60s").await;
    let greedy = slow(&leeboard, 0).await;
    let mut unread = Vec::new();
    for _ in 0..9 {
        unread.push(begin(&greedy, "/large/1000000").await);
    }
    // By the end of a large answer the others have sent what they may: they take turns.
    let polite = http2::call(leeboard.port("outbound")).await;
    let whole = ask(&polite, request("GET", "/large/1000000", &[]), None).await.unwrap();
    assert_eq!(whole.body.len(), 1_000_000);
    let modest = slow(&leeboard, 0).await;
    let few = begin(&modest, &format!("/pieces/{PIECES}")).await;
    until("as much has left the endpoint as may", || async { sent.load(Ordering::SeqCst) > 3000 }).await;
    for _ in 0..50 {
        ask(&polite, request("GET", "/", &[]), None).await.unwrap();
    }
    let held = sent.load(Ordering::SeqCst);
    assert!(held < 4000, "{held} pieces have left the endpoint");
    drop(unread);
    until("all pieces have left the endpoint", || async {
        // Its connection is told the next time that something goes on there.
        ask(&polite, request("GET", "/", &[]), None).await.unwrap();
        sent.load(Ordering::SeqCst) == PIECES
    })
    .await;
    drop(few);
    leeboard.at_rest(CLUSTER).await;
}
