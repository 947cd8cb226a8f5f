//! What a run did, as numbers for the summary, the metrics and the exit table.

use serde::Serialize;

use super::{
    MARKETS_MAX,
    position::{Day, Markout},
    strategy::{Standing, Timing},
    trading::TradingState,
};
use crate::types::{InstrumentIx, OrderHash, Price, Qty, Side, Usdc, order::OrderState};

/// Counts and sums of one run. Money and sizes are exact integers; whoever prints them writes decimals.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Equity at the start: collateral, and what earlier runs left at its first mark.
    pub started_with: Usdc,
    /// Orders by what became of them.
    pub orders: Orders,
    /// Fills.
    pub fills: Fills,
    /// Profit and loss by account.
    pub pnl: Pnl,
    /// Profit of no market: collateral that the venue counts otherwise, rebates and rewards. With the markets' it is
    /// the whole change of equity.
    pub account_line: Usdc,
    /// By strategy, `recovered` last. With `rounding`, rebates and rewards they are the whole change of equity.
    pub strategies: Vec<Strategy>,
    /// By UTC day, oldest first. Together they are the whole change of equity.
    pub days: Vec<Day>,
    /// Where the mid went after each fill: as maker, as taker.
    pub markouts: [[Markout; 4]; 2],
    /// One entry per market, in the universe's order.
    pub markets: Vec<Market>,
    /// Books.
    pub books: Books,
    /// The venue's account of us against ours.
    pub reconciliation: Reconciliation,
    /// Intents refused by risk, by reason (snake case), most first.
    pub rejections: Vec<(&'static str, u64)>,
    /// Orders refused by the venue, by reason (snake case).
    pub rejected_by: Vec<(&'static str, u64)>,
    /// Why the kill switch tripped, if it did.
    pub kill_switch: Option<&'static str>,
    /// What the strategies have to say, a sentence each: markets left alone and why, baskets that appeared.
    pub remarks: Vec<String>,
}

/// The few numbers that change all the time, for metrics and the progress line. Cheap enough to take while trading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brief {
    /// New orders are admitted.
    pub admitting: bool,
    /// Why not, condition by condition.
    pub gate: super::gate::Gate,
    /// Orders.
    pub orders: Orders,
    /// Fills.
    pub fills: Fills,
    /// Profit and loss.
    pub pnl: Pnl,
    /// Books.
    pub books: Books,
    /// The venue's account of us against ours.
    pub reconciliation: Reconciliation,
    /// The worst loss that is possible now, over all markets and in the worst of them.
    pub exposure: [Usdc; 2],
    /// How late the market channel tells us, and how long a cancel takes.
    pub timing: Timing,
    /// Why the kill switch tripped, if it did.
    pub kill_switch: Option<&'static str>,
}

/// Open orders that [`Detail`] lists; of more, it says how many more.
pub const ORDERS_SHOWN: usize = 256;

/// What is held and what is open, one by one: for `/state`. Some 25 KiB of plain data, no allocation.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Collateral by our own account.
    pub cash: Usdc,
    /// In the order of the universe.
    pub markets: heapless::Vec<Holding, MARKETS_MAX>,
    /// Orders that are not finished, by market.
    pub orders: heapless::Vec<OpenOrder, ORDERS_SHOWN>,
    /// Open orders beyond those.
    pub orders_more: u64,
}

/// One market, now.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    /// Where it is in its trading life.
    pub state: TradingState,
    /// Shares by all fills, of each outcome: what risk counts.
    pub position: [Qty; 2],
    /// Shares by settled fills, of each outcome: what may be sold and merged.
    pub settled: [Qty; 2],
    /// Orders open.
    pub open: u64,
    /// Where the strategy stands there, if it has a word for it.
    pub standing: Option<Standing>,
}

/// One order that is not finished.
#[derive(Clone, Copy, Debug)]
pub struct OpenOrder {
    /// Its id.
    pub order: OrderHash,
    /// Its token.
    pub instrument: InstrumentIx,
    /// Its side.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// Its size.
    pub qty: Qty,
    /// How much of it is filled.
    pub filled: Qty,
    /// Where it is in its life.
    pub state: OrderState,
}

/// The venue's account of us against ours.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Reconciliation {
    /// Times that everything the venue knows of us was read whole.
    pub readings: u64,
    /// Differences found, each once.
    pub mismatches: u64,
    /// Inputs to orders that venue and gateway cannot both have meant.
    pub impossible: u64,
    /// Trades that have not been final for a minute.
    pub stuck_trades: u64,
    /// Times that a market's breaker opened.
    pub breaker_trips: u64,
}

