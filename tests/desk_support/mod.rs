//! A core that hears what a test tells it: with a strategy that wishes what the test wishes, or with the real one.

#![allow(dead_code, reason = "each test binary uses its part")]

#[path = "../market_support/mod.rs"]
mod market_support;

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use polyloly_fast::{
    engine::{
        Action, Actions, Approved, Engine,
        digest::StateHasher,
        limits::Limits,
        strategy::{NewFill, Strategy, View, Wish, Wishes},
    },
    strategies::{self, Core, Params},
    types::{
        Address, ConditionId, Event, InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Sequenced, Side,
        Stamp, TimeInForce, TokenId, TradeKey, Universe, Usdc,
        event::{
            AckStatus, BookSide, CancelRefusal, ControlEvent, MarketEvent, MarketFacts, OrderChange, ReadEvent,
            RejectReason, ReplyEvent, TradeStatus, UserEvent,
        },
        market::MarketKind,
        order::{Intent, Purpose, StrategyId},
    },
};

/// The first outcome of the first market.
pub const YES: InstrumentIx = InstrumentIx(0);
/// Its second outcome.
pub const NO: InstrumentIx = InstrumentIx(1);
/// The first market.
pub const M: MarketIx = MarketIx(0);
/// The second market.
pub const M2: MarketIx = MarketIx(1);
/// When every simulation begins.
pub const BEGAN: u64 = 1_790_000_000_000_000_000;
/// Milliseconds in nanoseconds.
pub const MS: u64 = 1_000_000;

/// Two markets of one match.
pub fn universe() -> Universe {
    let market = |n: u8, kind| MarketSpec {
        condition: ConditionId([n; 32]),
        slug: format!("lol-aw-bf-2026-11-23-{n}"),
        tokens: [TokenId([2 * n; 32]), TokenId([2 * n + 1; 32])],
        kind,
        ..market_support::market()
    };
    let markets = vec![market(1, MarketKind::Series), market(2, MarketKind::Map(1))];
    market_support::universe(Address([0x11; 20]), markets)
}

/// Wishes what the test put in, in the market it was put in for, and remembers what it was told.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Wishes by market, each made once.
    pub wishes: Rc<RefCell<VecDeque<(MarketIx, Wish)>>>,
    /// Fills that it was told of.
    pub fills: Rc<RefCell<Vec<(InstrumentIx, Side, Qty)>>>,
}

impl Strategy for Script {
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes) {
        let mut wishes = self.wishes.borrow_mut();
        let mut kept = VecDeque::new();
        while let Some((market, wish)) = wishes.pop_front() {
            if market == view.market && !out.is_full() {
                out.push(wish).unwrap();
            } else {
                kept.push_back((market, wish));
            }
        }
        *wishes = kept;
    }

    fn filled(&mut self, _: &View<'_>, fill: &NewFill) {
        self.fills.borrow_mut().push((fill.instrument, fill.side, fill.qty));
    }

    fn digest(&self, _: &mut StateHasher) {}
}

/// A core, its clock and its event counter.
pub struct Sim<S> {
    pub core: Engine<S>,
    pub seq: u64,
    pub now: u64,
    /// Readings of the venue that were asked for and not answered yet.
    pub asked: Option<u32>,
}

/// With a scripted strategy.
pub fn scripted() -> (Sim<Script>, Script) {
    scripted_with(Limits::default())
}

/// With a scripted strategy and other limits.
pub fn scripted_with(limits: Limits) -> (Sim<Script>, Script) {
    let script = Script::default();
    let core = Engine::new(&universe(), limits, script.clone());
    (Sim { core, seq: 0, now: BEGAN, asked: None }.begin(), script)
}

/// With the strategy that trades.
pub fn pair() -> Sim<strategies::Both> {
    pair_with(Params::default())
}

/// With the strategy that trades, and other parameters.
pub fn pair_with(params: Params) -> Sim<strategies::Both> {
    let core: Core = strategies::core(&universe(), &params);
    Sim { core, seq: 0, now: BEGAN, asked: None }.begin()
}

impl<S: Strategy> Sim<S> {
    fn begin(mut self) -> Self {
        self.hear(Event::Start { run_tag: 5, cash: Usdc::dollars(1_000), match_feed: false });
        self
    }

    /// Open for business: streams up, the venue's account of us read and the same.
    pub fn open(mut self) -> Self {
        self.user(UserEvent::Up);
        self.reply(ReplyEvent::GatewayUp);
        self.tick(0);
        self.agree();
        assert_eq!(self.core.closed(), None);
        self
    }

