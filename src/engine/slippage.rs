//! Step 5 of 9: what taking a size would cost against the mid and against what was reckoned with, and what to do
//! instead.
//!
//! The book is walked in integers, every level with its taker fee, each rounded against us. So the answer is never
//! better than what the venue would do, only older: the guard asks the book that there is, not the one there will be.

use serde::{Deserialize, Serialize};

use super::{
    BadParam, BadParams,
    book::{Book, Level},
};
use crate::types::{
    Intent, Price, Qty, Side, Usdc,
    event::BookSide,
    fees::{FeeSchedule, Rounding},
};

/// Basis points in the whole.
const BPS: i128 = 10_000;
/// Half-units (0.00005) of a whole pUSD.
const WHOLE_HALF_UNITS: i128 = 20_000;
/// An order's size is a whole number of these micro-shares: hundredths of a share.
const LOT: u64 = 10_000;

/// How much worse than a reference price an order may trade, fee included. A basis point is a ten-thousandth of the
/// reference price itself, so that a cent is more at 0.10 than at 0.90.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlippageLimits {
    /// Against the middle of the book, in basis points.
    pub mid_bps: u32,
    /// Against the price that the intent reckons with, in basis points. The fee of sports alone is 500·(1 − p) of
    /// them.
    pub intent_bps: u32,
}

impl Default for SlippageLimits {
    fn default() -> Self {
        Self { mid_bps: 2_000, intent_bps: 1_000 }
    }
}

impl SlippageLimits {
    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("risk.slippage");
        for (key, bps) in [("mid_bps", self.mid_bps), ("intent_bps", self.intent_bps)] {
            bad.check(key, bps, (1..=10_000).contains(&bps), "1 to 10000 basis points");
        }
        bad.into_result()
    }
}

/// An order that may take something at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Buy or sell.
    pub side: Side,
    /// Shares, in hundredths.
    pub qty: Qty,
    /// The price that the decision reckons with.
    pub reckoned: Price,
    /// The order's own limit: nothing beyond it is taken. `None`: it takes until it has all.
    pub limit: Option<Price>,
    /// What is not taken at once rests, so there is no harm if the book holds less.
    pub rests: bool,
}

impl Wanted {
    /// What an intent takes. `None` for a post-only one: it takes nothing, whatever the book.
    pub fn of(intent: &Intent) -> Option<Self> {
        let Intent { side, qty, price, tif, post_only, .. } = *intent;
        let rests = !tif.is_immediate();
        (!post_only).then_some(Self { side, qty, reckoned: price, limit: Some(price), rests })
    }
}

/// What taking some size comes to, with the fee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Taken: less than was asked for if the book, or the limit, ends before.
    pub filled: Qty,
    /// Cash before the fee: what a buy pays (rounded up per level), what a sell gets (rounded down).
    pub cash: Usdc,
    /// The worst price touched; `None` if nothing was taken.
    pub worst: Option<Price>,
    /// Taker fee, rounded up per level.
    pub fee: Usdc,
}

impl Walk {
    /// The same, and `part` as well.
    fn and(self, part: Level, side: Side, fee: FeeSchedule) -> Self {
        Self {
            filled: self.filled + part.qty,
            cash: self.cash + part.cash(faced_by(side)),
            worst: Some(part.price),
            fee: self.fee + fee.taker_fee(part.qty, part.price, Rounding::Up),
        }
    }

    /// Basis points by which it is worse than a reference in half-units, rounded up; negative if it is better.
    /// Nothing taken is as good as any reference, and worth nothing is worse than everything.
    fn worse_bps(&self, side: Side, reference: u32) -> i32 {
        let par = i128::from(self.filled.micro()) * i128::from(reference);
        if self.filled.is_zero() {
            return 0;
        }
        if par == 0 {
            return UNMEASURED;
        }
        let [cash, fee] = [self.cash, self.fee].map(|usdc| i128::from(usdc.micro()) * WHOLE_HALF_UNITS);
        let worse = match side {
            Side::Buy => cash + fee - par,
            Side::Sell => par - (cash - fee),
        };
        // Rounded towards more, whatever the sign.
        let (over, under) = (-worse * BPS, par);
        let bps = match (i64::try_from(over), i64::try_from(under)) {
            (Ok(over), Ok(under)) => -i128::from(over.div_euclid(under)),
            _ => -over.div_euclid(under),
        };
        i32::try_from(bps).unwrap_or(if bps < 0 { i32::MIN } else { UNMEASURED })
    }
}

/// There is no price to measure by: as bad as can be.
pub const UNMEASURED: i32 = i32::MAX;

/// The side of the book that an order takes from.
const fn faced_by(side: Side) -> BookSide {
    match side {
        Side::Buy => BookSide::Ask,
        Side::Sell => BookSide::Bid,
    }
}

