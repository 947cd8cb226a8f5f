//! One market's trading state, and what each state allows. Nothing else leaves the system.

use serde::Serialize;

use crate::types::order::Purpose;

/// Where a market is in its trading life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TradingState {
    /// Nothing held, nothing working.
    Idle,
    /// Quotes work, or one leg is longer than the other.
    BuildingPair,
    /// As many of one outcome as of the other.
    LockedPair,
    /// The match is over, or a stop was asked for: nothing leaves any more.
    Finalizing,
    /// Paid out.
    Resolved,
    /// Stopped by hand, by a breaker or by the kill switch.
    Halt,
}

impl TradingState {
    /// The table: may an order of this purpose be sent in this state?
    pub const fn allows(self, purpose: Purpose) -> bool {
        match (self, purpose) {
            (Self::Idle, Purpose::Quote | Purpose::Leg) => true,
            // Without a position there is nothing to complete or unwind.
            (Self::Idle, Purpose::Complete | Purpose::Unwind) => false,
            (Self::BuildingPair, _) => true,
            // Pairs that are locked say nothing of a leg, whose other legs are in other markets.
            (Self::LockedPair, Purpose::Quote | Purpose::Leg) => true,
            (Self::LockedPair, Purpose::Complete | Purpose::Unwind) => false,
            // What comes now comes late: the result is known to somebody who is faster.
            (Self::Finalizing | Self::Resolved | Self::Halt, _) => false,
        }
    }

    /// The state that the facts say: the first that applies, most restrictive first.
    pub const fn of(facts: &TradingFacts) -> Self {
        if facts.resolved {
            Self::Resolved
        } else if facts.halted {
            Self::Halt
        } else if facts.over {
            Self::Finalizing
        } else if !facts.balanced || facts.working {
            Self::BuildingPair
        } else if facts.holding {
            Self::LockedPair
        } else {
            Self::Idle
        }
    }
}

/// What decides a market's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TradingFacts {
    /// It was paid out.
    pub resolved: bool,
    /// The kill switch, or its own halt.
    pub halted: bool,
    /// The match is over.
    pub over: bool,
    /// Something is held.
    pub holding: bool,
    /// As many of one outcome as of the other, but for dust.
    pub balanced: bool,
    /// Orders work.
    pub working: bool,
}

#[cfg(test)]
mod tests {
    use super::{Purpose as P, TradingFacts as F, TradingState as S};

    #[test]
    fn the_state_is_what_the_facts_say() {
        let flat = F { balanced: true, ..F::default() };
        let table = [
            (flat, S::Idle),
            (F { working: true, ..flat }, S::BuildingPair),
            (F { holding: true, balanced: false, ..flat }, S::BuildingPair),
            (F { holding: true, ..flat }, S::LockedPair),
            (F { holding: true, over: true, ..flat }, S::Finalizing),
            (F { halted: true, over: true, ..flat }, S::Halt),
            (F { resolved: true, halted: true, ..flat }, S::Resolved),
        ];
        for (facts, state) in table {
            assert_eq!(S::of(&facts), state, "{facts:?}");
        }
    }

    #[test]
    fn each_state_allows_only_its_own() {
        let table = [
            (S::Idle, [true, false, false, true]),
            (S::BuildingPair, [true; 4]),
            (S::LockedPair, [true, false, false, true]),
            (S::Finalizing, [false; 4]),
            (S::Resolved, [false; 4]),
            (S::Halt, [false; 4]),
        ];
        for (state, allowed) in table {
            assert_eq!([P::Quote, P::Complete, P::Unwind, P::Leg].map(|p| state.allows(p)), allowed, "{state:?}");
        }
    }
}
