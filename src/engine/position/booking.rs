//! What each fill, merge and payout does to lots, cash and what is realised; and how a fill that failed is undone.
//!
//! Shares leave by one door, [`Ledger::draw`]: oldest lots first, each lot's gain to the strategy that bought it. What
//! it took from which lot is written down, so that a failure is undone exactly: a sale that failed puts back the very
//! lots; a purchase that failed takes back its own lot, and what was sold or merged of it meanwhile is laid on the next
//! lots, as if it had never been bought.

use super::{
    Cause, Ledger, Moved, Owner, RECOVERED,
    holding::{Holding, Lot, NO_FILL, share, value},
    known::Known,
};
use crate::engine::exposure::Flow;
use crate::types::{
    MarketIx, Qty, Side, Usdc,
    event::Payout,
    ids::{InstrumentIx, Outcome},
};

/// Takings that are remembered, newest last: those of trades that are long settled are of no use.
pub(super) const DRAWN_MAX: usize = 16_384;

/// What was taken out of one lot at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    /// The fill that took it: a sale. Merges have none.
    by: u32,
    /// The fill that had brought it.
    lot: u32,
    owner: Owner,
    cause: Cause,
    qty: Qty,
    cost: Usdc,
    /// Its part of what came in.
    cash: Usdc,
}

impl Ledger {
    /// Books a fill.
    pub(super) fn apply(&mut self, known: &Known) {
        let fill = &known.fill;
        let before = self.holding(fill.instrument).value();
        let holding = self.holding_mut(fill.instrument);
        holding.fills += 1;
        let flow = match fill.side {
            Side::Buy => {
                holding.bought += fill.qty;
                holding.add_lot(Lot { fill: known.n, owner: known.owner, qty: fill.qty, cost: fill.notional });
                -fill.notional
            }
            Side::Sell => {
                holding.sold += fill.qty;
                holding.selling += fill.qty;
                self.draw(fill.instrument, fill.qty, Cause::Sell, fill.notional, (known.n, known.owner));
                fill.notional
            }
        };
        self.spread += flow + self.holding(fill.instrument).value() - before;
        self.notional += fill.notional;
        self.flow(fill.instrument.market(), flow);
        self.charge(fill.instrument.market(), known.owner, fill.fee);
    }

    /// Takes exactly this fill out again, fee included. What the mark moved meanwhile stays with inventory. False, and
    /// nothing changes, if its shares cannot be taken back because they are not here.
    pub(super) fn void(&mut self, known: &Known) -> bool {
        let fill = &known.fill;
        let m = fill.instrument.market();
        let (before, rounding) = (self.holding(fill.instrument).value(), self.rounding);
        let payout = self.accounts[m.ix()].payout;
        let flow = match (fill.side, payout) {
            (Side::Buy, None) if self.holding(fill.instrument).qty >= fill.qty => self.void_buy(known),
            (Side::Buy, Some(payout)) if self.holding(fill.instrument).redeemed >= fill.qty => {
                self.void_paid(known, payout)
            }
            (Side::Buy, _) => return false,
            (Side::Sell, _) => self.void_sell(known),
        };
        // What was taken for rounding of the voided shares is rounding of others now.
        let moved = self.holding(fill.instrument).value() - before;
        self.inventory += flow + moved - (self.rounding - rounding);
        self.flow(m, flow);
        self.charge(m, known.owner, -fill.fee);
        if let Some(payout) = payout {
            self.pay_out(m, payout);
        }
        true
    }

    fn void_buy(&mut self, known: &Known) -> Usdc {
        let (fill, m) = (&known.fill, known.fill.instrument.market());
        let holding = self.holding_mut(fill.instrument);
        holding.bought = holding.bought.saturating_sub(fill.qty);
        let (mut qty, mut cost) = (fill.qty, fill.notional);
        if let Some(own) = holding.take_lot_of(known.n) {
            qty = qty.saturating_sub(own.qty);
            cost -= own.cost;
        }
        while let Some(taken) = self.take_drawn(|d| known.n != NO_FILL && d.lot == known.n) {
            self.realize(m, taken.owner, taken.cause, -taken.cash, -taken.cost);
            qty = qty.saturating_sub(taken.qty);
            cost -= taken.cost;
            let by = (taken.by, known.owner);
            let instead = self.draw(fill.instrument, taken.qty, taken.cause, taken.cash, by);
            if taken.cause == Cause::Merge {
                self.accounts[m.ix()].pair_pnl += taken.cost - instead;
            }
        }
        // Of an earlier run, or so long ago that its lot was joined: the oldest shares go, at what these had cost.
        self.draw(fill.instrument, qty, Cause::Sell, cost, (NO_FILL, known.owner));
        if qty.is_zero() {
            self.realize(m, known.owner, Cause::Sell, cost, Usdc::ZERO);
        }
        fill.notional
    }

