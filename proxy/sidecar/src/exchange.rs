//! The life of a request, as deeds: begin, then do what the policy says until there is an answer.

pub(crate) mod answer;
pub(crate) mod attempt;
pub(crate) mod copies;
pub(crate) mod download;
pub(crate) mod head;
pub(crate) mod ledger;
pub(crate) mod peer;

use std::rc::Rc;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::request::{self, Entrance};
use leeboard_policy::step::{Reply, Step};
use leeboard_policy::verdict::{BadRequest, Flags, Verdict};

use self::answer::{grpc_status, own, pass_on, peer_keeps, refusal};
use self::attempt::{Answered, Attempting, CallerGone};
use self::download::{DownBody, Download};
use self::head::{Caller, RequestHead};
use self::ledger::{Ledger, head_bytes};
use crate::lane::Lane;
use crate::listener::talk::Asked;
use crate::telemetry::FaultKind;
use crate::telemetry::record::Reporter;
use crate::tunnel::{self, Coming, Tunnel};
use crate::upstream::upload::Upload;

/// Serves one request. `asked` counts it on its connection; `ambiguous` tells that its head gave its length in two ways.
pub(crate) async fn serve(
    lane: Rc<Lane>,
    entrance: Entrance,
    caller: Caller,
    request: Request<Incoming>,
    asked: Asked,
    ambiguous: bool,
) -> Response<DownBody> {
    let began = lane.clock.now();
    let reporter = match entrance {
        Entrance::Outbound { .. } => Reporter::Source,
        Entrance::Inbound(_) => Reporter::Destination,
    };
    let (parts, incoming) = request.into_parts();
    let mut ledger = Ledger::open(lane.clone(), asked, caller, reporter, parts.version, began);
    let mut head = match RequestHead::admit(parts, ambiguous) {
        Ok(head) if tunnel::may_enter(&head, entrance) => head,
        Ok(_) => return refuse(ledger, BadRequest::Upgrade),
        Err(bad) => return refuse(ledger, bad),
    };
    let dice = lane.dice();
    head.announce(dice);
    ledger.note(&head, dice.0);
    ledger.caller_is(head.peer.take());

    let live = lane.live();
    let source = request::Caller { ip: caller.remote.ip() };
    let (exchange, mut step) = Exchange::begin(&live, entrance, &head, source, dice, began);
    let upload = (!incoming.is_end_stream()).then(|| Upload::new(incoming, keep(&lane, &exchange)));
    ledger.upload = upload;
    ledger.exchange = Some(exchange);
    if ledger.upload.is_none() {
        ledger.exchange_mut().received(began);
    }
    count_delay(&ledger);

    let mut attempting = None;
    loop {
        step = match step {
            Step::Wait(until) => {
                lane.clock.until(until).await;
                ledger.exchange_mut().woke(lane.clock.now())
            }
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

fn count_delay(ledger: &Ledger) {
    let exchange = ledger.exchange();
    if let (true, Some(route)) = (exchange.flags().has(Flags::DELAY_INJECTED), exchange.route()) {
        ledger.lane.telemetry.fault(&route.name, FaultKind::Delay);
    }
}

/// How much of the body is kept: nothing when no attempt can follow the first.
fn keep(lane: &Lane, exchange: &Exchange) -> usize {
    if exchange.may_repeat() { lane.shared.settings.replay_buffer } else { 0 }
}

/// Passes an endpoint's response on.
fn forward(answered: Answered, head: &RequestHead, mut ledger: Ledger) -> Response<DownBody> {
    let Answered { mut response, lease, service_time } = answered;
    let keeps = peer_keeps(response.headers());
    let protocol = response.headers_mut().remove(http::header::UPGRADE);
    let caller = ledger.caller;
    let early = ledger.upload.as_ref().is_some_and(|upload| !upload.complete());
    ledger.service_time = (!early).then_some(service_time);
    pass_on(&mut response, ledger.service_time, ledger.exchange(), head, &caller);
    ledger.status = response.status().as_u16();
    ledger.grpc_status = grpc_status(response.headers());
    ledger.response_head_bytes = head_bytes(response.headers());
    ledger.upstream_local = lease.local();
    if let Some(upload) = &ledger.upload {
        upload.settle();
    }
    match response.body() {
        Coming::Body(_) => mark_close(&mut response, &ledger),
        Coming::Tunnel(_) => {
            if let Some(protocol) = protocol {
                tunnel::switch(response.headers_mut(), protocol);
            }
        }
    }
    response.map(|coming| match coming {
        Coming::Body(incoming) => DownBody::Stream(Box::new(Download::new(incoming, ledger, lease, keeps))),
        Coming::Tunnel(far) => DownBody::Tunnel(Some(Box::new(Tunnel::new(far, ledger, lease)))),
    })
}

/// Gives the proxy's own answer.
fn answer(reply: &Reply, head: &RequestHead, mut ledger: Ledger) -> Response<DownBody> {
    let caller = ledger.caller;
    let mut response = own(reply, ledger.exchange(), head, &caller);
    ledger.status = response.status().as_u16();
    ledger.grpc_status = reply.grpc_status;
    ledger.details = Some(reply.answer.details.clone());
    ledger.response_head_bytes = head_bytes(response.headers());
    if let (Verdict::AbortHttp(_) | Verdict::AbortGrpc(_), Some(route)) = (reply.verdict, ledger.exchange().route()) {
        ledger.lane.telemetry.fault(&route.name, FaultKind::Abort);
    }
    mark_close(&mut response, &ledger);
    response.map(|words| DownBody::Own(Some(words), Some(Box::new(ledger))))
}

/// Answers what could not be admitted.
fn refuse(mut ledger: Ledger, bad: BadRequest) -> Response<DownBody> {
    let said = Verdict::Bad(bad).answer(false);
    ledger.lane.telemetry.bad_request(said.reason);
    ledger.status = said.status;
    ledger.flags = said.flags;
    ledger.details = Some(said.details.clone());
    refusal(&said).map(|words| DownBody::Own(Some(words), Some(Box::new(ledger))))
}

/// Nobody reads this answer: the caller broke off in the middle of its request. Envoy logs status 0 and `DC`.
fn gone(mut ledger: Ledger) -> Response<DownBody> {
    ledger.flags = Flags::DOWNSTREAM_TERMINATED;
    let mut response = Response::new(DownBody::Own(None, Some(Box::new(ledger))));
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    response
}

/// While this side drains, every HTTP/1 answer says that its connection ends.
fn mark_close<B>(response: &mut Response<B>, ledger: &Ledger) {
    if ledger.closes() {
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
}
