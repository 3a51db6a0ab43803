//! A body that is sent on an HTTP/2 stream, upstream or downstream.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};
use http_body::Body;

use super::send_buffer::{Piece, StreamSendBuffer};

/// A body that can be sent.
pub(crate) trait Source: Body<Data = Bytes> + Unpin {
    /// Nobody takes the body just now: what comes meanwhile may be taken in. Ready when the body breaks off.
    fn poll_aside(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// How much has been taken in.
    fn unwanted(&self) -> usize {
        0
    }
}

/// Who counts what waits to be sent.
pub(crate) trait Account {
    /// A piece that is counted.
    type Piece: Buf;

    /// Counts a piece.
    fn piece(&self, data: Bytes) -> Self::Piece;

    /// Whether nothing should be queued for which the peer has no room.
    fn is_tight(&self) -> bool {
        false
    }

    /// Waits until another piece may be queued.
    fn poll_turn(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// The peer takes nothing just now, and so much has come meanwhile. Ready when the body is to be given up.
    fn poll_given_up(&self, _: usize, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Nobody counts.
impl Account for () {
    type Piece = Bytes;

    fn piece(&self, data: Bytes) -> Bytes {
        data
    }
}

impl Account for Rc<StreamSendBuffer> {
    type Piece = Piece;

    fn piece(&self, data: Bytes) -> Piece {
        Piece::new(data, self)
    }

    fn is_tight(&self) -> bool {
        StreamSendBuffer::is_tight(self)
    }

    fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        StreamSendBuffer::poll_turn(self, cx)
    }

    fn poll_given_up(&self, gathered: usize, cx: &mut Context<'_>) -> Poll<()> {
        self.stalls(gathered, cx);
        if self.is_given_up() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A body on its way out. Once nobody reads from the stream either, dropping it resets a stream that is not over.
#[derive(Debug)]
pub(crate) struct Outgoing<B, A: Account = ()> {
    stream: SendStream<A::Piece>,
    body: B,
    account: A,
    /// A piece that waits for room, and whether it is the last.
    piece: Option<(Bytes, bool)>,
    /// Whether room has been asked for it.
    asked: bool,
    /// Whether a piece has been handed to the stream.
    begun: bool,
}

/// Why a body will not be sent to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SendError {
    /// It broke off. The stream has been reset.
    Broken,
    /// The peer takes no more of it.
    Refused,
    /// The peer took it too slowly, and too much is held. The stream has been reset.
    GivenUp,
}

impl<B: Source, A: Account> Outgoing<B, A> {
    /// A body that leaves on a stream whose head has left.
    pub(crate) fn new(stream: SendStream<A::Piece>, body: B, account: A) -> Self {
        Self { stream, body, account, piece: None, asked: false, begun: false }
    }

    /// The body.
    pub(crate) fn body(&mut self) -> &mut B {
        &mut self.body
    }

    /// Sends what there is and what there is room for; ready when that was all of it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            if self.piece.is_some() && self.poll_room(cx)?.is_pending() {
                return self.poll_stalled(cx).map(Err);
            }
            if let Some((piece, last)) = self.piece.take() {
                self.begun = true;
                self.stream.send_data(self.account.piece(piece), last).map_err(|_| SendError::Refused)?;
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.queue(data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(self.stream.send_trailers(trailers).map_err(|_| SendError::Refused));
                        }
                    }
                },
                Some(Err(_)) => return Poll::Ready(Err(self.reset(Reason::INTERNAL_ERROR, SendError::Broken))),
                None => {
                    let end = self.account.piece(Bytes::new());
                    return Poll::Ready(self.stream.send_data(end, true).map_err(|_| SendError::Refused));
                }
            }
        }
    }

    /// Asks for room only when there is something to send, and for little: room that nobody uses stops other streams.
    fn queue(&mut self, data: Bytes) {
        let last = self.body.is_end_stream();
        self.asked = (self.begun || self.account.is_tight()) && !data.is_empty();
        if self.asked {
            self.stream.reserve_capacity(1);
        }
        self.piece = Some((data, last));
    }

    /// The first piece needs no room while much is left: the stream keeps it until the peer has some, as it keeps any piece but in
    /// part.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if !self.asked {
            return Poll::Ready(Ok(()));
        }
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(SendError::Refused)),
            }
        }
        self.account.poll_turn(cx).map(Ok)
    }

    /// The peer has no room. What comes meanwhile waits here, and the body may break off, or be given up.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<SendError> {
        if self.body.poll_aside(cx).is_ready() {
            return Poll::Ready(self.reset(Reason::INTERNAL_ERROR, SendError::Broken));
        }
        let piece = self.piece.as_ref().map_or(0, |(data, _)| data.len());
        ready!(self.account.poll_given_up(self.body.unwanted() + piece, cx));
        Poll::Ready(self.reset(Reason::ENHANCE_YOUR_CALM, SendError::GivenUp))
    }

    fn reset(&mut self, reason: Reason, why: SendError) -> SendError {
        self.stream.send_reset(reason);
        why
    }

    /// Ready when the peer has ended the stream: true when it has reset it, false when its connection is gone. Call when there is
    /// nothing to send.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.stream.poll_reset(cx).map(|reset| reset.is_ok())
    }
}
