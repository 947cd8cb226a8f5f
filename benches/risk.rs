//! Step 5 of 9, timed: what one more order would do to the worst loss of its match, what is open in a market told
//! anew, and an order's whole way through the gate: every switch, guard and limit, the lattice among them.
//!
//! `--callgrind 5` runs [`CHECKS`] checks on a best of five and nothing else, so that instructions can be counted:
//! `valgrind --tool=callgrind --toggle-collect='*counted_check*' <the bench's binary> --callgrind 5`; `--callgrind 0`
//! takes as many orders through the whole gate.

pub mod common;

use std::hint::black_box;

use common::{
    Bench, Row,
    traffic::{Rng, universe},
};
use polyloly_fast::{
    engine::{
        book::Book,
        exposure::{After, Exposure, Flow, Open},
        gate::{Closed, MarketClosed},
        lattice::Lattice,
        limits::Limits,
        orders::Orders,
        position::Ledger,
        refusal::Refusal,
        risk::{Facts, Passed, Risk},
        trading::TradingState,
    },
    types::{
        InMatch, InstrumentIx, Intent, MarketIx, MatchIx, MatchSpec, Nanos, OrderHash, Price, Qty, Side, Team,
        TickSize, TimeInForce, Universe, Usdc,
        event::BookSide,
        fees::FeeSchedule,
        ids::Outcome,
        market::MarketKind,
        order::{Purpose, StrategyId},
    },
};

/// Orders open while one more is checked.
const OPEN: usize = 8;
/// What `--callgrind` runs.
const CHECKS: usize = 1_000;

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--callgrind").skip(1);
    if let Some(best_of) = args.next() {
        if best_of == "0" {
            let mut door = Door::new();
            (0..CHECKS).for_each(|_| counted_check_of_all(&mut door));
            return;
        }
        let setting = Setting::new(best_of.parse().expect("0, 1, 3 or 5"));
        for n in 0..CHECKS {
            black_box(counted_check(&setting, n));
        }
        return;
    }
    step(&mut Bench::full());
}

#[inline(never)]
fn counted_check(setting: &Setting, n: usize) -> After {
    setting.exposure.after(&setting.next[n % setting.next.len()])
}

#[inline(never)]
fn counted_check_of_all(door: &mut Door) {
    black_box(door.check()).expect("nothing is at its limit");
}

/// Every market that a match of this length can have.
fn kinds(best_of: u8) -> Vec<MarketKind> {
    let lattice = Lattice::new(best_of).expect("1, 3 or 5");
    let maps = (1..=best_of).map(MarketKind::Map);
    let handicaps = [-5, -3, 3, 5].map(MarketKind::Handicap).into_iter();
    let totals = [5, 7, 9].map(MarketKind::Total).into_iter();
    let all = [MarketKind::Series].into_iter().chain(maps).chain(handicaps).chain(totals);
    all.filter(|kind| lattice.fits(*kind)).collect()
}

/// One match in the middle of trading.
struct Setting {
    exposure: Exposure,
    lattice: Lattice,
    universe: Universe,
    held: Vec<(Intent, Qty)>,
    open: Vec<(Intent, Qty)>,
    next: Vec<Open>,
    /// The intents of `next`.
    wanted: Vec<(Intent, Qty)>,
}

impl Setting {
    fn new(best_of: u8) -> Self {
        let kinds = kinds(best_of);
        let mut universe = universe(kinds.len());
        universe.matches.push(MatchSpec {
            slug: "lol-aaa-bbb-2026-11-23".into(),
            best_of,
            teams: ["Aardvarks".into(), "Badgers".into()],
            tournament: "Winter Cup".into(),
        });
        for (n, (market, kind)) in universe.markets.iter_mut().zip(&kinds).enumerate() {
            market.kind = *kind;
            let first = if n % 3 == 0 { Team::Second } else { Team::First };
            market.of_match = Some(InMatch { index: MatchIx(0), first });
        }
        let mut exposure = Exposure::new(&universe, &[[Some(0), Some(1), Some(2), None]]);
        let mut rng = Rng(5);
        let mut some = |n: usize| -> Vec<(Intent, Qty)> { (0..n).map(|_| order(&mut rng, kinds.len())).collect() };
        let (held, open, wanted) = (some(6), some(OPEN), some(64));
        for (intent, qty) in &held {
            exposure.hold(&Flow::new(intent.instrument, intent.side, *qty, qty.notional_ceil(intent.price)));
        }
        let fees = universe.markets[0].fee;
        for m in universe.indices() {
            let here = open.iter().filter(|(intent, _)| intent.instrument.market() == m);
            exposure.open(m, here.map(|(intent, qty)| Open::of(intent, *qty, fees)));
        }
        let next = wanted.iter().map(|(intent, qty)| Open::of(intent, *qty, fees)).collect();
        let lattice = Lattice::new(best_of).expect("1, 3 or 5");
        Self { exposure, lattice, universe, held, open, next, wanted }
    }

