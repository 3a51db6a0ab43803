//! Which of a route's destinations a request goes to.

use crate::dice::{Dice, Purpose};
use crate::route::Destination;

/// The index of the destination drawn by weight. Istio: a single one takes all, and the draw holds for all attempts.
pub(crate) fn draw(destinations: &[Destination], dice: Dice) -> usize {
    if destinations.len() < 2 {
        return 0;
    }
    let total: u64 = destinations.iter().map(|d| u64::from(d.weight)).sum();
    let mut point = dice.below(Purpose::Split, 0, total);
    for (index, destination) in destinations.iter().enumerate() {
        match point.checked_sub(u64::from(destination.weight)) {
            Some(rest) => point = rest,
            None => return index,
        }
    }
    0
}
