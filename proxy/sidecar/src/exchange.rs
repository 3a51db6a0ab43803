//! The life of a request: begin an exchange with the policy, then carry out its steps until there is a response.

pub(crate) mod attempt;
pub(crate) mod download;
pub(crate) mod ledger;
pub(crate) mod mirror;
pub(crate) mod response;
pub(crate) mod slot;
pub(crate) mod tunnel;

use std::rc::Rc;

use bytes::Bytes;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::request::{self, Entrance};
use leeboard_policy::step::{Reply, Step};
use leeboard_policy::verdict::{BadRequest, Failure, Verdict};

use self::attempt::{Answered, Attempting, CallerGone};
use self::download::{Download, ResponseBody};
use self::ledger::Ledger;
use self::response::{grpc_status, own, pass_on, peer_keeps, refusal};
use self::tunnel::Tunnel;
use crate::body::upload::Upload;
use crate::http::fields::{Fields, Name};
use crate::request::downstream::DownstreamRequest;
use crate::request::head::{Caller, RequestHead};
use crate::request::upgrade;
use crate::telemetry::record::Reporter;
use crate::upstream::connection_request::UpstreamResponse;
use crate::worker::context::WorkerContext;

/// What the caller is given.
pub(crate) struct DownstreamResponse {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: ResponseBody,
}

impl DownstreamResponse {
    fn of(head: UpstreamResponse, body: ResponseBody) -> Self {
        Self { status: head.status, fields: head.fields, body }
    }
}

/// Serves one request.
async fn serve(
    context: Rc<WorkerContext>,
    entrance: Entrance,
    caller: Caller,
    mut request: DownstreamRequest,
) -> DownstreamResponse {
    let began = context.clock.now();
    let (incoming, informational, budget) = (request.body.take(), request.informational.take(), request.budget.take());
    let mut ledger = Ledger::open(context.clone(), caller, reporter(entrance), request.version, began);
    let mut head = match RequestHead::admit(&mut request) {
        Ok(head) if upgrade::may_enter(&head.method, entrance) => head,
        Ok(head) => {
            ledger.note(&head, 0);
            return refuse(ledger, BadRequest::Upgrade);
        }
        Err(bad) => {
            ledger.note_refused(&request);
            return refuse(ledger, bad);
        }
    };
    let dice = context.dice();
    head.announce(dice, entrance);
    ledger.note(&head, dice.0);
    ledger.caller_is(head.peer.take());

    let source = request::Caller { remote: caller.peer, local: caller.local };
    let (exchange, mut step) = context.begin(entrance, &head, source, dice, began);
    ledger.caller.client = exchange.client();
    (ledger.informational, ledger.budget) = (informational, budget);
    ledger.upload = incoming.map(|incoming| Upload::new(incoming, keep(&context, &exchange), &context.shared.replay));
    ledger.exchange = Some(exchange);
    if ledger.upload.is_none() {
        ledger.exchange_mut().received(began);
    }

    let mut attempting = None;
    loop {
        step = match step {
            Step::Wait(until) => {
                context.clock.until(until).await;
                if ledger.caller_left() {
                    return gone(ledger);
                }
                ledger.woke(context.clock.now())
            }
            // Nothing is sent once more for a caller that has left.
            Step::Try(_) if attempting.is_some() && ledger.caller_left() => return gone(ledger),
            Step::Try(attempt) => {
                let attempting = attempting.get_or_insert_with(|| Attempting::depart(&mut head, &ledger));
                match attempting.run(attempt, &head, &mut ledger).await {
                    Ok(step) => step,
                    Err(CallerGone) => return gone(ledger),
                }
            }
            Step::Forward => match attempting.and_then(Attempting::answered) {
                Some(answered) => return forward(answered, &head, ledger),
                None => unreachable!("the policy forwards only what an attempt has brought"),
            },
            Step::Reply(reply) => return answer(&reply, &head, ledger),
        };
    }
}

/// The account of a request that its caller has taken back before anybody has looked at it.
pub(crate) fn taken_back(
    context: Rc<WorkerContext>,
    entrance: Entrance,
    caller: Caller,
    mut request: DownstreamRequest,
) -> Box<Ledger> {
    let began = context.clock.now();
    let mut ledger = Ledger::open(context, caller, reporter(entrance), request.version, began);
    // Why it was taken back is known to its body.
    ledger.upload = request.body.take().map(|body| Upload::new(body, 0, &ledger.context.shared.replay));
    match RequestHead::admit(&mut request) {
        Ok(head) => ledger.note(&head, 0),
        Err(_) => ledger.note_refused(&request),
    }
    ledger
}

/// The record of a request that its connection has refused by itself. Nothing is known of it but its caller.
pub(crate) fn refused_unseen(context: Rc<WorkerContext>, entrance: Entrance, caller: Caller) {
    let (began, said) = (context.clock.now(), Verdict::Bad(BadRequest::Malformed).answer(false));
    let request = DownstreamRequest::unknown();
    let mut ledger = Ledger::open(context, caller, reporter(entrance), request.version, began);
    ledger.note_refused(&request);
    ledger.context.telemetry.bad_request(said.reason);
    ledger.flags = said.flags;
    ledger.details = Some("http2.violation.of.messaging.rule".into());
}

