//! The end of a pod: what its callers lose when its application goes, which is nothing.

use std::net::SocketAddr;
use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::config::{policy, route, service};
use crate::endpoint::{Deed, Endpoint, Gate, say};
use crate::message::{Wire, get, post, response};
use crate::patience::{soon, until};
use crate::program::Leeboard;

/// A port at which nobody listens, for as long as this is held.
struct Nobody {
    _socket: socket2::Socket,
    address: SocketAddr,
}

impl Nobody {
    fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { _socket: socket, address }
    }
}

/// The proxy beside an application.
async fn beside(application: SocketAddr, flags: &[&str]) -> Leeboard {
    let inbound = format!("127.0.0.1:0={application}");
    let flags: Vec<&str> = ["--inbound", &inbound].into_iter().chain(flags.iter().copied()).collect();
    Leeboard::with("", &flags).await
}

/// A caller's proxy; its service has these pods.
async fn caller_of(pods: &[&Leeboard], settings: &str) -> Leeboard {
    let pods: Vec<_> = pods.iter().map(|pod| (pod.port("inbound"), "v1")).collect();
    let config = service("shop.test", "HTTP", &pods)
        + &policy("shop.test", "{loadBalancer: {simple: ROUND_ROBIN}}")
        + &route("shop.test", settings);
    Leeboard::start(&config).await
}

#[tokio::test]
async fn what_an_application_that_is_gone_did_not_get_is_sent_to_another_pod() {
    let (gone, application) = (Nobody::new(), Endpoint::named("here").await);
    let pods = [beside(gone.address, &[]).await, beside(application.address, &[]).await];
    let caller = caller_of(&[&pods[0], &pods[1]], "retries: {attempts: 0}").await;
    for turn in 0..4 {
        for request in [get("/", ""), post("/", "", "once")] {
            let answer = caller.ask(request).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "here"), "turn {turn}");
            assert_eq!(answer.header("x-leeboard-unprocessed"), None);
        }
    }
    assert_eq!(application.hits(), 8);
}

#[tokio::test]
async fn only_a_leeboard_is_told_and_only_a_leeboard_is_believed() {
    let gone = Nobody::new();
    let pod = beside(gone.address, &[]).await;
    let answer = pod.ask_at("inbound", get("/", "")).await;
    assert_eq!((answer.status(), answer.header("x-leeboard-unprocessed")), (503, None));
    let introduced = get("/", "x-leeboard-hops: 1\r\n");
    let answer = pod.ask_at("inbound", introduced).await;
    assert_eq!((answer.status(), answer.header("connection")), (503, Some("close")));
    assert!(answer.header("x-leeboard-unprocessed").is_some());

    // An application's word for it goes no further, so that nothing is sent twice.
    let liar = b"HTTP/1.1 503 Service Unavailable\r\nX-Leeboard-Unprocessed: 1\r\ncontent-length: 2\r\n\r\nno".to_vec();
    let liar = Endpoint::start(move |_| vec![Deed::Send(liar.clone())]).await;
    let pod = beside(liar.address, &[]).await;
    let caller = caller_of(&[&pod], "retries: {attempts: 2, retryOn: connect-failure}").await;
    let answer = caller.ask(post("/", "", "once")).await;
    assert_eq!((answer.status(), answer.header("x-leeboard-unprocessed"), liar.hits()), (503, None, 1));
}

#[tokio::test]
async fn what_the_application_may_have_got_is_not_called_unprocessed() {
    // The first attempt reaches it, and the second finds nobody.
    let config = "---\nkind: MeshConfig\ndefaultInboundHttpRetryPolicy: {attempts: 2, retryOn: reset}\n";
    let mut application = Endpoint::start(|_| vec![Deed::Hang]).await;
    let inbound = format!("127.0.0.1:0={}", application.address);
    let pod = Leeboard::with(config, &["--inbound", &inbound]).await;
    let mut wire = Wire::to(pod.port("inbound")).await;
    wire.send(post("/", "x-leeboard-hops: 1\r\n", "once")).await.unwrap();
    application.reached(1).await;
    application.stop().await;
    let answer = soon("an answer", wire.response()).await.unwrap();
    assert_eq!((answer.status(), answer.header("x-leeboard-unprocessed")), (503, None));
}

