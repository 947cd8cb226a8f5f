//! Step 4 of 9: the legs of a basket on its way: what became of their orders, and what is best done when they are not
//! level.
//!
//! What a leg holds follows from its trades alone, each as it is told of: a fill adds, one that failed takes back,
//! whether the basket is on its way or over. The order says only whether more can come.

use super::{
    Linked, finder, flight,
    flight::{Act, Choice, Facts, Leg, Sent, Stage},
    leg_intent,
    params::BasketsParams,
    price,
    records::{Change, Ordered},
    seen::Reason,
};
use crate::{
    engine::{
        orders::{Order, Orders},
        refusal::Refusal,
        strategy::{NewFill, Together, Trust, View, Wish, Wishes},
    },
    types::{
        InstrumentIx, MarketIx, Nanos, OrderHash, Price, Qty, Side, Usdc,
        event::BookSide,
        fees::Rounding,
        ids::Outcome,
        order::{Intent, Purpose},
    },
};

impl Leg {
    /// A leg before its first order.
    pub const fn new(instrument: InstrumentIx, token: u8) -> Self {
        Self { instrument, token, held: Qty::ZERO, paid: Usdc::ZERO, order: None }
    }

    /// Forgets its order once that has ended.
    fn poll(&mut self, orders: &Orders) {
        let ended = |sent: &Sent| orders.get(&sent.hash).is_none_or(|o| o.state.is_terminal());
        self.order = self.order.filter(|sent| !ended(sent));
    }
}

impl Linked {
    /// A trade of one of its orders came, or failed: the flight that it was of has so much more, or less. One that is
    /// over and is not level any more is flown again, as often as a flight may be tried.
    pub(super) fn told(&mut self, view: &View<'_>, fill: &NewFill, void: bool, params: &BasketsParams) {
        let Some(order) = self.records.order(&fill.order) else { return };
        let change = Change::of(&order, fill, void, view.spec_of(fill.instrument.market()).fee);
        let current = order.flight == self.flight.n;
        let flight = if current { Some(&mut self.flight) } else { self.records.flight(order.flight) };
        let Some(flight) = flight else { return };
        // A bid is a basket once something of it is filled.
        if !core::mem::replace(&mut flight.sent, true) {
            self.tally.sent += 1;
            let hoped = if current { self.hoped } else { (i64::MIN, Usdc::ZERO) };
            self.seen.taken(flight.candidate, hoped.0, hoped.1, view.now);
        }
        if current {
            return flight.change(&change);
        }
        self.tally.take_back(flight);
        flight.change(&change);
        flight.due = !flight.level() && flight.flown < params.tries;
        self.tally.count(flight);
    }

    /// Takes up a basket that was over, and is not level because of what its trades came to, if none is on its way.
    pub(super) fn fly_again(&mut self, view: &View<'_>) {
        if self.flight.active() || view.now < self.flight.again {
            return;
        }
        let Some(mut flight) = self.records.again() else { return };
        self.tally.take_back(&mut flight);
        let flown = flight.flown + 1;
        self.flight = flight::Flight { stage: Stage::Partial, tries: 0, since: view.now, flown, due: false, ..flight };
    }

