//! Writes responses to an HTTP/1 connection: builds them, flushes them, and waits while the caller does not read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::RequestTraits;
use crate::downstream::DownstreamConnection;
use crate::exchange::DownstreamResponse;
use crate::exchange::download::{Broken, ResponseBody};
use crate::http::fields::{Fields, Name, Names};
use crate::http::http1::read::Length;
use crate::http::http1::write;
use crate::http::http2::outgoing::Source;
use crate::http::informational::InformationalResponses;
use crate::net::write_batch::{self, QueuedWrite, WriteTarget};
use crate::worker::context::WorkerContext;

/// Up to this size pieces of an answer are put together before they are written.
const TOGETHER: usize = 16 * 1024;

/// A caller's socket while answers are written to it.
pub(super) struct ResponseWriter {
    pub(super) stream: Arc<TcpStream>,
    pub(super) out: Vec<u8>,
    /// The last answer, which may not have left yet.
    pub(super) queued: Option<QueuedWrite>,
    pub(super) informational: InformationalResponses,
    context: Rc<WorkerContext>,
    /// Since the caller has not read for too long, or its answer's time is over, nothing more is written.
    pub(super) broken: bool,
}

impl ResponseWriter {
    pub(super) fn new(
        stream: Arc<TcpStream>,
        informational: InformationalResponses,
        context: Rc<WorkerContext>,
    ) -> Self {
        Self { stream, out: Vec::new(), queued: None, informational, context, broken: false }
    }

    /// Writes an answer, and tells whether another may follow it.
    pub(super) async fn answer(
        &mut self,
        answer: DownstreamResponse,
        asked: RequestTraits,
        connection: &DownstreamConnection,
    ) -> Result<bool, ()> {
        let DownstreamResponse { status, fields, mut body } = answer;
        let length = length_of(status, &body, asked);
        let closes = fields.get(Name::Connection).is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        let keeps = asked.keeps && !closes && length != Some(Length::UntilClose) && !connection.conn_state.closing();
        self.head(status, &fields, length);
        if !fields.has(Name::Date) {
            write::field(&mut self.out, Name::Date.text().as_bytes(), &connection.context.date());
        }
        match (keeps, asked.old) {
            (false, _) if !closes => write::field(&mut self.out, b"connection", b"close"),
            (true, true) => write::field(&mut self.out, b"connection", b"keep-alive"),
            _ => {}
        }
        self.out.extend_from_slice(b"\r\n");
        let bare = asked.to_head || bodiless(status);
        let whole = if bare { true } else { self.body(&mut body, length == Some(Length::Chunked)).await? };
        // Before the last of the answer is sent, so that whoever has it finds it accounted for.
        drop(body);
        if !(whole && keeps && self.queue_write()) {
            self.flush().await.map_err(|_| ())?;
        }
        if whole { Ok(keeps) } else { Err(()) }
    }

    /// Has what has been put together leave with other answers, if that can be.
    fn queue_write(&mut self) -> bool {
        if self.queued.is_some() {
            return false;
        }
        match write_batch::queue_write(WriteTarget::Caller(self.stream.clone()), std::mem::take(&mut self.out)) {
            Ok(queued) => self.queued = Some(queued),
            Err(out) => self.out = out,
        }
        self.queued.is_some()
    }

    /// Writes a head, all but its end.
    pub(super) fn head(&mut self, status: u16, fields: &Fields, length: Option<Length>) {
        if self.out.capacity() == 0 {
            self.out = write_batch::buffer();
        }
        self.out.reserve(fields.size() + 160);
        write::status_line(&mut self.out, status);
        let drop_length = const { Names::of(&[Name::ContentLength]) };
        let keep_length = matches!(length, None | Some(Length::Exactly(_))) && status != 204;
        fields.write(&mut self.out, if keep_length { Names::default() } else { drop_length });
        if let Some(length) = length {
            write::length(&mut self.out, length, fields.has(Name::ContentLength));
        }
    }

