//! Reading from sockets without blocking, and without system calls that would find nothing.

use std::io;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::net::{TcpStream, UnixStream};

/// A socket that can be read without waiting.
pub(crate) trait Readable {
    /// Waits until there may be something to read.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads into the room that there is. When that was more than enough, the runtime is told that the socket is empty, as it
    /// tells itself in its own reads, which saves the call that would find nothing more.
    fn read_what_is_there(&self, read: &mut BytesMut) -> io::Result<usize>;
}

macro_rules! readable {
    ($($stream:ty),*) => { $(
        impl Readable for $stream {
            fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_read_ready(cx)
            }

            fn read_what_is_there(&self, read: &mut BytesMut) -> io::Result<usize> {
                let mut count = Err(io::ErrorKind::WouldBlock.into());
                let _ = self.try_io(tokio::io::Interest::READABLE, || {
                    count = self.try_read_buf(read);
                    match count {
                        Ok(got) if got > 0 && read.len() < read.capacity() => {
                            Err::<(), io::Error>(io::ErrorKind::WouldBlock.into())
                        }
                        _ => Ok(()),
                    }
                });
                count
            }
        }
    )* };
}

readable!(TcpStream, UnixStream);

/// Reads once. When that was less than there is room for, the socket is told by `WouldBlock` that it is empty, as tokio
/// does in its own reads, which saves the call that would find nothing more.
macro_rules! read_what_is_there {
    ($stream:expr, $cx:expr, $buf:expr) => {
        loop {
            std::task::ready!($stream.poll_read_ready($cx))?;
            let before = $buf.filled().len();
            let read = $stream.try_io(tokio::io::Interest::READABLE, || {
                let count = $stream.try_read_buf($buf)?;
                if count > 0 && $buf.remaining() > 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
            });
            match read {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break Poll::Ready(Err(error)),
                Err(_) if $buf.filled().len() == before => {}
                _ => break Poll::Ready(Ok(())),
            }
        }
    };
}
pub(crate) use read_what_is_there;
