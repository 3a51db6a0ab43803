//! Explanations: the reasons that are told for a request, and that they are those of what is done.

use std::net::SocketAddr;
use std::sync::Arc;

use leeboard_istio::compile::{Site, compile};
use leeboard_istio::load;
use leeboard_istio::source::Source;
use leeboard_policy::live::Live;
use leeboard_policy::request::{Caller, Entrance};
use leeboard_policy::time::Time;
use leeboard_sim::explain::{ChosenBy, Explanation, Question, explain, stand_ins};
use leeboard_sim::{Arrival, Conduct, Request, World};

const TEXT: &str = r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
    - {address: 192.0.2.1, labels: {version: v1}}
    - {address: 192.0.2.2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: named}
spec:
  hosts: [named.test, stumbling.test]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a.test
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http:
    - name: header
      match: [{headers: {x-canary: {exact: v2}}}]
      route: [{destination: {host: a.test, subset: v2}, headers: {request: {set: {x-own: d}}}}]
      headers: {request: {add: {x-route: "%REQ(x-canary)%"}, remove: [x-gone]}, response: {set: {x-told: "1"}}}
    - name: method
      match: [{method: {exact: PUT}}]
      redirect: {uri: /elsewhere}
    - name: without
      match: [{uri: {exact: /without}, withoutHeaders: {x-off: {}}}]
      directResponse: {status: 204}
    - name: query
      match: [{queryParams: {q: {exact: "1"}}}]
      fault: {delay: {fixedDelay: 200ms, percentage: {value: 100}}, abort: {httpStatus: 418, percentage: {value: 100}}}
      route: [{destination: {host: a.test}}]
    - name: nowhere
      match: [{uri: {prefix: /nowhere}}]
      route: [{destination: {host: a.test, subset: v9}}]
    - name: slow
      match: [{uri: {prefix: /slow}}]
      route: [{destination: {host: a.test}}]
      timeout: 10s
      retries: {attempts: 2, perTryTimeout: 2s, retryOn: "5xx"}
      mirror: {host: named.test}
    - name: mild
      match: [{uri: {prefix: /mild}}]
      route: [{destination: {host: a.test}}]
      timeout: 1s
      retries: {attempts: 1, retryOn: "retriable-4xx"}
    - name: pages
      match: [{uri: {prefix: /pages/}}]
      corsPolicy: {allowOrigins: [{exact: "http://shop.test"}], allowMethods: [GET], maxAge: 60s}
      rewrite: {uri: /}
      route: [{destination: {host: a.test}}]
      headers: {response: {set: {x-page: "1"}, remove: [x-internal]}}
    - name: split
      match: [{uri: {prefix: /split}}]
      route: [{destination: {host: a.test, subset: v1}, weight: 75}, {destination: {host: a.test, subset: v2}, weight: 25}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stumbling, annotations: {leeboard.dev/fault-scope: attempt}}
spec:
  hosts: [stumbling.test]
  http:
    - name: abort
      match: [{uri: {prefix: /abort}}]
      fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
      retries: {attempts: 1, retryOn: "5xx"}
      route: [{destination: {host: stumbling.test}}]
    - name: delay
      fault: {delay: {fixedDelay: 5s, percentage: {value: 100}}}
      retries: {attempts: 1, perTryTimeout: 1s, retryOn: "5xx"}
      timeout: 30s
      route: [{destination: {host: stumbling.test}}]
"#;

fn live() -> Live {
    let loaded = load(&[Source::new("a.yaml", TEXT)]);
    assert_eq!(loaded.errors(), 0, "{:?}", loaded.diagnostics);
    let (snapshot, _) = compile(&loaded.resources, &Site::default());
    let (resolved, _) = stand_ins(&snapshot);
    Live::adopt(None, Arc::new(snapshot), &resolved, Time(0))
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Request { method: method.into(), headers, ..Request::get("a.test", path) }
}

fn ask(live: &Live, request: Request, seed: u64) -> Explanation {
    let address: SocketAddr = "127.0.0.1:5000".parse().expect("an address");
    let caller = Caller { remote: address, local: address };
    explain(live, &Question { request, entrance: Entrance::Outbound { port: None }, caller, seed }, Time(0))
}