    /// A purchase in a market that paid out: what its shares were paid is not ours either.
    fn void_paid(&mut self, known: &Known, payout: Payout) -> Usdc {
        let (fill, m) = (&known.fill, known.fill.instrument.market());
        let outcome = fill.instrument.outcome();
        let holding = self.holding_mut(fill.instrument);
        holding.bought = holding.bought.saturating_sub(fill.qty);
        let left = holding.redeemed - fill.qty;
        let paid = payout.of(outcome, holding.redeemed) - payout.of(outcome, left);
        holding.redeemed = left;
        let account = &mut self.accounts[m.ix()];
        account.unpaired = account.unpaired.saturating_sub(fill.qty);
        self.realize(m, known.owner, Cause::Redeem, fill.notional, paid);
        fill.notional - paid
    }

    fn void_sell(&mut self, known: &Known) -> Usdc {
        let (fill, m) = (&known.fill, known.fill.instrument.market());
        let holding = self.holding_mut(fill.instrument);
        holding.sold = holding.sold.saturating_sub(fill.qty);
        holding.selling = holding.selling.saturating_sub(fill.qty);
        let (mut qty, mut cash) = (fill.qty, fill.notional);
        while let Some(taken) = self.take_drawn(|d| known.n != NO_FILL && d.by == known.n) {
            self.realize(m, taken.owner, taken.cause, -taken.cash, -taken.cost);
            qty = qty.saturating_sub(taken.qty);
            cash -= taken.cash;
            let lot = Lot { fill: taken.lot, owner: taken.owner, qty: taken.qty, cost: taken.cost };
            self.holding_mut(fill.instrument).add_lot(lot);
        }
        // What it took is not known any more: its gain stays, and the shares cost what they were sold for.
        if qty.is_zero() {
            self.realize(m, known.owner, Cause::Sell, -cash, Usdc::ZERO);
        }
        let cost = if qty.is_zero() { Usdc::ZERO } else { cash };
        self.holding_mut(fill.instrument).add_lot(Lot { fill: known.n, owner: known.owner, qty, cost });
        -fill.notional
    }

    /// Takes shares out, oldest first, for `cash`. Returns what they had cost. `by` is the fill that takes them and
    /// whose it is: shares that we did not know of cost nothing, and are its owner's gain.
    fn draw(&mut self, i: InstrumentIx, qty: Qty, cause: Cause, cash: Usdc, by: (u32, Owner)) -> Usdc {
        let (mut left, mut paid, mut cost) = (qty, Usdc::ZERO, Usdc::ZERO);
        while !left.is_zero()
            && let Some(lot) = self.holding_mut(i).take_oldest(left)
        {
            left -= lot.qty;
            // Cumulated, so that the parts are the whole.
            let up_to = share(cash, qty - left, qty);
            let Lot { fill, owner, .. } = lot;
            let part = up_to - paid;
            self.realize(i.market(), owner, cause, part, lot.cost);
            let (qty, cost_of_it) = (lot.qty, lot.cost);
            self.remember_drawn(Drawn { by: by.0, lot: fill, owner, cause, qty, cost: cost_of_it, cash: part });
            (paid, cost) = (up_to, cost + lot.cost);
        }
        if !left.is_zero() {
            self.realize(i.market(), by.1, cause, cash - paid, Usdc::ZERO);
        }
        cost
    }

    fn remember_drawn(&mut self, drawn: Drawn) {
        // What a payout took is undone as a whole.
        if drawn.cause == Cause::Redeem {
            return;
        }
        if self.drawn.len() == DRAWN_MAX {
            self.drawn.pop_front();
        }
        self.drawn.push_back(drawn);
    }

    /// The oldest taking that is asked for. It is forgotten.
    fn take_drawn(&mut self, which: impl Fn(&Drawn) -> bool) -> Option<Drawn> {
        let at = self.drawn.iter().position(which)?;
        self.drawn.remove(at)
    }

    /// Books a gain: what came in for shares, minus what they had cost.
    fn realize(&mut self, m: MarketIx, owner: Owner, cause: Cause, cash: Usdc, cost: Usdc) {
        let gain = cash - cost;
        let account = &mut self.accounts[m.ix()];
        match cause.index() {
            Some(n) => {
                self.realized[n] += gain;
                account.owners[usize::from(owner)].realized[n] += gain;
            }
            // Shares that the venue counts otherwise: as if they had never been bought.
            None => {
                self.rounding += gain;
                account.rounding += gain;
                account.cash -= gain;
            }
        }
    }

    fn flow(&mut self, m: MarketIx, cash: Usdc) {
        self.cash += cash;
        self.accounts[m.ix()].cash += cash;
    }

    fn charge(&mut self, m: MarketIx, owner: Owner, fee: Usdc) {
        self.flow(m, -fee);
        self.fees += fee;
        let account = &mut self.accounts[m.ix()];
        account.fees += fee;
        account.owners[usize::from(owner)].fees += fee;
    }

