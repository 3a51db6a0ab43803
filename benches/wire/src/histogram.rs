//! A latency histogram: log-linear buckets, bounded memory, error below one percent.

use std::time::Duration;

/// Each power of two is cut into this many buckets, so a value is known to within 1/128.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values from this power of two on share the last bucket (about 68 seconds).
const TOP_BIT: u32 = 36;
const BUCKETS: usize = ((TOP_BIT - STEP_BITS + 1) as usize) * STEPS as usize;

/// Counts of durations in nanoseconds.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

impl Histogram {
    /// An empty histogram.
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, largest: 0 }
    }

    /// Adds one duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.largest = self.largest.max(nanos);
    }

    /// How many durations were recorded.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The smallest duration that at least `share` (0 to 1) of the records do not exceed, in
    /// microseconds; `None` when nothing was recorded. Never above the largest record.
    pub(crate) fn quantile_us(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(upper_edge(index).min(self.largest) as f64 / 1e3);
            }
        }
        Some(self.largest as f64 / 1e3)
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let bit = u64::BITS - 1 - nanos.leading_zeros();
    if bit >= TOP_BIT {
        return BUCKETS - 1;
    }
    let shift = bit - STEP_BITS;
    let within = (nanos >> shift) - STEPS;
    (u64::from(shift + 1) * STEPS + within) as usize
}

/// The largest value that falls into the bucket.
fn upper_edge(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    if index as usize == BUCKETS - 1 {
        return u64::MAX;
    }
    let shift = index / STEPS - 1;
    let within = index % STEPS;
    ((STEPS + within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_continuous_and_hold_their_edges() {
        for index in 0..BUCKETS - 1 {
            let edge = upper_edge(index);
            assert_eq!(bucket(edge), index, "upper edge {edge}");
            assert_eq!(bucket(edge + 1), index + 1, "one above {edge}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_bucket_is_no_wider_than_one_percent() {
        for nanos in [128, 1_000, 55_123, 1_000_000, 999_999_999, 30_000_000_000] {
            let edge = upper_edge(bucket(nanos));
            assert!(edge >= nanos);
            assert!((edge - nanos) as f64 <= nanos as f64 * 0.01, "{nanos} {edge}");
        }
    }

    #[test]
    fn quantiles_of_known_records() {
        let mut histogram = Histogram::new();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (share, expected) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let got = histogram.quantile_us(share).expect("not empty");
            assert!((got - expected).abs() <= expected * 0.01, "{share}: {got}");
        }
        assert_eq!(histogram.total(), 1000);
    }

    #[test]
    fn the_tail_is_not_lost_nor_exaggerated() {
        let mut histogram = Histogram::new();
        for _ in 0..999 {
            histogram.record(Duration::from_micros(10));
        }
        histogram.record(Duration::from_secs(500));
        assert!(histogram.quantile_us(0.999).expect("not empty") < 11.0);
        assert_eq!(histogram.quantile_us(1.0), Some(500e6));
        assert_eq!(Histogram::new().quantile_us(0.5), None);
    }
}
