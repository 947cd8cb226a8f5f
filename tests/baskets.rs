//! Baskets over the linked books of one match: which there are, when they are taken, what becomes of their legs, and
//! what they pay in every outcome.

#[path = "baskets_support/mod.rs"]
mod baskets_support;
mod desk_support;
#[path = "baskets_support/failed.rs"]
mod failed;
#[path = "baskets_support/flights.rs"]
mod flights;
#[path = "baskets_support/quoting.rs"]
mod quoting;

use baskets_support::{
    A_SERIES, Book, Dice, MAPS, TOTAL, Told, UNDER, at, bo3, desk, desk_with, fill, fill_as, kill, names, params,
    planted, planted_with, tight,
};
use desk_support::{Script, placed, take};
use polyloly_fast::{
    engine::{
        Approved, Engine,
        lattice::{End, Lattice, Maps, State, States},
        limits::Limits,
        strategy::{Together, Wish},
    },
    strategies::baskets::{
        finder::{Basket, Finder, Known},
        flight::Stage,
        seen::Reason,
    },
    types::{
        InstrumentIx, MarketIx, MatchIx, Qty, Side, TimeInForce, Universe, Usdc,
        event::{ControlEvent, GapReason, MarketEvent, MatchEvent, MatchPhase, Payout, TradeStatus, UserEvent},
        fees::Rounding,
        market::{MarketKind, Team},
        order::{Intent, Purpose, StrategyId},
    },
};

const ONLY: MatchIx = MatchIx(0);

/// What one share of each token pays together in a state, in halves, under each reading.
fn naive_pays(u: &Universe, lattice: &Lattice, tokens: &[InstrumentIx], state: State) -> [u8; 2] {
    [false, true].map(|second| {
        let pays = |i: &InstrumentIx| {
            let m = u.market(i.market());
            let yes = lattice.payoff(state, m.kind, m.of_match.unwrap().first).unwrap().read(second);
            if i.0.is_multiple_of(2) { yes } else { 2 - yes }
        };
        tokens.iter().map(pays).sum()
    })
}

/// The least that these tokens pay in the states that are wanted.
fn naive_least(u: &Universe, l: &Lattice, tokens: &[InstrumentIx], wanted: impl Fn(usize, &State) -> bool) -> u8 {
    let states = l.states().iter().enumerate().filter(|(n, s)| wanted(*n, s));
    states.flat_map(|(_, s)| naive_pays(u, l, tokens, *s)).min().unwrap_or(0)
}

type Found = (Vec<InstrumentIx>, u8, u8, bool);

/// Every basket that holds among these states, by trying every two and three tokens of different markets over every
/// state.
fn naive(u: &Universe, lattice: &Lattice, among: States) -> Vec<Found> {
    let tokens: Vec<InstrumentIx> = (0..2 * u.markets.len() as u16).map(InstrumentIx).collect();
    let mut sets: Vec<Vec<InstrumentIx>> = Vec::new();
    for a in &tokens {
        for b in tokens.iter().filter(|b| b.market() > a.market()) {
            sets.push(vec![*a, *b]);
            sets.extend(tokens.iter().filter(|c| c.market() > b.market()).map(|c| vec![*a, *b, *c]));
        }
    }
    let complete = |n: usize, s: &State| among.has(n) && s.end == End::Complete;
    let least = |set: &[InstrumentIx]| naive_least(u, lattice, set, complete);
    let mut found = Vec::new();
    for set in sets {
        let worst = least(&set);
        // Every way to tear it in two: if the parts guarantee as much, it is no basket of its own.
        let torn = (1..(1_u8 << set.len()) - 1).any(|mask| {
            let part = |bit: bool| -> Vec<InstrumentIx> {
                set.iter().enumerate().filter(|(n, _)| (mask >> n & 1 == 1) == bit).map(|(_, t)| *t).collect()
            };
            least(&part(true)) + least(&part(false)) >= worst
        });
        if worst < 2 || torn {
            continue;
        }
        let all = naive_least(u, lattice, &set, |n, _| among.has(n));
        let complete = lattice.states().iter().enumerate().filter(|(n, s)| complete(*n, s));
        let exact = complete.into_iter().all(|(_, s)| naive_pays(u, lattice, &set, *s)[0] == worst);
        found.push((set, worst, all, exact));
    }
    found.sort();
    found
}

