//! What is asked for, by its bytes: targets that pass as they came, those that are refused, what a rewrite makes of them, whom a
//! request is from, and what was to be secured.

use crate::config::{document, policy, route, routes, service};
use crate::endpoint::{Endpoint, say};
use crate::http2::{Server, ask, call, finish, request};
use crate::message::get;
use crate::program::Leeboard;

fn shop(endpoint: &Endpoint) -> String {
    service("shop.test", "HTTP", &[(endpoint.address, "v1")])
}

#[tokio::test]
async fn what_asks_for_tls_is_not_sent_in_clear() {
    let endpoint = Endpoint::named("app").await;
    let subset = "{host: shop.test, subset: v2}";
    let config = shop(&endpoint)
        + &service("open.test", "HTTP", &[(endpoint.address, "v1")])
        + &document(
            "DestinationRule",
            "shop",
            "{host: shop.test, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}, \
             subsets: [{name: v2, labels: {version: v1}, trafficPolicy: {tls: {mode: DISABLE}}}]}",
        )
        + &routes("open.test", "[{route: [{destination: {host: open.test}}], mirror: {host: shop.test}}]")
        + &routes(
            "shop.test",
            &format!(
                "[{{match: [{{uri: {{prefix: /v2}}}}], route: [{{destination: {subset}}}]}}, {{route: [{{destination: {{host: shop.test}}}}]}}]"
            ),
        );
    let leeboard = Leeboard::start(&config).await;
    for head in
        [get("/", ""), get("http://shop.test/abs", ""), get("https://open.test/tls", ""), get("https://open.test", "")]
    {
        let answer = leeboard.ask(&head).await;
        let reason = answer.header("x-leeboard-reason").unwrap_or_default();
        assert_eq!((answer.status(), reason.starts_with("tls-not-available; ")), (503, true), "{head}");
    }
    let record = leeboard.record("/tls").await;
    assert_eq!(
        (&record["response_flags"], &record["response_code_details"]),
        (&"UF".into(), &"tls_not_available".into())
    );
    let sender = call(leeboard.port("outbound")).await;
    let refused = ask(&sender, request("GET", "/h2", &[]), None).await.unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(endpoint.hits(), 0);
    // Neither is a copy of what itself goes in clear.
    assert_eq!(leeboard.ask("GET /copied HTTP/1.1\r\nHost: open.test\r\n\r\n").await.status(), 200);
    leeboard.metric_becomes("leeboard_mirrors_total", &["outcome=\"dropped\""], 1.0).await;
    assert_eq!(leeboard.ask(get("/v2", "")).await.status(), 200);
    assert_eq!(endpoint.hits(), 2);
}

#[tokio::test]
async fn visible_characters_pass_as_they_came() {
    let endpoint = Endpoint::start(|asked| say(200, asked.message.target())).await;
    let http2 = Server::start(|request, respond, _| async move {
        finish(respond, request.uri().path_and_query().map_or("", |path| path.as_str()), &[]);
    })
    .await;
    let config = shop(&endpoint) + &service("many.test", "HTTP2", &[(http2.address, "v1")]);
    let leeboard = Leeboard::start(&config).await;
    let all: String = (b'!'..=b'~').map(char::from).filter(|letter| !"#?%\\.".contains(*letter)).collect();
    for path in [format!("/{all}?{all}"), format!("/{all}%2f%5C%b?%61%00\\.")] {
        assert_eq!(leeboard.ask(get(&path, "")).await.text(), path);
        assert_eq!(leeboard.ask(get(&format!("http://shop.test{path}"), "")).await.text(), path);
        // HTTP/2 by the http crate has no room for some of them: they are not sent otherwise.
        let answer = leeboard.ask(format!("GET {path} HTTP/1.1\r\nHost: many.test\r\n\r\n")).await;
        let reason = answer.header("x-leeboard-reason").unwrap_or_default();
        assert_eq!((answer.status(), reason.starts_with("path-not-sendable; ")), (500, true));
    }
    assert_eq!(http2.streams(), 0);
    let answer = leeboard.ask("GET /a\"|{}^[]`?`x HTTP/1.1\r\nHost: many.test\r\n\r\n").await;
    assert_eq!(answer.status(), 500, "a backtick in a path");
    let answer = leeboard.ask("GET /a\"|{}^[]?`x HTTP/1.1\r\nHost: many.test\r\n\r\n").await;
    assert_eq!(answer.text(), "/a\"|{}^[]?`x");
}

