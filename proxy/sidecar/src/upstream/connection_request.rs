//! What a connection is requested for, what an open connection holds, and what comes of a request on it.

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
use crate::http::http1::read::HeadRules;
use crate::http::http2::send_buffer::WorkerSendBuffer;
use crate::net::own_addresses::OwnAddresses;
use crate::net::upstream_limits::{UpstreamConnections, UpstreamSlot};
use crate::request::budget::{BudgetSlot, ConnectionBudget};
use crate::telemetry::worker::OpenConnection;

/// What a connection is wanted for.
pub(crate) struct ConnectionRequest<'a> {
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
    pub(crate) heads: HeadRules,
    /// How many connections may be open, and how many more may be in use for this caller.
    pub(crate) upstream_connections: &'a Arc<UpstreamConnections>,
    pub(crate) budget: Option<&'a Rc<ConnectionBudget>>,
    /// What is held for callers who do not read.
    pub(crate) send_buffer: &'a Rc<WorkerSendBuffer>,
    /// Where nothing may be sent to, and from which side this is sent.
    pub(crate) own_addresses: (&'a OwnAddresses, Side),
    /// After how long without a stream an HTTP/2 connection is asked for before it is used again; `None` is never.
    pub(crate) ping_after: Option<Span>,
    /// Now.
    pub(crate) now: Time,
    /// Which worker asks.
    pub(crate) worker: usize,
}

impl ConnectionRequest<'_> {
    /// The endpoint's address, unless the caller has made it up.
    pub(super) fn known_address(&self) -> Option<&Address> {
        Some(self.endpoint.address()).filter(|_| !self.passing)
    }

    /// One of the connections that carry one request at a time and may be in use for its caller.
    pub(super) fn take(&self) -> Result<Option<BudgetSlot>, ConnectError> {
        let Some(budget) = self.budget.filter(|_| !self.http2) else { return Ok(None) };
        budget.take().map(Some).ok_or_else(|| overflow("max-caller-endpoint-connections"))
    }

    /// A place for a new connection. When there is none, one is made of a connection that nobody uses.
    pub(super) fn enter(&self, evict: impl FnOnce() -> bool) -> Result<UpstreamSlot, ConnectError> {
        let entered = self
            .upstream_connections
            .enter()
            .or_else(|| if evict() { self.upstream_connections.enter() } else { None });
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
pub(crate) struct HeldResources {
    pub(super) _place: Option<Slot>,
    pub(super) _entered: UpstreamSlot,
    pub(super) _counted: OpenConnection,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct UpstreamResponse {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
}

/// Why a request was not answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoResponse {
    /// What went wrong.
    pub(crate) failure: Failure,
    /// Whether none of it was handed to the connection.
    pub(crate) unsent: bool,
}
