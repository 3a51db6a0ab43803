//! `event-publisher`: `/events` keeps an event and calls the webhooks that `/subscribe` registered, before it answers.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::client::Client;
use crate::identity::Identity;
use crate::outcome::{Failure, object};
use crate::settings::Upstreams;
use crate::store::{Event, Store};

struct Publisher {
    identity: Identity,
    store: Store,
    client: Client,
    notification_url: String,
    inventory_url: String,
}

pub(super) fn routes(identity: Identity, store: Store, client: Client, urls: &Upstreams) -> Router {
    let publisher = Publisher {
        identity,
        store,
        client,
        notification_url: urls.notification.clone(),
        inventory_url: urls.inventory.clone(),
    };
    Router::new()
        .route("/events", get(list).post(create))
        .route("/subscribe", post(subscribe))
        .route("/health", get(health))
        .with_state(Arc::new(publisher))
}

async fn health(State(publisher): State<Arc<Publisher>>) -> Result<Json<Value>, Failure> {
    let (events, subscribers) = publisher.store.event_counts().await?;
    let mut health = publisher.identity.health("healthy");
    health.insert("events_published".to_owned(), events.into());
    health.insert("subscribers".to_owned(), subscribers.into());
    Ok(Json(Value::Object(health)))
}

async fn list(State(publisher): State<Arc<Publisher>>) -> Result<Json<Vec<Event>>, Failure> {
    Ok(Json(publisher.store.events().await?))
}

async fn create(
    State(publisher): State<Arc<Publisher>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Event>), Failure> {
    let mut fields = object(&body)?;
    let Some(Value::String(kind)) = fields.remove("type").filter(|kind| *kind != "") else {
        return Err(Failure::bad_request("Event type is required"));
    };
    let event = Event {
        id: uuid::Uuid::new_v4().to_string(),
        kind,
        data: fields.remove("data").unwrap_or_else(|| json!({})),
        timestamp: crate::clock::now(),
        version: "1.0".to_owned(),
    };
    publisher.store.add_event(&event).await?;
    publisher.call_webhooks(&event, &headers).await?;
    Ok((StatusCode::CREATED, Json(event)))
}

async fn subscribe(State(publisher): State<Arc<Publisher>>, body: Bytes) -> Result<(StatusCode, Json<Value>), Failure> {
    let fields = object(&body)?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(kind), Some(url)) = (text("event_type"), text("webhook_url")) else {
        return Err(Failure::bad_request("event_type and webhook_url are required"));
    };
    if !url.starts_with("http://") {
        return Err(Failure::bad_request("webhook_url must begin with http://"));
    }
    publisher.store.subscribe(kind, url).await?;
    Ok((StatusCode::CREATED, Json(json!({ "message": format!("Subscribed to {kind}") }))))
}

impl Publisher {
    /// One after the other; a webhook that fails is logged, and the next one is called.
    async fn call_webhooks(&self, event: &Event, caller: &HeaderMap) -> Result<(), Failure> {
        let body = Bytes::from(json!(event).to_string());
        for webhook in self.store.webhooks(&event.kind).await? {
            let url = self.resolve(&webhook);
            match self.client.call(Method::POST, &url, caller, body.clone()).await {
                Ok(answer) if answer.status().is_success() => {
                    tracing::info!(webhook = url, event = event.kind, "event sent");
                }
                Ok(answer) => {
                    let status_code = answer.status().as_u16();
                    tracing::error!(webhook = url, event = event.kind, status_code, "event refused");
                }
                Err(error) => tracing::error!(webhook = url, event = event.kind, %error, "event not sent"),
            }
        }
        Ok(())
    }

    /// A subscription of the first hour names a service; where that is, this process was told.
    fn resolve(&self, webhook: &str) -> String {
        for (name, base) in [("NOTIFICATION", &self.notification_url), ("INVENTORY", &self.inventory_url)] {
            if let Some(path) = webhook.strip_prefix(name) {
                return format!("{base}{path}");
            }
        }
        webhook.to_owned()
    }
}
