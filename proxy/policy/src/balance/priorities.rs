//! Endpoints in levels, of which the nearest that are healthy enough take the load, and within a level in localities with
//! shares of their own. Istio: `localityLbSetting`. Envoy: priorities, locality-weighted and zone-aware balancing.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::locality::{levels, shares, zone_shares};
use super::{Algorithm, Cursors, Health, HostSet, Pick, Weights, panics, shares_of};
use crate::cluster::{Balancer, LocalityPolicy, Workload, Zones};
use crate::dice::{Dice, Purpose};
use crate::endpoints::{Endpoint, EndpointId};

/// After so many attempts the levels that they went to are passed over. Istio: `previous_priorities` with this frequency.
const ATTEMPTS_PER_LEVEL: usize = 2;

/// Endpoints, and how one of them is chosen.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) weights: Weights,
    pub(crate) algorithm: Algorithm,
}

/// The endpoints of a cluster, when some go before others.
#[derive(Debug)]
pub(crate) struct Priorities {
    priorities: Vec<PriorityLevel>,
    /// The level of each of the cluster's endpoints; `None` for one that takes nothing.
    levels: Vec<Option<u32>>,
}

/// One level.
#[derive(Debug)]
struct PriorityLevel {
    pool: Pool,
    /// Its localities, if each has a share.
    parts: Vec<Part>,
    /// How these shares are found anew when health changes.
    zones: Option<(Arc<Zones>, Arc<str>)>,
}

/// The endpoints of one locality.
#[derive(Debug)]
struct Part {
    locality: Arc<str>,
    weight: u64,
    pool: Pool,
}

/// What a pick needs to know beside the endpoints.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) cursors: &'a Cursors,
    pub(crate) panic_percent: u32,
    /// Whether no endpoint is ejected.
    pub(crate) all_in: bool,
    /// Whether some endpoint may be doubted.
    pub(crate) doubts: bool,
    /// Whether ejected endpoints are picked when there is no other.
    pub(crate) last_resort: bool,
    pub(crate) warmup: Option<&'a crate::cluster::Warmup>,
}

impl Pool {
    fn new(endpoints: Vec<Arc<Endpoint>>, balancer: &Balancer, previous: Option<&Pool>) -> Self {
        let algorithm = Algorithm::new(balancer, &endpoints, || shares_of(&endpoints), previous.map(|p| &p.algorithm));
        Self { weights: Weights::new(endpoints.iter().map(|e| e.weight())), algorithm, endpoints }
    }

    fn pick(&self, ask: &Pick<'_>, view: View<'_>, health: Health, cursor: usize) -> Option<Arc<Endpoint>> {
        let (endpoints, weights, algorithm) = (&self.endpoints[..], &self.weights, &self.algorithm);
        let (cursor, doubts, last_resort, warmup) =
            (view.cursors.at(cursor), view.doubts, view.last_resort, view.warmup);
        HostSet { endpoints, weights, algorithm, cursor, health, doubts, last_resort, warmup }.pick(ask)
    }

    fn healthy(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| !endpoint.ejected()).count()
    }

    /// Whether some healthy endpoint has not been tried.
    fn has_untried(&self, tried: &[EndpointId]) -> bool {
        self.endpoints.iter().any(|endpoint| !endpoint.ejected() && !tried.contains(&endpoint.id()))
    }
}

impl Priorities {
    /// Sorts endpoints; `None` when all are alike.
    pub(crate) fn new(
        locality_policy: &LocalityPolicy,
        here: &Workload,
        endpoints: &[Arc<Endpoint>],
        balancer: &Balancer,
        previous: Option<&Priorities>,
    ) -> Option<Self> {
        let levels = levels(locality_policy, here, endpoints.iter().map(|e| &*e.spec.workload));
        let count = levels.iter().flatten().max().map_or(0, |most| *most as usize + 1);
        let of_level = |wanted: u32| {
            let members = endpoints.iter().zip(&levels).filter(move |(_, level)| **level == Some(wanted));
            members.map(|(endpoint, _)| endpoint.clone()).collect::<Vec<_>>()
        };
        let known = |index: usize| previous.and_then(|priorities| priorities.priorities.get(index));
        let make = |index: usize| {
            let parts = if index == 0 { locality_policy } else { &LocalityPolicy::Ignored };
            PriorityLevel::new(of_level(index as u32), parts, here, balancer, known(index))
        };
        let priorities: Vec<PriorityLevel> = (0..count).map(make).collect();
        let alike = match locality_policy {
            LocalityPolicy::Shares(_) => false,
            _ => priorities.len() < 2 && priorities.first().is_none_or(|priority| priority.parts.is_empty()),
        };
        (!alike).then_some(Self { priorities, levels })
    }

