//! What the accounts say: sums for the reports, the equations that hold at every event, the state hash.

use super::{
    CAUSES, Day, Ledger, Markout, OWNERS, Totals,
    holding::{Holding, value},
};
use crate::{
    engine::{digest::StateHasher, report},
    types::{MarketIx, Qty, Usdc, event::Payout, ids::Outcome, order::StrategyId},
};

/// What one market's account says, for reports.
#[derive(Clone, Copy, Debug)]
pub struct AccountView {
    /// Shares held.
    pub position: [Qty; 2],
    /// What they are worth at the mark.
    pub value: Usdc,
    /// What they had cost.
    pub cost: Usdc,
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
    /// Whole profit, holdings at their mark, fees paid, shares that the venue counts otherwise included.
    pub pnl: Usdc,
    /// Fees paid.
    pub fees: Usdc,
    /// Shares that the venue counted otherwise.
    pub rounding: Usdc,
    /// What it paid.
    pub payout: Option<Payout>,
}

/// What one strategy's part of the accounts says, in one market or over all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StrategyView {
    /// Which; `None` for shares of earlier runs.
    pub strategy: Option<StrategyId>,
    /// By [`CAUSES`].
    pub realized: [Usdc; 3],
    /// Of what it holds, at the mark.
    pub unrealized: Usdc,
    /// Paid as taker.
    pub fees: Usdc,
}

impl StrategyView {
    /// Its whole profit: realised and unrealised, fees paid.
    pub fn pnl(&self) -> Usdc {
        self.realized.iter().copied().sum::<Usdc>() + self.unrealized - self.fees
    }
}

impl Ledger {
    /// What it takes to complete what is unpaired in a market, at the mark: the other token for each share.
    #[inline]
    pub fn completion_cost(&self, m: MarketIx) -> Usdc {
        let net = self.net(m);
        let lagging = if net > 0 { Outcome::No } else { Outcome::Yes };
        value(Qty(net.unsigned_abs()), self.holding(m.instrument(lagging)).mark)
    }

    fn held(&self) -> impl Iterator<Item = &Holding> {
        self.accounts.iter().flat_map(|a| &a.holdings)
    }

    /// Cash plus every holding at its mark.
    pub fn equity(&self) -> Usdc {
        self.cash + self.held().map(Holding::value).sum()
    }

    /// Equity now minus at the start.
    pub fn equity_change(&self) -> Usdc {
        self.equity() - self.start
    }

    /// What this UTC day has lost, holdings at their mark; zero if it gained.
    pub fn day_loss(&self) -> Usdc {
        (-self.today().equity_change).max(Usdc::ZERO)
    }

    /// What this UTC day has changed.
    pub fn today(&self) -> Totals {
        self.days.today(&self.totals())
    }

    /// Every day's part, oldest first, the first being what was before the days that are kept. Together they are
    /// [`totals`](Self::totals).
    pub fn by_day(&self) -> heapless::Vec<Day, { super::DAYS + 1 }> {
        self.days.lines(&self.totals())
    }

    /// The sums since the start.
    pub fn totals(&self) -> Totals {
        Totals {
            realized: self.realized,
            fees: self.fees,
            rebates: self.rebates,
            rewards: self.rewards,
            rounding: self.rounding,
            equity_change: self.equity_change(),
        }
    }

    /// What is nobody's and no market's: collateral that the venue counts otherwise, and what it paid besides.
    pub fn account_line(&self) -> Usdc {
        let of_markets: Usdc = self.accounts.iter().map(|a| a.rounding).sum();
        self.rounding - of_markets + self.rebates + self.rewards
    }

    /// Where the mid went after each fill of this run: as maker, as taker.
    pub fn markouts(&self) -> [[Markout; 4]; 2] {
        self.markouts.read()
    }

