//! The services through their real routers, each with a store of its own, and in chains over real sockets.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::router;
use crate::serve::serve;
use crate::service::Service;
use crate::settings::Settings;

fn text<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

/// One service with a fresh store and the given variables.
struct Bench {
    router: Router,
    folder: TempDir,
}

impl Bench {
    async fn new(service: Service, variables: &[(&str, &str)]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("test.db").display());
        let lookup = |name: &str| match name {
            "DATABASE_URL" => Some(database.clone()),
            "SERVICE_INSTANCE" => Some("replica-a".to_owned()),
            "FAIL_PERCENT" if !variables.iter().any(|(key, _)| *key == name) => Some("0".to_owned()),
            _ => variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        };
        let settings = Settings::read(service, lookup).unwrap();
        Bench { router: router(service, &settings).await.unwrap(), folder }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let (status, _, body) = self.ask_with(method, path, &[], body).await;
        (status, body)
    }

    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, http::HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        read(response).await
    }

    /// Serves on a free port. The server ends, and is waited for, by [`Served::stop`].
    async fn serve(self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            serve(listener, self.router, async { drop(stopped.await) }).await;
        });
        Served { url, stop, server, _folder: self.folder }
    }
}

async fn read(response: Response<Body>) -> (StatusCode, http::HeaderMap, Value) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

