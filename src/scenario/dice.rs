//! Seeded randomness: the few distributions that a scenario draws from.
//!
//! Every part of a scenario rolls its own dice (one ChaCha stream each), so that what happens in the match never
//! depends on what anybody traded. `libm` makes the same seed the same match on every machine.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Exp1, StandardNormal};

use super::SimTime;

/// One stream of random numbers of a seed.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha12Rng);

impl Dice {
    /// The stream of a seed that has this number.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Uniform from `lo` to `hi`.
    pub fn uniform(&mut self, lo: f64, hi: f64) -> f64 {
        lo + (hi - lo) * self.0.random::<f64>()
    }

    /// A whole number from `lo` to `hi`, both included.
    pub fn whole(&mut self, lo: u32, hi: u32) -> u32 {
        self.0.random_range(lo..=hi)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.0.random::<f64>() < p
    }

    /// Normal around zero.
    pub fn normal(&mut self, sd: f64) -> f64 {
        sd * self.0.sample::<f64, _>(StandardNormal)
    }

    /// Log-normal by its median and the standard deviation of its logarithm.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(self.normal(sigma))
    }

    /// Exponential by its mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        mean * self.0.sample::<f64, _>(Exp1)
    }

    /// An index, with these weights.
    pub fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.0.random::<f64>() * weights.iter().sum::<f64>();
        for (i, w) in weights.iter().enumerate() {
            if left < *w {
                return i;
            }
            left -= w;
        }
        weights.len().saturating_sub(1)
    }

    /// A span of scenario time, uniform in seconds.
    pub fn span(&mut self, lo_s: f64, hi_s: f64) -> SimTime {
        SimTime::from_secs_f64(self.uniform(lo_s, hi_s))
    }

    /// 32 random bytes: the name of a market or a token.
    pub fn name256(&mut self) -> [u8; 32] {
        self.0.random()
    }
}

/// The probability of a log-odds.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// The log-odds of a probability strictly between 0 and 1.
pub fn logit(p: f64) -> f64 {
    libm::log(p / (1.0 - p))
}
