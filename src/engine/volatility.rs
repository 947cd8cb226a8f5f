//! Step 5 of 9: how lively a market is, and how much of an order's size that leaves.
//!
//! A price of a bet is a probability: from 0.50 to 0.55 is little news, from 0.94 to 0.99 a lot. Log-odds count both
//! as what they are, so volatility is measured in changes of logit(mid) per second, never in the level: a market that
//! jumped once and rests at 0.95 is as quiet as one that rests at 0.50.
//!
//! The variance is a sum of squared changes from sample to sample, each fading as `e^(−age/memory)` and divided by
//! the memory: in a market that moves steadily, that is its variance per second. Floats are for the model alone; they
//! come from `libm`, so that a replay gives the same, and what leaves this file is an integer.

use super::{
    digest::StateHasher,
    sizing::{FULL_PPM, SizingParams},
};
use crate::types::Nanos;

/// Mids are taken to be at least this far from 0 and 1, in half-units (0.005): beyond it one tick is a leap in
/// log-odds that says more about the grid than about the match.
const EDGE_HALF_UNITS: u32 = 100;
/// Half-units of a whole pUSD.
const WHOLE_HALF_UNITS: u32 = 20_000;

/// What is seen of the market.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The mid, and its log-odds.
    half_units: u32,
    now: f64,
    /// Log-odds at the last sample, and when that was.
    sample: f64,
    sampled: Nanos,
}

/// The volatility of one market. Constant size; no allocation.
#[derive(Clone, Debug)]
pub struct Volatility {
    /// Log-odds per √s that keeps the whole size. 0: off.
    target: f64,
    memory_ns: f64,
    sample_ns: u64,
    floor_ppm: u32,
    seen: Option<Seen>,
    /// Variance per second at the last sample at which the mid had moved, and when that was.
    variance: f64,
    varied: Nanos,
}

impl Volatility {
    /// Of a market that was not seen yet.
    pub fn new(params: &SizingParams) -> Self {
        Self {
            target: f64::from(params.vol_target_ppm) / f64::from(FULL_PPM),
            memory_ns: f64::from(params.vol_memory_s.max(1)) * 1e9,
            sample_ns: u64::from(params.vol_sample_ms.max(1)) * 1_000_000,
            floor_ppm: params.vol_floor_ppm.min(FULL_PPM),
            seen: None,
            variance: 0.0,
            varied: Nanos(0),
        }
    }

    /// Hears the mid in half-units (0.00005), as the book gives it. A mid that did not change costs a comparison, any
    /// other one logarithm and at most two exponentials. How often an unchanged mid is told makes no difference.
    #[inline]
    pub fn observe(&mut self, half_units: u32, now: Nanos) {
        if self.seen.is_none_or(|seen| seen.half_units != half_units) {
            self.changed(half_units, now);
        }
    }

    fn changed(&mut self, half_units: u32, now: Nanos) {
        let log_odds = logit(half_units);
        let Some(mut seen) = self.seen else {
            self.seen = Some(Seen { half_units, now: log_odds, sample: log_odds, sampled: now });
            self.varied = now;
            return;
        };
        let due = seen.sampled.plus(self.sample_ns);
        if now >= due {
            // The mid at that time was the one until now, and at every sample since.
            self.variance = self.variance_at(due);
            self.varied = due;
            seen.sample = seen.now;
            seen.sampled = due.plus(now.since(due) / self.sample_ns * self.sample_ns);
        }
        (seen.half_units, seen.now) = (half_units, log_odds);
        self.seen = Some(seen);
    }

    /// Variance of the log-odds per second. A change since the last sample counts at once: an order is not to wait.
    fn variance_at(&self, now: Nanos) -> f64 {
        let Some(seen) = self.seen else { return 0.0 };
        let faded = |since: Nanos| libm::exp(-(now.since(since) as f64) / self.memory_ns);
        let change = seen.now - seen.sample;
        let fresh = change * change * 1e9 / self.memory_ns * faded(seen.sampled.plus(self.sample_ns));
        self.variance * faded(self.varied) + fresh
    }

    /// Share of an order's size now, in parts per million: target over volatility, rounded down, between the floor
    /// and the whole. Two exponentials and a root.
    pub fn scale_ppm(&self, now: Nanos) -> u32 {
        let variance = self.variance_at(now);
        if self.target == 0.0 || variance <= self.target * self.target {
            return FULL_PPM;
        }
        let ppm = self.target / libm::sqrt(variance) * f64::from(FULL_PPM);
        (ppm as u32).clamp(self.floor_ppm, FULL_PPM)
    }

