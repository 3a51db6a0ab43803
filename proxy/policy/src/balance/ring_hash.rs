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
    made_of: Vec<(Address, f64)>,
}

impl Ring {
    /// Envoy: the ring is scaled so that the lightest endpoint has a whole number of entries. `shares` add up to 1.
    pub(crate) fn new(endpoints: &[Arc<Endpoint>], shares: &[f64], minimum_size: u64) -> Self {
        let made_of: Vec<_> = endpoints.iter().map(|e| e.address().clone()).zip(shares.iter().copied()).collect();
        let lightest = shares.iter().copied().reduce(f64::min).unwrap_or(1.0);
        let minimum = minimum_size.clamp(1, MAXIMUM_SIZE) as f64;
        let scale = (ceil(lightest * minimum) / lightest).min(MAXIMUM_SIZE as f64);
        let mut entries = Vec::with_capacity(if made_of.is_empty() { 0 } else { ceil(scale) as usize });
        let mut target = 0.0;
        for (index, (address, share)) in (0u32..).zip(&made_of) {
            target += scale * share;
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
    pub(crate) fn fits(&self, endpoints: &[Arc<Endpoint>], shares: &[f64], minimum_size: u64) -> bool {
        self.minimum_size == minimum_size && is_made_of(&self.made_of, endpoints, shares)
    }

    /// The endpoint of the first entry at or after `hash`, around the ring, that is `wanted`.
    pub(crate) fn find(&self, hash: u64, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.entries.partition_point(|(at, _)| *at < hash);
        let (before, after) = self.entries.split_at(start);
        after.iter().chain(before).map(|(_, index)| *index as usize).find(|index| wanted(*index))
    }
}

/// Whether what was made of these addresses and shares would be made of those endpoints too.
pub(super) fn is_made_of(made_of: &[(Address, f64)], endpoints: &[Arc<Endpoint>], shares: &[f64]) -> bool {
    let now = endpoints.iter().map(|e| e.address()).zip(shares);
    made_of.len() == endpoints.len()
        && now.zip(made_of).all(|((address, share), (known, known_share))| address == known && share == known_share)
}

/// The least whole number not below a positive `x`; `core` has no `f64::ceil`.
fn ceil(x: f64) -> f64 {
    let whole = x as u64 as f64;
    if whole < x { whole + 1.0 } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::shares_of;
    use crate::cluster::{Balancer, ClusterId, HashKey};
    use crate::live::LiveCluster;
    use crate::live::tests::{address, any, cluster, reload};
    use crate::live::{Live, Pick};
    use alloc::vec;

    fn ring(weights: &[u32], minimum_size: u64) -> Live {
        let balancer = Balancer::RingHash { key: HashKey::SourceIp, minimum_size };
        reload(None, vec![cluster("a", balancer, weights)])
    }

    fn made(live: &Live, minimum_size: u64) -> Ring {
        Ring::new(only(live).endpoints(), &shares_of(only(live).endpoints()), minimum_size)
    }

    fn only(live: &Live) -> &LiveCluster {
        live.cluster(ClusterId(0))
    }

    #[test]
    fn sizes_are_envoys() {
        #[rustfmt::skip]
        let table: [(&[u32], u64, &[usize]); 7] = [
            (&[1, 1, 1, 1], 1024, &[256, 256, 256, 256]),
            (&[1, 2, 7], 1024, &[103, 206, 721]),
            (&[1], 1024, &[1024]),
            (&[1, 1, 1], 1024, &[342, 342, 342]),
            (&[1, 1], 1, &[1, 1]),
            (&[1, 1], 0, &[1, 1]),
            (&[], 1024, &[]),
        ];
        for (weights, minimum, expected) in table {
            let live = ring(weights, minimum);
            let ring = made(&live, minimum);
            let mut each = vec![0; weights.len()];
            ring.entries.iter().for_each(|(_, index)| each[*index as usize] += 1);
            assert_eq!(each, expected, "{weights:?} of at least {minimum}");
        }
    }

    #[test]
    fn a_hash_belongs_to_the_first_entry_at_or_after_it() {
        let live = ring(&[1, 1, 1], 3);
        let ring = made(&live, 3);
        for (n, (at, index)) in ring.entries.iter().enumerate() {
            assert_eq!(xxh64(format!("{}_0", address(*index as u8 + 1)).as_bytes(), 0), *at);
            let next = ring.entries[(n + 1) % ring.entries.len()].1 as usize;
            assert_eq!(ring.find(*at, |_| true), Some(*index as usize));
            assert_eq!(ring.find(*at + 1, |_| true), Some(next));
            assert_eq!(ring.find(*at, |i| i != *index as usize), Some(next), "walks on past the unwanted");
        }
        assert_eq!(ring.find(7, |_| false), None);
    }

    #[test]
    fn a_request_keeps_its_endpoint_and_shares_follow_weights() {
        let live = ring(&[1, 2, 7], 1024);
        let mut hits = [0u32; 3];
        for n in 0..20_000u64 {
            let hash = Some(xxh64(&n.to_le_bytes(), 0));
            let first = only(&live).pick(&Pick { hash, ..any(n) }).expect("healthy");
            let again = only(&live).pick(&Pick { hash, ..any(n + 1) }).expect("healthy");
            assert_eq!(first.id(), again.id());
            hits[usize::from(first.address() != &address(1)) + usize::from(first.address() == &address(3))] += 1;
        }
        for (share, expected) in hits.iter().zip([2_000u32, 4_000, 14_000]) {
            assert!(share.abs_diff(expected) < expected / 4, "{hits:?}");
        }
    }

    #[test]
    fn without_an_endpoint_only_its_requests_move() {
        let live = ring(&[1, 1, 1, 1], 1024);
        let gone = only(&live).endpoints()[3].id();
        let mut takers = [0; 3];
        for n in 0..4_000u64 {
            let ask = Pick { hash: Some(xxh64(&n.to_le_bytes(), 0)), ..any(n) };
            let before = only(&live).pick(&ask).expect("healthy");
            let after = only(&live).pick(&Pick { tried: &[gone], ..ask }).expect("healthy");
            let same = only(&live).pick(&Pick { tried: &[gone], avoid_tried: false, ..ask }).expect("healthy");
            assert_eq!(same.id(), before.id(), "unless asked to, a retry does not move");
            if before.id() != gone {
                assert_eq!(after.id(), before.id());
                continue;
            }
            let taker = only(&live).endpoints().iter().position(|e| e.id() == after.id()).expect("one of them");
            takers[taker] += 1;
        }
        assert!(takers.iter().all(|taken| *taken > 150), "the others share what it had: {takers:?}");
    }

    #[test]
    fn the_same_endpoints_keep_their_ring() {
        let live = ring(&[1, 2], 1024);
        let (ring, endpoints) = (made(&live, 1024), only(&live).endpoints());
        assert!(ring.fits(endpoints, &shares_of(endpoints), 1024));
        assert!(!ring.fits(endpoints, &[0.5, 0.5], 1024));
        assert!(!ring.fits(endpoints, &shares_of(endpoints), 1025));
        assert!(!ring.fits(&endpoints[..1], &[1.0], 1024));
    }
}
