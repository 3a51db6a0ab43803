//! HTTP/2 connections to endpoints: the handshake, the driver, keep-alive, and streams, each driven by the task that
//! uses it.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason};
use http::Request;
use http_body::{Body, Frame};
use leeboard_policy::cluster::Connection as Settings;
use leeboard_policy::fairness::Streams;
use leeboard_policy::time::{Span, Time};
use leeboard_policy::verdict::Failure;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::connection_request::{ConnectionRequest, HeldResources, NoResponse, UpstreamResponse};
use crate::body::upstream::UpstreamBody;
use crate::host::clock::duration;
use crate::http::fields::Fields;
use crate::http::http1::read::HeadRules;
use crate::http::http2::incoming::{Incoming, StreamError};
use crate::http::http2::outgoing::Outgoing;
use crate::http::http2::send_buffer::WorkerSendBuffer;
use crate::http::http2::{MAX_STREAMS, MOST_MISTAKES, SEND_BUFFER, SMALL_WINDOW, STREAM_WINDOW};
use crate::net::upstream_socket::{Meter, Metered};

/// By which streams are opened on a connection.
pub(super) type Sender = SendRequest<Bytes>;

/// What a field counts for beside its name and value. RFC 9113 §6.5.2.
const FIELD: usize = 32;
/// How much an endpoint may send on all streams together: what all of them may hold, so that streams that nobody reads never stop
/// one that is read. What they hold is bounded where it is gathered ([`crate::http::http2::send_buffer`]).
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;

/// Begins HTTP/2 on a socket. Its driver runs on this worker until the connection ends, which it does when nobody has its
/// sender and no stream is left.
pub(super) async fn handshake(
    socket: Metered,
    settings: &Settings,
    heads: HeadRules,
    send_buffer: Rc<WorkerSendBuffer>,
) -> Result<Http2Handshake, h2::Error> {
    let head = heads.bytes.saturating_add(heads.fields.saturating_mul(FIELD));
    let handshake = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MOST_MISTAKES))
        .max_concurrent_streams(0)
        .enable_push(false)
        .handshake(socket);
    let (sender, mut driver): (_, Connection<_, Bytes>) = handshake.await?;
    let presence = if settings.http2_keepalive.is_some() { None } else { driver.ping_pong().map(PingProbe::new) };
    let mut alive = settings.http2_keepalive.and_then(|(every, within)| KeepAlive::new(&mut driver, every, within));
    let allowed = Arc::new(AtomicUsize::new(driver.max_concurrent_send_streams()));
    let peers = allowed.clone();
    let mut window = WindowControl { send_buffer, small: false };
    tokio::task::spawn_local(poll_fn(move |cx| {
        window.follow(&mut driver);
        if alive.as_mut().is_some_and(|alive| alive.poll_silent(cx).is_ready()) {
            return Poll::Ready(());
        }
        let over = Pin::new(&mut driver).poll(cx);
        peers.store(driver.max_concurrent_send_streams(), Relaxed);
        over.map(|ended| {
            if let Err(error) = ended {
                tracing::debug!(%error, "an endpoint's connection ended");
            }
        })
    }));
    Ok(Http2Handshake { sender, allowed, presence })
}

/// A connection that has begun.
pub(crate) struct Http2Handshake {
    pub(super) sender: Sender,
    /// How many streams the peer allows at a time just now.
    pub(super) allowed: Arc<AtomicUsize>,
    /// `None` when it is asked for all the time.
    pub(super) presence: Option<PingProbe>,
}

/// By which it is found out whether the peer of a connection is still there that nobody has used for a while. What is between
/// may have forgotten the connection, and then a request on it would wait for the end of its timeout.
#[derive(Debug)]
pub(crate) struct PingProbe(Mutex<PingPong>);

/// How long its answer may take. A new connection is there sooner than a much later one.
const PATIENCE: Duration = Duration::from_secs(1);

impl PingProbe {
    fn new(pings: PingPong) -> Self {
        Self(Mutex::new(pings))
    }

