//! A best of three with its series, maps, handicaps and total as linked books, and a core that trades them.

use polyloly_fast::{
    engine::restricted::Restricted,
    engine::{Action, Approved, Engine, strategy::Strategy},
    strategies::{
        self, Both, Params,
        baskets::{
            Tally,
            flight::{Flight, Stage},
            seen::Row,
        },
    },
    types::{
        ConditionId, Event, InMatch, InstrumentIx, MarketIx, MarketSpec, MatchIx, MatchSpec, Qty, Team, TickSize,
        TokenId, TradeKey, Universe, Usdc,
        event::{
            AckStatus, ControlEvent, MarketEvent, MarketFacts, OrderChange, Payout, RejectReason, ReplyEvent,
            TradeStatus, UserEvent,
        },
        fees::Rounding,
        market::MarketKind,
        order::OrderState,
    },
};

use super::desk_support::{self, BEGAN, Sim, placed};

/// A to win the series.
pub const A_SERIES: InstrumentIx = InstrumentIx(0);
/// The markets of the maps.
pub const MAPS: [MarketIx; 3] = [MarketIx(1), MarketIx(2), MarketIx(3)];
/// More than two and a half maps.
pub const TOTAL: InstrumentIx = InstrumentIx(12);
/// Fewer.
pub const UNDER: InstrumentIx = InstrumentIx(13);

/// The tokens of the handicaps. In each market the first outcome is the team that gives the maps.
pub mod names {
    use super::InstrumentIx;

    /// A wins by two maps.
    pub const A_MINUS: InstrumentIx = InstrumentIx(8);
    /// B does not lose by two.
    pub const B_PLUS: InstrumentIx = InstrumentIx(9);
    /// B wins by two maps.
    pub const B_MINUS: InstrumentIx = InstrumentIx(10);
    /// A does not lose by two.
    pub const A_PLUS: InstrumentIx = InstrumentIx(11);
}

fn universe(best_of: u8, kinds: &[(MarketKind, Team)]) -> Universe {
    let mut u = desk_support::universe();
    let pattern = u.markets[0].clone();
    let market = |(n, (kind, first)): (usize, &(MarketKind, Team))| MarketSpec {
        condition: ConditionId([n as u8 + 1; 32]),
        slug: format!("lol-aaa-bbb-2026-11-23-{n}"),
        tokens: [TokenId([2 * n as u8 + 1; 32]), TokenId([2 * n as u8 + 2; 32])],
        tick: TickSize::TenthMill,
        clear_on_start: false,
        kind: *kind,
        of_match: Some(InMatch { index: MatchIx(0), first: *first }),
        ..pattern.clone()
    };
    u.markets = kinds.iter().enumerate().map(market).collect();
    let teams = ["Aardvarks".into(), "Badgers".into()];
    u.matches = vec![MatchSpec { slug: "lol-aaa-bbb-2026-11-23".into(), best_of, teams, tournament: String::new() }];
    u
}

/// Series, three maps, both handicaps of 1.5, the total of 2.5: seven markets.
pub fn bo3() -> Universe {
    use MarketKind::{Handicap, Map, Series, Total};
    use Team::{First, Second};
    let maps = [Map(1), Map(2), Map(3)].map(|m| (m, First));
    let lines = [(Handicap(-3), First), (Handicap(-3), Second), (Total(5), First)];
    universe(3, &[&[(Series, First)][..], &maps, &lines].concat())
}

/// Series, five maps of which one names B first, two handicaps each, both totals: twelve markets.
pub fn bo5() -> Universe {
    use MarketKind::{Handicap, Map, Series, Total};
    use Team::{First, Second};
    let maps = [(Map(1), First), (Map(2), Second), (Map(3), First), (Map(4), First), (Map(5), First)];
    let lines = [-3, -5].map(|line| [(Handicap(line), First), (Handicap(line), Second)]).concat();
    universe(5, &[&[(Series, First)][..], &maps, &lines, &[(Total(7), First), (Total(9), First)]].concat())
}

/// The facts of a token's market.
pub fn spec_of(i: InstrumentIx) -> MarketSpec {
    bo3().market(i.market()).clone()
}

/// One token's book, as wide as it is said.
#[derive(Clone, Copy, Debug)]
pub struct Book {
    pub bid: u16,
    pub ask: u16,
    pub shares: u64,
}

/// So wide that no basket is near.
pub const QUIET: Book = Book { bid: 2_500, ask: 7_500, shares: 500 };

/// The defaults, without pairs.
pub fn params() -> Params {
    let mut params = Params::default();
    params.pair.enabled = false;
    // Most tests are not about how long an offer stood.
    params.baskets.stood_ms = 0;
    params
}

