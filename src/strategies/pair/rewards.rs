//! How much of the time our quotes qualified for what the venue pays makers of a market.
//!
//! The venue samples each minute and divides a day's pool by scores that it alone knows. How long an order of ours
//! qualified is all that can be measured here; time is its expectation, so the samples are not imitated. No decision
//! rests on it, and no amount follows from it.
//! Source: docs/PROTOCOL.md "liquidity rewards".

use super::queue::{leg_of, leg_price};
use crate::{
    engine::{
        book::Book,
        digest::StateHasher,
        orders::Order,
        strategy::{Trust, View},
    },
    types::{MarketSpec, Nanos, Qty, Usdc, event::BookSide, ids::Outcome, market::Rewards},
};

/// One side alone counts while the midpoint is from 0.10 to 0.90: twice that, in units of 0.0001.
const ONE_SIDE_COUNTS: core::ops::RangeInclusive<u32> = 2_000..=18_000;

/// Which of our sides qualify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// None: nothing rests that is large and near enough, or one side alone where both are needed.
    Neither,
    /// One, which scores a third.
    One,
    /// Both.
    Both,
}

/// One market's times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presence {
    /// What has been true since when; `None` while there is nothing to measure from.
    since: Option<(Sides, Nanos)>,
    measured_ns: u64,
    one_ns: u64,
    both_ns: u64,
}

impl Presence {
    /// Looks at a market that pays. What was true at the last look was true until now.
    pub fn look(&mut self, view: &View<'_>, rewards: &Rewards) {
        if let Some((sides, at)) = self.since {
            let ns = view.now.since(at);
            self.measured_ns = self.measured_ns.saturating_add(ns);
            match sides {
                Sides::Neither => {}
                Sides::One => self.one_ns = self.one_ns.saturating_add(ns),
                Sides::Both => self.both_ns = self.both_ns.saturating_add(ns),
            }
        }
        self.since = sides(view, rewards).map(|sides| (sides, view.now));
    }

    /// For people, if the market pays.
    pub fn sentence(&self, market: &MarketSpec) -> Option<String> {
        let Rewards { daily, min_size, max_spread_units } = market.rewards?;
        // As cents.
        let spread = Usdc(i64::from(max_spread_units) * 10_000);
        let pays = format!("{} pays {daily} pUSD a day to quotes of {min_size} shares within {spread} c", market.slug);
        if self.measured_ns == 0 {
            return Some(format!("{pays}: there was no midpoint to measure ours from"));
        }
        let share = |ns: u64| {
            let tenths = u128::from(ns) * 1_000 / u128::from(self.measured_ns);
            format!("{}.{} %", tenths / 10, tenths % 10)
        };
        let (both, one) = (share(self.both_ns), share(self.one_ns));
        Some(format!("{pays}: ours qualified {both} of the time on both sides, {one} on one"))
    }

    /// All of it, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        h.debug(&self.since);
        [self.measured_ns, self.one_ns, self.both_ns].into_iter().for_each(|n| h.u64(n));
    }
}

/// Which of our sides qualify now, whatever strategy placed them. `None`: the book cannot be relied on, or it has no
/// midpoint and nobody qualifies. Linear in the levels that are too small; no allocation.
pub fn sides(view: &View<'_>, rewards: &Rewards) -> Option<Sides> {
    if view.trust != Trust::Good {
        return None;
    }
    // Twice the midpoint: it can lie between two units.
    let mid2 = mid2_units(view.books[0], rewards.min_size)?;
    let near = |order: &Order| yes_price2(order).abs_diff(mid2) < 2 * u32::from(rewards.max_spread_units);
    let rests = |order: &Order| order.state.is_resting() && !order.intent.tif.is_immediate();
    let [mut yes, mut no] = [false; 2];
    for order in view.orders.working(view.market) {
        if rests(order) && order.leaves() >= rewards.min_size && near(order) {
            match leg_of(order.intent.instrument, order.intent.side) {
                Outcome::Yes => yes = true,
                Outcome::No => no = true,
            }
        }
    }
    Some(match (yes, no) {
        (true, true) => Sides::Both,
        (true, false) | (false, true) if ONE_SIDE_COUNTS.contains(&mid2) => Sides::One,
        _ => Sides::Neither,
    })
}

/// Twice the size-cutoff-adjusted midpoint, in units of 0.0001: levels of fewer shares than count are passed over. The
/// venue passes over orders; we see levels, ours in them.
fn mid2_units(book: &Book, min_size: Qty) -> Option<u32> {
    let best = |side| book.levels(side).find(|l| l.qty >= min_size).map(|l| u32::from(l.price.units()));
    Some(best(BookSide::Bid)? + best(BookSide::Ask)?)
}

/// Twice an order's price as one of the first outcome.
fn yes_price2(order: &Order) -> u32 {
    let price = leg_price(&order.intent);
    let yes = match leg_of(order.intent.instrument, order.intent.side) {
        Outcome::Yes => price,
        Outcome::No => price.complement(),
    };
    2 * u32::from(yes.units())
}
