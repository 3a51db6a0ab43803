//! The place of a hash in Maglev's table: one look-up, and nearly even shares. Istio: `consistentHash.maglev`.
//! Envoy: the paper's listing 1 with weights, xxHash64 of the address with the seeds 0 and 1.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use xxhash_rust::xxh64::xxh64;

use super::ring_hash::is_made_of;
use crate::cluster::Address;
use crate::dice::mix;
use crate::endpoints::Endpoint;

/// How many other places a hash is led to when its own endpoint is not wanted, before the table is searched.
const LEAPS: u64 = 64;

/// A table of endpoints' indices.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Slots,
    size: u32,
    made_of: Vec<(Address, f64)>,
}

/// Most clusters have few endpoints, and a table has many slots.
#[derive(Debug)]
enum Slots {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

/// An endpoint's claims to slots, in its own order.
struct Claim {
    index: u32,
    offset: u64,
    skip: u64,
    share: f64,
    /// It takes a slot in the rounds in which its share has grown to this.
    target: f64,
    next: u64,
}

impl Table {
    /// Fills a table of `size` slots, at least one per endpoint. `shares` add up to 1.
    pub(crate) fn new(endpoints: &[Arc<Endpoint>], shares: &[f64], size: u32) -> Self {
        let made_of: Vec<_> = endpoints.iter().map(|e| e.address().clone()).zip(shares.iter().copied()).collect();
        let slots = fill(claims(&made_of, size), u64::from(size));
        let slots = match endpoints.len() {
            0..=0xffff => Slots::Narrow(slots.into_iter().map(|index| index as u16).collect()),
            _ => Slots::Wide(slots.into()),
        };
        Self { slots, size, made_of }
    }

    /// Whether a table of these endpoints would be this one.
    pub(crate) fn fits(&self, endpoints: &[Arc<Endpoint>], shares: &[f64], size: u32) -> bool {
        self.size == size && is_made_of(&self.made_of, endpoints, shares)
    }

    /// The endpoint of a hash, if it is `wanted`; else that of another place that the hash leads to, so that what an endpoint
    /// had is shared evenly by all others.
    pub(crate) fn find(&self, hash: u64, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let len = self.len();
        if len == 0 {
            return None;
        }
        let leaps = (0..LEAPS).map(|leap| if leap == 0 { hash } else { mix(hash ^ leap) });
        let start = hash % len;
        let places = leaps.map(|hash| hash % len).chain((0..len).map(|step| (start + step) % len));
        places.map(|place| self.at(place as usize)).find(|index| wanted(*index))
    }

    fn len(&self) -> u64 {
        match &self.slots {
            Slots::Narrow(slots) => slots.len() as u64,
            Slots::Wide(slots) => slots.len() as u64,
        }
    }