    /// Follows the basket that is on its way: goes through the table until it stands.
    pub(super) fn fly(&mut self, view: &View<'_>, params: &BasketsParams, out: &mut Wishes) {
        self.flight.legs.iter_mut().for_each(|leg| leg.poll(view.orders));
        // Each pass ends, or goes to a stage that the table does not come back from in the same moment.
        for _ in Stage::ALL {
            let wait = if self.flight.stage == Stage::Clearing { params.pause_ms } else { params.give_up_ms };
            let mut facts = Facts {
                open: self.flight.open(),
                level: self.flight.level(),
                choice: Choice::Wait,
                try_left: self.flight.tries < params.tries,
                late: view.now.since(self.flight.since) >= u64::from(wait) * 1_000_000,
            };
            let mut intents = Together::NONE;
            let from = self.flight.stage;
            if matches!(from, Stage::Partial | Stage::Quoting) && !facts.level && facts.try_left {
                (facts.choice, intents) = choose(view, &self.flight, params);
            }
            let (stage, act) = flight::next(from, &facts);
            if act != Act::Nothing {
                if out.push(Wish::Together(intents)).is_err() {
                    return;
                }
                self.flight.tries += 1;
                self.flight.since = view.now;
                self.flight.again = after(view.now, params);
            }
            let moved = stage != from;
            self.flight.stage = stage;
            if moved && from == Stage::Quoting && stage != Stage::Idle {
                self.flight.since = view.now;
            }
            if moved && from == Stage::Quoting && stage == Stage::Idle && self.flight.sent {
                // It was filled, and those trades failed.
                self.tally.count(&mut self.flight);
            }
            if moved && stage == Stage::Done {
                self.tally.count(&mut self.flight);
            }
            if moved && stage == Stage::Idle {
                let over = core::mem::take(&mut self.flight);
                if from == Stage::Quoting {
                    // The next bid waits. A basket that can be taken does not.
                    self.quote_again = after(view.now, params);
                    self.pending = u16::MAX;
                } else {
                    self.flight.again = after(view.now, params);
                }
                // One that only waited for quotes to be pulled sent nothing.
                if over.n > 0 {
                    self.records.over(over);
                }
            }
            if !moved || act != Act::Nothing {
                return;
            }
        }
    }

    /// Risk's answer to one leg.
    pub(super) fn answered(&mut self, intent: &Intent, verdict: Result<OrderHash, Refusal>, params: &BasketsParams) {
        let flight = &mut self.flight;
        let first = flight.legs.first().is_some_and(|l| l.instrument == intent.instrument);
        match verdict {
            Ok(hash) => {
                if let Some(leg) = flight.legs.iter_mut().find(|l| l.instrument == intent.instrument) {
                    leg.order = Some(Sent { hash, side: intent.side, price: intent.price });
                }
                self.records.sent(Ordered {
                    hash,
                    flight: flight.n,
                    instrument: intent.instrument,
                    side: intent.side,
                    price: intent.price,
                    rests: intent.post_only,
                });
                if flight.stage == Stage::Quoting {
                    self.tally.quoted += 1;
                    self.seen.quoted(flight.candidate, flight.since);
                }
                if flight.stage == Stage::Sent && first {
                    flight.sent = true;
                    self.tally.sent += 1;
                    self.seen.taken(flight.candidate, self.hoped.0, self.hoped.1, flight.since);
                }
            }
            // None of them left: another time. A try of a basket that is on its way is used up.
            Err(_) if matches!(flight.stage, Stage::Sent | Stage::Quoting) => {
                let (candidate, now) = (flight.candidate, flight.since);
                self.flight = flight::Flight { again: after(now, params), candidate, since: now, ..Default::default() };
                self.seen.not_taken(candidate, Reason::Refused, self.hoped.0, self.hoped.1, now);
            }
            Err(_) => {}
        }
    }
}

fn after(now: Nanos, params: &BasketsParams) -> Nanos {
    now.plus(u64::from(params.pause_ms) * 1_000_000)
}

/// True if legs may be traded in a market.
pub(super) fn open(view: &View<'_>, m: MarketIx) -> bool {
    !view.closed_at(m) && view.state_of(m).allows(Purpose::Leg)
}

/// Orders of ours that an order would meet, on either token: buying one at p meets our bid for the other at 1 − p.
pub(super) fn in_the_way<'a>(
    view: &View<'a>,
    i: InstrumentIx,
    side: Side,
    price: Price,
) -> impl Iterator<Item = &'a Order> + use<'a> {
    let as_yes = |i: InstrumentIx, side: Side, price: Price| match i.outcome() {
        Outcome::Yes => (side, price),
        Outcome::No => (side.other(), price.complement()),
    };
    let (side, price) = as_yes(i, side, price);
    view.orders.working(i.market()).filter(move |o| {
        let (own_side, own_price) = as_yes(o.intent.instrument, o.intent.side, o.intent.price);
        match (side, own_side) {
            (Side::Buy, Side::Sell) => price >= own_price,
            (Side::Sell, Side::Buy) => price <= own_price,
            _ => false,
        }
    })
}

