//! Step 4 of 9: what can be tuned about baskets, and which values cannot be.

use serde::{Deserialize, Serialize};

use crate::engine::{BadParam, BadParams};

/// What can be tuned. Units are in the names; ppm are millionths of a pUSD for one share of each leg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasketsParams {
    /// Off leaves linked books alone.
    pub enabled: bool,
    /// Most shares of each leg.
    pub max_shares: u32,
    /// Least that is left in the worst outcome after fees, hold and half payouts.
    pub min_edge_ppm: u32,
    /// Where a basket cannot be taken, a bid for one leg may rest. Off unless asked for: how often the other legs are
    /// still there when such a bid is filled was not measured on real books.
    pub quote: bool,
    /// Least that is left in the worst outcome if that bid is filled and the other legs are bought as they are offered
    /// now, after fees, hold and half payouts. Not below `min_edge_ppm`.
    pub quote_edge_ppm: u32,
    /// A basket that costs at most so much more than it pays is written down as one that appeared.
    pub near_ppm: u32,
    /// A basket is taken when all its offers have stood for so long, in milliseconds. Right after news one book has
    /// moved and the other is about to: whoever sends then is held until it has.
    pub stood_ms: u32,
    /// What a price is expected to move against us in a second of the venue's hold, for each leg.
    pub hold_ppm_per_s: u32,
    /// How likely it is that a match does not complete, in millionths.
    pub half_ppm: u32,
    /// What completing a basket may lose at most, where going back would lose more.
    pub max_loss_ppm: u32,
    /// Tries to complete or to unwind a basket whose legs are not level.
    pub tries: u8,
    /// Least time between two tries, and between two baskets of one match, in milliseconds.
    pub pause_ms: u32,
    /// A basket whose legs are not level, and for which nothing could be done for so long, is held as it is, in
    /// milliseconds.
    pub give_up_ms: u32,
}

impl Default for BasketsParams {
    fn default() -> Self {
        Self {
            enabled: true,
            max_shares: 100,
            min_edge_ppm: 2_000,
            quote: false,
            quote_edge_ppm: 10_000,
            near_ppm: 5_000,
            stood_ms: 3_000,
            hold_ppm_per_s: 1_000,
            half_ppm: 2_000,
            max_loss_ppm: 20_000,
            tries: 3,
            pause_ms: 1_000,
            give_up_ms: 30_000,
        }
    }
}

impl BasketsParams {
    /// The same in a match that unfolds `speed` times as fast. What is given for a second of the hold stays: the hold
    /// is told in the match's time.
    #[must_use]
    pub fn compressed(mut self, speed: u32) -> Self {
        for ms in [&mut self.pause_ms, &mut self.give_up_ms] {
            *ms = (*ms / speed.max(1)).max(1);
        }
        self.stood_ms /= speed.max(1);
        self
    }

    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("strategy.baskets");
        bad.check("max_shares", self.max_shares, (5..=100_000).contains(&self.max_shares), "5 to 100000 shares");
        for (key, ppm) in [
            ("min_edge_ppm", self.min_edge_ppm),
            ("quote_edge_ppm", self.quote_edge_ppm),
            ("near_ppm", self.near_ppm),
            ("hold_ppm_per_s", self.hold_ppm_per_s),
            ("half_ppm", self.half_ppm),
            ("max_loss_ppm", self.max_loss_ppm),
        ] {
            bad.check(key, ppm, ppm <= 1_000_000, "0 to 1000000 (millionths)");
        }
        bad.check("stood_ms", self.stood_ms, self.stood_ms <= 600_000, "0 to 600000 ms");
        let enough = self.quote_edge_ppm >= self.min_edge_ppm;
        bad.check("quote_edge_ppm", self.quote_edge_ppm, enough, "at least min_edge_ppm");
        bad.check("tries", self.tries, (1..=10).contains(&self.tries), "1 to 10");
        bad.check("pause_ms", self.pause_ms, self.pause_ms > 0, "at least 1 ms");
        bad.check("give_up_ms", self.give_up_ms, self.give_up_ms >= self.pause_ms, "at least pause_ms");
        bad.into_result()
    }
}
