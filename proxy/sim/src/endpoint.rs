//! What endpoints do with an attempt.

use leeboard_policy::retry::ResponseHead;
use leeboard_policy::time::Span;
use leeboard_policy::verdict::Failure;

/// What an attempt meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduct {
    /// A whole response, so long after the connection is made.
    Answers(ResponseHead, Span),
    /// A response that takes its time.
    Streams {
        /// Its head.
        head: ResponseHead,
        /// How long after the connection is made the head comes.
        after: Span,
        /// How long after its head it ends.
        body: Span,
        /// Whether the end is that the endpoint breaks off.
        breaks: Option<Failure>,
    },
    /// A connection, and no answer on it.
    Hangs,
    /// No connection; this is noticed after the cluster's connect timeout.
    Unreachable,
    /// A failure at once. All but the failures to connect come after the request is written.
    Fails(Failure),
}

impl Conduct {
    /// A response with this status at once.
    pub fn status(status: u16) -> Self {
        Self::after(status, Span(0))
    }

    /// A response with this status after a while.
    pub fn after(status: u16, pause: Span) -> Self {
        Self::Answers(ResponseHead { status, grpc_status: None, rate_limited: false }, pause)
    }
}
