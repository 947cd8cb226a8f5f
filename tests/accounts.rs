//! The accounts against a second bookkeeper: whatever happens, in whatever order, both say the same, and every way of
//! telling the profit apart adds up to the whole.

mod accounts_support;
mod desk_support;

use std::collections::BTreeMap;

use accounts_support::{FEES, HOUR_NS, Pair, START, Step, key, ledger, p, told};
use desk_support::{M, M2, NO, Script, Sim, YES, buy, scripted, scripted_with};
use polyloly_fast::{
    engine::{
        book::Book,
        limits::Limits,
        position::{Booked, HORIZONS_NS, Income, Ledger, NewTrade, liquidation},
    },
    types::{
        Event, InstrumentIx, Nanos, Qty, Side, TickSize, Usdc,
        event::{BookSide, KillReason, Payout, RecoveredEvent, TradeStatus},
        order::StrategyId,
    },
};
use proptest::prelude::*;

/// Cases of each property.
const CASES: u32 = 10_000;

/// As the pair strategy buys.
fn bought(l: &mut Ledger, n: u64, instrument: InstrumentIx, shares: u64, units: u16, taker: bool) {
    l.trade(key(n), &told(instrument, Side::Buy, Qty::shares(shares), p(units), taker), Nanos(0));
}

/// Everything that the accounts say of money, to compare it before and after.
fn money(l: &Ledger) -> String {
    let markets = [M, M2].map(|m| (l.account(m).position, l.account(m).cost, l.by_strategy(m)));
    format!("{:?} {:?} {markets:?}", (l.cash(), l.equity_change(), l.totals()), l.pnl())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..14, any::<u8>(), 1_u64..50_000_000, 1_u16..9_999, any::<u8>()), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Purchases, sales, FAILED, repeats, merges, payouts of every kind, counts taken over, income, days: at every
    /// event cash, shares and equity are what the second bookkeeper finds, and every breakdown is the whole.
    #[test]
    fn two_bookkeepers_agree_at_every_event(steps in steps()) {
        let mut both = Pair::new();
        for step in steps {
            both.step(step, true);
            both.check()?;
        }
    }

    /// What is realised is what came in minus what the oldest shares had cost: also when a purchase fails of which a
    /// part was sold or merged meanwhile. Each taking may have rounded a micro-dollar.
    #[test]
    fn first_in_first_out_whatever_fails(steps in steps()) {
        let mut both = Pair::new();
        let count = 4 * steps.len() as i128;
        for step in steps {
            both.step(step, false);
        }
        // A purchase that failed after a payout leaves its cost where it was booked.
        if both.naive.payouts == [None, None] {
            let expected = both.naive.proceeds() - both.naive.cost_of_gone();
            let realized = i128::from(both.l.pnl().realized.0);
            prop_assert!((realized - expected).abs() <= count, "{} is not {}", realized, expected);
        }
    }

    /// Trades that all fail leave nothing but what the marks did to what stayed: the accounts are to the micro-dollar
    /// what they were before them, whichever fails first.
    #[test]
    fn failed_takes_back_fee_lots_and_gain(
        before in prop::collection::vec((0_u8..3, any::<u8>(), 1_u64..50_000_000, 1_u16..9_999, any::<u8>()), 0..20),
        doomed in prop::collection::vec((0_u8..4, any::<u8>(), 1_u64..50_000_000, 1_u16..9_999, any::<u8>()), 1..12),
        backwards in any::<bool>(),
    ) {
        let mut both = Pair::new();
        before.into_iter().for_each(|s| both.step(s, true));
        let (first, was) = (both.confirmed.len(), money(&both.l));
        // Sales only of what was there before: what a doomed purchase brings cannot be sold before it is settled.
        let mut left: BTreeMap<u8, u64> = (0..4).map(|i| (i, both.l.qty(InstrumentIx(i.into())).0)).collect();
        for (kind, at, micro, units, n) in doomed {
            let here = left.get_mut(&(at % 4)).expect("a token");
            let micro = if kind == 3 { micro.min(*here) } else { micro };
            if micro == 0 {
                continue;
            }
            *here -= if kind == 3 { micro } else { 0 };
            both.step((kind, at, micro, units, n), true);
        }
        let mut order: Vec<usize> = (first..both.confirmed.len()).collect();
        if backwards {
            order.reverse();
        }
        for known in order {
            let trade = NewTrade { status: TradeStatus::Failed, ..both.naive.trades[known].0 };
            prop_assert_eq!(both.l.trade(key(known as u64), &trade, Nanos(0)), Booked::Voided);
            prop_assert!(both.l.balanced());
        }
        let now = money(&both.l);
        // Where it came from may differ: a sale's spread went back as inventory.
        let certain = |text: &str| text.split(", spread:").next().map(str::to_owned);
        prop_assert_eq!(certain(&now), certain(&was));
        let lots = |text: &str| text.split("locked:").nth(1).map(str::to_owned);
        prop_assert_eq!(lots(&now), lots(&was));
    }

    /// The guaranteed profit of the pairs held is what merging them pays, to the micro-dollar; and
    /// nothing is realised before.
    #[test]
    fn the_guaranteed_profit_of_pairs_is_what_merging_them_pays(
        buys in prop::collection::vec((any::<bool>(), 1_u64..50_000_000, 1_u16..9_999), 2..40),
    ) {
        let mut l = ledger();
        for (n, (first, micro, units)) in buys.into_iter().enumerate() {
            let i = if first { YES } else { NO };
            l.trade(key(n as u64), &told(i, Side::Buy, Qty(micro), p(units), false), Nanos(0));
        }
        let (pairs, locked, cash) = (l.qty(YES).min(l.qty(NO)), l.pnl().locked, l.cash());
        prop_assert_eq!(l.pnl().realized, Usdc::ZERO, "nothing is realised by holding");
        l.merge_asked(M, pairs);
        l.merged(M, pairs);
        prop_assert_eq!(l.cash() - cash, Usdc(pairs.0 as i64));
        prop_assert_eq!(l.pnl().realized_by, [Usdc::ZERO, locked, Usdc::ZERO]);
        prop_assert_eq!(l.pnl().locked, locked);
        prop_assert!(l.balanced());
    }

    /// A payout of ½ pays half a dollar for each share, and books the gain or the loss against the cost there and
    /// then: it gives no money back.
    #[test]
    fn a_half_payout_is_no_refund(
        buys in prop::collection::vec((any::<bool>(), 1_u64..50_000_000, 1_u16..9_999), 1..40),
    ) {
        let mut l = ledger();
        let (mut cost, mut micro_of) = (0, [0_u64; 2]);
        for (n, (first, micro, units)) in buys.into_iter().enumerate() {
            let i = if first { YES } else { NO };
            let trade = told(i, Side::Buy, Qty(micro), p(units), false);
            l.trade(key(n as u64), &trade, Nanos(0));
            cost += trade.notional.0;
            micro_of[usize::from(!first)] += micro;
        }
        l.resolve(M, Payout::Half);
        let paid = (micro_of[0] / 2 + micro_of[1] / 2) as i64;
        prop_assert_eq!(l.cash(), Usdc(START - cost + paid));
        prop_assert_eq!(l.pnl().realized_by, [Usdc::ZERO, Usdc::ZERO, Usdc(paid - cost)]);
        prop_assert_eq!((l.pnl().unrealized_mid, l.equity_change()), (Usdc::ZERO, Usdc(paid - cost)));
        prop_assert!(l.balanced());
    }

    /// Shares of an earlier run are worth what they are worth at their first mark: until then they gain nothing,
    /// whatever was bought beside them before it.
    #[test]
    fn what_an_earlier_run_left_begins_at_its_first_mark(
        left in prop::collection::vec(1_u64..50_000_000, 1..4),
        bought in (1_u64..50_000_000, 1_u16..9_999),
        marks in (1_u32..19_999, 1_u32..19_999),
    ) {
        let mut l = ledger();
        left.iter().for_each(|micro| l.recover_shares(YES, Qty(*micro)));
        prop_assert!(l.balanced());
        prop_assert_eq!(l.equity_change(), Usdc::ZERO);
        let trade = told(YES, Side::Buy, Qty(bought.0), p(bought.1), true);
        l.trade(key(0), &trade, Nanos(0));
        prop_assert!(l.balanced());
        l.mark(M, marks.0);
        prop_assert!(l.balanced());
        let recovered = *l.by_strategy(M).last().expect("the recovered");
        // A holding's value is rounded as a whole, and its parts with it.
        prop_assert!(recovered.pnl().0.abs() <= 1, "{recovered:?}");
        l.mark(M, marks.1);
        l.resolve(M, Payout::No);
        prop_assert!(l.balanced());
        let own = l.by_strategy(M)[StrategyId::Pair as usize];
        prop_assert_eq!(own.realized, [Usdc::ZERO, Usdc::ZERO, -trade.notional], "its own, and no more");
    }
}

