//! Limits of a cluster: who runs, who waits, who is turned away, and that every place is given back.

use std::collections::BTreeMap;

use crate::config::{policy, route, service};
use crate::endpoint::{Deed, Endpoint, Gate};
use crate::http2::{self, Server};
use crate::message::{Message, Wire, get, post, response};
use crate::patience::{soon, until};
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";
const ONE_AND_ONE: &str = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";

/// An endpoint that holds every answer until the gate lets it go.
async fn held(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::start(move |asked| {
        let body = asked.message.target().to_owned();
        vec![Deed::Wait(gate.clone()), Deed::Send(response(200, &body))]
    })
    .await
}

async fn shop(endpoints: &[&Endpoint], pool: &str, settings: &str, flags: &[&str]) -> Leeboard {
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| (endpoint.address, "v1")).collect();
    let mut config = service("shop.test", "HTTP", &endpoints) + &policy("shop.test", pool);
    if !settings.is_empty() {
        config += &route("shop.test", settings);
    }
    Leeboard::with(&config, flags).await
}

/// What is taken of the cluster's places now.
async fn taken(leeboard: &Leeboard) -> BTreeMap<String, u64> {
    let status = leeboard.cluster(CLUSTER).await;
    let limits = status["leeboard"]["limits"].as_array().unwrap().clone();
    limits.iter().map(|l| (l["limit"].as_str().unwrap().to_owned(), l["taken"].as_u64().unwrap())).collect()
}

async fn becomes(leeboard: &Leeboard, limit: &str, count: u64) {
    until(&format!("{limit} taken: {count}"), || async { taken(leeboard).await[limit] == count }).await;
}

fn turned_away(answer: &Message) {
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("x-envoy-overloaded"), Some("true"));
    let body = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
    assert_eq!(answer.text(), body);
    assert!(answer.header("x-leeboard-reason").unwrap().starts_with("overflow; host=shop.test"));
}

#[tokio::test]
async fn one_runs_one_waits_three_are_turned_away() {
    for workers in ["1", "2"] {
        let gate = Gate::closed();
        let endpoint = held(&gate).await;
        let leeboard = shop(&[&endpoint], ONE_AND_ONE, "", &["--workers", workers]).await;
        let (mut refused, mut served) = (0, 0);
        let mut wires = Vec::new();
        for turn in 0..5 {
            let mut wire = leeboard.dial().await;
            wire.send(get(&format!("/{turn}"), "")).await.unwrap();
            match turn {
                0 => endpoint.reached(1).await,
                1 => becomes(&leeboard, "pending", 1).await,
                _ => {
                    turned_away(&soon("a refusal", wire.response()).await.unwrap());
                    refused += 1;
                    continue;
                }
            }
            wires.push(wire);
        }
        assert_eq!(taken(&leeboard).await["connections"], 1);
        leeboard.metric_becomes("leeboard_breaker_open", &["limit=\"pending\""], 1.0).await;
        leeboard.metric_becomes("leeboard_breaker_overflows_total", &["limit=\"pending\""], 3.0).await;
        gate.open();
        for (turn, wire) in wires.iter_mut().enumerate() {
            let answer = soon("an answer", wire.response()).await.unwrap();
            assert_eq!((answer.status(), answer.text()), (200, format!("/{turn}")));
            served += 1;
        }
        assert_eq!((served, refused, endpoint.connections()), (2, 3, 1), "with {workers} workers");
        leeboard.at_rest(CLUSTER).await;
        assert_eq!(leeboard.record("/2").await["response_flags"], "UO");
    }
}

