//! What the caller and the endpoints saw of one exchange.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::cluster::Address;
use leeboard_policy::time::{Span, Time};

/// What was seen of one exchange.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The rule's name; empty without one.
    pub route: Arc<str>,
    /// The cluster's name; empty without one.
    pub cluster: Arc<str>,
    /// Where its attempts went, in order. The repetition of an attempt on a fresh connection is not one of its own.
    pub endpoints: Vec<Address>,
    /// Path and query as sent on; empty when nothing was.
    pub path: String,
    /// Authority as sent on.
    pub authority: String,
    /// Headers as sent on, by name.
    pub request_headers: BTreeMap<String, Vec<String>>,
    /// The answer's status, whether or not it came to a good end; 0 without an answer.
    pub status: u16,
    /// Envoy's response flags.
    pub flags: String,
    /// Envoy's response code details.
    pub details: String,
    /// The reason's code; empty when an endpoint answered.
    pub reason: String,
    /// The body of the proxy's own answer.
    pub body: String,
    /// The gRPC status of the answer, if it has one.
    pub grpc_status: Option<u16>,
    /// Where a redirect points; empty without one.
    pub location: String,
    /// The answer's headers as changed by the route, by name.
    pub response_headers: BTreeMap<String, Vec<String>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Which clusters received a copy.
    pub mirrors: Vec<Arc<str>>,
    /// When it began.
    pub began: Time,
    /// How long the first of its attempts that got a connection had waited since the exchange began; `None` if none did.
    pub started: Option<Span>,
    /// How long all of it took.
    pub took: Span,
}
