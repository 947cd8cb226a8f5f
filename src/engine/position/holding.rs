//! One token that we hold: how much, what it cost, first in first out, and which strategy bought it.

use std::collections::VecDeque;

use super::{HalfUnits, OWNERS, Owner};
use crate::types::{Price, Qty, Usdc};

/// Separate purchase lots kept per token; beyond it two of the oldest are joined.
pub(super) const LOTS_MAX: usize = 4_096;
/// Names no fill: of a lot that was joined, and of a trade of an earlier run.
pub(super) const NO_FILL: u32 = 0;

/// Shares that were bought at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lot {
    /// The fill that brought it, counted up; [`NO_FILL`] once it cannot be told apart.
    pub(super) fill: u32,
    /// Whose it is.
    pub(super) owner: Owner,
    pub(super) qty: Qty,
    pub(super) cost: Usdc,
}

impl Lot {
    /// What `qty` of it had cost, rounded down.
    fn part(&self, qty: Qty) -> Usdc {
        share(self.cost, qty, self.qty)
    }
}

/// `part` of `whole`'s part in some cash, rounded towards zero.
pub(super) fn share(cash: Usdc, part: Qty, whole: Qty) -> Usdc {
    Usdc((i128::from(cash.0) * i128::from(part.0) / i128::from(whole.0.max(1))) as i64)
}

/// One token that we hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// All fills, settled or not. Always the sum of the lots.
    pub(super) qty: Qty,
    /// Settled fills only.
    pub(super) settled: Qty,
    /// Sold by trades that are not settled: in `settled`, and not ours to sell again.
    pub(super) selling: Qty,
    /// First in, first out, in the order of their fills.
    lots: VecDeque<Lot>,
    /// Sums over the lots, by owner.
    held: [Qty; OWNERS],
    costs: [Usdc; OWNERS],
    pub(super) mark: HalfUnits,
    pub(super) bought: Qty,
    pub(super) sold: Qty,
    /// Paid out with the market.
    pub(super) redeemed: Qty,
    pub(super) fills: u64,
}

impl Holding {
    pub(super) fn new() -> Self {
        Self { mark: HalfUnits::from(Price::UNITS), lots: VecDeque::with_capacity(LOTS_MAX), ..Self::default() }
    }

    pub(super) fn value(&self) -> Usdc {
        value(self.qty, self.mark)
    }

    /// What is left of the settled shares if every sale under way settles, and no purchase.
    pub(super) fn sure(&self) -> Qty {
        self.settled.saturating_sub(self.selling).min(self.qty)
    }

    /// What there is if every purchase under way settles, and no sale.
    pub(super) fn at_most(&self) -> Qty {
        self.settled.max(self.qty + self.selling)
    }

    /// What the lots had cost.
    pub(super) fn cost(&self) -> Usdc {
        self.costs.iter().copied().sum()
    }

    /// What one owner's lots had cost.
    pub(super) fn cost_by(&self, owner: Owner) -> Usdc {
        self.costs[usize::from(owner)]
    }

    /// The holding's value, split by owner so that the parts are the whole.
    pub(super) fn values(&self) -> [Usdc; OWNERS] {
        let mut up_to = Qty::ZERO;
        self.held.map(|held| {
            let before = value(up_to, self.mark);
            up_to += held;
            value(up_to, self.mark) - before
        })
    }

    /// Adds shares at the place that their fill has among the others.
    pub(super) fn add_lot(&mut self, lot: Lot) {
        if lot.qty.is_zero() {
            return;
        }
        self.qty += lot.qty;
        self.held[usize::from(lot.owner)] += lot.qty;
        self.costs[usize::from(lot.owner)] += lot.cost;
        let place = |lots: &VecDeque<Lot>| lots.partition_point(|l| l.fill < lot.fill);
        let at = place(&self.lots);
        // A part that a failed sale gives back.
        if lot.fill != NO_FILL
            && let Some(same) = self.lots.get_mut(at).filter(|l| l.fill == lot.fill)
        {
            same.qty += lot.qty;
            same.cost += lot.cost;
            return;
        }
        if self.lots.len() >= LOTS_MAX {
            self.join_oldest();
        }
        self.lots.insert(place(&self.lots), lot);
    }

    /// Makes one lot of two of one owner: among the first few there are two such.
    fn join_oldest(&mut self) {
        for later in 1..=OWNERS.min(self.lots.len() - 1) {
            let Some(earlier) = (0..later).find(|&l| self.lots[l].owner == self.lots[later].owner) else { continue };
            if let Some(gone) = self.lots.remove(later) {
                let kept = &mut self.lots[earlier];
                kept.qty += gone.qty;
                kept.cost += gone.cost;
                kept.fill = NO_FILL;
                // Those before it are no younger: the order of fills holds.
                self.lots.make_contiguous()[..=earlier].rotate_right(1);
            }
            return;
        }
    }

    /// Takes up to `most` out of the oldest lot.
    pub(super) fn take_oldest(&mut self, most: Qty) -> Option<Lot> {
        let lot = self.lots.front_mut()?;
        let taken = if lot.qty <= most {
            let whole = *lot;
            self.lots.pop_front();
            whole
        } else {
            // The part's cost rounds down; the rest keeps the remainder, so nothing is lost.
            let part = Lot { qty: most, cost: lot.part(most), ..*lot };
            lot.qty -= part.qty;
            lot.cost -= part.cost;
            part
        };
        self.took(&taken);
        Some(taken)
    }

    /// Takes out what is left of the lot that one fill brought.
    pub(super) fn take_lot_of(&mut self, fill: u32) -> Option<Lot> {
        let at = self.lots.binary_search_by_key(&fill, |l| l.fill).ok().filter(|_| fill != NO_FILL)?;
        let taken = self.lots.remove(at)?;
        self.took(&taken);
        Some(taken)
    }

    fn took(&mut self, lot: &Lot) {
        self.qty -= lot.qty;
        self.held[usize::from(lot.owner)] -= lot.qty;
        self.costs[usize::from(lot.owner)] -= lot.cost;
    }

    /// One owner's lots are to have cost what `mark` says they are worth.
    pub(super) fn recost(&mut self, owner: Owner, mark: HalfUnits) {
        let (mut up_to, mut before) = (Qty::ZERO, Usdc::ZERO);
        for lot in self.lots.iter_mut().filter(|l| l.owner == owner) {
            up_to += lot.qty;
            let worth = value(up_to, mark);
            lot.cost = worth - before;
            before = worth;
        }
        self.costs[usize::from(owner)] = before;
    }

    /// What the oldest `qty` had cost, without taking it out.
    pub(super) fn cost_of(&self, qty: Qty) -> Usdc {
        let mut left = qty;
        let mut cost = Usdc::ZERO;
        for lot in &self.lots {
            if left.is_zero() {
                break;
            }
            let part = left.min(lot.qty);
            cost += if part == lot.qty { lot.cost } else { lot.part(part) };
            left -= part;
        }
        cost
    }

    /// Its lots, oldest first.
    pub(super) fn lots(&self) -> impl Iterator<Item = &Lot> {
        self.lots.iter()
    }
}

/// What some shares are worth at a mark, rounded down.
pub(super) fn value(qty: Qty, mark: HalfUnits) -> Usdc {
    let whole = 2 * u64::from(Price::UNITS);
    match qty.0.checked_mul(u64::from(mark)) {
        Some(product) => Usdc((product / whole) as i64),
        None => Usdc((u128::from(qty.0) * u128::from(mark) / u128::from(whole)) as i64),
    }
}
