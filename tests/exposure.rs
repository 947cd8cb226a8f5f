//! The worst loss of a match: kept up as it goes it is what the definition says, and nothing that the venue does raises
//! it. The definition is written out here once more, over every state, on wider integers, without the engine's lattice.

mod market_support;

use polyloly_fast::{
    engine::{
        digest::StateHasher,
        exposure::{Exposure, Filled, Flow, Groups, Open, ROUNDING_MICRO, Told, UNMEASURED},
    },
    types::{
        Address, InMatch, InstrumentIx, Intent, MarketIx, MarketSpec, MatchIx, MatchSpec, Price, Qty, Side, Team,
        TimeInForce, Universe, Usdc,
        event::Payout,
        fees::{FeeSchedule, Rounding},
        ids::Outcome,
        market::MarketKind,
        order::{Purpose, StrategyId},
    },
};
use proptest::prelude::*;

use MarketKind::{Handicap, Map, Other, Series, Total};
use Side::{Buy, Sell};
use Team::{First as A, Second as B};

// ---- A universe.

fn market(kind: MarketKind, place: Option<(u16, Team)>, rate_ppm: u32) -> MarketSpec {
    MarketSpec {
        fee: FeeSchedule { rate_ppm },
        kind,
        of_match: place.map(|(index, first)| InMatch { index: MatchIx(index), first }),
        ..market_support::market()
    }
}

fn universe(best_of: &[u8], markets: Vec<MarketSpec>) -> Universe {
    let named = |n: &u8| MatchSpec {
        slug: "a-b".into(),
        best_of: *n,
        teams: ["A".into(), "B".into()],
        tournament: String::new(),
    };
    let matches = best_of.iter().map(named).collect();
    Universe { matches, ..market_support::universe(Address([7; 20]), markets) }
}

/// An exposure, and the orders that are open in it.
struct Kept {
    exposure: Exposure,
    open: Vec<Open>,
}

impl core::ops::Deref for Kept {
    type Target = Exposure;

    fn deref(&self) -> &Exposure {
        &self.exposure
    }
}

impl core::ops::DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Exposure {
        &mut self.exposure
    }
}

impl Kept {
    fn new(universe: &Universe, groups: &[Groups]) -> Self {
        Self { exposure: Exposure::new(universe, groups), open: Vec::new() }
    }

    fn tell(&mut self, m: MarketIx) {
        self.exposure.open(m, self.open.iter().filter(|o| o.instrument().market() == m).copied());
    }

    /// An approved order goes out.
    fn add(&mut self, open: &Open) {
        self.open.push(*open);
        self.tell(open.instrument().market());
    }

    /// What was open is open no more: cancelled, refused, over.
    fn remove(&mut self, open: &Open) {
        let at = self.open.iter().position(|o| o == open).expect("an order that is open");
        self.open.swap_remove(at);
        self.tell(open.instrument().market());
    }

    /// A part of an order is matched.
    fn filled(&mut self, open: &Open, qty: Qty, notional: Usdc, fee: Usdc) -> Filled {
        let filled = Filled::of(open, qty, notional, fee);
        let at = self.open.iter().position(|o| o == open).expect("an order that is open");
        self.open[at] = open.with(open.qty().saturating_sub(qty));
        self.exposure.filled(&filled.flow);
        self.tell(open.instrument().market());
        filled
    }
}

/// One match with these markets, without fees.
fn one_match(best_of: u8, markets: &[(MarketKind, Team)]) -> Kept {
    let markets = markets.iter().map(|(kind, first)| market(*kind, Some((0, *first)), 0)).collect();
    Kept::new(&universe(&[best_of], markets), &[])
}

fn token(market: u16, outcome: Outcome) -> InstrumentIx {
    MarketIx(market).instrument(outcome)
}

fn intent(instrument: InstrumentIx, side: Side, units: u16, post_only: bool) -> Intent {
    Intent {
        instrument,
        side,
        price: Price::from_units(units).unwrap(),
        qty: Qty::shares(1_000),
        tif: TimeInForce::Gtc,
        post_only,
        strategy: StrategyId::Pair,
        purpose: Purpose::Quote,
        epoch: 1,
    }
}

/// A resting order for whole shares at a price in cents.
fn order(market: u16, outcome: Outcome, side: Side, cents: u16, shares: u64) -> Open {
    let intent = intent(token(market, outcome), side, cents * 100, true);
    Open::of(&intent, Qty::shares(shares), FeeSchedule::FREE)
}

/// Shares held that were bought at so many cents.
fn bought(market: u16, outcome: Outcome, cents: i64, shares: i64) -> Flow {
    Flow::new(token(market, outcome), Buy, Qty::shares(shares as u64), Usdc(cents * shares * 10_000))
}

fn dollars(text: &str) -> Usdc {
    Usdc::parse(text.as_bytes()).unwrap()
}

// ---- The definition, written out.

