//! What the gateway answers: what became of what we asked of the venue, and what the venue says of us.
//!
//! [`event`](super::event) names all of it again: it is one of the things that the engine can hear.

use serde::{Deserialize, Serialize};

use super::{
    event::Payout,
    ids::{InstrumentIx, MarketIx, OrderHash},
    order::Side,
    price::TickSize,
    qty::{Qty, Usdc},
    time::Nanos,
};

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
    /// Part of a reading of everything that the venue knows of us. Its trades come as
    /// [`UserEvent::Trade`](super::event::UserEvent::Trade).
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
