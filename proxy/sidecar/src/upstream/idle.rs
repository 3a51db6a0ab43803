//! Connections that can take a request: idle HTTP/1 connections, and HTTP/2 connections with a free stream.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use leeboard_policy::endpoints::EndpointId;
use leeboard_policy::fairness::{Choice, choose};
use leeboard_policy::time::{Span, Time};
use rustc_hash::{FxHashMap, FxHashSet};

use super::connection::{Connection, stream_connection};
use super::connection_request::ConnectionRequest;
use super::http2::{Entry, Http2Connection, Http2Stream};

/// How often a pool looks for connections that nobody uses any more.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);

/// Everything that a pool keeps, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    http1: FxHashMap<EndpointId, Vec<Connection>>,
    many: FxHashMap<EndpointId, Vec<Arc<Http2Connection>>>,
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

impl IdleConnections {
    /// A connection that can take this request. `any` tells that it may be another worker's, `sure` that its peer must be known to
    /// be there.
    pub(super) fn take(&mut self, request: &ConnectionRequest<'_>, any: bool, sure: bool) -> Option<Connection> {
        if request.http2 {
            let stream = self.take_stream(request, sure, !request.full() && request.upstream_connections.has_place());
            return stream.map(|stream| stream_connection(stream, request.now));
        }
        self.take_http1(request, any)
    }

    /// An idle HTTP/1 connection, the one used last first. Envoy: LIFO, so that the others age out. This worker's own come
    /// first: what happens on another's wakes that one's thread too.
    pub(super) fn take_http1(&mut self, request: &ConnectionRequest<'_>, any: bool) -> Option<Connection> {
        let idle = self.http1.get_mut(&request.endpoint.id())?;
        loop {
            let own = idle.iter().rposition(|connection| connection.worker == request.worker);
            let connection = match own {
                Some(at) => idle.remove(at),
                None if any => idle.pop()?,
                None => return None,
            };
            if connection.fresh(request.now) {
                return Some(connection);
            }
        }
    }

    /// A connection that has to be asked for before it is used.
    pub(super) fn unsure(&self, request: &ConnectionRequest<'_>) -> Option<Arc<Http2Connection>> {
        self.many.get(&request.endpoint.id())?.iter().find(|many| many.is_unsure(request) && !many.is_over()).cloned()
    }

    /// A stream of an HTTP/2 connection; `sure` tells that its peer must be known to be there. `None` as well when a new connection
    /// is better and `may_connect`.
    pub(super) fn take_stream(
        &mut self,
        request: &ConnectionRequest<'_>,
        sure: bool,
        may_connect: bool,
    ) -> Option<Http2Stream> {
        let open = self.many.get_mut(&request.endpoint.id())?;
        let unread = request.budget.map_or(0, |budget| budget.unread());
        loop {
            let at = match choose(open.iter().map(|many| many.streams(request, sure)), unread) {
                Choice::Open(at) => at,
                Choice::Better(at) if !may_connect => at,
                Choice::Better(_) | Choice::Connect => return None,
            };
            match open[at].enter(request.settings.max_requests) {
                Entry::In(sender) => return Some(Http2Stream::new(open[at].clone(), sender)),
                Entry::Full => return None,
                Entry::Closed => drop(open.remove(at)),
            }
        }
    }

    /// Keeps an HTTP/1 connection for the next request. One to an endpoint that is set aside has no next request.
    pub(super) fn put_http1(&mut self, endpoint: EndpointId, mut connection: Connection) {
        if !self.ejected.is_empty() && self.ejected.contains(&endpoint) {
            return;
        }
        if !self.learnt.is_empty()
            && let Some((keep, _)) = self.learnt.get(&endpoint)
        {
            connection.keep = Some(connection.keep.map_or(*keep, |known| known.min(*keep)));
        }
        self.http1.entry(endpoint).or_default().push(connection);
    }

    /// Keeps a new HTTP/2 connection, a stream of which is taken for its maker.
    pub(super) fn put_http2(&mut self, endpoint: EndpointId, many: &Arc<Http2Connection>) {
        self.many.entry(endpoint).or_default().push(many.clone());
    }

    /// Closes one idle connection, so that its place can be used for another endpoint.
    pub(super) fn evict(&mut self) -> bool {
        for idle in self.http1.values_mut() {
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
        self.http1.remove(&endpoint);
        self.many.remove(&endpoint);
        self.ejected.insert(endpoint);
    }

    /// Closes what has waited too long, is closed already, or leads to an endpoint that is not wanted any more or set aside.
    pub(super) fn sweep(&mut self, now: Time, wanted: &FxHashSet<EndpointId>, ejected: &FxHashSet<EndpointId>) {
        self.ejected.clear();
        ejected.iter().for_each(|endpoint| self.part_from(*endpoint));
        let learnt = &mut self.learnt;
        self.http1.retain(|endpoint, idle| {
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
                listed && !many.is_over() && many.young(now) && !many.aged(now)
            });
            !open.is_empty()
        });
    }
}