    /// The level of the cluster's endpoint of this index; `None` for one that takes nothing.
    pub(crate) fn level(&self, index: usize) -> Option<u32> {
        self.levels.get(index).copied().flatten()
    }

    /// How many endpoints take part.
    pub(crate) fn len(&self) -> usize {
        self.levels.iter().flatten().count()
    }

    pub(crate) fn pick(&self, ask: &Pick<'_>, view: View<'_>) -> Option<Arc<Endpoint>> {
        let leaves = ask.leave_levels && ask.tried.len() >= ATTEMPTS_PER_LEVEL;
        if view.all_in && !leaves {
            return self.priorities.first()?.pick(ask, view, false);
        }
        let health: Vec<_> =
            self.priorities.iter().map(|priority| (priority.pool.healthy(), priority.pool.endpoints.len())).collect();
        let load = Load::of(&health, view.panic_percent, &[]);
        let shares = if leaves { self.leave(ask, &health, &load) } else { None };
        let level = level_of(shares.as_deref().unwrap_or(&load.shares), ask)?;
        self.priorities[level].pick(ask, view, load.panics[level])
    }

    /// The loads without the levels that attempts have gone to, two at a time; when none is left they all begin anew.
    fn leave(&self, ask: &Pick<'_>, health: &[(usize, usize)], whole: &Load) -> Option<Vec<u32>> {
        let mut left = vec![false; self.priorities.len()];
        let mut shares = None;
        for pair in ask.tried.chunks_exact(ATTEMPTS_PER_LEVEL) {
            for id in pair {
                let priority =
                    self.priorities.iter().position(|priority| priority.pool.endpoints.iter().any(|e| e.id() == *id));
                priority.into_iter().for_each(|index| left[index] = true);
            }
            let load = Load::of(health, 0, &left);
            if load.shares.iter().zip(&left).all(|(share, left)| *share == 0 || *left) {
                left.fill(false);
                shares = Some(whole.shares.clone());
            } else {
                shares = Some(load.shares);
            }
        }
        shares
    }
}

/// The level that the load falls on. Envoy: by the request's hash if it has one.
fn level_of(shares: &[u32], ask: &Pick<'_>) -> Option<usize> {
    let roll = ask.hash.unwrap_or_else(|| ask.dice.roll(Purpose::Level, ask.turn));
    let mut point = (roll % 100) as u32;
    for (level, share) in shares.iter().enumerate() {
        match point.checked_sub(*share) {
            Some(rest) => point = rest,
            None => return Some(level),
        }
    }
    None
}

/// How much each level takes, in percent, and which of them use their endpoints whatever their health.
#[derive(PartialEq, Eq, Debug)]
struct Load {
    shares: Vec<u32>,
    panics: Vec<bool>,
}

