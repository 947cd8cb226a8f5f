//! Step 4 of 9: a fixed quote at the touch: the baseline that a strategy has to beat.
//!
//! It bids for the same number of shares of both tokens at the best bid of others, always: no fair price, no skew, no
//! feed, no opinion about extremes. What it earns is what the touch pays for standing there.

use crate::{
    engine::{
        digest::StateHasher,
        strategy::{NewFill, Strategy, Trust, View, Wish, Wishes},
    },
    types::{
        InstrumentIx, Price, Qty, Side, TimeInForce,
        event::BookSide,
        ids::Outcome,
        order::{Intent, Purpose, StrategyId},
    },
};

/// A quote is left alone for so long: our own orders come and go in the market channel a moment later than in the
/// answers, and a quoter that believed every message in between would chase itself.
const REST_NS: u64 = 250_000_000;

/// The baseline. It remembers nothing.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// Size of a quote.
    pub size: Qty,
    /// Complete sets are merged from here on.
    pub merge: Qty,
}

impl Touch {
    /// Where its bid for a token is to stand: at the best bid of others, if that does not meet their ask.
    fn price(view: &View<'_>, instrument: InstrumentIx) -> Option<Price> {
        let bid = view.best_of_others(instrument, BookSide::Bid)?.price;
        let meets = view.best_of_others(instrument, BookSide::Ask).is_some_and(|ask| ask.price <= bid);
        (!meets).then_some(bid)
    }
}

impl Strategy for Touch {
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes) {
        if view.trust == Trust::Settling {
            return;
        }
        let quoting = view.trust == Trust::Good && !view.closed;
        let mut placed = 0;
        for outcome in [Outcome::Yes, Outcome::No] {
            let instrument = view.market.instrument(outcome);
            let want = if quoting { Self::price(view, instrument) } else { None };
            let mut working = false;
            for order in view.orders.working(view.market).filter(|o| o.intent.instrument == instrument) {
                working = true;
                let good = want == Some(order.intent.price) && order.leaves().micro() * 2 >= self.size.micro();
                let rested = !quoting || view.now.since(order.created) >= REST_NS;
                if !good && rested && order.cancellable(view.now) {
                    // A full list is no loss: the rest is wished for at the next event.
                    let _ = out.push(Wish::Cancel(order.hash));
                }
            }
            if let (Some(price), false, true) = (want, working, view.budget > placed) {
                let _ = out.push(Wish::Place(Intent {
                    instrument,
                    side: Side::Buy,
                    price,
                    qty: self.size,
                    tif: TimeInForce::Gtc,
                    post_only: true,
                    // A rule without parameters of its own, as a hand would follow it.
                    strategy: StrategyId::Manual,
                    purpose: Purpose::Quote,
                    epoch: view.epochs[StrategyId::Manual as usize] + placed,
                }));
                placed += 1;
            }
        }
        let [yes, no] = [Outcome::Yes, Outcome::No].map(|o| view.ledger.settled(view.market.instrument(o)));
        let pairs = yes.min(no);
        if pairs >= self.merge && view.ledger.may_merge(view.market, view.now) {
            let _ = out.push(Wish::Merge(pairs));
        }
    }

    fn filled(&mut self, _: &View<'_>, _: &NewFill) {}

    fn digest(&self, _: &mut StateHasher) {}
}
