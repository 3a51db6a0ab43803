//! An upstream connection for as long as one request uses it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use leeboard_policy::endpoints::EndpointId;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;

use super::connection::{Connection, Transport};
use super::connection_request::{ConnectionRequest, NoResponse, UpstreamResponse};
use super::idle::IdleConnections;
use super::shared_pool::SharedPool;
use crate::body::upstream::UpstreamBody;
use crate::host::clock::Clock;
use crate::http::http1::read::Response;
use crate::http::informational::InformationalResponses;
use crate::net::upstream_socket::Metered;
use crate::request::budget::BudgetSlot;
use crate::request::upstream::UpstreamRequest;

/// No answer before an answer, but one of its own, and not HTTP/2's.
const SWITCHING: u16 = 101;
/// The longest body that is read for nothing.
const DRAINED: u64 = 16 * 1024;
/// And the longest time that it may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Where a connection goes back to.
pub(super) enum ReturnTo {
    /// This worker's own.
    Worker(Rc<RefCell<IdleConnections>>),
    /// The cluster's, for all workers.
    Cluster(Arc<SharedPool>),
}

/// A connection, for as long as one request uses it. Dropping it closes an HTTP/1 connection and frees a stream.
pub(crate) struct Lease {
    connection: Option<Connection>,
    endpoint: EndpointId,
    /// `None` once it has been given back.
    return_to: Option<ReturnTo>,
    max_requests: Option<u32>,
    written_before: u64,
    /// What it takes of what its caller may use.
    taken: Option<BudgetSlot>,
    /// Whether the connection has served a request before.
    pub(crate) reused: bool,
}

impl Lease {
    pub(super) fn new(
        connection: Connection,
        request: &ConnectionRequest<'_>,
        return_to: ReturnTo,
        reused: bool,
    ) -> Self {
        Self {
            written_before: connection.meter.written(),
            connection: Some(connection),
            endpoint: request.endpoint.id(),
            return_to: Some(return_to),
            max_requests: request.settings.max_requests,
            taken: None,
            reused,
        }
    }

    /// The same, which counts as in use for its caller.
    pub(super) fn counted(mut self, taken: Option<BudgetSlot>) -> Self {
        self.taken = taken;
        self
    }

    /// Sends a request and waits for the head of its response. `informational` takes what an endpoint says before that.
    pub(crate) async fn send(
        &mut self,
        request: &UpstreamRequest<'_>,
        body: UpstreamBody,
        informational: Option<&InformationalResponses>,
    ) -> Result<UpstreamResponse, NoResponse> {
        let Some(connection) = &mut self.connection else { unreachable!("a lease has its connection until it ends") };
        connection.served += 1;
        let mut interim = |status, fields| {
            // Leave to go on is for those who have asked for it.
            let passes = status != SWITCHING && (status != 100 || request.expects);
            if let Some(informational) = informational.filter(|_| passes) {
                informational.pass_on(status, fields);
            }
        };
        match &mut connection.wire {
            Transport::Http1Connection(one) => {
                one.begin(body, request.framing(), |out| request.write(out));
                let mut queued = one.queue_write();
                let mut interim = |response: Response| interim(response.status, response.fields);
                let answered = poll_fn(|cx| one.poll_head(cx, &mut interim)).await;
                if queued.as_mut().is_some_and(|queued| queued.take_back().is_some()) {
                    one.not_sent();
                }
                let response = answered.map_err(|failure| NoResponse { failure, unsent: false })?;
                Ok(UpstreamResponse { status: response.status, fields: response.fields })
            }
            Transport::Http2Connection(stream) => {
                let head = request.http2(body.size_hint().exact());
                let head = head.map_err(|_| NoResponse { failure: Failure::Protocol, unsent: true })?;
                stream.begin(head, body)?;
                poll_fn(|cx| stream.poll_head(cx, &mut interim)).await
            }
            Transport::Bare(_) => unreachable!("a bare connection is asked for when there is no request to send"),
        }
    }

