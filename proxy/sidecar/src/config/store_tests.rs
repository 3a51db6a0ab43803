//! The store, with scripted files and addresses.

use std::cell::RefCell;

use leeboard_istio::{codes, diagnostic::Diagnostic, source::Source};
use leeboard_policy::{cluster::Address, outlier::OutlierEvent};

use super::*;

#[derive(Default)]
struct Heard(RefCell<Vec<bool>>);

impl ConfigObserver for Heard {
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

fn reading(files: &[(&str, &str)]) -> LoadedFiles {
    LoadedFiles { sources: files.iter().map(|(n, t)| Source::new(*n, *t)).collect(), complaints: Vec::new() }
}

fn both(routes: &str) -> LoadedFiles {
    reading(&[("services.yaml", SERVICES), ("routes.yaml", routes)])
}

fn open_as(first_load: &FirstLoad, reading: LoadedFiles) -> Result<Store, String> {
    let first_load = FirstLoad { grace: leeboard_istio::grace::DEFAULT, ..first_load.clone() };
    Store::open(reading, Site::default(), &first_load, Clock::start())
}

fn open(reading: LoadedFiles) -> Result<Store, String> {
    open_as(&FirstLoad::default(), reading)
}

/// Applies updates, and waits for what is read beside.
fn apply(store: &mut Store, updates: impl IntoIterator<Item = Update>, heard: &Heard) {
    store.apply(updates, heard);
    while let Some(RunningLoad { news, read, candidate }) = store.under_way.take() {
        let done = candidate.blocking_recv().expect("reading does not panic");
        store.take((news, read, Some(done)), heard);
    }
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
    apply(&mut store, [Update::Files(both(&routes("404", "")))], &heard);
    assert_eq!(status(&store), "404");
    assert_ne!(store.live.load().snapshot().version(), before);
    apply(&mut store, [Update::Files(both(&routes("410", "")))], &heard);
    assert_eq!(store.live.load().snapshot().version(), before, "the same files have the same version");
    assert_eq!(*heard.0.borrow(), [true, true]);
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_until_it_is_mended() {
    for broken in [routes("9999", ""), routes("[410", ""), routes("410", ", subset: {}")] {
        let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
        apply(&mut store, [Update::Files(both(&broken))], &heard);
        assert_eq!(status(&store), "410", "{broken}");
        let report = store.report.load_full();
        assert!(report.diagnostics.iter().any(|d| d.severity == Severity::Error), "{broken}");
        assert_eq!(report.kept.iter().map(|k| &**k).collect::<Vec<_>>(), ["VirtualService default/web"], "{broken}");

        // Broken in another way: still the last good one.
        apply(&mut store, [Update::Files(both(&routes("0", "")))], &heard);
        assert_eq!(status(&store), "410");

        apply(&mut store, [Update::Files(both(&routes("404", "")))], &heard);
        assert_eq!(status(&store), "404");
        assert!(store.report.load().kept.is_empty());
        assert_eq!(*heard.0.borrow(), [false, false, true]);
    }
}

#[test]
fn an_object_that_is_gone_is_not_kept() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    apply(&mut store, [Update::Files(reading(&[("services.yaml", SERVICES)]))], &heard);
    let live = store.live.load();
    assert_eq!(live.snapshot().host(80, "web.test").unwrap().routes.len(), 1, "the service's own route");
}

/// A configuration of which a file could not be read.
fn with_lost(mut reading: LoadedFiles, file: &str) -> LoadedFiles {
    let spot = leeboard_istio::source::Spot::file(&file.into());
    reading.complaints.push(Diagnostic::error(codes::UNREADABLE, &"".into(), &spot, "cannot be read: gone"));
    reading
}

fn two_broken() -> String {
    routes("9999", "") + "---" + &routes("410", "").replace("web, n", "other, n").replace("410", "0")
}

const BROKEN_MESH: &str = "kind: MeshConfig\nmetadata: {name: mesh}\noutboundTrafficPolicy: {mode: SOME}\n";

#[test]
fn what_ends_a_start_tells_all_errors() {
    let strict = FirstLoad { strict: true, ..FirstLoad::default() };
    let with_mesh = FirstLoad { mesh: Some("mesh.yaml".into()), ..FirstLoad::default() };
    let plain = FirstLoad::default();
    let only = |text: &str| reading(&[("routes.yaml", text)]);
    for (name, first_load, reading, errors) in [
        ("strict: objects", &strict, both(&two_broken()), 2),
        ("strict: a file that is lost", &strict, with_lost(both(&routes("410", "")), "lost.yaml"), 1),
        ("strict: only compiling finds it", &strict, both(&routes("410", ", subset: {}")), 1),
        ("nothing is left", &plain, only(&two_broken()), 2),
        ("nothing can be parsed", &plain, only("kind: [\n"), 1),
        ("nothing can be read", &plain, with_lost(only(""), "lost.yaml"), 1),
        ("the mesh's own settings", &plain, both(BROKEN_MESH), 1),
        ("the mesh's own file is lost", &with_mesh, with_lost(both(""), "mesh.yaml"), 1),
    ] {
        let Err(text) = open_as(first_load, reading) else { panic!("{name}: it must not start") };
        assert_eq!(text.matches("error[").count(), errors, "{name}: {text}");
    }
}

#[test]
fn a_start_leaves_out_what_is_broken_and_serves_the_rest() {
    let left = |store: &Store| store.report.load().left_out.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (name, reading, left_out) in [
        ("objects", both(&two_broken()), &["VirtualService default/other", "VirtualService default/web"][..]),
        ("text", both("apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: {\n"), &[]),
        ("only compiling finds it", both(&routes("410", ", subset: {}")), &["VirtualService default/web"]),
        ("a file", with_lost(both(""), "lost.yaml"), &[]),
        ("a settings file of another name", with_lost(both(""), "mesh.yaml"), &[]),
    ] {
        let mut store = open(reading).unwrap_or_else(|text| panic!("{name}: {text}"));
        let routes_of = |store: &Store| store.live.load().snapshot().host(80, "web.test").unwrap().routes.len();
        assert_eq!(routes_of(&store), 1, "{name}: the service's own route");
        assert_eq!(left(&store), left_out, "{name}");
        assert!(count(&store.report.load().diagnostics, Severity::Error) > 0, "{name}: it is told");

        let heard = Heard::default();
        apply(&mut store, [Update::Files(both(&routes("404", "")))], &heard);
        assert_eq!((status(&store), left(&store)), ("404".into(), Vec::<String>::new()), "{name}: mended");
        assert_eq!(*heard.0.borrow(), [true], "{name}");
    }
}

#[test]
fn an_object_that_comes_broken_is_left_out_until_it_is_mended() {
    let (mut store, heard) = (open(both("")).unwrap(), Heard::default());
    for (text, left_out) in [(routes("9999", ""), 1), (routes("404", ""), 0), (routes("9999", ""), 0)] {
        apply(&mut store, [Update::Files(both(&text))], &heard);
        assert_eq!(store.report.load().left_out.len(), left_out, "{text}");
    }
    assert_eq!(store.report.load().kept.len(), 1, "of what was good once the last good version stays");
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
        asked: Time(0),
    };
    let at = |list: &[&str]| -> Vec<_> { list.iter().map(|a| Address::Socket(a.parse().unwrap())).collect() };
    apply(&mut store, [say(&["192.0.2.1"]), say(&["192.0.2.1", "192.0.2.2"])], &heard);
    assert_eq!(endpoints(&store, "outbound|80||far.test"), at(&["192.0.2.1:80", "192.0.2.2:80"]));
    apply(&mut store, [Update::Files(both(&routes("404", "")))], &heard);
    assert_eq!(endpoints(&store, "outbound|80||far.test").len(), 2);
    apply(&mut store, [say(&[])], &heard);
    assert!(endpoints(&store, "outbound|80||far.test").is_empty());

