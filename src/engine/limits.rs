//! Step 5 of 9: the limits, their defaults, and which values cannot be.

use serde::{Deserialize, Serialize};

use super::{
    fat_finger::FatFingerLimits,
    groups::{GroupLimits, NamedGroup},
    hours::Hours,
    repeat::RepeatLimits,
    restricted::Restricted,
    sizing::SizingParams,
    slippage::SlippageLimits,
};
use crate::types::{Universe, Usdc};

/// Orders a second that the venue's best tier allows. Source: docs/PROTOCOL.md "rate limits".
const ORDERS_PER_S_MAX: u32 = 600;

/// Limits. Money is in pUSD, written as decimals in the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest cost of one order.
    pub order_usdc: Usdc,
    /// Largest worst-case loss in one market.
    pub market_usdc: Usdc,
    /// Largest worst-case loss of a match, over all its outcomes and markets.
    pub match_usdc: Usdc,
    /// Largest sum of worst-case losses over the matches of one tournament, and of one team.
    pub group_usdc: Usdc,
    /// Largest sum of worst-case losses over everything.
    pub total_usdc: Usdc,
    /// Loss since start at which the kill switch trips.
    pub daily_loss_usdc: Usdc,
    /// Collateral kept to complete what is unpaired, in percent of what that costs at the mark.
    pub completion_percent: u32,
    /// Farthest that a limit price may be from the mark, on the bad side, in units of 0.0001.
    pub collar_units: u16,
    /// Working orders in one market.
    pub working_per_market: u8,
    /// New orders per second over everything; the burst is one second's worth.
    pub orders_per_s: u32,
    /// Refusals in a row, in one market, that open its breaker.
    pub rejects_to_break: u8,
    /// How long a market's breaker stays open at first, in milliseconds; longer each time a trial fails.
    pub break_ms: u32,
    /// An answer to an order that takes longer than this, in milliseconds, counts against its market's breaker.
    pub slow_answer_ms: u32,
    /// Errors of all kinds within a minute that trip the kill switch.
    pub errors_per_min: u32,
    /// The user stream or the gateway being down for this long, in seconds, trips the kill switch.
    pub down_s: u32,
    /// A change of a book that is older than this when it is read, in milliseconds, is not acted on.
    pub late_ms: u32,
    /// No order this close before and after a game's start, where the venue clears the book, in milliseconds.
    pub clear_ms: u32,
    /// Least time between an order's approval and its expiry, in seconds.
    pub expiry_s: u32,
    /// Everything that the venue knows of us is read this often, in seconds.
    pub reconcile_s: u32,
    /// Markets that are not traded: condition ids or slugs.
    pub restricted: Restricted,
    /// Matches that a person ties together.
    pub groups: Vec<NamedGroup>,
    /// When less is traded, or nothing.
    pub hours: Hours,
    /// How size follows volatility, drawdown and kills.
    pub sizing: SizingParams,
    /// How far an order may trade from the middle and from its own price.
    pub slippage: SlippageLimits,
    /// What is a loop.
    pub repeats: RepeatLimits,
    /// What is a mistake of size.
    pub fat_finger: FatFingerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            order_usdc: Usdc::dollars(250),
            market_usdc: Usdc::dollars(500),
            match_usdc: Usdc::dollars(800),
            group_usdc: Usdc::dollars(1_000),
            total_usdc: Usdc::dollars(1_000),
            daily_loss_usdc: Usdc::dollars(500),
            completion_percent: 100,
            collar_units: 1_000,
            working_per_market: 8,
            orders_per_s: 30,
            rejects_to_break: 10,
            break_ms: 5_000,
            slow_answer_ms: 2_000,
            errors_per_min: 300,
            down_s: 300,
            late_ms: 3_000,
            clear_ms: 30_000,
            expiry_s: 180,
            reconcile_s: 30,
            restricted: Restricted::default(),
            groups: Vec::new(),
            hours: Hours::default(),
            sizing: SizingParams::default(),
            slippage: SlippageLimits::default(),
            repeats: RepeatLimits::default(),
            fat_finger: FatFingerLimits::default(),
        }
    }
}

