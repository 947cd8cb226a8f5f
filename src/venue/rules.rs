//! The rules of one order: what may be sent, what it costs, and the words of every refusal.
//!
//! Written from the reference, not from our client, and with arithmetic of its own: amounts and fees here share no
//! line with `types::amounts` or `types::fees`.

use std::{fmt, sync::Arc};

use super::accounts::AccountIx;
use crate::{
    scenario::{OrderTag, Trader},
    types::{InstrumentIx, Nanos, OrderHash, Price, Qty, Side, TickSize, TimeInForce, Usdc, fees::FeeSchedule},
};

/// Smallest notional of a marketable buy. Source: docs/PROTOCOL.md "prices, ticks, sizes".
pub const MIN_MARKETABLE_BUY: Usdc = Usdc::dollars(1);
/// How far ahead a GTD time must lie. Source: docs/PROTOCOL.md "order types".
pub const GTD_LEAST_AHEAD_S: u64 = 180;
/// How long before its stated time a GTD order is stopped. Source: docs/PROTOCOL.md "order types".
pub const GTD_STOPS_BEFORE_S: u64 = 60;
/// Most orders in one batch. Source: docs/PROTOCOL.md "POST /orders".
pub const BATCH_MAX: usize = 15;

/// An order whose signature and owner are in order; the market's rules are still to be applied.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// Its EIP-712 digest, or a trader's own id.
    pub id: OrderHash,
    /// Whose funds.
    pub account: AccountIx,
    /// API key that placed it.
    pub owner: Arc<str>,
    /// A scenario trader's name for it.
    pub tag: Option<(Trader, OrderTag)>,
    /// Which token.
    pub instrument: InstrumentIx,
    /// Buy or sell.
    pub side: Side,
    /// Given: micro-pUSD for a buy, micro-shares for a sell.
    pub maker_amount: u64,
    /// Wanted at least: the other one.
    pub taker_amount: u64,
    /// How long it stands.
    pub tif: TimeInForce,
    /// Only as maker.
    pub post_only: bool,
}

/// Where an order is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Held by the sports delay.
    Delayed,
    /// Rests.
    Live,
    /// Filled.
    Matched,
    /// Gone; the text is the wire's `status`.
    Canceled(Arc<str>),
}

impl Phase {
    /// The wire's `status`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Delayed => "DELAYED",
            Self::Live => "LIVE",
            Self::Matched => "MATCHED",
            Self::Canceled(text) => text,
        }
    }
}

/// An accepted order.
#[derive(Clone, Debug)]
pub struct Order {
    /// What was sent.
    pub new: NewOrder,
    /// The signed price, on the grid.
    pub price: Price,
    /// Shares filled.
    pub matched: Qty,
    /// Collateral paid (buy) or received (sell) for them, without fee.
    pub cash: Usdc,
    /// Reserved for it now: collateral (buy) or shares (sell), in millionths.
    pub reserved: u64,
    /// Where it is.
    pub phase: Phase,
    /// When it came.
    pub created: Nanos,
    /// Its trades.
    pub trades: Vec<u64>,
}

impl Order {
    /// Shares asked for.
    pub const fn size(&self) -> Qty {
        match self.new.side {
            Side::Buy => Qty(self.new.taker_amount),
            Side::Sell => Qty(self.new.maker_amount),
        }
    }

    /// True for immediate buys, whose amount is collateral: they spend their `makerAmount` at whatever prices they
    /// find, so an improved price buys more shares than `takerAmount`. A captured $5 buy filled 9.615385 at 0.52
    /// where 9.6153 were signed for.
    /// Source: docs/PROTOCOL.md "order types"; tests/fixtures/samples/ws_market/last_trade_price_2026-09-30_buy.json.
    pub const fn spends(&self) -> bool {
        matches!(self.new.side, Side::Buy) && self.new.tif.is_immediate()
    }

    /// Shares that can still be filled at `price` of its own token.
    pub fn leaves_at(&self, price: Price) -> Qty {
        let paid = self.cash.micro().unsigned_abs();
        match self.new.side {
            Side::Sell => self.size().saturating_sub(self.matched),
            Side::Buy if self.spends() => {
                let left = u128::from(self.new.maker_amount.saturating_sub(paid));
                Qty((left * 10_000).div_ceil(u128::from(price.units().max(1))) as u64)
            }
            Side::Buy => {
                // Each fill of a buy is rounded up to the micro-pUSD; the sum may not pass what was signed for.
                let left = u128::from(self.new.maker_amount.saturating_sub(paid));
                let affordable = left * u128::from(self.new.taker_amount) / u128::from(self.new.maker_amount.max(1));
                self.size().saturating_sub(self.matched).min(Qty(affordable as u64))
            }
        }
    }

    /// Shares that can still be filled at its limit.
    pub fn leaves(&self) -> Qty {
        self.leaves_at(self.price)
    }

    /// True when what is left is dust. Source: docs/PROTOCOL.md "trade events" (dust).
    pub fn is_done(&self) -> bool {
        self.leaves() < Qty::DUST
    }

    /// What `qty` shares of this resting order cost or bring, by its own signed amounts: a buyer's payment is
    /// rounded up and a seller's proceeds down, so that nobody trades at a better price than was signed for.
    /// Source: docs/PROTOCOL.md "order types" (exchange contract: floor of the taking amount).
    pub fn resting_cash(&self, qty: Qty) -> Usdc {
        let (m, t, q) = (u128::from(self.new.maker_amount), u128::from(self.new.taker_amount), u128::from(qty.micro()));
        Usdc(match self.new.side {
            Side::Buy => (q * m).div_ceil(t.max(1)) as i64,
            Side::Sell => (q * t / m.max(1)) as i64,
        })
    }