#[tokio::test]
async fn a_leaving_proxy_refuses_for_an_application_that_is_gone() {
    let mut application = Endpoint::named("app").await;
    let mut pod = beside(application.address, &["--min-drain-time", "4s", "--drain-time", "120s"]).await;
    let inbound = pod.port("inbound");
    let mut kept = Wire::to(inbound).await;
    kept.send(get("/", "")).await.unwrap();
    assert_eq!(soon("an answer", kept.response()).await.unwrap().status(), 200);
    pod.signal(Signal::SIGTERM);
    pod.logged("draining").await;
    assert_eq!(pod.ask_at("inbound", get("/", "")).await.status(), 200, "as long as the application is there");
    application.stop().await;
    until("who comes now is refused", || async {
        TcpStream::connect(inbound).await.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
    soon("idle connections end", kept.end()).await;
    // Nobody is left to wait for when callers have had their time.
    assert_eq!(pod.ended().await.code(), Some(0));
}

#[tokio::test]
async fn leeboard_drain_returns_when_the_application_may_be_ended() {
    let gate = Gate::closed();
    let held = gate.clone();
    let application = Endpoint::start(move |asked| {
        let mut deeds = vec![Deed::Send(response(200, "app"))];
        if asked.message.target() == "/slow" {
            deeds.insert(0, Deed::Wait(held.clone()));
        }
        deeds
    })
    .await;
    let other = Endpoint::start(|_| say(200, "other")).await;
    let inbound = format!("127.0.0.1:0={}", application.address);
    let config = service("shop.test", "HTTP", &[(other.address, "v1")]);
    let mut pod = Leeboard::with(&config, &["--inbound", &inbound, "--drain-time", "60s"]).await;
    let (mut slow, mut kept) = (Wire::to(pod.port("inbound")).await, Wire::to(pod.port("inbound")).await);
    slow.send(get("/slow", "")).await.unwrap();
    application.reached(1).await;

    let mut hook = std::process::Command::new(env!("CARGO_BIN_EXE_leeboard"))
        .env_clear()
        .env("LEEBOARD_ADMIN", pod.port("admin").to_string())
        .arg("drain")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let ready = |pod: &Leeboard| {
        let status = pod.port("status");
        async move {
            let mut wire = Wire::to(status).await;
            wire.send("GET /healthz/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            wire.response().await.unwrap().status() == 200
        }
    };
    until("readiness fails", || async { !ready(&pod).await }).await;
    kept.send(get("/", "")).await.unwrap();
    let told = soon("an answer", kept.response()).await.unwrap();
    assert_eq!((told.status(), told.header("connection")), (200, Some("close")), "who is connected is told to leave");
    assert!(hook.try_wait().unwrap().is_none(), "somebody is still being served");
    gate.open();
    assert_eq!(soon("the slow answer", slow.response()).await.unwrap().status(), 200);
    until("the hook returns", || {
        let over = hook.try_wait().unwrap();
        async move { over.is_some_and(|status| status.success()) }
    })
    .await;
    assert!(TcpStream::connect(pod.port("inbound")).await.is_err(), "nobody comes to the application any more");
    assert_eq!(pod.ask(get("/", "")).await.text(), "other", "the application itself is served on");
    pod.signal(Signal::SIGTERM);
    assert_eq!(pod.ended().await.code(), Some(0));
}

#[test]
fn leeboard_drain_says_when_there_is_nobody_to_drain() {
    let nobody = Nobody::new();
    for (admin, words) in
        [(nobody.address.to_string(), "no Leeboard answers at"), ("off".into(), "admin listener is off")]
    {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_leeboard"));
        let output = command.env_clear().args(["drain", "--admin", &admin]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words), "{admin}: {said}");
    }
}
