//! Step 5 of 9: an order far larger than what is usual is a mistake, whoever made it.
//!
//! Usual is what stands at the touch, in shares, and what we ourselves send, in cash: a thousand shares are a lot at
//! 0.90 and little at 0.02. How many times as much is too much is one number for each.

use serde::{Deserialize, Serialize};

use super::{BadParam, BadParams, digest::StateHasher};
use crate::types::{Price, Qty, Usdc};

/// Orders that must have been heard before their typical size says anything.
const HEARD_ENOUGH: u8 = 8;
/// A new order moves the typical size by one part in so many.
const WEIGHT: u64 = 16;
const WHOLE_PPM: u128 = 1_000_000;

/// How many times the usual is too much. The defaults change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FatFingerLimits {
    /// Times the size at the touch, in parts per million: 20 000 000 is twenty times. 0: off.
    pub touch_ppm: u32,
    /// Times the cash of our typical order, in parts per million. 0: off.
    pub typical_ppm: u32,
}

impl FatFingerLimits {
    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("risk.fat_finger");
        for (key, ppm) in [("touch_ppm", self.touch_ppm), ("typical_ppm", self.typical_ppm)] {
            let ok = ppm == 0 || (1_000_000..=1_000_000_000).contains(&ppm);
            bad.check(key, ppm, ok, "1000000 (once) to 1000000000 (a thousand times), or 0 for off");
        }
        bad.into_result()
    }
}

/// What an order is too large for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FatFinger {
    /// For what stands at the touch.
    Touch,
    /// For what we usually send.
    Typical,
}

/// The cash of a typical order of ours: an average in which old orders fade. Constant size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypicalSize {
    /// The average in micro-pUSD, times [`WEIGHT`], so that small steps are not lost to rounding.
    weighed: u64,
    heard: u8,
}

impl TypicalSize {
    /// An order was approved. The first ones count evenly, later ones for a sixteenth.
    pub fn note(&mut self, qty: Qty, price: Price) {
        let cash = qty.notional_ceil(price).micro().unsigned_abs().min(u64::MAX / WEIGHT);
        self.heard = self.heard.saturating_add(1).min(WEIGHT as u8);
        let weight = u64::from(self.heard);
        let [old, new] = [self.weighed, cash * WEIGHT].map(u128::from);
        self.weighed = ((old * u128::from(weight - 1) + new) / u128::from(weight)) as u64;
    }

    /// The average, rounded down; `None` before there were enough orders to know.
    pub const fn cash(&self) -> Option<Usdc> {
        if self.heard < HEARD_ENOUGH { None } else { Some(Usdc((self.weighed / WEIGHT) as i64)) }
    }

    /// The average and how much it rests on, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        h.u64(self.weighed);
        h.u64(u64::from(self.heard));
    }
}

