//! The less busy of two different endpoints. Istio: `LEAST_REQUEST`, the default, also spelled `LEAST_CONN`.
//!
//! Envoy draws with replacement, so that of two endpoints the busier still gets a quarter, and turns to another algorithm
//! when weights differ. Here the two are always different and both draws go by weight. The request moves from the first to
//! the second if that has fewer requests for its weight, with half of this one counted. With equal weights that is the
//! less busy of the two. With others an idle cluster is shared by weight, and so is a busy one: without the half a light
//! endpoint would be preferred whenever it is idle, and with the whole it would be starved.

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
    // Requests per weight, in halves of a request.
    let moves = (2 * u128::from(active(second)) + 1) * u128::from(weights.of(first))
        < 2 * u128::from(active(first)) * u128::from(weights.of(second));
    if moves { second } else { first }
}
