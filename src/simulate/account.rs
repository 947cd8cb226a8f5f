//! Where a match's money came from, by the venue's own books: spread, adverse selection, inventory, fees.
//!
//! Independent of the engine: fills are the venue's trades at the venue's time, prices are the middle of its book, our
//! own orders in it. Everything is integers: half units of price (1 pUSD = 20,000) times micro-shares.
//!
//! For each fill at a price p, with the middle at m before it and at m(τ) later, and the payout v in the end, a buyer
//! has
//! `v − p = (m − p) + (m(300 s) − m) + (v − m(300 s))`: spread earned, what the market knew better within five minutes,
//! and what holding brought after that. A pair that is merged has both its legs here, each with its own payout.

use std::collections::VecDeque;

use crate::types::{InstrumentIx, MarketIx, Nanos, Price, Qty, Side, Usdc, event::Payout, ids::Outcome};

/// Seconds after a fill at which the market is looked at again.
pub const HORIZONS_S: [u64; 4] = [1, 5, 30, 300];
/// One pUSD.
const ONE: i128 = 20_000;

/// What became of one fill of ours.
#[derive(Clone, Copy, Debug)]
struct Fill {
    instrument: InstrumentIx,
    /// Micro-shares, negative for a sale.
    shares: i128,
    /// The middle of its token before it, in half units.
    before: i128,
    /// The middle at each horizon.
    after: [i128; 4],
}

/// A match's money. Sums are exact; each is cut to the micro-pUSD, and the cuts are `rounding`'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// Collateral at the end minus at the start. Nothing is held in between: every market is paid.
    pub equity: Usdc,
    /// Against the middle just before each fill.
    pub spread: Usdc,
    /// The move of the middle from just before each fill until each horizon, as it hit what we held of it. Negative is
    /// bad.
    pub markouts: [Usdc; 4],
    /// From the last horizon to the payout.
    pub inventory: Usdc,
    /// Paid as taker; positive.
    pub fees: Usdc,
    /// What is left: the venue's integer amounts against prices × sizes.
    pub rounding: Usdc,
    /// Cash that changed hands.
    pub traded: Usdc,
    /// Fills.
    pub fills: u64,
}

/// Watches the venue's book and our fills.
#[derive(Debug)]
pub struct Book {
    /// The middle of each market's first token, now and before the last change, in half units.
    middle: Vec<[i128; 2]>,
    fills: Vec<Fill>,
    /// Fills whose horizon is still to come, by horizon.
    due: [VecDeque<(Nanos, usize)>; 4],
    /// How many times as fast as life the match unfolds: horizons are the match's time.
    speed: u64,
    spread: i128,
    fees: Usdc,
    traded: Usdc,
}

impl Book {
    /// Nothing has happened yet, in a match that unfolds `speed` times as fast as life.
    pub fn new(markets: usize, speed: u32) -> Self {
        Self {
            middle: vec![[ONE / 2; 2]; markets],
            fills: Vec::new(),
            due: Default::default(),
            speed: u64::from(speed.max(1)),
            spread: 0,
            fees: Usdc::ZERO,
            traded: Usdc::ZERO,
        }
    }

    /// Looks at the market for every horizon that ends at or before `now`. Call it before what happens at `now`.
    pub fn pass(&mut self, now: Nanos) {
        for h in 0..HORIZONS_S.len() {
            while let Some((_, fill)) = self.due[h].pop_front_if(|(at, _)| *at <= now) {
                self.fills[fill].after[h] = self.middle_of(self.fills[fill].instrument, 0);
            }
        }
    }

    /// The best prices of a market's first token changed.
    pub fn moved(&mut self, m: MarketIx, bid: Option<Price>, ask: Option<Price>) {
        let [now, before] = &mut self.middle[m.ix()];
        *before = *now;
        if let (Some(bid), Some(ask)) = (bid, ask) {
            *now = i128::from(bid.units()) + i128::from(ask.units());
        }
    }

    /// A market is paid out: from now on that is what it is worth.
    pub fn paid(&mut self, m: MarketIx, payout: Payout) {
        self.middle[m.ix()] = [match payout {
            Payout::Yes => ONE,
            Payout::No => 0,
            Payout::Half => ONE / 2,
        }; 2];
    }

