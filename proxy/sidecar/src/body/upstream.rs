//! The body of an upstream request: empty, the caller's, or a mirror's copy.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::downstream::UploadError;
use super::mirror::MirrorBody;
use super::upload::UploadReader;
use crate::http::http2::outgoing::Source;

/// What a request to an endpoint carries.
#[derive(Debug, Default)]
pub(crate) enum UpstreamBody {
    /// Nothing.
    #[default]
    Empty,
    /// The caller's body, from its beginning.
    Upload(UploadReader),
    /// A copy of the caller's body.
    Copy(MirrorBody),
}

impl Source for UpstreamBody {}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            UpstreamBody::Empty => Poll::Ready(None),
            UpstreamBody::Upload(reader) => reader.poll_frame(cx),
            UpstreamBody::Copy(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpstreamBody::Empty => true,
            // A reader that has just handed the end on knows it; of any other it makes no difference.
            UpstreamBody::Upload(reader) => reader.is_over(),
            UpstreamBody::Copy(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = match self {
            UpstreamBody::Empty => Some(0),
            UpstreamBody::Upload(reader) => reader.length(),
            UpstreamBody::Copy(reader) => reader.length(),
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
