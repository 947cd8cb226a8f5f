//! All that the engine can hear.
//!
//! One sequenced stream goes in. It is journalled, so it is plain data with a stable encoding (postcard), and `Copy`:
//! an event moves through rings by value.

use serde::{Deserialize, Serialize};

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

/// What became of something we asked the gateway to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyEvent {
    /// The last byte of an order left.
    Sent {
        /// Which.
        order: OrderHash,
    },
    /// The venue took an order.
    Accepted {
        /// Which.
        order: OrderHash,
        /// What it did with it.
        status: AckStatus,
    },
    /// The venue refused an order.
    Rejected {
        /// Which.
        order: OrderHash,
        /// Why.
        reason: RejectReason,
    },
    /// No byte of an order left.
    NeverSent {
        /// Which.
        order: OrderHash,
    },
    /// Bytes of an order left and no clean answer came.
    Unknown {
        /// Which.
        order: OrderHash,
    },
    /// The venue says that an order is cancelled.
    Cancelled {
        /// Which.
        order: OrderHash,
    },
    /// The venue did not cancel an order.
    CancelRefused {
        /// Which.
        order: OrderHash,
        /// Why.
        reason: CancelRefusal,
    },
    /// A cancel was not answered cleanly, or could not be sent: ask again.
    CancelUnknown {
        /// Which.
        order: OrderHash,
    },
    /// The answer to a look-up of one order.
    OrderStatus {
        /// Which.
        order: OrderHash,
        /// True while it rests; false says only that it does not rest now.
        live: bool,
        /// Total matched so far, if it said.
        matched: Option<Qty>,
    },
    /// What the venue's own page of a market says now.
    Market {
        /// Which market.
        market: MarketIx,
        /// What it says.
        facts: MarketFacts,
    },
    /// Which orders the venue takes now, by its answers.
    Mode {
        /// What it takes.
        mode: VenueMode,
        /// For how long, in milliseconds, if it said so; 0 if not.
        for_ms: u32,
    },
    /// The dead man's switch at the venue: false when it may be about to cancel everything.
    Heartbeat {
        /// The last beats were taken.
        healthy: bool,
    },
    /// How far our clock is ahead of the venue's, in milliseconds.
    ClockAhead {
        /// Negative if behind.
        ms: i32,
    },
    /// A dependency's breaker opened or closed.
    Breaker {
        /// Whose.
        of: Dependency,
        /// New calls of the kind are not made.
        open: bool,
    },
    /// Part of a reading of everything that the venue knows of us. Its trades come as [`UserEvent::Trade`].
    Read(ReadEvent),
    /// Complete sets were merged into collateral.
    Merged {
        /// Of which market.
        market: MarketIx,
        /// How many.
        qty: Qty,
    },
    /// A merge did not happen.
    MergeFailed {
        /// Of which market.
        market: MarketIx,
        /// How many.
        qty: Qty,
    },
    /// The venue's own count of our collateral, asked for when nothing is in flight.
    Collateral {
        /// All of it, reserved or not.
        cash: Usdc,
    },
    /// A connection to the venue for orders is up.
    GatewayUp,
    /// No connection for orders is up.
    GatewayDown,
}

/// What the venue's page of a market says: everything that can change while it trades.
/// Source: docs/PROTOCOL.md "public reads".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketFacts {
    /// It takes orders, or did not say.
    pub accepting: bool,
    /// It is over.
    pub closed: bool,
    /// Scheduled start of the game, if it has one. It moves.
    pub game_start: Option<Nanos>,
    /// Hold of marketable orders, in milliseconds.
    pub hold_ms: u32,
    /// The grid, if it said.
    pub tick: Option<TickSize>,
    /// What it pays, once known.
    pub payout: Option<Payout>,
}

/// Which orders the venue takes.
/// Source: docs/PROTOCOL.md "restarts and modes", "errors".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VenueMode {
    /// All.
    #[default]
    Normal,
    /// Only post-only orders, and cancels: the window after a restart.
    PostOnly,
    /// Only cancels.
    CancelOnly,
    /// Nothing, cancels neither.
    Disabled,
    /// Its engine restarts: nothing for a while.
    Restarting,
}

impl VenueMode {
    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::PostOnly => "post_only",
            Self::CancelOnly => "cancel_only",
            Self::Disabled => "disabled",
            Self::Restarting => "restarting",
        }
    }
}

/// Something outside that we depend on, each with a breaker of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dependency {
    /// Orders: credentials or signatures refused.
    OrdersAuth,
    /// Orders: balance or allowance refused although funds are there.
    OrdersBalance,
    /// Orders: throttled.
    OrdersThrottle,
    /// Orders: refused for what is in them.
    OrdersValidation,
    /// Orders: no clean answer.
    OrdersUnknown,
    /// Cancels: failed or unanswered.
    Cancels,
    /// Account and market reads.
    Reads,
    /// The relayer.
    Relayer,
}

