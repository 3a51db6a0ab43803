//! A caller's socket, and what must be known of the talk on it: which protocol, since when a head is awaited, whether a
//! head was ambiguous.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use leeboard_policy::time::{Span, Time};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::smuggling;
use crate::clock::Clock;
use crate::upstream::socket::read_what_is_there;

/// What an HTTP/2 connection begins with. RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at first: most heads whole, so that what is ambiguous in them is seen.
const FIRST_READ: usize = 4096;

/// The talk on one connection.
pub(crate) struct Talk {
    clock: Clock,
    /// When the first byte of a head came that is not complete yet.
    head_since: Cell<Option<Time>>,
    requests: Cell<u32>,
    ambiguous: Cell<bool>,
    late: Notify,
}

impl Talk {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            head_since: Cell::new(None),
            requests: Cell::new(0),
            ambiguous: Cell::new(false),
            late: Notify::new(),
        }
    }

    fn heard(&self, bytes: &[u8]) {
        if self.requests.get() > 0 {
            // It belongs to a request that is being served, or waits for the end of that.
            return;
        }
        if self.head_since.get().is_none() {
            self.head_since.set(Some(self.clock.now()));
        }
        if smuggling::ambiguous(bytes) {
            self.ambiguous.set(true);
        }
    }

    /// A head is complete. Tells whether it was ambiguous.
    pub(super) fn request_begins(&self) -> bool {
        self.head_since.set(None);
        self.ambiguous.take()
    }

    /// Counts a request until its exchange is over.
    pub(super) fn request(self: &Rc<Self>) -> Asked {
        self.requests.set(self.requests.get() + 1);
        Asked(self.clone())
    }

    /// Waits until a head has been awaited for too long.
    pub(super) async fn late(&self) {
        self.late.notified().await;
    }
}

/// A request that is being served.
pub(crate) struct Asked(Rc<Talk>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
    }
}

/// All talks of a worker, for one look at a time instead of a timer for each.
#[derive(Default)]
pub(crate) struct Talks(RefCell<Vec<Weak<Talk>>>);

impl Talks {
    /// Begins a talk.
    pub(crate) fn begin(&self, clock: Clock) -> Rc<Talk> {
        let talk = Rc::new(Talk::new(clock));
        self.0.borrow_mut().push(Rc::downgrade(&talk));
        talk
    }

    /// Ends those whose head has taken longer than allowed; `None` allows any time.
    pub(crate) fn hurry(&self, now: Time, allowed: Option<Span>) {
        self.0.borrow_mut().retain(|talk| {
            let Some(talk) = talk.upgrade() else { return false };
            if let Some(allowed) = allowed
                && talk.head_since.get().is_some_and(|since| now - since > allowed)
            {
                talk.late.notify_one();
            }
            true
        });
    }
}

/// A caller's socket. What was read to tell the protocol is read again first.
pub(crate) struct Downstream {
    stream: Rc<TcpStream>,
    first: Bytes,
    /// HTTP/2 needs none of what is watched for in HTTP/1.
    talk: Option<Rc<Talk>>,
}

impl Downstream {
    /// Waits for the first bytes and tells by them whether they are HTTP/2.
    pub(crate) async fn detect(stream: Rc<TcpStream>, talk: Rc<Talk>) -> io::Result<(Self, bool)> {
        let mut first = Vec::new();
        let http2 = loop {
            stream.readable().await?;
            first.reserve(FIRST_READ);
            match stream.try_read_buf(&mut first) {
                Ok(0) => break false,
                Ok(_) => {
                    let seen = first.len().min(PREFACE.len());
                    if first[..seen] != PREFACE[..seen] {
                        break false;
                    }
                    if seen == PREFACE.len() {
                        break true;
                    }
                    talk.head_since.set(talk.head_since.get().or(Some(talk.clock.now())));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        };
        if http2 {
            talk.head_since.set(None);
        } else if !first.is_empty() {
            talk.heard(&first);
        }
        Ok((Self { stream, first: first.into(), talk: (!http2).then_some(talk) }, http2))
    }
}

impl Downstream {
    /// From now on it carries no HTTP, so that nothing is looked for in it.
    pub(super) fn forget_http(&mut self) {
        self.talk = None;
    }
}

impl AsyncRead for Downstream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let count = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..count]);
            this.first.advance(count);
            if this.first.is_empty() {
                // The room that they took is given back.
                this.first = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let stream = &this.stream;
        let done: Poll<io::Result<()>> = read_what_is_there!(stream, cx, buf);
        std::task::ready!(done)?;
        let read = &buf.filled()[before..];
        if let (Some(talk), false) = (&this.talk, read.is_empty()) {
            talk.heard(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl Downstream {
    fn write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream| stream.try_write(data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(cx, |stream| stream.try_write_vectored(data))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