/// Everything that can happen: the winners of the maps as a text, and how it ended: `.` complete, `x` abandoned, or the
/// team that was given the rest.
fn happenings(best_of: u8) -> Vec<(String, char)> {
    let need = usize::from(best_of / 2 + 1);
    let (mut all, mut open) = (Vec::new(), vec![String::new()]);
    while let Some(maps) = open.pop() {
        if ['A', 'B'].iter().any(|t| maps.matches(*t).count() == need) {
            all.push((maps, '.'));
            continue;
        }
        ['x', 'A', 'B'].iter().for_each(|end| all.push((maps.clone(), *end)));
        ['A', 'B'].iter().for_each(|t| open.push(format!("{maps}{t}")));
    }
    all
}

/// What the first outcome's token may pay, in halves; nothing for a market of which nothing is known.
fn may_pay(best_of: u8, (maps, end): &(String, char), kind: MarketKind, first: Team) -> Vec<i128> {
    let us = if first == A { 'A' } else { 'B' };
    let need = i32::from(best_of / 2 + 1);
    let sure = |won: bool| vec![if won { 2 } else { 0 }];
    let mut final_score = maps.clone();
    if let 'A' | 'B' = end {
        while (final_score.matches(*end).count() as i32) < need {
            final_score.push(*end);
        }
    }
    let ours = final_score.matches(us).count() as i32;
    let theirs = final_score.len() as i32 - ours;
    match kind {
        Map(n) if n >= 1 && n <= best_of => match (maps.chars().nth(usize::from(n) - 1), end) {
            (Some(winner), _) => sure(winner == us),
            (None, 'A' | 'B') if usize::from(n) == maps.len() + 1 => vec![if *end == us { 2 } else { 0 }, 1],
            (None, _) => vec![1],
        },
        Map(_) | Other => vec![],
        _ if *end == 'x' => vec![1],
        Series => sure(ours == need),
        Handicap(line) => sure(f64::from(ours - theirs) + f64::from(line) / 2.0 > 0.0),
        Total(line) => sure(f64::from(ours + theirs) > f64::from(line) / 2.0),
    }
}

/// Something open or not settled: own token pays, side, shares, cash in 10⁻¹⁰ pUSD, fee included.
#[derive(Clone, Debug)]
struct Item {
    outcome: Outcome,
    side: Side,
    qty: i128,
    cash: i128,
}

impl Item {
    fn gain(&self, halves: i128) -> i128 {
        let own = if self.outcome == Outcome::Yes { halves } else { 2 - halves };
        let pays = self.qty * own * 5_000;
        if self.side == Buy { self.cash + pays } else { self.cash - pays }
    }
}

#[derive(Clone, Debug)]
struct Book {
    spec: MarketSpec,
    cash: i128,
    held: [i128; 2],
    payout: Option<i128>,
    orders: Vec<(Intent, i128)>,
    fills: Vec<(Item, Flow)>,
    /// What may be paid in each happening of the match.
    may_pay: Vec<Vec<i128>>,
}

fn fee_each(intent: &Intent, fees: FeeSchedule) -> i128 {
    let (p, rate) = (i128::from(intent.price.units()), i128::from(fees.rate_ppm));
    let exact = rate * p * (10_000 - p);
    (0..).find(|f| f * 10_i128.pow(10) >= exact && !intent.post_only || *f == 0 && intent.post_only).unwrap()
}

fn at_limit(intent: &Intent, qty: i128, fees: FeeSchedule) -> Item {
    let (price, fee) = (i128::from(intent.price.units()), fee_each(intent, fees));
    let each = if intent.side == Buy { -price - fee } else { price - fee };
    Item { outcome: intent.instrument.outcome(), side: intent.side, qty, cash: qty * each }
}

impl Book {
    fn comes_to(&self, halves: i128) -> i128 {
        let orders = self.orders.iter().map(|(i, leaves)| at_limit(i, *leaves, self.spec.fee).gain(halves).min(0));
        let fills = self.fills.iter().map(|(item, _)| item.gain(halves).min(0));
        let held = self.held[0] * halves * 5_000 + self.held[1] * (2 - halves) * 5_000;
        self.cash + held + orders.sum::<i128>() + fills.sum::<i128>()
    }

    /// At worst, over what it may pay, or what it paid.
    fn worst(&self, may_pay: &[i128]) -> i128 {
        let paid = self.payout.map(|p| vec![p]);
        paid.as_deref().unwrap_or(may_pay).iter().map(|p| self.comes_to(*p)).min().unwrap()
    }

    fn known(&self) -> bool {
        !self.may_pay[0].is_empty()
    }
}

