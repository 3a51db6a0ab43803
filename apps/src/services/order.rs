//! `order-service`: `/orders`, `/orders/{id}`. A new order asks `user-service` who the user is. New and changed orders are
//! told to `event-publisher` (`order.created`, `order.updated`).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::passed_on;
use super::publish::Publisher;
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
    publisher: Publisher,
}

pub(super) fn routes(identity: Identity, store: Store, client: Client, urls: &Upstreams) -> Router {
    let service = OrderService {
        identity,
        store,
        publisher: Publisher::new(client.clone(), &urls.publisher),
        client,
        user_url: urls.user.clone(),
        publisher_url: urls.publisher.clone(),
    };
    Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/{id}", get(show).put(update))
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
    service.publisher.publish("order.created", &order, &headers).await;
    Ok((StatusCode::CREATED, Json(order)))
}

/// Changes what the caller names of `items`, `total` and `status`; the rest stays.
async fn update(
    State(service): State<Arc<OrderService>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Order>, Failure> {
    let mut fields = object(&body)?;
    let mut order = service.store.order(&id).await?.ok_or_else(|| Failure::not_found("Order"))?;
    if let Some(status) = fields.remove("status") {
        let Value::String(status) = status else { return Err(Failure::bad_request("status must be a string")) };
        order.status = status;
    }
    order.items = fields.remove("items").unwrap_or(order.items);
    order.total = fields.remove("total").unwrap_or(order.total);
    service.store.update_order(&order).await?;
    service.publisher.publish("order.updated", &order, &headers).await;
    Ok(Json(order))
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
    async fn name_of_user(&self, id: &str, caller: &HeaderMap) -> Result<Option<String>, Failure> {
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
        Ok(user.get("name").and_then(Value::as_str).map(str::to_owned))
    }
}
