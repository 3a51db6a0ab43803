//! A request's body on its way up: streamed, kept for replay while it is short, copied to mirrors, one frame at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::exchange::arrival::Inflow;

/// What a request to an endpoint carries.
#[derive(Debug, Default)]
pub(crate) enum UpBody {
    /// Nothing.
    #[default]
    Empty,
    /// The caller's body, from its beginning.
    Upload(Reader),
    /// A copy of the caller's body.
    Copy(CopyReader),
}

/// Why an upload cannot go on.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The caller broke off.
    Caller(crate::exchange::arrival::CallerBroke),
    /// Another attempt has taken over, or a mirror could not keep pace.
    Abandoned,
}

impl std::fmt::Display for UploadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UploadError::Caller(error) => write!(f, "the caller broke off: {error}"),
            UploadError::Abandoned => f.write_str("this copy of the body was abandoned"),
        }
    }
}

impl std::error::Error for UploadError {}

impl Body for UpBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            UpBody::Empty => Poll::Ready(None),
            UpBody::Upload(reader) => reader.poll_frame(cx),
            UpBody::Copy(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpBody::Empty => true,
            // A reader that has just handed the end on knows it; of any other it makes no difference.
            UpBody::Upload(reader) => reader.upload.handed_on(),
            UpBody::Copy(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = match self {
            UpBody::Empty => Some(0),
            UpBody::Upload(reader) => reader.upload.0.length,
            UpBody::Copy(reader) => reader.length,
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

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
    /// Whether the present attempt's reader has handed all of it on.
    handed_on: AtomicBool,
}

#[derive(Debug)]
struct State {
    incoming: Inflow,
    /// What has been read so far, as long as all of it fits.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    trailers: Option<HeaderMap>,
    /// Whether the beginning has been let go.
    overflowed: bool,
    /// Which reader is the present attempt's.
    turn: u32,
    copies: Vec<Arc<CopyQueue>>,
    /// The reader that waits for more.
    reading: Option<Waker>,
    /// Who waits for the end of the request.
    waiting: Option<Waker>,
}

impl Upload {
    /// A body of which up to `limit` bytes are kept.
    pub(crate) fn new(incoming: Inflow, limit: usize) -> Self {
        let length = incoming.length();
        let state = State {
            incoming,
            kept: Vec::new(),
            kept_bytes: 0,
            trailers: None,
            overflowed: limit == 0,
            turn: 0,
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
            handed_on: AtomicBool::new(false),
        }))
    }

    /// The body for another attempt, from its beginning. Earlier readers are abandoned.
    pub(crate) fn reader(&self) -> Reader {
        let mut state = self.0.lock();
        state.next_turn();
        self.0.handed_on.store(false, Relaxed);
        Reader { upload: self.clone(), turn: state.turn, next: 0, trailers_sent: false }
    }

    /// Whether a reader would still see the whole body.
    pub(crate) fn replayable(&self) -> bool {
        !self.0.lock().overflowed && !self.failed()
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
    pub(crate) fn copy(&self, most: usize) -> CopyReader {
        let queue = Arc::new(CopyQueue { state: Mutex::default(), most, given_up: Notify::new() });
        self.0.lock().copies.push(queue.clone());
        CopyReader { queue, length: self.0.length }
    }

    /// Lets go of what was kept: no attempt will follow.
    pub(crate) fn settle(&self) {
        let mut state = self.0.lock();
        state.overflowed = true;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
pub(crate) struct Reader {
    upload: Upload,
    turn: u32,
    next: usize,
    trailers_sent: bool,
}

impl Reader {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let shared = self.upload.0.clone();
        let mut state = shared.lock();
        if state.turn != self.turn {
            return Poll::Ready(Some(Err(UploadError::Abandoned)));
        }
        if let Some(bytes) = state.kept.get(self.next) {
            self.next += 1;
            let frame = Frame::data(bytes.clone());
            self.note_end(&shared, &state);
            return Poll::Ready(Some(Ok(frame)));
        }
        if shared.complete.load(Relaxed) {
            shared.handed_on.store(true, Relaxed);
            let trailers = state.trailers.clone().filter(|_| !std::mem::replace(&mut self.trailers_sent, true));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let Poll::Ready(read) = state.incoming.poll_frame(cx) else {
            state.reading = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match read {
            None => {
                state.finish(&shared, None);
                shared.handed_on.store(true, Relaxed);
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                shared.failed.store(true, Relaxed);
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
                state.copies.retain(|copy| copy.push(data.clone()));
                if state.keep(&data, shared.limit) {
                    self.next += 1;
                }
                if state.incoming.is_end_stream() {
                    state.finish(shared, None);
                    self.note_end(shared, state);
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

impl Reader {
    /// A body of known length is not asked for anything after its last byte.
    fn note_end(&self, shared: &Shared, state: &State) {
        if shared.complete.load(Relaxed) && state.trailers.is_none() && self.next >= state.kept.len() {
            shared.handed_on.store(true, Relaxed);
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

    /// Keeps a frame for replay, or lets all go when that would be too much. Tells whether the frame was kept.
    fn keep(&mut self, data: &Bytes, limit: usize) -> bool {
        if !self.overflowed && self.kept_bytes + data.len() > limit {
            self.overflowed = true;
            self.kept = Vec::new();
        }
        if self.overflowed {
            return false;
        }
        self.kept_bytes += data.len();
        self.kept.push(data.clone());
        true
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

/// What a mirror has not read yet. It is bounded: a mirror that falls behind is given up, and never slows the primary.
#[derive(Debug)]
struct CopyQueue {
    state: Mutex<CopyState>,
    most: usize,
    given_up: Notify,
}

#[derive(Debug, Default)]
struct CopyState {
    waiting: VecDeque<Frame<Bytes>>,
    bytes: usize,
    ended: Option<bool>,
    waker: Option<Waker>,
}

impl CopyQueue {
    /// False once the mirror has fallen behind and is given up.
    fn push(&self, data: Bytes) -> bool {
        let mut state = self.lock();
        if state.bytes + data.len() > self.most {
            self.give_up(&mut state);
            return false;
        }
        state.bytes += data.len();
        state.waiting.push_back(Frame::data(data));
        state.wake();
        true
    }

    fn finish(&self, trailers: Option<HeaderMap>) {
        let mut state = self.lock();
        state.waiting.extend(trailers.map(Frame::trailers));
        state.end(true);
    }

    fn abandon(&self) {
        self.give_up(&mut self.lock());
    }

    /// The mirror's connection may not ask for more, so what waits for it goes now.
    fn give_up(&self, state: &mut CopyState) {
        state.waiting = VecDeque::new();
        state.end(false);
        self.given_up.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, CopyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CopyState {
    fn end(&mut self, whole: bool) {
        self.ended.get_or_insert(whole);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A mirror's view of an upload.
#[derive(Debug)]
pub(crate) struct CopyReader {
    queue: Arc<CopyQueue>,
    length: Option<u64>,
}

impl CopyReader {
    /// Waits until the copy is given up: the mirror has fallen behind, or the caller broke off.
    pub(crate) fn given_up(&self) -> impl Future<Output = ()> + use<> {
        let queue = self.queue.clone();
        async move { queue.given_up.notified().await }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let mut state = self.queue.lock();
        if state.ended == Some(false) {
            return Poll::Ready(Some(Err(UploadError::Abandoned)));
        }
        if let Some(frame) = state.waiting.pop_front() {
            state.bytes -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        if state.ended == Some(true) {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
