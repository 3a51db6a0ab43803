//! An upstream socket that counts the bytes that pass, so that the proxy knows whether any of a request was written.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::readable::{Readable, read_what_is_there};
use super::turn::Turn;

/// How much of what has come for many streams is read before others have their turn.
const AT_ONCE: usize = 256 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// What has passed through a socket, readable while a connection owns the socket itself.
#[derive(Debug)]
pub(crate) struct Meter {
    stream: Stream,
    written: AtomicU64,
    local: Option<SocketAddr>,
}

impl Meter {
    /// Bytes handed to the kernel so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Writes what the kernel takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &self.stream {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        }?;
        self.count(count);
        Ok(count)
    }

    /// Waits until there may be room to write.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Only the socket's own driver writes, so a load and a store are enough.
    fn count(&self, written: usize) {
        self.written.store(self.written.load(Relaxed) + written as u64, Relaxed);
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Whether the peer has closed, or sent something unasked, that no one has read yet. The kernel is asked only when the
    /// runtime has heard something.
    pub(crate) fn stale(&self) -> bool {
        let peek = |socket: SockRef<'_>| socket.peek(&mut [MaybeUninit::uninit()]);
        let peeked = match &self.stream {
            Stream::Tcp(stream) => stream.try_io(Interest::READABLE, || peek(SockRef::from(stream))),
            Stream::Unix(stream) => stream.try_io(Interest::READABLE, || peek(SockRef::from(stream))),
        };
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Readable for Stream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_readable(cx),
            Stream::Unix(stream) => stream.poll_readable(cx),
        }
    }

    fn read_what_is_there(&self, read: &mut BytesMut) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read_what_is_there(read),
            Stream::Unix(stream) => stream.read_what_is_there(read),
        }
    }
}

/// Makes a non-blocking call, for a socket nearly always takes what it is given; when it did not, waits for it and tries again.
macro_rules! when_ready {
    ($stream:expr, $ready:ident, $cx:expr, $call:expr) => {
        loop {
            match $call {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::task::ready!($stream.$ready($cx))?,
                result => break Poll::Ready(result),
            }
        }
    };
}

/// A socket whose traffic is counted.
#[derive(Debug)]
pub(crate) struct Metered(Arc<Meter>, Turn);

impl Metered {
    /// Begins to count.
    pub(crate) fn new(stream: Stream) -> Self {
        let local = match &stream {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        };
        Self(Arc::new(Meter { stream, written: AtomicU64::new(0), local }), Turn::default())
    }

    /// The socket itself.
    pub(crate) fn stream(&self) -> &Stream {
        &self.0.stream
    }

    /// Writes what it can of some pieces.
    pub(crate) fn poll_write_all_of(&self, cx: &mut Context<'_>, pieces: [&[u8]; 3]) -> Poll<io::Result<usize>> {
        let (slices, alone) = (pieces.map(io::IoSlice::new), pieces[1].is_empty() && pieces[2].is_empty());
        self.counted(match &self.0.stream {
            Stream::Tcp(stream) if alone => when_ready!(stream, poll_write_ready, cx, stream.try_write(pieces[0])),
            Stream::Tcp(stream) => when_ready!(stream, poll_write_ready, cx, stream.try_write_vectored(&slices)),
            Stream::Unix(stream) if alone => when_ready!(stream, poll_write_ready, cx, stream.try_write(pieces[0])),
            Stream::Unix(stream) => when_ready!(stream, poll_write_ready, cx, stream.try_write_vectored(&slices)),
        })
    }

    /// The counts.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        self.0.clone()
    }
}

impl Stream {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => read_what_is_there!(stream, cx, buf),
            Stream::Unix(stream) => read_what_is_there!(stream, cx, buf),
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.1.poll(AT_ONCE, cx));
        let before = buf.filled().len();
        let read = self.0.stream.poll_read(cx, buf);
        match read {
            Poll::Ready(_) => self.1.did(buf.filled().len() - before),
            Poll::Pending => self.1.rests(),
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.counted(match &self.0.stream {
            Stream::Tcp(stream) => when_ready!(stream, poll_write_ready, cx, stream.try_write(data)),
            Stream::Unix(stream) => when_ready!(stream, poll_write_ready, cx, stream.try_write(data)),
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.counted(match &self.0.stream {
            Stream::Tcp(stream) => when_ready!(stream, poll_write_ready, cx, stream.try_write_vectored(data)),
            Stream::Unix(stream) => when_ready!(stream, poll_write_ready, cx, stream.try_write_vectored(data)),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = match &self.0.stream {
            Stream::Tcp(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            Stream::Unix(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Write),
        };
        match shut {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Metered {
    fn counted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = written {
            self.0.count(count);
        }
        written
    }
}
