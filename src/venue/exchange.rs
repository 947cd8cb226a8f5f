//! The exchange: markets, accounts, orders and the matching of them. Pure: time is passed in, events are handed out.
//!
//! Matching is price-time over the one ladder of a market; the resting price is the trade price. Two buys of opposite
//! tokens mint a set, two sells merge one, a buy and a sell of one token swap. Money moves in whole millionths and
//! nothing is rounded away: see [`Exchange::audit`]. An account may trade with itself: the reference documents no
//! prevention, so there is none.
//! Source: docs/PROTOCOL.md "order types".

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    accounts::{Account, AccountIx},
    book::{Book, Shown, ladder_price, ladder_side},
    notes::{Fate, Note, OrderEvent, OrderNote, Snapshot, Trade},
    rules::{self, NewOrder, Order, Phase, Refusal},
    settle::Timer,
};
use crate::types::{
    InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side, TickSize, TimeInForce, Usdc,
    event::{BookSide, Payout},
};

/// Finished orders and trades that are remembered, so that a venue can run for ever. An order id that was forgotten
/// is no duplicate any more.
pub(super) const CLOSED_MAX: usize = 50_000;

/// A market as it trades.
#[derive(Clone, Debug)]
pub struct Market {
    /// What was fixed at start.
    pub spec: MarketSpec,
    /// The grid now.
    pub tick: TickSize,
    /// The ladder.
    pub book: Book,
    /// Last trade of each token.
    pub last: [Option<(Price, Side)>; 2],
    /// How it was decided.
    pub resolved: Option<Payout>,
    /// Complete sets outstanding, each backed by one pUSD.
    pub sets: Qty,
    /// When its book last changed.
    pub changed: Nanos,
}

/// What became of an order that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Rests.
    Live,
    /// Held by the sports delay.
    Delayed,
    /// Matched at once, wholly or partly.
    Matched {
        /// Shares so far.
        qty: Qty,
        /// Collateral paid or received for them, without fee.
        cash: Usdc,
        /// The trade.
        trade: Arc<str>,
    },
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// It rests no more.
    Canceled,
    /// Unknown, or cancelled before.
    Gone,
    /// It matched before.
    Matched,
    /// Held by the sports delay.
    Delayed,
}

impl Cancel {
    /// The wire's reason. Source: docs/PROTOCOL.md "cancel".
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Canceled => "",
            Self::Gone => "Order not found or already canceled",
            Self::Matched => "Order already matched",
            Self::Delayed => "cannot cancel because the order is in delayed status",
        }
    }
}

/// The exchange.
#[derive(Debug)]
pub struct Exchange {
    pub(super) markets: Vec<Market>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: HashMap<OrderHash, Order>,
    pub(super) trades: BTreeMap<u64, Arc<Trade>>,
    pub(super) fates: HashMap<u64, Fate>,
    /// Trades that were to fail and settled, because what they moved had moved on.
    pub fates_refused: u64,
    pub(super) timers: BinaryHeap<Reverse<(Nanos, u64, Timer)>>,
    pub(super) notes: Vec<Note>,
    flushed: usize,
    /// Finished orders that came from outside and are remembered; [`CLOSED_MAX`] if nobody changes it.
    pub keep_closed: usize,
    closed: VecDeque<OrderHash>,
    pub(super) again: BTreeSet<InstrumentIx>,
    touched: BTreeSet<(MarketIx, bool, Price)>,
    tops: Vec<[Option<Shown>; 2]>,
    hold_ns: Vec<u64>,
    pub(super) timer_seq: u64,
    pub(super) trade_seq: u64,
    pub(super) seed: u64,
    pub(super) fees: Usdc,
    pub(super) dust: Usdc,
}

impl Exchange {
    /// An exchange of these markets. `speed` shortens the sports delay; all other times are wall time.
    pub fn new(markets: Vec<MarketSpec>, seed: u64, speed: f64) -> Self {
        let hold_ns = markets.iter().map(|m| (f64::from(m.hold_ms) * 1e6 / speed.max(1e-6)) as u64).collect();
        let tops = vec![[None; 2]; markets.len()];
        let markets = markets
            .into_iter()
            .map(|spec| Market {
                tick: spec.tick,
                book: Book::default(),
                last: [None; 2],
                resolved: None,
                sets: Qty::ZERO,
                changed: Nanos::default(),
                spec,
            })
            .collect();
        Self {
            markets,
            accounts: Vec::new(),
            orders: HashMap::new(),
            trades: BTreeMap::new(),
            fates: HashMap::new(),
            fates_refused: 0,
            timers: BinaryHeap::new(),
            notes: Vec::new(),
            flushed: 0,
            keep_closed: CLOSED_MAX,
            closed: VecDeque::new(),
            again: BTreeSet::new(),
            touched: BTreeSet::new(),
            tops,
            hold_ns,
            timer_seq: 0,
            trade_seq: 0,
            seed,
            fees: Usdc::ZERO,
            dust: Usdc::ZERO,
        }
    }

