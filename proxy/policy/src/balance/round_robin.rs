//! Each endpoint in turn, by weight. Istio: `ROUND_ROBIN`.
//!
//! One cursor for the whole process: Envoy keeps one per worker, which shows as unevenness at low rates.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Pick, Weights};
use crate::dice::Purpose;

/// Takes the next turn.
pub(super) fn pick(ask: &Pick<'_>, weights: &Weights, cursor: &AtomicU64) -> usize {
    weights.turn(next(ask, cursor))
}

/// Takes the next turn while weights change from one to the next: the golden section spreads turns over any of them.
pub(super) fn pick_by_point(ask: &Pick<'_>, weights: &Weights, cursor: &AtomicU64) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let spread = next(ask, cursor).wrapping_mul(GOLDEN);
    weights.at(((u128::from(spread) * u128::from(weights.total())) >> 64) as u64)
}

/// The first exchange's luck says where the round begins, lest a fleet that starts together begins with the same endpoint.
fn next(ask: &Pick<'_>, cursor: &AtomicU64) -> u64 {
    if cursor.load(Relaxed) == 0 {
        let start = 1 + ask.dice.below(Purpose::Balance, ask.turn, u64::from(u32::MAX));
        // Whoever is first decides; the loser takes the turn after.
        let _ = cursor.compare_exchange(0, start, Relaxed, Relaxed);
    }
    cursor.fetch_add(1, Relaxed)
}
