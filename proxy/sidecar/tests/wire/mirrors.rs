//! Copies of requests: what they carry, and that nothing that happens to them reaches the caller.

use std::time::Duration;

use crate::config::{routes, service};
use crate::endpoint::{Deed, Endpoint, say};
use crate::message::{get, post};
use crate::patience::Stopwatch;
use crate::program::Leeboard;

async fn shop(primary: &Endpoint, mirror: &Endpoint, settings: &str) -> Leeboard {
    let config = service("shop.test", "HTTP", &[(primary.address, "v1")])
        + &service("copy.test", "HTTP", &[(mirror.address, "v1")])
        + &routes(
            "shop.test",
            &format!("[{{route: [{{destination: {{host: shop.test}}}}], mirror: {{host: copy.test}}, {settings}}}]"),
        );
    Leeboard::start(&config).await
}

#[tokio::test]
async fn a_copy_is_the_same_request() {
    let (primary, mirror) = (Endpoint::named("primary").await, Endpoint::named("mirror").await);
    let leeboard = shop(&primary, &mirror, "match: [{uri: {prefix: /order}}], rewrite: {uri: /rewritten}").await;
    let long: String = (0..50_000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    for body in ["", "short", &long] {
        let answer = leeboard.ask(post("/order?x=1", "X-Kept: 1\r\n", body)).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "primary"));
    }
    mirror.reached(3).await;
    let (sent, copied) = (primary.seen(), mirror.seen());
    // Copies run beside each other, so that they may arrive in another order.
    for original in sent {
        let id = original.message.header("x-request-id");
        let copy = copied.iter().find(|copy| copy.message.header("x-request-id") == id).expect("its copy");
        assert_eq!(copy.message.start, "POST /rewritten?x=1 HTTP/1.1");
        assert_eq!(copy.message.body, original.message.body);
        for name in ["host", "x-kept", "content-length", "x-envoy-original-path", "x-forwarded-proto"] {
            assert_eq!(copy.message.header(name), original.message.header(name), "{name}");
        }
        assert_eq!(copy.message.header("host"), Some("shop.test"));
    }
    leeboard.metric_becomes("leeboard_mirrors_total", &["outcome=\"answered\"", "copy.test"], 3.0).await;
}

#[tokio::test]
async fn a_mirror_that_hangs_resets_or_is_gone_slows_nobody() {
    let primary = Endpoint::named("primary").await;
    for (deed, reached) in [(Deed::Hang, 64), (Deed::Reset, 100), (Deed::Close, 100)] {
        let mirror = Endpoint::start(move |_| vec![deed.clone()]).await;
        let leeboard = shop(&primary, &mirror, "timeout: 10s").await;
        let mut wire = leeboard.dial().await;
        let watch = Stopwatch::start();
        for _ in 0..100 {
            wire.send(post("/", "", "body")).await.unwrap();
            assert_eq!(wire.response().await.unwrap().text(), "primary");
        }
        assert!(watch.read() < Duration::from_secs(5), "100 requests took {:?}", watch.read());
        mirror.reached(reached).await;
        let dropped = 100.0 - reached as f64;
        if dropped > 0.0 {
            leeboard.metric_becomes("leeboard_mirrors_total", &["outcome=\"dropped\""], dropped).await;
        }
    }
    let mut gone = Endpoint::named("gone").await;
    gone.stop().await;
    let leeboard = shop(&primary, &gone, "timeout: 10s").await;
    assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
    leeboard.metric_becomes("leeboard_mirrors_total", &["outcome=\"failed\""], 1.0).await;
}

#[tokio::test]
async fn a_mirror_that_does_not_read_does_not_stop_an_upload() {
    let primary = Endpoint::named("primary").await;
    let mirror = Endpoint::raw(|wire, _| async move {
        let _open = wire;
        std::future::pending::<()>().await;
    })
    .await;
    let leeboard = shop(&primary, &mirror, "timeout: 20s").await;
    let body = "x".repeat(16 << 20);
    let answer = leeboard.ask(post("/", "", &body)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(primary.seen()[0].message.body.len(), 16 << 20);
    leeboard.metric_becomes("leeboard_mirrors_total", &["outcome=\"dropped\""], 1.0).await;
    leeboard.at_rest("outbound|80||copy.test").await;
}

#[tokio::test]
async fn only_a_share_is_copied_and_retries_are_not() {
    let (primary, mirror) = (Endpoint::named("primary").await, Endpoint::named("mirror").await);
    let leeboard = shop(&primary, &mirror, "mirrorPercentage: {value: 25}").await;
    let mut wire = leeboard.dial().await;
    for _ in 0..600 {
        wire.send(get("/", "")).await.unwrap();
        wire.response().await.unwrap();
    }
    leeboard.at_rest("outbound|80||copy.test").await;
    // 25 % of 600 is 150 with a deviation of 10.6; eight of them miss once in 10¹⁵ runs.
    assert!((65..=235).contains(&mirror.hits()), "{} of 600 were copied", mirror.hits());

    let flaky = Endpoint::start(|asked| if asked.number < 3 { say(503, "") } else { say(200, "") }).await;
    let mirror = Endpoint::named("mirror").await;
    let leeboard = shop(&flaky, &mirror, "retries: {attempts: 3, retryOn: 5xx, backoff: 1ms}").await;
    assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
    leeboard.metric_becomes("leeboard_mirrors_total", &["outcome=\"answered\""], 1.0).await;
    assert_eq!((flaky.hits(), mirror.hits()), (3, 1));
}
