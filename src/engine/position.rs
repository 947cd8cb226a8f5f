//! Step 8 of 9: fills → inventory, cash, profit and loss.
//!
//! Everything is an integer. At every event, to the micro-pUSD, the change of equity since the start, equity being cash
//! plus every holding at its mark, is told in ways that have to agree ([`Ledger::balanced`]):
//!
//! - by where it came from: `spread + inventory − fees + income + rounding`. `spread` is what each fill earned
//!   against the mark of its moment, `inventory` what holding earned while marks moved (payouts included);
//! - by what is certain: `realised + unrealised − fees + income + rounding`. A gain is realised by a sale, a merge
//!   or a payout and by nothing else, first in first out; a payout of ½ each is one like any other, not a refund;
//! - by market, by strategy, and by UTC day.
//!
//! `fees` are booked with the match and taken back with FAILED. `income` is what the venue paid besides: rebates and
//! rewards, when they came. `rounding` is what the venue's integers and counts differ from ours.

mod booking;
mod days;
mod holding;
mod known;
mod liquidation;
mod markout;
mod settlement;
mod views;

use std::collections::{HashMap, VecDeque};

use self::{
    booking::{DRAWN_MAX, Drawn},
    days::Days,
    holding::{Holding, value},
    known::Known,
    markout::Markouts,
    settlement::{Ending, OUTCOMES, UNSETTLED_MAX},
};
pub use self::{
    days::{DAYS, Day, Totals},
    liquidation::{Liquidation, liquidation},
    markout::{HORIZONS_NS, Markout},
    views::{AccountView, StrategyView},
};
use super::{
    digest::StateHasher,
    exposure::{Flow, Open},
};
use crate::types::{
    MarketIx, Nanos, OrderHash, Price, Qty, TradeKey, Usdc,
    event::{Payout, TradeStatus},
    fees::FeeSchedule,
    ids::{InstrumentIx, Outcome},
    order::{Side, StrategyId},
};

/// Fills remembered at once. When full, the oldest settled one is forgotten.
pub const FILLS_MAX: usize = 32_768;
/// A merge that failed is not asked for again before this.
const MERGE_RETRY_NS: u64 = 30_000_000_000;

/// A mark: twice a price in units of 0.0001, so that a mid is exact.
pub type HalfUnits = u32;

/// A trade of one of our orders, as the user channel told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The token of our order.
    pub instrument: InstrumentIx,
    /// Our side.
    pub side: Side,
    /// Shares.
    pub qty: Qty,
    /// Cash at the match prices, before fees.
    pub notional: Usdc,
    /// Taker fee; zero for a maker.
    pub fee: Usdc,
    /// How far its settlement is.
    pub status: TradeStatus,
}

impl Fill {
    /// What it moved, at its own price.
    fn flow(&self) -> Flow {
        let cash = if self.side == Side::Buy { self.notional + self.fee } else { self.notional - self.fee };
        Flow::new(self.instrument, self.side, self.qty, cash)
    }

    fn digest(&self, (trade, order): &(TradeKey, OrderHash)) -> u64 {
        let mut h = StateHasher::default();
        h.bytes(&trade.0.to_le_bytes());
        h.bytes(&order.0);
        h.u64(u64::from(self.instrument.0) << 16 | (self.side as u64) << 8 | self.status as u64);
        h.u64(self.qty.0);
        h.i64(self.notional.0);
        h.i64(self.fee.0);
        h.finish()
    }
}

/// A trade event of one of our orders, and what is known of the order.
#[derive(Clone, Copy, Debug)]
pub struct NewTrade {
    /// The token of our order.
    pub instrument: InstrumentIx,
    /// Our side.
    pub side: Side,
    /// Shares.
    pub qty: Qty,
    /// Cash at the match prices, before fees.
    pub notional: Usdc,
    /// The event's Σ qty × p·(1−p) if we were the taker.
    pub curve: Option<u128>,
    /// What the market charges takers.
    pub fees: FeeSchedule,
    /// How far its settlement is.
    pub status: TradeStatus,
    /// Which strategy wanted the order; `None` for one of an earlier run.
    pub strategy: Option<StrategyId>,
    /// The order's own limit, and what of it was open; `None` if it is not known any more.
    pub limit: Option<Open>,
}

/// What the venue paid besides: neither a trade nor a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Income {
    /// A part of the takers' fees, for those who made.
    Rebate,
    /// For orders that rested.
    Reward,
}

/// Why shares left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Sell,
    Merge,
    Redeem,
    /// The venue counts fewer.
    Lost,
}

/// What realises a gain, in the order of every array by cause.
pub const CAUSES: [&str; 3] = ["sell", "merge", "redeem"];

impl Cause {
    /// Its place among [`CAUSES`], if it realises anything.
    fn index(self) -> Option<usize> {
        match self {
            Self::Sell => Some(0),
            Self::Merge => Some(1),
            Self::Redeem => Some(2),
            Self::Lost => None,
        }
    }
}

/// Whose shares: a strategy's number, or [`RECOVERED`].
type Owner = u8;
/// Shares of earlier runs, and such as the venue counted and we did not know of.
const RECOVERED: Owner = StrategyId::ALL.len() as Owner;
/// Owners of shares.
pub const OWNERS: usize = StrategyId::ALL.len() + 1;

