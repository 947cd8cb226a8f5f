//! Step 8 of 9: fills → inventory, cash, profit and loss.
//!
//! Everything is an integer. At every event, to the micro-pUSD:
//! `equity − start = spread + inventory − fees + rounding`, where equity is cash plus every holding at its mark.
//! `spread` is what each fill earned against the mark of its moment, `inventory` what holding earned while marks moved
//! (payouts included), `rounding` what the venue's integers differ from ours.

mod holding;
mod settlement;

use std::collections::{HashMap, VecDeque};

use self::{
    holding::{Holding, LOTS_MAX, Lot, value},
    settlement::{Ending, OUTCOMES, UNSETTLED_MAX},
};
use super::digest::StateHasher;
use crate::types::{
    MarketIx, Nanos, OrderHash, Price, Qty, TradeKey, Usdc,
    event::{Payout, TradeStatus},
    fees::{FeeSchedule, Rounding},
    ids::{InstrumentIx, Outcome},
    order::Side,
};

/// Fills remembered at once. When full, the oldest settled one is forgotten.
pub const FILLS_MAX: usize = 32_768;
/// A merge that failed is not asked for again before this.
const MERGE_RETRY_NS: u64 = 30_000_000_000;

/// A mark: twice a price in units of 0.0001, so that a mid is exact.
pub type HalfUnits = u32;

/// A trade of one of our orders, as the user channel told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The token of our order.
    pub instrument: InstrumentIx,
    /// Our side.
    pub side: Side,
    /// Shares.
    pub qty: Qty,
    /// Cash at the match prices, before fees.
    pub notional: Usdc,
    /// Taker fee; zero for a maker.
    pub fee: Usdc,
    /// How far its settlement is.
    pub status: TradeStatus,
}

impl Fill {
    fn digest(&self, (trade, order): &(TradeKey, OrderHash)) -> u64 {
        let mut h = StateHasher::default();
        h.bytes(&trade.0.to_le_bytes());
        h.bytes(&order.0);
        h.u64(u64::from(self.instrument.0) << 16 | (self.side as u64) << 8 | self.status as u64);
        h.u64(self.qty.0);
        h.i64(self.notional.0);
        h.i64(self.fee.0);
        h.finish()
    }
}

/// What a trade event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// A new fill is in the books.
    New,
    /// Known already; only its settlement moved, or nothing.
    Known,
    /// The trade failed: its fill is out of the books again.
    Voided,
    /// A new trade that had failed before we heard of it: nothing to book, but the order's size is used up.
    NeverWas,
    /// It contradicts what is known: a settled trade failed, or its size changed.
    Contradiction,
}

/// One market's account.
#[derive(Clone, Debug, Default)]
struct Account {
    holdings: [Holding; 2],
    /// Every flow of cash in this market, fees included.
    cash: Usdc,
    fees: Usdc,
    merged: Qty,
    merging: Qty,
    /// Holdings of an earlier run wait for their first mark, which is their cost.
    unmarked: bool,
    /// Counts everything that moved shares here: a reading of the venue is compared only with what stood still.
    moves: u64,
    /// After a failed merge the next is not asked for before this.
    merge_again: Nanos,
    pairs: Qty,
    pair_pnl: Usdc,
    unpaired: Qty,
    payout: Option<Payout>,
}

/// What one market's account says, for reports.
#[derive(Clone, Copy, Debug)]
pub struct AccountView {
    /// Shares held.
    pub position: [Qty; 2],
    /// What they are worth at the mark.
    pub value: Usdc,
    /// Shares bought.
    pub bought: [Qty; 2],
    /// Shares sold.
    pub sold: [Qty; 2],
    /// Fills.
    pub fills: [u64; 2],
    /// Complete sets: merged, or held when the market was paid out, or held now.
    pub pairs: Qty,
    /// Complete sets merged.
    pub merged: Qty,
    /// Shares without their other leg, when paid out or now.
    pub unpaired: Qty,
    /// Profit of complete sets: 1 minus the cost of both legs.
    pub pair_pnl: Usdc,
    /// Whole profit, holdings at their mark.
    pub pnl: Usdc,
    /// Fees paid.
    pub fees: Usdc,
    /// What it paid.
    pub payout: Option<Payout>,
}

