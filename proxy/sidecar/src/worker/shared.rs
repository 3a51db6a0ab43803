//! What all workers share, and what one worker starts with.

use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use leeboard_policy::live::Live;
use leeboard_policy::outlier::{OutlierEvent, OutlierKind};

use super::settings::Settings;
use crate::body::replay::ReplayMemory;
use crate::dns::on_demand::OnDemandNames;
use crate::dns::unreachable::UnreachableEndpoints;
use crate::drain::{Drain, Traffic};
use crate::host::clock::Clock;
use crate::net::downstream_limits::DownstreamConnections;
use crate::net::own_addresses::OwnAddresses;
use crate::net::upstream_limits::UpstreamConnections;
use crate::telemetry::Telemetry;
use crate::upstream::shared_pool::SharedPools;

/// What all workers share.
pub(crate) struct Shared {
    /// What the command line says.
    pub(crate) settings: Settings,
    /// What the time is.
    pub(crate) clock: Clock,
    /// The configuration in force with its state.
    pub(crate) live: Arc<ArcSwap<Live>>,
    /// What is counted and logged.
    pub(crate) telemetry: Telemetry,
    /// How the process leaves.
    pub(crate) drain: Drain,
    /// The addresses of names that no configuration knows.
    pub(crate) names: OnDemandNames,
    /// Where it is said that an endpoint could not be connected to.
    pub(crate) unreachable: UnreachableEndpoints,
    /// The connections of clusters with `maxConnections`.
    pub(crate) pools: Arc<SharedPools>,
    /// What requests may keep to be sent again.
    pub(crate) replay: Arc<ReplayMemory>,
    /// Where nothing may be sent to.
    pub(crate) own_addresses: OwnAddresses,
    /// The callers that are connected.
    pub(crate) downstream_connections: Arc<DownstreamConnections>,
    /// The connections to endpoints that are open.
    pub(crate) upstream_connections: Arc<UpstreamConnections>,
    /// How many of them may be in use for one connection of a caller.
    pub(crate) most_for_caller: usize,
}

impl Shared {
    /// Counts and logs what happened to an endpoint.
    pub(crate) fn outlier(&self, event: &OutlierEvent) {
        self.telemetry.outlier(event, self.clock.wall());
        let (cluster, endpoint) = (&*event.cluster, &event.endpoint);
        match event.kind {
            OutlierKind::Ejected { cause, lasts, number } => {
                let cause = cause.as_str();
                tracing::warn!(%cluster, %endpoint, %cause, %lasts, number, "endpoint ejected");
                self.unreachable.ask(endpoint);
            }
            OutlierKind::Returned => tracing::info!(%cluster, %endpoint, "endpoint returned"),
            OutlierKind::Suppressed { cause } => {
                let cause = cause.as_str();
                tracing::debug!(%cluster, %endpoint, %cause, "endpoint not ejected: too many are out");
            }
        }
    }
}

/// What one worker is given. It lives on a thread of its own.
pub(crate) struct WorkerStart {
    /// What it shares with the others.
    pub(crate) shared: Arc<Shared>,
    /// What it counts for the drain.
    pub(crate) traffic: Arc<Traffic>,
    /// Where the application's calls arrive; the address is shared with the other workers.
    pub(crate) outbound: Option<TcpListener>,
    /// Where calls to the application arrive, in the order of the command line and of the snapshot's inbound ports.
    pub(crate) inbound: Vec<TcpListener>,
}
