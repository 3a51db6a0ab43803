//! Histograms with Istio's buckets, written by one thread and read by any.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds, the same list for milliseconds and bytes. Envoy: the default of `histogram_bucket_settings`.
pub(crate) const BOUNDS: [f64; 19] =
    [0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6];

/// One bucket per bound and one for what lies above all of them.
pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

const NANOS_PER_MILLI: f64 = 1e6;

/// What the numbers given to [`Histogram::observe`] count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// Nanoseconds, shown as milliseconds.
    Nanos,
    /// Bytes, shown as they are.
    Bytes,
}

impl Scale {
    const fn bounds(self) -> &'static [u64; BOUNDS.len()] {
        const NANOS: [u64; BOUNDS.len()] = scaled(NANOS_PER_MILLI);
        const BYTES: [u64; BOUNDS.len()] = scaled(1.0);
        match self {
            Scale::Nanos => &NANOS,
            Scale::Bytes => &BYTES,
        }
    }

    fn shown(self, sum: u64) -> f64 {
        match self {
            Scale::Nanos => sum as f64 / NANOS_PER_MILLI,
            Scale::Bytes => sum as f64,
        }
    }
}

/// Bounds as whole numbers. Rounding down is exact: what is observed is whole too.
const fn scaled(factor: f64) -> [u64; BOUNDS.len()] {
    let mut bounds = [0; BOUNDS.len()];
    let mut i = 0;
    while i < bounds.len() {
        bounds[i] = (BOUNDS[i] * factor) as u64;
        i += 1;
    }
    bounds
}

/// Counts per bucket, not cumulative, and the sum of what was observed.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one value. Only one thread may call this on the same histogram.
    pub(crate) fn observe(&self, scale: Scale, value: u64) {
        let bucket = scale.bounds().partition_point(|&bound| bound < value);
        bump(&self.buckets[bucket], 1);
        bump(&self.sum, value);
    }

    /// Adds what was counted here to a total.
    pub(crate) fn add_to(&self, total: &mut HistogramTotal) {
        for (total, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *total = total.wrapping_add(bucket.load(Relaxed));
        }
        total.sum = total.sum.wrapping_add(self.sum.load(Relaxed));
    }
}

/// A load and a store: with one writer nothing is lost, and no bus lock is paid.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// Histograms added up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HistogramTotal {
    /// Per bucket, not cumulative.
    pub(crate) buckets: [u64; BUCKETS],
    /// In the unit that was observed.
    pub(crate) sum: u64,
}

impl HistogramTotal {
    /// How many values were observed.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum in the unit of the bounds.
    pub(crate) fn shown_sum(&self, scale: Scale) -> f64 {
        scale.shown(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_in_the_bucket_whose_bound_they_do_not_exceed() {
        const LAST: usize = BUCKETS - 1;
        #[rustfmt::skip]
        let table: &[(Scale, u64, usize)] = &[
            (Scale::Nanos, 0, 0),
            (Scale::Nanos, 500_000, 0),
            (Scale::Nanos, 500_001, 1),
            (Scale::Nanos, 1_000_000, 1),
            (Scale::Nanos, 1_000_001, 2),
            (Scale::Nanos, 300_000_000, 8),
            (Scale::Nanos, 3_600_000_000_000, LAST - 1),
            (Scale::Nanos, 3_600_000_000_001, LAST),
            (Scale::Bytes, 0, 0),
            (Scale::Bytes, 1, 1),
            (Scale::Bytes, 5, 2),
            (Scale::Bytes, 6, 3),
            (Scale::Bytes, u64::MAX, LAST),
        ];
        for &(scale, value, bucket) in table {
            let histogram = Histogram::default();
            histogram.observe(scale, value);
            let mut total = HistogramTotal::default();
            histogram.add_to(&mut total);
            assert_eq!((total.buckets[bucket], total.count(), total.sum), (1, 1, value), "{scale:?} {value}");
        }
    }

    #[test]
    fn a_sum_is_shown_in_the_unit_of_the_bounds() {
        let total = HistogramTotal { sum: 2_500_000, ..Default::default() };
        assert_eq!((total.shown_sum(Scale::Nanos), total.shown_sum(Scale::Bytes)), (2.5, 2_500_000.0));
    }
}
