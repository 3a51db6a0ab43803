//! `notification-service`: `/webhook` makes a notification of an event, `/notifications` lists them.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::identity::Identity;
use crate::outcome::{Failure, object};
use crate::store::{NewNotification, Notification, Store};

const NOTIFIED: [&str; 3] = ["user.created", "order.created", "order.updated"];

struct Notifier {
    identity: Identity,
    store: Store,
}

pub(super) fn routes(identity: Identity, store: Store) -> Router {
    Router::new()
        .route("/webhook", post(webhook))
        .route("/notifications", get(list))
        .route("/health", get(health))
        .with_state(Arc::new(Notifier { identity, store }))
}

async fn health(State(notifier): State<Arc<Notifier>>) -> Result<Json<Value>, Failure> {
    let mut health = notifier.identity.health("healthy");
    health.insert("notifications_sent".to_owned(), notifier.store.notification_count().await?.into());
    Ok(Json(Value::Object(health)))
}

async fn list(State(notifier): State<Arc<Notifier>>) -> Result<Json<Vec<Notification>>, Failure> {
    Ok(Json(notifier.store.notifications().await?))
}

async fn webhook(State(notifier): State<Arc<Notifier>>, body: Bytes) -> Result<Json<Value>, Failure> {
    let event = object(&body)?;
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
    if !NOTIFIED.contains(&kind) {
        return Ok(Json(json!({ "status": "ignored" })));
    }
    let data = event.get("data").unwrap_or(&Value::Null);
    let notification = notifier
        .store
        .add_notification(NewNotification {
            event_id: event.get("id").and_then(Value::as_str).map(str::to_owned),
            event_type: kind.to_owned(),
            message: format!("Notification for {kind}: {data}"),
        })
        .await?;
    Ok(Json(json!({ "status": "processed", "notification": notification })))
}
