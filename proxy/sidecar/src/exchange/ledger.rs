//! The state of one exchange. Dropping it leaves exactly one record, whatever happened.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use leeboard_policy::cluster::Workload;
use leeboard_policy::exchange::Exchange;
use leeboard_policy::step::{End, Faults, Replay, Step};
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::{BadRequest, Flags, Stall, Verdict};

use crate::body::upload::Upload;
use crate::drain::Side;
use crate::http::fields::Name;
use crate::http::informational::InformationalResponses;
use crate::net::deadline::DeadlineTimer;
use crate::request::budget::ConnectionBudget;
use crate::request::downstream::DownstreamRequest;
use crate::request::head::{Caller, RequestHead};
use crate::telemetry::FaultKind;
use crate::telemetry::record::{LoggedHead, Record, Reporter, counted_grpc_status};
use crate::worker::context::WorkerContext;

thread_local! {
    /// Whether what is being dropped here is dropped since its caller has reset its stream.
    static RESET: Cell<bool> = const { Cell::new(false) };
}

/// Drops what is under way for a caller that has reset its stream, so that the record says so.
pub(crate) fn reset_by_caller<T>(under_way: T) {
    RESET.set(true);
    drop(under_way);
    RESET.set(false);
}

/// How an exchange ends that is dropped before its end.
pub(super) fn dropped() -> End {
    if RESET.get() { End::CallerReset } else { End::CallerGone }
}

/// What is noted while an exchange runs.
pub(crate) struct Ledger {
    pub(crate) context: Rc<WorkerContext>,
    /// `None` for requests that were refused before anything was decided.
    pub(crate) exchange: Option<Exchange>,
    pub(crate) upload: Option<Upload>,
    /// How the caller is told what comes before an answer, if it can be.
    pub(crate) informational: Option<InformationalResponses>,
    /// How many connections to endpoints may be in use for the caller's connection, where it has many requests at a time.
    pub(crate) budget: Option<Rc<ConnectionBudget>>,
    pub(crate) caller: Caller,
    peer: Option<Arc<Workload>>,
    /// Whether the caller is another Leeboard.
    pub(crate) by_leeboard: bool,
    /// Whether anything of the request has left for an endpoint.
    pub(crate) sent: bool,
    pub(crate) reporter: Reporter,
    pub(crate) status: u16,
    /// Whether it asked for a host that is not known, and may not be asked for.
    pub(crate) blocked: bool,
    pub(crate) details: Option<Cow<'static, str>>,
    pub(crate) flags: Flags,
    pub(crate) grpc_status: Option<u16>,
    pub(crate) response_head_bytes: u64,
    pub(crate) bytes_sent: u64,
    /// What the caller has sent through a tunnel.
    pub(crate) bytes_tunnelled: u64,
    pub(crate) service_time: Option<Span>,
    pub(crate) transport_failure: Option<Arc<str>>,
    pub(crate) upstream_local: Option<std::net::SocketAddr>,
    pub(crate) request_head_bytes: u64,
    version: http::Version,
    seed: u64,
    began: Time,
    began_wall: SystemTime,
    head: Option<Box<LoggedHead>>,
    timer: Option<DeadlineTimer>,
    /// Since when the caller has not taken what there is for it.
    unread: Option<Time>,
    /// How the request's body comes.
    pace: Pace,
    /// When a response that was passed on ended.
    over: Option<Time>,
}

