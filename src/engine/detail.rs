//! What is held and what is open, one by one, for people to look at while the engine trades.

use super::{
    Engine, Report,
    desk::Desk,
    position::{self, StrategyView},
    report::{self, Detail, Holding, OpenOrder},
    strategy::Strategy,
};
use crate::types::{
    MarketIx, Usdc,
    event::{KillReason, Payout, RejectReason},
    ids::Outcome,
    order::StrategyId,
};

impl<S: Strategy> Engine<S> {
    /// Holdings and open orders. No allocation; some microseconds.
    pub fn detail(&self) -> Detail {
        let mut detail = self.desk.detail();
        for (m, held) in (0..).map(MarketIx).zip(&mut detail.markets) {
            held.standing = self.strategy.standing(m);
        }
        detail
    }
}

impl Desk {
    fn detail(&self) -> Detail {
        let mut detail = Detail { cash: self.ledger.cash(), ..Detail::default() };
        for m in self.universe.indices() {
            let both = [Outcome::Yes, Outcome::No].map(|o| m.instrument(o));
            // There is room: the universe has no more markets than fit.
            let _ = detail.markets.push(Holding {
                state: self.trading_state(m),
                position: both.map(|i| self.ledger.qty(i)),
                settled: both.map(|i| self.ledger.settled(i)),
                open: self.orders.working(m).count() as u64,
                standing: None,
            });
        }
        for o in self.orders.all_working() {
            let line = OpenOrder {
                order: o.hash,
                instrument: o.intent.instrument,
                side: o.intent.side,
                price: o.intent.price,
                qty: o.intent.qty,
                filled: o.filled,
                state: o.state,
            };
            detail.orders_more += u64::from(detail.orders.push(line).is_err());
        }
        detail
    }

    /// The few numbers that change all the time. No allocation.
    pub(super) fn brief(&self) -> report::Brief {
        report::Brief {
            admitting: self.risk.closed().is_none(),
            gate: self.risk.gate(),
            orders: report::Orders {
                unresolved: self.orders.unresolved() as u64,
                open: self.orders.open() as u64,
                ..self.counts
            },
            fills: self.ledger.fills(),
            pnl: report::Pnl { unrealized: self.liquidation() - self.ledger.cost(), ..self.ledger.pnl() },
            books: report::Books {
                messages: self.messages,
                resyncs: self.resyncs,
                untrusted_ns: self
                    .instruments
                    .iter()
                    .map(|i| i.untrusted_ns + i.untrusted_since.map_or(0, |s| self.now.since(s)))
                    .sum(),
            },
            reconciliation: report::Reconciliation {
                readings: self.reconciliation.readings(),
                mismatches: self.reconciliation.mismatches(),
                impossible: self.orders.impossible(),
                stuck_trades: self.stuck as u64,
                breaker_trips: self.risk.trips(),
            },
            exposure: self.exposures(),
            timing: self.watch.timing(),
            kill_switch: self.risk.killed().map(KillReason::as_str),
        }
    }

    /// What everything held would bring now. A market that is halted or over may have no book to sell into.
    fn liquidation(&self) -> Usdc {
        let of = |m: MarketIx| {
            let both = [Outcome::Yes, Outcome::No].map(|o| m.instrument(o));
            let books = both.map(|i| &self.instruments[i.ix()].book);
            let [yes, no] = both.map(|i| self.ledger.qty(i));
            position::liquidation(yes, no, books, self.universe.market(m).fee).total()
        };
        self.universe.indices().map(of).sum()
    }

    /// The worst loss that is possible now: of everything, and of the worst match.
    fn exposures(&self) -> [Usdc; 2] {
        let worst = self.universe.indices().map(|m| self.exposure.of_market(m)).max().unwrap_or_default();
        [self.exposure.total(), worst.max(Usdc::ZERO)]
    }

    /// What happened so far, for people and for `--summary`. Allocates; never called on the hot path.
    pub(super) fn report(&self) -> Report {
        let report::Brief { orders, fills, pnl, books, reconciliation, kill_switch, .. } = self.brief();
        Report {
            started_with: self.ledger.started_with(),
            orders,
            fills,
            pnl,
            account_line: self.ledger.account_line(),
            strategies: self.ledger.strategies().iter().map(strategy).collect(),
            days: self.ledger.by_day().into_iter().collect(),
            markouts: self.ledger.markouts(),
            markets: self.universe.indices().map(|m| self.report_market(m)).collect(),
            books,
            reconciliation,
            rejections: self.risk.refusals(),
            rejected_by: RejectReason::ALL
                .iter()
                .map(|r| (r.as_str(), self.rejected[*r as usize]))
                .filter(|(_, n)| *n > 0)
                .collect(),
            kill_switch,
            remarks: Vec::new(),
        }
    }

    fn report_market(&self, m: MarketIx) -> report::Market {
        let a = self.ledger.account(m);
        report::Market {
            slug: self.universe.market(m).slug.clone(),
            position: a.position,
            value: a.value,
            bought: a.bought,
            sold: a.sold,
            fills: a.fills,
            pairs: a.pairs,
            merged: a.merged,
            unpaired: a.unpaired,
            pair_pnl: a.pair_pnl,
            unpaired_pnl: a.pnl - a.rounding - a.pair_pnl + a.fees,
            fees: a.fees,
            rounding: a.rounding,
            pnl: a.pnl,
            by_strategy: self
                .ledger
                .by_strategy(m)
                .iter()
                .filter(|s| StrategyView { strategy: None, ..**s } != StrategyView::default())
                .map(strategy)
                .collect(),
            payout: a.payout.map(|p| match p {
                Payout::Yes => "yes",
                Payout::No => "no",
                Payout::Half => "half",
            }),
        }
    }
}

fn strategy(view: &StrategyView) -> report::Strategy {
    report::Strategy {
        name: view.strategy.map_or("recovered", StrategyId::as_str),
        realized: view.realized,
        unrealized_mid: view.unrealized,
        fees: view.fees,
        pnl: view.pnl(),
    }
}
