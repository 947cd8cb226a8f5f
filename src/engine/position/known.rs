//! Which trades are known, and how far each is: every event of one is booked once, whatever is repeated.

use super::{Booked, Fill, Ledger, Moved, NewTrade, OWNERS, Owner, RECOVERED, holding::NO_FILL, settlement::Ending};
use crate::engine::exposure::{Filled, Flow};
use crate::types::{
    Nanos, OrderHash, Qty, Side, TradeKey, Usdc, event::TradeStatus, fees::Rounding, order::StrategyId,
};

/// A fill that is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) fill: Fill,
    /// Its number among our fills; its lot and what a sale took carry it.
    pub(super) n: u32,
    pub(super) owner: Owner,
    /// As the exposure counts it.
    pub(super) flow: Flow,
}

/// Whose shares a strategy's are. Shares of earlier runs are nobody's.
pub(super) fn owner_of(strategy: Option<StrategyId>) -> Owner {
    const { assert!(OWNERS <= Owner::MAX as usize) };
    strategy.map_or(RECOVERED, |s| s as Owner)
}

impl Ledger {
    /// Books one trade event of one of our orders. The key is (trade, order); a repeat changes nothing.
    pub fn trade(&mut self, key: (TradeKey, OrderHash), told: &NewTrade, now: Nanos) -> Booked {
        let &NewTrade { instrument, side, qty, notional, curve, fees, status, strategy, limit } = told;
        self.accounts[instrument.market().ix()].moves += 1;
        if let Some(&known) = self.fills.get(&key) {
            return self.trade_again(key, known, qty, status);
        }
        let fee = curve.map_or(Usdc::ZERO, |c| fees.fee_on_curve(c, Rounding::HalfEven));
        let fill = Fill { instrument, side, qty, notional, fee, status };
        let filled = limit.map(|open| Filled::of(&open, qty, notional, fee));
        let flow = filled.map_or_else(|| fill.flow(), |f| f.flow);
        let known = Known { fill, n: self.next_fill(), owner: owner_of(strategy), flow };
        self.remember(key, known);
        if status == TradeStatus::Failed {
            self.note_failed(&fill);
            self.holding_mut(instrument).fills += 1;
            return Booked::NeverWas;
        }
        let market = instrument.market();
        if self.accounts[market.ix()].marked {
            let mark = self.holding(instrument).mark;
            self.markouts.filled(&known, curve.is_some(), mark, now);
        }
        self.apply(&known);
        let _ = self.moved.push(Moved::Filled(flow));
        // No venue fills an order at a price that it does not allow: somebody is to look.
        self.anomalies += u64::from(filled.is_some_and(|f| f.worse_by > Usdc::ZERO));
        self.watch(key, now);
        self.taker_fills += u64::from(curve.is_some());
        if status == TradeStatus::Confirmed {
            self.settle(key, &known);
        }
        if let Some(payout) = self.accounts[market.ix()].payout {
            self.pay_out(market, payout);
        }
        Booked::New
    }

    fn trade_again(&mut self, key: (TradeKey, OrderHash), known: Known, qty: Qty, status: TradeStatus) -> Booked {
        use TradeStatus as S;
        let fill = known.fill;
        let set = |ledger: &mut Self| ledger.put(key, Known { fill: Fill { status, ..fill }, ..known });
        if qty != fill.qty {
            self.anomalies += 1;
            return Booked::Contradiction;
        }
        match (fill.status, status) {
            (S::Failed, S::Failed) | (S::Confirmed, S::Matched | S::Mined | S::Retrying | S::Confirmed) => {
                Booked::Known
            }
            (S::Confirmed, S::Failed) | (S::Failed, S::Confirmed) => {
                self.anomalies += 1;
                Booked::Contradiction
            }
            // A failed trade stays failed, whatever late word of its youth arrives.
            (S::Failed, _) => Booked::Known,
            (_, S::Failed) => {
                // Its shares are sold, and none are left that could have been sold instead: somebody is to look.
                if !self.void(&known) {
                    self.anomalies += 1;
                    return Booked::Contradiction;
                }
                set(self);
                self.note_failed(&fill);
                self.markouts.failed(known.n);
                let _ = self.moved.push(Moved::Failed(known.flow));
                Booked::Voided
            }
            (_, S::Confirmed) => {
                set(self);
                self.settle(key, &known);
                Booked::Known
            }
            _ => {
                if status > fill.status || fill.status == S::Retrying {
                    set(self);
                }
                Booked::Known
            }
        }
    }

    /// The next fill's number.
    pub(super) fn next_fill(&mut self) -> u32 {
        self.fills_n = self.fills_n.wrapping_add(1).max(NO_FILL + 1);
        self.fills_n
    }

    pub(super) fn remember(&mut self, key: (TradeKey, OrderHash), known: Known) {
        if self.fills.len() >= super::FILLS_MAX
            && let Some(oldest) = self.settled_order.pop_front()
        {
            self.forget(&oldest);
        }
        self.put(key, known);
    }

    fn put(&mut self, key: (TradeKey, OrderHash), known: Known) {
        self.forget(&key);
        self.fills_sum = self.fills_sum.wrapping_add(known.fill.digest(&key));
        self.fills.insert(key, known);
    }

    fn forget(&mut self, key: &(TradeKey, OrderHash)) {
        if let Some(known) = self.fills.remove(key) {
            self.fills_sum = self.fills_sum.wrapping_sub(known.fill.digest(key));
        }
    }

    fn settle(&mut self, key: (TradeKey, OrderHash), known: &Known) {
        let fill = &known.fill;
        let _ = self.moved.push(Moved::Confirmed(known.flow));
        // Shares of a market that paid are gone, settled or not.
        let paid = self.accounts[fill.instrument.market().ix()].payout.is_some();
        let holding = self.holding_mut(fill.instrument);
        match fill.side {
            _ if paid => {}
            Side::Buy => holding.settled += fill.qty,
            Side::Sell => {
                holding.settled = holding.settled.saturating_sub(fill.qty);
                holding.selling = holding.selling.saturating_sub(fill.qty);
            }
        }
        if self.settled_order.len() < super::FILLS_MAX {
            self.settled_order.push_back(key);
        }
        self.note_ending(Ending::Settled);
    }

    /// True for a fill that is remembered.
    pub fn knows(&self, key: &(TradeKey, OrderHash)) -> bool {
        self.fills.contains_key(key)
    }
}