    /// Passes a body on as it comes. False when it broke off.
    async fn body(&mut self, body: &mut ResponseBody, chunked: bool) -> Result<bool, ()> {
        loop {
            let frame = match poll_fn(|cx| Poll::Ready(poll_frame(body, cx))).await {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    self.flush_with(Bytes::new(), Some(body)).await.map_err(|_| ())?;
                    let next = poll_fn(|cx| match poll_frame(body, cx) {
                        Poll::Ready(frame) => Poll::Ready(Some(frame)),
                        Poll::Pending => self.informational.poll_left(cx).map(|()| None),
                    });
                    next.await.ok_or(())?
                }
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.data(data, chunked, body).await.map_err(|_| ())?,
                Some(Ok(Err(frame))) => {
                    if let (true, Some(trailers)) = (chunked, frame.trailers_ref()) {
                        write::trailers(&mut self.out, trailers);
                        return Ok(true);
                    }
                }
                Some(Err(_)) => return Ok(false),
                None => {
                    if chunked {
                        self.out.extend_from_slice(write::LAST_CHUNK);
                    }
                    return Ok(true);
                }
            }
        }
    }

    async fn data(&mut self, data: Bytes, chunked: bool, body: &mut ResponseBody) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if chunked {
            write::chunk_size(&mut self.out, data.len());
        }
        if self.out.len() + data.len() <= TOGETHER {
            self.out.extend_from_slice(&data);
        } else {
            self.flush_with(data, Some(body)).await?;
        }
        if chunked {
            self.out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.flush_with(Bytes::new(), None).await
    }

    /// Writes what has been put together, and a piece behind it; before these, what was posted and has not left. `body` is where
    /// it comes from, if there is more of that.
    async fn flush_with(&mut self, mut piece: Bytes, mut body: Option<&mut ResponseBody>) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let Some(mut before) = self.queued.take().and_then(|mut queued| queued.take_back()) {
            before.append(&mut self.out);
            self.out = before;
        }
        let mut written = 0;
        while written < self.out.len() || !piece.is_empty() {
            let head = &self.out[written..];
            let wrote = if piece.is_empty() {
                self.stream.try_write(head)
            } else {
                self.stream.try_write_vectored(&[io::IoSlice::new(head), io::IoSlice::new(&piece)])
            };
            match wrote {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    let of_head = count.min(head.len());
                    written += of_head;
                    piece.advance(count - of_head);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.room(body.as_deref_mut()).await?,
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Waits until the caller has read some of what was written, for as long as it is given. A body that waits meanwhile has other
    /// things to do.
    async fn room(&mut self, mut body: Option<&mut ResponseBody>) -> io::Result<()> {
        let (context, stream) = (&self.context, &self.stream);
        let until = context.shared.settings.stalled_reader.map(|allowed| context.clock.now() + allowed);
        if let Some(body) = body.as_deref_mut() {
            body.read_on();
        }
        let mut timer = None;
        let room = poll_fn(|cx| {
            if let Poll::Ready(ready) = stream.poll_write_ready(cx) {
                return Poll::Ready(Some(ready));
            }
            if let Some(body) = body.as_deref_mut() {
                return body.poll_aside(cx).map(|()| None);
            }
            let Some(until) = until else { return Poll::Pending };
            ready!(timer.get_or_insert_with(|| context.timers.take(&context.clock, until)).poll_until(
                &context.clock,
                until,
                cx
            ));
            context.telemetry.stalled("reader");
            Poll::Ready(None)
        });
        let room = room.await;
        if let Some(timer) = timer {
            context.timers.put(timer);
        }
        if room.is_none() {
            self.broken = true;
            // What the caller has not read it will not read: the kernel need not keep it either.
            let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
        }
        room.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// `None` when there is no body, and the head may say what it likes.
fn length_of(status: u16, body: &ResponseBody, asked: RequestTraits) -> Option<Length> {
    if asked.to_head || bodiless(status) {
        return None;
    }
    match body.size_hint().exact() {
        Some(length) => Some(Length::Exactly(length)),
        None if asked.old => Some(Length::UntilClose),
        None => Some(Length::Chunked),
    }
}

/// RFC 9112 §6.3.
fn bodiless(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

fn poll_frame(body: &mut ResponseBody, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
    Pin::new(body).poll_frame(cx)
}