/// A core that trades the seven markets, and the orders that it sent since they were last asked for.
pub struct Told(pub Sim<Both>, Vec<Approved>);

/// Open for business, every book quiet.
pub fn desk() -> Told {
    desk_with(&params())
}

/// The same with other parameters.
pub fn desk_with(params: &Params) -> Told {
    let mut told = Told(open(strategies::core(&bo3(), params)), Vec::new());
    for m in 0..7 {
        told.book_with(InstrumentIx(2 * m), QUIET);
    }
    told.1.clear();
    told
}

/// A core over the seven markets, open for business, without books.
pub fn open<S: Strategy>(core: Engine<S>) -> Sim<S> {
    open_with(core, Usdc::dollars(1_000))
}

/// The same with so much collateral.
pub fn open_with<S: Strategy>(core: Engine<S>, cash: Usdc) -> Sim<S> {
    let mut sim = Sim { core, seq: 0, now: BEGAN, asked: None };
    sim.hear(Event::Start { run_tag: 5, cash, match_feed: false });
    sim.user(UserEvent::Up);
    sim.reply(ReplyEvent::GatewayUp);
    sim.tick(0);
    agree(&mut sim);
    assert_eq!(sim.core.closed(), None);
    sim
}

/// Answers the reading that was asked for: every order that rests is listed, every count is ours.
fn agree<S: Strategy>(sim: &mut Sim<S>) -> Vec<Action> {
    let shares = (0..14).map(|i| sim.core.ledger().qty(InstrumentIx(i))).collect::<Vec<_>>();
    let resting = sim.core.working().filter(|o| o.state.is_resting());
    let listed: Vec<_> = resting.map(|o| (o.hash, o.intent.instrument, o.intent.side, o.filled)).collect();
    sim.answer(&listed, &shares, None)
}

impl Told {
    fn keep(&mut self, actions: Vec<Action>) -> Vec<Action> {
        self.1.extend(placed(&actions));
        actions
    }

    /// A core that was opened elsewhere.
    pub fn of(sim: Sim<Both>) -> Self {
        Self(sim, Vec::new())
    }

    /// Whatever happens.
    pub fn hear(&mut self, event: Event) -> Vec<Action> {
        let actions = self.0.hear(event);
        self.keep(actions)
    }

    /// The operator spoke.
    pub fn control(&mut self, event: ControlEvent) {
        let actions = self.0.control(event);
        self.keep(actions);
    }

    /// The market channel spoke.
    pub fn market(&mut self, event: MarketEvent) {
        let actions = self.0.market(event);
        self.keep(actions);
    }

    /// Orders that were sent since this was last asked.
    pub fn last(&mut self) -> Vec<Approved> {
        std::mem::take(&mut self.1)
    }

    /// Time passes at once, then a tick.
    pub fn tick(&mut self, ms: u64) -> Vec<Action> {
        let actions = [self.0.tick(ms), agree(&mut self.0)].concat();
        self.keep(actions)
    }

    /// Shows a token's book, its mirror with it.
    pub fn book_with(&mut self, i: InstrumentIx, book: Book) -> Vec<Action> {
        let (bid, ask) =
            if i.0.is_multiple_of(2) { (book.bid, book.ask) } else { (10_000 - book.ask, 10_000 - book.bid) };
        let actions = self.0.book_of(i.market(), &[(bid, book.shares)], &[(ask, book.shares)]);
        self.keep(actions)
    }

    /// Shows a token's book with this best offer, two cents wide.
    pub fn book(&mut self, i: InstrumentIx, ask: u16, shares: u64) -> Vec<Action> {
        self.book_with(i, Book { bid: ask - 200, ask, shares })
    }

    /// Shows each token's book at its price, a hundred shares.
    pub fn told(&mut self, tokens: &[InstrumentIx], prices: &[u16]) -> Vec<Action> {
        self.told_of(tokens, prices, &[100; 3])
    }

    /// The same with these sizes.
    pub fn told_of(&mut self, tokens: &[InstrumentIx], prices: &[u16], shares: &[u64]) -> Vec<Action> {
        let mut all = Vec::new();
        for ((token, price), shares) in tokens.iter().zip(prices).zip(shares) {
            all.extend(self.book(*token, *price, *shares));
        }
        self.1.clear();
        all
    }

    /// So many times: quotes that were sent rest, and those that are cancelled are gone.
    pub fn quotes_live(&mut self, times: usize) {
        for _ in 0..times {
            let open: Vec<_> =
                self.0.core.working().filter(|o| o.intent.post_only).map(|o| (o.hash, o.state)).collect();
            for (order, state) in open {
                let actions = match state {
                    OrderState::Created => self.0.rests(order),
                    OrderState::CancelPending => self.0.reply(ReplyEvent::Cancelled { order }),
                    _ => continue,
                };
                self.keep(actions);
            }
            self.tick(20);
        }
    }

