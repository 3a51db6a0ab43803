//! How the process drains: readiness fails first, callers are told, requests in flight finish, and then it ends.
//!
//! Envoy ends at once on SIGTERM. Here, a drain begins with the signal or with `leeboard drain`. `/ready` fails while
//! both sides go on serving. Inbound responses carry `connection: close` (GOAWAY on HTTP/2), so that callers move on.
//! The inbound listeners close when callers have had the time to learn of it and nothing has been in flight for a
//! moment, or when the application has stopped listening. A connection that is refused then tells its caller that
//! nobody has the request. After the signal, outbound responses tell the application to move on too, once nothing is in
//! flight or shortly before the deadline. A moment later all listeners close, and connections end as they become idle.
//! A second signal ends the process at once. An interrupt from a terminal waits only for what is in flight.

pub(crate) mod application;
mod leaving;
#[cfg(test)]
mod tests;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use leeboard_policy::time::Time;
use tokio::sync::{Notify, watch};

use self::application::Application;
pub(crate) use self::leaving::Pace;
use self::leaving::{Leaving, Step};
use self::traffic::Loads;
pub(crate) use self::traffic::{Load, Open, Traffic};
use crate::host::clock::Clock;

/// How often the state of a drain is looked at.
const TICK: Duration = Duration::from_millis(50);

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
pub(crate) enum DrainPhase {
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
pub(crate) struct DrainState {
    /// Listeners in front of the application.
    pub(crate) inbound: DrainPhase,
    /// The listener that the application calls through.
    pub(crate) outbound: DrainPhase,
    /// The ports at which the application does not listen any more, a bit for each by its index. Those after the 64th close
    /// with their side.
    gone: u64,
}

impl DrainState {
    /// The manner of a side.
    pub(crate) fn of(self, side: Side) -> DrainPhase {
        match side {
            Side::Inbound => self.inbound,
            Side::Outbound => self.outbound,
        }
    }

