//! Step 4 of 9: what a basket costs, all in, and what is left of it in its worst outcome.

use super::{
    finder::{Basket, LEGS_MAX},
    flight,
    params::BasketsParams,
    seen::Reason,
};
use crate::types::{
    InstrumentIx, MarketSpec, Nanos, Price, Qty, Usdc,
    fees::{FeeSchedule, Rounding},
};

/// Millionths of a pUSD in a unit of price.
const PPM_PER_UNIT: i32 = 100;
/// Millionths of a pUSD in a half.
const PPM_PER_HALF: i32 = 500_000;
/// A price at which nothing is bought: nobody offers.
const NO_OFFER_PPM: i32 = 100_000_000;
/// A venue refuses a marketable buy below this notional. Source: docs/PROTOCOL.md "prices and ticks".
const MARKETABLE_MIN: Usdc = Usdc::dollars(1);

/// The best offer of others for one token, with what one share costs. The screen: exact to a millionth a share, while
/// [`Weighed`] is exact to the micro-pUSD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// The price alone.
    pub price_ppm: i32,
    /// With the taker's fee and the hold, each rounded up.
    pub all_in_ppm: i32,
    /// The fee alone.
    pub fee_ppm: i32,
    /// Shares offered.
    pub qty: Qty,
    /// Since when nobody has offered more cheaply or more dearly.
    pub since: Nanos,
}

impl Top {
    /// Nobody offers.
    pub const NONE: Self =
        Self { price_ppm: NO_OFFER_PPM, all_in_ppm: NO_OFFER_PPM, fee_ppm: 0, qty: Qty::ZERO, since: Nanos(0) };
    /// The token that is none costs nothing, and there is always enough of it.
    pub const FREE: Self = Self { price_ppm: 0, all_in_ppm: 0, fee_ppm: 0, qty: Qty(u64::MAX), since: Nanos(0) };

    /// An offer, new at that time.
    pub fn of(price: Price, qty: Qty, fee: FeeSchedule, hold_ppm: i32, since: Nanos) -> Self {
        let units = u64::from(price.units());
        let curve = units * (u64::from(Price::UNITS) - units);
        let fee_ppm = (u64::from(fee.rate_ppm) * curve).div_ceil(100_000_000).min(PPM_PER_HALF as u64) as i32;
        let price_ppm = i32::from(price.units()) * PPM_PER_UNIT;
        Self { price_ppm, all_in_ppm: price_ppm + fee_ppm + hold_ppm, fee_ppm, qty, since }
    }
}

/// What a price is expected to move against us while a market holds an order, for a share.
pub fn hold_ppm(spec: &MarketSpec, params: &BasketsParams) -> i32 {
    let ppm = (u64::from(spec.hold_ms) * u64::from(params.hold_ppm_per_s)).div_ceil(1_000);
    ppm.min(PPM_PER_HALF as u64) as i32
}

/// What a share of each leg pays at least, and the same less what incomplete matches cost.
pub fn pays_ppm(basket: &Basket, params: &BasketsParams) -> (i32, i32) {
    let gross = i32::from(basket.worst) * PPM_PER_HALF;
    let short = u64::from(basket.short()) * u64::from(params.half_ppm) * PPM_PER_HALF as u64;
    (gross, gross - short.div_ceil(1_000_000) as i32)
}

/// One leg as it would be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// Its token.
    pub instrument: InstrumentIx,
    /// Its number in the match.
    pub token: u8,
    /// Best price of others.
    pub price: Price,
    /// Shares offered there.
    pub qty: Qty,
    /// Its market.
    pub spec: &'a MarketSpec,
}

/// A basket at the prices and sizes that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed<'a> {
    /// Its legs, the one most likely to vanish first.
    pub legs: heapless::Vec<Offer<'a>, LEGS_MAX>,
    /// Shares of each.
    pub qty: Qty,
    /// What is left in the worst outcome after everything.
    pub edge: Usdc,
}

impl Weighed<'_> {
    /// What is left of one share of each leg, ppm.
    pub fn edge_ppm(&self) -> i64 {
        per_share(self.edge, self.qty)
    }
}