fn reporter(entrance: Entrance) -> Reporter {
    match entrance {
        Entrance::Outbound { .. } => Reporter::Source,
        Entrance::Inbound(_) => Reporter::Destination,
    }
}

/// How much of the body is kept: nothing when no attempt can follow the first.
fn keep(context: &WorkerContext, exchange: &Exchange) -> usize {
    if exchange.may_repeat() { context.shared.settings.replay_buffer } else { 0 }
}

/// Passes an endpoint's response on.
fn forward(answered: Answered, head: &RequestHead, mut ledger: Box<Ledger>) -> DownstreamResponse {
    let Answered { mut response, lease, far, service_time } = answered;
    let keeps = peer_keeps(&response.fields);
    let protocol = response.fields.text(Name::Upgrade).map(str::to_owned);
    let caller = ledger.caller;
    let early = ledger.upload.as_ref().is_some_and(|upload| !upload.complete());
    ledger.service_time = (!early).then_some(service_time);
    pass_on(&mut response, ledger.service_time, ledger.exchange(), head, &caller);
    ledger.status = response.status;
    ledger.grpc_status = grpc_status(&response.fields);
    ledger.response_head_bytes = response.fields.size() as u64;
    ledger.upstream_local = lease.local();
    if let Some(upload) = &ledger.upload {
        upload.settle();
    }
    if let Some(far) = far {
        if let Some(protocol) = protocol {
            upgrade::switch(&mut response.fields, &protocol);
        }
        return DownstreamResponse::of(response, ResponseBody::Tunnel(Some(Box::new(Tunnel::new(far, ledger, lease)))));
    }
    mark_close(&mut response, &ledger);
    DownstreamResponse::of(response, ResponseBody::Stream(Box::new(Download::new(ledger, lease, keeps))))
}

/// Gives the proxy's own answer.
fn answer(reply: &Reply, head: &RequestHead, mut ledger: Box<Ledger>) -> DownstreamResponse {
    let caller = ledger.caller;
    let (mut response, words) = own(reply, ledger.exchange(), head, &caller);
    ledger.status = response.status;
    ledger.blocked = reply.verdict == Verdict::UnknownHost;
    ledger.grpc_status = reply.grpc_status;
    ledger.details = Some(match (reply.verdict, &ledger.transport_failure) {
        (Verdict::Failed(failure), Some(words)) => failure.details(false, Some(&**words)).into(),
        _ => reply.answer.details.clone(),
    });
    ledger.response_head_bytes = response.fields.size() as u64;
    mark_close(&mut response, &ledger);
    mark_unprocessed(&mut response, reply.verdict, head, &ledger);
    DownstreamResponse::of(response, ResponseBody::Own(Some(words), Some(ledger)))
}

/// Answers what could not be admitted.
fn refuse(mut ledger: Box<Ledger>, bad: BadRequest) -> DownstreamResponse {
    let said = Verdict::Bad(bad).answer(false);
    ledger.context.telemetry.bad_request(said.reason);
    ledger.status = said.status;
    ledger.flags = said.flags;
    ledger.details = Some(said.details.clone());
    let words = (!said.body.is_empty()).then(|| Bytes::copy_from_slice(said.body.as_bytes()));
    DownstreamResponse::of(refusal(&said), ResponseBody::Own(words, Some(ledger)))
}

/// Nobody reads this answer: the caller has left, or has broken off in the middle of its request. Envoy logs status 0 and `DC`.
/// Whoever has sent what is no body is there still. Envoy: 400 and `DPE`, where a stream cannot be reset by itself.
fn gone(ledger: Box<Ledger>) -> DownstreamResponse {
    if ledger.is_malformed() && !ledger.is_stream() {
        return refuse(ledger, BadRequest::Malformed);
    }
    let mut fields = Fields::default();
    fields.put(Name::Connection, b"close");
    DownstreamResponse { status: 400, fields, body: ResponseBody::Own(None, Some(ledger)) }
}

/// Tells the caller's Leeboard, and nobody else, that the application did not get the request and does not take connections,
/// so that the caller need not see its end. What may be sent twice may also have been sent.
fn mark_unprocessed(response: &mut UpstreamResponse, verdict: Verdict, head: &RequestHead, ledger: &Ledger) {
    let refused = verdict == Verdict::Failed(Failure::ConnectRefused);
    let harmless = !ledger.sent || ledger.exchange().is_idempotent();
    if refused && harmless && ledger.by_leeboard && ledger.reporter == Reporter::Destination {
        response.fields.put(Name::Unprocessed, b"connect-refused");
        if head.version < http::Version::HTTP_2 {
            response.fields.replace(Name::Connection, b"close");
        }
    }
}

/// While this side drains, every HTTP/1 answer says that its connection ends.
fn mark_close(response: &mut UpstreamResponse, ledger: &Ledger) {
    if ledger.closes() {
        response.fields.replace(Name::Connection, b"close");
    }
}
