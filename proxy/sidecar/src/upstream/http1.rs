//! An HTTP/1.1 connection to an endpoint, driven by the task that uses it. It carries one request at a time, whose body
//! may still be sent while the response arrives.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};
use leeboard_policy::verdict::Failure;

use crate::body::upstream::UpstreamBody;
use crate::http::http1::body::Decoder;
use crate::http::http1::read::{HeadRules, HeadScanner, Length, Response};
use crate::http::http1::request_body::{let_go, poll_read, poll_read_in_turn};
use crate::http::http1::{READ, write};
use crate::net::turn::Turn;
use crate::net::upstream_socket::Metered;
use crate::net::write_batch::{self, QueuedWrite, WriteTarget};
use crate::request::upstream::Framing;

/// The most that a kept connection may hold on to for its next head.
const KEPT: usize = 2 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Http1Connection {
    socket: Metered,
    heads: HeadRules,
    /// How far the next head has been looked at.
    pieces: HeadScanner,
    read: BytesMut,
    room: usize,
    turn: Turn,
    /// What is to be written: the head or a chunk's beginning, then a piece of the body, then a line end.
    out: Vec<u8>,
    written: usize,
    piece: Bytes,
    line_end: bool,
    sending: Sending,
    body: UpstreamBody,
    decoder: Decoder,
    to_head: bool,
    /// How many heads have come before that of the response.
    interim: u8,
    keeps: bool,
}

/// The most heads that may come before that of the response.
const MOST_INTERIM: u8 = 64;

/// How far a request has gone up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sending {
    /// So much of its body is to come.
    Exactly(u64),
    /// Its body comes in chunks.
    Chunks,
    /// What is left has only to be written.
    Last,
    /// All of it is with the kernel.
    Done,
    /// It will never be whole.
    Broken,
}

impl Http1Connection {
    /// A connection that has carried nothing.
    pub(crate) fn new(socket: Metered, heads: HeadRules) -> Self {
        Self {
            socket,
            heads,
            pieces: HeadScanner::default(),
            read: BytesMut::new(),
            room: READ,
            turn: Turn::default(),
            out: Vec::new(),
            written: 0,
            piece: Bytes::new(),
            line_end: false,
            sending: Sending::Done,
            body: UpstreamBody::Empty,
            decoder: Decoder::done(),
            to_head: false,
            interim: 0,
            keeps: true,
        }
    }

    /// Begins a request. `head` writes its head, all but what says how long its body is.
    pub(crate) fn begin(&mut self, body: UpstreamBody, framing: Framing, head: impl FnOnce(&mut Vec<u8>)) {
        if self.out.capacity() == 0 {
            self.out = write_batch::buffer();
        }
        self.out.clear();
        self.written = 0;
        head(&mut self.out);
        let length = match (body.is_end_stream(), body.size_hint().exact()) {
            (true, _) => framing.names_no_body.then_some(Length::Exactly(0)),
            (false, Some(length)) => Some(Length::Exactly(length)),
            (false, None) => Some(Length::Chunked),
        };
        self.sending = match length {
            None | Some(Length::Exactly(0)) => Sending::Last,
            Some(Length::Exactly(length)) => Sending::Exactly(length),
            Some(Length::Chunked | Length::UntilClose) => Sending::Chunks,
        };
        if let Some(length) = length {
            write::length(&mut self.out, length, framing.names_length);
        }
        self.out.extend_from_slice(b"\r\n");
        self.body = body;
        self.to_head = framing.to_head;
        self.pieces = HeadScanner::default();
        self.interim = 0;
        self.keeps = false;
        self.decoder = Decoder::done();
    }

    /// Sends a request that is only a head together with others, if that can be. What is returned is held until the answer comes.
    pub(crate) fn queue_write(&mut self) -> Option<QueuedWrite> {
        if self.sending != Sending::Last {
            return None;
        }
        match write_batch::queue_write(WriteTarget::Endpoint(self.socket.meter()), std::mem::take(&mut self.out)) {
            Ok(queued) => {
                self.sending = Sending::Done;
                Some(queued)
            }
            Err(out) => {
                self.out = out;
                None
            }
        }
    }

    /// The request that was posted has not left whole: no other can follow it.
    pub(crate) fn not_sent(&mut self) {
        self.sending = Sending::Broken;
    }