fn found(finder: &Finder) -> Vec<Found> {
    let one = |b: &Basket| {
        let tokens = b.tokens.iter().filter_map(|t| finder.token(*t)).collect();
        (tokens, b.worst, b.worst_of_all, b.exact)
    };
    let mut all: Vec<_> = finder.baskets().iter().map(one).collect();
    all.sort();
    all
}

/// Every sequence of maps that a match can be in the middle of.
fn prefixes(lattice: &Lattice) -> Vec<Maps> {
    let mut all: Vec<Maps> = lattice.states().iter().map(|s| s.prefix).collect();
    all.dedup();
    all
}

#[test]
fn the_list_is_that_of_trying_everything_at_every_moment_of_a_match() {
    for (u, moments) in [(bo3(), 15), (baskets_support::bo5(), 63)] {
        let mut finder = Finder::new(&u, ONLY).unwrap();
        let lattice = finder.lattice().clone();
        let prefixes = prefixes(&lattice);
        let known = |score| finder.consistent(&Known { score: Some(score), ..Known::default() });
        let most = lattice.needed();
        let scores: Vec<States> = (0..=most).flat_map(|a| (0..=most).map(move |b| [a, b])).map(known).collect();
        let mut sets: Vec<States> = prefixes.iter().map(|p| lattice.reachable_from(*p)).collect();
        assert!(prefixes.len() <= moments, "{}", prefixes.len());
        sets.extend(scores);
        let mut counts = Vec::new();
        for among in sets {
            finder.suppose(among);
            assert_eq!(found(&finder), naive(&u, &lattice, among));
            // The baskets of a token are those that it is in.
            for token in 0..finder.none() {
                let of: Vec<u16> =
                    (0..).zip(finder.baskets()).filter(|(_, b)| b.tokens.contains(&token)).map(|(n, _)| n).collect();
                assert_eq!(finder.of(token), of);
            }
            counts.push(finder.baskets().len());
        }
        println!("best of {}: {} combinations, {counts:?}", lattice.best_of(), finder.candidates());
    }
}

#[test]
fn the_examples_that_everybody_knows_are_in_it() {
    let u = bo3();
    let mut finder = Finder::new(&u, ONLY).unwrap();
    let has = |finder: &Finder, tokens: &[InstrumentIx], worst, exact| {
        let mut tokens = tokens.to_vec();
        tokens.sort();
        found(finder).iter().any(|f| f.0 == tokens && f.1 == worst && f.3 == exact)
    };
    // A to win the series, and B with 1.5 maps added.
    assert!(has(&finder, &[A_SERIES, names::B_PLUS], 2, false));
    // Exactly one of a sweep by A, a sweep by B, and a third map.
    assert!(has(&finder, &[names::A_MINUS, names::B_MINUS, TOTAL], 2, true));
    // Its mirror image: exactly two of the others.
    assert!(has(&finder, &[names::A_PLUS, names::B_PLUS, UNDER], 4, true));
    // The series and the third map are the same at one map each, and not before.
    let b_map3 = InstrumentIx(2 * MAPS[2].0 + 1);
    let deciding = [A_SERIES, b_map3];
    assert!(!has(&finder, &deciding, 2, true));
    let level = finder.consistent(&Known { score: Some([1, 1]), ..Known::default() });
    finder.suppose(level);
    assert!(has(&finder, &deciding, 2, true));
    // By what maps paid, the order of them is known too.
    let paid = |first, second| {
        let payouts = u.markets.iter().map(|m| match m.kind {
            MarketKind::Map(1) => Some(first),
            MarketKind::Map(2) => Some(second),
            _ => None,
        });
        Known { payouts: payouts.collect(), score: None }
    };
    let after = finder.consistent(&paid(Payout::Yes, Payout::No));
    let reachable = finder.lattice().reachable_from(Maps::NONE.and(Team::First).and(Team::Second));
    // And, unless it was played, the second map may have been given away.
    assert_eq!(after.and(reachable), reachable);
    assert!(after.0.count_ones() <= reachable.0.count_ones() + 2);
    finder.suppose(after);
    assert!(has(&finder, &deciding, 2, true));
    // A contradiction leaves nothing, and nothing holds.
    let contradiction = finder.consistent(&Known { score: Some([2, 2]), ..Known::default() });
    finder.suppose(contradiction);
    assert!(contradiction.is_empty() && finder.baskets().is_empty());
}

