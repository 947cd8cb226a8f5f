//! Where the mid went after each fill: what a maker pays to those who know more.

use std::collections::VecDeque;

use serde::Serialize;

use super::{HalfUnits, known::Known};
use crate::types::{Nanos, Price, Qty, Side, Usdc, ids::InstrumentIx};

/// How long after a fill its mid is looked at, in nanoseconds: 1, 5, 30 and 300 seconds.
pub const HORIZONS_NS: [u64; 4] = [1_000_000_000, 5_000_000_000, 30_000_000_000, 300_000_000_000];
/// Fills that wait for their last look. When full, the oldest is not looked at any more.
const PENDING_MAX: usize = 4_096;

/// What the mid did within some time of our fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Markout {
    /// How long after each fill, in nanoseconds of event time.
    pub horizon_ns: u64,
    /// Σ size × how far the mid went against us. Negative if it went with us.
    pub adverse: Usdc,
    /// Shares of these fills.
    pub qty: Qty,
    /// Fills that were looked at.
    pub fills: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    at: Nanos,
    n: u32,
    instrument: InstrumentIx,
    side: Side,
    taker: bool,
    qty: Qty,
    mark: HalfUnits,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// Micro-shares × half-units: exact.
    adverse: i128,
    qty: Qty,
    fills: u64,
}

/// The fills that are waited for, and the sums.
#[derive(Debug)]
pub(super) struct Markouts {
    horizons: [u64; 4],
    pending: VecDeque<Pending>,
    /// For each horizon, the first pending fill that it has not looked at.
    next: [usize; 4],
    /// As maker, as taker.
    sums: [[Sum; 4]; 2],
}

impl Markouts {
    pub(super) fn new(horizons: [u64; 4]) -> Self {
        Self { horizons, pending: VecDeque::with_capacity(PENDING_MAX), next: [0; 4], sums: [[Sum::default(); 4]; 2] }
    }

    pub(super) fn set_horizons(&mut self, horizons: [u64; 4]) {
        self.horizons = horizons;
    }

    pub(super) fn filled(&mut self, known: &Known, taker: bool, mark: HalfUnits, now: Nanos) {
        if self.pending.len() == PENDING_MAX {
            self.drop_first();
        }
        let fill = &known.fill;
        self.pending.push_back(Pending {
            at: now,
            n: known.n,
            instrument: fill.instrument,
            side: fill.side,
            taker,
            qty: fill.qty,
            mark,
        });
    }

    /// A fill is out of the books: it is not looked at any more.
    pub(super) fn failed(&mut self, n: u32) {
        if let Some(pending) = self.pending.iter_mut().find(|p| p.n == n) {
            pending.qty = Qty::ZERO;
        }
    }

    fn drop_first(&mut self) {
        self.pending.pop_front();
        self.next.iter_mut().for_each(|n| *n = n.saturating_sub(1));
    }

    /// Looks at every fill whose time has come, with the marks as they stand.
    #[inline]
    pub(super) fn look(&mut self, now: Nanos, mark_of: impl Fn(InstrumentIx) -> HalfUnits) {
        if self.pending.is_empty() {
            return;
        }
        for h in 0..self.horizons.len() {
            while let Some(p) = self.pending.get(self.next[h])
                && now >= p.at.plus(self.horizons[h])
            {
                self.next[h] += 1;
                if p.qty.is_zero() {
                    continue;
                }
                let up = i128::from(mark_of(p.instrument)) - i128::from(p.mark);
                let against = if p.side == Side::Buy { -up } else { up };
                let sum = &mut self.sums[usize::from(p.taker)][h];
                sum.adverse += against * i128::from(p.qty.0);
                sum.qty += p.qty;
                sum.fills += 1;
            }
        }
        while self.next.iter().all(|n| *n > 0) {
            self.drop_first();
        }
    }

    /// The sums so far: as maker, as taker.
    pub(super) fn read(&self) -> [[Markout; 4]; 2] {
        self.sums.map(|of| {
            std::array::from_fn(|h| Markout {
                horizon_ns: self.horizons[h],
                adverse: Usdc((of[h].adverse / (2 * i128::from(Price::UNITS))) as i64),
                qty: of[h].qty,
                fills: of[h].fills,
            })
        })
    }
}
