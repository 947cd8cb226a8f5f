//! Step 3 of 9: one token's order book, as a pair of preallocated ladders.
//!
//! A ladder is a flat array of sizes indexed by tick, with a three-level bitmap over it: setting a level and finding
//! the best are a handful of instructions, whatever the depth. A book is untrusted until a whole snapshot is in it, and
//! becomes untrusted again at the first sign that it differs from the venue's.

use serde::Serialize;

use super::digest::StateHasher;
use crate::types::{
    Price, Qty, TickSize, Usdc,
    event::{BookSide, GapReason},
};

/// Levels of the finest grid (0.0001), both ends included.
const LEVELS: usize = Price::UNITS as usize + 1;
const WORDS: usize = LEVELS.div_ceil(64);
const SUMMARY: usize = WORDS.div_ceil(64);

/// Sizes by tick index, with bitmaps of what is not zero.
#[derive(Clone, Debug)]
struct Ladder {
    qty: Box<[u64]>,
    words: [u64; WORDS],
    summary: [u64; SUMMARY],
}

impl Ladder {
    fn new() -> Self {
        Self { qty: vec![0; LEVELS].into_boxed_slice(), words: [0; WORDS], summary: [0; SUMMARY] }
    }

    /// Sets one level. O(1), no allocation.
    #[inline]
    fn set(&mut self, i: usize, qty: u64) {
        self.qty[i] = qty;
        let (word, bit) = (i / 64, 1_u64 << (i % 64));
        if qty == 0 {
            self.words[word] &= !bit;
            if self.words[word] == 0 {
                self.summary[word / 64] &= !(1 << (word % 64));
            }
        } else {
            self.words[word] |= bit;
            self.summary[word / 64] |= 1 << (word % 64);
        }
    }

    /// The highest occupied index.
    #[inline]
    fn highest(&self) -> Option<usize> {
        let s = self.summary.iter().rposition(|&w| w != 0)?;
        let word = s * 64 + 63 - self.summary[s].leading_zeros() as usize;
        Some(word * 64 + 63 - self.words[word].leading_zeros() as usize)
    }

    /// The lowest occupied index.
    #[inline]
    fn lowest(&self) -> Option<usize> {
        let s = self.summary.iter().position(|&w| w != 0)?;
        let word = s * 64 + self.summary[s].trailing_zeros() as usize;
        Some(word * 64 + self.words[word].trailing_zeros() as usize)
    }

    /// The next occupied index above `i`.
    fn above(&self, i: usize) -> Option<usize> {
        let from = i + 1;
        let mut word = from / 64;
        if word >= WORDS {
            return None;
        }
        let mut bits = self.words[word] & (!0_u64 << (from % 64));
        if bits == 0 {
            word += 1;
            let mut group = word / 64;
            let mut words = *self.summary.get(group)? & (!0_u64 << (word % 64));
            while words == 0 {
                group += 1;
                words = *self.summary.get(group)?;
            }
            word = group * 64 + words.trailing_zeros() as usize;
            bits = self.words[word];
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// The next occupied index below `i`.
    fn below(&self, i: usize) -> Option<usize> {
        let from = i.checked_sub(1)?;
        let mut word = from / 64;
        let mut bits = self.words[word] & (!0_u64 >> (63 - from % 64));
        if bits == 0 {
            word = word.checked_sub(1)?;
            let mut group = word / 64;
            let mut words = self.summary[group] & (!0_u64 >> (63 - word % 64));
            while words == 0 {
                group = group.checked_sub(1)?;
                words = self.summary[group];
            }
            word = group * 64 + 63 - words.leading_zeros() as usize;
            bits = self.words[word];
        }
        Some(word * 64 + 63 - bits.leading_zeros() as usize)
    }

    /// Empties the ladder, touching only what is occupied.
    fn clear(&mut self) {
        while let Some(i) = self.lowest() {
            self.set(i, 0);
        }
    }
}

/// Why a book is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distrust {
    /// No snapshot has come yet.
    NoSnapshot,
    /// A snapshot is coming in.
    SnapshotPartial,
    /// The feed lost something.
    Gap(GapReason),
    /// Our best prices differ from the message's own.
    TopMismatch,
    /// Best bid at or above best ask.
    Crossed,
    /// A level between the ticks.
    OffGrid,
    /// The grid changed: the next snapshot decides.
    TickChanged,
    /// It stayed different from its mirror token's book.
    MirrorMismatch,
    /// Its snapshot is as wide as the market, and a moment ago there was a price.
    Ghost,
    /// Its market is decided.
    Resolved,
}

/// A level: where and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price.
    pub price: Price,
    /// Total size.
    pub qty: Qty,
}