/// One planted basket, from the books to its payout, in one outcome under one reading.
fn played_out(tokens: &[InstrumentIx], state: State, second: bool) {
    let (mut sim, prices) = planted(tokens, 200);
    let u = bo3();
    let lattice = Lattice::new(3).unwrap();
    let orders = placed(&sim.told(tokens, &prices));
    assert_eq!(orders.len(), tokens.len(), "all legs at once");
    let q = orders[0].intent().qty;
    for order in &orders {
        let i = order.intent();
        assert_eq!((i.side, i.tif, i.post_only), (Side::Buy, TimeInForce::Fak, false));
        assert_eq!((i.strategy, i.purpose, i.qty), (StrategyId::Baskets, Purpose::Leg, q));
        let at = tokens.iter().position(|t| *t == i.instrument).unwrap();
        assert_eq!(i.price.units(), prices[at]);
    }
    let mut cost = Usdc::ZERO;
    for order in &orders {
        cost += fill(&mut sim, order, q);
    }
    let ledger = sim.0.core.ledger();
    assert!(tokens.iter().all(|t| ledger.qty(*t) == q) && ledger.balanced() && ledger.anomalies() == 0);
    assert_eq!((sim.0.core.working().count(), sim.stage()), (0, Stage::Idle));
    let tally = sim.tally();
    assert_eq!((tally.sent, tally.level, tally.shares), (1, 1, q));
    // What it was taken for is what was planted, fees and hold included.
    let row = sim.row(tokens).unwrap();
    assert!(row.taken == 1 && (19_990..20_200).contains(&row.best_ppm), "{row:?}");
    // And then the match comes to this.
    for (m, spec) in (0..).map(MarketIx).zip(&u.markets) {
        let halves = lattice.payoff(state, spec.kind, spec.of_match.unwrap().first).unwrap().read(second);
        sim.resolves(m, [Payout::No, Payout::Half, Payout::Yes][usize::from(halves)]);
    }
    let pays = naive_pays(&u, &lattice, tokens, state)[usize::from(second)];
    let ledger = sim.0.core.ledger();
    let gain = ledger.equity_change();
    assert_eq!(gain, Usdc(q.micro() as i64 / 2 * i64::from(pays)) - cost, "{state} {second}");
    assert!(ledger.balanced());
    // Two cents a share after all costs, whatever happens: here no outcome pays less than 1, a half payout neither.
    assert!(gain >= Usdc(q.micro() as i64 / 50), "{state}: {gain} for {q}");
    assert!(pays >= 2, "{state}");
}

#[test]
fn two_cents_after_all_costs_are_taken_and_earned_under_every_outcome() {
    let examples: [&[InstrumentIx]; 2] = [&[A_SERIES, names::B_PLUS], &[names::A_MINUS, names::B_MINUS, TOTAL]];
    for tokens in examples {
        for state in Lattice::new(3).unwrap().states() {
            for second in [false, true] {
                played_out(tokens, *state, second);
            }
        }
    }
}

#[test]
fn one_cent_less_than_the_costs_is_left_alone_and_written_down() {
    let examples: [&[InstrumentIx]; 2] = [&[A_SERIES, names::B_PLUS], &[names::A_MINUS, names::B_MINUS, TOTAL]];
    for tokens in examples {
        // A cent over the cost: the fees alone are more than the books give.
        let (mut sim, prices) = planted(tokens, -100);
        assert!(placed(&sim.told(tokens, &prices)).is_empty());
        assert_eq!((sim.stage(), sim.0.core.ledger().fills().count), (Stage::Idle, 0));
        let row = sim.row(tokens).unwrap();
        assert_eq!(row.not_taken[Reason::Fees as usize], 1, "{row:?}");
        assert_eq!((row.not_taken.iter().sum::<u64>(), row.taken), (1, 0));
        assert!((-10_200..=-9_900).contains(&row.best_ppm), "{row:?}");
        assert!(row.best < Usdc::ZERO);
    }
}

