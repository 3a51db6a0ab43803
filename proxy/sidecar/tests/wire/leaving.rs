//! What goes on while the configuration changes, and while the process leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::{policy, routes, service};
use crate::endpoint::{Deed, Endpoint, Gate};
use crate::http2;
use crate::message::{Wire, get, response};
use crate::patience::{Stopwatch, soon, until};
use crate::program::Leeboard;

/// All traffic of the shop goes to one version.
fn all_to(version: &str, v1: &Endpoint, v2: &Endpoint) -> String {
    service("shop.test", "HTTP", &[(v1.address, "v1"), (v2.address, "v2")])
        + &policy("shop.test", "{loadBalancer: {simple: ROUND_ROBIN}}")
        + &routes("shop.test", &format!("[{{route: [{{destination: {{host: shop.test, subset: {version}}}}}]}}]"))
}

async fn held(gate: &Gate, name: &'static str) -> Endpoint {
    let gate = gate.clone();
    Endpoint::start(move |asked| {
        let mut deeds = vec![Deed::Send(response(200, name))];
        if asked.message.target() == "/slow" {
            deeds.insert(0, Deed::Wait(gate.clone()));
        }
        deeds
    })
    .await
}

#[tokio::test]
async fn an_edit_moves_new_requests_and_leaves_those_in_flight_alone() {
    let gate = Gate::closed();
    let (v1, v2) = (held(&gate, "v1").await, Endpoint::named("v2").await);
    let mut leeboard = Leeboard::start(&all_to("v1", &v1, &v2)).await;
    let mut slow = leeboard.dial().await;
    slow.send(get("/slow", "")).await.unwrap();
    v1.reached(1).await;
    let mut wire = leeboard.dial().await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(wire.response().await.unwrap().text(), "v1");

    leeboard.edit(&all_to("v2", &v1, &v2));
    let watch = Stopwatch::start();
    soon("the edit takes effect", async {
        loop {
            wire.send(get("/", "")).await.unwrap();
            if wire.response().await.unwrap().text() == "v2" {
                return;
            }
        }
    })
    .await;
    // Within a second on a machine that has nothing else to do.
    watch.check("the reload", 0);
    gate.open();
    assert_eq!(soon("the old answer", slow.response()).await.unwrap().text(), "v1");

    let good = all_to("v2", &v1, &v2);
    leeboard.edit(&good.replace("{host: shop.test, subset: v2}", "{host: shop.test, subset: 7, wieght: }"));
    leeboard.metric_becomes("leeboard_config_last_reload_successful", &[], 0.0).await;
    assert!(leeboard.metric("leeboard_config_objects_kept", &[]).await.unwrap() >= 1.0);
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(wire.response().await.unwrap().text(), "v2", "the last good version serves on");
    leeboard.logged("config.yaml:").await;

    leeboard.edit(&all_to("v1", &v1, &v2));
    leeboard.metric_becomes("leeboard_config_last_reload_successful", &[], 1.0).await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(wire.response().await.unwrap().text(), "v1");
    assert_eq!(leeboard.metric("leeboard_downstream_connections_total", &["listener=\"outbound\""]).await, Some(2.0));
}

#[tokio::test]
async fn no_request_fails_while_the_configuration_changes() {
    let (v1, v2) = (Endpoint::named("v1").await, Endpoint::named("v2").await);
    let leeboard = Leeboard::with(&all_to("v1", &v1, &v2), &["--workers", "2"]).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (address, over) = (leeboard.port("outbound"), over.clone());
        callers.spawn(async move {
            let mut wire = Wire::to(address).await;
            let mut count = 0u32;
            while !over.load(Ordering::SeqCst) {
                wire.send(get("/", "")).await.unwrap();
                let answer = wire.response().await.expect("no connection is cut");
                assert!(["v1", "v2"].contains(&answer.text().as_str()), "{answer:?}");
                count += 1;
            }
            count
        });
    }
    for turn in 0..10 {
        let (version, endpoint) = if turn % 2 == 0 { ("v2", &v2) } else { ("v1", &v1) };
        let before = endpoint.hits();
        leeboard.edit(&all_to(version, &v1, &v2));
        until("traffic follows", || async { endpoint.hits() > before + 4 }).await;
    }
    over.store(true, Ordering::SeqCst);
    let mut sent = 0;
    while let Some(count) = soon("the callers", callers.join_next()).await {
        sent += count.unwrap();
    }
    assert_eq!(sent as usize, v1.hits() + v2.hits());
}

