//! Medians over rounds, and ratios between peers of the same round.

/// The middle value; the mean of the two middle ones of an even number; `None` of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// How far the values lie apart, as a share of their median; `None` of fewer than two.
pub(crate) fn spread(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    median(values).filter(|&middle| middle > 0.0).map(|middle| (high - low) / middle)
}

/// The median of `value / base` round by round. A round that lacks either, or whose base is 0, is left out: what disturbed
/// one round disturbed both peers, so the pairs are steadier than the ratio of the medians.
pub(crate) fn paired_ratio(values: &[Option<f64>], base: &[Option<f64>]) -> Option<f64> {
    let ratios: Vec<f64> = values
        .iter()
        .zip(base)
        .filter_map(|(value, base)| match (value, base) {
            (Some(value), Some(base)) if *base > 0.0 => Some(value / base),
            _ => None,
        })
        .collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in
            [(&[][..], None), (&[3.0], Some(3.0)), (&[9.0, 1.0, 4.0], Some(4.0)), (&[8.0, 2.0, 4.0, 100.0], Some(6.0))]
        {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }

    #[test]
    fn spreads() {
        assert_eq!(spread(&[5.0]), None);
        assert_eq!(spread(&[9.0, 10.0, 12.0]), Some(0.3));
        assert_eq!(spread(&[0.0, 0.0]), None);
    }

    #[test]
    fn ratios_pair_the_rounds() {
        // Both peers slow down in the second round: the ratio does not move.
        let ours = [Some(10.0), Some(30.0), Some(11.0)];
        let theirs = [Some(20.0), Some(60.0), Some(20.0)];
        assert_eq!(paired_ratio(&ours, &theirs), Some(0.5));
        assert_eq!(paired_ratio(&[None, Some(4.0)], &[Some(1.0), Some(2.0)]), Some(2.0));
        assert_eq!(paired_ratio(&[Some(1.0)], &[Some(0.0)]), None);
        assert_eq!(paired_ratio(&[], &[]), None);
    }
}
