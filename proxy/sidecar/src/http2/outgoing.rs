//! A body as it leaves on an HTTP/2 stream, to an endpoint or to a caller.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

/// A body on its way out. Once nobody reads from the stream either, dropping it resets a stream that is not over.
#[derive(Debug)]
pub(crate) struct Outgoing<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// A piece that waits for room, and whether it is the last.
    piece: Option<(Bytes, bool)>,
    /// Whether a piece has been handed to the stream.
    begun: bool,
}

/// Why a body will not be sent to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsent {
    /// It broke off. The stream has been reset.
    Broken,
    /// The peer takes no more of it.
    Refused,
}

impl<B: Body<Data = Bytes> + Unpin> Outgoing<B> {
    /// A body that leaves on a stream whose head has left.
    pub(crate) fn new(stream: SendStream<Bytes>, body: B) -> Self {
        Self { stream, body, piece: None, begun: false }
    }

    /// Sends what there is and what there is room for; ready when that was all of it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            if self.piece.is_some() {
                ready!(self.poll_room(cx))?;
            }
            if let Some((piece, last)) = self.piece.take() {
                self.begun = true;
                self.stream.send_data(piece, last).map_err(|_| Unsent::Refused)?;
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.queue(data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(self.stream.send_trailers(trailers).map_err(|_| Unsent::Refused));
                        }
                    }
                },
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Err(Unsent::Broken));
                }
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true).map_err(|_| Unsent::Refused)),
            }
        }
    }

    /// Asks for room only when there is something to send, and for little: room that nobody uses stops other streams.
    fn queue(&mut self, data: Bytes) {
        let last = self.body.is_end_stream();
        if self.begun && !data.is_empty() {
            self.stream.reserve_capacity(1);
        }
        self.piece = Some((data, last));
    }

    /// The first piece needs no room: the stream keeps it until the peer has some, as it keeps any piece but in part.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        if !self.begun || self.piece.as_ref().is_some_and(|(data, _)| data.is_empty()) {
            return Poll::Ready(Ok(()));
        }
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Unsent::Refused)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has reset the stream. Call when there is nothing to send.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(|_| ())
    }
}
