//! A second bookkeeper, who shares no arithmetic with the first, and a driver that tells both the same.

use polyloly_fast::{
    engine::position::{Booked, Income, Ledger, NewTrade},
    types::{
        InstrumentIx, MarketIx, Nanos, OrderHash, Price, Qty, Side, TradeKey, Usdc,
        event::{Payout, TradeStatus},
        fees::FeeSchedule,
        ids::Outcome,
        order::StrategyId,
    },
};
use proptest::prelude::*;

const M: MarketIx = MarketIx(0);
const M2: MarketIx = MarketIx(1);

pub const FEES: FeeSchedule = FeeSchedule { rate_ppm: 50_000 };
pub const START: i64 = 1_000_000_000;
pub const HOUR_NS: u64 = 3_600_000_000_000;

pub fn ledger() -> Ledger {
    let mut l = Ledger::new(2);
    l.open(Usdc(START));
    l
}

pub fn p(units: u16) -> Price {
    Price::from_units(units).expect("a price")
}

pub fn key(n: u64) -> (TradeKey, OrderHash) {
    (TradeKey(n.into()), OrderHash([n as u8; 32]))
}

/// A trade at one price, as the venue tells it: its cash rounded against us.
pub fn told(instrument: InstrumentIx, side: Side, qty: Qty, price: Price, taker: bool) -> NewTrade {
    let notional = match side {
        Side::Buy => qty.notional_ceil(price),
        Side::Sell => qty.notional_floor(price),
    };
    let curve = taker.then(|| price.curve(qty));
    let (status, strategy) = (TradeStatus::Matched, Some(StrategyId::Pair));
    NewTrade { instrument, side, qty, notional, curve, fees: FEES, status, strategy, limit: None }
}

/// The second bookkeeper. He keeps a list of what happened, strikes out what failed, and adds up from the beginning
/// each time he is asked, in wide integers.
#[derive(Clone, Debug, Default)]
pub struct Naive {
    pub trades: Vec<(NewTrade, bool)>,
    pub merged: [i128; 2],
    pub found: [i128; 4],
    pub payouts: [Option<Payout>; 2],
    pub other_cash: i128,
    pub marks: [u32; 2],
}

impl Naive {
    pub fn standing(&self) -> impl Iterator<Item = &NewTrade> {
        self.trades.iter().filter(|(_, failed)| !failed).map(|(t, _)| t)
    }

    pub fn fee(t: &NewTrade) -> i128 {
        // Half-even to 0.00001, by its own arithmetic.
        let Some(curve) = t.curve else { return 0 };
        let (exact, step) = (curve as i128 * 50_000, 1_000_000_000_000_000);
        let (whole, rest) = (exact / step, exact % step);
        10 * (whole + i128::from(2 * rest > step || 2 * rest == step && whole % 2 == 1))
    }

    /// Shares before any payout.
    pub fn shares(&self, i: usize) -> i128 {
        let of = |side| -> i128 {
            self.standing().filter(|t| t.instrument.ix() == i && t.side == side).map(|t| i128::from(t.qty.0)).sum()
        };
        of(Side::Buy) - of(Side::Sell) - self.merged[i / 2] + self.found[i]
    }

    pub fn held(&self, i: usize) -> i128 {
        if self.payouts[i / 2].is_some() { 0 } else { self.shares(i) }
    }

    pub fn paid(&self, i: usize) -> i128 {
        match (self.payouts[i / 2], i % 2) {
            (Some(Payout::Yes), 0) | (Some(Payout::No), 1) => self.shares(i),
            (Some(Payout::Half), _) => self.shares(i) / 2,
            _ => 0,
        }
    }

    pub fn fees(&self) -> i128 {
        self.standing().map(Self::fee).sum()
    }

    /// By sales, merges and payouts.
    pub fn proceeds(&self) -> i128 {
        let sold: i128 = self.standing().filter(|t| t.side == Side::Sell).map(|t| i128::from(t.notional.0)).sum();
        sold + self.merged.iter().sum::<i128>() + (0..4).map(|i| self.paid(i)).sum::<i128>()
    }

    pub fn spent(&self) -> i128 {
        self.standing().filter(|t| t.side == Side::Buy).map(|t| i128::from(t.notional.0)).sum()
    }

