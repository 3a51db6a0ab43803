//! An HTTP/2 connection from downstream: its driver accepts streams, and each request is served by a task of its own.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::BadRequest;

use super::DownstreamConnection;
use super::frames::{Watch, Watched};
use super::service::{IsolatedExchange, RequestService};
use super::socket::Downstream;
use crate::drain::DrainPhase;
use crate::exchange::ledger::reset_by_caller;
use crate::exchange::{DownstreamResponse, refused_unseen, taken_back};
use crate::http::fields::{Fields, Name, Names};
use crate::http::hop_by_hop::without_hop_by_hop;
use crate::http::http2::outgoing::{Outgoing, SendError};
use crate::http::http2::send_buffer::{ConnectionSendBuffer, Piece};
use crate::http::http2::{MAX_STREAMS, MOST_MISTAKES, SEND_BUFFER, STREAM_WINDOW};
use crate::http::informational::InformationalResponses;
use crate::net::deadline::DeadlineTimer;
use crate::net::wake::WakeFlag;
use crate::request::budget::ConnectionBudget;
use crate::request::downstream::DownstreamRequest;
use crate::worker::connection_state::{CloseReason, ConnectionState};
use crate::worker::context::WorkerContext;

/// How much a caller may send on all streams together before it is taken, so that a few uploads that no endpoint takes do not
/// stop the others.
const CONNECTION_WINDOW: u32 = 32 * STREAM_WINDOW;
/// How many streams that were reset are remembered, and for how long, so that what is still on its way to them is passed over.
const RESETS_REMEMBERED: usize = 50;
const RESET_REMEMBERED: Duration = Duration::from_secs(1);
/// How many streams a caller may reset before anybody has seen them.
const UNSEEN_RESETS: usize = 250;
/// Envoy: `premature_reset_total_stream_count`. Of so many streams, and of all later on, not half may be reset before an answer.
const JUDGED_STREAMS: u32 = 500;
/// Envoy: `premature_reset_min_stream_lifetime_seconds`, which counts whole seconds.
const PREMATURE: Span = Span::from_secs(2);
/// How many requests the connections that have more of them begin together before whatever else the worker has to do: callers who
/// ask for a thousand things at once are served beside the others, not before them.
const TURN: usize = 16;
/// And how much of its frames is read.
const READ_AT_ONCE: usize = 64 * 1024;
/// How much longer than a head may be h2 reads one, so that it is refused here, where that is counted and logged.
const READABLE: usize = 2;

type Streams = Connection<Watched, Piece>;

/// What a caller's streams have in common.
struct Caller {
    context: Rc<WorkerContext>,
    conn_state: Rc<ConnectionState>,
    send_buffer: Rc<ConnectionSendBuffer>,
    budget: Rc<ConnectionBudget>,
    over: Cell<u32>,
    premature: Cell<u32>,
}

impl Caller {
    /// A stream is over. A flood of requests that nobody waits for costs the endpoints more than its caller (CVE-2023-44487).
    fn ended(&self, began: Time, reset_unanswered: bool) {
        self.over.set(self.over.get() + 1);
        if reset_unanswered && self.context.clock.now() - began < PREMATURE {
            self.premature.set(self.premature.get() + 1);
        }
    }

    /// Envoy: half of the first streams, or half of all when there are more.
    fn floods(&self) -> bool {
        self.premature.get() >= self.over.get().max(JUDGED_STREAMS) / 2
    }
}