    fn at(&self, place: usize) -> usize {
        match &self.slots {
            Slots::Narrow(slots) => usize::from(slots[place]),
            Slots::Wide(slots) => slots[place] as usize,
        }
    }
}

/// Envoy: in order of address, so that the order of the configuration does not show.
fn claims(made_of: &[(Address, f64)], size: u32) -> Vec<Claim> {
    let mut named: Vec<(String, u32, f64)> =
        (0u32..).zip(made_of).map(|(index, (address, share))| (address.to_string(), index, *share)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let size = u64::from(size);
    let claim = |(address, index, share): (String, u32, f64)| Claim {
        index,
        offset: xxh64(address.as_bytes(), 0) % size,
        skip: xxh64(address.as_bytes(), 1) % (size - 1).max(1) + 1,
        share,
        target: 0.0,
        next: 0,
    };
    named.into_iter().map(claim).collect()
}

fn fill(mut claims: Vec<Claim>, size: u64) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    if claims.is_empty() {
        return Vec::new();
    }
    let heaviest = claims.iter().map(|claim| claim.share).fold(0.0, f64::max);
    let mut slots = vec![FREE; size as usize];
    let mut left = size;
    let mut round = 0.0;
    while left > 0 {
        round += 1.0;
        for claim in &mut claims {
            if left == 0 {
                break;
            }
            if round * claim.share < claim.target {
                continue;
            }
            claim.target += heaviest;
            let mut place = (claim.offset + claim.skip * claim.next) % size;
            while slots[place as usize] != FREE {
                claim.next += 1;
                place = (claim.offset + claim.skip * claim.next) % size;
            }
            slots[place as usize] = claim.index;
            claim.next += 1;
            left -= 1;
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::shares_of;
    use crate::cluster::{Balancer, ClusterId, HashKey};
    use crate::live::Live;
    use crate::live::tests::{address, cluster, reload};

    fn live(weights: &[u32]) -> Live {
        reload(None, vec![cluster("a", Balancer::Maglev { key: HashKey::SourceIp, table_size: 101 }, weights)])
    }

    fn table(weights: &[u32], size: u32) -> Table {
        let live = live(weights);
        let endpoints = live.cluster(ClusterId(0)).endpoints();
        Table::new(endpoints, &shares_of(endpoints), size)
    }

    fn slots(table: &Table) -> Vec<usize> {
        (0..table.len()).map(|place| table.at(place as usize)).collect()
    }

    fn counts(table: &Table, endpoints: usize) -> Vec<usize> {
        let mut counts = vec![0; endpoints];
        slots(table).into_iter().for_each(|index| counts[index] += 1);
        counts
    }

    #[test]
    fn slots_are_shared_by_weight() {
        #[rustfmt::skip]
        let rows: [(&[u32], u32, &[usize]); 6] = [
            (&[1], 7, &[7]),
            (&[1, 1, 1], 7, &[3, 2, 2]),
            (&[1, 1, 1], 65_537, &[21_846, 21_846, 21_845]),
            (&[1, 2, 7], 65_537, &[6_554, 13_108, 45_875]),
            (&[5, 5], 2, &[1, 1]),
            (&[], 7, &[]),
        ];
        for (weights, size, expected) in rows {
            let counts = counts(&table(weights, size), weights.len());
            assert_eq!(counts.iter().sum::<usize>(), if weights.is_empty() { 0 } else { size as usize });
            assert!(counts.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 2), "{weights:?}: {counts:?}");
        }
    }

    #[test]
    fn every_endpoint_prefers_places_by_two_hashes_of_its_address() {
        // The first in order of address takes its first choice.
        let table = table(&[1, 1, 1], 65_537);
        let text = address(1).to_string();
        assert_eq!(text, "10.0.0.1:80");
        assert_eq!(table.at((xxh64(text.as_bytes(), 0) % 65_537) as usize), 0);
        // The published test of the algorithm: each takes its next free choice in turn.
        let claim = |index, offset, skip| Claim { index, offset, skip, share: 1.0 / 3.0, target: 0.0, next: 0 };
        let filled = fill(vec![claim(0, 3, 4), claim(1, 0, 2), claim(2, 3, 1)], 7);
        assert_eq!(filled, [1, 0, 1, 0, 2, 2, 0]);
    }

    #[test]
    fn the_order_of_the_configuration_does_not_show() {
        let live = live(&[1, 1, 1]);
        let endpoints = live.cluster(ClusterId(0)).endpoints();
        let turned: Vec<_> = endpoints.iter().rev().cloned().collect();
        let shares = shares_of(endpoints);
        let (one, other) = (Table::new(endpoints, &shares, 101), Table::new(&turned, &shares, 101));
        let turned: Vec<_> = slots(&other).into_iter().map(|index| 2 - index).collect();
        assert_eq!(slots(&one), turned);
    }

    #[test]
    fn without_an_endpoint_only_its_hashes_move_and_all_others_share_them() {
        let table = table(&[1, 1, 1, 1], 65_537);
        let mut takers = [0; 4];
        for n in 0..8_000u64 {
            let hash = xxh64(&n.to_le_bytes(), 0);
            let before = table.find(hash, |_| true).expect("there are endpoints");
            let after = table.find(hash, |index| index != 2).expect("there are others");
            if before == 2 {
                takers[after] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert_eq!(takers[2], 0);
        assert!([0, 1, 3].iter().all(|i| (570..770).contains(&takers[*i])), "{takers:?}");
    }

    #[test]
    fn the_last_endpoint_is_found_and_none_is_none() {
        let table = table(&[1; 50], 101);
        for n in 0..50 {
            assert_eq!(table.find(n as u64, |index| index == n), Some(n));
        }
        assert_eq!(table.find(1, |_| false), None);
        assert_eq!(self::table(&[], 101).find(1, |_| true), None);
    }

    #[test]
    fn a_retired_endpoint_moves_few_others() {
        let (four, three) = (table(&[1, 1, 1, 1], 65_537), table(&[1, 1, 1], 65_537));
        let moved = slots(&four).iter().zip(slots(&three)).filter(|(a, b)| **a != 3 && *a != b).count();
        assert!(moved < 65_537 / 10, "{moved}");
    }

    #[test]
    fn the_same_endpoints_keep_their_table() {
        let live = live(&[1, 2]);
        let endpoints = live.cluster(ClusterId(0)).endpoints();
        let table = Table::new(endpoints, &shares_of(endpoints), 101);
        assert!(table.fits(endpoints, &shares_of(endpoints), 101));
        assert!(!table.fits(endpoints, &shares_of(endpoints), 103));
        assert!(!table.fits(endpoints, &[0.5, 0.5], 101));
        assert!(!table.fits(&endpoints[..1], &[1.0], 101));
    }
}