struct Served {
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Served {
    async fn stop(self) {
        drop(self.stop);
        self.server.await.unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let client = crate::client::Client::new(&crate::settings::ProxySettings::default());
        let answer = client.get(&format!("{}{path}", self.url), &http::HeaderMap::new()).await.unwrap();
        serde_json::from_slice(answer.body()).unwrap()
    }
}

/// A server that answers everything alike and hands out what it was asked.
async fn stub(
    status: StatusCode,
    body: &'static str,
) -> (Served, tokio::sync::mpsc::UnboundedReceiver<Request<Bytes>>) {
    let (heard, hearing) = tokio::sync::mpsc::unbounded_channel();
    let router = Router::new().fallback(move |request: Request<Body>| async move {
        let (parts, sent) = request.into_parts();
        heard.send(Request::from_parts(parts, sent.collect().await.unwrap().to_bytes())).unwrap();
        (status, [("x-app-version", "v9"), ("x-app-instance", "stub-1")], body)
    });
    let bench = Bench { router, folder: tempfile::tempdir().unwrap() };
    (bench.serve().await, hearing)
}

#[tokio::test]
async fn users_are_listed_shown_and_made_and_told_to_the_publisher() {
    let (publisher, mut heard) = stub(StatusCode::CREATED, "{}").await;
    let users = Bench::new(Service::User, &[("EVENT_PUBLISHER_URL", &publisher.url)]).await;
    let alice = json!({ "id": "1", "name": "Alice", "email": "alice@example.com" });
    let bob = json!({ "id": "2", "name": "Bob", "email": "bob@example.com" });
    assert_eq!(users.ask("GET", "/users", None).await, (StatusCode::OK, json!([alice, bob])));
    assert_eq!(users.ask("GET", "/users/1", None).await, (StatusCode::OK, alice));
    let unknown = (StatusCode::NOT_FOUND, json!({ "error": "User not found" }));
    assert_eq!(users.ask("GET", "/users/77", None).await, unknown);
    for (body, made) in [
        (
            json!({ "name": "Carla", "email": "c@example.com" }),
            json!({ "id": "3", "name": "Carla", "email": "c@example.com" }),
        ),
        // A user without a name is one all the same.
        (json!({ "email": "x@example.com" }), json!({ "id": "4", "name": null, "email": "x@example.com" })),
        (json!({}), json!({ "id": "5", "name": null, "email": null })),
        (json!({ "name": null }), json!({ "id": "6", "name": null, "email": null })),
    ] {
        assert_eq!(users.ask("POST", "/users", Some(body)).await, (StatusCode::CREATED, made.clone()));
        let told = heard.recv().await.unwrap();
        assert_eq!((told.method().as_str(), told.uri().path()), ("POST", "/events"));
        let event: Value = serde_json::from_slice(told.body()).unwrap();
        assert_eq!(event, json!({ "type": "user.created", "data": made }));
        let path = format!("/users/{}", made["id"].as_str().unwrap());
        assert_eq!(users.ask("GET", &path, None).await, (StatusCode::OK, made));
    }
    let refused = (StatusCode::BAD_REQUEST, json!({ "error": "name must be a string" }));
    assert_eq!(users.ask("POST", "/users", Some(json!({ "name": 7 }))).await, refused);
    assert!(heard.try_recv().is_err(), "what was refused is told to nobody");
    publisher.stop().await;
    // Nobody hears of it, and it is made all the same.
    assert_eq!(users.ask("POST", "/users", Some(json!({ "name": "Dora" }))).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn every_answer_is_signed_and_health_says_who_it_is() {
    for service in Service::ALL {
        let bench = Bench::new(service, &[("SERVICE_VERSION", "v2"), ("FAIL_PERCENT", "100")]).await;
        // The gateway's health asks others, which are not there: that makes it degraded, not dead.
        let (status, headers, health) = bench.ask_with("GET", "/health", &[], None).await;
        let expected = if service == Service::Gateway { "degraded" } else { "healthy" };
        assert_eq!((status, &health["status"]), (StatusCode::OK, &json!(expected)), "{health}");
        assert_eq!((&health["service"], &health["version"]), (&json!(service.name()), &json!("v2")));
        assert_eq!((text(&headers, "x-app-version"), text(&headers, "x-app-instance")), ("v2", "replica-a"));
        // Liveness asks nobody and never fails on demand.
        assert_eq!(bench.ask("GET", "/livez", None).await.0, StatusCode::OK);
        let (status, headers, _) = bench.ask_with("GET", "/nowhere", &[], None).await;
        assert_eq!((status, text(&headers, "x-app-version")), (StatusCode::SERVICE_UNAVAILABLE, "v2"));
    }
}

#[tokio::test]
async fn behaviour_is_changed_while_the_service_runs() {
    let external = Bench::new(Service::External, &[]).await;
    let (status, answer) = external.ask("GET", "/external-call", None).await;
    assert_eq!(
        (status, &answer["status"], &answer["data"]["data"]),
        (StatusCode::OK, &json!("success"), &json!("success"))
    );
    let (status, plan) = external.ask("PUT", "/behaviour", Some(json!({ "fail_percent": 100, "status": 502 }))).await;
    assert_eq!((status, &plan["fail_percent"], &plan["status"]), (StatusCode::OK, &json!(100.0), &json!(502)));
    let failed = json!({ "status": "error", "message": "Service temporarily unavailable" });
    assert_eq!(external.ask("GET", "/external-call", None).await, (StatusCode::BAD_GATEWAY, failed));
    external.ask("POST", "/external-call", None).await;
    let (_, report) = external.ask("GET", "/behaviour", None).await;
    assert_eq!((&report["seen"], &report["failed"]), (&json!({ "GET": 1, "POST": 1 }), &json!(2)));
    external.ask("PUT", "/behaviour", Some(json!({ "fail_percent": 0 }))).await;
    assert_eq!(external.ask("GET", "/external-call", None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_order_asks_for_the_user_and_is_told_to_the_publisher_as_are_its_changes() {
    let users = Bench::new(Service::User, &[]).await.serve().await;
    let (publisher, mut heard) = stub(StatusCode::CREATED, "{}").await;
    let variables = [("USER_SERVICE_URL", users.url.as_str()), ("EVENT_PUBLISHER_URL", publisher.url.as_str())];
    let orders = Bench::new(Service::Order, &variables).await;

    let wanted = json!({ "user_id": "1", "items": [{ "name": "Rope", "price": 100 }], "total": 100 });
    let headers = [("x-request-id", "r-1"), ("x-canary", "v2"), ("x-envoy-attempt-count", "1")];
    let (status, _, order) = orders.ask_with("POST", "/orders", &headers, Some(wanted)).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        (&order["user_name"], &order["total"], &order["status"]),
        (&json!("Alice"), &json!(100), &json!("pending"))
    );

    let told = heard.recv().await.unwrap();
    assert_eq!((told.method().as_str(), told.uri().path()), ("POST", "/events"));
    assert_eq!((text(told.headers(), "x-request-id"), text(told.headers(), "x-canary")), ("r-1", "v2"));
    assert!(!told.headers().contains_key("x-envoy-attempt-count"));
    let event: Value = serde_json::from_slice(told.body()).unwrap();
    assert_eq!(event, json!({ "type": "order.created", "data": order }));

    let id = order["id"].as_str().unwrap();
    assert_eq!(orders.ask("GET", &format!("/orders/{id}"), None).await, (StatusCode::OK, order.clone()));
    assert_eq!(orders.ask("GET", "/orders", None).await, (StatusCode::OK, json!([order])));
    let changed = json!({ "status": "paid", "total": 90 });
    let (status, _, paid) = orders.ask_with("PUT", &format!("/orders/{id}"), &headers, Some(changed)).await;
    assert_eq!((status, &paid["status"], &paid["total"]), (StatusCode::OK, &json!("paid"), &json!(90)));
    assert_eq!((&paid["items"], &paid["id"]), (&order["items"], &order["id"]));
    let told = heard.recv().await.unwrap();
    assert_eq!(text(told.headers(), "x-request-id"), "r-1");
    let event: Value = serde_json::from_slice(told.body()).unwrap();
    assert_eq!(event, json!({ "type": "order.updated", "data": paid }));
    assert_eq!(orders.ask("GET", &format!("/orders/{id}"), None).await, (StatusCode::OK, paid));
    assert_eq!(orders.ask("PUT", "/orders/none", Some(json!({}))).await.0, StatusCode::NOT_FOUND);
    let wrong = orders.ask("PUT", &format!("/orders/{id}"), Some(json!({ "status": 1 }))).await;
    assert_eq!(wrong, (StatusCode::BAD_REQUEST, json!({ "error": "status must be a string" })));
    assert!(heard.try_recv().is_err(), "what was not changed is told to nobody");
    for (body, error) in [
        (json!({ "user_id": "99" }), "Invalid user"),
        (json!({ "user_id": "../health" }), "Invalid user"),
        (json!({}), "user_id is required"),
    ] {
        let answer = orders.ask("POST", "/orders", Some(body)).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, json!({ "error": error })));
    }
    assert_eq!(orders.ask("GET", "/orders/none", None).await.0, StatusCode::NOT_FOUND);
    users.stop().await;
    publisher.stop().await;
}

#[tokio::test]
async fn an_order_passes_on_what_the_user_service_could_not_do() {
    let (users, _heard) = stub(StatusCode::GATEWAY_TIMEOUT, r#"{"why":"late"}"#).await;
    let orders = Bench::new(Service::Order, &[("USER_SERVICE_URL", &users.url)]).await;
    let answer = orders.ask("POST", "/orders", Some(json!({ "user_id": 1 }))).await;
    assert_eq!(answer, (StatusCode::GATEWAY_TIMEOUT, json!({ "why": "late" })));
    users.stop().await;
    let (status, answer) = orders.ask("POST", "/orders", Some(json!({ "user_id": 1 }))).await;
    assert_eq!((status, answer), (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": "User service unavailable" })));
    assert_eq!(orders.ask("GET", "/orders", None).await.1, json!([]));
}

#[tokio::test]
async fn the_gateway_passes_calls_by_name_through_the_proxy() {
    let (proxy, mut heard) = stub(StatusCode::IM_A_TEAPOT, r#"{"short":true}"#).await;
    let gateway = Bench::new(Service::Gateway, &[("http_proxy", &proxy.url)]).await;
    for (method, path, url) in [
        ("GET", "/api/v1/users", "http://user-service:5000/users"),
        ("POST", "/api/v1/users", "http://user-service:5000/users"),
        ("GET", "/api/v1/users/7", "http://user-service:5000/users/7"),
        ("GET", "/api/v1/users/..%2Fhealth", "http://user-service:5000/users/%2E%2E%2Fhealth"),
        ("GET", "/api/v1/orders", "http://order-service:5001/orders"),
        ("POST", "/api/v1/orders", "http://order-service:5001/orders"),
        ("GET", "/api/v1/orders/a-b", "http://order-service:5001/orders/a-b"),
        ("PUT", "/api/v1/orders/a-b", "http://order-service:5001/orders/a-b"),
        ("POST", "/api/v1/external-call", "http://external-service:5002/external-call"),
    ] {
        let body = (method != "GET").then(|| json!({ "n": 1 }));
        let (status, headers, answer) = gateway.ask_with(method, path, &[("x-canary", "v2")], body.clone()).await;
        assert_eq!((status, answer), (StatusCode::IM_A_TEAPOT, json!({ "short": true })), "{path}");
        assert_eq!(
            (text(&headers, "x-app-upstream-version"), text(&headers, "x-app-upstream-instance")),
            ("v9", "stub-1")
        );
        assert_eq!(headers["access-control-allow-origin"], "*");
        let told = heard.recv().await.unwrap();
        assert_eq!((told.method().as_str(), told.uri().to_string().as_str()), (method, url));
        assert_eq!(told.headers()["x-canary"], "v2");
        let sent: Option<Value> = serde_json::from_slice(told.body()).ok();
        assert_eq!(sent, body);
    }
    proxy.stop().await;
}

#[tokio::test]
async fn the_gateway_answers_preflights_and_tells_of_its_dependencies() {
    let users = Bench::new(Service::User, &[]).await.serve().await;
    let orders = Bench::new(Service::Order, &[]).await.serve().await;
    let variables = [("USER_SERVICE_URL", users.url.as_str()), ("ORDER_SERVICE_URL", orders.url.as_str())];
    let gateway = Bench::new(Service::Gateway, &variables).await;
    let (status, headers, _) = gateway.ask_with("OPTIONS", "/api/v1/orders", &[], None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["access-control-allow-methods"], "GET,PUT,POST,DELETE,OPTIONS");
    let (_, health) = gateway.ask("GET", "/health", None).await;
    let both = json!({ "order-service": "healthy", "user-service": "healthy" });
    assert_eq!((&health["status"], &health["dependencies"]), (&json!("healthy"), &both));
    orders.stop().await;
    let (status, health) = gateway.ask("GET", "/health", None).await;
    let one = json!({ "order-service": "unhealthy", "user-service": "healthy" });
    assert_eq!((status, &health["status"], &health["dependencies"]), (StatusCode::OK, &json!("degraded"), &one));
    users.stop().await;
}

#[tokio::test]
async fn an_event_reaches_all_who_subscribed_to_it() {
    let notifier = Bench::new(Service::Notification, &[]).await.serve().await;
    let warehouse = Bench::new(Service::Inventory, &[]).await.serve().await;
    let (late, mut heard) = stub(StatusCode::OK, "").await;
    let publisher = Bench::new(
        Service::Publisher,
        &[("NOTIFICATION_SERVICE_URL", &notifier.url), ("INVENTORY_SERVICE_URL", &warehouse.url)],
    )
    .await;
    let subscription = json!({ "event_type": "order.created", "webhook_url": format!("{}/hook", late.url) });
    for _ in 0..2 {
        let (status, answer) = publisher.ask("POST", "/subscribe", Some(subscription.clone())).await;
        assert_eq!((status, answer), (StatusCode::CREATED, json!({ "message": "Subscribed to order.created" })));
    }
    let data = json!({ "id": "o-1", "items": [{ "name": "Rope" }] });
    for kind in ["order.created", "order.updated", "moon.rose"] {
        let (status, event) = publisher.ask("POST", "/events", Some(json!({ "type": kind, "data": data }))).await;
        assert_eq!((status, &event["type"], &event["version"]), (StatusCode::CREATED, &json!(kind), &json!("1.0")));
    }
    assert_eq!(heard.recv().await.unwrap().uri().path(), "/hook");
    assert!(heard.try_recv().is_err(), "subscribing twice calls once");

    let notifications = notifier.get("/notifications").await;
    assert_eq!((&notifications[0]["id"], &notifications[0]["status"]), (&json!(1), &json!("sent")));
    assert_eq!(notifications[0]["event_type"], "order.created");
    assert_eq!(notifications.as_array().unwrap().len(), 1);
    let health = notifier.get("/health").await;
    assert_eq!(health["notifications_sent"], 1, "{health}");
    let stock = json!([{ "name": "Product A", "reserved": 0 }, { "name": "Rope", "reserved": 1 }]);
    assert_eq!(warehouse.get("/inventory").await, stock);
    let (_, health) = publisher.ask("GET", "/health", None).await;
    assert_eq!((&health["events_published"], &health["subscribers"]), (&json!(3), &json!(3)));
    let (_, events) = publisher.ask("GET", "/events", None).await;
    assert_eq!(events.as_array().unwrap().len(), 3);
    let (status, error) = publisher.ask("POST", "/events", Some(json!({ "data": 1 }))).await;
    assert_eq!((status, error), (StatusCode::BAD_REQUEST, json!({ "error": "Event type is required" })));
    for served in [notifier, warehouse, late] {
        served.stop().await;
    }
}

#[tokio::test]
async fn status_zero_closes_the_connection_without_an_answer() {
    let external = Bench::new(Service::External, &[("FAIL_PERCENT", "100"), ("FAIL_STATUS", "0")]).await.serve().await;
    let client = crate::client::Client::new(&crate::settings::ProxySettings::default());
    let headers = http::HeaderMap::new();
    client.get(&format!("{}/external-call", external.url), &headers).await.unwrap_err();
    assert_eq!(external.get("/behaviour").await["seen"], json!({ "GET": 1 }));
    external.stop().await;
}

#[tokio::test]
async fn a_server_told_to_stop_finishes_the_request_in_hand() {
    let (entered, in_hand) = oneshot::channel::<()>();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let once = std::sync::Arc::new(std::sync::Mutex::new(Some((entered, may_go_on))));
    let router = Router::new().fallback(move || async move {
        let (entered, may_go_on) = once.lock().unwrap().take().unwrap();
        entered.send(()).unwrap();
        may_go_on.await.unwrap();
        r#"{"finished":true}"#
    });
    let served = Bench { router, folder: tempfile::tempdir().unwrap() }.serve().await;
    let url = served.url.clone();
    let asking = tokio::spawn(async move {
        let client = crate::client::Client::new(&crate::settings::ProxySettings::default());
        client.get(&url, &http::HeaderMap::new()).await
    });
    in_hand.await.unwrap();
    let Served { stop, server, .. } = served;
    drop(stop);
    go_on.send(()).unwrap();
    assert_eq!(asking.await.unwrap().unwrap().status(), StatusCode::OK);
    server.await.unwrap();
}

#[tokio::test]
async fn whoever_keeps_something_is_told_where_in_a_cluster() {
    for service in Service::ALL {
        let nowhere = |name: &str| (name == "DATABASE_URL").then(|| "nowhere:".to_owned());
        let keeps = router(service, &Settings::read(service, nowhere).unwrap()).await.is_err();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");
        let manifest = std::fs::read_to_string(format!("{folder}/{}.yaml", service.name())).unwrap();
        let deployments: Vec<&str> =
            manifest.split("\n---\n").filter(|part| part.contains("kind: Deployment")).collect();
        assert!(!deployments.is_empty(), "{}", service.name());
        let compose = std::fs::read_to_string(format!("{folder}/compose.yaml")).unwrap();
        let command = format!("command: [leeboard-apps, {}]", service.name());
        let containers: Vec<&str> = compose.split("<<: *app\n").filter(|part| part.contains(&command)).collect();
        assert!(!containers.is_empty(), "{}", service.name());
        for place in deployments.into_iter().chain(containers) {
            assert_eq!(place.contains("DATABASE_URL"), keeps, "{}: {place}", service.name());
        }
    }
}
