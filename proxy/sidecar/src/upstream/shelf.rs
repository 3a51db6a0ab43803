//! Connections to endpoints that can take a request: HTTP/1 ones that are idle, HTTP/2 ones that have a stream free.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use leeboard_policy::endpoints::EndpointId;
use leeboard_policy::limits::Slot;
use leeboard_policy::time::{Span, Time};
use rustc_hash::{FxHashMap, FxHashSet};

use super::connect::SWEEP;
use super::http1::One;
use super::http2::{Presence, Sender, Share};
use super::pool::{Ask, stream_of};
use super::room::Entered;
use super::socket::{Meter, Metered};

/// A connection in use, or one that waits for its next request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) wire: Wire,
    pub(super) meter: Arc<Meter>,
    /// Requests that it has taken.
    pub(super) served: u32,
    /// When it was last used.
    pub(super) idle_since: Time,
    /// How long it may wait for its next request; `None` is for ever.
    pub(super) keep: Option<Span>,
    /// From when on it takes no further request; `None` is never.
    pub(super) old_at: Option<Time>,
    /// Whether its endpoint is in no list, so that it goes by age alone.
    pub(super) passing: bool,
    /// Whose runtime its socket belongs to.
    pub(super) worker: usize,
    /// What an HTTP/1 connection holds; the streams of an HTTP/2 one hold it together.
    pub(super) _held: Option<Held>,
}

/// What a connection holds for as long as it is open.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) _place: Option<Slot>,
    pub(super) _entered: Entered,
    pub(super) _counted: crate::telemetry::worker::OpenConnection,
}

/// What requests are sent on.
#[derive(Debug)]
pub(crate) enum Wire {
    /// HTTP/1.
    One(Box<One>),
    /// A stream's part in an HTTP/2 connection.
    Many(Box<Share>),
    /// No request: what comes after a CONNECT. Empty once the tunnel has the socket.
    Bare(Option<Metered>),
}

/// An HTTP/2 connection, shared by its streams.
#[derive(Debug)]
pub(crate) struct Many {
    pub(super) sender: Sender,
    pub(super) meter: Arc<Meter>,
    pub(super) active: AtomicU32,
    pub(super) served: AtomicU32,
    /// The most streams at a time that the peer allows just now.
    pub(super) allowed: Arc<AtomicUsize>,
    /// The most streams at a time that the configuration allows.
    pub(super) most: u32,
    /// Set once it must take no more streams.
    pub(super) spent: AtomicBool,
    /// How long it may be without a stream; `None` is for ever.
    pub(super) keep: Option<Span>,
    /// From when on it takes no further stream; those it has come to their end. `None` is never.
    pub(super) old_at: Option<Time>,
    /// Since when it is known to have none, in nanoseconds of [`Time`], and how many it had served by then.
    pub(super) quiet: (AtomicU64, AtomicU32),
    /// Whether its endpoint is in no list, so that it goes by age alone.
    pub(super) passing: bool,
    /// By which it is asked for; `None` when that is done all the time.
    pub(super) presence: Option<Presence>,
    pub(super) _held: Held,
}

/// What comes of asking for a stream.
enum Entry {
    In(Sender),
    Full,
    Closed,
}

impl Many {
    /// Takes a stream if there is room for one.
    fn enter(&self, most_requests: Option<u32>) -> Entry {
        let mut sender = self.sender.clone();
        if self.spent.load(Relaxed) || closed(&mut sender) {
            return Entry::Closed;
        }
        let room = match self.allowed.load(Relaxed) {
            // A peer that allows none just now would allow none on another connection either: the stream waits on this one.
            0 => self.most,
            allowed => self.most.min(u32::try_from(allowed).unwrap_or(u32::MAX)),
        };
        let fits = |active: u32| (active < room).then(|| active + 1);
        if self.active.fetch_update(Relaxed, Relaxed, fits).is_err() {
            return Entry::Full;
        }
        let served = self.served.fetch_add(1, Relaxed) + 1;
        if most_requests.is_some_and(|most| served >= most) {
            self.spent.store(true, Relaxed);
        }
        Entry::In(sender)
    }

