//! The body of a request to an endpoint.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::downstream::UploadError;
use super::mirror::CopyReader;
use super::upload::Reader;
use crate::http::http2::outgoing::Source;

/// What a request to an endpoint carries.
#[derive(Debug, Default)]
pub(crate) enum UpBody {
    /// Nothing.
    #[default]
    Empty,
    /// The caller's body, from its beginning.
    Upload(Reader),
    /// A copy of the caller's body.
    Copy(CopyReader),
}

impl Source for UpBody {}

impl Body for UpBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            UpBody::Empty => Poll::Ready(None),
            UpBody::Upload(reader) => reader.poll_frame(cx),
            UpBody::Copy(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpBody::Empty => true,
            // A reader that has just handed the end on knows it; of any other it makes no difference.
            UpBody::Upload(reader) => reader.is_over(),
            UpBody::Copy(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = match self {
            UpBody::Empty => Some(0),
            UpBody::Upload(reader) => reader.length(),
            UpBody::Copy(reader) => reader.length(),
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
