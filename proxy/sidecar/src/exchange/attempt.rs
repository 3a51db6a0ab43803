//! One attempt: get a connection, send the request, wait for the response head, all under the policy's timeouts.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use leeboard_policy::cluster::{Address, ClusterId};
use leeboard_policy::endpoints::Endpoint;
use leeboard_policy::exchange::sending::SWITCHING_PROTOCOLS;
use leeboard_policy::live::{Live, LiveCluster};
use leeboard_policy::request::{Head, Tunnel};
use leeboard_policy::step::{Attempt, Outcome, Replay, Step};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;

use super::ledger::{Ledger, side};
use super::mirror;
use super::response::response_head;
use super::tunnel::Far;
use crate::body::upload::Upload;
use crate::body::upstream::UpstreamBody;
use crate::drain::Side;
use crate::http::fields::{Fields, Name};
use crate::request::budget::ConnectionBudget;
use crate::request::head::RequestHead;
use crate::request::upstream::UpstreamRequest;
use crate::telemetry::record::Reporter;
use crate::upstream::connection_request::{ConnectError, ConnectionRequest, NoResponse, UpstreamResponse};
use crate::upstream::lease::Lease;
use crate::worker::context::{WorkerContext, is_inside};

/// A response whose head has come, and the connection that it came on.
pub(crate) struct Answered {
    pub(crate) response: UpstreamResponse,
    pub(crate) lease: Lease,
    /// The endpoint's end of a tunnel, when that is what follows.
    pub(crate) far: Option<Far>,
    /// From the end of the request, or from its beginning when the answer came before.
    pub(crate) service_time: Span,
}

/// The caller broke off while its request was being sent; nobody waits for an answer.
#[derive(Debug)]
pub(crate) struct CallerGone;

/// What the attempts of one exchange have in common.
pub(crate) struct Attempting {
    cluster: ClusterId,
    answered: Option<Answered>,
}

impl Attempting {
    /// Once per exchange, before the first attempt: the head takes the route's form, and copies leave for the mirrors.
    pub(crate) fn depart(head: &mut RequestHead, ledger: &Ledger) -> Self {
        let exchange = ledger.exchange();
        let Some(cluster) = exchange.cluster().map(|cluster| cluster.id) else {
            unreachable!("the policy tries only what has a cluster")
        };
        head.turn(exchange, &ledger.caller);
        let spec = exchange.live().snapshot().cluster(cluster);
        ledger.context.introduce(head, spec, ledger.reporter);
        mirror::send(&ledger.context, exchange, ledger.reporter, head, ledger.upload.as_ref());
        Self { cluster, answered: None }
    }

    /// The response, once the policy has said to pass it on.
    pub(crate) fn answered(self) -> Option<Answered> {
        self.answered
    }

    /// Makes one attempt, and asks the policy what is next.
    pub(crate) async fn run(
        &mut self,
        attempt: Attempt,
        head: &RequestHead,
        ledger: &mut Ledger,
    ) -> Result<Step, CallerGone> {
        self.answered = None;
        if attempt.fresh {
            ledger.context.telemetry.stale_replay(&self.cluster(ledger.exchange().live()).name);
        }
        let Some(body) = body(ledger) else { return Ok(bodiless(ledger)) };
        let http2 = ledger.exchange().speaks_http2(head);
        let (mut lease, now) = match self.connection(&attempt, head, http2, ledger).await {
            Ok(connected) => connected,
            Err(step) => return Ok(step),
        };
        ledger.exchange_mut().connected(now);
        if lease.is_bare() {
            // Its connection is all that a CONNECT asks of an endpoint.
            let open = UpstreamResponse { status: 200, fields: Fields::default() };
            return Ok(self.after_response(open, lease, ledger));
        }
        let departure = UpstreamRequest {
            head,
            number: (ledger.reporter == Reporter::Source).then_some(attempt.number),
            expected: ledger.exchange().expected(now),
            grpc: ledger.exchange().is_grpc(),
            expects: head.expects && !http2 && head.fields.has(Name::Expect),
        };
        if let Some(upload) = ledger.upload.as_ref().filter(|_| head.expects && !departure.expects) {
            upload.give_leave();
        }
        let informational = ledger.informational.take();
        let sent = under_timers(pin!(lease.send(&departure, body, informational.as_ref())), ledger).await;
        ledger.informational = informational;
        ledger.sent |= !matches!(&sent, Ok(Err(unanswered)) if unanswered.unsent || !lease.written());
        note_received(ledger);
        match sent {
            Err(step) => Ok(step),
            Ok(Ok(response)) if ledger.exchange().switches_unasked(response.status, handed_on(ledger)) => {
                Ok(failed(Failure::Protocol, true, &lease, ledger))
            }
            Ok(Ok(response)) if self.is_unprocessed(&response, ledger) => Ok(self.unprocessed(&lease, ledger)),
            Ok(Ok(response)) => Ok(self.after_response(response, lease, ledger)),
            Ok(Err(_)) if ledger.upload.as_ref().is_some_and(Upload::failed) => Err(CallerGone),
            Ok(Err(unanswered)) => Ok(after_failure(unanswered, &lease, ledger)),
        }
    }

