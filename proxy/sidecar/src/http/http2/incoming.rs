//! A body that arrives on an HTTP/2 stream, from downstream or upstream.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream};
use http_body::Frame;

use crate::http::fields::{Fields, Name};

/// The longest piece of what has been gathered that is handed on at a time.
const PIECE: usize = 16 * 1024;

/// A body on a stream. Once nobody sends on the stream either, dropping it resets a stream that is not over.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    /// How long the rest of it is, where the head says so. h2 holds the peer to it.
    left: Option<u64>,
    /// What has come while nobody took it, as one piece: many small ones would cost more than their bytes. The peer has room for as
    /// much less until it is taken.
    gathered: BytesMut,
    /// Why it broke off behind that.
    cut: Option<StreamError>,
    /// Whether only trailers can still come.
    data_over: bool,
    over: bool,
}

/// Why a body ended before its time.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The stream was reset without an error.
    Gone,
    /// The stream or its connection failed.
    Failed(h2::Error),
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StreamError::Gone => f.write_str("the stream was closed"),
            StreamError::Failed(error) => error.fmt(f),
        }
    }
}

impl Incoming {
    /// The body of the message whose head had these fields.
    pub(crate) fn new(stream: RecvStream, fields: &Fields) -> Self {
        let over = stream.is_end_stream();
        let left = if over { Some(0) } else { fields.text(Name::ContentLength).and_then(|length| length.parse().ok()) };
        Self { stream, left, gathered: BytesMut::new(), cut: None, data_over: over, over }
    }

    /// The next frame. What has been taken makes room for as much.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if !self.gathered.is_empty() {
            let data = self.gathered.split_to(self.gathered.len().min(PIECE)).freeze();
            if self.gathered.is_empty() {
                self.gathered = BytesMut::new();
            }
            return Poll::Ready(Some(Ok(self.take(data))));
        }
        if let Some(cut) = self.cut.take() {
            self.over = true;
            return Poll::Ready(Some(Err(cut)));
        }
        if !self.data_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(self.take(data)))),
                Some(Err(error)) => return Poll::Ready(Some(Err(self.cut(error)))),
                None => self.data_over = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        self.over = true;
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).map_err(|error| self.cut(error)).transpose())
    }

    /// Takes in what has come although nobody wants it yet. What is left with the connection counts against all of its streams.
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) {
        while !self.over && !self.data_over && self.cut.is_none() {
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => self.gathered.extend_from_slice(&data),
                Poll::Ready(Some(Err(error))) => self.cut = Some(Self::why(error)),
                Poll::Ready(None) => self.data_over = true,
                Poll::Pending => break,
            }
        }
    }

    /// How much memory holds what has been taken in and is not wanted yet.
    pub(crate) fn gathered(&self) -> usize {
        self.gathered.capacity()
    }

    fn take(&mut self, data: Bytes) -> Frame<Bytes> {
        // It fails for more than was received only.
        let _ = self.stream.flow_control().release_capacity(data.len());
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        if self.left.is_none_or(|left| left == 0) && self.gathered.is_empty() && self.cut.is_none() {
            self.over = self.stream.is_end_stream();
        }
        Frame::data(data)
    }

    fn cut(&mut self, error: h2::Error) -> StreamError {
        self.over = true;
        Self::why(error)
    }

    fn why(error: h2::Error) -> StreamError {
        match error.reason() {
            // RFC 9113 §8.1: nothing is wrong, and yet there is no end.
            Some(Reason::NO_ERROR) if error.is_reset() => StreamError::Gone,
            _ => StreamError::Failed(error),
        }
    }

    /// Whether all of it has been taken.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.over
    }

    /// How long the rest of it is, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.left
    }
}
