//! The record of one exchange, from which the metrics and the access log are made.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use leeboard_policy::cluster::{Address, Service, Workload};
use leeboard_policy::origin::Origin;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::Flags;

/// Which side of a call this proxy stood on. Istio: the `reporter` label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Reporter {
    /// The caller's side: outbound.
    Source,
    /// The application's side: inbound.
    Destination,
}

/// Where an exchange went. Shared by all of a worker's exchanges with the same destination, so that series can be found by
/// address.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Destination {
    /// Istio's cluster name; `None` when no cluster was chosen.
    pub(crate) cluster: Option<Arc<str>>,
    /// The service, as metrics name it.
    pub(crate) service: Option<Service>,
    /// The workload that called, when its proxy said so.
    pub(crate) caller: Option<Arc<Workload>>,
    /// The workload behind the endpoint, when one was chosen.
    pub(crate) workload: Option<Arc<Workload>>,
    /// The endpoint's address, when one was chosen.
    pub(crate) endpoint: Option<Address>,
}

/// The gRPC status of those that send a number which is none: there are 17, and each number is a series.
pub(crate) const UNKNOWN_GRPC_STATUS: u16 = u16::MAX;

/// The gRPC status that counts for a number that an endpoint has sent.
pub(crate) fn counted_grpc_status(number: u16) -> u16 {
    if number > 16 { UNKNOWN_GRPC_STATUS } else { number }
}

/// One finished exchange.
#[derive(Debug)]
pub(crate) struct Record {
    /// Which side.
    pub(crate) reporter: Reporter,
    /// When its first byte came, by the wall clock.
    pub(crate) started: SystemTime,
    /// From the first byte in to the last byte out.
    pub(crate) duration: Span,
    /// The caller's HTTP version.
    pub(crate) protocol: http::Version,
    /// The status that the caller saw; 0 when none was sent.
    pub(crate) status: u16,
    /// The gRPC status, for gRPC requests that got one.
    pub(crate) grpc_status: Option<u16>,
    /// Whether the request's content type is gRPC's.
    pub(crate) grpc: bool,
    /// Envoy's response flags.
    pub(crate) flags: Flags,
    /// Envoy's `response_code_details`.
    pub(crate) details: Cow<'static, str>,
    /// Bytes of the request's head, as near as it is known.
    pub(crate) request_head_bytes: u64,
    /// Bytes of the request's body.
    pub(crate) bytes_received: u64,
    /// Bytes of the response's head, as near as it is known.
    pub(crate) response_head_bytes: u64,
    /// Bytes of the response's body.
    pub(crate) bytes_sent: u64,
    /// How long upstream took to answer, from the end of the request.
    pub(crate) upstream_service_time: Option<Span>,
    /// Where it went.
    pub(crate) destination: Rc<Destination>,
    /// The words of a failed connect, if that is how it ended.
    pub(crate) transport_failure: Option<Arc<str>>,
    /// Our address on the connection to the endpoint.
    pub(crate) upstream_local: Option<SocketAddr>,
    /// Our address on the caller's connection.
    pub(crate) downstream_local: SocketAddr,
    /// The caller's address.
    pub(crate) downstream_remote: SocketAddr,
    /// The seed of all its luck.
    pub(crate) seed: u64,
    /// What only the access log shows; `None` while the log is off.
    pub(crate) head: Option<Box<LoggedHead>>,
}

/// What only the access log shows: parts of the request, as the caller sent them, and the rule.
#[derive(Clone, Default, Debug)]
pub(crate) struct LoggedHead {
    /// The method.
    pub(crate) method: http::Method,
    /// The path and query before any rewrite.
    pub(crate) path: String,
    /// Host or `:authority`.
    pub(crate) authority: String,
    /// `user-agent`, if sent.
    pub(crate) user_agent: Option<String>,
    /// `x-forwarded-for`, if sent.
    pub(crate) forwarded_for: Option<String>,
    /// `x-request-id`, sent or given.
    pub(crate) request_id: Option<String>,
    /// The route's name; `None` when none matched.
    pub(crate) route: Option<Arc<str>>,
    /// The rule that was taken.
    pub(crate) rule: Option<Origin>,
}