    /// Gives a stream back.
    pub(super) fn leave(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// Whether it has been without a stream for so long that nobody knows whether the peer is there.
    fn is_unsure(&self, ask: &Ask<'_>) -> bool {
        let Some(after) = ask.ping_after.filter(|_| self.active.load(Relaxed) == 0) else { return false };
        let (since, served_before) = &self.quiet;
        served_before.load(Relaxed) == self.served.load(Relaxed)
            && ask.now - Time(since.load(Relaxed)) >= after
            && self.presence.is_some()
    }

    /// Asks the peer whether it is there. A connection whose peer does not answer takes no more streams.
    pub(super) async fn look(&self, ask: &Ask<'_>) {
        let Some(presence) = &self.presence else { return };
        let known = || self.spent.load(Relaxed) || !self.is_unsure(ask);
        match presence.answers(known).await {
            true => self.quiet.0.store(ask.now.0, Relaxed),
            false => self.spent.store(true, Relaxed),
        }
    }

    /// Whether it may take streams by its age.
    fn young(&self, now: Time) -> bool {
        self.old_at.is_none_or(|old_at| now < old_at)
    }

    /// Whether it has been without a stream for too long. Looked at from time to time, and by that much too late.
    fn aged(&self, now: Time) -> bool {
        let (since, served_before) = &self.quiet;
        let served = self.served.load(Relaxed);
        if self.active.load(Relaxed) > 0 || served_before.swap(served, Relaxed) != served {
            since.store(now.0, Relaxed);
            return false;
        }
        self.keep.is_some_and(|keep| now - Time(since.load(Relaxed)) >= keep)
    }
}

/// Whether a connection takes no more streams: it has ended, or its peer has said that it will.
fn closed(sender: &mut Sender) -> bool {
    // A sender that has sent nothing yet waits for nothing.
    matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
}

/// Everything that a pool keeps, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    ones: FxHashMap<EndpointId, Vec<Connection>>,
    many: FxHashMap<EndpointId, Vec<Arc<Many>>>,
    /// Endpoints that are set aside, as of the last look.
    ejected: FxHashSet<EndpointId>,
    /// How long connections to endpoints are kept that were seen to end idle ones, and when they were.
    learnt: FxHashMap<EndpointId, (Span, Time)>,
}

/// An endpoint that ends a connection which has been idle for less is probably ending itself.
const TELLING: Span = Span::from_millis(1_500);
/// How long it is remembered that an endpoint ends idle connections.
const LEARNT_FOR: Span = Span::from_secs(600);

/// How long to keep connections to an endpoint that has been seen to end one after this time, at a sweep: some time less, so
/// that a request and the end do not cross on their way. Better than Envoy, which keeps them until they are ended.
fn shorter_than(seen: Span) -> Span {
    Span((seen.0 - SWEEP.as_nanos() as u64) / 5 * 4)
}

impl Shelf {
    /// A connection that can take this request. `any` tells that it may be another worker's, `sure` that its peer must be known to
    /// be there.
    pub(super) fn take(&mut self, ask: &Ask<'_>, any: bool, sure: bool) -> Option<Connection> {
        if ask.http2 {
            let share = self.take_stream(ask, sure);
            return share.map(|share| stream_of(share, ask.now));
        }
        self.take_one(ask, any)
    }

    /// An idle HTTP/1 connection, the one used last first. Envoy: LIFO, so that the others age out. This worker's own come
    /// first: what happens on another's wakes that one's thread too.
    pub(super) fn take_one(&mut self, ask: &Ask<'_>, any: bool) -> Option<Connection> {
        let idle = self.ones.get_mut(&ask.endpoint.id())?;
        loop {
            let own = idle.iter().rposition(|connection| connection.worker == ask.worker);
            let connection = match own {
                Some(at) => idle.remove(at),
                None if any => idle.pop()?,
                None => return None,
            };
            if connection.fresh(ask.now) {
                return Some(connection);
            }
        }
    }

    /// A connection that has to be asked for before it is used.
    pub(super) fn unsure(&self, ask: &Ask<'_>) -> Option<Arc<Many>> {
        self.many.get(&ask.endpoint.id())?.iter().find(|many| many.is_unsure(ask)).cloned()
    }

