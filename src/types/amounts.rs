//! An order's two integer amounts: the one place where price × size becomes what is signed.
//!
//! Binary floats get this wrong (`19.99` becomes `19.98`); integers cannot.
//! Source: docs/PROTOCOL.md "amounts"; tests/fixtures/vectors/amounts.json.

use serde::{Deserialize, Serialize};

use super::{
    order::Side,
    price::{Price, TickSize},
    qty::{Qty, Usdc},
};

/// What an order gives and what it wants at least, in base units (six decimals).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Given: collateral for a buy, shares for a sell.
    pub maker: u64,
    /// Wanted: shares for a buy, collateral for a sell.
    pub taker: u64,
}

/// A limit order of `qty` (rounded down to hundredths) at `price`; also a market sell.
///
/// The implied price is exactly `price`: nothing is rounded but the size.
#[inline]
pub const fn limit(side: Side, price: Price, qty: Qty) -> Amounts {
    let shares = qty.floor_to_cents().micro();
    // Hundredths of shares times 0.0001 is a whole number of millionths.
    let cash = shares / 10_000 * price.units() as u64;
    match side {
        Side::Buy => Amounts { maker: cash, taker: shares },
        Side::Sell => Amounts { maker: shares, taker: cash },
    }
}

/// A market buy that spends `amount` (rounded down to cents, before fee) at no worse than `worst`.
///
/// The venue's clients round the shares up at four decimals past the grid's and then down at the grid's;
/// that matters only for repeating decimals just below the next unit. `None` at price zero.
pub const fn market_buy(worst: Price, amount: Usdc, tick: TickSize) -> Option<Amounts> {
    let price = worst.units() as u128;
    if price == 0 || amount.micro() < 0 {
        return None;
    }
    let cents = (amount.micro() / 10_000) as u128;
    let decimals = tick.amount_decimals();
    let numerator = cents * 10_u128.pow(decimals + 6);
    let ceiled = numerator.div_ceil(price);
    let taker = ceiled / 10_000 * 10_u128.pow(6 - decimals);
    Some(Amounts { maker: cents as u64 * 10_000, taker: taker as u64 })
}
