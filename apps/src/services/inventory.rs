//! `inventory-service`: `/webhook` promises one of each item of an order, `/inventory` lists what is promised.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::identity::Identity;
use crate::outcome::{Failure, object};
use crate::store::{StockLine, Store};

const RESERVING: [&str; 2] = ["order.created", "order.updated"];

struct Warehouse {
    identity: Identity,
    store: Store,
}

pub(super) fn routes(identity: Identity, store: Store) -> Router {
    Router::new()
        .route("/webhook", post(webhook))
        .route("/inventory", get(list))
        .route("/health", get(health))
        .with_state(Arc::new(Warehouse { identity, store }))
}

async fn health(State(warehouse): State<Arc<Warehouse>>) -> Result<Json<Value>, Failure> {
    let mut health = warehouse.identity.health("healthy");
    health.insert("events_received".to_owned(), warehouse.store.stock_event_count().await?.into());
    Ok(Json(Value::Object(health)))
}

async fn list(State(warehouse): State<Arc<Warehouse>>) -> Result<Json<Vec<StockLine>>, Failure> {
    Ok(Json(warehouse.store.stock().await?))
}

async fn webhook(State(warehouse): State<Arc<Warehouse>>, body: Bytes) -> Result<Json<Value>, Failure> {
    let event = object(&body)?;
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
    if !RESERVING.contains(&kind) {
        return Ok(Json(json!({ "status": "ignored" })));
    }
    let items = items_of(event.get("data").unwrap_or(&Value::Null));
    warehouse.store.reserve(kind, &items).await?;
    Ok(Json(json!({ "status": "processed", "reserved": items })))
}

/// The names of an order's items.
fn items_of(order: &Value) -> Vec<String> {
    let items = order.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.get("name").and_then(Value::as_str)).map(str::to_owned).collect()
}
