//! Step 8 of 9: the orders we know, each at its place in its life.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{
    digest::StateHasher,
    life::{self, Input, Then},
    risk::Approved,
};
use crate::types::{
    MarketIx, Nanos, OrderHash, Price, Qty, Side,
    event::BookSide,
    ids::InstrumentIx,
    order::{Intent, OrderState},
};

/// Orders remembered at once, the finished ones included.
pub const ORDERS_MAX: usize = 4_096;
/// Orders working at once in one market.
pub const WORKING_MAX: usize = 16;
/// Finished orders are remembered this long, for trades that come late.
const REMEMBER_NS: u64 = 120_000_000_000;

/// Trades follow the venue's word of a match within this; later they were missed.
const TRADES_LATE_NS: u64 = 5_000_000_000;
/// Matches that the venue told of and that no trade ever brought are held for so long.
const TRADES_LOST_NS: u64 = 120_000_000_000;
/// An order whose fate is unknown is cancelled again this often.
const UNKNOWN_CANCEL_NS: u64 = 2_000_000_000;
/// Orders that one event can finish and still have told one by one.
const FINISHED_MAX: usize = 64;

/// A cancel that was refused is not asked for again before this.
const CANCEL_PAUSE_NS: u64 = 250_000_000;
/// Finished orders are forgotten, oldest first, while fewer slots than this are free.
const FREE_MIN: usize = 256;

/// One order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id at the venue.
    pub hash: OrderHash,
    /// What was wanted.
    pub intent: Intent,
    /// Where it is in its life.
    pub state: OrderState,
    /// Matched so far, by trades. A trade that fails later does not give the size back: the venue used it up.
    pub filled: Qty,
    /// Matched so far, by the venue's word on the order itself. Trades that bring as much are on their way.
    pub told: Qty,
    /// When `told` last went ahead of `filled`.
    pub told_at: Nanos,
    /// When it was approved.
    pub created: Nanos,
    /// When its state changed last.
    pub changed: Nanos,
    /// When to ask the venue about it next, if it is not in order.
    pub next_lookup: Nanos,
    /// Look-ups in a row that did not find it resting.
    pub misses: u8,
    /// The venue said that it is gone, and told of matches whose trades have not come: these are all that is left.
    pub ended: bool,
    /// Not to be cancelled again before this: a venue that just said no says it again.
    pub cancel_again: Nanos,
    /// The user stream was down while it worked: the venue is to say what became of it before anything else is placed.
    pub unverified: bool,
    /// The reading that listed it last.
    pub listed: u32,
}

impl Order {
    /// Not yet filled; zero once it is finished.
    #[inline]
    pub fn leaves(&self) -> Qty {
        match (self.state.is_terminal(), self.ended) {
            (true, _) => Qty::ZERO,
            (false, true) => self.told.min(self.intent.qty).saturating_sub(self.filled),
            (false, false) => self.intent.qty.saturating_sub(self.filled),
        }
    }

    /// True while it may rest at the venue and a cancel makes sense.
    pub fn cancellable(&self, now: Nanos) -> bool {
        // One whose fate is unknown may be resting: that the venue says it is not there proves nothing, so it is asked
        // for again.
        let may_rest = self.state.is_resting() && !self.intent.tif.is_immediate() || self.state == OrderState::Unknown;
        may_rest && now >= self.cancel_again
    }

    /// True if the venue told of more matches than its trades have brought by now.
    pub fn lacks_trades(&self, now: Nanos) -> bool {
        self.awaits_trades() && now.since(self.told_at) >= TRADES_LATE_NS
    }

    /// True if it is gone and the last trade that was waited for has come.
    pub fn is_complete(&self) -> bool {
        self.ended && !self.awaits_trades()
    }

    fn awaits_trades(&self) -> bool {
        self.told > self.filled + Qty::DUST
    }
}

/// Trades of an order add up to more than its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overfill;