#[test]
fn each_reason_for_leaving_a_basket_is_named() {
    let tokens = [A_SERIES, names::B_PLUS];
    // So many units of 0.0001 a share after all costs, in a world where something else is in the way.
    let named = |units: i32, why: Reason, prepare: &dyn Fn(&mut Told), tell: [u64; 2]| {
        let (mut sim, prices) = planted(&tokens, units);
        prepare(&mut sim);
        let orders = placed(&sim.told_of(&tokens, &prices, &tell));
        assert!(orders.is_empty(), "{why:?} {orders:?}");
        let row = sim.row(&tokens).unwrap_or_else(|| panic!("{why:?}: nothing was written down"));
        assert!(row.not_taken[why as usize] > 0, "{why:?} {row:?}");
    };
    let nothing = |_: &mut Told| {};
    let shares = [100, 100];
    named(10, Reason::MinEdge, &nothing, shares);
    named(-10, Reason::Hold, &nothing, shares);
    named(200, Reason::Size, &nothing, [4, 100]);
    // Shares enough, but not a dollar's worth of one leg.
    let mut sim = desk();
    assert!(placed(&sim.told_of(&tokens, &[1_000, 8_300], &[9, 100])).is_empty());
    assert_eq!(sim.row(&tokens).unwrap().not_taken[Reason::Size as usize], 1);
    named(200, Reason::Closed, &|sim| drop(sim.0.control(ControlEvent::Halt(names::B_PLUS.market()))), shares);
    named(200, Reason::Closed, &|sim| drop(sim.0.user(UserEvent::Down)), shares);
    // A book that was whole, and then lost something, is not traded on; the other leg's news finds it so.
    let (mut sim, prices) = planted(&tokens, 200);
    sim.book(names::B_PLUS, prices[1], 100);
    sim.0.market(MarketEvent::Gap { instrument: Some(names::B_PLUS), reason: GapReason::Disconnected });
    assert!(placed(&sim.book(A_SERIES, prices[0], 100)).is_empty());
    assert!(sim.row(&tokens).unwrap().not_taken[Reason::Untrusted as usize] > 0);
    // What half payouts cost counts: at one map each series and third map are the same, unless a forfeit ends it.
    let third = [A_SERIES, InstrumentIx(2 * MAPS[2].0 + 1)];
    let mut careful = params();
    careful.baskets.half_ppm = 200_000;
    let mut sim = desk_with(&careful);
    let game = MatchEvent { phase: MatchPhase::Running, map: 3, score: [1, 1] };
    sim.0.hear(polyloly_fast::types::Event::Match(game));
    assert!(placed(&sim.told_of(&third, &[4_500, 4_500], &[100, 100])).is_empty());
    assert_eq!(sim.row(&third).unwrap().not_taken[Reason::HalfStates as usize], 1);
}

/// Right after news one book has moved and the other is about to. What still stands after a while was meant.
#[test]
fn offers_are_left_until_they_have_stood_and_a_new_price_begins_anew() {
    let tokens = [A_SERIES, names::B_PLUS];
    let mut patient = params();
    patient.baskets.stood_ms = 3_000;
    let young = |sim: &Told| sim.row(&tokens).map_or(0, |row| row.not_taken[Reason::Young as usize]);

    let (mut sim, prices) = planted_with(&patient, &tokens, 200);
    assert!(placed(&sim.told(&tokens, &prices)).is_empty());
    assert_eq!(young(&sim), 1);
    // 2.9 s later nothing has changed; after 3 s it is taken, by a tick alone.
    assert!(placed(&sim.tick(2_900)).is_empty());
    assert_eq!(placed(&sim.tick(100)).len(), 2);

    // More shares at the same price are no news. Another price is, a better one too.
    let (mut sim, prices) = planted_with(&patient, &tokens, 200);
    sim.told(&tokens, &prices);
    sim.tick(2_000);
    assert!(placed(&sim.book(A_SERIES, prices[0], 150)).is_empty());
    sim.tick(900);
    assert!(placed(&sim.book(names::B_PLUS, prices[1] - 100, 100)).is_empty(), "a cent better, and new");
    assert!(placed(&sim.tick(2_900)).is_empty());
    assert_eq!(placed(&sim.tick(100)).len(), 2);
}