    /// Everything that was seen, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        h.u64(self.variance.to_bits());
        h.u64(self.varied.0);
        h.u64(u64::from(self.seen.is_some()));
        if let Some(seen) = self.seen {
            h.u64(u64::from(seen.half_units));
            h.u64(seen.now.to_bits());
            h.u64(seen.sample.to_bits());
            h.u64(seen.sampled.0);
        }
    }
}

fn logit(half_units: u32) -> f64 {
    let yes = half_units.clamp(EDGE_HALF_UNITS, WHOLE_HALF_UNITS - EDGE_HALF_UNITS);
    libm::log(f64::from(yes) / f64::from(WHOLE_HALF_UNITS - yes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000_000_000;
    const START: Nanos = Nanos(1_800_000_000 * S);

    fn params() -> SizingParams {
        SizingParams { vol_target_ppm: 10_000, vol_floor_ppm: 50_000, ..SizingParams::default() }
    }

    /// The mid, in half-units, that is `change` of log-odds away from another.
    fn moved(half_units: u32, change: f64) -> u32 {
        let odds = libm::exp(logit(half_units) + change);
        libm::round(odds / (1.0 + odds) * 20_000.0) as u32
    }

    /// After a walk of the log-odds by these changes, one a second.
    fn after(from: u32, changes: &[f64]) -> u32 {
        let (mut v, mut x) = (Volatility::new(&params()), 0.0);
        v.observe(from, START);
        for (n, change) in changes.iter().enumerate() {
            x += change;
            v.observe(moved(from, x), START.plus((n as u64 + 1) * S));
        }
        v.scale_ppm(START.plus((changes.len() as u64 + 1) * S))
    }

    #[test]
    fn the_level_of_a_price_does_not_matter_only_its_change_of_log_odds() {
        for changes in [&[0.3][..], &[-0.3], &[0.1, 0.1, -0.2, 0.15], &[0.5, -0.5, 0.5]] {
            let at = [10_000, 19_000, 1_000, 14_000].map(|level| after(level, changes));
            assert!(at[0] < 900_000 && at[0] > 50_000, "{changes:?} matters: {at:?}");
            for scale in at {
                let apart = scale.abs_diff(at[0]);
                assert!(apart * 100 < at[0], "{changes:?}: a mid is rounded to 0.00005, that is all: {at:?}");
            }
        }
        // The same change of price, on the other hand, is twenty times the news at 0.95.
        let by_price = |from: u32| {
            let mut v = Volatility::new(&params());
            v.observe(from, START);
            v.observe(from + 600, START.plus(S));
            v.scale_ppm(START.plus(S))
        };
        assert!(by_price(10_000) > 4 * by_price(19_000), "{} {}", by_price(10_000), by_price(19_000));
    }

    #[test]
    fn size_is_target_over_volatility() {
        // ±0.05 each second is 0.05 per √s. It is known after some times its memory; the target is a fifth of it.
        let changes: Vec<f64> = (0..600).map(|n| if n % 2 == 0 { 0.05 } else { -0.05 }).collect();
        let scale = after(10_000, &changes);
        assert!((198_000..=202_000).contains(&scale), "{scale}");
        let half: Vec<f64> = changes.iter().map(|c| c / 2.0).collect();
        let scale = after(10_000, &half);
        assert!((396_000..=404_000).contains(&scale), "{scale}");
        let quiet: Vec<f64> = changes.iter().map(|c| c / 6.0).collect();
        assert_eq!(after(10_000, &quiet), FULL_PPM, "below the target");
        let wild: Vec<f64> = changes.iter().map(|c| c * 40.0).collect();
        assert_eq!(after(10_000, &wild), 50_000, "never below the floor");
    }

    #[test]
    fn a_jump_counts_at_once_and_is_forgotten_with_time() {
        let mut v = Volatility::new(&params());
        assert_eq!(v.scale_ppm(START), FULL_PPM, "nothing was seen");
        v.observe(10_000, START);
        v.observe(14_000, START.plus(10 * S));
        let scales = [0, 1, 30, 60, 120, 240, 360, 600].map(|s| v.scale_ppm(START.plus((10 + s) * S)));
        assert!(scales[0] < 100_000, "{scales:?}");
        assert_eq!(scales[0], scales[1], "it fades from its sample on");
        assert!(scales[1..].is_sorted() && scales[1] < scales[2], "{scales:?}");
        assert_eq!(scales[7], FULL_PPM, "ten memories later");
    }

    #[test]
    fn what_flickers_between_two_samples_adds_nothing() {
        let (mut calm, mut flicker) = (Volatility::new(&params()), Volatility::new(&params()));
        calm.observe(10_000, START);
        flicker.observe(10_000, START);
        for n in 1..=499 {
            flicker.observe(if n % 2 == 0 { 10_000 } else { 10_400 }, START.plus(2 * n * MS));
        }
        flicker.observe(10_000, START.plus(999 * MS));
        assert_eq!(flicker.scale_ppm(START.plus(999 * MS)), FULL_PPM);
        assert_eq!(calm.scale_ppm(START.plus(999 * MS)), FULL_PPM);
    }

    #[test]
    fn a_tick_at_the_edge_of_the_market_is_no_news() {
        let mut v = Volatility::new(&params());
        for (n, half_units) in [0, 20, 60, 20, 100, 0, 1].into_iter().enumerate() {
            v.observe(half_units, START.plus(n as u64 * S));
        }
        assert_eq!(v.scale_ppm(START.plus(7 * S)), FULL_PPM);
        v.observe(u32::MAX, START.plus(8 * S));
        assert_eq!(v.scale_ppm(START.plus(8 * S)), 50_000, "from one edge to the other is");
    }

    #[test]
    fn no_target_no_change() {
        let mut v = Volatility::new(&SizingParams::default());
        v.observe(1_000, START);
        v.observe(19_000, START.plus(1));
        assert_eq!(v.scale_ppm(START.plus(1)), FULL_PPM);
    }

    #[test]
    fn everything_seen_is_in_the_hash() {
        let hash = |v: &Volatility| {
            let mut h = StateHasher::default();
            v.digest(&mut h);
            h.finish()
        };
        let mut v = Volatility::new(&params());
        let unseen = hash(&v);
        v.observe(10_000, START);
        v.observe(12_000, START.plus(S));
        let changed = |change: &dyn Fn(&mut Volatility, &mut Seen)| {
            let (mut v, mut seen) = (v.clone(), v.seen.unwrap());
            change(&mut v, &mut seen);
            v.seen = Some(seen);
            hash(&v)
        };
        let mut hashes = vec![
            unseen,
            changed(&|_, _| {}),
            changed(&|v, _| v.variance += 1.0),
            changed(&|v, _| v.varied = START.plus(7)),
            changed(&|_, seen| seen.half_units += 1),
            changed(&|_, seen| seen.now += 1.0),
            changed(&|_, seen| seen.sample += 1.0),
            changed(&|_, seen| seen.sampled = START.plus(7)),
        ];
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }

    /// The same from the whole history: the log-odds just before every sample, from the first mid on.
    fn naive(history: &[(u64, u32)], sample_ms: u64, memory_ms: f64, now_ms: u64) -> f64 {
        let before = |ms: u64| logit(history.iter().rev().find(|(at, _)| *at < ms).unwrap_or(&history[0]).1);
        let first = history[0].0;
        let samples = (now_ms - first) / sample_ms;
        let weight = |ms: u64| libm::exp(-((now_ms - ms) as f64) / memory_ms) * 1_000.0 / memory_ms;
        let (mut sum, mut last) = (0.0, logit(history[0].1));
        for n in 1..=samples {
            let (ms, x) = (first + n * sample_ms, before(first + n * sample_ms));
            sum += (x - last) * (x - last) * weight(ms);
            last = x;
        }
        let x = before(now_ms + 1);
        sum + (x - last) * (x - last) * weight(now_ms)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        /// The constant-size estimate is the sum over the whole history, however often it is asked and told the same.
        #[test]
        fn agrees_with_a_sum_over_the_whole_history(
            steps in prop::collection::vec((0_u64..5_000, 0_u32..=20_000, any::<bool>()), 1..40),
            sample_ms in 1_u32..3_000, memory_s in 3_u32..100, later in 0_u64..20_000, target in 1_u32..1_000_000,
        ) {
            let params = SizingParams {
                vol_target_ppm: target, vol_sample_ms: sample_ms, vol_memory_s: memory_s, ..SizingParams::default()
            };
            let mut v = Volatility::new(&params);
            let (mut ms, mut history) = (0, Vec::new());
            for (wait, mid, again) in steps {
                ms += wait;
                v.observe(mid, START.plus(ms * MS));
                history.push((ms, mid));
                if again {
                    ms += wait / 2;
                    v.observe(mid, START.plus(ms * MS));
                }
            }
            let now = ms + later;
            let sum = naive(&history, sample_ms.into(), f64::from(memory_s) * 1_000.0, now);
            let variance = v.variance_at(START.plus(now * MS));
            prop_assert!((variance - sum).abs() <= 1e-9 * (1.0 + sum), "{variance} is not {sum}");
            let scale = v.scale_ppm(START.plus(now * MS));
            prop_assert!((params.vol_floor_ppm..=FULL_PPM).contains(&scale));
            let quiet = START.plus((now + u64::from(sample_ms) + 50) * MS);
            prop_assert!(scale <= v.scale_ppm(quiet), "quiet makes it grow");
        }
    }
}
