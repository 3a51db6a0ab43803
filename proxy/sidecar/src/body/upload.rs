//! A request body on its way upstream: streamed frame by frame, buffered for replay up to a limit, and copied to
//! mirrors.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use leeboard_policy::step::Replay;

use super::downstream::{DownstreamBody, DownstreamBodyError, UploadError};
use super::mirror::{MirrorBody, MirrorQueue};
use super::replay::{Blocks, ReplayClaim, ReplayMemory};

/// The caller's body, shared by its attempts.
///
/// The mutex is held only while one frame is handed on, and contended only when a cluster's pool is shared by workers.
#[derive(Clone, Debug)]
pub(crate) struct Upload(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The length that the caller announced.
    length: Option<u64>,
    /// How much may be kept for replay.
    limit: usize,
    received: AtomicU64,
    complete: AtomicBool,
    failed: AtomicBool,
    /// Whether the caller broke off by resetting its stream.
    reset: AtomicBool,
    /// Whether it broke off since what the caller has sent is no body.
    malformed: AtomicBool,
    /// Whether the caller is waited for to send more.
    awaited: AtomicBool,
    /// Whether the present attempt's reader has handed all of it on.
    handed_on: AtomicBool,
}

#[derive(Debug)]
struct State {
    incoming: DownstreamBody,
    kept: Retained,
    trailers: Option<HeaderMap>,
    /// Why not all of it is kept.
    replay_overflow: Option<ReplayOverflow>,
    /// Which reader is the present attempt's.
    turn: u32,
    /// Whether it has still to be given some of what was kept before its turn.
    behind: bool,
    copies: Vec<Arc<MirrorQueue>>,
    /// The reader that waits for more.
    reading: Option<Waker>,
    /// Who waits for the end of the request.
    waiting: Option<Waker>,
}

/// What is there of what has been read.
#[derive(Debug)]
enum Retained {
    /// All of it: another attempt can be made.
    Prefix(Blocks, ReplayClaim),
    /// What the present attempt has not been given yet: it is the last.
    Rest(Blocks, ReplayClaim),
    /// Nothing.
    Gone,
}

/// Why a body was not kept to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplayOverflow {
    /// The request's own buffer was full.
    Request,
    /// All requests together keep as much as they may.
    Process,
}

