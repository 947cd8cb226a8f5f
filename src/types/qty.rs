//! Sizes in micro-shares and money in micro-pUSD. Both have the chain's six decimals.

use core::{
    fmt,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::price::Price;

/// Reads an unsigned decimal of at most six decimals into millionths. Further digits must be zero.
///
/// `None` for anything else: signs, exponents, empty text, more than 2^63.
pub fn parse_micro(text: &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    let mut decimals: Option<u32> = None;
    let mut digits = 0_u32;
    for &b in text {
        match b {
            b'0'..=b'9' => {
                digits += 1;
                if let Some(d) = decimals.as_mut() {
                    if *d == 6 {
                        if b != b'0' {
                            return None;
                        }
                        continue;
                    }
                    *d += 1;
                }
                value = value.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    let value = value.checked_mul(10_u64.pow(6 - decimals.unwrap_or(0)))?;
    (value <= i64::MAX as u64).then_some(value)
}

/// Writes millionths as a decimal without trailing zeros.
fn write_micro(f: &mut fmt::Formatter<'_>, negative: bool, micro: u64) -> fmt::Result {
    let sign = if negative { "-" } else { "" };
    let (whole, mut frac) = (micro / 1_000_000, micro % 1_000_000);
    if frac == 0 {
        return write!(f, "{sign}{whole}");
    }
    let mut width = 6;
    while frac % 10 == 0 {
        frac /= 10;
        width -= 1;
    }
    write!(f, "{sign}{whole}.{frac:0width$}")
}

/// For people's formats a decimal text, as on the wire, and plain numbers are read as well. Otherwise the integer.
macro_rules! decimal_for_people {
    ($name:ident, $int:ty, $expected:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text.as_bytes()).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
                    }

                    fn visit_u64<E: de::Error>(self, n: u64) -> Result<$name, E> {
                        self.visit_str(&n.to_string())
                    }

                    fn visit_i64<E: de::Error>(self, n: i64) -> Result<$name, E> {
                        self.visit_str(&n.to_string())
                    }

                    fn visit_f64<E: de::Error>(self, n: f64) -> Result<$name, E> {
                        // Its shortest text is what was written.
                        self.visit_str(&n.to_string())
                    }
                }

                if d.is_human_readable() { d.deserialize_any(Visitor) } else { <$int>::deserialize(d).map(Self) }
            }
        }
    };
}

decimal_for_people!(Qty, u64, "shares, a decimal of at most six decimals");
decimal_for_people!(Usdc, i64, "pUSD, a decimal of at most six decimals");

/// A number of shares, in micro-shares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Qty(pub u64);

impl Qty {
    /// None.
    pub const ZERO: Self = Self(0);
    /// One share.
    pub const ONE: Self = Self(1_000_000);
    /// Below a hundredth of a share nothing can be traded: such a rest counts as filled.
    /// Source: docs/PROTOCOL.md "dust".
    pub const DUST: Self = Self(10_000);

    /// Whole shares.
    pub const fn shares(n: u64) -> Self {
        Self(n * 1_000_000)
    }

    /// Micro-shares.
    #[inline]
    pub const fn micro(self) -> u64 {
        self.0
    }

    /// True for zero.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads the wire's decimal text. No allocation.
    pub fn parse(text: &[u8]) -> Option<Self> {
        parse_micro(text).map(Self)
    }

    /// Rounded down to hundredths of a share, the precision of an order.
    pub const fn floor_to_cents(self) -> Self {
        Self(self.0 - self.0 % 10_000)
    }

    /// `self − other`, or zero.
    #[inline]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Cash for this many shares at `price`, rounded down to the micro-pUSD.
    #[inline]
    pub const fn notional_floor(self, price: Price) -> Usdc {
        // Sixty-four bits hold a billion shares; dividing twice as many is a call.
        match self.0.checked_mul(price.units() as u64) {
            Some(product) => Usdc((product / 10_000) as i64),
            None => Usdc((self.0 as u128 * price.units() as u128 / 10_000) as i64),
        }
    }

    /// Cash for this many shares at `price`, rounded up to the micro-pUSD.
    #[inline]
    pub const fn notional_ceil(self, price: Price) -> Usdc {
        match self.0.checked_mul(price.units() as u64) {
            Some(product) => Usdc(product.div_ceil(10_000) as i64),
            None => Usdc((self.0 as u128 * price.units() as u128).div_ceil(10_000) as i64),
        }
    }
}

impl Add for Qty {
    type Output = Self;
    #[inline]
    fn add(self, o: Self) -> Self {
        Self(self.0.saturating_add(o.0))
    }
}

impl Sub for Qty {
    type Output = Self;
    #[inline]
    fn sub(self, o: Self) -> Self {
        debug_assert!(self.0 >= o.0);
        Self(self.0.saturating_sub(o.0))
    }
}

impl AddAssign for Qty {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl SubAssign for Qty {
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}

impl fmt::Display for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_micro(f, false, self.0)
    }
}

impl fmt::Debug for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Money, signed, in micro-pUSD.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usdc(pub i64);

impl Usdc {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole pUSD.
    pub const fn dollars(n: i64) -> Self {
        Self(n * 1_000_000)
    }

    /// Micro-pUSD.
    #[inline]
    pub const fn micro(self) -> i64 {
        self.0
    }

    /// Reads signed decimal text such as `-12.5`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match text {
            [b'-', rest @ ..] => parse_micro(rest).map(|v| Self(-(v as i64))),
            _ => parse_micro(text).map(|v| Self(v as i64)),
        }
    }

    /// The larger of two sums.
    #[inline]
    pub const fn max(self, o: Self) -> Self {
        if self.0 >= o.0 { self } else { o }
    }

    /// The smaller of two sums.
    #[inline]
    pub const fn min(self, o: Self) -> Self {
        if self.0 <= o.0 { self } else { o }
    }
}

impl Add for Usdc {
    type Output = Self;
    #[inline]
    fn add(self, o: Self) -> Self {
        Self(self.0.saturating_add(o.0))
    }
}

impl Sub for Usdc {
    type Output = Self;
    #[inline]
    fn sub(self, o: Self) -> Self {
        Self(self.0.saturating_sub(o.0))
    }
}

impl Neg for Usdc {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Usdc {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl SubAssign for Usdc {
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}

impl core::iter::Sum for Usdc {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usdc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_micro(f, self.0 < 0, self.0.unsigned_abs())
    }
}

impl fmt::Debug for Usdc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
