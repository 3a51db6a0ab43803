//! HTTP/1.1 as a proxy needs it, on both sides: heads read into [`Fields`](super::fields::Fields) and written from them, and
//! bodies of every framing. RFC 9112.
//!
//! A general client or server runs each connection in a task of its own and talks to it through channels, so that any number
//! of callers may use it. OwnAddresses one task carries a request from one socket to the other: nothing is queued, nothing is woken
//! but by a socket, and a connection that waits holds no buffer. `httparse` reads the heads, as it does for hyper.

pub(crate) mod body;
#[cfg(test)]
mod fuzz;
pub(crate) mod read;
pub(crate) mod request_body;
pub(crate) mod write;

/// How much room a read has at first, and the most that it may have.
pub(crate) const READ: usize = 8 * 1024;
pub(crate) const READ_MOST: usize = 64 * 1024;
