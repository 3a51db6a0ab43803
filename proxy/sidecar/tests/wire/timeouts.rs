//! When each clock runs, from the timer table: the route's from the end of the request, an attempt's from its connection.

use std::time::Duration;

use crate::config::{policy, routes, service};
use crate::endpoint::{Deed, Endpoint, Gate};
use crate::message::{get, response};
use crate::patience::{Stopwatch, soon};
use crate::program::Leeboard;

const RULES: &str = r#"[
  {name: route, match: [{uri: {prefix: /route}}], timeout: 300ms, route: [{destination: {host: shop.test}}]},
  {name: tries, match: [{uri: {prefix: /tries}}], timeout: 5s, retries: {attempts: 2, perTryTimeout: 150ms, retryOn: 5xx, backoff: 1ms}, route: [{destination: {host: shop.test}}]},
  {name: one, match: [{uri: {prefix: /one}}], retries: {attempts: 1, perTryTimeout: 150ms, retryOn: retriable-4xx}, route: [{destination: {host: shop.test}}]},
  {name: ignored, match: [{uri: {prefix: /ignored}}], timeout: 300ms, retries: {attempts: 5, perTryTimeout: 300ms, retryOn: 5xx}, route: [{destination: {host: shop.test}}]},
  {name: whole, match: [{uri: {prefix: /whole}}], timeout: 400ms, retries: {attempts: 20, perTryTimeout: 100ms, retryOn: 5xx, backoff: 1ms}, route: [{destination: {host: shop.test}}]},
  {name: none, match: [{uri: {prefix: /none}}], route: [{destination: {host: shop.test}}]}
]"#;

async fn shop(endpoint: &Endpoint) -> Leeboard {
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")])
        + &policy("shop.test", "{loadBalancer: {simple: ROUND_ROBIN}}")
        + &routes("shop.test", RULES);
    Leeboard::start(&config).await
}

#[tokio::test]
async fn each_clock_has_its_own_answer() {
    let endpoint = Endpoint::start(|_| vec![Deed::Hang]).await;
    let leeboard = shop(&endpoint).await;
    #[rustfmt::skip]
    let table: &[(&str, u64, &str, &str, std::ops::RangeInclusive<usize>)] = &[
        // path, milliseconds at least, flags, details, attempts
        ("/route", 300, "UT", "response_timeout", 1..=1),
        ("/tries", 450, "URX,UT", "upstream_per_try_timeout", 3..=3),
        ("/one", 150, "UT", "upstream_per_try_timeout", 1..=1),
        ("/ignored", 300, "UT", "response_timeout", 1..=1),
        ("/whole", 400, "UT", "response_timeout", 2..=4),
    ];
    for (path, least, flags, details, attempts) in table {
        let (before, watch) = (endpoint.hits(), Stopwatch::start());
        let answer = leeboard.ask(get(path, "")).await;
        watch.check(path, *least);
        assert_eq!((answer.status(), answer.text().as_str()), (504, "upstream request timeout"), "{path}");
        let tried = endpoint.hits() - before;
        assert!(attempts.contains(&tried), "{path} took {tried} attempts");
        let record = leeboard.record(path).await;
        assert_eq!(
            (&record["response_flags"], &record["response_code_details"]),
            (&(*flags).into(), &(*details).into()),
            "{path}"
        );
    }
    leeboard.at_rest("outbound|80||shop.test").await;
}

#[tokio::test]
async fn what_is_within_the_time_is_left_alone() {
    let endpoint =
        Endpoint::start(|_| vec![Deed::Pause(Duration::from_millis(100)), Deed::Send(response(200, "done"))]).await;
    let leeboard = shop(&endpoint).await;
    for path in ["/route", "/tries", "/none"] {
        let answer = leeboard.ask(get(path, "")).await;
        assert_eq!(answer.text(), "done", "{path}");
        let spent: u64 = answer.header("x-envoy-upstream-service-time").unwrap().parse().unwrap();
        assert!((100..5_000).contains(&spent), "{spent} ms");
    }
    let expected = |at: usize| -> Option<u64> {
        endpoint.seen()[at].message.header("x-envoy-expected-rq-timeout-ms").map(|value| value.parse().unwrap())
    };
    // What connecting took is taken off.
    assert!(expected(0).is_some_and(|time| (1..=300).contains(&time)), "{:?}", expected(0));
    assert_eq!((expected(1), expected(2)), (Some(150), None));
}

