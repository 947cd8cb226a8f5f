//! Step 8 of 9: the venue's account of us against ours: at the start, after a stream came back, and on a timer.
//!
//! Streams do not replay what a cut swallowed, so everything that the venue knows is read: open orders, trades, shares,
//! positions, collateral. Reading takes a while and the world moves meanwhile; so a difference counts only in a market
//! where nothing moved during the reading, the first one halts the market, and one that the next reading finds again is
//! repaired by rule:
//!
//! - a trade that we did not hear of is booked, as the stream would have;
//! - an order that should rest and is not listed is asked after by its id until the venue says what became of it;
//! - an order that we do not know, or that should be gone and is listed, is cancelled;
//! - other shares than ours: the venue's count is taken over, the difference is `rounding`'s, and the market stays
//!   halted until a reading agrees;
//! - more collateral than ours, by little, while nothing else differs: the venue paid a rebate or a reward, of which no
//!   stream tells. It is booked as `rebates`, never as rounding;
//! - other collateral than ours otherwise: the kill switch, because nobody knows where the money went, or whose it is.
//!
//! A reading that is not whole is none: it never looks like an empty account.

use super::{
    Action, Actions,
    desk::Desk,
    digest::StateHasher,
    gate::{Closed, MarketClosed},
    life::Input,
    position::Income,
};
use crate::types::{
    InstrumentIx, MarketIx, Nanos, OrderHash, Qty, Stamp, Usdc,
    event::{KillReason, ReadEvent},
};

/// A reading that has not ended by then is asked for again.
const READING_NS: u64 = 20_000_000_000;
/// After a reading that was not whole, or found a difference, the next is asked for.
const AGAIN_NS: u64 = 1_500_000_000;
/// Trades are read from so long before what is known for certain: the venue's clock and ours differ.
const TRADES_MARGIN_NS: u64 = 60_000_000_000;
/// An order that changed so shortly before a reading may be listed or not.
const SETTLING_NS: u64 = 1_000_000_000;

/// More than this part of our equity is no rebate: somebody moved money, and a loss limit that counts it as a gain
/// guards nothing.
const INCOME_PART: i64 = 100;

/// What a reading said of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    shares: Option<Qty>,
    position: Option<Qty>,
    /// A count that differed from ours in the last reading.
    suspect: Option<Qty>,
    /// The same for the Data API, which only lags: it is noticed, and repairs nothing.
    suspect_position: Option<Qty>,
}

/// Where reconciliation is.
#[derive(Debug)]
pub(super) struct Reconciliation {
    round: u32,
    /// When the next reading is to be asked for.
    due: Nanos,
    asked: Option<Nanos>,
    /// Since when something is in doubt that only a reading which begins later can tell.
    wanted: Option<Nanos>,
    /// When the reading under way began.
    began: Option<Nanos>,
    /// What had moved by then, by market.
    moves: Vec<u64>,
    told: Vec<Told>,
    cash: Option<Usdc>,
    suspect_cash: Option<Usdc>,
    /// Markets in which this reading found an order that should not be there.
    strangers: u64,
    foreign: u32,
    foreign_before: u32,
    /// Trades before this are known for certain.
    certain: Nanos,
    /// Whole readings.
    readings: u64,
    /// Differences found, each once.
    mismatches: u64,
}

impl Reconciliation {
    pub(super) fn new(markets: usize) -> Self {
        Self {
            round: 0,
            due: Nanos::default(),
            asked: None,
            wanted: Some(Nanos::default()),
            began: None,
            moves: vec![0; markets],
            told: vec![Told::default(); 2 * markets],
            cash: None,
            suspect_cash: None,
            strangers: 0,
            foreign: 0,
            foreign_before: 0,
            certain: Nanos::default(),
            readings: 0,
            mismatches: 0,
        }
    }

    /// Whole readings so far.
    pub(super) fn readings(&self) -> u64 {
        self.readings
    }

    /// Differences found so far.
    pub(super) fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// True if no reading is wanted or under way: the last one was whole and is recent enough.
    pub(super) fn is_done(&self) -> bool {
        self.readings > 0
            && self.asked.is_none()
            && self.began.is_none()
            && self.suspect_cash.is_none()
            && self.wanted.is_none()
    }

    /// A reading is wanted that begins now or later. One that is under way ends first.
    pub(super) fn want(&mut self, now: Nanos) {
        self.wanted = Some(now);
        if self.asked.is_none() {
            self.due = now;
        }
    }

    /// The venue has known us since then at least: trades before are in what the account holds.
    pub(super) fn begin(&mut self, now: Nanos) {
        self.certain = now;
    }

