//! All that the engine can hear.
//!
//! One sequenced stream goes in. It is journalled, so it is plain data with a stable encoding (postcard), and `Copy`:
//! an event moves through rings by value.

use serde::{Deserialize, Serialize};

pub use super::reply::{
    AckStatus, CancelRefusal, Dependency, MarketFacts, ReadEvent, RejectReason, ReplyEvent, VenueMode,
};
use super::{
    ids::{InstrumentIx, MarketIx, OrderHash, TradeKey},
    order::{Intent, Side},
    price::{Price, TickSize},
    qty::{Qty, Usdc},
    time::{Nanos, Stamp},
};

/// An event with its place in the stream. `seq` counts from 1 without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequenced {
    /// Place in the stream.
    pub seq: u64,
    /// When the bytes that caused it were read.
    pub stamp: Stamp,
    /// What happened.
    pub event: Event,
}

/// An event on its way to the sequencer: what happened and when its bytes were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// When the bytes that caused it were read.
    pub stamp: Stamp,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first event of every run.
    Start {
        /// 21 random bits that begin the salt of every order of this run.
        run_tag: u32,
        /// Collateral at the venue before the first order.
        cash: Usdc,
        /// A match feed is configured: without its word, nothing counts as live play.
        match_feed: bool,
    },
    /// What earlier runs left us with: heard after the start and before anything else.
    Recovered(RecoveredEvent),
    /// Time passed. The hot tile makes one at least every 100 ms.
    Tick,
    /// The market channel spoke.
    Market(MarketEvent),
    /// The user channel spoke.
    User(UserEvent),
    /// The gateway answers.
    Reply(ReplyEvent),
    /// A match feed spoke.
    Match(MatchEvent),
    /// The operator, or one of our own tiles, spoke.
    Control(ControlEvent),
}

/// What earlier runs left, by the venue's word and by our own write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecoveredEvent {
    /// Shares held at the venue, those of trades that are matched and not settled included.
    Shares {
        /// Of which token.
        instrument: InstrumentIx,
        /// How many.
        qty: Qty,
    },
    /// A trade of an earlier run whose settlement is not final. Its shares and cash are counted in the holdings.
    Trade {
        /// Which trade.
        trade: TradeKey,
        /// Which of our orders.
        order: OrderHash,
        /// The token that our order was on.
        instrument: InstrumentIx,
        /// Our side.
        side: Side,
        /// How much of our order matched.
        qty: Qty,
        /// Cash at the match prices, before fees.
        notional: Usdc,
        /// How far its settlement is.
        status: TradeStatus,
    },
    /// An order that was written ahead and whose end is not known: it holds exposure until the venue resolves it.
    Order {
        /// Its id.
        order: OrderHash,
        /// What was wanted.
        intent: Intent,
        /// When it was approved.
        created: Nanos,
        /// The venue had it: it cannot come late any more.
        arrived: bool,
    },
    /// The kill switch was on when the last run ended, and nobody has reset it.
    Killed(KillReason),
}

/// Bid or ask: a side of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BookSide {
    /// Buyers.
    Bid,
    /// Sellers.
    Ask,
}

impl BookSide {
    /// The other side.
    #[inline]
    pub const fn other(self) -> Self {
        match self {
            Self::Bid => Self::Ask,
            Self::Ask => Self::Bid,
        }
    }
}

/// Market channel. One message becomes several events and ends with [`MarketEvent::FrameEnd`], where decisions are
/// made.
/// Source: docs/PROTOCOL.md "market channel".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarketEvent {
    /// A snapshot begins: the book is emptied.
    SnapshotStart {
        /// Whose book.
        instrument: InstrumentIx,
        /// The grid, if the message named it.
        tick: Option<TickSize>,
        /// The venue's time of the last change, Unix milliseconds. It may be old.
        venue_ms: u64,
    },
    /// One level of the snapshot that began last.
    Level {
        /// Whose book.
        instrument: InstrumentIx,
        /// Bid or ask.
        side: BookSide,
        /// Where.
        price: Price,
        /// Total size there.
        qty: Qty,
    },
    /// The snapshot is whole: the book can be trusted again if it is sound.
    SnapshotEnd {
        /// Whose book.
        instrument: InstrumentIx,
    },
    /// One level changed.
    Delta {
        /// Whose book.
        instrument: InstrumentIx,
        /// Bid or ask.
        side: BookSide,
        /// Where.
        price: Price,
        /// The new total, not a difference; zero removes the level.
        qty: Qty,
    },
    /// The message's own best prices after all its changes, to check ours against. `None`: that side is empty.
    Top {
        /// Whose book.
        instrument: InstrumentIx,
        /// Best bid.
        bid: Option<Price>,
        /// Best ask.
        ask: Option<Price>,
    },
    /// Every change of one message has been given.
    FrameEnd {
        /// The venue's time, Unix milliseconds; 0 if the message had none.
        venue_ms: u64,
    },
    /// The grid changed.
    TickSizeChange {
        /// Whose.
        instrument: InstrumentIx,
        /// The new grid.
        tick: TickSize,
    },
    /// Somebody traded.
    LastTrade {
        /// Which token.
        instrument: InstrumentIx,
        /// The taker's side.
        side: Side,
        /// At what price.
        price: Price,
        /// How much.
        qty: Qty,
    },
    /// The market is decided.
    Resolved {
        /// Which market.
        market: MarketIx,
        /// What it pays.
        payout: Payout,
    },
    /// The market is decided, but how cannot be read from the message: the venue is to be asked.
    ResolvedUnclear {
        /// Which market.
        market: MarketIx,
    },
    /// Something was lost or could not be read: the book, or every book, is no longer to be trusted.
    Gap {
        /// Whose book; `None` for all.
        instrument: Option<InstrumentIx>,
        /// Why.
        reason: GapReason,
    },
}

