//! Responses that are buffered for callers who do not read: how many bytes, for whom, and whose streams are reset when
//! it is too much.
//!
//! A response is buffered in two places: where it arrives, while nobody takes it ([`super::incoming`]), and in the
//! downstream connection's send queue. Both are counted here, for each stream, each connection and the worker, and so
//! is what the exchange itself keeps meanwhile. A stream may buffer what its windows allow. When half of a connection's
//! or worker's limit is used, a stream queues only what its caller has window for, and endpoints get smaller windows.
//! When all of it is used, whoever holds most is reset. Envoy: `reset_high_memory_stream`.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

/// What an answer that waits holds besides its bytes: its exchange, its task, its place on two connections. As measured, and some
/// more.
const BESIDE: usize = 8 * 1024;
/// What a piece holds besides its bytes, together with the stream that it may be the end of.
const FRAME: usize = 1024;

/// What a worker holds.
#[derive(Debug)]
pub(crate) struct WorkerSendBuffer {
    held: Cell<usize>,
    /// The most that it may hold.
    most: usize,
    /// The most for one connection.
    each: usize,
    callers: RefCell<Vec<Weak<ConnectionSendBuffer>>>,
}

impl WorkerSendBuffer {
    /// Nothing yet, and at most so much in all and for each connection.
    pub(crate) fn new(most: usize, each: usize) -> Rc<Self> {
        Rc::new(Self { held: Cell::new(0), most, each: each.min(most), callers: RefCell::default() })
    }

    /// What is held for a new connection.
    pub(crate) fn of_caller(self: &Rc<Self>) -> Rc<ConnectionSendBuffer> {
        let caller =
            Rc::new(ConnectionSendBuffer { of: self.clone(), held: Cell::new(0), stalled: RefCell::default() });
        self.callers.borrow_mut().push(Rc::downgrade(&caller));
        caller
    }

    /// Forgets connections that are over.
    pub(crate) fn tidy(&self) {
        let mut callers = self.callers.borrow_mut();
        callers.retain(|caller| caller.strong_count() > 0);
        if callers.capacity() > 64 && callers.capacity() / 4 > callers.len() {
            callers.shrink_to(64);
        }
    }

    /// Whether half of what may be held is held.
    pub(crate) fn is_tight(&self) -> bool {
        self.held.get() > self.most / 2
    }

    /// Whether little is held, so that there was room for some time to come.
    pub(crate) fn is_roomy(&self) -> bool {
        self.held.get() <= self.most / 4
    }

    /// Gives answers up, those of whoever holds most first, until no more is held than may be.
    fn shed(&self) {
        while self.held.get() > self.most {
            let callers = self.callers.borrow();
            let largest = callers.iter().filter_map(Weak::upgrade).max_by_key(|caller| caller.held.get());
            drop(callers);
            if !largest.is_some_and(|caller| caller.give_up_largest()) {
                return;
            }
        }
    }
}

/// What is held for one connection of a caller.
#[derive(Debug)]
pub(crate) struct ConnectionSendBuffer {
    of: Rc<WorkerSendBuffer>,
    held: Cell<usize>,
    /// The streams that have had to wait.
    stalled: RefCell<Vec<Weak<StreamSendBuffer>>>,
}

impl ConnectionSendBuffer {
    /// What is held for a new answer.
    pub(crate) fn of_stream(self: &Rc<Self>) -> Rc<StreamSendBuffer> {
        Rc::new(StreamSendBuffer {
            of: self.clone(),
            queued: Cell::new(0),
            gathered: Cell::new(0),
            listed: Cell::new(None),
            given_up: Cell::new(false),
            waiting: RefCell::default(),
        })
    }

    /// Whether nothing more should be begun for this caller: it does not read what it has asked for, and the room is running out.
    pub(crate) fn is_full(&self) -> bool {
        let (all, of) = (self.of.held.get(), &*self.of);
        let held = self.held.get();
        held > of.each / 4 * 3 || (all > of.most / 4 * 3 && held > all / of.callers.borrow().len().max(1))
    }

    /// How many answers have had to wait for this caller and are not over.
    pub(crate) fn unread(&self) -> u32 {
        self.stalled.borrow().len() as u32
    }

    fn is_tight(&self) -> bool {
        self.held.get() > self.of.each / 2 || self.of.is_tight()
    }

