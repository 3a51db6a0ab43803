//! A worker's upstream connections.
//!
//! A cluster without `maxConnections` has connections of its own in each worker, without a lock. A cluster with
//! `maxConnections` has one pool for all workers, in [`super::shared_pool`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use leeboard_policy::endpoints::EndpointId;
use leeboard_policy::live::LiveCluster;
use leeboard_policy::time::Time;
use leeboard_policy::verdict::Failure;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

use super::connect::make;
use super::connection_request::{ConnectError, ConnectionRequest};
use super::idle::IdleConnections;
use super::lease::{Lease, ReturnTo};
use super::shared_pool::{SharedPool, SharedPools};
use crate::dns::unreachable::UnreachableEndpoints;
use crate::telemetry::WorkerTelemetry;
use crate::telemetry::worker::PoolCounters;

/// A worker's connections.
pub(crate) struct Pool {
    idle: Rc<RefCell<IdleConnections>>,
    /// Who waits for an HTTP/2 connection that is being made.
    joining: RefCell<FxHashMap<EndpointId, Rc<Notify>>>,
    counters: RefCell<FxHashMap<EndpointId, PoolCounters>>,
    shared: Arc<SharedPools>,
    unreachable: UnreachableEndpoints,
    known_shared: RefCell<FxHashMap<usize, Arc<SharedPool>>>,
}

impl Pool {
    /// An empty pool that shares what must be shared.
    pub(crate) fn new(shared: Arc<SharedPools>, unreachable: UnreachableEndpoints) -> Self {
        Self {
            idle: Rc::default(),
            joining: RefCell::default(),
            counters: RefCell::default(),
            shared,
            unreachable,
            known_shared: RefCell::default(),
        }
    }

    /// A connection that is there already.
    pub(crate) fn idle(&self, request: &ConnectionRequest<'_>) -> Option<Lease> {
        if request.fresh {
            return None;
        }
        let taken = request.take().ok()?;
        if request.cluster.limits().connections.is_some() {
            let pool = self.shared_pool(request.cluster);
            let connection = pool.idle(request)?;
            return Some(Lease::new(connection, request, ReturnTo::Cluster(pool), true).counted(taken));
        }
        let connection = self.idle.borrow_mut().take(request, true, true)?;
        Some(Lease::new(connection, request, ReturnTo::Worker(self.idle.clone()), true).counted(taken))
    }

    /// A connection for one request.
    pub(crate) async fn acquire(
        &self,
        request: &ConnectionRequest<'_>,
        telemetry: &WorkerTelemetry,
    ) -> Result<Lease, ConnectError> {
        let counters = || self.counters(request, telemetry);
        // It counts while it is being made.
        let (taken, full) = request.take().map_or_else(|full| (None, Some(full)), |taken| (taken, None));
        let lease = if let Some(full) = full {
            Err(full)
        } else if request.cluster.limits().connections.is_some() {
            let pool = self.shared_pool(request.cluster);
            let acquired = pool.acquire(request, &counters).await;
            acquired.map(|(connection, reused)| Lease::new(connection, request, ReturnTo::Cluster(pool), reused))
        } else if request.http2 {
            self.acquire_stream(request, &counters).await
        } else {
            self.acquire_one(request, &counters).await
        };
        match &lease {
            Ok(lease) if !lease.reused => request.endpoint.reached(request.now),
            Ok(_) => {}
            Err(error) => {
                let address = request.endpoint.address();
                let limit = (error.failure == Failure::Overflow).then_some(&*error.words);
                let cause = limit.unwrap_or(error.failure.reason());
                telemetry.connection_failed(&request.cluster.name, request.known_address(), cause);
                match (error.failure.is_connect(), request.passing) {
                    (true, false) => self.unreachable.unreachable(request.cluster, request.endpoint),
                    (true, true) => self.unreachable.unreachable_anyway(address),
                    (false, _) => {}
                }
            }
        }
        lease.map(|lease| lease.counted(taken))
    }

