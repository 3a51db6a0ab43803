//! Which objects stay in force, for how long, and what is said of it.

use super::*;
use crate::compile::Compiled;
use crate::compile::compiled;
use crate::compile::site::Site;
use crate::load;
use crate::source::Source;

fn at(second: u64) -> Time {
    Time(0) + Span::from_secs(second)
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

/// A service `host`, of objects of the same name.
fn service(host: &str) -> String {
    let ports = "[{number: 80, name: http, protocol: HTTP}]";
    let spec = format!("{{hosts: [{host}], ports: {ports}, resolution: STATIC, endpoints: [{{address: 10.0.0.1}}]}}");
    object("ServiceEntry", host, &spec)
}

/// A DestinationRule of `web.test`, which these objects are all about.
fn rule(subsets: &[&str]) -> String {
    rule_of("web", "web.test", subsets)
}

fn rule_of(name: &str, host: &str, subsets: &[&str]) -> String {
    let subsets: Vec<_> = subsets.iter().map(|name| format!("{{name: {name}}}")).collect();
    object("DestinationRule", name, &format!("{{host: '{host}', subsets: [{}]}}", subsets.join(", ")))
}

/// A VirtualService of `web.test` with one rule.
fn routes(subset: &str) -> String {
    routes_of("web", "web.test", &to("web.test", subset))
}

fn routes_of(name: &str, host: &str, rule: &str) -> String {
    object("VirtualService", name, &format!("{{hosts: [{host}], http: [{rule}]}}"))
}

fn to(host: &str, subset: &str) -> String {
    let subset = if subset.is_empty() { String::new() } else { format!(", subset: {subset}") };
    format!("{{route: [{{destination: {{host: {host}{subset}}}}}]}}")
}

fn delegate(rule: &str) -> String {
    object("VirtualService", "part", &format!("{{http: [{rule}]}}"))
}

fn text(parts: &[String]) -> Resources {
    let loaded = load(&[Source::new("f.yaml", parts.concat())]);
    assert_eq!(loaded.errors(), 0, "{:#?}", loaded.diagnostics);
    loaded.resources
}

fn missing(resources: &Resources) -> BTreeSet<Reference> {
    let Compiled { dangling, .. } = compiled(resources, &Site::default());
    dangling.into_iter().map(|dangling| dangling.reference).collect()
}

fn names<'i>(ids: impl IntoIterator<Item = &'i ObjectId>) -> Vec<String> {
    ids.into_iter().map(|id| format!("{}/{}", id.kind.name(), id.name)).collect()
}

/// What is held when a configuration follows another; and nothing but endpoints is missing then that was not before.
fn held(before: &[String], written: &[String]) -> Vec<String> {
    let (before, written) = (text(before), text(written));
    let dangled = missing(&before);
    let held = hold(&before, &written, &Site::default(), &dangled);
    let Compiled { dangling, .. } = compiled(&held.resources, &Site::default());
    let left: Vec<_> =
        dangling.iter().filter(|d| d.lack != Lack::Endpoints && !dangled.contains(&d.reference)).collect();
    assert!(left.is_empty(), "{left:?} {:?}", held.objects);
    names(held.objects.keys())
}

