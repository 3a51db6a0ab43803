//! The services, one module each, and what they all have around them.

mod event_publisher;
mod external;
mod gateway;
mod inventory;
mod notification;
mod order;
mod user;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use crate::behaviour::{self, Behaviour, misbehave};
use crate::client::Client;
use crate::identity::{Identity, sign_and_log};
use crate::outcome::Failure;
use crate::settings::Settings;
use crate::store::Store;

/// The services of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Keeps users.
    User,
    /// Keeps orders; asks `user-service` who the user is and tells `event-publisher` of new orders.
    Order,
    /// What the outside sees: users and orders under `/api/v1`.
    Gateway,
    /// Stands for someone else's service: fails every second call.
    External,
    /// Keeps events and calls the webhooks of those who subscribed to them.
    Publisher,
    /// Makes notifications of events.
    Notification,
    /// Promises stock to orders.
    Inventory,
}

impl Service {
    /// All of them, in the order of their ports.
    pub const ALL: [Service; 7] = [
        Service::User,
        Service::Order,
        Service::External,
        Service::Notification,
        Service::Inventory,
        Service::Publisher,
        Service::Gateway,
    ];

    /// The name: the argument of the binary, and the host others call.
    pub fn name(self) -> &'static str {
        match self {
            Service::User => "user-service",
            Service::Order => "order-service",
            Service::Gateway => "api-gateway",
            Service::External => "external-service",
            Service::Publisher => "event-publisher",
            Service::Notification => "notification-service",
            Service::Inventory => "inventory-service",
        }
    }

    /// The service with this name.
    pub fn by_name(name: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The port it listens on when `PORT` does not say otherwise, and under which others call it.
    pub fn port(self) -> u16 {
        match self {
            Service::User => 5000,
            Service::Order => 5001,
            Service::External => 5002,
            Service::Notification => 5003,
            Service::Inventory => 5004,
            Service::Publisher => 5005,
            Service::Gateway => 8080,
        }
    }

    /// `FAIL_PERCENT` when it is not set.
    pub fn usual_fail_percent(self) -> f64 {
        if self == Service::External { 50.0 } else { 0.0 }
    }
}

/// Builds the whole service: its routes, `/behaviour`, the misbehaviour, the signature and the log.
///
/// # Errors
/// The store cannot be reached (the gateway and `external-service` have none).
pub async fn router(service: Service, settings: &Settings) -> Result<Router, sqlx::Error> {
    let identity = Identity::of(settings);
    let client = Client::new(&settings.proxy);
    let store = || Store::connect(&settings.database_url);
    let urls = &settings.upstreams;
    let routes = match service {
        Service::User => user::routes(identity.clone(), store().await?),
        Service::Order => order::routes(identity.clone(), store().await?, client, urls),
        Service::Gateway => gateway::routes(identity.clone(), client, urls),
        Service::External => external::routes(identity.clone()),
        Service::Publisher => event_publisher::routes(identity.clone(), store().await?, client, urls),
        Service::Notification => notification::routes(identity.clone(), store().await?),
        Service::Inventory => inventory::routes(identity.clone(), store().await?),
    };
    Ok(surround(routes, identity, Behaviour::new(settings.plan)))
}

/// What every service has around its routes. The signature is outermost, so that failures on demand are signed too.
fn surround(routes: Router, identity: Identity, behaviour: Behaviour) -> Router {
    let own = get(behaviour::show).put(behaviour::change).with_state(behaviour.clone());
    routes
        .route("/behaviour", own)
        .fallback(|| async { Failure::not_found("Path") })
        .layer(from_fn_with_state(behaviour, misbehave))
        .layer(from_fn_with_state(identity, sign_and_log))
}

/// Another service's answer as our own: status, content type and body as they came.
fn passed_on(answer: http::Response<Bytes>) -> Response {
    let (parts, body) = answer.into_parts();
    let mut response = (parts.status, body).into_response();
    response.headers_mut().remove(http::header::CONTENT_TYPE);
    if let Some(content_type) = parts.headers.get(http::header::CONTENT_TYPE) {
        response.headers_mut().insert(http::header::CONTENT_TYPE, content_type.clone());
    }
    response
}
