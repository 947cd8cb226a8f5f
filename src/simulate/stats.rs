//! Means with their intervals. Floats, and only here: what is summed is exact before it gets here.

use serde::Serialize;

/// Standard errors on either side of a mean within which the truth lies 95 times in a hundred, for many matches.
const Z95: f64 = 1.959_964;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Mean {
    /// Of these, in this order: the same numbers give the same digits. Of fewer than two the interval is everything.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        if values.len() < 2 {
            let mean = values.first().copied().unwrap_or(0.0);
            return Self { mean, low: f64::NEG_INFINITY, high: f64::INFINITY };
        }
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
        let reach = student(values.len() - 1) * libm::sqrt(variance / n);
        Self { mean, low: mean - reach, high: mean + reach }
    }

    /// True if zero is below the whole interval.
    pub fn is_positive(&self) -> bool {
        self.low > 0.0
    }
}

/// The 97.5 % point of Student's t, by Cornish and Fisher's expansion: right to a thousandth from five degrees of
/// freedom on, and too narrow below.
fn student(freedom: usize) -> f64 {
    let (z, f) = (Z95, freedom as f64);
    let power = |n| (0..n).fold(1.0, |p: f64, _| p * z);
    let (z3, z5, z7, z9) = (power(3), power(5), power(7), power(9));
    z + (z3 + z) / (4.0 * f)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * f * f)
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * f * f * f)
        + (79.0 * z9 + 776.0 * z7 + 1_482.0 * z5 - 1_920.0 * z3 - 945.0 * z) / (92_160.0 * f * f * f * f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_wide_as_the_tables_say() {
        // Degrees of freedom and the 97.5 % point of Student's t, from any table.
        for (freedom, t) in [(5, 2.5706), (10, 2.2281), (30, 2.0423), (100, 1.9840), (1_000, 1.9623)] {
            assert!((student(freedom) - t).abs() < 2e-3, "{freedom}: {}", student(freedom));
        }
        let m = Mean::of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(m.mean, 3.5);
        // Standard deviation 1.8708, over √6, times 2.5706.
        assert!((m.high - m.mean - 1.9633).abs() < 2e-3 && (m.mean - m.low - 1.9633).abs() < 2e-3, "{m:?}");
        assert!(m.is_positive() && !Mean::of(&[-1.0, 2.0, -3.0]).is_positive());
    }

    #[test]
    fn one_match_says_nothing() {
        for values in [&[][..], &[5.0]] {
            assert!(!Mean::of(values).is_positive());
        }
    }
}
