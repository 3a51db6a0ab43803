//! What the loops know of connections: slots that can carry one request each.

use std::fmt;
use std::io;
use std::time::Instant;

use nix::sys::epoll::Epoll;

/// All connections of one run.
pub(super) trait Fleet {
    /// What to wait on. A token of it that is no connection's is the caller's.
    fn epoll(&self) -> &Epoll;

    /// How many requests can be under way at once. Slots are numbered from 0.
    fn slots(&self) -> usize;

    /// Sends one request, counted from `due`, on a slot that has none under way.
    fn send(&mut self, slot: usize, due: Instant) -> Result<(), Fault>;

    /// Writes what `send` has queued; requests that failed by that are told.
    fn flush(&mut self, news: &mut Vec<News>) -> io::Result<()>;

    /// Reads what is there for one token of the epoll set, and tells what came of it.
    fn receive(&mut self, token: usize, news: &mut Vec<News>) -> io::Result<()>;

    /// When each request still under way was due.
    fn unanswered(&self) -> Vec<Instant>;
}

/// What became of a request; its slot is free again.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// A good answer.
    Answer {
        slot: usize,
        /// When its request was due.
        due: Instant,
    },
    /// None, or a wrong one. The connection was replaced.
    Failed { slot: usize, fault: Fault },
}

/// Why a request failed.
#[derive(Debug, PartialEq)]
pub(super) struct Fault(pub(super) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
