//! Orders: what a strategy wants, and the words for an order's life.
//!
//! An `Intent` becomes `Approved` in `engine::risk` alone and `Signed` in `engine::sign` alone; the gateway sends
//! nothing else.

use serde::{Deserialize, Serialize};

use super::{ids::InstrumentIx, price::Price, qty::Qty};

/// Buy or sell. Books have bids and asks; orders have sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Pay collateral, receive shares.
    Buy,
    /// Give shares, receive collateral.
    Sell,
}

impl Side {
    /// The other side.
    #[inline]
    pub const fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// The wire's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        }
    }

    /// Reads the wire's text in either case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"BUY") {
            Some(Self::Buy)
        } else if text.eq_ignore_ascii_case(b"SELL") {
            Some(Self::Sell)
        } else {
            None
        }
    }
}

/// How long an order may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeInForce {
    /// Good till cancelled.
    Gtc,
    /// Good till a time in Unix seconds; the venue stops it 60 s earlier.
    Gtd {
        /// Unix seconds, at least three minutes ahead.
        expires_s: u64,
    },
    /// Fill or kill: all at once or not at all.
    Fok,
    /// Fill and kill: what is there at once, the rest killed.
    Fak,
}

impl TimeInForce {
    /// The wire's `orderType`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Gtd { .. } => "GTD",
            Self::Fok => "FOK",
            Self::Fak => "FAK",
        }
    }

    /// The wire's `expiration`: Unix seconds, 0 for none. It is not part of what is signed.
    pub const fn expiration_s(self) -> u64 {
        match self {
            Self::Gtd { expires_s } => expires_s,
            _ => 0,
        }
    }

    /// True for the kinds that never rest.
    pub const fn is_immediate(self) -> bool {
        matches!(self, Self::Fok | Self::Fak)
    }
}

/// Which strategy wanted an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StrategyId {
    /// Pair arbitrage as a maker.
    Pair,
    /// Orders given by hand or by a shutdown rule.
    Manual,
    /// Baskets over the linked books of one match.
    Baskets,
}

impl StrategyId {
    /// Every strategy.
    pub const ALL: [Self; 3] = [Self::Pair, Self::Manual, Self::Baskets];

    /// Lower-case label for metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Manual => "manual",
            Self::Baskets => "baskets",
        }
    }
}

/// Why an order is wanted. Kept with the order so that reports can tell quoting from completing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// A two-sided quote.
    Quote,
    /// Buys the lagging leg of a pair.
    Complete,
    /// Sells the leading leg instead of completing it.
    Unwind,
    /// Buys a leg of a basket, or sells what is too much of it. What makes it whole is in other markets.
    Leg,
}

/// What a strategy wants. Nothing leaves the system in this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The token to trade.
    pub instrument: InstrumentIx,
    /// Buy or sell.
    pub side: Side,
    /// Limit price, on the market's grid.
    pub price: Price,
    /// Shares, in hundredths.
    pub qty: Qty,
    /// How long it may stand.
    pub tif: TimeInForce,
    /// Refused by the venue rather than matched at once.
    pub post_only: bool,
    /// Who wants it.
    pub strategy: StrategyId,
    /// Why.
    pub purpose: Purpose,
    /// Which of the strategy's intents in this market it is. With market and strategy it is the intent's key: whatever
    /// times out, one key is one order.
    pub epoch: u32,
}

/// Where an order is in its life, as far as we know.
///
/// The transitions are one table: `engine::life`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderState {
    /// Approved; not yet known to have left.
    Created,
    /// Every byte left; no answer yet.
    Sent,
    /// Rests at the venue.
    Live,
    /// Held by the sports delay; cannot be cancelled.
    Delayed,
    /// Rests at the venue, filled in part.
    PartiallyFilled,
    /// A cancel was sent.
    CancelPending,
    /// Bytes left and no clean answer came: holds exposure until resolved.
    Unknown,
    /// Filled whole (but for dust).
    Matched,
    /// Gone by cancellation, ours or the venue's.
    Cancelled,
    /// Gone because its time ran out.
    Expired,
    /// Refused by the venue.
    Rejected,
    /// It never reached the venue.
    Failed,
}

impl OrderState {
    /// Every state, in the order of the table's rows.
    pub const ALL: [Self; 12] = [
        Self::Created,
        Self::Sent,
        Self::Live,
        Self::Delayed,
        Self::PartiallyFilled,
        Self::CancelPending,
        Self::Unknown,
        Self::Matched,
        Self::Cancelled,
        Self::Expired,
        Self::Rejected,
        Self::Failed,
    ];

    /// True when nothing more can fill, save for late trades of what was matched before.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Matched | Self::Cancelled | Self::Expired | Self::Rejected | Self::Failed)
    }

    /// True while it rests, as far as we know, and nothing is under way with it.
    pub const fn is_resting(self) -> bool {
        matches!(self, Self::Live | Self::PartiallyFilled)
    }

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Sent => "sent",
            Self::Live => "live",
            Self::Delayed => "delayed",
            Self::PartiallyFilled => "partially_filled",
            Self::CancelPending => "cancel_pending",
            Self::Unknown => "unknown",
            Self::Matched => "matched",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}
