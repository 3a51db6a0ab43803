//! The routes of the services, one module each, and the layers around all of them.

mod event_publisher;
mod external;
mod gateway;
mod inventory;
mod notification;
mod order;
mod publish;
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
use crate::service::Service;
use crate::settings::Settings;
use crate::store::Store;

/// Builds the whole service: its routes, `/behaviour`, `/livez`, the misbehaviour, the signature and the log.
///
/// # Errors
/// The store cannot be reached (the gateway and `external-service` have none).
pub async fn router(service: Service, settings: &Settings) -> Result<Router, sqlx::Error> {
    let identity = Identity::of(settings);
    let client = Client::new(&settings.proxy);
    let store = || Store::connect(&settings.database_url);
    let urls = &settings.upstreams;
    let routes = match service {
        Service::User => user::routes(identity.clone(), store().await?, client, urls),
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
        // Asks nobody: a process that can answer this need not be restarted, however the others are.
        .route("/livez", get(|| async { "ok" }))
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
