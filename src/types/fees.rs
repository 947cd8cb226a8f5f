//! The taker fee: `shares × rate × p·(1−p)`, in collateral, takers only.
//!
//! The venue's schedule has an exponent, which is 1 everywhere; a market with another is refused when it is read.
//! Source: docs/PROTOCOL.md "fees"; tests/fixtures/vectors/fees.json. The rounding mode of the venue is
//! unconfirmed, so it is named at each call: accounts use half-even, risk rounds up.

use serde::{Deserialize, Serialize};

use super::{
    price::Price,
    qty::{Qty, Usdc},
};

/// What a market charges takers. Read per market at run time, never assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeeSchedule {
    /// Rate in parts per million: 50 000 is the 0.05 of sports.
    pub rate_ppm: u32,
}

/// How a fee is brought to the venue's five decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, ties to even: what a public adapter uses, and our accounts.
    HalfEven,
    /// Towards zero.
    Down,
    /// Away from zero: worse for us, for risk.
    Up,
}

impl FeeSchedule {
    /// No fee.
    pub const FREE: Self = Self { rate_ppm: 0 };

    /// Fee of a taker fill, rounded to 0.00001 pUSD.
    pub const fn taker_fee(self, qty: Qty, price: Price, rounding: Rounding) -> Usdc {
        self.fee_on_curve(price.curve(qty), rounding)
    }

    /// The fee on a sum of [`Price::curve`] values, rounded to 0.00001 pUSD.
    pub const fn fee_on_curve(self, curve: u128, rounding: Rounding) -> Usdc {
        // Micro-pUSD are 10^-6; a step of 0.00001 is ten of them.
        let numerator = curve * self.rate_ppm as u128;
        let denominator = 10_000_000 * 100_000_000;
        // 10^15 is 2^15 · 5^15: what is left of most fees after the first fits a word, and is not divided by a call.
        let halved = numerator >> 15;
        let whole =
            if halved <= u64::MAX as u128 { (halved as u64 / 30_517_578_125) as u128 } else { numerator / denominator };
        let rest = numerator - whole * denominator;
        let up = match rounding {
            Rounding::Down => false,
            Rounding::Up => rest != 0,
            Rounding::HalfEven => rest * 2 > denominator || (rest * 2 == denominator && whole % 2 == 1),
        };
        Usdc((whole + up as u128) as i64 * 10)
    }
}
