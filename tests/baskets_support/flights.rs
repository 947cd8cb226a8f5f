//! Baskets, taken and quoted, whose legs fill in parts, are refused, fill late, and whose trades fail, against a
//! bookkeeper who only knows the history.

use std::collections::BTreeMap;

use polyloly_fast::{
    engine::{
        Approved,
        lattice::{End, Lattice, States},
        limits::Limits,
        repeat::RepeatLimits,
    },
    strategies::{self, baskets::flight::Stage},
    types::{
        Event, InstrumentIx, MarketIx, MatchIx, Nanos, Qty, Side, TradeKey, Universe, Usdc,
        event::{
            AckStatus, BookSide, ControlEvent, KillReason, MatchEvent, MatchPhase, OrderChange, RejectReason,
            ReplyEvent, TradeStatus, UserEvent,
        },
        order::OrderState,
    },
};

use super::{
    baskets_support::{self, Dice, QUIET, Told, params},
    naive_pays,
};

/// Baskets that are sent.
const CASES: u64 = 10_000;
/// The venue answers an order within this.
const ANSWERED_MS: u64 = 8_000;
/// Least that a bid leaves, ppm.
const QUOTE_EDGE_PPM: i64 = 4_000;
/// A trade of a basket is final before so many more are sent.
const SETTLED_WITHIN: u32 = 8;
/// A flight is over within this: each try is answered, and each wait for a chance is given up.
const OVER_MS: u64 = 4 * (ANSWERED_MS + 30_000) + 20_000;

/// An order, as its sender remembers it.
struct Order {
    approved: Approved,
    flight: u32,
    since: u64,
    accepted: bool,
    /// Matched, whatever became of the trades.
    matched: Qty,
    /// The venue told of its end.
    over: bool,
    /// It ended with a word of matches whose trades are still to come, or that were never told of.
    owed: Qty,
}

/// A trade of one.
struct Trade {
    key: TradeKey,
    order: usize,
    qty: Qty,
    status: TradeStatus,
}

/// A flight by its orders and trades alone.
struct Flown {
    tokens: Vec<InstrumentIx>,
    wanted: Qty,
    /// By token: shares, and their cash at the limits, fees included.
    legs: BTreeMap<InstrumentIx, (i64, i64)>,
    rounds: u32,
    /// What a share of each pays at least by the list, in halves.
    worst: u8,
    /// The states that the match could come to when it was sent.
    possible: States,
    /// It began as a bid for one leg, and nothing of it is filled.
    only_bid: bool,
}

struct World {
    sim: Told,
    /// Bids may rest.
    quote: bool,
    /// What the match feed says, again and again.
    game: Option<MatchEvent>,
    dice: Dice,
    universe: Universe,
    lattice: Lattice,
    orders: Vec<Order>,
    /// Of which may still change.
    live: Vec<usize>,
    trades: Vec<Trade>,
    open_trades: Vec<usize>,
    flown: BTreeMap<u32, Flown>,
    /// The flight that is on its way, and since when.
    flying: Option<(u32, u64)>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    fills: u32,
    late: u32,
    failed: u32,
    never: u32,
    completed: u32,
    unwound: u32,
    again: u32,
    kills: u32,
    bids: u32,
    bids_filled: u32,
}

/// The cash of so many shares at a limit, worse for us: written down anew, from the venue's formula.
fn cash(universe: &Universe, order: &Approved, qty: Qty) -> i64 {
    let i = order.intent();
    let (q, p) = (i128::from(qty.micro()), i128::from(i.price.units()));
    let rate = i128::from(universe.market(i.instrument.market()).fee.rate_ppm);
    let up = |a: i128, b: i128| (a + b - 1) / b;
    let fee = if i.post_only { 0 } else { 10 * up(q * rate * p * (10_000 - p), 1_000_000_000_000_000) };
    (match i.side {
        Side::Buy => up(q * p, 10_000) + fee,
        Side::Sell => q * p / 10_000 - fee,
    }) as i64
}

