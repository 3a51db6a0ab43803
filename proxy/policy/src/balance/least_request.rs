//! The less busy of two different endpoints. Istio: `LEAST_REQUEST`, the default, also spelled `LEAST_CONN`.
//!
//! Envoy draws with replacement, so that of two endpoints the busier still gets a quarter, and turns to another algorithm
//! when weights differ. Here the two are always different; both draws go by weight, and what is compared is requests per
//! weight, so that an idle cluster is shared exactly by weight and a busy one settles there too.

use super::{Pick, Weights};
use crate::dice::Purpose;

/// Picks among endpoints, of which `active` tells how many requests are under way.
pub(super) fn pick(ask: &Pick<'_>, weights: &Weights, active: impl Fn(usize) -> u32) -> usize {
    let first = weights.at(ask.dice.below(Purpose::Balance, ask.turn, weights.total()));
    if weights.len() == 1 {
        return first;
    }
    let rest = weights.total() - weights.of(first);
    let mut point = ask.dice.below(Purpose::BalanceSecond, ask.turn, rest);
    if point >= weights.before(first) {
        point += weights.of(first);
    }
    let second = weights.at(point);
    let load = |of: usize, other: usize| u128::from(active(of)) * u128::from(weights.of(other));
    if load(second, first) < load(first, second) { second } else { first }
}