    fn add(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
        self.of.held.set(self.of.held.get() + bytes);
        while self.held.get() > self.of.each && self.give_up_largest() {}
        if self.of.held.get() > self.of.most {
            self.of.shed();
        }
    }

    fn remove(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
        self.of.held.set(self.of.held.get() - bytes);
    }

    /// Gives up the answer for which most is held. False when there is none.
    fn give_up_largest(&self) -> bool {
        let stalled = self.stalled.borrow();
        let waiting = stalled.iter().filter_map(Weak::upgrade).filter(|stream| !stream.given_up.get());
        let largest = waiting.max_by_key(|stream| stream.held()).filter(|stream| stream.held() > 0);
        drop(stalled);
        largest.is_some_and(|stream| {
            stream.give_up();
            true
        })
    }
}

/// What is held for one answer.
#[derive(Debug)]
pub(crate) struct StreamSendBuffer {
    of: Rc<ConnectionSendBuffer>,
    /// What was handed to the caller's connection and has not left.
    queued: Cell<usize>,
    /// What has come and was not handed on.
    gathered: Cell<usize>,
    /// Where it is among the streams that have had to wait.
    listed: Cell<Option<usize>>,
    given_up: Cell<bool>,
    /// Whom to wake when there is room again, or none will be.
    waiting: RefCell<Option<Waker>>,
}

impl StreamSendBuffer {
    fn held(&self) -> usize {
        self.queued.get() + self.gathered.get() + if self.listed.get().is_some() { BESIDE } else { 0 }
    }

    /// Whether the answer has been given up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Notes that the answer waits for its caller, and how much of it has come meanwhile.
    pub(crate) fn stalls(self: &Rc<Self>, gathered: usize, cx: &Context<'_>) {
        let before = self.held();
        if self.listed.get().is_none() {
            let mut stalled = self.of.stalled.borrow_mut();
            self.listed.set(Some(stalled.len()));
            stalled.push(Rc::downgrade(self));
        }
        self.wake_later(cx);
        self.gathered.set(gathered);
        if !self.given_up.get() {
            self.of.remove(before);
            self.of.add(self.held());
        }
    }

    /// Whether room is short, so that nothing should be queued that cannot leave.
    pub(crate) fn is_tight(&self) -> bool {
        self.of.is_tight()
    }

    /// Waits while room is short and a piece of this answer is still on its way out.
    pub(crate) fn poll_turn(&self, cx: &Context<'_>) -> Poll<()> {
        if self.queued.get() == 0 || !self.of.is_tight() {
            return Poll::Ready(());
        }
        self.wake_later(cx);
        Poll::Pending
    }

    fn wake_later(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }

    fn queue(&self, bytes: usize) {
        self.queued.set(self.queued.get() + bytes);
        if !self.given_up.get() {
            self.of.add(bytes);
        }
    }

    fn left(&self, bytes: usize) {
        self.queued.set(self.queued.get() - bytes);
        if !self.given_up.get() {
            self.of.remove(bytes);
        }
        if self.queued.get() == 0 {
            self.wake();
        }
    }

    fn give_up(&self) {
        self.of.remove(self.held());
        self.given_up.set(true);
        self.wake();
    }
}

impl Drop for StreamSendBuffer {
    fn drop(&mut self) {
        if !self.given_up.get() {
            self.of.remove(self.held());
        }
        let Some(at) = self.listed.get() else { return };
        let mut stalled = self.of.stalled.borrow_mut();
        stalled.swap_remove(at);
        if let Some(moved) = stalled.get(at).and_then(Weak::upgrade) {
            moved.listed.set(Some(at));
        }
    }
}

/// A piece of an answer, which counts until it has left.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    counted: usize,
    of: Rc<StreamSendBuffer>,
}