impl World {
    fn new(seed: u64, score: Option<[u8; 2]>, quote: bool) -> Self {
        let much = Usdc::dollars(1_000_000_000);
        let mut p = params();
        p.risk = Limits {
            order_usdc: much,
            market_usdc: much,
            match_usdc: much,
            group_usdc: much,
            total_usdc: much,
            daily_loss_usdc: much,
            completion_percent: 0,
            orders_per_s: 1_000,
            errors_per_min: 1_000_000,
            repeats: RepeatLimits { fills: 0, orders: 0, orders_per_min: 0, ..RepeatLimits::default() },
            ..p.risk
        };
        p.baskets.near_ppm = 0;
        (p.baskets.quote, p.baskets.quote_edge_ppm) = (quote, QUOTE_EDGE_PPM as u32);
        let universe = baskets_support::bo3();
        let mut sim = Told::of(baskets_support::open_with(strategies::core(&universe, &p), much));
        // In books as wide as these bids would rest from the start.
        (0..7).filter(|_| !quote).for_each(|m| drop(sim.book_with(InstrumentIx(2 * m), QUIET)));
        let game = score.map(|s| MatchEvent { phase: MatchPhase::Running, map: s[0] + s[1] + 1, score: s });
        game.into_iter().for_each(|game| drop(sim.hear(Event::Match(game))));
        sim.last();
        Self {
            sim,
            quote,
            game,
            dice: Dice(seed),
            universe,
            lattice: Lattice::new(3).unwrap(),
            orders: Vec::new(),
            live: Vec::new(),
            trades: Vec::new(),
            open_trades: Vec::new(),
            flown: BTreeMap::new(),
            flying: None,
            counts: Counts::default(),
        }
    }

    /// A basket that holds is offered, at a price that leaves something or nearly so, in random sizes.
    fn offer(&mut self) {
        let finder = self.sim.0.core.strategy().baskets.finder(MatchIx(0)).unwrap();
        let n = self.dice.below(finder.baskets().len() as u64) as usize;
        let basket = finder.baskets()[n];
        let tokens: Vec<_> = basket.tokens.iter().filter_map(|t| finder.token(*t)).collect();
        let each = u64::from(basket.worst) * 5_000 / tokens.len() as u64;
        // Where bids may rest, mostly a little too dear to be taken.
        let cheaper = if self.quote { 220 } else { 500 };
        for token in tokens {
            let ask = each.saturating_sub(self.dice.below(cheaper)).clamp(1_000, 9_000) as u16;
            let shares = 5 + self.dice.below(60);
            self.sim.book(token, ask, shares);
            self.heard();
        }
    }

    /// Something moves in one market, mostly one that a leg is in.
    fn stir(&mut self) {
        let legs = &self.sim.flight().legs;
        let leg = legs.get(self.dice.below(3) as usize).map(|l| l.instrument);
        let token = leg.filter(|_| !self.dice.once_in(4)).unwrap_or(InstrumentIx(self.dice.below(14) as u16));
        let book = self.sim.0.core.book(token);
        let ask = book.best(BookSide::Ask).map_or(5_000, |l| l.price.units());
        let moved = (i64::from(ask) + self.dice.below(601) as i64 - 260).clamp(1_000, 9_500) as u16;
        self.sim.book(token, moved, 3 + self.dice.below(60));
        self.heard();
    }

