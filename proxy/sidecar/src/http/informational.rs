//! Informational responses (1xx) on their way downstream, such as 103 Early Hints and 100 Continue (RFC 9110 §15.2),
//! and whether the caller is still there.
//!
//! A caller that has closed its own direction may still wait for its response, or be gone. Nothing on the wire tells
//! the one from the other until something is written. So it is sent `100 Continue`, which any HTTP/1.1 client must
//! ignore. One that is gone answers with RST.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use clap::ValueEnum;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::fields::{Fields, Names};
use super::hop_by_hop::strip_hop_by_hop;
use super::http1::request_body::RequestBody;
use super::http1::write;

/// The most bytes of interim answers that wait for a caller who does not read; beyond it they are dropped.
const WAITING: usize = 64 * 1024;

/// What the end of a caller's own direction means, once its request is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum HalfClose {
    /// It waits for its answer. Whether it is still there is asked with `100 Continue` before anything is sent again or late.
    Serve,
    /// It has left, as Envoy takes it: nothing more is done for it.
    Abort,
}

/// The way by which interim answers reach a caller.
#[derive(Clone, Debug)]
pub(crate) struct InformationalResponses(Rc<Way>);

#[derive(Debug)]
struct Way {
    to: Caller,
    half_close: HalfClose,
    /// Whether the request is of a version that knows of interim answers.
    interim: Cell<bool>,
    /// How often the caller has been found with its own direction closed, while an answer was made.
    closed: Cell<u32>,
    /// Whether the caller has been told to send its body.
    gave_leave: Cell<bool>,
}

#[derive(Debug)]
enum Caller {
    /// An HTTP/1 connection, and what the kernel has not taken yet, for whoever writes the answer.
    Wire(Arc<TcpStream>, RefCell<Vec<u8>>),
    /// A stream, whose task sends them when it looks next; it is the one that they come in.
    Stream(RefCell<Vec<(u16, Fields)>>),
}

/// What can be told of a caller without asking it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    /// Its direction is open.
    There,
    /// It has closed its own direction.
    Closed,
    /// Its connection is broken.
    Gone,
}

/// After how many looks a caller that has closed its own direction is asked once more whether it is there.
const ASK_AGAIN: u32 = 20;

impl InformationalResponses {
    /// A caller's connection on which nothing is being written.
    pub(crate) fn new(stream: Arc<TcpStream>, half_close: HalfClose) -> Self {
        Self::to(Caller::Wire(stream, RefCell::default()), half_close)
    }

    /// A caller's stream.
    pub(crate) fn for_stream() -> Self {
        // The end of a stream's own direction is not the end of its caller.
        Self::to(Caller::Stream(RefCell::default()), HalfClose::Serve)
    }

    fn to(to: Caller, half_close: HalfClose) -> Self {
        let (interim, closed) = (Cell::new(true), Cell::new(0));
        Self(Rc::new(Way { to, half_close, interim, closed, gave_leave: Cell::new(false) }))
    }

    /// Begins with another request of the caller's. `interim` tells that its version knows of interim answers.
    pub(crate) fn begin(&self, interim: bool) {
        self.0.interim.set(interim);
        self.0.closed.set(0);
        self.0.gave_leave.set(false);
    }

    /// Whether the caller has been told to send its body.
    pub(crate) fn gave_leave(&self) -> bool {
        self.0.gave_leave.get()
    }

    /// Whether the caller has left. One that has closed its own direction only is asked; its RST may take a moment.
    pub(crate) fn caller_left(&self) -> bool {
        match self.presence() {
            Presence::There => false,
            Presence::Gone => true,
            Presence::Closed if self.0.half_close == HalfClose::Abort => true,
            Presence::Closed => {
                self.pass_on(100, Fields::default());
                self.presence() == Presence::Gone
            }
        }
    }

