//! Deadlines: what should have happened by now and did not; asked on every tick.

use super::{Desk, LOOKUP_NS};
use crate::{
    engine::{
        Action, Actions,
        book::Distrust,
        gate::{Closed, MarketClosed},
    },
    types::{
        InstrumentIx, MarketIx, OrderHash, Stamp,
        event::{GapReason, KillReason},
        order::OrderState,
    },
};

/// A subscription brings a snapshot by itself; one that has not come by then is asked for.
const SNAPSHOT_WAIT_NS: u64 = 10_000_000_000;
/// A snapshot that was asked for is asked for again after this.
const RESYNC_RETRY_NS: u64 = 2_000_000_000;
/// A market's page is read this often.
const FACTS_NS: u64 = 60_000_000_000;
/// Without a late change for so long, a snapshot is believed again.
const LATE_NS: u64 = 2_000_000_000;
/// Deadlines that need not be looked at with every tick are, this often.
const SLOW_NS: u64 = 1_000_000_000;
/// Losses of the user stream or of the gateway that are too many, each forgotten after a while.
const CUTS_MAX: u32 = 30;
const CUT_FORGOTTEN_NS: u64 = 20_000_000_000;
/// Payouts that nobody told of are asked for this long after the match, and then again.
const PAYOUT_LATE_NS: u64 = 60_000_000_000;
const PAYOUT_RETRY_NS: u64 = 2_000_000_000;

impl Desk {
    /// Deadlines: what should have happened by now and did not.
    pub(in crate::engine) fn tick(&mut self, out: &mut Actions) {
        self.orders.forget_old(self.now);
        self.risk.tick(self.now);
        self.measure();
        self.measure_day();
        self.watch.tick();
        self.risk.guards().earned(self.ledger.equity_change());
        self.risk.watch_loss(-self.ledger.day_loss());
        self.watch_connections(out);
        for m in self.universe.indices() {
            self.watch_game_start(m);
            self.watch_late(m);
        }
        if self.now >= self.slow_at {
            self.slow_at = self.now.plus(SLOW_NS);
            self.watch_slowly(out);
        }
        if self.risk.killed().is_some() || self.stopping_since.is_some() {
            if self.orders.open() > 0 {
                self.cancel_everything(out);
            }
        } else if self.ledger.anomalies() > 0 || !self.ledger.balanced() {
            self.kill(KillReason::Accounts, out);
        }
        // An order may have ended by the stream's own word before the look-up's answer came.
        self.all_verified();
        self.ask_reconciliation(out);
        self.look_up_stragglers(out);
        for m in self.universe.indices() {
            self.check_mirror(m);
        }
        self.resync_untrusted(out);
        self.ask_payouts(out);
        self.ask_facts(out);
        self.touch_all();
        self.try_to_end(out);
    }

    /// Connections that stay away, or come and go, trip the kill switch: somebody is to look.
    pub(super) fn watch_connections(&mut self, out: &mut Actions) {
        let limit = u64::from(self.risk.limits().down_s) * 1_000_000_000;
        let away = [self.user_down_since, self.gateway_down_since];
        if self.now.since(self.cuts_at) >= CUT_FORGOTTEN_NS {
            self.cuts = self.cuts.saturating_sub(1);
            self.cuts_at = self.now;
        }
        let gone = away.into_iter().flatten().any(|since| self.now.since(since) >= limit);
        if gone || self.cuts > CUTS_MAX {
            self.kill(KillReason::Connections, out);
        }
    }

    /// About the start of its game a market's book is cleared by the venue: nothing is placed, and what rested is taken
    /// for gone only when the venue says so. Starts move, so the last one read counts.
    pub(super) fn watch_game_start(&mut self, m: MarketIx) {
        let spec = self.universe.market(m);
        let Some(start) = self.game_start(m).filter(|_| spec.clear_on_start) else {
            return self.risk.set_market(m, MarketClosed::BookClearing, false);
        };
        let window = u64::from(self.risk.limits().clear_ms) * 1_000_000;
        let near = self.now.plus(window) >= start && self.now.since(start) < window;
        self.risk.set_market(m, MarketClosed::BookClearing, near);
        if self.now >= start && self.now.since(start) < window && self.cleared[m.ix()] != Some(start) {
            self.cleared[m.ix()] = Some(start);
            self.orders.distrust_market(m);
            self.reconciliation.want(self.now);
        }
    }

    /// A late change of a market was read.
    pub(in crate::engine) fn note_late(&mut self, m: MarketIx) {
        self.late[m.ix()] = (self.now, false);
    }

    /// A snapshot of a market came. If nothing late was read for a while it is what there is now; amid late changes it
    /// is as late as they are.
    pub(in crate::engine) fn note_snapshot(&mut self, m: MarketIx) {
        self.late[m.ix()].1 = true;
        self.watch_late(m);
    }

    pub(super) fn watch_late(&mut self, m: MarketIx) {
        let (at, snapshot) = self.late[m.ix()];
        if snapshot && self.now.since(at) >= LATE_NS {
            self.risk.set_market(m, MarketClosed::Late, false);
        }
    }

