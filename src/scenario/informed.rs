//! Informed takers: they see some events before the makers' sources show them, and take what is stale.
//!
//! Nothing is laid out for them. They buy what rests below their fair price by more than the fee and a tick, and the
//! venue holds their orders like everybody's, so a maker that reacts within the hold escapes.

use super::{
    Books, Command, OrderTag, SimTime, Size, Trader, dice::Dice, fair::MARKETS, family::Informed, noise::away,
};
use crate::types::{
    Qty,
    ids::{InstrumentIx, MarketIx, Outcome},
    order::{Side, TimeInForce},
    price::{Price, TickSize},
};

/// The taker fee rate that they reckon with; sports markets charge 0.05.
/// Source: docs/PROTOCOL.md "fees".
pub const FEE_RATE: f64 = 0.05;

/// One informed taker.
#[derive(Clone, Debug)]
pub struct Insider {
    trader: Trader,
    dice: Dice,
    kind: Informed,
    /// Probability of being early on an event.
    attention: f64,
    next_tag: u64,
}

impl Insider {
    /// Draws an informed taker. Ranges and reasons: `docs/SCENARIOS.md` "informed takers".
    pub fn draw(trader: Trader, kind: &Informed, mut dice: Dice) -> Self {
        let (least, most) = kind.attention;
        Self { trader, kind: *kind, attention: dice.uniform(least, most), next_tag: 0, dice }
    }

    /// How long before the makers' sources it learns of an event; `None` if it misses this one.
    pub fn lead(&mut self) -> Option<SimTime> {
        let hears = self.dice.chance(self.attention);
        let leads = &self.kind.leads;
        let (_, lo, hi) = leads[self.dice.pick(&leads.map(|l| l.0))];
        let lead = self.dice.span(lo, hi);
        hears.then_some(lead)
    }

    /// Until it looks whether something is left to take.
    pub fn again(&mut self) -> SimTime {
        self.dice.span(1.5, 4.0)
    }

    /// Takes what is stale in every open market; true if it found anything.
    pub fn act(
        &mut self,
        fair: [f64; MARKETS],
        open: [bool; MARKETS],
        books: &dyn Books,
        out: &mut Vec<Command>,
    ) -> bool {
        let before = out.len();
        for m in 0..MARKETS {
            let market = MarketIx(m as u16);
            let tick = books.tick(market);
            let worth = |outcome| if outcome == Outcome::Yes { fair[m] } else { 1.0 - fair[m] };
            for outcome in [Outcome::Yes, Outcome::No] {
                if !open[m] {
                    continue;
                }
                let instrument = market.instrument(outcome);
                if let Some(limit) = highest_worth_buying(worth(outcome), tick)
                    && books.best_ask(instrument).is_some_and(|(ask, _)| ask <= limit)
                {
                    self.take(instrument, limit, books, out);
                }
            }
        }
        out.len() > before
    }

    /// Wants this token at up to `limit`: by selling the other one where it is owned, else by buying this one.
    fn take(&mut self, instrument: InstrumentIx, limit: Price, books: &dyn Books, out: &mut Vec<Command>) {
        let size = &self.kind.shares;
        let wanted = self.dice.lognormal(size.median, size.sigma).clamp(size.least, size.most) as u64;
        let least = u64::from(Price::UNITS / limit.units().max(1)) + 1;
        let qty = Qty::shares(wanted.max(least));
        let owned = books.shares(self.trader, instrument.mirror());
        let (instrument, side, price) = if owned >= qty {
            (instrument.mirror(), Side::Sell, limit.complement())
        } else {
            (instrument, Side::Buy, limit)
        };
        self.next_tag += 1;
        out.push(Command::Place {
            trader: self.trader,
            tag: OrderTag(self.next_tag),
            instrument,
            side,
            price,
            size: Size::Shares(qty),
            tif: TimeInForce::Fak,
            post_only: false,
        });
    }
}

/// The highest price of the grid at which buying leaves more than a tick after the fee.
pub fn highest_worth_buying(fair: f64, tick: TickSize) -> Option<Price> {
    let edge = |price: Price| {
        let p = f64::from(price.units()) / 10_000.0;
        fair - p - FEE_RATE * p * (1.0 - p) - f64::from(tick.units()) / 10_000.0
    };
    let mut price = Price::floor_to((fair * 10_000.0) as i32, tick)?;
    while edge(price) <= 0.0 {
        let lower = away(price, tick, -1)?;
        if lower == price {
            return None;
        }
        price = lower;
    }
    Some(price)
}

#[cfg(test)]
mod tests {
    use super::{super::family::Family, *};

    #[test]
    fn buys_only_below_fair_by_fee_and_tick() {
        // fair, tick, highest price: at 0.60 the fee is 0.012 and the tick 0.01, so 0.57 is the first with an edge.
        let rows = [
            (0.60, TickSize::Cent, Some(5_700)),
            (0.50, TickSize::Cent, Some(4_700)),
            (1.00, TickSize::Cent, Some(9_800)),
            (1.00, TickSize::Mill, Some(9_980)),
            (0.01, TickSize::Cent, None),
            (0.00, TickSize::Mill, None),
        ];
        for (fair, tick, units) in rows {
            assert_eq!(highest_worth_buying(fair, tick).map(Price::units), units, "fair {fair}, tick {tick}");
        }
    }

    #[test]
    fn leads_are_the_stated_mixture() {
        let mut insider = Insider::draw(Trader(0), &Family::DEMONSTRATION.informed, Dice::new(1, 1));
        let mut leads: Vec<f64> = (0..20_000).filter_map(|_| insider.lead()).map(SimTime::as_secs_f64).collect();
        leads.sort_by(f64::total_cmp);
        let share =
            |lo: f64, hi: f64| leads.iter().filter(|l| (lo..hi).contains(*l)).count() as f64 / leads.len() as f64;
        for ((lo, hi), want) in [((0.2, 1.0), 0.50), ((1.0, 3.0), 0.35), ((5.0, 30.0), 0.15), ((3.0, 5.0), 0.0)] {
            assert!((share(lo, hi) - want).abs() < 0.02, "{lo} to {hi} s: {}", share(lo, hi));
        }
    }
}
