//! Outlier detection as callers and operators see it: who gets traffic, and what the pages say at each step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value as Json;

use crate::config::{policy, service};
use crate::endpoint::{Endpoint, Gate, say};
use crate::message::{get, response};
use crate::patience::{Stopwatch, soon, until};
use crate::program::Leeboard;

const CLUSTER: &str = "outbound|80||shop.test";

/// Two good endpoints and one that fails while the switch is on.
struct Shop {
    bad: Endpoint,
    good: [Endpoint; 2],
    failing: Arc<AtomicBool>,
    leeboard: Leeboard,
}

impl Shop {
    async fn open(outliers: &str) -> Self {
        let failing = Arc::new(AtomicBool::new(true));
        let fails = failing.clone();
        let bad =
            Endpoint::start(move |_| if fails.load(Ordering::SeqCst) { say(500, "") } else { say(200, "") }).await;
        let good = [Endpoint::named("a").await, Endpoint::named("b").await];
        let endpoints = [(bad.address, "v1"), (good[0].address, "v1"), (good[1].address, "v1")];
        let rules = format!("{{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {outliers}}}");
        let config = service("shop.test", "HTTP", &endpoints) + &policy("shop.test", &rules);
        let leeboard = Leeboard::start(&config).await;
        Self { bad, good, failing, leeboard }
    }

    /// So many requests, one after the other; how many were answered 500.
    async fn buy(&self, times: usize) -> usize {
        let mut wire = self.leeboard.dial().await;
        let mut failed = 0;
        for _ in 0..times {
            wire.send(get("/", "")).await.unwrap();
            failed += usize::from(wire.response().await.unwrap().status() == 500);
        }
        failed
    }

    /// What `/clusters` says of the bad endpoint: whether it is out, and how many times it has been.
    async fn standing(&self) -> (bool, u64) {
        let status = self.leeboard.cluster(CLUSTER).await;
        let hosts = status["host_statuses"].as_array().unwrap();
        let port = u64::from(self.bad.address.port());
        let bad = |host: &&Json| host["address"]["socket_address"]["port_value"] == port;
        let host = hosts.iter().find(bad).unwrap_or_else(|| panic!("{port} in {status}"));
        let times = host["leeboard"]["ejections"].as_u64().unwrap();
        (host["health_status"]["failed_outlier_check"].as_bool().unwrap(), times)
    }

    async fn gauge(&self) -> Option<f64> {
        let endpoint = format!("endpoint=\"{}\"", self.bad.address);
        self.leeboard.metric("leeboard_endpoint_ejected", &[&endpoint]).await
    }

    async fn returned(&self) {
        until("the endpoint returns", || async { !self.standing().await.0 }).await;
    }
}

#[tokio::test]
async fn a_failing_endpoint_rests_returns_and_rests_for_twice_as_long() {
    let shop =
        Shop::open("{consecutive5xxErrors: 5, interval: 1s, baseEjectionTime: 1s, maxEjectionPercent: 50}").await;
    assert_eq!((shop.standing().await, shop.gauge().await), ((false, 0), Some(0.0)));

    // Every third request fails; the fifth failure is one too many.
    let first = Stopwatch::start();
    assert_eq!(shop.buy(15).await, 5);
    assert_eq!((shop.standing().await, shop.gauge().await), ((true, 1), Some(1.0)));
    let before = shop.bad.hits();
    assert_eq!(shop.buy(30).await, 0, "an ejected endpoint gets nothing");
    assert_eq!(shop.bad.hits(), before);
    shop.returned().await;
    first.check("the first ejection", 1_000);
    assert_eq!(shop.gauge().await, Some(0.0));

    // A sweep without an ejection would make the next one shorter; there is a second until then.
    let second = Stopwatch::start();
    assert_eq!(shop.buy(15).await, 5, "back in turn, it fails five times again");
    assert_eq!(shop.standing().await, (true, 2));
    shop.returned().await;
    second.check("the second ejection", 2_000);

    shop.failing.store(false, Ordering::SeqCst);
    let before = shop.bad.hits();
    assert_eq!(shop.buy(9).await, 0);
    assert_eq!(shop.bad.hits() - before, 3, "a healed endpoint has its share");
    let ejections = ["cause=\"consecutive_5xx\"", "enforced=\"true\""];
    shop.leeboard.metric_becomes("leeboard_ejections_total", &ejections, 2.0).await;
    shop.leeboard.metric_becomes("leeboard_ejection_returns_total", &[], 2.0).await;
    assert!(shop.good.iter().all(|endpoint| endpoint.hits() > 0));
}

#[tokio::test]
async fn by_default_a_third_of_the_endpoints_is_too_many_to_eject() {
    let shop = Shop::open("{consecutive5xxErrors: 5, interval: 50ms, baseEjectionTime: 1s}").await;
    assert_eq!(shop.buy(60).await, 20);
    assert_eq!((shop.standing().await, shop.gauge().await), ((false, 0), Some(0.0)));
    let suppressed = ["cause=\"consecutive_5xx\"", "enforced=\"false\""];
    shop.leeboard.metric_becomes("leeboard_ejections_total", &suppressed, 4.0).await;
}

