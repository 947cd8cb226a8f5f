//! Step 5 of 9: how much of an order's size is left when the account has lost, or was stopped a moment ago.
//!
//! Every rule of size answers in parts per million of the size that was asked for, 1 000 000 at most: no rule can
//! make an order larger. Together they multiply, rounding down. How lively the market is says [`super::volatility`].

use serde::{Deserialize, Serialize};

use super::{BadParam, BadParams, digest::StateHasher};
use crate::types::{Nanos, Qty, Usdc};

/// The whole size.
pub const FULL_PPM: u32 = 1_000_000;

/// True for what a size that is written down may be: more than nothing, at most all.
pub(super) const fn is_size(ppm: u32) -> bool {
    0 < ppm && ppm <= FULL_PPM
}

/// Several shares of a size together: their product, rounded down once, so that their order does not matter.
/// More than the whole counts as the whole.
pub fn combined_ppm<const N: usize>(parts: [u32; N]) -> u32 {
    const { assert!(N > 0 && N <= 6, "seven times a million overflow") };
    // Most of the time nothing is held back, and dividing so large a number is a call.
    if parts.iter().all(|part| *part >= FULL_PPM) {
        return FULL_PPM;
    }
    let product = parts.iter().fold(1_u128, |product, part| product * u128::from((*part).min(FULL_PPM)));
    (product / u128::from(FULL_PPM).pow(N as u32 - 1)) as u32
}

/// A share of a size, rounded down to hundredths of a share, an order's precision.
pub fn scaled(qty: Qty, ppm: u32) -> Qty {
    let ppm = u128::from(ppm.min(FULL_PPM));
    Qty((u128::from(qty.micro()) * ppm / u128::from(FULL_PPM)) as u64).floor_to_cents()
}

/// What makes orders smaller. The defaults change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SizingParams {
    /// Volatility up to which orders keep their size: the change of log-odds that a second brings, one standard
    /// deviation, in parts per million. Above it size falls in proportion. 0: off.
    pub vol_target_ppm: u32,
    /// How long a change is remembered, in seconds: after so long it counts for 1/e.
    pub vol_memory_s: u32,
    /// Changes are counted from one sample to the next, in milliseconds: what flickers in between adds nothing.
    pub vol_sample_ms: u32,
    /// Share of the size that volatility leaves at least, in parts per million.
    pub vol_floor_ppm: u32,
    /// Loss from the best equity up to which orders keep their size.
    pub drawdown_full_usdc: Usdc,
    /// Loss from the best equity from which on there is no size left; in between it falls in a straight line. 0: off.
    pub drawdown_zero_usdc: Usdc,
    /// How long it takes back to full size after the kill switch was lifted, in milliseconds. 0: at once.
    pub cool_down_ms: u32,
    /// Share of the size at its beginning, in parts per million.
    pub cool_down_start_ppm: u32,
}

impl Default for SizingParams {
    fn default() -> Self {
        Self {
            vol_target_ppm: 0,
            vol_memory_s: 60,
            vol_sample_ms: 1_000,
            vol_floor_ppm: 100_000,
            drawdown_full_usdc: Usdc::ZERO,
            drawdown_zero_usdc: Usdc::ZERO,
            cool_down_ms: 0,
            cool_down_start_ppm: 100_000,
        }
    }
}

