//! What a driver and an exchange say to each other.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use crate::endpoints::Endpoint;
use crate::retry::ResponseHead;
use crate::time::Time;
use crate::verdict::{Answer, Failure, Verdict};

/// What the driver must do next.
#[derive(Debug)]
pub enum Step {
    /// Nothing until this time; then [`Exchange::woke`](crate::exchange::Exchange::woke).
    Wait(Time),
    /// Send the request; then [`Exchange::after`](crate::exchange::Exchange::after).
    Try(Attempt),
    /// Pass the response on; then [`Exchange::ended`](crate::exchange::Exchange::ended).
    Forward,
    /// Give this answer; the exchange is over.
    Reply(Box<Reply>),
}

/// One sending of the request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Where to; `None` is wherever the caller was going.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Which attempt, from 1.
    pub number: u32,
    /// When it was decided.
    pub at: Time,
    /// Whether a connection that was used before must not be used: one just turned out to be stale.
    pub fresh: bool,
}

/// Whether the request can be sent again, whole. Whoever drives an exchange says so with everything that may lead to another
/// attempt: none is made of a body whose beginning is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replay {
    /// All of it that has been read is kept, or nothing has been read yet.
    Whole,
    /// A part of it has been let go, or its caller broke off.
    Gone,
}

/// What happened to an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Response headers came.
    Response(ResponseHead),
    /// None did.
    Failed {
        /// How it failed.
        failure: Failure,
        /// Whether the connection had served a request before.
        reused: bool,
        /// Whether a byte of the request was handed to the connection.
        written: bool,
    },
}

/// How an exchange ended after its response was passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// All of it was passed on; the gRPC status if one came in the trailers.
    Complete {
        /// `grpc-status` of the trailers.
        grpc_status: Option<u16>,
    },
    /// The endpoint broke off.
    Broken(Failure),
    /// The route's timeout was over.
    TimedOut,
    /// The caller left.
    CallerGone,
    /// The caller reset the stream.
    CallerReset,
    /// The caller did not read for too long, or nothing came either way through a tunnel. Envoy: `stream_idle_timeout`.
    Stalled,
}

impl End {
    /// Envoy's `response_code_details` of a response that was passed on and ended so; `None` where it came whole.
    pub fn details(self) -> Option<Cow<'static, str>> {
        match self {
            End::Complete { .. } => None,
            End::Broken(failure) => Some(failure.details(true, None).into()),
            End::TimedOut => Some("response_timeout".into()),
            End::CallerGone => Some("downstream_remote_disconnect".into()),
            End::CallerReset => Some("http2.remote_reset".into()),
            End::Stalled => Some("stream_idle_timeout".into()),
        }
    }
}

/// What the proxy answers by itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    /// Why.
    pub verdict: Verdict,
    /// Status, flags, details and words.
    pub answer: Answer,
    /// The body of a direct response, instead of the answer's words.
    pub body: Option<Arc<[u8]>>,
    /// `location` of a redirect.
    pub location: Option<String>,
    /// For gRPC callers: the status of a trailers-only answer with HTTP 200.
    pub grpc_status: Option<u16>,
}

/// How the retries of an exchange went, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retries {
    /// How many were made.
    pub made: u32,
    /// How they ended, if any were made or wanted.
    pub end: Option<RetryEnd>,
}

/// Faults that were injected for an exchange, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// How many delays.
    pub delays: u32,
    /// How many aborts.
    pub aborts: u32,
}

/// How retrying ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RetryEnd {
    /// A retry brought an answer that asks for no other.
    Success,
    /// There was none left.
    LimitExceeded,
    /// The cluster's retries were all taken.
    Overflow,
    /// The body was too long to be sent again.
    NotReplayable,
}
