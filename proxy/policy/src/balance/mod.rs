//! Choosing an endpoint: who may be chosen at all, and then one file per algorithm.

mod hash;
mod least_request;
mod random;
mod ring_hash;
mod round_robin;
mod weights;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

pub use self::hash::hash_of;
pub(crate) use self::ring_hash::Ring;
pub(crate) use self::weights::Weights;
use crate::cluster;
use crate::dice::Dice;
use crate::endpoints::{Endpoint, EndpointId};

/// What is asked of a balancer: an endpoint for one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// The request's consistent hash, if it has one. Only a hashing balancer looks at it.
    pub hash: Option<u64>,
    /// The endpoints that earlier attempts of the request went to.
    pub tried: &'a [EndpointId],
    /// Whether those are passed over while another one is available.
    pub avoid_tried: bool,
    /// The exchange's luck.
    pub dice: Dice,
    /// The attempt, from 0.
    pub turn: u32,
}

/// A balancer, ready to run over a cluster's endpoints.
#[derive(Debug)]
pub(crate) enum Algorithm {
    LeastRequest,
    RoundRobin,
    Random,
    RingHash(Arc<Ring>),
}

impl Algorithm {
    /// Prepares a balancer; a ring of the same endpoints is taken over from `previous`.
    pub(crate) fn new(balancer: &cluster::Balancer, endpoints: &[Arc<Endpoint>], previous: Option<&Algorithm>) -> Self {
        match balancer {
            cluster::Balancer::LeastRequest => Self::LeastRequest,
            cluster::Balancer::RoundRobin => Self::RoundRobin,
            cluster::Balancer::Random => Self::Random,
            cluster::Balancer::RingHash { minimum_size, .. } => {
                let kept = match previous {
                    Some(Self::RingHash(ring)) if ring.fits(endpoints, *minimum_size) => Some(ring.clone()),
                    _ => None,
                };
                Self::RingHash(kept.unwrap_or_else(|| Arc::new(Ring::new(endpoints, *minimum_size))))
            }
        }
    }
}

/// A cluster's endpoints with everything a pick needs.
pub(crate) struct Field<'a> {
    pub(crate) endpoints: &'a [Arc<Endpoint>],
    pub(crate) weights: &'a Weights,
    pub(crate) algorithm: &'a Algorithm,
    pub(crate) cursor: &'a AtomicU64,
    pub(crate) panic_percent: u32,
    /// Whether no endpoint is ejected, which spares a look at each.
    pub(crate) all_in: bool,
}

impl Field<'_> {
    /// An endpoint, or `None` when none is healthy. Allocates only when an endpoint is ejected or to be passed over.
    pub(crate) fn pick(&self, ask: &Pick<'_>) -> Option<Arc<Endpoint>> {
        let all = self.all_in && (ask.tried.is_empty() || !ask.avoid_tried);
        let chosen = if all { None } else { Some(self.candidates(ask)) };
        let chosen = chosen.filter(|chosen| chosen.len() < self.endpoints.len());
        if chosen.as_ref().map_or(self.endpoints.len(), Vec::len) == 0 {
            return None;
        }
        let is_chosen =
            |index: usize| chosen.as_ref().is_none_or(|chosen| chosen.binary_search(&(index as u32)).is_ok());
        let by_hash = match (self.algorithm, ask.hash) {
            (Algorithm::RingHash(ring), Some(hash)) => ring.find(hash, is_chosen),
            _ => None,
        };
        let index = match (by_hash, &chosen) {
            (Some(index), _) => index,
            (None, None) => self.choose(ask, self.weights, |position| position),
            (None, Some(chosen)) => {
                let index = |position: usize| chosen[position] as usize;
                let weights = self.weights.part(chosen.iter().map(|i| self.endpoints[*i as usize].weight()));
                index(self.choose(ask, &weights, index))
            }
        };
        self.endpoints.get(index).cloned()
    }

    /// A position among endpoints of these weights, at least one; `index` tells which of the cluster's is at a position.
    fn choose(&self, ask: &Pick<'_>, weights: &Weights, index: impl Fn(usize) -> usize) -> usize {
        match self.algorithm {
            Algorithm::LeastRequest => {
                least_request::pick(ask, weights, |position| self.endpoints[index(position)].active())
            }
            Algorithm::RoundRobin => round_robin::pick(ask, weights, self.cursor),
            // Envoy: a request without a hash goes anywhere. So does one whose endpoints are too light for a ring of the largest size.
            Algorithm::Random | Algorithm::RingHash(_) => random::pick(ask, weights),
        }
    }

    /// Who may be chosen, as indices in order: the healthy or, in panic, all; of these the untried, if there are any.
    fn candidates(&self, ask: &Pick<'_>) -> Vec<u32> {
        let all = || (0u32..).zip(self.endpoints);
        let mut chosen: Vec<u32> = all().filter(|(_, e)| !e.ejected()).map(|(i, _)| i).collect();
        if panics(chosen.len(), self.endpoints.len(), self.panic_percent) {
            chosen = all().map(|(i, _)| i).collect();
        }
        if ask.avoid_tried && !ask.tried.is_empty() {
            let untried = |i: &u32| !ask.tried.contains(&self.endpoints[*i as usize].id());
            if chosen.iter().any(untried) {
                chosen.retain(untried);
            }
        }
        chosen
    }
}

/// Whether so few endpoints are healthy that all are used. Envoy: below `percent`, and only when the healthy ones, each
/// trusted with 140 % of its share, cannot carry everything; 0 never panics. Istio: `minHealthPercent`.
pub fn panics(healthy: usize, total: usize, percent: u32) -> bool {
    let (healthy, total) = (healthy as u64, total as u64);
    total > 0 && 140 * healthy / total < 100 && 100 * healthy < u64::from(percent) * total
}

#[cfg(test)]
mod tests;
