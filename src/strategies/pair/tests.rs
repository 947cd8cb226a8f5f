//! The strategy on a trading floor of its own: a book, what is held, what rests, and what it wishes then.

mod controller;
mod learning;
mod places;
mod quoting;
mod rewards;
mod walk;

use super::*;
use crate::{
    engine::{
        book::Book,
        orders::Orders,
        position::{Ledger, NewTrade},
        strategy::{Others, Timing},
        trading::TradingState,
    },
    types::{InstrumentIx, MarketSpec, OrderHash, TickSize, TradeKey, event::TradeStatus, sample},
};

pub(super) const M: MarketIx = MarketIx(0);
pub(super) const YES: InstrumentIx = InstrumentIx(0);
pub(super) const NO: InstrumentIx = InstrumentIx(1);
const START: Nanos = Nanos(1_790_000_000_000_000_000);

pub(super) fn price(units: u16) -> Price {
    Price::from_units(units).expect("a price")
}

/// One market, and the strategy in it. No engine: what it wishes for does not happen by itself.
pub(super) struct Floor {
    pub pair: Pair,
    pub spec: MarketSpec,
    pub books: [Book; 2],
    pub orders: Orders,
    pub ledger: Ledger,
    pub now: Nanos,
    pub game_start: Option<Nanos>,
    pub timing: Timing,
    pub play: Play,
    pub epoch: u32,
    pub size_ppm: u32,
    pub trust: Trust,
    trades: u128,
}

impl Floor {
    pub fn new(params: PairParams) -> Self {
        let spec = MarketSpec { hold_ms: 1_000, clear_on_start: true, ..sample::market() };
        let mut ledger = Ledger::new(1);
        ledger.open(Usdc::dollars(1_000));
        Self {
            pair: Pair::new(params, 1),
            books: [Book::new(spec.tick), Book::new(spec.tick)],
            spec,
            orders: Orders::new(1),
            ledger,
            now: START,
            game_start: None,
            timing: Timing::default(),
            play: Play::NoFeed,
            epoch: 1,
            size_ppm: 1_000_000,
            trust: Trust::Good,
            trades: 0,
        }
    }

    /// With a book of so many units of spread around a half, a thousand shares a side.
    pub fn open(params: PairParams) -> Self {
        let mut floor = Self::new(params);
        floor.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
        floor
    }

    pub fn tick(&mut self, tick: TickSize) {
        self.books = [Book::new(tick), Book::new(tick)];
    }

    /// Shows both tokens' books from the first's levels: (units, shares).
    pub fn book(&mut self, bids: &[(u16, u64)], asks: &[(u16, u64)]) {
        for (book, flip) in self.books.iter_mut().zip([false, true]) {
            book.snapshot_start(None);
            for (levels, side) in [(bids, BookSide::Bid), (asks, BookSide::Ask)] {
                for &(units, shares) in levels {
                    let (at, side) =
                        if flip { (price(units).complement(), side.other()) } else { (price(units), side) };
                    book.snapshot_level(side, at, Qty::shares(shares));
                }
            }
            book.snapshot_end();
        }
    }

