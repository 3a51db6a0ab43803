//! `user-service`: `/users`, `/users/{id}`.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::identity::Identity;
use crate::outcome::{Failure, object};
use crate::store::{Store, User};

pub(super) fn routes(identity: Identity, store: Store) -> Router {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(show))
        .with_state(store)
        .route("/health", get(move || async move { Json(Value::Object(identity.health("healthy"))) }))
}

async fn list(State(store): State<Store>) -> Result<Json<Vec<User>>, Failure> {
    Ok(Json(store.users().await?))
}

async fn show(State(store): State<Store>, Path(id): Path<String>) -> Result<Json<User>, Failure> {
    store.user(&id).await?.map(Json).ok_or_else(|| Failure::not_found("User"))
}

async fn create(State(store): State<Store>, body: Bytes) -> Result<(StatusCode, Json<User>), Failure> {
    let fields = object(&body)?;
    let Some(name) = fields.get("name").and_then(Value::as_str) else {
        return Err(Failure::bad_request("name is required"));
    };
    let email = fields.get("email").and_then(Value::as_str);
    Ok((StatusCode::CREATED, Json(store.add_user(name, email).await?)))
}