#[test]
fn reasons_are_those_a_person_would_give() {
    let live = live();
    #[rustfmt::skip]
    let table: &[(&str, &str, &[(&str, &str)], &[&str])] = &[
        ("GET", "/", &[("x-canary", "v2"), ("x-gone", "1")], &[
            "port 80 since none is given", "a.test:80, by its domain a.test, of VirtualService default/a (a.yaml:", "> 1 header", "matches, since headers[x-canary] is v2 (exact v2)",
            "> outbound|80|v2|a.test: the only one", "> 192.0.2.2:80 version=v2 weight 1, level 0, 0 under way",
            "remove x-gone", "set x-own: d (of the destination)", "add x-route: v2", "answered     set x-told: 1",
            "of DestinationRule default/a (a.yaml:"]),
        ("GET", "/", &[("x-canary", "v3")], &[
            "headers[x-canary] must be exact v2, is v3", "method must be exact PUT, is GET", "uri must be exact /without, is /",
            "queryParams[q] must be exact 1, is absent", "uri must be prefix /nowhere, is /", "no rule matches",
            "answer       404 NR (route_not_found; no-route)"]),
        ("PUT", "/", &[], &["> 2 method", "answer       301 - (direct_response; ", "location http://a.test/elsewhere"]),
        ("GET", "/without", &[("x-off", "1")], &["withoutHeaders[x-off] must be not present, is 1"]),
        ("GET", "/without", &[], &["> 3 without", "answer       204"]),
        ("GET", "/?q=1", &[], &[
            "delay 200ms for 100 %: drew", "abort 418 for 100 %: drew", "so it happens", "injected delay 0ms – 200ms",
            "answer       418 DI,FI"]),
        ("GET", "/nowhere", &[], &["> outbound|80|v9|a.test: the only one; nobody defines it", "answer       503 NC"]),
        ("GET", "/slow", &[], &[
            "try 1 0ms – 2s at 192.0.2.", "back-off 0 – 25ms, here", "back-off 0 – 50ms, here", "try 3 4.", "overall 10s",
            "ends: timeout of the attempt", "at worst     504", "mirror       outbound|80||named.test for 100 %: drew"]),
        ("GET", "/mild", &[], &["try 1 0ms – 1s", "tried again if status 409", "try 2", "ends: timeout of the route", "at worst     504 UT"]),
        ("GET", "/split", &[], &["weight 75", "weight 25", ": drew ", " of 100"]),
    ];
    for (method, path, headers, expected) in table {
        let told = ask(&live, request(method, path, headers), 1).to_string();
        for words in *expected {
            assert!(told.contains(words), "{method} {path}: no `{words}` in\n{told}");
        }
    }
}

#[test]
fn pages_of_other_origins_are_told_whether_they_may_call() {
    let live = live();
    let origin = |origin| ("origin", origin);
    let asks = ("access-control-request-method", "PUT");
    #[rustfmt::skip]
    let table: &[(&str, &[(&str, &str)], &[&str], &str)] = &[
        ("GET", &[], &["the request names none, so the rule's corsPolicy has nothing to say"], "x-page=1"),
        ("GET", &[origin("http://shop.test")], &["origin       http://shop.test may call\n",
            "action       forward: /pages/ at the path's beginning becomes /", "sent         /x to a.test"],
            "x-page=1 access-control-allow-origin=http://shop.test"),
        ("GET", &[origin("http://evil.test")], &["http://evil.test may not call: it is none of allowOrigins\n"], "x-page=1"),
        ("OPTIONS", &[origin("http://shop.test"), asks], &["may call; its preflight for PUT is answered here", "answer       200"],
            "access-control-allow-origin=http://shop.test access-control-allow-methods=GET access-control-max-age=60"),
        ("OPTIONS", &[origin("http://evil.test"), asks], &["may not call: it is none of allowOrigins; its preflight for PUT is sent on"],
            "x-page=1"),
    ];
    for (method, headers, expected, answered) in table {
        let told = ask(&live, request(method, "/pages/x", headers), 1);
        for words in *expected {
            assert!(told.to_string().contains(words), "{headers:?}: no `{words}` in\n{told}");
        }
        let headers: Vec<_> =
            told.response_headers.iter().map(|(name, value)| format!("{name}={}", leeboard_sim::text(value))).collect();
        assert_eq!(headers.join(" "), *answered, "{told}");
    }
}

