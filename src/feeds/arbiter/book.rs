//! Step 2 of 9: what a message says of books: its shape, its content as one number, and books compared.

use super::log::{Kind, TOUCHES_MAX};
use crate::{
    engine::book::Book,
    types::{
        InstrumentIx, Price, Qty, Side,
        event::{BookSide, MarketEvent},
    },
};

/// What a message is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    pub kind: Kind,
    /// The venue's time, Unix milliseconds; 0 if it did not say.
    pub venue_ms: u64,
    /// Books that it changes.
    pub touches: heapless::Vec<InstrumentIx, TOUCHES_MAX>,
}

impl Shape {
    pub fn of(events: &[MarketEvent]) -> Self {
        let mut shape = Self::default();
        for event in events {
            match *event {
                MarketEvent::SnapshotStart { instrument, .. } => {
                    shape.kind = Kind::Book;
                    shape.touch(instrument);
                }
                MarketEvent::Delta { instrument, .. }
                | MarketEvent::Top { instrument, .. }
                | MarketEvent::TickSizeChange { instrument, .. } => {
                    shape.kind = Kind::Change;
                    shape.touch(instrument);
                }
                MarketEvent::FrameEnd { venue_ms } => shape.venue_ms = venue_ms,
                _ => {}
            }
        }
        shape
    }

    fn touch(&mut self, instrument: InstrumentIx) {
        if !self.touches.contains(&instrument) {
            // A message names one market; what more would not fit is seen by `too_wide`.
            let _ = self.touches.push(instrument);
        }
    }
}

/// True if a message changes more books than a message of the venue can: it is not taken apart, but refused.
pub(in crate::feeds) fn too_wide(events: &[MarketEvent]) -> bool {
    let shape = Shape::of(events);
    shape.touches.is_full() && events.iter().filter_map(instrument).any(|i| !shape.touches.contains(&i))
}

/// Whose book an event is about.
pub(super) fn instrument(event: &MarketEvent) -> Option<InstrumentIx> {
    match *event {
        MarketEvent::SnapshotStart { instrument, .. }
        | MarketEvent::Level { instrument, .. }
        | MarketEvent::SnapshotEnd { instrument }
        | MarketEvent::Delta { instrument, .. }
        | MarketEvent::Top { instrument, .. }
        | MarketEvent::TickSizeChange { instrument, .. }
        | MarketEvent::LastTrade { instrument, .. } => Some(instrument),
        MarketEvent::Gap { instrument, .. } => instrument,
        MarketEvent::FrameEnd { .. } | MarketEvent::Resolved { .. } | MarketEvent::ResolvedUnclear { .. } => None,
    }
}

/// The content of a message as one number. Equal for equal events, whatever their bytes were.
pub(super) fn digest(events: &[MarketEvent]) -> u64 {
    let side = |s: BookSide| u64::from(s == BookSide::Ask);
    let at = |tag: u64, i: InstrumentIx, side: u64, price: Price| {
        tag << 48 | u64::from(i.0) << 32 | side << 16 | u64::from(price.units())
    };
    let top = |p: Option<Price>| p.map_or(u64::from(u16::MAX), |p| u64::from(p.units()));
    events.iter().fold(0x9e37_79b9_7f4a_7c15, |h, event| {
        let (a, b) = match *event {
            MarketEvent::SnapshotStart { instrument, tick, venue_ms } => {
                (at(1, instrument, tick.map_or(0, |t| u64::from(t.units())), Price::ZERO), venue_ms)
            }
            MarketEvent::Level { instrument, side: s, price, qty } => (at(2, instrument, side(s), price), qty.micro()),
            MarketEvent::SnapshotEnd { instrument } => (at(3, instrument, 0, Price::ZERO), 0),
            MarketEvent::Delta { instrument, side: s, price, qty } => (at(4, instrument, side(s), price), qty.micro()),
            MarketEvent::Top { instrument, bid, ask } => (at(5, instrument, 0, Price::ZERO), top(bid) << 16 | top(ask)),
            MarketEvent::FrameEnd { venue_ms } => (6 << 48, venue_ms),
            MarketEvent::TickSizeChange { instrument, tick } => {
                (at(7, instrument, 0, Price::ZERO), u64::from(tick.units()))
            }
            MarketEvent::LastTrade { instrument, side, price, qty } => {
                (at(8, instrument, u64::from(side == Side::Sell), price), qty.micro())
            }
            MarketEvent::Resolved { market, payout } => (9 << 48 | u64::from(market.0), payout as u64),
            MarketEvent::ResolvedUnclear { market } => (10 << 48 | u64::from(market.0), 0),
            MarketEvent::Gap { .. } => (11 << 48, 0),
        };
        mix(mix(h, a), b)
    })
}