/// Order hashes are uniform already: their first eight bytes are the table's hash.
#[derive(Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length that arrays put before their bytes says nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// Every order we know: working ones by market, finished ones until they are forgotten.
#[derive(Debug)]
pub struct Orders {
    slots: Vec<Option<Order>>,
    free: Vec<u16>,
    index: HashMap<OrderHash, u16, BuildHasherDefault<Prefix>>,
    working: Vec<heapless::Vec<u16, WORKING_MAX>>,
    finished: std::collections::VecDeque<(Nanos, u16)>,
    /// Finished since the shell last asked, and shown by the venue to have arrived, for its write-ahead log.
    just_finished: heapless::Vec<OrderHash, FINISHED_MAX>,
    just_arrived: heapless::Vec<OrderHash, FINISHED_MAX>,
    /// Slots of orders of which the venue told of more than their trades had brought: some have caught up since. All
    /// that is remembered is too much to look through each second.
    awaiting: Vec<u16>,
    /// Inputs that the table calls impossible.
    impossible: u64,
    /// Markets in which something opened, closed or was filled since they were last taken: bit n is market n.
    moved: u64,
}

impl Orders {
    /// An empty table for some markets.
    pub fn new(markets: usize) -> Self {
        Self {
            slots: vec![None; ORDERS_MAX],
            free: (0..ORDERS_MAX as u16).rev().collect(),
            index: HashMap::with_capacity_and_hasher(2 * ORDERS_MAX, BuildHasherDefault::default()),
            working: vec![heapless::Vec::new(); markets],
            finished: std::collections::VecDeque::with_capacity(ORDERS_MAX),
            just_finished: heapless::Vec::new(),
            just_arrived: heapless::Vec::new(),
            awaiting: Vec::with_capacity(ORDERS_MAX),
            impossible: 0,
            moved: 0,
        }
    }

    /// True if one more order fits in the table and in its market.
    pub fn room(&self, market: MarketIx) -> bool {
        !self.free.is_empty() && !self.working[market.ix()].is_full()
    }

    /// Registers an approved order, before it is sent. False if it is known already or there is no room.
    pub fn register(&mut self, approved: &Approved, now: Nanos) -> bool {
        self.insert(approved.hash(), *approved.intent(), OrderState::Created, now, now)
    }

    /// Registers an order of an earlier run whose end is not known. `arrived`: the venue had it. False if there is no
    /// room.
    pub fn recover(&mut self, hash: OrderHash, intent: Intent, created: Nanos, arrived: bool, now: Nanos) -> bool {
        let state = if arrived { OrderState::Live } else { OrderState::Unknown };
        let known = usize::from(intent.instrument.market().0) < self.working.len()
            && self.insert(hash, intent, state, created, now);
        if known && arrived {
            self.distrust(&hash);
        }
        known
    }

    fn insert(&mut self, hash: OrderHash, intent: Intent, state: OrderState, created: Nanos, now: Nanos) -> bool {
        let market = intent.instrument.market();
        if self.index.contains_key(&hash) || !self.room(market) {
            return false;
        }
        let Some(slot) = self.free.pop() else { return false };
        self.moved |= 1 << market.0;
        self.slots[usize::from(slot)] = Some(Order {
            hash,
            intent,
            state,
            filled: Qty::ZERO,
            told: Qty::ZERO,
            told_at: now,
            created,
            changed: now,
            next_lookup: now,
            misses: 0,
            cancel_again: now,
            unverified: false,
            ended: false,
            listed: 0,
        });
        self.index.insert(hash, slot);
        // There is room: it was asked for above.
        let _ = self.working[market.ix()].push(slot);
        true
    }

    /// The order with a hash.
    pub fn get(&self, hash: &OrderHash) -> Option<&Order> {
        self.slots[usize::from(*self.index.get(hash)?)].as_ref()
    }