impl DownstreamConnection {
    /// Serves streams until the connection ends.
    pub(super) async fn http2(&self, mut downstream: Downstream) {
        let room = downstream.in_turns();
        room.set(READ_AT_ONCE);
        let most_bytes = self.context.shared.settings.max_header_bytes.saturating_mul(READABLE);
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(MAX_STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(most_bytes).unwrap_or(u32::MAX))
            .max_concurrent_reset_streams(RESETS_REMEMBERED)
            .reset_stream_duration(RESET_REMEMBERED)
            .max_pending_accept_reset_streams(UNSEEN_RESETS)
            .max_local_error_reset_streams(Some(MOST_MISTAKES))
            .max_send_buffer_size(SEND_BUFFER);
        let watch = Watch::new(self.context.clock);
        let stream = Watched { stream: downstream, watch: watch.clone() };
        // Each is two kilobytes, for which a future keeps room in every place that they pass through.
        let shaken = Box::pin(async move { builder.handshake(stream).await.map(Box::new) }).await;
        let ended = match shaken {
            Ok(connection) => self.streams(connection, &watch, &room).await,
            Err(error) => Err(error),
        };
        if let Some(reason) = watch.wrong() {
            self.context.telemetry.bad_request(reason);
        }
        self.note_refused(&watch);
        if let Err(error) = ended {
            if error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR) && watch.ends_with_a_head() {
                refused_unseen(self.context.clone(), self.entrance, self.caller);
            }
            tracing::debug!(caller = %self.caller.peer, %error, "a caller's connection ended");
        }
    }

    async fn streams(&self, mut connection: Box<Streams>, watch: &Watch, room: &Cell<usize>) -> Result<(), h2::Error> {
        let service = RequestService::new(self.context.clone(), self.entrance, self.caller);
        let (over, premature) = Default::default();
        let send_buffer = self.context.send_buffer.of_caller();
        let caller = Caller {
            context: self.context.clone(),
            conn_state: self.conn_state.clone(),
            budget: ConnectionBudget::new(self.context.shared.most_for_caller, send_buffer.clone()),
            send_buffer,
            over,
            premature,
        };
        let caller = Rc::new(caller);
        let mut drain_state = self.context.shared.drain.watch();
        let mut leave = pin!(async move {
            // An error means that the process is ending, which ends this as well.
            let _ = drain_state
                .wait_for(|drain_state| matches!(drain_state.of(self.side), DrainPhase::Leaving | DrainPhase::Closing))
                .await;
        });
        let (mut wake_flag, mut leaving, mut late, mut turn) =
            (None, false, Late::default(), self.context.queue.enter());
        let ended = poll_fn(|cx| {
            room.set(READ_AT_ONCE);
            loop {
                ready!(turn.poll(TURN, cx));
                match connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        watch.handed_on(respond.stream_id().as_u32());
                        self.begin(&caller, &service, request, respond);
                        turn.did();
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => {
                        turn.rests();
                        self.note_refused(watch);
                        if self.conn_state.poll_close(cx) == Poll::Ready(CloseReason::Idle) {
                            self.closed("idle-timeout");
                            // What is on its way was not looked at, which GOAWAY says.
                            connection.abrupt_shutdown(Reason::NO_ERROR);
                            let _ = connection.poll_accept(cx);
                            return Poll::Ready(Ok(()));
                        }
                        if let Some(reason) = self.ends(&caller, watch, &mut late, cx) {
                            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                            self.context.telemetry.bad_request(reason);
                            tracing::debug!(caller = %self.caller.peer, reason, "a caller's connection is ended");
                            // What is said last leaves now or never.
                            let _ = connection.poll_accept(cx);
                            return Poll::Ready(Ok(()));
                        }
                        if leaving {
                            return Poll::Pending;
                        }
                        ready!(WakeFlag::of(&mut wake_flag, cx.waker()).poll(leave.as_mut()));
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                }
            }
        });
        let ended = ended.await;
        if let Some(timer) = late.0 {
            self.context.timers.put(timer);
        }
        ended
    }

    /// Requests that the h2 crate has refused leave a record too.
    fn note_refused(&self, watch: &Watch) {
        for _ in 0..watch.refused() {
            refused_unseen(self.context.clone(), self.entrance, self.caller);
        }
    }

    /// Begins to serve a request. One that was taken back with the bytes that brought it is noted and goes nowhere.
    fn begin(
        &self,
        caller: &Rc<Caller>,
        service: &RequestService,
        request: Request<RecvStream>,
        mut respond: SendResponse<Piece>,
    ) {
        let wrong = wrong_with(request.uri(), request.method());
        let mut request = DownstreamRequest::of_stream(request);
        if let Poll::Ready(Ok(_reset)) = respond.poll_reset(&mut Context::from_waker(Waker::noop())) {
            caller.ended(self.context.clock.now(), true);
            return reset_by_caller(taken_back(self.context.clone(), self.entrance, self.caller, request));
        }
        request.bad = wrong.or_else(|| too_much(&request, caller));
        let informational = InformationalResponses::for_stream();
        request.informational = Some(informational.clone());
        request.budget = Some(caller.budget.clone());
        let answering = service.serve(request);
        caller.conn_state.begins();
        tokio::task::spawn_local(serve(caller.clone(), answering, informational, respond));
    }

    /// Why the caller is not listened to any more.
    fn ends(&self, caller: &Caller, watch: &Watch, late: &mut Late, cx: &mut Context<'_>) -> Option<&'static str> {
        if caller.floods() {
            return Some("rapid-reset");
        }
        let (since, allowed) = (watch.open_since()?, self.context.shared.settings.header_timeout?);
        let (context, at) = (&self.context, since + allowed);
        let timer = late.0.get_or_insert_with(|| context.timers.take(&context.clock, at));
        timer.poll_until(&context.clock, at, cx).is_ready().then_some("header-timeout")
    }
}

