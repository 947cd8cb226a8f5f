//! Step 5 of 9: why an intent was refused, by names that people count.

use serde::Serialize;

/// Why an intent was refused. Counted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The kill switch is on.
    KillSwitch,
    /// A stop was asked for.
    Stopping,
    /// The user stream is down: fills would not be heard.
    UserStreamDown,
    /// The user stream was down and an order's fate is not known yet.
    NotReconciled,
    /// No connection for orders is up.
    GatewayDown,
    /// The dead man's switch at the venue is not fed.
    HeartbeatUnhealthy,
    /// Our clock and the venue's differ by too much.
    ClockOff,
    /// The journal does not keep up.
    JournalDown,
    /// The venue's engine restarts.
    VenueRestarting,
    /// The venue takes nothing.
    VenueDisabled,
    /// The venue takes cancels only.
    VenueCancelOnly,
    /// The venue takes post-only orders only, and this is none.
    VenuePostOnly,
    /// A breaker that orders need is open.
    BreakerOpen,
    /// The book cannot be trusted.
    BookUntrusted,
    /// The market is halted by hand.
    MarketHalted,
    /// A breaker of the market is open.
    MarketBreaker,
    /// The venue's account of us differs from ours in this market.
    MarketMismatch,
    /// The venue says that the market is over.
    MarketOver,
    /// The venue says that the market takes no orders.
    MarketNotAccepting,
    /// The venue said that the market is not ready.
    MarketNotReady,
    /// The game starts about now, and the venue clears the book then.
    BookClearing,
    /// What is known of the market is too old to act on.
    MarketLate,
    /// An order for the same is on its way and nobody knows what became of it.
    Unresolved,
    /// Its expiry is nearer than the venue takes.
    Expiration,
    /// The market's state does not allow it.
    State,
    /// Off the market's grid.
    OffGrid,
    /// Below the market's minimum.
    TooSmall,
    /// Above the limit per order.
    OrderLimit,
    /// Farther from the mark than the collar.
    Collar,
    /// It would trade with an order of ours.
    SelfTrade,
    /// More than what is settled and free.
    NotHeld,
    /// Too many working orders in the market.
    TooManyWorking,
    /// Too many orders in this second.
    RateLimit,
    /// The market's worst case would pass its limit.
    MarketLimit,
    /// The total worst case would pass its limit.
    TotalLimit,
    /// The match's worst case, over every outcome, would pass its limit.
    MatchLimit,
    /// The worst case of a tournament, a team or a group of matches would pass its limit.
    GroupLimit,
    /// The day's loss and the worst case together would pass the daily limit.
    DayLimit,
    /// What is left of the collateral would not complete what is unpaired.
    Reserve,
    /// Larger than is allowed now: the price moves fast, or a loss or a kill was not long ago.
    Size,
    /// Far larger than the touch or than what is usual.
    FatFinger,
    /// The same again and again: a loop.
    Runaway,
    /// It would trade too far from the middle, or from its own price, with the fee.
    Slippage,
    /// Not at this time.
    Hours,
    /// The market is restricted by hand.
    Restricted,
    /// Open buys would cost more than there is.
    Cash,
    /// The same is working already.
    Duplicate,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 47] = [
        Self::KillSwitch,
        Self::Stopping,
        Self::UserStreamDown,
        Self::NotReconciled,
        Self::GatewayDown,
        Self::HeartbeatUnhealthy,
        Self::ClockOff,
        Self::JournalDown,
        Self::VenueRestarting,
        Self::VenueDisabled,
        Self::VenueCancelOnly,
        Self::VenuePostOnly,
        Self::BreakerOpen,
        Self::BookUntrusted,
        Self::MarketHalted,
        Self::MarketBreaker,
        Self::MarketMismatch,
        Self::MarketOver,
        Self::MarketNotAccepting,
        Self::MarketNotReady,
        Self::BookClearing,
        Self::MarketLate,
        Self::Unresolved,
        Self::Expiration,
        Self::State,
        Self::OffGrid,
        Self::TooSmall,
        Self::OrderLimit,
        Self::Collar,
        Self::SelfTrade,
        Self::NotHeld,
        Self::TooManyWorking,
        Self::RateLimit,
        Self::MarketLimit,
        Self::TotalLimit,
        Self::MatchLimit,
        Self::GroupLimit,
        Self::DayLimit,
        Self::Reserve,
        Self::Size,
        Self::FatFinger,
        Self::Runaway,
        Self::Slippage,
        Self::Hours,
        Self::Restricted,
        Self::Cash,
        Self::Duplicate,
    ];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillSwitch => "kill_switch",
            Self::Stopping => "stopping",
            Self::UserStreamDown => "user_stream_down",
            Self::NotReconciled => "not_reconciled",
            Self::GatewayDown => "gateway_down",
            Self::HeartbeatUnhealthy => "heartbeat_unhealthy",
            Self::ClockOff => "clock_off",
            Self::JournalDown => "journal_down",
            Self::VenueRestarting => "venue_restarting",
            Self::VenueDisabled => "venue_disabled",
            Self::VenueCancelOnly => "venue_cancel_only",
            Self::VenuePostOnly => "venue_post_only",
            Self::BreakerOpen => "breaker_open",
            Self::BookUntrusted => "book_untrusted",
            Self::MarketHalted => "market_halted",
            Self::MarketBreaker => "market_breaker",
            Self::MarketMismatch => "market_mismatch",
            Self::MarketOver => "market_over",
            Self::MarketNotAccepting => "market_not_accepting",
            Self::MarketNotReady => "market_not_ready",
            Self::BookClearing => "book_clearing",
            Self::MarketLate => "market_late",
            Self::Unresolved => "unresolved",
            Self::Expiration => "expiration",
            Self::State => "state",
            Self::OffGrid => "off_grid",
            Self::TooSmall => "too_small",
            Self::OrderLimit => "order_limit",
            Self::Collar => "collar",
            Self::SelfTrade => "self_trade",
            Self::NotHeld => "not_held",
            Self::TooManyWorking => "too_many_working",
            Self::RateLimit => "rate_limit",
            Self::MarketLimit => "market_limit",
            Self::TotalLimit => "total_limit",
            Self::MatchLimit => "match_limit",
            Self::GroupLimit => "group_limit",
            Self::DayLimit => "day_limit",
            Self::Reserve => "reserve",
            Self::Size => "size",
            Self::FatFinger => "fat_finger",
            Self::Runaway => "runaway",
            Self::Slippage => "slippage",
            Self::Hours => "hours",
            Self::Restricted => "restricted",
            Self::Cash => "cash",
            Self::Duplicate => "duplicate",
        }
    }
}
