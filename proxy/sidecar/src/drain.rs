//! How the proxy leaves: readiness fails first, callers are told, what is in flight finishes, and only then it ends.
//!
//! Envoy ends at once on SIGTERM. Here: from the signal on `/ready` fails while both sides go on serving; inbound answers
//! carry `connection: close` (GOAWAY on HTTP/2), so that callers move on. When the minimum drain time is over and
//! nothing has been in flight for a moment, or shortly before the deadline, the application is told to move on too; a
//! moment later the listeners close and connections end as they become idle. A second signal ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use leeboard_policy::time::{Span, Time};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;

/// How often the state of a drain is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long nothing may have been in flight before the application counts as quiet.
const QUIET: Span = Span::from_millis(500);
/// The most time before the deadline at which the application is told to move on.
const CLOSING: Span = Span::from_secs(5);
/// The most time that it is given to do so: whoever is idle for that long hardly asks just as the connection closes.
const PARTING: Span = Span::from_secs(1);

/// Which way traffic goes, seen from the application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// To the application.
    Inbound,
    /// From the application.
    Outbound,
}

/// How listeners of a side treat connections. Each is further gone than the one before it, and there is no way back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Manner {
    /// Connections are accepted and kept.
    Open = 0,
    /// Connections are accepted, and every answer asks for the connection's end.
    Leaving = 1,
    /// No connection is accepted any more; those that exist go on. Envoy: `/drain_listeners`.
    Shut = 2,
    /// No connection is accepted any more, and those that exist end as soon as they are idle. A listener accepts what
    /// already waits in its queue before it closes, for those callers believe that they are connected.
    Closing = 3,
}

/// The manner of each side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stance {
    /// Listeners in front of the application.
    pub(crate) inbound: Manner,
    /// The listener that the application calls through.
    pub(crate) outbound: Manner,
}

impl Stance {
    /// The manner of a side.
    pub(crate) fn of(self, side: Side) -> Manner {
        match side {
            Side::Inbound => self.inbound,
            Side::Outbound => self.outbound,
        }
    }
}

/// Where the process is in its life. Envoy: the `state` of `/server_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    /// Not ready yet.
    Starting,
    /// Ready.
    Live,
    /// No longer ready.
    Draining,
}

/// The state of the process's leaving, shared by everything.
#[derive(Debug)]
pub(crate) struct Drain {
    stance: watch::Sender<Stance>,
    inbound: AtomicU8,
    outbound: AtomicU8,
    started: AtomicBool,
    draining: AtomicBool,
    asked: Notify,
    workers: Vec<Arc<Traffic>>,
}

impl Drain {
    /// Nothing is leaving yet. Each worker counts for itself.
    pub(crate) fn new(workers: usize) -> Self {
        let open = Stance { inbound: Manner::Open, outbound: Manner::Open };
        Self {
            stance: watch::Sender::new(open),
            inbound: AtomicU8::new(Manner::Open as u8),
            outbound: AtomicU8::new(Manner::Open as u8),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            asked: Notify::new(),
            workers: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    /// Whether every answer of a side asks for its connection's end. Cheap enough to ask for each answer.
    pub(crate) fn says_close(&self, side: Side) -> bool {
        let manner = match side {
            Side::Inbound => self.inbound.load(Ordering::Relaxed),
            Side::Outbound => self.outbound.load(Ordering::Relaxed),
        };
        manner == Manner::Leaving as u8 || manner == Manner::Closing as u8
    }

    /// Tells a listener or a connection when the manner changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Stance> {
        self.stance.subscribe()
    }

    /// The counters of a worker, by its index.
    ///
    /// # Panics
    /// When there is no such worker.
    pub(crate) fn traffic(&self, worker: usize) -> Arc<Traffic> {
        self.workers[worker].clone()
    }

    /// Says that the listeners accept.
    pub(crate) fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Where the process is in its life.
    pub(crate) fn life(&self) -> Life {
        match (self.draining.load(Ordering::Acquire), self.started.load(Ordering::Acquire)) {
            (true, _) => Life::Draining,
            (false, true) => Life::Live,
            (false, false) => Life::Starting,
        }
    }

    /// Asks the process to drain and end, as SIGTERM does. Asking again ends it at once.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Moves a side to a manner, unless it has gone further already.
    pub(crate) fn advance(&self, side: Side, manner: Manner) {
        self.stance.send_if_modified(|stance| {
            let (now, atomic) = match side {
                Side::Inbound => (&mut stance.inbound, &self.inbound),
                Side::Outbound => (&mut stance.outbound, &self.outbound),
            };
            let further = manner > *now;
            if further {
                *now = manner;
                atomic.store(manner as u8, Ordering::Relaxed);
            }
            further
        });
    }

    /// Waits until the process is asked to end, drains, and returns when it may end.
    pub(crate) async fn run(&self, clock: Clock, minimum: Span, maximum: Span) {
        self.asked.notified().await;
        self.draining.store(true, Ordering::Release);
        self.advance(Side::Inbound, Manner::Leaving);
        let mut leaving = Leaving::new(clock.now(), minimum, maximum);
        tracing::info!(minimum = %minimum, deadline = %maximum, "draining; the same signal again ends at once");
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.asked.notified() => {
                    tracing::info!(exchanges = self.load().exchanges, "ending at once");
                    return;
                }
            }
            match leaving.step(clock.now(), self.load()) {
                Step::Serve => {}
                Step::Part => self.advance(Side::Outbound, Manner::Leaving),
                Step::Close => {
                    self.advance(Side::Inbound, Manner::Closing);
                    self.advance(Side::Outbound, Manner::Closing);
                }
                Step::End => {
                    tracing::info!(cut = self.load().exchanges, "drained");
                    return;
                }
            }
        }
    }

    fn load(&self) -> Load {
        let sum = |read: fn(&Traffic) -> usize| self.workers.iter().map(|traffic| read(traffic)).sum();
        Load {
            exchanges: sum(|t| t.exchanges.load(Ordering::Acquire)),
            connections: sum(|t| t.connections.load(Ordering::Acquire)),
            begun: self.workers.iter().map(|t| t.begun.load(Ordering::Acquire)).sum(),
        }
    }
}

