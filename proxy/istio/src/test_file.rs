//! The file format of `leeboard test`: Istio-style route tests, each a request and the route, destination or answer it must get.
//!
//! `docs/test.schema.json` describes the format for editors, and `docs/test.md` for people. A file of tests is named
//! `*.test.yaml` and is no part of the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::time::Span;

use crate::codes;
use crate::diagnostic::{self, Diagnostic};
use crate::fields::{Cx, Field, Fields};
use crate::resources::Labels;
use crate::source::{Source, Spot};
use crate::support::{Block, Row, Status};
use crate::yaml;

/// A file of tests.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TestFile {
    /// Files and folders of configuration, beside this file; empty leaves it to the command line.
    pub config: Vec<Arc<str>>,
    /// The namespace that callers live in.
    pub namespace: Option<Arc<str>>,
    /// The callers' labels.
    pub labels: Labels,
    /// The tests, in order.
    pub tests: Vec<RouteTest>,
}

/// A request and what shall become of it.
#[derive(Clone, PartialEq, Debug)]
pub struct RouteTest {
    /// What it is about.
    pub name: Arc<str>,
    /// Where it is written.
    pub spot: Spot,
    /// The method; default `GET`.
    pub method: Arc<str>,
    /// What is asked for.
    pub url: Arc<str>,
    /// Headers that are sent.
    pub headers: Labels,
    /// The request's luck; default 0.
    pub seed: u64,
    /// What shall become of it.
    pub expect: Expect,
}

/// What shall become of a request. What is not said may be anything.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Expect {
    /// The name of the rule that is taken.
    pub rule: Option<Arc<str>>,
    /// The host of the destination, short or complete.
    pub host: Option<Arc<str>>,
    /// The subset of the destination; the empty text is none.
    pub subset: Option<Arc<str>>,
    /// Weights of the rule's destinations, each named by its subset, or by its host without one.
    pub weights: BTreeMap<Arc<str>, u32>,
    /// Path and query as sent on.
    pub path: Option<Arc<str>>,
    /// Host as sent on.
    pub authority: Option<Arc<str>>,
    /// Headers as sent on.
    pub headers: Labels,
    /// Headers that are not sent on.
    pub no_headers: Vec<Arc<str>>,
    /// Headers of the answer, as the rule makes them.
    pub response_headers: Labels,
    /// Headers that the answer has not, even if an endpoint gives them.
    pub no_response_headers: Vec<Arc<str>>,
    /// How long all of it may take; `Some(None)` is for ever.
    pub timeout: Option<Option<Span>>,
    /// Retries after the first attempt.
    pub retries: Option<u32>,
    /// How long an attempt may take.
    pub per_try_timeout: Option<Span>,
    /// The status of the proxy's own answer.
    pub status: Option<u16>,
    /// Where a redirect points.
    pub location: Option<Arc<str>>,
    /// Hosts that may receive a copy, short or complete.
    pub mirrors: Option<Vec<Arc<str>>>,
}

const fn row(field: &'static str, about: &'static str) -> Row {
    Row { field, about, status: Status::Enforced }
}

const fn block(path: &'static str, rows: &'static [Row]) -> Block {
    Block { kind: "tests", path, open: false, strict: true, kept: false, rows }
}

static FILE: Block = block(
    "tests",
    &[
        row("config", "Files and folders of configuration, beside this file."),
        row("namespace", "The namespace that callers live in."),
        row("labels", "The callers' labels."),
        row("tests", "The tests."),
    ],
);
static TEST: Block = block(
    "tests[]",
    &[
        row("name", "What the test is about."),
        row("request", "What is asked."),
        row("expect", "What shall become of it."),
    ],
);
static REQUEST: Block = block(
    "tests[].request",
    &[
        row("method", "The method; default GET."),
        row("url", "What is asked for, as http://host:port/path?query."),
        row("headers", "Headers by name."),
        row("seed", "The request's luck; default 0."),
    ],
);
static EXPECT: Block = block(
    "tests[].expect",
    &[
        row("rule", "The name of the rule that is taken."),
        row("host", "The host of the destination, short or complete."),
        row("subset", "The subset of the destination."),
        row("weights", "Weights of the rule's destinations by subset, or by host without one."),
        row("path", "Path and query as sent on."),
        row("authority", "Host as sent on."),
        row("headers", "Headers as sent on, by name."),
        row("noHeaders", "Headers that are not sent on."),
        row("responseHeaders", "Headers of the answer as the rule makes them, by name."),
        row("noResponseHeaders", "Headers that the answer has not, even if an endpoint gives them."),
        row("timeout", "How long all of it may take; 0s is for ever."),
        row("retries", "Retries after the first attempt."),
        row("perTryTimeout", "How long an attempt may take."),
        row("status", "The status of the proxy's own answer."),
        row("location", "Where a redirect points."),
        row("mirrors", "Hosts that may receive a copy."),
    ],
);

/// The blocks of the format, for its schema.
pub static BLOCKS: &[&Block] = &[&FILE, &TEST, &REQUEST, &EXPECT];

