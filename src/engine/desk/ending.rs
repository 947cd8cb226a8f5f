//! How a run ends: nothing left to do, the venue's count of our collateral, and the last word.

use super::{Desk, Ending, LOOKUP_NS};
use crate::{
    engine::{Action, Actions},
    types::{Usdc, event::KillReason},
};

/// A stop that is not complete by then ends unclean.
const STOP_NS: u64 = 5_000_000_000;
/// The same after every market is paid out: merges on their way may still take a while.
const RESOLVED_NS: u64 = 15_000_000_000;
/// The venue's collateral may differ from ours by this per fill; the difference is rounding's. More is an error.
const ROUNDING_MICRO_PER_FILL: u64 = 20;

impl Desk {
    /// Ends the run when nothing is left to do: every market is paid out or a stop is complete, and the venue has
    /// counted our collateral.
    pub(super) fn try_to_end(&mut self, out: &mut Actions) {
        let resolved =
            !self.universe.markets.is_empty() && self.universe.indices().all(|m| self.ledger.payout(m).is_some());
        if !resolved && self.stopping_since.is_none() {
            return;
        }
        let merging = self.universe.indices().any(|m| self.ledger.merging(m));
        let idle = self.orders.open() == 0 && !merging;
        let since = *self.ending_since.get_or_insert(self.stopping_since.unwrap_or(self.now));
        let late = self.now.since(since) >= if resolved { RESOLVED_NS } else { STOP_NS };
        // Nothing of ours rests in a market that paid; if the venue says it does, it is told again.
        if resolved && self.orders.open() > 0 && self.now.since(since) >= LOOKUP_NS {
            self.cancel_everything(out);
        }
        match self.ending {
            Ending::No if idle && out.push(Action::ReadCollateral).is_ok() => {
                self.ending = Ending::Counting(self.now);
            }
            Ending::No if late => self.finish(false, out),
            Ending::Counting(asked) if self.now.since(asked) >= STOP_NS => self.finish(false, out),
            _ => {}
        }
    }

    /// Says that the run is over; if there is no room to say it, the next tick does.
    pub(super) fn finish(&mut self, clean: bool, out: &mut Actions) {
        if self.ending != Ending::Done && out.push(Action::Finished { clean }).is_ok() {
            self.ending = Ending::Done;
        }
    }

    /// Takes over the venue's count of our collateral, if it differs by no more than rounding can explain.
    pub(in crate::engine) fn count_collateral(&mut self, cash: Usdc, out: &mut Actions) {
        if !matches!(self.ending, Ending::Counting(_)) {
            return;
        }
        let explained = self.explains(cash);
        if explained {
            self.ledger.reconcile_cash(cash);
        } else {
            self.risk.kill(KillReason::Accounts);
        }
        self.finish(explained && self.ledger.anomalies() == 0 && self.orders.unresolved() == 0, out);
    }

    /// True if the venue's count of our collateral differs from ours by no more than rounding can.
    pub(in crate::engine) fn explains(&self, cash: Usdc) -> bool {
        let allowed = (self.ledger.fills().count + 1) * ROUNDING_MICRO_PER_FILL;
        (cash - self.ledger.cash()).0.unsigned_abs() <= allowed
    }

    /// True once `Action::Finished` was asked for.
    pub(in crate::engine) fn finished(&self) -> bool {
        self.ending == Ending::Done
    }
}