    pub fn cash(&self) -> i128 {
        i128::from(START) + self.proceeds() - self.spent() - self.fees() + self.other_cash
    }

    pub fn value(&self) -> i128 {
        (0..4)
            .map(|i| {
                let mark = if i % 2 == 0 { self.marks[i / 2] } else { 20_000 - self.marks[i / 2] };
                self.held(i) * i128::from(mark) / 20_000
            })
            .sum()
    }

    pub fn change(&self) -> i128 {
        self.cash() + self.value() - i128::from(START)
    }

    /// What the oldest shares had cost of which as many are gone as are gone.
    pub fn cost_of_gone(&self) -> i128 {
        (0..4)
            .map(|i| {
                let buys = || self.standing().filter(move |t| t.instrument.ix() == i && t.side == Side::Buy);
                let mut gone = buys().map(|t| i128::from(t.qty.0)).sum::<i128>() - self.held(i);
                let mut cost = 0;
                for t in buys() {
                    let (qty, paid) = (i128::from(t.qty.0), i128::from(t.notional.0));
                    let part = gone.min(qty);
                    cost += paid * part / qty;
                    gone -= part;
                }
                cost
            })
            .sum()
    }
}

/// Both bookkeepers, and what the driver has to remember to ask nothing impossible.
pub struct Pair {
    pub l: Ledger,
    pub naive: Naive,
    pub confirmed: Vec<bool>,
    pub now: u64,
    pub day: (u64, i128),
}

/// One step: what, where, how much, at what price, which.
pub type Step = (u8, u8, u64, u16, u8);

impl Pair {
    pub fn new() -> Self {
        let mut l = ledger();
        l.turn(Nanos(0));
        let naive = Naive { marks: [10_000; 2], ..Naive::default() };
        Self { l, naive, confirmed: Vec::new(), now: 0, day: (0, 0) }
    }

    pub fn step(&mut self, (kind, at, micro, units, n): Step, counted: bool) {
        let i = InstrumentIx(u16::from(at % 4));
        let (m, mut qty) = (i.market(), Qty(micro));
        let open = self.naive.payouts[m.ix()].is_none();
        let picked = (!self.confirmed.is_empty()).then(|| usize::from(n) % self.confirmed.len());
        match kind {
            0..=3 => {
                let side = if kind == 3 { Side::Sell } else { Side::Buy };
                if side == Side::Sell {
                    qty = qty.min(self.l.qty(i));
                }
                if qty.is_zero() {
                    return;
                }
                let strategy = [Some(StrategyId::Pair), Some(StrategyId::Manual), None][usize::from(n % 3)];
                let trade = NewTrade { strategy, ..told(i, side, qty, p(units), n % 2 == 0) };
                let known = self.confirmed.len() as u64;
                assert_eq!(self.l.trade(key(known), &trade, Nanos(self.now)), Booked::New);
                self.naive.trades.push((trade, false));
                self.confirmed.push(false);
            }
            4 => {
                self.l.mark(m, u32::from(units) * 2 - u32::from(n % 2));
                self.naive.marks[m.ix()] = u32::from(units) * 2 - u32::from(n % 2);
            }
            5 if open => {
                let pairs = self.l.qty(m.instrument(Outcome::Yes)).min(self.l.qty(m.instrument(Outcome::No)));
                let qty = if n % 2 == 0 { pairs } else { qty.min(pairs) };
                self.l.merge_asked(m, qty);
                self.l.merged(m, qty);
                self.naive.merged[m.ix()] += i128::from(qty.0);
            }
            // It failed, or it is told again.
            6 | 7 => {
                let Some(known) = picked.filter(|k| !self.confirmed[*k]) else { return };
                let (trade, failed) = &mut self.naive.trades[known];
                if !counted && trade.side == Side::Sell {
                    return;
                }
                let status = if kind == 6 { TradeStatus::Failed } else { TradeStatus::Matched };
                let booked = self.l.trade(key(known as u64), &NewTrade { status, ..*trade }, Nanos(self.now));
                match booked {
                    Booked::Voided => *failed = true,
                    // What it brought is sold, and nothing else is there that could have been sold.
                    Booked::Contradiction => assert_eq!(kind, 6),
                    other => assert_eq!(other, Booked::Known),
                }
            }
            8 => {
                let Some(known) = picked.filter(|k| !self.naive.trades[*k].1) else { return };
                let trade = NewTrade { status: TradeStatus::Confirmed, ..self.naive.trades[known].0 };
                assert_eq!(self.l.trade(key(known as u64), &trade, Nanos(self.now)), Booked::Known);
                self.confirmed[known] = true;
            }
            9 if counted && open => {
                let venue = if n % 2 == 0 { self.l.qty(i) + qty } else { self.l.qty(i).saturating_sub(qty) };
                self.naive.found[i.ix()] += i128::from(venue.0) - i128::from(self.l.qty(i).0);
                self.l.adopt_shares(i, venue);
            }
            10 => {
                let kind = if n % 2 == 0 { Income::Rebate } else { Income::Reward };
                self.l.book_income(kind, Usdc(i64::from(units)));
                self.naive.other_cash += i128::from(units);
            }
            11 => {
                let off = i64::from(n) - 128;
                assert_eq!(self.l.reconcile_cash(self.l.cash() + Usdc(off)), Usdc(off));
                self.naive.other_cash += i128::from(off);
            }
            12 => {
                self.now += u64::from(n % 40) * HOUR_NS;
                if self.now / (24 * HOUR_NS) > self.day.0 {
                    self.day = (self.now / (24 * HOUR_NS), self.naive.change());
                }
                self.l.turn(Nanos(self.now));
            }
            13 if n % 4 == 0 => {
                let payout = [Payout::Yes, Payout::No, Payout::Half][usize::from(at % 3)];
                if open {
                    self.l.resolve(m, payout);
                    self.naive.payouts[m.ix()] = Some(payout);
                }
            }
            _ => {}
        }
    }

