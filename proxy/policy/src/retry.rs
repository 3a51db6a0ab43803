//! When an attempt is repeated, and how long to wait before.

use alloc::vec::Vec;

use crate::dice::{Dice, Purpose};
use crate::time::Span;

/// A route's retry policy. Istio: `retries`; Envoy: `retry_policy`.
#[derive(Clone, PartialEq, Debug)]
pub struct RetryPolicy {
    /// Retries after the first attempt.
    pub attempts: u32,
    /// How long an attempt may take to answer, from when the request is received and a connection is ready.
    pub per_try_timeout: Option<Span>,
    /// What is retried.
    pub on: RetryOn,
    /// Statuses that are retried when `on` has [`RetryOn::STATUS_CODES`].
    pub status_codes: Vec<u16>,
    /// The first back-off's upper bound; it doubles, up to ten times this.
    pub backoff: Span,
    /// Whether endpoints already tried are avoided while an untried one is available.
    pub avoid_tried: bool,
}

/// A set of `retryOn` conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetryOn(pub u32);

/// The tokens of `retryOn` and their conditions.
pub const TOKENS: &[(&str, RetryOn)] = &[
    ("5xx", RetryOn::SERVER_ERROR),
    ("gateway-error", RetryOn::GATEWAY_ERROR),
    ("reset", RetryOn::RESET),
    ("reset-before-request", RetryOn::RESET_BEFORE_REQUEST),
    ("connect-failure", RetryOn::CONNECT_FAILURE),
    ("envoy-ratelimited", RetryOn::RATE_LIMITED),
    ("retriable-4xx", RetryOn::RETRIABLE_4XX),
    ("refused-stream", RetryOn::REFUSED_STREAM),
    ("retriable-status-codes", RetryOn::STATUS_CODES),
    ("retriable-headers", RetryOn::HEADERS),
    ("http3-post-connect-failure", RetryOn::HTTP3_POST_CONNECT),
    ("cancelled", RetryOn::GRPC_CANCELLED),
    ("deadline-exceeded", RetryOn::GRPC_DEADLINE_EXCEEDED),
    ("internal", RetryOn::GRPC_INTERNAL),
    ("resource-exhausted", RetryOn::GRPC_RESOURCE_EXHAUSTED),
    ("unavailable", RetryOn::GRPC_UNAVAILABLE),
];

impl RetryOn {
    /// Any status of 500 and above, and any reset.
    pub const SERVER_ERROR: Self = Self(1);
    /// 502, 503, 504, and any reset.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// Any reset.
    pub const RESET: Self = Self(1 << 2);
    /// A reset before a byte of the request was written.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 3);
    /// The connection was not made.
    pub const CONNECT_FAILURE: Self = Self(1 << 4);
    /// A response with `x-envoy-ratelimited`.
    pub const RATE_LIMITED: Self = Self(1 << 5);
    /// 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 6);
    /// HTTP/2 REFUSED_STREAM, or a stream beyond GOAWAY.
    pub const REFUSED_STREAM: Self = Self(1 << 7);
    /// One of the listed statuses.
    pub const STATUS_CODES: Self = Self(1 << 8);
    /// A response header matcher; Istio's API has no way to list any, so it never holds.
    pub const HEADERS: Self = Self(1 << 9);
    /// A failure after an HTTP/3 handshake; HTTP/3 is not spoken, so it never holds.
    pub const HTTP3_POST_CONNECT: Self = Self(1 << 10);
    /// gRPC status 1 in the response headers.
    pub const GRPC_CANCELLED: Self = Self(1 << 11);
    /// gRPC status 4 in the response headers.
    pub const GRPC_DEADLINE_EXCEEDED: Self = Self(1 << 12);
    /// gRPC status 13 in the response headers.
    pub const GRPC_INTERNAL: Self = Self(1 << 13);
    /// gRPC status 8 in the response headers.
    pub const GRPC_RESOURCE_EXHAUSTED: Self = Self(1 << 14);
    /// gRPC status 14 in the response headers.
    pub const GRPC_UNAVAILABLE: Self = Self(1 << 15);

    /// Whether any of `other`'s conditions is in this set.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The condition that a token of `retryOn` names.
    pub fn token(name: &str) -> Option<Self> {
        TOKENS.iter().find(|(token, _)| *token == name).map(|(_, on)| *on)
    }
}

impl RetryPolicy {
    /// Istio's policy for routes that say nothing: two retries on connect-failure, refused-stream, unavailable and cancelled,
    /// and on no status code, so 503 is not retried.
    pub fn istio_default() -> Self {
        let on = RetryOn::CONNECT_FAILURE
            .with(RetryOn::REFUSED_STREAM)
            .with(RetryOn::GRPC_UNAVAILABLE)
            .with(RetryOn::GRPC_CANCELLED)
            .with(RetryOn::STATUS_CODES);
        Self {
            attempts: 2,
            per_try_timeout: None,
            on,
            status_codes: Vec::new(),
            backoff: DEFAULT_BACKOFF,
            avoid_tried: true,
        }
    }

    /// Istio's policy towards the application: two retries of what was never sent.
    pub fn istio_inbound() -> Self {
        Self { on: RetryOn::RESET_BEFORE_REQUEST, ..Self::istio_default() }
    }

    /// How long to wait before retry number `retry` (from 1): uniform below `backoff · 2^(retry-1)`, at most ten times `backoff`.
    pub fn backoff(&self, retry: u32, dice: Dice) -> Span {
        let most = self.backoff.times(10);
        let doubled = self.backoff.times(1u64.checked_shl(retry.saturating_sub(1)).unwrap_or(u64::MAX));
        Span(dice.below(Purpose::Backoff, retry, doubled.min(most).0))
    }
}

/// Envoy: 25 ms.
pub const DEFAULT_BACKOFF: Span = Span::from_millis(25);