/// What would be taken, level by level, up to a size and a limit.
fn parts(book: &Book, side: Side, qty: Qty, limit: Option<Price>) -> impl Iterator<Item = Level> + '_ {
    let beyond = move |price: Price| match side {
        Side::Buy => limit.is_some_and(|limit| price > limit),
        Side::Sell => limit.is_some_and(|limit| price < limit),
    };
    let mut left = qty;
    book.levels(faced_by(side)).map_while(move |level| {
        let part = Level { price: level.price, qty: left.min(level.qty) };
        left -= part.qty;
        (!part.qty.is_zero() && !beyond(part.price)).then_some(part)
    })
}

/// Walks the book until `qty` is taken, `limit` reached or nothing left. Linear in the levels touched; no allocation.
pub fn walk(book: &Book, side: Side, qty: Qty, limit: Option<Price>, fee: FeeSchedule) -> Walk {
    parts(book, side, qty, limit).fold(Walk::default(), |walk, part| walk.and(part, side, fee))
}

/// What to do with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recommendation {
    /// Send it.
    Go,
    /// This much of it stays within: at least the market's minimum, less than was wanted.
    SmallerSize(Qty),
    /// The whole of it at this limit: it takes what stays within, and the rest rests.
    LimitAt(Price),
    /// Even the least size costs too much: quote instead, and let others pay the spread.
    WaitAsMaker,
    /// There is nothing to judge by: the book is not to be trusted, or is empty where it matters.
    Refuse,
}

/// What the guard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True if it may go as it is.
    pub within: bool,
    /// How much worse than the mid the order would trade, in basis points rounded up; [`UNMEASURED`] without a mid.
    pub vs_mid_bps: i32,
    /// How much worse than the intent's price, likewise.
    pub vs_intent_bps: i32,
    /// What to do.
    pub recommend: Recommendation,
}

/// Judges an order by the book of its token. `min_size` is the market's.
///
/// What it recommends instead, asked again with the same book, may go. Linear in the levels touched, and some tens of
/// steps more if a smaller size is looked for; no allocation.
pub fn guard(book: &Book, wanted: &Wanted, fee: FeeSchedule, min_size: Qty, limits: &SlippageLimits) -> Verdict {
    let Wanted { side, qty, reckoned, limit, rests } = *wanted;
    let verdict =
        |within, vs_mid_bps, vs_intent_bps, recommend| Verdict { within, vs_mid_bps, vs_intent_bps, recommend };
    if !book.trusted() {
        return verdict(false, UNMEASURED, UNMEASURED, Recommendation::Refuse);
    }
    let mid = book.mid_half_units().unwrap_or(0);
    let bps = |walk: &Walk| [mid, 2 * u32::from(reckoned.units())].map(|reference| walk.worse_bps(side, reference));
    let within = |walk: &Walk| {
        let allowed = [limits.mid_bps, limits.intent_bps];
        // What cannot be measured is not within, whatever the limit.
        bps(walk).iter().zip(allowed).all(|(bps, most)| *bps != UNMEASURED && i64::from(*bps) <= i64::from(most))
    };
    // The deepest whole level up to which all stays within, and the part after it.
    let (mut all, mut good, mut after) = (Walk::default(), Walk::default(), None);
    for part in parts(book, side, qty, limit) {
        all = all.and(part, side, fee);
        if within(&all) {
            (good, after) = (all, None);
        } else if after.is_none() {
            after = Some(part);
        }
    }
    let [vs_mid, vs_intent] = bps(&all);
    if within(&all) && (rests || all.filled == qty) {
        return verdict(true, vs_mid, vs_intent, Recommendation::Go);
    }
    let recommend = || {
        let quotable = book.best(faced_by(side).other()).is_some();
        if mid == 0 {
            // Nothing to take, or nothing to measure it by.
            let alone = all.filled.is_zero() && quotable;
            return if alone { Recommendation::WaitAsMaker } else { Recommendation::Refuse };
        }
        if let Some(limit) = good.worst.filter(|_| rests) {
            return Recommendation::LimitAt(limit);
        }
        let smaller = largest(good, after, side, fee, within);
        // Rounding per level makes the tiniest sizes dear, so that the largest found is asked again as a whole.
        if smaller >= min_size && !smaller.is_zero() && within(&walk(book, side, smaller, limit, fee)) {
            return Recommendation::SmallerSize(smaller);
        }
        Recommendation::WaitAsMaker
    };
    verdict(false, vs_mid, vs_intent, recommend())
}

/// The largest size in hundredths between what is good and all of the part after it, by halving.
fn largest(good: Walk, after: Option<Level>, side: Side, fee: FeeSchedule, within: impl Fn(&Walk) -> bool) -> Qty {
    let lots = |qty: Qty| qty.micro() / LOT;
    let Some(part) = after else { return good.filled.floor_to_cents() };
    let (mut low, mut high) = (lots(good.filled), lots(good.filled + part.qty) + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let more = Qty(middle * LOT).saturating_sub(good.filled).min(part.qty);
        if within(&good.and(Level { price: part.price, qty: more }, side, fee)) { low = middle } else { high = middle }
    }
    Qty(low * LOT)
}

#[cfg(test)]
mod tests;