/// A flat threshold on the sum of two prices says nothing: the fee is a curve.
#[test]
fn flat_thresholds_against_the_curve_fee() {
    // Prices of both legs, fee of 100 shares of each by hand, and what is left of 100 merged pairs.
    let table = [
        // 100 × 0.05 × 0.49 × 0.51 = 1.2495, twice: 2 gained, 2.499 paid.
        (4_900, 4_900, 2_499_000, -499_000),
        // 0.45 and 0.528: 2 gained, 0.978 paid.
        (1_000, 8_800, 978_000, 1_022_000),
        // 1.25 twice: exactly where a pair about the middle begins to earn.
        (5_000, 4_750, 1_250_000 + 1_246_880, 3_120),
        // As cheap in sum as the first, and a pair of a near certainty costs next to nothing.
        (200, 9_600, 98_000 + 192_000, 1_710_000),
    ];
    for (yes, no, fees, left) in table {
        let mut l = ledger();
        bought(&mut l, 1, YES, 100, yes, true);
        bought(&mut l, 2, NO, 100, no, true);
        l.merged(M, Qty::shares(100));
        assert_eq!((l.pnl().fees, l.equity_change()), (Usdc(fees), Usdc(left)), "{yes} and {no}");
        assert_eq!(l.pnl().realized_by[1], Usdc(left + fees), "fees are no part of what is realised");
        assert!(l.balanced());
    }
}