    async fn acquire_one(
        &self,
        request: &ConnectionRequest<'_>,
        counters: &dyn Fn() -> PoolCounters,
    ) -> Result<Lease, ConnectError> {
        let kept = if request.fresh { None } else { self.idle.borrow_mut().take_http1(request, true) };
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let entered = request.enter(|| self.idle.borrow_mut().evict())?;
                make(request, (entered, None), counters).await?.0
            }
        };
        Ok(Lease::new(connection, request, ReturnTo::Worker(self.idle.clone()), reused))
    }

    /// Streams share connections: whoever comes while one is being made waits for that one.
    async fn acquire_stream(
        &self,
        request: &ConnectionRequest<'_>,
        counters: &dyn Fn() -> PoolCounters,
    ) -> Result<Lease, ConnectError> {
        let endpoint = request.endpoint.id();
        let return_to = || ReturnTo::Worker(self.idle.clone());
        loop {
            if !request.fresh
                && let Some(connection) = self.idle.borrow_mut().take(request, true, true)
            {
                return Ok(Lease::new(connection, request, return_to(), true));
            }
            let unsure = if request.fresh { None } else { self.idle.borrow().unsure(request) };
            if let Some(many) = unsure {
                many.look(request).await;
                continue;
            }
            let arriving = self.joining.borrow().get(&endpoint).cloned();
            match arriving {
                Some(arrival) if !request.fresh => arrival.notified().await,
                _ => break,
            }
        }
        let entered = match request.enter(|| self.idle.borrow_mut().evict()) {
            Ok(entered) => entered,
            // The last place was taken by another worker, and a stream that is not the best is better than none.
            Err(full) if request.fresh => return Err(full),
            Err(full) => {
                let connection = self.idle.borrow_mut().take(request, true, true);
                return connection.map(|connection| Lease::new(connection, request, return_to(), true)).ok_or(full);
            }
        };
        let _joining = Joining::begin(self, endpoint);
        let (connection, many) = make(request, (entered, None), counters).await?;
        if let Some(many) = many {
            self.idle.borrow_mut().put_http2(endpoint, &many);
        }
        Ok(Lease::new(connection, request, return_to(), false))
    }

    fn shared_pool(&self, cluster: &LiveCluster) -> Arc<SharedPool> {
        let key = Arc::as_ptr(&cluster.counts).addr();
        if let Some(pool) = self.known_shared.borrow().get(&key) {
            return pool.clone();
        }
        let pool = self.shared.of(&cluster.name);
        self.known_shared.borrow_mut().insert(key, pool.clone());
        pool
    }

    fn counters(&self, request: &ConnectionRequest<'_>, telemetry: &WorkerTelemetry) -> PoolCounters {
        let mut counters = self.counters.borrow_mut();
        let new = || telemetry.pool(&request.cluster.name, request.known_address());
        counters.entry(request.endpoint.id()).or_insert_with(new).clone()
    }

    /// Closes what leads to an endpoint that has just been set aside. Other workers follow with their next sweep.
    pub(crate) fn part_from(&self, cluster: &Arc<str>, endpoint: EndpointId) {
        self.idle.borrow_mut().part_from(endpoint);
        self.shared.of(cluster).part_from(endpoint);
    }

    /// Closes what has waited too long, or leads to an endpoint that is not wanted any more or is set aside.
    pub(crate) fn sweep(&self, now: Time, wanted: &FxHashSet<EndpointId>, ejected: &FxHashSet<EndpointId>) {
        self.idle.borrow_mut().sweep(now, wanted, ejected);
        self.counters.borrow_mut().retain(|endpoint, _| wanted.contains(endpoint));
        self.known_shared.borrow().values().for_each(|pool| pool.sweep(now, wanted, ejected));
    }
}

/// Lets others wait for an HTTP/2 connection; dropping it tells them to look again.
struct Joining<'p> {
    pool: &'p Pool,
    endpoint: EndpointId,
}

impl<'p> Joining<'p> {
    fn begin(pool: &'p Pool, endpoint: EndpointId) -> Self {
        pool.joining.borrow_mut().entry(endpoint).or_default();
        Self { pool, endpoint }
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if let Some(arrival) = self.pool.joining.borrow_mut().remove(&self.endpoint) {
            arrival.notify_waiters();
        }
    }
}