/// What is best done about legs that are not level, and the orders for it. Completing that still pays comes first; then
/// completing at a loss that is bounded and less than that of going back; then going back.
fn choose(view: &View<'_>, flight: &flight::Flight, params: &BasketsParams) -> (Choice, Together) {
    let (least, longest) = flight.range();
    // Shares that came beyond what was wanted, of an order that was taken for gone, are no reason to buy more.
    let most = longest.min(flight.wanted);
    let missing = |l: &Leg| most.saturating_sub(l.held);
    let excess = |l: &Leg| l.held.saturating_sub(least);
    let tradable = |l: &Leg| {
        let min = view.spec_of(l.instrument.market()).min_size;
        missing(l) >= min || excess(l) >= min
    };
    if !flight.legs.iter().any(tradable) {
        return (Choice::Hold, Together::NONE);
    }
    let ready = |l: &Leg| {
        let m = l.instrument.market();
        view.trust_of(m) == Trust::Good && open(view, m)
    };
    if view.now < flight.again || !flight.legs.iter().all(ready) || (view.budget as usize) < finder::LEGS_MAX {
        return (Choice::Wait, Together::NONE);
    }
    let buys = trade(view, flight, Side::Buy, missing);
    let sells = trade(view, flight, Side::Sell, excess);
    let paid = flight.paid();
    let back = paid - sells.cash - flight::pays(flight.worst, least);
    // Whoever owns what stands in the way pulls it: these markets are claimed.
    if buys.blocked {
        return (Choice::Wait, Together::NONE);
    }
    if let Some(orders) = buys.orders {
        let loss = paid - buys.cash - flight::pays(flight.worst, most);
        let allowed = Usdc((u128::from(most.micro()) * u128::from(params.max_loss_ppm) / 1_000_000) as i64);
        if loss <= Usdc::ZERO || loss <= allowed && loss < back {
            return (Choice::Complete, orders);
        }
    }
    match sells.orders {
        Some(orders) => (Choice::Unwind, orders),
        None => (Choice::Wait, Together::NONE),
    }
}

/// Orders that would level the legs, and what all of it would bring; what cannot be traded brings nothing.
struct Trade {
    orders: Option<Together>,
    cash: Usdc,
    /// Orders of ours are in the way.
    blocked: bool,
}

fn trade(view: &View<'_>, flight: &flight::Flight, side: Side, wanted: impl Fn(&Leg) -> Qty) -> Trade {
    let (mut orders, mut cash, mut blocked) = (Some(Together::NONE), Usdc::ZERO, false);
    for leg in flight.legs.iter().filter(|l| wanted(l) > Qty::DUST) {
        let i = leg.instrument;
        let spec = view.spec_of(i.market());
        let from = if side == Side::Buy { BookSide::Ask } else { BookSide::Bid };
        let Some(level) = view.best_of_others_at(i, from) else {
            orders = None;
            continue;
        };
        let whole = wanted(leg);
        let fee = spec.fee.taker_fee(whole, level.price, Rounding::Up);
        let (there, takes) = match side {
            Side::Buy => {
                cash = cash - whole.notional_ceil(level.price) - fee;
                let qty = whole.min(level.qty).floor_to_cents();
                (qty, price::marketable(spec, level.price, qty))
            }
            Side::Sell => {
                cash = cash + whole.notional_floor(level.price) - fee;
                // Whatever is under way is taken for this leg's: what settled before may be another basket's.
                let under_way = view.ledger.qty(i).saturating_sub(view.ledger.settled(i));
                let ours = leg.held.saturating_sub(under_way);
                let qty = whole.min(level.qty).min(ours).floor_to_cents();
                (qty, qty >= spec.min_size)
            }
        };
        let clear = in_the_way(view, i, side, level.price).next().is_none();
        blocked |= !clear;
        match &mut orders {
            Some(list) if takes && clear => *list = list.and(leg_intent(view, i, side, level.price, there)),
            _ => orders = None,
        }
    }
    Trade { orders: orders.filter(|list| *list != Together::NONE), cash, blocked }
}
