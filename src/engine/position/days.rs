//! The accounts by UTC day: what the sums were when each began.

use serde::Serialize;

use crate::types::{Nanos, Usdc};

/// Days that are kept one by one.
pub const DAYS: usize = 8;
const DAY_NS: u64 = 86_400_000_000_000;

/// The accounts' sums since the start, or of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Booked by sales, merges and payouts, in that order, before fees.
    pub realized: [Usdc; 3],
    /// Paid as taker.
    pub fees: Usdc,
    /// Paid by the venue: maker rebates.
    pub rebates: Usdc,
    /// Paid by the venue: rewards.
    pub rewards: Usdc,
    /// The venue's integers against ours.
    pub rounding: Usdc,
    /// Equity at the end minus at the beginning, holdings at their mark.
    pub equity_change: Usdc,
}

impl Totals {
    fn since(&self, earlier: &Self) -> Self {
        let mut realized = self.realized;
        realized.iter_mut().zip(earlier.realized).for_each(|(now, then)| *now -= then);
        Self {
            realized,
            fees: self.fees - earlier.fees,
            rebates: self.rebates - earlier.rebates,
            rewards: self.rewards - earlier.rewards,
            rounding: self.rounding - earlier.rounding,
            equity_change: self.equity_change - earlier.equity_change,
        }
    }
}

/// One UTC day's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    /// Days since 1970-01-01; `None` for everything before the days that are kept.
    pub day: Option<u32>,
    /// Its part of the sums.
    pub totals: Totals,
}

/// The sums at the beginning of each of the last days.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    begun: heapless::Deque<(u32, Totals), DAYS>,
    ends: Nanos,
}

impl Days {
    /// True if `now` is past the end of the day that was begun last.
    #[inline]
    pub(super) fn over(&self, now: Nanos) -> bool {
        now >= self.ends
    }

    /// A day begins with these sums.
    pub(super) fn begin(&mut self, now: Nanos, totals: Totals) {
        let day = now.0 / DAY_NS;
        self.ends = Nanos((day + 1).saturating_mul(DAY_NS));
        if self.begun.is_full() {
            self.begun.pop_front();
        }
        let _ = self.begun.push_back((day as u32, totals));
    }

    /// What today has changed so far.
    pub(super) fn today(&self, now: &Totals) -> Totals {
        self.begun.back().map_or(*now, |(_, begun)| now.since(begun))
    }

    /// Every day's part, oldest first, the first being what was before; together they are `now`.
    pub(super) fn lines(&self, now: &Totals) -> heapless::Vec<Day, { DAYS + 1 }> {
        let first = self.begun.front().map_or(*now, |(_, begun)| *begun);
        let mut lines = heapless::Vec::new();
        // There is room: one more than days are kept.
        let _ = lines.push(Day { day: None, totals: first });
        let ends = self.begun.iter().skip(1).map(|(_, t)| t).chain([now]);
        for ((day, begun), end) in self.begun.iter().zip(ends) {
            let _ = lines.push(Day { day: Some(*day), totals: end.since(begun) });
        }
        lines
    }

    /// When each began, for the state hash.
    pub(super) fn begun(&self) -> impl Iterator<Item = &(u32, Totals)> {
        self.begun.iter()
    }
}
