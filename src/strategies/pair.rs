//! Step 4 of 9: pair arbitrage as a maker.
//!
//! A market is one mirrored book: buying NO at 1 − p is selling YES at p, so a pair cannot be *taken* for less than 1.
//! It can be *made*: bids on both tokens around a fair price, one filled now, the other later, together below 1. What
//! is between the two fills is inventory, and inventory is the whole risk. So:
//!
//! - the reservation price leans against the net position d = q_yes − q_no: `r = fair − γ·d·σ²·T`. For a binary
//!   payoff that is a martingale, the variance still to come is exactly p·(1−p), so σ²·T needs no estimate;
//! - bids stand at floor(r − δ) on YES and floor(1 − r − δ) on NO, δ at least the measured adverse markout plus a tick;
//! - the lagging leg comes first: as maker at the better of its quote and one tick over the others, as taker only when
//!   half-spread plus fee cost less than the price shift that carrying is worth;
//! - it is flat when the book cannot be trusted, outside live play, and at the extremes.
//!
//! Prices here are in millionths (ppm of a pUSD), integers throughout.

use serde::{Deserialize, Serialize};

use crate::{
    engine::{
        BadParam, BadParams,
        digest::StateHasher,
        orders::Order,
        strategy::{Play, Strategy, Trust, View, Wish, Wishes},
    },
    types::{
        InstrumentIx, MarketIx, Nanos, Price, Qty, Side, TimeInForce,
        event::{BookSide, MatchPhase},
        fees::Rounding,
        ids::Outcome,
        market::MarketKind,
        order::{Intent, Purpose, StrategyId},
    },
};

const PPM: i64 = 1_000_000;
const PPM_PER_UNIT: i64 = 100;
/// Fills waiting for their markout.
const PENDING_MAX: usize = 256;
/// A venue refuses a marketable buy below this notional. Source: docs/PROTOCOL.md "prices and ticks".
const MARKETABLE_MIN_MICRO: i64 = 1_000_000;

/// What can be tuned. Units are in the names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairParams {
    /// Off leaves the market to itself.
    pub enabled: bool,
    /// Size of a quote, in shares.
    pub quote_shares: u32,
    /// Net position at which the longer side is no longer quoted, in shares.
    pub max_net_shares: u32,
    /// Reservation price's shift for one quote's worth of net position at p = 0.5, in units of 0.0001.
    pub skew_units: u16,
    /// Least distance of a quote from the reservation price, in ticks.
    pub edge_ticks: u8,
    /// Time after a fill at which its markout is measured, in milliseconds.
    pub markout_ms: u32,
    /// Fair prices below this, or above 1 minus this, are not quoted; in units of 0.0001.
    pub extreme_units: u16,
    /// A quote that is still good enough is left alone at least this long, in milliseconds.
    pub rest_ms: u32,
    /// Complete sets are merged from this many shares on.
    pub merge_shares: u32,
    /// Quotes expire by themselves after this many seconds.
    pub ttl_s: u32,
    /// The lagging leg may be completed, or the leading one unwound, as taker.
    pub taker: bool,
    /// Least time between two such completions in one market, in milliseconds: longer than the venue holds takers.
    pub taker_pause_ms: u32,
}

impl Default for PairParams {
    fn default() -> Self {
        Self {
            enabled: true,
            quote_shares: 50,
            max_net_shares: 150,
            skew_units: 100,
            edge_ticks: 1,
            markout_ms: 15_000,
            extreme_units: 800,
            rest_ms: 1_000,
            merge_shares: 20,
            ttl_s: 300,
            taker: true,
            taker_pause_ms: 4_000,
        }
    }
}

