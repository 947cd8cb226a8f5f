//! One market's book: the resting orders of both tokens, held as bids and asks for the first.
//!
//! Buying NO at p is selling YES at 1 − p, so one ladder serves both tokens and the mirror identity holds by
//! construction. Within a level the oldest order is first.
//! Source: docs/PROTOCOL.md "order types" (match kinds, price-time priority).

use std::collections::{BTreeMap, VecDeque};

use crate::types::{OrderHash, Price, Qty, Side, event::BookSide, ids::Outcome};

/// The side of the YES ladder where an order of this kind stands.
pub const fn ladder_side(outcome: Outcome, side: Side) -> BookSide {
    match (outcome, side) {
        (Outcome::Yes, Side::Buy) | (Outcome::No, Side::Sell) => BookSide::Bid,
        (Outcome::Yes, Side::Sell) | (Outcome::No, Side::Buy) => BookSide::Ask,
    }
}

/// A token's price on the YES ladder, and back: the map is its own inverse.
pub const fn ladder_price(outcome: Outcome, price: Price) -> Price {
    match outcome {
        Outcome::Yes => price,
        Outcome::No => price.complement(),
    }
}

/// What rests at one price.
#[derive(Clone, Debug, Default)]
struct Level {
    total: Qty,
    queue: VecDeque<OrderHash>,
}

/// The ladder. Prices are those of the first token.
#[derive(Clone, Debug, Default)]
pub struct Book {
    bids: BTreeMap<Price, Level>,
    asks: BTreeMap<Price, Level>,
}

/// One level as a token sees it.
pub type Shown = (Price, Qty);

impl Book {
    fn side(&self, side: BookSide) -> &BTreeMap<Price, Level> {
        match side {
            BookSide::Bid => &self.bids,
            BookSide::Ask => &self.asks,
        }
    }

    fn side_mut(&mut self, side: BookSide) -> &mut BTreeMap<Price, Level> {
        match side {
            BookSide::Bid => &mut self.bids,
            BookSide::Ask => &mut self.asks,
        }
    }

    /// Puts an order at the end of its level's queue.
    pub fn add(&mut self, side: BookSide, price: Price, id: OrderHash, qty: Qty) {
        let level = self.side_mut(side).entry(price).or_default();
        level.total += qty;
        level.queue.push_back(id);
    }

    /// Takes `qty` off a level; with `gone`, that order leaves the queue too.
    pub fn reduce(&mut self, side: BookSide, price: Price, qty: Qty, gone: Option<OrderHash>) {
        let levels = self.side_mut(side);
        let Some(level) = levels.get_mut(&price) else { return };
        level.total = level.total.saturating_sub(qty);
        if let Some(id) = gone {
            level.queue.retain(|q| *q != id);
        }
        if level.queue.is_empty() {
            levels.remove(&price);
        }
    }

    /// The oldest order at the best price of a side.
    pub fn front(&self, side: BookSide) -> Option<(Price, OrderHash)> {
        let (price, level) = match side {
            BookSide::Bid => self.bids.last_key_value()?,
            BookSide::Ask => self.asks.first_key_value()?,
        };
        level.queue.front().map(|id| (*price, *id))
    }

    /// Best price of a side and the size there.
    pub fn best(&self, side: BookSide) -> Option<Shown> {
        let (price, level) = match side {
            BookSide::Bid => self.bids.last_key_value()?,
            BookSide::Ask => self.asks.first_key_value()?,
        };
        Some((*price, level.total))
    }

    /// Size resting at one price of a side.
    pub fn total(&self, side: BookSide, price: Price) -> Qty {
        self.side(side).get(&price).map_or(Qty::ZERO, |l| l.total)
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: BookSide) -> Box<dyn Iterator<Item = Shown> + '_> {
        let shown = |(price, level): (&Price, &Level)| (*price, level.total);
        match side {
            BookSide::Bid => Box::new(self.bids.iter().rev().map(shown)),
            BookSide::Ask => Box::new(self.asks.iter().map(shown)),
        }
    }

    /// The levels of one token's own side, best first, at that token's prices.
    pub fn levels_of(&self, outcome: Outcome, side: BookSide) -> impl Iterator<Item = Shown> + '_ {
        let ladder = match outcome {
            Outcome::Yes => side,
            Outcome::No => side.other(),
        };
        self.levels(ladder).map(move |(p, q)| (ladder_price(outcome, p), q))
    }

    /// Best price of one token's own side and the size there.
    pub fn best_of(&self, outcome: Outcome, side: BookSide) -> Option<Shown> {
        self.levels_of(outcome, side).next()
    }

    /// Every resting order.
    pub fn orders(&self) -> impl Iterator<Item = OrderHash> + '_ {
        self.bids.values().chain(self.asks.values()).flat_map(|l| l.queue.iter().copied())
    }
}