#[test]
fn halves_of_an_edit() {
    let web = || service("web.test");
    let (v1, v2) = (|| routes("v1"), || routes("v2"));
    let mirrored = |host: &str| {
        routes_of(
            "web",
            "web.test",
            &format!("{{route: [{{destination: {{host: web.test}}}}], mirror: {{host: {host}}}}}"),
        )
    };
    let port = |n: u16| to("web.test", "").replace("web.test}", &format!("web.test, port: {{number: {n}}}}}"));
    let on = |n: u16| routes_of("web", "web.test", &port(n));
    let (vs, dr, se) = ("VirtualService/web", "DestinationRule/web", "ServiceEntry/web.test");
    let rows: &[(&str, Vec<String>, Vec<String>, &[&str])] = &[
        ("both at once", vec![web(), rule(&["v1"]), v1()], vec![web(), rule(&["v2"]), v2()], &[]),
        ("the route first", vec![web(), rule(&["v1"]), v1()], vec![web(), rule(&["v1"]), v2()], &[vs]),
        ("the rule first", vec![web(), rule(&["v1"]), v1()], vec![web(), rule(&["v2"]), v1()], &[dr]),
        ("a new route first", vec![web()], vec![web(), v1()], &[vs]),
        ("a new rule first", vec![web()], vec![web(), rule(&["v1"])], &[]),
        ("the rule goes first", vec![web(), rule(&["v1"]), v1()], vec![web(), v1()], &[dr]),
        ("the route goes first", vec![web(), rule(&["v1"]), v1()], vec![web(), rule(&["v1"])], &[]),
        ("both go at once", vec![web(), rule(&["v1"]), v1()], vec![web()], &[]),
        ("the host comes last", vec![web()], vec![web(), routes_of("web", "web.test", &to("new.test", ""))], &[vs]),
        ("the host goes first", vec![web(), v1(), rule(&["v1"])], vec![v1(), rule(&["v1"])], &[se]),
        ("a port comes last", vec![web(), on(80)], vec![web(), on(81)], &[vs]),
        ("a port goes first", vec![web(), on(80)], vec![web().replace("80", "81"), on(80)], &[se]),
        ("a mirror comes last", vec![web()], vec![web(), mirrored("copy.test")], &[vs]),
        (
            "a mirror goes first",
            vec![web(), service("copy.test"), mirrored("copy.test")],
            vec![web(), mirrored("copy.test")],
            &["ServiceEntry/copy.test"],
        ),
        ("both change, and do not fit", vec![web(), rule(&["v1"]), v1()], vec![web(), rule(&["v3"]), v2()], &[vs, dr]),
    ];
    for (what, before, written, expected) in rows {
        assert_eq!(held(before, written), *expected, "{what}");
    }
}

#[test]
fn edits_that_concern_others_too() {
    let web = || service("web.test");
    let (v1, v2) = (|| routes("v1"), || routes("v2"));
    let (vs, dr) = ("VirtualService/web", "DestinationRule/web");
    let rows: &[(&str, Vec<String>, Vec<String>, &[&str])] = &[
        (
            "what is edited otherwise takes effect",
            vec![web(), rule(&["v1"]), v1(), service("a.test")],
            vec![
                web(),
                rule(&["v1"]),
                v2(),
                service("a.test").replace("10.0.0.1", "10.0.0.2"),
                rule_of("a", "a.test", &[]),
            ],
            &[vs],
        ),
        (
            "a rule that hides another",
            vec![web(), rule_of("wide", "*.test", &["v1"]), v1()],
            vec![web(), rule_of("wide", "*.test", &["v1"]), rule(&["v2"]), v1()],
            &[dr],
        ),
        (
            "a rule that keeps its subset but moves",
            vec![web(), rule(&["v1"]), v1()],
            vec![v1(), service("a.test"), rule(&["v1"]), web()],
            &[],
        ),
        (
            "a route of another name",
            vec![web(), rule(&["v1"]), v1()],
            vec![web(), rule(&["v1"]), routes_of("other", "web.test", &to("web.test", "v2"))],
            &["VirtualService/other", vs],
        ),
        (
            "a chain: a rule must stay, so a route to its new subset waits",
            vec![web(), rule(&["v1"]), v1(), routes_of("b", "b.test", &to("web.test", "v1"))],
            vec![web(), rule(&["v2"]), v1(), routes_of("b", "b.test", &to("web.test", "v2"))],
            &["VirtualService/b", dr],
        ),
    ];
    for (what, before, written, expected) in rows {
        assert_eq!(held(before, written), *expected, "{what}");
    }
}