    /// What is looked at once a second.
    pub(super) fn watch_slowly(&mut self, out: &mut Actions) {
        self.stuck = self.ledger.stuck(self.now);
        if self.stuck > 0 || self.orders.any_lacks_trades(self.now) {
            self.reconciliation.want_soon(self.now);
        }
        if self.ledger.failures_follow_a_pattern() {
            self.kill(KillReason::FailedWinners, out);
        }
    }

    /// A market's page is to be asked for now.
    pub(in crate::engine) fn ask_market(&mut self, m: MarketIx) {
        if let Some(due) = self.facts_due.get_mut(m.ix()) {
            *due = (*due).min(self.now);
        }
    }

    /// Asks for the page of each market now and then: what it takes, and when its game starts, moves.
    pub(super) fn ask_facts(&mut self, out: &mut Actions) {
        if self.risk.has(Closed::GatewayDown) {
            return;
        }
        for m in self.universe.indices() {
            if self.now >= self.facts_due[m.ix()]
                && self.ledger.payout(m).is_none()
                && out.push(Action::AskMarket { market: m }).is_ok()
            {
                self.facts_due[m.ix()] = self.now.plus(FACTS_NS);
                break;
            }
        }
    }

    /// Asks the venue about orders that have been in a passing state for too long.
    pub(super) fn look_up_stragglers(&mut self, out: &mut Actions) {
        let now = self.now;
        let mut due: heapless::Vec<OrderHash, 16> = heapless::Vec::new();
        for o in self.orders.all_working() {
            let patience = match o.state {
                _ if o.unverified && !self.risk.has(Closed::UserStreamDown) => 0,
                OrderState::Unknown => 0,
                OrderState::CancelPending => 2_000_000_000,
                OrderState::Created | OrderState::Sent => 3_000_000_000,
                OrderState::Delayed => 5_000_000_000,
                // An immediate order does not rest: its end is fills, a cancellation, or this question.
                OrderState::Live | OrderState::PartiallyFilled if o.intent.tif.is_immediate() => 2_000_000_000,
                // A market that paid out has no resting orders; the word of it may have been lost.
                OrderState::Live | OrderState::PartiallyFilled
                    if self.ledger.payout(o.intent.instrument.market()).is_some() =>
                {
                    1_000_000_000
                }
                _ => continue,
            };
            if now.since(o.changed) >= patience && now >= o.next_lookup && due.push(o.hash).is_err() {
                break;
            }
        }
        for order in due {
            if out.push(Action::Lookup { order }).is_ok() {
                self.orders.note_lookup(&order, now.plus(LOOKUP_NS));
            }
            // "Not there" proved nothing: it is cancelled again, in case it came late.
            if self.orders.get(&order).is_some_and(|o| o.state == OrderState::Unknown) {
                self.cancel(order, Stamp::default(), out);
            }
        }
    }

    /// The venue is to be asked what a market pays.
    pub(in crate::engine) fn want_payout(&mut self, m: MarketIx) {
        if let Some(due) = self.payout_due.get_mut(m.ix()) {
            due.get_or_insert(self.now);
        }
    }

    /// Asks for payouts: of markets whose resolution could not be read, and, some time after the match, of all that
    /// said nothing, because the word of it may have been lost.
    pub(super) fn ask_payouts(&mut self, out: &mut Actions) {
        for m in self.universe.indices() {
            if self.ledger.payout(m).is_some() {
                self.payout_due[m.ix()] = None;
                continue;
            }
            if self.over_since.is_some_and(|at| self.now.since(at) >= PAYOUT_LATE_NS) {
                self.want_payout(m);
            }
            if self.payout_due[m.ix()].is_some_and(|due| self.now >= due)
                && out.push(Action::AskMarket { market: m }).is_ok()
            {
                self.payout_due[m.ix()] = Some(self.now.plus(PAYOUT_RETRY_NS));
            }
        }
    }

    /// Keeps the meter of untrusted time and asks for snapshots that are needed.
    pub(super) fn resync_untrusted(&mut self, out: &mut Actions) {
        for i in 0..self.instruments.len() as u16 {
            self.watch_trust(InstrumentIx(i), out);
        }
    }

    pub(in crate::engine) fn watch_trust(&mut self, i: InstrumentIx, out: &mut Actions) {
        let now = self.now;
        let it = &mut self.instruments[i.ix()];
        match it.book.distrust() {
            None => {
                if let Some(since) = it.untrusted_since.take() {
                    it.untrusted_ns += now.since(since);
                }
                it.resync_at = None;
                it.waiting_since = None;
            }
            // In the middle of a message, and after the end, there is nothing to complain about.
            Some(Distrust::SnapshotPartial | Distrust::Resolved) => {}
            Some(why) => {
                // The feed subscribes by itself, at first and when its socket is back.
                let comes_by_itself = matches!(why, Distrust::NoSnapshot | Distrust::Gap(GapReason::Disconnected));
                if why != Distrust::NoSnapshot {
                    it.untrusted_since.get_or_insert(now);
                }
                let waited = now.since(*it.waiting_since.get_or_insert(now));
                if comes_by_itself && waited < SNAPSHOT_WAIT_NS {
                    return;
                }
                let due = it.resync_at.is_none_or(|at| now.since(at) >= RESYNC_RETRY_NS);
                if due && out.push(Action::Resync { instrument: i }).is_ok() {
                    it.resync_at = Some(now);
                    self.resyncs += 1;
                }
            }
        }
    }
}