    fn cluster<'l>(&self, live: &'l Live) -> &'l LiveCluster {
        live.cluster(self.cluster)
    }

    /// A connection to the attempt's endpoint and when it was there, or what the policy says when there is none.
    async fn connection(
        &self,
        attempt: &Attempt,
        head: &RequestHead,
        http2: bool,
        ledger: &mut Ledger,
    ) -> Result<(Lease, Time), Step> {
        let bare = head.tunnel() == Some(Tunnel::Connect);
        if let Some(endpoint) = &attempt.endpoint {
            let wanted =
                self.ask(attempt, ledger.exchange().live(), endpoint, (http2, bare), whose(ledger), attempt.at);
            if let Some(lease) = ledger.context.pool.idle(&wanted) {
                return Ok((lease, attempt.at));
            }
        }
        // It is rare, and large.
        Box::pin(self.new_connection(attempt, head, (http2, bare), ledger)).await
    }

    async fn new_connection(
        &self,
        attempt: &Attempt,
        head: &RequestHead,
        phase: (bool, bool),
        ledger: &mut Ledger,
    ) -> Result<(Lease, Time), Step> {
        let context = ledger.context.clone();
        let (endpoint, now) = match &attempt.endpoint {
            Some(endpoint) => (endpoint.clone(), attempt.at),
            None => (self.original(head, ledger).await?, context.clock.now()),
        };
        let live = ledger.exchange().live().clone();
        let budget = ledger.budget.clone();
        let whose = (&*context, side(ledger.reporter), budget.as_ref());
        let wanted = self.ask(attempt, &live, &endpoint, phase, whose, now);
        let kept = if attempt.endpoint.is_none() { context.pool.idle(&wanted) } else { None };
        if let Some(lease) = kept {
            return Ok((lease, now));
        }
        match under_timers(pin!(context.pool.acquire(&wanted, &context.telemetry)), ledger).await? {
            Ok(lease) => Ok((lease, context.clock.now())),
            Err(error) => Err(unconnected(error, ledger)),
        }
    }

    /// What is asked of the pool: a connection to this endpoint, for HTTP/2 or not, for a caller's own bytes or not.
    fn ask<'a>(
        &self,
        attempt: &Attempt,
        live: &'a Live,
        endpoint: &'a Endpoint,
        (http2, bare): (bool, bool),
        (context, from, budget): Whose<'a>,
        now: Time,
    ) -> ConnectionRequest<'a> {
        ConnectionRequest {
            cluster: self.cluster(live),
            settings: &live.snapshot().cluster(self.cluster).connection,
            endpoint,
            http2,
            bare,
            fresh: attempt.fresh || bare,
            passing: attempt.endpoint.is_none(),
            upstream_connections: &context.shared.upstream_connections,
            budget,
            own_addresses: (&context.shared.own_addresses, from),
            now,
            ping_after: context.shared.settings.ping_after,
            worker: context.telemetry.worker(),
            heads: context.shared.settings.endpoint_heads(),
            send_buffer: &context.send_buffer,
        }
    }

    /// The endpoint that the caller was going to anyway: what its authority's name resolves to.
    async fn original(&self, head: &RequestHead, ledger: &mut Ledger) -> Result<Arc<Endpoint>, Step> {
        let authority = head.sent_authority();
        let (host, port) = ledger.exchange().original(authority);
        let context = ledger.context.clone();
        let addresses = under_timers(pin!(context.resolve(&host)), ledger).await?;
        let error = |failure, words: &str| ConnectError { failure, words: words.into() };
        let Some(ip) = addresses.first() else {
            return Err(unconnected(error(Failure::Dns, "the name has no address"), ledger));
        };
        let address = std::net::SocketAddr::new(*ip, port);
        let endpoint = self.cluster(ledger.exchange().live()).passing(Address::Socket(address));
        ledger.exchange_mut().went_to(endpoint.clone());
        Ok(endpoint)
    }

    /// Whether the Leeboard beside the endpoint says that its application did not get the request. Only one in the mesh is
    /// believed.
    fn is_unprocessed(&self, response: &UpstreamResponse, ledger: &Ledger) -> bool {
        response.fields.has(Name::Unprocessed)
            && ledger.reporter == Reporter::Source
            && is_inside(ledger.exchange().live().snapshot().cluster(self.cluster))
    }

    /// It is as if the endpoint itself had refused the connection.
    fn unprocessed(&self, lease: &Lease, ledger: &mut Ledger) -> Step {
        let (context, exchange) = (&ledger.context, ledger.exchange());
        if let Some(endpoint) = exchange.endpoint() {
            let cluster = self.cluster(exchange.live());
            let address = Some(endpoint.address());
            context.telemetry.connection_failed(&cluster.name, address, Failure::Unprocessed.reason());
            context.shared.unreachable.unreachable(cluster, endpoint);
        }
        failed(Failure::Unprocessed, false, lease, ledger)
    }

    fn after_response(&mut self, response: UpstreamResponse, mut lease: Lease, ledger: &mut Ledger) -> Step {
        let now = ledger.context.clock.now();
        let replay = ledger.replay();
        let exchange = ledger.exchange_mut();
        let step = exchange.after(Outcome::Response(response_head(&response)), replay, now);
        let service_time = now - exchange.received_at().unwrap_or(now);
        let tunnel = lease.is_bare() || response.status == SWITCHING_PROTOCOLS;
        match step {
            Step::Forward => {
                let far = if tunnel { lease.take_socket() } else { None };
                self.answered = Some(Answered { response, lease, far, service_time });
            }
            // A connection on which the request is still being sent cannot take another.
            _ if tunnel || !handed_on(ledger) => {}
            _ => lease.drain(ledger.context.clock),
        }
        step
    }
}

