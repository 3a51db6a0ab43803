//! Which endpoint a request reaches, and what has become of its head by then.

use serde_json::Value as Json;

use crate::config::{policy, routes, service};
use crate::endpoint::Endpoint;
use crate::message::get;
use crate::program::Leeboard;

const RULES: &str = r#"[
  {name: canary, match: [{headers: {x-canary: {exact: v2}}}], route: [{destination: {host: shop.test, subset: v2}}]},
  {name: api, match: [{uri: {prefix: /api/}}], rewrite: {uri: /}, route: [{destination: {host: shop.test, subset: v1}}]},
  {name: item, match: [{uri: {regex: "/item/[0-9]+"}}], rewrite: {uriRegexRewrite: {match: "/item/([0-9]+)", rewrite: "/i/\\1"}, authority: items.test},
   route: [{destination: {host: shop.test, subset: v1}}]},
  {name: old, match: [{uri: {exact: /old}}], redirect: {uri: /new, authority: new.test, redirectCode: 308}},
  {name: direct, match: [{uri: {exact: /direct}}], directResponse: {status: 418, body: {string: short and stout}}},
  {name: edits, match: [{uri: {exact: /edits}}],
   headers: {request: {set: {x-set: new}, add: {x-added: "1"}, remove: [x-gone]}, response: {set: {x-from: leeboard}, remove: [x-secret]}},
   route: [{destination: {host: shop.test, subset: v1}}]},
  {name: split, match: [{uri: {exact: /split}}],
   route: [{destination: {host: shop.test, subset: v1}, weight: 70}, {destination: {host: shop.test, subset: v2}, weight: 30}]},
  {name: rest, match: [{uri: {prefix: /}}], route: [{destination: {host: shop.test, subset: v1}}]}
]"#;

async fn shop(v1: &Endpoint, v2: &Endpoint) -> Leeboard {
    let service = service("shop.test", "HTTP", &[(v1.address, "v1"), (v2.address, "v2")]);
    Leeboard::start(
        &(service + &policy("shop.test", "{loadBalancer: {simple: ROUND_ROBIN}}") + &routes("shop.test", RULES)),
    )
    .await
}

#[tokio::test]
async fn a_header_sends_every_request_to_the_canary() {
    let (v1, v2) = (Endpoint::named("v1").await, Endpoint::named("v2").await);
    let leeboard = shop(&v1, &v2).await;
    let mut wire = leeboard.dial().await;
    for turn in 0..40 {
        for (fields, version) in [("X-Canary: v2\r\n", "v2"), ("X-Canary: v20\r\n", "v1"), ("", "v1")] {
            wire.send(get(&format!("/{turn}"), fields)).await.unwrap();
            assert_eq!(wire.response().await.unwrap().text(), version);
        }
    }
    assert_eq!((v1.hits(), v2.hits()), (80, 40));
    assert_eq!((v1.connections(), v2.connections()), (1, 1), "connections are kept");
}

#[tokio::test]
async fn paths_and_authorities_are_rewritten() {
    let (v1, v2) = (Endpoint::named("v1").await, Endpoint::named("v2").await);
    let leeboard = shop(&v1, &v2).await;
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, Option<&str>)] = &[
        // asked, sent on, host sent on, x-envoy-original-path
        ("/api/users?page=2", "/users?page=2", "shop.test", Some("/api/users?page=2")),
        ("/item/42", "/i/42", "items.test", Some("/item/42")),
        ("/item/42x", "/item/42x", "shop.test", None),
        ("/a/../b/./c", "/b/c", "shop.test", None),
        ("/a//b%2Fc", "/a//b%2Fc", "shop.test", None),
    ];
    for (asked, sent, host, original) in table {
        assert_eq!(leeboard.ask(get(asked, "")).await.status(), 200, "{asked}");
        let last = v1.seen().pop().unwrap().message;
        assert_eq!((last.target(), last.header("host").unwrap()), (*sent, *host), "{asked}");
        assert_eq!(last.header("x-envoy-original-path"), *original, "{asked}");
    }
}

#[tokio::test]
async fn redirects_and_direct_responses_reach_no_endpoint() {
    let (v1, v2) = (Endpoint::named("v1").await, Endpoint::named("v2").await);
    let leeboard = shop(&v1, &v2).await;
    let redirect = leeboard.ask(get("/old", "")).await;
    assert_eq!((redirect.status(), redirect.header("location")), (308, Some("http://new.test/new")));
    let direct = leeboard.ask(get("/direct", "")).await;
    assert_eq!((direct.status(), direct.text().as_str()), (418, "short and stout"));
    for path in ["/old", "/direct"] {
        let record = leeboard.record(path).await;
        assert_eq!(
            (&record["response_flags"], &record["response_code_details"]),
            (&"-".into(), &"direct_response".into())
        );
    }
    assert_eq!(v1.hits() + v2.hits(), 0);
}

#[tokio::test]
async fn headers_are_edited_both_ways() {
    let v1 = Endpoint::start(|_| {
        let answer = "HTTP/1.1 200 OK\r\nX-Secret: 1\r\nX-From: app\r\nContent-Length: 0\r\n\r\n";
        vec![crate::endpoint::Deed::Send(answer.into())]
    })
    .await;
    let leeboard = shop(&v1, &v1).await;
    let answer = leeboard.ask(get("/edits", "X-Set: old\r\nX-Gone: 1\r\nX-Added: 0\r\n")).await;
    assert_eq!((answer.header("x-from"), answer.header("x-secret")), (Some("leeboard"), None));
    let sent = v1.seen().pop().unwrap().message;
    let all = |name: &str| -> Vec<&str> {
        sent.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!((all("x-set"), all("x-gone"), all("x-added")), (vec!["new"], vec![], vec!["0", "1"]));
}

#[tokio::test]
async fn a_split_is_kept_over_many_requests() {
    let (v1, v2) = (Endpoint::named("v1").await, Endpoint::named("v2").await);
    let leeboard = shop(&v1, &v2).await;
    let mut wire = leeboard.dial().await;
    for _ in 0..1_000 {
        wire.send(get("/split", "")).await.unwrap();
        wire.response().await.unwrap();
    }
    // 30 % of 1,000 is 300 with a deviation of 14.5; eight of them miss once in 10¹⁵ runs.
    assert_eq!(v1.hits() + v2.hits(), 1_000);
    assert!((184..=416).contains(&v2.hits()), "v2 had {} of 1,000", v2.hits());
}

#[tokio::test]
async fn what_an_operator_sees_names_the_rule() {
    let v1 = Endpoint::named("v1").await;
    let leeboard = shop(&v1, &v1).await;
    leeboard.ask(get("/api/x", "User-Agent: test\r\n")).await;
    let record = leeboard.record("/api/x").await;
    for (key, value) in [
        ("route_name", Json::from("api")),
        ("authority", "shop.test".into()),
        ("user_agent", "test".into()),
        ("upstream_cluster", "outbound|80|v1|shop.test".into()),
        ("upstream_host", v1.address.to_string().into()),
        ("response_flags", "-".into()),
        ("bytes_sent", 2.into()),
    ] {
        assert_eq!(record[key], value, "{key} of {record}");
    }
    assert!(record["rule"].as_str().unwrap().contains("config.yaml"), "{record}");
    let labels = [
        "reporter=\"source\"",
        "response_code=\"200\"",
        "destination_service=\"shop.test\"",
        "destination_version=\"v1\"",
    ];
    leeboard.metric_becomes("istio_requests_total", &labels, 1.0).await;
}