/// Orders by what became of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Orders {
    /// Wanted by strategies.
    pub intents: u64,
    /// Approved and given to the signer.
    pub sent: u64,
    /// Taken by the venue.
    pub accepted: u64,
    /// Refused by the venue.
    pub rejected: u64,
    /// Ever in the unknown state.
    pub unknown: u64,
    /// In the unknown state now.
    pub unresolved: u64,
    /// Cancelled.
    pub canceled: u64,
    /// Intents dropped because the same was already working.
    pub deduplicated: u64,
    /// Of those sent, immediate ones.
    pub immediate: u64,
    /// Of these, the ones that ended without a fill: nearly all of them means that their limits never meet the book.
    pub immediate_killed: u64,
    /// Open now.
    pub open: u64,
}

/// Fills.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Fills {
    /// Fills, each (trade, order) once.
    pub count: u64,
    /// Of which the trade failed later.
    pub failed: u64,
    /// Cash that changed hands.
    pub notional: Usdc,
    /// Of which as taker.
    pub taker: u64,
}

/// Profit and loss. `equity_change` is the sum of `spread`, `inventory`, −`fees`, `rebates`, `rewards` and
/// `rounding`; and of `realized`, `unrealized_mid`, −`fees`, `rebates`, `rewards` and `rounding`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Pnl {
    /// Cash now minus cash at start, plus open positions at the mark.
    pub equity_change: Usdc,
    /// The same since this UTC day began.
    pub day_change: Usdc,
    /// Booked by sales, merges and payouts (FIFO), before fees.
    pub realized: Usdc,
    /// The same one by one: by sales, by merges, by payouts.
    pub realized_by: [Usdc; 3],
    /// Of positions still open: what they would bring now, sold into the book with the taker fee, minus their cost.
    pub unrealized: Usdc,
    /// The same at the mark.
    pub unrealized_mid: Usdc,
    /// Paid as taker.
    pub fees: Usdc,
    /// Paid by the venue: maker rebates.
    pub rebates: Usdc,
    /// Paid by the venue: rewards.
    pub rewards: Usdc,
    /// Venue's integer amounts against ours.
    pub rounding: Usdc,
    /// Earned against the mid at the time of each fill.
    pub spread: Usdc,
    /// Earned or lost by holding while the mid moved.
    pub inventory: Usdc,
    /// Locked in completed pairs: pairs × 1 minus their cost.
    pub locked: Usdc,
}

/// One strategy's part.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Strategy {
    /// Its name; `recovered` for shares of earlier runs.
    pub name: &'static str,
    /// Booked by sales, by merges and by payouts of what it bought, before fees.
    pub realized: [Usdc; 3],
    /// Of what it holds, at the mark.
    pub unrealized_mid: Usdc,
    /// Paid as taker.
    pub fees: Usdc,
    /// All of it.
    pub pnl: Usdc,
}

/// One market.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Market {
    /// Slug.
    pub slug: String,
    /// Shares held of each outcome.
    pub position: [Qty; 2],
    /// What they are worth at the mark.
    pub value: Usdc,
    /// Shares bought of each outcome in the whole run.
    pub bought: [Qty; 2],
    /// Shares sold of each outcome in the whole run.
    pub sold: [Qty; 2],
    /// Fills on each outcome's token.
    pub fills: [u64; 2],
    /// Complete sets bought in the whole run.
    pub pairs: Qty,
    /// Complete sets merged.
    pub merged: Qty,
    /// Shares that never found their other leg.
    pub unpaired: Qty,
    /// Profit of the completed pairs.
    pub pair_pnl: Usdc,
    /// Profit of the unpaired legs.
    pub unpaired_pnl: Usdc,
    /// Fees paid.
    pub fees: Usdc,
    /// Shares that the venue counted otherwise.
    pub rounding: Usdc,
    /// Whole profit of this market.
    pub pnl: Usdc,
    /// By strategy, those that have a part. Together with `rounding` they are `pnl`.
    pub by_strategy: Vec<Strategy>,
    /// What it paid, once known: `yes`, `no`, `half`.
    pub payout: Option<&'static str>,
}

/// Books.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Books {
    /// Market-channel messages applied.
    pub messages: u64,
    /// Snapshots asked for again.
    pub resyncs: u64,
    /// Summed over books: nanoseconds during which one was not trusted, after its first snapshot.
    pub untrusted_ns: u64,
}