    /// What was sent since is looked at, and what every order must keep to is held against it.
    fn heard(&mut self) {
        let sent = self.sim.last();
        let flight = self.sim.flight();
        let (n, tries, now) = (flight.n, params().baskets.tries, self.sim.0.now);
        let possible = self.sim.0.core.strategy().baskets.finder(MatchIx(0)).unwrap().possible();
        if !sent.is_empty() {
            let new = !self.flown.contains_key(&n);
            let flown = self.flown.entry(n).or_insert_with(|| Flown {
                tokens: flight.legs.iter().map(|l| l.instrument).collect(),
                wanted: sent[0].intent().qty,
                legs: BTreeMap::new(),
                rounds: 0,
                worst: flight.worst,
                possible,
                only_bid: sent[0].intent().post_only,
            });
            flown.rounds += 1;
            // The first, and after it as many as are allowed, each time that it flies.
            assert!(flown.rounds <= 1 + u32::from(tries) * (1 + u32::from(flight.flown)), "{}", flown.rounds);
            assert!(flight.flown <= tries);
            if new {
                self.counts.bids += u32::from(flown.only_bid);
                if flown.only_bid {
                    let book = self.sim.0.core.book(sent[0].intent().instrument);
                    let best = |side| book.best(side).expect("both sides").price.units();
                    let price = sent[0].intent().price.units();
                    assert!(sent.len() == 1 && price < best(BookSide::Ask));
                    assert!((best(BookSide::Bid)..=best(BookSide::Bid) + 1).contains(&price));
                }
                assert!(sent.iter().all(|o| o.intent().side == Side::Buy && o.intent().qty == flown.wanted));
            } else if sent[0].intent().side == Side::Buy {
                self.counts.completed += 1;
            } else {
                self.counts.unwound += 1;
            }
        }
        for approved in sent {
            let i = *approved.intent();
            let flown = &self.flown[&n];
            let held = flown.legs.get(&i.instrument).map_or(0, |l| l.0);
            let of = |o: &&Order| o.approved.intent().instrument == i.instrument && !o.over;
            let open = |side: Side| -> i64 {
                let those = self.live.iter().map(|o| &self.orders[*o]).filter(of);
                let those = those.filter(|o| o.approved.intent().side == side && o.flight == n);
                those.map(|o| (o.approved.intent().qty - o.matched).micro() as i64).sum()
            };
            let qty = i.qty.micro() as i64;
            match i.side {
                // Never more than was wanted, whatever still works.
                Side::Buy => {
                    let most = held + open(Side::Buy) + qty;
                    assert!(most <= flown.wanted.micro() as i64, "{n}: {most} of {}", flown.wanted);
                }
                // Never what is not settled, or sold already, or another basket's.
                Side::Sell => {
                    let settled = self.settled(i.instrument, n) - open(Side::Sell);
                    assert!(qty <= settled, "{n}: {qty} of {settled}");
                    assert!(qty <= held, "{n}: {qty} of {held}");
                }
            }
            self.live.push(self.orders.len());
            let since = now;
            let (accepted, over, matched, owed) = (false, false, Qty::ZERO, Qty::ZERO);
            self.orders.push(Order { approved, flight: n, since, accepted, matched, over, owed });
        }
        self.watch_bids();
        self.watch_time();
        if self.sim.stage() == Stage::Idle {
            self.add_up();
        }
    }

    /// No more than one bid rests, and while it could be pulled and is not, the others' offers carry it.
    fn watch_bids(&self) {
        let core = &self.sim.0.core;
        let now = Nanos(self.sim.0.now);
        let bids: Vec<_> = core.working().filter(|o| o.intent.post_only).collect();
        assert!(bids.len() <= 1, "{bids:?}");
        for bid in bids.into_iter().filter(|o| o.cancellable(now)) {
            assert_eq!(self.sim.stage(), Stage::Quoting);
            let own = bid.intent.instrument;
            let flown = &self.flown[&self.sim.flight().n];
            let held = flown.legs.get(&own).map_or(0, |l| l.0);
            let q = i128::from(bid.leaves().micro() as i64 + held);
            let up = |a: i128, b: i128| (a + b - 1) / b;
            let mut left = q / 2 * i128::from(flown.worst) - up(q * i128::from(bid.intent.price.units()), 10_000);
            for token in flown.tokens.iter().filter(|t| **t != own) {
                assert!(core.book(*token).trusted());
                let ask = core.book(*token).best(BookSide::Ask).expect("an offer");
                let p = i128::from(ask.price.units());
                assert!(q <= i128::from(ask.qty.micro()), "{q} of {}", ask.qty);
                left -= up(q * p, 10_000) + up(q * 50_000 * p * (10_000 - p), 100_000_000_000_000);
            }
            assert!(left * 1_000_000 >= q * i128::from(QUOTE_EDGE_PPM), "{left} of {q}: {:?}", bid.intent);
        }
    }

