//! Step 4 of 9: one leg of a basket as a bid that rests, where the basket cannot be taken whole.
//!
//! A maker pays no fee, is not held, and may stand below the ask. So a basket that is too dear to take may pay if one
//! leg is bid for and the others are taken when the bid is filled. At most one such bid rests in a match, on the leg
//! where it beats the best bid of others or else leaves most; it is as large as what the others offer, and never dearer
//! than leaves `quote_edge_ppm` in the worst outcome after everything. It is pulled with the very event after which the
//! others' offers carry it no more, and when a basket can be taken instead. What is filled goes through the same table
//! as any basket whose legs are not level.
//!
//! Pairs have the right of way. A pair's quote earns by itself, fill by fill, while this bid earns only if offers in
//! other books are still there when it is filled: so it stays off a token that any other order of ours already makes
//! longer, and where one would stand in its own or in the others' way. Once it rests it claims the market that it
//! stands in, so that no pair's quote doubles it; the other legs' markets are claimed when something is filled.

use super::{
    Linked,
    finder::{Basket, LEGS_MAX},
    flight::{Flight, Leg, Stage},
    legs,
    params::BasketsParams,
    price::{self, Offer},
};
use crate::{
    engine::{
        orders::Order,
        strategy::{Together, Trust, View, Wish, Wishes},
    },
    strategies::baskets::{Priced, offers, seen::Reason},
    types::{
        InstrumentIx, Price, Qty, Side, TimeInForce, Usdc,
        event::BookSide,
        order::{Intent, Purpose, StrategyId},
    },
};

/// A bid lives so long at the venue, should nobody pull it; it is renewed at half of that.
const TTL_S: u64 = 600;
/// The venue stops an order so long before its expiry. Source: docs/PROTOCOL.md "order types".
const STOPPED_BEFORE_S: u64 = 60;
/// Millionths in one.
const PPM: i32 = 1_000_000;

/// A bid that could rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bid {
    /// Which leg: its number in the match.
    token: u8,
    instrument: InstrumentIx,
    price: Price,
    qty: Qty,
    /// It is better than the best of others.
    improves: bool,
    /// What is left in the worst outcome if it is filled and the others are bought as they are offered.
    edge: Usdc,
}

impl Bid {
    /// What is filled first earns first; of two alike the one that leaves more.
    pub fn beats(&self, other: &Self) -> bool {
        (self.improves, self.edge) > (other.improves, other.edge)
    }
}

impl Linked {
    /// True if one leg bought at the best bid might leave enough: by the screen's numbers, in a few additions.
    #[inline]
    pub(super) fn may_quote(&self, basket: &Priced, edge_ppm: i32, params: &BasketsParams) -> bool {
        // What a leg costs less at the best bid, which is the other token's offer seen from the other side.
        let saved = |token: u8| match (self.tops.get(usize::from(token)), self.tops.get(usize::from(token ^ 1))) {
            (Some(top), Some(twin)) if token != self.finder.none() && !top.qty.is_zero() && !twin.qty.is_zero() => {
                top.all_in_ppm + twin.price_ppm - PPM
            }
            _ => 0,
        };
        let most = basket.tokens.into_iter().map(saved).fold(0, i32::max);
        edge_ppm + most >= params.quote_edge_ppm as i32
    }

    /// The best bid for a leg of a basket, with everything that decides whether it may rest looked at anew.
    pub(super) fn bid(&self, view: &View<'_>, basket: &Basket, params: &BasketsParams) -> Result<Bid, Reason> {
        let Some(offers) = offers(view, &self.finder, basket) else { return Err(Reason::Size) };
        if !offers.iter().all(|l| view.trust_of(l.instrument.market()) == Trust::Good) {
            return Err(Reason::Untrusted);
        }
        if !offers.iter().all(|l| legs::open(view, l.instrument.market())) {
            return Err(Reason::Closed);
        }
        let early = view.now < self.flight.again || view.now < self.quote_again;
        if self.flight.active() || early || (view.budget as usize) < offers.len() {
            return Err(Reason::Busy);
        }
        let (mut best, mut why) = (None, Reason::MinEdge);
        for leg in &offers {
            match bid_on(view, basket, &offers, leg, params) {
                Ok(bid) if best.is_none_or(|other| bid.beats(&other)) => best = Some(bid),
                Ok(_) | Err(Reason::MinEdge) => {}
                Err(other) => why = other,
            }
        }
        best.ok_or(why)
    }

