//! Step 4 of 9: pair arbitrage as a maker.
//!
//! A market is one mirrored book: buying NO at 1 − p is selling YES at p, so a pair cannot be *taken* for less than 1.
//! It can be *made*: bids on both tokens around a fair price, one filled now, the other later, together below 1. What
//! is between the two fills is inventory, and inventory is the whole risk. So:
//!
//! - the reservation price leans against the net position d = q_yes − q_no: `r = fair − γ·d·σ²·T`. For a binary
//!   payoff that is a martingale, the variance still to come is exactly p·(1−p), so σ²·T needs no estimate;
//! - bids stand at floor(r − δ) on YES and floor(1 − r − δ) on NO, δ being what fills of that side lost within thirty
//!   seconds, as measured, and a tick (`markout`);
//! - a bid on NO is an offer of YES: which of the two is sent depends on collateral and confirmed shares;
//! - the longer leg is made shorter in the way that costs least, waiting included (`legs`);
//! - a good place in the queue is not given up for less than it is worth (`queue`);
//! - it is flat when the book cannot be trusted, outside live play, before the book is cleared, and at the extremes;
//! - where its own fills say that it loses, it says so and stays off for a while (`standing`);
//! - where the venue pays makers, it measures how long its quotes qualified, and does nothing else for it (`rewards`).
//!
//! Prices here are in millionths (ppm of a pUSD), integers throughout. A *leg* is what an order makes longer: the YES
//! leg is lengthened by buying YES or by selling NO.

pub mod legs;
pub mod markout;
mod params;
pub mod queue;
pub mod rewards;
pub mod standing;
#[cfg(test)]
mod tests;
pub mod volatility;

pub use params::PairParams;

use self::{
    legs::{Choice, Legs, Maker},
    markout::{Filled, Markouts},
    queue::{Queue, leg_of, leg_price, quotes},
    rewards::Presence,
    standing::{Post, Rule},
    volatility::Volatility,
};
use crate::{
    engine::{
        digest::StateHasher,
        orders::Order,
        sizing::scaled,
        strategy::{NewFill, Play, Print, Standing, Strategy, Trust, View, Wish, Wishes},
    },
    types::{
        MarketIx, Nanos, Price, Qty, Side, TimeInForce, Universe, Usdc,
        event::{BookSide, MatchPhase},
        fees::Rounding,
        ids::Outcome,
        market::MarketKind,
        order::{Intent, Purpose, StrategyId},
    },
};

const PPM: i64 = 1_000_000;
const PPM_PER_UNIT: i64 = 100;
/// A venue refuses a marketable buy below this notional. Source: docs/PROTOCOL.md "prices and ticks".
const MARKETABLE_MIN: Usdc = Usdc::dollars(1);
const LEGS: [Outcome; 2] = [Outcome::Yes, Outcome::No];

/// What is remembered about a market, besides statistics and places.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    taken_at: Nanos,
    volatility: Volatility,
    post: Post,
    presence: Presence,
}

/// The strategy.
#[derive(Debug)]
pub struct Pair {
    params: PairParams,
    memory: Vec<Memory>,
    markouts: Markouts,
    queue: Queue,
}

/// How much is wanted of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stance {
    /// Two-sided quotes of this size.
    Both(Qty),
    /// Only what shortens the longer leg.
    Reduce,
}

/// A quote that is wanted, as a bid of its leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quote {
    price: Price,
    qty: Qty,
    /// It shortens the longer leg.
    completes: bool,
}

/// What a decision rests on: the fair price, and the reservation price for what is held.
#[derive(Clone, Copy, Debug)]
struct Prices {
    fair_ppm: i64,
    reservation_ppm: i64,
}

impl Prices {
    /// As prices of one leg: fair, reservation.
    fn of(&self, leg: Outcome) -> [i64; 2] {
        let both = [self.fair_ppm, self.reservation_ppm];
        if leg == Outcome::Yes { both } else { both.map(|p| PPM - p) }
    }
}