/// The exposure of some markets: those that are known together, the others each by itself.
fn worst_loss(books: &[&Book]) -> i128 {
    let (known, unknown): (Vec<&Book>, Vec<&Book>) = books.iter().partition(|b| b.known());
    let apart: i128 = unknown.iter().map(|b| b.worst(&[0, 1, 2])).sum();
    let possible =
        |happening: &usize| known.iter().all(|b| b.payout.is_none_or(|paid| b.may_pay[*happening].contains(&paid)));
    let happenings = known.first().map_or(0, |b| b.may_pay.len());
    let sum = |happening: usize| known.iter().map(|b| b.worst(&b.may_pay[happening])).sum::<i128>();
    let together = (0..happenings).filter(possible).map(sum).min().unwrap_or(0);
    -(together + apart)
}

/// To the micro-pUSD, a loss up and a gain down.
fn rounded(loss: i128) -> Usdc {
    Usdc((loss.div_euclid(10_000) + i128::from(loss.rem_euclid(10_000) != 0)) as i64)
}

// ---- Random histories.

const RATES: [u32; 4] = [0, 30_000, 50_000, 999_999];
/// Two matches that share a group, and what is in none.
const GROUPS: [Groups; 2] = [[Some(0), Some(2), None, None], [Some(0), Some(1), None, Some(3)]];

/// One step: what, and some numbers that choose among what is there.
type Step = (u8, u16, u16, u16);

struct World {
    exposure: Kept,
    books: Vec<Book>,
    /// What happens in each match in the end, and how doubtful rules are read.
    hidden: [usize; 2],
    reading: bool,
}

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Nothing,
    /// An order of ours.
    Added,
    /// The venue's doing.
    Venue,
}

impl World {
    fn new(best_of: u8, turned: u16, hidden: [u16; 2], reading: bool) -> Self {
        let kinds = [Series, Handicap(-3), Handicap(3), Handicap(1), Handicap(-5), Total(5), Total(7), Total(9), Other];
        let maps = (1..=best_of + 1).map(Map);
        let fits = |kind: &MarketKind| match kind {
            Handicap(line) => line.unsigned_abs() <= best_of,
            Total(line) => *line > best_of + 1 && *line < 2 * best_of,
            _ => true,
        };
        let kinds = kinds.into_iter().filter(fits).chain(maps);
        let team = |n: usize| if turned >> (n % 16) & 1 == 0 { A } else { B };
        let mut markets: Vec<MarketSpec> =
            kinds.enumerate().map(|(n, kind)| market(kind, Some((0, team(n))), RATES[n % 4])).collect();
        markets.push(market(Series, Some((1, team(3))), 50_000));
        markets.push(market(Map(1), Some((1, team(5))), 50_000));
        markets.push(market(Series, None, 50_000));
        let matches = [best_of, 3];
        let all = matches.map(happenings);
        let book = |spec: &MarketSpec| Book {
            spec: spec.clone(),
            cash: 0,
            held: [0; 2],
            payout: None,
            orders: Vec::new(),
            fills: Vec::new(),
            may_pay: spec.of_match.map_or(vec![vec![]], |place| {
                let of = usize::from(place.index.0);
                all[of].iter().map(|h| may_pay(matches[of], h, spec.kind, place.first)).collect()
            }),
        };
        Self {
            books: markets.iter().map(book).collect(),
            exposure: Kept::new(&universe(&matches, markets), &GROUPS),
            hidden: [0, 1].map(|n: usize| usize::from(hidden[n]) % all[n].len()),
            reading,
        }
    }

    /// The order that a step places, if it places one.
    fn order(&self, (what, a, b, c): Step) -> Option<(Intent, i128)> {
        let m = usize::from(a) % self.books.len();
        let outcome = if b & 1 == 0 { Outcome::Yes } else { Outcome::No };
        let side = if b & 6 == 0 { Sell } else { Buy };
        let intent = intent(token(m as u16, outcome), side, 1 + c % 9_999, b & 8 == 0);
        (what % 16 <= 4).then(|| (intent, 1 + i128::from(b >> 4) * 24_413))
    }

    fn open(&self, (intent, qty): &(Intent, i128)) -> Open {
        Open::of(intent, Qty(*qty as u64), self.books[intent.instrument.market().ix()].spec.fee)
    }

