//! How much the fair price moves: measured, for what may happen while the venue holds a taker's order.

use crate::{engine::digest::StateHasher, types::Nanos};

/// The price is looked at this often within one markout time: each second of thirty.
const LOOKS: u64 = 30;
/// A look after a longer silence than this many says nothing of a second's movement.
const STALE: u64 = 10;
/// E[max(0, X)] of a normal X is 0.399 of its deviation, in thousandths.
const HALF_MILLI: u64 = 399;

/// One market's volatility.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volatility {
    /// Mean squared move of one look, ppm².
    squared: u64,
    last: Option<(i64, Nanos)>,
}

impl Volatility {
    /// The fair price is known to be this, ppm.
    pub fn saw(&mut self, fair_ppm: i64, now: Nanos, markout_ns: u64) {
        let look = (markout_ns / LOOKS).max(1);
        let Some((was, at)) = self.last else {
            self.last = Some((fair_ppm, now));
            return;
        };
        let looks = now.since(at) / look;
        if looks == 0 {
            return;
        }
        self.last = Some((fair_ppm, now));
        if looks <= STALE {
            let moved = (fair_ppm - was).unsigned_abs();
            // A mean over thirty looks or so.
            self.squared = (self.squared * 31 + moved * moved / looks) / 32;
        }
    }

    /// The move to expect against an order that is held for so long, ppm: makers pull what would please us and leave
    /// what does not, so only the bad half counts.
    pub fn over_hold_ppm(&self, hold_ns: u64, markout_ns: u64) -> i64 {
        let look = u128::from((markout_ns / LOOKS).max(1));
        let variance = u128::from(self.squared) * u128::from(hold_ns) / look;
        (u64::try_from(variance).unwrap_or(u64::MAX).isqrt() * HALF_MILLI / 1_000) as i64
    }

    /// All of it, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        h.u64(self.squared);
        h.debug(&self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// The price moves so much each second, ppm; held for so many seconds.
    #[test]
    fn the_move_over_a_hold_grows_with_its_root() {
        for (step, hold_s, expected) in [(10_000, 1, 3_990), (10_000, 4, 7_980), (5_000, 1, 1_995), (0, 3, 0)] {
            let mut v = Volatility::default();
            for n in 0..600 {
                v.saw(500_000 + step * (n % 2), Nanos(S * (n as u64 + 1)), 30 * S);
            }
            let got = v.over_hold_ppm(hold_s * S, 30 * S);
            assert!((got - expected).abs() <= expected / 50, "{step} {hold_s}: {got}, not {expected}");
        }
    }

    #[test]
    fn a_move_over_a_long_silence_is_not_a_second_s() {
        let mut v = Volatility::default();
        v.saw(500_000, Nanos(S), 30 * S);
        v.saw(900_000, Nanos(60 * S), 30 * S);
        assert_eq!(v.over_hold_ppm(S, 30 * S), 0);
    }
}
