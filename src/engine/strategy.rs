//! Step 4 of 9: the port that strategies fill.
//!
//! A strategy looks at a [`View`], and says what it wishes. It sends nothing: each wish to place goes through risk.

use core::fmt;

use serde::Serialize;

use super::{
    book::{Book, Level},
    digest::StateHasher,
    orders::Orders,
    position::Ledger,
    refusal::Refusal,
    trading::TradingState,
};
use crate::types::{
    InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side, Universe, Usdc,
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
    /// How much of its size a new quote may have now, in parts per million; more is refused.
    pub size_ppm: u32,
    /// Its trading state.
    pub state: TradingState,
    /// Every order.
    pub orders: &'a Orders,
    /// Every account.
    pub ledger: &'a Ledger,
    /// What is known of the match.
    pub play: Play,
    /// When the market's game starts, by the last word of the venue: starts move.
    pub game_start: Option<Nanos>,
    /// How fast our news of this match is, as far as it was measured.
    pub timing: Timing,
    /// Shares of its two tokens that another strategy holds for reasons of its own: they are no part of a pair.
    pub apart: [Qty; 2],
    /// The other markets.
    pub others: &'a dyn Others,
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

/// The markets of the run: each of these answers for any of them.
pub trait Others {
    /// A market's fixed facts.
    fn spec(&self, m: MarketIx) -> &MarketSpec;
    /// The book of a token. Its trust is not its market's: see [`Others::trust`].
    fn book_of(&self, i: InstrumentIx) -> &Book;
    /// Whether a market's books can be relied on now. One that a message is changing is settling.
    fn trust(&self, m: MarketIx) -> Trust;
    /// True if orders are not admitted in a market.
    fn closed(&self, m: MarketIx) -> bool;
    /// A market's trading state.
    fn state(&self, m: MarketIx) -> TradingState;
    /// The number that a strategy's next intent in a market has to have, at least.
    fn next_epoch(&self, m: MarketIx, strategy: StrategyId) -> u32;
}

impl<'a> View<'a> {
    /// A market's fixed facts.
    #[inline]
    pub fn spec_of(&self, m: MarketIx) -> &'a MarketSpec {
        self.others.spec(m)
    }

    /// The book of a token of any market. Its trust is not its market's: see [`View::trust_of`].
    #[inline]
    pub fn book(&self, i: InstrumentIx) -> &'a Book {
        self.others.book_of(i)
    }

    /// Best level of others on a token of any market.
    #[inline]
    pub fn best_of_others_at(&self, i: InstrumentIx, side: BookSide) -> Option<Level> {
        self.book(i).best_of_others(side, |price: Price| self.orders.own_at(i, side, price))
    }

    /// Whether a market's books can be relied on now. One that a message is changing is settling.
    pub fn trust_of(&self, m: MarketIx) -> Trust {
        if m == self.market { self.trust } else { self.others.trust(m) }
    }

    /// True if orders are not admitted in a market.
    pub fn closed_at(&self, m: MarketIx) -> bool {
        self.others.closed(m)
    }

    /// A market's trading state.
    pub fn state_of(&self, m: MarketIx) -> TradingState {
        self.others.state(m)
    }

    /// The number that a strategy's next intent in a market has to have, at least.
    pub fn next_epoch(&self, m: MarketIx, strategy: StrategyId) -> u32 {
        self.others.next_epoch(m, strategy)
    }
}

/// How fast we are, as measured. `None`: too few samples, and nothing follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// From a change of a book at the venue to our hearing of it, nine times of ten, in milliseconds.
    pub feed_lag_p90_ms: Option<u32>,
    /// From our decision to cancel until we know that nothing can match any more, nine times of ten, in milliseconds.
    pub cancel_path_p90_ms: Option<u32>,
}