/// A change that the exposure is to know of.
#[derive(Clone, Copy, Debug)]
pub enum Moved {
    /// A new fill, not settled yet.
    Filled(Flow),
    /// Its settlement is final.
    Confirmed(Flow),
    /// Its settlement failed.
    Failed(Flow),
    /// Shares or cash came or went without a fill.
    Held(Flow),
    /// A fill of an earlier run, counted already, is not settled yet.
    Doubted(Flow),
}

/// Most changes of one event.
const MOVED_MAX: usize = 8;

/// What a trade event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// A new fill is in the books.
    New,
    /// Known already; only its settlement moved, or nothing.
    Known,
    /// The trade failed: its fill is out of the books again.
    Voided,
    /// A new trade that had failed before we heard of it: nothing to book, but the order's size is used up.
    NeverWas,
    /// It contradicts what is known: a settled trade failed, or its size changed.
    Contradiction,
}

/// One strategy's part of one market's account.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// By cause.
    realized: [Usdc; 3],
    fees: Usdc,
}

/// One market's account.
#[derive(Clone, Debug, Default)]
struct Account {
    holdings: [Holding; 2],
    owners: [Share; OWNERS],
    /// Every flow of cash in this market, fees included.
    cash: Usdc,
    fees: Usdc,
    /// Shares that the venue counted otherwise.
    rounding: Usdc,
    merged: Qty,
    merging: Qty,
    /// Holdings of an earlier run wait for their first mark, which is their cost.
    unmarked: bool,
    /// It had a mark.
    marked: bool,
    /// Counts everything that moved shares here: a reading of the venue is compared only with what stood still.
    moves: u64,
    /// After a failed merge the next is not asked for before this.
    merge_again: Nanos,
    pairs: Qty,
    pair_pnl: Usdc,
    unpaired: Qty,
    payout: Option<Payout>,
}

/// The whole account.
#[derive(Debug)]
pub struct Ledger {
    accounts: Vec<Account>,
    start: Usdc,
    cash: Usdc,
    spread: Usdc,
    inventory: Usdc,
    fees: Usdc,
    rounding: Usdc,
    rebates: Usdc,
    rewards: Usdc,
    /// By cause.
    realized: [Usdc; 3],
    notional: Usdc,
    taker_fills: u64,
    failed: u64,
    anomalies: u64,
    fills: HashMap<(TradeKey, OrderHash), Known>,
    /// The last fill's number.
    fills_n: u32,
    /// What was taken from which lot, newest last.
    drawn: VecDeque<Drawn>,
    days: Days,
    markouts: Markouts,
    /// Sum over the fills' hashes: a map has no order of its own, and the state hash must not walk it.
    fills_sum: u64,
    settled_order: VecDeque<(TradeKey, OrderHash)>,
    /// Trades that were not final when last looked at, oldest first.
    unsettled: VecDeque<(Nanos, (TradeKey, OrderHash))>,
    endings: heapless::Deque<Ending, OUTCOMES>,
    /// Since they were last taken.
    moved: heapless::Vec<Moved, MOVED_MAX>,
}

impl Ledger {
    /// An empty account over some markets.
    pub fn new(markets: usize) -> Self {
        let account = || Account { holdings: std::array::from_fn(|_| Holding::new()), ..Account::default() };
        Self {
            accounts: (0..markets).map(|_| account()).collect(),
            start: Usdc::ZERO,
            cash: Usdc::ZERO,
            spread: Usdc::ZERO,
            inventory: Usdc::ZERO,
            fees: Usdc::ZERO,
            rounding: Usdc::ZERO,
            rebates: Usdc::ZERO,
            rewards: Usdc::ZERO,
            realized: [Usdc::ZERO; 3],
            notional: Usdc::ZERO,
            taker_fills: 0,
            failed: 0,
            anomalies: 0,
            fills: HashMap::with_capacity(2 * FILLS_MAX),
            fills_n: 0,
            drawn: VecDeque::with_capacity(DRAWN_MAX),
            days: Days::default(),
            markouts: Markouts::new(HORIZONS_NS),
            fills_sum: 0,
            settled_order: VecDeque::with_capacity(FILLS_MAX),
            unsettled: VecDeque::with_capacity(UNSETTLED_MAX),
            endings: heapless::Deque::new(),
            moved: heapless::Vec::new(),
        }
    }

    /// Equity at the start: collateral, and what earlier runs left at its first mark.
    pub fn started_with(&self) -> Usdc {
        self.start
    }

    /// Looks at the mid after each fill when so much time is over, in nanoseconds, instead of [`HORIZONS_NS`]. Call it
    /// before the first fill.
    pub fn look_after(&mut self, horizons_ns: [u64; 4]) {
        self.markouts.set_horizons(horizons_ns);
    }