impl Ledger {
    /// Opens the account.
    pub(crate) fn open(
        context: Rc<WorkerContext>,
        caller: Caller,
        reporter: Reporter,
        version: http::Version,
        began: Time,
    ) -> Box<Self> {
        context.traffic.exchange_began(side(reporter));
        Box::new(Self {
            exchange: None,
            upload: None,
            informational: None,
            budget: None,
            caller,
            peer: None,
            by_leeboard: false,
            sent: false,
            reporter,
            status: 0,
            blocked: false,
            details: None,
            flags: Flags::NONE,
            grpc_status: None,
            response_head_bytes: 0,
            bytes_sent: 0,
            bytes_tunnelled: 0,
            service_time: None,
            transport_failure: None,
            upstream_local: None,
            request_head_bytes: 0,
            version,
            seed: 0,
            began,
            began_wall: context.clock.wall_at(began),
            head: None,
            context,
            timer: None,
            unread: None,
            pace: Pace { seen: 0, since: began, look: began },
            over: None,
        })
    }

    /// Notes what was asked for.
    pub(crate) fn note(&mut self, head: &RequestHead, seed: u64) {
        self.seed = seed;
        self.by_leeboard = head.hops > 0;
        self.request_head_bytes = (head.fields.size() + head.path.as_str().len() + head.authority.len()) as u64;
        if self.context.logs {
            let text = |name| head.fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
            self.head = Some(Box::new(LoggedHead {
                method: head.method.clone(),
                path: head.path.as_str().to_owned(),
                authority: head.authority.clone(),
                user_agent: text(Name::UserAgent),
                forwarded_for: text(Name::ForwardedFor),
                request_id: text(Name::RequestId),
                route: None,
                rule: None,
            }));
        }
    }

    /// Notes what can be made out of a request that is refused.
    pub(crate) fn note_refused(&mut self, request: &DownstreamRequest) {
        self.request_head_bytes = request.head_bytes() as u64;
        if self.context.logs {
            let text = |name| request.fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
            self.head = Some(Box::new(LoggedHead {
                method: request.method.clone(),
                path: request.target.path().to_owned(),
                authority: request
                    .target
                    .authority()
                    .map(str::to_owned)
                    .or_else(|| text(Name::Host))
                    .unwrap_or_default(),
                user_agent: text(Name::UserAgent),
                forwarded_for: text(Name::ForwardedFor),
                request_id: text(Name::RequestId),
                route: None,
                rule: None,
            }));
        }
    }

    /// Whether the request is a stream of HTTP/2, which ends by itself.
    pub(crate) fn is_stream(&self) -> bool {
        self.version >= http::Version::HTTP_2
    }

    /// Whether what the caller has sent as a body is none.
    pub(crate) fn is_malformed(&self) -> bool {
        self.upload.as_ref().is_some_and(Upload::malformed)
    }

    /// Notes what the caller's proxy says of it, if it is one to be believed. Only the application's side is called by others.
    pub(crate) fn caller_is(&mut self, peer: Option<String>) {
        let peer = peer.filter(|_| self.reporter == Reporter::Destination);
        self.peer = peer.and_then(|peer| self.context.peers.find(peer, self.caller.peer.ip()));
    }

    /// The exchange; a request that was admitted has one.
    ///
    /// # Panics
    /// Before one has begun.
    pub(crate) fn exchange(&self) -> &Exchange {
        self.exchange.as_ref().expect("an admitted request has an exchange")
    }

    /// The exchange, to tell it something.
    ///
    /// # Panics
    /// Before one has begun.
    pub(crate) fn exchange_mut(&mut self) -> &mut Exchange {
        self.exchange.as_mut().expect("an admitted request has an exchange")
    }

    /// Whether the request can be sent again.
    pub(crate) fn replay(&self) -> Replay {
        self.upload.as_ref().map_or(Replay::Whole, Upload::replay)
    }

    /// Tells the exchange that it is time for its next tick.
    pub(crate) fn woke(&mut self, now: Time) -> Step {
        let replay = self.replay();
        self.exchange_mut().woke(replay, now)
    }

    /// Waits until a moment, which may be another each time.
    pub(crate) fn poll_until(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        let context = &self.context;
        self.timer.get_or_insert_with(|| context.timers.take(&context.clock, at)).poll_until(&context.clock, at, cx)
    }