/// 9.615385 shares at 0.52 are 5.0000002 pUSD, which no integer holds: booked is what the venue says.
#[test]
fn a_captured_fill_is_booked_with_the_venue_s_integers() {
    let qty = Qty::parse(b"9.615385").expect("a size");
    for venue in [5_000_000, 5_000_001] {
        let mut l = ledger();
        let fill = NewTrade { notional: Usdc(venue), ..told(YES, Side::Buy, qty, p(5_200), false) };
        l.trade(key(1), &fill, Nanos(0));
        assert_eq!((l.cash(), l.account(M).cost), (Usdc(START - venue), Usdc(venue)));
        assert_eq!(l.pnl().rounding, Usdc::ZERO);
    }
}

#[test]
fn each_cause_realises_its_own_and_nothing_else_does() {
    let mut l = ledger();
    l.mark(M, 10_000);
    bought(&mut l, 1, YES, 30, 4_000, false);
    bought(&mut l, 2, NO, 20, 5_000, false);
    l.mark(M, 16_000);
    assert_eq!(l.pnl().realized, Usdc::ZERO);
    l.trade(key(3), &told(YES, Side::Sell, Qty::shares(10), p(7_000), true), Nanos(0));
    assert_eq!(l.pnl().realized_by, [3, 0, 0].map(Usdc::dollars));
    l.merged(M, Qty::shares(10));
    assert_eq!(l.pnl().realized_by, [3, 1, 0].map(Usdc::dollars));
    l.resolve(M, Payout::No);
    // Ten of each are left: 10 for what had cost 4 and 5.
    assert_eq!(l.pnl().realized_by, [3, 1, 1].map(Usdc::dollars));
    assert_eq!(l.equity_change(), Usdc::dollars(5) - Usdc(105_000), "and the sale's fee of 1.05 × 0.1");
}

