//! HTTP/2 as a proxy needs it, on both sides: bodies that come on a stream and bodies that leave on one. RFC 9113.
//!
//! Frames, header compression, flow control and the states of streams are the h2 crate's. What is ours is who drives a stream:
//! the task that serves the request, so that nothing stands between it and the crate's queues but the queues themselves.

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