    pub fn hear(&mut self, event: Event) -> Vec<Action> {
        self.seq += 1;
        self.now += MS;
        let mut out = Actions::new();
        let stamp = Stamp { wall: Nanos(self.now), ..Stamp::default() };
        self.core.on(&Sequenced { seq: self.seq, stamp, event }, &mut (), &mut out);
        for action in &out {
            if let Action::Reconcile { round, .. } = action {
                self.asked = Some(*round);
            }
        }
        out.to_vec()
    }

    pub fn market(&mut self, event: MarketEvent) -> Vec<Action> {
        self.hear(Event::Market(event))
    }

    pub fn user(&mut self, event: UserEvent) -> Vec<Action> {
        self.hear(Event::User(event))
    }

    pub fn reply(&mut self, event: ReplyEvent) -> Vec<Action> {
        self.hear(Event::Reply(event))
    }

    pub fn control(&mut self, event: ControlEvent) -> Vec<Action> {
        self.hear(Event::Control(event))
    }

    pub fn read(&mut self, event: ReadEvent) -> Vec<Action> {
        self.reply(ReplyEvent::Read(event))
    }

    /// Time passes at once, then a tick.
    pub fn tick(&mut self, ms: u64) -> Vec<Action> {
        self.now += ms * MS;
        self.hear(Event::Tick)
    }

    /// Time passes with a tick every 100 ms; everything that was asked for.
    pub fn pass(&mut self, ms: u64) -> Vec<Action> {
        (0..ms / 100).flat_map(|_| self.tick(99)).collect()
    }

    /// Answers the reading that was asked for: every order that rests is listed, every count is ours.
    pub fn agree(&mut self) -> Vec<Action> {
        let shares = (0..4).map(|i| self.core.ledger().qty(InstrumentIx(i))).collect::<Vec<_>>();
        let listed: Vec<_> = self
            .core
            .working()
            .filter(|o| o.state.is_resting())
            .map(|o| (o.hash, o.intent.instrument, o.intent.side, o.filled))
            .collect();
        self.answer(&listed, &shares, None)
    }

    /// Answers the reading that was asked for, whole.
    pub fn answer(
        &mut self,
        listed: &[(OrderHash, InstrumentIx, Side, Qty)],
        shares: &[Qty],
        cash: Option<Usdc>,
    ) -> Vec<Action> {
        let Some(round) = self.asked.take() else { return Vec::new() };
        let mut all = self.read(ReadEvent::Begin { round });
        for &(order, instrument, side, matched) in listed {
            all.extend(self.read(ReadEvent::Order { order, instrument, side, matched }));
        }
        for (i, qty) in shares.iter().enumerate() {
            all.extend(self.read(ReadEvent::Shares { instrument: InstrumentIx(i as u16), qty: *qty }));
        }
        if let Some(cash) = cash {
            all.extend(self.read(ReadEvent::Cash { cash }));
        }
        all.extend(self.read(ReadEvent::End { round, complete: true }));
        all
    }

    /// Shows both tokens' books of a market from the first token's levels: (units, shares).
    pub fn book_of(&mut self, m: MarketIx, bids: &[(u16, u64)], asks: &[(u16, u64)]) -> Vec<Action> {
        for (n, flip) in [(0, false), (1, true)] {
            let instrument = InstrumentIx(m.0 * 2 + n);
            self.market(MarketEvent::SnapshotStart { instrument, tick: None, venue_ms: 0 });
            for (levels, side) in [(bids, BookSide::Bid), (asks, BookSide::Ask)] {
                for &(units, shares) in levels {
                    let price = Price::from_units(units).unwrap();
                    let (price, side) = if flip { (price.complement(), side.other()) } else { (price, side) };
                    self.market(MarketEvent::Level { instrument, side, price, qty: Qty::shares(shares) });
                }
            }
            self.market(MarketEvent::SnapshotEnd { instrument });
        }
        self.market(MarketEvent::FrameEnd { venue_ms: 0 })
    }

    /// The first market's books.
    pub fn book(&mut self, bids: &[(u16, u64)], asks: &[(u16, u64)]) -> Vec<Action> {
        self.book_of(M, bids, asks)
    }

    pub fn sent(&mut self, order: OrderHash) -> Vec<Action> {
        self.reply(ReplyEvent::Sent { order })
    }

