//! Why the proxy answered a request itself, and what it says then. One exhaustive match; no other place knows a status.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// A set of Envoy response flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Flags(pub u32);

/// The short names. Envoy prints flags in the order in which they were set: injected trouble, then the retry decision,
/// then how the last attempt ended.
const NAMES: [(Flags, &str); 19] = [
    (Flags::DELAY_INJECTED, "DI"),
    (Flags::FAULT_INJECTED, "FI"),
    (Flags::RETRY_LIMIT, "URX"),
    (Flags::OVERFLOW, "UO"),
    (Flags::NO_ROUTE, "NR"),
    (Flags::NO_CLUSTER, "NC"),
    (Flags::NO_HEALTHY_UPSTREAM, "UH"),
    (Flags::UPSTREAM_CONNECT, "UF"),
    (Flags::UPSTREAM_TERMINATED, "UC"),
    (Flags::UPSTREAM_REMOTE_RESET, "UR"),
    (Flags::UPSTREAM_PROTOCOL, "UPE"),
    (Flags::DNS_FAILED, "DF"),
    (Flags::LOCAL_RESET, "LR"),
    (Flags::UPSTREAM_TIMEOUT, "UT"),
    (Flags::STREAM_IDLE, "SI"),
    (Flags::DOWNSTREAM_PROTOCOL, "DPE"),
    (Flags::DOWNSTREAM_TERMINATED, "DC"),
    (Flags::DOWNSTREAM_RESET, "DR"),
    (Flags::OVERLOADED, "OM"),
];

