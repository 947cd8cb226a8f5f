//! Step 4 of 9: the port that strategies fill.
//!
//! A strategy looks at a [`View`], and says what it wishes. It sends nothing: each wish to place goes through risk.

use super::{book::Book, digest::StateHasher, orders::Orders, position::Ledger, trading::TradingState};
use crate::types::{
    InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side,
    event::BookSide,
    event::MatchEvent,
    order::{Intent, StrategyId},
};

/// Most wishes of one decision.
pub const WISHES_MAX: usize = 8;

/// What a strategy wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Place an order.
    Place(Intent),
    /// Cancel a working order.
    Cancel(OrderHash),
    /// Turn settled complete sets into collateral.
    Merge(Qty),
}

/// Wishes of one decision, for one market.
pub type Wishes = heapless::Vec<Wish, WISHES_MAX>;

/// Whether a market's books can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Both are trusted, and each mirrors the other.
    Good,
    /// Both are trusted, but one is a message ahead of the other: for a moment nothing is decided.
    Settling,
    /// One of them cannot be trusted: what rests in this market is pulled.
    Bad,
}

/// What is known of the match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// No match feed is configured: the market's own book is all there is.
    NoFeed,
    /// The feed has said nothing, or nothing for too long.
    Unknown,
    /// What the feed said last.
    Known(MatchEvent),
}

/// What a strategy may look at: everything the engine knows, nothing it could change.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Time of the event that led to this decision.
    pub now: Nanos,
    /// The market decided on.
    pub market: MarketIx,
    /// Its fixed facts.
    pub spec: &'a MarketSpec,
    /// Books of its two tokens.
    pub books: [&'a Book; 2],
    /// Whether its books can be relied on.
    pub trust: Trust,
    /// Why orders are not admitted at all, if they are not.
    pub closed: bool,
    /// The number that the next intent of each strategy in this market has to have, at least, by [`StrategyId`]. What
    /// two pieces of code place because of one signal has one number, and only one of it is sent.
    pub epochs: [u32; StrategyId::ALL.len()],
    /// New orders that the rate limit leaves now.
    pub budget: u32,
    /// Its trading state.
    pub state: TradingState,
    /// Every order.
    pub orders: &'a Orders,
    /// Every account.
    pub ledger: &'a Ledger,
    /// What is known of the match.
    pub play: Play,
}

impl View<'_> {
    /// Best level of others on one of the market's tokens: our own size does not count as somebody's opinion.
    #[inline]
    pub fn best_of_others(&self, instrument: InstrumentIx, side: BookSide) -> Option<super::book::Level> {
        self.books[instrument.outcome() as usize]
            .best_of_others(side, |price: Price| self.orders.own_at(instrument, side, price))
    }
}

/// A strategy. Deterministic: everything it knows it was told.
pub trait Strategy {
    /// Says what it wishes in one market, now.
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes);

    /// One of our orders was filled.
    fn filled(&mut self, view: &View<'_>, instrument: InstrumentIx, side: Side, qty: Qty);

    /// Everything it remembers, into the state hash.
    fn digest(&self, h: &mut StateHasher);
}