    fn step(&mut self, step: Step) -> Done {
        let (what, a, b, c) = step;
        let m = usize::from(a) % self.books.len();
        if let Some(order) = self.order(step) {
            self.exposure.add(&self.open(&order));
            self.books[m].orders.push(order);
            return Done::Added;
        }
        let (book, exposure) = (&mut self.books[m], &mut self.exposure);
        let fees = book.spec.fee;
        let pick = |n: usize| (n > 0).then(|| usize::from(b) % n);
        match what % 16 {
            5..=8 => {
                let Some(n) = pick(book.orders.len()) else { return Done::Nothing };
                let (intent, leaves) = book.orders[n];
                let qty = if c & 1 == 0 { leaves } else { 1 + i128::from(c) * (leaves - 1) / 65_535 };
                let flow = fill(exposure, &intent, leaves, qty, c, fees);
                book.orders[n].1 -= qty;
                if book.orders[n].1 == 0 {
                    book.orders.remove(n);
                }
                book.fills.push(flow);
                Done::Venue
            }
            9 => {
                let Some(n) = pick(book.orders.len()) else { return Done::Nothing };
                let (intent, leaves) = book.orders.remove(n);
                exposure.remove(&Open::of(&intent, Qty(leaves as u64), fees));
                Done::Venue
            }
            10 => {
                let Some(n) = pick(book.fills.len()) else { return Done::Nothing };
                exposure.failed(&book.fills.remove(n).1);
                Done::Venue
            }
            11..=13 => {
                let Some(n) = pick(book.fills.len()) else { return Done::Nothing };
                let (item, flow) = book.fills.remove(n);
                exposure.confirmed(&flow);
                match book.payout {
                    Some(paid) => book.cash += item.gain(paid),
                    None => {
                        book.cash += item.cash;
                        let sign = if item.side == Buy { 1 } else { -1 };
                        book.held[item.outcome as usize] += sign * item.qty;
                    }
                }
                Done::Venue
            }
            14 => {
                // Nothing is told to the exposure: a pair and what it is merged to are the same.
                let pairs = book.held[0].min(book.held[1]).max(0);
                book.held = book.held.map(|held| held - pairs);
                book.cash += pairs * 10_000;
                Done::Venue
            }
            _ => {
                if book.payout.is_some() {
                    return Done::Nothing;
                }
                let may = match (book.known(), book.spec.of_match) {
                    (true, Some(place)) => book.may_pay[self.hidden[place.index.ix()]].clone(),
                    _ => vec![i128::from(c % 3)],
                };
                let paid = if self.reading { may[0] } else { may[may.len() - 1] };
                book.cash += (book.held[0] * paid + book.held[1] * (2 - paid)) * 5_000;
                book.held = [0; 2];
                book.payout = Some(paid);
                let payout = [Payout::No, Payout::Half, Payout::Yes][paid as usize];
                assert_eq!(exposure.resolved(MarketIx(m as u16), payout), Told::Agrees);
                Done::Venue
            }
        }
    }

    fn loss(&self, of: usize) -> i128 {
        let of_match = |b: &&Book| b.spec.of_match.is_some_and(|place| place.index.ix() == of);
        worst_loss(&self.books.iter().filter(of_match).collect::<Vec<_>>())
    }

    fn lone(&self) -> i128 {
        worst_loss(&[&self.books[self.books.len() - 1]])
    }

    fn measured(&self) -> Vec<Usdc> {
        let lone = self.exposure.of_market(MarketIx(self.books.len() as u16 - 1));
        let groups = (0..4).map(|g| self.exposure.group(g));
        let matches = [0, 1].map(|m| self.exposure.of_match(MatchIx(m)));
        matches.into_iter().chain([lone, self.exposure.total()]).chain(groups).collect()
    }

    fn by_definition(&self) -> Vec<Usdc> {
        let (first, second, lone) = (self.loss(0), self.loss(1), self.lone());
        let [f, s, l] = [first, second, lone].map(|loss| loss.max(0));
        [first, second, lone, f + s + l, f + s, s, f, s].into_iter().map(rounded).collect()
    }
}

/// A fill at the limit or better, as maker or taker, its integers rounded as the venue may.
fn fill(exposure: &mut Kept, intent: &Intent, leaves: i128, qty: i128, c: u16, fees: FeeSchedule) -> (Item, Flow) {
    let (limit, better) = (intent.price.units(), c / 7 % 40);
    let units = match intent.side {
        Buy => limit.saturating_sub(better).max(1),
        Sell => (limit + better).min(9_999),
    };
    let price = Price::from_units(units).unwrap();
    let shares = Qty(qty as u64);
    let (low, high) = (shares.notional_floor(price), shares.notional_ceil(price));
    let notional = if c & 4 == 0 { low } else { high };
    let fee = match intent.post_only || c & 8 == 0 {
        true => Usdc::ZERO,
        false => fees.taker_fee(shares, price, if c & 16 == 0 { Rounding::HalfEven } else { Rounding::Up }),
    };
    let filled = exposure.filled(&Open::of(intent, Qty(leaves as u64), fees), shares, notional, fee);
    assert_eq!((filled.worse_by, filled.beyond), (Usdc::ZERO, Qty::ZERO), "as the order allows");
    let mut item = at_limit(intent, qty, fees);
    let cash = if intent.side == Buy { notional + fee } else { notional - fee };
    let flow = i128::from(cash.micro()) * if intent.side == Buy { -10_000 } else { 10_000 };
    assert!(item.cash - flow <= i128::from(ROUNDING_MICRO) * 10_000);
    item.cash = item.cash.max(flow);
    (item, filled.flow)
}