    /// The plain way: every state, and in each every order and holding.
    fn walk(&self, wanted: &(Intent, Qty)) -> Usdc {
        let mut worst = i64::MAX;
        for state in self.lattice.states() {
            for second in [false, true] {
                let gain = |(intent, qty): &(Intent, Qty), fees: Option<FeeSchedule>| {
                    let spec = self.universe.market(intent.instrument.market());
                    let first = spec.of_match.map_or(Team::First, |place| place.first);
                    let pays = self.lattice.payoff(*state, spec.kind, first).map_or(1, |pays| pays.read(second));
                    let pays = if intent.instrument.outcome() == Outcome::Yes { pays } else { 2 - pays };
                    let each = i64::from(pays) * 5_000 - i64::from(intent.price.units());
                    let p = u64::from(intent.price.units());
                    let rate = fees.filter(|_| !intent.post_only).map_or(0, |fees| u64::from(fees.rate_ppm));
                    let fee = (rate * p * (10_000 - p)).div_ceil(10_000_000_000) as i64;
                    let each = if intent.side == Side::Buy { each } else { -each };
                    qty.micro() as i64 * (each - fee)
                };
                let open = self.open.iter().chain([wanted]).map(|o| gain(o, Some(self.universe.markets[0].fee)).min(0));
                let held = self.held.iter().map(|h| gain(h, None));
                worst = worst.min(open.chain(held).sum());
            }
        }
        Usdc(-worst.div_euclid(10_000))
    }
}

/// A bid or an offer around the middle, in any market.
fn order(rng: &mut Rng, markets: usize) -> (Intent, Qty) {
    let outcome = if rng.below(2) == 0 { Outcome::Yes } else { Outcome::No };
    let intent = Intent {
        instrument: MarketIx(rng.below(markets as u64) as u16).instrument(outcome),
        side: if rng.below(4) == 0 { Side::Sell } else { Side::Buy },
        price: Price::from_units(100 * (20 + rng.below(60) as u16)).expect("below 1"),
        qty: Qty::shares(100),
        tif: TimeInForce::Gtc,
        post_only: rng.below(4) > 0,
        strategy: StrategyId::Pair,
        purpose: Purpose::Quote,
        epoch: 1,
    };
    (intent, Qty::shares(5 + rng.below(200)))
}

/// Every table of this step.
pub fn step(bench: &mut Bench) {
    let names = [
        (1, "one order checked, best of one", "four orders of a market open, and none, best of one"),
        (3, "one order checked, best of three", "four orders of a market open, and none, best of three"),
        (5, "one order checked, best of five", "four orders of a market open, and none, best of five"),
    ];
    for (best_of, checked, moved) in names {
        let mut setting = Setting::new(best_of);
        for (open, wanted) in setting.next.iter().zip(&setting.wanted) {
            assert_eq!(setting.exposure.after(open).worst, setting.walk(wanted), "best of {best_of}");
        }
        let (mut n, mut plain) = (0, 0);
        let ours = || {
            n = (n + 1) % setting.next.len();
            setting.exposure.after(&setting.next[n])
        };
        let walked = || {
            plain = (plain + 1) % setting.wanted.len();
            setting.walk(&setting.wanted[plain])
        };
        let rows = vec![Row::new("polyloly-fast", 256, ours), Row::new("every state, every order", 4, walked)];
        bench.table("risk", checked, rows);

        setting.universe.indices().for_each(|m| setting.exposure.open(m, [].into_iter()));
        let before = setting.exposure.of_match(MatchIx(0));
        let (exposure, next) = (&mut setting.exposure, &setting.next);
        let mut n = 0;
        let there_and_back = || {
            n = (n + 1) % next.len();
            let m = next[n].instrument().market();
            exposure.open(m, [next[n]; 4].into_iter());
            exposure.open(m, [].into_iter());
        };
        bench.table("risk", moved, vec![Row::new("polyloly-fast", 256, there_and_back)]);
        assert_eq!(setting.exposure.of_match(MatchIx(0)), before, "what was added is removed");
    }
    let mut door = Door::new();
    let through = || {
        let passed = door.check();
        assert!(passed.is_ok(), "{passed:?}");
    };
    bench.table(
        "risk",
        "an order through the whole gate, best of three",
        vec![Row::new("polyloly-fast", 256, through)],
    );
}

