//! What one caller may take before the others: how many requests a connection begins at once, which HTTP/2 connection to an
//! endpoint takes a stream, and who is next when connections are short.
//!
//! Streams of one connection wait for each other's bytes: what an endpoint has sent for a stream that nobody reads is read first.
//! So streams of callers who do not read are kept together, and the others go where there is least before them. Envoy takes the
//! first connection that has a stream free.

use alloc::collections::VecDeque;
use core::cmp::Reverse;

/// With so many streams that are not read, a connection is not a good one for a caller who reads, and a caller with so many is
/// not one.
const MANY_UNREAD: u32 = 16;

/// How much each connection may do at once when `queues` of them have more to do than they may, together `all`, so that the others
/// wait no longer for many than for one.
#[must_use]
pub fn share(all: usize, queues: usize) -> usize {
    (all / queues.max(1)).max(1)
}

/// The streams of an HTTP/2 connection to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streams {
    /// How many there are.
    pub active: u32,
    /// Of how many the answer has come and is not read.
    pub unread: u32,
    /// Whether one more can be opened.
    pub room: bool,
}

/// What is done for a request that needs a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// It takes a stream of this connection.
    Open(usize),
    /// It gets a new connection if there may be one more, and a stream of this connection otherwise.
    Better(usize),
    /// It gets a new connection.
    Connect,
}

/// Which of an endpoint's connections takes one more stream, for a caller who leaves so many answers unread.
///
/// While all is read it is the first with room, so that the others come to be idle. Otherwise whoever reads goes where there are
/// the fewest streams, and gets a new connection when many of those are unread; whoever does not read goes where most is unread.
#[must_use]
pub fn choose(connections: impl Iterator<Item = Streams> + Clone, leaves_unread: u32) -> Choice {
    let reads = leaves_unread < MANY_UNREAD;
    let all_read = connections.clone().all(|streams| streams.unread == 0);
    let mut with_room = connections.enumerate().filter(|(_, streams)| streams.room);
    let best = match (all_read, reads) {
        (true, _) => with_room.next(),
        // Of equals the first, by either.
        (false, true) => with_room.min_by_key(|(_, streams)| streams.active),
        (false, false) => with_room.min_by_key(|(_, streams)| Reverse(streams.unread)),
    };
    match best {
        Some((at, streams)) if reads && streams.unread >= MANY_UNREAD => Choice::Better(at),
        Some((at, _)) => Choice::Open(at),
        None => Choice::Connect,
    }
}

/// Those who wait for a connection of a cluster that has all that it may have: first come, first served, and nobody passes those
/// who wait.
#[derive(Debug)]
pub struct PendingQueue<T> {
    waiting: VecDeque<(Ticket, T)>,
    next: u64,
    /// How many have been called and have not looked yet.
    called: usize,
}

/// A place in line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(u64);

impl<T> Default for PendingQueue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), next: 0, called: 0 }
    }
}

impl<T> PendingQueue<T> {
    /// Whether a newcomer may take what is free.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.waiting.is_empty() && self.called == 0
    }

    /// Takes a place at the end. `who` is given back when it is their turn.
    pub fn join(&mut self, who: T) -> Ticket {
        let ticket = Ticket(self.next);
        self.next = self.next.wrapping_add(1);
        self.waiting.push_back((ticket, who));
        ticket
    }

    /// Takes a place at the head, for someone who was called and found nothing.
    pub fn rejoin(&mut self, ticket: Ticket, who: T) {
        self.waiting.push_front((ticket, who));
    }

    /// Who is to be called next.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.waiting.front().map(|(_, who)| who)
    }

    /// Calls the first: something has become free. Until they have looked no newcomer takes it.
    pub fn call(&mut self) -> Option<T> {
        let (_, who) = self.waiting.pop_front()?;
        self.called = self.called.saturating_add(1);
        Some(who)
    }

    /// Someone who was called has looked, or will not.
    pub fn looked(&mut self) {
        self.called = self.called.saturating_sub(1);
    }

    /// Gives a place up.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn what_may_be_done_is_shared_and_everybody_may_do_something() {
        let table = [(16, 0, 16), (16, 1, 16), (16, 4, 4), (16, 5, 3), (16, 900, 1), (0, 0, 1)];
        for (all, queues, expected) in table {
            assert_eq!(share(all, queues), expected, "{all} for {queues}");
        }
    }

    #[test]
    fn who_reads_does_not_wait_behind_those_who_do_not() {
        use Choice::{Better, Connect, Open};
        // Active and unread of each connection; those with 100 streams are full.
        type Row = (&'static [(u32, u32)], Choice, Choice);
        let table: &[Row] = &[
            (&[], Connect, Connect),
            (&[(0, 0)], Open(0), Open(0)),
            (&[(99, 0), (0, 0)], Open(0), Open(0)),
            (&[(100, 0), (50, 0), (0, 0)], Open(1), Open(1)),
            (&[(100, 0)], Connect, Connect),
            // Some are unread.
            (&[(40, 1), (3, 0), (3, 0)], Open(1), Open(0)),
            (&[(40, 15)], Open(0), Open(0)),
            (&[(40, 16)], Better(0), Open(0)),
            (&[(40, 16), (30, 20)], Better(1), Open(1)),
            (&[(100, 90), (100, 90)], Connect, Connect),
            (&[(100, 90), (20, 2), (30, 20)], Open(1), Open(2)),
        ];
        for (connections, reads, does_not) in table {
            let connections: Vec<_> =
                connections.iter().map(|&(active, unread)| Streams { active, unread, room: active < 100 }).collect();
            let chosen = [0, 15, 16].map(|leaves_unread| choose(connections.iter().copied(), leaves_unread));
            assert_eq!(chosen, [*reads, *reads, *does_not], "{connections:?}");
        }
    }

    #[test]
    fn nobody_passes_those_who_wait() {
        let mut line = PendingQueue::default();
        assert!(line.is_open());
        let tickets = ['a', 'b', 'c', 'd'].map(|who| line.join(who));
        assert!(!line.is_open());
        assert_eq!(line.call(), Some('a'));
        line.looked();
        line.rejoin(tickets[0], 'a');
        line.leave(tickets[1]);
        assert_eq!(
            [line.call(), line.call()],
            [Some('a'), Some('c')],
            "who found nothing is first, who left is not called"
        );
        line.leave(tickets[3]);
        assert_eq!((line.call(), line.is_open()), (None, false), "two have been called and have not looked");
        line.looked();
        assert!(!line.is_open());
        line.looked();
        assert!(line.is_open());
    }
}