    /// Whether an HTTP/1 answer says that its connection ends; HTTP/2 has GOAWAY for that.
    pub(crate) fn closes(&self) -> bool {
        self.version < http::Version::HTTP_2 && self.context.shared.drain.says_close(side(self.reporter))
    }

    /// Notes how a response that was passed on ended, and when.
    pub(crate) fn ended(&mut self, end: End) -> Time {
        let now = self.context.clock.now();
        self.over = Some(now);
        if let Some(exchange) = &mut self.exchange {
            exchange.ended(end, now);
        }
        self.details = end.details().or(self.details.take());
        now
    }

    /// Notes that the caller has taken what there was.
    pub(crate) fn read_on(&mut self) {
        self.unread = None;
    }

    /// Until when the caller may leave unread what there is for it; `None` is for ever.
    pub(crate) fn unread_until(&mut self) -> Option<Time> {
        let allowed = self.context.shared.settings.stalled_reader?;
        let clock = self.context.clock;
        Some(*self.unread.get_or_insert_with(|| clock.now()) + allowed)
    }

    /// Notes that the exchange is ended since its caller does not read.
    pub(crate) fn unread(&mut self) {
        self.flags = self.flags.with(Flags::STREAM_IDLE);
        self.details = End::Stalled.details();
        self.context.telemetry.stalled("reader");
    }

    /// When to look next whether the request's body still moves; `None` while it need not. A call of gRPC is a talk, in which
    /// there may be nothing to say.
    pub(crate) fn next_look(&self) -> Option<Time> {
        let allowed = self.context.shared.settings.stalled_body?;
        let coming = self.upload.as_ref().is_some_and(|upload| !upload.complete());
        let judged = self.exchange.as_ref().is_some_and(|exchange| !exchange.is_grpc());
        (coming && judged).then(|| self.pace.look.max(self.began + pause(allowed)))
    }

    /// Looks whether the request's body still moves, and at whom it stands still.
    pub(crate) fn look(&mut self, now: Time) -> Option<Stall> {
        let allowed = self.context.shared.settings.stalled_body?;
        let upload = self.upload.as_ref()?;
        self.pace.look = now + pause(allowed);
        if self.pace.seen != upload.received() {
            (self.pace.seen, self.pace.since) = (upload.received(), now);
        }
        if now - self.pace.since < allowed {
            return None;
        }
        let stall = if upload.awaited() { Stall::Caller } else { Stall::Endpoint };
        self.context.telemetry.stalled(match stall {
            Stall::Caller => "request-body",
            Stall::Endpoint => "endpoint",
        });
        Some(stall)
    }

    /// Whether the caller has left, as far as can be told without waiting.
    pub(crate) fn caller_left(&self) -> bool {
        self.informational.as_ref().is_some_and(InformationalResponses::caller_left)
    }
}

/// How a request's body comes, looked at now and then.
#[derive(Debug)]
struct Pace {
    /// How much of it had come when it was last seen to move, and when that was.
    seen: u64,
    since: Time,
    /// When to look next.
    look: Time,
}

/// How often it is looked at: four times in the time that it may stand still.
fn pause(allowed: Span) -> Span {
    Span((allowed.0 / 4).max(1_000_000))
}

/// The drain's word for a reporter's side.
pub(crate) fn side(reporter: Reporter) -> Side {
    match reporter {
        Reporter::Source => Side::Outbound,
        Reporter::Destination => Side::Inbound,
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abandon();
        }
        if let Some(timer) = self.timer.take() {
            self.context.timers.put(timer);
        }
        for event in self.exchange.as_mut().map(Exchange::take_events).unwrap_or_default() {
            self.context.outlier(&event);
        }
        if let Some(exchange) = &self.exchange {
            self.count(exchange);
        }
        let record = self.record();
        self.context.telemetry.finish(&record);
        self.context.traffic.exchange_over(side(self.reporter));
    }
}

