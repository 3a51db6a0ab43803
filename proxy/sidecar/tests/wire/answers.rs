//! What the proxy answers by itself: status, words, reason, and what the access log says of it.

use std::net::SocketAddr;

use crate::config::{policy, routes, service};
use crate::endpoint::{Deed, Endpoint};
use crate::message::get;
use crate::patience::soon;
use crate::program::Leeboard;

/// An address on which nobody listens.
async fn nobody() -> SocketAddr {
    let mut gone = Endpoint::named("gone").await;
    gone.stop().await;
    gone.address
}

fn host(host: &str, path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";
const AGAIN: &str = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ";

async fn leeboard(flags: &[&str]) -> (Leeboard, Vec<Endpoint>) {
    let closes = Endpoint::start(|_| vec![Deed::Close]).await;
    let garbage = Endpoint::start(|_| vec![Deed::Send(b"SMTP 220 hello\r\n\r\n".to_vec()), Deed::Close]).await;
    let late = Endpoint::start(|_| vec![Deed::Hang]).await;
    let refuses = nobody().await;
    let never = "[{route: [{destination: {host: refuses.test}}], retries: {attempts: 0}}]";
    let config = [
        service("closes.test", "HTTP", &[(closes.address, "v1")]),
        service("garbage.test", "HTTP", &[(garbage.address, "v1")]),
        service("late.test", "HTTP", &[(late.address, "v1")]),
        routes("late.test", "[{route: [{destination: {host: late.test}}], timeout: 50ms}]"),
        service("refuses.test", "HTTP", &[(refuses, "v1")]),
        routes("refuses.test", never),
        service("again.test", "HTTP", &[(refuses, "v1")]),
        service("empty.test", "HTTP", &[(refuses, "v1")]),
        policy("empty.test", "{loadBalancer: {simple: RANDOM}}"),
        routes("empty.test", "[{route: [{destination: {host: empty.test, subset: v2}}]}]"),
        service("missing.test", "HTTP", &[(refuses, "v1")]),
        routes("missing.test", "[{route: [{destination: {host: missing.test, subset: v9}}]}]"),
        service("narrow.test", "HTTP", &[(refuses, "v1")]),
        routes("narrow.test", "[{match: [{uri: {exact: /only}}], route: [{destination: {host: narrow.test}}]}]"),
    ];
    (Leeboard::with(&config.concat(), flags).await, vec![closes, garbage, late])
}

#[tokio::test]
async fn every_error_says_what_it_is() {
    let (leeboard, _endpoints) = leeboard(&[]).await;
    let reset = |cause: &str| format!("upstream_reset_before_response_started{{{cause}}}");
    let words = |start: &str, cause: &str| format!("{start}{cause}");
    const REFUSED: &str = "remote_connection_failure|delayed_connect_error:_Connection_refused";
    #[rustfmt::skip]
    let table: &[(&str, u16, String, &str, String, &str, &str)] = &[
        // host, status, body, flags, details, reason, grpc-status
        ("refuses.test", 503, words(RESET, "remote connection failure"), "UF", reset(REFUSED), "connect-refused; host=refuses.test; attempt=1", "14"),
        ("again.test", 503, words(AGAIN, "remote connection failure"), "URX,UF", reset(REFUSED), "connect-refused; host=again.test; attempt=3", "14"),
        ("closes.test", 503, words(RESET, "connection termination"), "UC", reset("connection_termination"), "connection-terminated; host=closes.test; attempt=1", "14"),
        ("garbage.test", 502, words(RESET, "protocol error"), "UPE", reset("protocol_error"), "protocol-error; host=garbage.test; attempt=1", "14"),
        ("late.test", 504, "upstream request timeout".into(), "UT", "response_timeout".into(), "timeout; host=late.test; attempt=1", "4"),
        ("empty.test", 503, "no healthy upstream".into(), "UH", "no_healthy_upstream".into(), "no-endpoint; host=empty.test; attempt=0", "14"),
        ("missing.test", 503, String::new(), "NC", "cluster_not_found".into(), "no-cluster; host=missing.test; attempt=0", "14"),
        ("narrow.test", 404, String::new(), "NR", "route_not_found".into(), "no-route; host=narrow.test; attempt=0", "12"),
    ];
    for (name, status, body, flags, details, reason, grpc) in table {
        let path = format!("/{name}");
        let answer = leeboard.ask(host(name, &path, "")).await;
        assert_eq!((answer.status(), &answer.text()), (*status, body), "{name}");
        assert_eq!(answer.header("x-leeboard-reason"), Some(*reason), "{name}");
        assert_eq!(answer.header("content-type"), (!body.is_empty()).then_some("text/plain"), "{name}");
        assert_eq!(answer.header("x-envoy-upstream-service-time"), None, "{name}");
        assert!(answer.header("date").is_some() && answer.header("server").is_some(), "{name}");
        let record = leeboard.record(&path).await;
        assert_eq!(
            (&record["response_flags"], &record["response_code_details"]),
            (&(*flags).into(), &details.as_str().into()),
            "{name}"
        );
        assert_eq!(record["response_code"], *status, "{name}");

        let answer = leeboard.ask(host(name, &path, "Content-Type: application/grpc\r\n")).await;
        assert_eq!(
            (answer.status(), answer.header("grpc-status"), answer.text().as_str()),
            (200, Some(*grpc), ""),
            "{name}"
        );
        assert_eq!(answer.header("grpc-message"), (!body.is_empty()).then_some(body.as_str()), "{name}");
    }
}

#[tokio::test]
async fn heads_of_errors_have_no_body() {
    let (leeboard, _endpoints) = leeboard(&[]).await;
    let mut wire = leeboard.dial().await;
    for _ in 0..2 {
        wire.send("HEAD / HTTP/1.1\r\nHost: empty.test\r\n\r\n").await.unwrap();
        assert_eq!(wire.bodyless().await.unwrap().status(), 503);
    }
}

#[tokio::test]
async fn unknown_hosts_are_called_as_asked_or_refused() {
    let endpoint = Endpoint::named("stranger").await;
    let authority = format!("localhost:{}", endpoint.address.port());
    let (open, _endpoints) = leeboard(&[]).await;
    let answer = open.ask(host(&endpoint.address.to_string(), "/", "")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "stranger"));
    let absolute = format!("GET http://{}/there HTTP/1.1\r\nHost: other.test\r\n\r\n", endpoint.address);
    assert_eq!(open.ask(absolute).await.text(), "stranger");
    let last = endpoint.seen().pop().unwrap().message;
    assert_eq!((last.target(), last.header("host")), ("/there", Some(endpoint.address.to_string().as_str())));
    assert_eq!(open.record("/there").await["upstream_cluster"], "PassthroughCluster");

    let (closed, _endpoints) = leeboard(&["--outbound-traffic-policy", "registry-only"]).await;
    for unknown in [endpoint.address.to_string(), authority, "nowhere.test".to_owned()] {
        let answer = closed.ask(host(&unknown, "/unknown", "")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (502, ""));
        let reason = format!("unknown-host; host={unknown}; attempt=0");
        assert_eq!(answer.header("x-leeboard-reason"), Some(reason.as_str()));
        let answer = closed.ask(host(&unknown, "/unknown", "Content-Type: application/grpc\r\n")).await;
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("14")));
    }
    assert_eq!(endpoint.hits(), 2);
}

