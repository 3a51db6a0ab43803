//! Faults made on purpose, and how the access log tells them from real ones.

use crate::config::{routes, service};
use crate::endpoint::Endpoint;
use crate::message::get;
use crate::patience::Stopwatch;
use crate::program::Leeboard;

const RULES: &str = r#"[
  {name: delay, match: [{uri: {prefix: /delay}}], fault: {delay: {fixedDelay: 200ms, percentage: {value: 100}}}, timeout: 100ms, route: [{destination: {host: shop.test}}]},
  {name: abort, match: [{uri: {prefix: /abort}}], fault: {abort: {httpStatus: 503, percentage: {value: 100}}},
   retries: {attempts: 3, retryOn: 5xx}, route: [{destination: {host: shop.test}}]},
  {name: both, match: [{uri: {prefix: /both}}], fault: {delay: {fixedDelay: 200ms, percentage: {value: 100}}, abort: {httpStatus: 418, percentage: {value: 100}}},
   route: [{destination: {host: shop.test}}]},
  {name: grpc, match: [{uri: {prefix: /grpc}}], fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}, route: [{destination: {host: shop.test}}]},
  {name: half, match: [{uri: {prefix: /half}}], fault: {delay: {fixedDelay: 1ms, percentage: {value: 50}}, abort: {httpStatus: 503, percentage: {value: 50}}},
   route: [{destination: {host: shop.test}}]},
  {name: never, match: [{uri: {prefix: /never}}], fault: {delay: {fixedDelay: 5s}, abort: {httpStatus: 503}}, route: [{destination: {host: shop.test}}]}
]"#;

async fn shop(endpoint: &Endpoint) -> Leeboard {
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &routes("shop.test", RULES);
    Leeboard::start(&config).await
}

#[tokio::test]
async fn faults_are_made_and_flagged() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint).await;
    #[rustfmt::skip]
    let table: &[(&str, u16, &str, u64, &str, usize)] = &[
        // path, status, body, milliseconds at least, flags, requests at the endpoint
        ("/delay", 200, "app", 200, "DI", 1),
        ("/abort", 503, "fault filter abort", 0, "FI", 0),
        ("/both", 418, "fault filter abort", 200, "DI,FI", 0),
        ("/never", 200, "app", 0, "-", 1),
    ];
    for (path, status, body, least, flags, hits) in table {
        let (before, watch) = (endpoint.hits(), Stopwatch::start());
        let answer = leeboard.ask(get(path, "")).await;
        watch.check(path, *least);
        assert_eq!(
            (answer.status(), answer.text().as_str(), endpoint.hits() - before),
            (*status, *body, *hits),
            "{path}"
        );
        let record = leeboard.record(path).await;
        assert_eq!(record["response_flags"], *flags, "{path}");
        let details = if *hits == 0 { "fault_filter_abort" } else { "via_upstream" };
        assert_eq!(record["response_code_details"], details, "{path}");
    }
    for (labels, count) in [(["route=\"abort\"", "kind=\"abort\""], 1.0), (["route=\"both\"", "kind=\"delay\""], 1.0)] {
        leeboard.metric_becomes("leeboard_faults_total", &labels, count).await;
    }
}

#[tokio::test]
async fn grpc_callers_are_told_in_their_own_words() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint).await;
    for (path, status) in [("/abort/grpc", "14"), ("/grpc", "8")] {
        let answer = leeboard.ask(get(path, "Content-Type: application/grpc\r\n")).await;
        assert_eq!((answer.status(), answer.header("grpc-status"), answer.text().as_str()), (200, Some(status), ""));
        assert_eq!(answer.header("grpc-message"), Some("fault filter abort"));
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
    }
    assert_eq!(endpoint.hits(), 0);
}

#[tokio::test]
async fn half_of_half_is_a_quarter() {
    let endpoint = Endpoint::named("app").await;
    let leeboard = shop(&endpoint).await;
    let mut wire = leeboard.dial().await;
    for _ in 0..1_200 {
        wire.send(get("/half", "")).await.unwrap();
        wire.response().await.unwrap();
    }
    let records = leeboard.records("/half", 1_200).await;
    for flags in ["DI,FI", "DI", "FI", "-"] {
        let count = records.iter().filter(|record| record["response_flags"] == flags).count();
        // A quarter of 1,200 is 300 with a deviation of 15; eight of them miss once in 10¹⁵ runs.
        assert!((180..=420).contains(&count), "{flags}: {count} of 1,200");
    }
}

#[tokio::test]
async fn attempts_can_meet_them_and_be_retried() {
    let endpoint = Endpoint::named("app").await;
    let rules = r#"[{name: all, match: [{uri: {prefix: /all}}], fault: {abort: {httpStatus: 503, percentage: {value: 100}}},
       retries: {attempts: 2, retryOn: 5xx, backoff: 1ms}, route: [{destination: {host: shop.test}}]},
      {name: half, fault: {abort: {httpStatus: 503, percentage: {value: 50}}}, retries: {attempts: 30, retryOn: 5xx, backoff: 1ms},
       route: [{destination: {host: shop.test}}]}]"#;
    let rules = routes("shop.test", rules);
    let noted = rules.replacen("metadata: {", "metadata: {annotations: {leeboard.dev/fault-scope: attempt}, ", 1);
    assert_ne!(noted, rules);
    let config = service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &noted;
    let leeboard = Leeboard::start(&config).await;
    let answer = leeboard.ask(get("/all", "")).await;
    assert_eq!((answer.status(), answer.text().as_str(), endpoint.hits()), (503, "fault filter abort", 0));
    assert_eq!(leeboard.record("/all").await["response_flags"], "FI,URX");
    leeboard.metric_becomes("leeboard_faults_total", &["route=\"all\"", "kind=\"abort\""], 3.0).await;
    for n in 1..=20 {
        let answer = leeboard.ask(crate::message::post("/half", "", "a body that is sent once")).await;
        assert_eq!((answer.status(), endpoint.hits()), (200, n));
    }
}

#[tokio::test]
async fn timeouts_of_attempts_answer_delays_within_them() {
    let endpoint = Endpoint::named("app").await;
    let rules = r#"[{name: slow, fault: {delay: {fixedDelay: 60s, percentage: {value: 100}}}, timeout: 50s,
       retries: {attempts: 2, perTryTimeout: 20ms, retryOn: 5xx, backoff: 1ms}, route: [{destination: {host: shop.test}}]}]"#;
    let rules = routes("shop.test", rules).replacen(
        "metadata: {",
        "metadata: {annotations: {leeboard.dev/fault-scope: attempt}, ",
        1,
    );
    let leeboard = Leeboard::start(&(service("shop.test", "HTTP", &[(endpoint.address, "v1")]) + &rules)).await;
    for request in [get("/get", ""), crate::message::post("/post", "", "a body that is never read")] {
        assert_eq!((leeboard.ask(request).await.status(), endpoint.hits()), (504, 0));
    }
    for path in ["/get", "/post"] {
        let record = leeboard.record(path).await;
        assert_eq!(record["response_flags"], "DI,URX,UT", "{record}");
        assert!(record["duration"].as_u64().is_some_and(|took| took < 10_000), "{record}");
    }
}