impl PairParams {
    /// The same in a match that unfolds `speed` times as fast: what is measured in the match's time shrinks with it.
    /// The venue's expiry stays wall time.
    #[must_use]
    pub fn compressed(mut self, speed: u32) -> Self {
        for ms in [&mut self.markout_ms, &mut self.rest_ms, &mut self.taker_pause_ms] {
            *ms = (*ms / speed.max(1)).max(1);
        }
        self
    }

    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("strategy.pair");
        bad.check("quote_shares", self.quote_shares, (5..=100_000).contains(&self.quote_shares), "5 to 100000 shares");
        let enough = self.max_net_shares >= self.quote_shares;
        bad.check("max_net_shares", self.max_net_shares, enough, "at least strategy.pair.quote_shares");
        bad.check("skew_units", self.skew_units, self.skew_units <= 2_500, "0 to 2500 (0.0001 each)");
        bad.check("edge_ticks", self.edge_ticks, (1..=20).contains(&self.edge_ticks), "1 to 20 ticks");
        bad.check("markout_ms", self.markout_ms, self.markout_ms > 0, "at least 1 ms");
        bad.check("extreme_units", self.extreme_units, self.extreme_units < 5_000, "below 5000 (0.0001 each)");
        bad.check("merge_shares", self.merge_shares, self.merge_shares > 0, "at least 1 share");
        bad.check(
            "ttl_s",
            self.ttl_s,
            (120..=86_400).contains(&self.ttl_s),
            "120 to 86400 s, as the venue's GTD needs",
        );
        bad.into_result()
    }
}

/// A fill whose markout is still to be measured.
#[derive(Clone, Copy, Debug)]
struct Pending {
    market: MarketIx,
    due: Nanos,
    fair_ppm: i64,
    /// +1 if the fill gains when the first outcome's price rises.
    sign: i64,
}

/// What is remembered about a market.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// Mean adverse move after our fills, ppm; positive is bad.
    markout_ppm: i64,
    taken_at: Nanos,
}

/// The strategy.
#[derive(Debug)]
pub struct Pair {
    params: PairParams,
    memory: Vec<Memory>,
    pending: heapless::Deque<Pending, PENDING_MAX>,
}

/// A quote that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quote {
    price: Price,
    qty: Qty,
    purpose: Purpose,
}

