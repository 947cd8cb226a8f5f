//! Step 8 of 9: the life of each order, as one table, and the orders we know.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{digest::StateHasher, risk::Approved};
use crate::types::{
    MarketIx, Nanos, OrderHash, Price, Qty, Side,
    event::{AckStatus, BookSide, CancelRefusal, RejectReason},
    ids::InstrumentIx,
    order::{Intent, OrderState},
};

/// Orders remembered at once, the finished ones included.
pub const ORDERS_MAX: usize = 4_096;
/// Orders working at once in one market.
pub const WORKING_MAX: usize = 16;
/// Finished orders are remembered this long, for trades that come late.
const REMEMBER_NS: u64 = 120_000_000_000;

/// A cancel that was refused is not asked for again before this.
const CANCEL_PAUSE_NS: u64 = 250_000_000;
/// Finished orders are forgotten, oldest first, while fewer slots than this are free.
const FREE_MIN: usize = 256;

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Its last byte left.
    Sent,
    /// The venue took it.
    Acked(AckStatus),
    /// The venue refused it.
    Rejected(RejectReason),
    /// No byte of it left.
    NeverSent,
    /// No clean answer came.
    Unclear,
    /// The user stream, or a look-up, shows it resting.
    SeenLive,
    /// The user stream shows it held.
    SeenDelayed,
    /// The user stream, a cancel's answer, or look-ups, say that it is gone.
    Gone,
    /// Nothing clean was ever heard of it, and by now nothing can be: it never reached the venue.
    NeverArrived,
    /// We asked for its cancellation.
    CancelAsked,
    /// The venue did not cancel it.
    CancelRefused(CancelRefusal),
    /// Fills reached its size (but for dust).
    FilledUp,
}

/// The state after `input` in `state`. Total: what cannot be changed by an input stays as it is.
///
/// Finished is finished, with one exception: an order that we thought never lived and the venue shows alive is alive.
pub const fn next(state: OrderState, input: Input) -> OrderState {
    use OrderState as S;
    match (state, input) {
        // Fills are facts.
        (_, Input::FilledUp) => S::Filled,
        (S::Filled | S::Cancelled, _) => state,
        // The venue's own stream outranks what a broken answer made us believe.
        (S::Rejected | S::NeverSent, Input::SeenLive) => S::Live,
        (S::Rejected | S::NeverSent, Input::SeenDelayed) => S::Delayed,
        (S::Rejected | S::NeverSent, _) => state,
        (_, Input::Gone) => S::Cancelled,
        // Should it show after all, the stream revives it.
        (S::Created | S::Sent | S::Unknown, Input::NeverArrived) => S::NeverSent,
        (S::Created, Input::Sent) => S::Sent,
        (_, Input::Sent) => state,
        (S::Created | S::Sent | S::Unknown, Input::Acked(AckStatus::Live) | Input::SeenLive) => S::Live,
        // Matched at once: whatever is left of it rests (GTC) or is dead (FAK); fills tell which part.
        (S::Created | S::Sent | S::Unknown, Input::Acked(AckStatus::Matched)) => S::Live,
        (S::Created | S::Sent | S::Unknown, Input::Acked(AckStatus::Delayed) | Input::SeenDelayed) => S::Delayed,
        (S::Created | S::Sent, Input::Acked(AckStatus::Unmatched)) => S::Unknown,
        (S::Delayed, Input::SeenLive) => S::Live,
        // The venue has it already: that is no refusal.
        (S::Created | S::Sent, Input::Rejected(RejectReason::Duplicate)) => S::Unknown,
        (S::Created | S::Sent | S::Unknown | S::Delayed, Input::Rejected(_)) => S::Rejected,
        (S::Created, Input::NeverSent) => S::NeverSent,
        (S::Created | S::Sent, Input::Unclear) => S::Unknown,
        (S::Live, Input::CancelAsked) => S::CancelPending,
        // It is still there, or a fill is on its way; the look-up on a timer tells.
        (S::CancelPending, Input::CancelRefused(CancelRefusal::Other)) => S::Live,
        (S::CancelPending, Input::CancelRefused(CancelRefusal::Delayed)) => S::Delayed,
        // Late news about what is known already.
        (S::Created | S::Sent | S::Live | S::Delayed | S::CancelPending | S::Unknown, _) => state,
    }
}

/// One order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id at the venue.
    pub hash: OrderHash,
    /// What was wanted.
    pub intent: Intent,
    /// Where it is in its life.
    pub state: OrderState,
    /// Filled so far, by trades.
    pub filled: Qty,
    /// When it was approved.
    pub created: Nanos,
    /// When its state changed last.
    pub changed: Nanos,
    /// When to ask the venue about it next, if it is not in order.
    pub next_lookup: Nanos,
    /// Look-ups in a row that did not find it resting.
    pub misses: u8,
    /// Not to be cancelled again before this: a venue that just said no says it again.
    pub cancel_again: Nanos,
    /// The user stream was down while it worked: the venue is to say what became of it before anything else is placed.
    pub unverified: bool,
}

impl Order {
    /// Not yet filled; zero once it is finished.
    #[inline]
    pub fn leaves(&self) -> Qty {
        if self.state.is_terminal() { Qty::ZERO } else { self.intent.qty.saturating_sub(self.filled) }
    }