/// Forty at 0.40 by one strategy, forty at 0.60 by another; sixty are sold at 0.70.
#[test]
fn each_lot_s_gain_is_the_strategy_s_that_bought_it() {
    let mut l = ledger();
    let by = |strategy, trade| NewTrade { strategy: Some(strategy), ..trade };
    let lot = |units| told(YES, Side::Buy, Qty::shares(40), p(units), false);
    l.trade(key(1), &by(StrategyId::Pair, lot(4_000)), Nanos(0));
    l.trade(key(2), &by(StrategyId::Manual, lot(6_000)), Nanos(0));
    let sale = told(YES, Side::Sell, Qty::shares(60), p(7_000), false);
    l.trade(key(3), &by(StrategyId::Pair, sale), Nanos(0));
    let gains = |l: &Ledger| l.by_strategy(M).map(|s| s.realized[0]);
    assert_eq!(gains(&l), [12, 2, 0, 0].map(Usdc::dollars));
    // The first purchase fails: the sale took the second's forty, and twenty more were never there to sell.
    let failed = NewTrade { status: TradeStatus::Failed, ..lot(4_000) };
    assert_eq!(l.trade(key(1), &failed, Nanos(0)), Booked::Contradiction);
    assert_eq!(
        (gains(&l), l.anomalies()),
        ([12, 2, 0, 0].map(Usdc::dollars), 1),
        "nothing changes, somebody is to look"
    );
    // With enough of another it can have been.
    l.trade(key(4), &by(StrategyId::Manual, lot(5_000)), Nanos(0));
    assert_eq!(l.trade(key(1), &failed, Nanos(0)), Booked::Voided);
    assert_eq!(gains(&l), [0, 4 + 4, 0, 0].map(Usdc::dollars), "forty of 0.60 and twenty of 0.50, sold at 0.70");
    assert_eq!((l.qty(YES), l.account(M).cost), (Qty::shares(20), Usdc::dollars(10)));
    assert!(l.balanced());
}

#[test]
fn a_purchase_that_fails_after_the_payout_was_paid_nothing() {
    for (payout, other) in [(Payout::Yes, 10_000_000), (Payout::No, 0), (Payout::Half, 5_000_000)] {
        let mut l = ledger();
        bought(&mut l, 1, YES, 10, 4_000, true);
        bought(&mut l, 2, YES, 10, 6_000, false);
        l.resolve(M, payout);
        let failed = NewTrade { status: TradeStatus::Failed, ..told(YES, Side::Buy, Qty::shares(10), p(4_000), true) };
        assert_eq!(l.trade(key(1), &failed, Nanos(0)), Booked::Voided, "{payout:?}");
        assert_eq!((l.equity_change(), l.pnl().fees), (Usdc(other - 6_000_000), Usdc::ZERO), "{payout:?}");
        assert_eq!(l.pnl().realized_by[2], Usdc(other - 6_000_000));
        assert!(l.balanced());
    }
}

#[test]
fn a_sale_that_fails_after_the_payout_is_paid_out() {
    let mut l = ledger();
    bought(&mut l, 1, YES, 10, 4_000, false);
    let sale = told(YES, Side::Sell, Qty::shares(10), p(7_000), true);
    l.trade(key(2), &sale, Nanos(0));
    l.resolve(M, Payout::Yes);
    l.trade(key(2), &NewTrade { status: TradeStatus::Failed, ..sale }, Nanos(0));
    assert_eq!((l.qty(YES), l.equity_change()), (Qty::ZERO, Usdc::dollars(6)));
    assert_eq!(l.pnl().realized_by, [0, 0, 6].map(Usdc::dollars));
    assert!(l.balanced());
}

/// A day is from midnight to midnight in UTC, holdings at the mark of midnight.
#[test]
fn the_day_s_loss_begins_anew_at_midnight() {
    let mut l = ledger();
    l.turn(Nanos(23 * HOUR_NS));
    l.mark(M, 10_000);
    bought(&mut l, 1, YES, 100, 5_000, false);
    l.mark(M, 8_000);
    assert_eq!(l.day_loss(), Usdc::dollars(10));
    l.turn(Nanos(24 * HOUR_NS - 1));
    assert_eq!(l.day_loss(), Usdc::dollars(10));
    l.turn(Nanos(24 * HOUR_NS));
    assert_eq!((l.day_loss(), l.equity_change()), (Usdc::ZERO, Usdc::dollars(-10)));
    l.mark(M, 7_000);
    assert_eq!(l.day_loss(), Usdc::dollars(5));
    l.mark(M, 9_000);
    assert_eq!(l.day_loss(), Usdc::ZERO, "a gain is no loss");
    let days: Vec<_> = l.by_day().iter().map(|d| (d.day, d.totals.equity_change.0 / 1_000_000)).collect();
    assert_eq!(days, [(None, 0), (Some(0), -10), (Some(1), 5)]);
    for day in 2..20 {
        l.turn(Nanos(day * 24 * HOUR_NS));
        l.book_income(Income::Reward, Usdc::dollars(1));
    }
    let days: Vec<_> = l.by_day().iter().map(|d| (d.day, d.totals.equity_change.0 / 1_000_000)).collect();
    assert_eq!((days.len(), days[0], days[1], days[8]), (9, (None, -5 + 10), (Some(12), 1), (Some(19), 1)));
}

