//! What is not final: trades under way, how they end, and where the venue's count may differ from ours meanwhile.

use super::{
    Fill, Known, Ledger, Moved, RECOVERED,
    holding::{Holding, NO_FILL},
    value,
};
use crate::types::{MarketIx, Nanos, OrderHash, Qty, Side, TradeKey, Usdc, event::TradeStatus, ids::InstrumentIx};

/// Final outcomes of trades that the pattern of failures is looked for in.
pub(super) const OUTCOMES: usize = 64;
/// Failures among them below which there is no pattern.
const FAILED_MIN: usize = 5;
/// A trade that is not final after this long is stuck: somebody is to look.
const STUCK_NS: u64 = 60_000_000_000;
/// Unsettled trades whose age is watched.
pub(super) const UNSETTLED_MAX: usize = 4_096;

/// How a trade of ours ended, newest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Settled,
    /// It failed, and would have gained by then.
    FailedWinner,
    /// It failed, and would not have.
    FailedLoser,
}

impl Ledger {
    /// A trade of an earlier run: its shares and cash are counted already. If it is not final its end is still to
    /// come; if it is, it is only known, so that it is not booked again. False if it was known before.
    pub fn recover_trade(&mut self, key: (TradeKey, OrderHash), fill: Fill, now: Nanos) -> bool {
        if self.fills.contains_key(&key) {
            return false;
        }
        let known = Known { fill, n: NO_FILL, owner: RECOVERED, flow: fill.flow() };
        if matches!(fill.status, TradeStatus::Confirmed | TradeStatus::Failed) {
            self.remember(key, known);
            self.settled_order.push_back(key);
            return true;
        }
        let holding = self.holding_mut(fill.instrument);
        match fill.side {
            Side::Buy => holding.settled = holding.settled.saturating_sub(fill.qty),
            Side::Sell => {
                holding.settled += fill.qty;
                holding.selling += fill.qty;
            }
        }
        self.remember(key, known);
        let _ = self.moved.push(Moved::Doubted(known.flow));
        self.watch(key, now);
        true
    }

    pub(super) fn watch(&mut self, key: (TradeKey, OrderHash), now: Nanos) {
        if self.unsettled.len() < UNSETTLED_MAX {
            self.unsettled.push_back((now, key));
        }
    }

    pub(super) fn note_ending(&mut self, ending: Ending) {
        if self.endings.is_full() {
            self.endings.pop_front();
        }
        let _ = self.endings.push_back(ending);
    }

    /// A trade failed: would it have gained by now?
    pub(super) fn note_failed(&mut self, fill: &Fill) {
        self.failed += 1;
        let worth = value(fill.qty, self.holding(fill.instrument).mark);
        let gain = match fill.side {
            Side::Buy => worth - fill.notional,
            Side::Sell => fill.notional - worth,
        };
        self.note_ending(if gain > Usdc::ZERO { Ending::FailedWinner } else { Ending::FailedLoser });
    }

    /// True if failures are no accident: those that fail are nearly all winners, or a fifth of everything fails.
    /// Somebody who can void his losing side leaves us ours.
    pub fn failures_follow_a_pattern(&self) -> bool {
        let count = |e: Ending| self.endings.iter().filter(|x| **x == e).count();
        let (winners, losers) = (count(Ending::FailedWinner), count(Ending::FailedLoser));
        let failed = winners + losers;
        failed >= FAILED_MIN
            && (winners * 5 >= failed * 4 || failed >= 2 * FAILED_MIN && failed * 5 >= self.endings.len())
    }

    /// Trades that have not been final for too long, as far as they are watched. Call it now and then: it forgets what
    /// is final.
    pub fn stuck(&mut self, now: Nanos) -> usize {
        let fills = &self.fills;
        let open = |key: &(TradeKey, OrderHash)| {
            fills.get(key).is_some_and(|k| !matches!(k.fill.status, TradeStatus::Confirmed | TradeStatus::Failed))
        };
        self.unsettled.retain(|(_, key)| open(key));
        self.unsettled.iter().take_while(|(since, _)| now.since(*since) >= STUCK_NS).count()
    }

    /// Between which numbers of shares the venue's own count may be: trades under way may be in it or not.
    pub fn expected(&self, i: InstrumentIx) -> (Qty, Qty) {
        let h = self.holding(i);
        (h.sure(), h.at_most())
    }

    /// True if cash is under way: a trade that is not final, or a merge.
    pub fn cash_is_moving(&self) -> bool {
        let moving = |h: &Holding| h.settled != h.qty || !h.selling.is_zero();
        self.accounts.iter().any(|a| !a.merging.is_zero() || a.holdings.iter().any(moving))
    }

    /// Counts everything that moved shares of a market.
    pub fn moves(&self, m: MarketIx) -> u64 {
        self.accounts[m.ix()].moves
    }

    /// A person has looked: what failed so far is no pattern any more.
    pub fn forgive_failures(&mut self) {
        self.endings.clear();
    }
}