    apply(&mut store, [say(&["192.0.2.1"])], &heard);
    apply(&mut store, [Update::Files(reading(&[("routes.yaml", "")]))], &heard);
    assert!(store.wanted().borrow().is_empty());
    assert!(store.resolved.is_empty(), "nobody wants it any more");
}

#[test]
fn an_answer_that_names_a_doubted_address_again_makes_nothing_anew() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    let say = |asked: u64| Update::Resolved {
        name: "far.test".into(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        asked: Time(asked),
    };
    apply(&mut store, [say(1)], &heard);
    let live = store.live.load_full();
    let far = live.cluster(live.snapshot().cluster_named("outbound|80||far.test").unwrap());
    far.doubt(&far.endpoints()[0], Time(5));
    for (asked, doubted) in [(4, true), (6, false)] {
        apply(&mut store, [say(asked)], &heard);
        assert_eq!(far.endpoints()[0].doubted(), doubted, "asked at {asked}");
        assert!(Arc::ptr_eq(&live, &store.live.load_full()));
    }
}

#[test]
fn a_forced_look_that_finds_nothing_new_is_noted() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    let (before, live) = (store.report.load().read, store.live.load_full());
    apply(&mut store, [Update::Unchanged, Update::Settled], &heard);
    assert!(store.report.load().read >= before);
    assert!(Arc::ptr_eq(&live, &store.live.load_full()), "nothing was made anew");
    assert!(*store.settled().borrow());
    assert_eq!(*heard.0.borrow(), [true]);
}