impl Upload {
    /// A body of which up to `limit` bytes are kept, as long as there is `memory`.
    pub(crate) fn new(incoming: DownstreamBody, limit: usize, memory: &Arc<ReplayMemory>) -> Self {
        let length = incoming.length();
        let state = State {
            incoming,
            kept: Retained::Prefix(Blocks::default(), ReplayClaim::of(memory)),
            trailers: None,
            replay_overflow: None,
            turn: 0,
            behind: false,
            copies: Vec::new(),
            reading: None,
            waiting: None,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            length,
            limit,
            received: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            malformed: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            handed_on: AtomicBool::new(false),
        }))
    }

    /// The body for an attempt, from its beginning; `None` when that is gone. Earlier readers are abandoned.
    pub(crate) fn reader(&self) -> Option<UploadReader> {
        let mut state = self.0.lock();
        let Retained::Prefix(blocks, _) = &mut state.kept else { return None };
        let end = blocks.seal();
        state.next_turn();
        state.behind = end > 0;
        self.0.handed_on.store(false, Relaxed);
        Some(UploadReader { upload: self.clone(), turn: state.turn, next: 0, end, trailers_sent: false })
    }

    /// Tells a caller that waits to be told to go on, for the endpoint cannot.
    pub(crate) fn give_leave(&self) {
        self.0.lock().incoming.give_leave();
    }

    /// Whether another attempt can be given the whole body.
    pub(crate) fn replay(&self) -> Replay {
        let whole = matches!(self.0.lock().kept, Retained::Prefix(..)) && !self.failed();
        if whole { Replay::Whole } else { Replay::Gone }
    }

    /// Why not all of it was kept, if that was wanted.
    pub(crate) fn replay_overflow(&self) -> Option<ReplayOverflow> {
        self.0.lock().replay_overflow
    }

    /// Bytes that the caller has sent so far.
    pub(crate) fn received(&self) -> u64 {
        self.0.received.load(Relaxed)
    }

    /// Whether the caller has sent all.
    pub(crate) fn complete(&self) -> bool {
        self.0.complete.load(Relaxed)
    }

    /// Whether the caller broke off.
    pub(crate) fn failed(&self) -> bool {
        self.0.failed.load(Relaxed)
    }

    /// Whether it broke off by resetting its stream.
    pub(crate) fn reset(&self) -> bool {
        self.0.reset.load(Relaxed)
    }

    /// Whether it broke off since what the caller has sent is no body.
    pub(crate) fn malformed(&self) -> bool {
        self.0.malformed.load(Relaxed)
    }

    /// Looks why the caller's stream was reset, in case nobody was reading: what it sent since is no body, or it has left.
    pub(crate) fn probe(&self) {
        let mut state = self.0.lock();
        let mut nobody = Context::from_waker(Waker::noop());
        while !self.complete()
            && !self.failed()
            && let Poll::Ready(Some(read)) = state.incoming.poll_frame(&mut nobody)
        {
            if let Err(error) = read {
                self.0.fail(&error);
            }
        }
    }

    /// Whether the caller is waited for to send more.
    pub(crate) fn awaited(&self) -> bool {
        self.0.awaited.load(Relaxed)
    }

    /// Whether the present attempt's connection has been given all of it, so that it can take another request after the
    /// response.
    pub(crate) fn handed_on(&self) -> bool {
        self.0.handed_on.load(Relaxed)
    }

    /// Breaks off what is still being sent: the exchange is over, and a connection that waits for the rest would wait for
    /// ever.
    pub(crate) fn abandon(&self) {
        if !self.handed_on() {
            self.0.lock().next_turn();
        }
    }

    /// Ready once the caller has sent all, or has broken off.
    pub(crate) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.complete() || self.failed() {
            return Poll::Ready(());
        }
        self.0.lock().waiting = Some(cx.waker().clone());
        if self.complete() || self.failed() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A copy of the body for a mirror. Call before anything is read.
    pub(crate) fn copy(&self, most: usize) -> MirrorBody {
        let queue = MirrorQueue::new(most);
        self.0.lock().copies.push(queue.clone());
        MirrorBody::new(queue, self.0.length)
    }

    /// Lets go of what was kept: no attempt will follow. What the present one has still to be given stays until it is.
    pub(crate) fn settle(&self) {
        let mut state = self.0.lock();
        state.kept = match std::mem::replace(&mut state.kept, Retained::Gone) {
            Retained::Prefix(blocks, claim) | Retained::Rest(blocks, claim) if state.behind => {
                Retained::Rest(blocks, claim)
            }
            _ => Retained::Gone,
        };
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: &DownstreamBodyError) {
        self.failed.store(true, Relaxed);
        self.reset.store(error.is_reset(), Relaxed);
        self.malformed.store(error.is_malformed(), Relaxed);
    }
}

impl Drop for Shared {
    /// A mirror whose caller left sees its body break off, as the primary does.
    fn drop(&mut self) {
        let complete = self.complete.load(Relaxed);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !complete {
            state.copies.iter().for_each(|copy| copy.abandon());
        }
    }
}

/// One attempt's view of an upload.
#[derive(Debug)]
pub(crate) struct UploadReader {
    upload: Upload,
    turn: u32,
    /// How many blocks it has handed on, and how many had been kept before its turn.
    next: usize,
    end: usize,
    trailers_sent: bool,
}

impl UploadReader {
    /// The length that the caller announced.
    pub(crate) fn length(&self) -> Option<u64> {
        self.upload.0.length
    }