/// What is going on in a worker, on both sides.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    exchanges: AtomicUsize,
    connections: AtomicUsize,
    begun: AtomicU64,
}

impl Traffic {
    /// An exchange has begun. Only the worker itself counts its exchanges, so that a load and a store are enough.
    pub(crate) fn exchange_began(&self) {
        self.begun.store(self.begun.load(Ordering::Relaxed) + 1, Ordering::Release);
        self.exchanges.store(self.exchanges.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// It is over.
    pub(crate) fn exchange_over(&self) {
        self.exchanges.store(self.exchanges.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    /// Counts a caller's connection until the guard is dropped.
    pub(crate) fn connection(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }
}

/// A caller's connection, which the end of the process waits for.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub(crate) struct Open(Arc<Traffic>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is in flight at a moment, and how many exchanges have begun so far.
#[derive(Clone, Copy, Debug)]
struct Load {
    exchanges: usize,
    connections: usize,
    begun: u64,
}

/// What to do next on the way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Serve,
    Part,
    Close,
    End,
}

/// The rules of leaving, as a function of time and load.
#[derive(Debug)]
struct Leaving {
    earliest: Time,
    closing: Time,
    latest: Time,
    quiet_since: Time,
    begun: Option<u64>,
    parting: Span,
    parting_since: Option<Time>,
}

impl Leaving {
    fn new(now: Time, minimum: Span, maximum: Span) -> Self {
        let margin = Span(CLOSING.0.min(maximum.0 / 4));
        Self {
            earliest: now + minimum,
            closing: now + Span(maximum.0 - margin.0),
            latest: now + maximum,
            quiet_since: now,
            begun: None,
            parting: Span(PARTING.0.min(margin.0 / 2)),
            parting_since: None,
        }
    }

    fn step(&mut self, now: Time, load: Load) -> Step {
        if load.exchanges > 0 || self.begun.is_some_and(|begun| begun != load.begun) {
            self.quiet_since = now;
        }
        self.begun = Some(load.begun);
        if now >= self.latest {
            return Step::End;
        }
        let quiet = now - self.quiet_since >= QUIET;
        if now >= self.closing || (now >= self.earliest && quiet) {
            self.parting_since.get_or_insert(now);
        }
        match self.parting_since {
            None => Step::Serve,
            Some(_) if load.connections + load.exchanges == 0 => Step::End,
            Some(since) if now - since < self.parting => Step::Part,
            Some(_) => Step::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps through (milliseconds, exchanges, connections, begun, expected) with a minimum of 2 s and a maximum of 8 s.
    fn check(rows: &[(u64, usize, usize, u64, Step)]) {
        let mut leaving = Leaving::new(Time(0), Span::from_secs(2), Span::from_secs(8));
        for &(ms, exchanges, connections, begun, expected) in rows {
            let now = Time(0) + Span::from_millis(ms);
            assert_eq!(leaving.step(now, Load { exchanges, connections, begun }), expected, "at {ms} ms of {rows:?}");
        }
    }

    #[test]
    fn an_idle_process_ends_after_the_minimum() {
        check(&[(0, 0, 0, 9, Step::Serve), (1_999, 0, 0, 9, Step::Serve), (2_000, 0, 0, 9, Step::End)]);
    }

    #[test]
    fn idle_connections_are_closed_before_the_end() {
        for last in [(3_050, 0, 1, 9, Step::Close), (3_050, 0, 0, 9, Step::End)] {
            check(&[
                (0, 0, 3, 9, Step::Serve),
                (2_000, 0, 3, 9, Step::Part),
                (2_999, 0, 3, 9, Step::Part),
                (3_000, 0, 3, 9, Step::Close),
                last,
            ]);
        }
    }

    #[test]
    fn traffic_is_served_until_it_has_been_quiet_for_a_moment() {
        check(&[
            (0, 2, 2, 9, Step::Serve),
            (2_000, 1, 1, 9, Step::Serve),
            (2_950, 1, 1, 9, Step::Serve),
            (3_000, 0, 1, 9, Step::Serve),
            // One began and ended between two looks.
            (3_400, 0, 1, 10, Step::Serve),
            (3_899, 0, 1, 10, Step::Serve),
            (3_900, 0, 1, 10, Step::Part),
            // Parting has begun, and a late request does not undo it.
            (3_950, 1, 1, 11, Step::Part),
            (4_900, 1, 1, 11, Step::Close),
            (4_950, 0, 0, 11, Step::End),
        ]);
    }

    #[test]
    fn endless_traffic_is_closed_before_the_deadline_and_cut_at_it() {
        check(&[
            (0, 5, 5, 0, Step::Serve),
            (5_999, 5, 5, 900, Step::Serve),
            (6_000, 5, 5, 901, Step::Part),
            (7_000, 5, 5, 902, Step::Close),
            (7_999, 1, 1, 902, Step::Close),
            (8_000, 1, 1, 902, Step::End),
        ]);
    }

    #[test]
    fn no_drain_time_ends_at_once() {
        let mut leaving = Leaving::new(Time(7), Span(0), Span(0));
        assert_eq!(leaving.step(Time(7), Load { exchanges: 1, connections: 1, begun: 1 }), Step::End);
    }

    #[test]
    fn a_side_never_goes_back() {
        let drain = Drain::new(1);
        let watch = drain.watch();
        for (manner, after, close) in [
            (Manner::Leaving, Manner::Leaving, true),
            (Manner::Open, Manner::Leaving, true),
            (Manner::Shut, Manner::Shut, false),
            (Manner::Closing, Manner::Closing, true),
            (Manner::Leaving, Manner::Closing, true),
        ] {
            drain.advance(Side::Inbound, manner);
            assert_eq!(watch.borrow().of(Side::Inbound), after);
            assert_eq!(drain.says_close(Side::Inbound), close);
        }
        assert_eq!(watch.borrow().of(Side::Outbound), Manner::Open);
        assert!(!drain.says_close(Side::Outbound));
    }

    #[test]
    fn what_is_over_counts_no_more() {
        let drain = Drain::new(2);
        (0..2).for_each(|worker| drain.traffic(worker).exchange_began());
        let held = drain.traffic(1).connection();
        let load = drain.load();
        assert_eq!((load.exchanges, load.connections, load.begun), (2, 1, 2));
        drop(held);
        (0..2).for_each(|worker| drain.traffic(worker).exchange_over());
        let load = drain.load();
        assert_eq!((load.exchanges, load.connections, load.begun), (0, 0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_drain() {
        let (clock, drain) = (Clock::start(), Drain::new(1));
        assert_eq!(drain.life(), Life::Starting);
        drain.started();
        assert_eq!(drain.life(), Life::Live);
        let mut stance = drain.watch();
        let held = drain.traffic(0).connection();
        drain.ask();
        let connection = async {
            stance.wait_for(|s| s.inbound == Manner::Leaving).await.unwrap();
            assert_eq!(drain.life(), Life::Draining);
            stance.wait_for(|s| s.inbound == Manner::Leaving && s.outbound == Manner::Leaving).await.unwrap();
            stance.wait_for(|s| s.inbound == Manner::Closing && s.outbound == Manner::Closing).await.unwrap();
            drop(held);
        };
        tokio::join!(drain.run(clock, Span::from_secs(5), Span::from_secs(45)), connection);
        let took = clock.now() - Time(0);
        assert!((6_000..6_200).contains(&took.as_millis()), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn asking_twice_ends_at_once() {
        let (clock, drain) = (Clock::start(), Drain::new(1));
        drain.traffic(0).exchange_began();
        let again = async {
            drain.ask();
            drain.watch().wait_for(|s| s.inbound == Manner::Leaving).await.unwrap();
            drain.ask();
        };
        tokio::join!(drain.run(clock, Span::from_secs(5), Span::from_secs(45)), again);
        assert!((clock.now() - Time(0)).as_millis() < 1_000);
    }
}
