//! What a request handler gives back when it has no good answer.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// An answer that says what went wrong, as `{"error": …}`, or another service's answer passed on as it came.
#[derive(Debug)]
pub enum Failure {
    /// The caller's or our own mistake.
    Said(StatusCode, String),
    /// What another service answered.
    PassedOn(Box<Response>),
}

impl Failure {
    /// 400: the request cannot be understood.
    pub fn bad_request(why: impl Into<String>) -> Failure {
        Failure::Said(StatusCode::BAD_REQUEST, why.into())
    }

    /// 404: `what` does not exist.
    pub fn not_found(what: &str) -> Failure {
        Failure::Said(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    /// 503: `service` gave no answer at all.
    pub fn unavailable(service: &str) -> Failure {
        Failure::Said(StatusCode::SERVICE_UNAVAILABLE, format!("{service} unavailable"))
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        tracing::error!(%error, "the store failed");
        Failure::Said(StatusCode::INTERNAL_SERVER_ERROR, "Store unavailable".to_owned())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::Said(status, why) => (status, Json(json!({ "error": why }))).into_response(),
            Failure::PassedOn(response) => *response,
        }
    }
}

/// Reads a JSON object from a body, whatever its content type says.
///
/// # Errors
/// 400 when the body is not a JSON object.
pub fn object(body: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    match serde_json::from_slice(body) {
        Ok(serde_json::Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Failure::bad_request("The body must be a JSON object")),
        Err(error) => Err(Failure::bad_request(format!("The body is not JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_json_object_is_taken() {
        for (body, good) in [("{}", true), (r#"{"a":1}"#, true), ("[]", false), ("", false), ("{", false)] {
            let read = object(body.as_bytes());
            assert_eq!(read.is_ok(), good, "{body}");
            if let Err(failure) = read {
                assert_eq!(failure.into_response().status(), StatusCode::BAD_REQUEST, "{body}");
            }
        }
    }
}
