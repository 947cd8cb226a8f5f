//! What can be lost, through the whole core: orders, fills and payouts of a match's linked markets, as the venue tells
//! of them. `tests/exposure.rs` holds the measure itself against its definition.

mod desk_support;

use desk_support::*;
use polyloly_fast::{
    engine::{Action, Approved, Engine, groups::NamedGroup, limits::Limits, restricted::Restricted},
    types::{
        Event, InMatch, InstrumentIx, MarketIx, MatchIx, MatchSpec, Price, Qty, Side, Team, Universe, Usdc,
        event::{ControlEvent, KillReason, MarketFacts, OrderChange, Payout, TradeStatus, UserEvent},
        market::MarketKind,
        order::Purpose,
    },
};
use proptest::prelude::*;

/// Series and first map of one best of three.
fn tied() -> Universe {
    let mut universe = universe();
    for (market, kind) in universe.markets.iter_mut().zip([MarketKind::Series, MarketKind::Map(1)]) {
        market.kind = kind;
        market.of_match = Some(InMatch { index: MatchIx(0), first: Team::First });
    }
    let teams = ["Aardvarks".into(), "Badgers".into()];
    universe.matches = vec![MatchSpec { slug: "a-b".into(), best_of: 3, teams, tournament: "cup".into() }];
    universe
}

fn open_with(limits: Limits) -> (Sim<Script>, Script) {
    let script = Script::default();
    let core = Engine::new(&tied(), limits, script.clone());
    let mut sim = Sim { core, seq: 0, now: BEGAN, asked: None };
    sim.hear(Event::Start { run_tag: 5, cash: Usdc::dollars(1_000), match_feed: false });
    let mut sim = sim.open();
    for m in [M, M2] {
        sim.book_of(m, &[(4_800, 100)], &[(5_200, 100)]);
    }
    (sim, script)
}

fn exposure(sim: &Sim<Script>) -> Usdc {
    sim.core.brief().exposure[0]
}

fn usdc(text: &str) -> Usdc {
    Usdc::parse(text.as_bytes()).unwrap()
}

/// What may happen next, to the order or the trade that a number chooses.
#[derive(Clone, Copy, Debug)]
enum Next {
    Place(u16, bool, u16, u64),
    Rests(usize),
    Part(usize, u8),
    Confirmed(usize),
    Failed(usize),
    Cancelled(usize),
    Paid(u8),
    Tick,
}

fn next() -> impl Strategy<Value = Next> {
    prop_oneof![
        6 => (0_u16..4, any::<bool>(), 40_u16..60, 5_u64..60).prop_map(|(i, p, c, q)| Next::Place(i, p, c, q)),
        3 => (0_usize..12).prop_map(Next::Rests),
        6 => (0_usize..12, any::<u8>()).prop_map(|(n, part)| Next::Part(n, part)),
        3 => (0_usize..12).prop_map(Next::Confirmed),
        2 => (0_usize..12).prop_map(Next::Failed),
        2 => (0_usize..12).prop_map(Next::Cancelled),
        1 => any::<u8>().prop_map(Next::Paid),
        1 => Just(Next::Tick),
    ]
}

/// One order as the venue knows it.
struct Placed {
    order: Approved,
    left: u64,
    over: bool,
}