impl Pair {
    /// The strategy before its first event.
    pub fn new(params: PairParams, markets: usize) -> Self {
        let prior_ppm = i64::from(params.adverse_units) * PPM_PER_UNIT;
        // Until somebody traded, half a quote is taken to trade within a markout time.
        let flow = Qty(Qty::shares(u64::from(params.quote_shares)).micro() / 2);
        Self {
            memory: vec![Memory::default(); markets],
            markouts: Markouts::new(prior_ppm, params.markout_ms, markets),
            queue: Queue::new(params.markout_ms, flow, markets),
            params,
        }
    }

    /// Fair price of the first outcome: the book's own, weighted by size, without our orders in it.
    fn fair_ppm(view: &View<'_>) -> Option<i64> {
        let yes = view.market.instrument(Outcome::Yes);
        let bid = view.best_of_others(yes, BookSide::Bid)?;
        let ask = view.best_of_others(yes, BookSide::Ask)?;
        if bid.price >= ask.price {
            return None;
        }
        let (bid_qty, ask_qty) = (i128::from(bid.qty.micro()), i128::from(ask.qty.micro()));
        // Heavy bids push the fair price towards the ask.
        let weighted = i128::from(bid.price.units()) * ask_qty + i128::from(ask.price.units()) * bid_qty;
        Some((weighted * i128::from(PPM_PER_UNIT) / (bid_qty + ask_qty)) as i64)
    }

    /// What carrying `net` micro-shares is worth as a shift of the price, ppm: γ·d·p·(1−p), signed as `net`.
    fn shift_ppm(&self, net: i64, fair_ppm: i64) -> i64 {
        let clip = i128::from(self.params.quote_shares) * 1_000_000;
        let variance = i128::from(fair_ppm) * i128::from(PPM - fair_ppm) * 4;
        let at_half = i128::from(self.params.skew_units) * i128::from(PPM_PER_UNIT) * i128::from(net) / clip;
        (at_half * variance / (i128::from(PPM) * i128::from(PPM))) as i64
    }

    fn clip(&self) -> Qty {
        Qty::shares(u64::from(self.params.quote_shares))
    }

    /// True while quoting makes sense for this market's part of the match.
    fn live(view: &View<'_>) -> bool {
        let game = match view.play {
            Play::NoFeed => return true,
            Play::Unknown => return false,
            Play::Known(game) => game,
        };
        game.phase == MatchPhase::Running
            && match view.spec.kind {
                MarketKind::Map(n) => game.map == n,
                _ => true,
            }
    }

    /// How much is wanted of the market now, while it is open and live.
    fn stance(&self, view: &View<'_>, fair_ppm: i64) -> Stance {
        // What is filled shortly before the book is cleared has no other side to be completed with for a while.
        let wind_down_ns = u64::from(self.params.wind_down_ms) * 1_000_000;
        let clears = view.game_start.filter(|_| view.spec.clear_on_start);
        let ends = clears.is_some_and(|at| view.now < at && view.now.plus(wind_down_ns) >= at);
        let extreme = i64::from(self.params.extreme_units) * PPM_PER_UNIT;
        let stance = match self.memory[view.market.ix()].post.standing() {
            _ if ends || !(extreme..=PPM - extreme).contains(&fair_ppm) => Stance::Reduce,
            Standing::Off { .. } => Stance::Reduce,
            Standing::Probing => Stance::Both(view.spec.min_size.min(self.clip())),
            Standing::Quoting => Stance::Both(self.clip()),
        };
        // Risk leaves new quotes less of their size when prices move fast, after losses, and at certain hours.
        match stance {
            Stance::Both(clip) if scaled(clip, view.size_ppm) < view.spec.min_size => Stance::Reduce,
            Stance::Both(clip) => Stance::Both(scaled(clip, view.size_ppm)),
            Stance::Reduce => Stance::Reduce,
        }
    }

