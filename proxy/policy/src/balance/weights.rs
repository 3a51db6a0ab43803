//! Endpoints' weights laid end to end, so that a point in their sum belongs to one endpoint.

use alloc::vec::Vec;

/// The weights of a list of endpoints, without their common factor.
#[derive(Debug)]
pub(crate) struct Weights {
    count: usize,
    total: u64,
    /// Where each endpoint's stretch ends; empty when all weigh the same.
    ends: Vec<u64>,
    /// The step of a weighted round: near the golden section of `total`, and with no factor in common.
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

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
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
    /// steps of the golden section spread each endpoint's turns over the round.
    pub(crate) fn turn(&self, n: u64) -> usize {
        let point = u128::from(n % self.total) * u128::from(self.stride) % u128::from(self.total);
        self.at(point as u64)
    }
}

fn stride(total: u64) -> u64 {
    let golden = (u128::from(total) * 618_034 / 1_000_000) as u64;
    (golden.max(1)..).find(|step| gcd(*step, total) == 1).unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