#[test]
fn markouts_tell_where_the_mid_went_after_each_fill() {
    let mut l = ledger();
    l.mark(M, 10_000);
    bought(&mut l, 1, YES, 10, 4_900, false);
    l.trade(key(2), &told(YES, Side::Sell, Qty::shares(4), p(5_100), true), Nanos(0));
    bought(&mut l, 3, YES, 1_000, 4_900, false);
    // It fails before anything is looked at, and is not looked at.
    let failed = told(YES, Side::Buy, Qty::shares(1_000), p(4_900), false);
    l.trade(key(3), &NewTrade { status: TradeStatus::Failed, ..failed }, Nanos(0));
    // The mid at each horizon, in half-units: what it became a moment later does not count.
    for (ns, mid) in HORIZONS_NS.into_iter().zip([9_000, 9_800, 10_400, 12_000]) {
        l.turn(Nanos(ns - 1));
        l.mark(M, mid);
        l.turn(Nanos(ns));
        l.mark(M, 10_000);
    }
    let [maker, taker] = l.markouts().map(|of| of.map(|m| (m.adverse.0, m.qty, m.fills)));
    let of = |adverse: [i64; 4], shares| adverse.map(|a| (a, Qty::shares(shares), 1));
    assert_eq!(maker, of([500_000, 100_000, -200_000, -1_000_000], 10));
    assert_eq!(taker, of([-200_000, -40_000, 80_000, 400_000], 4));
    // Ten times as fast, they are looked at ten times as soon.
    let mut fast = ledger();
    fast.look_after(HORIZONS_NS.map(|ns| ns / 10));
    fast.mark(M, 10_000);
    bought(&mut fast, 1, YES, 10, 4_900, false);
    fast.mark(M, 9_000);
    fast.turn(Nanos(HORIZONS_NS[0] / 10));
    assert_eq!(fast.markouts()[0].map(|m| m.fills), [1, 0, 0, 0]);
}

fn book(bids: &[(u16, u64)], asks: &[(u16, u64)]) -> Book {
    let mut b = Book::new(TickSize::Cent);
    b.snapshot_start(None);
    for (levels, side) in [(bids, BookSide::Bid), (asks, BookSide::Ask)] {
        levels.iter().for_each(|&(units, qty)| b.snapshot_level(side, p(units), Qty::shares(qty)));
    }
    b.snapshot_end();
    b
}

#[test]
fn liquidation_walks_the_book_for_what_has_no_other_leg() {
    let yes = book(&[(4_900, 10), (4_800, 100)], &[(5_100, 50)]);
    let no = book(&[(4_900, 50)], &[(5_100, 10), (5_200, 100)]);
    let of = |a, b| liquidation(Qty::shares(a), Qty::shares(b), [&yes, &no], FEES);
    // Held, complete sets, walked, unsold, all at the middle of 0.50.
    let table = [
        ((0, 0), 0, 0, 0, 0),
        ((7, 7), 7_000_000, 0, 0, 7_000_000),
        // 10 × 0.49 − 0.12495.
        ((10, 0), 0, 4_775_050, 0, 5_000_000),
        // And 100 × 0.48 − 1.248; nobody wants the last fifteen.
        ((130, 5), 5_000_000, 4_775_050 + 46_752_000, 15, 67_500_000),
        // 50 × 0.49 − 0.62475.
        ((1, 52), 1_000_000, 23_875_250, 1, 26_500_000),
    ];
    for ((a, b), pairs, walked, unsold, mid) in table {
        let l = of(a, b);
        assert_eq!((l.pairs, l.walked, l.unsold), (Usdc(pairs), Usdc(walked), Qty::shares(unsold)), "{a} and {b}");
        assert_eq!((l.mid, l.total()), (Some(Usdc(mid)), Usdc(pairs + walked)), "{a} and {b}");
    }
    // A book that is not trusted takes nothing; pairs need none.
    let blind = Book::new(TickSize::Cent);
    let l = liquidation(Qty::shares(5), Qty::shares(3), [&blind, &blind], FEES);
    assert_eq!((l.pairs, l.walked, l.unsold, l.mid), (Usdc::dollars(3), Usdc::ZERO, Qty::shares(2), None));
}