impl Level {
    /// Cash before fees for taking all of it from `side`: what a buyer pays, rounded up; what a seller gets, rounded
    /// down.
    #[inline]
    pub const fn cash(self, side: BookSide) -> Usdc {
        match side {
            BookSide::Ask => self.qty.notional_ceil(self.price),
            BookSide::Bid => self.qty.notional_floor(self.price),
        }
    }
}

/// What taking some size would cost or bring, walking the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Cash before fees: what a buy pays (rounded up per level), what a sell gets (rounded down).
    pub cash: Usdc,
    /// The worst price touched: the limit that such an order needs.
    pub worst: Price,
}

/// One token's book.
#[derive(Clone, Debug)]
pub struct Book {
    bids: Ladder,
    asks: Ladder,
    tick: TickSize,
    distrust: Option<Distrust>,
}

impl Book {
    /// An empty, untrusted book.
    pub fn new(tick: TickSize) -> Self {
        Self { bids: Ladder::new(), asks: Ladder::new(), tick, distrust: Some(Distrust::NoSnapshot) }
    }

    /// The grid.
    #[inline]
    pub fn tick(&self) -> TickSize {
        self.tick
    }

    /// True if decisions may rest on it.
    #[inline]
    pub fn trusted(&self) -> bool {
        self.distrust.is_none()
    }

    /// Why it may not be used.
    pub fn distrust(&self) -> Option<Distrust> {
        self.distrust
    }

    /// Marks the book as not to be used until the next whole snapshot.
    pub fn mark(&mut self, why: Distrust) {
        self.distrust = Some(why);
    }

    fn ladder(&self, side: BookSide) -> &Ladder {
        match side {
            BookSide::Bid => &self.bids,
            BookSide::Ask => &self.asks,
        }
    }

    #[inline]
    fn index(&self, price: Price) -> Option<usize> {
        let t = self.tick.units();
        price.on_grid(self.tick).then(|| usize::from(price.units() / t))
    }

    #[inline]
    fn price(&self, index: usize) -> Price {
        Price::from_units(index as u16 * self.tick.units()).unwrap_or(Price::ONE)
    }

    /// Empties the book for a snapshot, on the grid that the snapshot names.
    pub fn snapshot_start(&mut self, tick: Option<TickSize>) {
        self.bids.clear();
        self.asks.clear();
        if let Some(tick) = tick {
            self.tick = tick;
        }
        self.distrust = Some(Distrust::SnapshotPartial);
    }

    /// One level of a snapshot. A level off the grid spoils the whole snapshot; a price given twice is summed to the
    /// last, as the wire's sizes are totals.
    pub fn snapshot_level(&mut self, side: BookSide, price: Price, qty: Qty) {
        if self.distrust == Some(Distrust::SnapshotPartial) {
            self.set(side, price, qty);
        }
    }

    /// The snapshot is whole: the book is trusted unless it is crossed.
    pub fn snapshot_end(&mut self) {
        if self.distrust == Some(Distrust::SnapshotPartial) {
            self.distrust = None;
            self.check_crossed();
        }
    }

    /// Sets one level to a new total; zero removes it. O(1), no allocation. Ignored while untrusted: a change before a
    /// snapshot, or after a loss, says nothing.
    /// Source: docs/PROTOCOL.md "price_change".
    #[inline]
    pub fn delta(&mut self, side: BookSide, price: Price, qty: Qty) {
        if self.trusted() {
            self.set(side, price, qty);
        }
    }

    #[inline]
    fn set(&mut self, side: BookSide, price: Price, qty: Qty) {
        let Some(i) = self.index(price) else {
            self.distrust = Some(Distrust::OffGrid);
            return;
        };
        match side {
            BookSide::Bid => self.bids.set(i, qty.micro()),
            BookSide::Ask => self.asks.set(i, qty.micro()),
        }
    }

    /// Compares our best prices with the message's own, after all changes of the message.
    #[inline]
    pub fn check_top(&mut self, bid: Option<Price>, ask: Option<Price>) {
        if !self.trusted() {
            return;
        }
        self.check_crossed();
        if self.best(BookSide::Bid).map(|l| l.price) != bid || self.best(BookSide::Ask).map(|l| l.price) != ask {
            self.distrust = Some(self.distrust.unwrap_or(Distrust::TopMismatch));
        }
    }

    #[inline]
    fn check_crossed(&mut self) {
        if let (Some(bid), Some(ask)) = (self.bids.highest(), self.asks.lowest())
            && bid >= ask
        {
            self.distrust = Some(Distrust::Crossed);
        }
    }

    /// The grid changed: nothing is left standing until a snapshot on the new grid.
    /// Source: docs/PROTOCOL.md "tick_size_change".
    pub fn tick_changed(&mut self, tick: TickSize) {
        self.snapshot_start(Some(tick));
        self.distrust = Some(Distrust::TickChanged);
    }