fn history() -> impl Strategy<Value = (u8, u16, [u16; 2], bool, Vec<Step>)> {
    let best_of = prop::sample::select(vec![1_u8, 3, 5]);
    // Some markets more often than others, so that their orders, fills and payouts meet.
    let market = (0_u16..4, 0_u16..40).prop_map(|(few, any)| if few > 0 { any % 6 } else { any });
    let step = (any::<u8>(), market, any::<u16>(), any::<u16>());
    (best_of, any::<u16>(), any::<[u16; 2]>(), any::<bool>(), prop::collection::vec(step, 1..28))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn kept_up_as_it_goes_it_is_what_the_definition_says((best_of, turned, hidden, reading, steps) in history()) {
        let mut world = World::new(best_of, turned, hidden, reading);
        for (n, step) in steps.into_iter().enumerate() {
            let said = world.order(step).map(|order| {
                let after = world.exposure.after(&world.open(&order));
                (order.0.instrument.market(), after)
            });
            let before = world.measured();
            let done = world.step(step);
            prop_assert_eq!(world.measured(), world.by_definition(), "step {} was {:?}", n, done);
            // What a check says of an order is what comes of it.
            if let Some((market, after)) = said {
                prop_assert_eq!(after.worst, world.exposure.of_market(market));
                prop_assert_eq!(after.total, world.exposure.total());
                for group in world.exposure.groups_of(market) {
                    let said = before[4 + usize::from(group)] + after.rise;
                    let off = said.micro() - world.exposure.group(group).micro();
                    prop_assert!((0..=1).contains(&off), "never less, by rounding a micro more");
                }
            }
        }
    }

    #[test]
    fn nothing_that_the_venue_does_raises_the_exposure_of_any_match(
        (best_of, turned, hidden, reading, steps) in history(),
    ) {
        let mut world = World::new(best_of, turned, hidden, reading);
        for (n, step) in steps.into_iter().enumerate() {
            let before = world.measured();
            if world.step(step) == Done::Venue {
                let raised = world.measured().into_iter().zip(before).any(|(now, before)| now > before);
                prop_assert!(!raised, "by step {}: {:?}", n, step);
            }
        }
    }

    #[test]
    fn a_pair_has_gained_what_it_cost_less_than_one(
        best_of in prop::sample::select(vec![1_u8, 3, 5]),
        kind in prop::sample::select(vec![Series, Map(1), Map(2), Handicap(-1), Handicap(3), Total(5), Other]),
        first in prop::sample::select(vec![A, B]),
        cents in 1_i64..99,
        pair in 2_i64..150,
        shares in 1_i64..100_000,
    ) {
        let mut e = one_match(best_of, &[(Series, B), (kind, first), (Map(1), A)]);
        e.hold(&bought(1, Outcome::Yes, cents, shares));
        e.hold(&bought(1, Outcome::No, pair - cents, shares));
        prop_assert_eq!(e.of_match(MatchIx(0)), Usdc((pair - 100) * shares * 10_000));
    }

    #[test]
    fn what_is_added_and_removed_in_any_order_leaves_nothing(
        steps in prop::collection::vec((any::<u16>(), any::<u16>(), any::<u16>()), 1..12),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(5, 0, [0, 0], false);
        let nothing = world.measured();
        let open = |(a, b, c): &(u16, u16, u16)| {
            let m = usize::from(*a) % world.books.len();
            let side = if b & 1 == 0 { Buy } else { Sell };
            let outcome = if b & 2 == 0 { Outcome::Yes } else { Outcome::No };
            let intent = intent(token(m as u16, outcome), side, 1 + c % 9_999, b & 4 == 0);
            Open::of(&intent, Qty(u64::from(*b) * 7_919), world.books[m].spec.fee)
        };
        let mut opens: Vec<Open> = steps.iter().map(open).collect();
        opens.iter().for_each(|o| world.exposure.add(o));
        let turn = turn.index(opens.len());
        opens.rotate_left(turn);
        opens.iter().for_each(|o| world.exposure.remove(o));
        prop_assert_eq!(world.measured(), nothing);
    }
}

// ---- Figures by hand.

/// What a trader would trade on a best of three, by the index of the market.
const MARKETS: [(MarketKind, Team); 8] = [
    (Series, A),
    (Map(1), A),
    (Map(2), A),
    (Map(3), A),
    (Handicap(3), B),
    (Total(5), A),
    (Handicap(-3), A),
    (Handicap(-3), B),
];
const M: MatchIx = MatchIx(0);

#[test]
fn a_pair_held_for_97_cents_has_an_exposure_of_minus_three() {
    for kind in [Series, Map(2), Handicap(-3), Total(5), Other] {
        let mut e = one_match(3, &[(kind, A)]);
        e.hold(&bought(0, Outcome::Yes, 55, 100));
        assert_eq!(e.of_match(M), dollars("55"));
        e.hold(&bought(0, Outcome::No, 42, 100));
        assert_eq!(e.of_match(M), dollars("-3"), "{kind:?}");
        assert_eq!(e.total(), Usdc::ZERO, "what is gained frees nothing elsewhere");
    }
}

