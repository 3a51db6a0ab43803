//! Any endpoint, by weight. Istio: `RANDOM`. Envoy's ignores weights; this one honours them.

use super::{Pick, Weights};
use crate::dice::Purpose;

/// Picks by luck alone.
pub(super) fn pick(ask: &Pick<'_>, weights: &Weights) -> usize {
    weights.at(ask.dice.below(Purpose::Balance, ask.turn, weights.total()))
}