    /// Best ask minus best bid in units of 0.0001; `None` if a side is empty.
    pub fn spread_units(&self) -> Option<u16> {
        let [bid, ask] = [self.best(BookSide::Bid)?, self.best(BookSide::Ask)?];
        Some(ask.price.units().saturating_sub(bid.price.units()))
    }

    /// Best level of a side.
    #[inline]
    pub fn best(&self, side: BookSide) -> Option<Level> {
        let i = match side {
            BookSide::Bid => self.bids.highest(),
            BookSide::Ask => self.asks.lowest(),
        }?;
        Some(Level { price: self.price(i), qty: Qty(self.ladder(side).qty[i]) })
    }

    /// Best level of a side after taking our own resting size out of it. `own` tells how much of a price is ours.
    #[inline]
    pub fn best_of_others(&self, side: BookSide, own: impl Fn(Price) -> Qty) -> Option<Level> {
        self.levels(side).find_map(|l| {
            let qty = l.qty.saturating_sub(own(l.price));
            (qty > Qty::DUST).then_some(Level { price: l.price, qty })
        })
    }

    /// Levels of a side, best first.
    pub fn levels(&self, side: BookSide) -> impl Iterator<Item = Level> + '_ {
        let ladder = self.ladder(side);
        let first = match side {
            BookSide::Bid => ladder.highest(),
            BookSide::Ask => ladder.lowest(),
        };
        core::iter::successors(first, move |&i| match side {
            BookSide::Bid => ladder.below(i),
            BookSide::Ask => ladder.above(i),
        })
        .map(move |i| Level { price: self.price(i), qty: Qty(ladder.qty[i]) })
    }

    /// Size at one price of a side.
    pub fn qty_at(&self, side: BookSide, price: Price) -> Qty {
        self.index(price).map_or(Qty::ZERO, |i| Qty(self.ladder(side).qty[i]))
    }

    /// The effective price of a size: walks `side` (asks to buy, bids to sell) until `qty` is taken.
    /// `None` if the book does not hold that much. Cash is before fees.
    pub fn take(&self, side: BookSide, qty: Qty) -> Option<Taken> {
        let mut left = qty;
        let mut cash = Usdc::ZERO;
        for level in self.levels(side) {
            let part = Level { price: level.price, qty: left.min(level.qty) };
            cash += part.cash(side);
            left -= part.qty;
            if left.is_zero() {
                return Some(Taken { cash, worst: level.price });
            }
        }
        None
    }

    /// Middle of the best prices in half-units (0.00005); `None` if a side is empty.
    #[inline]
    pub fn mid_half_units(&self) -> Option<u32> {
        let (bid, ask) = (self.best(BookSide::Bid)?, self.best(BookSide::Ask)?);
        Some(u32::from(bid.price.units()) + u32::from(ask.price.units()))
    }

    /// True if this book is the mirror image of `other` at the top: our bid is its ask's complement, size included.
    pub fn mirrors_top(&self, other: &Self) -> bool {
        let flipped = |l: Option<Level>| l.map(|l| (l.price.complement(), l.qty));
        let same = |l: Option<Level>| l.map(|l| (l.price, l.qty));
        same(self.best(BookSide::Bid)) == flipped(other.best(BookSide::Ask))
            && same(self.best(BookSide::Ask)) == flipped(other.best(BookSide::Bid))
    }

    /// Every level and the trust, into the state hash.
    pub(super) fn digest(&self, h: &mut StateHasher) {
        h.u64(u64::from(self.tick.units()));
        h.debug(&self.distrust);
        for side in [BookSide::Bid, BookSide::Ask] {
            for level in self.levels(side) {
                h.u64(u64::from(level.price.units()));
                h.u64(level.qty.micro());
            }
            h.u64(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn p(units: u16) -> Price {
        Price::from_units(units).expect("a price")
    }

    fn book(bids: &[(u16, u64)], asks: &[(u16, u64)]) -> Book {
        let mut b = Book::new(TickSize::Cent);
        b.snapshot_start(None);
        bids.iter().for_each(|&(u, q)| b.snapshot_level(BookSide::Bid, p(u), Qty::shares(q)));
        asks.iter().for_each(|&(u, q)| b.snapshot_level(BookSide::Ask, p(u), Qty::shares(q)));
        b.snapshot_end();
        b
    }

    #[test]
    fn a_change_before_a_snapshot_is_not_applied() {
        let mut b = Book::new(TickSize::Cent);
        b.delta(BookSide::Bid, p(5_000), Qty::ONE);
        assert_eq!(b.best(BookSide::Bid), None);
        assert_eq!(b.distrust(), Some(Distrust::NoSnapshot));
    }

    #[test]
    fn a_price_between_the_ticks_spoils_the_book() {
        let mut b = book(&[(4_900, 10)], &[(5_100, 10)]);
        b.delta(BookSide::Bid, p(4_950), Qty::ONE);
        assert_eq!(b.distrust(), Some(Distrust::OffGrid));
    }

    #[test]
    fn a_crossed_or_locked_snapshot_is_not_trusted() {
        assert_eq!(book(&[(5_100, 1)], &[(5_100, 1)]).distrust(), Some(Distrust::Crossed));
        assert_eq!(book(&[(5_200, 1)], &[(5_100, 1)]).distrust(), Some(Distrust::Crossed));
        assert!(book(&[(5_000, 1)], &[(5_100, 1)]).trusted());
    }

    #[test]
    fn the_message_s_own_top_is_believed_over_ours() {
        let mut b = book(&[(4_900, 10)], &[(5_100, 10)]);
        b.check_top(Some(p(4_900)), Some(p(5_100)));
        assert!(b.trusted());
        b.check_top(Some(p(4_900)), Some(p(5_000)));
        assert_eq!(b.distrust(), Some(Distrust::TopMismatch));
        b.snapshot_start(None);
        b.snapshot_end();
        assert!(b.trusted());
        b.check_top(None, None);
        assert!(b.trusted());
    }

    #[test]
    fn a_new_grid_drops_everything_until_a_snapshot() {
        let mut b = book(&[(4_900, 10)], &[(5_100, 10)]);
        b.tick_changed(TickSize::Mill);
        assert_eq!(b.distrust(), Some(Distrust::TickChanged));
        assert_eq!(b.best(BookSide::Bid), None);
        b.snapshot_start(Some(TickSize::Mill));
        b.snapshot_level(BookSide::Bid, p(4_950), Qty::ONE);
        b.snapshot_end();
        assert_eq!(b.best(BookSide::Bid).map(|l| l.price), Some(p(4_950)));
    }

    #[test]
    fn taking_walks_the_levels_in_order() {
        let b = book(&[(4_900, 10), (4_800, 100)], &[(5_100, 10), (5_200, 100)]);
        let buy = b.take(BookSide::Ask, Qty::shares(15)).expect("enough");
        assert_eq!((buy.cash, buy.worst), (Usdc(7_700_000), p(5_200)));
        let sell = b.take(BookSide::Bid, Qty::shares(15)).expect("enough");
        assert_eq!((sell.cash, sell.worst), (Usdc(7_300_000), p(4_800)));
        assert_eq!(b.take(BookSide::Ask, Qty::shares(111)), None);
    }

    #[test]
    fn our_own_size_is_not_somebody_s_opinion() {
        let b = book(&[(4_900, 10), (4_800, 100)], &[]);
        let own = |price: Price| if price == p(4_900) { Qty::shares(10) } else { Qty::ZERO };
        assert_eq!(b.best_of_others(BookSide::Bid, own).map(|l| l.price), Some(p(4_800)));
    }

    #[test]
    fn the_mirror_token_shows_the_same_top() {
        let yes = book(&[(4_900, 10)], &[(5_200, 7)]);
        assert!(yes.mirrors_top(&book(&[(4_800, 7)], &[(5_100, 10)])));
        assert!(!yes.mirrors_top(&book(&[(4_800, 8)], &[(5_100, 10)])));
    }

    proptest! {
        /// A sorted map agrees with the ladders on every history.
        #[test]
        fn agrees_with_a_naive_book(
            grid in prop::sample::select(TickSize::ALL.to_vec()),
            changes in prop::collection::vec((any::<bool>(), 1_u16..10_000, 0_u64..5), 1..300),
        ) {
            let mut fast = Book::new(grid);
            fast.snapshot_start(None);
            fast.snapshot_end();
            let mut naive = [std::collections::BTreeMap::new(), std::collections::BTreeMap::new()];
            for (bid, at, qty) in changes {
                let Some(price) = Price::floor_to(i32::from(at), grid) else { continue };
                let side = if bid { BookSide::Bid } else { BookSide::Ask };
                fast.delta(side, price, Qty(qty));
                let map = &mut naive[usize::from(!bid)];
                if qty == 0 { map.remove(&price); } else { map.insert(price, Qty(qty)); }
                let bids: Vec<_> = fast.levels(BookSide::Bid).map(|l| (l.price, l.qty)).collect();
                let asks: Vec<_> = fast.levels(BookSide::Ask).map(|l| (l.price, l.qty)).collect();
                prop_assert_eq!(bids, naive[0].iter().rev().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
                prop_assert_eq!(asks, naive[1].iter().map(|(p, q)| (*p, *q)).collect::<Vec<_>>());
            }
        }
    }
}