impl Ledger {
    /// What only the metrics of Leeboard's own show.
    fn count(&self, exchange: &Exchange) {
        let telemetry = &self.context.telemetry;
        let faults = exchange.faults();
        if let Some(route) = exchange.route().filter(|_| faults != Faults::default()) {
            (0..faults.delays).for_each(|_| telemetry.fault(&route.name, FaultKind::Delay));
            (0..faults.aborts).for_each(|_| telemetry.fault(&route.name, FaultKind::Abort));
        }
        if let Some(cluster) = exchange.cluster() {
            if let Some(replay_overflow) = self.upload.as_ref().and_then(Upload::replay_overflow) {
                telemetry.replay_overflow(&cluster.name, replay_overflow);
            }
            telemetry.retries(&cluster.name, exchange.retries());
        }
    }

    /// The one record, made of what is not needed any more.
    fn record(&mut self) -> Record {
        let exchange = self.exchange.as_ref();
        let reset = RESET.get() || self.upload.as_ref().is_some_and(Upload::reset);
        let gone = (self.status == 0).then_some(if reset { End::CallerReset } else { End::CallerGone });
        let caller_gone = match gone {
            Some(End::CallerReset) => Flags::DOWNSTREAM_RESET,
            Some(_) => Flags::DOWNSTREAM_TERMINATED,
            None => Flags::NONE,
        };
        let decided = exchange.map_or(Flags::NONE, Exchange::flags);
        if let (Some(head), Some(route)) = (&mut self.head, exchange.and_then(Exchange::route)) {
            (head.route, head.rule) = (Some(route.name.clone()), Some(route.origin.clone()));
        }
        let destination = match exchange {
            Some(_) if self.blocked => self.context.black_hole(),
            Some(exchange) => self.context.destination(exchange, self.peer.as_ref()),
            None => self.context.nowhere(),
        };
        if RESET.get()
            && let Some(upload) = &self.upload
        {
            upload.probe();
        }
        let malformed = self.is_malformed();
        if malformed {
            let said = Verdict::Bad(BadRequest::Malformed).answer(false);
            if !self.flags.has(Flags::DOWNSTREAM_PROTOCOL) {
                // It was refused without words, or after its answer had begun.
                self.context.telemetry.bad_request(said.reason);
            }
            self.flags = self.flags.with(Flags::DOWNSTREAM_PROTOCOL);
            self.details = said.details.into();
        }
        let unread = exchange.is_none() && self.flags.has(Flags::DOWNSTREAM_PROTOCOL);
        let details = match self.details.take() {
            Some(details) => details,
            None => gone.and_then(End::details).unwrap_or("via_upstream".into()),
        };
        Record {
            reporter: self.reporter,
            started: self.began_wall,
            duration: self.over.unwrap_or_else(|| self.context.clock.now()) - self.began,
            protocol: self.version,
            status: self.status,
            grpc_status: self.grpc_status.map(counted_grpc_status),
            grpc: exchange.is_some_and(Exchange::is_grpc),
            flags: if malformed || unread || self.flags.has(Flags::OVERLOADED) {
                // The caller is there still, or it is the proxy that has left.
                self.flags.with(decided).without(Flags::DOWNSTREAM_TERMINATED.with(Flags::DOWNSTREAM_RESET))
            } else {
                self.flags.with(decided).with(caller_gone)
            },
            details,
            request_head_bytes: self.request_head_bytes,
            bytes_received: self.upload.as_ref().map_or(0, Upload::received) + self.bytes_tunnelled,
            response_head_bytes: self.response_head_bytes,
            bytes_sent: self.bytes_sent,
            upstream_service_time: self.service_time,
            destination,
            transport_failure: self.transport_failure.take(),
            upstream_local: self.upstream_local,
            downstream_local: self.caller.local,
            downstream_remote: self.caller.client,
            seed: self.seed,
            head: self.head.take(),
        }
    }
}
