//! All the luck of one exchange, drawn from one seed by counter, so that a new roll never shifts another.

use alloc::vec::Vec;

/// What a roll is for. Each purpose has a sequence of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Purpose {
    /// Which weighted destination.
    Split = 1,
    /// Whether a delay is injected.
    FaultDelay = 2,
    /// Whether an abort is injected.
    FaultAbort = 3,
    /// Whether mirror `turn` receives a copy.
    Mirror = 4,
    /// Which endpoint attempt `turn` goes to.
    Balance = 5,
    /// The second candidate of a power-of-two choice.
    BalanceSecond = 6,
    /// How long back-off `turn` lasts.
    Backoff = 7,
    /// The request id, when the caller sent none.
    RequestId = 8,
    /// Which level of endpoints attempt `turn` goes to.
    Level = 9,
    /// Which locality of a level attempt `turn` goes to.
    Locality = 10,
}

/// The seed of one exchange. Equal seeds give equal rolls, whatever else is rolled in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// Sixty-four uniformly distributed bits for a purpose and a turn.
    pub fn roll(self, purpose: Purpose, turn: u32) -> u64 {
        mix(self.0 ^ mix((purpose as u64) << 32 | u64::from(turn)))
    }

    /// A uniform number below `bound`; zero when `bound` is zero.
    pub fn below(self, purpose: Purpose, turn: u32, bound: u64) -> u64 {
        let wide = u128::from(self.roll(purpose, turn)) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// Whether a chance of `share` comes true.
    pub fn chance(self, purpose: Purpose, turn: u32, share: Share) -> bool {
        share.0 >= 1_000_000 || self.below(purpose, turn, 1_000_000) < u64::from(share.0)
    }

    /// The seeds of `n` exchanges that follow from one, for tests and simulations.
    pub fn sequence(self, n: usize) -> Vec<Dice> {
        (0..n as u64).map(|i| Dice(mix(self.0.wrapping_add(i)))).collect()
    }
}

/// A share of requests in parts per million. Istio: percentages are truncated to one part in 10⁶.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Share(pub u32);

impl Share {
    /// All requests.
    pub const ALL: Share = Share(1_000_000);
    /// No request.
    pub const NONE: Share = Share(0);

    /// From a percentage between 0 and 100, truncated as Istio does.
    pub fn from_percent(percent: f64) -> Self {
        Self(((percent * 10_000.0) as u32).min(1_000_000))
    }
}

/// SplitMix64's finaliser over a Weyl step: every input bit reaches every output bit.
pub(crate) const fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolls_depend_on_seed_purpose_and_turn_only() {
        let dice = Dice(7);
        let first = dice.roll(Purpose::Split, 0);
        let _ = dice.roll(Purpose::Backoff, 3);
        assert_eq!(first, dice.roll(Purpose::Split, 0));
        assert_ne!(first, dice.roll(Purpose::Split, 1));
        assert_ne!(first, dice.roll(Purpose::Mirror, 0));
        assert_ne!(first, Dice(8).roll(Purpose::Split, 0));
    }

    #[test]
    fn shares_come_out_as_asked() {
        for (percent, low, high) in
            [(0.0, 0, 0), (10.0, 9_700, 10_300), (50.0, 49_400, 50_600), (100.0, 100_000, 100_000)]
        {
            let share = Share::from_percent(percent);
            let hits = Dice(1).sequence(100_000).into_iter().filter(|d| d.chance(Purpose::Mirror, 0, share)).count();
            assert!((low..=high).contains(&hits), "{percent} % gave {hits}");
        }
    }

    #[test]
    fn percentages_keep_one_part_in_a_million() {
        for (percent, parts) in
            [(0.0001, 1), (0.1, 1_000), (12.345_678, 123_456), (100.0, 1_000_000), (250.0, 1_000_000)]
        {
            assert_eq!(Share::from_percent(percent), Share(parts), "{percent}");
        }
    }
}