    /// Opens an account; `account` makes it for the number of tokens that it is given.
    pub fn open(&mut self, account: impl FnOnce(usize) -> Account) -> AccountIx {
        let ix = AccountIx(self.accounts.len() as u32);
        self.accounts.push(account(self.markets.len() * 2));
        ix
    }

    /// The markets.
    pub fn markets(&self) -> &[Market] {
        &self.markets
    }

    /// A market.
    pub fn market(&self, m: MarketIx) -> &Market {
        &self.markets[m.ix()]
    }

    /// An account.
    pub fn account(&self, a: AccountIx) -> &Account {
        &self.accounts[a.ix()]
    }

    /// Every account.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// An order that came from outside, alive or not; a trader's while it lives.
    pub fn order(&self, id: &OrderHash) -> Option<&Order> {
        self.orders.get(id)
    }

    /// Every order known.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// Every trade known, oldest first.
    pub fn trades(&self) -> impl DoubleEndedIterator<Item = &Arc<Trade>> {
        self.trades.values()
    }

    /// A trade by its number.
    pub fn trade(&self, number: u64) -> Option<&Arc<Trade>> {
        self.trades.get(&number)
    }

    /// A token's whole book as it is now.
    pub fn snapshot(&self, i: InstrumentIx) -> Snapshot {
        let m = self.market(i.market());
        let side = |s| m.book.levels_of(i.outcome(), s).collect();
        Snapshot {
            instrument: i,
            bids: side(BookSide::Bid),
            asks: side(BookSide::Ask),
            tick: m.tick,
            last: m.last[i.outcome() as usize].map(|(p, _)| p),
            changed: m.changed,
        }
    }