impl Piece {
    /// A piece of this answer.
    pub(crate) fn new(bytes: Bytes, of: &Rc<StreamSendBuffer>) -> Self {
        let counted = bytes.len() + FRAME;
        of.queue(counted);
        Self { bytes, counted, of: of.clone() }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.of.left(self.counted);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const K: usize = 1024;

    fn bytes(count: usize) -> Bytes {
        vec![0; count * K].into()
    }

    fn held(caller: &ConnectionSendBuffer) -> usize {
        caller.held.get() / K
    }

    #[test]
    fn what_has_left_or_is_dropped_is_held_no_more() {
        let send_buffer = WorkerSendBuffer::new(1000 * K, 500 * K);
        let caller = send_buffer.of_caller();
        let stream = caller.of_stream();
        let (one, two) = (Piece::new(bytes(99), &stream), Piece::new(bytes(49), &stream));
        assert_eq!(held(&caller), 150);
        stream.stalls(70 * K, &Context::from_waker(Waker::noop()));
        stream.stalls(30 * K, &Context::from_waker(Waker::noop()));
        assert_eq!((held(&caller), send_buffer.held.get() / K), (188, 188), "and what the exchange keeps");
        drop(one);
        assert_eq!(held(&caller), 88);
        drop((stream, two));
        assert_eq!((caller.held.get(), send_buffer.held.get()), (0, 0));
        assert!(caller.stalled.borrow().is_empty());
        drop(caller);
        send_buffer.tidy();
        assert!(send_buffer.callers.borrow().is_empty());
    }

    #[test]
    fn whoever_holds_most_is_given_up_and_nobody_else() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let send_buffer = WorkerSendBuffer::new(1000 * K, 600 * K);
        let (greedy, modest) = (send_buffer.of_caller(), send_buffer.of_caller());
        let streams = [292, 192].map(|count| {
            let stream = greedy.of_stream();
            stream.stalls(count * K, &cx);
            stream
        });
        let other = modest.of_stream();
        other.stalls(392 * K, &cx);
        // Too much for one connection: its own largest goes.
        streams[1].stalls(342 * K, &cx);
        assert_eq!([&streams[0], &streams[1], &other].map(|stream| stream.is_given_up()), [false, true, false]);
        assert_eq!((held(&greedy), woken.0.load(Ordering::Relaxed)), (300, 1));
        // Too much for the worker: the connection that holds most loses its largest.
        streams[0].stalls(582 * K, &cx);
        let late = modest.of_stream();
        late.stalls(42 * K, &cx);
        assert_eq!([&streams[0], &other, &late].map(|stream| stream.is_given_up()), [true, false, false]);
        assert_eq!((held(&greedy), held(&modest), send_buffer.held.get() / K), (0, 450, 450));
    }

    #[test]
    fn answers_without_bytes_are_bounded_too() {
        let cx = Context::from_waker(Waker::noop());
        let send_buffer = WorkerSendBuffer::new(1000 * K, 80 * K);
        let caller = send_buffer.of_caller();
        let streams: Vec<_> = (0..30)
            .map(|_| {
                let stream = caller.of_stream();
                stream.stalls(0, &cx);
                stream
            })
            .collect();
        assert_eq!(streams.iter().filter(|stream| stream.is_given_up()).count(), 20);
        assert_eq!(held(&caller), 80);
    }

    #[test]
    fn streams_leave_the_list_in_any_order() {
        let cx = Context::from_waker(Waker::noop());
        let send_buffer = WorkerSendBuffer::new(1000 * K, 1000 * K);
        let caller = send_buffer.of_caller();
        let mut streams: Vec<_> = (0..9).map(|_| caller.of_stream()).collect();
        streams.iter().for_each(|stream| stream.stalls(K, &cx));
        for at in [3, 0, 6, 2, 4, 1, 0, 1, 0] {
            drop(streams.remove(at));
            let list = caller.stalled.borrow();
            let places = list.iter().map(|stream| stream.upgrade().and_then(|stream| stream.listed.get()));
            assert!(places.eq((0..streams.len()).map(Some)), "each knows its place");
        }
        assert_eq!(caller.held.get(), 0);
    }

    #[test]
    fn when_room_is_short_pieces_leave_one_by_one() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let send_buffer = WorkerSendBuffer::new(1000 * K, 200 * K);
        let caller = send_buffer.of_caller();
        let (stream, other) = (caller.of_stream(), caller.of_stream());
        let piece = Piece::new(bytes(59), &stream);
        assert!(stream.poll_turn(&cx).is_ready() && !stream.is_tight());
        other.stalls(60 * K, &cx);
        assert!(stream.poll_turn(&cx).is_pending() && other.poll_turn(&cx).is_ready() && stream.is_tight());
        assert!(!caller.is_full());
        drop(piece);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(stream.poll_turn(&cx).is_ready());
        other.stalls(160 * K, &cx);
        assert!(caller.is_full());
    }
}
