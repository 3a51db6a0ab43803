//! Endpoints as they live: what the configuration says of one, and what has happened to it so far.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use xxhash_rust::xxh64::Xxh64;

use crate::cluster::{Address, EndpointSpec};
use crate::time::Time;

/// Which endpoint of which cluster, the same over reloads while the cluster's name and the address stay.
///
/// It is a hash of both, so that it needs no counter and a replay gives the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndpointId(pub u64);

impl EndpointId {
    /// The identity of an address in a cluster.
    pub fn of(cluster: &str, address: &Address) -> Self {
        struct Hashed(Xxh64);
        impl fmt::Write for Hashed {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.update(text.as_bytes());
                Ok(())
            }
        }
        let mut hash = Hashed(Xxh64::new(0));
        // Writing into a hash cannot fail, and neither address fails to print itself.
        let _ = fmt::Write::write_fmt(&mut hash, format_args!("{cluster}\n{address}"));
        Self(hash.0.digest())
    }
}

/// An endpoint of a cluster.
#[derive(Debug)]
pub struct Endpoint {
    /// What the configuration says of it.
    pub spec: EndpointSpec,
    /// What has happened to it, shared with the same endpoint before and after a reload.
    pub state: Arc<EndpointState>,
}

impl Endpoint {
    /// Which one it is.
    pub fn id(&self) -> EndpointId {
        self.state.id
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.spec.address
    }

    /// When it became known.
    pub fn since(&self) -> Time {
        self.state.since
    }

    /// Its share of the traffic, at least 1.
    pub fn weight(&self) -> u32 {
        self.spec.weight.max(1)
    }

    /// Counts a request towards it from now, before a connection is sought, until the guard is dropped.
    ///
    /// Envoy counts from when a connection takes the request, which hides what queues on a dead endpoint.
    pub fn enter(self: Arc<Self>) -> Active {
        self.state.active.fetch_add(1, Relaxed);
        Active { endpoint: self }
    }

    /// How many requests are under way to it.
    pub fn active(&self) -> u32 {
        self.state.active.load(Relaxed)
    }

    /// Whether it is set aside. Envoy: `failed_outlier_check`.
    pub fn ejected(&self) -> bool {
        self.state.standing.load(Acquire) & EJECTED != 0
    }

    /// Whether it could not be connected to, and no answer about its name has named it since.
    pub fn doubted(&self) -> bool {
        self.state.doubted_at.load(Relaxed) != 0
    }

    /// Says that a connection to it was made that was begun at a moment.
    pub fn reached(&self, at: Time) {
        self.state.trust(at);
    }

    /// How many times it has been set aside so far.
    pub fn ejections(&self) -> u32 {
        self.state.ejections.load(Relaxed)
    }
}

const EJECTED: u8 = 1;
const RETIRED: u8 = 2;

/// What has happened to an endpoint so far. It outlives reloads.
#[derive(Debug)]
pub struct EndpointState {
    id: EndpointId,
    /// When it became known.
    since: Time,
    active: AtomicU32,
    standing: AtomicU8,
    ejections: AtomicU32,
    /// Since when it is doubted, in nanoseconds of [`crate::time::Time`]; 0 when it is not.
    doubted_at: AtomicU64,
    /// When the present ejection began, in nanoseconds of [`crate::time::Time`].
    pub(crate) ejected_at: AtomicU64,
    /// How many base times the present, or the next but one, ejection lasts.
    pub(crate) multiplier: AtomicU32,
    pub(crate) consecutive_5xx: AtomicU32,
    pub(crate) consecutive_gateway: AtomicU32,
    pub(crate) consecutive_local: AtomicU32,
}

impl EndpointState {
    pub(crate) fn new(id: EndpointId, since: Time) -> Self {
        Self {
            id,
            since,
            active: AtomicU32::new(0),
            standing: AtomicU8::new(0),
            ejections: AtomicU32::new(0),
            doubted_at: AtomicU64::new(0),
            ejected_at: AtomicU64::new(0),
            multiplier: AtomicU32::new(0),
            consecutive_5xx: AtomicU32::new(0),
            consecutive_gateway: AtomicU32::new(0),
            consecutive_local: AtomicU32::new(0),
        }
    }

    /// The same, as it is now; what happens to the one does not happen to the other.
    pub(crate) fn detached(&self) -> Self {
        let count = |count: &AtomicU32| AtomicU32::new(count.load(Relaxed));
        Self {
            id: self.id,
            since: self.since,
            active: count(&self.active),
            standing: AtomicU8::new(self.standing.load(Acquire)),
            ejections: count(&self.ejections),
            doubted_at: AtomicU64::new(self.doubted_at.load(Relaxed)),
            ejected_at: AtomicU64::new(self.ejected_at.load(Relaxed)),
            multiplier: count(&self.multiplier),
            consecutive_5xx: count(&self.consecutive_5xx),
            consecutive_gateway: count(&self.consecutive_gateway),
            consecutive_local: count(&self.consecutive_local),
        }
    }

    /// Sets it aside, unless it already is or is no longer configured; the number of its ejections so far.
    pub(crate) fn eject(&self) -> Option<u32> {
        self.standing.compare_exchange(0, EJECTED, AcqRel, Acquire).ok()?;
        Some(self.ejections.fetch_add(1, Relaxed) + 1)
    }

    /// Lets it back in; false when it was not out.
    pub(crate) fn readmit(&self) -> bool {
        self.standing.compare_exchange(EJECTED, 0, AcqRel, Acquire).is_ok()
    }

    /// Marks it as no longer configured; true when it takes an ejection with it.
    /// Exchanges that began before may still use it, but it neither falls nor returns any more.
    pub(crate) fn retire(&self) -> bool {
        self.standing.fetch_or(RETIRED, AcqRel) == EJECTED
    }

    /// Notes that it could not be connected to.
    pub(crate) fn doubt(&self, now: Time) {
        self.doubted_at.store(now.0.max(1), Relaxed);
    }

    /// Notes that it was found to be there at a moment; a doubt that came up later stays.
    pub(crate) fn trust(&self, at: Time) {
        let doubted_at = self.doubted_at.load(Relaxed);
        if doubted_at != 0 && doubted_at <= at.0 {
            // A doubt that comes up meanwhile stays.
            let _ = self.doubted_at.compare_exchange(doubted_at, 0, Relaxed, Relaxed);
        }
    }

    pub(crate) fn may_be_ejected(&self) -> bool {
        self.standing.load(Acquire) == 0
    }
}

/// A request under way to an endpoint. Dropping it is the only way to end the count.
#[must_use = "a request that is dropped at once is not counted"]
#[derive(Debug)]
pub struct Active {
    endpoint: Arc<Endpoint>,
}

impl Active {
    /// Where it is under way to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.endpoint.state.active.fetch_sub(1, Relaxed);
    }
}
