//! Step 5 of 9: the admission gate: every condition under which no order, or only some orders, may leave.
//!
//! Each condition is a bit of its own, shown one by one in `/health/ready` and named in the refusal.

use super::refusal::Refusal;

/// A condition that closes the gate while it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Closed {
    /// The kill switch is on.
    KillSwitch,
    /// A stop was asked for.
    Stopping,
    /// The venue has not been compared with us since the start, or since a stream came back.
    NotReconciled,
    /// The user stream is down: fills would not be heard.
    UserStreamDown,
    /// No connection for orders is up.
    GatewayDown,
    /// The dead man's switch at the venue is not fed: it may cancel everything at any moment.
    HeartbeatUnhealthy,
    /// Our clock and the venue's differ by too much.
    ClockOff,
    /// The journal does not keep up.
    JournalDown,
    /// The venue's engine restarts.
    VenueRestarting,
    /// The venue takes nothing, cancels neither.
    VenueDisabled,
    /// The venue takes cancels only.
    VenueCancelOnly,
    /// The venue takes post-only orders only.
    VenuePostOnly,
    /// The breaker of a dependency that orders need is open.
    BreakerOpen,
}

impl Closed {
    /// Every condition, the most serious first.
    pub const ALL: [Self; 13] = [
        Self::KillSwitch,
        Self::Stopping,
        Self::NotReconciled,
        Self::UserStreamDown,
        Self::GatewayDown,
        Self::HeartbeatUnhealthy,
        Self::ClockOff,
        Self::JournalDown,
        Self::VenueRestarting,
        Self::VenueDisabled,
        Self::VenueCancelOnly,
        Self::VenuePostOnly,
        Self::BreakerOpen,
    ];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillSwitch => "kill_switch",
            Self::Stopping => "stopping",
            Self::NotReconciled => "not_reconciled",
            Self::UserStreamDown => "user_stream_down",
            Self::GatewayDown => "gateway_down",
            Self::HeartbeatUnhealthy => "heartbeat_unhealthy",
            Self::ClockOff => "clock_off",
            Self::JournalDown => "journal_down",
            Self::VenueRestarting => "venue_restarting",
            Self::VenueDisabled => "venue_disabled",
            Self::VenueCancelOnly => "venue_cancel_only",
            Self::VenuePostOnly => "venue_post_only",
            Self::BreakerOpen => "breaker_open",
        }
    }
}

/// A condition that closes one market while it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MarketClosed {
    /// Halted by hand.
    Halted,
    /// The venue's account of us differs from ours here.
    Mismatch,
    /// The venue says that it is over.
    Over,
    /// The venue says that it takes no orders.
    NotAccepting,
    /// The game starts about now, and the venue clears the book then.
    BookClearing,
    /// What the market channel says is too old to act on.
    Late,
    /// The venue said that it is not ready for orders.
    NotReady,
}

impl MarketClosed {
    /// Every condition, the most serious first.
    pub const ALL: [Self; 7] =
        [Self::Halted, Self::Mismatch, Self::Over, Self::NotAccepting, Self::BookClearing, Self::Late, Self::NotReady];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Halted => "market_halted",
            Self::Mismatch => "market_mismatch",
            Self::Over => "market_over",
            Self::NotAccepting => "market_not_accepting",
            Self::BookClearing => "book_clearing",
            Self::Late => "market_late",
            Self::NotReady => "market_not_ready",
        }
    }
}

/// The conditions that hold in one market now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MarketGate(u8);

impl MarketGate {
    /// Sets or clears one condition.
    #[inline]
    pub fn set(&mut self, condition: MarketClosed, holds: bool) {
        let bit = 1 << condition as u8;
        self.0 = if holds { self.0 | bit } else { self.0 & !bit };
    }

    /// True while a condition holds.
    #[inline]
    pub const fn has(self, condition: MarketClosed) -> bool {
        self.0 & 1 << condition as u8 != 0
    }

    /// Why an order is not admitted.
    #[inline]
    pub fn refuses(self) -> Option<Refusal> {
        MarketClosed::ALL.get(self.0.trailing_zeros() as usize).copied().map(Refusal::Market)
    }

    /// True if what rests in the market is to be pulled as well. A market that only is not ready keeps what it took.
    #[inline]
    pub const fn pulls(self) -> bool {
        self.0 & !(1 << MarketClosed::NotReady as u8) != 0
    }

    /// Every condition with whether it holds, for people.
    pub fn each(self) -> impl Iterator<Item = (&'static str, bool)> {
        MarketClosed::ALL.into_iter().map(move |c| (c.as_str(), self.has(c)))
    }

    /// As a number, for the state hash.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// The conditions that hold now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gate(u32);

impl Gate {
    /// Sets or clears one condition.
    #[inline]
    pub fn set(&mut self, condition: Closed, holds: bool) {
        let bit = 1 << condition as u32;
        self.0 = if holds { self.0 | bit } else { self.0 & !bit };
    }

    /// True while a condition holds.
    #[inline]
    pub const fn has(self, condition: Closed) -> bool {
        self.0 & 1 << condition as u32 != 0
    }

    /// Why an order is not admitted: the most serious condition that holds, if any does for it.
    #[inline]
    pub fn refuses(self, post_only: bool) -> Option<Refusal> {
        let harmless = if post_only { 1 << Closed::VenuePostOnly as u32 } else { 0 };
        let first = (self.0 & !harmless).trailing_zeros() as usize;
        Closed::ALL.get(first).copied().map(Refusal::Closed)
    }

    /// Every condition with whether it holds, for people.
    pub fn each(self) -> impl Iterator<Item = (&'static str, bool)> {
        Closed::ALL.into_iter().map(move |c| (c.as_str(), self.has(c)))
    }

    /// As a number, for the state hash and for atomics.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_closes_the_gate_and_says_so() {
        assert_eq!(Gate::default().refuses(false), None);
        for (n, condition) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(condition as usize, n, "the table is in the order of the bits");
            let mut gate = Gate::default();
            gate.set(condition, true);
            assert_eq!(gate.refuses(false), Some(Refusal::Closed(condition)));
            let lets_post_only_in = condition == Closed::VenuePostOnly;
            assert_eq!(gate.refuses(true).is_none(), lets_post_only_in, "{condition:?}");
            assert_eq!(gate.each().filter(|(_, holds)| *holds).count(), 1);
            gate.set(condition, false);
            assert_eq!(gate, Gate::default());
        }
    }

    #[test]
    fn each_condition_closes_its_market_and_says_so() {
        assert_eq!(MarketGate::default().refuses(), None);
        for (n, condition) in MarketClosed::ALL.into_iter().enumerate() {
            assert_eq!(condition as usize, n, "the table is in the order of the bits");
            let mut gate = MarketGate::default();
            gate.set(condition, true);
            assert_eq!(gate.refuses(), Some(Refusal::Market(condition)));
            assert_eq!(gate.pulls(), condition != MarketClosed::NotReady, "{condition:?}");
            gate.set(condition, false);
            assert_eq!(gate, MarketGate::default());
        }
    }

    #[test]
    fn the_most_serious_condition_is_the_one_named() {
        let mut gate = Gate::default();
        gate.set(Closed::BreakerOpen, true);
        gate.set(Closed::KillSwitch, true);
        assert_eq!(gate.refuses(true), Some(Refusal::Closed(Closed::KillSwitch)));
    }
}
