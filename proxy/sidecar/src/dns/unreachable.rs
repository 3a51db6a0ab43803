//! Endpoints that could not be connected to, or were ejected: their names are resolved again at once.
//!
//! Better than Envoy, which uses an answer until its TTL is over, so that requests to a pod that is gone fail for half
//! a minute.

use std::net::IpAddr;

use leeboard_policy::cluster::Address;
use leeboard_policy::endpoints::Endpoint;
use leeboard_policy::live::LiveCluster;
use tokio::sync::mpsc;

use super::on_demand::OnDemandNames;
use crate::host::clock::Clock;

/// The most addresses that wait to be looked at. What does not find room is not doubted: nobody would ask for it again.
const MOST_WAITING: usize = 256;

/// Where workers say that something could not be connected to.
#[derive(Clone, Debug)]
pub(crate) struct UnreachableEndpoints {
    clock: Clock,
    names: OnDemandNames,
    waiting: mpsc::Sender<IpAddr>,
}

impl UnreachableEndpoints {
    /// The place to say it, and what [`crate::config::dns::keep_fresh`] hears of it.
    pub(crate) fn new(clock: Clock, names: OnDemandNames) -> (Self, mpsc::Receiver<IpAddr>) {
        let (waiting, doubted) = mpsc::channel(MOST_WAITING);
        (Self { clock, names, waiting }, doubted)
    }

    /// An endpoint of a cluster could not be connected to. Until an answer names it again others go before it.
    pub(crate) fn unreachable(&self, cluster: &LiveCluster, endpoint: &Endpoint) {
        if cluster.is_named() && self.ask(endpoint.address()) {
            cluster.doubt(endpoint, self.clock.now());
        }
    }

    /// An address that a caller was going to anyway could not be connected to.
    pub(crate) fn unreachable_anyway(&self, address: &Address) {
        if let Some(ip) = address.ip() {
            self.names.doubt(ip);
        }
    }

    /// Has the names of an address asked for again; false when there is no room for that.
    pub(crate) fn ask(&self, address: &Address) -> bool {
        address.ip().is_some_and(|ip| self.waiting.try_send(ip).is_ok())
    }
}
