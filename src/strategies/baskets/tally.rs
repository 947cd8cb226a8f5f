//! What became of a match's baskets.

use super::flight::{self, Flight};
use crate::types::{Qty, Usdc};

/// What became of the baskets that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bids for one leg that were sent to rest. They are baskets once something of them is filled.
    pub quoted: u64,
    /// Sent.
    pub sent: u64,
    /// Of which all legs were filled alike, at once or later.
    pub level: u64,
    /// Of which none was filled, or everything was sold again.
    pub nothing: u64,
    /// Of which what is held is not level.
    pub uneven: u64,
    /// Shares of each leg of those that are level.
    pub shares: Qty,
    /// What those cost at most, and what they pay at least if the match completes.
    pub paid: Usdc,
    /// See `paid`.
    pub pays: Usdc,
}

impl Tally {
    /// A basket is over: what it came to.
    pub(super) fn count(&mut self, flight: &mut Flight) {
        flight.counted = true;
        self.add(flight, 1);
    }

    /// It is not over after all, or not as it was.
    pub(super) fn take_back(&mut self, flight: &mut Flight) {
        if core::mem::take(&mut flight.counted) {
            self.add(flight, -1);
        }
    }

    fn add(&mut self, flight: &Flight, times: i64) {
        let (least, most) = flight.range();
        let level = most > Qty::DUST && flight.level();
        let which = match () {
            () if level => &mut self.level,
            () if most > Qty::DUST => &mut self.uneven,
            () => &mut self.nothing,
        };
        *which = which.saturating_add_signed(times);
        if level {
            self.shares = Qty(self.shares.micro().saturating_add_signed(times * least.micro() as i64));
            self.paid += Usdc(times * flight.paid().micro());
            self.pays += Usdc(times * flight::pays(flight.worst, least).micro());
        }
    }
}
