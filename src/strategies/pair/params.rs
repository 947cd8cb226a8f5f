//! What can be tuned about pair arbitrage, and which values cannot be.

use serde::{Deserialize, Serialize};

use crate::{
    engine::{BadParam, BadParams},
    types::Usdc,
};

/// What can be tuned. Units are in the names; `config/default.toml` says what each means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairParams {
    /// Off leaves the market to itself.
    pub enabled: bool,
    /// Size of a quote, in shares.
    pub quote_shares: u32,
    /// Net position that is never passed, in shares.
    pub max_net_shares: u32,
    /// Reservation price's shift for one quote's worth of net position at p = 0.5, in units of 0.0001.
    pub skew_units: u16,
    /// Adverse markout that is assumed until our own fills tell, in units of 0.0001.
    pub adverse_units: u16,
    /// Time after a fill at which its markout is measured, in milliseconds.
    pub markout_ms: u32,
    /// Fair prices below this, or above 1 minus this, are not quoted; in units of 0.0001.
    pub extreme_units: u16,
    /// Before a market's book is cleared only the lagging leg is quoted for this long, in milliseconds.
    pub wind_down_ms: u32,
    /// A quote that still has an edge is left alone at least this long, in milliseconds.
    pub rest_ms: u32,
    /// Complete sets are merged from this many shares on, or sooner when collateral is short.
    pub merge_shares: u32,
    /// What one call of the relayer costs, in pUSD.
    pub merge_cost_usdc: Usdc,
    /// Quotes expire by themselves after this many seconds.
    pub ttl_s: u32,
    /// The lagging leg may be completed, or the leading one unwound, as taker.
    pub taker: bool,
    /// Least time between two such completions in one market, in milliseconds: longer than the venue holds takers.
    pub taker_pause_ms: u32,
    /// From news to the first order of somebody who knows of it, in milliseconds: what leaves us time to pull a quote,
    /// beside the venue's hold.
    pub lead_ms: u32,
    /// Measured fills that it takes to say that a market loses money.
    pub off_fills: u32,
    /// How long such a market is left alone at first, in milliseconds; twice as long each time it is again so.
    pub off_ms: u32,
}

impl Default for PairParams {
    fn default() -> Self {
        Self {
            enabled: true,
            quote_shares: 50,
            max_net_shares: 150,
            skew_units: 100,
            adverse_units: 0,
            markout_ms: 30_000,
            extreme_units: 800,
            wind_down_ms: 120_000,
            rest_ms: 1_000,
            merge_shares: 20,
            merge_cost_usdc: Usdc(10_000),
            ttl_s: 300,
            taker: true,
            taker_pause_ms: 4_000,
            lead_ms: 2_000,
            off_fills: 12,
            off_ms: 120_000,
        }
    }
}

impl PairParams {
    /// The same in a match that unfolds `speed` times as fast: what is measured in the match's time shrinks with it.
    /// The venue's expiry stays wall time.
    #[must_use]
    pub fn compressed(mut self, speed: u32) -> Self {
        let Self { markout_ms, wind_down_ms, rest_ms, taker_pause_ms, off_ms, .. } = &mut self;
        for ms in [markout_ms, wind_down_ms, rest_ms, taker_pause_ms, off_ms] {
            *ms = (*ms / speed.max(1)).max(1);
        }
        self
    }

    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("strategy.pair");
        bad.check("quote_shares", self.quote_shares, (5..=100_000).contains(&self.quote_shares), "5 to 100000 shares");
        let enough = (self.quote_shares..=1_000_000).contains(&self.max_net_shares);
        bad.check("max_net_shares", self.max_net_shares, enough, "at least strategy.pair.quote_shares, to 1000000");
        bad.check("skew_units", self.skew_units, self.skew_units <= 2_500, "0 to 2500 (0.0001 each)");
        bad.check("adverse_units", self.adverse_units, self.adverse_units <= 1_000, "0 to 1000 (0.0001 each)");
        bad.check("extreme_units", self.extreme_units, self.extreme_units < 5_000, "below 5000 (0.0001 each)");
        for (key, ms, low) in [
            ("markout_ms", self.markout_ms, 1),
            ("wind_down_ms", self.wind_down_ms, 0),
            ("taker_pause_ms", self.taker_pause_ms, 1),
            ("off_ms", self.off_ms, 1),
            ("lead_ms", self.lead_ms, 0),
        ] {
            let right = if low == 0 { "0 to 3600000 ms" } else { "1 to 3600000 ms" };
            bad.check(key, ms, (low..=3_600_000).contains(&ms), right);
        }
        bad.check("merge_shares", self.merge_shares, self.merge_shares > 0, "at least 1 share");
        let cost = (Usdc::ZERO..=Usdc::dollars(100)).contains(&self.merge_cost_usdc);
        bad.check("merge_cost_usdc", self.merge_cost_usdc, cost, "0 to 100 pUSD");
        let ttl = (120..=86_400).contains(&self.ttl_s);
        bad.check("ttl_s", self.ttl_s, ttl, "120 to 86400 s, as the venue's GTD needs");
        // Below eight the bound on the mean would have to be wider than the one that is used.
        bad.check("off_fills", self.off_fills, (8..=24).contains(&self.off_fills), "8 to 24 fills");
        bad.into_result()
    }
}