impl Pair {
    /// The strategy before its first event.
    pub fn new(params: PairParams, markets: usize) -> Self {
        Self { params, memory: vec![Memory::default(); markets], pending: heapless::Deque::new() }
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

    /// The bid wanted on one token.
    fn quote(&self, view: &View<'_>, outcome: Outcome, fair_ppm: i64) -> Option<Quote> {
        let instrument = view.market.instrument(outcome);
        let book = view.books[outcome as usize];
        let tick = book.tick();
        let tick_ppm = i64::from(tick.units()) * PPM_PER_UNIT;
        let net = view.net();
        let reservation = fair_ppm - self.shift_ppm(net, fair_ppm);
        // Everything below is in terms of this token.
        let (fair, reservation, excess) = match outcome {
            Outcome::Yes => (fair_ppm, reservation, net),
            Outcome::No => (PPM - fair_ppm, PPM - reservation, -net),
        };
        let clip = Qty::shares(u64::from(self.params.quote_shares));
        let lagging = Qty((-excess).max(0) as u64).floor_to_cents();
        let completes = lagging >= view.spec.min_size;
        let extreme = i64::from(self.params.extreme_units) * PPM_PER_UNIT;
        if !completes && !(extreme..=PPM - extreme).contains(&fair) {
            return None;
        }
        let qty = if completes {
            lagging.max(clip).min(Qty(clip.micro() * 3))
        } else {
            let room = Qty::shares(u64::from(self.params.max_net_shares)).saturating_sub(Qty(excess.max(0) as u64));
            room.min(clip).floor_to_cents()
        };
        if qty < view.spec.min_size {
            return None;
        }
        let adverse = self.memory[view.market.ix()].markout_ppm.max(0);
        let delta = (i64::from(self.params.edge_ticks) * tick_ppm).max(adverse + tick_ppm);
        let best_bid = view.best_of_others(instrument, BookSide::Bid)?.price;
        let best_ask = view.best_of_others(instrument, BookSide::Ask)?.price;
        let wanted = ((reservation - delta) / PPM_PER_UNIT) as i32;
        // Never over the others by more than a tick, never through the ask.
        let step = i32::from(tick.units());
        let cap = (i32::from(best_bid.units()) + step).min(i32::from(best_ask.units()) - step);
        let price = Price::floor_to(wanted.min(cap), tick)?;
        let purpose = if completes { Purpose::Complete } else { Purpose::Quote };
        Some(Quote { price, qty, purpose })
    }

    /// Brings the working bid of one token to what is wanted.
    fn work(&self, view: &View<'_>, outcome: Outcome, fair_ppm: Option<i64>, want: Option<Quote>, out: &mut Wishes) {
        let instrument = view.market.instrument(outcome);
        let mut working = false;
        for order in view.orders.working(view.market) {
            let i = &order.intent;
            if i.strategy != StrategyId::Pair || i.instrument != instrument || i.tif.is_immediate() {
                continue;
            }
            working = true;
            if order.cancellable(view.now) && !self.keep(view, order, fair_ppm, want) {
                // A full list is no loss: the rest is wished for at the next event.
                let _ = out.push(Wish::Cancel(order.hash));
            }
        }
        if let (false, true, Some(quote)) = (working, view.budget > 0, want) {
            let expires_s = view.now.secs() + 60 + u64::from(self.params.ttl_s);
            let _ = out.push(Wish::Place(Intent {
                instrument,
                side: Side::Buy,
                price: quote.price,
                qty: quote.qty,
                tif: TimeInForce::Gtd { expires_s },
                post_only: true,
                strategy: StrategyId::Pair,
                purpose: quote.purpose,
                epoch: next_epoch(view, out),
            }));
        }
    }

    /// True if a working quote may stay.
    fn keep(&self, view: &View<'_>, order: &Order, fair_ppm: Option<i64>, want: Option<Quote>) -> bool {
        let (Some(want), Some(fair)) = (want, fair_ppm) else { return false };
        let age = view.now.since(order.created);
        if age > u64::from(self.params.ttl_s) * 500_000_000 {
            return false;
        }
        let enough = order.leaves().micro() * 2 >= want.qty.micro() && order.leaves() <= want.qty + want.qty;
        if order.intent.price == want.price && enough {
            return true;
        }
        // A small improvement is not worth the place in the queue; a price that lost its edge is not worth a moment.
        let own_fair = if order.intent.instrument.outcome() == Outcome::Yes { fair } else { PPM - fair };
        let tick = i64::from(view.books[0].tick().units()) * PPM_PER_UNIT;
        let has_edge = own_fair - i64::from(order.intent.price.units()) * PPM_PER_UNIT >= tick / 2;
        has_edge && order.intent.price <= want.price && age < u64::from(self.params.rest_ms) * 1_000_000
    }

    /// Completes the lagging leg, or unwinds the leading one, as taker, when that costs less than carrying is worth.
    fn take(&mut self, view: &View<'_>, fair_ppm: i64, out: &mut Wishes) {
        let net = view.net();
        let size = Qty(net.unsigned_abs()).min(Qty::shares(u64::from(self.params.quote_shares))).floor_to_cents();
        let memory = &self.memory[view.market.ix()];
        let waiting = view.orders.working(view.market).any(|o| o.intent.tif.is_immediate());
        if size < view.spec.min_size
            || waiting
            || view.budget == 0
            || view.now.since(memory.taken_at) < u64::from(self.params.taker_pause_ms) * 1_000_000
        {
            return;
        }
        let (leading, lagging) = if net > 0 { (Outcome::Yes, Outcome::No) } else { (Outcome::No, Outcome::Yes) };
        // An immediate buy spends its whole amount: through several levels it would buy more than it wanted.
        // Source: docs/PROTOCOL.md "order types".
        let Some(best) = view.books[lagging as usize].best(BookSide::Ask) else { return };
        let size = size.min(best.qty).floor_to_cents();
        if size < view.spec.min_size {
            return;
        }
        let Some(taken) = view.books[lagging as usize].take(BookSide::Ask, size) else { return };
        let fee = view.spec.fee.taker_fee(size, taken.worst, Rounding::Up);
        let paid_ppm = (i128::from((taken.cash + fee).micro()) * i128::from(PPM) / i128::from(size.micro())) as i64;
        let fair = if lagging == Outcome::Yes { fair_ppm } else { PPM - fair_ppm };
        let worth = self.shift_ppm(net, fair_ppm).abs();
        if paid_ppm - fair > worth || taken.cash.micro() < MARKETABLE_MIN_MICRO {
            return;
        }
        // The same trade from the other side, if the shares are settled and collateral is short.
        let sell = view.ledger.cash() < taken.cash + fee && view.settled(leading) >= size;
        let (outcome, side, price, purpose) = if sell {
            (leading, Side::Sell, taken.worst.complement(), Purpose::Unwind)
        } else {
            (lagging, Side::Buy, taken.worst, Purpose::Complete)
        };
        self.memory[view.market.ix()].taken_at = view.now;
        let _ = out.push(Wish::Place(Intent {
            instrument: view.market.instrument(outcome),
            side,
            price,
            qty: size,
            tif: TimeInForce::Fak,
            post_only: false,
            strategy: StrategyId::Pair,
            purpose,
            epoch: next_epoch(view, out),
        }));
    }

    /// Measures the markouts that are due, of any market whose fair price is known now.
    fn learn(&mut self, view: &View<'_>, fair_ppm: i64) {
        for _ in 0..self.pending.len() {
            let Some(p) = self.pending.pop_front() else { break };
            if p.market == view.market && view.now >= p.due {
                let adverse = p.sign * (p.fair_ppm - fair_ppm);
                let mean = &mut self.memory[p.market.ix()].markout_ppm;
                *mean += (adverse - *mean) / 8;
            } else {
                let _ = self.pending.push_back(p);
            }
        }
    }
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
        let fair = if view.trust == Trust::Good { Self::fair_ppm(view) } else { None };
        if let Some(fair) = fair {
            self.learn(view, fair);
        }
        let quoting = fair.filter(|_| !view.closed && Self::live(view));
        for outcome in [Outcome::Yes, Outcome::No] {
            let want = quoting.and_then(|fair| self.quote(view, outcome, fair));
            self.work(view, outcome, fair, want, out);
        }
        if let (true, Some(fair)) = (self.params.taker, quoting) {
            self.take(view, fair, out);
        }
        let [yes, no] = [Outcome::Yes, Outcome::No].map(|o| view.settled(o));
        let pairs = yes.min(no);
        if pairs >= Qty::shares(u64::from(self.params.merge_shares)) && view.ledger.may_merge(view.market, view.now) {
            let _ = out.push(Wish::Merge(pairs));
        }
    }

    fn filled(&mut self, view: &View<'_>, instrument: InstrumentIx, side: Side, _qty: Qty) {
        let Some(fair_ppm) = Self::fair_ppm(view) else { return };
        let gains_with_yes = (instrument.outcome() == Outcome::Yes) == (side == Side::Buy);
        let due = view.now.plus(u64::from(self.params.markout_ms) * 1_000_000);
        if self.pending.is_full() {
            self.pending.pop_front();
        }
        let sign = if gains_with_yes { 1 } else { -1 };
        let _ = self.pending.push_back(Pending { market: view.market, due, fair_ppm, sign });
    }

    fn digest(&self, h: &mut StateHasher) {
        for m in &self.memory {
            h.i64(m.markout_ppm);
            h.u64(m.taken_at.0);
        }
        for p in &self.pending {
            h.u64(u64::from(p.market.0));
            h.u64(p.due.0);
            h.i64(p.fair_ppm);
            h.i64(p.sign);
        }
    }
}
