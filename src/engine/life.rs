//! Step 8 of 9: the life of one order, as one total table: state × event, nothing left out.
//!
//! Answers, the user stream and look-ups tell of the same order in any order and any number of times. The table is made
//! so that every consistent history ends in the same state whatever comes first: fills are facts and outrank all; the
//! venue's own stream outranks a broken answer; what is finished stays finished unless the venue shows it alive.

use crate::types::{
    event::{AckStatus, CancelRefusal, OrderChange, RejectReason},
    order::OrderState,
};

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Input {
    /// Its last byte left.
    Sent,
    /// The venue took it: it rests.
    AckedLive,
    /// The venue took it: it matched at once, wholly or partly. Fills tell which; what is left rests or is dead.
    AckedMatched,
    /// The venue took it: the sports delay holds it.
    AckedDelayed,
    /// The venue took it, with a word that sources disagree on.
    AckedUnclear,
    /// The venue refused it.
    Rejected,
    /// The venue has it already: that is no refusal.
    RejectedDuplicate,
    /// No byte of it left.
    NeverSent,
    /// Bytes left, and no clean answer came.
    Unclear,
    /// The user stream, or a look-up, shows it resting.
    SeenLive,
    /// The user stream shows it held.
    SeenDelayed,
    /// A trade filled part of it.
    FilledPart,
    /// Trades filled all of it, but for dust.
    FilledUp,
    /// The user stream, a cancel's answer, or look-ups, say that it is gone.
    Gone,
    /// The user stream says that its time ran out.
    GoneExpired,
    /// Nothing clean was ever heard of it, and by now nothing can be: it never reached the venue.
    NeverArrived,
    /// We asked for its cancellation.
    CancelAsked,
    /// It was not cancelled: it matched, and a fill is on its way.
    CancelRefusedMatched,
    /// It was not cancelled: it is not there. That proves nothing.
    CancelRefusedGone,
    /// It was not cancelled: the sports delay holds it.
    CancelRefusedDelayed,
    /// It was not cancelled, or nobody knows: it may still rest.
    CancelRefusedOther,
}

impl Input {
    /// Every input, in the order of the table's columns.
    pub const ALL: [Self; 21] = [
        Self::Sent,
        Self::AckedLive,
        Self::AckedMatched,
        Self::AckedDelayed,
        Self::AckedUnclear,
        Self::Rejected,
        Self::RejectedDuplicate,
        Self::NeverSent,
        Self::Unclear,
        Self::SeenLive,
        Self::SeenDelayed,
        Self::FilledPart,
        Self::FilledUp,
        Self::Gone,
        Self::GoneExpired,
        Self::NeverArrived,
        Self::CancelAsked,
        Self::CancelRefusedMatched,
        Self::CancelRefusedGone,
        Self::CancelRefusedDelayed,
        Self::CancelRefusedOther,
    ];

    /// The input that an acceptance is.
    pub const fn acked(status: AckStatus) -> Self {
        match status {
            AckStatus::Live => Self::AckedLive,
            AckStatus::Matched => Self::AckedMatched,
            AckStatus::Delayed => Self::AckedDelayed,
            AckStatus::Unmatched => Self::AckedUnclear,
        }
    }

    /// The input that a refusal is.
    pub const fn rejected(reason: RejectReason) -> Self {
        match reason {
            RejectReason::Duplicate => Self::RejectedDuplicate,
            _ => Self::Rejected,
        }
    }

    /// The input that a refused cancel is.
    pub const fn cancel_refused(reason: CancelRefusal) -> Self {
        match reason {
            CancelRefusal::Matched => Self::CancelRefusedMatched,
            CancelRefusal::Gone => Self::CancelRefusedGone,
            CancelRefusal::Delayed => Self::CancelRefusedDelayed,
            CancelRefusal::Other => Self::CancelRefusedOther,
        }
    }

    /// The input that a word of the user stream is. `None`: fills come as trades, and a word that we do not know is
    /// looked up.
    pub const fn seen(change: OrderChange) -> Option<Self> {
        match change {
            OrderChange::Placed => Some(Self::SeenLive),
            OrderChange::Delayed => Some(Self::SeenDelayed),
            OrderChange::Cancelled | OrderChange::Invalid => Some(Self::Gone),
            OrderChange::Expired => Some(Self::GoneExpired),
            OrderChange::Matched | OrderChange::Unrecognised => None,
        }
    }
}