    /// Shares of a token that a flight bought for good, less those that it sold in any way.
    fn settled(&self, token: InstrumentIx, flight: u32) -> i64 {
        let those = self.trades.iter().filter(|t| self.orders[t.order].flight == flight);
        let each = those.map(|t| (t, self.orders[t.order].approved.intent()));
        each.filter(|(_, i)| i.instrument == token).fold(0, |sum, (t, i)| match (i.side, t.status) {
            (Side::Buy, TradeStatus::Confirmed) => sum + t.qty.micro() as i64,
            (Side::Sell, s) if s != TradeStatus::Failed => sum - t.qty.micro() as i64,
            _ => sum,
        })
    }

    /// No flight takes longer than its tries and waits can.
    fn watch_time(&mut self) {
        let (n, now) = (self.sim.flight().n, self.sim.0.now);
        // A bid may rest as long as it is carried.
        let active = !matches!(self.sim.stage(), Stage::Idle | Stage::Quoting);
        self.flying = match self.flying {
            Some((of, since)) if active && of == n => {
                let ms = (now - since) / 1_000_000;
                assert!(ms <= OVER_MS, "{n} has been on its way for {ms} ms: {:?}", self.sim.flight());
                Some((of, since))
            }
            _ if active => {
                self.counts.again += u32::from(self.sim.flight().flown > 0);
                Some((n, now))
            }
            _ => None,
        };
    }

    /// The tally, what is held apart and the accounts agree with the history. What counts as level pays what is said.
    fn add_up(&mut self) {
        let baskets = &self.sim.0.core.strategy().baskets;
        let (mut level, mut nothing, mut uneven) = (0, 0, 0);
        let (mut shares, mut paid, mut pays) = (0, 0, 0);
        let mut held = [0_i64; 14];
        let baskets_sent = || self.flown.values().filter(|f| !f.only_bid);
        for flown in baskets_sent() {
            let legs: Vec<_> = flown.tokens.iter().map(|t| flown.legs.get(t).copied().unwrap_or_default()).collect();
            flown.tokens.iter().zip(&legs).for_each(|(t, l)| held[t.ix()] += l.0);
            let (least, most) = (legs.iter().map(|l| l.0).min().unwrap(), legs.iter().map(|l| l.0).max().unwrap());
            if most <= 10_000 {
                nothing += 1;
            } else if most - least > 10_000 {
                uneven += 1;
            } else {
                level += 1;
                shares += least;
                paid += legs.iter().map(|l| l.1).sum::<i64>();
                pays += least / 2 * i64::from(flown.worst);
            }
        }
        let tally = self.sim.tally();
        assert_eq!((tally.sent, tally.level), (baskets_sent().count() as u64, level));
        assert_eq!((tally.nothing, tally.uneven), (nothing, uneven));
        assert_eq!((tally.shares, tally.paid, tally.pays), (Qty(shares as u64), Usdc(paid), Usdc(pays)));
        for (i, held) in (0..).map(InstrumentIx).zip(held) {
            assert_eq!(baskets.kept(i).micro() as i64, held, "{i:?}");
            assert_eq!(self.sim.0.core.ledger().qty(i).micro() as i64, held, "{i:?}");
        }
        // Those that are over for good need not be looked at again and again: the last one is.
        let Some(flown) = self.flown.values().next_back() else { return };
        for (at, state) in self.lattice.states().iter().enumerate().filter(|(n, _)| flown.possible.has(*n)) {
            let pays = naive_pays(&self.universe, &self.lattice, &flown.tokens, *state);
            if state.end == End::Complete {
                assert!(pays.iter().all(|p| *p >= flown.worst), "{at} {state}: {pays:?} of {}", flown.worst);
            }
        }
    }

