//! Choosing an endpoint: who may be chosen at all, and then one file per algorithm.

mod curve;
mod hash;
mod least_request;
mod locality;
mod maglev;
mod priorities;
mod random;
mod ring_hash;
mod round_robin;
mod warmup;
mod weights;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) use self::curve::ln;
pub(crate) use self::hash::{hash_of, known};
pub(crate) use self::maglev::Table;
pub(crate) use self::priorities::{Priorities, View};
pub(crate) use self::ring_hash::Ring;
pub(crate) use self::weights::Weights;
use crate::cluster::{self, Warmup};
use crate::dice::Dice;
use crate::endpoints::{Endpoint, EndpointId};
use crate::time::Time;

/// What is asked of a balancer: an endpoint for one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// The request's consistent hash, if it has one. Only a hashing balancer looks at it.
    pub hash: Option<u64>,
    /// The endpoints that earlier attempts of the request went to, in order.
    pub tried: &'a [EndpointId],
    /// Whether those are passed over while another one is available.
    pub avoid_tried: bool,
    /// Whether levels that two attempts went to are passed over. Istio: `retryRemoteLocalities`.
    pub leave_levels: bool,
    /// The exchange's luck.
    pub dice: Dice,
    /// The attempt, from 0.
    pub turn: u32,
    /// The time, by which new endpoints are told from old ones.
    pub now: Time,
}

/// A balancer, ready to run over some endpoints.
#[derive(Debug)]
pub(crate) enum Algorithm {
    LeastRequest,
    RoundRobin,
    Random,
    RingHash(Arc<Ring>),
    Maglev(Arc<Table>),
}

impl Algorithm {
    /// Prepares a balancer; a ring or table of the same endpoints is taken over from `previous`. `shares` tells each
    /// endpoint's part of a hash's places, all together 1.
    pub(crate) fn new(
        balancer: &cluster::Balancer,
        endpoints: &[Arc<Endpoint>],
        shares: impl FnOnce() -> Vec<f64>,
        previous: Option<&Algorithm>,
    ) -> Self {
        match balancer {
            cluster::Balancer::LeastRequest => Self::LeastRequest,
            cluster::Balancer::RoundRobin => Self::RoundRobin,
            cluster::Balancer::Random => Self::Random,
            cluster::Balancer::RingHash { minimum_size, .. } => {
                let shares = shares();
                let kept = match previous {
                    Some(Self::RingHash(ring)) if ring.fits(endpoints, &shares, *minimum_size) => Some(ring.clone()),
                    _ => None,
                };
                Self::RingHash(kept.unwrap_or_else(|| Arc::new(Ring::new(endpoints, &shares, *minimum_size))))
            }
            cluster::Balancer::Maglev { table_size, .. } => {
                let shares = shares();
                let kept = match previous {
                    Some(Self::Maglev(table)) if table.fits(endpoints, &shares, *table_size) => Some(table.clone()),
                    _ => None,
                };
                Self::Maglev(kept.unwrap_or_else(|| Arc::new(Table::new(endpoints, &shares, *table_size))))
            }
        }
    }
}

/// Each endpoint's part of the weights' sum.
pub(crate) fn shares_of(endpoints: &[Arc<Endpoint>]) -> Vec<f64> {
    let sum = endpoints.iter().map(|endpoint| f64::from(endpoint.weight())).sum::<f64>();
    endpoints.iter().map(|endpoint| f64::from(endpoint.weight()) / sum).collect()
}

/// Whose turn it is in the rounds of a cluster; each is 0 before its first. They outlive reloads.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// The round of all endpoints, or of a level; then those of its localities. Of many some share one.
    rounds: [AtomicU64; 8],
}

impl Cursors {
    /// The same numbers, to count on from.
    pub(crate) fn detached(&self) -> Self {
        Self { rounds: self.rounds.each_ref().map(|round| round.load(Relaxed).into()) }
    }

    pub(crate) fn at(&self, round: usize) -> &AtomicU64 {
        &self.rounds[round % self.rounds.len()]
    }
}

/// Which of a field's endpoints may be chosen for their health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    /// None is ejected, which spares a look at each.
    AllIn,
    /// Those that are not ejected.
    Healthy,
    /// All of them.
    Everyone,
    /// Those that are not ejected, or all when less than this percentage is.
    Above(u32),
}