/// What follows from an input in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// This state is next.
    To(OrderState),
    /// Nothing changes: late or repeated news.
    Stay,
    /// Venue and gateway cannot both be right. Nothing changes, it is counted, and the order is looked up.
    Impossible(&'static str),
}

/// One row: what follows from each input, in the order of [`Input::ALL`].
type Row = [Then; Input::ALL.len()];

const fn to(state: OrderState) -> Then {
    Then::To(state)
}

// The cells, two letters each so that a row is a line.
/// Nothing changes.
const __: Then = Then::Stay;
const SN: Then = to(OrderState::Sent);
const LV: Then = to(OrderState::Live);
const HD: Then = to(OrderState::Delayed);
const PT: Then = to(OrderState::PartiallyFilled);
const CP: Then = to(OrderState::CancelPending);
const UN: Then = to(OrderState::Unknown);
const FL: Then = to(OrderState::Matched);
const GN: Then = to(OrderState::Cancelled);
const AG: Then = to(OrderState::Expired);
const RJ: Then = to(OrderState::Rejected);
const FA: Then = to(OrderState::Failed);
const X1: Then = Then::Impossible("bytes of it left, and the gateway says that none did");
const X2: Then = Then::Impossible("no byte of it left, and the gateway says that all did");
const X3: Then = Then::Impossible("the venue shows it and refuses it");
const X4: Then = Then::Impossible("one request was answered twice, and differently");
const X5: Then = Then::Impossible("the venue has it, and it is said never to have arrived");

/// The table. One row a state, one column an input.
#[rustfmt::skip]
pub const TABLE: [Row; OrderState::ALL.len()] = {
    // Columns: sent; acked live, matched, held, unclear; refused, duplicate; never sent, no answer; seen live, held;
    // filled in part, whole; gone, aged; never came; cancel asked; not cancelled: matched, gone, held, other.
    let created   = [SN, LV, LV, HD, UN, RJ, UN, FA, UN, LV, HD, PT, FL, GN, AG, FA, __, __, __, __, __];
    let sent      = [__, LV, LV, HD, UN, RJ, UN, X1, UN, LV, HD, PT, FL, GN, AG, FA, __, __, __, HD, __];
    let live      = [__, __, __, __, __, X3, __, X1, __, __, __, PT, FL, GN, AG, X5, CP, __, __, HD, __];
    let delayed   = [__, LV, LV, __, __, RJ, __, X1, __, LV, __, PT, FL, GN, AG, X5, __, __, __, __, __];
    let partial   = [__, __, __, __, __, X3, __, X1, __, __, __, __, FL, GN, AG, X5, CP, __, __, __, __];
    // It is still there, or a fill is on its way; the look-up on a timer tells.
    let pending   = [__, __, __, __, __, X3, __, X1, __, __, __, __, FL, GN, AG, X5, __, __, __, HD, LV];
    // Holds exposure until the venue itself says what became of it.
    let unknown   = [__, LV, LV, HD, __, RJ, __, X1, __, LV, HD, PT, FL, GN, AG, FA, __, __, __, HD, __];
    let matched   = [__, __, __, __, __, __, __, X1, __, __, __, __, __, __, __, X5, __, __, __, __, __];
    let cancelled = [__, __, __, __, __, __, __, X1, __, __, __, __, FL, __, AG, X5, __, __, __, __, __];
    let expired   = [__, __, __, __, __, __, __, X1, __, __, __, __, FL, __, __, X5, __, __, __, __, __];
    // The venue's own stream outranks what a broken answer made us believe.
    let rejected  = [__, X4, X4, X4, X4, __, __, X1, __, LV, HD, PT, FL, GN, AG, __, __, __, __, HD, __];
    let failed    = [X2, LV, LV, HD, UN, RJ, UN, __, UN, LV, HD, PT, FL, GN, AG, __, __, __, __, HD, __];
    [created, sent, live, delayed, partial, pending, unknown, matched, cancelled, expired, rejected, failed]
};

/// What follows from `input` in `state`.
#[inline]
pub const fn then(state: OrderState, input: Input) -> Then {
    TABLE[state as usize][input as usize]
}

#[cfg(test)]
mod tests {
    use OrderState as S;

    use super::*;

    fn next(state: S, input: Input) -> S {
        match then(state, input) {
            Then::To(after) => after,
            Then::Stay | Then::Impossible(_) => state,
        }
    }