    /// Working orders of a market.
    #[inline]
    pub fn working(&self, market: MarketIx) -> impl Iterator<Item = &Order> + '_ {
        self.working[market.ix()].iter().filter_map(|&s| self.slots[usize::from(s)].as_ref())
    }

    /// Working orders of every market.
    pub fn all_working(&self) -> impl Iterator<Item = &Order> + '_ {
        (0..self.working.len() as u16).flat_map(|m| self.working(MarketIx(m)))
    }

    /// How many orders work.
    pub fn open(&self) -> usize {
        self.working.iter().map(|w| w.len()).sum()
    }

    /// How many are in the unknown state.
    pub fn unresolved(&self) -> usize {
        self.all_working().filter(|o| o.state == OrderState::Unknown).count()
    }

    /// Applies an input; returns the states before and after, or `None` for an order that we do not know.
    pub fn apply(&mut self, hash: &OrderHash, input: Input, now: Nanos) -> Option<(OrderState, OrderState)> {
        let slot = *self.index.get(hash)?;
        let order = self.slots[usize::from(slot)].as_mut()?;
        let before = order.state;
        let after = match life::then(before, input) {
            // What matched is held until its trades are booked: meanwhile nobody may think that there is nothing.
            Then::To(OrderState::Cancelled | OrderState::Expired | OrderState::Failed)
                if !before.is_terminal() && order.awaits_trades() && now.since(order.told_at) < TRADES_LOST_NS =>
            {
                order.ended = true;
                OrderState::CancelPending
            }
            // One that was filled in part before the venue's word of it came rests, filled in part.
            Then::To(OrderState::Live) if !order.filled.is_zero() => OrderState::PartiallyFilled,
            Then::To(after) => after,
            Then::Stay => before,
            Then::Impossible(_) => {
                self.impossible += 1;
                order.unverified = !before.is_terminal();
                before
            }
        };
        if input == Input::CancelAsked && before == OrderState::Unknown {
            order.cancel_again = now.plus(UNKNOWN_CANCEL_NS);
        }
        if after != before {
            if before == OrderState::CancelPending && after.is_resting() {
                order.cancel_again = now.plus(CANCEL_PAUSE_NS);
            }
            order.state = after;
            order.ended &= !after.is_resting();
            order.changed = now;
            order.misses = 0;
            let market = order.intent.instrument.market();
            let was_doubtful = matches!(before, OrderState::Created | OrderState::Sent | OrderState::Unknown);
            if was_doubtful && matches!(after, OrderState::Live | OrderState::PartiallyFilled | OrderState::Delayed) {
                // One that is not told counts as one that may come late.
                let _ = self.just_arrived.push(*hash);
            }
            if before.is_terminal() != after.is_terminal() {
                self.moved |= 1 << market.0;
            }
            match (before.is_terminal(), after.is_terminal()) {
                (false, true) => {
                    let list = &mut self.working[market.ix()];
                    if let Some(at) = list.iter().position(|&s| s == slot) {
                        list.remove(at);
                    }
                    self.finished.push_back((now, slot));
                    // One that is not told stays in the log, and is asked after by the next run.
                    let _ = self.just_finished.push(*hash);
                }
                // It lives after all. If its market is full it stays known, and its fills still count.
                (true, false) => {
                    self.finished.retain(|&(_, s)| s != slot);
                    let _ = self.working[market.ix()].push(slot);
                }
                _ => {}
            }
        }
        Some((before, after))
    }

    /// Orders that finished since they were last forgotten.
    pub fn just_finished(&self) -> &[OrderHash] {
        &self.just_finished
    }

    /// Orders that the venue showed since they were last forgotten.
    pub fn just_arrived(&self) -> &[OrderHash] {
        &self.just_arrived
    }

    /// Whoever wanted to know has been told.
    pub fn forget_finished(&mut self) {
        self.just_finished.clear();
        self.just_arrived.clear();
    }

    /// Markets in which something opened, closed or was filled since this was last asked: bit n is market n.
    #[inline]
    pub fn take_moved(&mut self) -> u64 {
        core::mem::take(&mut self.moved)
    }

    /// Inputs that venue and gateway cannot both have meant.
    pub fn impossible(&self) -> u64 {
        self.impossible
    }

    /// Counts a fill of a known order; finishes it when it is full but for dust. An error: it matched more than its
    /// size. An unknown order has no size.
    pub fn fill(&mut self, hash: &OrderHash, qty: Qty, now: Nanos) -> Result<(), Overfill> {
        let Some(order) = self.get_mut(hash) else { return Ok(()) };
        order.filled += qty;
        let market = order.intent.instrument.market();
        let (filled, wanted) = (order.filled, order.intent.qty);
        let input = if filled + Qty::DUST > wanted { Input::FilledUp } else { Input::FilledPart };
        self.moved |= 1 << market.0;
        self.apply(hash, input, now);
        if filled > wanted + Qty::DUST { Err(Overfill) } else { Ok(()) }
    }

    /// The venue's word of how much of an order matched.
    pub fn told(&mut self, hash: &OrderHash, matched: Qty, now: Nanos) {
        let Some(&slot) = self.index.get(hash) else { return };
        let Some(order) = self.slots[usize::from(slot)].as_mut().filter(|o| matched > o.told) else { return };
        let awaited = order.awaits_trades();
        order.told = matched;
        order.told_at = now;
        if !awaited && order.awaits_trades() {
            if self.awaiting.len() == ORDERS_MAX {
                self.forget_complete();
            }
            self.awaiting.push(slot);
        }
    }

    /// Forgets which orders missed trades and do no more.
    fn forget_complete(&mut self) {
        let slots = &self.slots;
        self.awaiting.retain(|slot| slots[usize::from(*slot)].as_ref().is_some_and(Order::awaits_trades));
    }

    /// True while the fate of an order like this one is unknown: another would be the same intent signed twice.
    pub fn unresolved_twin(&self, intent: &Intent) -> bool {
        self.working(intent.instrument.market()).any(|o| {
            let i = &o.intent;
            o.state == OrderState::Unknown
                && (i.instrument, i.side, i.strategy) == (intent.instrument, intent.side, intent.strategy)
        })
    }

    /// True if an order misses trades that the venue told of.
    pub fn any_lacks_trades(&mut self, now: Nanos) -> bool {
        self.forget_complete();
        self.awaiting.iter().filter_map(|slot| self.slots[usize::from(*slot)].as_ref()).any(|o| o.lacks_trades(now))
    }

    /// Marks every working order as in need of the venue's word; true if there is any.
    pub fn distrust_all(&mut self) -> bool {
        let mut any = false;
        for &slot in self.working.iter().flatten() {
            if let Some(order) = self.slots[usize::from(slot)].as_mut() {
                order.unverified = true;
                order.misses = 0;
                any = true;
            }
        }
        any
    }

    /// Marks every working order of a market as in need of the venue's word.
    pub fn distrust_market(&mut self, market: MarketIx) {
        for &slot in &self.working[market.ix()] {
            if let Some(order) = self.slots[usize::from(slot)].as_mut() {
                order.unverified = true;
                order.misses = 0;
            }
        }
    }

    /// An order needs the venue's word.
    pub fn distrust(&mut self, hash: &OrderHash) {
        if let Some(order) = self.get_mut(hash) {
            order.unverified = true;
            order.misses = 0;
        }
    }

    /// A reading lists an order as open.
    pub fn listed(&mut self, hash: &OrderHash, round: u32) {
        if let Some(order) = self.get_mut(hash) {
            order.listed = round;
        }
    }

    /// Orders that rested before a reading began and are not in it: the venue is to say what became of each.
    pub fn distrust_unlisted(&mut self, round: u32, began: Nanos) {
        for &slot in self.working.iter().flatten() {
            if let Some(order) = self.slots[usize::from(slot)].as_mut()
                && order.listed != round
                && order.changed < began
                && matches!(order.state, OrderState::Live | OrderState::PartiallyFilled | OrderState::CancelPending)
                && !order.intent.tif.is_immediate()
                && !order.unverified
            {
                order.unverified = true;
                order.misses = 0;
            }
        }
    }

    /// The venue said what became of an order.
    pub fn verified(&mut self, hash: &OrderHash) {
        if let Some(order) = self.get_mut(hash) {
            order.unverified = false;
        }
    }

    /// True while an order needs the venue's word.
    pub fn any_unverified(&self) -> bool {
        self.all_working().any(|o| o.unverified)
    }

    /// Notes a look-up: when the next is due, and whether this one missed.
    pub fn note_lookup(&mut self, hash: &OrderHash, due: Nanos) {
        if let Some(order) = self.get_mut(hash) {
            order.next_lookup = due;
        }
    }

    /// Counts a look-up that did not find the order resting; returns how many in a row.
    pub fn note_miss(&mut self, hash: &OrderHash) -> u8 {
        self.get_mut(hash).map_or(0, |o| {
            o.misses = o.misses.saturating_add(1);
            o.misses
        })
    }

    fn get_mut(&mut self, hash: &OrderHash) -> Option<&mut Order> {
        self.slots[usize::from(*self.index.get(hash)?)].as_mut()
    }

    /// Forgets orders that finished long ago.
    pub fn forget_old(&mut self, now: Nanos) {
        while let Some(&(when, slot)) = self.finished.front() {
            if now.since(when) < REMEMBER_NS && self.free.len() >= FREE_MIN {
                break;
            }
            self.finished.pop_front();
            if let Some(order) = self.slots[usize::from(slot)].take() {
                self.index.remove(&order.hash);
                self.free.push(slot);
            }
        }
    }

    /// How much of a book's level is ours, our buys of the mirror token included: they show there as asks.
    pub fn own_at(&self, instrument: InstrumentIx, side: BookSide, price: Price) -> Qty {
        self.working(instrument.market())
            .filter(|o| o.state != OrderState::Created && o.state != OrderState::Sent)
            .filter(|o| {
                let own_side = if o.intent.side == Side::Buy { BookSide::Bid } else { BookSide::Ask };
                if o.intent.instrument == instrument {
                    own_side == side && o.intent.price == price
                } else {
                    own_side == side.other() && o.intent.price.complement() == price
                }
            })
            .fold(Qty::ZERO, |sum, o| sum + o.leaves())
    }

    /// Every order that is remembered, into the state hash.
    pub(super) fn digest(&self, h: &mut StateHasher) {
        for (slot, order) in self.slots.iter().enumerate() {
            let Some(o) = order else { continue };
            h.u64(slot as u64);
            let i = &o.intent;
            h.bytes(&o.hash.0);
            h.u64(u64::from(i.instrument.0) << 32 | u64::from(i.price.units()) << 16 | (i.side as u64) << 8);
            h.u64((i.purpose as u64) << 16 | (i.strategy as u64) << 8 | u64::from(i.post_only));
            h.u64(i.qty.micro());
            h.u64(i.tif.expiration_s() << 1 | u64::from(i.tif.is_immediate()));
            h.u64(
                u64::from(o.listed) << 32 | (o.state as u64) << 16 | u64::from(o.misses) << 8 | u64::from(o.unverified),
            );
            h.u64(u64::from(o.ended));
            h.u64(o.filled.micro());
            h.u64(o.told.micro());
            h.u64(u64::from(i.epoch));
            for at in [o.told_at, o.created, o.changed, o.next_lookup, o.cancel_again] {
                h.u64(at.0);
            }
        }
        h.u64(self.impossible);
        for list in &self.working {
            list.iter().for_each(|&s| h.u64(u64::from(s)));
            h.u64(u64::MAX);
        }
    }
}
