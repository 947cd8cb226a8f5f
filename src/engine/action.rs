//! All that the engine can ask for.
//!
//! Actions are journalled beside the events that led to them; a replay must ask for the same, byte for byte.
//! They carry unsigned orders: signing is a port that a replay leaves empty.

use serde::Serialize;

use super::risk::Approved;
use crate::types::{InstrumentIx, MarketIx, Nanos, OrderHash, Qty, Stamp};

/// What the engine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(clippy::large_enum_variant, reason = "orders are the common case and move by value through rings")]
pub enum Action {
    /// Sign this and send it.
    Place(Approved),
    /// Cancel one order.
    Cancel {
        /// Which.
        order: OrderHash,
        /// On which token.
        instrument: InstrumentIx,
        /// Stamp of the bytes that led here.
        cause: Stamp,
    },
    /// Cancel everything we have at the venue.
    CancelAll,
    /// Ask the venue about one order.
    Lookup {
        /// Which.
        order: OrderHash,
    },
    /// Ask the venue for its page of a market: what it pays, whether it takes orders, when its game starts.
    AskMarket {
        /// Which market.
        market: MarketIx,
    },
    /// Turn complete sets back into collateral.
    Merge {
        /// Of which market.
        market: MarketIx,
        /// How many.
        qty: Qty,
    },
    /// Ask the venue how much collateral we have.
    ReadCollateral,
    /// Read everything that the venue knows of us: open orders, trades, balances, positions.
    Reconcile {
        /// Counts the readings; its events carry it.
        round: u32,
        /// Trades matched since then are read; zero for all.
        trades_since: Nanos,
    },
    /// Get a fresh snapshot of one book.
    Resync {
        /// Whose.
        instrument: InstrumentIx,
    },
    /// Nothing is left to do: every market is resolved, or a stop is complete.
    Finished {
        /// False if anything was left behind.
        clean: bool,
    },
}