    /// What happened since the last call, in order.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.flushed = 0;
        std::mem::take(&mut self.notes)
    }

    /// Takes an order or refuses it.
    pub fn submit(&mut self, new: NewOrder, now: Nanos) -> Result<Ack, Refusal> {
        let order = self.admit(new, now)?;
        let id = order.new.id;
        let market = order.new.instrument.market();
        let crosses = self.crosses(&order);
        self.orders.insert(id, order);
        let reserve = self.taking_reservation(&id, crosses);
        self.set_reserved(&id, reserve);
        let ack = if !crosses {
            self.rest(&id);
            self.note(&id, OrderEvent::Placement);
            Ack::Live
        } else if self.hold_ns[market.ix()] > 0 {
            self.set_phase(&id, Phase::Delayed);
            self.note(&id, OrderEvent::Placement);
            self.at(now.plus(self.hold_ns[market.ix()]), Timer::Release(id));
            Ack::Delayed
        } else {
            self.note(&id, OrderEvent::Placement);
            // A crossing order meets at least one maker, unless it cannot pay the fee of an improved price.
            let trade = self.take(&id, now);
            let Some((o, trade)) = self.orders.get(&id).zip(trade) else {
                self.flush(now);
                return Err(Refusal::Balance);
            };
            Ack::Matched { qty: o.matched, cash: o.cash, trade }
        };
        self.forget_if_closed(&id);
        self.flush(now);
        Ok(ack)
    }

    /// Applies every rule that can refuse.
    fn admit(&self, new: NewOrder, now: Nanos) -> Result<Order, Refusal> {
        let (id, immediate) = (new.id, new.tif.is_immediate());
        if self.orders.contains_key(&id) {
            return Err(Refusal::Duplicate(id));
        }
        let market = self.market(new.instrument.market());
        let token = market.spec.tokens[new.instrument.outcome() as usize];
        if market.resolved.is_some() {
            return Err(Refusal::NoBook(token.to_string()));
        }
        let Some(price) = rules::signed_price(&new, market.tick) else {
            return Err(Refusal::Tick(id, implied_price(&new), market.tick));
        };
        if let TimeInForce::Gtd { expires_s } = new.tif
            && expires_s < now.secs() + rules::GTD_LEAST_AHEAD_S
        {
            return Err(Refusal::Expiration);
        }
        if new.post_only && immediate {
            return Err(Refusal::PostOnlyKind);
        }
        let order = Order {
            price,
            matched: Qty::ZERO,
            cash: Usdc::ZERO,
            reserved: 0,
            phase: Phase::Live,
            created: now,
            trades: Vec::new(),
            new,
        };
        let least = if immediate { Qty::DUST } else { market.spec.min_size };
        if order.size() < least {
            return Err(Refusal::Size(id, order.size(), least));
        }
        let crosses = self.crosses(&order);
        if order.new.post_only && crosses {
            return Err(Refusal::Crosses);
        }
        let spends = Usdc(i64::try_from(order.new.maker_amount).unwrap_or(i64::MAX));
        if crosses && order.new.side == Side::Buy && spends < rules::MIN_MARKETABLE_BUY {
            return Err(Refusal::Amount(spends));
        }
        let account = self.account(order.new.account);
        let free = match order.new.side {
            Side::Buy => account.free_cash().micro().max(0) as u64,
            Side::Sell => account.holding(order.new.instrument).free().micro(),
        };
        if self.reservation_of(&order, crosses) > free {
            return Err(Refusal::Balance);
        }
        let holds = self.hold_ns[order.new.instrument.market().ix()] > 0;
        match order.new.tif {
            TimeInForce::Fok if !crosses || (!holds && !self.fills_whole(&order)) => Err(Refusal::Fok),
            TimeInForce::Fak if !crosses => Err(Refusal::Fak),
            _ => Ok(order),
        }
    }

    /// Cancels an order of `owner`.
    pub fn cancel(&mut self, id: &OrderHash, owner: &str, now: Nanos) -> Cancel {
        let outcome = match self.orders.get(id) {
            Some(o) if *o.new.owner == *owner => match o.phase {
                Phase::Live => Cancel::Canceled,
                Phase::Matched => Cancel::Matched,
                Phase::Delayed => Cancel::Delayed,
                Phase::Canceled(_) => Cancel::Gone,
            },
            _ => Cancel::Gone,
        };
        if outcome == Cancel::Canceled {
            self.end(id, "CANCELED");
            self.flush(now);
        }
        outcome
    }

    /// The open orders (resting or held) that satisfy a test, oldest first.
    pub fn open_orders(&self, keep: impl Fn(&Order) -> bool) -> Vec<OrderHash> {
        let mut found: Vec<_> = self
            .orders
            .values()
            .filter(|o| matches!(o.phase, Phase::Live | Phase::Delayed) && keep(o))
            .map(|o| (o.created, o.new.id))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// True if the order would match now.
    pub(super) fn crosses(&self, order: &Order) -> bool {
        let outcome = order.new.instrument.outcome();
        let book = &self.market(order.new.instrument.market()).book;
        let opposite = ladder_side(outcome, order.new.side).other();
        book.best(opposite).is_some_and(|(p, _)| acceptable(order, ladder_price(outcome, p)))
    }

    /// True if the book has enough for a fill-or-kill.
    pub(super) fn fills_whole(&self, order: &Order) -> bool {
        let outcome = order.new.instrument.outcome();
        let opposite = ladder_side(outcome, order.new.side).other();
        let mut probe = order.clone();
        for (ladder, resting) in self.market(order.new.instrument.market()).book.levels(opposite) {
            let price = ladder_price(outcome, ladder);
            if probe.is_done() || !acceptable(&probe, price) {
                break;
            }
            let qty = probe.leaves_at(price).min(resting);
            probe.matched += qty;
            probe.cash += qty.notional_floor(price);
        }
        probe.is_done()
    }

    /// Collateral or shares that an order needs: a buy that would match also the worst fee at its limit.
    fn reservation_of(&self, order: &Order, crosses: bool) -> u64 {
        let fee = match order.new.side {
            Side::Buy if crosses => {
                let spec = &self.market(order.new.instrument.market()).spec;
                rules::taker_fee(&spec.fee, order.leaves(), order.price).micro().unsigned_abs()
            }
            _ => 0,
        };
        order.rest_reservation().saturating_add(fee)
    }

    fn taking_reservation(&self, id: &OrderHash, crosses: bool) -> u64 {
        self.orders.get(id).map_or(0, |o| self.reservation_of(o, crosses))
    }

    /// Changes what is reserved for an order.
    pub(super) fn set_reserved(&mut self, id: &OrderHash, amount: u64) {
        let Some(order) = self.orders.get_mut(id) else { return };
        let before = std::mem::replace(&mut order.reserved, amount);
        let account = &mut self.accounts[order.new.account.ix()];
        match order.new.side {
            Side::Buy => account.reserved = account.reserved + Usdc(amount as i64) - Usdc(before as i64),
            Side::Sell => {
                let h = account.holding_mut(order.new.instrument);
                h.reserved = (h.reserved + Qty(amount)).saturating_sub(Qty(before));
            }
        }
    }

    pub(super) fn set_phase(&mut self, id: &OrderHash, phase: Phase) {
        if let Some(order) = self.orders.get_mut(id) {
            order.phase = phase;
        }
    }

    /// Puts what is left of an order into the book.
    pub(super) fn rest(&mut self, id: &OrderHash) {
        let Some(order) = self.orders.get(id) else { return };
        let (i, leaves, reserve, tif) = (order.new.instrument, order.leaves(), order.rest_reservation(), order.new.tif);
        let (side, price) = (ladder_side(i.outcome(), order.new.side), ladder_price(i.outcome(), order.price));
        self.set_phase(id, Phase::Live);
        self.set_reserved(id, reserve);
        self.markets[i.market().ix()].book.add(side, price, *id, leaves);
        self.touch(i.market(), side, price);
        if let TimeInForce::Gtd { expires_s } = tif {
            let stop_s = expires_s.saturating_sub(rules::GTD_STOPS_BEFORE_S);
            self.at(Nanos(stop_s.saturating_mul(1_000_000_000)), Timer::Expire(*id));
        }
    }

    /// The venue ends an open order: as [`Self::end`], and a scenario trader hears of it.
    pub(super) fn remove(&mut self, id: &OrderHash, status: &str) {
        let tag = self.orders.get(id).and_then(|o| o.new.tag);
        self.end(id, status);
        self.notes.extend(tag.map(Note::Gone));
    }

    /// Ends an order that is not in the book, and tells its trader unless its last fill has.
    pub(super) fn kill(&mut self, id: &OrderHash, status: &str) {
        self.close(id, Phase::Canceled(status.into()), OrderEvent::Cancellation);
        let said = |o: &&Order| o.new.tif.is_immediate() && !o.trades.is_empty();
        let tag = self.orders.get(id).filter(|o| !said(o)).and_then(|o| o.new.tag);
        self.notes.extend(tag.map(Note::Gone));
    }

    /// Ends an open order: out of the book, nothing reserved, a CANCELLATION told.
    fn end(&mut self, id: &OrderHash, status: &str) {
        let Some(order) = self.orders.get(id) else { return };
        let i = order.new.instrument;
        if order.phase == Phase::Live {
            let (side, price) = (ladder_side(i.outcome(), order.new.side), ladder_price(i.outcome(), order.price));
            let leaves = order.leaves();
            self.markets[i.market().ix()].book.reduce(side, price, leaves, Some(*id));
            self.touch(i.market(), side, price);
        }
        self.close(id, Phase::Canceled(status.into()), OrderEvent::Cancellation);
        self.forget_if_closed(id);
    }

    pub(super) fn close(&mut self, id: &OrderHash, phase: Phase, event: OrderEvent) {
        self.set_reserved(id, 0);
        self.set_phase(id, phase);
        self.note(id, event);
    }

    /// A trader's finished order is not kept: nobody can ask for it. Of the others the newest [`Self::keep_closed`]
    /// are.
    pub(super) fn forget_if_closed(&mut self, id: &OrderHash) {
        let closed = |o: &Order| matches!(o.phase, Phase::Matched | Phase::Canceled(_));
        let Some(order) = self.orders.get(id).filter(|o| closed(o)) else { return };
        if order.new.tag.is_some() {
            self.orders.remove(id);
            return;
        }
        self.closed.push_back(*id);
        if self.closed.len() > self.keep_closed
            && let Some(oldest) = self.closed.pop_front()
        {
            self.orders.remove(&oldest);
        }
    }

    pub(super) fn touch(&mut self, market: MarketIx, side: BookSide, ladder: Price) {
        self.touched.insert((market, side == BookSide::Ask, ladder));
    }

    /// Tells an order event.
    pub(super) fn note(&mut self, id: &OrderHash, event: OrderEvent) {
        if let Some(o) = self.orders.get(id).filter(|o| o.new.tag.is_none()) {
            self.notes.push(Note::Order(OrderNote {
                event,
                new: o.new.clone(),
                price: o.price,
                size: o.size(),
                matched: o.matched,
                phase: o.phase.clone(),
                created: o.created,
                trades: o.trades.clone(),
            }));
        }
    }

    /// Tells what an operation changed in the books, once, at its end.
    pub(super) fn flush(&mut self, now: Nanos) {
        let touched = std::mem::take(&mut self.touched);
        let mut by_market: BTreeMap<MarketIx, Vec<(BookSide, Price, Qty)>> = BTreeMap::new();
        for (m, ask, price) in touched {
            let side = if ask { BookSide::Ask } else { BookSide::Bid };
            let total = self.market(m).book.total(side, price);
            by_market.entry(m).or_default().push((side, price, total));
        }
        for (market, changes) in by_market {
            let m = &mut self.markets[market.ix()];
            m.changed = now;
            let tops = [m.book.best(BookSide::Bid), m.book.best(BookSide::Ask)];
            let top_moved = std::mem::replace(&mut self.tops[market.ix()], tops) != tops;
            // Levels come before the trade that changed them, as captures show.
            let fresh = &self.notes[self.flushed..];
            let at = fresh.iter().position(|n| matches!(n, Note::LastTrade { .. })).unwrap_or(fresh.len());
            self.notes.insert(self.flushed + at, Note::Levels { market, changes, tops, top_moved });
        }
        for i in std::mem::take(&mut self.again) {
            let snapshot = self.snapshot(i);
            self.notes.push(Note::Book(snapshot));
        }
        self.flushed = self.notes.len();
    }

    /// Checks that every micro-pUSD and micro-share is accounted for; the error says what is not.
    ///
    /// Deposits = cash of all accounts + collateral behind outstanding sets + fees collected + what rounding at a
    /// ½-½ resolution left behind; the supply of each token of an open market equals its outstanding sets.
    pub fn audit(&self) -> Result<(), String> {
        let total = |f: fn(&Account) -> Usdc| self.accounts.iter().map(f).sum::<Usdc>();
        let locked: Usdc =
            self.markets.iter().filter(|m| m.resolved.is_none()).map(|m| Usdc(m.sets.micro() as i64)).sum();
        let accounted = total(|a| a.cash) + locked + self.fees + self.dust;
        if accounted != total(|a| a.deposits) {
            return Err(format!("deposits {} but {accounted} accounted for", total(|a| a.deposits)));
        }
        if let Some(a) = self.accounts.iter().find(|a| !a.is_sound()) {
            return Err(format!("account {} does not add up: {a:?}", a.funder));
        }
        for (m, market) in self.markets.iter().enumerate().filter(|(_, m)| m.resolved.is_none()) {
            for i in [2 * m, 2 * m + 1].map(|i| InstrumentIx(i as u16)) {
                let supply = self.accounts.iter().fold(Qty::ZERO, |sum, a| sum + a.holding(i).balance);
                if supply != market.sets {
                    return Err(format!("supply of token {} is {supply}, sets {}", i.0, market.sets));
                }
            }
            let uncrossed = match (market.book.best(BookSide::Bid), market.book.best(BookSide::Ask)) {
                (Some((bid, _)), Some((ask, _))) => bid < ask,
                _ => true,
            };
            if !uncrossed {
                return Err(format!("the book of market {m} is crossed"));
            }
        }
        Ok(())
    }
}

/// True if a taker may trade at this price of its own token.
pub(super) fn acceptable(order: &Order, price: Price) -> bool {
    match order.new.side {
        Side::Buy => price <= order.price,
        Side::Sell => price >= order.price,
    }
}

/// The price that an order's amounts imply, to six decimals, for the text of a refusal.
fn implied_price(new: &NewOrder) -> String {
    let (cash, shares) = match new.side {
        Side::Buy => (new.maker_amount, new.taker_amount),
        Side::Sell => (new.taker_amount, new.maker_amount),
    };
    let micro = u128::from(cash) * 1_000_000 / u128::from(shares.max(1));
    Usdc(i64::try_from(micro).unwrap_or(i64::MAX)).to_string()
}
