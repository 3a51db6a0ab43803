//! How many callers may be connected, and that whoever is one too many costs the others nothing.

use crate::config::service;
use crate::endpoint::{Deed, Endpoint, Gate};
use crate::http2::{self, request};
use crate::message::{Wire, get, response};
use crate::patience::{Stopwatch, soon, until};
use crate::program::Leeboard;

const CLOSED: &str = "leeboard_downstream_connections_closed_total";

/// Whether the connection is served.
async fn is_served(wire: &mut Wire) -> bool {
    // A connection that is being closed may not take the request any more.
    if wire.send(get("/", "")).await.is_err() {
        return false;
    }
    soon("an answer or the end", wire.response()).await.is_some_and(|answer| answer.status() == 200)
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_counted() {
    #[rustfmt::skip]
    let table = [
        (["--max-connections", "3", "--max-caller-connections", "3", "--max-listener-connections", "3"], 3, "max-connections"),
        (["--max-connections", "9", "--max-caller-connections", "2", "--max-listener-connections", "3"], 2, "max-caller-connections"),
        (["--max-connections", "9", "--max-caller-connections", "5", "--max-listener-connections", "2"], 2, "max-listener-connections"),
    ];
    for (flags, most, reason) in table {
        let endpoint = Endpoint::named("one").await;
        let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]);
        let flags = [&flags[..], &["--workers", "2"]].concat();
        let mut leeboard = Leeboard::with(&config, &flags).await;
        let mut wires = Vec::new();
        for _ in 0..most {
            let mut wire = leeboard.dial().await;
            assert!(is_served(&mut wire).await, "{reason}");
            wires.push(wire);
        }
        for _ in 0..3 {
            assert!(!is_served(&mut leeboard.dial().await).await, "{reason}");
        }
        let labels = ["listener=\"outbound\"", &*format!("reason=\"{reason}\"")];
        leeboard.metric_becomes(CLOSED, &labels, 3.0).await;
        leeboard.logged(&format!("limit=\"{reason}\"")).await;
        assert!(is_served(&mut wires[0]).await, "those that are connected stay so");
        drop(wires.pop());
        until("a place is free", || async { is_served(&mut leeboard.dial().await).await }).await;
    }
}

#[tokio::test]
async fn one_caller_does_not_take_all_connections_to_endpoints() {
    #[rustfmt::skip]
    let table: [(&[&str], usize, &str, bool); 2] = [
        // flags, how many streams are served, which limit, whether others are
        (&["--max-endpoint-connections", "3", "--max-caller-endpoint-connections", "9"], 3, "max-endpoint-connections", false),
        (&["--max-caller-endpoint-connections", "2"], 2, "max-caller-endpoint-connections", true),
    ];
    for (flags, most, limit, others) in table {
        let gate = Gate::closed();
        let wait = gate.clone();
        let endpoint = Endpoint::start(move |asked| match asked.message.target() {
            "/held" => vec![Deed::Wait(wait.clone()), Deed::Send(response(200, ""))],
            _ => vec![Deed::Send(response(200, ""))],
        })
        .await;
        let flags = [flags, &["--workers", "1"]].concat();
        let leeboard = Leeboard::with(&service("shop.test", "HTTP", &[(endpoint.address, "v1")]), &flags).await;
        let sender = http2::call(leeboard.port("outbound")).await;
        let asked: Vec<_> = (0..6)
            .map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move { http2::ask(&sender, request("GET", "/held", &[]), None).await })
            })
            .collect();
        let refused = (6 - most) as f64;
        let labels = [&*format!("cause=\"{limit}\"")];
        leeboard.metric_becomes("leeboard_upstream_connections_failed_total", &labels, refused).await;
        let record = leeboard.record("/held").await;
        assert_eq!(
            (&record["response_flags"], &record["upstream_transport_failure_reason"]),
            (&"UO".into(), &limit.into())
        );
        assert_eq!(is_served(&mut leeboard.dial().await).await, others, "{limit}");
        gate.open();
        let mut statuses = Vec::new();
        for answer in asked {
            statuses.push(soon("an answer", answer).await.unwrap().unwrap().status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![200; most], vec![503; 6 - most]].concat(), "{limit}");
        // What is over takes no room.
        assert!(is_served(&mut leeboard.dial().await).await, "{limit}");
        assert_eq!(http2::ask(&sender, request("GET", "/", &[]), None).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed_and_those_in_use_are_not() {
    const IDLE: [&str; 4] = ["--idle-timeout", "300ms", "--tunnel-idle-timeout", "300ms"];
    let gate = Gate::closed();
    let wait = gate.clone();
    let endpoint = Endpoint::raw(move |mut wire, _| {
        let wait = wait.clone();
        async move {
            while let Some(request) = wire.request().await {
                match request.target() {
                    "/switch" => {
                        let switch = "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                        wire.send(switch).await.unwrap();
                        return wire.end().await;
                    }
                    "/held" => wait.wait().await,
                    _ => {}
                }
                wire.send(response(200, "")).await.unwrap();
            }
        }
    })
    .await;
    let leeboard = Leeboard::with(&service("shop.test", "HTTP", &[(endpoint.address, "v1")]), &IDLE).await;

    // A request may take its time.
    let (mut slow, watch) = (leeboard.dial().await, Stopwatch::start());
    slow.send(get("/held", "")).await.unwrap();
    for used in [false, true] {
        let (mut wire, watch) = (leeboard.dial().await, Stopwatch::start());
        if used {
            assert!(is_served(&mut wire).await);
        }
        soon("the end of an idle connection", wire.end()).await;
        watch.check("an idle connection", 300);
    }
    let (mut wire, switched) = (leeboard.dial().await, Stopwatch::start());
    wire.send(get("/switch", "Connection: upgrade\r\nUpgrade: echo\r\n")).await.unwrap();
    assert_eq!(soon("a head", wire.head()).await.unwrap().status(), 101);
    soon("the end of an idle tunnel", wire.end()).await;
    switched.check("an idle tunnel", 300);
    let record = leeboard.record("/switch").await;
    assert_eq!(
        (&record["response_flags"], &record["response_code_details"]),
        (&"SI".into(), &"stream_idle_timeout".into())
    );

    let mut two = Wire::to(leeboard.port("outbound")).await;
    two.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &http2::settings()[..]].concat()).await.unwrap();
    soon("the end of an idle HTTP/2 connection", two.end()).await;

    assert!(watch.read() > std::time::Duration::from_millis(600));
    leeboard.metric_becomes(CLOSED, &["reason=\"idle-timeout\""], 3.0).await;
    gate.open();
    assert_eq!(soon("an answer", slow.response()).await.unwrap().status(), 200);
    leeboard.metric_becomes(CLOSED, &["reason=\"tunnel-idle-timeout\""], 1.0).await;
}