    /// The bid wanted on one leg.
    fn quote(&self, view: &View<'_>, leg: Outcome, prices: &Prices, stance: Stance) -> Option<Quote> {
        let instrument = view.market.instrument(leg);
        let tick = view.books[leg as usize].tick();
        let excess = excess(view, leg);
        let lagging = whole(Qty((-excess).max(0) as u64), view.spec.min_size);
        let qty = match (stance, lagging) {
            (Stance::Both(clip), Some(lagging)) => lagging.max(clip).min(Qty(self.clip().micro() * 3)),
            (Stance::Both(clip), None) => clip,
            (Stance::Reduce, Some(lagging)) => lagging,
            (Stance::Reduce, None) => return None,
        };
        // What rests already is in the place of this one.
        let qty = qty.min(self.room(view, leg, |o| quotes(o, leg))).floor_to_cents();
        if qty < view.spec.min_size {
            return None;
        }
        let [_, reservation] = prices.of(leg);
        let tick_ppm = i64::from(tick.units()) * PPM_PER_UNIT;
        let delta = self.markouts.adverse_ppm(view.market, leg) + tick_ppm;
        let best_bid = view.best_of_others(instrument, BookSide::Bid)?.price;
        let best_ask = view.best_of_others(instrument, BookSide::Ask)?.price;
        let wanted = (reservation - delta).div_euclid(PPM_PER_UNIT) as i32;
        // Never over the others by more than a tick, never through the ask.
        let step = i32::from(tick.units());
        let cap = (i32::from(best_bid.units()) + step).min(i32::from(best_ask.units()) - step);
        let price = Price::floor_to(wanted.min(cap), tick)?;
        Some(Quote { price, qty, completes: lagging.is_some() })
    }

    /// How much longer one leg may become, all that works on it counted but what `but` names.
    fn room(&self, view: &View<'_>, leg: Outcome, but: impl Fn(&Order) -> bool) -> Qty {
        let working = view.orders.working(view.market);
        let same = working.filter(|o| leg_of(o.intent.instrument, o.intent.side) == leg && !but(o));
        let open = same.fold(Qty::ZERO, |sum, o| sum + o.leaves()).micro() as i64;
        let max = Qty::shares(u64::from(self.params.max_net_shares)).micro() as i64;
        Qty(max.saturating_sub(excess(view, leg)).saturating_sub(open).max(0) as u64)
    }

    /// Brings the working quotes of one leg to what is wanted.
    fn work(&self, view: &View<'_>, leg: Outcome, prices: Option<&Prices>, want: Option<Quote>, out: &mut Wishes) {
        let mut working = false;
        for order in view.orders.working(view.market).filter(|o| quotes(o, leg)) {
            working = true;
            let asked = out.contains(&Wish::Cancel(order.hash));
            if !asked && order.cancellable(view.now) && !self.keep(view, leg, order, prices, want) {
                // A full list is no loss: the rest is wished for at the next event.
                let _ = out.push(Wish::Cancel(order.hash));
            }
        }
        if let (false, true, Some(quote)) = (working, view.budget > 0, want)
            && wished_of(out, leg).is_zero()
            && !crosses(view, leg, quote.price, out)
            && let Some(intent) = self.as_order(view, leg, quote, out)
        {
            let _ = out.push(Wish::Place(intent));
        }
    }

    /// A quote as an order: bought with collateral, or, where that is short, sold out of confirmed shares.
    fn as_order(&self, view: &View<'_>, leg: Outcome, quote: Quote, out: &Wishes) -> Option<Intent> {
        let free = free(view) - wished(out);
        let mut qty = quote.qty;
        let held = sellable(view, leg.other()).min(qty).floor_to_cents();
        let sell = (self.short(free) || free < qty.notional_ceil(quote.price)) && held >= view.spec.min_size;
        if sell {
            qty = held;
        } else if free < qty.notional_ceil(quote.price) {
            // As much as there is collateral for.
            let affordable = free.max(Usdc::ZERO).micro() as u64 * 10_000 / u64::from(quote.price.units().max(1));
            qty = Qty(affordable).floor_to_cents();
        }
        if qty < view.spec.min_size {
            return None;
        }
        let (outcome, side, price) =
            if sell { (leg.other(), Side::Sell, quote.price.complement()) } else { (leg, Side::Buy, quote.price) };
        let purpose = match (quote.completes, sell) {
            (true, false) => Purpose::Complete,
            (true, true) => Purpose::Unwind,
            (false, _) => Purpose::Quote,
        };
        Some(Intent {
            instrument: view.market.instrument(outcome),
            side,
            price,
            qty,
            tif: TimeInForce::Gtd { expires_s: view.now.secs() + 60 + u64::from(self.params.ttl_s) },
            post_only: true,
            strategy: StrategyId::Pair,
            purpose,
            epoch: next_epoch(view, out),
        })
    }

