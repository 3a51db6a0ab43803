//! Misbehaving on demand: a share of calls fails, or every call waits. Off unless told.
//!
//! `PUT /behaviour` with any of `fail_percent`, `delay_ms` and `status` changes it while the service runs, and
//! `GET /behaviour` says what holds and how many calls came in. `/health`, `/livez` and `/behaviour` itself always behave.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::outcome::Failure;

/// How a service misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The share of calls that fail, 0 to 100. Default 0 (`external-service`: 50).
    pub fail_percent: f64,
    /// Milliseconds that every call waits before it is answered. Default 0.
    pub delay_ms: u64,
    /// The status of a failing call; 0 hangs up without an answer. Default 503.
    pub status: u16,
}

/// Some members of a [`Plan`]; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    fail_percent: Option<f64>,
    delay_ms: Option<u64>,
    status: Option<u16>,
}

impl Plan {
    /// Says whether the members are within their bounds.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn validate(&self) -> Result<(), &'static str> {
        if !(0.0..=100.0).contains(&self.fail_percent) {
            return Err("fail_percent must be from 0 to 100");
        }
        if self.status != 0 && !(200..=599).contains(&self.status) {
            return Err("status must be from 200 to 599, or 0 to hang up without an answer");
        }
        Ok(())
    }

    fn with(self, change: Change) -> Plan {
        Plan {
            fail_percent: change.fail_percent.unwrap_or(self.fail_percent),
            delay_ms: change.delay_ms.unwrap_or(self.delay_ms),
            status: change.status.unwrap_or(self.status),
        }
    }
}

/// Marks a response that the server must not send: it closes the connection instead.
#[derive(Clone, Copy, Debug)]
pub struct HangUp;

/// A service's present behaviour and the count of the calls it got since it was last told how to behave.
#[derive(Clone, Debug)]
pub struct Behaviour {
    state: Arc<Mutex<Current>>,
}

#[derive(Debug)]
struct Current {
    plan: Plan,
    luck: u64,
    seen: BTreeMap<&'static str, u64>,
    failed: u64,
}

impl Behaviour {
    /// Begins with `plan`, and with luck that differs from process to process.
    pub fn new(plan: Plan) -> Behaviour {
        Behaviour::with_luck(plan, RandomState::new().hash_one(std::process::id()))
    }

    /// Begins with `plan`; the same `luck` fails the same calls.
    pub fn with_luck(plan: Plan, luck: u64) -> Behaviour {
        Behaviour { state: Arc::new(Mutex::new(Current { plan, luck, seen: BTreeMap::new(), failed: 0 })) }
    }

    /// Counts a call and says what to do with it: how long to wait, and the status to fail with, if it fails.
    fn next(&self, method: &Method) -> (Duration, Option<u16>) {
        let mut current = self.current();
        *current.seen.entry(counted_as(method)).or_default() += 1;
        let fails = current.roll_percent() < current.plan.fail_percent;
        if fails {
            current.failed += 1;
        }
        (Duration::from_millis(current.plan.delay_ms), fails.then_some(current.plan.status))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    /// A number in 0..100 (splitmix64 over a counter).
    fn roll_percent(&mut self) -> f64 {
        self.luck = self.luck.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.luck;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64 * 100.0
    }

    fn report(&self) -> serde_json::Value {
        json!({
            "fail_percent": self.plan.fail_percent,
            "delay_ms": self.plan.delay_ms,
            "status": self.plan.status,
            "seen": self.seen,
            "failed": self.failed,
        })
    }
}

/// The name a method is counted under; a closed list, so that a caller cannot make the count grow without end.
fn counted_as(method: &Method) -> &'static str {
    const NAMES: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
    NAMES.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER")
}

/// Middleware: lets the call through, late or not at all, as the present plan says.
pub async fn misbehave(State(behaviour): State<Behaviour>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/health" | "/livez" | "/behaviour") {
        return next.run(request).await;
    }
    let (delay, failure) = behaviour.next(request.method());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match failure {
        None => next.run(request).await,
        Some(status) => failed(status),
    }
}

fn failed(status: u16) -> Response {
    let body = Json(json!({ "status": "error", "message": "Service temporarily unavailable" }));
    let mut response = body.into_response();
    match StatusCode::from_u16(status) {
        Ok(status) => *response.status_mut() = status,
        Err(_) => {
            response.extensions_mut().insert(HangUp);
        }
    }
    response
}

/// `GET /behaviour`: the plan, the calls seen by method, and how many of them failed.
pub async fn show(State(behaviour): State<Behaviour>) -> Json<serde_json::Value> {
    Json(behaviour.current().report())
}

/// `PUT /behaviour`: changes the members that are given and begins the counts again.
pub async fn change(State(behaviour): State<Behaviour>, body: Bytes) -> Result<Json<serde_json::Value>, Failure> {
    let change: Change = serde_json::from_slice(&body).map_err(|error| Failure::bad_request(error.to_string()))?;
    let mut current = behaviour.current();
    let plan = current.plan.with(change);
    plan.validate().map_err(Failure::bad_request)?;
    current.plan = plan;
    current.seen.clear();
    current.failed = 0;
    Ok(Json(current.report()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Plan = Plan { fail_percent: 0.0, delay_ms: 0, status: 503 };

    #[test]
    fn the_share_of_failing_calls_is_the_one_asked_for() {
        for percent in [0.0, 10.0, 50.0, 100.0] {
            let behaviour = Behaviour::with_luck(Plan { fail_percent: percent, ..CALM }, 7);
            let failed = (0..10_000).filter(|_| behaviour.next(&Method::GET).1 == Some(503)).count() as f64;
            assert!((failed / 100.0 - percent).abs() < 1.0, "{percent}%: {failed} of 10000");
        }
    }

    #[test]
    fn calls_are_counted_by_a_closed_list_of_methods() {
        let behaviour = Behaviour::with_luck(CALM, 1);
        let odd = Method::from_bytes(b"BREW").unwrap();
        for method in [&Method::GET, &Method::GET, &Method::POST, &odd] {
            behaviour.next(method);
        }
        let report = behaviour.current().report();
        assert_eq!(report["seen"], json!({ "GET": 2, "OTHER": 1, "POST": 1 }));
        assert_eq!(report["failed"], 0);
    }

    #[tokio::test]
    async fn a_change_keeps_what_it_does_not_name_and_refuses_nonsense() {
        let behaviour = Behaviour::with_luck(CALM, 1);
        let put = |body: &'static str| change(State(behaviour.clone()), Bytes::from(body));
        assert_eq!(put(r#"{"fail_percent": 25}"#).await.unwrap()["fail_percent"], 25.0);
        let report = put(r#"{"delay_ms": 40, "status": 0}"#).await.unwrap();
        assert_eq!((&report["fail_percent"], &report["delay_ms"]), (&json!(25.0), &json!(40)));
        for nonsense in [r#"{"fail_percent": -1}"#, r#"{"status": 42}"#, r#"{"fail": 1}"#, "half"] {
            assert!(put(nonsense).await.is_err(), "{nonsense}");
        }
        assert_eq!(behaviour.current().plan, Plan { fail_percent: 25.0, delay_ms: 40, status: 0 });
    }

    #[test]
    fn status_zero_asks_the_server_to_hang_up() {
        assert!(failed(0).extensions().get::<HangUp>().is_some());
        let answered = failed(502);
        assert_eq!(answered.status(), StatusCode::BAD_GATEWAY);
        assert!(answered.extensions().get::<HangUp>().is_none());
    }
}