impl Flags {
    /// No flag, printed `-`.
    pub const NONE: Self = Self(0);
    /// `UH`: no endpoint is available.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(1);
    /// `UT`: the request or an attempt took too long.
    pub const UPSTREAM_TIMEOUT: Self = Self(1 << 1);
    /// `LR`: the proxy gave the attempt up.
    pub const LOCAL_RESET: Self = Self(1 << 2);
    /// `UR`: the endpoint reset the stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self(1 << 3);
    /// `UF`: no connection was made.
    pub const UPSTREAM_CONNECT: Self = Self(1 << 4);
    /// `UC`: the connection ended under the request.
    pub const UPSTREAM_TERMINATED: Self = Self(1 << 5);
    /// `UO`: a limit was reached.
    pub const OVERFLOW: Self = Self(1 << 6);
    /// `NR`: no route matches.
    pub const NO_ROUTE: Self = Self(1 << 7);
    /// `DI`: a delay was injected.
    pub const DELAY_INJECTED: Self = Self(1 << 8);
    /// `FI`: an abort was injected.
    pub const FAULT_INJECTED: Self = Self(1 << 9);
    /// `DC`: the caller went away.
    pub const DOWNSTREAM_TERMINATED: Self = Self(1 << 10);
    /// `URX`: retries are used up.
    pub const RETRY_LIMIT: Self = Self(1 << 11);
    /// `DPE`: the caller's bytes are no HTTP.
    pub const DOWNSTREAM_PROTOCOL: Self = Self(1 << 12);
    /// `UPE`: the endpoint's bytes are no HTTP.
    pub const UPSTREAM_PROTOCOL: Self = Self(1 << 13);
    /// `NC`: the destination is not known.
    pub const NO_CLUSTER: Self = Self(1 << 14);
    /// `DF`: the name could not be resolved.
    pub const DNS_FAILED: Self = Self(1 << 15);
    /// `OM`: too much is held for callers who do not read.
    pub const OVERLOADED: Self = Self(1 << 16);
    /// `DR`: the caller reset the stream.
    pub const DOWNSTREAM_RESET: Self = Self(1 << 17);
    /// `SI`: nothing moved for too long.
    pub const STREAM_IDLE: Self = Self(1 << 18);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set but for `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (flag, name) in NAMES {
            if self.has(flag) {
                if !first {
                    f.write_str(",")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        if first { f.write_str("-") } else { Ok(()) }
    }
}

/// How an attempt failed before response headers came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The endpoint refused or reset the connection while it was being made.
    ConnectRefused,
    /// The connection was not made in `connectTimeout`.
    ConnectTimeout,
    /// The name has no address.
    Dns,
    /// The connection ended before a response.
    Terminated,
    /// The endpoint reset the stream.
    RemoteReset,
    /// The endpoint said that it did not process the stream.
    RefusedStream,
    /// The proxy beside the endpoint says that its application did not get the request: it could not be connected to.
    Unprocessed,
    /// The endpoint's answer is no HTTP.
    Protocol,
    /// A limit of the cluster was reached.
    Overflow,
    /// The attempt took longer than `perTryTimeout`.
    PerTryTimeout,
}

impl Failure {
    /// Envoy's words for it.
    pub fn reason(self) -> &'static str {
        match self {
            Failure::ConnectRefused | Failure::Unprocessed => "remote connection failure",
            Failure::ConnectTimeout => "connection timeout",
            Failure::Dns => "dns resolution failure",
            Failure::Terminated => "connection termination",
            Failure::RemoteReset => "remote reset",
            Failure::RefusedStream => "remote refused stream reset",
            Failure::Protocol => "protocol error",
            Failure::Overflow => "overflow",
            Failure::PerTryTimeout => "local reset",
        }
    }

    /// Envoy's `response_code_details` for it, before a response or in the middle of one. `words` are the system's, why there is no
    /// connection.
    pub fn details(self, after: bool, words: Option<&str>) -> String {
        let when = if after { "after" } else { "before" };
        let words = words.filter(|_| self == Failure::ConnectRefused);
        let said = match words {
            Some(words) => format!("{}|{words}", self.reason()),
            None => String::from(self.reason()),
        };
        format!("upstream_reset_{when}_response_started{{{}}}", said.replace(' ', "_"))
    }

    /// The connection was never made, all the way to the application.
    pub fn is_connect(self) -> bool {
        matches!(self, Failure::ConnectRefused | Failure::ConnectTimeout | Failure::Dns | Failure::Unprocessed)
    }

    fn flag(self) -> Flags {
        match self {
            Failure::ConnectRefused | Failure::ConnectTimeout | Failure::Unprocessed => Flags::UPSTREAM_CONNECT,
            Failure::Dns => Flags::DNS_FAILED,
            Failure::Terminated => Flags::UPSTREAM_TERMINATED,
            Failure::RemoteReset | Failure::RefusedStream => Flags::UPSTREAM_REMOTE_RESET,
            Failure::Protocol => Flags::UPSTREAM_PROTOCOL,
            Failure::Overflow => Flags::OVERFLOW,
            Failure::PerTryTimeout => Flags::UPSTREAM_TIMEOUT,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Failure::ConnectRefused => "connect-refused",
            Failure::ConnectTimeout => "connect-timeout",
            Failure::Dns => "dns-failure",
            Failure::Terminated => "connection-terminated",
            Failure::RemoteReset => "remote-reset",
            Failure::RefusedStream => "refused-stream",
            Failure::Unprocessed => "unprocessed",
            Failure::Protocol => "protocol-error",
            Failure::Overflow => "overflow",
            Failure::PerTryTimeout => "per-try-timeout",
        }
    }
}

/// What the caller sent that cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRequest {
    /// No Host, or an HTTP/2 request without authority.
    MissingHost,
    /// More than one Host, or one that is no authority.
    InvalidHost,
    /// Content-Length and Transfer-Encoding together, or either more than once.
    AmbiguousLength,
    /// A Transfer-Encoding other than `chunked`.
    UnknownCoding,
    /// A target that is neither a path nor a URL of HTTP.
    InvalidTarget,
    /// `*`, which asks of the proxy and of no path.
    Asterisk,
    /// `Connection` names what no connection may take away, or too much.
    Connection,
    /// An upgrade that is not enabled.
    Upgrade,
    /// Bytes that are no request.
    Malformed,
    /// More header bytes or fields than allowed.
    HeadTooLarge,
    /// The head did not come to its end in the time that is allowed.
    HeadTimeout,
    /// Too much is held for its caller, who does not read.
    Overload,
    /// It has been through so many proxies of this kind that it goes in a circle.
    Loop,
}

/// Who lets a request's body stand still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stall {
    /// Its caller sends no more of it.
    Caller,
    /// The endpoint takes no more of it, or nobody has been found to take it.
    Endpoint,
}

/// Why the proxy answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No virtual host or no rule of it matches.
    NoRoute,
    /// The host is not known and unknown hosts are blocked.
    UnknownHost,
    /// The route names a destination that does not exist.
    NoCluster,
    /// No endpoint is available.
    NoEndpoint,
    /// The last attempt failed.
    Failed(Failure),
    /// The route's timeout is over.
    Timeout,
    /// The request's body did not move for too long.
    Stalled(Stall),
    /// An abort was injected with this HTTP status.
    AbortHttp(u16),
    /// An abort was injected with this gRPC status.
    AbortGrpc(u16),
    /// The route answers by itself with this status.
    Direct(u16),
    /// The route sends the caller elsewhere with this status.
    Redirect(u16),
    /// A page of another origin asked what it may do.
    Preflight,
    /// The configuration or the caller asks for TLS to the endpoint, which is not spoken yet.
    NeedsTls,
    /// What would leave for the endpoint is nothing that HTTP carries.
    Unsendable(Part),
    /// The request cannot be served.
    Bad(BadRequest),
}

/// A part of a request's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The path with its query.
    Path,
    /// Host, or `:authority`.
    Authority,
}

/// What a verdict says to the caller and to the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What the verdict adds to the response flags.
    pub flags: Flags,
    /// Envoy's `response_code_details`.
    pub details: Cow<'static, str>,
    /// The body, often empty.
    pub body: Cow<'static, str>,
    /// The code in `x-leeboard-reason`.
    pub reason: &'static str,
    /// Whether `x-envoy-overloaded: true` is added.
    pub overloaded: bool,
}

impl Verdict {
    /// What is said. `retried` tells that this failure was the last of several. Envoy: local replies.
    pub fn answer(self, retried: bool) -> Answer {
        let (status, flags, details, body, reason): (u16, Flags, Cow<'static, str>, Cow<'static, str>, _) = match self {
            Verdict::NoRoute => (404, Flags::NO_ROUTE, "route_not_found".into(), "".into(), "no-route"),
            Verdict::UnknownHost => (502, Flags::NONE, "direct_response".into(), "".into(), "unknown-host"),
            Verdict::NoCluster => (503, Flags::NO_CLUSTER, "cluster_not_found".into(), "".into(), "no-cluster"),
            Verdict::NoEndpoint => (
                503,
                Flags::NO_HEALTHY_UPSTREAM,
                "no_healthy_upstream".into(),
                "no healthy upstream".into(),
                "no-endpoint",
            ),
            Verdict::Failed(Failure::PerTryTimeout) => (
                504,
                Flags::UPSTREAM_TIMEOUT,
                "upstream_per_try_timeout".into(),
                "upstream request timeout".into(),
                "per-try-timeout",
            ),
            Verdict::Failed(failure) => return failed(failure, retried),
            Verdict::Timeout => {
                (504, Flags::UPSTREAM_TIMEOUT, "response_timeout".into(), "upstream request timeout".into(), "timeout")
            }
            Verdict::Stalled(who) => {
                let (status, reason) = match who {
                    Stall::Caller => (408, "request-body-stalled"),
                    Stall::Endpoint => (504, "endpoint-stalled"),
                };
                (status, Flags::STREAM_IDLE, "stream_idle_timeout".into(), "stream timeout".into(), reason)
            }
            Verdict::AbortHttp(status) => {
                (status, Flags::FAULT_INJECTED, "fault_filter_abort".into(), "fault filter abort".into(), "fault-abort")
            }
            Verdict::AbortGrpc(_) => {
                (200, Flags::FAULT_INJECTED, "fault_filter_abort".into(), "fault filter abort".into(), "fault-abort")
            }
            Verdict::Direct(status) => (status, Flags::NONE, "direct_response".into(), "".into(), "direct-response"),
            Verdict::Redirect(status) => (status, Flags::NONE, "direct_response".into(), "".into(), "redirect"),
            Verdict::Preflight => (200, Flags::NONE, "cors_response".into(), "".into(), "cors-preflight"),
            Verdict::NeedsTls => (
                503,
                Flags::UPSTREAM_CONNECT,
                "tls_not_available".into(),
                "TLS to the endpoint is asked for, and not available".into(),
                "tls-not-available",
            ),
            Verdict::Unsendable(Part::Path) => (
                500,
                Flags::LOCAL_RESET,
                "path_not_sendable".into(),
                "no request can carry the path to the endpoint".into(),
                "path-not-sendable",
            ),
            Verdict::Unsendable(Part::Authority) => (
                500,
                Flags::LOCAL_RESET,
                "authority_not_sendable".into(),
                "no request can carry the authority to the endpoint".into(),
                "authority-not-sendable",
            ),
            Verdict::Bad(bad) => return bad_request(bad),
        };
        Answer { status, flags, details, body, reason, overloaded: false }
    }

    /// The gRPC status of a trailers-only answer to a gRPC caller. Envoy maps the HTTP status; a timeout is
    /// DEADLINE_EXCEEDED here, so that callers do not retry what has expired.
    pub fn grpc_status(self, http: u16) -> u16 {
        match self {
            Verdict::AbortGrpc(status) => status,
            Verdict::Timeout | Verdict::Stalled(_) | Verdict::Failed(Failure::PerTryTimeout) => 4,
            _ => http_to_grpc(http),
        }
    }
}

/// Envoy's mapping of HTTP statuses to gRPC statuses.
pub fn http_to_grpc(status: u16) -> u16 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

fn failed(failure: Failure, retried: bool) -> Answer {
    let reason = failure.reason();
    let body: String = if retried {
        format!(
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: {reason}"
        )
    } else {
        format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}")
    };
    Answer {
        status: if failure == Failure::Protocol { 502 } else { 503 },
        flags: failure.flag(),
        details: failure.details(false, None).into(),
        body: body.into(),
        reason: failure.code(),
        overloaded: failure == Failure::Overflow,
    }
}

fn bad_request(bad: BadRequest) -> Answer {
    let (status, details, reason) = match bad {
        BadRequest::MissingHost => (400, "missing_host_header", "missing-host"),
        BadRequest::InvalidHost => (400, "http.invalid_authority", "invalid-host"),
        BadRequest::AmbiguousLength => (400, "http1.content_length_and_chunked_not_allowed", "ambiguous-length"),
        BadRequest::UnknownCoding => (501, "http1.invalid_transfer_encoding", "unknown-coding"),
        BadRequest::InvalidTarget => (400, "path_normalization_failed", "invalid-target"),
        BadRequest::Asterisk => (404, "absolute_path_rejected", "asterisk"),
        BadRequest::Connection => (400, "http1.connection_header_rejected", "invalid-connection"),
        BadRequest::Upgrade => (403, "upgrade_failed", "upgrade-not-enabled"),
        BadRequest::Malformed => (400, "http1.codec_error", "malformed"),
        BadRequest::HeadTooLarge => (431, "http1.headers_too_large", "header-too-large"),
        BadRequest::HeadTimeout => (408, "request_header_timeout", "header-timeout"),
        BadRequest::Overload => (503, "overload", "overload"),
        BadRequest::Loop => (508, "loop_detected", "loop"),
    };
    let (flags, body) = match bad {
        BadRequest::Upgrade | BadRequest::Loop | BadRequest::Asterisk => (Flags::NONE, ""),
        // Envoy: timeouts of the connection set no flag.
        BadRequest::HeadTimeout => (Flags::NONE, "request header timeout"),
        BadRequest::Overload => (Flags::OVERLOADED, "leeboard overloaded"),
        _ => (Flags::DOWNSTREAM_PROTOCOL, ""),
    };
    let overloaded = bad == BadRequest::Overload;
    Answer { status, flags, details: details.into(), body: body.into(), reason, overloaded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn answers_are_envoys() {
        #[rustfmt::skip]
        let table: &[(Verdict, bool, u16, &str, &str)] = &[
            (Verdict::NoRoute, false, 404, "NR", "route_not_found"),
            (Verdict::NoCluster, false, 503, "NC", "cluster_not_found"),
            (Verdict::UnknownHost, false, 502, "-", "direct_response"),
            (Verdict::NoEndpoint, false, 503, "UH", "no_healthy_upstream"),
            (Verdict::Failed(Failure::ConnectRefused), false, 503, "UF", "upstream_reset_before_response_started{remote_connection_failure}"),
            (Verdict::Failed(Failure::ConnectTimeout), true, 503, "UF", "upstream_reset_before_response_started{connection_timeout}"),
            (Verdict::Failed(Failure::Terminated), false, 503, "UC", "upstream_reset_before_response_started{connection_termination}"),
            (Verdict::Failed(Failure::RemoteReset), false, 503, "UR", "upstream_reset_before_response_started{remote_reset}"),
            (Verdict::Failed(Failure::RefusedStream), false, 503, "UR", "upstream_reset_before_response_started{remote_refused_stream_reset}"),
            (Verdict::Failed(Failure::Protocol), false, 502, "UPE", "upstream_reset_before_response_started{protocol_error}"),
            (Verdict::Failed(Failure::Overflow), false, 503, "UO", "upstream_reset_before_response_started{overflow}"),
            (Verdict::Failed(Failure::PerTryTimeout), false, 504, "UT", "upstream_per_try_timeout"),
            (Verdict::Timeout, false, 504, "UT", "response_timeout"),
            (Verdict::Stalled(Stall::Caller), false, 408, "SI", "stream_idle_timeout"),
            (Verdict::Stalled(Stall::Endpoint), false, 504, "SI", "stream_idle_timeout"),
            (Verdict::AbortHttp(418), false, 418, "FI", "fault_filter_abort"),
            (Verdict::Preflight, false, 200, "-", "cors_response"),
            (Verdict::Direct(204), false, 204, "-", "direct_response"),
            (Verdict::NeedsTls, false, 503, "UF", "tls_not_available"),
            (Verdict::Unsendable(Part::Path), false, 500, "LR", "path_not_sendable"),
            (Verdict::Bad(BadRequest::Asterisk), false, 404, "-", "absolute_path_rejected"),
            (Verdict::Bad(BadRequest::Connection), false, 400, "DPE", "http1.connection_header_rejected"),
        ];
        for (verdict, retried, status, flags, details) in table {
            let answer = verdict.answer(*retried);
            assert_eq!(
                (answer.status, answer.flags.to_string().as_str(), &*answer.details),
                (*status, *flags, *details)
            );
        }
    }

    #[test]
    fn flags_print_in_the_order_they_are_set() {
        let flags = Flags::RETRY_LIMIT.with(Flags::UPSTREAM_CONNECT);
        assert_eq!(flags.to_string(), "URX,UF");
        assert_eq!(Flags::NONE.to_string(), "-");
    }

    #[test]
    fn expired_grpc_calls_say_deadline_exceeded() {
        for (verdict, status) in [
            (Verdict::Timeout, 4),
            (Verdict::NoRoute, 12),
            (Verdict::NoEndpoint, 14),
            (Verdict::AbortGrpc(8), 8),
            (Verdict::AbortHttp(404), 12),
        ] {
            assert_eq!(verdict.grpc_status(verdict.answer(false).status), status);
        }
    }
}
