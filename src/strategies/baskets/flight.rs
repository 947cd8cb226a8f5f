//! Step 4 of 9: one basket on its way, from the first order to the last share: a table over what became of its legs.
//!
//! All legs go out at once, each as much as it can be filled at once. What fills less is completed while the basket
//! still pays, or while that costs less than going back; else what is too much is sold; else it is held. Each try
//! counts, and there are only so many.

use serde::Serialize;

use super::finder::LEGS_MAX;
use crate::types::{InstrumentIx, Nanos, OrderHash, Price, Qty, Side, Usdc};

/// Where a basket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// None is on its way: the next may start.
    #[default]
    Idle,
    /// Quotes of our own that are in its way are being pulled.
    Clearing,
    /// A bid for one leg rests. Nothing of it is filled, or too little to buy the others for.
    Quoting,
    /// Every leg is sent.
    Sent,
    /// Every order has ended, and the legs are not level.
    Partial,
    /// What is missing is being bought.
    Completing,
    /// What is too much is being sold.
    Unwinding,
    /// It is over: level, or held as it is.
    Done,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Clearing,
        Self::Quoting,
        Self::Sent,
        Self::Partial,
        Self::Completing,
        Self::Unwinding,
        Self::Done,
    ];
}

/// What is best done about legs that are not level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Buy what is missing.
    Complete,
    /// Sell what is too much.
    Unwind,
    /// Neither can be done now; perhaps later.
    Wait,
    /// Neither can ever be done.
    Hold,
}

impl Choice {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Complete, Self::Unwind, Self::Wait, Self::Hold];
}

/// What decides the next stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// An order of it may still fill.
    pub open: bool,
    /// As many shares of each leg, none included.
    pub level: bool,
    /// What is best done if they are not.
    pub choice: Choice,
    /// Another try is allowed.
    pub try_left: bool,
    /// It has waited long enough for a chance.
    pub late: bool,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Buy what is missing.
    Complete,
    /// Sell what is too much.
    Unwind,
}

/// The table: the stage after this one, and what to do on the way. Deterministic, and it ends: every way back to
/// [`Stage::Partial`] uses up a try.
pub const fn next(stage: Stage, facts: &Facts) -> (Stage, Act) {
    match stage {
        Stage::Idle => (Stage::Idle, Act::Nothing),
        // It sends by itself when nothing is in its way any more.
        Stage::Clearing if facts.late => (Stage::Idle, Act::Nothing),
        Stage::Clearing => (Stage::Clearing, Act::Nothing),
        Stage::Quoting => match (facts.open, facts.level, facts.choice) {
            // What was filled is completed at once; what is left of the bid is pulled.
            (true, false, Choice::Complete) if facts.try_left => (Stage::Completing, Act::Complete),
            (true, ..) => (Stage::Quoting, Act::Nothing),
            // Nothing was filled: as if it had never been.
            (false, true, _) => (Stage::Idle, Act::Nothing),
            (false, false, _) => (Stage::Partial, Act::Nothing),
        },
        Stage::Sent | Stage::Completing | Stage::Unwinding => match (facts.open, facts.level) {
            (true, _) => (stage, Act::Nothing),
            (false, true) => (Stage::Done, Act::Nothing),
            (false, false) => (Stage::Partial, Act::Nothing),
        },
        Stage::Partial => match (facts.level, facts.try_left, facts.choice) {
            // A trade that came late has levelled it.
            (true, ..) | (false, false, _) | (false, true, Choice::Hold) => (Stage::Done, Act::Nothing),
            (false, true, Choice::Complete) => (Stage::Completing, Act::Complete),
            (false, true, Choice::Unwind) => (Stage::Unwinding, Act::Unwind),
            (false, true, Choice::Wait) if facts.late => (Stage::Done, Act::Nothing),
            (false, true, Choice::Wait) => (Stage::Partial, Act::Nothing),
        },
        Stage::Done => (Stage::Idle, Act::Nothing),
    }
}

/// One leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Its token.
    pub instrument: InstrumentIx,
    /// Its number in the match.
    pub token: u8,
    /// Shares that are held because of this basket.
    pub held: Qty,
    /// What they cost at most: at the limits, fees included, less what sales brought at least.
    pub paid: Usdc,
    /// Its order, if one was sent and not seen ended.
    pub order: Option<Sent>,
}

/// An order of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub hash: OrderHash,
    /// Buys what is missing, sells what is too much.
    pub side: Side,
    /// Its limit.
    pub price: Price,
}

/// The one basket of a match that is on its way.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    /// Its number among the match's, from 1.
    pub n: u32,
    /// Where it is.
    pub stage: Stage,
    /// Which combination.
    pub candidate: u16,
    /// What a share of each leg pays at least, in halves.
    pub worst: u8,
    /// Shares of each leg that were wanted.
    pub wanted: Qty,
    /// Its legs, in the order in which they were sent.
    pub legs: heapless::Vec<Leg, LEGS_MAX>,
    /// Tries used up, the first not counted.
    pub tries: u8,
    /// When it was last sent.
    pub since: Nanos,
    /// Nothing is tried again, and no other starts, before this.
    pub again: Nanos,
    /// How often it was flown again after its end.
    pub flown: u8,
    /// It is in the tally as one that was sent: its legs were, or something of its bid was filled.
    pub sent: bool,
    /// It is in the tally as what it came to.
    pub counted: bool,
    /// It is over, a trade changed it since, and it is to be flown again.
    pub due: bool,
}

