//! Noise traders: people who want a team to win, in round-about dollars, at whatever the book asks.
//!
//! They know nothing that the price does not know, and pay the spread and the fee for it.

use super::{Books, Command, OrderTag, SimTime, Size, Trader, dice::Dice, fair::MARKETS, family::Noise};
use crate::types::{
    Qty, Usdc,
    ids::{MarketIx, Outcome},
    order::{Side, TimeInForce},
    price::{Price, TickSize},
};

/// How much of the crowd is awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// A map is on.
    Live,
    /// Before the match, between maps, in a pause.
    Quiet,
}

/// The crowd: several accounts, one arrival process.
#[derive(Clone, Debug)]
pub struct Crowd {
    first: Trader,
    accounts: u16,
    dice: Dice,
    rate: f64,
    dollars: f64,
    selling: f64,
    next_tag: u64,
}

impl Crowd {
    /// Draws a crowd. Ranges and reasons: `docs/SCENARIOS.md` "noise traders".
    pub fn draw(first: Trader, accounts: u16, kind: &Noise, mut dice: Dice) -> Self {
        Self {
            first,
            accounts,
            rate: dice.uniform(kind.rate.0, kind.rate.1),
            dollars: dice.uniform(kind.dollars.0, kind.dollars.1),
            selling: dice.uniform(0.15, 0.30),
            next_tag: 0,
            dice,
        }
    }

    /// Until somebody comes by. Whether he trades depends on the mood: see [`Self::trade`].
    pub fn pause(&mut self) -> SimTime {
        SimTime::from_secs_f64(self.dice.exponential(1.0 / self.rate))
    }

    /// Somebody comes by and may trade. `interest`: how much each market draws; zero for those that are decided.
    pub fn trade(&mut self, mood: Mood, interest: [f64; MARKETS], books: &dyn Books, out: &mut Vec<Command>) {
        let awake = if mood == Mood::Live { 1.0 } else { 0.25 };
        if !self.dice.chance(awake) || interest.iter().sum::<f64>() <= 0.0 {
            return;
        }
        let market = MarketIx(self.dice.pick(&interest) as u16);
        let trader = Trader(self.first.0 + self.dice.whole(0, u32::from(self.accounts) - 1) as u16);
        let outcome = if self.dice.chance(0.5) { Outcome::Yes } else { Outcome::No };
        let wants_out = self.dice.chance(self.selling);
        let cents = (self.dice.lognormal(self.dollars, 1.0) * 100.0).clamp(100.0, 50_000.0) as i64;

        let instrument = market.instrument(outcome);
        let tick = books.tick(market);
        let owned = books.shares(trader, instrument);
        let order = if wants_out && owned >= Qty::shares(5) {
            books.best_bid(instrument).map(|(bid, _)| {
                let size = owned.min(shares_for(cents, bid)).floor_to_cents();
                (Side::Sell, away(bid, tick, -3), Size::Shares(size))
            })
        } else {
            books
                .best_ask(instrument)
                .map(|(ask, _)| (Side::Buy, away(ask, tick, 3), Size::Spend(Usdc(cents * 10_000))))
        };
        let Some((side, Some(price), size)) = order else { return };
        self.next_tag += 1;
        out.push(Command::Place {
            trader,
            tag: OrderTag(self.next_tag),
            instrument,
            side,
            price,
            size,
            tif: TimeInForce::Fak,
            post_only: false,
        });
    }
}

/// A price some ticks away, kept on the grid.
pub(super) fn away(price: Price, tick: TickSize, ticks: i32) -> Option<Price> {
    let step = i32::from(tick.units());
    Price::floor_to((i32::from(price.units()) + ticks * step).max(step), tick)
}

/// Shares that some cents are worth at a price, at least five.
fn shares_for(cents: i64, price: Price) -> Qty {
    let micro = cents as u128 * 100_000_000 / u128::from(price.units().max(1));
    Qty(micro.min(1 << 50) as u64).max(Qty::shares(5))
}
