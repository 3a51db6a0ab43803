//! A downstream socket for HTTP/2 and tunnels.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::net::readable::read_what_is_there;
use crate::net::turn::give_way;
use crate::worker::connection_state::ConnectionState;

/// A caller's socket, for HTTP/2 and tunnels. What was read to tell the protocol is read again first.
pub(crate) struct Downstream {
    stream: Arc<TcpStream>,
    first: BytesMut,
    /// Who is told of what passes through a tunnel.
    conn_state: Option<Rc<ConnectionState>>,
    /// How much may be read of it before others have their turn, where somebody says when that was.
    turn: Option<Rc<Cell<usize>>>,
}

impl Downstream {
    /// A socket from which `first` has been read.
    pub(super) fn new(stream: Arc<TcpStream>, first: BytesMut) -> Self {
        Self { stream, first, conn_state: None, turn: None }
    }

    /// A socket that becomes a tunnel.
    pub(super) fn tunnel(stream: Arc<TcpStream>, conn_state: &Rc<ConnectionState>) -> Self {
        conn_state.tunnels();
        Self { stream, first: BytesMut::new(), conn_state: Some(conn_state.clone()), turn: None }
    }

    /// Has no more read of it than there is in this cell, which whoever reads fills again with each turn.
    pub(super) fn in_turns(&mut self) -> Rc<Cell<usize>> {
        self.turn.get_or_insert_default().clone()
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
        if this.turn.as_ref().is_some_and(|turn| turn.get() == 0) {
            return give_way(cx).map(Ok);
        }
        let (stream, before) = (&this.stream, buf.filled().len());
        let read = read_what_is_there!(stream, cx, buf);
        if let Some(turn) = &this.turn {
            turn.set(turn.get().saturating_sub(buf.filled().len() - before));
        }
        if let (Some(conn_state), Poll::Ready(_)) = (&this.conn_state, &read) {
            conn_state.moves();
        }
        read
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
                written => {
                    if let Some(conn_state) = &self.conn_state {
                        conn_state.moves();
                    }
                    return Poll::Ready(written);
                }
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