impl Flight {
    /// True while it is anywhere.
    pub fn active(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// The fewest shares held of a leg, and the most.
    pub fn range(&self) -> (Qty, Qty) {
        let held = self.legs.iter().map(|l| l.held);
        (held.clone().min().unwrap_or_default(), held.max().unwrap_or_default())
    }

    /// True if every leg is as long as the others, but for dust.
    pub fn level(&self) -> bool {
        let (least, most) = self.range();
        most <= least + Qty::DUST
    }

    /// True while an order may still fill.
    pub fn open(&self) -> bool {
        self.legs.iter().any(|l| l.order.is_some())
    }

    /// What it cost so far.
    pub fn paid(&self) -> Usdc {
        self.legs.iter().map(|l| l.paid).sum()
    }
}

/// What so many shares of each leg pay at least.
pub const fn pays(worst: u8, qty: Qty) -> Usdc {
    Usdc((qty.micro() / 2 * worst as u64) as i64)
}

#[cfg(test)]
mod tests {
    use super::{Act as A, Choice as C, Facts, Stage as S, next};

    const LEVEL: Facts = Facts { open: false, level: true, choice: C::Wait, try_left: true, late: false };
    const UNEVEN: Facts = Facts { level: false, ..LEVEL };

    #[test]
    fn every_step_of_a_basket_is_in_the_table() {
        let open = Facts { open: true, ..UNEVEN };
        let choose = |choice| Facts { choice, ..UNEVEN };
        let spent = |choice| Facts { try_left: false, ..choose(choice) };
        let late = |choice| Facts { late: true, ..choose(choice) };
        let table = [
            (S::Idle, UNEVEN, S::Idle, A::Nothing),
            (S::Clearing, LEVEL, S::Clearing, A::Nothing),
            (S::Clearing, Facts { late: true, ..LEVEL }, S::Idle, A::Nothing),
            (S::Quoting, Facts { open: true, ..LEVEL }, S::Quoting, A::Nothing),
            (S::Quoting, LEVEL, S::Idle, A::Nothing),
            (S::Quoting, UNEVEN, S::Partial, A::Nothing),
            (S::Quoting, Facts { choice: C::Complete, ..open }, S::Completing, A::Complete),
            (S::Quoting, Facts { choice: C::Complete, try_left: false, ..open }, S::Quoting, A::Nothing),
            (S::Quoting, Facts { choice: C::Unwind, ..open }, S::Quoting, A::Nothing),
            (S::Quoting, Facts { choice: C::Hold, late: true, ..open }, S::Quoting, A::Nothing),
            (S::Sent, open, S::Sent, A::Nothing),
            (S::Sent, LEVEL, S::Done, A::Nothing),
            (S::Sent, UNEVEN, S::Partial, A::Nothing),
            (S::Partial, LEVEL, S::Done, A::Nothing),
            (S::Partial, choose(C::Complete), S::Completing, A::Complete),
            (S::Partial, choose(C::Unwind), S::Unwinding, A::Unwind),
            (S::Partial, choose(C::Wait), S::Partial, A::Nothing),
            (S::Partial, choose(C::Hold), S::Done, A::Nothing),
            (S::Partial, late(C::Wait), S::Done, A::Nothing),
            (S::Partial, late(C::Complete), S::Completing, A::Complete),
            (S::Partial, late(C::Unwind), S::Unwinding, A::Unwind),
            (S::Partial, spent(C::Complete), S::Done, A::Nothing),
            (S::Partial, spent(C::Unwind), S::Done, A::Nothing),
            (S::Partial, spent(C::Wait), S::Done, A::Nothing),
            (S::Completing, open, S::Completing, A::Nothing),
            (S::Completing, LEVEL, S::Done, A::Nothing),
            (S::Completing, UNEVEN, S::Partial, A::Nothing),
            (S::Unwinding, open, S::Unwinding, A::Nothing),
            (S::Unwinding, LEVEL, S::Done, A::Nothing),
            (S::Unwinding, UNEVEN, S::Partial, A::Nothing),
            (S::Done, LEVEL, S::Idle, A::Nothing),
            (S::Done, UNEVEN, S::Idle, A::Nothing),
        ];
        for (stage, facts, then, act) in table {
            assert_eq!(next(stage, &facts), (then, act), "{stage:?} {facts:?}");
        }
    }

    #[test]
    fn nothing_is_bought_or_sold_but_from_legs_that_are_not_level_and_with_a_try_left() {
        for stage in S::ALL {
            for choice in C::ALL {
                for bits in 0..16_u8 {
                    let [open, level, try_left, late] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
                    let facts = Facts { open, level, choice, try_left, late };
                    let (then, act) = next(stage, &facts);
                    let acts = act != A::Nothing;
                    let uneven = !level && try_left;
                    let due = match stage {
                        S::Partial => uneven && matches!(choice, C::Complete | C::Unwind),
                        S::Quoting => uneven && open && choice == C::Complete,
                        _ => false,
                    };
                    assert_eq!(acts, due, "{stage:?} {facts:?}");
                    let flies = matches!(then, S::Completing | S::Unwinding) && then != stage;
                    assert_eq!(acts, flies, "{stage:?} {facts:?}");
                    // While an order may fill, nothing is over.
                    let flying = matches!(stage, S::Sent | S::Completing | S::Unwinding);
                    assert!(!(flying && open) || then == stage);
                }
            }
        }
    }
}
