//! What the pages are protected from: too many connections, other web sites, and showing credentials.

use leeboard_policy::headers::{Changes, HeaderOps, Operator, Part, Template};
use leeboard_policy::pattern::{HeaderMatch, Pattern};
use leeboard_policy::route::Match;

use super::*;
use crate::telemetry::exposition::Classic;

#[tokio::test]
async fn other_sites_change_nothing() {
    let (state, done, _held) = state(Life::Live);
    for (method, path, name, value) in [
        ("POST", "/quitquitquit", "origin", "http://example.com"),
        ("POST", "/quitquitquit", "x-request-id", "1"),
        ("GET", "/config_dump", "origin", "http://example.com"),
        ("GET", "/config_dump", "host", "rebound.example.com"),
        ("GET", "/no-such-page", "host", "rebound.example.com"),
    ] {
        let request = Request::builder().method(method).uri(path).header(name, value);
        let pages = Pages { state: state.clone(), scope: Scope::Admin };
        let answer = pages.answer(&request.body(()).unwrap());
        assert_eq!((answer.status(), done.lock().unwrap().len()), (StatusCode::FORBIDDEN, 0), "{path} {name}");
    }
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_waiting() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let (state, _, _held) = state(Life::Live);
    let sockets = [Scope::Admin, Scope::Status, Scope::Metrics];
    let sockets = sockets.map(|scope| (scope, TcpListener::bind("127.0.0.1:0").unwrap()));
    let addresses = sockets.each_ref().map(|(_, socket)| socket.local_addr().unwrap());
    server::start(sockets.into(), state.clone()).unwrap();
    let silent = |&at| (0..100).map(move |_| TcpStream::connect(at).unwrap());
    let mut downstream_connections: Vec<TcpStream> = addresses.iter().flat_map(silent).collect();
    for stream in downstream_connections.iter_mut().step_by(2) {
        stream.write_all(b"GET /re").unwrap();
    }
    for (at, path) in addresses.iter().zip(["/ready", "/ready", "/metrics"]) {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in time");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
    let page: String = Classic::new(state.telemetry.families(UNIX_EPOCH)).collect();
    for port in ["admin", "status", "metrics"] {
        let counted = format!("leeboard_admin_connections_dismissed_total{{port=\"{port}\",reason=\"crowded\"}} ");
        assert!(page.contains(&counted), "{counted} not in {page}");
    }
}

#[tokio::test]
async fn credentials_are_not_shown() {
    let (state, _, _held) = state(Life::Live);
    let mut state = Arc::into_inner(state).unwrap();
    state.secrets = crate::cli::values::secrets("x-tenant").unwrap();
    let mut report = ConfigReport::clone(&state.config.load());
    report.diagnostics[0].message = "`s3cr3t` must be the whole value".into();
    state.config = Arc::new(ArcSwap::from_pointee(report));
    let template = |text: &str| Template(vec![Part::Literal(text.into())]);
    let set = |name: &str, value: &str| (Arc::from(name), template(value));
    let wanted = |name: &str, value: &str| HeaderMatch { name: name.into(), value: Pattern::Exact(value.into()) };
    let copied = Operator::Request { name: "authorization".into(), alternative: None, limit: None };
    let copy = Template(vec![Part::Literal("of ".into()), Part::Operator(copied)]);
    let operations = || {
        HeaderOps::from(Changes {
            set: vec![set("authorization", "Basic s3cr3t"), set("x-tenant", "s3cr3t"), set("x-shown", "shown-1")],
            add: vec![set("set-cookie", "s3cr3t"), ("x-copy".into(), copy.clone())],
            ..Changes::default()
        })
    };
    let matched = |headers| Route {
        name: "guarded".into(),
        origin: place("VirtualService default/reviews", "config/routes.yaml", 12),
        when: Match { headers, ..Match::default() },
        cors: None,
        action: Action::Forward(Box::new(Forward {
            destinations: [Destination {
                cluster: Target::Cluster(ClusterId(0)),
                weight: 1,
                authority: None,
                request_headers: operations(),
                response_headers: operations(),
            }]
            .into(),
            ..Forward::default()
        })),
    };
    let missed = matched(vec![wanted("x-api-key", "s3cr3t"), wanted("x-shown", "shown-2")]);
    let taken = matched(vec![wanted("authorization", "s3cr3t-of-caller")]);
    let snapshot = Snapshot::new(Draft {
        hosts: vec![VirtualHost {
            name: "reviews:80".into(),
            port: 80,
            domains: vec!["reviews".into()],
            routes: vec![missed, taken].into(),
            origin: place("VirtualService default/reviews", "config/routes.yaml", 1),
        }],
        clusters: vec![reviews()],
        ..Draft::default()
    });
    state.live = Arc::new(ArcSwap::from_pointee(Live::adopt(None, Arc::new(snapshot), &Resolved::new(), Time(0))));
    let state = Arc::new(state);
    let question = "/explain?url=http://reviews/&header=authorization:s3cr3t-of-caller&header=cookie:s3cr3t&header=x-shown:shown-3";
    for (page, shown) in [
        ("/config_dump", &["shown-1", "shown-2", "x-tenant"][..]),
        (question, &["shown-1", "headers[authorization]", "[redacted]"]),
        (&format!("{question}&format=json"), &["shown-1", "shown-3", "[redacted]"]),
    ] {
        let (status, _, body) = ask(&state, Scope::Admin, Method::GET, page).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!body.contains("s3cr3t"), "{page}: {body}");
        assert!(shown.iter().all(|text| body.contains(text)), "{page}: {body}");
    }
}