#[tokio::test(start_paused = true)]
async fn ejected_endpoints_return_without_traffic() {
    struct Returned(mpsc::UnboundedSender<OutlierEvent>);
    impl ConfigObserver for Returned {
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

const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web.test, subsets: [{name: v1}]}
";

/// The services, a rule with a subset, and a route to a subset.
fn three(status: &str, routed: &str, defined: &str) -> LoadedFiles {
    let rule = RULE.replace("name: v1", &format!("name: {defined}"));
    reading(&[
        ("services.yaml", SERVICES),
        ("rule.yaml", &rule),
        ("routes.yaml", &routes(status, &format!(", subset: {routed}"))),
    ])
}

/// The cluster that the store's last route of `web.test` leads to; `Err` with its name when it is not there.
fn target(store: &Store) -> Result<String, String> {
    use leeboard_policy::route::{Action, Target};
    let live = store.live.load();
    let host = live.snapshot().host(80, "web.test").expect("web.test is known");
    let Action::Forward(forward) = &host.routes[host.routes.len() - 1].action else { panic!("a route") };
    match &forward.destinations[0].cluster {
        Target::Cluster(id) => Ok(live.snapshot().cluster(*id).name.to_string()),
        Target::Unknown(name) => Err(name.to_string()),
    }
}

/// What waits, and whether the log and the report have errors.
fn waiting(store: &Store) -> (Vec<String>, bool) {
    let report = store.report.load();
    let told = report.diagnostics.iter().filter(|d| d.code == codes::WAITING).map(|d| d.resource.to_string());
    let waiting: Vec<String> = report.waiting.iter().map(ToString::to_string).collect();
    assert_eq!(told.collect::<Vec<_>>(), waiting, "each is told of");
    (waiting, count(&report.diagnostics, Severity::Error) > 0)
}

const V1: &str = "outbound|80|v1|web.test";
const V2: &str = "outbound|80|v2|web.test";

#[test]
fn whichever_half_of_an_edit_comes_first_waits_for_the_other() {
    for (first, waits) in [(("v2", "v1"), "VirtualService default/web"), (("v1", "v2"), "DestinationRule default/web")]
    {
        let (mut store, heard) = (open(three("410", "v1", "v1")).unwrap(), Heard::default());
        let before = store.live.load().snapshot().version().to_owned();
        apply(&mut store, [Update::Files(three("410", first.0, first.1))], &heard);
        assert_eq!((target(&store), waiting(&store)), (Ok(V1.into()), (vec![waits.into()], false)));
        assert_ne!(store.live.load().snapshot().version(), before);
        assert!(store.due.is_some());
        // What has nothing to do with it takes effect meanwhile, and what waits goes on waiting.
        let mut more = three("410", first.0, first.1);
        more.sources[0].text = SERVICES.replace("127.0.0.1", "127.0.0.2").into();
        apply(&mut store, [Update::Files(more)], &heard);
        assert_eq!(endpoints(&store, V1), [Address::Socket("127.0.0.2:80".parse().unwrap())]);
        assert_eq!(waiting(&store).0, [waits]);
        apply(&mut store, [Update::Files(three("410", "v2", "v2"))], &heard);
        assert_eq!((target(&store), waiting(&store)), (Ok(V2.into()), (vec![], false)));
        assert_eq!(store.due, None);
        assert_eq!(*heard.0.borrow(), [true, true, true]);
    }
}

#[test]
fn a_waiting_object_that_is_broken_stays_as_it_was() {
    let (mut store, heard) = (open(three("410", "v1", "v1")).unwrap(), Heard::default());
    apply(&mut store, [Update::Files(three("404", "v2", "v1"))], &heard);
    apply(&mut store, [Update::Files(three("9999", "v2", "v1"))], &heard);
    assert_eq!((status(&store), target(&store), waiting(&store)), ("410".into(), Ok(V1.into()), (vec![], true)));
    assert_eq!(store.report.load().kept.len(), 1);
    apply(&mut store, [Update::Files(three("404", "v2", "v2"))], &heard);
    assert_eq!((status(&store), target(&store), waiting(&store)), ("404".into(), Ok(V2.into()), (vec![], false)));
}

/// Waits for what is read beside, with time standing still.
async fn read(store: &mut Store, heard: &Heard) {
    while store.under_way.is_some() {
        let done = finished(&mut store.under_way).await;
        store.take(done, heard);
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_in_time_is_not_waited_for() {
    let (mut store, heard) = (open(three("410", "v1", "v1")).unwrap(), Heard::default());
    let second = std::time::Duration::from_secs(1);
    store.apply([Update::Files(three("404", "v2", "v1"))], &heard);
    read(&mut store, &heard).await;
    let (due, version) = (store.due().unwrap(), store.live.load().snapshot().version().to_owned());
    assert_eq!(due, store.clock.now() + Span::from_secs(10));
    let loaded = store.report.load().read;

    tokio::time::advance(9 * second).await;
    store.wait_no_longer(&heard);
    assert!(store.under_way.is_none(), "not yet");
    tokio::time::advance(second).await;
    store.wait_no_longer(&heard);
    read(&mut store, &heard).await;
    assert_eq!((status(&store), target(&store)), ("404".into(), Err(V2.into())));
    assert_eq!((waiting(&store), store.due()), ((vec![], true), None));
    assert_ne!(store.live.load().snapshot().version(), version, "it is another configuration");
    let report = store.report.load_full();
    assert!(report.diagnostics.iter().any(|d| d.code == codes::UNKNOWN_SUBSET));
    assert_eq!((report.read, &*heard.0.borrow()), (loaded, &vec![true]), "nothing new was read");

    // What dangles by now does not hold up other edits.
    store.apply([Update::Files(three("410", "v2", "v1"))], &heard);
    read(&mut store, &heard).await;
    assert_eq!((status(&store), store.due()), ("410".into(), None));
}

#[test]
fn nobody_waits_at_the_start() {
    let store = open(three("410", "v2", "v1")).map(|store| (target(&store), store.due)).ok();
    assert_eq!(store, Some((Err(V2.into()), None)));
}

#[test]
fn a_reading_that_panics_leaves_everything_as_it_is() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    let live = store.live.load_full();
    store.take((true, store.clock.wall(), None), &heard);
    assert!(Arc::ptr_eq(&live, &store.live.load_full()));
    apply(&mut store, [Update::Files(both(&routes("404", "")))], &heard);
    assert_eq!(status(&store), "404");
}

#[test]
fn addresses_are_taken_up_while_files_are_read_and_the_last_files_win() {
    let (mut store, heard) = (open(both(&routes("410", ""))).unwrap(), Heard::default());
    store.apply([Update::Files(both(&routes("404", "")))], &heard);
    let resolved =
        Update::Resolved { name: "far.test".into(), addresses: vec!["192.0.2.1".parse().unwrap()], asked: Time(0) };
    store.apply([Update::Files(both(&routes("403", ""))), resolved, Update::Files(both(&routes("402", "")))], &heard);
    assert_eq!(endpoints(&store, "outbound|80||far.test").len(), 1, "at once");
    assert_eq!(status(&store), "410", "nothing was read yet");
    apply(&mut store, [Update::Unchanged], &heard);
    assert_eq!((status(&store), endpoints(&store, "outbound|80||far.test").len()), ("402".into(), 1));
    assert_eq!(*heard.0.borrow(), [true, true, true], "the first, the last, and that it was asked for");
}

/// A configuration in which `/gone` is answered with a status and the rest goes to a name that DNS knows.
fn far(status: &str, names: &[&str]) -> LoadedFiles {
    let entries = names
        .iter()
        .map(|name| SERVICES.split("---").nth(1).unwrap().replace("far", &name[..1]).replace("f.test", name));
    let entries: Vec<String> = entries.collect();
    reading(&[
        ("a.yaml", &SERVICES.replace("DNS", "NONE")),
        ("b.yaml", &entries.join("---")),
        ("c.yaml", &routes(status, "")),
    ])
}

#[tokio::test(start_paused = true)]
async fn a_configuration_with_new_names_waits_until_each_has_been_asked_for() {
    let (mut store, heard) = (open(far("410", &["a.test"])).unwrap(), Heard::default());
    let say = |name: &str, list: &[&str]| Update::Resolved {
        name: name.into(),
        addresses: list.iter().map(|a| a.parse().unwrap()).collect(),
        asked: Time(0),
    };
    let wanted = |store: &Store| store.wanted().borrow().iter().map(|w| w.name.to_string()).collect::<Vec<_>>();
    let second = std::time::Duration::from_secs(1);
    store.apply([say("a.test", &["192.0.2.1"])], &heard);
    store.apply([Update::Files(far("404", &["b.test", "c.test", "d.test"]))], &heard);
    read(&mut store, &heard).await;
    assert_eq!(wanted(&store), ["a.test", "b.test", "c.test", "d.test"], "old ones stay known");
    assert_eq!((status(&store), heard.0.borrow().len()), ("410".into(), 0));
    store.apply([say("b.test", &["192.0.2.2"]), say("c.test", &[])], &heard);
    assert_eq!(status(&store), "410");
    assert_eq!(endpoints(&store, "outbound|80||a.test").len(), 1);
    store.apply([Update::Unresolved { name: "d.test".into() }], &heard);
    assert_eq!(status(&store), "404");
    assert_eq!(wanted(&store), ["b.test", "c.test", "d.test"]);
    assert_eq!(endpoints(&store, "outbound|80||b.test").len(), 1, "at once");
    assert_eq!(*heard.0.borrow(), [true]);

    // A name that nothing is heard of is waited for only so long, though there are more edits.
    store.apply([Update::Files(far("403", &["e.test"]))], &heard);
    read(&mut store, &heard).await;
    tokio::time::advance(3 * second).await;
    store.apply([Update::Files(far("402", &["b.test", "e.test"]))], &heard);
    read(&mut store, &heard).await;
    assert_eq!(store.due(), Some(store.clock.now() + Span::from_secs(2)));
    tokio::time::advance(2 * second).await;
    store.wait_no_longer(&heard);
    assert_eq!((status(&store), store.due()), ("402".into(), None));
    assert_eq!(endpoints(&store, "outbound|80||b.test").len(), 1);
}