#[tokio::test]
async fn a_slow_upload_does_not_use_up_the_route_s_time() {
    let endpoint = Endpoint::named("done").await;
    let leeboard = shop(&endpoint).await;
    let mut wire = leeboard.dial().await;
    wire.send("POST /route HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let watch = Stopwatch::start();
    let mut beats = tokio::time::interval(Duration::from_millis(50));
    while watch.read() < Duration::from_millis(700) {
        beats.tick().await;
        wire.send("1\r\nx\r\n").await.unwrap();
    }
    wire.send("0\r\n\r\n").await.unwrap();
    let answer = soon("the answer", wire.response()).await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "done"));
}

#[tokio::test]
async fn the_route_s_time_also_covers_the_body_of_the_answer() {
    let gate = Gate::closed();
    let end = gate.clone();
    let endpoint = Endpoint::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
        vec![Deed::Send(head.into()), Deed::Wait(end.clone())]
    })
    .await;
    let leeboard = shop(&endpoint).await;
    let mut wire = leeboard.dial().await;
    let watch = Stopwatch::start();
    wire.send(get("/route", "")).await.unwrap();
    assert_eq!(soon("the head", wire.head()).await.unwrap().status(), 200);
    assert_eq!(wire.chunk().await.unwrap().unwrap(), b"part");
    assert_eq!(soon("the end", wire.chunk()).await, None, "broken off, and not ended as if it were whole");
    watch.check("/route", 300);
    let record = leeboard.record("/route").await;
    assert_eq!((&record["response_flags"], &record["response_code"]), (&"UT".into(), &200.into()));
    assert_eq!(record["response_code_details"], "response_timeout");
    leeboard.at_rest("outbound|80||shop.test").await;
    gate.open();
}

#[tokio::test]
async fn connecting_has_its_own_time() {
    // Nobody accepts, and the queue of one is full: the next SYN is never answered.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        filling.push(stream);
    }
    let config = service("shop.test", "HTTP", &[(address, "v1")])
        + &policy("shop.test", "{connectionPool: {tcp: {connectTimeout: 300ms}}}")
        + &routes(
            "shop.test",
            "[{route: [{destination: {host: shop.test}}], retries: {attempts: 1, perTryTimeout: 50ms, retryOn: retriable-4xx}}]",
        );
    let leeboard = Leeboard::start(&config).await;
    let watch = Stopwatch::start();
    let answer = leeboard.ask(get("/", "")).await;
    watch.check("connecting", 300);
    assert_eq!(answer.status(), 503);
    let record = leeboard.record("/").await;
    let details = "upstream_reset_before_response_started{connection_timeout}";
    assert_eq!((&record["response_flags"], &record["response_code_details"]), (&"UF".into(), &details.into()));
}

#[tokio::test]
async fn grpc_callers_say_how_long_they_wait() {
    let endpoint = Endpoint::start(|_| vec![Deed::Hang]).await;
    let leeboard = shop(&endpoint).await;
    #[rustfmt::skip]
    let table = [
        // path, grpc-timeout, milliseconds that it takes
        ("/route", "grpc-timeout: 5S\r\n", 300),
        ("/route/less", "grpc-timeout: 100m\r\n", 100),
        ("/none", "grpc-timeout: 200m\r\n", 200),
    ];
    for (path, asked, least) in table {
        let watch = Stopwatch::start();
        let answer = leeboard.ask(get(path, &format!("content-type: application/grpc\r\n{asked}"))).await;
        watch.check(path, least);
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("4")), "{path}");
        let sent = endpoint.seen().pop().unwrap().message;
        let told: u64 = sent.header("grpc-timeout").unwrap().strip_suffix('m').unwrap().parse().unwrap();
        assert!((1..=least).contains(&told), "{path}: {told} ms");
        assert_eq!(leeboard.record(path).await["response_flags"], "UT", "{path}");
    }
}

#[tokio::test]
async fn back_off_uses_up_the_route_s_time() {
    let endpoint = Endpoint::start(|_| crate::endpoint::say(503, "")).await;
    let rule = "[{route: [{destination: {host: shop.test}}], timeout: 200ms, \
        retries: {attempts: 1000, retryOn: 5xx, backoff: 20ms}}]";
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &routes("shop.test", rule);
    let leeboard = Leeboard::start(&config).await;
    let watch = Stopwatch::start();
    assert_eq!(leeboard.ask(get("/", "")).await.status(), 504);
    watch.check("retrying", 200);
    assert_eq!(leeboard.record("/").await["response_flags"], "UT");
    leeboard.at_rest("outbound|80||shop.test").await;
}