    /// Complete sets became collateral, 1 pUSD each. Of it each leg has its mark's part.
    pub fn merged(&mut self, m: MarketIx, qty: Qty) {
        let account = &mut self.accounts[m.ix()];
        account.moves += 1;
        account.merging = account.merging.saturating_sub(qty);
        // The market was decided while the merge was on its way: a pair paid 1 either way, and is counted already.
        if account.payout.is_some() {
            account.merged += qty;
            return;
        }
        if account.holdings.iter().any(|h| h.qty < qty) {
            self.anomalies += 1;
            return;
        }
        let before: Usdc = account.holdings.iter().map(Holding::value).sum();
        account.merged += qty;
        account.pairs += qty;
        let cash = Usdc(qty.0 as i64);
        let first = value(qty, account.holdings[0].mark).min(cash);
        let mut cost = Usdc::ZERO;
        for (outcome, part) in [(Outcome::Yes, first), (Outcome::No, cash - first)] {
            let i = m.instrument(outcome);
            cost += self.draw(i, qty, Cause::Merge, part, (NO_FILL, RECOVERED));
            let holding = self.holding_mut(i);
            holding.settled = holding.settled.saturating_sub(qty);
        }
        self.flow(m, cash);
        let account = &mut self.accounts[m.ix()];
        account.pair_pnl += cash - cost;
        let after: Usdc = account.holdings.iter().map(Holding::value).sum();
        self.inventory += cash + after - before;
    }

    /// The market is decided: holdings become cash. A second word on it is ignored unless it differs.
    pub fn resolve(&mut self, m: MarketIx, payout: Payout) {
        match self.accounts[m.ix()].payout {
            Some(known) => self.anomalies += u64::from(known != payout),
            None => {
                self.accounts[m.ix()].payout = Some(payout);
                self.pay_out(m, payout);
            }
        }
    }

    /// Turns what is held into cash; again for trades that are heard of after the payout. The venue pays for the whole
    /// holding at once, so that halves are rounded once.
    pub(super) fn pay_out(&mut self, m: MarketIx, payout: Payout) {
        let account = &mut self.accounts[m.ix()];
        account.moves += 1;
        let before: Usdc = account.holdings.iter().map(Holding::value).sum();
        // Complete sets are told apart first, so that what is left is the unpaired leg.
        let pairs = account.holdings[0].qty.min(account.holdings[1].qty);
        let pair_cost: Usdc = account.holdings.iter().map(|h| h.cost_of(pairs)).sum();
        account.pairs += pairs;
        account.pair_pnl += Usdc(pairs.0 as i64) - pair_cost;
        let mut cash = Usdc::ZERO;
        for outcome in [Outcome::Yes, Outcome::No] {
            let i = m.instrument(outcome);
            let holding = self.holding_mut(i);
            let (qty, already) = (holding.qty, payout.of(outcome, holding.redeemed));
            holding.redeemed += qty;
            (holding.settled, holding.selling) = (Qty::ZERO, Qty::ZERO);
            let paid = payout.of(outcome, holding.redeemed) - already;
            self.draw(i, qty, Cause::Redeem, paid, (NO_FILL, RECOVERED));
            self.accounts[m.ix()].unpaired += qty - pairs;
            cash += paid;
        }
        self.flow(m, cash);
        self.inventory += cash - before;
    }

    /// Takes over the venue's count of a token. Shares that are not there are `rounding`'s loss at what they had cost,
    /// shares that we did not know of its gain at what they are worth; the difference to the mark is inventory's.
    pub fn adopt_shares(&mut self, i: InstrumentIx, venue: Qty) {
        let (holding, rounding) = (self.holding(i), self.rounding);
        let (before, qty, cash) = (holding.value(), holding.qty, self.market_cash(i.market()));
        if venue > qty {
            let worth = value(venue, holding.mark) - before;
            let fill = self.next_fill();
            self.holding_mut(i).add_lot(Lot { fill, owner: RECOVERED, qty: venue - qty, cost: worth });
            self.realize(i.market(), RECOVERED, Cause::Lost, worth, Usdc::ZERO);
        } else {
            self.draw(i, qty - venue, Cause::Lost, Usdc::ZERO, (NO_FILL, RECOVERED));
        }
        let cash = self.market_cash(i.market()) - cash;
        let flow = if venue > qty {
            Flow::new(i, Side::Buy, venue - qty, -cash)
        } else {
            Flow::new(i, Side::Sell, qty - venue, cash)
        };
        let _ = self.moved.push(Moved::Held(flow));
        let holding = self.holding_mut(i);
        (holding.settled, holding.selling) = (venue, Qty::ZERO);
        let moved = holding.value() - before;
        self.inventory += moved - (self.rounding - rounding);
    }

    /// Shares that an earlier run left, those of trades under way included. Their cost is their first mark: what they
    /// gained or lost before is not this run's.
    pub fn recover_shares(&mut self, i: InstrumentIx, qty: Qty) {
        let fill = self.next_fill();
        let holding = self.holding_mut(i);
        let worth = value(holding.qty + qty, holding.mark) - holding.value();
        holding.settled += qty;
        holding.add_lot(Lot { fill, owner: RECOVERED, qty, cost: worth });
        self.start += worth;
        let _ = self.moved.push(Moved::Held(Flow::new(i, Side::Buy, qty, worth)));
        let account = &mut self.accounts[i.market().ix()];
        account.cash -= worth;
        account.unmarked = true;
    }
}