#[test]
fn unrealised_is_what_the_book_would_pay_with_the_mid_beside_it() {
    let (sim, script) = scripted();
    let mut sim = sim.open();
    sim.book(&[(4_800, 30)], &[(5_200, 100)]);
    let order = sim.place(&script, buy(YES, 4_700, 50)).expect("an order");
    sim.rests(order.hash());
    sim.trade(1, &order, Qty::shares(50), TradeStatus::Confirmed);
    let pnl = sim.core.report().pnl;
    // 50 had cost 23.50; at 0.50 they are 25; sold, 30 × 0.48 less 0.3744, and nothing for the rest.
    assert_eq!((pnl.unrealized_mid, pnl.unrealized), (Usdc(1_500_000), Usdc(14_400_000 - 374_400 - 23_500_000)));
    assert_eq!(pnl.realized, Usdc::ZERO);
    let report = sim.core.report();
    let parts: Vec<_> = report.strategies.iter().map(|s| (s.name, s.pnl)).collect();
    assert_eq!(
        parts,
        [("pair", Usdc::ZERO), ("manual", pnl.equity_change), ("baskets", Usdc::ZERO), ("recovered", Usdc::ZERO)]
    );
}

/// No stream tells of a rebate: the venue's count of our money is higher, twice, and nothing else differs.
#[test]
fn a_rebate_is_income_and_no_rounding() {
    let (sim, script) = scripted();
    let mut sim = sim.open();
    sim.book(&[(4_800, 100)], &[(5_200, 100)]);
    let read = |sim: &mut Sim<Script>, ms, micro| {
        sim.pass(ms);
        sim.answer(&[], &[Qty::ZERO; 4], Some(Usdc(micro)))
    };
    read(&mut sim, 31_000, START + 1_500_000);
    assert_eq!(sim.core.report().pnl.rebates, Usdc::ZERO, "nothing is believed at first sight");
    read(&mut sim, 2_000, START + 1_500_000);
    let pnl = sim.core.report().pnl;
    assert_eq!((pnl.rebates, pnl.rounding, pnl.equity_change), (Usdc(1_500_000), Usdc::ZERO, Usdc(1_500_000)));
    assert_eq!(sim.core.ledger().cash(), Usdc(START + 1_500_000));
    sim.pass(2_000);
    sim.answer(&[], &[Qty::ZERO; 4], Some(Usdc(START + 1_500_000)));
    assert!(sim.place(&script, buy(YES, 4_700, 10)).is_some(), "and trading goes on");
    assert_eq!(sim.core.killed(), None);
}

/// A hundredth of what we own is no rebate: somebody moved money.
#[test]
fn more_than_a_rebate_is_somebody_s_money() {
    let (sim, _) = scripted();
    let mut sim = sim.open();
    for ms in [31_000, 2_000] {
        sim.pass(ms);
        sim.answer(&[], &[Qty::ZERO; 4], Some(Usdc(START + START / 100 + 1)));
    }
    assert_eq!((sim.core.killed(), sim.core.report().pnl.rebates), (Some(KillReason::Accounts), Usdc::ZERO));
}