impl Dependency {
    /// Every dependency.
    pub const ALL: [Self; 8] = [
        Self::OrdersAuth,
        Self::OrdersBalance,
        Self::OrdersThrottle,
        Self::OrdersValidation,
        Self::OrdersUnknown,
        Self::Cancels,
        Self::Reads,
        Self::Relayer,
    ];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrdersAuth => "orders_auth",
            Self::OrdersBalance => "orders_balance",
            Self::OrdersThrottle => "orders_throttle",
            Self::OrdersValidation => "orders_validation",
            Self::OrdersUnknown => "orders_unknown",
            Self::Cancels => "cancels",
            Self::Reads => "reads",
            Self::Relayer => "relayer",
        }
    }
}

/// A reading of everything that the venue knows of us, between [`ReadEvent::Begin`] and [`ReadEvent::End`].
/// Source: docs/PROTOCOL.md "account reads".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadEvent {
    /// It begins: everything heard before is older than all of it.
    Begin {
        /// As asked for.
        round: u32,
    },
    /// One open order.
    Order {
        /// Its id.
        order: OrderHash,
        /// Its token.
        instrument: InstrumentIx,
        /// Its side.
        side: Side,
        /// Matched so far.
        matched: Qty,
    },
    /// An open order of ours in a market that this run does not trade.
    ForeignOrder {
        /// Its id.
        order: OrderHash,
    },
    /// Shares of a token, by the exchange's view of the chain.
    Shares {
        /// Which token.
        instrument: InstrumentIx,
        /// How many.
        qty: Qty,
    },
    /// Shares of a token, by the Data API; said of every token, zero where it lists none.
    Position {
        /// Which token.
        instrument: InstrumentIx,
        /// How many.
        qty: Qty,
    },
    /// Collateral.
    Cash {
        /// All of it, reserved or not.
        cash: Usdc,
    },
    /// It ends.
    End {
        /// As asked for.
        round: u32,
        /// Every part was read whole. If not, nothing of it may be believed to be all there is.
        complete: bool,
    },
}

/// What the venue did with an accepted order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AckStatus {
    /// Rests.
    Live,
    /// Matched wholly or partly at once.
    Matched,
    /// Held by the sports delay.
    Delayed,
    /// Sources disagree on its meaning: looked up.
    Unmatched,
}

/// Why the venue refused an order, by what we do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RejectReason {
    /// A post-only order would have matched: reprice.
    Crosses,
    /// An immediate order found too little: a normal outcome.
    NotFilled,
    /// Off the market's grid: the grid changed.
    TickSize,
    /// Below a minimum: a bug of ours.
    MinSize,
    /// Too little balance or allowance.
    Balance,
    /// The venue has it already: look it up.
    Duplicate,
    /// The market is closed, or not open yet.
    MarketClosed,
    /// Only post-only orders are taken now.
    PostOnlyMode,
    /// Only cancels are taken now.
    CancelOnly,
    /// Nothing is taken now.
    Disabled,
    /// The venue's engine restarts.
    Restarting,
    /// This account is banned, may only reduce, or is where trading is not allowed.
    Forbidden,
    /// The expiry is too near, or in the past.
    Expiration,
    /// Too many requests.
    RateLimited,
    /// Credentials or signature.
    Auth,
    /// The exchange version changed: stop.
    Version,
    /// Anything else that is a clear refusal.
    Other,
}

impl RejectReason {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::Crosses,
        Self::NotFilled,
        Self::TickSize,
        Self::MinSize,
        Self::Balance,
        Self::Duplicate,
        Self::MarketClosed,
        Self::PostOnlyMode,
        Self::CancelOnly,
        Self::Disabled,
        Self::Restarting,
        Self::Forbidden,
        Self::Expiration,
        Self::RateLimited,
        Self::Auth,
        Self::Version,
        Self::Other,
    ];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crosses => "crosses",
            Self::NotFilled => "not_filled",
            Self::TickSize => "tick_size",
            Self::MinSize => "min_size",
            Self::Balance => "balance",
            Self::Duplicate => "duplicate",
            Self::MarketClosed => "market_closed",
            Self::PostOnlyMode => "post_only_mode",
            Self::CancelOnly => "cancel_only",
            Self::Disabled => "disabled",
            Self::Restarting => "restarting",
            Self::Forbidden => "forbidden",
            Self::Expiration => "expiration",
            Self::RateLimited => "rate_limited",
            Self::Auth => "auth",
            Self::Version => "version",
            Self::Other => "other",
        }
    }
}

/// Why a cancel did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CancelRefusal {
    /// It matched: a fill is on its way.
    Matched,
    /// It is not there: cancelled before, or matched.
    Gone,
    /// It is held by the sports delay.
    Delayed,
    /// Anything else.
    Other,
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
