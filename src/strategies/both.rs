//! Step 4 of 9: pairs and baskets side by side.
//!
//! What a basket holds is no part of a pair, and a market that a basket is under way in is left to it meanwhile: the
//! pair strategy pulls its quotes there and places none.

use super::{Baskets, Pair};
use crate::{
    engine::{
        digest::StateHasher,
        refusal::Refusal,
        strategy::{NewFill, Print, Standing, Strategy, View, Wishes},
    },
    types::{MarketIx, Nanos, OrderHash, Universe, order::Intent},
};

/// Every strategy that this build has.
#[derive(Debug)]
pub struct Both {
    /// Pair arbitrage as a maker.
    pub pair: Pair,
    /// Baskets over the linked books of one match.
    pub baskets: Baskets,
}

impl Both {
    /// What the pair strategy is to see of a market.
    fn of_pair<'a>(&self, view: &View<'a>) -> View<'a> {
        let closed = view.closed || self.baskets.claims(view.market);
        let mut own = *view;
        (own.apart, own.closed) = (self.baskets.apart(view), closed);
        own
    }
}

impl Strategy for Both {
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes) {
        self.baskets.decide(view, out);
        self.pair.decide(&self.of_pair(view), out);
    }

    fn filled(&mut self, view: &View<'_>, fill: &NewFill) {
        self.baskets.filled(view, fill);
        if !self.baskets.owns(view, fill) {
            self.pair.filled(&self.of_pair(view), fill);
        }
    }

    fn failed(&mut self, view: &View<'_>, fill: &NewFill) {
        self.baskets.failed(view, fill);
    }

    fn traded(&mut self, now: Nanos, print: &Print) {
        self.pair.traded(now, print);
    }

    fn standing(&self, market: MarketIx) -> Option<Standing> {
        self.pair.standing(market)
    }

    fn answered(&mut self, intent: &Intent, verdict: Result<OrderHash, Refusal>) {
        self.baskets.answered(intent, verdict);
    }

    fn remarks(&self, universe: &Universe) -> Vec<String> {
        [self.pair.remarks(universe), self.baskets.remarks(universe)].concat()
    }

    fn digest(&self, h: &mut StateHasher) {
        self.pair.digest(h);
        self.baskets.digest(h);
    }
}
