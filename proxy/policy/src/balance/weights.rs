//! Endpoints' weights laid end to end, so that a point in their sum belongs to one endpoint.

use alloc::vec::Vec;

/// The weights of a list of endpoints, without their common factor.
#[derive(Debug)]
pub(crate) struct Weights {
    count: usize,
    total: u64,
    /// Where each endpoint's stretch ends; empty when all weigh the same.
    ends: Vec<u64>,
    /// The step of a weighted round.
    stride: u64,
}

impl Weights {
    pub(crate) fn new(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let common = weights.clone().fold(0, |a, b| gcd(a, u64::from(b))).max(1);
        let (mut count, mut total, mut even) = (0, 0u64, true);
        for weight in weights.clone() {
            count += 1;
            total += u64::from(weight) / common;
            even &= u64::from(weight) == common;
        }
        if even {
            return Self { count, total, ends: Vec::new(), stride: 1 };
        }
        let ends = weights.scan(0, |end, weight| {
            *end += u64::from(weight) / common;
            Some(*end)
        });
        Self { count, total, ends: ends.collect(), stride: stride(total) }
    }

    /// Those of some of these endpoints.
    pub(crate) fn part(&self, weights: impl ExactSizeIterator<Item = u32> + Clone) -> Self {
        if self.ends.is_empty() {
            let count = weights.len();
            return Self { count, total: count as u64, ends: Vec::new(), stride: 1 };
        }
        Self::new(weights)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The sum of all weights.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// One endpoint's weight.
    pub(crate) fn of(&self, index: usize) -> u64 {
        if self.ends.is_empty() { 1 } else { self.ends[index] - self.before(index) }
    }

    /// The sum of the weights before an endpoint.
    pub(crate) fn before(&self, index: usize) -> u64 {
        match index {
            _ if self.ends.is_empty() => index as u64,
            0 => 0,
            _ => self.ends[index - 1],
        }
    }

    /// The endpoint that a point below [`Weights::total`] belongs to.
    pub(crate) fn at(&self, point: u64) -> usize {
        if self.ends.is_empty() { point as usize } else { self.ends.partition_point(|end| *end <= point) }
    }

    /// The endpoint of the n-th turn of a round. Any `total` turns in a row visit every point once, so that shares are exact;
    /// long steps spread each endpoint's turns over the round.
    pub(crate) fn turn(&self, n: u64) -> usize {
        let turn = n % self.total;
        let point = match turn.checked_mul(self.stride) {
            Some(far) => far % self.total,
            None => (u128::from(turn) * u128::from(self.stride) % u128::from(self.total)) as u64,
        };
        self.at(point)
    }
}

/// A step without common factor with `total` that spreads neighbouring points far apart in time: one near the golden section
/// whose continued fraction has no large part, since a large part is a step that nearly closes the circle too early.
fn stride(total: u64) -> u64 {
    let golden = (u128::from(total) * 618_034 / 1_000_000) as u64;
    let near = golden.saturating_sub(STRIDES)..golden.saturating_add(STRIDES);
    let coprime = |step: &u64| gcd(*step, total) == 1;
    let best = near.filter(coprime).min_by_key(|step| (largest_part(*step, total), step.abs_diff(golden)));
    best.or_else(|| (golden..).find(coprime)).unwrap_or(1)
}

/// How many steps are tried on either side of the golden section.
const STRIDES: u64 = 8;

fn largest_part(mut a: u64, mut b: u64) -> u64 {
    let mut largest = 0;
    while a != 0 {
        largest = largest.max(b / a);
        (a, b) = (b % a, a);
    }
    largest
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(list: &[u32]) -> Weights {
        Weights::new(list.iter().copied())
    }

    #[test]
    fn every_point_belongs_to_one_endpoint() {
        for list in [&[1][..], &[1, 1], &[1, 2, 7], &[10, 20, 70], &[3, 3, 1, 3], &[100, 1]] {
            let weights = weights(list);
            let common = list.iter().fold(0, |a, b| gcd(a, u64::from(*b)));
            let mut points = alloc::vec![0u64; list.len()];
            (0..weights.total()).for_each(|point| points[weights.at(point)] += 1);
            for (index, weight) in list.iter().enumerate() {
                assert_eq!(points[index], u64::from(*weight) / common, "{list:?} {index}");
                assert_eq!(weights.of(index), points[index], "{list:?} {index}");
                assert_eq!(weights.at(weights.before(index)), index, "{list:?} {index}");
            }
        }
    }

    #[test]
    fn any_whole_round_is_exact() {
        for list in [&[1][..], &[1, 1, 1], &[1, 2, 7], &[30, 60, 210], &[5, 1], &[99, 1], &[1, 1, 1, 50]] {
            let weights = weights(list);
            for start in 0..weights.total() {
                let mut turns = alloc::vec![0; list.len()];
                (0..weights.total()).for_each(|n| turns[weights.turn(start + n)] += 1);
                let shares: Vec<u64> = (0..list.len()).map(|i| weights.of(i)).collect();
                assert_eq!(turns, shares, "{list:?} from {start}");
            }
        }
    }

    #[test]
    fn a_round_is_smooth() {
        // How often in a row the heaviest comes at most: without interleaving it would be its whole share.
        for (list, most) in [
            (&[1, 1][..], 1),
            (&[1, 2, 7], 3),
            (&[1, 1, 8], 6),
            (&[50, 50, 900], 10),
            (&[1, 99], 99),
            (&[10, 90], 9),
            (&[20, 30, 50], 2),
        ] {
            let weights = weights(list);
            let (mut run, mut longest) = (0, 0);
            for n in 0..2 * weights.total() {
                run = if weights.turn(n) == list.len() - 1 { run + 1 } else { 0 };
                longest = longest.max(run);
            }
            assert!(longest <= most, "{list:?}: {longest} in a row");
        }
    }

    #[test]
    fn the_largest_weights_neither_overflow_nor_lose_their_shares() {
        let weights = weights(&[u32::MAX, u32::MAX - 1, 1]);
        let mut turns = [0u32; 3];
        (0..10_000).for_each(|n| turns[weights.turn(u64::MAX / 2 + n)] += 1);
        assert!(turns[0].abs_diff(turns[1]) <= 3 && turns[2] <= 1, "{turns:?}");
    }
}