/// One trade that is not final.
struct Trade {
    n: u8,
    of: usize,
    qty: Qty,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// No word of the venue's raises what can be lost: only an order that risk approved does.
    #[test]
    fn only_an_order_that_was_approved_raises_what_can_be_lost(steps in prop::collection::vec(next(), 1..24)) {
        let (mut sim, script) = open_with(Limits { errors_per_min: 100_000, ..Limits::default() });
        let (mut orders, mut trades): (Vec<Placed>, Vec<Trade>) = (Vec::new(), Vec::new());
        let (mut paid, mut n) = (false, 0_u8);
        for step in steps {
            let before = [exposure(&sim), sim.core.exposure().of_market(M)];
            let mut placing = false;
            match step {
                Next::Place(i, post_only, cents, shares) => {
                    let mut wish = buy(InstrumentIx(i), cents * 100, shares);
                    wish.post_only = post_only && cents < 48;
                    let order = sim.place(&script, wish);
                    placing = order.is_some();
                    orders.extend(order.map(|order| Placed { left: order.intent().qty.micro(), order, over: false }));
                }
                Next::Rests(at) => {
                    if let Some(it) = orders.get(at).filter(|it| !it.over) {
                        let order = it.order.hash();
                        sim.rests(order);
                    }
                }
                Next::Part(at, part) => {
                    // A rest below a hundredth of a share counts as filled, at the venue as here.
                    let rest = |it: &&mut Placed| !it.over && it.left >= Qty::DUST.micro();
                    let Some(it) = orders.get_mut(at).filter(rest) else { continue };
                    let qty = Qty((it.left * (1 + u64::from(part)) / 256).max(1));
                    it.left -= qty.micro();
                    n += 1;
                    trades.push(Trade { n, of: at, qty });
                    let order = it.order;
                    // At its limit, or a cent better.
                    let price = Price::from_units(order.intent().price.units() - 100 * u16::from(part % 2)).unwrap();
                    let mut told = trade(n, &order, qty, TradeStatus::Matched);
                    if let UserEvent::Trade { notional, .. } = &mut told {
                        *notional = qty.notional_floor(price);
                    }
                    sim.user(told);
                }
                Next::Confirmed(at) | Next::Failed(at) => {
                    if at >= trades.len() {
                        continue;
                    }
                    let it = trades.swap_remove(at);
                    let status = if matches!(step, Next::Failed(_)) { TradeStatus::Failed } else { TradeStatus::Confirmed };
                    let order = orders[it.of].order;
                    sim.trade(it.n, &order, it.qty, status);
                }
                Next::Cancelled(at) => {
                    if let Some(it) = orders.get_mut(at).filter(|it| !it.over) {
                        it.over = true;
                        let order = it.order.hash();
                        sim.seen(order, OrderChange::Cancelled);
                    }
                }
                Next::Paid(how) => {
                    if paid {
                        continue;
                    }
                    paid = true;
                    let payout = [Payout::Yes, Payout::No, Payout::Half][usize::from(how) % 3];
                    sim.facts(M2, MarketFacts { closed: true, payout: Some(payout), ..MarketFacts::default() });
                }
                Next::Tick => drop(sim.tick(100)),
            }
            let after = [exposure(&sim), sim.core.exposure().of_market(M)];
            prop_assert!(placing || after <= before && after[1] <= before[1], "{step:?}: {before:?} -> {after:?}");
        }
    }
}

#[test]
fn series_and_map_of_one_match_are_measured_together() {
    let (mut sim, script) = open_with(Limits::default());
    let series = sim.place(&script, buy(InstrumentIx(0), 4_700, 100)).unwrap();
    assert_eq!(exposure(&sim), usdc("47"));
    // The other team in the first map: never both lose everything, but a team can win the map and lose the match.
    let map = sim.place(&script, buy(InstrumentIx(3), 4_700, 100)).unwrap();
    assert_eq!(exposure(&sim), usdc("94"), "A wins map 1, B the match");
    for (n, order) in [series, map].into_iter().enumerate() {
        sim.rests(order.hash());
        sim.trade(n as u8, &order, Qty::shares(100), TradeStatus::Matched);
        assert_eq!(exposure(&sim), usdc("94"), "not settled yet");
        sim.trade(n as u8, &order, Qty::shares(100), TradeStatus::Confirmed);
    }
    assert_eq!(exposure(&sim), usdc("94"));
    // B wins map 1: 100 are paid, and the rest can still be lost.
    sim.facts(M2, MarketFacts { closed: true, payout: Some(Payout::No), ..MarketFacts::default() });
    assert_eq!(exposure(&sim), Usdc::ZERO, "53 won, 47 at stake");
    assert_eq!(sim.core.exposure().of_match(MatchIx(0)), usdc("-6"));
}

