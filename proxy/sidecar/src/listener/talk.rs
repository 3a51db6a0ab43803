//! A caller's socket, and what must be known of the talk on it: since when a head is awaited, and whether it is to end.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use leeboard_policy::time::Time;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::drain::{Manner, Side, Stance};
use crate::upstream::socket::read_what_is_there;

/// The talk on one connection.
pub(crate) struct Talk {
    side: Side,
    /// When the first byte of a head came that is not complete yet.
    head_since: Cell<Option<Time>>,
    closing: Cell<bool>,
    /// Whom to wake when that is set.
    waiting: RefCell<Option<Waker>>,
}

impl Talk {
    /// A part of a head is here, and the rest is awaited: since when.
    pub(super) fn mid_head_since(&self, now: Time) -> Time {
        let since = self.head_since.get().unwrap_or(now);
        self.head_since.set(Some(since));
        since
    }

    /// The head is complete.
    pub(super) fn head_over(&self) {
        self.head_since.set(None);
    }

    /// Whether this is to be the last request.
    pub(super) fn closing(&self) -> bool {
        self.closing.get()
    }

    /// Waits to be told that the connection is to end before its next request.
    pub(super) fn poll_cue(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.closing.get() && self.head_since.get().is_none() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn tell_to_close(&self) {
        self.closing.set(true);
        if let Some(waker) = &*self.waiting.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// All talks of a worker.
#[derive(Default)]
pub(crate) struct Talks {
    list: RefCell<Vec<Weak<Talk>>>,
    stance: Cell<Option<Stance>>,
}

impl Talks {
    /// Begins a talk.
    pub(crate) fn begin(&self, side: Side) -> Rc<Talk> {
        let closing = self.stance.get().is_some_and(|stance| stance.of(side) == Manner::Closing);
        let talk = Rc::new(Talk {
            side,
            head_since: Cell::new(None),
            closing: Cell::new(closing),
            waiting: RefCell::new(None),
        });
        self.list.borrow_mut().push(Rc::downgrade(&talk));
        talk
    }

    /// Forgets those that are over.
    pub(crate) fn tidy(&self) {
        let mut list = self.list.borrow_mut();
        list.retain(|talk| talk.strong_count() > 0);
        if list.capacity() > 64 && list.capacity() / 4 > list.len() {
            list.shrink_to(64);
        }
    }

    /// Tells the talks of each side how the process means to end.
    pub(crate) fn heed(&self, stance: Stance) {
        self.stance.set(Some(stance));
        let list = self.list.borrow();
        for talk in list.iter().filter_map(Weak::upgrade).filter(|talk| stance.of(talk.side) == Manner::Closing) {
            talk.tell_to_close();
        }
    }
}

/// A caller's socket, for HTTP/2 and tunnels. What was read to tell the protocol is read again first.
pub(crate) struct Downstream {
    stream: Arc<TcpStream>,
    first: BytesMut,
}

impl Downstream {
    /// A socket from which `first` has been read.
    pub(super) fn new(stream: Arc<TcpStream>, first: BytesMut) -> Self {
        Self { stream, first }
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
                this.first = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let stream = &this.stream;
        read_what_is_there!(stream, cx, buf)
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