#[test]
fn a_basket_that_holds_only_now_is_taken_only_now() {
    let third = [A_SERIES, InstrumentIx(2 * MAPS[2].0 + 1)];
    for (game, taken) in [
        (None, false),
        // B may still win it two to nothing: the series pays nothing then, and the third map a half.
        (Some(MatchEvent { phase: MatchPhase::Running, map: 2, score: [0, 1] }), false),
        (Some(MatchEvent { phase: MatchPhase::Running, map: 2, score: [1, 0] }), true),
        // The map that is played and the score do not agree: nothing is certain.
        (Some(MatchEvent { phase: MatchPhase::Running, map: 2, score: [1, 1] }), false),
        (Some(MatchEvent { phase: MatchPhase::Running, map: 3, score: [1, 1] }), true),
    ] {
        let mut sim = desk();
        if let Some(game) = game {
            sim.0.hear(polyloly_fast::types::Event::Match(game));
        }
        let orders = placed(&sim.told_of(&third, &[4_500, 4_500], &[100, 100]));
        assert_eq!(orders.len(), if taken { 2 } else { 0 }, "{game:?}");
    }
}

#[test]
fn the_thinnest_leg_goes_first() {
    let tokens = [names::A_MINUS, names::B_MINUS, TOTAL];
    let (mut sim, prices) = planted(&tokens, 200);
    let orders = placed(&sim.told_of(&tokens, &prices, &[80, 60, 70]));
    let sent: Vec<_> = orders.iter().map(|o| o.intent().instrument).collect();
    assert_eq!(sent, [names::B_MINUS, TOTAL, names::A_MINUS]);
    assert!(orders.iter().all(|o| o.intent().qty == Qty::shares(60)));
}

#[test]
fn while_one_is_on_its_way_no_other_starts() {
    let first = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted(&first, 200);
    let orders = placed(&sim.told(&first, &prices));
    let other = [names::A_MINUS, names::B_MINUS, TOTAL];
    let (_, others) = planted(&other, 200);
    assert!(placed(&sim.told(&other, &others)).is_empty());
    assert!(sim.row(&other).unwrap().not_taken[Reason::Busy as usize] > 0);
    orders.iter().for_each(|o| kill(&mut sim, o));
    assert_eq!(sim.stage(), Stage::Idle);
    // Nothing was filled: after a pause the best that is there is taken, whichever that is.
    assert!(placed(&sim.tick(0)).is_empty());
    assert!(placed(&sim.tick(2_000)).len() >= 2);
}

#[test]
fn what_is_missing_is_bought_while_the_basket_still_pays() {
    let tokens = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted(&tokens, 200);
    let orders = placed(&sim.told(&tokens, &prices));
    let [series, plus] = at(&orders, tokens);
    fill(&mut sim, &series, series.intent().qty);
    // Meanwhile somebody was faster on the other leg; a cent more still pays.
    sim.book(names::B_PLUS, prices[1] + 100, 100);
    kill(&mut sim, &plus);
    let again = sim.last();
    assert_eq!((again.len(), sim.stage()), (1, Stage::Completing));
    let i = again[0].intent();
    assert_eq!((i.instrument, i.price.units(), i.qty), (names::B_PLUS, prices[1] + 100, series.intent().qty));
    let q = i.qty;
    fill(&mut sim, &again[0], q);
    let tally = sim.tally();
    assert_eq!((sim.stage(), tally.level, tally.shares), (Stage::Idle, 1, q));
    assert!(tally.pays > tally.paid);
}

