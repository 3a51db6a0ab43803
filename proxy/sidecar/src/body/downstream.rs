//! The body of a caller's request as it comes, whatever the caller speaks.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use crate::http::hop_by_hop::fit_to_pass;
use crate::http::http1::request_body::{BrokenOff, CallerBody};
use crate::http::http2::incoming::{Cut, Incoming};

/// A request's body as it comes.
#[derive(Debug)]
pub(crate) enum Inflow {
    /// On an HTTP/2 stream.
    Stream(Incoming),
    /// On an HTTP/1 connection.
    Wire(CallerBody),
}

/// Why a caller's body ended before its time.
#[derive(Debug)]
pub(crate) enum CallerBroke {
    /// HTTP/2's reason.
    Stream(Cut),
    /// HTTP/1's.
    Wire(BrokenOff),
}

impl CallerBroke {
    /// Whether the caller has reset its stream.
    pub(crate) fn is_reset(&self) -> bool {
        match self {
            CallerBroke::Stream(Cut::Gone) => true,
            CallerBroke::Stream(Cut::Failed(error)) => error.is_reset() && error.is_remote(),
            CallerBroke::Wire(_) => false,
        }
    }

    /// Whether the caller has sent what is no body, and did not leave.
    pub(crate) fn is_malformed(&self) -> bool {
        match self {
            CallerBroke::Stream(Cut::Failed(error)) => error.is_library(),
            CallerBroke::Stream(_) => false,
            CallerBroke::Wire(error) => *error == BrokenOff::Malformed,
        }
    }
}

impl std::fmt::Display for CallerBroke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallerBroke::Stream(error) => error.fmt(f),
            CallerBroke::Wire(error) => error.fmt(f),
        }
    }
}

impl Inflow {
    /// The next frame.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallerBroke>>> {
        match self {
            Inflow::Stream(incoming) => {
                let frame = fit_to_pass(ready!(incoming.poll_frame(cx)));
                Poll::Ready(frame.map(|frame| frame.map_err(CallerBroke::Stream)))
            }
            Inflow::Wire(body) => {
                let frame = fit_to_pass(ready!(body.poll_frame(cx)));
                Poll::Ready(frame.map(|frame| frame.map_err(CallerBroke::Wire)))
            }
        }
    }

    /// Tells a caller that waits to be told to go on.
    pub(crate) fn give_leave(&self) {
        match self {
            Inflow::Stream(_) => {}
            Inflow::Wire(body) => body.give_leave(),
        }
    }

    /// Whether it is over.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Inflow::Stream(incoming) => incoming.is_end_stream(),
            Inflow::Wire(body) => body.is_end_stream(),
        }
    }

    /// The length that the caller announced.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Inflow::Stream(incoming) => incoming.left(),
            Inflow::Wire(body) => body.length(),
        }
    }
}

/// Why an upload cannot go on.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The caller broke off.
    Caller(CallerBroke),
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