/// The kill switch looks at what this UTC day lost, not at the run.
#[test]
fn the_daily_limit_is_of_the_day() {
    let limits = Limits { daily_loss_usdc: Usdc::dollars(100), ..Limits::default() };
    let (mut sim, _) = scripted_with(limits);
    sim.hear(Event::Recovered(RecoveredEvent::Shares { instrument: YES, qty: Qty::shares(1_000) }));
    let mut sim = sim.open();
    // A thousand shares at a mid of so many hundredths, the change since the start, and what has happened by then.
    let show = |sim: &mut Sim<Script>, mid: u16, change: i64| {
        sim.book(&[((mid - 1) * 100, 10)], &[((mid + 1) * 100, 10)]);
        sim.tick(0);
        assert_eq!(sim.core.report().pnl.equity_change, Usdc::dollars(change));
        sim.core.killed()
    };
    assert_eq!(show(&mut sim, 50, 0), None);
    assert_eq!(show(&mut sim, 45, -50), None);
    // Ten hours later it is another day.
    sim.tick(10 * 3_600_000);
    assert_eq!(show(&mut sim, 38, -120), None, "70 today");
    assert_eq!(show(&mut sim, 35, -150), None, "100 today, the limit");
    assert_eq!(show(&mut sim, 34, -160), Some(KillReason::DailyLoss));
}

/// The markets' lines and the account's are the whole.
#[test]
fn shares_that_the_venue_counts_otherwise_are_their_market_s() {
    let mut l = ledger();
    l.mark(M, 10_000);
    bought(&mut l, 1, YES, 10, 4_000, false);
    l.adopt_shares(YES, Qty::shares(4));
    // Six at 0.40 are gone, as if they had never been ours but for their cost.
    assert_eq!((l.pnl().rounding, l.account(M).rounding), (Usdc(-2_400_000), Usdc(-2_400_000)));
    assert_eq!((l.equity_change(), l.pnl().unrealized_mid), (Usdc(-2_000_000), Usdc(400_000)));
    assert_eq!((l.account(M).pnl, l.account_line(), l.pnl().realized), (Usdc(-2_000_000), Usdc::ZERO, Usdc::ZERO));
    l.reconcile_cash(l.cash() + Usdc(3));
    assert_eq!((l.account_line(), l.pnl().rounding), (Usdc(3), Usdc(-2_399_997)));
    assert_eq!(l.market_cash(M), Usdc(-1_600_000), "risk counts what the four had cost");
    assert!(l.balanced());
}

/// More purchases than lots are kept, and more takings than are remembered: what cannot be told apart any more is still
/// all there.
#[test]
fn nothing_is_lost_when_the_books_are_full() {
    let mut l = ledger();
    l.mark(M, 10_000);
    let by = [Some(StrategyId::Pair), Some(StrategyId::Manual), None];
    let one = |n: u64| NewTrade {
        strategy: by[n as usize % 3],
        ..told(YES, Side::Buy, Qty::ONE, p(4_000 + (n % 7) as u16), n.is_multiple_of(2))
    };
    let purchases = 5_000;
    (0..purchases).for_each(|n| assert_eq!(l.trade(key(n), &one(n), Nanos(0)), Booked::New));
    let spent: i64 = (0..purchases).map(|n| one(n).notional.0).sum();
    assert!(l.balanced());
    assert_eq!((l.qty(YES), l.account(M).cost), (Qty::shares(purchases), Usdc(spent)));
    // One that was joined, and the last.
    for n in [0, purchases - 1] {
        assert_eq!(l.trade(key(n), &NewTrade { status: TradeStatus::Failed, ..one(n) }, Nanos(0)), Booked::Voided);
        assert!(l.balanced());
    }
    assert_eq!(l.qty(YES), Qty::shares(purchases - 2));
    let mut l = ledger();
    let big = told(YES, Side::Buy, Qty::shares(20_000), p(100), false);
    assert_eq!([0, 1].map(|n| l.trade(key(n), &big, Nanos(0))), [Booked::New; 2]);
    let sale = told(YES, Side::Sell, Qty::ONE, p(300), false);
    (2..17_002).for_each(|n| assert_eq!(l.trade(key(n), &sale, Nanos(0)), Booked::New));
    assert_eq!(l.pnl().realized, Usdc(17_000 * 20_000));
    // The first sale, of which nothing is remembered, the last, and the purchase that both were sold from.
    for (n, trade) in [(2, sale), (17_001, sale), (0, big)] {
        assert_eq!(l.trade(key(n), &NewTrade { status: TradeStatus::Failed, ..trade }, Nanos(0)), Booked::Voided);
        assert!(l.balanced());
    }
    assert_eq!(l.qty(YES), Qty::shares(20_000 - 16_998));
    assert_eq!(l.cash(), Usdc(START - 200_000_000 + 16_998 * 30_000));
}
