//! Per-signer token buckets: orders and cancels, each with a rate and a burst by tier. Pure: time is passed in.
//!
//! Source: docs/PROTOCOL.md "rate limits" (per signer).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::types::{Address, Nanos};

/// A volume tier. Source: docs/PROTOCOL.md "rate limits".
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Standard,
    Copper,
    Bronze,
    Silver,
    Gold,
    Platinum,
    Diamond,
    #[default]
    Elite,
}

impl Tier {
    /// Name on the wire, orders a second and their burst, cancels a second and their burst.
    pub const fn row(self) -> (&'static str, [(u32, u32); 2]) {
        match self {
            Self::Standard => ("Standard", [(40, 60), (80, 120)]),
            Self::Copper => ("Copper", [(60, 90), (120, 180)]),
            Self::Bronze => ("Bronze", [(80, 120), (160, 240)]),
            Self::Silver => ("Silver", [(200, 300), (400, 600)]),
            Self::Gold => ("Gold", [(400, 600), (800, 1_200)]),
            Self::Platinum => ("Platinum", [(450, 675), (900, 1_350)]),
            Self::Diamond => ("Diamond", [(525, 787), (1_050, 1_575)]),
            Self::Elite => ("Elite", [(600, 900), (1_200, 1_800)]),
        }
    }
}

/// Which bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// `POST /order`, `POST /orders`.
    Orders,
    /// Every `DELETE` of orders.
    Cancels,
}

/// How a venue limits its signers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Everybody's tier.
    pub tier: Tier,
    /// True: what exceeds is refused. False: it is only warned of.
    pub enforce: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Enough was there.
    pub allowed: bool,
    /// Whole tokens left.
    pub remaining: u64,
    /// When the wait is over, Unix seconds; now if there is none.
    pub reset_s: u64,
    /// Seconds to wait; at least 1 where refused.
    pub retry_after_s: u64,
}

/// One bucket: nano-tokens, so that nothing is rounded away.
#[derive(Clone, Copy, Debug)]
struct Level {
    nano: u128,
    at: Nanos,
}

/// The buckets of every signer.
#[derive(Debug, Default)]
pub struct Buckets {
    /// Rates, bursts, and whether they bind.
    pub limits: Limits,
    levels: HashMap<(Address, bool), Level>,
}

const NANO: u128 = 1_000_000_000;

impl Buckets {
    /// Full buckets.
    pub fn new(limits: Limits) -> Self {
        Self { limits, levels: HashMap::new() }
    }

    /// Takes `cost` tokens of a signer's bucket, all or nothing. A cost above the burst never passes.
    pub fn take(&mut self, signer: Address, bucket: Bucket, cost: u64, now: Nanos) -> Taken {
        let (rate, burst) = self.limits.tier.row().1[usize::from(bucket == Bucket::Cancels)];
        let full = u128::from(burst) * NANO;
        let level = self.levels.entry((signer, bucket == Bucket::Cancels)).or_insert(Level { nano: full, at: now });
        level.nano = (level.nano + u128::from(now.since(level.at)) * u128::from(rate)).min(full);
        level.at = level.at.max(now);
        let wanted = u128::from(cost) * NANO;
        let allowed = wanted <= level.nano;
        if allowed {
            level.nano -= wanted;
        }
        let missing = if allowed { 0 } else { wanted - level.nano };
        let wait_ns = u64::try_from(missing / u128::from(rate.max(1))).unwrap_or(u64::MAX);
        Taken {
            allowed,
            remaining: (level.nano / NANO) as u64,
            reset_s: now.plus(wait_ns).0.div_ceil(1_000_000_000),
            retry_after_s: wait_ns.div_ceil(1_000_000_000).max(u64::from(!allowed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_refills_and_is_all_or_nothing() {
        let mut b = Buckets::new(Limits { tier: Tier::Standard, enforce: true });
        let (a, other) = (Address([1; 20]), Address([2; 20]));
        let at = |ms: u64| Nanos(1_000_000_000_000 + ms * 1_000_000);
        for n in 0..4 {
            let t = b.take(a, Bucket::Orders, 15, at(0));
            assert_eq!((t.allowed, t.remaining), (true, 45 - 15 * n));
        }
        let none = b.take(a, Bucket::Orders, 1, at(0));
        assert_eq!((none.allowed, none.remaining, none.retry_after_s), (false, 0, 1));
        assert!(b.take(other, Bucket::Orders, 60, at(0)).allowed, "another signer's bucket is full");
        assert!(b.take(a, Bucket::Cancels, 120, at(0)).allowed, "and so is the one of cancels");
        assert!(!b.take(a, Bucket::Orders, 2, at(25)).allowed, "25 ms bring one token");
        assert!(b.take(a, Bucket::Orders, 1, at(25)).allowed, "which the refusal did not take");
        assert!(!b.take(a, Bucket::Orders, 61, at(60_000)).allowed, "more than the burst never passes");
        assert!(b.take(a, Bucket::Orders, 60, at(60_000)).allowed);
        assert_eq!(b.take(a, Bucket::Orders, 60, at(60_000)).retry_after_s, 2, "1.5 s, in whole seconds");
    }
}