    /// True while it may rest at the venue and a cancel makes sense.
    pub fn cancellable(&self, now: Nanos) -> bool {
        self.state == OrderState::Live && !self.intent.tif.is_immediate() && now >= self.cancel_again
    }
}

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
        }
    }

    /// True if one more order fits in the table and in its market.
    pub fn room(&self, market: MarketIx) -> bool {
        !self.free.is_empty() && !self.working[market.ix()].is_full()
    }

    /// Registers an approved order, before it is sent. False if it is known already or there is no room.
    pub fn register(&mut self, approved: &Approved, now: Nanos) -> bool {
        let (hash, intent) = (approved.hash(), *approved.intent());
        let market = intent.instrument.market();
        if self.index.contains_key(&hash) || !self.room(market) {
            return false;
        }
        let Some(slot) = self.free.pop() else { return false };
        self.slots[usize::from(slot)] = Some(Order {
            hash,
            intent,
            state: OrderState::Created,
            filled: Qty::ZERO,
            created: now,
            changed: now,
            next_lookup: now,
            misses: 0,
            cancel_again: now,
            unverified: false,
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
        let after = next(before, input);
        if after != before {
            if before == OrderState::CancelPending && after == OrderState::Live {
                order.cancel_again = now.plus(CANCEL_PAUSE_NS);
            }
            order.state = after;
            order.changed = now;
            order.misses = 0;
            let market = order.intent.instrument.market();
            match (before.is_terminal(), after.is_terminal()) {
                (false, true) => {
                    let list = &mut self.working[market.ix()];
                    if let Some(at) = list.iter().position(|&s| s == slot) {
                        list.remove(at);
                    }
                    self.finished.push_back((now, slot));
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

    /// Counts a fill of a known order; finishes it when it is full but for dust. False for an unknown order.
    pub fn fill(&mut self, hash: &OrderHash, qty: Qty, now: Nanos) -> bool {
        let Some(order) = self.get_mut(hash) else { return false };
        order.filled += qty;
        if order.filled + Qty::DUST > order.intent.qty {
            self.apply(hash, Input::FilledUp, now);
        }
        true
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

    /// Takes a failed fill back out of a known order. A finished order stays finished.
    pub fn unfill(&mut self, hash: &OrderHash, qty: Qty) {
        if let Some(order) = self.get_mut(hash) {
            order.filled = order.filled.saturating_sub(qty);
        }
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
            h.u64((o.state as u64) << 16 | u64::from(o.misses) << 8 | u64::from(o.unverified));
            h.u64(o.filled.micro());
            for at in [o.created, o.changed, o.next_lookup, o.cancel_again] {
                h.u64(at.0);
            }
        }
        for list in &self.working {
            list.iter().for_each(|&s| h.u64(u64::from(s)));
            h.u64(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use OrderState as S;

    use super::*;

    /// A rule book: state, what happens, state after.
    #[test]
    fn an_order_s_life_is_this_table() {
        use AckStatus as A;
        use CancelRefusal as C;
        let table = [
            (S::Created, Input::Sent, S::Sent),
            (S::Created, Input::NeverSent, S::NeverSent),
            (S::Created, Input::Unclear, S::Unknown),
            (S::Sent, Input::Acked(A::Live), S::Live),
            (S::Sent, Input::Acked(A::Matched), S::Live),
            (S::Sent, Input::Acked(A::Delayed), S::Delayed),
            (S::Sent, Input::Acked(A::Unmatched), S::Unknown),
            (S::Sent, Input::Rejected(RejectReason::Crosses), S::Rejected),
            (S::Sent, Input::Rejected(RejectReason::Duplicate), S::Unknown),
            (S::Sent, Input::Unclear, S::Unknown),
            // Once a byte left, "never sent" is not believed.
            (S::Sent, Input::NeverSent, S::Sent),
            // The user stream may come before the answer.
            (S::Created, Input::SeenLive, S::Live),
            (S::Live, Input::Acked(A::Live), S::Live),
            (S::Live, Input::Rejected(RejectReason::Other), S::Live),
            (S::Live, Input::CancelAsked, S::CancelPending),
            (S::Live, Input::Gone, S::Cancelled),
            (S::Delayed, Input::CancelAsked, S::Delayed),
            (S::Delayed, Input::SeenLive, S::Live),
            (S::CancelPending, Input::Gone, S::Cancelled),
            (S::CancelPending, Input::CancelRefused(C::Matched), S::CancelPending),
            (S::CancelPending, Input::CancelRefused(C::Other), S::Live),
            (S::CancelPending, Input::SeenLive, S::CancelPending),
            (S::CancelPending, Input::FilledUp, S::Filled),
            (S::Unknown, Input::SeenLive, S::Live),
            (S::Unknown, Input::Gone, S::Cancelled),
            (S::Unknown, Input::FilledUp, S::Filled),
            (S::Unknown, Input::NeverSent, S::Unknown),
            (S::Unknown, Input::NeverArrived, S::NeverSent),
            (S::Live, Input::NeverArrived, S::Live),
            (S::Cancelled, Input::SeenLive, S::Cancelled),
            (S::Cancelled, Input::FilledUp, S::Filled),
            (S::Rejected, Input::SeenLive, S::Live),
            (S::Rejected, Input::Gone, S::Rejected),
            (S::NeverSent, Input::SeenLive, S::Live),
            (S::Filled, Input::Gone, S::Filled),
        ];
        for (state, input, after) in table {
            assert_eq!(next(state, input), after, "{state:?} + {input:?}");
        }
    }
}