/// Some endpoints with everything a pick needs.
pub(crate) struct HostSet<'a> {
    pub(crate) endpoints: &'a [Arc<Endpoint>],
    pub(crate) weights: &'a Weights,
    pub(crate) algorithm: &'a Algorithm,
    pub(crate) cursor: &'a AtomicU64,
    pub(crate) health: Health,
    /// Whether some may be doubted.
    pub(crate) doubts: bool,
    /// Whether ejected ones are picked when there is no other.
    pub(crate) last_resort: bool,
    /// Given while some endpoints are newer than others.
    pub(crate) warmup: Option<&'a Warmup>,
}

impl HostSet<'_> {
    /// An endpoint, or `None` when none may be picked. Allocates only when an endpoint is ejected, to be passed over or new.
    pub(crate) fn pick(&self, ask: &Pick<'_>) -> Option<Arc<Endpoint>> {
        let all = matches!(self.health, Health::AllIn | Health::Everyone)
            && !self.doubts
            && (ask.tried.is_empty() || !ask.avoid_tried);
        let chosen = if all { None } else { Some(self.candidates(ask)) };
        let chosen = chosen.filter(|chosen| chosen.len() < self.endpoints.len());
        if chosen.as_ref().map_or(self.endpoints.len(), Vec::len) == 0 {
            return None;
        }
        let is_chosen =
            |index: usize| chosen.as_ref().is_none_or(|chosen| chosen.binary_search(&(index as u32)).is_ok());
        let by_hash = match (self.algorithm, ask.hash) {
            (Algorithm::RingHash(ring), Some(hash)) => ring.find(hash, is_chosen),
            (Algorithm::Maglev(table), Some(hash)) => table.find(hash, is_chosen),
            _ => None,
        };
        let index = match (by_hash, &chosen) {
            (Some(index), _) => index,
            (None, None) => match self.warmup {
                None => self.choose(ask, self.weights, |position| position),
                Some(warmup) => {
                    let weights = Weights::new(self.endpoints.iter().map(|e| warmup.weight(e, ask.now)));
                    self.choose(ask, &weights, |position| position)
                }
            },
            (None, Some(chosen)) => {
                let index = |position: usize| chosen[position] as usize;
                let weights = self.part(chosen, ask.now);
                index(self.choose(ask, &weights, index))
            }
        };
        self.endpoints.get(index).cloned()
    }

    /// The weights of some of the endpoints.
    fn part(&self, chosen: &[u32], now: Time) -> Weights {
        let endpoints = chosen.iter().map(|i| &self.endpoints[*i as usize]);
        match self.warmup {
            None => self.weights.part(endpoints.map(|e| e.weight())),
            Some(warmup) => Weights::new(endpoints.map(|e| warmup.weight(e, now))),
        }
    }

    /// A position among endpoints of these weights, at least one; `index` tells which of the field's is at a position.
    fn choose(&self, ask: &Pick<'_>, weights: &Weights, index: impl Fn(usize) -> usize) -> usize {
        match self.algorithm {
            Algorithm::LeastRequest => {
                least_request::pick(ask, weights, |position| self.endpoints[index(position)].active())
            }
            Algorithm::RoundRobin if self.warmup.is_some() => round_robin::pick_by_point(ask, weights, self.cursor),
            Algorithm::RoundRobin => round_robin::pick(ask, weights, self.cursor),
            // Envoy: a request without a hash goes anywhere. So does one whose endpoints are too light for a ring of the largest size.
            Algorithm::Random | Algorithm::RingHash(_) | Algorithm::Maglev(_) => random::pick(ask, weights),
        }
    }

    /// Who may be chosen, as indices in order: the healthy or, in panic, all; of these the undoubted, if there are any, or else
    /// as a last resort all; of these the untried, if there are any.
    fn candidates(&self, ask: &Pick<'_>) -> Vec<u32> {
        let all = || (0u32..).zip(self.endpoints);
        let everyone = matches!(self.health, Health::AllIn | Health::Everyone);
        let mut chosen: Vec<u32> = all().filter(|(_, e)| everyone || !e.ejected()).map(|(i, _)| i).collect();
        if let Health::Above(percent) = self.health
            && panics(chosen.len(), self.endpoints.len(), percent)
        {
            chosen = all().map(|(i, _)| i).collect();
        }
        let undoubted = |i: &u32| !self.endpoints[*i as usize].doubted();
        if self.doubts && chosen.iter().any(undoubted) {
            chosen.retain(undoubted);
        } else if self.last_resort && (self.doubts || chosen.is_empty()) {
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
