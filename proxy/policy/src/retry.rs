//! When an attempt is repeated, and how long to wait before.

use alloc::vec::Vec;

use crate::dice::{Dice, Purpose};
use crate::time::Span;
use crate::verdict::Failure;

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
    /// Whether levels of endpoints that two attempts went to are passed over. Istio: `retryRemoteLocalities`.
    pub leave_levels: bool,
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
            leave_levels: false,
        }
    }

    /// Istio's policy towards the application: two retries of what was never sent.
    pub fn istio_inbound() -> Self {
        Self { on: RetryOn::RESET_BEFORE_REQUEST, ..Self::istio_default() }
    }

    /// How long to wait before retry number `retry` (from 1): uniform below `backoff · 2^(retry-1)`, at most ten times `backoff`.
    pub fn backoff(&self, retry: u32, dice: Dice) -> Span {
        Span(dice.below(Purpose::Backoff, retry, self.longest_backoff(retry).0))
    }

    /// What every wait before retry number `retry` (from 1) is shorter than.
    pub fn longest_backoff(&self, retry: u32) -> Span {
        let doubled = self.backoff.times(1u64.checked_shl(retry.saturating_sub(1)).unwrap_or(u64::MAX));
        doubled.min(self.backoff.times(10))
    }
}

/// What is looked at in a response's head to decide whether to try again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// `grpc-status`, when it is among the headers (a trailers-only response).
    pub grpc_status: Option<u16>,
    /// Whether `x-envoy-ratelimited` is among the headers.
    pub rate_limited: bool,
}

impl RetryPolicy {
    /// Whether a response asks for another attempt. Envoy: a rate-limited one only under `envoy-ratelimited`.
    pub fn wants_after(&self, response: ResponseHead) -> bool {
        let status = response.status;
        if response.rate_limited {
            return self.on.any(RetryOn::RATE_LIMITED);
        }
        (status >= 500 && self.on.any(RetryOn::SERVER_ERROR))
            || (matches!(status, 502..=504) && self.on.any(RetryOn::GATEWAY_ERROR))
            || (status == 409 && self.on.any(RetryOn::RETRIABLE_4XX))
            || (self.on.any(RetryOn::STATUS_CODES) && self.status_codes.contains(&status))
            || response.grpc_status.and_then(grpc_condition).is_some_and(|condition| self.on.any(condition))
    }

    /// Whether a failure before response headers asks for another attempt. `written` tells that some of the request was
    /// handed to a connection. Envoy: an overflow is never retried.
    pub fn wants_after_failure(&self, failure: Failure, written: bool) -> bool {
        let any_reset = RetryOn::RESET.with(RetryOn::SERVER_ERROR).with(RetryOn::GATEWAY_ERROR);
        match failure {
            Failure::Overflow => false,
            Failure::ConnectRefused | Failure::ConnectTimeout | Failure::Dns | Failure::Unprocessed => {
                self.on.any(any_reset.with(RetryOn::CONNECT_FAILURE).with(RetryOn::RESET_BEFORE_REQUEST))
            }
            Failure::RefusedStream => self.on.any(any_reset.with(RetryOn::REFUSED_STREAM)),
            Failure::Terminated | Failure::RemoteReset | Failure::Protocol | Failure::PerTryTimeout => {
                self.on.any(any_reset) || (!written && self.on.any(RetryOn::RESET_BEFORE_REQUEST))
            }
        }
    }
}

fn grpc_condition(status: u16) -> Option<RetryOn> {
    match status {
        1 => Some(RetryOn::GRPC_CANCELLED),
        4 => Some(RetryOn::GRPC_DEADLINE_EXCEEDED),
        8 => Some(RetryOn::GRPC_RESOURCE_EXHAUSTED),
        13 => Some(RetryOn::GRPC_INTERNAL),
        14 => Some(RetryOn::GRPC_UNAVAILABLE),
        _ => None,
    }
}

