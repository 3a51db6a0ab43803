//! The place of a hash on a ring: the same hash keeps its endpoint while that is there. Istio: `consistentHash.ringHash`.
//! Envoy: ketama, with xxHash64 of `address_n`.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xxhash_rust::xxh64::xxh64;

use crate::cluster::Address;
use crate::endpoints::Endpoint;

/// Envoy's most entries on a ring.
const MAXIMUM_SIZE: u64 = 8_388_608;

/// A ring of endpoints' indices in order of hash.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: Vec<(u64, u32)>,
    minimum_size: u64,
    made_of: Vec<(Address, u32)>,
}

/// How many entries a ring has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingSize {
    /// All entries.
    pub total: usize,
    /// The fewest that one endpoint has.
    pub fewest: usize,
    /// The most that one endpoint has.
    pub most: usize,
}

impl Ring {
    /// Envoy: the ring is scaled so that the lightest endpoint has a whole number of entries.
    pub(crate) fn new(endpoints: &[Arc<Endpoint>], minimum_size: u64) -> Self {
        let made_of: Vec<_> = endpoints.iter().map(|e| (e.address().clone(), e.weight())).collect();
        let sum = made_of.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>();
        let lightest = made_of.iter().map(|(_, weight)| *weight).min().map_or(1.0, |least| f64::from(least) / sum);
        let minimum = minimum_size.min(MAXIMUM_SIZE) as f64;
        let scale = (ceil(lightest * minimum) / lightest).min(MAXIMUM_SIZE as f64);
        let mut entries = Vec::with_capacity(if made_of.is_empty() { 0 } else { ceil(scale) as usize });
        let mut target = 0.0;
        for (index, (address, weight)) in (0u32..).zip(&made_of) {
            target += scale * (f64::from(*weight) / sum);
            for n in 0u64.. {
                if entries.len() as f64 >= target {
                    break;
                }
                entries.push((xxh64(format!("{address}_{n}").as_bytes(), 0), index));
            }
        }
        entries.sort_unstable();
        Self { entries, minimum_size, made_of }
    }

    /// Whether a ring of these endpoints would be this one.
    pub(crate) fn fits(&self, endpoints: &[Arc<Endpoint>], minimum_size: u64) -> bool {
        let same =
            |(e, (address, weight)): (&Arc<Endpoint>, &(Address, u32))| e.address() == address && e.weight() == *weight;
        self.minimum_size == minimum_size
            && endpoints.len() == self.made_of.len()
            && endpoints.iter().zip(&self.made_of).all(same)
    }

    /// The endpoint of the first entry at or after `hash`, around the ring, that is `wanted`.
    pub(crate) fn find(&self, hash: u64, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.entries.partition_point(|(at, _)| *at < hash);
        let (before, after) = self.entries.split_at(start);
        after.iter().chain(before).map(|(_, index)| *index as usize).find(|index| wanted(*index))
    }

    /// How many entries it has.
    pub(crate) fn size(&self) -> RingSize {
        let mut each = alloc::vec![0; self.made_of.len()];
        for (_, index) in &self.entries {
            each[*index as usize] += 1;
        }
        RingSize {
            total: self.entries.len(),
            fewest: each.iter().copied().min().unwrap_or(0),
            most: each.iter().copied().max().unwrap_or(0),
        }
    }
}

/// The least whole number not below a positive `x`; `core` has no `f64::ceil`.
fn ceil(x: f64) -> f64 {
    let whole = x as u64 as f64;
    if whole < x { whole + 1.0 } else { whole }
}