/// A service, and the proxy beside its application.
async fn beside(application: &Endpoint) -> Leeboard {
    let inbound = format!("127.0.0.1:0={}", application.address);
    let config = service("shop.test", "HTTP", &[(application.address, "v1")]);
    Leeboard::with(&config, &["--inbound", &inbound]).await
}

#[tokio::test]
async fn requests_to_the_application_are_passed_and_counted() {
    let application = Endpoint::named("app").await;
    let leeboard = beside(&application).await;
    let answer = leeboard.ask_at("inbound", get("/in", "")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "app"));
    let labels = ["reporter=\"destination\"", "response_code=\"200\""];
    leeboard.metric_becomes("istio_requests_total", &labels, 1.0).await;
    let cluster = format!("inbound|{}||", application.address.port());
    assert_eq!(leeboard.record("/in").await["upstream_cluster"], cluster);

    // Another Leeboard says who calls; the application has nothing to do with that.
    let introduced = get("/peer", "X-Leeboard-Peer: name=cart;namespace=demo\r\n");
    assert_eq!(leeboard.ask_at("inbound", introduced).await.status(), 200);
    let seen = application.seen().pop().unwrap().message;
    assert_eq!((seen.target(), seen.header("x-leeboard-peer")), ("/peer", None));
    let labels = ["source_workload=\"cart\"", "source_workload_namespace=\"demo\""];
    leeboard.metric_becomes("istio_requests_total", &labels, 1.0).await;
}

#[tokio::test]
async fn the_application_is_not_asked_twice() {
    let application = Endpoint::start(|asked| match asked.number {
        1 => crate::endpoint::say(200, ""),
        _ => vec![Deed::Close],
    })
    .await;
    let leeboard = beside(&application).await;
    let post = |path| crate::message::post(path, "", "x");
    assert_eq!(leeboard.ask_at("inbound", post("/1")).await.status(), 200);
    assert_eq!(leeboard.ask_at("inbound", post("/2")).await.status(), 503);
    assert_eq!(application.hits(), 2);
}

#[tokio::test]
async fn sigterm_lets_everything_finish() {
    let gate = Gate::closed();
    let application = held(&gate, "app").await;
    let mut leeboard = beside(&application).await;
    let ready = |leeboard: &Leeboard| {
        let address = leeboard.port("status");
        async move {
            let mut wire = Wire::to(address).await;
            wire.send("GET /healthz/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            wire.response().await.unwrap().status()
        }
    };
    assert_eq!(ready(&leeboard).await, 200);
    let (mut slow_in, mut slow_out) = (Wire::to(leeboard.port("inbound")).await, leeboard.dial().await);
    let (mut kept, mut idle) = (Wire::to(leeboard.port("inbound")).await, Wire::to(leeboard.port("inbound")).await);
    for wire in [&mut slow_in, &mut slow_out] {
        wire.send(get("/slow", "")).await.unwrap();
    }
    for wire in [&mut kept, &mut idle] {
        wire.send(get("/", "")).await.unwrap();
        assert_eq!(wire.response().await.unwrap().header("connection"), None);
    }
    application.reached(4).await;

    leeboard.signal(Signal::SIGTERM);
    until("readiness fails", || async { ready(&leeboard).await == 503 }).await;
    kept.send(get("/", "")).await.unwrap();
    let late = soon("a late answer", kept.response()).await.unwrap();
    assert_eq!((late.status(), late.header("connection")), (200, Some("close")));
    soon("the connection's end", kept.end()).await;

    gate.open();
    for wire in [&mut slow_in, &mut slow_out] {
        let answer = soon("an answer that was waited for", wire.response()).await.unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "app"));
        if answer.header("connection").is_some() {
            soon("the connection's end", wire.end()).await;
        }
    }
    drop(slow_out);
    soon("idle connections end", idle.end()).await;
    assert_eq!(leeboard.ended().await.code(), Some(0));
}