/// Envoy: 25 ms.
pub const DEFAULT_BACKOFF: Span = Span::from_millis(25);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn policy(on: &str, codes: Vec<u16>) -> RetryPolicy {
        let on = on.split(',').map(|t| RetryOn::token(t).expect("a known token")).fold(RetryOn(0), RetryOn::with);
        RetryPolicy { on, status_codes: codes, ..RetryPolicy::istio_default() }
    }

    #[test]
    fn responses() {
        let plain = |status| ResponseHead { status, grpc_status: None, rate_limited: false };
        let limited = ResponseHead { rate_limited: true, ..plain(503) };
        let grpc = |grpc| ResponseHead { grpc_status: Some(grpc), ..plain(200) };
        #[rustfmt::skip]
        let table = [
            ("5xx", plain(500), true), ("5xx", plain(599), true), ("5xx", plain(499), false), ("5xx", limited, false),
            ("gateway-error", plain(502), true), ("gateway-error", plain(504), true), ("gateway-error", plain(500), false),
            ("retriable-4xx", plain(409), true), ("retriable-4xx", plain(404), false),
            ("retriable-status-codes", plain(418), true), ("retriable-status-codes", plain(503), false),
            ("reset,connect-failure,refused-stream", plain(503), false),
            ("envoy-ratelimited", limited, true), ("envoy-ratelimited", plain(429), false),
            ("cancelled", grpc(1), true), ("deadline-exceeded", grpc(4), true), ("resource-exhausted", grpc(8), true),
            ("internal", grpc(13), true), ("unavailable", grpc(14), true), ("unavailable", grpc(0), false),
            ("unavailable", grpc(13), false), ("retriable-headers,http3-post-connect-failure", plain(503), false),
        ];
        for (on, response, expected) in table {
            assert_eq!(policy(on, vec![418]).wants_after(response), expected, "{on} after {response:?}");
        }
    }

    #[test]
    fn failures() {
        use Failure::*;
        #[rustfmt::skip]
        let table: &[(&str, Failure, bool, bool)] = &[
            ("connect-failure", ConnectRefused, false, true), ("connect-failure", ConnectTimeout, false, true),
            ("connect-failure", Unprocessed, true, true), ("reset-before-request", Unprocessed, true, true),
            ("connect-failure", Terminated, true, false), ("connect-failure", Terminated, false, false),
            ("reset-before-request", ConnectRefused, false, true), ("reset-before-request", Terminated, false, true),
            ("reset-before-request", Terminated, true, false), ("reset-before-request", RefusedStream, true, false),
            ("refused-stream", RefusedStream, true, true), ("refused-stream", RemoteReset, true, false),
            ("reset", Terminated, true, true), ("reset", PerTryTimeout, true, true), ("reset", ConnectRefused, false, true),
            ("5xx", RemoteReset, true, true), ("5xx", RefusedStream, true, true), ("gateway-error", Protocol, true, true),
            ("5xx", Overflow, false, false), ("reset", Overflow, false, false), ("retriable-4xx", Terminated, true, false),
        ];
        for (on, failure, written, expected) in table {
            let wants = policy(on, vec![]).wants_after_failure(*failure, *written);
            assert_eq!(wants, *expected, "{on} after {failure:?}, written {written}");
        }
    }

    #[test]
    fn istios_default_does_not_repeat_a_503() {
        let default = RetryPolicy::istio_default();
        assert!(!default.wants_after(ResponseHead { status: 503, grpc_status: None, rate_limited: false }));
        assert!(default.wants_after_failure(Failure::ConnectRefused, false));
        assert!(!default.wants_after_failure(Failure::Terminated, true));
    }

    #[test]
    fn backoff_doubles_to_ten_times() {
        for (retry, bound_ms) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (6, 250), (90, 250)] {
            let waits = Dice(3).sequence(2_000).into_iter().map(|d| RetryPolicy::istio_default().backoff(retry, d));
            let longest = waits.max().expect("some waits").0;
            let bound = Span::from_millis(bound_ms).0;
            assert!(longest < bound && longest > bound * 9 / 10, "retry {retry}: {longest} of {bound}");
        }
    }
}
