//! The settings of a worker.

use leeboard_policy::cluster::Workload;
use leeboard_policy::time::Span;

use super::connection_state::IdleTimeouts;
use crate::http::http1::read::HeadRules;
use crate::http::informational::HalfClose;
use crate::net::networks::Networks;

/// What `leeboard run` does with traffic, with every default filled in.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Threads that carry traffic.
    pub(crate) workers: usize,
    /// The workload that this proxy stands beside.
    pub(crate) workload: Workload,
    /// The most bytes of a request's body that are kept to send it again.
    pub(crate) replay_buffer: usize,
    /// The most bytes in a request's head.
    pub(crate) max_header_bytes: usize,
    /// The most headers in a request.
    pub(crate) max_headers: usize,
    /// The most bytes in a response's head.
    pub(crate) max_response_header_bytes: usize,
    /// Whether a length beside chunks is passed over.
    pub(crate) allow_chunked_length: bool,
    /// Whether lines of HTTP/1 heads may end in LF alone.
    pub(crate) allow_bare_lf: bool,
    /// How long a request's head may take; `None` is no limit.
    pub(crate) header_timeout: Option<Span>,
    /// How long callers may do nothing.
    pub(crate) patience: IdleTimeouts,
    /// After how long without a stream an HTTP/2 connection to an endpoint is asked for; `None` is never.
    pub(crate) ping_after: Option<Span>,
    /// The most bytes of answers that are held for callers who do not read.
    pub(crate) max_unread: usize,
    /// The most of them for one connection.
    pub(crate) max_caller_unread: usize,
    /// How long a request's body may stand still; `None` is no limit.
    pub(crate) stalled_body: Option<Span>,
    /// How long an answer may be left unread; `None` is no limit.
    pub(crate) stalled_reader: Option<Span>,
    /// What a caller means that has closed its own direction.
    pub(crate) half_close: HalfClose,
    /// Whose proxies are believed besides those of known endpoints.
    pub(crate) trusted_peers: Networks,
}

impl Settings {
    /// What heads of callers may be.
    pub(crate) fn caller_heads(&self) -> HeadRules {
        HeadRules {
            bytes: self.max_header_bytes,
            fields: self.max_headers,
            chunked_length: self.allow_chunked_length,
            bare_lf: self.allow_bare_lf,
        }
    }

    /// What heads of endpoints may be.
    pub(crate) fn endpoint_heads(&self) -> HeadRules {
        HeadRules { bytes: self.max_response_header_bytes, ..self.caller_heads() }
    }
}