    /// Has a bid rest.
    pub(super) fn rest(&mut self, view: &View<'_>, candidate: u16, bid: &Bid, out: &mut Wishes) {
        let Some(basket) = self.finder.baskets().iter().find(|b| b.candidate == candidate) else { return };
        let intent = Intent {
            instrument: bid.instrument,
            side: Side::Buy,
            price: bid.price,
            qty: bid.qty,
            tif: TimeInForce::Gtd { expires_s: view.now.secs() + STOPPED_BEFORE_S + TTL_S },
            post_only: true,
            strategy: StrategyId::Baskets,
            purpose: Purpose::Leg,
            epoch: view.next_epoch(bid.instrument.market(), StrategyId::Baskets),
        };
        if out.push(Wish::Together(Together::NONE.and(intent))).is_err() {
            return;
        }
        let mut legs: heapless::Vec<Leg, LEGS_MAX> = heapless::Vec::new();
        let of = |token: u8| self.finder.token(token).map(|i| Leg::new(i, token));
        let others = basket.tokens.into_iter().filter(|t| *t != bid.token);
        legs.extend([bid.token].into_iter().chain(others).filter_map(of));
        self.hoped = (price::per_share(bid.edge, bid.qty), bid.edge);
        self.flights += 1;
        self.flight = Flight {
            n: self.flights,
            stage: Stage::Quoting,
            candidate,
            worst: basket.worst,
            wanted: bid.qty,
            legs,
            since: view.now,
            ..Flight::default()
        };
    }

    /// Looks at the bid that rests: pulls it if it should not, if what it was for is on its way already, or if a basket
    /// that was over is to be made level first.
    pub(super) fn tend(&self, view: &View<'_>, params: &BasketsParams, out: &mut Wishes) {
        if let Some(order) = self.resting(view)
            && !(self.flight.stage == Stage::Quoting && !self.records.due() && self.stays(view, params, order))
        {
            self.pull(view, out);
        }
    }

    /// Has the bid that rests pulled, if there is one. While it cannot be it is asked for again with each event.
    pub(super) fn pull(&self, view: &View<'_>, out: &mut Wishes) {
        if let Some(order) = self.resting(view).filter(|o| o.cancellable(view.now)) {
            let wish = Wish::Cancel(order.hash);
            if !out.contains(&wish) {
                // There is room: the list holds one order and this.
                let _ = out.push(wish);
            }
        }
    }

    fn resting<'a>(&self, view: &View<'a>) -> Option<&'a Order> {
        let sent = self.flight.legs.first()?.order?;
        view.orders.get(&sent.hash).filter(|o| o.intent.post_only)
    }

    /// True if the bid may stay as it is.
    fn stays(&self, view: &View<'_>, params: &BasketsParams, order: &Order) -> bool {
        let flight = &self.flight;
        let holds = |b: &&Basket| b.candidate == flight.candidate && b.worst >= flight.worst;
        let Some(basket) = self.finder.baskets().iter().find(holds) else { return false };
        let Some(offers) = offers(view, &self.finder, basket) else { return false };
        let Some(leg) = offers.iter().find(|l| l.instrument == order.intent.instrument) else { return false };
        let trust = |wanted: Trust| offers.iter().any(|l| view.trust_of(l.instrument.market()) == wanted);
        let age = view.now.since(order.created);
        if trust(Trust::Bad)
            || !offers.iter().all(|l| legs::open(view, l.instrument.market()))
            || age >= TTL_S * 500_000_000
        {
            return false;
        }
        // Filled in part, and too little of it to buy the others for: these have to be there for all of it.
        let qty = order.leaves() + flight.range().1;
        let fits = carried(&offers, leg, qty)
            && qty.notional_ceil(order.intent.price) <= left_for(basket, &offers, leg, qty, params)
            && !others_blocked(view, &offers, leg);
        if !fits || trust(Trust::Settling) || age < u64::from(params.pause_ms) * 1_000_000 {
            return fits;
        }
        // No haste: another price would be better, or there is no good one any more.
        bid_on(view, basket, &offers, leg, params).is_ok_and(|bid| bid.price == order.intent.price)
    }
}

