//! Step 4 of 9: baskets that appeared and were not taken, with the reason, and what they would have paid.

use serde::Serialize;

use crate::types::{Nanos, Usdc};

/// Baskets of one match that are remembered. Of further ones it is only counted that they appeared.
const ROWS_MAX: usize = 256;
/// No row yet.
const NONE: u16 = u16::MAX;

/// Why a basket that appeared was not taken. The first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It costs as much as it pays, or a little more, before anything else.
    Price,
    /// The takers' fees are more than is left.
    Fees,
    /// What prices are expected to move while the venue holds the orders is more than is left.
    Hold,
    /// What it falls short of if the match does not complete is more than is left.
    HalfStates,
    /// Less is left than is asked for.
    MinEdge,
    /// An offer is so new that whoever made it, or made the others, may still be changing his mind.
    Young,
    /// A leg's book cannot be trusted, or is a message ahead of its mirror.
    Untrusted,
    /// A leg's market, or everything, is closed.
    Closed,
    /// Too little of a leg is there for what the venue takes.
    Size,
    /// A quote of our own stands in the way, and is pulled.
    OwnQuote,
    /// Another basket of the match is on its way, or was a moment ago.
    Busy,
    /// Risk refused a leg, or a bid for one.
    Refused,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Price,
        Self::Fees,
        Self::Hold,
        Self::HalfStates,
        Self::MinEdge,
        Self::Young,
        Self::Untrusted,
        Self::Closed,
        Self::Size,
        Self::OwnQuote,
        Self::Busy,
        Self::Refused,
    ];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Fees => "fees",
            Self::Hold => "hold",
            Self::HalfStates => "half_states",
            Self::MinEdge => "min_edge",
            Self::Young => "young",
            Self::Untrusted => "untrusted",
            Self::Closed => "closed",
            Self::Size => "size",
            Self::OwnQuote => "own_quote",
            Self::Busy => "busy",
            Self::Refused => "refused",
        }
    }
}

/// One basket that appeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which combination.
    pub candidate: u16,
    /// How often it appeared and was not taken, by [`Reason`]: once until it is gone or the reason is another.
    pub not_taken: [u64; Reason::ALL.len()],
    /// How often it was sent.
    pub taken: u64,
    /// How often a bid for one of its legs was sent to rest.
    pub quoted: u64,
    /// The most that a share of each leg would have earned in the worst outcome, after everything, ppm of a pUSD.
    pub best_ppm: i64,
    /// What the shares that were there then would have earned.
    pub best: Usdc,
    /// First seen.
    pub first: Nanos,
    /// Last seen.
    pub last: Nanos,
    /// It is there now, and not taken because of this.
    there: Option<Reason>,
}

/// What appeared in one match. Bounded; nothing is allocated after construction.
#[derive(Debug)]
pub struct Seen {
    rows: heapless::Vec<Row, ROWS_MAX>,
    slots: Box<[u16]>,
    /// Baskets that are there now.
    there: u16,
    /// Appearances for which there was no row.
    lost: u64,
}

impl Seen {
    /// Nothing yet, of so many combinations.
    pub fn new(candidates: usize) -> Self {
        Self { rows: heapless::Vec::new(), slots: vec![NONE; candidates].into_boxed_slice(), there: 0, lost: 0 }
    }

    fn row(&mut self, candidate: u16, now: Nanos) -> Option<&mut Row> {
        let slot = self.slots.get_mut(usize::from(candidate))?;
        if *slot == NONE {
            let row = Row {
                candidate,
                not_taken: [0; Reason::ALL.len()],
                taken: 0,
                quoted: 0,
                best_ppm: i64::MIN,
                best: Usdc::ZERO,
                first: now,
                last: now,
                there: None,
            };
            if self.rows.push(row).is_err() {
                self.lost += 1;
                return None;
            }
            *slot = self.rows.len() as u16 - 1;
        }
        self.rows.get_mut(usize::from(*slot))
    }

    /// A basket is there and is not taken: `edge_ppm` a share, `worth` over the shares that are there.
    pub fn not_taken(&mut self, candidate: u16, why: Reason, edge_ppm: i64, worth: Usdc, now: Nanos) {
        let Some(row) = self.row(candidate, now) else { return };
        row.last = now;
        if edge_ppm > row.best_ppm {
            row.best_ppm = edge_ppm;
            row.best = worth;
        }
        let before = row.there.replace(why);
        if before != Some(why) {
            row.not_taken[why as usize] += 1;
        }
        self.there += u16::from(before.is_none());
    }

    /// A basket was sent.
    pub fn taken(&mut self, candidate: u16, edge_ppm: i64, worth: Usdc, now: Nanos) {
        let Some(row) = self.row(candidate, now) else { return };
        row.taken += 1;
        row.last = now;
        if edge_ppm > row.best_ppm {
            row.best_ppm = edge_ppm;
            row.best = worth;
        }
        let was = row.there.take().is_some();
        self.there -= u16::from(was);
    }

    /// A bid for one of its legs was sent to rest.
    pub fn quoted(&mut self, candidate: u16, now: Nanos) {
        let Some(row) = self.row(candidate, now) else { return };
        row.quoted += 1;
        row.last = now;
    }

    /// A basket is not there.
    #[inline]
    pub fn gone(&mut self, candidate: u16) {
        if self.there == 0 {
            return;
        }
        let Some(&slot) = self.slots.get(usize::from(candidate)) else { return };
        if let Some(row) = self.rows.get_mut(usize::from(slot))
            && row.there.take().is_some()
        {
            self.there -= 1;
        }
    }

    /// Every basket that appeared.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Appearances for which there was no row.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_appearance_counts_once_until_it_is_gone_or_its_reason_changes() {
        let mut seen = Seen::new(3);
        for (ppm, at) in [(-5, 1), (40, 2), (20, 3)] {
            seen.not_taken(1, Reason::Fees, ppm, Usdc(ppm), Nanos(at));
        }
        seen.not_taken(1, Reason::Size, 10, Usdc(10), Nanos(4));
        seen.gone(1);
        seen.gone(1);
        seen.not_taken(1, Reason::Size, 10, Usdc(10), Nanos(5));
        seen.quoted(1, Nanos(5));
        seen.taken(1, 30, Usdc(30), Nanos(6));
        seen.gone(2);
        let [row] = seen.rows() else { panic!("{:?}", seen.rows()) };
        assert_eq!((row.not_taken[Reason::Fees as usize], row.not_taken[Reason::Size as usize]), (1, 2));
        assert_eq!((row.taken, row.quoted, row.best_ppm, row.best), (1, 1, 40, Usdc(40)));
        assert_eq!((row.first, row.last, seen.there), (Nanos(1), Nanos(6), 0));
        for (n, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut seen = Seen::new(2 * ROWS_MAX);
        (0..ROWS_MAX as u16 + 7).for_each(|n| seen.not_taken(n, Reason::Price, 0, Usdc::ZERO, Nanos(1)));
        assert_eq!((seen.rows().len(), seen.lost()), (ROWS_MAX, 7));
    }
}
