//! HTTP/1.1 for both sides of a proxy: heads are read into [`Fields`](super::fields::Fields) and written from them;
//! bodies of every framing. RFC 9112.
//!
//! A general client or server runs each connection in a task of its own and uses channels, so that many callers may
//! share it. Here one task carries a request from one socket to the other. Nothing is queued, only sockets wake the
//! task, and an idle connection holds no buffer. `httparse` parses the heads, as it does for hyper.

pub(crate) mod body;
#[cfg(test)]
mod fuzz;
pub(crate) mod read;
pub(crate) mod request_body;
pub(crate) mod write;

/// How much room a read has at first, and the most that it may have.
pub(crate) const READ: usize = 8 * 1024;
pub(crate) const READ_MOST: usize = 64 * 1024;