    /// A trade is told of, with a status.
    fn trade(&mut self, order: usize, qty: Qty, status: TradeStatus) {
        let key = TradeKey(self.trades.len() as u128 + 1);
        self.orders[order].matched += qty;
        self.open_trades.push(self.trades.len());
        self.trades.push(Trade { key, order, qty, status: TradeStatus::Matched });
        self.counts.fills += u32::from(status != TradeStatus::Failed);
        self.counts.never += u32::from(status == TradeStatus::Failed);
        self.book(self.trades.len() - 1, status != TradeStatus::Failed, true);
        self.say(self.trades.len() - 1, status);
    }

    /// The bookkeeper writes a trade down, or strikes it out.
    fn book(&mut self, trade: usize, there: bool, new: bool) {
        if new && !there {
            return;
        }
        let t = &self.trades[trade];
        let o = &self.orders[t.order];
        let cash = cash(&self.universe, &o.approved, t.qty);
        let sign = if (o.approved.intent().side == Side::Buy) == there { 1 } else { -1 };
        let flown = self.flown.get_mut(&o.flight).unwrap();
        self.counts.bids_filled += u32::from(core::mem::take(&mut flown.only_bid));
        let leg = flown.legs.entry(o.approved.intent().instrument).or_default();
        *leg = (leg.0 + sign * t.qty.micro() as i64, leg.1 + sign * cash);
    }

    fn say(&mut self, trade: usize, status: TradeStatus) {
        let t = &mut self.trades[trade];
        t.status = status;
        let order = &self.orders[t.order].approved;
        let i = order.intent();
        let event = UserEvent::Trade {
            trade: t.key,
            order: order.hash(),
            instrument: i.instrument,
            side: i.side,
            qty: t.qty,
            notional: t.qty.notional_floor(i.price),
            taker_curve: (!i.post_only).then(|| i.price.curve(t.qty)),
            status,
        };
        if matches!(status, TradeStatus::Confirmed | TradeStatus::Failed) {
            self.open_trades.retain(|n| *n != trade);
        }
        self.sim.hear(Event::User(event));
        self.heard();
    }

    /// The settlement of a trade goes on: it may fail.
    fn settle(&mut self, trade: usize) {
        match self.dice.below(12) {
            0 => {
                self.counts.failed += 1;
                self.book(trade, false, false);
                self.say(trade, TradeStatus::Failed);
            }
            1 => self.say(trade, TradeStatus::Retrying),
            2 => self.say(trade, TradeStatus::Mined),
            _ => self.say(trade, TradeStatus::Confirmed),
        }
    }

    fn reply(&mut self, event: ReplyEvent) {
        self.sim.hear(Event::Reply(event));
        self.heard();
    }