#[inline]
fn mix(h: u64, x: u64) -> u64 {
    let product = u128::from(h ^ x.wrapping_add(0xa076_1d64_78bd_642f)) * 0xe703_7ed1_a0b4_28db_u128;
    product as u64 ^ (product >> 64) as u64
}

/// Applies a message to our copy of one book.
pub(super) fn replay(events: &[MarketEvent], of: InstrumentIx, book: &mut Book) {
    for event in events {
        if instrument(event) != Some(of) {
            continue;
        }
        match *event {
            MarketEvent::SnapshotStart { tick, .. } => book.snapshot_start(tick),
            MarketEvent::Level { side, price, qty, .. } => book.snapshot_level(side, price, qty),
            MarketEvent::SnapshotEnd { .. } => book.snapshot_end(),
            MarketEvent::Delta { side, price, qty, .. } => book.delta(side, price, qty),
            MarketEvent::TickSizeChange { tick, .. } => book.tick_changed(tick),
            _ => {}
        }
    }
}

/// True if a snapshot is this book, level for level. A price given twice counts as given last.
pub(super) fn same(events: &[MarketEvent], book: &Book) -> bool {
    let levels =
        |side: BookSide| events.iter().filter(move |e| matches!(e, MarketEvent::Level { side: s, .. } if *s == side));
    let there =
        |e: &MarketEvent| matches!(*e, MarketEvent::Level { side, price, qty, .. } if book.qty_at(side, price) == qty);
    book.trusted()
        && [BookSide::Bid, BookSide::Ask]
            .into_iter()
            .all(|side| levels(side).all(there) && levels(side).count() == book.levels(side).count())
}

/// True for the placeholder that some answers hold instead of a book: an order at either end and nothing between.
/// Source: docs/PROTOCOL.md "integrity"; py-clob-client 180.
pub(super) fn is_ghost(events: &[MarketEvent]) -> bool {
    let (mut bid, mut ask) = (None, None);
    for event in events {
        if let MarketEvent::Level { side, price, .. } = *event {
            match side {
                BookSide::Bid => bid = bid.max(Some(price)),
                BookSide::Ask => ask = Some(ask.map_or(price, |a: Price| a.min(price))),
            }
        }
    }
    matches!((bid, ask), (Some(b), Some(a)) if b.units() <= 100 && a.units() >= Price::UNITS - 100)
}

/// Writes a book as a snapshot message.
pub(super) fn write(book: &Book, instrument: InstrumentIx, venue_ms: u64, sink: &mut dyn FnMut(MarketEvent)) {
    sink(MarketEvent::SnapshotStart { instrument, tick: Some(book.tick()), venue_ms });
    for side in [BookSide::Bid, BookSide::Ask] {
        for level in book.levels(side) {
            let qty: Qty = level.qty;
            sink(MarketEvent::Level { instrument, side, price: level.price, qty });
        }
    }
    sink(MarketEvent::SnapshotEnd { instrument });
    sink(MarketEvent::FrameEnd { venue_ms });
}
