//! Any request under any configuration: what `explain` says of it is what the endpoint, the caller and the access log saw, byte
//! for byte. Paths, hosts and headers are of every visible character.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

use crate::config::{document, routes, service};
use crate::endpoint::{Endpoint, say};
use crate::explain::Luck;
use crate::http2::{Server, finish};
use crate::message::{Message, Wire};
use crate::patience::soon;
use crate::program::Leeboard;

/// A head as an endpoint has it: target, authority, and all fields but its own in order of name.
type Seen = (String, String, Vec<(String, String)>);

/// Fields that the proxy adds for the endpoint's proxy or of the attempt, and that no explanation has.
fn is_own(name: &str) -> bool {
    let own = ["host", "content-length", "x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms"];
    own.contains(&name) || name.starts_with("x-leeboard-")
}

fn fields<'f>(list: impl Iterator<Item = (&'f str, &'f str)>) -> Vec<(String, String)> {
    let lower = list.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut fields: Vec<_> = lower.filter(|(name, _)| !is_own(name)).collect();
    // Values of one name keep their order.
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

fn seen_by_http1(message: &Message) -> Seen {
    let list = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let host = message.header("host").unwrap_or_default().to_owned();
    (message.target().to_owned(), host, fields(list))
}

/// A text with any visible characters, a few of which it has more often.
fn text(luck: &mut Luck, length: u64, often: &str) -> String {
    let letter = |luck: &mut Luck| match luck.below(3) {
        0 => char::from(b'!' + luck.below(94) as u8),
        _ => often.chars().nth(luck.below(often.len() as u64) as usize).unwrap_or('a'),
    };
    let length = luck.below(length + 1);
    (0..length).map(|_| letter(luck)).collect()
}

struct Asked {
    /// Its name in the access log and at the endpoint.
    name: String,
    method: &'static str,
    url: String,
    target: String,
    host: String,
    fields: Vec<(String, Vec<u8>)>,
}

fn request(luck: &mut Luck, turn: usize) -> Asked {
    let method = luck.one(&["GET", "GET", "GET", "PUT", "DELETE"]);
    let odd = text(luck, 4, "/.%;:").replace(['/', '?', '#'], "");
    let host = match luck.below(8) {
        0 => format!("shop.test{odd}"),
        1 => {
            luck.one(&["SHOP.test:80", "shop.test:", "shop.test:81", "unknown.test", "[::1]", "shop.test."]).to_owned()
        }
        2 => "many.test".to_owned(),
        _ => "shop.test".to_owned(),
    };
    let start = luck.one(&["/", "/a", "/a/", "/b", "/c", "/d", "/e", "/f/", "/%61", "/x/..;/a", "/h"]);
    let path = start.to_owned() + &text(luck, 12, "/.%;?=a2eE6\\");
    let url = match luck.below(12) {
        0 => format!("https://{host}{path}"),
        _ => format!("http://{host}{path}"),
    };
    let whole = url.starts_with("https") || luck.below(8) == 0;
    let target = if whole { url.clone() } else { path };
    let mut fields = Vec::new();
    for _ in 0..luck.below(4) {
        let name = luck.one(&["x-k", "X-K", "x-odd", "x-forwarded-for", "x-forwarded-proto", "te", "accept", "x-gone"]);
        let value = match name {
            "x-forwarded-for" => luck.one(&["1.2.3.4", "1.1.1.1, 2.2.2.2", "::1", "junk"]).to_owned(),
            "x-forwarded-proto" => luck.one(&["https", "http", "HTTPS", "ftp"]).to_owned(),
            "te" => luck.one(&["trailers", "gzip", "gzip, trailers;q=1"]).to_owned(),
            _ => text(luck, 6, "v w,\u{e9}").trim().to_owned(),
        };
        let mut value = value.into_bytes();
        if luck.below(3) == 0 {
            let place = luck.below(value.len() as u64 + 1) as usize;
            value.insert(place, [0x80, 0xc3, 0xe9, 0xff][luck.below(4) as usize]);
        }
        fields.push((name.to_owned(), value));
    }
    if luck.below(10) == 0 {
        let names = luck.one(&["x-k", "x-gone, x-odd", "x-forwarded-for", "host", "a,b,c,d,e,f,g,h,i,j,k"]);
        fields.push(("connection".to_owned(), names.as_bytes().to_vec()));
    }
    if whole {
        // A whole URL has a scheme of its own, but `explain` reads http:// as a path on a host, which is what services are sent.
        fields.retain(|(name, _)| name != "x-forwarded-proto");
    }
    let name = format!("turn-{turn}");
    fields.push(("user-agent".to_owned(), name.clone().into_bytes()));
    Asked { name, method, url, target, host, fields }
}

