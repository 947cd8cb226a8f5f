//! The leg-risk controller: one leg is longer than the other. Wait, make, take or unwind?
//!
//! Everything is expected value a share against the fair price now, what is already paid being paid: a controller that
//! never completes at a loss shows only winning pairs and still loses.

/// What to do about the longer leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Wait: nothing costs less than carrying.
    Hold,
    /// Complete as maker.
    Make,
    /// Complete as taker: buy the lagging leg.
    Complete,
    /// Sell the leading leg as taker.
    Unwind,
}

/// A way to complete as maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// How likely it is filled before the next look, ppm.
    pub fill_ppm: i64,
    /// What it earns a share if it is: fair price less its own, less the expected adverse move.
    pub earns_ppm: i64,
}

/// What the choice is made from, ppm of a pUSD a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legs {
    /// What carrying a share costs: the price shift that its risk is worth.
    pub carry_ppm: i64,
    /// The maker's way, if there is one.
    pub maker: Option<Maker>,
    /// From the fair price to the price that takers get.
    pub cross_ppm: i64,
    /// The taker's fee, on its curve.
    pub fee_ppm: i64,
    /// Expected move against us while the venue holds a taker's order.
    pub hold_ppm: i64,
    /// What turning a completed pair into collateral costs, where it has to be done at once.
    pub merge_ppm: i64,
    /// A purchase is possible: collateral, and enough to buy.
    pub may_buy: bool,
    /// A sale is possible: confirmed shares.
    pub may_sell: bool,
}

impl Legs {
    /// Expected value of each choice, `None` where it is not possible.
    pub fn values(&self) -> [(Choice, Option<i64>); 4] {
        let taker = -(self.cross_ppm + self.fee_ppm + self.hold_ppm);
        let made = self.maker.map(|m| {
            let filled = i128::from(m.fill_ppm) * i128::from(m.earns_ppm);
            let waiting = i128::from(1_000_000 - m.fill_ppm) * i128::from(self.carry_ppm);
            ((filled - waiting) / 1_000_000) as i64
        });
        [
            (Choice::Make, made),
            (Choice::Complete, self.may_buy.then_some(taker - self.merge_ppm)),
            (Choice::Unwind, self.may_sell.then_some(taker)),
            (Choice::Hold, Some(-self.carry_ppm)),
        ]
    }

    /// The best of them; of equals, the first in the table: a maker before a taker, a pair before a sale.
    pub fn choose(&self) -> Choice {
        let mut best = (Choice::Hold, i64::MIN);
        for (choice, value) in self.values() {
            if let Some(value) = value.filter(|v| *v > best.1) {
                best = (choice, value);
            }
        }
        best.0
    }
}