/// The others of a basket.
fn others<'a, 'b>(offers: &'b [Offer<'a>], leg: &Offer<'a>) -> impl Iterator<Item = &'b Offer<'a>> + Clone {
    let token = leg.token;
    offers.iter().filter(move |l| l.token != token)
}

/// True if so much of the others is offered, and the venue takes an order for it.
fn carried(offers: &[Offer<'_>], leg: &Offer<'_>, qty: Qty) -> bool {
    others(offers, leg).all(|l| l.qty >= qty && price::marketable(l.spec, l.price, qty))
}

/// What so many shares of a leg may cost, at most.
fn left_for(basket: &Basket, offers: &[Offer<'_>], leg: &Offer<'_>, qty: Qty, params: &BasketsParams) -> Usdc {
    price::left_for_one(basket, others(offers, leg), qty, params) - price::up(i64::from(params.quote_edge_ppm), qty)
}

/// True if an order of ours would be met by buying the others.
fn others_blocked(view: &View<'_>, offers: &[Offer<'_>], leg: &Offer<'_>) -> bool {
    others(offers, leg).any(|l| legs::in_the_way(view, l.instrument, Side::Buy, l.price).next().is_some())
}

/// True if an order of another strategy makes a token longer already.
fn doubled(view: &View<'_>, i: InstrumentIx) -> bool {
    view.orders.working(i.market()).any(|o| {
        let longer = (o.intent.instrument == i) == (o.intent.side == Side::Buy);
        longer && o.intent.strategy != StrategyId::Baskets
    })
}

/// The bid for one leg: the highest that leaves enough, at most a tick over the best of others, below the ask.
fn bid_on(
    view: &View<'_>,
    basket: &Basket,
    offers: &[Offer<'_>],
    leg: &Offer<'_>,
    params: &BasketsParams,
) -> Result<Bid, Reason> {
    let i = leg.instrument;
    let qty = price::size(others(offers, leg).map(|l| l.qty), params);
    if qty < leg.spec.min_size || !carried(offers, leg, qty) {
        return Err(Reason::Size);
    }
    // Without a bid of others there is nothing that says what it is worth.
    let best = view.best_of_others_at(i, BookSide::Bid).ok_or(Reason::Size)?.price;
    let tick = view.book(i).tick();
    let left = i128::from(left_for(basket, offers, leg, qty, params).micro());
    let most = (left * i128::from(Price::UNITS)).div_euclid(i128::from(qty.micro()));
    let highest = i32::from(leg.price.units()).min(i32::from(best.units()) + 2 * i32::from(tick.units()));
    let units = (highest - i32::from(tick.units())).min(i32::try_from(most).unwrap_or(i32::MAX));
    let price = Price::floor_to(units, tick).filter(|p| *p >= best).ok_or(Reason::MinEdge)?;
    let own = legs::in_the_way(view, i, Side::Buy, price).next().is_some();
    if own || doubled(view, i) || others_blocked(view, offers, leg) {
        return Err(Reason::OwnQuote);
    }
    let edge = price::left_for_one(basket, others(offers, leg), qty, params) - qty.notional_ceil(price);
    Ok(Bid { token: leg.token, instrument: i, price, qty, improves: price > best, edge })
}