    /// True while collateral is short: a two-sided quote would not fit any more.
    fn short(&self, free: Usdc) -> bool {
        free < self.clip().notional_ceil(Price::ONE)
    }

    /// True if a working quote may stay.
    fn keep(&self, view: &View<'_>, leg: Outcome, order: &Order, prices: Option<&Prices>, want: Option<Quote>) -> bool {
        let (Some(want), Some(prices)) = (want_like(want, order), prices) else { return false };
        let age = view.now.since(order.created);
        if age > u64::from(self.params.ttl_s) * 500_000_000 {
            return false;
        }
        let fits = order.leaves() <= self.room(view, leg, |o| o.hash == order.hash);
        let enough = order.leaves().micro() * 2 >= want.qty.micro() && order.leaves() <= want.qty + want.qty;
        if !fits || !enough {
            return false;
        }
        let price = leg_price(&order.intent);
        if price == want.price {
            return true;
        }
        // A price nearer than it should be is not worth a moment, whatever its place: what is held leans on it too.
        let [_, reservation] = prices.of(leg);
        let tick_ppm = i64::from(view.books[leg as usize].tick().units()) * PPM_PER_UNIT;
        let edge = reservation - ppm(price) - self.markouts.adverse_ppm(view.market, leg);
        // Half a tick of doubt, and a moment's rest: the fair price trembles with every size at the touch.
        let young = age < u64::from(self.params.rest_ms) * 1_000_000;
        if edge < if young { 0 } else { tick_ppm / 2 } {
            return false;
        }
        if young {
            return true;
        }
        // Its place in the queue, against the other price and a place at that price's end.
        let ahead = [self.queue.ahead_of(view, order), self.queue.ahead_of_new(view, leg, want.price)];
        let worth = |price: Price, qty: Qty, ahead: Qty| {
            let Some(best) = view.best_of_others(view.market.instrument(leg), BookSide::Bid) else { return 0 };
            // Before a bid below the best is reached, the price has come down to it.
            let behind = (ppm(best.price) - ppm(price)).max(0);
            let fills = self.queue.fill_ppm(view.market, leg, ahead, qty, view.now);
            i128::from(fills) * i128::from(reservation - ppm(price) - behind)
        };
        worth(price, order.leaves(), ahead[0]) >= worth(want.price, want.qty, ahead[1])
    }

    /// What to do about the longer leg, and the order that does it, if that is a taker's.
    fn controller(&mut self, view: &View<'_>, prices: &Prices, making: Option<Quote>, out: &mut Wishes) {
        let Some((legs, order)) = self.legs(view, prices, making, out) else { return };
        if !matches!(legs.choose(), Choice::Complete | Choice::Unwind) {
            return;
        }
        let (leading, lagging) = leading_lagging(view);
        let unwind = legs.choose() == Choice::Unwind;
        if unwind && sellable(view, leading) < order.qty {
            // They are offered as maker: that offer is taken back first.
            for o in view.orders.working(view.market).filter(|o| quotes(o, lagging) && o.cancellable(view.now)) {
                let _ = out.push(Wish::Cancel(o.hash));
            }
            return;
        }
        let (outcome, side, price, purpose) = if unwind {
            (leading, Side::Sell, order.price.complement(), Purpose::Unwind)
        } else {
            (lagging, Side::Buy, order.price, Purpose::Complete)
        };
        self.memory[view.market.ix()].taken_at = view.now;
        let _ = out.push(Wish::Place(Intent {
            instrument: view.market.instrument(outcome),
            side,
            price,
            qty: order.qty,
            tif: TimeInForce::Fak,
            post_only: false,
            strategy: StrategyId::Pair,
            purpose,
            epoch: next_epoch(view, out),
        }));
    }