#[test]
fn a_new_route_waits_for_endpoints_too() {
    let carrying = |versions: &[&str]| {
        let one = |version: &&str| format!("{{address: 10.0.0.1, labels: {{version: {version}}}}}");
        let all: Vec<String> = versions.iter().map(one).collect();
        service("web.test").replace("{address: 10.0.0.1}", &all.join(", "))
    };
    let subsets = |names: &[&str]| {
        let one = |name: &&str| format!("{{name: {name}, labels: {{version: {name}}}}}");
        let all: Vec<String> = names.iter().map(one).collect();
        object("DestinationRule", "web", &format!("{{host: web.test, subsets: [{}]}}", all.join(", ")))
    };
    let split = |first: u32| {
        let one =
            |name: &str, weight: u32| format!("{{destination: {{host: web.test, subset: {name}}}, weight: {weight}}}");
        routes_of("web", "web.test", &format!("{{route: [{}, {}]}}", one("v1", first), one("v2", 100 - first)))
    };
    let both = || subsets(&["v1", "v2"]);
    let copied = routes("v1").replace("{route", "{mirror: {host: web.test, subset: v2}, route");
    let (vs, none): (&[&str], &[&str]) = (&["VirtualService/web"], &[]);
    let rows: &[(&str, [String; 3], [String; 3], &[&str])] = &[
        (
            "the endpoints come last",
            [carrying(&["v1"]), subsets(&["v1"]), routes("v1")],
            [carrying(&["v1"]), both(), routes("v2")],
            vs,
        ),
        (
            "a share without endpoints",
            [carrying(&["v1"]), both(), routes("v1")],
            [carrying(&["v1"]), both(), split(90)],
            vs,
        ),
        ("no share", [carrying(&["v1"]), both(), routes("v1")], [carrying(&["v1"]), both(), split(100)], none),
        ("a mirror", [carrying(&["v1"]), both(), routes("v1")], [carrying(&["v1"]), both(), copied], none),
        (
            "endpoints that go are gone",
            [carrying(&["v1", "v2"]), both(), routes("v2")],
            [carrying(&["v1"]), both(), routes("v2")],
            none,
        ),
    ];
    for (what, before, written, expected) in rows {
        let (before, written) = (text(before), text(written));
        let held = hold(&before, &written, &Site::default(), &missing(&before));
        assert_eq!(names(held.objects.keys()), *expected, "{what}");
    }
}

#[test]
fn halves_of_an_edit_of_delegates() {
    let web = || service("web.test");
    let root = || routes_of("web", "web.test", "{match: [{uri: {prefix: /a}}], delegate: {name: part}}");
    let (vs, dr, part) = ("VirtualService/web", "DestinationRule/web", "VirtualService/part");
    let part_to = |subset: &str| delegate(&to("web.test", subset));
    let rows: &[(&str, Vec<String>, Vec<String>, &[&str])] = &[
        ("the root first", vec![web()], vec![web(), root()], &[vs]),
        ("the delegate first", vec![web()], vec![web(), part_to("")], &[]),
        ("both at once", vec![web()], vec![web(), root(), part_to("")], &[]),
        ("the delegate goes first", vec![web(), root(), part_to("")], vec![web(), root()], &[part]),
        (
            "the delegate's subset comes last",
            vec![web(), root(), part_to("")],
            vec![web(), root(), part_to("v1")],
            &[part],
        ),
        (
            "the delegate's subset goes first",
            vec![web(), root(), part_to("v1"), rule(&["v1"])],
            vec![web(), root(), part_to("v1")],
            &[dr],
        ),
        ("a new root waits for its delegate's subset", vec![web()], vec![web(), root(), part_to("v1")], &[part, vs]),
    ];
    for (what, before, written, expected) in rows {
        assert_eq!(held(before, written), *expected, "{what}");
    }
}

#[test]
fn what_dangles_already_is_not_waited_for() {
    let before = [service("web.test"), rule(&["v1"]), routes("v9")];
    let edited = [service("web.test"), rule(&["v1", "v2"]), routes("v9").replace("{route", "{timeout: 1s, route")];
    assert_eq!(held(&before, &edited), [""; 0]);
    let worse = [service("web.test"), rule(&["v1"]), routes("v8")];
    assert_eq!(held(&before, &worse), ["VirtualService/web"]);
}

#[test]
fn a_kubernetes_service_goes_with_its_endpoints() {
    let core = |kind: &str, rest: &str| {
        let version = if kind == "EndpointSlice" { "discovery.k8s.io/v1" } else { "v1" };
        let labels = "labels: {kubernetes.io/service-name: cart, app: cart}";
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: cart, {labels}}}\n{rest}\n---\n")
    };
    let service =
        core("Service", "spec: {clusterIP: 10.0.0.1, selector: {app: cart}, ports: [{name: http, port: 80}]}");
    let slice = core(
        "EndpointSlice",
        "addressType: IPv4\nports: [{name: http, port: 80}]\nendpoints: [{addresses: [10.1.0.1]}]",
    );
    let pod = core("Pod", "status: {podIP: 10.1.0.1}");
    let route = routes_of("cart", "cart", &to("cart", ""));
    let all = [service.clone(), slice.clone(), pod.clone(), route.clone()];
    let named = |list: &[&str]| list.iter().map(|kind| format!("{kind}/cart")).collect::<Vec<_>>();
    assert_eq!(held(&all, std::slice::from_ref(&route)), named(&["Service", "EndpointSlice", "Pod"]));
    assert_eq!(held(&all, &[slice.replace("10.1.0.1", "10.1.0.2"), pod, route.clone()]), named(&["Service"]));
    assert_eq!(held(&all, &[service.clone(), route]), [""; 0], "endpoints go when they go");
    assert_eq!(held(&all, &[service, slice]), [""; 0]);
}

