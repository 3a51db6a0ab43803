//! Each endpoint in turn, by weight. Istio: `ROUND_ROBIN`.
//!
//! One cursor for the whole process: Envoy keeps one per worker, which shows as unevenness at low rates.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Pick, Weights};
use crate::dice::Purpose;

/// Takes the next turn. The first exchange's luck says where the round begins, lest a fleet that starts together begins with
/// the same endpoint.
pub(super) fn pick(ask: &Pick<'_>, weights: &Weights, cursor: &AtomicU64) -> usize {
    if cursor.load(Relaxed) == 0 {
        let start = 1 + ask.dice.below(Purpose::Balance, ask.turn, u64::from(u32::MAX));
        // Whoever is first decides; the loser takes the turn after.
        let _ = cursor.compare_exchange(0, start, Relaxed, Relaxed);
    }
    weights.turn(cursor.fetch_add(1, Relaxed))
}