    /// Whether the peer answers. Who asks at the same time waits for the one before; `known` tells then that it is known.
    pub(super) async fn answers(&self, known: impl Fn() -> bool) -> bool {
        let mut pings = self.0.lock().await;
        if known() {
            return true;
        }
        tokio::time::timeout(PATIENCE, pings.ping(Ping::opaque())).await.is_ok_and(|pong| pong.is_ok())
    }
}

/// How much an endpoint may send on one stream before it is read: less while much is held for callers who do not read.
struct WindowControl {
    send_buffer: Rc<WorkerSendBuffer>,
    small: bool,
}

impl WindowControl {
    /// Tells the peer when that changes.
    fn follow(&mut self, driver: &mut Connection<Metered, Bytes>) {
        let changes = if self.small { self.send_buffer.is_roomy() } else { self.send_buffer.is_tight() };
        // An error means that the peer has not confirmed what it was told last: it is told later.
        if changes && driver.set_initial_window_size(if self.small { STREAM_WINDOW } else { SMALL_WINDOW }).is_ok() {
            self.small = !self.small;
        }
    }
}

/// Asks the peer now and then whether it is there. Envoy: `connection_keepalive`.
struct KeepAlive {
    pings: PingPong,
    every: Duration,
    within: Duration,
    timer: Interval,
    asked: bool,
}

impl KeepAlive {
    /// `None` when something else pings already.
    fn new(driver: &mut Connection<Metered, Bytes>, every: Span, within: Span) -> Option<Self> {
        let (every, within) = (duration(every), duration(within));
        let mut timer = interval(every.max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.reset();
        Some(Self { pings: driver.ping_pong()?, every, within, timer, asked: false })
    }

    /// Ready when the peer has not answered in time.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.asked && self.pings.poll_pong(cx).is_ready() {
                // An error means that the connection has ended, which its driver hears too.
                self.asked = false;
                self.timer.reset_after(self.every);
            }
            ready!(self.timer.poll_tick(cx));
            if self.asked {
                return Poll::Ready(());
            }
            self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
            self.timer.reset_after(if self.asked { self.within } else { self.every });
        }
    }
}

/// An HTTP/2 connection, shared by its streams.
#[derive(Debug)]
pub(crate) struct Http2Connection {
    pub(super) sender: Sender,
    pub(super) meter: Arc<Meter>,
    pub(super) active: AtomicU32,
    /// Of how many of these the answer has come and is not read.
    pub(super) unread: AtomicU32,
    pub(super) served: AtomicU32,
    /// The most streams at a time that the peer allows just now.
    pub(super) allowed: Arc<AtomicUsize>,
    /// The most streams at a time that the configuration allows.
    pub(super) most: u32,
    /// Set once it must take no more streams.
    pub(super) spent: AtomicBool,
    /// How long it may be without a stream; `None` is for ever.
    pub(super) keep: Option<Span>,
    /// From when on it takes no further stream; those it has come to their end. `None` is never.
    pub(super) old_at: Option<Time>,
    /// Since when it is known to have none, in nanoseconds of [`Time`], and how many it had served by then.
    pub(super) quiet: (AtomicU64, AtomicU32),
    /// Whether its endpoint is in no list, so that it goes by age alone.
    pub(super) passing: bool,
    /// By which it is asked for; `None` when that is done all the time.
    pub(super) presence: Option<PingProbe>,
    pub(super) _held: HeldResources,
}

/// What comes of asking for a stream.
pub(super) enum Entry {
    In(Sender),
    Full,
    Closed,
}

impl Http2Connection {
    /// Takes a stream if there is room for one.
    pub(super) fn enter(&self, most_requests: Option<u32>) -> Entry {
        let mut sender = self.sender.clone();
        if self.spent.load(Relaxed) || closed(&mut sender) {
            return Entry::Closed;
        }
        let most = self.most_streams();
        let fits = |active: u32| (active < most).then(|| active + 1);
        if self.active.fetch_update(Relaxed, Relaxed, fits).is_err() {
            return Entry::Full;
        }
        let served = self.served.fetch_add(1, Relaxed) + 1;
        if most_requests.is_some_and(|most| served >= most) {
            self.spent.store(true, Relaxed);
        }
        Entry::In(sender)
    }

