//! The store, told of files and addresses that exist only here.

use std::cell::RefCell;

use leeboard_policy::cluster::Address;
use leeboard_policy::outlier::OutlierEvent;

use super::*;

#[derive(Default)]
struct Heard(RefCell<Vec<bool>>);

impl Audience for Heard {
    fn outlier(&self, _: &OutlierEvent) {}
    fn reloaded(&self, good: bool) {
        self.0.borrow_mut().push(good);
    }
}

const SERVICES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: default}
spec:
  hosts: [web.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: default}
spec:
  hosts: [far.test]
  location: MESH_EXTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
";

fn routes(status: &str, subset: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: default}}
spec:
  hosts: [web.test]
  http:
  - name: first
    match: [{{uri: {{prefix: /gone}}}}]
    directResponse: {{status: {status}}}
  - route: [{{destination: {{host: web.test{subset}}}}}]
"
    )
}

fn reading(files: &[(&str, &str)]) -> Reading {
    Reading { sources: files.iter().map(|(n, t)| Source::new(*n, *t)).collect(), complaints: Vec::new() }
}

fn both(routes: &str) -> Reading {
    reading(&[("services.yaml", SERVICES), ("routes.yaml", routes)])
}

fn open(reading: Reading) -> Result<Store, String> {
    Store::open(&reading, Site::default(), Clock::start())
}

/// What the store's first route of `web.test` answers with.
fn status(store: &Store) -> String {
    let live = store.live.load();
    let host = live.snapshot().host(80, "web.test").expect("web.test is known");
    let action = format!("{:?}", host.routes[0].action);
    let at = action.find("status: ").expect("a direct response") + 8;
    action[at..at + 3].to_owned()
}

#[test]
fn a_good_edit_takes_the_place_of_what_was() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    assert_eq!(status(&store), "410");
    let before = store.live.load().snapshot().version().to_owned();
    store.apply([Update::Files(both(&routes("404", "")))], &heard);
    assert_eq!(status(&store), "404");
    assert_ne!(store.live.load().snapshot().version(), before);
    store.apply([Update::Files(both(&routes("410", "")))], &heard);
    assert_eq!(store.live.load().snapshot().version(), before, "the same files have the same version");
    assert_eq!(*heard.0.borrow(), [true, true]);
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_until_it_is_mended() {
    for broken in [routes("9999", ""), routes("[410", ""), routes("410", ", subset: {}")] {
        let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
        store.apply([Update::Files(both(&broken))], &heard);
        assert_eq!(status(&store), "410", "{broken}");
        let report = store.report.load_full();
        assert!(report.diagnostics.iter().any(|d| d.severity == Severity::Error), "{broken}");
        assert_eq!(report.kept.iter().map(|k| &**k).collect::<Vec<_>>(), ["VirtualService default/web"], "{broken}");

        // Broken in another way: still the last good one.
        store.apply([Update::Files(both(&routes("0", "")))], &heard);
        assert_eq!(status(&store), "410");

        store.apply([Update::Files(both(&routes("404", "")))], &heard);
        assert_eq!(status(&store), "404");
        assert!(store.report.load().kept.is_empty());
        assert_eq!(*heard.0.borrow(), [false, false, true]);
    }
}

#[test]
fn an_object_that_is_gone_is_not_kept() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    store.apply([Update::Files(reading(&[("services.yaml", SERVICES)]))], &heard);
    let live = store.live.load();
    assert_eq!(live.snapshot().host(80, "web.test").unwrap().routes.len(), 1, "the service's own route");
}

#[test]
fn errors_at_the_start_are_all_told_and_end_it() {
    let two =
        both(&(routes("9999", "") + "---" + &routes("410", "").replace("web, n", "other, n").replace("410", "0")));
    let Err(text) = open(two) else { panic!("it must not start") };
    assert_eq!(text.matches("error[").count(), 2, "{text}");
    assert!(text.contains("routes.yaml:"), "{text}");
    let mut unreadable = both(&routes("410", ""));
    let spot = leeboard_istio::source::Spot::file(&"lost.yaml".into());
    unreadable.complaints.push(Diagnostic::error(codes::UNREADABLE, &"".into(), &spot, "cannot be read: gone"));
    let Err(text) = open(unreadable) else { panic!("it must not start") };
    assert!(text.contains("lost.yaml"), "{text}");
}