    /// Somebody traded with our wallet. Told by a reading it is in that reading's counts already.
    pub(super) fn stranger_s_trade(&mut self, now: Nanos) {
        if self.began.is_none() {
            self.want(now);
        }
    }

    /// A reading is wanted before its time, but nothing waits for it.
    pub(super) fn want_soon(&mut self, now: Nanos) {
        if self.asked.is_none() {
            self.due = self.due.min(now.plus(AGAIN_NS));
        }
    }

    pub(super) fn digest(&self, h: &mut StateHasher) {
        h.debug(&(self.round, self.due, self.asked, self.began, self.certain, self.readings, self.mismatches));
        h.debug(&(self.wanted, self.suspect_cash, self.cash, self.strangers, self.foreign, self.foreign_before));
        self.moves.iter().for_each(|m| h.u64(*m));
        for t in &self.told {
            for q in [t.shares, t.position, t.suspect, t.suspect_position] {
                h.u64(q.map_or(u64::MAX, Qty::micro));
            }
        }
    }
}

impl Desk {
    /// Asks for a reading when one is due and the streams that tell what follows it are up.
    pub(super) fn ask_reconciliation(&mut self, out: &mut Actions) {
        let can = !self.risk.has(Closed::UserStreamDown) && !self.risk.has(Closed::GatewayDown);
        let r = &mut self.reconciliation;
        if r.asked.is_some_and(|at| self.now.since(at) < READING_NS) || self.now < r.due || !can {
            return;
        }
        let trades_since = Nanos(r.certain.0.saturating_sub(TRADES_MARGIN_NS));
        if out.push(Action::Reconcile { round: r.round + 1, trades_since }).is_ok() {
            r.round += 1;
            r.asked = Some(self.now);
            r.began = None;
        }
    }

    pub(super) fn hear_read(&mut self, event: &ReadEvent, out: &mut Actions) {
        let known = self.universe.markets.len() * 2;
        let r = &mut self.reconciliation;
        match *event {
            ReadEvent::Begin { round } if round == r.round && r.asked.is_some() => {
                r.began = Some(self.now);
                r.cash = None;
                (r.strangers, r.foreign) = (0, 0);
                for (m, moves) in r.moves.iter_mut().enumerate() {
                    *moves = self.ledger.moves(MarketIx(m as u16));
                }
                for told in &mut r.told {
                    (told.shares, told.position) = (None, None);
                }
            }
            // Of a reading that nobody waits for any more.
            _ if r.began.is_none() => {}
            ReadEvent::Begin { .. } => {}
            ReadEvent::Order { order, instrument, matched, .. } => self.listed(&order, instrument, matched, out),
            ReadEvent::ForeignOrder { .. } => r.foreign += 1,
            ReadEvent::Shares { instrument, qty } if instrument.ix() < known => {
                r.told[instrument.ix()].shares = Some(qty);
            }
            ReadEvent::Position { instrument, qty } if instrument.ix() < known => {
                r.told[instrument.ix()].position = Some(qty);
            }
            ReadEvent::Shares { .. } | ReadEvent::Position { .. } => {}
            ReadEvent::Cash { cash } => r.cash = Some(cash),
            ReadEvent::End { round, .. } if round != r.round => {}
            ReadEvent::End { complete: false, .. } => {
                (r.asked, r.began, r.due) = (None, None, self.now.plus(AGAIN_NS));
            }
            ReadEvent::End { complete: true, .. } => self.read_whole(out),
        }
    }

    /// An order that the venue lists as open.
    fn listed(&mut self, order: &OrderHash, instrument: InstrumentIx, matched: Qty, out: &mut Actions) {
        let Some(began) = self.reconciliation.began else { return };
        let Some(&known) = self.orders.get(order) else { return self.stranger(order, instrument, out) };
        self.orders.listed(order, self.reconciliation.round);
        self.orders.told(order, matched, self.now);
        self.orders.verified(order);
        // What was not heard to have ended, or to have begun, is heard of now.
        self.order_input(order, Input::SeenLive);
        let ended = self.orders.get(order).is_some_and(|o| o.state.is_terminal());
        if ended && known.changed.plus(SETTLING_NS) < began {
            self.stranger(order, instrument, out);
        }
    }

    /// An order that should not be there: it is cancelled, and its market is halted until a reading does not find it.
    fn stranger(&mut self, order: &OrderHash, instrument: InstrumentIx, out: &mut Actions) {
        let m = instrument.market();
        if m.ix() >= self.universe.markets.len() {
            return;
        }
        // One that does not fit is found again by the next reading.
        let _ = out.push(Action::Cancel { order: *order, instrument, cause: Stamp::default() });
        self.reconciliation.strangers |= 1 << m.0;
        self.mismatch(m);
    }