    /// Something happens to an order.
    fn answer(&mut self, n: usize) {
        let order = self.orders[n].approved.hash();
        let leaves = self.orders[n].approved.intent().qty - self.orders[n].matched;
        let rests = self.orders[n].approved.intent().post_only;
        if !self.orders[n].accepted {
            self.orders[n].accepted = true;
            self.reply(ReplyEvent::Sent { order });
            match self.dice.below(10) {
                0 | 1 => {
                    self.end(n);
                    self.reply(ReplyEvent::Rejected { order, reason: RejectReason::NotFilled });
                }
                2 => {
                    self.end(n);
                    self.reply(ReplyEvent::Rejected { order, reason: RejectReason::MinSize });
                }
                _ if rests => self.reply(ReplyEvent::Accepted { order, status: AckStatus::Live }),
                _ => self.reply(ReplyEvent::Accepted { order, status: AckStatus::Delayed }),
            }
            return;
        }
        let part = match self.dice.below(3) {
            0 => leaves,
            1 => Qty(self.dice.below(leaves.micro() + 1)).floor_to_cents(),
            _ => Qty(self.dice.below(leaves.micro() + 1)),
        };
        // A bid rests until it is pulled, and may be filled before the venue reads that.
        let kind = match self.dice.below(8) {
            kind if !rests => kind,
            kind if !self.is_pulled(n) => [2, 3, 99, 99, 99, 99, 99, 99][kind as usize],
            kind => [0, 1, 2, 3, 100, 100, 100, 100][kind as usize],
        };
        match kind {
            99 => {}
            100 => {
                self.end(n);
                self.reply(ReplyEvent::Cancelled { order });
            }
            // It ends, and what matched is told of later; or nothing more matched.
            0 => {
                let owed = if self.dice.once_in(2) { part } else { Qty::ZERO };
                let matched = self.orders[n].matched + owed;
                self.end(n);
                self.orders[n].owed = owed;
                let event = UserEvent::Order { order, change: OrderChange::Cancelled, matched: Some(matched) };
                self.sim.hear(Event::User(event));
                self.heard();
            }
            // It ends without a word of what matched. What was sold so could be sold twice, which no venue allows.
            1 => {
                let buys = self.orders[n].approved.intent().side == Side::Buy;
                let owed = if buys && self.dice.once_in(3) { part } else { Qty::ZERO };
                self.end(n);
                self.orders[n].owed = owed;
                let event = UserEvent::Order { order, change: OrderChange::Cancelled, matched: None };
                self.sim.hear(Event::User(event));
                self.heard();
            }
            k if part > Qty::ZERO => {
                // What is left below a hundredth of a share counts as filled.
                if leaves - part < Qty::DUST {
                    self.end(n);
                }
                let first = match self.dice.below(3) {
                    0 if k == 2 => TradeStatus::Failed,
                    1 => TradeStatus::Confirmed,
                    _ => TradeStatus::Matched,
                };
                self.trade(n, part, first);
            }
            _ => {}
        }
    }

    fn is_pulled(&self, n: usize) -> bool {
        let order = self.sim.0.core.order(&self.orders[n].approved.hash());
        order.is_some_and(|o| o.state == OrderState::CancelPending)
    }

    fn end(&mut self, n: usize) {
        self.orders[n].over = true;
        self.live.retain(|o| *o != n);
    }

    /// What an order that ended still owes is told of.
    fn late(&mut self, n: usize) {
        let owed = std::mem::take(&mut self.orders[n].owed);
        if owed > Qty::ZERO {
            self.counts.late += 1;
            self.trade(n, owed, TradeStatus::Matched);
        }
    }

    /// One thing happens, and what is overdue before it.
    fn step(&mut self) {
        let overdue = |w: &Self, n: &usize| {
            let may_rest = w.orders[*n].approved.intent().post_only && w.orders[*n].accepted && !w.is_pulled(*n);
            w.sim.0.now - w.orders[*n].since >= ANSWERED_MS * 1_000_000 && !may_rest
        };
        while let Some(n) = self.live.iter().copied().find(|n| overdue(self, n)) {
            self.answer(n);
        }
        let newest = self.flown.keys().next_back().copied().unwrap_or_default();
        let due = |t: &&usize| self.orders[self.trades[**t].order].flight + SETTLED_WITHIN < newest;
        if let Some(trade) = self.open_trades.iter().find(due).copied() {
            self.settle(trade);
        }
        let from = self.orders.len().saturating_sub(12);
        let owing = (from..self.orders.len()).find(|n| self.orders[*n].owed > Qty::ZERO);
        match self.dice.below(10) {
            0..4 if !self.live.is_empty() => {
                let n = self.live[self.dice.below(self.live.len() as u64) as usize];
                self.answer(n);
            }
            4..6 if !self.open_trades.is_empty() => {
                let n = self.dice.below(self.open_trades.len() as u64) as usize;
                self.settle(self.open_trades[n]);
            }
            6 if owing.is_some() => owing.into_iter().for_each(|n| self.late(n)),
            7 => self.stir(),
            _ => {
                let ms = self.dice.below(1_200);
                self.sim.tick(ms);
                self.heard();
                if let Some(game) = self.game.filter(|_| self.dice.once_in(20)) {
                    self.sim.hear(Event::Match(game));
                    self.heard();
                }
            }
        }
        if let Some(why) = self.sim.0.core.killed() {
            // So many failures are no accident, by the engine's own rule. Somebody looks, and goes on.
            assert_eq!(why, KillReason::FailedWinners);
            self.counts.kills += 1;
            self.sim.control(ControlEvent::ResetKill);
            self.heard();
        }
    }
}