#[tokio::test]
async fn those_who_wait_are_served_in_turn() {
    let gate = Gate::closed();
    let endpoint = held(&gate).await;
    let pool = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 10}}}";
    let leeboard = shop(&[&endpoint], pool, "", &["--workers", "2"]).await;
    let mut wires = Vec::new();
    for turn in 0..6 {
        let mut wire = leeboard.dial().await;
        wire.send(get(&format!("/{turn}"), "")).await.unwrap();
        if turn == 0 {
            endpoint.reached(1).await
        } else {
            becomes(&leeboard, "pending", turn).await
        }
        wires.push(wire);
    }
    gate.open();
    for wire in &mut wires {
        assert_eq!(soon("an answer", wire.response()).await.unwrap().status(), 200);
    }
    let order: Vec<_> = endpoint.seen().iter().map(|asked| asked.message.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn a_waiting_connection_to_one_endpoint_makes_room_for_another() {
    let (one, two) = (Endpoint::named("one").await, Endpoint::named("two").await);
    let pool = "{loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {maxConnections: 1}}}";
    let leeboard = shop(&[&one, &two], pool, "", &[]).await;
    for _ in 0..6 {
        assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
        assert_eq!(taken(&leeboard).await["connections"], 1);
    }
    assert_eq!((one.hits(), two.hits()), (3, 3));
}

#[tokio::test]
async fn requests_in_flight_are_limited() {
    let gate = Gate::closed();
    let endpoint = held(&gate).await;
    let leeboard = shop(&[&endpoint], "{connectionPool: {http: {http2MaxRequests: 2}}}", "", &[]).await;
    let mut wires = Vec::new();
    for turn in 0..2 {
        let mut wire = leeboard.dial().await;
        wire.send(get("/", "")).await.unwrap();
        endpoint.reached(turn + 1).await;
        wires.push(wire);
    }
    turned_away(&leeboard.ask(get("/more", "")).await);
    assert_eq!(taken(&leeboard).await["requests"], 2);
    gate.open();
    for wire in &mut wires {
        assert_eq!(soon("an answer", wire.response()).await.unwrap().status(), 200);
    }
    leeboard.at_rest(CLUSTER).await;
}

#[tokio::test]
async fn whoever_leaves_gives_up_their_places() {
    let gate = Gate::closed();
    let endpoint = held(&gate).await;
    let leeboard = shop(&[&endpoint], ONE_AND_ONE, "", &[]).await;
    let mut runs = leeboard.dial().await;
    runs.send(get("/runs", "")).await.unwrap();
    endpoint.reached(1).await;
    let mut waits = leeboard.dial().await;
    waits.send(get("/waits", "")).await.unwrap();
    becomes(&leeboard, "pending", 1).await;

    waits.reset();
    becomes(&leeboard, "pending", 0).await;
    let mut next = leeboard.dial().await;
    next.send(get("/next", "")).await.unwrap();
    becomes(&leeboard, "pending", 1).await;
    runs.reset();
    endpoint.reached(2).await;
    gate.open();
    assert_eq!(soon("the next answer", next.response()).await.unwrap().text(), "/next");
    leeboard.at_rest(CLUSTER).await;
    for path in ["/runs", "/waits"] {
        let record = leeboard.record(path).await;
        assert_eq!((&record["response_flags"], &record["response_code"]), (&"DC".into(), &0.into()), "{path}");
    }
}

#[tokio::test]
async fn whoever_leaves_in_mid_upload_or_mid_download_gives_up_their_places() {
    let gate = Gate::closed();
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
    let wait = gate.clone();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let gate = wait.clone();
        async move {
            let Some(head) = wire.head().await else { return };
            if head.method() == "GET" {
                wire.send(endless).await.unwrap();
            }
            gate.pass();
            wire.end().await;
        }
    })
    .await;
    let leeboard = shop(&[&endpoint], ONE_AND_ONE, "", &[]).await;
    for close in [true, false] {
        let mut wire = leeboard.dial().await;
        wire.send("POST /up HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
        soon("the upload's beginning", gate.wait()).await;
        if close {
            drop(wire)
        } else {
            wire.reset()
        }
        leeboard.at_rest(CLUSTER).await;
        becomes(&leeboard, "connections", 0).await;

        let mut wire = leeboard.dial().await;
        wire.send(get("/down", "")).await.unwrap();
        assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
        soon("the download's beginning", gate.wait()).await;
        wire.reset();
        leeboard.at_rest(CLUSTER).await;
        becomes(&leeboard, "connections", 0).await;
    }
    for record in leeboard.records("/up", 2).await {
        assert_eq!((&record["response_flags"], &record["response_code"]), (&"DC".into(), &0.into()));
    }
    for record in leeboard.records("/down", 2).await {
        assert_eq!((&record["response_flags"], &record["response_code"]), (&"DC".into(), &200.into()));
    }
}

#[tokio::test]
async fn connections_serve_so_many_requests_and_wait_so_long() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&[&endpoint], "{connectionPool: {http: {maxRequestsPerConnection: 2}}}", "", &[]).await;
    for _ in 0..5 {
        assert_eq!(leeboard.ask(post("/", "", "x")).await.status(), 200);
    }
    let connections: Vec<_> = endpoint.seen().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [1, 1, 2, 2, 3]);

    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&[&endpoint], "{connectionPool: {http: {idleTimeout: 50ms}}}", "", &[]).await;
    leeboard.ask(get("/", "")).await;
    leeboard.metric_becomes("leeboard_upstream_connections_active", &[], 0.0).await;

    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&[&endpoint], "{connectionPool: {tcp: {maxConnectionDuration: 50ms}}}", "", &[]).await;
    leeboard.ask(get("/", "")).await;
    leeboard.metric_becomes("leeboard_upstream_connections_active", &[], 0.0).await;
}

#[tokio::test]
async fn connections_of_streams_rest_too_and_leave_when_told() {
    let server = Server::start(|_, respond, _| async move { http2::finish(respond, "ok", &[]) }).await;
    let config = |pool: &str| service("shop.test", "HTTP2", &[(server.address, "v1")]) + &policy("shop.test", pool);
    for pool in ["http: {idleTimeout: 100ms}", "tcp: {maxConnectionDuration: 100ms}"] {
        let leeboard = Leeboard::start(&config(&format!("{{connectionPool: {{{pool}}}}}"))).await;
        let before = server.connections();
        for more in [1, 2] {
            assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
            assert_eq!(server.connections() - before, more);
            leeboard.metric_becomes("leeboard_upstream_connections_active", &[], 0.0).await;
        }
    }
    let leeboard = Leeboard::start(&config("{connectionPool: {http: {maxRequestsPerConnection: 2}}}")).await;
    let before = server.connections();
    for _ in 0..5 {
        assert_eq!(leeboard.ask(post("/", "", "x")).await.status(), 200);
    }
    assert_eq!(server.connections() - before, 3);
    leeboard.metric_becomes("leeboard_upstream_connections_active", &[], 1.0).await;
}

#[tokio::test]
async fn a_limit_of_one_serves_many_callers() {
    let endpoint = Endpoint::named("app").await;
    let pool = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 100}}}";
    let leeboard = shop(&[&endpoint], pool, "", &["--workers", "2"]).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = leeboard.port("outbound");
        callers.spawn(async move {
            let mut wire = Wire::to(address).await;
            for _ in 0..50 {
                wire.send(get("/", "")).await.unwrap();
                assert_eq!(wire.response().await.unwrap().status(), 200);
            }
        });
    }
    soon("all callers", async { while callers.join_next().await.transpose().unwrap().is_some() {} }).await;
    assert_eq!((endpoint.hits(), endpoint.connections()), (400, 1));
    leeboard.at_rest(CLUSTER).await;
}
