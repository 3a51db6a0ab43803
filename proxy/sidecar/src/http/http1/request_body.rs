//! The body of a request from downstream, read from its connection as fast as the endpoint takes it.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::net::TcpStream;

use super::body::Decoder;
use super::read::Length;
use super::{READ, READ_MOST};
use crate::net::readable::Readable;
use crate::net::turn::Turn;

/// A body on an HTTP/1 connection. The connection has the other handle, and takes back what follows the body.
///
/// The mutex is contended only when the endpoint's connection belongs to another worker.
#[derive(Clone, Debug)]
pub(crate) struct RequestBody {
    state: Arc<Mutex<State>>,
    length: Option<u64>,
}

#[derive(Debug)]
struct State {
    stream: Arc<TcpStream>,
    read: BytesMut,
    room: usize,
    turn: Turn,
    decoder: Decoder,
    /// The caller waits for leave to send it.
    expects: bool,
    /// It is given leave when somebody wants to read, for the endpoint cannot give it.
    gives_leave: bool,
    /// Nobody may read from it any more.
    over: bool,
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    /// The connection has ended, or is wanted for something else.
    Gone,
    /// It is not what its head announced.
    Malformed,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BodyError::Gone => "the connection ended",
            BodyError::Malformed => "the body is malformed",
        })
    }
}

/// The answer to `Expect: 100-continue`.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl RequestBody {
    /// A body of which `read` has been read already.
    pub(crate) fn new(stream: Arc<TcpStream>, read: BytesMut, length: Length, expects: bool) -> Self {
        let decoder = length.into();
        let state = State {
            stream,
            read,
            room: READ,
            turn: Turn::default(),
            decoder,
            expects,
            gives_leave: false,
            over: false,
        };
        Self { state: Arc::new(Mutex::new(state)), length: length.exact() }
    }

    /// The length that the caller announced.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether all of it has been taken.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.lock().decoder.is_done()
    }

    /// How much of it is to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.lock().decoder.left()
    }

    /// Whether its caller has sent nothing of it and waits to be told to. It may then send the body or leave it out.
    pub(crate) fn is_awaiting_leave(&self) -> bool {
        let state = self.lock();
        state.expects && state.read.is_empty()
    }

    /// Gives leave as soon as somebody wants to read: whoever it is for cannot.
    pub(crate) fn give_leave(&self) {
        self.lock().gives_leave = true;
    }

    /// Takes what comes for nothing, as far as the allowance goes. Ready at the body's end, true if it has come to that.
    pub(crate) fn poll_skip(&self, cx: &mut Context<'_>, allowance: &mut u64) -> Poll<bool> {
        loop {
            match std::task::ready!(self.poll_frame(cx)) {
                None => return Poll::Ready(true),
                Some(Err(_)) => return Poll::Ready(false),
                Some(Ok(frame)) => {
                    let taken = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match allowance.checked_sub(taken) {
                        Some(left) => *allowance = left,
                        None => return Poll::Ready(false),
                    }
                }
            }
        }
    }

    /// The next frame.
    pub(crate) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        loop {
            if state.over {
                return Poll::Ready(Some(Err(BodyError::Gone)));
            }
            let taken = state.decoder.take(&mut state.read);
            state.turn.did(state.decoder.effort());
            match taken {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if state.decoder.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(_) => {
                    state.over = true;
                    return Poll::Ready(Some(Err(BodyError::Malformed)));
                }
            }
            if let Err(gone) = std::task::ready!(state.poll_read(cx)) {
                state.over = true;
                return Poll::Ready(Some(Err(gone)));
            }
        }
    }

    /// Takes the connection back: what has been read behind the body, or `None` when the body is not over.
    pub(crate) fn take_back(&self) -> Option<BytesMut> {
        let mut state = self.lock();
        state.over = true;
        state.decoder.is_done().then(|| std::mem::take(&mut state.read))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.gives_leave && std::mem::take(&mut self.expects) && self.read.is_empty() {
            match self.stream.try_write(CONTINUE) {
                Ok(count) if count == CONTINUE.len() => {}
                // The caller has not read what came before. RFC 9110 §10.1.1: it goes on by itself after a while.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return Poll::Ready(Err(BodyError::Gone)),
            }
        }
        let read = poll_read_in_turn(&*self.stream, cx, &mut self.read, &mut self.room, &mut self.turn);
        match std::task::ready!(read) {
            Ok(0) | Err(_) => Poll::Ready(Err(BodyError::Gone)),
            Ok(_) => {
                // RFC 9110 §10.1.1: who has waited for a while goes on by itself.
                self.expects = false;
                Poll::Ready(Ok(()))
            }
        }
    }
}