    /// What has to stay reserved while it rests.
    pub fn rest_reservation(&self) -> u64 {
        match self.new.side {
            Side::Buy => self.new.maker_amount.saturating_sub(self.cash.micro().unsigned_abs()),
            Side::Sell => self.leaves().micro(),
        }
    }
}

/// The grid price that an order's amounts stand for.
///
/// Resting kinds must state it exactly. Immediate ones may be off by one step of the amount precision, because the
/// official clients round the share amount of a market buy down to it.
/// Source: docs/PROTOCOL.md "amounts in integers".
pub fn signed_price(new: &NewOrder, tick: TickSize) -> Option<Price> {
    let (cash, shares) = match new.side {
        Side::Buy => (u128::from(new.maker_amount), u128::from(new.taker_amount)),
        Side::Sell => (u128::from(new.taker_amount), u128::from(new.maker_amount)),
    };
    if cash == 0 || shares == 0 {
        return None;
    }
    let grid = u128::from(tick.units());
    // Nearest multiple of the tick.
    let units = (cash * 10_000 + shares * grid / 2) / (shares * grid) * grid;
    let price = Price::from_units(u16::try_from(units).ok()?)?;
    if !price.on_grid(tick) {
        return None;
    }
    let exact = shares * units;
    let step = if new.tif.is_immediate() { 10_u128.pow(6 - tick.amount_decimals()) } else { 0 };
    // The step is one of shares for a buy and one of collateral for a sell.
    let allowed = match new.side {
        Side::Buy => step * units,
        Side::Sell => step * 10_000,
    };
    (exact.abs_diff(cash * 10_000) <= allowed).then_some(price)
}

/// Taker fee of one match: shares × rate × p·(1−p) in collateral, to five decimals, half to even.
/// Source: docs/PROTOCOL.md "fees"; tests/fixtures/vectors/fees.json.
pub fn taker_fee(fee: &FeeSchedule, qty: Qty, price: Price) -> Usdc {
    let p = u128::from(price.units());
    let numerator = u128::from(qty.micro()) * u128::from(fee.rate_ppm) * p * (10_000 - p);
    let denominator = 1_000_000 * 100_000_000 * 10;
    let (steps, rest) = (numerator / denominator, numerator % denominator);
    let up = match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => steps % 2,
        std::cmp::Ordering::Greater => 1,
    };
    Usdc(((steps + up) * 10) as i64)
}

/// Why an order was refused. `Display` gives the venue's words.
/// Source: docs/PROTOCOL.md "errors".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not an order.
    Payload,
    /// `owner` is not the API key of the request.
    Owner,
    /// `signer` does not belong to the API key.
    Signer,
    /// The signature is not the signer's.
    Signature,
    /// Signed for another exchange version.
    Version,
    /// No such token, or its market is closed.
    NoBook(String),
    /// Off the grid.
    Tick(OrderHash, String, TickSize),
    /// Below the resting minimum.
    Size(OrderHash, Qty, Qty),
    /// Below the minimum of a marketable buy.
    Amount(Usdc),
    /// Seen before.
    Duplicate(OrderHash),
    /// Post-only and crossing.
    Crosses,
    /// Post-only and immediate.
    PostOnlyKind,
    /// Too little free collateral or shares.
    Balance,
    /// GTD too near, or a time on another kind.
    Expiration,
    /// A fill-or-kill found too little.
    Fok,
    /// A fill-and-kill found nothing.
    Fak,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload => f.write_str("Invalid order payload"),
            Self::Owner => f.write_str("the order owner has to be the owner of the API KEY"),
            Self::Signer => f.write_str("the order signer address has to be the address of the API KEY"),
            Self::Signature => f.write_str("invalid signature"),
            Self::Version => f.write_str("order_version_mismatch"),
            Self::NoBook(token) => write!(f, "the orderbook {token} does not exist"),
            Self::Tick(id, price, tick) => {
                write!(f, "order {id} is invalid. Price ({price}) breaks minimum tick size rule: {tick}")
            }
            Self::Size(id, size, min) => {
                write!(f, "order {id} is invalid. Size ({size}) lower than the minimum: {min}")
            }
            Self::Amount(amount) => {
                write!(f, "invalid amount for a marketable BUY order (${amount}), min size: $1")
            }
            Self::Duplicate(id) => write!(f, "order {id} is invalid. Duplicated."),
            Self::Crosses => f.write_str("invalid post-only order: order crosses book"),
            Self::PostOnlyKind => f.write_str("invalid post-only order: only GTC and GTD orders can be post-only"),
            Self::Balance => f.write_str("not enough balance / allowance"),
            Self::Expiration => f.write_str("invalid expiration"),
            Self::Fok => f.write_str(FOK_KILLED),
            Self::Fak => f.write_str(FAK_KILLED),
        }
    }
}

/// Words of a killed fill-or-kill.
pub const FOK_KILLED: &str = "order couldn't be fully filled. FOK orders are fully filled or killed.";
/// Words of a fill-and-kill that found nothing.
pub const FAK_KILLED: &str =
    "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found.";