impl Load {
    /// From how many are healthy of how many, level by level. Envoy: each healthy endpoint is trusted with 140 % of its share;
    /// what a level cannot carry goes to the next; if all together cannot, each takes its part of what they can.
    fn of(levels: &[(usize, usize)], panic_percent: u32, left: &[bool]) -> Self {
        let is_left = |index: usize| left.get(index).copied().unwrap_or(false);
        let able = |(index, (healthy, total)): (usize, &(usize, usize))| match *total {
            0 => 0,
            _ if is_left(index) => 0,
            total => (140 * healthy / total).min(100) as u32,
        };
        let able: Vec<u32> = levels.iter().enumerate().map(able).collect();
        let together = able.iter().sum::<u32>().min(100);
        let panics: Vec<bool> = levels.iter().map(|(h, n)| together < 100 && panics(*h, *n, panic_percent)).collect();
        if !panics.is_empty() && panics.iter().all(|panics| *panics) {
            return Self { shares: by_size(levels), panics };
        }
        let mut rest = 100;
        let mut shares = vec![0; levels.len()];
        if together == 0 {
            // Nobody can carry anything, and the first level will say so.
            shares.iter_mut().take(1).for_each(|first| *first = 100);
            return Self { shares, panics };
        }
        for (share, able) in shares.iter_mut().zip(&able) {
            *share = rest.min(100 * able / together);
            rest -= *share;
        }
        add_to_first(&mut shares, rest);
        Self { shares, panics }
    }
}

/// Envoy: when every level panics each takes its part of all endpoints.
fn by_size(levels: &[(usize, usize)]) -> Vec<u32> {
    let all: usize = levels.iter().map(|(_, total)| total).sum();
    let mut shares: Vec<u32> = levels.iter().map(|(_, total)| (100 * total / all.max(1)) as u32).collect();
    let rest = 100 - shares.iter().sum::<u32>();
    add_to_first(&mut shares, rest);
    shares
}

/// What rounding has left over goes to the first level that takes anything.
fn add_to_first(shares: &mut [u32], rest: u32) {
    if let Some(first) = shares.iter_mut().find(|share| **share > 0) {
        *first += rest;
    }
}

impl PriorityLevel {
    fn new(
        endpoints: Vec<Arc<Endpoint>>,
        locality_policy: &LocalityPolicy,
        here: &Workload,
        balancer: &Balancer,
        previous: Option<&PriorityLevel>,
    ) -> Self {
        let mut localities: BTreeMap<Arc<str>, Vec<Arc<Endpoint>>> = BTreeMap::new();
        for endpoint in &endpoints {
            localities.entry(endpoint.spec.workload.locality.clone()).or_default().push(endpoint.clone());
        }
        let sizes: Vec<(&str, u64)> = localities.iter().map(|(name, list)| (&**name, weight_of(list))).collect();
        let (weights, zones) = match locality_policy {
            LocalityPolicy::Shares(list) => (Some(shares(list, &sizes)), None),
            LocalityPolicy::Zones(zones) => {
                (zones_of(zones, here, &localities), Some((zones.clone(), here.locality.clone())))
            }
            LocalityPolicy::Ignored | LocalityPolicy::Levels(_) => (None, None),
        };
        let known = previous.map(|priority| &priority.pool);
        let (Some(weights), true) = (weights, localities.len() > 1) else {
            let zones = zones.filter(|_| localities.len() > 1);
            return Self { parts: Vec::new(), zones, pool: Pool::new(endpoints, balancer, known) };
        };
        if balancer.hash_key().is_some() && zones.is_none() {
            let pool = hashed(endpoints, &sizes, &weights, balancer, known);
            return Self { parts: Vec::new(), zones: None, pool };
        }
        let part = |((locality, list), weight): ((Arc<str>, Vec<Arc<Endpoint>>), u64)| {
            let before = previous.and_then(|priority| priority.parts.iter().find(|part| part.locality == locality));
            Part { locality, weight, pool: Pool::new(list, balancer, before.map(|part| &part.pool)) }
        };
        let parts = localities.into_iter().zip(weights).map(part).collect();
        Self { parts, zones, pool: Pool::new(endpoints, balancer, known) }
    }

    fn pick(&self, ask: &Pick<'_>, view: View<'_>, panics: bool) -> Option<Arc<Endpoint>> {
        let health = match (panics, view.all_in) {
            (true, _) => Health::Everyone,
            (false, true) => Health::AllIn,
            (false, false) => Health::Healthy,
        };
        if panics || self.parts.is_empty() {
            return self.pool.pick(ask, view, health, 0);
        }
        let Some(part) = self.part(ask, view.all_in) else { return self.pool.pick(ask, view, health, 0) };
        self.parts[part].pool.pick(ask, view, health, part + 1)
    }

