//! What callers can make of the metrics: no more than what is known of them.

use crate::endpoint::{Endpoint, say};
use crate::message::{Wire, get};
use crate::program::Leeboard;

/// One in front of an application, which is at 127.0.0.1.
async fn beside(application: &Endpoint, flags: &[&str]) -> Leeboard {
    let inbound = format!("127.0.0.1:0={}", application.address);
    Leeboard::with("", &[&["--inbound", &inbound], flags].concat()).await
}

/// Asks on one connection as so many workloads.
async fn introduce(wire: &mut Wire, names: impl IntoIterator<Item = String>) {
    for name in names {
        wire.send(get("/", &format!("X-Leeboard-Peer: name={name};namespace=demo\r\n"))).await.unwrap();
        assert_eq!(wire.response().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn strangers_do_not_say_who_they_are() {
    let application = Endpoint::named("app").await;
    let leeboard = beside(&application, &["--trusted-peers", "127.0.0.3"]).await;
    let inbound = leeboard.port("inbound");
    for (from, name) in [("127.0.0.1", "inside"), ("127.0.0.2", "stranger"), ("127.0.0.3", "trusted")] {
        introduce(&mut Wire::between(from, inbound).await, [name.to_owned()]).await;
    }
    for (name, count) in [("inside", Some(1.0)), ("trusted", Some(1.0)), ("unknown", Some(1.0)), ("stranger", None)] {
        let label = format!("source_workload=\"{name}\"");
        assert_eq!(leeboard.metric("istio_requests_total", &[&label]).await, count, "{name}");
    }
}

#[tokio::test]
async fn forged_names_and_statuses_leave_room_for_honest_callers() {
    // Each answer has a status of its own, as a hostile endpoint might.
    let application = Endpoint::start(|asked| {
        let number = asked.number;
        vec![crate::endpoint::Deed::Send(
            format!("HTTP/1.1 200 OK\r\nGrpc-Status: {number}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        )]
    });
    let application = application.await;
    let leeboard = beside(&application, &[]).await;
    let mut wire = Wire::between("127.0.0.2", leeboard.port("inbound")).await;
    for number in 0..200 {
        let fields = format!("X-Leeboard-Peer: name=forged-{number}\r\nContent-Type: application/grpc\r\n");
        wire.send(get("/", &fields)).await.unwrap();
        assert_eq!(wire.response().await.unwrap().status(), 200);
    }
    let page = leeboard.page("/stats/prometheus").await;
    let series = page.lines().filter(|line| line.starts_with("istio_requests_total{")).count();
    assert_eq!(series, 17, "16 that gRPC knows, and one for the rest");
    assert_eq!(leeboard.metric("istio_requests_total", &["grpc_response_status=\"unknown\""]).await, Some(184.0));
}

#[tokio::test]
async fn addresses_that_a_caller_makes_up_are_one_series() {
    let here = Endpoint::start(|_| say(200, "")).await;
    let there = Endpoint::start(|_| say(200, "")).await;
    let leeboard = Leeboard::start("").await;
    for endpoint in [&here, &there] {
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", endpoint.address);
        assert_eq!(leeboard.ask(request).await.status(), 200);
    }
    let labels = ["cluster=\"PassthroughCluster\"", "endpoint=\"unknown\""];
    assert_eq!(leeboard.metric("leeboard_upstream_connections_opened_total", &labels).await, Some(2.0));
    assert_eq!(leeboard.metric("leeboard_upstream_connections_opened_total", &[]).await, Some(2.0));
}