#[test]
fn series_at_60_with_map_three_at_45_is_no_pair_at_nil_nil() {
    let legs = [bought(0, Outcome::Yes, 60, 100), bought(3, Outcome::No, 45, 100)];
    let mut three = one_match(3, &MARKETS);
    legs.iter().for_each(|leg| three.hold(leg));
    // B sweeps: the series pays nothing, the map that was not played a half.
    assert_eq!(three.of_match(M), dollars("55"));
    // At one all they are a pair as long as the third map is played; forfeited to B unplayed it pays a half.
    assert_eq!(three.resolved(MarketIx(1), Payout::Yes), Told::Agrees);
    assert_eq!(three.resolved(MarketIx(2), Payout::No), Told::Agrees);
    assert_eq!(three.of_match(M), dollars("55"));
    assert_eq!(three.resolved(MarketIx(0), Payout::Yes), Told::Agrees);
    assert_eq!(three.of_match(M), dollars("5"), "the series alone has paid 1 already");

    let mut five = one_match(5, &[(Series, A), (Map(1), A), (Map(2), A), (Map(3), A)]);
    legs.iter().for_each(|leg| five.hold(leg));
    assert_eq!(five.of_match(M), dollars("105"), "A can win map 3 and lose: nothing is paid");
}

#[test]
fn series_and_maps_net_as_far_as_the_match_allows_and_no_further() {
    use Outcome::{No, Yes};
    // What is held, 100 of each: market, outcome, cents. Exposure in dollars, and why.
    type Held = &'static [(u16, Outcome, i64)];
    let table: [(Held, &str, &str); 10] = [
        (&[(0, Yes, 60)], "60", "one leg can lose all of it"),
        (&[(0, Yes, 60), (0, No, 37)], "-3", "both outcomes"),
        (&[(0, Yes, 60), (4, Yes, 38)], "-2", "A or B +1.5 wins, or both"),
        (&[(6, Yes, 40), (7, Yes, 30), (5, Yes, 27)], "-3", "a sweep by either, or three maps"),
        (&[(0, Yes, 60), (6, No, 45)], "5", "A in two: only the series; 100 is paid"),
        (&[(0, Yes, 60), (1, No, 45)], "105", "A takes map 1 and loses"),
        (&[(0, Yes, 60), (1, Yes, 55), (2, Yes, 50)], "165", "B sweeps"),
        (&[(0, Yes, 60), (1, No, 45), (2, No, 45)], "100", "A leads, map 2 is never played, B is given it: 50"),
        (&[(5, No, 50), (3, Yes, 30), (3, No, 30)], "10", "map 3 pays one of its outcomes whatever happens"),
        (&[(1, Yes, 50), (2, Yes, 50), (0, No, 50)], "100", "B leads, map 2 is never played, A is given it: 50"),
    ];
    for (held, exposure, why) in table {
        let mut e = one_match(3, &MARKETS);
        let mut apart = Usdc::ZERO;
        for (market, outcome, cents) in held {
            e.hold(&bought(*market, *outcome, *cents, 100));
            apart += Usdc(cents * 1_000_000);
        }
        assert_eq!(e.of_match(M), dollars(exposure), "{held:?}: {why}");
        assert!(e.of_match(M) <= apart, "never more than each by itself");
        assert_eq!(e.total(), dollars(exposure).max(Usdc::ZERO));
    }
}

#[test]
fn a_quote_on_both_sides_is_no_pair_before_both_are_settled() {
    let mut e = one_match(3, &MARKETS);
    let (yes, no) = (order(0, Outcome::Yes, Buy, 60, 100), order(0, Outcome::No, Buy, 37, 100));
    assert_eq!(e.after(&yes).worst, dollars("60"));
    e.add(&yes);
    // Never both: if one wins the other is lost, and only what is filled is lost.
    assert_eq!(e.after(&no).worst, dollars("60"));
    e.add(&no);
    assert_eq!(e.of_match(M), dollars("60"));
    let first = e.filled(&yes, Qty::shares(100), dollars("60"), Usdc::ZERO);
    assert_eq!(e.of_match(M), dollars("60"), "a fill changes nothing: it may still fail");
    e.confirmed(&first.flow);
    assert_eq!(e.of_match(M), dollars("60"));
    let second = e.filled(&no, Qty::shares(100), dollars("36"), Usdc::ZERO);
    assert_eq!(e.of_match(M), dollars("60"));
    e.confirmed(&second.flow);
    assert_eq!(e.of_match(M), dollars("-4"), "a cent better than its limit");
}

