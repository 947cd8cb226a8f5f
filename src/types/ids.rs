//! Names: the venue's long ones, and our dense ones.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes `0x` and lower-case hex.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

/// Reads exactly `N` bytes of hex, with or without `0x`, in either case. No allocation.
pub fn parse_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.len() != 2 * N {
        return None;
    }
    let nibble = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Reads hex text, with or without `0x`. No allocation.
            pub fn parse(text: &[u8]) -> Option<Self> {
                parse_hex::<$len>(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                    Self::parse(text.as_bytes()).ok_or_else(|| {
                        serde::de::Error::custom(concat!("expected ", $len, " bytes of hex, 0x…"))
                    })
                } else {
                    <[u8; $len]>::deserialize(d).map(Self)
                }
            }
        }
    };
}

hex_id! {
    /// An EVM address. Displayed in lower case; `eip712::checksummed` gives the mixed-case form that the wire wants.
    Address, 20
}
hex_id! {
    /// A market's condition id.
    ConditionId, 32
}
hex_id! {
    /// An order's id: the EIP-712 digest of its fields, known before it is sent.
    OrderHash, 32
}

/// An outcome token's id: a 256-bit integer, big-endian. On the wire a decimal of up to 78 digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TokenId(pub [u8; 32]);

impl TokenId {
    /// Reads decimal text; `None` for anything that is not a decimal below 2^256. No allocation.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > 78 {
            return None;
        }
        let mut limbs = [0_u64; 4];
        for &b in text {
            if !b.is_ascii_digit() {
                return None;
            }
            let mut carry = u128::from(b - b'0');
            for limb in &mut limbs {
                let v = u128::from(*limb) * 10 + carry;
                *limb = v as u64;
                carry = v >> 64;
            }
            if carry != 0 {
                return None;
            }
        }
        let mut out = [0; 32];
        for (chunk, limb) in out.rchunks_exact_mut(8).zip(limbs) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        Some(Self(out))
    }

    /// Writes the decimal text into `buf` and returns it. No allocation.
    pub fn decimal<'b>(&self, buf: &'b mut [u8; 78]) -> &'b str {
        let mut limbs = [0_u64; 4];
        for (limb, chunk) in limbs.iter_mut().zip(self.0.chunks_exact(8)) {
            *limb = u64::from_be_bytes(chunk.try_into().expect("eight bytes"));
        }
        let mut at = buf.len();
        loop {
            let mut rest = 0_u128;
            for limb in &mut limbs {
                let v = rest << 64 | u128::from(*limb);
                *limb = (v / 10) as u64;
                rest = v % 10;
            }
            at -= 1;
            buf[at] = b'0' + rest as u8;
            if limbs == [0; 4] {
                break;
            }
        }
        core::str::from_utf8(&buf[at..]).expect("digits")
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decimal(&mut [0; 78]))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
            Self::parse(text.as_bytes())
                .ok_or_else(|| serde::de::Error::custom("expected a token id: a decimal below 2^256"))
        } else {
            <[u8; 32]>::deserialize(d).map(Self)
        }
    }
}

/// One of the two outcomes of a binary market, in the venue's token order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The first token; in an esports winner market, the first team.
    Yes,
    /// The second token.
    No,
}

impl Outcome {
    /// The other outcome.
    #[inline]
    pub const fn other(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
        }
    }
}

/// Dense index of a market in this run's [`Universe`](super::market::Universe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MarketIx(pub u16);

impl MarketIx {
    /// The market's token for one outcome.
    #[inline]
    pub const fn instrument(self, outcome: Outcome) -> InstrumentIx {
        InstrumentIx(self.0 * 2 + outcome as u16)
    }

    /// As an array index.
    #[inline]
    pub const fn ix(self) -> usize {
        self.0 as usize
    }
}

/// Dense index of a match in this run's [`Universe`](super::market::Universe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MatchIx(pub u16);

impl MatchIx {
    /// As an array index.
    #[inline]
    pub const fn ix(self) -> usize {
        self.0 as usize
    }
}

/// Dense index of a token: market × 2 + outcome. The hot path never hashes a 77-digit id after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstrumentIx(pub u16);

impl InstrumentIx {
    /// The market that this token belongs to.
    #[inline]
    pub const fn market(self) -> MarketIx {
        MarketIx(self.0 / 2)
    }

    /// Which outcome of its market it pays on.
    #[inline]
    pub const fn outcome(self) -> Outcome {
        if self.0 & 1 == 0 { Outcome::Yes } else { Outcome::No }
    }

    /// The market's other token.
    #[inline]
    pub const fn mirror(self) -> Self {
        Self(self.0 ^ 1)
    }

    /// As an array index.
    #[inline]
    pub const fn ix(self) -> usize {
        self.0 as usize
    }
}

/// A trade's key: the 128-bit hash of the venue's trade id text, which is a UUID or, in old captures, free text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TradeKey(pub u128);

impl TradeKey {
    /// The key of the venue's trade id text.
    pub fn of(text: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(text))
    }
}
