//! Profit and loss in the summary: by market, by strategy, by UTC day and by cause, each adding up to the whole.

use serde_json::{Map, Value, json};

use super::{Summary, text};
use crate::{
    cold::{flow::STRATEGIES, logs::rfc3339},
    engine::{
        position::{CAUSES, Day, Markout},
        report::Strategy,
    },
    types::Usdc,
};

impl Summary {
    /// The summary's `pnl`.
    pub(super) fn pnl(&self) -> Value {
        let (f, r) = (&self.facts, &self.report);
        // What is no market's has a line of its own: the lines are the whole.
        let by_market: Map<String, Value> = r
            .markets
            .iter()
            .map(|m| (m.slug.clone(), text(m.pnl)))
            .chain([("account".to_owned(), text(r.account_line))])
            .collect();
        let placed = |n: usize| self.flow.placed[0][n] + self.flow.placed[1][n];
        let filled = |n: usize| self.flow.filled[0][n] + self.flow.filled[1][n];
        let none = text(r.pnl.rounding + r.pnl.rebates + r.pnl.rewards);
        let by_strategy: Map<String, Value> = r
            .strategies
            .iter()
            .map(|s| {
                let mut line = strategy(s);
                if let Some(n) = STRATEGIES.iter().position(|known| known.as_str() == s.name) {
                    (line["orders"], line["fills"]) = (placed(n).into(), filled(n).into());
                }
                (s.name.to_owned(), line)
            })
            .chain([("account".to_owned(), json!({ "pnl_usdc": none }))])
            .collect();
        let by_day: Map<String, Value> = r.days.iter().map(day).collect();
        json!({
            "realized_usdc": text(r.pnl.realized), "unrealized_usdc": text(r.pnl.unrealized),
            "unrealized_mid_usdc": text(r.pnl.unrealized_mid),
            "fees_usdc": text(r.pnl.fees), "rebates_usdc": text(r.pnl.rebates + r.pnl.rewards),
            "rounding_usdc": text(r.pnl.rounding), "locked_usdc": text(r.pnl.locked),
            "equity_change_usdc": text(r.pnl.equity_change),
            "venue_equity_change_usdc": f.venue_equity_change.map(text),
            "by_market": by_market, "by_strategy": by_strategy, "by_day": by_day,
            "by_cause": {
                "spread": text(r.pnl.spread), "inventory": text(r.pnl.inventory), "fees": text(-r.pnl.fees),
                "rebates": text(r.pnl.rebates), "rewards": text(r.pnl.rewards),
                "rounding": text(r.pnl.rounding),
                "realized": realized(r.pnl.realized_by), "markouts": markouts(&r.markouts),
            },
        })
    }
}

/// One strategy's line.
pub(super) fn strategy(s: &Strategy) -> Value {
    json!({
        "realized": realized(s.realized), "unrealized_mid_usdc": text(s.unrealized_mid), "fees_usdc": text(s.fees),
        "pnl_usdc": text(s.pnl),
    })
}

/// Booked gains by what booked them.
fn realized(by: [Usdc; CAUSES.len()]) -> Value {
    CAUSES.iter().zip(by).map(|(cause, gain)| ((*cause).to_owned(), text(gain))).collect::<Map<_, Value>>().into()
}

/// One UTC day, by its date; what was before the days that are kept is `before`.
fn day(of: &Day) -> (String, Value) {
    let t = &of.totals;
    let date = of.day.map(|day| rfc3339(u64::from(day) * 86_400_000_000_000));
    let line = json!({
        "realized": realized(t.realized), "fees_usdc": text(t.fees), "rebates_usdc": text(t.rebates + t.rewards),
        "rounding_usdc": text(t.rounding), "equity_change_usdc": text(t.equity_change),
    });
    (date.map_or("before".to_owned(), |date| date.chars().take_while(|c| *c != 'T').collect()), line)
}

/// How far the mid went against us after our fills, as maker and as taker.
fn markouts([maker, taker]: &[[Markout; 4]; 2]) -> Value {
    let lines = |of: &[Markout; 4]| {
        of.iter()
            .map(|m| {
                json!({
                    "horizon_ns": m.horizon_ns, "adverse_usdc": text(m.adverse), "shares": text(m.qty),
                    "fills": m.fills,
                })
            })
            .collect::<Vec<_>>()
    };
    json!({ "maker": lines(maker), "taker": lines(taker) })
}
