//! The rules of `leeboard check`: each has a case in which it fires, at the place between `«` and `»` and nowhere else, and one
//! nearly the same in which nothing does. A rule without such a pair fails the test.

mod effects;
mod istio;
mod matches;
mod misplaced;
mod references;
mod suppressed;
mod workloads;

use std::collections::BTreeSet;

use leeboard_istio::check::check;
use leeboard_istio::codes::{self, Code};
use leeboard_istio::compile::Site;
use leeboard_istio::diagnostic::Diagnostic;
use leeboard_istio::render;
use leeboard_istio::source::Source;

/// A rule, a text in which it fires, and one in which nothing does. Both stand beside [`WORLD`].
type Pair = (Code, String, String);

/// Two services of namespace `demo`: reviews with one endpoint of each of v1, v2 and v3, and ratings on port 9080 with one.
const WORLD: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: demo}
spec:
  hosts: [reviews.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 10.0.0.1, labels: {app: reviews, version: v1}}
  - {address: 10.0.0.2, labels: {app: reviews, version: v2}}
  - {address: 10.0.0.3, labels: {app: reviews, version: v3}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ratings, namespace: demo}
spec:
  hosts: [ratings.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP, targetPort: 8080}]
  endpoints: [{address: 10.0.1.1, labels: {app: ratings, version: v1}}]
";

/// An Istio object, `name` or `name.namespace` (default `demo`), whose spec is in YAML's flow style.
fn object(kind: &str, name: &str, spec: &str) -> String {
    let (name, namespace) = name.split_once('.').unwrap_or((name, "demo"));
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// A VirtualService for reviews with these entries of `http`.
fn http(entries: &str) -> String {
    object("VirtualService", "v", &format!("{{hosts: [reviews], http: [{entries}]}}"))
}

/// A VirtualService for reviews whose only entry has these fields beside its destination.
fn entry(fields: &str) -> String {
    http(&format!("{{route: [{{destination: {{host: reviews}}}}], {fields}}}"))
}

/// A VirtualService for reviews whose only entry has this match.
fn matching(rule: &str) -> String {
    entry(&format!("match: [{rule}]"))
}

/// A DestinationRule for reviews with this policy.
fn policy(policy: &str) -> String {
    rule(&format!("host: reviews, trafficPolicy: {policy}"))
}

/// A DestinationRule.
fn rule(spec: &str) -> String {
    object("DestinationRule", "d", &format!("{{{spec}}}"))
}

/// All complaints but those about what is not enforced yet, which is of no matter here.
fn found(text: &str) -> Vec<Diagnostic> {
    let mut found = check(&[Source::new("f.yaml", text)], &Site::default()).diagnostics;
    found.retain(|diagnostic| diagnostic.code != codes::NOT_ENFORCED);
    found
}

fn place(marked: &str) -> (u32, u32, u32) {
    let (before, rest) = marked.split_once('«').expect("a mark");
    let (inside, _) = rest.split_once('»').expect("its end");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line as u32, column as u32, inside.chars().count() as u32)
}

fn shown(text: &str, found: &[Diagnostic]) -> String {
    render(found, &[Source::new("f.yaml", text)], false)
}

/// Every pair of every table.
fn pairs() -> Vec<Pair> {
    [references::pairs(), workloads::pairs(), matches::pairs(), effects::pairs()].concat()
}