    /// It is `now`, and everything stands as it did until now: a new day begins if the last is over, and the mid is
    /// looked at for the fills whose time has come. Call it before each event. No allocation.
    #[inline]
    pub fn turn(&mut self, now: Nanos) {
        if self.days.over(now) {
            self.days.begin(now, self.totals());
        }
        let accounts = &self.accounts;
        self.markouts.look(now, |i| accounts[i.market().ix()].holdings[i.outcome() as usize].mark);
    }

    /// Opens the account with the collateral at the venue. Opened again, what it gained so far stays its gain.
    pub fn open(&mut self, cash: Usdc) {
        self.start += cash - self.cash;
        self.cash = cash;
    }

    fn holding(&self, i: InstrumentIx) -> &Holding {
        &self.accounts[i.market().ix()].holdings[i.outcome() as usize]
    }

    fn holding_mut(&mut self, i: InstrumentIx) -> &mut Holding {
        &mut self.accounts[i.market().ix()].holdings[i.outcome() as usize]
    }

    /// Shares held, all fills counted.
    #[inline]
    pub fn qty(&self, i: InstrumentIx) -> Qty {
        self.holding(i).qty
    }

    /// Shares that are settled and not being merged: what can be sold or merged.
    #[inline]
    pub fn settled(&self, i: InstrumentIx) -> Qty {
        let h = self.holding(i);
        h.sure().saturating_sub(self.accounts[i.market().ix()].merging)
    }

    /// Shares of the first outcome minus shares of the second, in micro-shares.
    #[inline]
    pub fn net(&self, m: MarketIx) -> i64 {
        let [yes, no] = &self.accounts[m.ix()].holdings;
        yes.qty.0 as i64 - no.qty.0 as i64
    }

    /// Every flow of cash in a market so far.
    #[inline]
    pub fn market_cash(&self, m: MarketIx) -> Usdc {
        self.accounts[m.ix()].cash
    }

    /// Collateral by our own count.
    #[inline]
    pub fn cash(&self) -> Usdc {
        self.cash
    }

    /// What a market paid, once known.
    pub fn payout(&self, m: MarketIx) -> Option<Payout> {
        self.accounts[m.ix()].payout
    }

    /// Moves the mark of both tokens of a market, `mark` being the first outcome's; the change is inventory's, but for
    /// holdings of an earlier run, whose first mark is their cost.
    #[inline]
    pub fn mark(&mut self, m: MarketIx, mark: HalfUnits) {
        let marks = [mark, 2 * HalfUnits::from(Price::UNITS) - mark];
        let account = &mut self.accounts[m.ix()];
        account.marked = true;
        if account.unmarked {
            account.unmarked = false;
            let tokens = [Outcome::Yes, Outcome::No].map(|o| m.instrument(o));
            for ((holding, mark), token) in account.holdings.iter_mut().zip(marks).zip(tokens) {
                let before = holding.cost_by(RECOVERED);
                holding.recost(RECOVERED, mark);
                let more = holding.cost_by(RECOVERED) - before;
                self.start += more;
                self.inventory -= more;
                account.cash -= more;
                let _ = self.moved.push(Moved::Held(Flow::new(token, Side::Buy, Qty::ZERO, more)));
            }
        }
        for (holding, mark) in account.holdings.iter_mut().zip(marks) {
            if holding.mark != mark {
                let before = holding.value();
                holding.mark = mark;
                self.inventory += holding.value() - before;
            }
        }
    }

    /// What the exposure is to know of, oldest first.
    #[inline]
    pub fn take_moved(&mut self) -> heapless::Vec<Moved, MOVED_MAX> {
        core::mem::take(&mut self.moved)
    }

    /// A merge was asked for: these settled pairs are spoken for.
    pub fn merge_asked(&mut self, m: MarketIx, qty: Qty) {
        self.accounts[m.ix()].merging += qty;
    }

    /// A merge did not happen; it may be asked for again after a while.
    pub fn merge_failed(&mut self, m: MarketIx, qty: Qty, now: Nanos) {
        let account = &mut self.accounts[m.ix()];
        account.merging = account.merging.saturating_sub(qty);
        account.merge_again = now.plus(MERGE_RETRY_NS);
    }

    /// True if a merge may be asked for: none is on its way, and none failed just now.
    pub fn may_merge(&self, m: MarketIx, now: Nanos) -> bool {
        !self.merging(m) && now >= self.accounts[m.ix()].merge_again
    }

    /// True while a merge is on its way.
    pub fn merging(&self, m: MarketIx) -> bool {
        !self.accounts[m.ix()].merging.is_zero()
    }

    /// Takes over the venue's count of our collateral; the difference is rounding's. Returns the difference.
    pub fn reconcile_cash(&mut self, venue: Usdc) -> Usdc {
        let difference = venue - self.cash;
        self.cash = venue;
        self.rounding += difference;
        difference
    }

    /// The venue paid us something besides: never `rounding`'s.
    pub fn book_income(&mut self, kind: Income, amount: Usdc) {
        self.cash += amount;
        match kind {
            Income::Rebate => self.rebates += amount,
            Income::Reward => self.rewards += amount,
        }
    }

    /// Contradictions seen: each is a reason to stop and look.
    pub fn anomalies(&self) -> u64 {
        self.anomalies
    }
}

#[cfg(test)]
mod tests;