#[test]
fn a_fill_that_fails_gives_back_what_its_order_took() {
    let mut e = one_match(1, &[(Series, A)]);
    let open = order(0, Outcome::Yes, Buy, 40, 100);
    e.add(&open);
    let part = e.filled(&open, Qty::shares(30), dollars("12"), Usdc::ZERO);
    let rest = open.with(Qty::shares(70));
    assert_eq!(e.of_match(M), dollars("40"));
    e.failed(&part.flow);
    assert_eq!(e.of_match(M), dollars("28"));
    e.remove(&rest);
    assert_eq!(e.of_match(M), Usdc::ZERO);
}

#[test]
fn a_fill_is_measured_by_its_orders_limit() {
    let all = Qty::shares(100);
    // Side, paid or received, fee; how much worse that is than 40 cents without fee, and the exposure then.
    let table = [
        (Buy, "40", "0", "0", "40"),
        (Buy, "39.5", "0", "0", "39.5"),
        (Buy, "40.00003", "0", "0", "40"),
        (Buy, "40", "0.00003", "0", "40"),
        (Buy, "40.000031", "0", "0.000031", "40.000031"),
        (Buy, "40", "1.2", "1.2", "41.2"),
        (Sell, "40", "0", "0", "60"),
        (Sell, "39.99997", "0", "0", "60"),
        (Sell, "39.999969", "0", "0.000031", "60.000031"),
        (Sell, "40", "0.5", "0.5", "60.5"),
    ];
    for (side, notional, fee, worse_by, exposure) in table {
        let mut e = one_match(1, &[(Series, A)]);
        let open = order(0, Outcome::Yes, side, 40, 100);
        e.add(&open);
        let filled = e.filled(&open, all, dollars(notional), dollars(fee));
        assert_eq!((filled.worse_by, filled.beyond), (dollars(worse_by), Qty::ZERO), "{side:?} {notional} {fee}");
        assert_eq!(e.of_match(M), dollars(exposure), "{side:?} {notional} {fee}");
        e.failed(&filled.flow);
        assert_eq!(e.of_match(M), Usdc::ZERO, "removed as it was booked");
    }
    // More than was open: it counts, and it is told.
    let mut e = one_match(1, &[(Series, A)]);
    let open = order(0, Outcome::Yes, Buy, 40, 100);
    e.add(&open);
    assert_eq!(e.filled(&open, Qty::shares(110), dollars("44"), Usdc::ZERO).beyond, Qty::shares(10));
    assert_eq!(e.of_match(M), dollars("44"));
}

#[test]
fn an_order_counts_with_the_worst_fee_of_its_limit() {
    // Rate in ppm, price in units of 0.0001, post-only; exposure of 100 shares bought.
    let table = [
        (50_000, 5_000, false, "51.25"),
        (50_000, 5_000, true, "50"),
        (50_000, 5_300, false, "54.25"), // 1.2455 cents a share, up to 1.25
        (0, 5_000, false, "50"),
        (999_999, 9_000, false, "99"),
        (1_000_000, 9_000, false, "115"), // not below 1: the highest fee of any price
    ];
    for (rate_ppm, units, post_only, exposure) in table {
        let mut e = Kept::new(&universe(&[], vec![market(Series, None, rate_ppm)]), &[]);
        let intent = intent(token(0, Outcome::Yes), Buy, units, post_only);
        e.add(&Open::of(&intent, Qty::shares(100), FeeSchedule { rate_ppm }));
        assert_eq!(e.of_market(MarketIx(0)), dollars(exposure), "{rate_ppm} at {units}");
    }
}

proptest! {
    #[test]
    fn a_better_price_never_costs_more(
        rate_ppm in 0_u32..3_000_000,
        units in 1_u16..10_000,
        better in 0_u16..10_000,
        buy in any::<bool>(),
        micro in 1_u64..1_000_000_000,
    ) {
        let side = if buy { Buy } else { Sell };
        let fees = FeeSchedule { rate_ppm };
        let mut e = Kept::new(&universe(&[], vec![market(Series, None, rate_ppm)]), &[]);
        let open = Open::of(&intent(token(0, Outcome::Yes), side, units, false), Qty(micro), fees);
        e.add(&open);
        let limit = e.total();
        let units = if buy { units.saturating_sub(better).max(1) } else { units.saturating_add(better).min(9_999) };
        let price = Price::from_units(units).unwrap();
        let notional = if buy { Qty(micro).notional_ceil(price) } else { Qty(micro).notional_floor(price) };
        let filled = e.filled(&open, Qty(micro), notional, fees.taker_fee(Qty(micro), price, Rounding::Up));
        prop_assert_eq!(filled.worse_by, Usdc::ZERO);
        prop_assert!(e.total() <= limit);
    }
}