    pub fn accepted(&mut self, order: OrderHash, status: AckStatus) -> Vec<Action> {
        self.reply(ReplyEvent::Accepted { order, status })
    }

    /// Sent and resting.
    pub fn rests(&mut self, order: OrderHash) -> Vec<Action> {
        self.sent(order);
        self.accepted(order, AckStatus::Live)
    }

    pub fn refused(&mut self, order: OrderHash, reason: RejectReason) -> Vec<Action> {
        self.reply(ReplyEvent::Rejected { order, reason })
    }

    pub fn cancel_refused(&mut self, order: OrderHash, reason: CancelRefusal) -> Vec<Action> {
        self.reply(ReplyEvent::CancelRefused { order, reason })
    }

    pub fn seen(&mut self, order: OrderHash, change: OrderChange) -> Vec<Action> {
        self.user(UserEvent::Order { order, change, matched: None })
    }

    pub fn not_found(&mut self, order: OrderHash) -> Vec<Action> {
        self.reply(ReplyEvent::OrderStatus { order, live: false, matched: None })
    }

    pub fn facts(&mut self, market: MarketIx, facts: MarketFacts) -> Vec<Action> {
        self.reply(ReplyEvent::Market { market, facts })
    }

    /// A trade of one of our orders at its limit, as a maker.
    pub fn trade(&mut self, n: u8, order: &Approved, qty: Qty, status: TradeStatus) -> Vec<Action> {
        self.user(trade(n, order, qty, status))
    }

    pub fn state(&self, order: &OrderHash) -> polyloly_fast::types::order::OrderState {
        self.core.order(order).expect("an order that is remembered").state
    }
}

impl Sim<Script> {
    /// Wishes for something in a market and has it decided on.
    pub fn wish(&mut self, script: &Script, m: MarketIx, wish: Wish) -> Vec<Action> {
        script.wishes.borrow_mut().push_back((m, wish));
        self.tick(0)
    }

    /// Wishes for an order with the next number; what was approved of it.
    pub fn place(&mut self, script: &Script, mut intent: Intent) -> Option<Approved> {
        self.place_numbered(script, {
            intent.epoch = self.seq as u32 + 1;
            intent
        })
    }

    /// Wishes for an order with the number it has.
    pub fn place_numbered(&mut self, script: &Script, intent: Intent) -> Option<Approved> {
        let actions = self.wish(script, intent.instrument.market(), Wish::Place(intent));
        placed(&actions).first().copied()
    }

    /// Why the last intent was refused: the reasons that were counted since.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.core.report().rejections
    }
}

/// A resting buy.
pub fn buy(instrument: InstrumentIx, units: u16, shares: u64) -> Intent {
    Intent {
        instrument,
        side: Side::Buy,
        price: Price::from_units(units).unwrap(),
        qty: Qty::shares(shares),
        tif: TimeInForce::Gtd { expires_s: BEGAN / 1_000_000_000 + 3_600 },
        post_only: true,
        strategy: StrategyId::Manual,
        purpose: Purpose::Quote,
        epoch: 0,
    }
}

/// An immediate buy.
pub fn take(instrument: InstrumentIx, units: u16, shares: u64) -> Intent {
    Intent { tif: TimeInForce::Fak, post_only: false, ..buy(instrument, units, shares) }
}

/// A trade event of an order.
pub fn trade(n: u8, order: &Approved, qty: Qty, status: TradeStatus) -> UserEvent {
    let i = order.intent();
    UserEvent::Trade {
        trade: TradeKey(u128::from(n)),
        order: order.hash(),
        instrument: i.instrument,
        side: i.side,
        qty,
        notional: qty.notional_floor(i.price),
        taker_curve: None,
        status,
    }
}

/// Orders among actions.
pub fn placed(actions: &[Action]) -> Vec<Approved> {
    actions.iter().filter_map(|a| if let Action::Place(a) = a { Some(*a) } else { None }).collect()
}

/// Cancels among actions.
pub fn cancels(actions: &[Action]) -> Vec<OrderHash> {
    actions.iter().filter_map(|a| if let Action::Cancel { order, .. } = a { Some(*order) } else { None }).collect()
}

/// Look-ups among actions.
pub fn lookups(actions: &[Action]) -> Vec<OrderHash> {
    actions.iter().filter_map(|a| if let Action::Lookup { order } = a { Some(*order) } else { None }).collect()
}