#[test]
fn no_more_is_bought_than_is_offered_at_the_limit() {
    let tokens = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted(&tokens, 200);
    let orders = placed(&sim.told(&tokens, &prices));
    let [series, plus] = at(&orders, tokens);
    fill(&mut sim, &series, Qty::shares(100));
    sim.book(names::B_PLUS, prices[1], 60);
    kill(&mut sim, &plus);
    for rest in [60, 40] {
        let next = sim.last();
        assert_eq!((next.len(), next[0].intent().qty), (1, Qty::shares(rest)));
        fill(&mut sim, &next[0], Qty::shares(rest));
        sim.book(names::B_PLUS, prices[1], 300);
        sim.tick(1_000);
    }
    assert_eq!(sim.tally().shares, Qty::shares(100));
}

#[test]
fn completing_at_a_loss_is_bounded_and_cheaper_than_going_back() {
    let tokens = [A_SERIES, names::B_PLUS];
    // How much dearer the missing leg became, what the leading one can be sold for, and what is done.
    for (dearer, bid, side) in [
        // A loss of about a cent, where going back would lose more.
        (450, 4_000, Some((Side::Buy, names::B_PLUS))),
        // The same, where going back is nearly free.
        (450, 4_750, Some((Side::Sell, A_SERIES))),
        // A loss beyond the bound.
        (900, 4_000, Some((Side::Sell, A_SERIES))),
    ] {
        let mut free = params();
        free.baskets.max_loss_ppm = 30_000;
        let (mut sim, prices) = planted_with(&free, &tokens, 200);
        let orders = placed(&sim.told(&tokens, &prices));
        let [series, plus] = at(&orders, tokens);
        fill(&mut sim, &series, series.intent().qty);
        sim.book_with(A_SERIES, Book { bid, ask: prices[0] + 100, shares: 200 });
        sim.book(names::B_PLUS, prices[1] + dearer, 100);
        kill(&mut sim, &plus);
        let next = sim.last();
        let sent = next.first().map(|o| (o.intent().side, o.intent().instrument));
        assert_eq!(sent, side, "{dearer} {bid}");
        let then = if side.is_some_and(|s| s.0 == Side::Buy) { Stage::Completing } else { Stage::Unwinding };
        assert_eq!(sim.stage(), then);
        fill(&mut sim, &next[0], next[0].intent().qty);
        let tally = sim.tally();
        let ends = if then == Stage::Completing { (1, 0, 0) } else { (0, 1, 0) };
        assert_eq!((tally.level, tally.nothing, tally.uneven), ends);
        assert!(sim.0.core.ledger().balanced());
    }
}

#[test]
fn what_can_neither_be_completed_nor_sold_is_held_after_a_while() {
    let tokens = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted(&tokens, 200);
    let orders = placed(&sim.told(&tokens, &prices));
    let [series, plus] = at(&orders, tokens);
    fill(&mut sim, &series, series.intent().qty);
    // The other leg's book is lost: nothing is done on it.
    sim.0.market(MarketEvent::Gap { instrument: Some(names::B_PLUS), reason: GapReason::Disconnected });
    kill(&mut sim, &plus);
    assert_eq!((sim.last().len(), sim.stage()), (0, Stage::Partial));
    assert!(placed(&sim.0.pass(29_000)).is_empty());
    assert_eq!(sim.stage(), Stage::Partial);
    assert!(placed(&sim.0.pass(2_000)).is_empty());
    let tally = sim.tally();
    assert_eq!((sim.stage(), tally.uneven), (Stage::Idle, 1));
}

#[test]
fn too_little_to_trade_is_held_at_once() {
    let tokens = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted(&tokens, 200);
    let orders = placed(&sim.told(&tokens, &prices));
    let [series, plus] = at(&orders, tokens);
    let q = series.intent().qty;
    fill(&mut sim, &series, q);
    fill(&mut sim, &plus, q - Qty::shares(3));
    kill(&mut sim, &plus);
    let tally = sim.tally();
    assert_eq!((sim.last().len(), sim.stage(), tally.uneven), (0, Stage::Idle, 1));
}

