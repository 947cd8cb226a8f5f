//! Step 5 of 9: why an intent was refused, by names that people count.

use super::gate::{Closed, MarketClosed};

/// Why an intent was refused. Counted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The gate is closed.
    Closed(Closed),
    /// The market's gate is closed.
    Market(MarketClosed),
    /// The book cannot be trusted.
    BookUntrusted,
    /// A breaker of the market is open.
    MarketBreaker,
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
    /// Those that are about the intent itself.
    const OWN: [Self; 27] = [
        Self::BookUntrusted,
        Self::MarketBreaker,
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
    /// How many there are.
    pub const COUNT: usize = Closed::ALL.len() + MarketClosed::ALL.len() + Self::OWN.len();

    /// Every reason, each at its [`index`](Self::index).
    pub fn all() -> impl Iterator<Item = Self> {
        let gates = Closed::ALL.into_iter().map(Self::Closed);
        gates.chain(MarketClosed::ALL.into_iter().map(Self::Market)).chain(Self::OWN)
    }

    /// Its place among all, below [`COUNT`](Self::COUNT). For counting; an intent that passes never needs it.
    pub fn index(self) -> usize {
        let gates = Closed::ALL.len();
        match self {
            Self::Closed(condition) => condition as usize,
            Self::Market(condition) => gates + condition as usize,
            own => {
                let at = Self::OWN.iter().position(|r| *r == own);
                gates + MarketClosed::ALL.len() + at.unwrap_or_default()
            }
        }
    }

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed(condition) => condition.as_str(),
            Self::Market(condition) => condition.as_str(),
            Self::BookUntrusted => "book_untrusted",
            Self::MarketBreaker => "market_breaker",
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_name_of_its_own() {
        let all: Vec<_> = Refusal::all().collect();
        assert_eq!(all.len(), Refusal::COUNT);
        assert!(all.iter().enumerate().all(|(n, reason)| reason.index() == n));
        assert_eq!(all.iter().map(|reason| reason.as_str()).collect::<BTreeSet<_>>().len(), Refusal::COUNT);
    }
}