/// Sends so many baskets and sees each through. What happened.
fn fly(seed: u64, score: Option<[u8; 2]>, quote: bool, baskets: u64) -> (Counts, [u64; 3], usize) {
    let mut world = World::new(seed, score, quote);
    let mut steps = 0;
    let mut closed = false;
    while world.sim.tally().sent < baskets || world.sim.stage() != Stage::Idle || !world.open_trades.is_empty() {
        // The next is offered when the last is over; its trades need not be.
        let (enough, idle) = (world.sim.tally().sent >= baskets, world.sim.stage() == Stage::Idle);
        if !enough && (idle && world.dice.once_in(2) || world.sim.stage() == Stage::Quoting && world.dice.once_in(8)) {
            world.offer();
        }
        if enough && !core::mem::replace(&mut closed, true) {
            (0..7).for_each(|m| world.sim.control(ControlEvent::Halt(MarketIx(m))));
            world.heard();
        }
        world.step();
        steps += 1;
        assert!(steps < 2_000 * baskets, "{:?}: {:?}", world.sim.tally(), world.counts);
    }
    let tally = world.sim.tally();
    (world.counts, [tally.level, tally.nothing, tally.uneven], world.orders.len())
}

#[test]
fn ten_thousand_flights_come_to_what_their_history_says() {
    let scores = [None, Some([1, 0]), Some([1, 1])];
    let (mut sum, mut ends, mut orders) = (Counts::default(), [0; 3], 0);
    let worlds = 120;
    for n in 0..worlds {
        let (c, e, o) = fly(n + 1, scores[n as usize % 3], n % 2 == 1, CASES.div_ceil(worlds));
        for (all, one) in [
            (&mut sum.fills, c.fills),
            (&mut sum.late, c.late),
            (&mut sum.failed, c.failed),
            (&mut sum.never, c.never),
            (&mut sum.completed, c.completed),
            (&mut sum.unwound, c.unwound),
            (&mut sum.again, c.again),
            (&mut sum.kills, c.kills),
            (&mut sum.bids, c.bids),
            (&mut sum.bids_filled, c.bids_filled),
        ] {
            *all += one;
        }
        ends.iter_mut().zip(e).for_each(|(all, one)| *all += one);
        orders += o;
    }
    println!("{} baskets, {orders} orders, {sum:?}; level, nothing, uneven: {ends:?}", ends.iter().sum::<u64>());
    assert!(ends.iter().sum::<u64>() >= CASES);
    // A history in which nothing happens proves nothing.
    assert!(sum.fills > 20_000 && sum.failed > 1_000 && sum.late > 500 && sum.never > 200, "{sum:?}");
    assert!(sum.completed > 1_000 && sum.unwound > 500 && sum.again > 500, "{sum:?}");
    assert!(sum.bids > 2_000 && sum.bids_filled > 500, "{sum:?}");
    assert!(ends.iter().all(|n| *n > 500), "{ends:?}");
}