    /// The most streams at a time.
    fn most_streams(&self) -> u32 {
        match self.allowed.load(Relaxed) {
            // A peer that allows none just now would allow none on another connection either: the stream waits on this one.
            0 => self.most,
            allowed => self.most.min(u32::try_from(allowed).unwrap_or(u32::MAX)),
        }
    }

    /// Its streams, for who wants one more; `sure` tells that the peer must be known to be there.
    pub(super) fn streams(&self, request: &ConnectionRequest<'_>, sure: bool) -> Streams {
        let active = self.active.load(Relaxed);
        let room = active < self.most_streams() && self.young(request.now) && !(sure && self.is_unsure(request));
        Streams { active, unread: self.unread.load(Relaxed), room }
    }

    /// Whether it takes no more streams.
    pub(super) fn is_over(&self) -> bool {
        self.spent.load(Relaxed) || closed(&mut self.sender.clone())
    }

    /// Gives a stream back.
    pub(super) fn leave(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// Whether it has been without a stream for so long that nobody knows whether the peer is there.
    pub(super) fn is_unsure(&self, request: &ConnectionRequest<'_>) -> bool {
        let Some(after) = request.ping_after.filter(|_| self.active.load(Relaxed) == 0) else { return false };
        let (since, served_before) = &self.quiet;
        served_before.load(Relaxed) == self.served.load(Relaxed)
            && request.now - Time(since.load(Relaxed)) >= after
            && self.presence.is_some()
    }

    /// Asks the peer whether it is there. A connection whose peer does not answer takes no more streams.
    pub(super) async fn look(&self, request: &ConnectionRequest<'_>) {
        let Some(presence) = &self.presence else { return };
        let known = || self.spent.load(Relaxed) || !self.is_unsure(request);
        match presence.answers(known).await {
            true => self.quiet.0.store(request.now.0, Relaxed),
            false => self.spent.store(true, Relaxed),
        }
    }

    /// Whether it may take streams by its age.
    pub(super) fn young(&self, now: Time) -> bool {
        self.old_at.is_none_or(|old_at| now < old_at)
    }

    /// Whether it has been without a stream for too long. Looked at from time to time, and by that much too late.
    pub(super) fn aged(&self, now: Time) -> bool {
        let (since, served_before) = &self.quiet;
        let served = self.served.load(Relaxed);
        if self.active.load(Relaxed) > 0 || served_before.swap(served, Relaxed) != served {
            since.store(now.0, Relaxed);
            return false;
        }
        self.keep.is_some_and(|keep| now - Time(since.load(Relaxed)) >= keep)
    }
}

/// Whether a connection takes no more streams: it has ended, or its peer has said that it will.
pub(super) fn closed(sender: &mut Sender) -> bool {
    // A sender that has sent nothing yet waits for nothing.
    matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
}

/// A stream's part in a connection: one request, and its answer. Dropping it before both are over resets the stream.
#[derive(Debug)]
pub(crate) struct Http2Stream {
    many: Arc<Http2Connection>,
    sender: Sender,
    up: Option<Outgoing<UpstreamBody>>,
    pump: Option<BodyPump>,
    response: Option<ResponseFuture>,
    down: Option<Incoming>,
    /// Whether its answer has come and is not read.
    unread: bool,
}

/// A body that goes up by itself: whoever waits for the caller to read its answer must not keep the endpoint waiting.
#[derive(Debug)]
struct BodyPump(JoinHandle<()>);

impl BodyPump {
    fn start(mut body: Outgoing<UpstreamBody>) -> Self {
        Self(tokio::task::spawn_local(async move {
            // What breaks off here is told by the stream.
            let _ = poll_fn(|cx| body.poll(cx)).await;
        }))
    }
}

impl Drop for BodyPump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.note_unread(false);
        self.many.leave();
    }
}

