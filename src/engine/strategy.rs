//! Step 4 of 9: the port that strategies fill.
//!
//! A strategy looks at a [`View`], and says what it wishes. It sends nothing: each wish to place goes through risk.

use super::{
    book::{Book, Level},
    desk::Desk,
    digest::StateHasher,
    orders::Orders,
    position::Ledger,
    refusal::Refusal,
    trading::TradingState,
};
use crate::types::{
    InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side,
    event::BookSide,
    event::MatchEvent,
    ids::Outcome,
    order::{Intent, StrategyId},
};

/// Most wishes of one decision.
pub const WISHES_MAX: usize = 8;
/// Most orders that are placed together.
pub const TOGETHER_MAX: usize = 3;

/// What a strategy wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a decision's wishes stay on the stack")]
pub enum Wish {
    /// Place an order.
    Place(Intent),
    /// Place these, of whatever markets, or none of them.
    Together(Together),
    /// Cancel a working order.
    Cancel(OrderHash),
    /// Turn settled complete sets into collateral.
    Merge(Qty),
}

/// Orders that are placed together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Together([Option<Intent>; TOGETHER_MAX]);

impl Together {
    /// None.
    pub const NONE: Self = Self([None; TOGETHER_MAX]);

    /// These and one more. Beyond [`TOGETHER_MAX`] nothing is added.
    #[must_use]
    pub fn and(mut self, intent: Intent) -> Self {
        if let Some(free) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(intent);
        }
        self
    }

    /// In the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = &Intent> {
        self.0.iter().flatten()
    }
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
    /// Shares of its two tokens that another strategy holds for reasons of its own: they are no part of a pair.
    pub apart: [Qty; 2],
    /// The other markets.
    pub(super) desk: &'a Desk,
}

impl View<'_> {
    /// Best level of others on one of the market's tokens: our own size does not count as somebody's opinion.
    #[inline]
    pub fn best_of_others(&self, instrument: InstrumentIx, side: BookSide) -> Option<Level> {
        self.books[instrument.outcome() as usize]
            .best_of_others(side, |price: Price| self.orders.own_at(instrument, side, price))
    }

    /// Shares of the first outcome minus those of the second, in millionths, without what is held apart.
    pub fn net(&self) -> i64 {
        let [yes, no] = self.apart.map(|qty| qty.micro() as i64);
        self.ledger.net(self.market) - yes + no
    }

    /// Settled shares of one of its tokens, without what is held apart.
    pub fn settled(&self, outcome: Outcome) -> Qty {
        self.ledger.settled(self.market.instrument(outcome)).saturating_sub(self.apart[outcome as usize])
    }
}

/// The other markets of the run. Each of these answers for any market.
impl<'a> View<'a> {
    /// A market's fixed facts.
    #[inline]
    pub fn spec_of(&self, m: MarketIx) -> &'a MarketSpec {
        self.desk.universe.market(m)
    }

    /// The book of a token of any market. Its trust is not its market's: see [`View::trust_of`].
    #[inline]
    pub fn book(&self, i: InstrumentIx) -> &'a Book {
        &self.desk.instruments[i.ix()].book
    }

    /// Best level of others on a token of any market.
    #[inline]
    pub fn best_of_others_at(&self, i: InstrumentIx, side: BookSide) -> Option<Level> {
        self.book(i).best_of_others(side, |price: Price| self.orders.own_at(i, side, price))
    }

    /// Whether a market's books can be relied on now. One that a message is changing is settling.
    pub fn trust_of(&self, m: MarketIx) -> Trust {
        if m == self.market { self.trust } else { self.desk.trust_of(m) }
    }

    /// True if orders are not admitted in a market.
    pub fn closed_at(&self, m: MarketIx) -> bool {
        self.desk.closed_at(m)
    }

    /// A market's trading state.
    pub fn state_of(&self, m: MarketIx) -> TradingState {
        self.desk.trading_state(m)
    }

    /// The number that a strategy's next intent in a market has to have, at least.
    pub fn next_epoch(&self, m: MarketIx, strategy: StrategyId) -> u32 {
        self.desk.risk.next_epoch(m, strategy)
    }
}

/// A strategy. Deterministic: everything it knows it was told.
pub trait Strategy {
    /// Says what it wishes in one market, now.
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes);

    /// One of our orders was filled.
    fn filled(&mut self, view: &View<'_>, instrument: InstrumentIx, side: Side, qty: Qty);

    /// What became of an order that it wished to have placed together with others: its id, or why none of them was.
    fn answered(&mut self, _intent: &Intent, _verdict: Result<OrderHash, Refusal>) {}

    /// Everything it remembers, into the state hash.
    fn digest(&self, h: &mut StateHasher);
}