    /// Whether it has handed on all there is.
    pub(crate) fn is_over(&self) -> bool {
        self.upload.handed_on()
    }

    /// The next frame.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let shared = self.upload.0.clone();
        let mut state = shared.lock();
        if state.turn != self.turn {
            return Poll::Ready(Some(Err(UploadError::Abandoned)));
        }
        if self.next < self.end {
            let Some(data) = state.kept.get(self.next) else {
                return Poll::Ready(Some(Err(UploadError::Abandoned)));
            };
            self.next += 1;
            self.caught_up(&shared, &mut state);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if shared.complete.load(Relaxed) {
            shared.handed_on.store(true, Relaxed);
            let trailers = state.trailers.clone().filter(|_| !std::mem::replace(&mut self.trailers_sent, true));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let Poll::Ready(read) = state.incoming.poll_frame(cx) else {
            state.reading = Some(cx.waker().clone());
            shared.awaited.store(true, Relaxed);
            return Poll::Pending;
        };
        shared.awaited.store(false, Relaxed);
        match read {
            None => {
                state.finish(&shared, None);
                shared.handed_on.store(true, Relaxed);
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                shared.fail(&error);
                state.copies.iter().for_each(|copy| copy.abandon());
                state.wake();
                Poll::Ready(Some(Err(UploadError::Caller(error))))
            }
            Some(Ok(frame)) => Poll::Ready(Some(Ok(self.take(&shared, &mut state, frame)))),
        }
    }

    fn take(&mut self, shared: &Shared, state: &mut State, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(data) => {
                shared.received.fetch_add(data.len() as u64, Relaxed);
                state.copies.retain(|copy| copy.push(&data));
                state.keep(&data, shared);
                if state.incoming.is_end_stream() {
                    state.finish(shared, None);
                    self.caught_up(shared, state);
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.trailers_sent = true;
                    state.finish(shared, Some(trailers.clone()));
                    shared.handed_on.store(true, Relaxed);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        }
    }
}

impl UploadReader {
    /// Notes that it has been given all that was kept, and perhaps all there is: a body of known length is not asked for
    /// anything after its last byte.
    fn caught_up(&self, shared: &Shared, state: &mut State) {
        if self.next >= self.end {
            state.behind = false;
            if matches!(state.kept, Retained::Rest(..)) {
                state.kept = Retained::Gone;
            }
        }
        if shared.complete.load(Relaxed) && state.trailers.is_none() && self.next >= self.end {
            shared.handed_on.store(true, Relaxed);
        }
    }
}

impl Retained {
    /// A block that was kept before the present attempt.
    fn get(&self, index: usize) -> Option<Bytes> {
        match self {
            Retained::Prefix(blocks, _) | Retained::Rest(blocks, _) => blocks.get(index).cloned(),
            Retained::Gone => None,
        }
    }
}

impl State {
    /// Whoever reads now is told to stop, and is woken to hear it.
    fn next_turn(&mut self) {
        self.turn += 1;
        if let Some(waker) = self.reading.take() {
            waker.wake();
        }
    }

    /// Keeps a frame for replay, or lets all go when that would be too much.
    fn keep(&mut self, data: &Bytes, shared: &Shared) {
        let Retained::Prefix(blocks, claim) = &mut self.kept else { return };
        let kept = blocks.bytes() + data.len();
        let more = shared.length.map(|length| length.saturating_sub(kept as u64));
        let replay_overflow = if kept > shared.limit {
            ReplayOverflow::Request
        } else if !blocks.push(data, more, |bytes| claim.take(bytes)) {
            ReplayOverflow::Process
        } else {
            return;
        };
        self.replay_overflow = Some(replay_overflow);
        self.kept = Retained::Gone;
    }

    fn finish(&mut self, shared: &Shared, trailers: Option<HeaderMap>) {
        shared.complete.store(true, Relaxed);
        self.copies.drain(..).for_each(|copy| copy.finish(trailers.clone()));
        self.trailers = trailers;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}