/// The whole account.
#[derive(Debug)]
pub struct Ledger {
    accounts: Vec<Account>,
    start: Usdc,
    cash: Usdc,
    spread: Usdc,
    inventory: Usdc,
    fees: Usdc,
    rounding: Usdc,
    realized: Usdc,
    notional: Usdc,
    taker_fills: u64,
    failed: u64,
    anomalies: u64,
    fills: HashMap<(TradeKey, OrderHash), Fill>,
    /// Sum over the fills' hashes: a map has no order of its own, and the state hash must not walk it.
    fills_sum: u64,
    settled_order: VecDeque<(TradeKey, OrderHash)>,
    /// Trades that were not final when last looked at, oldest first.
    unsettled: VecDeque<(Nanos, (TradeKey, OrderHash))>,
    endings: heapless::Deque<Ending, OUTCOMES>,
}

impl Ledger {
    /// An empty account over some markets.
    pub fn new(markets: usize) -> Self {
        let account = || Account {
            holdings: std::array::from_fn(|_| Holding {
                mark: HalfUnits::from(Price::UNITS),
                lots: VecDeque::with_capacity(LOTS_MAX),
                ..Holding::default()
            }),
            ..Account::default()
        };
        Self {
            accounts: (0..markets).map(|_| account()).collect(),
            start: Usdc::ZERO,
            cash: Usdc::ZERO,
            spread: Usdc::ZERO,
            inventory: Usdc::ZERO,
            fees: Usdc::ZERO,
            rounding: Usdc::ZERO,
            realized: Usdc::ZERO,
            notional: Usdc::ZERO,
            taker_fills: 0,
            failed: 0,
            anomalies: 0,
            fills: HashMap::with_capacity(2 * FILLS_MAX),
            fills_sum: 0,
            settled_order: VecDeque::with_capacity(FILLS_MAX),
            unsettled: VecDeque::with_capacity(UNSETTLED_MAX),
            endings: heapless::Deque::new(),
        }
    }

    /// Equity at the start: collateral, and what earlier runs left at its first mark.
    pub fn started_with(&self) -> Usdc {
        self.start
    }

    /// Opens the account with the collateral at the venue.
    pub fn open(&mut self, cash: Usdc) {
        self.start = cash;
        self.cash = cash;
    }

    fn holding(&self, i: InstrumentIx) -> &Holding {
        &self.accounts[i.market().ix()].holdings[i.outcome() as usize]
    }

    fn holding_mut(&mut self, i: InstrumentIx) -> &mut Holding {
        &mut self.accounts[i.market().ix()].holdings[i.outcome() as usize]
    }

    /// Shares held, all fills counted.
    #[inline]
    pub fn qty(&self, i: InstrumentIx) -> Qty {
        self.holding(i).qty
    }

    /// Shares that are settled and not being merged: what can be sold or merged.
    #[inline]
    pub fn settled(&self, i: InstrumentIx) -> Qty {
        let h = self.holding(i);
        h.settled.min(h.qty).saturating_sub(self.accounts[i.market().ix()].merging)
    }

    /// Shares of the first outcome minus shares of the second, in micro-shares.
    #[inline]
    pub fn net(&self, m: MarketIx) -> i64 {
        let [yes, no] = &self.accounts[m.ix()].holdings;
        yes.qty.0 as i64 - no.qty.0 as i64
    }

    /// Every flow of cash in a market so far.
    #[inline]
    pub fn market_cash(&self, m: MarketIx) -> Usdc {
        self.accounts[m.ix()].cash
    }

    /// Collateral by our own count.
    #[inline]
    pub fn cash(&self) -> Usdc {
        self.cash
    }

    /// Cash plus every holding at its mark.
    pub fn equity(&self) -> Usdc {
        self.cash + self.accounts.iter().flat_map(|a| &a.holdings).map(Holding::value).sum()
    }

    /// What a market paid, once known.
    pub fn payout(&self, m: MarketIx) -> Option<Payout> {
        self.accounts[m.ix()].payout
    }

    /// Moves the mark of both tokens of a market, `mark` being the first outcome's; the change is inventory's.
    #[inline]
    pub fn mark(&mut self, m: MarketIx, mark: HalfUnits) {
        let marks = [mark, 2 * HalfUnits::from(Price::UNITS) - mark];
        let account = &mut self.accounts[m.ix()];
        if account.unmarked {
            account.unmarked = false;
            for (holding, mark) in account.holdings.iter_mut().zip(marks) {
                let before = holding.value();
                holding.mark = mark;
                let worth = holding.value();
                let recovered = holding.consume(holding.qty);
                holding.add_lot(Lot { qty: holding.qty, cost: worth });
                self.start += worth - before;
                account.cash -= worth - recovered;
            }
        }
        for (holding, mark) in account.holdings.iter_mut().zip(marks) {
            if holding.mark != mark {
                let before = holding.value();
                holding.mark = mark;
                self.inventory += holding.value() - before;
            }
        }
    }