    /// Both say the same, and every breakdown is the whole.
    pub fn check(&self) -> Result<(), TestCaseError> {
        let (l, naive) = (&self.l, &self.naive);
        prop_assert!(l.balanced());
        prop_assert_eq!(i128::from(l.cash().0), naive.cash());
        for i in 0..4 {
            prop_assert_eq!(i128::from(l.qty(InstrumentIx(i)).0), naive.held(usize::from(i)), "shares of {}", i);
        }
        let (pnl, change) = (l.pnl(), l.equity_change());
        prop_assert_eq!(i128::from(change.0), naive.change());
        prop_assert_eq!(i128::from(pnl.fees.0), naive.fees());
        let besides = pnl.rebates + pnl.rewards + pnl.rounding;
        let by_cause = pnl.realized + pnl.unrealized_mid - pnl.fees + besides;
        prop_assert_eq!(by_cause, change, "what is certain and what is not");
        prop_assert_eq!(pnl.realized_by.iter().copied().sum::<Usdc>(), pnl.realized);
        prop_assert_eq!(pnl.spread + pnl.inventory - pnl.fees + besides, change, "where it came from");
        let markets: Usdc = [M, M2].iter().map(|m| l.account(*m).pnl).sum();
        prop_assert_eq!(markets + l.account_line(), change, "by market");
        for m in [M, M2] {
            let (a, of): (_, Usdc) = (l.account(m), l.by_strategy(m).iter().map(|s| s.pnl()).sum());
            prop_assert_eq!(of + a.rounding, a.pnl, "a market by strategy");
        }
        prop_assert_eq!(l.strategies().iter().map(|s| s.pnl()).sum::<Usdc>() + besides, change, "by strategy");
        let (days, all) = (l.by_day(), l.totals());
        prop_assert_eq!(days.iter().map(|d| d.totals.equity_change).sum::<Usdc>(), change, "by day");
        prop_assert_eq!(days.iter().map(|d| d.totals.fees).sum::<Usdc>(), all.fees);
        prop_assert_eq!(
            days.iter().map(|d| d.totals.rebates + d.totals.rewards).sum::<Usdc>(),
            all.rebates + all.rewards
        );
        prop_assert_eq!(days.iter().map(|d| d.totals.rounding).sum::<Usdc>(), all.rounding);
        for cause in 0..3 {
            prop_assert_eq!(days.iter().map(|d| d.totals.realized[cause]).sum::<Usdc>(), all.realized[cause]);
        }
        let loss = (self.day.1 - naive.change()).max(0);
        prop_assert_eq!(i128::from(l.day_loss().0), loss, "the day's loss");
        Ok(())
    }
}