#[test]
fn settings_that_hide_what_is_there_stay_too() {
    let elsewhere = |text: String| text.replace("metadata: {name: web", "metadata: {namespace: shop, name: web");
    let mesh = |all: &str| {
        format!(
            "apiVersion: v1\nkind: MeshConfig\nmetadata: {{name: mesh}}\nspec: {{defaultServiceExportTo: ['{all}']}}\n---\n"
        )
    };
    let rest = [elsewhere(service("web.test")), routes_of("web", "web.test", &to("web.test", ""))].concat();
    assert_eq!(held(&[mesh("*"), rest.clone()], &[mesh("."), rest]), ["MeshConfig/mesh"]);
}

/// Applies texts one after another as the store does; what is held at each second, in which references are told apart by
/// what they lead to.
struct Timeline {
    in_force: Resources,
    dangled: BTreeSet<Reference>,
    awaited: Awaited,
}

impl Timeline {
    fn start(parts: &[String]) -> Self {
        let in_force = text(parts);
        Self { dangled: missing(&in_force), in_force, awaited: Awaited::new() }
    }

    fn read(&mut self, second: u64, parts: &[String]) -> Vec<String> {
        let (now, written) = (at(second), text(parts));
        let Compiled { dangling, .. } = compiled(&written, &Site::default());
        self.awaited = awaited(&dangling, &self.dangled, &self.awaited, now + DEFAULT);
        let accepted = self.dangled.iter().chain(given_up(&self.awaited, now)).cloned().collect();
        let held = hold(&self.in_force, &written, &Site::default(), &accepted);
        self.dangled = missing(&held.resources);
        self.in_force = held.resources;
        names(held.objects.keys())
    }

    fn due(&self, second: u64) -> Option<u64> {
        due(&self.awaited, at(second)).map(|due| (0..100).find(|second| at(*second) == due).unwrap())
    }
}