#[tokio::test]
async fn a_request_to_the_proxy_itself_does_not_go_round_for_ever() {
    let (leeboard, _endpoints) = leeboard(&[]).await;
    let answer = leeboard.ask(host(&leeboard.port("outbound").to_string(), "/loop", "")).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.header("x-leeboard-reason").unwrap().starts_with("connect-refused"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_made_to_look_whole() {
    let table: [(&str, &[u8]); 3] = [
        ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        ("chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("nonsense", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"),
    ];
    for end in [Deed::Close, Deed::Reset] {
        for (name, bytes) in table {
            let last = end.clone();
            let endpoint = Endpoint::start(move |_| vec![Deed::Send(bytes.to_vec()), last.clone()]).await;
            let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]);
            let leeboard = Leeboard::start(&config).await;
            let mut wire = leeboard.dial().await;
            wire.send(get("/cut", "")).await.unwrap();
            let answer = soon("the answer", wire.response()).await.unwrap_or_else(|| panic!("{name}: no head"));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "half"), "{name}");
            assert_ne!(answer.header("content-length"), Some("4"), "{name}");
            let record = leeboard.record("/cut").await;
            let details = "upstream_reset_after_response_started{protocol_error}";
            assert_eq!(
                (&record["response_flags"], &record["response_code_details"]),
                (&"UPE".into(), &details.into()),
                "{name}"
            );
            soon("the connection's end", wire.end()).await;
            leeboard.at_rest("outbound|80||shop.test").await;
        }
    }
}

#[tokio::test]
async fn bytes_after_an_answer_are_not_the_next_answer() {
    let endpoint = Endpoint::start(|asked| {
        let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
        let number = asked.number.to_string();
        let honest = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{number}{forged}", number.len());
        vec![Deed::Send(honest.into())]
    })
    .await;
    let leeboard = Leeboard::start(&service("shop.test", "HTTP", &[(endpoint.address, "v1")])).await;
    let mut wire = leeboard.dial().await;
    for turn in 1..=20 {
        wire.send(get("/", "")).await.unwrap();
        assert_eq!(wire.response().await.unwrap().text(), turn.to_string());
    }
    assert_eq!(endpoint.connections(), 20);
}
