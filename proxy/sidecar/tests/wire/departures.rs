//! Callers who leave before their answer, and those who only seem to.

use crate::config::{policy, route, service};
use crate::endpoint::{Deed, Endpoint, Gate, say};
use crate::http2;
use crate::message::{Wire, get, post, response};
use crate::patience::{soon, until};
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";
const RETRIES: &str = "retries: {attempts: 3, retryOn: 5xx, backoff: 1ms}";

async fn shop(endpoint: &Endpoint, settings: &str, flags: &[&str]) -> Leeboard {
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &route("shop.test", settings);
    Leeboard::with(&config, flags).await
}

/// Answers with 503 as soon as the gate lets it, and well from the second request on.
async fn fails_once(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::start(move |asked| match asked.number {
        1 => vec![Deed::Wait(gate.clone()), Deed::Send(response(503, ""))],
        _ => say(200, "again"),
    })
    .await
}

async fn left(leeboard: &Leeboard, path: &str) {
    let record = leeboard.record(path).await;
    let seen = (&record["response_code"], &record["response_flags"], &record["response_code_details"]);
    assert_eq!(seen, (&0.into(), &"DC".into(), &"downstream_remote_disconnect".into()), "{path}");
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn nothing_is_sent_again_for_a_caller_that_has_left() {
    for half_close in ["serve", "abort"] {
        for reset in [false, true] {
            let gate = Gate::closed();
            let endpoint = fails_once(&gate).await;
            let leeboard = shop(&endpoint, RETRIES, &["--half-close", half_close]).await;
            let mut wire = leeboard.dial().await;
            wire.send(post("/left", "", "order")).await.unwrap();
            endpoint.reached(1).await;
            if reset {
                wire.reset()
            } else {
                drop(wire)
            }
            gate.open();
            left(&leeboard, "/left").await;
            assert_eq!(endpoint.hits(), 1, "{half_close} reset: {reset}");
        }
    }
}

#[tokio::test]
async fn a_delayed_request_is_not_sent_for_a_caller_that_has_left() {
    let endpoint = Endpoint::named("app").await;
    let delay = "fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}";
    let leeboard = shop(&endpoint, delay, &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send(post("/late", "", "order")).await.unwrap();
    drop(wire);
    let record = leeboard.record("/late").await;
    assert_eq!((&record["response_code"], &record["response_flags"]), (&0.into(), &"DI,DC".into()));
    assert_eq!(endpoint.hits(), 0);
}

#[tokio::test]
async fn whoever_has_closed_its_connection_gives_up_its_places() {
    for half_close in ["serve", "abort"] {
        let endpoint = Endpoint::start(|_| vec![Deed::Hang]).await;
        let one = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
        let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &policy("shop.test", one);
        let leeboard = Leeboard::with(&config, &["--half-close", half_close]).await;
        let (mut runs, mut waits) = (leeboard.dial().await, leeboard.dial().await);
        runs.send(get("/runs", "")).await.unwrap();
        endpoint.reached(1).await;
        waits.send(get("/waits", "")).await.unwrap();
        until("the second one waits", || async {
            let labels = ["cluster=\"outbound|80||shop.test\"", "limit=\"pending\""];
            leeboard.metric("leeboard_breaker_remaining", &labels).await == Some(0.0)
        })
        .await;
        drop((runs, waits));
        for path in ["/runs", "/waits"] {
            left(&leeboard, path).await;
        }
    }
}

#[tokio::test]
async fn a_caller_that_has_closed_its_own_direction_and_reads_is_served() {
    let gate = Gate::closed();
    let endpoint = fails_once(&gate).await;
    let leeboard = shop(&endpoint, RETRIES, &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send(post("/", "", "order")).await.unwrap();
    wire.half_close().await;
    endpoint.reached(1).await;
    gate.open();
    assert_eq!(soon("the question", wire.head()).await.unwrap().status(), 100, "it is asked before a retry");
    assert_eq!(soon("the answer", wire.response()).await.unwrap().text(), "again");

    // One that gets its answer without a retry is not asked, and one of HTTP/1.0 could not be.
    let mut wire = leeboard.dial().await;
    wire.send(get("/", "")).await.unwrap();
    wire.half_close().await;
    assert_eq!(soon("the answer", wire.head()).await.unwrap().status(), 200);
    let gate = Gate::closed();
    let endpoint = fails_once(&gate).await;
    let leeboard = shop(&endpoint, RETRIES, &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n").await.unwrap();
    wire.half_close().await;
    gate.open();
    assert_eq!(soon("the answer", wire.head()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn where_it_is_said_so_whoever_closes_its_own_direction_has_left() {
    let (gate, more) = (Gate::closed(), Gate::closed());
    let wait = gate.clone();
    let endpoint = Endpoint::start(move |asked| match asked.message.target() {
        "/body" => vec![
            Deed::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n".to_vec()),
            Deed::Wait(more.clone()),
        ],
        _ => vec![Deed::Wait(wait.clone())],
    })
    .await;
    let leeboard = shop(&endpoint, "timeout: 60s", &["--half-close", "abort"]).await;
    let mut wire = leeboard.dial().await;
    wire.send(post("/head", "", "x")).await.unwrap();
    endpoint.reached(1).await;
    wire.half_close().await;
    left(&leeboard, "/head").await;
    assert!(soon("the end", wire.response()).await.is_none());

    let mut wire = leeboard.dial().await;
    wire.send(get("/body", "")).await.unwrap();
    assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
    wire.half_close().await;
    let record = leeboard.record("/body").await;
    assert_eq!((&record["response_code"], &record["response_flags"]), (&200.into(), &"DC".into()));
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn a_stream_that_is_reset_in_mid_answer_is_the_caller_s_reset() {
    // It begins to answer before it has all of the request.
    let endpoint = Endpoint::raw(|mut wire: Wire, _| async move {
        if wire.head().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n").await.unwrap();
            wire.end().await;
        }
    })
    .await;
    let leeboard = Leeboard::start(&service("shop.test", "HTTP", &[(endpoint.address, "v1")])).await;
    for (path, whole) in [("/mid", true), ("/both", false)] {
        let mut caller = http2::call(leeboard.port("outbound")).await.ready().await.unwrap();
        let (answer, mut up) = caller.send_request(http2::request("POST", path, &[]), whole).unwrap();
        let answer = soon("the head", answer).await.unwrap();
        up.send_reset(h2::Reason::CANCEL);
        drop(answer);
        let record = leeboard.record(path).await;
        let seen = (&record["response_code"], &record["response_flags"], &record["response_code_details"]);
        assert_eq!(seen, (&200.into(), &"DR".into(), &"http2.remote_reset".into()), "{path}");
        leeboard.at_rest(CLUSTER).await;
    }
}

#[tokio::test]
async fn what_an_endpoint_breaks_is_named_as_it_was_broken() {
    let endpoint = Endpoint::start(|asked| match asked.message.target() {
        "/head" => vec![Deed::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Deed::Close],
        "/until" => vec![
            Deed::Send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart".to_vec()),
            Deed::Pause(std::time::Duration::from_millis(100)),
            Deed::Reset,
        ],
        _ => vec![Deed::Close],
    })
    .await;
    let leeboard = shop(&endpoint, "retries: {attempts: 0}", &[]).await;
    #[rustfmt::skip]
    let table = [
        // path, status, flags, details
        ("/head", 502, "UPE", "upstream_reset_before_response_started{protocol_error}"),
        ("/none", 503, "UC", "upstream_reset_before_response_started{connection_termination}"),
        ("/until", 200, "UC", "upstream_reset_after_response_started{connection_termination}"),
    ];
    for (path, status, flags, details) in table {
        assert_eq!(leeboard.ask(get(path, "")).await.status(), status, "{path}");
        let record = leeboard.record(path).await;
        assert_eq!((&record["response_flags"], &record["response_code_details"]), (&flags.into(), &details.into()));
    }
}

#[tokio::test]
async fn an_http_2_endpoint_s_reset_is_named_by_its_code() {
    const HEADERS: &[u8] = &[0x88];
    #[rustfmt::skip]
    let table = [
        // the code, whether a head comes first, status, flags, details
        (1, false, 502, "UPE", "upstream_reset_before_response_started{protocol_error}"),
        (2, false, 503, "UR", "upstream_reset_before_response_started{remote_reset}"),
        (1, true, 200, "UPE", "upstream_reset_after_response_started{protocol_error}"),
        (2, true, 200, "UR", "upstream_reset_after_response_started{remote_reset}"),
    ];
    for (code, late, status, flags, details) in table {
        let endpoint = Endpoint::raw(move |mut wire: Wire, _| async move {
            wire.exactly(24).await.unwrap();
            wire.send(http2::settings()).await.unwrap();
            while let Some(head) = wire.exactly(9).await {
                wire.exactly(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize).await.unwrap();
                if head[3] == 1 {
                    let mut say = Vec::new();
                    if late {
                        say.extend(http2::frame(1, 4, 1, HEADERS));
                        say.extend(http2::frame(0, 0, 1, b"part"));
                    }
                    say.extend(http2::reset(1, code));
                    // The caller may have gone already.
                    let _ = wire.send(say).await;
                }
            }
        })
        .await;
        let config =
            service("shop.test", "HTTP2", &[(endpoint.address, "v1")]) + &route("shop.test", "retries: {attempts: 0}");
        let leeboard = Leeboard::start(&config).await;
        let mut wire = leeboard.dial().await;
        wire.send(get("/", "")).await.unwrap();
        // A head that the reset overtakes is not passed on.
        let _ = soon("the answer", wire.response()).await;
        let record = leeboard.record("/").await;
        let seen = (&record["response_code"], &record["response_flags"], &record["response_code_details"]);
        if !late || record["response_code"] == 200 {
            assert_eq!(seen, (&status.into(), &flags.into(), &details.into()));
        } else {
            assert_eq!(record["response_flags"], flags);
        }
    }
}
