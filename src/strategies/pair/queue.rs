//! Where our quotes stand in the queue, and how fast the queue moves.
//!
//! The venue matches by price, then time. It never says where an order stands, so we count: what was there when we
//! came is ahead of us; trades at our price take from the front; what leaves without a trade leaves evenly.

use crate::{
    engine::{
        digest::StateHasher,
        orders::Order,
        strategy::{Print, View},
    },
    types::{
        InstrumentIx, MarketIx, Nanos, OrderHash, Price, Qty, Side,
        event::BookSide,
        ids::Outcome,
        order::{Intent, StrategyId},
    },
};

/// The leg that an order makes longer: buying YES and selling NO are the same, and so are their prices.
pub fn leg_of(instrument: InstrumentIx, side: Side) -> Outcome {
    match side {
        Side::Buy => instrument.outcome(),
        Side::Sell => instrument.outcome().other(),
    }
}

/// An order's price as a price for its leg.
pub fn leg_price(i: &Intent) -> Price {
    match i.side {
        Side::Buy => i.price,
        Side::Sell => i.price.complement(),
    }
}

/// A resting order and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    order: OrderHash,
    price: Price,
    /// Size of others before us, micro-shares.
    ahead: u64,
    /// Size of others at the price when last looked at, and our own size in the book then.
    level: u64,
    own: u64,
    /// Traded at the price and not seen in the book yet.
    printed: u64,
    /// The last decrease that no trade explained yet, and how much of it was taken off `ahead`.
    unexplained: u64,
    taken_off: u64,
}

/// What trades against one leg's bids, micro-shares within about one horizon.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    traded: u64,
    at: Nanos,
}

impl Flow {
    fn at(&self, now: Nanos, horizon_ns: u64) -> u64 {
        let gone = u128::from(self.traded) * u128::from(now.since(self.at)) / u128::from(horizon_ns.max(1));
        self.traded.saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX))
    }
}

/// Places and flows of every market, by leg.
#[derive(Debug)]
pub struct Queue {
    horizon_ns: u64,
    /// What is taken to trade within a horizon before anything has.
    prior: u64,
    places: Vec<[Option<Place>; 2]>,
    flows: Vec<[Flow; 2]>,
}

impl Queue {
    /// Nothing rests, nothing has traded.
    pub fn new(horizon_ms: u32, prior: Qty, markets: usize) -> Self {
        Self {
            horizon_ns: u64::from(horizon_ms) * 1_000_000,
            prior: prior.micro(),
            places: vec![[None; 2]; markets],
            flows: vec![[Flow::default(); 2]; markets],
        }
    }

    /// Somebody traded: a taker's sale takes from the bids of its token, a purchase from those of the other.
    pub fn traded(&mut self, now: Nanos, print: &Print) {
        let m = print.instrument.market().ix();
        // A taker lengthens one leg out of the bids of the other.
        let leg = leg_of(print.instrument, print.taker).other();
        let price = match print.taker {
            Side::Sell => print.price,
            Side::Buy => print.price.complement(),
        };
        let (Some(flows), Some(places)) = (self.flows.get_mut(m), self.places.get_mut(m)) else { return };
        let flow = &mut flows[leg as usize];
        flow.traded = flow.at(now, self.horizon_ns).saturating_add(print.qty.micro());
        flow.at = now;
        let Some(place) = places[leg as usize].as_mut().filter(|p| p.price == price) else { return };
        // The book may have shown it already, and it was taken for a withdrawal: the rest of it was ahead of us too.
        let seen = print.qty.micro().min(place.unexplained);
        let off = share(place.taken_off, seen, place.unexplained);
        place.ahead = place.ahead.saturating_sub(print.qty.micro().saturating_sub(off));
        place.unexplained -= seen;
        place.taken_off -= off;
        place.printed = place.printed.saturating_add(print.qty.micro() - seen);
    }

    /// Looks at the books after a change of a market whose books can be relied on.
    pub fn observe(&mut self, view: &View<'_>) {
        let Some(places) = self.places.get_mut(view.market.ix()) else { return };
        for leg in [Outcome::Yes, Outcome::No] {
            let place = &mut places[leg as usize];
            let resting = view.orders.working(view.market).find(|o| quotes(o, leg));
            let Some(order) = resting else {
                *place = None;
                continue;
            };
            let (instrument, price) = (view.market.instrument(leg), leg_price(&order.intent));
            let own = view.orders.own_at(instrument, BookSide::Bid, price).micro();
            let level = view.books[leg as usize].qty_at(BookSide::Bid, price).micro().saturating_sub(own);
            match place {
                Some(p) if p.order == order.hash => p.saw(level, own),
                _ => {
                    let ahead = level;
                    let order = order.hash;
                    *place = Some(Place { order, price, ahead, level, own, printed: 0, unexplained: 0, taken_off: 0 });
                }
            }
        }
    }