    /// Whether the listener of a side, or of a port in front of the application, accepts no more connections.
    pub(crate) fn shuts(self, side: Side, port: Option<usize>) -> bool {
        let gone = port.is_some_and(|port| port < 64 && self.gone >> port & 1 == 1);
        self.of(side) >= DrainPhase::Shut || gone
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
    drain_state: watch::Sender<DrainState>,
    inbound: AtomicU8,
    outbound: AtomicU8,
    started: AtomicBool,
    draining: AtomicBool,
    /// Whether the application may end, as far as its callers are concerned.
    safe: AtomicBool,
    asked: Notify,
    /// Whether it was asked by somebody at a terminal.
    by_hand: AtomicBool,
    announced: Notify,
    workers: Vec<Arc<Traffic>>,
}

impl Drain {
    /// Nothing is leaving yet. Each worker counts for itself.
    pub(crate) fn new(workers: usize) -> Self {
        let open = DrainState { inbound: DrainPhase::Open, outbound: DrainPhase::Open, gone: 0 };
        Self {
            drain_state: watch::Sender::new(open),
            inbound: AtomicU8::new(DrainPhase::Open as u8),
            outbound: AtomicU8::new(DrainPhase::Open as u8),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            safe: AtomicBool::new(false),
            asked: Notify::new(),
            by_hand: AtomicBool::new(false),
            announced: Notify::new(),
            workers: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    /// Whether every answer of a side asks for its connection's end. Cheap enough to ask for each answer.
    pub(crate) fn says_close(&self, side: Side) -> bool {
        let phase = match side {
            Side::Inbound => self.inbound.load(Ordering::Relaxed),
            Side::Outbound => self.outbound.load(Ordering::Relaxed),
        };
        phase == DrainPhase::Leaving as u8 || phase == DrainPhase::Closing as u8
    }

    /// Tells a listener or a connection when the manner changes.
    pub(crate) fn watch(&self) -> watch::Receiver<DrainState> {
        self.drain_state.subscribe()
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

    /// Asks the same for somebody at a terminal: it ends as soon as nothing is in flight.
    pub(crate) fn interrupt(&self) {
        self.by_hand.store(true, Ordering::Release);
        self.ask();
    }

    /// Says that the application is about to end: its callers are parted from, and the process goes on.
    pub(crate) fn announce(&self) {
        self.announced.notify_one();
    }

    /// Whether the application may end: it was announced, and nobody comes to it any more.
    pub(crate) fn is_safe(&self) -> bool {
        self.safe.load(Ordering::Acquire)
    }

    /// What is in flight towards the application.
    pub(crate) fn inbound(&self) -> Load {
        Load::of(&self.workers, Side::Inbound)
    }

    /// Moves a side to a manner, unless it has gone further already.
    pub(crate) fn advance(&self, side: Side, phase: DrainPhase) {
        self.drain_state.send_if_modified(|drain_state| {
            let (now, atomic) = match side {
                Side::Inbound => (&mut drain_state.inbound, &self.inbound),
                Side::Outbound => (&mut drain_state.outbound, &self.outbound),
            };
            let further = phase > *now;
            if further {
                *now = phase;
                atomic.store(phase as u8, Ordering::Relaxed);
            }
            further
        });
    }

    /// Waits until the end of the process or of the application is announced, drains, and returns when the process may end.
    pub(crate) async fn run(&self, clock: Clock, pace: Pace, application: &impl Application) {
        let told = tokio::select! {
            () = self.asked.notified() => true,
            () = self.announced.notified() => false,
        };
        self.draining.store(true, Ordering::Release);
        self.advance(Side::Inbound, DrainPhase::Leaving);
        let mut leaving = Leaving::new(clock.now(), pace);
        if told {
            self.tell(&mut leaving, clock.now());
            tracing::info!(minimum = %pace.minimum, deadline = %pace.maximum, "draining; the same signal again ends at once");
        } else {
            tracing::info!(minimum = %pace.minimum, deadline = %pace.maximum, "draining what is in front of the application");
        }
        tokio::select! {
            () = self.leave(clock, leaving) => {}
            never = application::look(application, |gone| self.forsake(gone)) => match never {},
        }
    }

    /// Passes on that the process was told to end, and by whom; false when it had been told before.
    fn tell(&self, leaving: &mut Leaving, now: Time) -> bool {
        if self.by_hand.load(Ordering::Acquire) {
            leaving.tell_by_hand();
        }
        leaving.tell(now)
    }

    async fn leave(&self, clock: Clock, mut leaving: Leaving) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.asked.notified() => {
                    if !self.tell(&mut leaving, clock.now()) {
                        tracing::info!(exchanges = self.in_flight(), "ending at once");
                        return;
                    }
                    tracing::info!("draining; the same signal again ends at once");
                }
            }
            let (now, loads) = (clock.now(), self.loads());
            let gone = self.drain_state.borrow().inbound == DrainPhase::Closing;
            match leaving.step(now, loads, gone) {
                Step::Serve => {}
                Step::Shut => self.advance(Side::Inbound, DrainPhase::Closing),
                Step::Part => self.advance(Side::Outbound, DrainPhase::Leaving),
                Step::Close => {
                    self.advance(Side::Inbound, DrainPhase::Closing);
                    self.advance(Side::Outbound, DrainPhase::Closing);
                }
                Step::End => {
                    tracing::info!(cut = self.in_flight(), "drained");
                    return;
                }
            }
            if leaving.is_safe(now, loads.inbound) && !self.safe.swap(true, Ordering::AcqRel) {
                tracing::info!(cut = loads.inbound.exchanges, "nobody comes to the application any more");
            }
        }
    }

    /// Notes which of the application's ports are gone. When all are, nothing is kept in front of it.
    fn forsake(&self, gone: &[bool]) {
        let bits = gone.iter().take(64).enumerate().fold(0, |bits, (port, gone)| bits | u64::from(*gone) << port);
        self.drain_state.send_if_modified(|drain_state| {
            let more = bits & !drain_state.gone != 0;
            drain_state.gone |= bits;
            if more {
                tracing::info!(ports = drain_state.gone.count_ones(), "the application does not listen any more");
            }
            more
        });
        if !gone.is_empty() && gone.iter().all(|gone| *gone) {
            self.advance(Side::Inbound, DrainPhase::Closing);
        }
    }

    fn loads(&self) -> Loads {
        Loads { inbound: self.inbound(), outbound: Load::of(&self.workers, Side::Outbound) }
    }

    fn in_flight(&self) -> usize {
        let loads = self.loads();
        loads.inbound.exchanges + loads.outbound.exchanges
    }
}
