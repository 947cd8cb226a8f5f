//! What can still change hands: orders at their limit, fills that are not settled yet.

use crate::types::{
    Price, Qty, Side, Usdc,
    event::Payout,
    fees::FeeSchedule,
    ids::{InstrumentIx, Outcome},
    order::Intent,
};

/// Money in units of 10⁻¹⁰ pUSD: one micro-share at one price unit. An order's cash is a whole number of them for any
/// part of it, so it can be split without rounding.
pub(super) type Fine = i64;

/// Units in a micro-pUSD.
pub(super) const PER_MICRO: Fine = Price::UNITS as Fine;
/// What half a pUSD for a micro-share is.
const HALF: Fine = PER_MICRO / 2;
/// What the venue's integers and the rounding of fees may make a fill worse than its order's limit, in micro-pUSD. Up
/// to this the ledger's rounding has it, and with it the day's loss; beyond it the fill is none that the order allows.
pub const ROUNDING_MICRO: i64 = 30;

/// Money rounded against us, to the micro-pUSD: a loss up, a gain down.
pub(super) const fn usdc(loss: Fine) -> Usdc {
    Usdc(-(-loss).div_euclid(PER_MICRO))
}

/// What something does to its market's account for each payoff of the first outcome: 0, ½ and 1.
pub(super) type ByPayoff = [Fine; 3];

/// Where a market's payout stands in a [`ByPayoff`].
pub(super) const fn at(payout: Payout) -> usize {
    super::super::lattice::halves(payout) as usize
}

/// What an order can still take: its leaves at its limit with the worst fee.
///
/// A value of the order's own terms and nothing else: whoever removes what was added removes exactly that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    instrument: InstrumentIx,
    side: Side,
    qty: Qty,
    /// Price units paid for a share, the fee included; received for it, net of the fee. Below zero if a fee is more
    /// than a sale brings.
    each: Fine,
}

impl Open {
    /// What `leaves` of an order can cost in a market with these fees. An order that is post-only pays none; for others
    /// the fee per share is rounded up to a whole price unit.
    pub fn of(intent: &Intent, leaves: Qty, fees: FeeSchedule) -> Self {
        let fee = if intent.post_only { 0 } else { fee_each(fees, intent.price) };
        let price = Fine::from(intent.price.units());
        let each = match intent.side {
            Side::Buy => price + fee,
            Side::Sell => price - fee,
        };
        Self { instrument: intent.instrument, side: intent.side, qty: leaves, each }
    }

    /// The token.
    pub const fn instrument(&self) -> InstrumentIx {
        self.instrument
    }

    /// How much of the order it is.
    pub const fn qty(&self) -> Qty {
        self.qty
    }

    /// The same order with another number of shares open.
    #[must_use]
    pub const fn with(self, qty: Qty) -> Self {
        Self { qty, ..self }
    }

    /// What it pays if all of it is filled at the limit, the fee included; nothing for a sale.
    pub(super) fn pays(&self) -> Fine {
        match self.side {
            Side::Buy => times(self.qty, self.each),
            Side::Sell => 0,
        }
    }

    /// All of it at the limit.
    pub(super) fn at_limit(&self) -> Flow {
        let cash = match self.side {
            Side::Buy => times(self.qty, -self.each),
            Side::Sell => times(self.qty, self.each),
        };
        Flow { instrument: self.instrument, side: self.side, qty: self.qty, cash }
    }
}

/// The worst fee of a share at a limit, in price units, rounded up.
///
/// With a rate below 1 price and fee together rise with the price, and what a sale brings as well: a fill at a better
/// price than the limit never costs more. A rate of 1 or more has no such order; the highest fee of any price serves.
fn fee_each(fees: FeeSchedule, limit: Price) -> Fine {
    let units = if fees.rate_ppm < 1_000_000 { limit.units() } else { Price::UNITS / 2 };
    let (p, one) = (u64::from(units), u64::from(Price::UNITS));
    (u64::from(fees.rate_ppm) * p * (one - p)).div_ceil(one * 1_000_000) as Fine
}

/// Saturates; what is so large is out of range wherever it is used.
fn times(qty: Qty, each: Fine) -> Fine {
    Fine::try_from(qty.micro()).unwrap_or(Fine::MAX).saturating_mul(each)
}

/// Shares that changed hands for cash, or will: a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    instrument: InstrumentIx,
    side: Side,
    qty: Qty,
    /// Received, or paid if below zero. Units of 10⁻¹⁰ pUSD.
    cash: Fine,
}

impl Flow {
    /// Shares that came or went for `cash`, which is what they cost or brought, fees included: a holding of an earlier
    /// run, a correction by the venue's word.
    pub fn new(instrument: InstrumentIx, side: Side, qty: Qty, cash: Usdc) -> Self {
        let cash = cash.micro().saturating_mul(PER_MICRO);
        let cash = if side == Side::Buy { cash.saturating_neg() } else { cash };
        Self { instrument, side, qty, cash }
    }

    /// The token.
    pub const fn instrument(&self) -> InstrumentIx {
        self.instrument
    }

    /// What it leaves in the account, cash and what the shares pay, for each payoff of the market.
    pub(super) fn gains(&self) -> ByPayoff {
        let half = times(self.qty, if self.side == Side::Buy { HALF } else { -HALF });
        let of = |halves: Fine| self.cash.saturating_add(half.saturating_mul(halves));
        match self.instrument.outcome() {
            Outcome::Yes => [of(0), of(1), of(2)],
            Outcome::No => [of(2), of(1), of(0)],
        }
    }

    /// The same, counted only where it hurts.
    pub(super) fn harm(&self) -> ByPayoff {
        self.gains().map(|gain| gain.min(0))
    }

    /// The same, counted only where it helps.
    pub(super) fn help(&self) -> ByPayoff {
        self.gains().map(|gain| gain.max(0))
    }
}

/// What a fill was, measured by its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// To be kept with the fill: what is given back when its settlement succeeds or fails.
    pub flow: Flow,
    /// How much worse than the order's limit it was, beyond what rounding explains. Not zero: an anomaly, which is
    /// counted in the exposure as it happened.
    pub worse_by: Usdc,
    /// Shares beyond what was open of the order. Not zero: an anomaly too, or a trade of an order that was thought to
    /// be over; counted as well.
    pub beyond: Qty,
}

impl Filled {
    /// Of `open`, `qty` shares were matched for `notional`; `fee` was taken.
    pub fn of(open: &Open, qty: Qty, notional: Usdc, fee: Usdc) -> Self {
        let limit = open.with(qty).at_limit();
        let cash = if open.side == Side::Buy { notional + fee } else { notional - fee };
        let real = Flow::new(open.instrument, open.side, qty, cash);
        let worse = limit.cash.saturating_sub(real.cash);
        let beyond = qty.saturating_sub(open.qty);
        match worse {
            ..=0 => Self { flow: real, worse_by: Usdc::ZERO, beyond },
            1.. if worse <= ROUNDING_MICRO * PER_MICRO => Self { flow: limit, worse_by: Usdc::ZERO, beyond },
            _ => Self { flow: real, worse_by: usdc(worse), beyond },
        }
    }
}