/// The gate in the middle of trading: a best of three with [`OPEN`] orders and some shares.
struct Door {
    setting: Setting,
    risk: Risk,
    orders: Orders,
    ledger: Ledger,
    book: Book,
    now: Nanos,
    n: usize,
}

impl Door {
    fn new() -> Self {
        let setting = Setting::new(3);
        let all = Usdc::dollars(1_000_000);
        // Everything is looked at, and nothing is at its limit.
        let limits = Limits {
            order_usdc: all,
            market_usdc: all,
            match_usdc: all,
            group_usdc: all,
            total_usdc: all,
            daily_loss_usdc: all,
            ..Limits::default()
        };
        let mut risk = Risk::new(limits, &setting.universe);
        Closed::ALL.into_iter().filter(|why| *why != Closed::KillSwitch).for_each(|why| risk.set(why, false));
        for m in setting.universe.indices() {
            MarketClosed::ALL.into_iter().for_each(|why| risk.set_market(m, why, false));
        }
        let now = Nanos(1_790_000_000_000_000_000);
        let mut orders = Orders::new(setting.universe.markets.len());
        for n in 0..OPEN {
            let m = MarketIx((n % setting.universe.markets.len()) as u16);
            let bid = quote(m.instrument(Outcome::Yes), 4_500);
            assert!(orders.recover(OrderHash([n as u8; 32]), bid, now, true, now));
        }
        let mut ledger = Ledger::new(setting.universe.markets.len());
        ledger.open(all);
        let mut book = Book::new(TickSize::Cent);
        book.snapshot_start(None);
        for (side, units) in [(BookSide::Bid, 4_900), (BookSide::Ask, 5_100)] {
            book.snapshot_level(side, Price::from_units(units).expect("a price"), Qty::shares(500));
        }
        book.snapshot_end();
        Self { setting, risk, orders, ledger, book, now, n: 0 }
    }

    /// Three quotes, then an order that takes; each in another market than the one before, a second later.
    fn check(&mut self) -> Result<Passed, Refusal> {
        self.n += 1;
        self.now = self.now.plus(1_000_000_000);
        let markets = &self.setting.universe.markets;
        let instrument = MarketIx((self.n % markets.len()) as u16).instrument(Outcome::Yes);
        let mut intent = Intent { epoch: self.n as u32, ..quote(instrument, 4_600 + 100 * (self.n % 3) as u16) };
        if self.n.is_multiple_of(4) {
            let price = Price::from_units(5_100).expect("a price");
            intent = Intent { price, tif: TimeInForce::Fak, post_only: false, purpose: Purpose::Complete, ..intent };
        }
        let facts = Facts {
            specs: markets,
            tick: TickSize::Cent,
            trusted: true,
            state: TradingState::BuildingPair,
            mark_units: 5_000,
            orders: &self.orders,
            ledger: &self.ledger,
            exposure: &self.setting.exposure,
            lost_today: Usdc::ZERO,
            over: Usdc::ZERO,
            book: &self.book,
            game_start: None,
            now: self.now,
        };
        self.risk.check(&intent, &facts)
    }
}

/// A bid that rests, of fifty shares.
fn quote(instrument: InstrumentIx, units: u16) -> Intent {
    Intent {
        instrument,
        side: Side::Buy,
        price: Price::from_units(units).expect("a price"),
        qty: Qty::shares(50),
        tif: TimeInForce::Gtc,
        post_only: true,
        strategy: StrategyId::Pair,
        purpose: Purpose::Quote,
        epoch: 0,
    }
}
