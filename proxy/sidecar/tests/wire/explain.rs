//! What `explain` says of a request is what the proxy did with it: random requests against a random configuration, whose lines
//! in the access log are explained by their seeds.

use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::config::{policy, routes, service};
use crate::endpoint::{Endpoint, say};
use crate::message::{Message, Wire};
use crate::patience::soon;
use crate::program::Leeboard;

/// Numbers that look random and are the same in each run.
pub(crate) struct Luck(u64);

impl Luck {
    /// The numbers of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 below the bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// One of several.
    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A rule with a random match and a random action.
fn rule(luck: &mut Luck, index: usize) -> String {
    let when = luck.one(&[
        "{uri: {prefix: /a}}",
        "{uri: {exact: /b}}",
        "{uri: {regex: \"/c/[0-9]+\"}}",
        "{uri: {prefix: /C}, ignoreUriCase: true, method: {exact: GET}}",
        "{headers: {x-k: {exact: v}}}",
        "{withoutHeaders: {x-k: {}}, queryParams: {q: {exact: \"1\"}}}",
        "{method: {exact: POST}, uri: {prefix: /d}}",
        "{queryParams: {q: {regex: \"[2-9]\"}}}",
    ]);
    let weight = 1 + luck.below(98);
    let split = format!(
        "route: [{{destination: {{host: shop.test, subset: v1}}, weight: {weight}}}, \
         {{destination: {{host: shop.test, subset: v2}}, weight: {}}}]",
        100 - weight
    );
    let one = "route: [{destination: {host: shop.test, subset: v2}}]";
    let abort = format!("fault: {{abort: {{httpStatus: 418, percentage: {{value: {}}}}}}}", luck.below(90));
    let action = match luck.below(7) {
        0 => one.to_owned(),
        1 | 2 => split,
        3 => "redirect: {uri: /new, redirectCode: 307}".to_owned(),
        4 => "directResponse: {status: 299, body: {string: here}}".to_owned(),
        5 => format!("{split}, {abort}"),
        _ => format!("{one}, rewrite: {{uri: /rewritten}}, headers: {{request: {{set: {{x-rule: r{index}}}}}}}"),
    };
    format!("{{name: r{index}, match: [{when}], {action}}}")
}

struct Asked {
    method: &'static str,
    path: String,
    header: Option<&'static str>,
    answer: Message,
}

async fn ask(wire: &mut Wire, luck: &mut Luck, turn: usize) -> Asked {
    let method = luck.one(&["GET", "GET", "POST"]);
    let path = luck.one(&["/a", "/a/x", "/b", "/b/", "/c/1", "/c/x", "/d"]);
    let path = format!("{path}?q={}&turn={turn}", luck.below(4));
    let header = [None, Some("v"), Some("w")][luck.below(3) as usize];
    let field = header.map_or_else(String::new, |value| format!("X-K: {value}\r\n"));
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: shop.test\r\n{field}{length}\r\n")).await.unwrap();
    let answer = soon("an answer", wire.response()).await.expect("the connection is kept");
    Asked { method, path, header, answer }
}

/// What does not agree.
fn differences(asked: &Asked, record: &Json, told: &Json) -> Vec<String> {
    let origin = &told["rule"]["origin"];
    let rule = origin["file"].as_str().map(|file| format!("{file}:{}", origin["line"]));
    let endpoint_answers = told["answer"].is_null();
    let status = if endpoint_answers { Json::from(200) } else { told["answer"]["status"].clone() };
    let sent = endpoint_answers.then(|| told["sent"]["path"].as_str().unwrap_or_default().to_owned());
    let cluster = if record["upstream_host"].is_null() { Json::Null } else { told["cluster"]["name"].clone() };
    let reached = if endpoint_answers { record["upstream_cluster"].clone() } else { Json::Null };
    let body = endpoint_answers.then(|| asked.answer.text());
    let picked = if endpoint_answers { told["pick"].clone() } else { Json::Null };
    let location = asked.answer.header("location").map(Json::from).unwrap_or_default();
    let table = [
        ("route", record["route_name"].clone(), told["rule"]["name"].clone()),
        ("rule", record["rule"].clone(), rule.into()),
        ("status", record["response_code"].clone(), status),
        ("cluster", reached, cluster),
        ("endpoint", record["upstream_host"].clone(), picked),
        ("path", body.into(), sent.into()),
        ("location", location, told["answer"]["location"].clone()),
    ];
    let differs = table.into_iter().filter(|(_, did, said)| did != said);
    differs.map(|(what, did, said)| format!("{what}: did {did}, explained {said}")).collect()
}

/// The page of a running proxy, on a connection that is kept.
async fn page(wire: &mut Wire, asked: &Asked, seed: &str) -> Json {
    let url = format!("http://shop.test{}", asked.path).replace('?', "%3F").replace('&', "%26");
    let header = asked.header.map_or_else(String::new, |value| format!("&header=x-k:{value}"));
    let query = format!("/explain?format=json&url={url}&method={}&seed={seed}{header}", asked.method);
    wire.send(format!("GET {query} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.unwrap();
    let answer = soon("an explanation", wire.response()).await.expect("the connection is kept");
    serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("{query}: {}", answer.text()))
}

/// The program from its files.
fn program(leeboard: &Leeboard, asked: &Asked, seed: &str) -> Json {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leeboard"));
    command.args(["explain", "-o", "json", "--seed", seed, "-X", asked.method, "--config"]).arg(leeboard.folder());
    if let Some(value) = asked.header {
        command.args(["-H", &format!("x-k: {value}")]);
    }
    let output = command.arg(format!("http://shop.test{}", asked.path)).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Explains the requests of one random configuration; `by_files` of them a second time from its files.
async fn hold(configuration: u64, requests: usize, by_files: usize) {
    let mut luck = Luck::new(configuration);
    let echo = async || Endpoint::start(|asked| say(200, asked.message.target())).await;
    let (v1, v2) = (echo().await, echo().await);
    let rules: Vec<String> = (0..12).map(|index| rule(&mut luck, index)).collect();
    let config = service("shop.test", "HTTP", &[(v1.address, "v1"), (v2.address, "v2")])
        + &policy("shop.test", "{loadBalancer: {simple: RANDOM}}")
        + &routes("shop.test", &format!("[{}]", rules.join(", ")));
    let leeboard = Leeboard::start(&config).await;
    let mut wire = leeboard.dial().await;
    let mut all = Vec::new();
    for turn in 0..requests {
        all.push(ask(&mut wire, &mut luck, turn).await);
    }
    let records = leeboard.all_records(requests).await;
    let mut admin = Wire::to(leeboard.port("admin")).await;
    let mut rules_taken = std::collections::BTreeSet::new();
    for (turn, (asked, record)) in all.iter().zip(&records).enumerate() {
        assert_eq!(record["path"], asked.path, "records come in order");
        let seed = record["seed"].as_str().expect("a seed");
        let mut told = vec![page(&mut admin, asked, seed).await];
        if turn < by_files {
            told.push(program(&leeboard, asked, seed));
        }
        let [place, setting] =
            ["/rules_tried/0/failed/origin/line", "/settings/0/origin/line"].map(|at| told[0].pointer(at));
        let tried = told[0]["rules_tried"].as_array().map_or(0, Vec::len);
        assert!(tried < 2 || place.is_some_and(Json::is_number), "{:#}", told[0]);
        assert!(told[0]["cluster"].is_null() || setting.is_some_and(Json::is_number), "{:#}", told[0]);
        for told in told {
            let differs = differences(asked, record, &told);
            assert!(differs.is_empty(), "configuration {configuration}: {differs:?}\n{record}\n{told:#}\n{config}");
        }
        rules_taken.insert(record["route_name"].to_string());
    }
    assert!(rules_taken.len() > 2, "the requests tell little: {rules_taken:?}");
}

#[tokio::test]
async fn what_is_explained_is_what_was_done() {
    for configuration in 1..4 {
        hold(configuration, 100, 3).await;
    }
}

#[tokio::test]
#[ignore = "takes a minute; the same with ten thousand requests"]
async fn what_is_explained_is_what_was_done_ten_thousand_times() {
    for configuration in 10..20 {
        hold(configuration, 1_000, 20).await;
    }
}
