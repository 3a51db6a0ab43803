//! What every answer carries (`x-app-version`, `x-app-instance`) and the log line every request leaves.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

use crate::settings::Settings;

/// Response header: the version of the replica that answered.
pub const APP_VERSION: HeaderName = HeaderName::from_static("x-app-version");
/// Response header: the name of the replica that answered.
pub const APP_INSTANCE: HeaderName = HeaderName::from_static("x-app-instance");
/// Response header of the gateway: the version of the replica behind it that answered.
pub const UPSTREAM_VERSION: HeaderName = HeaderName::from_static("x-app-upstream-version");
/// Response header of the gateway: the name of the replica behind it that answered.
pub const UPSTREAM_INSTANCE: HeaderName = HeaderName::from_static("x-app-upstream-instance");

/// Who this process is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The service's name.
    pub service: String,
    /// The version it runs.
    pub version: String,
    /// The replica's name.
    pub instance: String,
}

impl Identity {
    /// Takes the identity out of the settings.
    pub fn of(settings: &Settings) -> Identity {
        Identity {
            service: settings.name.clone(),
            version: settings.version.clone(),
            instance: settings.instance.clone(),
        }
    }

    /// The members with which every `/health` begins.
    pub fn health(&self, status: &str) -> serde_json::Map<String, serde_json::Value> {
        let mut health = serde_json::Map::new();
        for (key, value) in [
            ("status", status),
            ("service", &self.service),
            ("version", &self.version),
            ("instance", &self.instance),
            ("timestamp", &crate::clock::now()),
        ] {
            health.insert(key.to_owned(), value.into());
        }
        health
    }
}

/// Middleware around a whole service: names the replica in the answer and logs the request.
pub async fn sign_and_log(State(identity): State<Identity>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let endpoint = request.uri().path().to_owned();
    let request_id = request.headers().get("x-request-id").cloned();
    let mut response = next.run(request).await;
    for (name, value) in [(APP_VERSION, &identity.version), (APP_INSTANCE, &identity.instance)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    tracing::info!(
        service = identity.service,
        instance = identity.instance,
        endpoint,
        method = %method,
        status_code = response.status().as_u16(),
        response_time_ms = began.elapsed().as_secs_f64() * 1e3,
        request_id = request_id.as_ref().and_then(|id| id.to_str().ok()),
        "request"
    );
    response
}
