//! What a request asked for, kept beside it until its answer: answers are matched by order id, never by position alone.

use crate::types::{Cycles, MarketIx, OrderHash};

use super::Origin;
pub use crate::wire::order::BATCH_MAX;

/// Cancels in one request, at most. The venue takes 1000; so many are moved about for little.
pub const CANCELS_MAX: usize = 16;

/// An order on its way, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which.
    pub order: OrderHash,
    /// What led to it.
    pub origin: Origin,
    /// When the bytes that led to it were read.
    pub cause: Cycles,
}

/// What a request asked for.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one per connection, never moved on the hot path but once")]
pub enum Asked {
    /// Place these, in this order.
    Orders(heapless::Vec<Sent, BATCH_MAX>),
    /// Cancel these.
    Cancels(heapless::Vec<Sent, CANCELS_MAX>),
    /// Cancel everything.
    CancelAll,
    /// The state of one order.
    Lookup(OrderHash),
    /// Our collateral.
    Collateral,
    /// What a market pays.
    Payout(MarketIx),
    /// We are alive.
    Heartbeat,
    /// Cancel an order that cannot exist: is the venue's door open?
    Door,
    /// The next question of a reading.
    Reading,
    /// The venue's time.
    Time,
    /// Our collateral, to see whether we are let in.
    Account,
    /// A page of the Data API.
    Data,
    /// Nothing: keeps the connection warm.
    Warm,
    /// A step of a merge, of the relayer.
    Relay,
    /// The venue is to look at the chain again.
    BalanceUpdate,
}

impl Asked {
    /// True if this places `order`.
    pub fn places(&self, order: &OrderHash) -> bool {
        matches!(self, Self::Orders(sent) if sent.iter().any(|s| s.order == *order))
    }
}