    /// What there is to choose between, and the size and price (of the lagging leg) that a taker would have.
    fn legs(&self, view: &View<'_>, prices: &Prices, making: Option<Quote>, out: &Wishes) -> Option<(Legs, Quote)> {
        let net = view.net();
        let (leading, lagging) = leading_lagging(view);
        let size = whole(Qty(net.unsigned_abs()).min(self.clip()), view.spec.min_size)?;
        let waiting = view.orders.working(view.market).any(|o| o.intent.tif.is_immediate());
        let memory = &self.memory[view.market.ix()];
        let pause_ns = u64::from(self.params.taker_pause_ms) * 1_000_000;
        if waiting || view.budget == 0 || view.now.since(memory.taken_at) < pause_ns {
            return None;
        }
        // An immediate buy spends its whole amount: through several levels it would buy more than it wanted.
        // Source: docs/PROTOCOL.md "order types".
        let best = view.best_of_others(view.market.instrument(lagging), BookSide::Ask)?;
        let size = size.min(best.qty).min(self.room(view, lagging, |_| false)).floor_to_cents();
        if size < view.spec.min_size || crosses(view, lagging, best.price, out) {
            return None;
        }
        let fee = view.spec.fee.taker_fee(size, best.price, Rounding::Up);
        let cash = size.notional_ceil(best.price);
        let a_share = |cost: Usdc| (i128::from(cost.micro()) * i128::from(PPM) / i128::from(size.micro())) as i64;
        let free = free(view) - wished(out);
        let [fair, _] = prices.of(lagging);
        // The hold in the match's own time: a run that unfolds faster has shortened the pause, and the hold with it.
        let hold_ns = (u64::from(view.spec.hold_ms) * 1_000_000).min(pause_ns);
        // Of the shares that go, the average one.
        let carried = net.signum() * (net.abs() - size.micro() as i64 / 2).max(0);
        let maker = making.map(|q| {
            let resting = view.orders.working(view.market).find(|o| quotes(o, lagging));
            let (price, ahead) = match resting {
                Some(order) => (leg_price(&order.intent), self.queue.ahead_of(view, order)),
                None => (q.price, self.queue.ahead_of_new(view, lagging, q.price)),
            };
            Maker {
                fill_ppm: self.queue.fill_ppm(view.market, lagging, ahead, size, view.now),
                earns_ppm: fair - ppm(price) - self.markouts.adverse_ppm(view.market, lagging),
            }
        });
        let legs = Legs {
            carry_ppm: self.shift_ppm(carried, prices.fair_ppm).abs(),
            maker,
            cross_ppm: ppm(best.price) - fair,
            fee_ppm: a_share(fee),
            hold_ppm: memory.volatility.over_hold_ppm(hold_ns, u64::from(self.params.markout_ms) * 1_000_000),
            // Where collateral is short a pair has to be merged at once.
            merge_ppm: if self.short(free) { a_share(self.params.merge_cost_usdc) } else { 0 },
            may_buy: free >= cash + fee && cash >= MARKETABLE_MIN,
            may_sell: sellable(view, leading) + resting_sales(view, lagging) >= size,
        };
        Some((legs, Quote { price: best.price, qty: size, completes: true }))
    }

    /// Turns complete sets into collateral: when there are many, or when collateral is short; and when what the
    /// collateral earns, quoted once more at a tick a share, is more than the call costs.
    fn merge(&self, view: &View<'_>, out: &mut Wishes) {
        let pairs = sellable(view, Outcome::Yes).min(sellable(view, Outcome::No));
        let many = pairs >= Qty::shares(u64::from(self.params.merge_shares));
        let tick = Price::from_units(view.books[0].tick().units()).unwrap_or(Price::ZERO);
        let worth_it = pairs.notional_floor(tick) > self.params.merge_cost_usdc;
        if (many || self.short(free(view))) && worth_it && view.ledger.may_merge(view.market, view.now) {
            let _ = out.push(Wish::Merge(pairs));
        }
    }