    /// We traded, at `cash` without the fee. The change of the book that came with it was told before.
    pub fn traded(&mut self, now: Nanos, instrument: InstrumentIx, side: Side, qty: Qty, cash: Usdc, fee: Usdc) {
        let before = self.middle_of(instrument, 1);
        let sign = if side == Side::Buy { 1 } else { -1 };
        let shares = sign * i128::from(qty.micro());
        self.spread += shares * before - sign * i128::from(cash.micro()) * ONE;
        self.fees += fee;
        self.traded += cash;
        for (due, s) in self.due.iter_mut().zip(HORIZONS_S) {
            due.push_back((now.plus(s * 1_000_000_000 / self.speed), self.fills.len()));
        }
        self.fills.push(Fill { instrument, shares, before, after: [0; 4] });
    }

    /// The middle of a token: 0 now, 1 before the last change.
    fn middle_of(&self, i: InstrumentIx, when: usize) -> i128 {
        let yes = self.middle[i.market().ix()][when];
        if i.outcome() == Outcome::Yes { yes } else { ONE - yes }
    }

    /// Sums up a match in which every market was paid.
    pub fn close(mut self, equity: Usdc) -> Money {
        self.pass(Nanos(u64::MAX));
        let micro = |n: i128| Usdc(i64::try_from(n / ONE).unwrap_or(i64::MAX));
        let markouts =
            std::array::from_fn(|h| micro(self.fills.iter().map(|f| f.shares * (f.after[h] - f.before)).sum()));
        let held = self.fills.iter().map(|f| f.shares * (self.middle_of(f.instrument, 0) - f.after[3])).sum();
        let (spread, inventory) = (micro(self.spread), micro(held));
        let explained = spread + markouts[3] + inventory - self.fees;
        Money {
            equity,
            spread,
            markouts,
            inventory,
            fees: self.fees,
            rounding: equity - explained,
            traded: self.traded,
            fills: self.fills.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: InstrumentIx = InstrumentIx(0);
    const NO: InstrumentIx = InstrumentIx(1);

    fn at(s: u64) -> Nanos {
        Nanos(1_000_000_000 * (1_000 + s))
    }

    fn tops(book: &mut Book, bid: u16, ask: u16) {
        book.moved(MarketIx(0), Price::from_units(bid), Price::from_units(ask));
    }

    #[test]
    fn a_fill_is_told_apart_into_spread_moves_and_the_rest() {
        // Ten shares of one token at 0.48 under a middle of 0.50; then the middle goes 0.47, 0.46, 0.44, 0.40, and the
        // first outcome wins or loses.
        for (instrument, payout, spread, markouts, inventory, equity) in [
            (YES, Payout::Yes, 200_000, [-300_000, -400_000, -600_000, -1_000_000], 6_000_000, 5_200_000),
            (YES, Payout::No, 200_000, [-300_000, -400_000, -600_000, -1_000_000], -4_000_000, -4_800_000),
            (NO, Payout::No, 200_000, [300_000, 400_000, 600_000, 1_000_000], 4_000_000, 5_200_000),
            (NO, Payout::Half, 200_000, [300_000, 400_000, 600_000, 1_000_000], -1_000_000, 200_000),
        ] {
            let mut book = Book::new(1, 1);
            tops(&mut book, 4_900, 5_100);
            // The trade's own change of the book.
            tops(&mut book, 4_800, 5_100);
            book.traded(at(0), instrument, Side::Buy, Qty::shares(10), Usdc(4_800_000), Usdc::ZERO);
            for (s, middle) in [(0, 4_700), (4, 4_600), (29, 4_400), (299, 4_000)] {
                book.pass(at(s));
                tops(&mut book, middle - 100, middle + 100);
            }
            book.pass(at(400));
            book.paid(MarketIx(0), payout);
            let money = book.close(Usdc(equity));
            assert_eq!(money.spread, Usdc(spread));
            assert_eq!(money.markouts.map(Usdc::micro), markouts, "{instrument:?}");
            assert_eq!((money.inventory, money.rounding), (Usdc(inventory), Usdc::ZERO), "{instrument:?} {payout:?}");
        }
    }

    #[test]
    fn a_market_that_is_paid_before_the_horizon_is_worth_its_payout_there() {
        let mut book = Book::new(1, 1);
        tops(&mut book, 4_900, 5_100);
        tops(&mut book, 4_900, 5_200);
        book.traded(at(0), YES, Side::Sell, Qty::shares(10), Usdc(5_100_000), Usdc(125_000));
        book.pass(at(2));
        book.paid(MarketIx(0), Payout::No);
        let money = book.close(Usdc(5_100_000 - 125_000));
        assert_eq!(money.markouts.map(Usdc::micro), [-50_000, 5_000_000, 5_000_000, 5_000_000]);
        assert_eq!((money.spread, money.inventory, money.rounding), (Usdc(100_000), Usdc::ZERO, Usdc::ZERO));
    }
}