    /// What was written down about a basket.
    pub fn row(&self, tokens: &[InstrumentIx]) -> Option<Row> {
        let mut wanted = tokens.to_vec();
        wanted.sort();
        let lines = self.0.core.strategy().baskets.report();
        lines.into_iter().find(|l| l.tokens == wanted).map(|l| l.row)
    }

    /// What became of the match's baskets.
    pub fn tally(&self) -> Tally {
        *self.0.core.strategy().baskets.tallies().next().unwrap().1
    }

    /// The match's basket that is on its way.
    pub fn flight(&self) -> &Flight {
        self.0.core.strategy().baskets.flight(MatchIx(0)).unwrap()
    }

    /// Where the match's basket is.
    pub fn stage(&self) -> Stage {
        self.0.core.strategy().baskets.stage(MatchIx(0)).unwrap()
    }

    /// A market is paid out.
    pub fn resolves(&mut self, m: MarketIx, payout: Payout) {
        let facts = MarketFacts {
            accepting: false,
            closed: true,
            game_start: None,
            hold_ms: 1_000,
            tick: None,
            payout: Some(payout),
        };
        self.0.facts(m, facts);
    }
}

/// Random numbers of a test: the same with each run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// One time of so many.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a share costs all in, ppm: price, curve fee and hold, each rounded up.
pub fn all_in(units: u16) -> i64 {
    let p = i64::from(units);
    p * 100 + (50_000 * p * (10_000 - p) + 99_999_999) / 100_000_000 + 1_000
}

/// A desk, and prices at which these tokens, which pay 1 at least, leave `units` of 0.0001 a share after all costs.
pub fn planted(tokens: &[InstrumentIx], units: i32) -> (Told, Vec<u16>) {
    planted_with(&params(), tokens, units)
}

/// The same with other parameters.
pub fn planted_with(params: &Params, tokens: &[InstrumentIx], units: i32) -> (Told, Vec<u16>) {
    let mut prices = vec![if tokens.len() == 2 { 4_700 } else { 3_000 }; tokens.len()];
    let last = tokens.len() - 1;
    let edge = |prices: &[u16]| 1_000_000 - prices.iter().map(|p| all_in(*p)).sum::<i64>();
    prices[last] =
        (1_000..9_000).rev().find(|p| edge(&[&prices[..last], &[*p]].concat()) >= i64::from(units) * 100).unwrap();
    (desk_with(params), prices)
}

/// The orders of these tokens, in their order.
pub fn at<const N: usize>(orders: &[Approved], tokens: [InstrumentIx; N]) -> [Approved; N] {
    tokens.map(|t| *orders.iter().find(|o| o.intent().instrument == t).expect("an order of each"))
}

/// An order is filled as taker by so much at its limit, and that is settled. What it cost, or what it brought.
pub fn fill(sim: &mut Told, order: &Approved, qty: Qty) -> Usdc {
    fill_as(sim, order, qty, &[TradeStatus::Matched, TradeStatus::Confirmed])
}

/// The same, as far as these words of its settlement go.
pub fn fill_as(sim: &mut Told, order: &Approved, qty: Qty, told: &[TradeStatus]) -> Usdc {
    let (hash, i) = (order.hash(), order.intent());
    sim.0.sent(hash);
    sim.0.accepted(hash, AckStatus::Delayed);
    let curve = i.price.curve(qty);
    for &status in told {
        let event = UserEvent::Trade {
            trade: TradeKey(u128::from(hash.0[0]) << 64 | u128::from(qty.micro())),
            order: hash,
            instrument: i.instrument,
            side: i.side,
            qty,
            notional: qty.notional_floor(i.price),
            taker_curve: Some(curve),
            status,
        };
        let actions = sim.0.user(event);
        sim.keep(actions);
    }
    qty.notional_floor(i.price) + spec_of(i.instrument).fee.fee_on_curve(curve, Rounding::HalfEven)
}

/// What is left of an order found nothing.
pub fn kill(sim: &mut Told, order: &Approved) {
    let hash = order.hash();
    sim.0.sent(hash);
    let actions = if sim.0.core.order(&hash).is_some_and(|o| o.filled.is_zero()) {
        sim.0.refused(hash, RejectReason::NotFilled)
    } else {
        sim.0.seen(hash, OrderChange::Cancelled)
    };
    sim.keep(actions);
    // What was refused is decided on with the next message or tick.
    sim.tick(0);
}

/// The defaults, and the market of B +1.5 restricted by hand.
pub fn tight() -> Params {
    let mut params = params();
    params.risk.restricted = Restricted(vec![format!("lol-aaa-bbb-2026-11-23-{}", names::B_PLUS.market().0)]);
    params
}
