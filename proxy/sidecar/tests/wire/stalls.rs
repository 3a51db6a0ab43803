//! Deadlines hold whether or not the other side reads, and nobody holds an endpoint by doing nothing.

use std::time::Duration;

use crate::config::{route, service};
use crate::endpoint::{Endpoint, Gate};
use crate::http2;
use crate::message::{Wire, get};
use crate::patience::{Stopwatch, soon};
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";
/// More than the sockets between an endpoint and its caller hold.
const LARGE: usize = 64 << 20;

/// An endpoint that answers with more than anybody takes, for as long as somebody is there.
async fn endless() -> Endpoint {
    Endpoint::raw(|mut wire: Wire, _| async move {
        if wire.head().await.is_none() {
            return;
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await.unwrap();
        let block = vec![b'x'; 64 * 1024];
        while wire.send(&block).await.is_ok() {}
    })
    .await
}

async fn shop(endpoint: &Endpoint, settings: &str, flags: &[&str]) -> Leeboard {
    let mut config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]);
    if !settings.is_empty() {
        config += &route("shop.test", settings);
    }
    Leeboard::with(&config, flags).await
}

async fn ended(leeboard: &Leeboard, flags: &str, details: &str) {
    let record = leeboard.record("/unread").await;
    let seen = (&record["response_code"], &record["response_flags"], &record["response_code_details"]);
    assert_eq!(seen, (&200.into(), &flags.into(), &details.into()));
    leeboard.at_rest(CLUSTER).await;
    let labels = [&format!("cluster=\"{CLUSTER}\"")[..]];
    leeboard.metric_becomes("leeboard_upstream_connections_active", &labels, 0.0).await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_given_no_more_time_than_the_route_has() {
    let endpoint = endless().await;
    let leeboard = shop(&endpoint, "timeout: 300ms", &[]).await;
    let watch = Stopwatch::start();
    let mut wire = leeboard.dial().await;
    wire.send(get("/unread", "")).await.unwrap();
    ended(&leeboard, "UT", "response_timeout").await;
    watch.check("the answer", 300);
    drop(wire);

    let leeboard = shop(&endpoint, "timeout: 300ms", &[]).await;
    let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
    let (answer, _up) = caller.send_request(http2::request("GET", "/unread", &[]), true).unwrap();
    let answer = soon("the head", answer).await.unwrap();
    ended(&leeboard, "UT", "response_timeout").await;
    drop(answer);
}

#[tokio::test]
async fn a_caller_that_reads_nothing_for_too_long_is_cut_off() {
    let endpoint = endless().await;
    let leeboard = shop(&endpoint, "", &["--stalled-reader", "300ms"]).await;
    let mut wire = leeboard.dial().await;
    wire.send(get("/unread", "")).await.unwrap();
    ended(&leeboard, "SI", "stream_idle_timeout").await;
    leeboard.metric_becomes("leeboard_stalled_total", &["reason=\"reader\""], 1.0).await;
    drop(wire);

    let leeboard = shop(&endpoint, "", &["--stalled-reader", "300ms"]).await;
    let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
    let (answer, _up) = caller.send_request(http2::request("GET", "/unread", &[]), true).unwrap();
    let mut answer = soon("the head", answer).await.unwrap();
    ended(&leeboard, "SI", "stream_idle_timeout").await;
    leeboard.metric_becomes("leeboard_stalled_total", &["reason=\"reader\""], 1.0).await;
    let end = soon("the rest", http2::drain(answer.body_mut())).await;
    assert_eq!(end.unwrap_err().reason(), Some(h2::Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_does_not_stop_the_upload() {
    const UPLOAD: usize = 32 << 20;
    let taken = Gate::closed();
    let tell = taken.clone();
    let endpoint = Endpoint::raw(move |mut wire: Wire, _| {
        let tell = tell.clone();
        async move {
            wire.head().await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await.unwrap();
            let answered = wire.flood(LARGE, Duration::from_millis(300)).await;
            assert!(answered < LARGE, "somebody has read it");
            let mut read = 0;
            while read < UPLOAD {
                read += wire.exactly((UPLOAD - read).min(1 << 20)).await.unwrap().len();
            }
            tell.pass();
            wire.end().await;
        }
    })
    .await;
    let leeboard = shop(&endpoint, "", &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send(format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {UPLOAD}\r\n\r\n")).await.unwrap();
    assert_eq!(soon("the upload", wire.flood(UPLOAD, Duration::from_secs(15))).await, UPLOAD);
    soon("the endpoint has all of it", taken.wait()).await;
}

#[tokio::test]
async fn the_route_s_time_begins_with_the_end_of_an_upload_that_was_answered_before() {
    let endpoint = Endpoint::raw(|mut wire: Wire, _| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n").await.unwrap();
        wire.end().await;
    })
    .await;
    let leeboard = shop(&endpoint, "timeout: 300ms", &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send("POST /unread HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 8\r\n\r\nhalf").await.unwrap();
    assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
    let watch = Stopwatch::start();
    wire.send("rest").await.unwrap();
    ended(&leeboard, "UT", "response_timeout").await;
    watch.check("the answer", 300);
}

#[tokio::test]
async fn a_request_s_body_that_stands_still_is_answered() {
    let endpoint = Endpoint::raw(|mut wire: Wire, _| async move {
        // It reads no body that is said to be long, and all of any other.
        let Some(head) = wire.head().await else { return };
        if head.target() == "/untaken" {
            std::future::pending::<()>().await;
        }
        wire.exactly(8).await;
        // Whoever asked may have gone.
        let _ = wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        wire.end().await;
    })
    .await;
    let leeboard = shop(&endpoint, "", &["--stalled-body", "300ms"]).await;
    let head = |path: &str, length: usize, more: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    #[rustfmt::skip]
    let table = [
        // path, length, how much of it is sent, status, reason, counted as
        ("/unsent", 8, 4, 408, "request-body-stalled", "request-body"),
        ("/untaken", LARGE, LARGE, 504, "endpoint-stalled", "endpoint"),
    ];
    for (path, length, sent, status, reason, counted) in table {
        let watch = Stopwatch::start();
        let mut wire = leeboard.dial().await;
        wire.send(head(path, length, "")).await.unwrap();
        wire.flood(sent, Duration::from_millis(200)).await;
        let answer = soon("the answer", wire.response()).await.unwrap();
        watch.check(path, 300);
        assert_eq!((answer.status(), answer.text().as_str()), (status, "stream timeout"), "{path}");
        assert!(answer.header("x-leeboard-reason").unwrap().starts_with(reason), "{answer:?}");
        let record = leeboard.record(path).await;
        let details = "stream_idle_timeout";
        assert_eq!((&record["response_flags"], &record["response_code_details"]), (&"SI".into(), &details.into()));
        leeboard.metric_becomes("leeboard_stalled_total", &[&format!("reason=\"{counted}\"")], 1.0).await;
    }

    // A slow one moves, and in a call of gRPC there may be nothing to say.
    for (path, more) in [("/slow", ""), ("/grpc", "Content-Type: application/grpc\r\n")] {
        let mut wire = leeboard.dial().await;
        wire.send(head(path, 8, more)).await.unwrap();
        let pause = if more.is_empty() { 100 } else { 120 };
        let mut beats = tokio::time::interval(Duration::from_millis(pause));
        for beat in 0..8 {
            beats.tick().await;
            if more.is_empty() || beat == 7 {
                wire.send(vec![b'x'; if more.is_empty() { 1 } else { 8 }]).await.unwrap();
            }
        }
        assert_eq!(soon("the answer", wire.response()).await.unwrap().status(), 200, "{path}");
    }
    leeboard.at_rest(CLUSTER).await;
}