#[test]
fn what_is_not_settled_is_not_sold() {
    let tokens = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted(&tokens, 200);
    let orders = placed(&sim.told(&tokens, &prices));
    let [series, plus] = at(&orders, tokens);
    let q = series.intent().qty;
    fill_as(&mut sim, &series, q, &[TradeStatus::Matched]);
    // Far too dear to complete: the leg that was bought is to be sold, when it is ours to sell.
    sim.book(names::B_PLUS, prices[1] + 1_500, 100);
    kill(&mut sim, &plus);
    sim.tick(3_000);
    assert_eq!((sim.last().len(), sim.stage()), (0, Stage::Partial));
    fill_as(&mut sim, &series, q, &[TradeStatus::Confirmed]);
    sim.tick(0);
    let sold: Vec<_> = sim.last().iter().map(|o| (o.intent().side, o.intent().instrument, o.intent().qty)).collect();
    assert_eq!((sold, sim.stage()), (vec![(Side::Sell, A_SERIES, q)], Stage::Unwinding));
    assert_eq!(sim.0.core.report().rejections, []);
}

#[test]
fn together_means_all_or_none_each_by_the_trust_of_its_own_market() {
    let u = bo3();
    for (lost, sent) in [(None, 2), (Some(InstrumentIx(2)), 0), (Some(InstrumentIx(0)), 0)] {
        let script = Script::default();
        let core = Engine::new(&u, Limits::default(), script.clone());
        let mut sim = baskets_support::open(core);
        (0..7).for_each(|m| drop(sim.book_of(MarketIx(m), &[(4_900, 500)], &[(5_000, 500)])));
        if let Some(i) = lost {
            sim.market(MarketEvent::Gap { instrument: Some(i), reason: GapReason::Disconnected });
        }
        let leg = |i: u16| Intent { epoch: 1, purpose: Purpose::Leg, ..take(InstrumentIx(i), 5_000, 10) };
        let both = Wish::Together(Together::NONE.and(leg(0)).and(leg(2)));
        // Decided on in the first market, or in a third that has nothing to do with them.
        let orders = placed(&sim.wish(&script, MarketIx(if lost == Some(InstrumentIx(0)) { 5 } else { 0 }), both));
        assert_eq!(orders.len(), sent, "{lost:?}");
        assert_eq!(sim.core.working().count(), sent, "{lost:?}");
        assert_eq!(sim.core.report().orders.sent, sent as u64);
    }
}

#[test]
fn tries_are_counted() {
    let tokens = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted(&tokens, 200);
    let orders = placed(&sim.told(&tokens, &prices));
    let [series, plus] = at(&orders, tokens);
    fill(&mut sim, &series, series.intent().qty);
    kill(&mut sim, &plus);
    let mut sent = 0;
    for _ in 0..40 {
        let next: Vec<_> = sim.last();
        for order in &next {
            assert_eq!(order.intent().instrument, names::B_PLUS);
            sent += 1;
            kill(&mut sim, order);
        }
        if next.is_empty() {
            sim.tick(500);
        }
        if sim.stage() == Stage::Idle {
            break;
        }
    }
    assert_eq!(sent, params().baskets.tries);
    let tally = sim.tally();
    assert_eq!(tally.uneven, 1);
}

#[test]
fn a_leg_that_risk_refuses_takes_the_others_with_it() {
    let tokens = [A_SERIES, names::B_PLUS];
    let (mut sim, prices) = planted_with(&tight(), &tokens, 200);
    assert!(placed(&sim.told(&tokens, &prices)).is_empty());
    let report = sim.0.core.report();
    assert_eq!((report.orders.open, report.orders.sent, report.orders.immediate), (0, 0, 0));
    assert_eq!(report.rejections, [("restricted", 1)]);
    assert_eq!(sim.row(&tokens).unwrap().not_taken[Reason::Refused as usize], 1);
    assert!(tokens.iter().all(|t| sim.0.core.ledger().qty(*t).is_zero()));
}