impl Asked {
    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host).into_bytes();
        for (name, value) in &self.fields {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        [&head, &b"\r\n"[..]].concat()
    }

    fn shown(&self) -> String {
        leeboard_sim::text(&self.head())
    }

    /// The page that explains it.
    fn question(&self, seed: &str) -> String {
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let field = |(name, value): &(String, Vec<u8>)| [name.as_bytes(), b": ", value].concat();
        let fields = self.fields.iter().map(|pair| format!("&header={}", escaped(&field(pair))));
        let fields: String = fields.collect();
        format!("/explain?format=json&url={}&method={}&seed={seed}{fields}", escaped(self.url.as_bytes()), self.method)
    }
}

/// A rule with a random match and a random action.
fn rule(luck: &mut Luck, index: usize) -> String {
    let odd = |luck: &mut Luck| Json::from(text(luck, 5, "/a v2")).to_string();
    let when = match luck.below(10) {
        0 => "{uri: {prefix: /a}}".to_owned(),
        1 => "{uri: {prefix: /b}, headers: {x-k: {exact: v}}}".to_owned(),
        2 => "{uri: {regex: \"/c.*\"}}".to_owned(),
        3 => "{uri: {prefix: /f/}, scheme: {exact: https}}".to_owned(),
        4 => "{uri: {prefix: /d}, withoutHeaders: {x-k: {exact: v}}}".to_owned(),
        5 => "{headers: {x-odd: {prefix: v}}}".to_owned(),
        6 => "{uri: {exact: /a/}}".to_owned(),
        7 => "{headers: {x-odd: {regex: \"v.*\"}}}".to_owned(),
        8 => "{withoutHeaders: {x-odd: {regex: \"[^w]*\"}}}".to_owned(),
        _ => "{uri: {prefix: /}, method: {exact: PUT}}".to_owned(),
    };
    let host = luck.one(&["shop.test", "shop.test", "many.test", "secret.test"]);
    let route = format!("route: [{{destination: {{host: {host}}}}}]");
    let action = match luck.below(12) {
        0 => route,
        1 => {
            format!("{route}, rewrite: {{uri: {}}}", luck.one(&["\" \"", "v2/", "/r<x", "\"/a b\"", "/n", "\"/h#i\""]))
        }
        2 => format!("{route}, rewrite: {{uri: \"/\" , authority: other.test:81}}"),
        3 => format!("{route}, rewrite: {{uriRegexRewrite: {{match: \"/.(.*)\", rewrite: '\\1'}}}}"),
        4 => format!("{route}, rewrite: {{authority: {}}}", luck.one(&["\"https://x.test\"", "x.test", "\"[::1]:9\""])),
        5 => "redirect: {uri: /new, scheme: https}".to_owned(),
        6 => format!("redirect: {{uri: {}}}", odd(luck).replace("\"\"", "\"/\"")),
        7 => format!("directResponse: {{status: 299, body: {{string: {}}}}}", odd(luck)),
        8 => format!(
            "{route}, rewrite: {{uri: /new}}, headers: {{request: {{set: {{x-path: \"%REQ(:path)%\", x-k: \"<%REQ(x-k)%>\", \
             x-who: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\"}}, remove: [x-gone]}}}}"
        ),
        9 => format!(
            "{route}, headers: {{request: {{set: {{content-length: \"5\", connection: x, x-odd: {}}}, add: {{x-k: more, te: gzip}}}}}}",
            Json::from(format!("a{}", text(luck, 5, "\u{e9}v").replace('%', "%%")))
        ),
        10 => format!("{route}, headers: {{request: {{set: {{Host: set.test}}}}}}"),
        _ => format!("{route}, fault: {{abort: {{httpStatus: 418, percentage: {{value: 40}}}}}}"),
    };
    format!("{{name: r{index}, match: [{when}], {action}}}")
}