    pub fn view(&self) -> View<'_> {
        View {
            now: self.now,
            market: M,
            spec: &self.spec,
            books: [&self.books[0], &self.books[1]],
            trust: self.trust,
            closed: false,
            epochs: [self.epoch; StrategyId::ALL.len()],
            budget: 30,
            size_ppm: self.size_ppm,
            state: TradingState::BuildingPair,
            orders: &self.orders,
            ledger: &self.ledger,
            play: self.play,
            game_start: self.game_start,
            timing: self.timing,
            apart: [Qty::ZERO; 2],
            others: self,
        }
    }

    /// The strategy's turn. `Pair` is taken out for the moment: it looks at the floor while it changes itself.
    pub fn with<T>(&mut self, act: impl FnOnce(&mut Pair, &View<'_>) -> T) -> T {
        let mut pair = core::mem::replace(&mut self.pair, Pair::new(PairParams::default(), 0));
        let told = act(&mut pair, &self.view());
        self.pair = pair;
        told
    }

    pub fn decide(&mut self) -> Vec<Wish> {
        self.with(|pair, view| {
            let mut out = Wishes::new();
            pair.decide(view, &mut out);
            out.to_vec()
        })
    }

    pub fn placed(&mut self) -> Vec<Intent> {
        places(&self.decide())
    }

    /// Price and size of the quotes wanted now, as (units, shares) of each leg.
    pub fn quotes(&mut self) -> [Option<(u16, u64)>; 2] {
        let all = self.placed();
        LEGS.map(|leg| {
            let mut of = all.iter().filter(|i| !i.tif.is_immediate() && leg_of(i.instrument, i.side) == leg);
            let quote = of.next().map(|i| (leg_price(i).units(), i.qty.micro() / 1_000_000));
            assert!(of.next().is_none(), "one quote a leg: {all:?}");
            quote
        })
    }

    /// A fill that costs nothing but the price; collateral is as before it.
    pub fn hold(&mut self, instrument: InstrumentIx, shares: u64, status: TradeStatus) {
        let cash = self.ledger.cash();
        self.book_fill(instrument, Side::Buy, Qty::shares(shares), price(5_000), status);
        self.ledger.open(cash);
    }

    pub fn book_fill(&mut self, instrument: InstrumentIx, side: Side, qty: Qty, at: Price, status: TradeStatus) {
        self.trades += 1;
        let key = (TradeKey(self.trades), OrderHash([0; 32]));
        let told = NewTrade {
            instrument,
            side,
            qty,
            notional: qty.notional_floor(at),
            curve: None,
            fees: self.spec.fee,
            status,
            strategy: Some(StrategyId::Pair),
            limit: None,
        };
        self.ledger.trade(key, &told, self.now);
    }

    /// One of our quotes was filled, and the strategy is told.
    pub fn fill(&mut self, instrument: InstrumentIx, side: Side, shares: u64, units: u16) {
        let qty = Qty::shares(shares);
        self.book_fill(instrument, side, qty, price(units), TradeStatus::Confirmed);
        let fill = NewFill {
            order: OrderHash([0; 32]),
            instrument,
            side,
            qty,
            notional: qty.notional_floor(price(units)),
            fee: Usdc::ZERO,
            taker: false,
        };
        self.with(|pair, view| pair.filled(view, &fill));
    }

    /// An order of ours rests.
    pub fn rests(&mut self, intent: Intent) -> OrderHash {
        self.trades += 1;
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(&self.trades.to_le_bytes());
        let hash = OrderHash(hash);
        assert!(self.orders.recover(hash, intent, self.now, true, self.now));
        self.epoch += 1;
        hash
    }

    pub fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(ms * 1_000_000);
    }
}

pub(super) fn places(wishes: &[Wish]) -> Vec<Intent> {
    let of = |w: &Wish| if let Wish::Place(i) = w { Some(*i) } else { None };
    wishes.iter().filter_map(of).collect()
}

pub(super) fn cancelled(wishes: &[Wish]) -> Vec<OrderHash> {
    let of = |w: &Wish| if let Wish::Cancel(o) = w { Some(*o) } else { None };
    wishes.iter().filter_map(of).collect()
}

/// A resting bid of ours.
pub(super) fn bid(instrument: InstrumentIx, units: u16, shares: u64) -> Intent {
    Intent {
        instrument,
        side: Side::Buy,
        price: price(units),
        qty: Qty::shares(shares),
        tif: TimeInForce::Gtd { expires_s: START.secs() + 360 },
        post_only: true,
        strategy: StrategyId::Pair,
        purpose: Purpose::Quote,
        epoch: 1,
    }
}

/// There is no other market.
impl Others for Floor {
    fn spec(&self, _: MarketIx) -> &MarketSpec {
        &self.spec
    }

    fn book_of(&self, i: InstrumentIx) -> &Book {
        &self.books[i.outcome() as usize]
    }

    fn trust(&self, _: MarketIx) -> Trust {
        self.trust
    }

    fn closed(&self, _: MarketIx) -> bool {
        false
    }

    fn state(&self, _: MarketIx) -> TradingState {
        TradingState::BuildingPair
    }

    fn next_epoch(&self, _: MarketIx, _: StrategyId) -> u32 {
        self.epoch
    }
}
