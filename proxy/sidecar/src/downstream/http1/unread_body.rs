//! The unread rest of a request body when the response is complete. A short rest is read and dropped, so that the
//! connection can be kept. After a long or unknown rest the connection is closed, and the response says so. RFC 9112
//! §9.3.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::http::http1::request_body::RequestBody;

/// The most of a body that is read for nothing.
const MOST: u64 = 64 * 1024;
/// How long its caller may take to send that much.
const TIME: Duration = Duration::from_secs(10);

/// How much of a body is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// Nothing.
    None,
    /// What can be passed over once the answer has been given.
    Little,
    /// More than is worth it, or nobody knows.
    Much,
}

impl Rest {
    /// What is left of this body. `unread` says that nobody reads from it any more: what is there is passed over at once.
    pub(super) async fn of(body: &RequestBody, unread: bool) -> Self {
        if body.is_end_stream() {
            return Rest::None;
        }
        let mut budget = MOST;
        if unread {
            match poll_fn(|cx| Poll::Ready(body.poll_skip(cx, &mut budget))).await {
                Poll::Ready(true) => return Rest::None,
                Poll::Ready(false) => return Rest::Much,
                Poll::Pending => {}
            }
        }
        match body.left() {
            Some(left) if left <= MOST => Rest::Little,
            _ => Rest::Much,
        }
    }
}

/// Passes over the rest of a body, unless it takes too long.
pub(super) async fn skip(body: &RequestBody) {
    let mut budget = MOST;
    // Whether it came to its end shows in the body itself.
    let _ = tokio::time::timeout(TIME, poll_fn(|cx| body.poll_skip(cx, &mut budget))).await;
}