    /// Learns what is due, and says where the market stands.
    fn learn(&mut self, view: &View<'_>, fair: Option<i64>) {
        let m = view.market;
        let Some(memory) = self.memory.get_mut(m.ix()) else { return };
        if let Some(fair) = fair {
            let tick_ppm = i64::from(view.books[0].tick().units()) * PPM_PER_UNIT;
            self.markouts.learn(m, view.now, [fair, PPM - fair], tick_ppm);
            memory.volatility.saw(fair, view.now, u64::from(self.params.markout_ms) * 1_000_000);
            self.queue.observe(view);
        }
        let rule = Rule { fills: self.params.off_fills, off_ns: u64::from(self.params.off_ms) * 1_000_000 };
        let too_slow = view.timing.too_slow_by_ms(self.params.lead_ms, view.spec.hold_ms);
        if memory.post.judge(view.now, self.markouts.accounts(m), too_slow, rule) {
            self.markouts.begin_anew(m);
        }
    }
}

/// A price in ppm.
fn ppm(price: Price) -> i64 {
    i64::from(price.units()) * PPM_PER_UNIT
}

/// By how much a leg is longer than the other, micro-shares; negative for the lagging one.
fn excess(view: &View<'_>, leg: Outcome) -> i64 {
    let net = view.net();
    if leg == Outcome::Yes { net } else { -net }
}

/// Which leg is longer, and which is not.
fn leading_lagging(view: &View<'_>) -> (Outcome, Outcome) {
    if view.net() > 0 { (Outcome::Yes, Outcome::No) } else { (Outcome::No, Outcome::Yes) }
}

/// A size that the venue takes: a rest below its minimum is rounded up, where that leaves less than there was.
fn whole(qty: Qty, min_size: Qty) -> Option<Qty> {
    let rounded = qty.floor_to_cents().max(min_size);
    (rounded.micro() < 2 * qty.micro()).then_some(rounded)
}

/// Confirmed shares of a token that are not offered already.
fn sellable(view: &View<'_>, outcome: Outcome) -> Qty {
    let instrument = view.market.instrument(outcome);
    let sales = view.orders.working(view.market);
    let offered = sales.filter(|o| o.intent.instrument == instrument && o.intent.side == Side::Sell);
    view.ledger.settled(instrument).saturating_sub(offered.fold(Qty::ZERO, |sum, o| sum + o.leaves()))
}

/// Collateral that a purchase claims. A taker pays a fee as well; immediate orders are few and short, so they claim a
/// whole pUSD a share.
fn claim(i: &Intent, qty: Qty) -> Usdc {
    qty.notional_ceil(if i.post_only { i.price } else { Price::ONE })
}

/// Collateral that no working purchase of ours, in any market, has a claim on.
fn free(view: &View<'_>) -> Usdc {
    let buys = view.orders.all_working().filter(|o| o.intent.side == Side::Buy);
    let claims = buys.map(|o| claim(&o.intent, o.leaves()));
    view.ledger.cash() - claims.sum()
}

/// Collateral that this decision's wishes claim already.
fn wished(wishes: &Wishes) -> Usdc {
    wishes
        .iter()
        .map(|w| match w {
            Wish::Place(i) if i.side == Side::Buy => claim(i, i.qty),
            _ => Usdc::ZERO,
        })
        .sum()
}

/// Shares that this decision's wishes lengthen a leg by already.
fn wished_of(wishes: &Wishes, leg: Outcome) -> Qty {
    let placed = wishes.iter().filter_map(|w| if let Wish::Place(i) = w { Some(i) } else { None });
    placed.filter(|i| leg_of(i.instrument, i.side) == leg).fold(Qty::ZERO, |sum, i| sum + i.qty)
}

/// Shares of the opposite token that our resting quotes of a leg offer.
fn resting_sales(view: &View<'_>, leg: Outcome) -> Qty {
    let sales = view.orders.working(view.market).filter(|o| quotes(o, leg) && o.intent.side == Side::Sell);
    sales.fold(Qty::ZERO, |sum, o| sum + o.leaves())
}

/// True if a bid of a leg would meet an order of ours, working or wished for: bids of both legs meet at 1.
fn crosses(view: &View<'_>, leg: Outcome, price: Price, wishes: &Wishes) -> bool {
    let meets = |i: &Intent| leg_of(i.instrument, i.side) != leg && leg_price(i) >= price.complement();
    view.orders.working(view.market).any(|o| meets(&o.intent))
        || wishes.iter().any(|w| matches!(w, Wish::Place(i) if meets(i)))
}