impl Limits {
    /// The same in a match that unfolds `speed` times as fast: orders come as much faster as the match, up to what the
    /// best tier of the venue allows. Losses and sizes stay what they are.
    #[must_use]
    pub fn compressed(mut self, speed: u32) -> Self {
        self.orders_per_s = self.orders_per_s.saturating_mul(speed.max(1)).min(ORDERS_PER_S_MAX);
        self.clear_ms = (self.clear_ms / speed.max(1)).max(1);
        self.hours.open_buffer_ms /= speed.max(1);
        self.hours.close_buffer_ms /= speed.max(1);
        self.sizing = self.sizing.compressed(speed);
        self.repeats = self.repeats.compressed(speed);
        self
    }

    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<super::BadParam>> {
        let mut bad = super::BadParams::new("risk");
        for (key, value) in [
            ("order_usdc", self.order_usdc),
            ("market_usdc", self.market_usdc),
            ("match_usdc", self.match_usdc),
            ("group_usdc", self.group_usdc),
            ("total_usdc", self.total_usdc),
            ("daily_loss_usdc", self.daily_loss_usdc),
        ] {
            bad.check(key, value, value > Usdc::ZERO, "more than 0 pUSD");
        }
        bad.check("order_usdc", self.order_usdc, self.order_usdc <= self.market_usdc, "at most risk.market_usdc");
        bad.check("market_usdc", self.market_usdc, self.market_usdc <= self.match_usdc, "at most risk.match_usdc");
        bad.check("match_usdc", self.match_usdc, self.match_usdc <= self.group_usdc, "at most risk.group_usdc");
        bad.check("group_usdc", self.group_usdc, self.group_usdc <= self.total_usdc, "at most risk.total_usdc");
        let percent = self.completion_percent;
        bad.check("completion_percent", percent, percent <= 1_000, "0 to 1000 percent");
        GroupLimits::validate(self, &mut bad);
        bad.check(
            "collar_units",
            self.collar_units,
            (1..10_000).contains(&self.collar_units),
            "1 to 9999 (0.0001 each)",
        );
        let max = super::orders::WORKING_MAX as u8;
        let working = self.working_per_market;
        bad.check("working_per_market", working, (2..=max).contains(&working), "2 to 16: both legs need an order");
        bad.check(
            "orders_per_s",
            self.orders_per_s,
            (1..=600).contains(&self.orders_per_s),
            "1 to 600, below your tier's",
        );
        bad.check("rejects_to_break", self.rejects_to_break, self.rejects_to_break > 0, "at least 1");
        bad.check("rejects_to_break", self.rejects_to_break, self.rejects_to_break <= 32, "at most 32");
        for (key, value) in [
            ("break_ms", self.break_ms),
            ("slow_answer_ms", self.slow_answer_ms),
            ("late_ms", self.late_ms),
            ("clear_ms", self.clear_ms),
        ] {
            bad.check(key, value, value > 0, "at least 1 ms");
        }
        bad.check("errors_per_min", self.errors_per_min, self.errors_per_min > 0, "at least 1");
        bad.check("down_s", self.down_s, self.down_s > 0, "at least 1 s");
        let days = 1..=86_400;
        bad.check("expiry_s", self.expiry_s, days.contains(&self.expiry_s), "1 to 86400 s; the venue wants 180");
        bad.check("reconcile_s", self.reconcile_s, days.contains(&self.reconcile_s), "1 to 86400 s");
        let parts = [
            bad.into_result(),
            self.restricted.validate(),
            self.hours.validate(),
            self.sizing.validate(),
            self.slippage.validate(),
            self.repeats.validate(),
            self.fat_finger.validate(),
        ];
        let all: Vec<_> = parts.into_iter().filter_map(Result::err).flatten().collect();
        if all.is_empty() { Ok(()) } else { Err(all) }
    }

    /// What names a market or a match that this run does not have.
    pub fn unknown(&self, universe: &Universe) -> Result<(), Vec<super::BadParam>> {
        let parts = [GroupLimits::unknown(universe, self), self.restricted.resolve(&universe.markets).map(drop)];
        let all: Vec<_> = parts.into_iter().filter_map(Result::err).flatten().collect();
        if all.is_empty() { Ok(()) } else { Err(all) }
    }
}