#[test]
fn payouts_that_no_match_can_have_leave_each_market_by_itself() {
    let mut e = one_match(3, &MARKETS);
    e.hold(&bought(0, Outcome::Yes, 60, 100));
    e.hold(&bought(4, Outcome::Yes, 38, 100));
    e.hold(&bought(5, Outcome::Yes, 10, 100));
    assert_eq!(e.of_match(M), dollars("8"));
    assert_eq!(e.resolved(MarketIx(1), Payout::No), Told::Agrees);
    assert_eq!(e.resolved(MarketIx(2), Payout::No), Told::Agrees);
    assert!(!e.contradicted(M));
    // B won two maps, and yet the series pays A.
    assert_eq!(e.resolved(MarketIx(0), Payout::Yes), Told::Contradicts);
    assert!(e.contradicted(M));
    assert_eq!(e.of_match(M), dollars("8"), "40 won; the others can lose 38 and 10");
    assert_eq!(e.after(&order(5, Outcome::Yes, Buy, 20, 100)).worst, dollars("28"));
    assert_eq!(e.resolved(MarketIx(0), Payout::Yes), Told::Known);
    assert_eq!(e.resolved(MarketIx(4), Payout::Yes), Told::Agrees, "nothing is tied any more");
    assert_eq!(e.of_match(M), dollars("-92"));

    let mut e = one_match(3, &MARKETS);
    e.hold(&bought(0, Outcome::Yes, 60, 100));
    assert_eq!(e.resolved(MarketIx(0), Payout::Yes), Told::Agrees);
    assert_eq!(e.of_match(M), dollars("-40"));
    assert_eq!(e.resolved(MarketIx(0), Payout::Half), Told::Contradicts);
    assert_eq!(e.of_match(M), dollars("10"), "the last word counts");
}

#[test]
fn what_the_lattice_does_not_know_stands_alone_in_its_match() {
    // The same map twice: a forfeit may be read differently in each. A map that cannot be played. An unknown kind.
    for other in [(Map(1), A), (Map(4), A), (Other, A), (Handicap(4), A)] {
        let mut e = one_match(3, &[(Map(1), A), other]);
        e.hold(&bought(0, Outcome::Yes, 50, 100));
        e.hold(&bought(1, Outcome::No, 48, 100));
        assert_eq!(e.of_match(M), dollars("98"), "{other:?}");
        assert_eq!(e.of_market(MarketIx(1)), e.of_match(M));
    }
    // A match of a length that none has.
    let mut e = one_match(7, &[(Series, A), (Series, A)]);
    e.hold(&bought(0, Outcome::Yes, 50, 100));
    e.hold(&bought(1, Outcome::No, 48, 100));
    assert_eq!(e.of_match(M), dollars("98"));
}

#[test]
fn what_is_too_large_to_measure_is_more_than_any_limit() {
    let mut e = one_match(3, &MARKETS);
    e.add(&order(0, Outcome::Yes, Buy, 50, 100));
    for qty in [Qty(u64::MAX), Qty(i64::MAX as u64), Qty::shares(20_000_000)] {
        let huge = order(0, Outcome::Yes, Buy, 50, 1).with(qty);
        let after = e.after(&huge);
        assert_eq!((after.worst, after.total, after.rise), (UNMEASURED, UNMEASURED, UNMEASURED));
        assert_eq!(e.of_match(M), dollars("50"), "asking is harmless");
    }
    // Many that are fine by themselves.
    for _ in 0..3 {
        e.add(&order(1, Outcome::Yes, Buy, 50, 4_000_000));
    }
    assert_eq!(e.of_match(M), dollars("6000050"));
    e.add(&order(1, Outcome::Yes, Buy, 50, 4_000_000));
    assert_eq!((e.of_match(M), e.total()), (UNMEASURED, UNMEASURED));
    e.remove(&order(1, Outcome::Yes, Buy, 50, 4_000_000));
    assert_eq!(e.after(&order(0, Outcome::Yes, Sell, 50, 1)).worst, UNMEASURED, "nothing is taken back");
}

#[test]
fn every_change_is_in_the_state_hash() {
    let hash = |e: &Exposure| {
        let mut h = StateHasher::default();
        e.digest(&mut h);
        h.finish()
    };
    let mut e = one_match(3, &MARKETS);
    let mut seen = vec![hash(&e)];
    let open = order(0, Outcome::Yes, Buy, 60, 100);
    e.add(&open);
    seen.push(hash(&e));
    let filled = e.filled(&open, Qty::shares(100), dollars("59"), Usdc::ZERO);
    seen.push(hash(&e));
    e.confirmed(&filled.flow);
    seen.push(hash(&e));
    for (market, payout) in [(1, Payout::No), (2, Payout::No), (0, Payout::Yes)] {
        e.resolved(MarketIx(market), payout);
        seen.push(hash(&e));
    }
    e.add(&open.with(Qty(u64::MAX)));
    seen.push(hash(&e));
    // The same in the end, but one of them has seen the market pay something else.
    let mut steady = one_match(3, &MARKETS);
    let mut wavering = one_match(3, &MARKETS);
    wavering.resolved(MarketIx(0), Payout::Half);
    for e in [&mut steady, &mut wavering] {
        e.resolved(MarketIx(0), Payout::Yes);
        seen.push(hash(e));
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}