/// Reads a file of tests. Never stops at a mistake; a test with one is left out.
pub fn route_tests(source: &Source) -> (TestFile, Vec<Diagnostic>) {
    let mut file = TestFile::default();
    let mut found = Vec::new();
    yaml::parse(&source.text, |document| {
        let cx = Cx::new(&source.name, "".into(), false);
        if let Some(problem) = document.broken.iter().chain(document.root.problems()).next() {
            cx.error(problem.code, problem.mark, problem.message.clone());
        } else if let Some(fields) = Fields::of(&document.root, document.root.mark, &FILE, &cx) {
            read(&fields, &mut file);
        }
        found.extend(cx.into_found());
    });
    diagnostic::sort(&mut found, std::slice::from_ref(source));
    (file, found)
}

fn read(fields: &Fields<'_>, file: &mut TestFile) {
    file.config.extend(fields.get("config").texts().into_iter().map(|text| text.value));
    file.namespace = fields.get("namespace").text().or(file.namespace.take());
    file.labels.extend(fields.get("labels").labels());
    for test in fields.required("tests").items(&TEST) {
        file.tests.extend(one(&test));
    }
}

fn one(test: &Fields<'_>) -> Option<RouteTest> {
    let request = test.required("request").block(&REQUEST);
    let expect = test.required("expect").block(&EXPECT).map(|fields| expect(&fields));
    let request = request?;
    let url = request.required("url").text();
    Some(RouteTest {
        name: test.get("name").text().or(url.clone())?,
        spot: test.spot(),
        method: request.get("method").text().unwrap_or_else(|| "GET".into()),
        url: url?,
        headers: request.get("headers").labels(),
        seed: seed(request.get("seed")),
        expect: expect?,
    })
}

/// A seed may have more digits than a reader of JSON keeps, so that the access log writes it as text.
fn seed(field: Field<'_>) -> u64 {
    let Some(node) = field.node else { return 0 };
    node.raw().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        field.cx.error(codes::WRONG_TYPE, node.mark, "`seed` is a whole number below 2^64");
        0
    })
}

fn weights(field: Field<'_>) -> BTreeMap<Arc<str>, u32> {
    let mut weights = BTreeMap::new();
    for (key, node) in field.members() {
        match node.raw().and_then(|text| text.parse().ok()) {
            Some(weight) => {
                weights.insert(key.text.as_ref().into(), weight);
            }
            None => field.cx.error(codes::WRONG_TYPE, node.mark, "a weight is a whole number"),
        }
    }
    weights
}

fn expect(fields: &Fields<'_>) -> Expect {
    let status = fields.get("status").int(100..=599);
    let plain = |name| fields.get(name).texts().into_iter().map(|text| text.value).collect::<Vec<_>>();
    Expect {
        rule: fields.get("rule").text(),
        host: fields.get("host").text(),
        subset: fields.get("subset").text(),
        weights: weights(fields.get("weights")),
        path: fields.get("path").text(),
        authority: fields.get("authority").text(),
        headers: fields.get("headers").labels(),
        no_headers: plain("noHeaders"),
        response_headers: fields.get("responseHeaders").labels(),
        no_response_headers: plain("noResponseHeaders"),
        timeout: fields.get("timeout").duration_or_zero().map(|span| Some(span).filter(|span| span.0 > 0)),
        retries: fields.get("retries").count(),
        per_try_timeout: fields.get("perTryTimeout").duration(),
        status: status.and_then(|status| u16::try_from(status).ok()),
        location: fields.get("location").text(),
        mirrors: fields.get("mirrors").node.is_some().then(|| plain("mirrors")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_its_mistakes() {
        let good = "namespace: demo\nconfig: [..]\ntests:\n  - name: a\n    request: {url: shop, headers: {x: '1'}, seed: 7}\n    \
                    expect: {subset: v1, timeout: 3s, retries: 0, weights: {v1: 90}, mirrors: []}\n";
        let (file, found) = route_tests(&Source::new("a.test.yaml", good));
        assert_eq!(found, []);
        let test = &file.tests[0];
        assert_eq!((&*test.method, &*test.url, test.seed, test.spot.line), ("GET", "shop", 7, 4));
        let expect = &test.expect;
        assert_eq!((expect.timeout, expect.retries), (Some(Some(Span::from_secs(3))), Some(0)));
        assert_eq!((expect.subset.as_deref(), expect.mirrors.as_deref()), (Some("v1"), Some(&[][..])));
        #[rustfmt::skip]
        let table = [
            ("subset", "subsett", "unknown field `subsett`"),
            ("url: shop, ", "", "needs `url`"),
            ("timeout: 3s", "timeout: 3", "must be a duration"),
            ("seed: 7", "seed: seven", "`seed` is a whole number"),
            ("tests:", "test:", "unknown field `test`"),
            ("expect:", "- expect:", "a.test.yaml"),
        ];
        for (good_part, bad, words) in table {
            let (_, found) = route_tests(&Source::new("a.test.yaml", good.replace(good_part, bad)));
            let told = found.iter().map(|d| format!("{}: {}\n", d.primary, d.message)).collect::<String>();
            assert!(told.contains(words), "{bad}: {told}");
        }
    }
}
