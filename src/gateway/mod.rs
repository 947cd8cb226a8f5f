//! Steps 7 and 8: warm connections that carry orders out and answers in.

pub mod asked;
pub mod bootstrap;
pub mod budget;
pub mod clock;
pub mod desk;
pub mod guards;
pub mod heartbeat;
pub mod lane;
pub mod merge;
pub mod modes;
pub mod reading;
pub mod recv;
pub mod send;
mod tile;

pub use tile::{GatewayConfig, GatewayEnds, GatewayTile};

use crate::{
    engine::Signed,
    types::{MarketIx, Nanos, OrderHash, Qty, Stamp},
};

/// What the hot tile asks of the gateway.
#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant, reason = "orders are the common case and move by value through a ring")]
pub enum Command {
    /// Send this order.
    Place {
        /// The order.
        signed: Signed,
        /// What led to it.
        origin: Origin,
    },
    /// Cancel one order.
    Cancel {
        /// Which.
        order: OrderHash,
        /// Stamp of the bytes that led here.
        cause: Stamp,
        /// What led to it.
        origin: Origin,
    },
    /// Cancel everything of this account.
    CancelAll,
    /// Ask about one order.
    Lookup {
        /// Which.
        order: OrderHash,
    },
    /// Ask how much collateral we have.
    ReadCollateral,
    /// Ask for a market's page.
    AskMarket {
        /// Which.
        market: MarketIx,
    },
    /// Read everything that the venue knows of us.
    Reconcile {
        /// Its number.
        round: u32,
        /// Trades matched since then are read; zero for all.
        trades_since: Nanos,
    },
    /// Turn complete sets into collateral.
    Merge {
        /// Of which market.
        market: MarketIx,
        /// How many.
        qty: Qty,
    },
}

/// What an action was caused by: decides which latency it counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Bytes of the venue: tick to trade.
    Venue,
    /// Bytes of a match feed: event to order.
    Match,
    /// Our own clock or operator: no bytes caused it.
    Clock,
}