    /// A difference: the market is halted. Counted once, however long it lasts.
    pub(super) fn mismatch(&mut self, m: MarketIx) {
        if !self.risk.market(m).has(MarketClosed::Mismatch) {
            self.reconciliation.mismatches += 1;
            self.risk.set_market(m, MarketClosed::Mismatch, true);
        }
        self.reconciliation.due = self.reconciliation.due.min(self.now.plus(AGAIN_NS));
        self.touched.add(m);
    }

    /// Everything was read: what differs, and what follows.
    fn read_whole(&mut self, out: &mut Actions) {
        let r = &mut self.reconciliation;
        let Some(began) = r.began.take() else { return };
        r.asked = None;
        r.readings += 1;
        r.certain = began;
        r.wanted = r.wanted.filter(|since| *since >= began);
        let wait = if r.wanted.is_some() { 0 } else { u64::from(self.risk.limits().reconcile_s) * 1_000_000_000 };
        r.due = self.now.plus(wait);
        if r.foreign > r.foreign_before {
            r.mismatches += 1;
        }
        r.foreign_before = r.foreign;
        let round = r.round;
        self.orders.distrust_unlisted(round, began);
        for m in self.universe.indices() {
            self.compare_shares(m);
        }
        self.compare_cash(out);
        // Money that is not where it should be closes the gate by itself.
        if self.reconciliation.suspect_cash.is_some() {
            self.risk.set(Closed::NotReconciled, true);
        }
        self.all_verified();
    }

    fn compare_shares(&mut self, m: MarketIx) {
        // Nothing can be said of a market that moved while it was read, and nothing need be of one that paid.
        let moved = self.ledger.moves(m) != self.reconciliation.moves[m.ix()] || self.ledger.merging(m);
        if self.ledger.payout(m).is_some() {
            return self.risk.set_market(m, MarketClosed::Mismatch, false);
        }
        if moved {
            return;
        }
        let mut differs = self.reconciliation.strangers & 1 << m.0 != 0;
        for i in [InstrumentIx(m.0 * 2), InstrumentIx(m.0 * 2 + 1)] {
            let (low, high) = self.ledger.expected(i);
            let explained = |qty: Qty| qty + Qty::DUST >= low && qty <= high + Qty::DUST;
            let told = &mut self.reconciliation.told[i.ix()];
            match told.shares {
                Some(qty) if !explained(qty) => {
                    differs = true;
                    if told.suspect == Some(qty) {
                        told.suspect = None;
                        self.ledger.adopt_shares(i, qty);
                    } else {
                        told.suspect = Some(qty);
                    }
                }
                Some(_) => told.suspect = None,
                None => {}
            }
            let told = &mut self.reconciliation.told[i.ix()];
            match told.position {
                Some(qty) if !explained(qty) => {
                    if told.suspect_position == Some(qty) {
                        self.reconciliation.mismatches += 1;
                    } else {
                        told.suspect_position = Some(qty);
                    }
                }
                Some(_) => told.suspect_position = None,
                None => {}
            }
        }
        if differs {
            self.mismatch(m);
        } else {
            self.risk.set_market(m, MarketClosed::Mismatch, false);
        }
    }

    fn compare_cash(&mut self, out: &mut Actions) {
        let quiet = !self.ledger.cash_is_moving()
            && self.universe.indices().all(|m| self.ledger.moves(m) == self.reconciliation.moves[m.ix()]);
        let Some(cash) = self.reconciliation.cash.filter(|_| quiet) else { return };
        if self.explains(cash) {
            self.reconciliation.suspect_cash = None;
        } else if self.reconciliation.suspect_cash == Some(cash) && self.may_be_income(cash) {
            self.reconciliation.suspect_cash = None;
            self.ledger.book_income(Income::Rebate, cash - self.ledger.cash());
        } else if self.reconciliation.suspect_cash == Some(cash) {
            self.kill(KillReason::Accounts, out);
        } else {
            self.reconciliation.suspect_cash = Some(cash);
            self.reconciliation.mismatches += 1;
            self.reconciliation.due = self.now.plus(AGAIN_NS);
        }
    }

    /// True if more collateral than ours can be what the venue paid: every market's shares are as we count them, and it
    /// is no more than a small part of what we own.
    fn may_be_income(&self, cash: Usdc) -> bool {
        let more = cash - self.ledger.cash();
        let shares_agree = self.universe.indices().all(|m| !self.risk.market(m).has(MarketClosed::Mismatch));
        shares_agree && more > Usdc::ZERO && more.0 <= self.ledger.equity().0 / INCOME_PART
    }
}