    /// The next frame of the response.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self.connection.as_mut().map(|connection| &mut connection.wire) {
            Some(Transport::Http1Connection(one)) => one.poll_frame(cx),
            Some(Transport::Http2Connection(stream)) => stream.poll_frame(cx),
            Some(Transport::Bare(_)) | None => Poll::Ready(None),
        }
    }

    /// Takes in what has come of the response although nobody wants it yet, where it would stand in the way of others.
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) {
        if let Some(Transport::Http2Connection(stream)) =
            self.connection.as_mut().map(|connection| &mut connection.wire)
        {
            stream.gather(cx);
        }
    }

    /// How much has been taken in.
    pub(crate) fn gathered(&self) -> usize {
        match self.connection.as_ref().map(|connection| &connection.wire) {
            Some(Transport::Http2Connection(stream)) => stream.gathered(),
            _ => 0,
        }
    }

    /// Sends what can be sent of the request, while nobody asks for the response. Over HTTP/2 it goes up by itself.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Some(Transport::Http1Connection(one)) = self.connection.as_mut().map(|connection| &mut connection.wire) {
            one.poll_upload(cx);
        }
    }

    /// Whether the response is over.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self.connection.as_ref().map(|connection| &connection.wire) {
            Some(Transport::Http1Connection(one)) => one.is_end_stream(),
            Some(Transport::Http2Connection(stream)) => stream.is_end_stream(),
            Some(Transport::Bare(_)) | None => true,
        }
    }

    /// How long the rest of the response's body is, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.connection.as_ref().map(|connection| &connection.wire) {
            Some(Transport::Http1Connection(one)) => one.left(),
            Some(Transport::Http2Connection(stream)) => stream.left(),
            Some(Transport::Bare(_)) | None => Some(0),
        }
    }

    /// The connection itself, once, and what has been read from it: it leaves HTTP, or never was. The lease still holds its
    /// place.
    pub(crate) fn take_socket(&mut self) -> Option<(Metered, Bytes)> {
        match std::mem::replace(&mut self.connection.as_mut()?.wire, Transport::Bare(None)) {
            Transport::Bare(socket) => Some((socket?, Bytes::new())),
            Transport::Http1Connection(one) => Some(one.into_socket()),
            Transport::Http2Connection(_) => None,
        }
    }

    /// Whether the connection never was HTTP.
    pub(crate) fn is_bare(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| matches!(connection.wire, Transport::Bare(_)))
    }

    /// Whether anything has been handed to the kernel on this connection since it was leased.
    pub(crate) fn written(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.meter.written() > self.written_before)
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<std::net::SocketAddr> {
        self.connection.as_ref()?.meter.local()
    }

    /// Reads what is left of a response that is not passed on, so that the connection can be kept. A long one is not worth it.
    pub(crate) fn drain(mut self, clock: Clock) {
        if self.is_end_stream() {
            return self.give_back(clock.now(), None);
        }
        if self.left().is_none_or(|left| left > DRAINED) {
            return;
        }
        tokio::task::spawn_local(async move {
            let rest = async { while let Some(Ok(_)) = poll_fn(|cx| self.poll_frame(cx)).await {} };
            if tokio::time::timeout(DRAIN_TIME, rest).await.is_ok() && self.is_end_stream() {
                self.give_back(clock.now(), None);
            }
        });
    }

    /// Keeps the connection for another request. `peer_keeps` is how long the peer says that it waits.
    pub(crate) fn give_back(mut self, now: Time, peer_keeps: Option<Span>) {
        let Some(mut connection) = self.connection.take() else { return };
        let spent = self.max_requests.is_some_and(|most| connection.served >= most);
        let Transport::Http1Connection(one) = &mut connection.wire else { return };
        if one.rest() && !spent {
            connection.idle_since = now;
            connection.keep = [connection.keep, peer_keeps].into_iter().flatten().min();
            match self.return_to.take() {
                Some(ReturnTo::Worker(idle)) => idle.borrow_mut().put_http1(self.endpoint, connection),
                Some(ReturnTo::Cluster(pool)) => pool.put_http1(self.endpoint, connection),
                None => {}
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.connection.take());
        if let Some(ReturnTo::Cluster(pool)) = &self.return_to {
            pool.call_next();
        }
    }
}