/// What is wanted, in the size that a resting order of another form can have: a sale is bounded by what is held.
fn want_like(want: Option<Quote>, order: &Order) -> Option<Quote> {
    let smaller = |w: Quote| Quote { qty: w.qty.min(order.intent.qty), ..w };
    want.map(|w| if order.intent.side == Side::Sell { smaller(w) } else { w })
}

/// The number of the next intent of this decision: one more for each that it wished for already.
fn next_epoch(view: &View<'_>, wishes: &Wishes) -> u32 {
    let wished = wishes.iter().filter(|w| matches!(w, Wish::Place(_))).count();
    view.epochs[StrategyId::Pair as usize] + wished as u32
}

impl Strategy for Pair {
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes) {
        if !self.params.enabled || view.trust == Trust::Settling {
            return;
        }
        if let (Some(rewards), Some(memory)) = (&view.spec.rewards, self.memory.get_mut(view.market.ix())) {
            memory.presence.look(view, rewards);
        }
        let fair_ppm = if view.trust == Trust::Good { Self::fair_ppm(view) } else { None };
        self.learn(view, fair_ppm);
        let net = view.net();
        let prices = fair_ppm
            .filter(|_| !view.closed && Self::live(view))
            .map(|fair_ppm| Prices { fair_ppm, reservation_ppm: fair_ppm - self.shift_ppm(net, fair_ppm) });
        let mut wants = [None; 2];
        if let Some(prices) = &prices {
            let stance = self.stance(view, prices.fair_ppm);
            wants = LEGS.map(|leg| self.quote(view, leg, prices, stance));
        }
        // First: a quote that would do the same is not sent beside it.
        if let (true, Some(prices)) = (self.params.taker, &prices) {
            let (_, lagging) = leading_lagging(view);
            self.controller(view, prices, wants[lagging as usize], out);
        }
        for leg in LEGS {
            self.work(view, leg, prices.as_ref(), wants[leg as usize], out);
        }
        self.merge(view, out);
    }

    fn filled(&mut self, view: &View<'_>, fill: &NewFill) {
        let Some(fair) = Self::fair_ppm(view).filter(|_| !fill.qty.is_zero()) else { return };
        let a_share = |cash: Usdc| (i128::from(cash.micro()) * i128::from(PPM) / i128::from(fill.qty.micro())) as i64;
        let leg = leg_of(fill.instrument, fill.side);
        let cost_ppm = match fill.side {
            Side::Buy => a_share(fill.notional + fill.fee),
            Side::Sell => PPM - a_share(fill.notional - fill.fee),
        };
        let fair_ppm = if leg == Outcome::Yes { fair } else { PPM - fair };
        let filled = Filled { market: view.market, leg, qty: fill.qty, cost_ppm, fair_ppm, taker: fill.taker };
        self.markouts.filled(&filled, view.now);
    }

    fn traded(&mut self, now: Nanos, print: &Print) {
        self.queue.traded(now, print);
    }

    fn standing(&self, market: MarketIx) -> Option<Standing> {
        self.memory.get(market.ix()).filter(|_| self.params.enabled).map(|m| m.post.standing())
    }

    fn remarks(&self, universe: &Universe) -> Vec<String> {
        let said = |m: MarketIx| match self.standing(m)? {
            Standing::Off { why, .. } => Some(format!("{}: {why}", universe.market(m).slug)),
            Standing::Probing => Some(format!("{}: was left alone, is tried again", universe.market(m).slug)),
            Standing::Quoting => None,
        };
        let paid = |m: MarketIx| {
            let memory = self.memory.get(m.ix()).filter(|_| self.params.enabled)?;
            memory.presence.sentence(universe.market(m))
        };
        universe.indices().filter_map(said).chain(universe.indices().filter_map(paid)).collect()
    }

    fn digest(&self, h: &mut StateHasher) {
        for m in &self.memory {
            h.u64(m.taken_at.0);
            m.volatility.digest(h);
            m.post.digest(h);
            m.presence.digest(h);
        }
        self.markouts.digest(h);
        self.queue.digest(h);
    }
}