    /// The same, looked at now and then while an answer is made. A caller that gets its answer soon is not asked anything.
    pub(crate) fn has_left_meanwhile(&self) -> bool {
        if self.presence() == Presence::There {
            return false;
        }
        let closed = self.0.closed.get();
        self.0.closed.set(closed + 1);
        closed % ASK_AGAIN == 1 && self.caller_left()
    }

    /// Waits for an answer, unless the caller leaves meanwhile.
    pub(crate) async fn until_left<T>(
        &self,
        mut answering: impl Future<Output = T> + Unpin,
        body: Option<&RequestBody>,
    ) -> Option<T> {
        poll_fn(|cx| match Pin::new(&mut answering).poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            // While the body comes, whoever reads it sees its end.
            Poll::Pending if self.0.half_close == HalfClose::Abort && body.is_none_or(RequestBody::is_end_stream) => {
                self.poll_left(cx).map(|()| None)
            }
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Ready when the caller has left, where the end of its own direction says so. The request's body must be over.
    pub(crate) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.half_close == HalfClose::Serve {
            return Poll::Pending;
        }
        // An error shows in the socket's presence too.
        if let Caller::Wire(stream, _) = &self.0.to {
            let _ = ready!(stream.poll_read_ready(cx));
        }
        // Whoever asks on is there, and is not watched until its next request is read.
        if self.presence() == Presence::There { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Nothing is asked of the kernel unless it has told that there is something.
    fn presence(&self) -> Presence {
        let Caller::Wire(stream, _) = &self.0.to else { return Presence::There };
        let peeked = stream.try_io(Interest::READABLE, || SockRef::from(&**stream).peek(&mut [MaybeUninit::uninit()]));
        match peeked {
            // A connection that was reset after it had been closed is at its end too, and has no peer any more.
            Ok(0) if stream.peer_addr().is_err() => Presence::Gone,
            Ok(0) => Presence::Closed,
            Ok(_) => Presence::There,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Presence::There,
            Err(_) => Presence::Gone,
        }
    }

    /// Passes an interim answer on.
    pub(crate) fn pass_on(&self, status: u16, mut fields: Fields) {
        if !self.0.interim.get() {
            return;
        }
        strip_hop_by_hop(&mut fields);
        match &self.0.to {
            Caller::Wire(stream, left) => {
                if write_now(stream, &mut left.borrow_mut(), status, &fields) && status == 100 {
                    self.0.gave_leave.set(true);
                }
            }
            Caller::Stream(waiting) => {
                let mut waiting = waiting.borrow_mut();
                let held: usize = waiting.iter().map(|(_, fields)| fields.size()).sum();
                if held + fields.size() <= WAITING {
                    waiting.push((status, fields));
                }
            }
        }
    }

    /// What is left to be written before the answer.
    pub(crate) fn take(&self) -> Vec<u8> {
        match &self.0.to {
            Caller::Wire(_, left) => std::mem::take(&mut left.borrow_mut()),
            Caller::Stream(_) => Vec::new(),
        }
    }

    /// What waits for a stream's task.
    pub(crate) fn each(&self, mut send: impl FnMut(u16, Fields)) {
        if let Caller::Stream(waiting) = &self.0.to {
            let mut waiting = waiting.borrow_mut();
            if !waiting.is_empty() {
                waiting.drain(..).for_each(|(status, fields)| send(status, fields));
            }
        }
    }
}

/// False when there is no room for it.
fn write_now(stream: &TcpStream, left: &mut Vec<u8>, status: u16, fields: &Fields) -> bool {
    if left.len() + fields.size() > WAITING {
        return false;
    }
    write::status_line(left, status);
    fields.write(left, Names::default());
    left.extend_from_slice(b"\r\n");
    loop {
        match stream.try_write(left) {
            Ok(0) => return true,
            Ok(count) => drop(left.drain(..count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What is left goes before the answer; a caller that is gone shows there too.
            Err(_) => return true,
        }
        if left.is_empty() {
            return true;
        }
    }
}