#[test]
fn what_a_basket_holds_is_no_part_of_a_pair_and_own_quotes_make_way() {
    let tokens = [A_SERIES, names::B_PLUS];
    let mut both = params();
    both.pair.enabled = true;
    let (mut sim, prices) = planted_with(&both, &tokens, 200);
    // The pair strategy quotes at the best prices, and its bids for the other tokens stand in the way.
    sim.quotes_live(20);
    sim.book(tokens[0], prices[0], 100);
    sim.quotes_live(80);
    sim.last();
    sim.book(tokens[1], prices[1], 100);
    assert_eq!(sim.stage(), Stage::Clearing);
    sim.quotes_live(20);
    let of_baskets = |o: &Approved| o.intent().strategy == StrategyId::Baskets;
    let orders: Vec<_> = sim.last().into_iter().filter(of_baskets).collect();
    assert!(sim.row(&tokens).unwrap().not_taken[Reason::OwnQuote as usize] > 0);
    assert_eq!(orders.len(), 2, "{:?}", sim.stage());
    for order in &orders {
        fill(&mut sim, order, order.intent().qty);
    }
    assert_eq!(sim.stage(), Stage::Idle);
    // Held for the basket: nothing of it is completed or unwound as a pair would be.
    for _ in 0..100 {
        let sent = placed(&sim.tick(100));
        assert!(sent.iter().all(|o| o.intent().purpose == Purpose::Quote), "{sent:?}");
    }
}

/// No order of these is part of a basket that can lose at the prices sent, and none is on one of these markets.
fn cannot_lose(u: &Universe, orders: &[Approved], shut: &[Option<MarketIx>]) {
    let tokens: Vec<_> = orders.iter().map(|o| o.intent().instrument).collect();
    let q = orders[0].intent().qty;
    let worst = naive_least(u, &Lattice::new(3).unwrap(), &tokens, |_, s| s.end == End::Complete);
    let mut left = Usdc(q.micro() as i64 / 2 * i64::from(worst));
    for order in orders {
        let i = order.intent();
        let spec = u.market(i.instrument.market());
        assert_eq!((i.qty, i.side), (q, Side::Buy));
        assert!(q >= spec.min_size && q.notional_floor(i.price) >= Usdc::dollars(1));
        assert!(!shut.contains(&Some(i.instrument.market())), "{i:?}");
        left = left - q.notional_ceil(i.price) - spec.fee.taker_fee(q, i.price, Rounding::Up);
    }
    assert!(left > Usdc::ZERO, "{left} at {tokens:?}");
}

/// What was sent is looked at, and finds nothing there. How many baskets that were.
fn find_nothing(sim: &mut Told, u: &Universe, shut: &[Option<MarketIx>]) -> u32 {
    let mut baskets = 0;
    loop {
        let orders = sim.last();
        if orders.is_empty() {
            return baskets;
        }
        baskets += 1;
        cannot_lose(u, &orders, shut);
        orders.iter().for_each(|o| kill(sim, o));
        assert_eq!(sim.stage(), Stage::Idle);
    }
}

#[test]
fn ten_thousand_random_books_never_lead_to_a_basket_that_can_lose() {
    let u = bo3();
    let mut dice = Dice(7);
    let mut sim = desk();
    let (mut baskets, mut halted, mut lost) = (0, None, None);
    for _ in 0..10_000 {
        // Now and then a market is halted, or a book lost until its next snapshot.
        match dice.below(20) {
            0 => {
                let before: Option<MarketIx> = halted.replace(MarketIx(dice.below(7) as u16));
                before.into_iter().for_each(|m| sim.control(ControlEvent::Resume(m)));
                baskets += find_nothing(&mut sim, &u, &[lost]);
                halted.into_iter().for_each(|m| sim.control(ControlEvent::Halt(m)));
            }
            1 => {
                let i = InstrumentIx(dice.below(14) as u16);
                lost = Some(i.market());
                sim.market(MarketEvent::Gap { instrument: Some(i), reason: GapReason::Disconnected });
            }
            _ => {}
        }
        baskets += find_nothing(&mut sim, &u, &[halted, lost]);
        let token = InstrumentIx(dice.below(14) as u16);
        lost = lost.filter(|m| *m != token.market());
        sim.book(token, 2_600 + dice.below(3_600) as u16, 3 + dice.below(150));
        baskets += find_nothing(&mut sim, &u, &[halted, lost]);
        sim.tick(dice.below(2_000));
        baskets += find_nothing(&mut sim, &u, &[halted, lost]);
        assert!(sim.0.core.killed().is_none());
    }
    assert!(baskets > 300, "{baskets}");
}
