//! The body of a request from downstream, over HTTP/1 or HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use crate::http::hop_by_hop::fit_to_pass;
use crate::http::http1::request_body::{BodyError, RequestBody};
use crate::http::http2::incoming::{Incoming, StreamError};

/// A request's body as it comes.
#[derive(Debug)]
pub(crate) enum DownstreamBody {
    /// On an HTTP/2 stream.
    Stream(Incoming),
    /// On an HTTP/1 connection.
    Wire(RequestBody),
}

/// Why a caller's body ended before its time.
#[derive(Debug)]
pub(crate) enum DownstreamBodyError {
    /// HTTP/2's reason.
    Stream(StreamError),
    /// HTTP/1's.
    Wire(BodyError),
}

impl DownstreamBodyError {
    /// Whether the caller has reset its stream.
    pub(crate) fn is_reset(&self) -> bool {
        match self {
            DownstreamBodyError::Stream(StreamError::Gone) => true,
            DownstreamBodyError::Stream(StreamError::Failed(error)) => error.is_reset() && error.is_remote(),
            DownstreamBodyError::Wire(_) => false,
        }
    }

    /// Whether the caller has sent what is no body, and did not leave.
    pub(crate) fn is_malformed(&self) -> bool {
        match self {
            DownstreamBodyError::Stream(StreamError::Failed(error)) => error.is_library(),
            DownstreamBodyError::Stream(_) => false,
            DownstreamBodyError::Wire(error) => *error == BodyError::Malformed,
        }
    }
}

impl std::fmt::Display for DownstreamBodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DownstreamBodyError::Stream(error) => error.fmt(f),
            DownstreamBodyError::Wire(error) => error.fmt(f),
        }
    }
}

impl DownstreamBody {
    /// The next frame.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownstreamBodyError>>> {
        match self {
            DownstreamBody::Stream(incoming) => {
                let frame = fit_to_pass(ready!(incoming.poll_frame(cx)));
                Poll::Ready(frame.map(|frame| frame.map_err(DownstreamBodyError::Stream)))
            }
            DownstreamBody::Wire(body) => {
                let frame = fit_to_pass(ready!(body.poll_frame(cx)));
                Poll::Ready(frame.map(|frame| frame.map_err(DownstreamBodyError::Wire)))
            }
        }
    }

    /// Tells a caller that waits to be told to go on.
    pub(crate) fn give_leave(&self) {
        match self {
            DownstreamBody::Stream(_) => {}
            DownstreamBody::Wire(body) => body.give_leave(),
        }
    }

    /// Whether it is over.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            DownstreamBody::Stream(incoming) => incoming.is_end_stream(),
            DownstreamBody::Wire(body) => body.is_end_stream(),
        }
    }

    /// The length that the caller announced.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            DownstreamBody::Stream(incoming) => incoming.left(),
            DownstreamBody::Wire(body) => body.length(),
        }
    }
}

/// Why an upload cannot go on.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The caller broke off.
    Caller(DownstreamBodyError),
    /// Another attempt has taken over, or a mirror could not keep pace.
    Abandoned,
}

impl std::fmt::Display for UploadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UploadError::Caller(error) => write!(f, "the caller broke off: {error}"),
            UploadError::Abandoned => f.write_str("this copy of the body was abandoned"),
        }
    }
}

impl std::error::Error for UploadError {}
