//! Logarithm and power of positive numbers: `core` has neither. Exact to some 14 digits, and the same on every machine.

use core::f64::consts::LN_2;

/// The natural logarithm of a positive normal number.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i64 - 1_023;
    let mantissa = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000);
    // With the mantissa in [0.75, 1.5) the series below meets numbers of at most a fifth.
    let (mantissa, exponent) = if mantissa >= 1.5 { (mantissa / 2.0, exponent + 1) } else { (mantissa, exponent) };
    let part = (mantissa - 1.0) / (mantissa + 1.0);
    let square = part * part;
    let series = (0..12).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    exponent as f64 * LN_2 + 2.0 * part * series
}

/// `x` to the power of `y`, for an `x` between 0 and 1 and a positive `y`.
pub(crate) fn power(x: f64, y: f64) -> f64 {
    let exponent = y * ln(x);
    let doublings = (exponent / LN_2) as i64;
    if doublings < -1_000 {
        return 0.0;
    }
    let rest = exponent - doublings as f64 * LN_2;
    let series = (1..20).rev().fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    series * f64::from_bits(((1_023 + doublings) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;

    #[test]
    fn they_are_what_the_standard_library_says() {
        for x in [1e-300, 1e-9, 0.001, 0.1, 0.25, 0.5, 0.749, 0.75, 0.999_999, 1.0, 1.49, 1.5, 2.0, 1e9] {
            assert!((ln(x) - f64::ln(x)).abs() <= 1e-14 * f64::ln(x).abs().max(1.0), "ln {x}");
        }
        for x in [1e-9, 0.001, 0.1, 0.25, 0.5, 0.9, 0.999_999, 1.0] {
            for y in [0.001, 0.1, 0.5, 1.0, 2.0, 10.0, 1_000.0] {
                let (found, expected) = (power(x, y), f64::powf(x, y));
                assert!((found - expected).abs() <= 1e-12 * expected.max(1e-290), "{x}^{y}: {found}, not {expected}");
            }
        }
    }
}
