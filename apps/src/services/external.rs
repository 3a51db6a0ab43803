//! `external-service`: `/external-call`. That it fails, and how often, is its behaviour (see `behaviour.rs`).

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::identity::Identity;

pub(super) fn routes(identity: Identity) -> Router {
    Router::new()
        .route("/external-call", get(call).post(call))
        .route("/health", get(move || async move { Json(Value::Object(identity.health("healthy"))) }))
}

async fn call() -> Json<Value> {
    Json(json!({
        "status": "success",
        "data": { "data": "success", "timestamp": crate::clock::now() },
    }))
}