impl SizingParams {
    /// The same in a match that unfolds `speed` times as fast: memory and samples shrink with it, and a second brings
    /// √speed times the change, because variance grows with time. Money and the cool-down stay what they are.
    #[must_use]
    pub fn compressed(mut self, speed: u32) -> Self {
        let speed = speed.max(1);
        self.vol_sample_ms = (self.vol_sample_ms / speed).max(1);
        self.vol_memory_s = (self.vol_memory_s / speed).max(1);
        // √(target²·speed), rounded down: integers do.
        let squared = u128::from(self.vol_target_ppm).pow(2) * u128::from(speed);
        self.vol_target_ppm = u32::try_from(squared.isqrt()).unwrap_or(u32::MAX);
        self
    }

    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("risk.sizing");
        let target = self.vol_target_ppm;
        bad.check("vol_target_ppm", target, target <= 10_000_000, "at most 10000000 ppm of log-odds; 0 is off");
        let memory = self.vol_memory_s;
        bad.check("vol_memory_s", memory, (1..=86_400).contains(&memory), "1 to 86400 s");
        let sample = self.vol_sample_ms;
        bad.check("vol_sample_ms", sample, (1..=60_000).contains(&sample), "1 to 60000 ms");
        let within = u64::from(sample) <= u64::from(memory) * 1_000;
        bad.check("vol_sample_ms", sample, within, "at most the time of risk.sizing.vol_memory_s");
        for (key, ppm) in [("vol_floor_ppm", self.vol_floor_ppm), ("cool_down_start_ppm", self.cool_down_start_ppm)] {
            bad.check(key, ppm, is_size(ppm), "1 to 1000000 parts per million");
        }
        let (full, zero) = (self.drawdown_full_usdc, self.drawdown_zero_usdc);
        bad.check("drawdown_full_usdc", full, full >= Usdc::ZERO, "0 pUSD or more");
        bad.check("drawdown_zero_usdc", zero, zero >= Usdc::ZERO, "0 pUSD or more; 0 is off");
        let apart = zero == Usdc::ZERO || full < zero;
        bad.check("drawdown_zero_usdc", zero, apart, "more than risk.sizing.drawdown_full_usdc, or 0 for off");
        let cool = self.cool_down_ms;
        bad.check("cool_down_ms", cool, cool <= 86_400_000, "at most 86400000 ms, a day");
        bad.into_result()
    }

    /// Share of the size at a drawdown, in parts per million: all of it up to `drawdown_full_usdc`, none from
    /// `drawdown_zero_usdc` on, a straight line between them, rounded down.
    pub fn drawdown_ppm(&self, drawdown: Usdc) -> u32 {
        let [full, zero, now] = [self.drawdown_full_usdc, self.drawdown_zero_usdc, drawdown].map(|u| i128::from(u.0));
        if zero <= 0 || now <= full {
            return FULL_PPM;
        }
        if now >= zero {
            return 0;
        }
        ((zero - now) * i128::from(FULL_PPM) / (zero - full)) as u32
    }
}

/// The best equity so far, which a drawdown is counted from. Equity is its change since the run's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighWater(Usdc);

impl HighWater {
    /// Hears the equity; says how far it is below the best, which is zero or more.
    pub fn drawdown(&mut self, equity: Usdc) -> Usdc {
        self.0 = self.0.max(equity);
        self.0 - equity
    }

    /// The mark, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        h.i64(self.0.micro());
    }
}

/// After the kill switch was lifted, size comes back little by little: what tripped it may not be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolDown {
    ns: u64,
    start_ppm: u32,
    lifted: Option<Nanos>,
}

impl CoolDown {
    /// One that has nothing to cool down from.
    pub fn new(params: &SizingParams) -> Self {
        Self {
            ns: u64::from(params.cool_down_ms) * 1_000_000,
            start_ppm: params.cool_down_start_ppm.min(FULL_PPM),
            lifted: None,
        }
    }

    /// The kill switch was lifted.
    pub fn reset(&mut self, now: Nanos) {
        self.lifted = Some(now);
    }

    /// Share of the size now, in parts per million: from its start to the whole in a straight line, rounded down.
    pub fn ppm(&self, now: Nanos) -> u32 {
        let Some(elapsed) = self.lifted.map(|at| now.since(at)).filter(|elapsed| *elapsed < self.ns) else {
            return FULL_PPM;
        };
        let regained = u128::from(FULL_PPM - self.start_ppm) * u128::from(elapsed) / u128::from(self.ns);
        self.start_ppm + regained as u32
    }

