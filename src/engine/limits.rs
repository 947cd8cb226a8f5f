//! Step 5 of 9: the limits, their defaults, and which values cannot be.

use serde::{Deserialize, Serialize};

use crate::types::Usdc;

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
    /// Largest sum of worst-case losses over all markets.
    pub total_usdc: Usdc,
    /// Loss since start at which the kill switch trips.
    pub daily_loss_usdc: Usdc,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            order_usdc: Usdc::dollars(250),
            market_usdc: Usdc::dollars(500),
            total_usdc: Usdc::dollars(1_000),
            daily_loss_usdc: Usdc::dollars(500),
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
        self
    }

    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<super::BadParam>> {
        let mut bad = super::BadParams::new("risk");
        for (key, value) in [
            ("order_usdc", self.order_usdc),
            ("market_usdc", self.market_usdc),
            ("total_usdc", self.total_usdc),
            ("daily_loss_usdc", self.daily_loss_usdc),
        ] {
            bad.check(key, value, value > Usdc::ZERO, "more than 0 pUSD");
        }
        bad.check("order_usdc", self.order_usdc, self.order_usdc <= self.market_usdc, "at most risk.market_usdc");
        bad.check("market_usdc", self.market_usdc, self.market_usdc <= self.total_usdc, "at most risk.total_usdc");
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
        bad.into_result()
    }
}
