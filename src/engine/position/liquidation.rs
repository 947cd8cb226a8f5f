//! What holdings would bring now, sold into the book that is there.

use crate::{
    engine::book::Book,
    types::{Price, Qty, Usdc, event::BookSide, fees::FeeSchedule, fees::Rounding},
};

/// What the holdings of one market would bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Liquidation {
    /// Complete sets: 1 each, because they merge.
    pub pairs: Usdc,
    /// The rest, sold level by level, taker fee paid.
    pub walked: Usdc,
    /// What the book cannot take. It is worth nothing here.
    pub unsold: Qty,
    /// Everything at the middle of the first outcome's best prices; `None` if a side is empty.
    pub mid: Option<Usdc>,
}

impl Liquidation {
    /// All that it brings.
    pub fn total(&self) -> Usdc {
        self.pairs + self.walked
    }
}

/// Values the two holdings of a market. `books` are those of its two tokens; one that is not trusted takes nothing.
/// Each level's cash is rounded down and its fee up; a level that would not bring its own fee is left.
pub fn liquidation(yes: Qty, no: Qty, books: [&Book; 2], fee: FeeSchedule) -> Liquidation {
    let pairs = yes.min(no);
    let (book, mut left) = if yes > no { (books[0], yes - pairs) } else { (books[1], no - pairs) };
    let mut walked = Usdc::ZERO;
    let levels = book.levels(BookSide::Bid).take_while(|_| book.trusted());
    for level in levels {
        if left.is_zero() {
            break;
        }
        let part = left.min(level.qty);
        let net = part.notional_floor(level.price) - fee.taker_fee(part, level.price, Rounding::Up);
        if net > Usdc::ZERO {
            walked += net;
            left -= part;
        }
    }
    let mid = books[0].mid_half_units().filter(|_| books[0].trusted()).map(|mid| {
        let other = 2 * u32::from(Price::UNITS) - mid;
        super::holding::value(yes, mid) + super::holding::value(no, other)
    });
    Liquidation { pairs: Usdc(pairs.0 as i64), walked, unsold: left, mid }
}