    /// The equations of this module hold.
    pub fn balanced(&self) -> bool {
        let (mut value, mut cost, mut markets) = (Usdc::ZERO, Usdc::ZERO, Usdc::ZERO);
        let (mut realized, mut fees) = ([Usdc::ZERO; CAUSES.len()], Usdc::ZERO);
        for a in &self.accounts {
            let worth = a.holdings[0].value() + a.holdings[1].value();
            value += worth;
            cost += a.holdings[0].cost() + a.holdings[1].cost();
            markets += a.cash + worth + a.rounding;
            for owner in &a.owners {
                fees += owner.fees;
                realized.iter_mut().zip(owner.realized).for_each(|(sum, part)| *sum += part);
            }
        }
        let change = self.cash + value - self.start;
        let besides = self.rebates + self.rewards + self.rounding - self.fees;
        change == self.spread + self.inventory + besides
            && change == self.realized.iter().copied().sum::<Usdc>() + value - cost + besides
            && change == markets + self.account_line()
            && (realized, fees) == (self.realized, self.fees)
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
            cost: a.holdings.iter().map(Holding::cost).sum(),
            bought: each(|h| h.bought),
            sold: each(|h| h.sold),
            fills: [a.holdings[0].fills, a.holdings[1].fills],
            pairs: a.pairs + held,
            merged: a.merged,
            unpaired: a.unpaired + (position[0].max(position[1]) - held),
            pair_pnl: a.pair_pnl + Usdc(held.0 as i64) - held_cost,
            pnl: a.cash + value + a.rounding,
            fees: a.fees,
            rounding: a.rounding,
            payout: a.payout,
        }
    }

    /// One market's account by strategy, the last for shares of earlier runs. Together they are the market's profit
    /// without its rounding.
    pub fn by_strategy(&self, m: MarketIx) -> [StrategyView; OWNERS] {
        let a = &self.accounts[m.ix()];
        let values = a.holdings.each_ref().map(Holding::values);
        std::array::from_fn(|n| {
            let cost: Usdc = a.holdings.iter().map(|h| h.cost_by(n as super::Owner)).sum();
            StrategyView {
                strategy: StrategyId::ALL.get(n).copied(),
                realized: a.owners[n].realized,
                unrealized: values[0][n] + values[1][n] - cost,
                fees: a.owners[n].fees,
            }
        })
    }

    /// The same over all markets. Together with `rounding` and what the venue paid besides they are the whole change of
    /// equity.
    pub fn strategies(&self) -> [StrategyView; OWNERS] {
        let mut all: [StrategyView; OWNERS] =
            std::array::from_fn(|n| StrategyView { strategy: StrategyId::ALL.get(n).copied(), ..Default::default() });
        for m in 0..self.accounts.len() as u16 {
            for (sum, part) in all.iter_mut().zip(self.by_strategy(MarketIx(m))) {
                sum.realized.iter_mut().zip(part.realized).for_each(|(sum, part)| *sum += part);
                sum.unrealized += part.unrealized;
                sum.fees += part.fees;
            }
        }
        all
    }

    /// Sums for the report. What only the books tell, the liquidation, is the caller's to fill in: until then it is the
    /// mark's.
    pub fn pnl(&self) -> report::Pnl {
        let cost: Usdc = self.held().map(Holding::cost).sum();
        let value: Usdc = self.held().map(Holding::value).sum();
        report::Pnl {
            equity_change: self.equity_change(),
            day_change: self.today().equity_change,
            realized: self.realized.iter().copied().sum(),
            realized_by: self.realized,
            unrealized: value - cost,
            unrealized_mid: value - cost,
            fees: self.fees,
            rebates: self.rebates,
            rewards: self.rewards,
            rounding: self.rounding,
            spread: self.spread,
            inventory: self.inventory,
            locked: (0..self.accounts.len() as u16).map(|m| self.account(MarketIx(m)).pair_pnl).sum(),
        }
    }

    /// What everything held had cost.
    pub fn cost(&self) -> Usdc {
        self.held().map(Holding::cost).sum()
    }

    /// Counts for the report.
    pub fn fills(&self) -> report::Fills {
        report::Fills {
            count: self.held().map(|h| h.fills).sum(),
            failed: self.failed,
            notional: self.notional,
            taker: self.taker_fills,
        }
    }

    /// Every account and fill, into the state hash. Markouts are not in it: nothing is decided by them.
    pub(in crate::engine) fn digest(&self, h: &mut StateHasher) {
        for v in [self.start, self.cash, self.spread, self.inventory, self.fees, self.rounding] {
            h.i64(v.0);
        }
        for v in self.realized.into_iter().chain([self.rebates, self.rewards]) {
            h.i64(v.0);
        }
        h.u64(self.failed);
        h.u64(self.anomalies);
        h.u64(u64::from(self.fills_n));
        for begun in self.days.begun() {
            h.debug(begun);
        }
        for a in &self.accounts {
            for v in [a.cash, a.fees, a.pair_pnl, a.rounding] {
                h.i64(v.0);
            }
            for v in [a.merged, a.merging, a.pairs, a.unpaired] {
                h.u64(v.0);
            }
            h.u64(a.merge_again.0);
            h.u64(a.moves << 2 | u64::from(a.marked) << 1 | u64::from(a.unmarked));
            h.debug(&a.payout);
            for owner in &a.owners {
                owner.realized.into_iter().chain([owner.fees]).for_each(|v| h.i64(v.0));
            }
            for holding in &a.holdings {
                for v in [holding.qty, holding.settled, holding.selling, holding.bought, holding.sold, holding.redeemed]
                {
                    h.u64(v.0);
                }
                h.u64(u64::from(holding.mark));
                holding.lots().for_each(|l| {
                    h.u64(u64::from(l.fill) << 8 | u64::from(l.owner));
                    h.u64(l.qty.0);
                    h.i64(l.cost.0);
                });
            }
        }
        h.u64(self.drawn.len() as u64);
        h.u64(self.fills_sum);
        h.u64(self.unsettled.len() as u64);
        self.endings.iter().for_each(|e| h.u64(*e as u64));
    }
}