#[test]
fn what_is_missing_elsewhere_serves_as_istio_does() {
    let rule = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web.test, subsets: [{name: v1, labels: {version: v1}}]}
---";
    let text = format!("{rule}{}", routes("410", ", subset: v9"));
    let store = open(both(&text)).unwrap();
    assert_eq!(status(&store), "410");
    assert!(store.report.load().diagnostics.iter().any(|d| d.code == codes::UNKNOWN_SUBSET));
}

fn endpoints(store: &Store, cluster: &str) -> Vec<Address> {
    let live = store.live.load();
    let id = live.snapshot().cluster_named(cluster).unwrap();
    live.cluster(id).endpoints().iter().map(|e| e.address().clone()).collect()
}

#[test]
fn addresses_move_endpoints_and_survive_reloads_while_they_are_wanted() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    assert_eq!(*store.wanted().borrow(), [Wanted { name: "far.test".into(), ordered: false }]);
    assert!(endpoints(&store, "outbound|80||far.test").is_empty());
    let say = |list: &[&str]| Update::Resolved {
        name: "far.test".into(),
        addresses: list.iter().map(|a| a.parse().unwrap()).collect(),
    };
    let at = |list: &[&str]| -> Vec<_> { list.iter().map(|a| Address::Socket(a.parse().unwrap())).collect() };
    store.apply([say(&["192.0.2.1"]), say(&["192.0.2.1", "192.0.2.2"])], &heard);
    assert_eq!(endpoints(&store, "outbound|80||far.test"), at(&["192.0.2.1:80", "192.0.2.2:80"]));
    store.apply([Update::Files(both(&routes("404", "")))], &heard);
    assert_eq!(endpoints(&store, "outbound|80||far.test").len(), 2);
    store.apply([say(&[])], &heard);
    assert!(endpoints(&store, "outbound|80||far.test").is_empty());

    store.apply([say(&["192.0.2.1"])], &heard);
    store.apply([Update::Files(reading(&[("routes.yaml", "")]))], &heard);
    assert!(store.wanted().borrow().is_empty());
    assert!(store.resolved.is_empty(), "nobody wants it any more");
}

#[test]
fn a_forced_look_that_finds_nothing_new_is_noted() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    let (before, live) = (store.report.load().read, store.live.load_full());
    store.apply([Update::Unchanged, Update::Settled], &heard);
    assert!(store.report.load().read >= before);
    assert!(Arc::ptr_eq(&live, &store.live.load_full()), "nothing was made anew");
    assert!(*store.settled().borrow());
    assert_eq!(*heard.0.borrow(), [true]);
}

#[tokio::test(start_paused = true)]
async fn ejected_endpoints_return_without_traffic() {
    struct Returned(mpsc::UnboundedSender<OutlierEvent>);
    impl Audience for Returned {
        fn outlier(&self, event: &OutlierEvent) {
            self.0.send(event.clone()).unwrap();
        }
        fn reloaded(&self, _: bool) {}
    }
    let rule = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec:
  host: web.test
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3s, maxEjectionPercent: 100}
";
    let store = open(both(rule)).unwrap();
    let (clock, live) = (store.clock, store.live());
    let cluster = live.load().cluster(live.load().snapshot().cluster_named("outbound|80||web.test").unwrap()).clone();
    let endpoint = cluster.endpoints()[0].clone();
    let ejected = cluster.score(&endpoint, leeboard_policy::outlier::Score::Status(500), clock.now());
    assert!(ejected.is_some() && endpoint.ejected());
    let (sender, mut events) = mpsc::unbounded_channel();
    let (_updates, updated) = mpsc::channel(1);
    let task = tokio::spawn(async move { store.run(updated, &Returned(sender)).await });
    let event = events.recv().await.unwrap();
    assert!(!endpoint.ejected(), "{event:?}");
    let took = clock.now() - Time(0);
    assert!((3_000..=4_100).contains(&took.as_millis()), "{took}");
    task.abort();
}
