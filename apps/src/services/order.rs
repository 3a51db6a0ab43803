//! `order-service`: `/orders`, `/orders/{id}`. A new order asks `user-service` and tells `event-publisher`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::passed_on;
use crate::client::{Client, path_segment};
use crate::identity::Identity;
use crate::outcome::{Failure, object};
use crate::settings::Upstreams;
use crate::store::{Order, Store};

struct OrderService {
    identity: Identity,
    store: Store,
    client: Client,
    user_url: String,
    publisher_url: String,
}

pub(super) fn routes(identity: Identity, store: Store, client: Client, urls: &Upstreams) -> Router {
    let service =
        OrderService { identity, store, client, user_url: urls.user.clone(), publisher_url: urls.publisher.clone() };
    Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/{id}", get(show))
        .route("/health", get(health))
        .with_state(Arc::new(service))
}

async fn health(State(service): State<Arc<OrderService>>) -> Json<Value> {
    let mut health = service.identity.health("healthy");
    let dependencies = json!({ "user-service": service.user_url, "event-publisher": service.publisher_url });
    health.insert("dependencies".to_owned(), dependencies);
    Json(Value::Object(health))
}

async fn list(State(service): State<Arc<OrderService>>) -> Result<Json<Vec<Order>>, Failure> {
    Ok(Json(service.store.orders().await?))
}

async fn show(State(service): State<Arc<OrderService>>, Path(id): Path<String>) -> Result<Json<Order>, Failure> {
    service.store.order(&id).await?.map(Json).ok_or_else(|| Failure::not_found("Order"))
}

async fn create(
    State(service): State<Arc<OrderService>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Order>), Failure> {
    let mut fields = object(&body)?;
    let user_id = user_id(&fields)?;
    let user_name = service.name_of_user(&user_id, &headers).await?;
    let order = Order {
        id: uuid::Uuid::new_v4().to_string(),
        user_id,
        user_name,
        items: fields.remove("items").unwrap_or_else(|| json!([])),
        total: fields.remove("total").unwrap_or_else(|| json!(0)),
        status: "pending".to_owned(),
        created_at: crate::clock::now(),
    };
    service.store.add_order(&order).await?;
    service.publish_created(&order, &headers).await;
    Ok((StatusCode::CREATED, Json(order)))
}

fn user_id(fields: &Map<String, Value>) -> Result<String, Failure> {
    match fields.get("user_id") {
        Some(Value::String(id)) => Ok(id.clone()),
        Some(Value::Number(id)) => Ok(id.to_string()),
        _ => Err(Failure::bad_request("user_id is required")),
    }
}

impl OrderService {
    /// An unknown user is the caller's mistake; any other bad answer is passed on as it came.
    async fn name_of_user(&self, id: &str, caller: &HeaderMap) -> Result<String, Failure> {
        let url = format!("{}/users/{}", self.user_url, path_segment(id));
        let answer = self.client.get(&url, caller).await.map_err(|error| {
            tracing::error!(%error, "cannot ask who the user is");
            Failure::unavailable("User service")
        })?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::bad_request("Invalid user")),
            _ => return Err(Failure::PassedOn(Box::new(passed_on(answer)))),
        }
        let user = object(answer.body()).map_err(|_| Failure::unavailable("User service"))?;
        Ok(user.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The order stands whether or not anyone hears of it, so a failure here is only logged.
    async fn publish_created(&self, order: &Order, caller: &HeaderMap) {
        let url = format!("{}/events", self.publisher_url);
        let event = json!({ "type": "order.created", "data": order }).to_string();
        match self.client.call(Method::POST, &url, caller, Bytes::from(event)).await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => tracing::error!(status_code = answer.status().as_u16(), "order.created was not taken"),
            Err(error) => tracing::error!(%error, "order.created was not sent"),
        }
    }
}