    /// The locality of a pick; `None` when localities do not count now.
    fn part(&self, ask: &Pick<'_>, all_in: bool) -> Option<usize> {
        let mut weights: Vec<u64> =
            if all_in { self.parts.iter().map(|part| part.weight).collect() } else { self.now()? };
        let untried = |part: &Part| part.pool.has_untried(ask.tried);
        if ask.avoid_tried
            && !ask.tried.is_empty()
            && self.parts.iter().zip(&weights).any(|(p, w)| *w > 0 && untried(p))
        {
            let tried = self.parts.iter().zip(&mut weights).filter(|(part, _)| !untried(part));
            tried.for_each(|(_, weight)| *weight = 0);
        }
        draw(&weights, ask.dice, ask.turn)
    }

    /// What localities weigh when some endpoints are ejected. Envoy: each by the part of it that is healthy, trusted with 140 %.
    fn now(&self) -> Option<Vec<u64>> {
        let health = self.parts.iter().map(|part| (part.pool.healthy() as u64, part.pool.endpoints.len() as u64));
        let Some((zones, own)) = &self.zones else {
            let able = |(healthy, total): (u64, u64)| (1_400 * healthy / total.max(1)).min(1_000);
            return Some(self.parts.iter().zip(health).map(|(part, health)| part.weight * able(health)).collect());
        };
        let counts: Vec<(&str, u64)> =
            self.parts.iter().zip(health).map(|(part, (h, _))| (&*part.locality, h)).collect();
        zone_weights(zones, own, &counts)
    }
}

fn weight_of(endpoints: &[Arc<Endpoint>]) -> u64 {
    endpoints.iter().map(|endpoint| u64::from(endpoint.weight())).sum()
}

fn zones_of(zones: &Zones, here: &Workload, localities: &BTreeMap<Arc<str>, Vec<Arc<Endpoint>>>) -> Option<Vec<u64>> {
    let counts: Vec<(&str, u64)> = localities.iter().map(|(name, list)| (&**name, list.len() as u64)).collect();
    zone_weights(zones, &here.locality, &counts)
}

/// Envoy: too few endpoints are not divided.
fn zone_weights(zones: &Zones, own: &str, healthy: &[(&str, u64)]) -> Option<Vec<u64>> {
    if healthy.iter().map(|(_, n)| n).sum::<u64>() < zones.least_endpoints {
        return None;
    }
    let callers: Vec<(&str, u64)> = zones.callers.iter().map(|(zone, n)| (&**zone, u64::from(*n))).collect();
    zone_shares(own, &callers, healthy)
}

/// Envoy: on a ring or in a table a locality's share is part of its endpoints' weights.
fn hashed(
    endpoints: Vec<Arc<Endpoint>>,
    sizes: &[(&str, u64)],
    weights: &[u64],
    balancer: &Balancer,
    previous: Option<&Pool>,
) -> Pool {
    let all: u64 = weights.iter().sum::<u64>().max(1);
    let share = |endpoint: &Arc<Endpoint>| {
        let place = sizes.iter().position(|(name, _)| *name == &*endpoint.spec.workload.locality);
        place.map_or(0.0, |place| {
            f64::from(endpoint.weight()) / sizes[place].1 as f64 * (weights[place] as f64 / all as f64)
        })
    };
    let shares: Vec<f64> = endpoints.iter().map(share).collect();
    let algorithm = Algorithm::new(balancer, &endpoints, || shares, previous.map(|pool| &pool.algorithm));
    Pool { weights: Weights::new(endpoints.iter().map(|e| e.weight())), algorithm, endpoints }
}

/// An index by weight; `None` when nothing weighs anything.
fn draw(weights: &[u64], dice: Dice, turn: u32) -> Option<usize> {
    let mut point = dice.below(Purpose::Locality, turn, weights.iter().sum());
    weights.iter().position(|weight| match point.checked_sub(*weight) {
        Some(rest) => {
            point = rest;
            false
        }
        None => true,
    })
}

#[cfg(test)]
mod tests;
