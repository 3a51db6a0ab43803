//! Everything at once: callers and endpoints that misbehave in every way, and afterwards nothing is left of them.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::{policy, routes, service};
use crate::endpoint::{Asked, Deed, Endpoint, say};
use crate::http2::{self, Server};
use crate::message::{Wire, response};
use crate::patience::{soon, until};
use crate::program::Leeboard;

const CALLERS: usize = 12;
const TURNS: usize = 40;

/// Numbers that look random and are the same in every run. Steele, Lea, Flood: SplitMix64.
pub(crate) fn mixed(seed: usize) -> usize {
    let mut z = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize >> 1
}

fn misbehave(asked: &Asked) -> Vec<Deed> {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    match mixed(asked.number) % 12 {
        0 => vec![Deed::Close],
        1 => vec![Deed::Reset],
        2 => vec![Deed::Hang],
        3 => vec![Deed::Send(half), Deed::Close],
        4 => vec![Deed::Send(half), Deed::Reset],
        5 => vec![Deed::Send(b"\x16\x03nonsense\r\n\r\n".to_vec()), Deed::Close],
        6 => say(503, "no"),
        7 => vec![Deed::Pause(Duration::from_millis(20)), Deed::Send(response(200, "late"))],
        _ => say(200, "fine"),
    }
}

/// One request in one of many ways; whether its whole head was sent.
async fn visit(wire: Wire, turn: usize, path: &str) -> bool {
    let mut wire = wire;
    let body = "x".repeat(mixed(turn) % 3_000);
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\n");
    // Whatever the proxy has done with the connection by then, the caller goes on with its part.
    match mixed(turn + 7) % 8 {
        0 => {
            let _ = wire.send(&head[..head.len() / 2]).await;
            wire.reset();
            return false;
        }
        1 => {
            let _ = wire.send(head + &body).await;
            wire.reset();
        }
        2 => {
            let _ =
                wire.send(format!("POST {path} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nhalf")).await;
            drop(wire);
        }
        3 => {
            let _ = wire.send(format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await;
            wire.half_close().await;
            soon("an answer", wire.response()).await.expect("an answer or an error, but not nothing");
        }
        _ => {
            let _ = wire.send(head + &body).await;
            soon("an answer", wire.response()).await.expect("an answer or an error, but not nothing");
        }
    }
    true
}

#[tokio::test]
async fn nothing_is_left_when_all_have_gone() {
    let (one, two) = (Endpoint::start(misbehave).await, Endpoint::start(misbehave).await);
    let mirror = Endpoint::start(misbehave).await;
    let pool = "{loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {maxConnections: 3}, \
        http: {http1MaxPendingRequests: 5, maxRetries: 4}}}";
    let rule = "[{route: [{destination: {host: shop.test}}], mirror: {host: copy.test}, timeout: 300ms, \
        retries: {attempts: 2, perTryTimeout: 100ms, retryOn: 5xx, backoff: 1ms}}]";
    let config = service("shop.test", "HTTP", &[(one.address, "v1"), (two.address, "v1")])
        + &policy("shop.test", pool)
        + &service("copy.test", "HTTP", &[(mirror.address, "v1")])
        + &routes("shop.test", rule);
    let leeboard = Leeboard::with(&config, &["--workers", "2"]).await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let address = leeboard.port("outbound");
        callers.spawn(async move {
            let mut sure = 0;
            for turn in 0..TURNS {
                let answered = visit(Wire::to(address).await, caller * TURNS + turn, "/soak").await;
                sure += usize::from(answered);
            }
            sure
        });
    }
    let mut sure = 0;
    while let Some(count) = soon("the callers", callers.join_next()).await {
        sure += count.unwrap();
    }
    leeboard.at_rest("outbound|80||shop.test").await;
    leeboard.at_rest("outbound|80||copy.test").await;
    let active = ["listener=\"outbound\""];
    leeboard.metric_becomes("leeboard_downstream_connections_active", &active, 0.0).await;
    assert!(leeboard.metric("leeboard_upstream_connections_active", &["shop.test"]).await.unwrap() <= 3.0);

    // A request whose caller reset at once may never have been read; any other has left one record and no more.
    let resets = (0..CALLERS * TURNS).filter(|turn| mixed(turn + 7) % 8 == 1).count();
    let records = leeboard.records("/soak", sure - resets).await;
    assert!(records.len() <= sure, "{} records of {sure} requests", records.len());
    let ids: std::collections::BTreeSet<_> = records.iter().map(|record| record["request_id"].to_string()).collect();
    assert_eq!(ids.len(), records.len(), "one record for each");
    assert_eq!(leeboard.ask("GET /ready HTTP/1.1\r\nHost: nowhere.invalid\r\n\r\n").await.status() / 100, 5);
}

#[tokio::test]
async fn streams_over_shared_connections_come_to_an_end_too() {
    let server = Server::start(|request, mut respond, number| async move {
        match mixed(number) % 6 {
            0 => respond.send_reset(h2::Reason::REFUSED_STREAM),
            1 => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            2 => drop(request),
            3 => {
                let (_held, _open) = (request, respond);
                std::future::pending::<()>().await;
            }
            _ => http2::finish(respond, "fine", &[("grpc-status", "0")]),
        }
    })
    .await;
    let pool = "{connectionPool: {tcp: {maxConnections: 2}, http: {http2MaxRequests: 20, maxConcurrentStreams: 4}}}";
    let config = service("shop.test", "GRPC", &[(server.address, "v1")])
        + &policy("shop.test", pool)
        + &routes("shop.test", "[{route: [{destination: {host: shop.test}}], timeout: 200ms}]");
    let leeboard = Leeboard::with(&config, &["--workers", "2"]).await;
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        let address = leeboard.port("outbound");
        callers.spawn(async move {
            let connection = http2::call(address).await;
            for turn in 0..TURNS {
                let request =
                    http2::request("POST", "/s/m", &[("content-type", "application/grpc"), ("te", "trailers")]);
                if mixed(caller * TURNS + turn).is_multiple_of(4) {
                    let mut sender = connection.clone().ready().await.unwrap();
                    let (answer, mut up) = sender.send_request(request, false).unwrap();
                    http2::send(&mut up, "half");
                    up.send_reset(h2::Reason::CANCEL);
                    drop(answer);
                } else {
                    let answer = match http2::ask(&connection, request, Some("hello")).await {
                        Ok(answer) => answer,
                        // The route's timeout was over between the head and the trailers.
                        Err(error) if error.reason() == Some(h2::Reason::INTERNAL_ERROR) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    assert_eq!(answer.status, 200, "gRPC callers are told in grpc-status");
                    let status = answer.trailers.get("grpc-status").or(answer.headers.get("grpc-status"));
                    assert!(status.is_some(), "{answer:?}");
                }
            }
        });
    }
    while let Some(done) = soon("the callers", callers.join_next()).await {
        done.unwrap();
    }
    leeboard.at_rest("outbound|80||shop.test").await;
    until("few connections are left", || async {
        leeboard.metric("leeboard_upstream_connections_active", &["shop.test"]).await.unwrap() <= 2.0
    })
    .await;
}