#[test]
fn faults_within_attempts_are_told_attempt_by_attempt() {
    let live = live();
    let told = ask(&live, Request::get("stumbling.test", "/abort"), 1).to_string();
    let expected = [
        "abort 503 for 100 %: drawn in each attempt",
        "try 1 0ms – 0ms: injected abort\n",
        "back-off 0 – 25ms, here",
        "try 2 ",
        "answer       503 FI,URX",
    ];
    expected.iter().for_each(|words| assert!(told.contains(words), "no `{words}` in\n{told}"));
    let told = ask(&live, Request::get("stumbling.test", "/delay"), 1).to_string();
    let expected =
        ["try 1 0ms – 1s: injected delay; ends: timeout of the attempt", "try 2 1.0", "answer       504 DI,URX,UT"];
    expected.iter().for_each(|words| assert!(told.contains(words), "no `{words}` in\n{told}"));
}

#[test]
fn what_is_not_sent_has_no_pick_and_no_copy() {
    let live = live();
    for (path, sent) in [("/slow", true), ("/?q=1", false), ("/nowhere", false), ("/without", false), ("/none", false)]
    {
        let told = ask(&live, request("GET", path, &[]), 1);
        assert_eq!(told.sent.is_some(), sent, "{path}");
        assert_eq!(told.to_json()["pick"].is_string(), sent, "{path}");
        assert_eq!(told.answer.is_none(), sent, "{path}");
        assert!(sent || told.mirrors.is_empty(), "{path}");
    }
}

#[test]
fn names_that_nobody_resolves_have_stand_ins() {
    let told = ask(&live(), Request::get("named.test", "/"), 1);
    assert_eq!(told.to_json()["pick"], "198.18.0.1:80");
    assert_eq!(stand_ins(live().snapshot()).1[0], "198.18.0.1 stands for named.test, which is not resolved here");
}

#[test]
fn what_is_explained_is_what_is_played() {
    let paths = ["/", "/?q=1", "/split", "/slow", "/without", "/nowhere", "/mild?q=2"];
    let mut drawn = [0_u32; 2];
    for turn in 0..400_u64 {
        let path = paths[(turn % 7) as usize];
        let headers: &[(&str, &str)] = if turn % 3 == 0 { &[("x-canary", "v2")] } else { &[] };
        let asked = request(["GET", "GET", "PUT"][(turn % 5 % 3) as usize], path, headers);
        let mut world = World::new(live(), turn);
        // What a world gives its first exchange.
        let told = ask(world.live(), asked.clone(), (turn << 32) + 1);
        let script = vec![Conduct::status(200)];
        let seen = world.play(&[Arrival { at: Time(0), request: asked, script }]).remove(0);
        let name =
            |found: &Option<leeboard_sim::explain::Found>| found.as_ref().map_or(String::new(), |f| f.name.clone());
        assert_eq!(*seen.route, name(&told.rule), "{turn}");
        assert_eq!(seen.status, told.answer.as_ref().map_or(200, |answer| answer.status), "{turn}");
        let picked = told.cluster.iter().flat_map(|c| &c.endpoints).find(|e| e.picked).map(|e| e.address.clone());
        assert_eq!(seen.endpoints.first().map(ToString::to_string), picked, "{turn}");
        if let Some(sent) = &told.sent {
            assert_eq!((&*seen.path, &*seen.authority), (&*sent.path, &*sent.authority), "{turn}");
        }
        if let Some(ChosenBy::Draw(point, 100)) = told.chosen.as_ref().map(|chosen| chosen.by.clone()) {
            let place = told.chosen.as_ref().map_or(9, |chosen| chosen.place);
            assert_eq!(place, usize::from(point >= 75), "{turn}");
            drawn[place] += 1;
        }
    }
    assert!(drawn[0] > drawn[1] && drawn[1] > 0, "{drawn:?}");
}
