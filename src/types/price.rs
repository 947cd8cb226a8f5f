//! Prices in units of 0.0001, and the grids they live on.
//!
//! Every tick of the venue (0.1, 0.01, 0.005, 0.0025, 0.001, 0.0001) is a whole number of these
//! units, so a price is an integer from the wire to the signature.
//! Source: docs/PROTOCOL.md "prices and ticks".

use core::fmt;

use serde::{Deserialize, Serialize};

/// A price in units of 0.0001 of a pUSD, from 0 to 1 inclusive.
///
/// 0 and 1 occur on the wire as the "no such side" marks; an order's price is strictly between them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Price(u16);

/// What was wrong with the text of a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceError {
    /// Not an unsigned decimal number.
    NotANumber,
    /// Above 1.
    OutOfRange,
    /// Finer than 0.0001.
    TooFine,
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "not a decimal number",
            Self::OutOfRange => "outside 0 to 1",
            Self::TooFine => "finer than 0.0001",
        })
    }
}

impl std::error::Error for PriceError {}

impl Price {
    /// Units in one pUSD.
    pub const UNITS: u16 = 10_000;
    /// 0, the wire's mark for "no bid".
    pub const ZERO: Self = Self(0);
    /// 1, the wire's mark for "no ask".
    pub const ONE: Self = Self(Self::UNITS);

    /// A price from units of 0.0001; `None` above 1.
    #[inline]
    pub const fn from_units(units: u16) -> Option<Self> {
        if units <= Self::UNITS { Some(Self(units)) } else { None }
    }

    /// Units of 0.0001.
    #[inline]
    pub const fn units(self) -> u16 {
        self.0
    }

    /// The price of the other token of the market: 1 − p.
    #[inline]
    pub const fn complement(self) -> Self {
        Self(Self::UNITS - self.0)
    }

    /// `qty × p·(1−p)` in micro-shares × 0.0001²: what a taker fee is proportional to.
    #[inline]
    pub const fn curve(self, qty: super::qty::Qty) -> u128 {
        let p = self.0 as u128;
        qty.micro() as u128 * p * (Self::UNITS as u128 - p)
    }

    /// Reads the wire's decimal text, such as `0.53`, `.5`, `1` or `0.5300`. No allocation.
    pub fn parse(text: &[u8]) -> Result<Self, PriceError> {
        let micro = super::qty::parse_micro(text).ok_or(PriceError::NotANumber)?;
        if micro > 1_000_000 {
            return Err(PriceError::OutOfRange);
        }
        if micro % 100 != 0 {
            return Err(PriceError::TooFine);
        }
        Ok(Self((micro / 100) as u16))
    }

    /// True where an order may stand: a whole number of ticks with tick ≤ p ≤ 1 − tick.
    #[inline]
    pub const fn on_grid(self, tick: TickSize) -> bool {
        let t = tick.units();
        self.0 >= t && self.0 <= Self::UNITS - t && self.0.is_multiple_of(t)
    }

    /// The highest valid price of the grid at or below `units` of 0.0001; `None` below one tick.
    #[inline]
    pub const fn floor_to(units: i32, tick: TickSize) -> Option<Self> {
        let t = tick.units() as i32;
        let top = Self::UNITS as i32 - t;
        let u = if units > top { top } else { units };
        if u < t { None } else { Some(Self((u - u % t) as u16)) }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, frac) = (self.0 / Self::UNITS, self.0 % Self::UNITS);
        if frac == 0 {
            return write!(f, "{whole}");
        }
        let (mut digits, mut width) = (frac, 4);
        while digits % 10 == 0 {
            digits /= 10;
            width -= 1;
        }
        write!(f, "{whole}.{digits:0width$}")
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The price grid of a market. It can change while the market trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TickSize {
    /// 0.1
    Tenth,
    /// 0.01
    Cent,
    /// 0.005
    HalfCent,
    /// 0.0025
    QuarterCent,
    /// 0.001
    Mill,
    /// 0.0001
    TenthMill,
}

impl TickSize {
    /// Every grid that the venue has, coarse to fine.
    pub const ALL: [Self; 6] =
        [Self::Tenth, Self::Cent, Self::HalfCent, Self::QuarterCent, Self::Mill, Self::TenthMill];

    /// Units of 0.0001 in one tick.
    #[inline]
    pub const fn units(self) -> u16 {
        match self {
            Self::Tenth => 1_000,
            Self::Cent => 100,
            Self::HalfCent => 50,
            Self::QuarterCent => 25,
            Self::Mill => 10,
            Self::TenthMill => 1,
        }
    }

    /// Decimals of an order's computed amount on this grid.
    /// Source: docs/PROTOCOL.md "prices and ticks".
    pub const fn amount_decimals(self) -> u32 {
        match self {
            Self::Tenth => 3,
            Self::Cent => 4,
            Self::HalfCent | Self::Mill => 5,
            Self::QuarterCent | Self::TenthMill => 6,
        }
    }

    /// Decimals of a price on this grid.
    pub const fn price_decimals(self) -> u32 {
        match self {
            Self::Tenth => 1,
            Self::Cent => 2,
            Self::HalfCent | Self::Mill => 3,
            Self::QuarterCent | Self::TenthMill => 4,
        }
    }

    /// Reads `0.01`-like text; `None` for a grid the venue does not have.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let units = Price::parse(text).ok()?.units();
        Self::ALL.into_iter().find(|t| t.units() == units)
    }

    /// The grid's wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenth => "0.1",
            Self::Cent => "0.01",
            Self::HalfCent => "0.005",
            Self::QuarterCent => "0.0025",
            Self::Mill => "0.001",
            Self::TenthMill => "0.0001",
        }
    }
}

impl fmt::Display for TickSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
