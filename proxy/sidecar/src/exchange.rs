//! The life of a request, as deeds: begin, then do what the policy says until there is an answer.

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
use self::download::{DownBody, Download};
use self::ledger::Ledger;
use self::response::{grpc_status, own, pass_on, peer_keeps, refusal};
use self::tunnel::Tunnel;
use crate::body::upload::Upload;
use crate::http::fields::{Fields, Name};
use crate::request::downstream::Arrival;
use crate::request::head::{Caller, RequestHead};
use crate::request::upgrade;
use crate::telemetry::record::Reporter;
use crate::upstream::connection_request::Arrived;
use crate::worker::context::Lane;

/// What the caller is given.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: DownBody,
}

impl Answer {
    fn of(head: Arrived, body: DownBody) -> Self {
        Self { status: head.status, fields: head.fields, body }
    }
}

/// Serves one request.
async fn serve(lane: Rc<Lane>, entrance: Entrance, caller: Caller, mut arrival: Arrival) -> Answer {
    let began = lane.clock.now();
    let (incoming, hints, allowance) = (arrival.body.take(), arrival.hints.take(), arrival.allowance.take());
    let mut ledger = Ledger::open(lane.clone(), caller, reporter(entrance), arrival.version, began);
    let mut head = match RequestHead::admit(&mut arrival) {
        Ok(head) if upgrade::may_enter(&head.method, entrance) => head,
        Ok(head) => {
            ledger.note(&head, 0);
            return refuse(ledger, BadRequest::Upgrade);
        }
        Err(bad) => {
            ledger.note_refused(&arrival);
            return refuse(ledger, bad);
        }
    };
    let dice = lane.dice();
    head.announce(dice, entrance);
    ledger.note(&head, dice.0);
    ledger.caller_is(head.peer.take());

    let source = request::Caller { remote: caller.peer, local: caller.local };
    let (exchange, mut step) = lane.begin(entrance, &head, source, dice, began);
    ledger.caller.client = exchange.client();
    (ledger.hints, ledger.allowance) = (hints, allowance);
    ledger.upload = incoming.map(|incoming| Upload::new(incoming, keep(&lane, &exchange), &lane.shared.replay));
    ledger.exchange = Some(exchange);
    if ledger.upload.is_none() {
        ledger.exchange_mut().received(began);
    }

    let mut attempting = None;
    loop {
        step = match step {
            Step::Wait(until) => {
                lane.clock.until(until).await;
                if ledger.caller_left() {
                    return gone(ledger);
                }
                ledger.woke(lane.clock.now())
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
pub(crate) fn taken_back(lane: Rc<Lane>, entrance: Entrance, caller: Caller, mut arrival: Arrival) -> Box<Ledger> {
    let began = lane.clock.now();
    let mut ledger = Ledger::open(lane, caller, reporter(entrance), arrival.version, began);
    match RequestHead::admit(&mut arrival) {
        Ok(head) => ledger.note(&head, 0),
        Err(_) => ledger.note_refused(&arrival),
    }
    ledger
}

fn reporter(entrance: Entrance) -> Reporter {
    match entrance {
        Entrance::Outbound { .. } => Reporter::Source,
        Entrance::Inbound(_) => Reporter::Destination,
    }
}

/// How much of the body is kept: nothing when no attempt can follow the first.
fn keep(lane: &Lane, exchange: &Exchange) -> usize {
    if exchange.may_repeat() { lane.shared.settings.replay_buffer } else { 0 }
}

/// Passes an endpoint's response on.
fn forward(answered: Answered, head: &RequestHead, mut ledger: Box<Ledger>) -> Answer {
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
        return Answer::of(response, DownBody::Tunnel(Some(Box::new(Tunnel::new(far, ledger, lease)))));
    }
    mark_close(&mut response, &ledger);
    Answer::of(response, DownBody::Stream(Box::new(Download::new(ledger, lease, keeps))))
}

/// Gives the proxy's own answer.
fn answer(reply: &Reply, head: &RequestHead, mut ledger: Box<Ledger>) -> Answer {
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
    Answer::of(response, DownBody::Own(Some(words), Some(ledger)))
}

/// Answers what could not be admitted.
fn refuse(mut ledger: Box<Ledger>, bad: BadRequest) -> Answer {
    let said = Verdict::Bad(bad).answer(false);
    ledger.lane.telemetry.bad_request(said.reason);
    ledger.status = said.status;
    ledger.flags = said.flags;
    ledger.details = Some(said.details.clone());
    let words = (!said.body.is_empty()).then(|| Bytes::copy_from_slice(said.body.as_bytes()));
    Answer::of(refusal(&said), DownBody::Own(words, Some(ledger)))
}

/// Nobody reads this answer: the caller has left, or has broken off in the middle of its request. Envoy logs status 0 and `DC`.
/// Whoever has sent what is no body is there still. Envoy: 400 and `DPE`, where a stream cannot be reset by itself.
fn gone(ledger: Box<Ledger>) -> Answer {
    if ledger.is_malformed() && !ledger.is_stream() {
        return refuse(ledger, BadRequest::Malformed);
    }
    let mut fields = Fields::default();
    fields.put(Name::Connection, b"close");
    Answer { status: 400, fields, body: DownBody::Own(None, Some(ledger)) }
}

/// Tells the caller's Leeboard, and nobody else, that the application did not get the request and does not take connections,
/// so that the caller need not see its end. What may be sent twice may also have been sent.
fn mark_unprocessed(response: &mut Arrived, verdict: Verdict, head: &RequestHead, ledger: &Ledger) {
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
fn mark_close(response: &mut Arrived, ledger: &Ledger) {
    if ledger.closes() {
        response.fields.replace(Name::Connection, b"close");
    }
}
