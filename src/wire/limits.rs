//! Step 8 of 9: what the head of an answer says of the venue's limits on one signer.
//!
//! Source: docs/PROTOCOL.md "rate limits".

use serde::{Deserialize, Serialize};

/// A volume tier: how much one signer may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the venue's own names")]
pub enum Tier {
    #[default]
    Standard,
    Copper,
    Bronze,
    Silver,
    Gold,
    Platinum,
    Diamond,
    Elite,
}

impl Tier {
    /// Every tier, the lowest first.
    pub const ALL: [Self; 8] = [
        Self::Standard,
        Self::Copper,
        Self::Bronze,
        Self::Silver,
        Self::Gold,
        Self::Platinum,
        Self::Diamond,
        Self::Elite,
    ];

    /// Lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Copper => "copper",
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
            Self::Platinum => "platinum",
            Self::Diamond => "diamond",
            Self::Elite => "elite",
        }
    }

    /// Reads a name in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// (a second, burst) of orders and of cancels.
    pub const fn rates(self) -> [(u64, u64); 2] {
        match self {
            Self::Standard => [(40, 60), (80, 120)],
            Self::Copper => [(60, 90), (120, 180)],
            Self::Bronze => [(80, 120), (160, 240)],
            Self::Silver => [(200, 300), (400, 600)],
            Self::Gold => [(400, 600), (800, 1_200)],
            Self::Platinum => [(450, 675), (900, 1_350)],
            Self::Diamond => [(525, 787), (1_050, 1_575)],
            Self::Elite => [(600, 900), (1_200, 1_800)],
        }
    }
}

/// The `Poly-RateLimit-…` headers of one answer. What is not a number or not a name is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateSaid {
    /// `-Remaining`: whole tokens left.
    pub remaining: Option<u64>,
    /// `-Reset`: when there will be more, in seconds from now or in Unix seconds.
    pub reset_s: Option<u64>,
    /// `-Tier`.
    pub tier: Option<Tier>,
    /// `-Warning` is there: over the limit, and not refused yet.
    pub warning: bool,
}