impl Timing {
    /// By how much we are too slow to pull a quote before somebody informed takes it, if we are. His order comes
    /// `lead_ms` after the news; the venue holds takers for `hold_ms`; cancels are not held. A cancel path that is not
    /// measured yet takes some time, too: what the feed alone is late by is the least that we are.
    pub fn too_slow_by_ms(&self, lead_ms: u32, hold_ms: u32) -> Option<u32> {
        let ours = u64::from(self.feed_lag_p90_ms?) + u64::from(self.cancel_path_p90_ms.unwrap_or(0));
        let theirs = u64::from(lead_ms) + u64::from(hold_ms);
        ours.checked_sub(theirs).filter(|by| *by > 0).map(|by| u32::try_from(by).unwrap_or(u32::MAX))
    }
}

/// Why a strategy leaves a market alone, and by how much it would lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Our news comes too late to pull quotes in time.
    TooSlow {
        /// By so much, in milliseconds of the match.
        by_ms: u32,
    },
    /// The price is through our quotes within seconds of a fill: somebody is faster.
    FeedBehind {
        /// Mean loss a share after seconds, ppm of a pUSD.
        loss_ppm: u32,
        /// Measured fills.
        fills: u32,
    },
    /// What spreads earn is less than what the price takes back later.
    RunOver {
        /// Mean loss a share after the whole markout time, fees included, ppm of a pUSD.
        loss_ppm: u32,
        /// Measured fills.
        fills: u32,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = |ppm: u32| (ppm / 10_000, ppm % 10_000 / 100);
        match *self {
            Self::TooSlow { by_ms } => {
                // Never "0.0 s": a tenth is the least that is said.
                let tenths = by_ms.div_ceil(100);
                write!(f, "your feed is {}.{} s too slow to quote here", tenths / 10, tenths % 10)
            }
            Self::FeedBehind { loss_ppm, fills } => {
                let (c, h) = cents(loss_ppm);
                write!(f, "your feed is behind the market: {fills} fills lost {c}.{h:02} cents a share within seconds")
            }
            Self::RunOver { loss_ppm, fills } => {
                let (c, h) = cents(loss_ppm);
                write!(f, "quoting here is run over: {fills} fills lost {c}.{h:02} cents a share")
            }
        }
    }
}

/// Where a strategy stands in one market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It trades.
    Quoting,
    /// It was off, and tries again with small orders.
    Probing,
    /// It only reduces what it holds.
    Off {
        /// Why, and by how much.
        why: Why,
        /// It tries again then.
        until: Nanos,
    },
}

/// A fill of one of our orders, as a strategy is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFill {
    /// Our order's id.
    pub order: OrderHash,
    /// The token of our order.
    pub instrument: InstrumentIx,
    /// Our side.
    pub side: Side,
    /// Shares.
    pub qty: Qty,
    /// Cash at the match prices, before fees.
    pub notional: Usdc,
    /// Taker fee; zero for a maker.
    pub fee: Usdc,
    /// We were the taker.
    pub taker: bool,
}

/// A trade that the market channel told of, whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    /// The token that the taker traded.
    pub instrument: InstrumentIx,
    /// The taker's side.
    pub taker: Side,
    /// At what price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
}

/// A strategy. Deterministic: everything it knows it was told.
pub trait Strategy {
    /// Says what it wishes in one market, now.
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes);

    /// One of our orders was filled.
    fn filled(&mut self, view: &View<'_>, fill: &NewFill);

    /// A fill that it was told of is void: the trade failed. The order's size stays used up.
    fn failed(&mut self, _view: &View<'_>, _fill: &NewFill) {}

    /// Somebody traded. Told before the book shows it, or after: the venue promises no order.
    fn traded(&mut self, _now: Nanos, _print: &Print) {}

    /// Where it stands in a market, for those who have such a word.
    fn standing(&self, _market: MarketIx) -> Option<Standing> {
        None
    }

    /// What became of an order that it wished to have placed together with others: its id, or why none of them was.
    fn answered(&mut self, _intent: &Intent, _verdict: Result<OrderHash, Refusal>) {}

    /// What it has to say at the end, a sentence each. Allocates; never called on the hot path.
    fn remarks(&self, _universe: &Universe) -> Vec<String> {
        Vec::new()
    }

    /// Everything it remembers, into the state hash.
    fn digest(&self, h: &mut StateHasher);
}