/// When, what is written then, what is held, and until when.
type Step<'a> = (u64, Vec<String>, &'a [&'a str], Option<u64>);

fn follow(rows: &[(&str, Vec<Step<'_>>)]) {
    for (what, steps) in rows {
        let mut timeline = Timeline::start(&[service("web.test"), rule(&["v1"]), routes("v1")]);
        for (second, parts, held, due) in steps {
            assert_eq!(timeline.read(*second, parts), *held, "{what}, {second} s");
            assert_eq!(timeline.due(*second), *due, "{what}, {second} s");
        }
    }
}

#[test]
fn waiting_ends_when_all_fits_or_when_its_time_is_over() {
    let parts = |routed: &str, subsets: &[&str]| vec![service("web.test"), rule(subsets), routes(routed)];
    let (vs, dr): (&[&str], &[&str]) = (&["VirtualService/web"], &["DestinationRule/web"]);
    let rows: &[(&str, Vec<Step<'_>>)] = &[
        ("the other half comes", vec![(0, parts("v2", &["v1"]), vs, Some(10)), (3, parts("v2", &["v2"]), &[], None)]),
        (
            "it does not",
            vec![
                (0, parts("v2", &["v1"]), vs, Some(10)),
                (9, parts("v2", &["v1"]), vs, Some(10)),
                (10, parts("v2", &["v1"]), &[], None),
                (11, parts("v2", &["v1"]), &[], None),
            ],
        ),
        (
            "the rule came first, and the route does not follow",
            vec![(0, parts("v1", &["v2"]), dr, Some(10)), (10, parts("v1", &["v2"]), &[], None)],
        ),
        (
            "the same thing is missed in another text: no new time",
            vec![
                (0, parts("v2", &["v1"]), vs, Some(10)),
                (6, [parts("v2", &["v1"]), vec![service("a.test")]].concat(), vs, Some(10)),
                (10, parts("v2", &["v1"]), &[], None),
            ],
        ),
        (
            "another thing is missed: a time of its own",
            vec![
                (0, parts("v2", &["v1"]), vs, Some(10)),
                (6, parts("v3", &["v1"]), vs, Some(16)),
                (10, parts("v3", &["v1"]), vs, Some(16)),
                (16, parts("v3", &["v1"]), &[], None),
            ],
        ),
    ];
    follow(rows);
}

#[test]
fn what_is_waited_for_again_has_a_time_of_its_own() {
    let parts = |routed: &str, subsets: &[&str]| vec![service("web.test"), rule(subsets), routes(routed)];
    let vs: &[&str] = &["VirtualService/web"];
    let rows: &[(&str, Vec<Step<'_>>)] = &[
        (
            "what was taken back and comes again begins anew",
            vec![
                (0, parts("v2", &["v1"]), vs, Some(10)),
                (4, parts("v1", &["v1"]), &[], None),
                (6, parts("v2", &["v1"]), vs, Some(16)),
            ],
        ),
        (
            "after its time it is not waited for again, but the next thing is",
            vec![
                (0, parts("v2", &["v1"]), vs, Some(10)),
                (10, parts("v2", &["v1"]), &[], None),
                (12, parts("v3", &["v1"]), vs, Some(22)),
            ],
        ),
        (
            "a route whose destination is held back does not lose its patience",
            vec![
                (
                    0,
                    [parts("v1", &["v1"]), vec![routes_of("b", "b.test", &to("web.test", "v3"))]].concat(),
                    &["VirtualService/b"],
                    Some(10),
                ),
                (
                    5,
                    [parts("v1", &["v3"]), vec![routes_of("b", "b.test", &to("web.test", "v3"))]].concat(),
                    &["VirtualService/b", "DestinationRule/web"],
                    Some(15),
                ),
                (
                    12,
                    [parts("v1", &["v3"]), vec![routes_of("b", "b.test", &to("web.test", "v3"))]].concat(),
                    &["VirtualService/b", "DestinationRule/web"],
                    Some(15),
                ),
                (15, [parts("v1", &["v3"]), vec![routes_of("b", "b.test", &to("web.test", "v3"))]].concat(), &[], None),
            ],
        ),
    ];
    follow(rows);
}

#[test]
fn nobody_waits_when_there_is_no_time() {
    let awaits =
        awaited(&compiled(&text(&[routes("v1")]), &Site::default()).dangling, &BTreeSet::new(), &Awaited::new(), at(5));
    assert_eq!((given_up(&awaits, at(5)).count(), due(&awaits, at(5))), (1, None));
    assert_eq!((given_up(&awaits, at(4)).count(), due(&awaits, at(4))), (0, Some(at(5))));
}

#[test]
fn each_held_object_is_told_at_its_place() {
    let told = |before: &[String], written: &[String]| -> Vec<String> {
        let (before, written) = (text(before), text(written));
        let Compiled { dangling, .. } = compiled(&written, &Site::default());
        let held = hold(&before, &written, &Site::default(), &BTreeSet::new());
        assert!(dangling.iter().all(|dangling| held.waits_for(&dangling.reference)));
        let told = held.complaints(&written, &dangling, DEFAULT);
        assert!(told.iter().all(|d| d.help.as_ref().unwrap().contains("10s")), "{told:?}");
        told.iter().map(|d| format!("{} {}: {} {:?}", d.severity.name(), d.primary, d.message, d.labels)).collect()
    };
    let all = [service("web.test"), rule(&["v1"]), routes("v1")];
    let route_first = [service("web.test"), rule(&["v1"]), routes("v2")];
    assert_eq!(
        told(&all, &route_first),
        ["info f.yaml:14:82: VirtualService default/web waits: subset v2 of web.test is not there []"]
    );
    let spot = "[(Spot { file: \"f.yaml\", line: 9, column: 82, len: 2 }, \"here\")]";
    assert_eq!(
        told(&all, &[service("web.test"), routes("v1")]),
        [format!(
            "info f.yaml:0:0: DestinationRule default/web stays: VirtualService default/web leads to subset v1 of web.test {spot}"
        )]
    );
}
