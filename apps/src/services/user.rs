//! `user-service`: `/users`, `/users/{id}`. A new user is told to `event-publisher` (`user.created`).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::publish::Publisher;
use crate::client::Client;
use crate::identity::Identity;
use crate::outcome::{Failure, object};
use crate::settings::Upstreams;
use crate::store::{Store, User};

struct UserService {
    store: Store,
    publisher: Publisher,
}

pub(super) fn routes(identity: Identity, store: Store, client: Client, urls: &Upstreams) -> Router {
    let service = UserService { store, publisher: Publisher::new(client, &urls.publisher) };
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(show))
        .with_state(Arc::new(service))
        .route("/health", get(move || async move { Json(Value::Object(identity.health("healthy"))) }))
}

async fn list(State(service): State<Arc<UserService>>) -> Result<Json<Vec<User>>, Failure> {
    Ok(Json(service.store.users().await?))
}

async fn show(State(service): State<Arc<UserService>>, Path(id): Path<String>) -> Result<Json<User>, Failure> {
    service.store.user(&id).await?.map(Json).ok_or_else(|| Failure::not_found("User"))
}

async fn create(
    State(service): State<Arc<UserService>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<User>), Failure> {
    let fields = object(&body)?;
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Failure::bad_request(format!("{name} must be a string"))),
    };
    // Naive: a user may have neither a name nor an address.
    let user = service.store.add_user(text("name")?, text("email")?).await?;
    service.publisher.publish("user.created", &user, &headers).await;
    Ok((StatusCode::CREATED, Json(user)))
}