/// What tells when a frame or a head has taken too long.
#[derive(Default)]
struct Late(Option<DeadlineTimer>);

/// What the h2 crate lets through that is no request. RFC 9113 §8.3.1.
fn wrong_with(uri: &Uri, method: &Method) -> Option<BadRequest> {
    if uri.scheme_str().is_some_and(str::is_empty) {
        return Some(BadRequest::Malformed);
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains(',')) {
        return Some(BadRequest::InvalidHost);
    }
    (uri.path() == "*" && method != Method::OPTIONS).then_some(BadRequest::InvalidTarget)
}

fn too_much(request: &DownstreamRequest, caller: &Caller) -> Option<BadRequest> {
    let settings = &caller.context.shared.settings;
    if request.fields.iter().count() > settings.max_headers || request.head_bytes() > settings.max_header_bytes {
        return Some(BadRequest::HeadTooLarge);
    }
    caller.send_buffer.is_full().then_some(BadRequest::Overload)
}

/// Serves one request, unless its caller resets the stream. Dropping what is under way is all that has to be done then.
async fn serve(
    caller: Rc<Caller>,
    mut answering: IsolatedExchange,
    informational: InformationalResponses,
    mut respond: SendResponse<Piece>,
) {
    let began = caller.context.clock.now();
    let _open = Open(caller.conn_state.clone());
    let answer = poll_fn(|cx| match Pin::new(&mut answering).poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Ok(answer)),
        Poll::Pending => {
            informational.each(|status, fields| inform(&mut respond, status, &fields));
            respond.poll_reset(cx).map(Err)
        }
    });
    let answer = answer.await;
    caller.ended(began, answer.is_err());
    let DownstreamResponse { status, fields, body } = match answer {
        Ok(answer) => answer,
        Err(Ok(_reset)) => return reset_by_caller(answering),
        Err(Err(_gone)) => return,
    };
    drop(answering);
    informational.each(|status, fields| inform(&mut respond, status, &fields));
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let over = body.is_end_stream();
    let length = if over || fields.has(Name::ContentLength) { None } else { body.size_hint().exact() };
    let length = length.map(|length| (Name::ContentLength, HeaderValue::from(length)));
    let date = if fields.has(Name::Date) { None } else { HeaderValue::from_bytes(&caller.context.date()).ok() };
    let more = [date.map(|date| (Name::Date, date)), length];
    *response.headers_mut() =
        without_hop_by_hop(&fields).to_map(const { Names::of(&[Name::Te]) }, more.into_iter().flatten());
    drop(fields);
    let Ok(stream) = respond.send_response(response, over) else {
        return respond.send_reset(Reason::INTERNAL_ERROR);
    };
    if over {
        return;
    }
    let mut outgoing = Outgoing::new(stream, body, caller.send_buffer.of_stream());
    let (unsent, reset) = poll_fn(|cx| match outgoing.poll(cx) {
        Poll::Ready(Err(SendError::Refused)) => {
            Poll::Ready((Some(SendError::Refused), outgoing.poll_reset(cx) == Poll::Ready(true)))
        }
        // Whoever broke off knows.
        Poll::Ready(sent) => Poll::Ready((sent.err(), false)),
        Poll::Pending => outgoing.poll_reset(cx).map(|reset| (None, reset)),
    })
    .await;
    if unsent == Some(SendError::GivenUp) {
        caller.context.telemetry.bad_request("overload");
        outgoing.body().give_up();
    } else if reset {
        reset_by_caller(outgoing);
    }
}

/// A request that is being served.
struct Open(Rc<ConnectionState>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ends();
    }
}

/// Passes an interim answer on. Without it the answer is no worse.
fn inform(respond: &mut SendResponse<Piece>, status: u16, fields: &Fields) {
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = without_hop_by_hop(fields).to_map(const { Names::of(&[Name::Te]) }, []);
    let _ = respond.send_informational(response);
}