/// What does not agree.
fn differences(asked: &Asked, answer: &Message, record: &Json, sent: Option<&Seen>, told: &Json) -> Vec<String> {
    let answered_here = !told["answer"].is_null();
    let status = if answered_here { told["answer"]["status"].clone() } else { Json::from(200) };
    let reason = answer.header("x-leeboard-reason").and_then(|reason| reason.split(';').next());
    let reason_told = told["answer"]["reason"].as_str().filter(|_| !matches!(status.as_u64(), Some(299 | 301)));
    let origin = &told["rule"]["origin"];
    let rule = origin["file"].as_str().map(|file| format!("{file}:{}", origin["line"]));
    let cluster = if answered_here { Json::Null } else { told["cluster"]["name"].clone() };
    let reached = if answered_here { Json::Null } else { record["upstream_cluster"].clone() };
    let mut differs: Vec<String> = [
        ("path", record["path"].clone(), told["request"]["path"].clone()),
        ("status", answer.status().into(), status.clone()),
        ("logged status", record["response_code"].clone(), status),
        ("route", record["route_name"].clone(), told["rule"]["name"].clone()),
        ("rule", record["rule"].clone(), rule.into()),
        ("cluster", reached, cluster),
        ("reason", reason.into(), reason_told.into()),
        // Blanks at the end of a field's value are none of it. RFC 9110 §5.5.
        ("location", answer.header("location").into(), told["answer"]["location"].as_str().map(str::trim_end).into()),
    ]
    .into_iter()
    .filter(|(_, did, said)| did != said)
    .map(|(what, did, said)| format!("{what}: did {did}, explained {said}"))
    .collect();
    let pairs = told["sent"]["headers"].as_array().cloned().unwrap_or_default();
    let pair = |pair: &Json| (pair[0].as_str().unwrap_or("").to_owned(), pair[1].as_str().unwrap_or("").to_owned());
    let pairs: Vec<_> = pairs.iter().map(pair).collect();
    let said: Option<Seen> = told["sent"]["path"].as_str().filter(|_| !answered_here).map(|path| {
        let list = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        (path.to_owned(), told["sent"]["authority"].as_str().unwrap_or_default().to_owned(), fields(list))
    });
    if sent != said.as_ref() {
        differs.push(format!("sent: did {sent:#?}, explained {said:#?}"));
    }
    if !differs.is_empty() {
        differs.push(asked.shown());
    }
    differs
}

/// What the endpoints have seen, by the request's name.
type Notes = Arc<Mutex<BTreeMap<String, Seen>>>;

async fn http1(notes: &Notes) -> Endpoint {
    let notes = notes.clone();
    Endpoint::start(move |asked| {
        let name = asked.message.header("user-agent").unwrap_or_default().to_owned();
        notes.lock().unwrap().insert(name, seen_by_http1(&asked.message));
        say(200, "here")
    })
    .await
}