#[tokio::test]
async fn callers_of_http_2_are_told_to_go_and_their_streams_finish() {
    let gate = Gate::closed();
    let go_on = gate.clone();
    let application = http2::Server::start(move |_, respond, _| {
        let gate = go_on.clone();
        async move {
            gate.wait().await;
            http2::finish(respond, "late", &[("grpc-status", "0")]);
        }
    })
    .await;
    let inbound = format!("127.0.0.1:0={}", application.address);
    let mut leeboard = Leeboard::with("", &["--inbound", &inbound]).await;
    let caller = http2::call(leeboard.port("inbound")).await;
    let late = tokio::spawn({
        let caller = caller.clone();
        async move { http2::ask(&caller, http2::request("GET", "/", &[]), None).await }
    });
    until("the stream reaches the application", || async { application.streams() == 1 }).await;
    leeboard.signal(Signal::SIGTERM);
    // GOAWAY makes the caller refuse new streams by itself.
    until("the caller is told", || {
        let caller = caller.clone();
        async move { caller.ready().await.is_err() }
    })
    .await;
    gate.open();
    let answer = soon("the late answer", late).await.unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"late".as_slice()));
    assert_eq!(leeboard.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once() {
    let application = held(&Gate::closed(), "app").await;
    let mut leeboard = beside(&application).await;
    let mut slow = leeboard.dial().await;
    slow.send(get("/slow", "")).await.unwrap();
    application.reached(1).await;
    leeboard.signal(Signal::SIGTERM);
    leeboard.logged("draining").await;
    leeboard.signal(Signal::SIGTERM);
    let watch = Stopwatch::start();
    assert_eq!(leeboard.ended().await.code(), Some(0));
    assert!(watch.read() < Duration::from_secs(5));
    assert!(soon("the cut", slow.response()).await.is_none());
}

#[tokio::test]
async fn no_accepted_request_fails_while_the_process_leaves() {
    let application = Endpoint::named("app").await;
    let inbound = format!("127.0.0.1:0={}", application.address);
    let config = service("shop.test", "HTTP", &[(application.address, "v1")]);
    let flags = ["--inbound", &inbound, "--workers", "2", "--drain-time", "2s"];
    let mut leeboard = Leeboard::with(&config, &flags).await;
    let mut callers = tokio::task::JoinSet::new();
    for kind in ["inbound", "outbound", "inbound", "outbound"] {
        let address = leeboard.port(kind);
        callers.spawn(async move {
            let (mut served, mut lost) = (0, 0);
            // A caller that cannot connect any more has lost nothing: it knows that nobody has its request.
            while let Ok(stream) = tokio::net::TcpStream::connect(address).await {
                let mut wire = Wire::new(stream);
                let sent = wire.send(get("/", "")).await;
                match soon("an answer", wire.response()).await {
                    Some(answer) => assert_eq!((answer.status(), sent.is_ok()), (200, true)),
                    None => lost += 1,
                }
                served += 1;
            }
            (served, lost)
        });
    }
    application.reached(50).await;
    leeboard.signal(Signal::SIGTERM);
    let mut all_lost = 0;
    while let Some(done) = soon("the callers", callers.join_next()).await {
        let (served, lost) = done.unwrap();
        assert!(served > 0);
        all_lost += lost;
    }
    // The kernel itself cuts whoever connects between a listener's last look at its queue and its close.
    assert!(all_lost <= 1, "{all_lost} were lost");
    assert_eq!(leeboard.ended().await.code(), Some(0));
}