    /// Size of others that has to trade before a working order does: better prices, then those before us at its own.
    pub fn ahead_of(&self, view: &View<'_>, order: &Order) -> Qty {
        let (leg, price) = (leg_of(order.intent.instrument, order.intent.side), leg_price(&order.intent));
        let at_price = match self.places.get(view.market.ix()).and_then(|p| p[leg as usize]) {
            Some(p) if p.order == order.hash => Qty(p.ahead),
            _ => others_at(view, leg, price),
        };
        others_above(view, leg, price) + at_price
    }

    /// Size of others that has to trade before a new order at this price does.
    pub fn ahead_of_new(&self, view: &View<'_>, leg: Outcome, price: Price) -> Qty {
        others_above(view, leg, price) + others_at(view, leg, price)
    }

    /// How likely an order of this size with so much ahead of it is filled within a horizon, ppm: the part that the
    /// flow of one horizon is of all that stands before the order's end.
    pub fn fill_ppm(&self, market: MarketIx, leg: Outcome, ahead: Qty, qty: Qty, now: Nanos) -> i64 {
        let traded = self.flows.get(market.ix()).map_or(0, |f| f[leg as usize].at(now, self.horizon_ns));
        let flow = u128::from(traded.saturating_add(self.prior));
        let all = flow + u128::from(ahead.micro()) + u128::from(qty.micro());
        (flow * 1_000_000 / all.max(1)) as i64
    }

    /// All of it, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        for (places, flows) in self.places.iter().zip(&self.flows) {
            for place in places {
                let Some(p) = place else {
                    h.u64(u64::MAX);
                    continue;
                };
                h.bytes(&p.order.0);
                h.u64(u64::from(p.price.units()));
                [p.ahead, p.level, p.own, p.printed, p.unexplained, p.taken_off].into_iter().for_each(|n| h.u64(n));
            }
            for flow in flows {
                h.u64(flow.traded);
                h.u64(flow.at.0);
            }
        }
    }
}

impl Place {
    /// The book shows so much of others, and so much of ours, at the price.
    fn saw(&mut self, level: u64, own: u64) {
        let gone = self.level.saturating_sub(level);
        // While our own size comes into the book or leaves it, the two views of it differ for a moment: what seems to
        // be others' change is ours.
        if own == self.own {
            let traded = gone.min(self.printed);
            self.printed -= traded;
            let cancelled = gone - traded;
            if cancelled > 0 {
                let off = share(self.ahead, cancelled, self.level - traded);
                self.ahead = self.ahead.saturating_sub(off);
                (self.unexplained, self.taken_off) = (cancelled, off);
            }
            // What has no room in the level is not there.
            self.ahead = self.ahead.min(level);
        }
        (self.level, self.own) = (level, own);
    }
}

/// `part` of `whole`, of `n`.
fn share(n: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (u128::from(n) * u128::from(part.min(whole)) / u128::from(whole)) as u64 }
}

/// True for our resting quote of a leg.
pub fn quotes(order: &Order, leg: Outcome) -> bool {
    let i = &order.intent;
    i.strategy == StrategyId::Pair && !i.tif.is_immediate() && leg_of(i.instrument, i.side) == leg
}

/// Others' bids of a leg at one price.
fn others_at(view: &View<'_>, leg: Outcome, price: Price) -> Qty {
    let own = view.orders.own_at(view.market.instrument(leg), BookSide::Bid, price);
    view.books[leg as usize].qty_at(BookSide::Bid, price).saturating_sub(own)
}

/// Others' bids of a leg at better prices.
fn others_above(view: &View<'_>, leg: Outcome, price: Price) -> Qty {
    let better = view.books[leg as usize].levels(BookSide::Bid).take_while(|l| l.price > price);
    better.fold(Qty::ZERO, |sum, l| {
        let own = view.orders.own_at(view.market.instrument(leg), BookSide::Bid, l.price);
        sum + l.qty.saturating_sub(own)
    })
}