    /// Books one trade event of one of our orders. The key is (trade, order); a repeat changes nothing.
    ///
    /// `curve` is the event's Σ qty × p·(1−p) if we were the taker.
    #[allow(clippy::too_many_arguments, reason = "the fields of one wire event, each of its own type")]
    pub fn trade(
        &mut self,
        key: (TradeKey, OrderHash),
        instrument: InstrumentIx,
        side: Side,
        qty: Qty,
        notional: Usdc,
        curve: Option<u128>,
        fees: FeeSchedule,
        status: TradeStatus,
        now: Nanos,
    ) -> Booked {
        self.accounts[instrument.market().ix()].moves += 1;
        if let Some(&known) = self.fills.get(&key) {
            return self.trade_again(key, known, qty, status);
        }
        let fee = curve.map_or(Usdc::ZERO, |c| fees.fee_on_curve(c, Rounding::HalfEven));
        let fill = Fill { instrument, side, qty, notional, fee, status };
        self.remember(key, fill);
        if status == TradeStatus::Failed {
            self.note_failed(&fill);
            self.holding_mut(instrument).fills += 1;
            return Booked::NeverWas;
        }
        self.apply(&fill);
        self.watch(key, now);
        self.taker_fills += u64::from(curve.is_some());
        if status == TradeStatus::Confirmed {
            self.settle(key, &fill);
        }
        let market = instrument.market();
        if let Some(payout) = self.accounts[market.ix()].payout {
            self.pay_out(market, payout);
        }
        Booked::New
    }

