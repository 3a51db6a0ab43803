//! What is sent again, and what must not be.

use std::time::Duration;

use crate::config::{policy, route, service};
use crate::endpoint::{Deed, Endpoint, Gate, say};
use crate::message::{get, post, response};
use crate::patience::soon;
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";

async fn shop(endpoint: &Endpoint, settings: &str, flags: &[&str]) -> Leeboard {
    let service = service("shop.test", "HTTP", &[(endpoint.address, "v1")]);
    let route = if settings.is_empty() { String::new() } else { route("shop.test", settings) };
    Leeboard::with(&(service + &route), flags).await
}

fn counts(endpoint: &Endpoint) -> Vec<String> {
    let count = |message: &crate::message::Message| message.header("x-envoy-attempt-count").unwrap_or("-").to_owned();
    endpoint.seen().iter().map(|asked| count(&asked.message)).collect()
}

async fn flaky() -> Endpoint {
    Endpoint::start(|asked| if asked.number < 3 { say(503, "not yet") } else { say(200, "now") }).await
}

#[tokio::test]
async fn a_503_is_hidden_by_the_route_s_retries() {
    let endpoint = flaky().await;
    let leeboard = shop(&endpoint, "retries: {attempts: 3, retryOn: 5xx}", &[]).await;
    let answer = leeboard.ask(get("/", "")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "now"));
    assert_eq!(counts(&endpoint), ["1", "2", "3"]);
    let ids: std::collections::BTreeSet<_> =
        endpoint.seen().iter().map(|asked| asked.message.header("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "all attempts are one request");
    assert_eq!(endpoint.connections(), 1, "what was read of the answers leaves the connection usable");
    let cluster = format!("cluster=\"{CLUSTER}\"");
    for outcome in ["outcome=\"failure\"", "outcome=\"success\""] {
        leeboard.metric_becomes("leeboard_retries_total", &[&cluster, outcome], 1.0).await;
    }
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn a_503_is_passed_on_by_default() {
    let endpoint = flaky().await;
    let leeboard = shop(&endpoint, "", &[]).await;
    let answer = leeboard.ask(get("/", "")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (503, "not yet"));
    assert_eq!((answer.header("x-leeboard-reason"), endpoint.hits()), (None, 1));
    assert_eq!(leeboard.record("/").await["response_flags"], "-");
}

#[tokio::test]
async fn the_last_answer_is_passed_on_when_retries_are_used_up() {
    let endpoint = Endpoint::start(|asked| say(503, &format!("no {}", asked.number))).await;
    let leeboard = shop(&endpoint, "retries: {attempts: 2, retryOn: gateway-error, backoff: 1ms}", &[]).await;
    let answer = leeboard.ask(get("/", "")).await;
    assert_eq!((answer.status(), answer.text().as_str(), endpoint.hits()), (503, "no 3", 3));
    let record = leeboard.record("/").await;
    assert_eq!((&record["response_flags"], &record["response_code_details"]), (&"URX".into(), &"via_upstream".into()));
}

#[tokio::test]
async fn what_was_sent_and_lost_is_not_sent_again() {
    for deed in [Deed::Reset, Deed::Close] {
        let endpoint = Endpoint::start(move |_| vec![deed.clone()]).await;
        let leeboard = shop(&endpoint, "", &[]).await;
        for (request, path) in [(post("/p", "", "once"), "/p"), (get("/g", ""), "/g")] {
            let before = endpoint.hits();
            let answer = leeboard.ask(request).await;
            assert_eq!((answer.status(), endpoint.hits() - before), (503, 1), "{path}");
            assert!(answer.header("x-leeboard-reason").unwrap().starts_with("connection-terminated; host=shop.test"));
            let record = leeboard.record(path).await;
            assert_eq!(record["response_flags"], "UC");
            let details = "upstream_reset_before_response_started{connection_termination}";
            assert_eq!(record["response_code_details"], details);
        }
    }
}

/// Answers the first request of each connection, and kills the connection under the second.
async fn stale(reset: bool) -> Endpoint {
    let last = std::sync::Mutex::new(0);
    Endpoint::start(move |asked| {
        let mut last = last.lock().unwrap();
        let fresh = std::mem::replace(&mut *last, asked.connection) != asked.connection;
        match (fresh, reset) {
            (true, _) => say(200, "fresh"),
            (false, true) => vec![Deed::Reset],
            (false, false) => vec![Deed::Close],
        }
    })
    .await
}

#[tokio::test]
async fn a_get_on_a_stale_connection_is_sent_once_more() {
    for reset in [true, false] {
        let endpoint = stale(reset).await;
        let leeboard = shop(&endpoint, "", &[]).await;
        assert_eq!(leeboard.ask(get("/1", "")).await.status(), 200);
        let answer = leeboard.ask(get("/2", "")).await;
        assert_eq!((answer.status(), endpoint.hits(), endpoint.connections()), (200, 3, 2));
        assert_eq!(counts(&endpoint), ["1", "1", "1"], "a replay is not counted as an attempt");
        assert_eq!(leeboard.record("/2").await["response_flags"], "-");
        leeboard.metric_becomes("leeboard_stale_replays_total", &[], 1.0).await;
    }
}

#[tokio::test]
async fn a_post_on_a_stale_connection_may_have_been_processed() {
    let endpoint = stale(true).await;
    let leeboard = shop(&endpoint, "", &[]).await;
    assert_eq!(leeboard.ask(post("/1", "", "a")).await.status(), 200);
    let answer = leeboard.ask(post("/2", "", "b")).await;
    assert_eq!((answer.status(), endpoint.hits()), (503, 2));
    let bodies: Vec<_> = endpoint.seen().iter().map(|asked| asked.message.text()).collect();
    assert_eq!(bodies, ["a", "b"], "b was delivered once");
}

#[tokio::test]
async fn a_post_takes_a_new_connection_when_the_old_one_is_closed() {
    let endpoint = Endpoint::start(|asked| vec![Deed::Send(response(200, &asked.message.text())), Deed::Close]).await;
    let leeboard = shop(&endpoint, "", &[]).await;
    let closed = ["cluster=\"outbound|80||shop.test\""];
    for turn in 1..=5 {
        let answer = leeboard.ask(post("/", "", &format!("order {turn}"))).await;
        assert_eq!((answer.status(), answer.text()), (200, format!("order {turn}")));
        leeboard.metric_becomes("leeboard_upstream_connections_closed_total", &closed, f64::from(turn)).await;
    }
    assert_eq!((endpoint.hits(), endpoint.connections()), (5, 5));
}

#[tokio::test]
async fn a_replay_happens_once() {
    // The first connection is good for one request, all others for none.
    let endpoint = Endpoint::start(|asked| if asked.number == 1 { say(200, "") } else { vec![Deed::Close] }).await;
    let leeboard = shop(&endpoint, "", &[]).await;
    leeboard.ask(get("/1", "")).await;
    assert_eq!(leeboard.ask(get("/2", "")).await.status(), 503);
    assert_eq!((endpoint.hits(), endpoint.connections()), (3, 2));
}

#[tokio::test]
async fn bodies_are_repeated_while_they_fit_the_replay_buffer() {
    for (length, attempts, status) in [(900, 2, 200), (1_000, 2, 200), (1_001, 1, 503), (300_000, 1, 503)] {
        let endpoint = Endpoint::start(|asked| if asked.number == 1 { say(503, "") } else { say(200, "") }).await;
        let leeboard =
            shop(&endpoint, "retries: {attempts: 3, retryOn: 5xx, backoff: 1ms}", &["--replay-buffer", "1000"]).await;
        let body: String = (0..length).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        let answer = leeboard.ask(post("/", "", &body)).await;
        assert_eq!((answer.status(), endpoint.hits()), (status, attempts), "{length}");
        for asked in endpoint.seen() {
            assert_eq!(asked.message.text(), body, "every attempt carries the whole body");
        }
        if attempts == 1 {
            leeboard.metric_becomes("leeboard_retries_total", &["outcome=\"not_replayable\""], 1.0).await;
        }
    }
}

#[tokio::test]
async fn a_retry_begins_while_the_upload_goes_on() {
    let (early, gate) = (Gate::closed(), Gate::closed());
    let (told, opened) = (early.clone(), gate.clone());
    let endpoint = Endpoint::raw(move |mut wire, connection| {
        let (early, gate) = (early.clone(), gate.clone());
        async move {
            if connection == 1 {
                // It says no before it has seen the whole request.
                wire.head().await.unwrap();
                assert_eq!(wire.chunk().await.unwrap().unwrap(), b"first ");
                wire.send(response(503, "")).await.unwrap();
                early.pass();
                wire.end().await;
            } else {
                wire.head().await.unwrap();
                assert_eq!(wire.chunk().await.unwrap().unwrap(), b"first ");
                gate.pass();
                assert_eq!(wire.chunk().await.unwrap().unwrap(), b"second");
                assert_eq!(wire.chunk().await.unwrap(), None);
                wire.send(response(200, "all")).await.unwrap();
                wire.end().await;
            }
        }
    })
    .await;
    let leeboard = shop(&endpoint, "retries: {attempts: 1, retryOn: 5xx, backoff: 1ms}", &[]).await;
    let mut wire = leeboard.dial().await;
    wire.send("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n").await.unwrap();
    soon("the first attempt's answer", told.wait()).await;
    soon("the second attempt's beginning", opened.wait()).await;
    wire.send("6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    let answer = soon("the answer", wire.response()).await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "all"));
}

#[tokio::test]
async fn retries_go_where_none_has_been() {
    let dead = Endpoint::start(|_| vec![Deed::Close]).await;
    let slow = Endpoint::start(|_| vec![Deed::Pause(Duration::from_millis(1)), Deed::Reset]).await;
    let good = Endpoint::named("good").await;
    let endpoints = [(dead.address, "v1"), (slow.address, "v1"), (good.address, "v1")];
    let config = service("shop.test", "HTTP", &endpoints)
        + &policy("shop.test", "{loadBalancer: {simple: RANDOM}}")
        + &route("shop.test", "retries: {attempts: 2, retryOn: reset, backoff: 1ms}");
    let leeboard = Leeboard::start(&config).await;
    for turn in 0..40 {
        assert_eq!(
            leeboard.ask(post(&format!("/{turn}"), "", "x")).await.status(),
            200,
            "two dead of three, two retries"
        );
    }
    assert_eq!(good.hits(), 40);
    assert!(dead.hits() > 0 && slow.hits() > 0);
}

#[tokio::test]
async fn no_more_retries_than_the_cluster_allows() {
    let gate = Gate::closed();
    let held = gate.clone();
    let endpoint = Endpoint::start(move |asked| match asked.message.header("x-envoy-attempt-count") {
        Some("1") => say(503, "first"),
        _ => vec![Deed::Wait(held.clone()), Deed::Send(response(200, "again"))],
    })
    .await;
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")])
        + &policy("shop.test", "{connectionPool: {http: {maxRetries: 1}}}")
        + &route("shop.test", "retries: {attempts: 1, retryOn: 5xx, backoff: 1ms}");
    let leeboard = Leeboard::start(&config).await;
    let mut first = leeboard.dial().await;
    first.send(get("/1", "")).await.unwrap();
    endpoint.reached(2).await;
    let second = leeboard.ask(get("/2", "")).await;
    assert_eq!((second.status(), second.text().as_str()), (503, "first"), "the one retry is taken");
    assert_eq!(leeboard.record("/2").await["response_flags"], "UO");
    gate.open();
    assert_eq!(soon("the retry's answer", first.response()).await.unwrap().status(), 200);
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn orders_to_an_endpoint_that_closes_after_each_are_not_lost() {
    let endpoint = Endpoint::start(|_| vec![Deed::Send(response(200, "")), Deed::Close]).await;
    let leeboard = shop(&endpoint, "", &["--workers", "2"]).await;
    let mut wire = leeboard.dial().await;
    let mut lost = 0;
    for _ in 0..500 {
        wire.send(post("/", "", "x")).await.unwrap();
        lost += usize::from(wire.response().await.unwrap().status() != 200);
    }
    // On a busy machine an end may be on its way while the next order leaves; then nobody may send that one again.
    assert!(lost <= 5, "{lost} are lost");
    assert_eq!(lost + endpoint.hits(), 500);
}

#[tokio::test]
async fn an_endpoint_that_ends_idle_connections_is_not_raced() {
    const KEEPS: Duration = Duration::from_secs(2);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = Endpoint::raw(move |mut wire, number| {
        let tell = tell.clone();
        async move {
            wire.request().await.expect("the connection's one request");
            wire.send(response(200, "")).await.unwrap();
            // It is only the first that it ends: the next is ended before that, or is kept for ever, however late anybody is.
            let ended_by = match number {
                1 => tokio::time::timeout(KEEPS, wire.request()).await.map(|_| "leeboard").unwrap_or("endpoint"),
                _ => wire.request().await.map_or("leeboard", |_| "nobody"),
            };
            tell.send(ended_by).unwrap();
        }
    })
    .await;
    let leeboard = shop(&endpoint, "", &[]).await;
    for ended_by in ["endpoint", "leeboard"] {
        assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
        assert_eq!(soon("the connection's end", told.recv()).await, Some(ended_by));
        let none = ("leeboard_upstream_connections_active", "cluster=\"outbound|80||shop.test\"");
        leeboard.metric_becomes(none.0, &[none.1], 0.0).await;
    }
}