impl Http2Stream {
    /// A part whose place among the streams has been taken.
    pub(super) fn new(many: Arc<Http2Connection>, sender: Sender) -> Self {
        Self { many, sender, up: None, pump: None, response: None, down: None, unread: false }
    }

    /// The connection.
    pub(super) fn many(&self) -> &Http2Connection {
        &self.many
    }

    /// Sends the head of a request.
    pub(super) fn begin(&mut self, request: Request<()>, body: UpstreamBody) -> Result<(), NoResponse> {
        let over = body.is_end_stream();
        let sent = self.sender.send_request(request, over);
        let (response, stream) = sent.map_err(|error| NoResponse { failure: failure_of(&error), unsent: true })?;
        self.up = (!over).then(|| Outgoing::new(stream, body, ()));
        self.response = Some(response);
        Ok(())
    }

    /// The head of the response. What the endpoint says before that is handed on.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: &mut dyn FnMut(u16, Fields),
    ) -> Poll<Result<UpstreamResponse, NoResponse>> {
        if let Some(mut up) = self.up.take()
            && up.poll(cx).is_pending()
        {
            self.pump = Some(BodyPump::start(up));
        }
        let broken = |failure| Poll::Ready(Err(NoResponse { failure, unsent: false }));
        let Some(response) = &mut self.response else { return broken(Failure::Terminated) };
        while let Some(Ok(early)) = ready!(response.poll_informational(cx)) {
            interim(early.status().as_u16(), Fields::from_map(early.headers()));
        }
        let answered = ready!(Pin::new(response).poll(cx));
        self.response = None;
        match answered {
            Ok(response) => {
                let (parts, stream) = response.into_parts();
                let fields = Fields::from_map(&parts.headers);
                self.down = Some(Incoming::new(stream, &fields));
                Poll::Ready(Ok(UpstreamResponse { status: parts.status.as_u16(), fields }))
            }
            Err(error) => broken(failure_of(&error)),
        }
    }

    /// The next frame of the response.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(down) = &mut self.down else { return Poll::Ready(None) };
        let frame = ready!(down.poll_frame(cx));
        if self.unread && self.gathered() == 0 {
            self.note_unread(false);
        }
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|cut| match cut {
                StreamError::Gone => Failure::RemoteReset,
                StreamError::Failed(error) => failure_of(&error),
            })
        }))
    }

    /// Takes in what has come of the response although nobody wants it yet.
    pub(super) fn gather(&mut self, cx: &mut Context<'_>) {
        if let Some(down) = &mut self.down {
            down.gather(cx);
            self.note_unread(self.gathered() > 0);
        }
    }

    fn note_unread(&mut self, unread: bool) {
        match (std::mem::replace(&mut self.unread, unread), unread) {
            (false, true) => drop(self.many.unread.fetch_add(1, Relaxed)),
            (true, false) => drop(self.many.unread.fetch_sub(1, Relaxed)),
            _ => {}
        }
    }

    /// How much has been taken in.
    pub(super) fn gathered(&self) -> usize {
        self.down.as_ref().map_or(0, Incoming::gathered)
    }

    /// Whether the response is over.
    pub(super) fn is_end_stream(&self) -> bool {
        self.down.as_ref().is_none_or(Incoming::is_end_stream)
    }

    /// How long the rest of the response's body is, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.down.as_ref().map_or(Some(0), Incoming::left)
    }
}

/// What an error means to the policy.
pub(super) fn failure_of(error: &h2::Error) -> Failure {
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Failure::RefusedStream,
        // Envoy: to an endpoint that says so, or of one whose bytes are none, a request is no HTTP.
        Some(Reason::PROTOCOL_ERROR) if error.is_reset() => Failure::Protocol,
        _ if error.is_go_away() && error.is_remote() => Failure::RefusedStream,
        Some(_) if error.is_reset() && error.is_remote() => Failure::RemoteReset,
        Some(_) if error.is_library() => Failure::Protocol,
        _ => Failure::Terminated,
    }
}
