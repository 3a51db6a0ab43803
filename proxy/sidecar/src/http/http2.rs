//! HTTP/2 for both sides of a proxy: bodies that arrive on a stream and bodies that are sent on one. RFC 9113.
//!
//! The h2 crate does frames, header compression, flow control and stream states. Here the task that serves a request
//! also drives its streams, so that only h2's own queues are between them.

pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod send_buffer;

/// How much a peer may send on one stream before it is read: enough for a fast stream within a mesh, little enough for many that
/// nobody reads to be held.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;
/// The same while much is held.
pub(crate) const SMALL_WINDOW: u32 = 16 * 1024;
/// The most streams at a time on a connection. Envoy: the default of 1.36 and later.
pub(crate) const MAX_STREAMS: u32 = 1024;
/// The most that a stream queues behind what its connection has not sent yet.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;
/// How many streams a peer may make us reset by mistakes of its own before its connection is closed. As in hyper.
pub(crate) const MOST_MISTAKES: usize = 1024;