/// A sum for so many shares, ppm of a pUSD for one, rounded down.
pub fn per_share(sum: Usdc, qty: Qty) -> i64 {
    (i128::from(sum.micro()) * 1_000_000).div_euclid(i128::from(qty.micro().max(1))) as i64
}

/// Shares of each leg: what the thinnest offers, at most what is allowed, in hundredths.
pub fn size(offers: impl Iterator<Item = Qty>, params: &BasketsParams) -> Qty {
    offers.fold(Qty::shares(u64::from(params.max_shares)), Qty::min).floor_to_cents()
}

/// True if the venue takes an immediate buy of so much.
pub fn marketable(spec: &MarketSpec, price: Price, qty: Qty) -> bool {
    qty >= spec.min_size && qty.notional_floor(price) >= MARKETABLE_MIN
}

/// So much of each of some shares, rounded up.
pub fn up(ppm: i64, qty: Qty) -> Usdc {
    Usdc((i128::from(ppm) * i128::from(qty.micro())).div_euclid(1_000_000) as i64 + i64::from(ppm > 0))
}

/// What so many shares of the one leg that is not among `taken` may cost in all, if nothing is to be left: the worst
/// payoff less half payouts and less what the others cost, takers' fees and hold included.
pub fn left_for_one<'a, 'b: 'a>(
    basket: &Basket,
    taken: impl Iterator<Item = &'a Offer<'b>>,
    qty: Qty,
    params: &BasketsParams,
) -> Usdc {
    let (pays, with_halves) = pays_ppm(basket, params);
    let left = flight::pays(basket.worst, qty) - up(i64::from(pays - with_halves), qty);
    taken.fold(left, |left, l| {
        let fee = l.spec.fee.taker_fee(qty, l.price, Rounding::Up);
        left - qty.notional_ceil(l.price) - fee - up(i64::from(hold_ppm(l.spec, params)), qty)
    })
}

/// Weighs a basket whose offers are these, to the micro-pUSD, every cost rounded against us. An error: why it is not
/// to be taken, and what a share of each leg would leave.
pub fn weigh<'a>(
    basket: &Basket,
    mut legs: heapless::Vec<Offer<'a>, LEGS_MAX>,
    params: &BasketsParams,
) -> Result<Weighed<'a>, (Reason, i64)> {
    let qty = size(legs.iter().map(|l| l.qty), params);
    if qty.is_zero() || !legs.iter().all(|l| marketable(l.spec, l.price, qty)) {
        return Err((Reason::Size, i64::MIN));
    }
    let gross = flight::pays(basket.worst, qty) - legs.iter().map(|l| qty.notional_ceil(l.price)).sum::<Usdc>();
    let fees: Usdc = legs.iter().map(|l| l.spec.fee.taker_fee(qty, l.price, Rounding::Up)).sum();
    let hold: Usdc = legs.iter().map(|l| up(i64::from(hold_ppm(l.spec, params)), qty)).sum();
    let (pays, with_halves) = pays_ppm(basket, params);
    let halves = up(i64::from(pays - with_halves), qty);
    let edge = gross - fees - hold - halves;
    let ppm = per_share(edge, qty);
    let zero = Usdc::ZERO;
    for (left, why) in [
        (gross, Reason::Price),
        (gross - fees, Reason::Fees),
        (gross - fees - hold, Reason::Hold),
        (edge, Reason::HalfStates),
    ] {
        if left <= zero {
            return Err((why, ppm));
        }
    }
    if ppm < i64::from(params.min_edge_ppm) {
        return Err((Reason::MinEdge, ppm));
    }
    // The thinnest first; of two as thin the one that is held longer.
    legs.sort_unstable_by_key(|l| (l.qty, core::cmp::Reverse(l.spec.hold_ms), l.token));
    Ok(Weighed { legs, qty, edge })
}

/// The first cost that leaves nothing, by the screen's numbers.
pub fn reason(gross_ppm: i32, fees_ppm: i32, edge_ppm: i32, halves_ppm: i32) -> Reason {
    if gross_ppm <= 0 {
        Reason::Price
    } else if gross_ppm - fees_ppm <= 0 {
        Reason::Fees
    } else if edge_ppm + halves_ppm <= 0 {
        Reason::Hold
    } else if edge_ppm <= 0 {
        Reason::HalfStates
    } else {
        Reason::MinEdge
    }
}
