//! A world: a live configuration, a clock and endpoints that do as they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use leeboard_policy::cluster::Address;
use leeboard_policy::dice::Dice;
use leeboard_policy::live::{Live, Resolved};
use leeboard_policy::snapshot::Snapshot;
use leeboard_policy::time::{Span, Time};

use crate::play::Play;
use crate::{Conduct, Entry, Event, Request, Seen};

/// What exchanges are played in.
#[derive(Debug)]
pub struct World {
    live: Arc<Live>,
    now: Time,
    seed: u64,
    begun: u64,
    conducts: BTreeMap<Address, Conduct>,
    trace: Vec<Entry>,
}

/// A request that comes at a time.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When; at once when that is past.
    pub at: Time,
    /// What is asked.
    pub request: Request,
    /// What its attempts meet, in order; the last holds for the rest. Empty: 200 at once. What an endpoint has been told
    /// by [`World::set_endpoint`] goes before this.
    pub script: Vec<Conduct>,
}

impl World {
    /// A quiet world at time zero. All its luck comes from the seed, of which the lower 32 bits count.
    pub fn new(live: Live, seed: u64) -> Self {
        Self { live: Arc::new(live), now: Time(0), seed, begun: 0, conducts: BTreeMap::new(), trace: Vec::new() }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The configuration with the state that goes with it.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Lets time pass, with the sweeps that are due meanwhile.
    pub fn wait(&mut self, time: Span) {
        self.pass_until(self.now + time);
    }

    /// Takes up another configuration, as a reload does. What was known of surviving endpoints is kept.
    pub fn reload(&mut self, snapshot: Arc<Snapshot>, resolved: &Resolved) {
        self.live = Arc::new(Live::adopt(Some(&self.live), snapshot, resolved, self.now));
    }

    /// Makes an endpoint do this from now on, whatever attempts are scripted to meet.
    pub fn set_endpoint(&mut self, address: Address, conduct: Conduct) {
        self.conducts.insert(address, conduct);
    }

    /// Plays exchanges until all are over, and tells what was seen of each, in the order of the arrivals.
    ///
    /// Arrivals are in order of time. Of what happens at the same moment, arrivals come first, and then the exchange that
    /// began first. An exchange to which nothing can happen any more ends when all others have.
    ///
    /// # Panics
    /// When the path of a request is not legal: a doer refuses those itself.
    pub fn play(&mut self, arrivals: &[Arrival]) -> Vec<Seen> {
        Play::new(self).run(arrivals)
    }

    /// What has happened since the last call, in order.
    pub fn take_trace(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.trace)
    }

    pub(crate) fn pass_until(&mut self, then: Time) {
        while let Some(due) = self.live.next_sweep().filter(|due| *due <= then) {
            self.now = due;
            for event in self.live.sweep(due) {
                self.note(None, Event::Outlier(event));
            }
        }
        self.now = self.now.max(then);
    }

    /// The number and the luck of the next exchange.
    pub(crate) fn next_exchange(&mut self) -> (u64, Dice) {
        self.begun += 1;
        (self.begun, Dice((self.seed << 32).wrapping_add(self.begun)))
    }

    pub(crate) fn conduct_of(&self, address: &Address) -> Option<Conduct> {
        self.conducts.get(address).copied()
    }

    pub(crate) fn note(&mut self, exchange: Option<u64>, what: Event) {
        self.trace.push(Entry { at: self.now, exchange, what });
    }
}