/// What an order is too large for, if for anything. `touch` is the size at the best price of the side that it joins
/// or takes from; an empty side, like a typical size that is not known, says nothing. O(1).
pub fn fat_finger(
    qty: Qty,
    price: Price,
    touch: Option<Qty>,
    typical: &TypicalSize,
    limits: &FatFingerLimits,
) -> Option<FatFinger> {
    let exceeds =
        |size: u64, usual: u64, ppm: u32| ppm > 0 && u128::from(size) * WHOLE_PPM > u128::from(usual) * u128::from(ppm);
    if touch.is_some_and(|touch| exceeds(qty.micro(), touch.micro(), limits.touch_ppm)) {
        return Some(FatFinger::Touch);
    }
    let cash = qty.notional_ceil(price).micro().unsigned_abs();
    let typical = typical.cash().map(|usual| usual.micro().unsigned_abs());
    typical.is_some_and(|usual| exceeds(cash, usual, limits.typical_ppm)).then_some(FatFinger::Typical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: FatFingerLimits = FatFingerLimits { touch_ppm: 20_000_000, typical_ppm: 10_000_000 };

    fn p(units: u16) -> Price {
        Price::from_units(units).unwrap()
    }

    /// After twenty orders of 50 shares at 0.50.
    fn typical() -> TypicalSize {
        let mut typical = TypicalSize::default();
        (0..20).for_each(|_| typical.note(Qty::shares(50), p(5_000)));
        assert_eq!(typical.cash(), Some(Usdc::dollars(25)));
        typical
    }

    #[test]
    fn far_more_than_the_touch_or_than_usual_is_refused() {
        let touch = Some(Qty::shares(100));
        for (qty, units, touch, refused, what) in [
            ("50", 5_000, touch, None, "the usual"),
            ("500", 5_000, touch, None, "ten times the usual, and no more"),
            ("500.01", 5_000, touch, Some(FatFinger::Typical), "a hundredth of a share more"),
            ("1250", 200, touch, None, "many shares, but for the usual cash"),
            ("2000", 200, touch, None, "twenty times the touch, and no more"),
            ("2000.01", 200, touch, Some(FatFinger::Touch), "a hundredth of a share more"),
            ("2000.01", 200, None, None, "nobody stands there"),
            ("0.01", 5_000, Some(Qty::ZERO), Some(FatFinger::Touch), "a touch of nothing is exceeded by anything"),
        ] {
            let qty = Qty::parse(qty.as_bytes()).unwrap();
            assert_eq!(fat_finger(qty, p(units), touch, &typical(), &LIMITS), refused, "{qty} at {units}: {what}");
        }
    }

    #[test]
    fn too_few_orders_say_nothing() {
        let mut few = TypicalSize::default();
        (0..7).for_each(|_| few.note(Qty::ONE, p(5_000)));
        assert_eq!(few.cash(), None);
        assert_eq!(fat_finger(Qty::shares(1_000), p(5_000), None, &few, &LIMITS), None);
        few.note(Qty::ONE, p(5_000));
        assert_eq!(fat_finger(Qty::shares(1_000), p(5_000), None, &few, &LIMITS), Some(FatFinger::Typical));
    }

    #[test]
    fn usual_follows_what_is_sent_slowly() {
        let mut typical = typical();
        typical.note(Qty::shares(500), p(5_000));
        // 25 + (250 − 25) / 16.
        assert_eq!(typical.cash(), Usdc::parse(b"39.0625"));
        (0..200).for_each(|_| typical.note(Qty::shares(100), p(5_000)));
        assert!((Usdc(49_999_000)..=Usdc::dollars(50)).contains(&typical.cash().unwrap()), "{typical:?}");
    }

    #[test]
    fn the_defaults_change_nothing() {
        let huge = Qty(u64::MAX / 4);
        assert_eq!(FatFingerLimits::default().validate(), Ok(()));
        assert_eq!(fat_finger(huge, p(9_999), Some(Qty(1)), &typical(), &FatFingerLimits::default()), None);
    }

    #[test]
    fn what_cannot_be_is_named_with_its_key() {
        for (limits, says) in [
            (FatFingerLimits { touch_ppm: 999_999, ..LIMITS }, "risk.fat_finger.touch_ppm = 999999: must be 1000000"),
            (
                FatFingerLimits { typical_ppm: 1_000_000_001, ..LIMITS },
                "risk.fat_finger.typical_ppm = 1000000001: must",
            ),
        ] {
            let bad = limits.validate().unwrap_err();
            assert!(bad.len() == 1 && bad[0].to_string().starts_with(says), "{bad:?} should say {says}");
        }
        assert_eq!(LIMITS.validate(), Ok(()));
    }

    #[test]
    fn what_decides_is_in_the_hash() {
        let hash = |typical: &TypicalSize| {
            let mut h = StateHasher::default();
            typical.digest(&mut h);
            h.finish()
        };
        let (mut one, mut two) = (TypicalSize::default(), TypicalSize::default());
        let none = hash(&one);
        one.note(Qty::ONE, p(5_000));
        two.note(Qty::ONE, p(5_000));
        two.note(Qty::ONE, p(5_000));
        assert_eq!(one.weighed, two.weighed);
        assert!(none != hash(&one) && hash(&one) != hash(&two));
        two.note(Qty::shares(2), p(5_000));
        one.note(Qty::ONE, p(5_000));
        one.note(Qty::ONE, p(5_000));
        assert!(one.heard == two.heard && hash(&one) != hash(&two));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        /// What is usual lies between the least and the most that was sent; whoever sends more than so many times
        /// that is refused, whoever sends less is not.
        #[test]
        fn usual_is_between_what_was_sent(
            sent in prop::collection::vec((1_u64..1 << 40, 1_u16..10_000), 8..40),
            qty in 1_u64..1 << 44, units in 1_u16..10_000, touch in prop::option::of(0_u64..1 << 40),
            touch_ppm in 1_000_000_u32..1_000_000_000, typical_ppm in 1_000_000_u32..1_000_000_000,
        ) {
            let mut typical = TypicalSize::default();
            sent.iter().for_each(|(qty, units)| typical.note(Qty(*qty), p(*units)));
            let cash = |(qty, units): &(u64, u16)| Qty(*qty).notional_ceil(p(*units)).micro();
            let (least, most) = (sent.iter().map(cash).min().unwrap(), sent.iter().map(cash).max().unwrap());
            let usual = typical.cash().unwrap().micro();
            // Rounding down each time takes at most one part in sixteen of a micro, sixteen times over.
            prop_assert!((least - 2..=most).contains(&usual), "{usual} of {least} to {most}");
            let limits = FatFingerLimits { touch_ppm, typical_ppm };
            let over = |size: i128, usual: i128, ppm: u32| size * 1_000_000 > usual * i128::from(ppm);
            let expected = if touch.is_some_and(|t| over(qty.into(), t.into(), touch_ppm)) {
                Some(FatFinger::Touch)
            } else {
                over(cash(&(qty, units)).into(), usual.into(), typical_ppm).then_some(FatFinger::Typical)
            };
            prop_assert_eq!(fat_finger(Qty(qty), p(units), touch.map(Qty), &typical, &limits), expected);
        }
    }
}
