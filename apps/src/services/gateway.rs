//! `api-gateway`: users, orders and the external call under `/api/v1`, with CORS headers, and everyone's health.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};

use super::passed_on;
use crate::client::{Client, path_segment};
use crate::identity::{APP_INSTANCE, APP_VERSION, Identity, UPSTREAM_INSTANCE, UPSTREAM_VERSION};
use crate::outcome::Failure;
use crate::settings::Upstreams;

struct Gateway {
    identity: Identity,
    client: Client,
    urls: Upstreams,
}

type Gate = State<Arc<Gateway>>;

pub(super) fn routes(identity: Identity, client: Client, urls: &Upstreams) -> Router {
    let gateway = Arc::new(Gateway { identity, client, urls: urls.clone() });
    Router::new()
        .route("/health", get(health).options(preflight))
        .route("/api/v1/users", get(list_users).post(create_user).options(preflight))
        .route("/api/v1/users/{id}", get(show_user).options(preflight))
        .route("/api/v1/orders", get(list_orders).post(create_order).options(preflight))
        .route("/api/v1/orders/{id}", get(show_order).put(update_order).options(preflight))
        .route("/api/v1/external-call", get(external_call).post(external_call).options(preflight))
        .with_state(gateway)
        .layer(from_fn(allow_all_origins))
}

/// Healthy when users and orders are; else `degraded`, with 200, for the gateway itself lives.
async fn health(State(gateway): Gate, headers: HeaderMap) -> Json<Value> {
    let mut dependencies = Map::new();
    let mut all_well = true;
    for (name, url) in [("user-service", &gateway.urls.user), ("order-service", &gateway.urls.order)] {
        let answer = gateway.client.get(&format!("{url}/health"), &headers).await;
        let well = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
        all_well &= well;
        dependencies.insert(name.to_owned(), if well { "healthy" } else { "unhealthy" }.into());
    }
    let mut health = gateway.identity.health(if all_well { "healthy" } else { "degraded" });
    health.insert("dependencies".to_owned(), Value::Object(dependencies));
    Json(Value::Object(health))
}

async fn list_users(State(gateway): Gate, headers: HeaderMap) -> Result<Response, Failure> {
    gateway.pass(Method::GET, &gateway.urls.user, "/users", &headers, Bytes::new()).await
}

async fn create_user(State(gateway): Gate, headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    gateway.pass(Method::POST, &gateway.urls.user, "/users", &headers, body).await
}

async fn show_user(State(gateway): Gate, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let path = format!("/users/{}", path_segment(&id));
    gateway.pass(Method::GET, &gateway.urls.user, &path, &headers, Bytes::new()).await
}

async fn list_orders(State(gateway): Gate, headers: HeaderMap) -> Result<Response, Failure> {
    gateway.pass(Method::GET, &gateway.urls.order, "/orders", &headers, Bytes::new()).await
}

async fn create_order(State(gateway): Gate, headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    gateway.pass(Method::POST, &gateway.urls.order, "/orders", &headers, body).await
}

async fn show_order(State(gateway): Gate, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let path = format!("/orders/{}", path_segment(&id));
    gateway.pass(Method::GET, &gateway.urls.order, &path, &headers, Bytes::new()).await
}

async fn update_order(
    State(gateway): Gate,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let path = format!("/orders/{}", path_segment(&id));
    gateway.pass(Method::PUT, &gateway.urls.order, &path, &headers, body).await
}

async fn external_call(
    State(gateway): Gate,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    gateway.pass(method, &gateway.urls.external, "/external-call", &headers, body).await
}

impl Gateway {
    /// Passes a call on and its answer back, adding which replica gave it.
    async fn pass(
        &self,
        method: Method,
        base: &str,
        path: &str,
        caller: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, Failure> {
        let answer = self.client.call(method, &format!("{base}{path}"), caller, body).await.map_err(|error| {
            tracing::error!(%error, "no answer");
            Failure::unavailable("Service")
        })?;
        let signature = [(UPSTREAM_VERSION, APP_VERSION), (UPSTREAM_INSTANCE, APP_INSTANCE)]
            .map(|(ours, theirs)| (ours, answer.headers().get(theirs).cloned()));
        let mut response = passed_on(answer);
        for (name, value) in signature {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }
}

async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn allow_all_origins(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type,Authorization"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET,PUT,POST,DELETE,OPTIONS"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