#[test]
fn each_limit_of_loss_refuses_by_its_own_name() {
    let wide = Limits {
        order_usdc: Usdc::dollars(400),
        market_usdc: Usdc::dollars(500),
        match_usdc: Usdc::dollars(500),
        group_usdc: Usdc::dollars(500),
        total_usdc: Usdc::dollars(500),
        daily_loss_usdc: Usdc::dollars(500),
        ..Limits::default()
    };
    let late = NamedGroup { name: "late".into(), matches: vec!["a-b".into()], limit_usdc: Usdc::dollars(60) };
    let table = [
        (Limits { match_usdc: Usdc::dollars(60), ..wide.clone() }, "match_limit"),
        (Limits { group_usdc: Usdc::dollars(60), ..wide.clone() }, "group_limit"),
        (Limits { groups: vec![late], ..wide.clone() }, "group_limit"),
        (Limits { total_usdc: Usdc::dollars(60), ..wide.clone() }, "total_limit"),
        (Limits { daily_loss_usdc: Usdc::dollars(60), ..wide.clone() }, "day_limit"),
        (Limits { restricted: Restricted(vec![universe().markets[1].slug.clone()]), ..wide.clone() }, "restricted"),
        (Limits { completion_percent: 1_000, ..wide.clone() }, "reserve"),
    ];
    for (limits, why) in table {
        let (mut sim, script) = open_with(limits);
        let first = sim.place(&script, buy(InstrumentIx(0), 4_700, 120)).expect(why);
        sim.rests(first.hash());
        sim.trade(1, &first, Qty::shares(120), TradeStatus::Confirmed);
        // In another market of the match, where it makes the worst case worse.
        let more = if why == "reserve" { 800 } else { 100 };
        assert_eq!(sim.place(&script, buy(InstrumentIx(2), 4_700, more)), None, "{why}");
        assert_eq!(sim.refusals(), [(why, 1)]);
    }
    let (mut sim, script) = open_with(wide);
    assert!(sim.place(&script, buy(InstrumentIx(0), 4_700, 100)).is_some());
    assert!(sim.place(&script, buy(InstrumentIx(2), 4_700, 100)).is_some());
}

#[test]
fn the_day_s_loss_and_the_worst_that_can_come_stay_within_the_daily_limit_together() {
    let (mut sim, script) = open_with(Limits { daily_loss_usdc: Usdc::dollars(80), ..Limits::default() });
    let lost = sim.place(&script, buy(InstrumentIx(2), 4_700, 100)).unwrap();
    sim.rests(lost.hash());
    sim.trade(1, &lost, Qty::shares(100), TradeStatus::Confirmed);
    sim.facts(M2, MarketFacts { closed: true, payout: Some(Payout::No), ..MarketFacts::default() });
    sim.pass(1_000);
    // 47 are lost: 33 may still be.
    assert_eq!(sim.place(&script, buy(InstrumentIx(0), 4_700, 75)), None);
    assert_eq!(sim.refusals(), [("day_limit", 1)]);
    assert!(sim.place(&script, buy(InstrumentIx(0), 4_700, 70)).is_some());
    assert_eq!(sim.core.killed(), None);
}

#[test]
fn after_a_reset_of_the_kill_switch_the_size_comes_back_slowly() {
    let mut limits = Limits { order_usdc: Usdc::dollars(100), ..Limits::default() };
    (limits.sizing.cool_down_ms, limits.sizing.cool_down_start_ppm) = (60_000, 100_000);
    let (mut sim, script) = open_with(limits);
    sim.control(ControlEvent::Kill(KillReason::Manual));
    sim.control(ControlEvent::ResetKill);
    assert_eq!(sim.place(&script, buy(InstrumentIx(0), 4_700, 50)), None);
    assert_eq!(sim.refusals(), [("size", 1)]);
    assert!(sim.place(&script, buy(InstrumentIx(0), 4_700, 20)).is_some(), "a tenth of a hundred");
    for _ in 0..60 {
        sim.pass(1_000);
        sim.agree();
    }
    assert!(sim.place(&script, buy(InstrumentIx(1), 4_700, 50)).is_some());
}