async fn http2(notes: &Notes) -> Server {
    let notes = notes.clone();
    Server::start(move |request, respond, _| {
        let notes = notes.clone();
        async move {
            let (head, _) = request.into_parts();
            let value = |value: &http::HeaderValue| leeboard_sim::text(value.as_bytes());
            let list: Vec<_> = head.headers.iter().map(|(name, text)| (name.as_str(), value(text))).collect();
            let uri = head.uri;
            let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
            let path = uri.path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
            let name = head.headers.get("user-agent").map(value).unwrap_or_default();
            let seen = (path, authority, fields(list.iter().map(|(name, value)| (*name, value.as_str()))));
            notes.lock().unwrap().insert(name, seen);
            finish(respond, "here", &[]);
        }
    })
    .await
}

/// Holds `explain` to the requests of one random configuration; how many were admitted.
async fn hold(configuration: u64, requests: usize) -> usize {
    let mut luck = Luck::new(configuration);
    let notes = Notes::default();
    let (one, many) = (http1(&notes).await, http2(&notes).await);
    let rules: Vec<String> = (0..10).map(|index| rule(&mut luck, index)).collect();
    let last = "{name: last, route: [{destination: {host: shop.test}}]}";
    let config = service("shop.test", "HTTP", &[(one.address, "v1")])
        + &service("many.test", "HTTP2", &[(many.address, "v1")])
        + &service("secret.test", "HTTP", &[(one.address, "v1")])
        + &document("DestinationRule", "secret", "{host: secret.test, trafficPolicy: {tls: {mode: SIMPLE}}}")
        + &routes("shop.test", &format!("[{}, {last}]", rules.join(", ")));
    let leeboard = Leeboard::with(&config, &["--outbound-traffic-policy", "registry-only"]).await;
    let mut all = Vec::new();
    for turn in 0..requests {
        let asked = request(&mut luck, turn);
        let answer = leeboard.ask(asked.head()).await;
        all.push((asked, answer));
    }
    let mut admin = Wire::to(leeboard.port("admin")).await;
    let mut admitted = 0;
    let mut records = BTreeMap::new();
    for (asked, answer) in &all {
        let refused = answer.header("server") == Some("leeboard")
            && answer.header("x-leeboard-reason").is_some_and(|reason| !reason.contains(';'));
        if !refused && !records.contains_key(&asked.name) {
            let found = leeboard.record_of("user_agent", &asked.name).await;
            records.insert(asked.name.clone(), found);
        }
        let record = records.get(&asked.name);
        let seed = record.and_then(|record| record["seed"].as_str()).unwrap_or("1");
        let page = asked.question(seed);
        admin.send(format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.unwrap();
        let page = soon("an explanation", admin.response()).await.expect("the connection is kept").text();
        let context = || format!("configuration {configuration}\n{}\n{page}\n{config}", asked.shown());
        let Some(record) = record else {
            let reason = answer.header("x-leeboard-reason").unwrap_or_default();
            let said = page.contains(&format!("{} ({reason})", answer.status())) || page.contains("names no host");
            assert!(said, "did {reason}, explained otherwise: {}", context());
            continue;
        };
        admitted += 1;
        let told: Json = serde_json::from_str(&page).unwrap_or_else(|_| panic!("{}", context()));
        let notes = notes.lock().unwrap();
        let differs = differences(asked, answer, record, notes.get(&asked.name), &told);
        assert!(differs.is_empty(), "{}\n{record:#}\n{}", differs.join("\n"), context());
    }
    assert_eq!(notes.lock().unwrap().keys().filter(|name| !records.contains_key(*name)).count(), 0);
    admitted
}

#[tokio::test]
async fn whatever_is_asked_is_done_as_it_is_explained() {
    for configuration in 1..5 {
        let admitted = hold(configuration, 80).await;
        assert!((40..80).contains(&admitted), "of 80 requests {admitted} were admitted, which tells little");
    }
}

#[tokio::test]
#[ignore = "takes minutes; the same with ten thousand requests"]
async fn whatever_is_asked_is_done_as_it_is_explained_ten_thousand_times() {
    for configuration in 100..150 {
        hold(configuration, 200).await;
    }
}
