//! What a connection to an endpoint is wanted for, and what it holds while it is open; what comes of a request on it.

use std::rc::Rc;
use std::sync::Arc;

use leeboard_policy::cluster::{Address, Connection as Settings};
use leeboard_policy::endpoints::Endpoint;
use leeboard_policy::limits::{Limit, Slot};
use leeboard_policy::live::LiveCluster;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;

use crate::drain::Side;
use crate::http::fields::Fields;
use crate::http::http1::read::Rules;
use crate::http::http2::send_buffer::Backlog;
use crate::net::own_addresses::Here;
use crate::net::upstream_limits::{Allowance, Entered, Room, Taken};
use crate::telemetry::worker::OpenConnection;

/// What a connection is wanted for.
pub(crate) struct Ask<'a> {
    /// The cluster.
    pub(crate) cluster: &'a LiveCluster,
    /// Its connection settings.
    pub(crate) settings: &'a Settings,
    /// The endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// HTTP/2 rather than HTTP/1.1.
    pub(crate) http2: bool,
    /// The bare connection, to carry a caller's own bytes. Never kept, so asked for with `fresh`.
    pub(crate) bare: bool,
    /// Only a new connection will do.
    pub(crate) fresh: bool,
    /// The endpoint is in no list: it is where the caller was going anyway.
    pub(crate) passing: bool,
    /// What the endpoint's heads may be.
    pub(crate) heads: Rules,
    /// How many connections may be open, and how many more may be in use for this caller.
    pub(crate) room: &'a Arc<Room>,
    pub(crate) allowance: Option<&'a Rc<Allowance>>,
    /// What is held for callers who do not read.
    pub(crate) backlog: &'a Rc<Backlog>,
    /// Where nothing may be sent to, and from which side this is sent.
    pub(crate) here: (&'a Here, Side),
    /// After how long without a stream an HTTP/2 connection is asked for before it is used again; `None` is never.
    pub(crate) ping_after: Option<Span>,
    /// Now.
    pub(crate) now: Time,
    /// Which worker asks.
    pub(crate) worker: usize,
}

impl Ask<'_> {
    /// The endpoint's address, unless the caller has made it up.
    pub(super) fn known_address(&self) -> Option<&Address> {
        Some(self.endpoint.address()).filter(|_| !self.passing)
    }

    /// One of the connections that carry one request at a time and may be in use for its caller.
    pub(super) fn take(&self) -> Result<Option<Taken>, ConnectError> {
        let Some(allowance) = self.allowance.filter(|_| !self.http2) else { return Ok(None) };
        allowance.take().map(Some).ok_or_else(|| overflow("max-caller-endpoint-connections"))
    }

    /// A place for a new connection. When there is none, one is made of a connection that nobody uses.
    pub(super) fn enter(&self, evict: impl FnOnce() -> bool) -> Result<Entered, ConnectError> {
        let entered = self.room.enter().or_else(|| if evict() { self.room.enter() } else { None });
        entered.ok_or_else(|| overflow("max-endpoint-connections"))
    }

    /// Whether the cluster has all the connections that it may have. Until then each worker makes its own.
    pub(super) fn full(&self) -> bool {
        self.cluster.limits().connections.is_some_and(|most| self.cluster.counts.current(Limit::Connections) >= most)
    }
}

fn overflow(limit: &str) -> ConnectError {
    ConnectError { failure: Failure::Overflow, words: limit.into() }
}

/// Why there is no connection, and what the system said.
#[derive(Debug)]
pub(crate) struct ConnectError {
    /// For the policy.
    pub(crate) failure: Failure,
    /// For the log.
    pub(crate) words: Arc<str>,
}

/// What a connection holds for as long as it is open.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) _place: Option<Slot>,
    pub(super) _entered: Entered,
    pub(super) _counted: OpenConnection,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
}

/// Why a request was not answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotAnswered {
    /// What went wrong.
    pub(crate) failure: Failure,
    /// Whether none of it was handed to the connection.
    pub(crate) unsent: bool,
}