#[tokio::test]
async fn targets_that_are_none_are_refused() {
    let endpoint = Endpoint::start(|asked| say(200, asked.message.target())).await;
    let leeboard = Leeboard::start(&shop(&endpoint)).await;
    #[rustfmt::skip]
    let table = [
        // request line's beginning, status, reason or body
        ("GET /a#b", 400, "invalid-target"),
        ("GET /a?b#c", 400, "invalid-target"),
        ("GET word", 400, "invalid-target"),
        ("GET shop.test:80", 400, "invalid-target"),
        ("GET ftp://shop.test/", 400, "invalid-target"),
        ("GET http:///a", 400, "invalid-host"),
        ("GET *", 400, "invalid-target"),
        ("OPTIONS *", 404, "asterisk"),
        ("OPTIONS http://shop.test", 200, "/"),
        ("GET http://shop.test?q=1", 200, "/?q=1"),
        ("GET HTTP://shop.test/%61?q=1", 200, "/a?q=1"),
    ];
    for (start, status, expected) in table {
        let answer = leeboard.ask(format!("{start} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await;
        let told = answer.header("x-leeboard-reason").map_or_else(|| answer.text(), str::to_owned);
        assert_eq!((answer.status(), told.as_str()), (status, expected), "{start}");
    }
    let sender = call(leeboard.port("outbound")).await;
    let uri = http::Uri::builder().scheme("http").authority("shop.test").path_and_query("*").build().unwrap();
    let asked = http::Request::options(uri).body(()).unwrap();
    let answer = ask(&sender, asked, None).await.unwrap();
    let reason = answer.headers.get("x-leeboard-reason").map(|reason| reason.as_bytes());
    assert_eq!((answer.status, reason), (404, Some(&b"asterisk"[..])));
    for (host, expected) in [("shop.test:", 200), ("shop.test:99999", 400), ("shop.test,b", 400), ("[shop.test]", 400)]
    {
        let answer = leeboard.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status(), expected, "{host}");
    }
    assert!(endpoint.seen().iter().all(|asked| asked.message.header("host") == Some("shop.test")));
}

#[tokio::test]
async fn guards_are_not_passed_by_spelling() {
    let endpoint = Endpoint::start(|asked| say(200, asked.message.target())).await;
    let rules = "[{match: [{uri: {prefix: /admin}}], directResponse: {status: 403}}, {route: [{destination: {host: shop.test}}]}]";
    let leeboard = Leeboard::start(&(shop(&endpoint) + &routes("shop.test", rules))).await;
    let sender = call(leeboard.port("outbound")).await;
    for path in ["/%61dmin", "/x/..;/admin", "/.;/admin", "/x/%2e%2e;a/admin/b", "/%41/../%61dmin", "/x\\..\\admin"] {
        assert_eq!(leeboard.ask(get(path, "")).await.status(), 403, "{path}");
        assert_eq!(ask(&sender, request("GET", path, &[]), None).await.unwrap().status, 403, "{path} by HTTP/2");
    }
    assert_eq!(endpoint.hits(), 0);
    for (path, sent) in [("/%7Ea%2fb%b", "/~a%2fb%b"), ("/a%2Fb", "/a%2Fb"), ("/%%361dmin", "/%%361dmin")] {
        assert_eq!(leeboard.ask(get(path, "")).await.text(), sent);
    }
}

/// A request with a field whose value is no text.
fn odd(path: &str, value: &[u8]) -> Vec<u8> {
    [format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nx-role: ").as_bytes(), value, b"\r\n\r\n"].concat()
}

#[tokio::test]
async fn guards_are_not_passed_by_bytes_that_are_no_text() {
    let endpoint = Endpoint::named("app").await;
    let guard = |path: &str, value: &str| {
        format!(
            "{{match: [{{uri: {{prefix: {path}}}, headers: {{x-role: {{{value}}}}}}}], directResponse: {{status: 403}}}}"
        )
    };
    let rules = format!(
        "[{}, {}, {{match: [{{uri: {{prefix: /c}}, withoutHeaders: {{x-role: {{regex: \"guest.*\"}}}}}}], directResponse: {{status: 403}}}}, \
         {{route: [{{destination: {{host: shop.test}}}}], headers: {{request: {{set: {{x-copy: \"<%REQ(x-role)%>\"}}}}}}}}]",
        guard("/a", "prefix: admin"),
        guard("/b", "regex: \"adm.n.*\"")
    );
    let leeboard = Leeboard::start(&(shop(&endpoint) + &routes("shop.test", &rules))).await;
    let sender = call(leeboard.port("outbound")).await;
    #[rustfmt::skip]
    let table: [(&str, &[u8], u16); 6] = [
        ("/a", b"admin\xff", 403), ("/b", b"adm\xffn\xfe", 403), ("/b", b"admin\xc3", 403),
        ("/c", b"\xffguest", 403), ("/c", b"guest\xff", 200), ("/a", b"\xffadmin", 200),
    ];
    for (path, value, status) in table {
        assert_eq!(leeboard.ask(odd(path, value)).await.status(), status, "{path} {}", value.escape_ascii());
        let mut asked = request("GET", path, &[]);
        asked.headers_mut().insert("x-role", http::HeaderValue::from_bytes(value).unwrap());
        let answer = ask(&sender, asked, None).await.unwrap();
        assert_eq!(answer.status, status, "{path} {} by HTTP/2", value.escape_ascii());
    }
    let seen = endpoint.seen();
    let copies: Vec<_> = seen.iter().map(|asked| asked.message.header("x-copy").unwrap_or_default()).collect();
    assert_eq!(
        copies,
        [r"<guest\xff>", r"<guest\xff>", r"<\xffadmin>", r"<\xffadmin>"],
        "they are copied as they came"
    );
}

#[tokio::test]
async fn a_rewrite_is_carried_out_or_refused_and_its_origin_told() {
    let endpoint = Endpoint::named("app").await;
    let to = "route: [{destination: {host: shop.test}}]";
    let rules = format!(
        "[{{match: [{{uri: {{prefix: /api}}}}], rewrite: {{uri: \" \"}}, {to}}}, \
          {{match: [{{uri: {{prefix: /noslash/}}}}], rewrite: {{uri: v2/, authority: \"b.test:81\"}}, {to}}}, \
          {{match: [{{uri: {{prefix: /regex/}}}}], rewrite: {{uriRegexRewrite: {{match: \"/regex/(.*)\", rewrite: '\\1'}}}}, {to}}}, \
          {{match: [{{uri: {{prefix: /blank}}}}], rewrite: {{uri: \"/a b\"}}, {to}}}, \
          {{match: [{{uri: {{prefix: /host}}}}], rewrite: {{authority: \"https://x.test\"}}, {to}}}, \
          {{{to}, headers: {{request: {{set: {{x-name: \"k\u{e4}se\", content-length: \"50\", transfer-encoding: chunked}}, add: {{connection: x}}}}}}}}]"
    );
    let leeboard = Leeboard::start(&(shop(&endpoint) + &routes("shop.test", &rules))).await;
    for path in ["/api/x?q", "/noslash/x", "/regex/x", "/plain"] {
        assert_eq!(leeboard.ask(get(path, "x-envoy-original-host: forged\r\n")).await.status(), 200, "{path}");
    }
    for (path, reason) in [("/blank", "path-not-sendable"), ("/host", "authority-not-sendable")] {
        let answer = leeboard.ask(get(path, "")).await;
        let told = answer.header("x-leeboard-reason").unwrap_or_default();
        assert_eq!((answer.status(), told.split(';').next()), (500, Some(reason)));
    }
    let seen = endpoint.seen();
    let shown: Vec<_> = seen
        .iter()
        .map(|asked| {
            let field = |name| asked.message.header(name);
            (asked.message.target(), field("host"), field("x-envoy-original-path"), field("x-envoy-original-host"))
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("/x?q", Some("shop.test"), Some("/api/x?q"), None),
            ("/v2/x", Some("b.test:81"), Some("/noslash/x"), Some("shop.test")),
            ("/x", Some("shop.test"), Some("/regex/x"), None),
            ("/plain", Some("shop.test"), None, None),
        ]
    );
    let last = &seen[3].message;
    assert_eq!(last.header("x-name"), Some("k\u{e4}se"));
    assert_eq!(["content-length", "transfer-encoding", "connection"].map(|name| last.header(name)), [None; 3]);
}

#[tokio::test]
async fn a_request_is_from_whom_the_proxies_before_say() {
    let (one, two) = (Endpoint::named("one").await, Endpoint::named("two").await);
    let hashed = "{loadBalancer: {consistentHash: {useSourceIp: true}}}";
    let config = service("shop.test", "HTTP", &[(one.address, "v1"), (two.address, "v2")])
        + &policy("shop.test", hashed)
        + &route(
            "shop.test",
            "headers: {response: {set: {x-who: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\", x-peer: \"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%\"}}}",
        );
    let leeboard = Leeboard::start(&config).await;
    let mut answers = std::collections::BTreeMap::new();
    for turn in 0..40 {
        let client = format!("10.1.2.{}", turn % 20);
        let answer = leeboard.ask(get("/", &format!("X-Forwarded-For: 9.9.9.9, {client}\r\n"))).await;
        assert_eq!((answer.header("x-who"), answer.header("x-peer")), (Some(client.as_str()), Some("127.0.0.1")));
        let endpoint = answer.text();
        assert_eq!(*answers.entry(client).or_insert_with(|| endpoint.clone()), endpoint, "a client keeps its endpoint");
    }
    assert!(one.hits() > 0 && two.hits() > 0, "not everybody is one client");
    leeboard.ask(get("/log", "X-Forwarded-For: 10.7.7.7\r\n")).await;
    assert_eq!(leeboard.record("/log").await["downstream_remote_address"], "10.7.7.7:0");

    let mesh = "---\napiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec: {defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}}\n";
    let leeboard = Leeboard::start(&(config + mesh)).await;
    let answer = leeboard.ask(get("/", "X-Forwarded-For: 9.9.9.9, 10.1.2.3\r\n")).await;
    assert_eq!(answer.header("x-who"), Some("9.9.9.9"));
}

#[tokio::test]
async fn the_scheme_is_the_targets_or_what_the_proxy_before_says() {
    let endpoint = Endpoint::named("app").await;
    let rules = "[{match: [{uri: {prefix: /old}}], redirect: {uri: /new}}, \
        {match: [{scheme: {exact: https}}], directResponse: {status: 299}}, {route: [{destination: {host: shop.test}}]}]";
    let leeboard = Leeboard::start(&(shop(&endpoint) + &routes("shop.test", rules))).await;
    for (fields, location, status) in [
        ("", "http://shop.test/new", 200),
        ("x-forwarded-proto: https\r\n", "https://shop.test/new", 299),
        ("x-forwarded-proto: gopher\r\n", "http://shop.test/new", 200),
    ] {
        assert_eq!(leeboard.ask(get("/old", fields)).await.header("location"), Some(location), "{fields}");
        assert_eq!(leeboard.ask(get("/", fields)).await.status(), status, "{fields}");
    }
    let sender = call(leeboard.port("outbound")).await;
    let asked = http::Request::get("https://shop.test/").body(()).unwrap();
    assert_eq!(ask(&sender, asked, None).await.unwrap().status, 299);
}

#[tokio::test]
async fn the_applications_side_leaves_what_the_callers_proxy_has_said() {
    let endpoint = Endpoint::named("app").await;
    let inbound = format!("127.0.0.1:0={}", endpoint.address);
    let leeboard = Leeboard::with("", &["--inbound", &inbound]).await;
    let said = "x-envoy-attempt-count: 3\r\nx-envoy-original-path: /a\r\nx-envoy-original-host: b\r\n";
    leeboard.ask_at("inbound", get("/", said)).await;
    leeboard.ask_at("inbound", get("/", "")).await;
    let seen = endpoint.seen();
    for (name, expected) in
        [("x-envoy-attempt-count", "3"), ("x-envoy-original-path", "/a"), ("x-envoy-original-host", "b")]
    {
        let values = [0, 1].map(|at: usize| seen[at].message.header(name));
        assert_eq!(values, [Some(expected), None], "{name}");
    }
    let closed = leeboard.ask(get("/", "Connection: close, x-forwarded-for\r\n")).await;
    assert_eq!((closed.status(), closed.header("x-leeboard-reason")), (400, Some("invalid-connection")));
}