thread_local! {
    /// A buffer that the last head on this thread has left, for the next one.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Lets go of a buffer of which all has been used, for a connection that waits holds none. One that has been let go of already
/// must not take the place of the spare one.
pub(crate) fn let_go(read: &mut BytesMut) {
    if read.is_empty() && read.capacity() > 0 {
        SPARE.set(std::mem::take(read));
    }
}

/// Reads once. A read that fills its room makes the next one larger.
pub(crate) fn poll_read(
    stream: &impl Readable,
    cx: &mut Context<'_>,
    read: &mut BytesMut,
    room: &mut usize,
) -> Poll<io::Result<usize>> {
    loop {
        std::task::ready!(stream.poll_readable(cx))?;
        if read.capacity() == 0 {
            *read = SPARE.take();
            read.clear();
        }
        read.reserve(*room);
        match stream.read_what_is_there(read) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => let_go(read),
            done => {
                if read.len() == read.capacity() {
                    *room = (*room * 2).min(READ_MOST);
                }
                return Poll::Ready(done);
            }
        }
    }
}

/// How much is read from one socket before others have their turn.
const AT_ONCE: usize = 256 * 1024;

/// Reads once, but has others have their turn first when much has been read since they had. A socket that always has more
/// would keep its thread otherwise.
pub(crate) fn poll_read_in_turn(
    stream: &impl Readable,
    cx: &mut Context<'_>,
    read: &mut BytesMut,
    room: &mut usize,
    turn: &mut Turn,
) -> Poll<io::Result<usize>> {
    std::task::ready!(turn.poll(AT_ONCE, cx));
    let done = poll_read(stream, cx, read, room);
    match &done {
        Poll::Ready(Ok(count)) => turn.did(*count),
        _ => turn.rests(),
    }
    done
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_always_has_more_gives_way() {
        const ALL: usize = 4 * AT_ONCE;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut far = TcpStream::connect(address).await.expect("it listens");
        let (near, _) = listener.accept().await.expect("a connection");
        let writing = tokio::spawn(async move { far.write_all(&vec![b'x'; ALL]).await });
        let (mut read, mut room, mut turn, mut all) = (BytesMut::new(), READ, Turn::default(), 0);
        while all < ALL {
            let mut at_once = 0;
            all += poll_fn(|cx| {
                loop {
                    match poll_read_in_turn(&near, cx, &mut read, &mut room, &mut turn) {
                        Poll::Ready(count) => at_once += count.expect("the connection lasts"),
                        Poll::Pending if at_once == 0 => return Poll::Pending,
                        Poll::Pending => return Poll::Ready(at_once),
                    }
                    assert!(at_once < AT_ONCE + READ_MOST, "{at_once} bytes without a pause");
                    read.clear();
                    if all + at_once == ALL {
                        return Poll::Ready(at_once);
                    }
                }
            })
            .await;
        }
        writing.await.expect("it does not panic").expect("all is written");
    }

    #[tokio::test]
    async fn small_chunks_give_way_sooner() {
        const CHUNKS: usize = 60_000;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut far = TcpStream::connect(address).await.expect("it listens");
        let (near, _) = listener.accept().await.expect("a connection");
        let all = "1\r\nx\r\n".repeat(CHUNKS) + "0\r\n\r\n";
        let writing = tokio::spawn(async move { far.write_all(all.as_bytes()).await });
        let body = RequestBody::new(Arc::new(near), BytesMut::new(), Length::Chunked, false);
        let mut whole = 0;
        while !body.is_end_stream() {
            let mut at_once = 0;
            whole += poll_fn(|cx| {
                loop {
                    match body.poll_frame(cx) {
                        Poll::Ready(frame) => {
                            let frame = frame.map(|frame| frame.expect("it is well-formed"));
                            at_once += frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
                            assert!(at_once < READ_MOST / 4, "{at_once} chunks without a pause");
                            if frame.is_none() || body.is_end_stream() {
                                return Poll::Ready(at_once);
                            }
                        }
                        Poll::Pending if at_once == 0 => return Poll::Pending,
                        Poll::Pending => return Poll::Ready(at_once),
                    }
                }
            })
            .await;
        }
        assert_eq!(whole, CHUNKS);
        writing.await.expect("it does not panic").expect("all is written");
    }

    #[test]
    fn the_spare_buffer_outlives_those_that_have_let_go_already() {
        let mut read = BytesMut::with_capacity(READ);
        let_go(&mut read);
        // A connection whose answer is over lets go again when it comes to rest.
        let_go(&mut read);
        assert_eq!(SPARE.take().capacity(), READ);
    }
}
