//! One token that we hold: how much, what it cost, first in first out.

use std::collections::VecDeque;

use super::HalfUnits;
use crate::types::{Price, Qty, Usdc};

/// Separate purchase lots kept per token; beyond it the two newest are joined.
pub(super) const LOTS_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lot {
    pub(super) qty: Qty,
    pub(super) cost: Usdc,
}

impl Lot {
    /// What `qty` of it had cost, rounded down.
    pub(super) fn part(&self, qty: Qty) -> Usdc {
        Usdc((i128::from(self.cost.0) * i128::from(qty.0) / i128::from(self.qty.0)) as i64)
    }
}

/// One token that we hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// All fills, settled or not.
    pub(super) qty: Qty,
    /// Settled fills only.
    pub(super) settled: Qty,
    /// First in, first out.
    pub(super) lots: VecDeque<Lot>,
    pub(super) mark: HalfUnits,
    pub(super) bought: Qty,
    pub(super) sold: Qty,
    pub(super) fills: u64,
}

impl Holding {
    pub(super) fn value(&self) -> Usdc {
        value(self.qty, self.mark)
    }

    pub(super) fn add_lot(&mut self, lot: Lot) {
        if self.lots.len() == LOTS_MAX
            && let Some(last) = self.lots.back_mut()
        {
            last.qty += lot.qty;
            last.cost += lot.cost;
            return;
        }
        self.lots.push_back(lot);
    }

    /// Takes `qty` out of the oldest lots and returns what it had cost.
    pub(super) fn consume(&mut self, mut qty: Qty) -> Usdc {
        let mut cost = Usdc::ZERO;
        while !qty.is_zero()
            && let Some(lot) = self.lots.front_mut()
        {
            if lot.qty <= qty {
                cost += lot.cost;
                qty -= lot.qty;
                self.lots.pop_front();
            } else {
                // The part's cost rounds down; the rest keeps the remainder, so nothing is lost.
                let part = lot.part(qty);
                lot.qty -= qty;
                lot.cost -= part;
                cost += part;
                qty = Qty::ZERO;
            }
        }
        cost
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

    pub(super) fn cost(&self) -> Usdc {
        self.lots.iter().map(|l| l.cost).sum()
    }
}

pub(super) fn value(qty: Qty, mark: HalfUnits) -> Usdc {
    Usdc((u128::from(qty.0) * u128::from(mark) / (2 * u128::from(Price::UNITS))) as i64)
}