    /// A rule book: state, what happens, state after.
    #[test]
    fn an_order_s_life_is_this_table() {
        use Input as I;
        let table = [
            (S::Created, I::Sent, S::Sent),
            (S::Created, I::NeverSent, S::Failed),
            (S::Created, I::Unclear, S::Unknown),
            (S::Sent, I::AckedLive, S::Live),
            (S::Sent, I::AckedMatched, S::Live),
            (S::Sent, I::AckedDelayed, S::Delayed),
            (S::Sent, I::AckedUnclear, S::Unknown),
            (S::Sent, I::Rejected, S::Rejected),
            (S::Sent, I::RejectedDuplicate, S::Unknown),
            (S::Sent, I::Unclear, S::Unknown),
            // Once a byte left, "never sent" is not believed.
            (S::Sent, I::NeverSent, S::Sent),
            // The user stream may come before the answer.
            (S::Created, I::SeenLive, S::Live),
            (S::Created, I::FilledPart, S::PartiallyFilled),
            (S::Live, I::AckedLive, S::Live),
            (S::Live, I::Rejected, S::Live),
            (S::Live, I::CancelAsked, S::CancelPending),
            (S::Live, I::Gone, S::Cancelled),
            (S::Live, I::FilledPart, S::PartiallyFilled),
            (S::PartiallyFilled, I::CancelAsked, S::CancelPending),
            (S::PartiallyFilled, I::FilledUp, S::Matched),
            (S::Delayed, I::CancelAsked, S::Delayed),
            (S::Delayed, I::SeenLive, S::Live),
            (S::CancelPending, I::Gone, S::Cancelled),
            (S::CancelPending, I::CancelRefusedMatched, S::CancelPending),
            (S::CancelPending, I::CancelRefusedOther, S::Live),
            (S::CancelPending, I::SeenLive, S::CancelPending),
            (S::CancelPending, I::FilledUp, S::Matched),
            (S::Unknown, I::SeenLive, S::Live),
            (S::Unknown, I::Gone, S::Cancelled),
            (S::Unknown, I::FilledUp, S::Matched),
            (S::Unknown, I::NeverSent, S::Unknown),
            // "Not found" proves nothing.
            (S::Unknown, I::CancelRefusedGone, S::Unknown),
            (S::Unknown, I::NeverArrived, S::Failed),
            (S::Live, I::NeverArrived, S::Live),
            (S::Cancelled, I::SeenLive, S::Cancelled),
            (S::Cancelled, I::FilledUp, S::Matched),
            (S::Cancelled, I::GoneExpired, S::Expired),
            (S::Rejected, I::SeenLive, S::Live),
            (S::Rejected, I::Gone, S::Cancelled),
            (S::Failed, I::SeenLive, S::Live),
            (S::Matched, I::Gone, S::Matched),
        ];
        for (state, input, after) in table {
            assert_eq!(next(state, input), after, "{state:?} + {input:?}");
        }
    }

    #[test]
    fn the_columns_and_rows_are_where_the_enums_say() {
        for (n, input) in Input::ALL.into_iter().enumerate() {
            assert_eq!(input as usize, n);
        }
        for (n, state) in S::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, n);
        }
    }

    #[test]
    fn fills_are_facts_in_every_state() {
        for state in S::ALL {
            assert_eq!(next(state, Input::FilledUp), S::Matched, "{state:?}");
        }
    }

    #[test]
    fn nothing_heard_twice_changes_more_than_heard_once() {
        for state in S::ALL {
            for input in Input::ALL {
                let once = next(state, input);
                // A repeated refusal of a cancel finds no cancel any more.
                assert_eq!(next(once, input), once, "{state:?} + {input:?} twice");
            }
        }
    }

    #[test]
    fn a_finished_order_is_revived_by_the_venue_alone() {
        use Input as I;
        let words_of_the_venue =
            [I::AckedLive, I::AckedMatched, I::AckedDelayed, I::AckedUnclear, I::SeenLive, I::SeenDelayed];
        let others = [I::FilledPart, I::RejectedDuplicate, I::Unclear, I::CancelRefusedDelayed];
        for state in S::ALL.into_iter().filter(|s| s.is_terminal()) {
            for input in I::ALL.into_iter().filter(|i| !words_of_the_venue.contains(i) && !others.contains(i)) {
                assert!(next(state, input).is_terminal(), "{state:?} + {input:?}");
            }
        }
    }
}