    fn trade_again(&mut self, key: (TradeKey, OrderHash), known: Fill, qty: Qty, status: TradeStatus) -> Booked {
        use TradeStatus as S;
        let set = |ledger: &mut Self| ledger.put(key, Fill { status, ..known });
        if qty != known.qty {
            self.anomalies += 1;
            return Booked::Contradiction;
        }
        match (known.status, status) {
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
                set(self);
                self.note_failed(&known);
                self.void(&known);
                Booked::Voided
            }
            (_, S::Confirmed) => {
                set(self);
                self.settle(key, &known);
                Booked::Known
            }
            _ => {
                if status > known.status || known.status == S::Retrying {
                    set(self);
                }
                Booked::Known
            }
        }
    }

    fn remember(&mut self, key: (TradeKey, OrderHash), fill: Fill) {
        if self.fills.len() >= FILLS_MAX
            && let Some(oldest) = self.settled_order.pop_front()
        {
            self.forget(&oldest);
        }
        self.put(key, fill);
    }

    fn put(&mut self, key: (TradeKey, OrderHash), fill: Fill) {
        self.forget(&key);
        self.fills_sum = self.fills_sum.wrapping_add(fill.digest(&key));
        self.fills.insert(key, fill);
    }

    fn forget(&mut self, key: &(TradeKey, OrderHash)) {
        if let Some(fill) = self.fills.remove(key) {
            self.fills_sum = self.fills_sum.wrapping_sub(fill.digest(key));
        }
    }

    fn settle(&mut self, key: (TradeKey, OrderHash), fill: &Fill) {
        let holding = self.holding_mut(fill.instrument);
        match fill.side {
            Side::Buy => holding.settled += fill.qty,
            Side::Sell => holding.settled = holding.settled.saturating_sub(fill.qty),
        }
        if self.settled_order.len() < FILLS_MAX {
            self.settled_order.push_back(key);
        }
        self.note_ending(Ending::Settled);
    }

    fn apply(&mut self, fill: &Fill) {
        let before = self.holding(fill.instrument).value();
        let (flow, realized) = {
            let holding = self.holding_mut(fill.instrument);
            holding.fills += 1;
            match fill.side {
                Side::Buy => {
                    holding.qty += fill.qty;
                    holding.bought += fill.qty;
                    holding.add_lot(Lot { qty: fill.qty, cost: fill.notional });
                    (-fill.notional, Usdc::ZERO)
                }
                Side::Sell => {
                    let cost = holding.consume(fill.qty);
                    holding.qty = holding.qty.saturating_sub(fill.qty);
                    holding.sold += fill.qty;
                    (fill.notional, fill.notional - cost)
                }
            }
        };
        let moved = self.holding(fill.instrument).value() - before;
        self.spread += flow + moved;
        self.realized += realized - fill.fee;
        self.fees += fill.fee;
        self.notional += fill.notional;
        self.cash += flow - fill.fee;
        let account = &mut self.accounts[fill.instrument.market().ix()];
        account.cash += flow - fill.fee;
        account.fees += fill.fee;
    }

    /// Takes exactly this fill out again. What the mark moved meanwhile stays with inventory.
    fn void(&mut self, fill: &Fill) {
        let before = self.holding(fill.instrument).value();
        let (flow, realized) = {
            let holding = self.holding_mut(fill.instrument);
            match fill.side {
                Side::Buy => {
                    if holding.qty < fill.qty {
                        self.anomalies += 1;
                        return;
                    }
                    let cost = holding.consume(fill.qty);
                    holding.qty -= fill.qty;
                    holding.bought = holding.bought.saturating_sub(fill.qty);
                    (fill.notional, fill.notional - cost)
                }
                Side::Sell => {
                    holding.qty += fill.qty;
                    holding.sold = holding.sold.saturating_sub(fill.qty);
                    holding.add_lot(Lot { qty: fill.qty, cost: fill.notional });
                    (-fill.notional, Usdc::ZERO)
                }
            }
        };
        let moved = self.holding(fill.instrument).value() - before;
        self.inventory += flow + moved;
        self.realized += realized + fill.fee;
        self.fees -= fill.fee;
        self.cash += flow + fill.fee;
        let account = &mut self.accounts[fill.instrument.market().ix()];
        account.cash += flow + fill.fee;
        account.fees -= fill.fee;
    }

    /// A merge was asked for: these settled pairs are spoken for.
    pub fn merge_asked(&mut self, m: MarketIx, qty: Qty) {
        self.accounts[m.ix()].merging += qty;
    }

    /// A merge did not happen; it may be asked for again after a while.
    pub fn merge_failed(&mut self, m: MarketIx, qty: Qty, now: Nanos) {
        let account = &mut self.accounts[m.ix()];
        account.merging = account.merging.saturating_sub(qty);
        account.merge_again = now.plus(MERGE_RETRY_NS);
    }

    /// True if a merge may be asked for: none is on its way, and none failed just now.
    pub fn may_merge(&self, m: MarketIx, now: Nanos) -> bool {
        !self.merging(m) && now >= self.accounts[m.ix()].merge_again
    }

    /// True while a merge is on its way.
    pub fn merging(&self, m: MarketIx) -> bool {
        !self.accounts[m.ix()].merging.is_zero()
    }

    /// Complete sets became collateral, 1 pUSD each.
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
        let mut cost = Usdc::ZERO;
        for holding in &mut account.holdings {
            cost += holding.consume(qty);
            holding.qty -= qty;
            holding.settled = holding.settled.saturating_sub(qty);
        }
        let after: Usdc = account.holdings.iter().map(Holding::value).sum();
        let cash = Usdc(qty.0 as i64);
        account.cash += cash;
        account.merged += qty;
        account.pairs += qty;
        account.pair_pnl += cash - cost;
        self.cash += cash;
        self.realized += cash - cost;
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

    /// Turns what is held into cash; again for trades that are heard of after the payout.
    fn pay_out(&mut self, m: MarketIx, payout: Payout) {
        let account = &mut self.accounts[m.ix()];
        account.moves += 1;
        let before: Usdc = account.holdings.iter().map(Holding::value).sum();
        // Complete sets are told apart first, so that what is left is the unpaired leg.
        let pairs = account.holdings[0].qty.min(account.holdings[1].qty);
        let pair_cost: Usdc = account.holdings.iter_mut().map(|h| h.consume(pairs)).sum();
        let mut cash = Usdc::ZERO;
        let mut cost = pair_cost;
        for (holding, outcome) in account.holdings.iter_mut().zip([Outcome::Yes, Outcome::No]) {
            cash += payout.of(outcome, holding.qty);
            cost += holding.cost();
            account.unpaired += holding.qty - pairs;
            holding.lots.clear();
            holding.qty = Qty::ZERO;
            holding.settled = Qty::ZERO;
        }
        account.pairs += pairs;
        account.pair_pnl += Usdc(pairs.0 as i64) - pair_cost;
        account.cash += cash;
        self.cash += cash;
        self.realized += cash - cost;
        self.inventory += cash - before;
    }

    /// Takes over the venue's count of our collateral; the difference is rounding's. Returns the difference.
    pub fn reconcile_cash(&mut self, venue: Usdc) -> Usdc {
        let difference = venue - self.cash;
        self.cash = venue;
        self.rounding += difference;
        difference
    }

    /// The equation above holds.
    pub fn balanced(&self) -> bool {
        self.equity() - self.start == self.spread + self.inventory - self.fees + self.rounding
    }

    /// True for a fill that is remembered.
    pub fn knows(&self, key: &(TradeKey, OrderHash)) -> bool {
        self.fills.contains_key(key)
    }

    /// Contradictions seen: each is a reason to stop and look.
    pub fn anomalies(&self) -> u64 {
        self.anomalies
    }

    /// Equity now minus at the start.
    pub fn equity_change(&self) -> Usdc {
        self.equity() - self.start
    }

    /// One market's account.
    pub fn account(&self, m: MarketIx) -> AccountView {
        let a = &self.accounts[m.ix()];
        let each = |f: fn(&Holding) -> Qty| [f(&a.holdings[0]), f(&a.holdings[1])];
        let position = each(|h| h.qty);
        let held = position[0].min(position[1]);
        let held_cost: Usdc = a.holdings.iter().map(|h| h.cost_of(held)).sum();
        let value: Usdc = a.holdings.iter().map(Holding::value).sum();
        AccountView {
            position,
            value,
            bought: each(|h| h.bought),
            sold: each(|h| h.sold),
            fills: [a.holdings[0].fills, a.holdings[1].fills],
            pairs: a.pairs + held,
            merged: a.merged,
            unpaired: a.unpaired + (position[0].max(position[1]) - held),
            pair_pnl: a.pair_pnl + Usdc(held.0 as i64) - held_cost,
            pnl: a.cash + value,
            fees: a.fees,
            payout: a.payout,
        }
    }

    /// Sums for the report.
    pub fn pnl(&self) -> super::report::Pnl {
        let open_cost: Usdc = self.accounts.iter().flat_map(|a| &a.holdings).map(Holding::cost).sum();
        let open_value: Usdc = self.accounts.iter().flat_map(|a| &a.holdings).map(Holding::value).sum();
        super::report::Pnl {
            equity_change: self.equity_change(),
            realized: self.realized,
            unrealized: open_value - open_cost,
            fees: self.fees,
            rounding: self.rounding,
            spread: self.spread,
            inventory: self.inventory,
            locked: (0..self.accounts.len() as u16).map(|m| self.account(MarketIx(m)).pair_pnl).sum(),
        }
    }

    /// Counts for the report.
    pub fn fills(&self) -> super::report::Fills {
        super::report::Fills {
            count: self.accounts.iter().flat_map(|a| &a.holdings).map(|h| h.fills).sum(),
            failed: self.failed,
            notional: self.notional,
            taker: self.taker_fills,
        }
    }

    /// Every account and fill, into the state hash.
    pub(super) fn digest(&self, h: &mut StateHasher) {
        for v in [self.start, self.cash, self.spread, self.inventory, self.fees, self.rounding, self.realized] {
            h.i64(v.0);
        }
        h.u64(self.failed);
        h.u64(self.anomalies);
        for a in &self.accounts {
            for v in [a.cash, a.fees, a.pair_pnl] {
                h.i64(v.0);
            }
            for v in [a.merged, a.merging, a.pairs, a.unpaired] {
                h.u64(v.0);
            }
            h.u64(a.merge_again.0);
            h.u64(a.moves << 1 | u64::from(a.unmarked));
            h.debug(&a.payout);
            for holding in &a.holdings {
                for v in [holding.qty, holding.settled, holding.bought, holding.sold] {
                    h.u64(v.0);
                }
                h.u64(u64::from(holding.mark));
                holding.lots.iter().for_each(|l| {
                    h.u64(l.qty.0);
                    h.i64(l.cost.0);
                });
            }
        }
        h.u64(self.fills_sum);
        h.u64(self.unsettled.len() as u64);
        self.endings.iter().for_each(|e| h.u64(*e as u64));
    }
}

#[cfg(test)]
mod tests;