fn after_failure(unanswered: NoResponse, lease: &Lease, ledger: &mut Ledger) -> Step {
    let written = !unanswered.unsent && lease.written();
    failed(unanswered.failure, written, lease, ledger)
}

fn failed(failure: Failure, written: bool, lease: &Lease, ledger: &mut Ledger) -> Step {
    let now = ledger.context.clock.now();
    let replay = ledger.replay();
    ledger.exchange_mut().after(Outcome::Failed { failure, reused: lease.reused, written }, replay, now)
}

/// Whose connections are asked for: the worker's, from which side, and what the caller may use of them.
type Whose<'a> = (&'a WorkerContext, Side, Option<&'a Rc<ConnectionBudget>>);

fn whose(ledger: &Ledger) -> Whose<'_> {
    (&ledger.context, side(ledger.reporter), ledger.budget.as_ref())
}

fn unconnected(error: ConnectError, ledger: &mut Ledger) -> Step {
    // Envoy: a connection that was not made in time has no other reason.
    ledger.transport_failure = (error.failure != Failure::ConnectTimeout).then_some(error.words);
    let now = ledger.context.clock.now();
    let replay = ledger.replay();
    let failed = Outcome::Failed { failure: error.failure, reused: false, written: false };
    ledger.exchange_mut().after(failed, replay, now)
}

/// The request's body, from its beginning; `None` when that is gone.
fn body(ledger: &Ledger) -> Option<UpstreamBody> {
    match &ledger.upload {
        None => Some(UpstreamBody::Empty),
        Some(upload) => upload.reader().map(UpstreamBody::Upload),
    }
}

/// The policy makes no attempt of what it knows to be gone. Whatever else should come to this is not sent either.
fn bodiless(ledger: &mut Ledger) -> Step {
    let now = ledger.context.clock.now();
    let failed = Outcome::Failed { failure: Failure::Terminated, reused: false, written: false };
    ledger.exchange_mut().after(failed, Replay::Gone, now)
}

/// Whether all of the request is with the endpoint.
fn handed_on(ledger: &Ledger) -> bool {
    ledger.upload.as_ref().is_none_or(Upload::handed_on)
}

fn note_received(ledger: &mut Ledger) {
    if ledger.upload.as_ref().is_some_and(Upload::complete) {
        let now = ledger.context.clock.now();
        ledger.exchange_mut().received(now);
    }
}

/// Does a piece of an attempt until it is done, or until the policy's next tick decides otherwise.
async fn under_timers<T>(mut work: Pin<&mut impl Future<Output = T>>, ledger: &mut Ledger) -> Result<T, Step> {
    poll_fn(move |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if ledger.exchange().received_at().is_none()
            && ledger.upload.as_ref().is_some_and(|upload| upload.poll_over(cx).is_ready())
        {
            note_received(ledger);
        }
        loop {
            let (tick, look) = (ledger.exchange().next_tick().map(|(at, _)| at), ledger.next_look());
            let Some(at) = [tick, look].into_iter().flatten().min() else { return Poll::Pending };
            std::task::ready!(ledger.poll_until(at, cx));
            let now = ledger.context.clock.now().max(at);
            if tick.is_some_and(|tick| tick <= now) {
                return Poll::Ready(Err(ledger.woke(now)));
            }
            if let Some(stall) = ledger.look(now) {
                return Poll::Ready(Err(ledger.exchange_mut().stalled(stall, now)));
            }
        }
    })
    .await
}
