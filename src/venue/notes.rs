//! What the exchange has to tell: everything that a channel may want to say, in the order in which it happened.

use std::sync::Arc;

use super::{
    accounts::AccountIx,
    book::Shown,
    rules::{NewOrder, Phase},
};
use crate::{
    scenario::{Filled, OrderTag, Trader},
    types::{
        InstrumentIx, MarketIx, Nanos, OrderHash, Price, Qty, Side, TickSize, Usdc,
        event::{BookSide, Payout},
    },
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Note {
    /// Levels of one market changed; the books now show the totals.
    Levels {
        /// Which market.
        market: MarketIx,
        /// Which levels of the YES ladder, with their new totals.
        changes: Vec<(BookSide, Price, Qty)>,
        /// Best bid and best ask of the YES ladder after the changes.
        tops: [Option<Shown>; 2],
        /// True if a best price or the size there changed.
        top_moved: bool,
    },
    /// A taker traded at one price.
    LastTrade {
        /// The taker's token.
        instrument: InstrumentIx,
        /// At that token's price.
        price: Price,
        /// How much at this price.
        qty: Qty,
        /// The taker's side.
        side: Side,
        /// Where it will settle.
        hash: [u8; 32],
    },
    /// A token traded: its whole book is told again.
    Book(Snapshot),
    /// The grid changed.
    Tick {
        /// Whose.
        market: MarketIx,
        /// Before.
        old: TickSize,
        /// After.
        new: TickSize,
    },
    /// An order was placed, matched or ended.
    Order(OrderNote),
    /// A trade changed its status.
    Trade(Arc<Trade>),
    /// A market was decided and paid out.
    Resolved(MarketIx, Payout),
    /// A scenario trader was filled.
    Filled(Filled),
    /// A scenario trader's order was ended by the venue.
    Gone((Trader, OrderTag)),
}

/// A token's whole book, best prices first.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whose.
    pub instrument: InstrumentIx,
    /// Buyers.
    pub bids: Vec<Shown>,
    /// Sellers.
    pub asks: Vec<Shown>,
    /// Grid.
    pub tick: TickSize,
    /// Last trade.
    pub last: Option<Price>,
    /// When it last changed.
    pub changed: Nanos,
}

/// Kind of an order event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    /// Taken.
    Placement,
    /// Matched in part or whole, or its hold ended.
    Update,
    /// Gone.
    Cancellation,
}

impl OrderEvent {
    /// The wire's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placement => "PLACEMENT",
            Self::Update => "UPDATE",
            Self::Cancellation => "CANCELLATION",
        }
    }
}

/// An order at the moment of an event.
#[derive(Clone, Debug)]
pub struct OrderNote {
    /// What happened.
    pub event: OrderEvent,
    /// What was sent.
    pub new: NewOrder,
    /// At what price.
    pub price: Price,
    /// Shares asked for.
    pub size: Qty,
    /// Shares filled so far.
    pub matched: Qty,
    /// Where it is.
    pub phase: Phase,
    /// When it came.
    pub created: Nanos,
    /// Its trades.
    pub trades: Vec<u64>,
}

/// Where a trade is on its way to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TradeStatus {
    /// Matched off chain.
    Matched,
    /// In a block.
    Mined,
    /// Sent again after a failure.
    Retrying,
    /// Final.
    Confirmed,
    /// Final: nothing of it happened.
    Failed,
}

impl TradeStatus {
    /// The wire's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "MATCHED",
            Self::Mined => "MINED",
            Self::Retrying => "RETRYING",
            Self::Confirmed => "CONFIRMED",
            Self::Failed => "FAILED",
        }
    }
}

/// What is to become of a trade other than to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays MATCHED for ever.
    Stuck,
    /// It fails.
    Fails {
        /// After MINED instead of after MATCHED.
        mined: bool,
        /// RETRYING is told first.
        retrying: bool,
        /// Only if this account is ahead on it when it would settle.
        ahead: Option<AccountIx>,
    },
}

/// One maker's part of a trade.
#[derive(Clone, Debug)]
pub struct MakerFill {
    /// Which order.
    pub order: OrderHash,
    /// Placed by which API key.
    pub owner: Arc<str>,
    /// Whose funds.
    pub account: AccountIx,
    /// On which token.
    pub instrument: InstrumentIx,
    /// Bought or sold.
    pub side: Side,
    /// At that token's price.
    pub price: Price,
    /// How many shares.
    pub qty: Qty,
    /// What the taker paid or received against it, without fee.
    pub taker_cash: Usdc,
    /// What the taker paid for taking.
    pub fee: Usdc,
}

/// One taker order meeting its makers.
#[derive(Clone, Debug)]
pub struct Trade {
    /// Running number.
    pub number: u64,
    /// The wire's id.
    pub id: Arc<str>,
    /// The taker's order.
    pub taker_order: OrderHash,
    /// Placed by which API key.
    pub owner: Arc<str>,
    /// Whose funds.
    pub account: AccountIx,
    /// The taker's token.
    pub instrument: InstrumentIx,
    /// The taker's side.
    pub side: Side,
    /// Price of the one level it met, or the taker's limit if it met several: the reference leaves it open which.
    /// Source: docs/PROTOCOL.md "trade events".
    pub price: Price,
    /// All shares.
    pub qty: Qty,
    /// The makers, in the order in which they were met.
    pub makers: Vec<MakerFill>,
    /// Where it is.
    pub status: TradeStatus,
    /// When it matched.
    pub matched_at: Nanos,
    /// When its status last changed.
    pub updated_at: Nanos,
    /// Transaction; told once mined.
    pub hash: [u8; 32],
    /// True once its shares have been on chain.
    pub landed: bool,
}
