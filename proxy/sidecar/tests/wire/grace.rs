//! Halves of an edit, one after the other, while callers call: no request is lost, whichever half comes first.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::config::{document, routes, service};
use crate::endpoint::Endpoint;
use crate::message::{Wire, get};
use crate::patience::{Stopwatch, soon, until};
use crate::program::Leeboard;
use crate::soak::mixed;

const TURNS: usize = 200;
/// How often each caller calls.
const PACE: Duration = Duration::from_millis(10);

/// A rule with one subset, which is the endpoint of that version.
fn rule(subset: &str, version: &str) -> String {
    let spec = format!("{{host: shop.test, subsets: [{{name: {subset}, labels: {{version: {version}}}}}]}}");
    document("DestinationRule", "shop", &spec)
}

fn to(subset: &str) -> String {
    routes("shop.test", &format!("[{{route: [{{destination: {{host: shop.test, subset: {subset}}}}}]}}]"))
}

/// Callers that go on until it is over; each answer must be 200.
fn callers(leeboard: &Leeboard, over: &Arc<AtomicBool>) -> JoinSet<usize> {
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let (address, over) = (leeboard.port("outbound"), over.clone());
        callers.spawn(async move {
            let (mut wire, mut count) = (Wire::to(address).await, 0);
            let mut pace = tokio::time::interval(PACE);
            while !over.load(Ordering::SeqCst) {
                wire.send(get("/", "")).await.unwrap();
                let answer = soon("an answer", wire.response()).await.expect("no connection is cut");
                assert_eq!(answer.status(), 200, "{answer:?}");
                count += 1;
                pace.tick().await;
            }
            count
        });
    }
    callers
}

/// Replaces a file of a folder, or makes it, in one step.
fn write(folder: &Path, name: &str, text: &str) {
    let draft = folder.join(".draft");
    std::fs::write(&draft, text).expect("the folder can be written to");
    std::fs::rename(&draft, folder.join(name)).expect("a file can be renamed");
}

/// A program that reads `rule.yaml` and `routes.yaml` in a folder of their own.
async fn start(services: &str, flags: &[&str]) -> (Leeboard, TempDir) {
    let halves = TempDir::new().expect("a folder");
    write(halves.path(), "rule.yaml", &rule("s0", "even"));
    write(halves.path(), "routes.yaml", &to("s0"));
    let folder = halves.path().to_str().expect("a name in letters");
    (Leeboard::with(services, &[&["--workers", "2", "--config", folder], flags].concat()).await, halves)
}

#[tokio::test]
async fn no_request_fails_in_whatever_order_routes_and_rules_are_written() {
    let (even, odd) = (Endpoint::named("even").await, Endpoint::named("odd").await);
    let services = service("shop.test", "HTTP", &[(even.address, "even"), (odd.address, "odd")]);
    let (mut leeboard, folder) = start(&services, &[]).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = callers(&leeboard, &over);
    let (mut waited, mut asked) = (0, 0);
    for turn in 1..=TURNS {
        let (version, other) = if turn % 2 == 0 { ("even", "odd") } else { ("odd", "even") };
        let subset = format!("s{turn}");
        let mut halves = [
            ("rule.yaml", rule(&subset, version), format!("leads to subset s{} of shop.test", turn - 1)),
            ("routes.yaml", to(&subset), format!("waits: subset {subset} of shop.test")),
        ];
        // Either half comes first; and the other at once, or when the first has been read.
        if mixed(turn).is_multiple_of(2) {
            halves.reverse();
        }
        write(folder.path(), halves[0].0, &halves[0].1);
        if mixed(turn + TURNS).is_multiple_of(2) {
            leeboard.logged(&halves[0].2).await;
            assert_eq!(leeboard.ask(get("/", "")).await.text(), other, "turn {turn}: what was in force stays");
            waited += 1;
            asked += 1;
        }
        write(folder.path(), halves[1].0, &halves[1].1);
        until("new requests follow", || {
            asked += 1;
            async { leeboard.ask(get("/", "")).await.text() == version }
        })
        .await;
    }
    over.store(true, Ordering::SeqCst);
    let mut sent = 0;
    while let Some(count) = soon("the callers", callers.join_next()).await {
        sent += count.unwrap();
    }
    assert!(waited > TURNS / 3, "{waited} edits were read in halves");
    assert_eq!(sent + asked, even.hits() + odd.hits());
    leeboard.metric_becomes("leeboard_config_objects_waiting", &[], 0.0).await;
}

#[tokio::test]
async fn what_goes_first_stays_until_its_routes_are_gone() {
    let (even, odd) = (Endpoint::named("even").await, Endpoint::named("odd").await);
    let services = service("shop.test", "HTTP", &[(even.address, "even"), (odd.address, "odd")]);
    let (mut leeboard, folder) = start(&services, &[]).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = callers(&leeboard, &over);
    std::fs::remove_file(folder.path().join("rule.yaml")).unwrap();
    leeboard.logged("leads to subset s0 of shop.test").await;
    leeboard.metric_becomes("leeboard_config_objects_waiting", &[], 1.0).await;
    assert_eq!(odd.hits(), 0);
    // Without its route a rule is missed by nobody, and the service's own route takes its place.
    std::fs::remove_file(folder.path().join("routes.yaml")).unwrap();
    until("traffic goes to both", || async { odd.hits() > 0 }).await;
    over.store(true, Ordering::SeqCst);
    let mut sent = 0;
    while let Some(count) = soon("the callers", callers.join_next()).await {
        sent += count.unwrap();
    }
    assert_eq!(sent, even.hits() + odd.hits());
}

#[tokio::test]
async fn a_route_whose_destination_never_comes_is_applied_in_the_end() {
    let even = Endpoint::named("even").await;
    let services = service("shop.test", "HTTP", &[(even.address, "even")]);
    let (mut leeboard, folder) = start(&services, &["--config-grace", "700ms"]).await;
    let watch = Stopwatch::start();
    write(folder.path(), "routes.yaml", &to("s1"));
    leeboard.logged("VirtualService default/shop.test waits: subset s1 of shop.test is not there").await;
    assert_eq!(leeboard.ask(get("/", "")).await.text(), "even");
    let dump = leeboard.page("/config_dump").await;
    assert!(dump.contains("VirtualService default/shop.test") && dump.contains("\"waiting\""), "{dump}");
    until("the route is applied", || async { leeboard.ask(get("/", "")).await.status() == 503 }).await;
    watch.check("the grace time", 700);
    leeboard.logged("has no subset s1").await;
    leeboard.metric_becomes("leeboard_config_last_reload_successful", &[], 0.0).await;
    write(folder.path(), "rule.yaml", &rule("s1", "even"));
    until("its subset comes", || async { leeboard.ask(get("/", "")).await.status() == 200 }).await;
}
