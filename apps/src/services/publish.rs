//! How a service tells `event-publisher` what happened to what it keeps.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::json;

use crate::client::Client;

/// The way to `event-publisher`.
pub(super) struct Publisher {
    client: Client,
    url: String,
}

impl Publisher {
    /// Publishes at the event-publisher that has this base URL.
    pub(super) fn new(client: Client, url: &str) -> Publisher {
        Publisher { client, url: format!("{url}/events") }
    }

    /// Sends one event. What happened stands whether or not anyone hears of it, so a failure is only logged.
    pub(super) async fn publish(&self, kind: &str, data: &impl Serialize, caller: &HeaderMap) {
        let event = json!({ "type": kind, "data": data }).to_string();
        match self.client.call(Method::POST, &self.url, caller, Bytes::from(event)).await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => tracing::error!(event = kind, status_code = answer.status().as_u16(), "event not taken"),
            Err(error) => tracing::error!(event = kind, %error, "event not sent"),
        }
    }
}