#[test]
fn nothing_new_before_a_start_but_what_completes_is_let_through() {
    let mut limits = Limits { clear_ms: 1, ..Limits::default() };
    limits.hours.close_buffer_ms = 60_000;
    let (mut sim, script) = open_with(limits);
    let first = sim.place(&script, buy(InstrumentIx(2), 4_700, 50)).unwrap();
    sim.rests(first.hash());
    sim.trade(1, &first, Qty::shares(50), TradeStatus::Confirmed);
    let start = polyloly_fast::types::Nanos(sim.now + 30_000 * MS);
    sim.facts(M2, MarketFacts { accepting: true, game_start: Some(start), ..MarketFacts::default() });
    assert_eq!(sim.place(&script, buy(InstrumentIx(2), 4_600, 50)), None);
    assert_eq!(sim.refusals(), [("hours", 1)]);
    let complete = polyloly_fast::types::Intent { purpose: Purpose::Complete, ..buy(InstrumentIx(3), 4_700, 50) };
    assert!(sim.place(&script, complete).is_some());
}

#[test]
fn cash_pace_and_a_fat_finger_are_refused_by_their_own_names() {
    // Within every limit of loss, but there are a thousand pUSD, and the first order has a claim on 470 of them.
    let all = Usdc::dollars(2_000);
    let rich = Limits {
        order_usdc: all,
        market_usdc: all,
        match_usdc: all,
        group_usdc: all,
        total_usdc: all,
        daily_loss_usdc: all,
        ..Limits::default()
    };
    let (mut sim, script) = open_with(rich);
    assert!(sim.place(&script, buy(InstrumentIx(0), 4_700, 1_000)).is_some());
    assert_eq!(sim.place(&script, buy(InstrumentIx(2), 4_700, 1_200)), None);
    assert_eq!(sim.refusals(), [("cash", 1)]);
    assert!(sim.place(&script, buy(InstrumentIx(2), 4_700, 1_100)).is_some());

    let (mut sim, script) = open_with(Limits { orders_per_s: 2, ..Limits::default() });
    assert!(sim.place(&script, buy(InstrumentIx(0), 4_700, 10)).is_some());
    assert!(sim.place(&script, buy(InstrumentIx(2), 4_700, 10)).is_some());
    assert_eq!(sim.place(&script, buy(InstrumentIx(1), 4_700, 10)), None);
    assert_eq!(sim.refusals(), [("rate_limit", 1)]);
    sim.pass(1_000);
    assert!(sim.place(&script, buy(InstrumentIx(1), 4_700, 10)).is_some());

    let mut limits = Limits::default();
    limits.fat_finger.touch_ppm = 2_000_000;
    let (mut sim, script) = open_with(limits);
    // A hundred stand at the touch.
    assert_eq!(sim.place(&script, buy(InstrumentIx(0), 4_700, 210)), None);
    assert_eq!(sim.refusals(), [("fat_finger", 1)]);
    assert!(sim.place(&script, buy(InstrumentIx(0), 4_700, 200)).is_some());
}

#[test]
fn a_loop_and_a_slip_are_refused() {
    let (mut sim, script) = open_with(Limits::default());
    // A thin book: a taker would walk far through it.
    sim.book_of(M, &[(4_800, 10)], &[(5_200, 5), (5_900, 1_000)]);
    assert_eq!(sim.place(&script, take(InstrumentIx(0), 5_900, 300)), None);
    assert_eq!(sim.refusals(), [("slippage", 1)]);
    let mut loops = 0;
    for _ in 0..40 {
        if let Some(order) = sim.place(&script, buy(InstrumentIx(0), 4_700, 10)) {
            sim.rests(order.hash());
            sim.seen(order.hash(), OrderChange::Cancelled);
            loops += 1;
        }
    }
    assert_eq!(loops, 13, "the first beyond what [risk.repeats] allows is the last");
    assert!(sim.refusals().iter().any(|(why, _)| *why == "runaway"), "{:?}", sim.refusals());
    let other = sim.place(&script, buy(InstrumentIx(MarketIx(1).0 * 2), 4_700, 10));
    assert!(other.is_some_and(|o| o.intent().side == Side::Buy), "the other market is not touched");
    assert!(sim.tick(0).iter().all(|a| !matches!(a, Action::Place(_))));
}
