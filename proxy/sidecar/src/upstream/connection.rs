//! An upstream connection, over HTTP/1, HTTP/2, or as raw bytes.

use std::sync::Arc;

use leeboard_policy::time::{Span, Time};

use super::connection_request::HeldResources;
use super::http1::Http1Connection;
use super::http2::Http2Stream;
use crate::net::upstream_socket::{Meter, Metered};

/// A connection in use, or one that waits for its next request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) wire: Transport,
    pub(super) meter: Arc<Meter>,
    /// Requests that it has taken.
    pub(super) served: u32,
    /// When it was last used.
    pub(super) idle_since: Time,
    /// How long it may wait for its next request; `None` is for ever.
    pub(super) keep: Option<Span>,
    /// From when on it takes no further request; `None` is never.
    pub(super) old_at: Option<Time>,
    /// Whether its endpoint is in no list, so that it goes by age alone.
    pub(super) passing: bool,
    /// Whose runtime its socket belongs to.
    pub(super) worker: usize,
    /// What an HTTP/1 connection holds; the streams of an HTTP/2 one hold it together.
    pub(super) _held: Option<HeldResources>,
}

/// What requests are sent on.
#[derive(Debug)]
pub(crate) enum Transport {
    /// HTTP/1.
    Http1Connection(Box<Http1Connection>),
    /// A stream's part in an HTTP/2 connection.
    Http2Connection(Box<Http2Stream>),
    /// No request: what comes after a CONNECT. Empty once the tunnel has the socket.
    Bare(Option<Metered>),
}

impl Connection {
    /// Not too old, and nothing has come from the peer, nor its end, that the runtime has heard of.
    pub(super) fn fresh(&self, now: Time) -> bool {
        let open = match &self.wire {
            Transport::Http1Connection(_) => !self.meter.stale(),
            Transport::Http2Connection(_) | Transport::Bare(_) => false,
        };
        let young = self.old_at.is_none_or(|old_at| now < old_at);
        open && young && self.keep.is_none_or(|keep| now - self.idle_since < keep)
    }
}

/// One stream's part in a connection; its place among the streams has been taken.
pub(super) fn stream_connection(stream: Http2Stream, now: Time) -> Connection {
    let meter = stream.many().meter.clone();
    let wire = Transport::Http2Connection(Box::new(stream));
    Connection {
        wire,
        meter,
        served: 0,
        idle_since: now,
        keep: None,
        old_at: None,
        _held: None,
        passing: false,
        worker: 0,
    }
}