    /// A stream of an HTTP/2 connection that has room; `sure` tells that its peer must be known to be there.
    pub(super) fn take_stream(&mut self, ask: &Ask<'_>, sure: bool) -> Option<Share> {
        let mut share = None;
        self.many.get_mut(&ask.endpoint.id())?.retain(|many| {
            if share.is_some() {
                return true;
            }
            if !many.young(ask.now) {
                return false;
            }
            if sure && many.is_unsure(ask) {
                // One that is closed is not asked for.
                return !many.spent.load(Relaxed) && !closed(&mut many.sender.clone());
            }
            match many.enter(ask.settings.max_requests) {
                Entry::In(sender) => share = Some(Share::new(many.clone(), sender)),
                Entry::Full => {}
                Entry::Closed => return false,
            }
            true
        });
        share
    }

    /// Keeps an HTTP/1 connection for the next request. One to an endpoint that is set aside has no next request.
    pub(super) fn put_one(&mut self, endpoint: EndpointId, mut connection: Connection) {
        if !self.ejected.is_empty() && self.ejected.contains(&endpoint) {
            return;
        }
        if !self.learnt.is_empty()
            && let Some((keep, _)) = self.learnt.get(&endpoint)
        {
            connection.keep = Some(connection.keep.map_or(*keep, |known| known.min(*keep)));
        }
        self.ones.entry(endpoint).or_default().push(connection);
    }

    /// Keeps a new HTTP/2 connection, a stream of which is taken for its maker.
    pub(super) fn put_many(&mut self, endpoint: EndpointId, many: &Arc<Many>) {
        self.many.entry(endpoint).or_default().push(many.clone());
    }

    /// Closes one idle connection, so that its place can be used for another endpoint.
    pub(super) fn evict(&mut self) -> bool {
        for idle in self.ones.values_mut() {
            if !idle.is_empty() {
                idle.remove(0);
                return true;
            }
        }
        for open in self.many.values_mut() {
            if let Some(unused) = open.iter().position(|many| many.active.load(Relaxed) == 0) {
                open.remove(unused);
                return true;
            }
        }
        false
    }

    /// Closes what leads to an endpoint that is set aside: what is idle now, and what is under way when it is over.
    pub(super) fn part_from(&mut self, endpoint: EndpointId) {
        self.ones.remove(&endpoint);
        self.many.remove(&endpoint);
        self.ejected.insert(endpoint);
    }

    /// Closes what has waited too long, is closed already, or leads to an endpoint that is not wanted any more or set aside.
    pub(super) fn sweep(&mut self, now: Time, wanted: &FxHashSet<EndpointId>, ejected: &FxHashSet<EndpointId>) {
        self.ejected.clear();
        ejected.iter().for_each(|endpoint| self.part_from(*endpoint));
        let learnt = &mut self.learnt;
        self.ones.retain(|endpoint, idle| {
            let listed = wanted.contains(endpoint);
            idle.retain(|connection| {
                let idle_for = now - connection.idle_since;
                if listed && connection.meter.stale() && idle_for >= TELLING {
                    learnt.insert(*endpoint, (shorter_than(idle_for), now));
                }
                (listed || connection.passing) && connection.fresh(now)
            });
            !idle.is_empty()
        });
        learnt.retain(|endpoint, (_, at)| wanted.contains(endpoint) && now - *at < LEARNT_FOR);
        self.many.retain(|endpoint, open| {
            open.retain(|many| {
                let listed = wanted.contains(endpoint) || many.passing;
                listed && !closed(&mut many.sender.clone()) && many.young(now) && !many.aged(now)
            });
            !open.is_empty()
        });
    }
}

impl Connection {
    /// Not too old, and nothing has come from the peer, nor its end, that the runtime has heard of.
    fn fresh(&self, now: Time) -> bool {
        let open = match &self.wire {
            Wire::One(_) => !self.meter.stale(),
            Wire::Many(_) | Wire::Bare(_) => false,
        };
        let young = self.old_at.is_none_or(|old_at| now < old_at);
        open && young && self.keep.is_none_or(|keep| now - self.idle_since < keep)
    }
}