#[test]
fn each_rule_fires_where_it_should_and_not_beside_it() {
    let mut wrong = String::new();
    for (code, fires, quiet) in pairs() {
        let marked = format!("{WORLD}{fires}");
        let text = marked.replace(['«', '»'], "");
        let complaints = found(&text);
        let places: Vec<_> =
            complaints.iter().map(|d| (d.code, (d.primary.line, d.primary.column, d.primary.len))).collect();
        if places != [(code, place(&marked))] {
            wrong += &format!("{code} should fire once, at the mark:\n{fires}\n{}\n", shown(&text, &complaints));
        }
        let text = format!("{WORLD}{quiet}");
        let complaints = found(&text);
        if !complaints.is_empty() {
            wrong += &format!("{code} should be quiet:\n{quiet}\n{}\n", shown(&text, &complaints));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_rule_has_its_pair() {
    let tried: BTreeSet<Code> = pairs().iter().map(|(code, ..)| *code).collect();
    let rules: BTreeSet<Code> = codes::ALL.iter().map(|entry| entry.code).filter(|code| code.is_checked()).collect();
    let without: Vec<String> = rules.difference(&tried).map(ToString::to_string).collect();
    assert!(without.is_empty(), "rules without a pair: {without:?}");
    let effects = rules.iter().filter(|code| code.to_string().as_str() >= "L0500").count();
    assert!(effects >= 30 && rules.len() >= 60, "{effects} of {}", rules.len());
}

#[test]
fn the_world_is_in_order() {
    assert!(found(WORLD).is_empty());
}

#[test]
fn claims_are_verified_by_a_kind_that_is_passed_over() {
    let gateway = object(
        "Gateway",
        "edge",
        "{selector: {istio: gw}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
    );
    let routes = object(
        "VirtualService",
        "v",
        "{hosts: [reviews], gateways: [edge], http: [{match: [{headers: {'@request.auth.claims.group': {exact: a}}}], \
         route: [{destination: {host: reviews}}]}]}",
    );
    let verifier =
        "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: r}\nspec: {}\n";
    let codes = |text: &str| found(text).iter().map(|found| found.code).collect::<Vec<_>>();
    assert_eq!(codes(&format!("{WORLD}{gateway}{routes}")), [codes::CLAIMS_UNVERIFIED]);
    assert_eq!(codes(&format!("{WORLD}{gateway}{routes}{verifier}")), [codes::UNPROTECTED]);
}

#[test]
fn a_mistake_in_one_entry_hides_nothing_of_the_others() {
    let bad = "{match: [{uri: {prefix: /q}}], redirect: {uri: /x, redirectCode: 304}}";
    let worth = "{match: [{uri: {prefix: /api}}], rewrite: {uri: /}, route: [{destination: {host: reviews}}]}";
    let own = "{match: [{uri: {prefix: /b}}], rewrite: {uri: /}, route: [{destination: {host: reviews}}], timeout: 3}";
    #[rustfmt::skip]
    let table: [(String, &[Code]); 6] = [
        (http(&format!("{worth}, {bad}")), &[codes::REWRITE_SLASHES, codes::BAD_VALUE]),
        (http(&format!("{bad}, {worth}")), &[codes::BAD_VALUE, codes::REWRITE_SLASHES]),
        (http(&format!("x, {worth}")), &[codes::WRONG_TYPE]),
        // Nothing is said of an entry that is not what was meant, nor of any if it is not clear whose they are.
        (http(own), &[codes::BAD_DURATION]),
        (http(worth).replace("[reviews]", "[reviews, 'a b']"), &[codes::BAD_HOST]),
        (http(worth).replace("[reviews]", "reviews"), &[codes::WRONG_TYPE]),
    ];
    for (text, expected) in table {
        let complaints = found(&format!("{WORLD}{text}"));
        let told: Vec<Code> = complaints.iter().map(|complaint| complaint.code).collect();
        assert_eq!(told, *expected, "{}", shown(&format!("{WORLD}{text}"), &complaints));
    }
}

#[test]
fn of_one_object_a_thousand_of_a_kind_are_told_apart() {
    let hosts: Vec<String> = (0..1_500).map(|n| format!("h{n}.example.com")).collect();
    let spec = format!("{{hosts: [{}], http: [{{directResponse: {{status: 200}}}}]}}", hosts.join(", "));
    let told = found(&object("VirtualService", "v", &spec));
    assert_eq!(told.len(), 1_001);
    assert!(told.iter().any(|told| told.message == "and 500 more of this kind in this object"));
}