    /// When it began, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        h.debug(&self.lifted);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn params() -> SizingParams {
        SizingParams {
            drawdown_full_usdc: Usdc::dollars(100),
            drawdown_zero_usdc: Usdc::dollars(400),
            cool_down_ms: 1_000,
            cool_down_start_ppm: 200_000,
            ..SizingParams::default()
        }
    }

    #[test]
    fn size_falls_in_a_straight_line_with_the_drawdown() {
        for (drawdown, ppm) in [
            ("-50", 1_000_000),
            ("0", 1_000_000),
            ("99.5", 1_000_000),
            ("100", 1_000_000),
            ("100.000001", 999_999),
            ("175", 750_000),
            ("250", 500_000),
            ("350", 166_666),
            ("399.9997", 1),
            ("399.9998", 0),
            ("400", 0),
            ("1000000", 0),
        ] {
            let drawdown = Usdc::parse(drawdown.as_bytes()).unwrap();
            assert_eq!(params().drawdown_ppm(drawdown), ppm, "{drawdown}");
        }
        assert_eq!(params().drawdown_ppm(Usdc(i64::MAX)), 0);
        assert_eq!(params().drawdown_ppm(Usdc(i64::MIN)), FULL_PPM);
    }

    #[test]
    fn a_drawdown_is_counted_from_the_best_equity() {
        let mut high = HighWater::default();
        for (equity, drawdown) in [(-5, 5), (0, 0), (20, 0), (15, 5), (-10, 30), (19, 1), (21, 0), (20, 1)] {
            assert_eq!(high.drawdown(Usdc::dollars(equity)), Usdc::dollars(drawdown), "at {equity}");
        }
    }

    #[test]
    fn size_comes_back_little_by_little_after_a_kill() {
        let mut cool = CoolDown::new(&params());
        let lifted = Nanos(7_000 * MS);
        assert_eq!(cool.ppm(lifted), FULL_PPM, "nothing to cool down from");
        cool.reset(lifted);
        for (ms, ppm) in [(0, 200_000), (1, 200_800), (250, 400_000), (500, 600_000), (999, 999_200), (1_000, FULL_PPM)]
        {
            assert_eq!(cool.ppm(lifted.plus(ms * MS)), ppm, "{ms} ms later");
        }
        assert_eq!(cool.ppm(lifted.plus(1_000 * MS - 1)), FULL_PPM - 1, "rounded down");
        assert_eq!(cool.ppm(Nanos(0)), 200_000, "a clock that went back does not make orders larger");
        cool.reset(lifted.plus(800 * MS));
        assert_eq!(cool.ppm(lifted.plus(1_050 * MS)), 400_000, "a second kill begins anew");
    }

    #[test]
    fn shares_of_a_size_multiply_and_round_down() {
        for (parts, ppm) in [
            ([1_000_000, 1_000_000, 1_000_000], 1_000_000),
            ([500_000, 500_000, 1_000_000], 250_000),
            ([999_999, 999_999, 999_999], 999_997),
            ([1, 999_999, 1_000_000], 0),
            ([0, 1_000_000, 1_000_000], 0),
            ([u32::MAX, 500_000, 1_000_000], 500_000),
        ] {
            assert_eq!(combined_ppm(parts), ppm, "{parts:?}");
        }
        assert_eq!(combined_ppm([FULL_PPM; 6]), FULL_PPM);
        assert_eq!(scaled(Qty::shares(50), 333_333), Qty::parse(b"16.66").unwrap());
        assert_eq!(scaled(Qty::shares(50), u32::MAX), Qty::shares(50), "never larger");
        assert_eq!(scaled(Qty(u64::MAX), FULL_PPM), Qty(u64::MAX).floor_to_cents());
        assert_eq!(scaled(Qty::shares(50), 0), Qty::ZERO);
    }

    #[test]
    fn the_defaults_change_nothing() {
        let params = SizingParams::default();
        assert_eq!(params.validate(), Ok(()));
        assert_eq!(params.drawdown_ppm(Usdc::dollars(1_000_000)), FULL_PPM);
        let mut cool = CoolDown::new(&params);
        cool.reset(Nanos(5));
        assert_eq!(cool.ppm(Nanos(5)), FULL_PPM);
    }

    #[test]
    fn a_faster_match_keeps_its_sizes() {
        let fast = SizingParams { vol_target_ppm: 10_000, ..SizingParams::default() }.compressed(25);
        assert_eq!((fast.vol_target_ppm, fast.vol_memory_s, fast.vol_sample_ms), (50_000, 2, 40));
        assert_eq!(SizingParams::default().compressed(0), SizingParams::default());
        assert_eq!(SizingParams::default().compressed(1_000).validate(), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_named_with_its_key() {
        let base = SizingParams::default;
        for (params, says) in [
            (SizingParams { vol_target_ppm: 10_000_001, ..base() }, "vol_target_ppm = 10000001: must be at most"),
            (SizingParams { vol_memory_s: 0, vol_sample_ms: 0, ..base() }, "vol_memory_s = 0: must be 1 to 86400 s"),
            (SizingParams { vol_sample_ms: 0, ..base() }, "vol_sample_ms = 0: must be 1 to 60000 ms"),
            (SizingParams { vol_memory_s: 1, vol_sample_ms: 1_001, ..base() }, "vol_sample_ms = 1001: must be at most"),
            (SizingParams { vol_floor_ppm: 0, ..base() }, "vol_floor_ppm = 0: must be 1 to 1000000"),
            (SizingParams { vol_floor_ppm: 1_000_001, ..base() }, "vol_floor_ppm = 1000001: must be 1 to 1000000"),
            (SizingParams { cool_down_start_ppm: 0, ..base() }, "cool_down_start_ppm = 0: must be 1 to 1000000"),
            (SizingParams { cool_down_ms: 86_400_001, ..base() }, "cool_down_ms = 86400001: must be at most"),
            (SizingParams { drawdown_full_usdc: Usdc(-1), ..base() }, "drawdown_full_usdc = -0.000001: must be 0 pUSD"),
            (
                SizingParams { drawdown_full_usdc: Usdc(-2), drawdown_zero_usdc: Usdc(-1), ..base() },
                "drawdown_zero_usdc",
            ),
            (
                SizingParams { drawdown_full_usdc: Usdc(5), drawdown_zero_usdc: Usdc(5), ..base() },
                "drawdown_zero_usdc = 0.000005: must be more than risk.sizing.drawdown_full_usdc",
            ),
        ] {
            let bad: Vec<String> = params.validate().unwrap_err().iter().map(ToString::to_string).collect();
            assert!(bad.iter().any(|b| b.starts_with("risk.sizing.") && b.contains(says)), "{bad:?} should say {says}");
        }
        assert!(toml::from_str::<SizingParams>("vol_floor = 1").is_err());
        assert_eq!(
            toml::from_str::<SizingParams>("drawdown_zero_usdc = \"2.5\"").unwrap().drawdown_zero_usdc.0,
            2_500_000
        );
    }

    #[test]
    fn what_decides_is_in_the_hash() {
        let hash = |cool: &CoolDown, high: &HighWater| {
            let mut h = StateHasher::default();
            cool.digest(&mut h);
            high.digest(&mut h);
            h.finish()
        };
        let (mut cool, mut high) = (CoolDown::new(&params()), HighWater::default());
        let before = hash(&cool, &high);
        high.drawdown(Usdc(1));
        let between = hash(&cool, &high);
        cool.reset(Nanos(0));
        assert!(before != between && between != hash(&cool, &high));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        /// A deeper drawdown never leaves more, the line is exact to the rounding, and its ends are where they are
        /// said.
        #[test]
        fn drawdown_is_a_line_between_its_ends(
            full in 0_i64..1 << 50, wide in 1_i64..1 << 50, a: i64, b in 0_u32..=1 << 20,
        ) {
            let zero = full + wide;
            let params = SizingParams {
                drawdown_full_usdc: Usdc(full), drawdown_zero_usdc: Usdc(zero), ..SizingParams::default()
            };
            prop_assert_eq!(params.validate(), Ok(()));
            let inside = full + ((i128::from(wide) * i128::from(b)) >> 20) as i64;
            let ppm = i128::from(params.drawdown_ppm(Usdc(inside)));
            let left = i128::from(zero - inside) * 1_000_000;
            prop_assert!(ppm * i128::from(wide) <= left && left < (ppm + 1) * i128::from(wide));
            let deeper = params.drawdown_ppm(Usdc(inside.max(a)));
            prop_assert!(i128::from(deeper) <= ppm);
            prop_assert_eq!(params.drawdown_ppm(Usdc(full.min(a))), FULL_PPM);
            prop_assert_eq!(params.drawdown_ppm(Usdc(zero.max(a))), 0);
        }

        /// Rules together are never laxer than the strictest of them, whatever their order; an order never grows.
        #[test]
        fn together_they_are_stricter_than_each(parts: [u32; 5], turn in 0_usize..5, micro: u64) {
            let all = combined_ppm(parts);
            prop_assert!(parts.iter().all(|part| all <= *part) && all <= FULL_PPM);
            let mut turned = parts;
            turned.rotate_left(turn);
            prop_assert_eq!(combined_ppm(turned), all);
            let qty = scaled(Qty(micro), all);
            prop_assert!(qty <= Qty(micro) && qty == qty.floor_to_cents());
        }

        /// Size only grows while it cools down, from its start to the whole.
        #[test]
        fn a_cool_down_only_gives_back(ms in 1_u32..86_400_000, start in 1_u32..=FULL_PPM, a: u64, b: u64, at: u32) {
            let params = SizingParams { cool_down_ms: ms, cool_down_start_ppm: start, ..SizingParams::default() };
            let mut cool = CoolDown::new(&params);
            let at = Nanos(at.into());
            cool.reset(at);
            let span = 2 * u64::from(ms) * MS;
            let [early, late] = [(a % span).min(b % span), (a % span).max(b % span)].map(|t| cool.ppm(at.plus(t)));
            prop_assert!(start <= early && early <= late && late <= FULL_PPM);
            prop_assert_eq!(late == FULL_PPM, start == FULL_PPM || (a % span).max(b % span) >= span / 2);
        }
    }
}