/// Why books are not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GapReason {
    /// The socket closed.
    Disconnected,
    /// A message could not be read.
    Malformed,
    /// The ring to the hot tile was full.
    Overflow,
    /// Nothing arrived for too long.
    Silent,
    /// Another witness saw the book move and this socket did not say so.
    Frozen,
    /// Two sockets say different things of the same book.
    Disputed,
}

/// What one share of each outcome pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Payout {
    /// The first outcome pays 1.
    Yes,
    /// The second outcome pays 1.
    No,
    /// Each pays ½: cancelled, tied, or never played.
    Half,
}

impl Payout {
    /// What `qty` shares of one outcome pay, rounded down.
    pub const fn of(self, outcome: super::ids::Outcome, qty: Qty) -> Usdc {
        use super::ids::Outcome;
        match (self, outcome) {
            (Self::Yes, Outcome::Yes) | (Self::No, Outcome::No) => Usdc(qty.micro() as i64),
            (Self::Half, _) => Usdc((qty.micro() / 2) as i64),
            _ => Usdc::ZERO,
        }
    }
}

/// User channel.
/// Source: docs/PROTOCOL.md "user channel".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserEvent {
    /// The stream is connected and subscribed.
    Up,
    /// The stream is gone: what happens meanwhile is not replayed.
    Down,
    /// One of our orders changed.
    Order {
        /// Which.
        order: OrderHash,
        /// How.
        change: OrderChange,
        /// Total matched so far, if the message had it.
        matched: Option<Qty>,
    },
    /// A trade of ours changed. Entries of one order within one trade are summed.
    Trade {
        /// Which trade.
        trade: TradeKey,
        /// Which of our orders. (trade, order) is the fill's key.
        order: OrderHash,
        /// The token that our order is on, not the taker's.
        instrument: InstrumentIx,
        /// Our side.
        side: Side,
        /// How much of our order matched.
        qty: Qty,
        /// Cash at the price of each match, before fees, each rounded to the micro-pUSD against us.
        notional: Usdc,
        /// Σ qty × p·(1−p) over the matches, in micro-shares × 0.0001²: the taker fee is the rate times this.
        /// `None` if our order was a maker, which pays nothing.
        taker_curve: Option<u128>,
        /// How far its settlement is.
        status: TradeStatus,
    },
}

/// How one of our orders changed, by the user channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OrderChange {
    /// It rests.
    Placed,
    /// Part or all of it matched.
    Matched,
    /// It is held by the sports delay.
    Delayed,
    /// It is gone. Trades matched before may still arrive.
    Cancelled,
    /// It is gone because its time ran out.
    Expired,
    /// The venue refused it after accepting it.
    Invalid,
    /// A status we do not know: the order is to be looked up.
    Unrecognised,
}

/// How far a trade's settlement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TradeStatus {
    /// Matched off-chain.
    Matched,
    /// In a block.
    Mined,
    /// Final.
    Confirmed,
    /// Being tried again.
    Retrying,
    /// Final: it never happened.
    Failed,
}

/// A match feed: lifecycle only, in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchEvent {
    /// Where the match is.
    pub phase: MatchPhase,
    /// Map being played, from 1; 0 if not said.
    pub map: u8,
    /// Maps won by the team of the first outcome and of the second.
    pub score: [u8; 2],
}

/// Where a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MatchPhase {
    /// Not begun.
    NotStarted,
    /// Being played.
    Running,
    /// Between maps, or paused.
    Paused,
    /// Over.
    Finished,
}

/// From the operator or from our own tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlEvent {
    /// Stop: no new orders, cancel what is open, finish.
    Stop,
    /// Kill switch.
    Kill(KillReason),
    /// No new orders in one market.
    Halt(MarketIx),
    /// Orders again in one market.
    Resume(MarketIx),
    /// The journal's ring is full, or its disk failed: no new orders.
    JournalDown,
    /// The journal keeps up again.
    JournalUp,
    /// Lifts the kill switch: an authenticated person said so, with a reason that is written down.
    ResetKill,
    /// Cancel everything at the venue, and go on.
    CancelAll,
}

/// Why the kill switch tripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KillReason {
    /// By hand.
    Manual,
    /// The day's loss limit.
    DailyLoss,
    /// Too many rejections in a row.
    Rejects,
    /// The accounts do not add up.
    Accounts,
    /// One of our tiles failed.
    TileFailed,
    /// Connections were lost for too long or too often.
    Connections,
    /// Too many errors of all kinds in a short time.
    Errors,
    /// A signature of ours does not verify.
    Signature,
    /// Trades that would have won fail more often than chance explains.
    FailedWinners,
}

impl KillReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Manual,
        Self::DailyLoss,
        Self::Rejects,
        Self::Accounts,
        Self::TileFailed,
        Self::Connections,
        Self::Errors,
        Self::Signature,
        Self::FailedWinners,
    ];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::DailyLoss => "daily_loss",
            Self::Rejects => "rejects",
            Self::Accounts => "accounts",
            Self::TileFailed => "tile_failed",
            Self::Connections => "connections",
            Self::Errors => "errors",
            Self::Signature => "signature",
            Self::FailedWinners => "failed_winners",
        }
    }
}
