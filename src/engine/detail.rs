//! What is held and what is open, one by one, for people to look at while the engine trades.

use super::{
    Engine,
    desk::Desk,
    report::{Detail, Holding, OpenOrder},
    strategy::Strategy,
};
use crate::types::ids::Outcome;

impl<S: Strategy> Engine<S> {
    /// Holdings and open orders. No allocation; some microseconds.
    pub fn detail(&self) -> Detail {
        self.desk.detail()
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
}
