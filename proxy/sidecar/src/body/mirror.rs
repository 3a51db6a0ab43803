//! A mirror's copy of a request body. It buffers a bounded number of bytes, so that a slow mirror never slows the
//! primary request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::Notify;

use super::downstream::UploadError;
use super::replay::Blocks;

/// What a mirror has not read yet. It is bounded: a mirror that falls behind is given up, and never slows the primary.
#[derive(Debug)]
pub(crate) struct MirrorQueue {
    state: Mutex<MirrorState>,
    most: usize,
    given_up: Notify,
}

#[derive(Debug, Default)]
struct MirrorState {
    waiting: Blocks,
    trailers: Option<HeaderMap>,
    ended: Option<bool>,
    waker: Option<Waker>,
}

impl MirrorQueue {
    /// A queue of up to `most` bytes.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), most, given_up: Notify::new() })
    }

    /// False once the mirror has fallen behind and is given up.
    pub(crate) fn push(&self, data: &Bytes) -> bool {
        let mut state = self.lock();
        if state.waiting.bytes() + data.len() > self.most || !state.waiting.push(data, None, |_| true) {
            self.give_up(&mut state);
            return false;
        }
        state.wake();
        true
    }

    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) {
        let mut state = self.lock();
        state.trailers = trailers;
        state.end(true);
    }

    pub(crate) fn abandon(&self) {
        self.give_up(&mut self.lock());
    }

    /// The mirror's connection may not ask for more, so what waits for it goes now.
    fn give_up(&self, state: &mut MirrorState) {
        state.waiting = Blocks::default();
        state.end(false);
        self.given_up.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, MirrorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MirrorState {
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
pub(crate) struct MirrorBody {
    queue: Arc<MirrorQueue>,
    length: Option<u64>,
}

impl MirrorBody {
    /// What reads a queue; `length` is what the caller announced.
    pub(crate) fn new(queue: Arc<MirrorQueue>, length: Option<u64>) -> Self {
        Self { queue, length }
    }

    /// The length that the caller announced.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Waits until the copy is given up: the mirror has fallen behind, or the caller broke off.
    pub(crate) fn given_up(&self) -> impl Future<Output = ()> + use<> {
        let queue = self.queue.clone();
        async move { queue.given_up.notified().await }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let mut state = self.queue.lock();
        if state.ended == Some(false) {
            return Poll::Ready(Some(Err(UploadError::Abandoned)));
        }
        if let Some(data) = state.waiting.pop() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if state.ended == Some(true) {
            return Poll::Ready(state.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