    /// The head of the response. `interim` is given those that come before it.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: &mut dyn FnMut(Response),
    ) -> Poll<Result<Response, Failure>> {
        if self.poll_send(cx).is_ready() && self.sending == Sending::Broken && self.upload_broke() {
            return Poll::Ready(Err(Failure::Terminated));
        }
        loop {
            match self.pieces.response(&mut self.read, self.to_head, &self.heads) {
                Ok(Some(response)) if response.status < 200 && response.status != 101 => {
                    self.interim += 1;
                    if self.interim > MOST_INTERIM {
                        return Poll::Ready(Err(Failure::Protocol));
                    }
                    interim(response);
                    continue;
                }
                Ok(Some(response)) => {
                    self.keeps = response.keeps && response.status != 101;
                    self.decoder = response.length.into();
                    self.forget_empty();
                    return Poll::Ready(Ok(response));
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(Failure::Protocol)),
            }
            match std::task::ready!(poll_read(self.socket.stream(), cx, &mut self.read, &mut self.room)) {
                Ok(0) | Err(_) if self.read.is_empty() => return Poll::Ready(Err(Failure::Terminated)),
                // Envoy: a head that is cut is no HTTP.
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::Protocol)),
                Ok(_) => {}
            }
        }
    }

    /// Sends what can be sent of the request, while nobody asks for the response.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.sending, Sending::Done | Sending::Broken) {
            // What has become of it is told by `sending`.
            let _ = self.poll_send(cx);
        }
    }

    /// The next frame of the response.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.poll_upload(cx);
        loop {
            let taken = self.decoder.take(&mut self.read);
            self.turn.did(self.decoder.effort());
            match taken {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.decoder.is_done() => {
                    self.forget_empty();
                    return Poll::Ready(None);
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Some(Err(self.broken(Failure::Protocol)))),
            }
            let stream = self.socket.stream();
            match std::task::ready!(poll_read_in_turn(stream, cx, &mut self.read, &mut self.room, &mut self.turn)) {
                Ok(0) if self.decoder.closed() => return Poll::Ready(None),
                Err(_) if self.decoder.ends_with_the_connection() => {
                    return Poll::Ready(Some(Err(self.broken(Failure::Terminated))));
                }
                // Envoy: a body that is shorter than was said is no HTTP, whichever way its connection ended.
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(self.broken(Failure::Protocol)))),
                Ok(_) => {}
            }
        }
    }

    /// Whether the response's body is over.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.decoder.is_done()
    }

    /// How long the rest of the response's body is, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.decoder.left()
    }

    /// Whether another request can follow: all is sent, all is read, and nothing says otherwise. What it holds for a request is
    /// let go.
    pub(crate) fn rest(&mut self) -> bool {
        let free = self.keeps && self.decoder.is_done() && self.sending == Sending::Done && self.read.is_empty();
        self.body = UpstreamBody::Empty;
        self.room = READ;
        let_go(&mut self.read);
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        free
    }

    /// The socket, and what has been read from it: the connection leaves HTTP.
    pub(crate) fn into_socket(self) -> (Metered, Bytes) {
        (self.socket, self.read.freeze())
    }

    fn broken(&mut self, failure: Failure) -> Failure {
        self.keeps = false;
        failure
    }

    fn forget_empty(&mut self) {
        let_go(&mut self.read);
    }

    /// A piece was promised and will not come. When instead the socket takes no more, an answer may still be in it.
    fn upload_broke(&self) -> bool {
        self.out.is_empty() && self.piece.is_empty()
    }

    /// Sends what can be sent; ready once there is no more to do.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sending == Sending::Done || self.sending == Sending::Broken {
                return Poll::Ready(());
            }
            if std::task::ready!(self.poll_write(cx)).is_err() {
                self.sending = Sending::Broken;
                return Poll::Ready(());
            }
            if self.sending == Sending::Last {
                self.sending = Sending::Done;
                return Poll::Ready(());
            }
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.send_frame(frame),
                None => match self.sending {
                    Sending::Chunks => {
                        self.out.extend_from_slice(write::LAST_CHUNK);
                        self.sending = Sending::Last;
                    }
                    _ => self.sending = Sending::Broken,
                },
                Some(Err(_)) => self.sending = Sending::Broken,
            }
        }
    }

    fn send_frame(&mut self, frame: Frame<Bytes>) {
        match (frame.into_data(), self.sending) {
            (Ok(data), _) if data.is_empty() => {}
            (Ok(data), Sending::Exactly(left)) => {
                let left = left.checked_sub(data.len() as u64);
                self.piece = data;
                self.sending = match left {
                    None => Sending::Broken,
                    Some(0) => Sending::Last,
                    Some(left) => Sending::Exactly(left),
                };
            }
            (Ok(data), _) => {
                write::chunk_size(&mut self.out, data.len());
                self.piece = data;
                self.line_end = true;
            }
            (Err(frame), Sending::Chunks) => {
                if let Some(trailers) = frame.trailers_ref() {
                    write::trailers(&mut self.out, trailers);
                    self.sending = Sending::Last;
                }
            }
            (Err(_), _) => {}
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let line_end: &[u8] = if self.line_end { b"\r\n" } else { b"" };
            let head = &self.out[self.written..];
            if head.is_empty() && self.piece.is_empty() && line_end.is_empty() {
                self.out.clear();
                self.written = 0;
                self.piece = Bytes::new();
                return Poll::Ready(Ok(()));
            }
            let mut count = std::task::ready!(self.socket.poll_write_all_of(cx, [head, &self.piece, line_end]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = count.min(head.len());
            self.written += of_head;
            count -= of_head;
            let of_piece = count.min(self.piece.len());
            self.piece.advance(of_piece);
            count -= of_piece;
            if count > 0 {
                // A line end that is cut in two goes on as a piece of its own.
                self.line_end = false;
                self.piece = Bytes::from_static(&b"\r\n"[count..]);
            }
        }
    }
}
