//! What unfolds on the embedded venue: a match, its markets, and the people who trade them.
//!
//! A scenario is a source of commands in scenario time. It knows nothing of sockets or clocks: the venue
//! asks when it wants to act next, calls it then, and carries out what it says. Outcomes come from an event
//! process of the scenario's own, never from a model that the product uses.

mod capture;
pub mod dice;
pub mod fair;
pub mod family;
pub mod game;
mod informed;
pub mod lol_bo3;
mod makers;
mod noise;
pub mod recorded;
mod sports;

use crate::types::{
    MarketSpec, MatchSpec, Qty, TickSize, Usdc,
    event::Payout,
    ids::{InstrumentIx, MarketIx},
    order::{Side, TimeInForce},
    price::Price,
};

/// Nanoseconds of scenario time since the scenario began. At speed 60 they pass sixty times as fast as wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SimTime(pub u64);

impl SimTime {
    /// A time from seconds.
    pub fn from_secs_f64(s: f64) -> Self {
        Self((s.max(0.0) * 1e9) as u64)
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// One of the scenario's traders, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Trader(pub u16);

/// A trader's own name for an order, unique per trader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderTag(pub u64);

/// How much a trader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Shares.
    Shares(Qty),
    /// Collateral to spend, before fee (immediate buys only).
    Spend(Usdc),
}

/// What a scenario tells the venue to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// A trader places an order.
    Place {
        /// Who.
        trader: Trader,
        /// The trader's name for it.
        tag: OrderTag,
        /// Which token.
        instrument: InstrumentIx,
        /// Buy or sell.
        side: Side,
        /// Limit, on the market's grid.
        price: Price,
        /// How much.
        size: Size,
        /// How long it stands.
        tif: TimeInForce,
        /// Only as maker.
        post_only: bool,
    },
    /// A trader cancels an order, if it still rests.
    Cancel {
        /// Who.
        trader: Trader,
        /// Which.
        tag: OrderTag,
    },
    /// The book is cleared at game start: every resting order is cancelled.
    ClearBook(MarketIx),
    /// The grid changes.
    TickSize(MarketIx, TickSize),
    /// A frame of the sports channel, complete JSON text.
    Sports(String),
    /// The market is decided and paid out.
    Resolve(MarketIx, Payout),
    /// A recorded message of the market channel, sent to its subscribers as it is (`{"event_type":…}`).
    Replay(String),
    /// Nothing more will come.
    Finished,
}

/// What a trader can see: the venue's books at this moment. Prices are of the token asked for.
pub trait Books {
    /// Best bid of a token and the size there.
    fn best_bid(&self, instrument: InstrumentIx) -> Option<(Price, Qty)>;
    /// Best ask of a token and the size there.
    fn best_ask(&self, instrument: InstrumentIx) -> Option<(Price, Qty)>;
    /// The market's grid now.
    fn tick(&self, market: MarketIx) -> TickSize;
    /// Free shares of a trader.
    fn shares(&self, trader: Trader, instrument: InstrumentIx) -> Qty;
    /// Free collateral of a trader.
    fn cash(&self, trader: Trader) -> Usdc;
}

/// A fill of one of the scenario's traders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Whose.
    pub trader: Trader,
    /// Of which order.
    pub tag: OrderTag,
    /// On which token.
    pub instrument: InstrumentIx,
    /// Bought or sold.
    pub side: Side,
    /// At what price.
    pub price: Price,
    /// How many shares.
    pub qty: Qty,
    /// True when nothing of the order rests any more.
    pub done: bool,
}

/// How a scenario begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// For people: `Alpha Wolves vs Beta Foxes, best of three`.
    pub title: String,
    /// The markets, in the order that commands name them.
    pub markets: Vec<MarketSpec>,
    /// The matches that they belong to, by their slugs.
    pub matches: Vec<MatchSpec>,
    /// Collateral of each trader.
    pub traders: Vec<Usdc>,
}

/// A source of commands in scenario time.
pub trait Scenario: Send {
    /// Markets and traders. Called once, before anything else.
    fn setup(&self) -> Setup;

    /// When the match is scheduled to begin, if it has a schedule: the `gameStartTime` of its markets.
    fn game_start(&self) -> Option<SimTime> {
        None
    }

    /// When it wants to act next; `None` when it never will again.
    fn next_at(&self) -> Option<SimTime>;

    /// Acts: appends what happens at or before `now`.
    fn step(&mut self, now: SimTime, books: &dyn Books, out: &mut Vec<Command>);

    /// One of its traders was filled.
    fn filled(&mut self, now: SimTime, fill: Filled) {
        let _ = (now, fill);
    }

    /// An order of one of its traders does not rest and will not, without a fill saying so: refused, or cancelled by
    /// the venue.
    fn gone(&mut self, now: SimTime, trader: Trader, tag: OrderTag) {
        let _ = (now, trader, tag);
    }
}

/// Names that [`open`] knows; anything else is taken for the path of a recording.
pub const NAMES: [&str; 4] = ["lol-bo3", "lol-bo3-null", "lol-bo3-realistic", "lol-bo3-toxic"];

/// Opens a scenario by name, or a recording by path. The seed does nothing to a recording.
///
/// Errors: neither a known name nor a readable recording; the text names both the trouble and the names.
pub fn open(spec: &str, seed: u64) -> Result<Box<dyn Scenario>, String> {
    if let Some(family) = family::Family::named(spec) {
        return Ok(Box::new(lol_bo3::LolBo3::of(family, seed)));
    }
    match spec {
        path if std::path::Path::new(path).is_file() => Ok(Box::new(recorded::Recorded::open(path.as_ref())?)),
        other => Err(format!("no scenario `{other}`: neither one of {} nor the path of a recording", NAMES.join(", "))),
    }
}
