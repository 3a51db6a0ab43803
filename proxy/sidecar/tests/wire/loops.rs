//! Requests that would come back to the proxy that sends them: by an address of its own, in whatever spelling, and by a way round.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;

use crate::config::{route, service};
use crate::endpoint::{Endpoint, say};
use crate::message::get;
use crate::patience::soon;
use crate::program::Leeboard;

/// An address of this machine that is not its loopback, if it has one.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip().to_string())
}

/// How many connections of callers there have been.
async fn accepted(leeboard: &Leeboard) -> f64 {
    leeboard.metric("leeboard_downstream_connections_total", &["listener=\"outbound\""]).await.unwrap_or(0.0)
}

#[tokio::test]
async fn no_spelling_of_its_own_addresses_leads_back() {
    let leeboard = Leeboard::with("", &["--outbound", "0.0.0.0:0"]).await;
    let (outbound, admin) = (leeboard.port("outbound").port(), leeboard.port("admin").port());
    let mut hosts = vec!["127.0.0.1".to_owned(), "127.8.7.6".into(), "0.0.0.0".into(), "localhost".into()];
    hosts.extend(["[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]", "[::]"].map(str::to_owned));
    hosts.extend(own_address());
    let mut asked = 0.0;
    for (host, port) in hosts.iter().map(|host| (host, outbound)).chain([(&hosts[0], admin), (&hosts[4], admin)]) {
        let mut wire = crate::message::Wire::to(SocketAddr::from(([127, 0, 0, 1], outbound))).await;
        for request in [
            format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
        ] {
            wire.send(request).await.unwrap();
            let answer = soon("an answer", wire.response()).await.unwrap();
            assert_eq!(answer.status(), 503, "{host}:{port}");
            let reason = answer.header("x-leeboard-reason").unwrap();
            assert!(reason.starts_with("connect-refused"), "{host}:{port}: {reason}");
        }
        asked += 1.0;
    }
    assert_eq!(accepted(&leeboard).await, asked, "connections other than the test's own");
}

#[tokio::test]
async fn an_endpoint_that_is_the_proxy_itself_is_not_called() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let leeboard =
        Leeboard::with(&service("shop.test", "HTTP", &[(free, "v1")]), &["--outbound", &free.to_string()]).await;
    let answer = leeboard.ask(get("/", "")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(accepted(&leeboard).await, 1.0);
    let record = leeboard.record("/").await;
    assert_eq!(record["response_flags"], "URX,UF");
}

#[tokio::test]
async fn each_hop_is_counted_and_too_many_are_a_loop() {
    let endpoint = Endpoint::start(|_| say(200, "")).await;
    let inside = service("shop.test", "HTTP", &[(endpoint.address, "v1")]);
    assert!(inside.contains("MESH_INTERNAL"));
    // Inside the mesh the count stands with who calls, elsewhere alone.
    for outside in [false, true] {
        let config = if outside { inside.replace("MESH_INTERNAL", "MESH_EXTERNAL") } else { inside.clone() };
        let leeboard = Leeboard::start(&config).await;
        #[rustfmt::skip]
        let table = [
            ("", Some("1")),
            ("x-leeboard-hops: 1\r\n", Some("2")),
            ("x-leeboard-peer: 1;name=a\r\n", Some("2")),
            ("x-leeboard-hops: 3\r\nx-leeboard-peer: 7;name=a\r\n", Some("8")),
            ("x-leeboard-hops: 15\r\n", Some("16")),
            ("x-leeboard-hops: 16\r\n", None),
            ("x-leeboard-peer: 16;name=a\r\n", None),
            ("x-leeboard-hops: 255\r\n", None),
        ];
        for (said, heard) in table {
            // What a caller says of its connection does not take the count away.
            let answer =
                leeboard.ask(get("/", &format!("{said}Connection: x-leeboard-hops, x-leeboard-peer\r\n"))).await;
            let Some(heard) = heard else {
                assert_eq!((answer.status(), answer.header("x-leeboard-reason")), (508, Some("loop")), "{said}");
                continue;
            };
            assert_eq!(answer.status(), 200, "{said}");
            let seen = endpoint.seen().last().unwrap().message.clone();
            let (hops, peer) = (seen.header("x-leeboard-hops"), seen.header("x-leeboard-peer"));
            let told = if outside { (hops, None) } else { (peer.and_then(|peer| peer.split(';').next()), hops) };
            assert_eq!(told, (Some(heard), None), "{said} {peer:?}");
        }
    }
    assert_eq!(endpoint.hits(), 10);
}

#[tokio::test]
async fn a_circle_that_no_address_shows_is_left_after_sixteen_hops() {
    let back: Arc<OnceLock<SocketAddr>> = Arc::default();
    let to = back.clone();
    // What stands between: another name or network for the proxy itself.
    let around = Endpoint::raw(move |wire, _| {
        let to = to.clone();
        async move {
            let mut proxy = TcpStream::connect(to.get().unwrap()).await.unwrap();
            let mut stream = wire.into_stream();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut proxy).await;
        }
    })
    .await;
    let config = service("shop.test", "HTTP", &[(around.address, "v1")]);
    let config = config + &route("shop.test", "retries: {attempts: 0}");
    let leeboard = Leeboard::start(&config).await;
    back.set(leeboard.port("outbound")).unwrap();
    let answer = leeboard.ask(get("/", "")).await;
    assert_eq!((answer.status(), around.connections()), (508, 16));
}