#[tokio::test]
async fn endpoints_that_cannot_be_reached_are_ejected_too() {
    let mut shop =
        Shop::open("{consecutive5xxErrors: 3, interval: 50ms, baseEjectionTime: 60s, maxEjectionPercent: 50}").await;
    shop.bad.stop().await;
    for turn in 0..30 {
        // The default policy hides a refused connection; each one counts against the endpoint.
        assert_eq!(shop.leeboard.ask(get(&format!("/{turn}"), "")).await.status(), 200);
    }
    assert_eq!(shop.standing().await, (true, 1));
}

#[tokio::test]
async fn an_ejected_endpoint_is_parted_from() {
    let gate = Gate::closed();
    let held = gate.clone();
    let (ended, end) = tokio::sync::mpsc::unbounded_channel();
    // It closes nothing by itself: whatever ends, Leeboard has ended.
    let bad = Endpoint::raw(move |mut wire, connection| {
        let (held, ended) = (held.clone(), ended.clone());
        async move {
            while let Some(asked) = wire.request().await {
                let status = if asked.target() == "/bad" { 500 } else { 200 };
                if asked.target() == "/slow" {
                    held.wait().await;
                }
                if wire.send(response(status, "")).await.is_err() {
                    break;
                }
            }
            let _ = ended.send(connection);
        }
    })
    .await;
    let mut end = end;
    for limits in ["", "connectionPool: {tcp: {maxConnections: 50}}, "] {
        let rules = format!("{{{limits}outlierDetection: {{consecutive5xxErrors: 1, maxEjectionPercent: 100}}}}");
        let config = service("shop.test", "HTTP", &[(bad.address, "v1")]) + &policy("shop.test", &rules);
        let leeboard = Leeboard::start(&config).await;
        let before = bad.connections();
        let mut wires = Vec::new();
        for path in ["/slow", "/", "/bad"] {
            let mut wire = leeboard.dial().await;
            wire.send(get(path, "")).await.unwrap();
            until("the endpoint is connected to", || async { bad.connections() > before + wires.len().min(1) }).await;
            wires.push((path, wire));
            if path == "/" {
                assert_eq!(soon("an answer", wires[1].1.response()).await.unwrap().status(), 200);
            }
        }
        assert_eq!(soon("an answer", wires[2].1.response()).await.unwrap().status(), 500);
        // The idle one ends at once, long before its hour; the one in use when its request is over.
        let idle = soon("the idle connection's end", end.recv()).await.unwrap();
        assert_eq!(idle, before + 2, "{limits}");
        gate.pass();
        assert_eq!(soon("the slow answer", wires[0].1.response()).await.unwrap().status(), 200);
        assert_eq!(soon("the other's end", end.recv()).await.unwrap(), before + 1, "{limits}");
    }
}

#[tokio::test]
async fn who_is_left_is_used_though_it_is_ejected_unless_all_may_be() {
    let sick =
        Endpoint::start(|asked| if asked.message.target() == "/bad" { say(500, "") } else { say(200, "") }).await;
    let well = Endpoint::named("well").await;
    for (most, answered) in [(50, 200), (100, 503)] {
        let rules = format!(
            "{{loadBalancer: {{simple: ROUND_ROBIN}}, \
             outlierDetection: {{consecutive5xxErrors: 1, baseEjectionTime: 60s, maxEjectionPercent: {most}}}}}"
        );
        let both = service("shop.test", "HTTP", &[(sick.address, "v1"), (well.address, "v1")]);
        let alone = service("shop.test", "HTTP", &[(sick.address, "v1")]);
        let leeboard = Leeboard::start(&(both.clone() + &policy("shop.test", &rules))).await;
        until("it is ejected", || async {
            leeboard.ask(get("/bad", "")).await;
            leeboard.metric("leeboard_endpoint_ejected", &[&format!("\"{}\"", sick.address)]).await == Some(1.0)
        })
        .await;
        let before = sick.hits();
        for _ in 0..4 {
            assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
        }
        assert_eq!(sick.hits(), before, "while there is another it rests");

        // As when pods come and go: the other leaves.
        let hosts = async || leeboard.cluster(CLUSTER).await["host_statuses"].as_array().map(Vec::len);
        leeboard.edit(&(alone + &policy("shop.test", &rules)));
        until("the other leaves", || async { hosts().await == Some(1) }).await;
        for _ in 0..4 {
            assert_eq!(leeboard.ask(get("/", "")).await.status(), answered, "at {most} %");
        }
        let before = sick.hits();
        leeboard.edit(&(both + &policy("shop.test", &rules)));
        until("there is another", || async { hosts().await == Some(2) }).await;
        for _ in 0..4 {
            assert_eq!(leeboard.ask(get("/", "")).await.status(), 200);
        }
        assert_eq!(sick.hits(), before, "its time is not over");
    }
}
