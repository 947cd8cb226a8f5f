//! Fault catalogue, orders (O rows): what the core does when answers are late, lost, wrong, or come in any order.

mod desk_support;

use desk_support::*;
use polyloly_fast::{
    engine::{Action, gate::MarketClosed, limits::Limits, orders::WORKING_MAX},
    types::{
        Event, InstrumentIx, Nanos, OrderHash, Qty, Side, TimeInForce, TradeKey, Usdc,
        event::{
            AckStatus, CancelRefusal, ControlEvent, Dependency, KillReason, OrderChange, RecoveredEvent, RejectReason,
            ReplyEvent, TradeStatus, UserEvent, VenueMode,
        },
        order::{Intent, OrderState, StrategyId},
    },
};
use proptest::prelude::*;

/// One side of a book: (units, shares).
type Levels = &'static [(u16, u64)];
/// A book of 0.48 and 0.52.
const BOOK: (Levels, Levels) = (&[(4_800, 100)], &[(5_200, 100)]);

fn open() -> (Sim<Script>, Script) {
    open_with(Limits::default())
}

fn open_with(limits: Limits) -> (Sim<Script>, Script) {
    let (sim, script) = scripted_with(limits);
    let mut sim = sim.open();
    sim.book(BOOK.0, BOOK.1);
    sim.book_of(M2, BOOK.0, BOOK.1);
    (sim, script)
}

fn never(actions: &[Action], what: impl Fn(&Action) -> bool) {
    assert!(!actions.iter().any(what), "{actions:?}");
}

#[test]
fn o01_post_timeout_order_live() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.sent(order.hash());
    let at_once = sim.reply(ReplyEvent::Unknown { order: order.hash() });
    assert_eq!((cancels(&at_once), lookups(&at_once)), (vec![order.hash()], vec![order.hash()]));
    assert_eq!(sim.state(&order.hash()), OrderState::Unknown);
    // The same thing again would be signed a second time: refused at any price, until the first is resolved.
    for units in [4_700, 4_600] {
        assert_eq!(sim.place(&script, buy(YES, units, 50)), None);
    }
    assert_eq!(sim.refusals(), [("unresolved", 2)]);
    assert_eq!(sim.core.brief().exposure[0], Usdc::parse(b"23.5").unwrap(), "it counts in full");
    // It rests after all.
    sim.reply(ReplyEvent::OrderStatus { order: order.hash(), live: true, matched: Some(Qty::ZERO) });
    assert_eq!(sim.state(&order.hash()), OrderState::Live);
    assert_eq!(sim.core.report().orders.sent, 1, "one signature");
}

#[test]
fn o02_post_timeout_order_arrives_after_not_found() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    let Intent { tif: TimeInForce::Gtd { expires_s }, .. } = *order.intent() else { panic!("it has an expiry") };
    sim.sent(order.hash());
    sim.reply(ReplyEvent::Unknown { order: order.hash() });
    // Asked again and again, "not found" each time: the exposure stays.
    for _ in 0..60 {
        sim.tick(1_000);
        sim.not_found(order.hash());
        sim.cancel_refused(order.hash(), CancelRefusal::Gone);
    }
    assert_eq!(sim.state(&order.hash()), OrderState::Unknown);
    assert_eq!(sim.core.brief().exposure[0], Usdc::parse(b"23.5").unwrap());
    // The zombie shows up, and part of it fills.
    sim.seen(order.hash(), OrderChange::Placed);
    sim.trade(1, &order, Qty::shares(20), TradeStatus::Matched);
    assert_eq!(sim.state(&order.hash()), OrderState::PartiallyFilled);
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(20));
    // Another that never shows is given up after its own expiry, and not before.
    let second = sim.place(&script, buy(NO, 4_700, 50)).unwrap();
    sim.reply(ReplyEvent::Unknown { order: second.hash() });
    let mut given_up = None;
    for _ in 0..4_000 {
        sim.tick(1_000);
        sim.agree();
        sim.not_found(second.hash());
        if sim.state(&second.hash()) != OrderState::Unknown {
            given_up = Some(sim.now / 1_000_000_000);
            break;
        }
    }
    assert_eq!(sim.state(&second.hash()), OrderState::Failed);
    assert!(given_up.is_some_and(|s| s >= expires_s), "{given_up:?} before {expires_s}");
}

/// An immediate order has no expiry of its own: it is held for two minutes at least.
#[test]
fn o02_zombie_of_an_immediate_order() {
    let (mut sim, script) = open();
    let order = sim.place(&script, take(YES, 5_200, 50)).unwrap();
    sim.reply(ReplyEvent::Unknown { order: order.hash() });
    for _ in 0..110 {
        sim.tick(1_000);
        sim.not_found(order.hash());
    }
    assert_eq!(sim.state(&order.hash()), OrderState::Unknown);
    sim.trade(1, &order, Qty::shares(50), TradeStatus::Matched);
    assert_eq!((sim.state(&order.hash()), sim.core.ledger().qty(YES)), (OrderState::Matched, Qty::shares(50)));
}

#[test]
fn o05_engine_restart_then_post_only() {
    let (mut sim, script) = open();
    let resting = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(resting.hash());
    sim.reply(ReplyEvent::Mode { mode: VenueMode::Restarting, for_ms: 0 });
    assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None);
    // Cancels go on.
    let pulled = sim.wish(&script, M, polyloly_fast::engine::strategy::Wish::Cancel(resting.hash()));
    assert_eq!(cancels(&pulled), [resting.hash()]);
    // It is back, for post-only orders; nobody knows whether what rested still rests.
    sim.reply(ReplyEvent::Mode { mode: VenueMode::PostOnly, for_ms: 120_000 });
    assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None, "not before everything was read");
    sim.tick(0);
    sim.not_found(resting.hash());
    for _ in 0..4 {
        sim.tick(1_100);
        sim.not_found(resting.hash());
        sim.agree();
    }
    assert_eq!(sim.place(&script, take(NO, 5_200, 50)), None, "nothing that could match");
    assert!(sim.place(&script, buy(NO, 4_700, 50)).is_some());
    let refusals = sim.refusals();
    for reason in ["venue_restarting", "not_reconciled", "venue_post_only"] {
        assert!(refusals.contains(&(reason, 1)), "{reason}: {refusals:?}");
    }
    sim.reply(ReplyEvent::Mode { mode: VenueMode::Normal, for_ms: 0 });
    assert!(sim.place(&script, take(NO, 5_200, 10)).is_none_or(|o| o.intent().tif.is_immediate()));
}

#[test]
fn o06_cancel_only_and_all_disabled() {
    for (mode, reason) in [(VenueMode::CancelOnly, "venue_cancel_only"), (VenueMode::Disabled, "venue_disabled")] {
        let (mut sim, script) = open();
        let resting = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
        sim.rests(resting.hash());
        sim.reply(ReplyEvent::Mode { mode, for_ms: 0 });
        assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None);
        assert_eq!(sim.refusals(), [(reason, 1)]);
        // The cancel that is refused is asked for again, and the order counts as long as nobody says that it is gone.
        for _ in 0..5 {
            let pulled = sim.wish(&script, M, polyloly_fast::engine::strategy::Wish::Cancel(resting.hash()));
            assert_eq!(cancels(&pulled), [resting.hash()]);
            sim.reply(ReplyEvent::CancelUnknown { order: resting.hash() });
            assert_eq!(sim.core.brief().orders.open, 1, "never flat by our own word");
            sim.tick(300);
        }
    }
}

#[test]
fn o08_rejection_burst() {
    let (mut sim, script) = open();
    let rejects = usize::from(Limits::default().rejects_to_break);
    let mut refused = 0;
    for _ in 0..20 {
        let Some(order) = sim.place(&script, buy(YES, 4_700, 50)) else { break };
        sim.sent(order.hash());
        sim.refused(order.hash(), RejectReason::Other);
        refused += 1;
    }
    assert_eq!(refused, rejects, "the breaker of the market opens");
    assert!(sim.refusals().contains(&("market_breaker", 1)));
    assert_eq!(sim.core.report().reconciliation.breaker_trips, 1);
    // The other market trades on.
    assert!(sim.place(&script, buy(InstrumentIx(2), 4_700, 50)).is_some());
    // After a while one trial; while nobody knows how it went, no second.
    sim.pass(7_000);
    let trial = sim.place(&script, buy(YES, 4_700, 50)).expect("one trial");
    assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None);
    sim.sent(trial.hash());
    sim.refused(trial.hash(), RejectReason::Other);
    sim.pass(7_000);
    assert_eq!(sim.place(&script, buy(YES, 4_700, 50)), None, "the wait has doubled");
    sim.pass(7_000);
    let trial = sim.place(&script, buy(YES, 4_700, 50)).expect("another trial");
    sim.rests(trial.hash());
    assert!(sim.place(&script, buy(NO, 4_700, 50)).is_some(), "closed again");
}

#[test]
fn o09_not_enough_balance_although_funded() {
    let (mut sim, script) = open();
    for instrument in [YES, InstrumentIx(2)] {
        assert!(sim.place(&script, buy(instrument, 4_700, 50)).is_some());
    }
    sim.reply(ReplyEvent::Breaker { of: Dependency::OrdersBalance, open: true });
    for instrument in [NO, InstrumentIx(3)] {
        assert_eq!(sim.place(&script, buy(instrument, 4_700, 50)), None, "no market is an exception");
    }
    assert_eq!(sim.refusals(), [("breaker_open", 2)]);
    sim.reply(ReplyEvent::Breaker { of: Dependency::OrdersBalance, open: false });
    assert!(sim.place(&script, buy(NO, 4_700, 50)).is_some());
}

#[test]
fn o10_cancel_not_found_for_ever() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    sim.wish(&script, M, polyloly_fast::engine::strategy::Wish::Cancel(order.hash()));
    let (mut asked, mut answered) = (0, 0);
    for _ in 0..40 {
        sim.cancel_refused(order.hash(), CancelRefusal::Gone);
        asked += lookups(&sim.pass(500)).len();
        if sim.state(&order.hash()).is_terminal() {
            break;
        }
        for _ in 0..asked - answered {
            answered += 1;
            sim.not_found(order.hash());
        }
    }
    assert_eq!(sim.state(&order.hash()), OrderState::Cancelled, "looked up by its id, and gone");
    assert!((2..=6).contains(&asked), "{asked} look-ups: neither none nor a storm");
}

#[test]
fn o11_cancelled_by_its_word_and_listed_all_the_same() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    sim.wish(&script, M, polyloly_fast::engine::strategy::Wish::Cancel(order.hash()));
    sim.reply(ReplyEvent::Cancelled { order: order.hash() });
    let asked = sim.pass(31_000);
    assert!(asked.iter().any(|a| matches!(a, Action::Reconcile { .. })));
    // The reading lists it as open.
    let listed = [(order.hash(), YES, Side::Buy, Qty::ZERO)];
    let actions = sim.answer(&listed, &[Qty::ZERO; 4], None);
    assert_eq!(cancels(&actions), [order.hash()], "cancelled again, by its id");
    assert_eq!(sim.place(&script, buy(YES, 4_700, 50)), None, "and its market is halted until a reading agrees");
    assert_eq!(sim.core.report().reconciliation.mismatches, 1);
    sim.pass(2_000);
    sim.agree();
    assert!(sim.place(&script, buy(YES, 4_700, 50)).is_some());
}

#[test]
fn o13_over_fill() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    sim.trade(1, &order, Qty::shares(40), TradeStatus::Matched);
    sim.trade(2, &order, Qty::shares(40), TradeStatus::Matched);
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(80), "fills are facts: nothing is clamped");
    assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None);
    assert!(sim.refusals().contains(&("market_mismatch", 1)), "{:?}", sim.refusals());
    let asked = sim.pass(3_000);
    assert!(asked.iter().any(|a| matches!(a, Action::Reconcile { .. })), "and everything is read");
}

#[test]
fn o14_matched_then_retrying_then_failed() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    let before = (sim.core.ledger().cash(), sim.core.brief().pnl.equity_change);
    sim.trade(1, &order, Qty::shares(50), TradeStatus::Matched);
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(50));
    sim.trade(1, &order, Qty::shares(50), TradeStatus::Retrying);
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(50), "retrying is not failed");
    for _ in 0..3 {
        sim.trade(1, &order, Qty::shares(50), TradeStatus::Failed);
        assert_eq!(sim.core.ledger().qty(YES), Qty::ZERO);
        assert_eq!((sim.core.ledger().cash(), sim.core.brief().pnl.equity_change), before);
    }
    assert_eq!(sim.core.report().fills.failed, 1, "voided once");
    // A confirmed trade is not voided by a word that contradicts it: that stops everything.
    let second = sim.place(&script, buy(NO, 4_700, 50)).unwrap();
    sim.rests(second.hash());
    sim.trade(2, &second, Qty::shares(50), TradeStatus::Confirmed);
    sim.trade(2, &second, Qty::shares(50), TradeStatus::Failed);
    assert_eq!(sim.core.ledger().qty(NO), Qty::shares(50));
    sim.tick(0);
    assert_eq!(sim.core.killed(), Some(KillReason::Accounts));
}

#[test]
fn o15_matched_never_confirmed() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    sim.trade(1, &order, Qty::shares(50), TradeStatus::Matched);
    let mut asked = 0;
    for _ in 0..90 {
        asked += sim.pass(1_000).iter().filter(|a| matches!(a, Action::Reconcile { .. })).count();
        sim.agree();
    }
    let report = sim.core.report();
    assert_eq!(report.reconciliation.stuck_trades, 1, "somebody is told");
    assert!(asked > 10, "asked after: {asked}");
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(50), "and still counted");
    assert_eq!(sim.core.ledger().settled(YES), Qty::ZERO, "but not sold or merged");
    assert_eq!(report.reconciliation.mismatches, 0, "the venue may count it or not");
}

#[test]
fn o16_counterparty_voids_losing_fills() {
    // The adversary fails whatever would have won for us: our losers settle.
    let (mut sim, script) = open();
    for n in 0..12_u8 {
        let Some(order) = sim.place(&script, buy(YES, 4_700, 10)) else { break };
        sim.rests(order.hash());
        sim.trade(n, &order, Qty::shares(10), TradeStatus::Matched);
        let end = if n % 2 == 0 {
            sim.book(&[(5_400, 100)], &[(5_600, 100)]);
            TradeStatus::Failed
        } else {
            TradeStatus::Confirmed
        };
        sim.trade(n, &order, Qty::shares(10), end);
        sim.book(BOOK.0, BOOK.1);
        sim.pass(1_100);
        sim.agree();
    }
    assert_eq!(sim.core.killed(), Some(KillReason::FailedWinners));
    assert_eq!(sim.core.report().fills.failed, 5, "noticed at the fifth");
    // A person has looked: the same five do not stop it again.
    sim.control(ControlEvent::ResetKill);
    sim.pass(5_000);
    assert_eq!(sim.core.killed(), None);
}

/// Failures that fall on winners and losers alike are no pattern, as long as they are few.
#[test]
fn o16_failures_by_chance_are_no_pattern() {
    let (mut sim, script) = open();
    for n in 0..60_u8 {
        let order = sim.place(&script, buy(YES, 4_700, 5)).unwrap();
        sim.rests(order.hash());
        sim.trade(n, &order, Qty::shares(5), TradeStatus::Matched);
        let end = if n % 10 == 0 { TradeStatus::Failed } else { TradeStatus::Confirmed };
        let (bids, asks): (&[_], &[_]) =
            if n % 20 == 0 { (&[(5_400, 100)], &[(5_600, 100)]) } else { (&[(4_200, 100)], &[(4_400, 100)]) };
        sim.book(bids, asks);
        sim.trade(n, &order, Qty::shares(5), end);
        sim.book(BOOK.0, BOOK.1);
        sim.pass(1_100);
        sim.agree();
    }
    assert_eq!((sim.core.killed(), sim.core.report().fills.failed), (None, 6));
}

#[test]
fn o17_clock_off() {
    let (mut sim, script) = open();
    for (ms, admitted) in [(900, true), (-1_000, true), (1_001, false), (-5_000, false), (0, true)] {
        sim.reply(ReplyEvent::ClockAhead { ms });
        assert_eq!(sim.core.closed().is_none(), admitted, "{ms} ms");
        if !admitted {
            assert_eq!(sim.place(&script, buy(YES, 4_700, 5)), None);
        }
    }
    assert_eq!(sim.refusals(), [("clock_off", 2)]);
}

#[test]
fn o18_credentials_refused() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.sent(order.hash());
    let actions = sim.refused(order.hash(), RejectReason::Auth);
    assert!(actions.contains(&Action::CancelAll));
    assert_eq!(sim.core.killed(), Some(KillReason::Signature));
}

#[test]
fn o19_heartbeat_refused_or_late() {
    let (mut sim, script) = open();
    let resting = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(resting.hash());
    sim.reply(ReplyEvent::Heartbeat { healthy: false });
    let asked = sim.tick(100);
    assert_eq!(lookups(&asked), [resting.hash()]);
    assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None);
    assert_eq!(sim.refusals(), [("heartbeat_unhealthy", 1)]);
    assert_eq!(sim.core.brief().orders.open, 1, "it may be gone, and it may be alive");
    sim.reply(ReplyEvent::Heartbeat { healthy: true });
    sim.reply(ReplyEvent::OrderStatus { order: resting.hash(), live: true, matched: None });
    sim.tick(0);
    sim.agree();
    assert!(sim.place(&script, buy(NO, 4_700, 50)).is_some());
}

#[test]
fn o20_self_cross() {
    let (mut sim, script) = open();
    let bid = sim.place(&script, buy(YES, 4_900, 50)).unwrap();
    sim.rests(bid.hash());
    // Buying NO at 0.51 is selling YES at 0.49: it would meet our own bid, whoever of us wants it.
    for strategy in [StrategyId::Manual, StrategyId::Pair] {
        assert_eq!(sim.place(&script, Intent { strategy, ..buy(NO, 5_100, 50) }), None);
    }
    assert_eq!(sim.refusals(), [("self_trade", 2)]);
    assert!(sim.place(&script, buy(NO, 5_000, 50)).is_some());
}

#[test]
fn o22_the_same_intent_twice_and_a_storm() {
    let (mut sim, script) = open();
    let intent = Intent { epoch: 7, ..buy(YES, 4_700, 5) };
    assert!(sim.place_numbered(&script, intent).is_some());
    for again in [intent, Intent { price: polyloly_fast::types::Price::from_units(4_600).unwrap(), ..intent }] {
        assert_eq!(sim.place_numbered(&script, again), None, "one number, one order");
    }
    // A strategy gone mad: a million wishes, of which the rate limit lets a few through, and the rest is counted.
    let before = sim.core.report().orders.sent;
    for n in 0..20_000_u32 {
        for k in 0..8 {
            let wish = Intent { epoch: 8 + n * 8 + k, ..buy(NO, 3_000 + 100 * (k as u16 + 8 * (n as u16 % 2)), 5) };
            script.wishes.borrow_mut().push_back((M, polyloly_fast::engine::strategy::Wish::Place(wish)));
        }
        sim.now -= MS;
        sim.hear(Event::Tick);
        if n % 1_000 == 0 {
            sim.agree();
        }
    }
    let report = sim.core.report();
    assert!(report.orders.sent - before <= 8, "working orders of a market are bounded: {}", report.orders.sent);
    let counted: u64 = report.rejections.iter().map(|(_, n)| n).sum();
    assert!(counted + report.orders.deduplicated >= 159_000, "{:?}", report.rejections);
    // The other market is not touched by it.
    assert!(sim.place_numbered(&script, Intent { epoch: 1, ..buy(InstrumentIx(2), 4_700, 5) }).is_some());
}

/// Each limit alone, with the others out of the way.
#[test]
fn o21_each_limit_is_a_limit_of_its_own() {
    let wide = Limits {
        order_usdc: Usdc::dollars(900),
        market_usdc: Usdc::dollars(900),
        match_usdc: Usdc::dollars(900),
        group_usdc: Usdc::dollars(900),
        total_usdc: Usdc::dollars(900),
        daily_loss_usdc: Usdc::dollars(900),
        ..Limits::default()
    };
    let table = [
        (wide.clone(), buy(YES, 6_100, 10), "collar"),
        (Limits { order_usdc: Usdc::dollars(100), ..wide.clone() }, buy(YES, 4_700, 300), "order_limit"),
        (Limits { market_usdc: Usdc::dollars(100), ..wide.clone() }, buy(YES, 4_700, 300), "market_limit"),
        (Limits { total_usdc: Usdc::dollars(100), ..wide.clone() }, buy(YES, 4_700, 300), "total_limit"),
        (Limits { match_usdc: Usdc::dollars(100), ..wide.clone() }, buy(YES, 4_700, 300), "match_limit"),
        (Limits { daily_loss_usdc: Usdc::dollars(100), ..wide.clone() }, buy(YES, 4_700, 300), "day_limit"),
    ];
    for (limits, wish, why) in table {
        let (mut sim, script) = open_with(limits);
        assert_eq!(sim.place(&script, wish), None, "{why}");
        assert_eq!(sim.refusals(), [(why, 1)]);
    }
    let (mut sim, script) = open_with(wide);
    assert!(sim.place(&script, buy(YES, 5_100, 300)).is_some());
}

fn limits() -> impl Strategy<Value = (u16, u64, bool)> {
    (1_u16..10_000, 1_u64..1_000_000, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// O21: whatever is wished for, what is approved is on the grid, within the collar and within every limit.
    #[test]
    fn o21_fat_finger((units, shares, post_only) in limits()) {
        let (mut sim, script) = open();
        let Some(price) = polyloly_fast::types::Price::from_units(units) else { return Ok(()) };
        let wish = Intent { price, qty: Qty::shares(shares), post_only, ..buy(YES, 4_700, 5) };
        if let Some(approved) = sim.place(&script, wish) {
            let i = approved.intent();
            let limits = Limits::default();
            prop_assert!(i.price.units() % 100 == 0, "on the grid");
            prop_assert!(i.price.units() <= 5_000 + limits.collar_units, "within the collar");
            prop_assert!(i.qty.notional_ceil(i.price) <= limits.order_usdc);
            prop_assert!(sim.core.brief().exposure[0] <= limits.market_usdc);
        }
    }
}

/// One message about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Ack(AckStatus),
    Lost,
    Seen(OrderChange),
    Trade(u8, u64, TradeStatus),
    CancelDone,
}

/// What can really have happened to an order of fifty shares, as up to six messages, in the order of the facts.
fn history() -> impl Strategy<Value = Vec<Word>> {
    let ack = prop_oneof![
        Just(Word::Ack(AckStatus::Live)),
        Just(Word::Ack(AckStatus::Delayed)),
        Just(Word::Ack(AckStatus::Matched)),
        Just(Word::Lost),
    ];
    let ends = prop_oneof![
        Just(vec![TradeStatus::Matched]),
        Just(vec![TradeStatus::Matched, TradeStatus::Mined]),
        Just(vec![TradeStatus::Matched, TradeStatus::Mined, TradeStatus::Confirmed]),
        Just(vec![TradeStatus::Confirmed]),
        Just(vec![TradeStatus::Matched, TradeStatus::Failed]),
        Just(vec![TradeStatus::Matched, TradeStatus::Retrying, TradeStatus::Failed]),
        Just(vec![TradeStatus::Failed]),
    ];
    let sizes = prop_oneof![Just(vec![]), Just(vec![50]), Just(vec![20]), Just(vec![20, 30]), Just(vec![10, 15])];
    let end = prop_oneof![
        Just(vec![]),
        Just(vec![Word::CancelDone]),
        Just(vec![Word::Seen(OrderChange::Cancelled)]),
        Just(vec![Word::CancelDone, Word::Seen(OrderChange::Cancelled)]),
        Just(vec![Word::Seen(OrderChange::Expired)]),
    ];
    (ack, any::<bool>(), sizes, proptest::collection::vec(ends, 2), end).prop_map(|(ack, placed, sizes, ends, end)| {
        let mut words = vec![ack];
        if placed {
            words.push(Word::Seen(OrderChange::Placed));
        }
        let full = sizes.iter().sum::<u64>() == 50;
        for (n, (shares, statuses)) in sizes.iter().zip(ends).enumerate() {
            words.extend(statuses.into_iter().map(|status| Word::Trade(n as u8, *shares, status)));
        }
        // What is filled whole is not cancelled as well.
        if !full {
            words.extend(end);
        }
        words.truncate(6);
        words
    })
}

/// Everything that must not depend on the order of the news.
#[derive(Debug, PartialEq, Eq)]
struct End {
    state: OrderState,
    filled: Qty,
    position: Qty,
    settled: Qty,
    cash: Usdc,
    failed: u64,
    fills: u64,
    exposure: Usdc,
    impossible: u64,
}

fn end_of(words: &[Word]) -> End {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    let hash = order.hash();
    sim.sent(hash);
    for word in words {
        match *word {
            Word::Ack(status) => drop(sim.accepted(hash, status)),
            Word::Lost => drop(sim.reply(ReplyEvent::Unknown { order: hash })),
            Word::Seen(change) => drop(sim.seen(hash, change)),
            Word::Trade(n, shares, status) => drop(sim.trade(n, &order, Qty::shares(shares), status)),
            Word::CancelDone => drop(sim.reply(ReplyEvent::Cancelled { order: hash })),
        }
    }
    let known = sim.core.order(&hash).unwrap();
    let (ledger, report) = (sim.core.ledger(), sim.core.report());
    End {
        state: known.state,
        filled: known.filled,
        position: ledger.qty(YES),
        settled: ledger.settled(YES),
        cash: ledger.cash(),
        failed: report.fills.failed,
        fills: report.markets[0].fills[0],
        exposure: sim.core.brief().exposure[0],
        impossible: report.reconciliation.impossible,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// D13 and the heart of it: acks, fills, cancels and settlement may come in any order and end the same. One
    /// trade's own statuses may overtake each other too.
    #[test]
    fn all_interleavings_end_in_the_same_state(
        words in history(), order in proptest::collection::vec(any::<u32>(), 6)
    ) {
        let mut shuffled: Vec<_> = words.iter().copied().zip(order).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(word, _)| word).collect();
        prop_assert_eq!(end_of(&words), end_of(&shuffled), "{:?} as {:?}", words, shuffled);
    }

    /// The same news heard twice is news heard once.
    #[test]
    fn any_multiplicity_ends_in_the_same_state(words in history(), twice in any::<u8>()) {
        let mut doubled = Vec::new();
        for (n, word) in words.iter().enumerate() {
            doubled.push(*word);
            // An answer to a request comes once.
            if twice & 1 << n != 0 && !matches!(word, Word::Ack(_) | Word::Lost) {
                doubled.push(*word);
            }
        }
        prop_assert_eq!(end_of(&words), end_of(&doubled), "{:?} as {:?}", words, doubled);
    }

    /// Position = Σ fills − Σ voids, whatever happens to whichever trade of whichever order.
    #[test]
    fn position_is_fills_less_voids(
        news in proptest::collection::vec((0_u8..6, 0_usize..3, 0_u8..5), 1..40)
    ) {
        let (mut sim, script) = open();
        let orders: Vec<_> =
            [buy(YES, 4_700, 60), buy(NO, 4_700, 60), buy(InstrumentIx(2), 4_600, 60)]
                .map(|i| sim.place(&script, i).unwrap()).to_vec();
        orders.iter().for_each(|o| drop(sim.rests(o.hash())));
        let statuses = [
            TradeStatus::Matched, TradeStatus::Mined, TradeStatus::Confirmed,
            TradeStatus::Retrying, TradeStatus::Failed,
        ];
        // (trade, order) → its last believable status.
        let mut model = std::collections::BTreeMap::<(u8, usize), TradeStatus>::new();
        for (n, which, status) in news {
            let status = statuses[usize::from(status)];
            let size = Qty::shares(u64::from(n) + 1);
            sim.trade(n, &orders[which], size, status);
            let known = model.entry((n, which)).or_insert(status);
            let decided = matches!(known, TradeStatus::Failed | TradeStatus::Confirmed);
            if !decided {
                *known = status;
            }
        }
        for (which, order) in orders.iter().enumerate() {
            let expected = model
                .iter()
                .filter(|((_, w), status)| *w == which && **status != TradeStatus::Failed)
                .fold(Qty::ZERO, |sum, ((n, _), _)| sum + Qty::shares(u64::from(*n) + 1));
            prop_assert_eq!(sim.core.ledger().qty(order.intent().instrument), expected);
        }
        prop_assert!(sim.core.ledger().balanced());
    }
}

/// A run that begins where another was killed: its orders hold exposure, are cancelled by their ids and asked after,
/// and what they fill counts.
#[test]
fn p01_an_order_of_an_earlier_run_is_held_until_the_venue_says() {
    let (mut sim, script) = scripted();
    let order = OrderHash([9; 32]);
    let intent = buy(YES, 4_700, 50);
    let created = Nanos(BEGAN - 1_000 * MS);
    sim.hear(Event::Recovered(RecoveredEvent::Shares { instrument: NO, qty: Qty::shares(30) }));
    sim.hear(Event::Recovered(RecoveredEvent::Order { order, intent, created, arrived: false }));
    let mut sim = sim;
    sim.user(UserEvent::Up);
    sim.reply(ReplyEvent::GatewayUp);
    let asked = sim.tick(0);
    assert_eq!((cancels(&asked), lookups(&asked)), (vec![order], vec![order]));
    sim.book(BOOK.0, BOOK.1);
    assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None, "nothing before everything was read");
    sim.agree();
    assert_eq!(sim.place(&script, buy(YES, 4_600, 50)), None, "the same intent may still show");
    assert!(sim.place(&script, buy(NO, 4_700, 50)).is_some());
    sim.user(UserEvent::Trade {
        trade: TradeKey(1),
        order,
        instrument: YES,
        side: Side::Buy,
        qty: Qty::shares(50),
        notional: Usdc::parse(b"23.5").unwrap(),
        taker_curve: None,
        status: TradeStatus::Matched,
    });
    assert_eq!([YES, NO].map(|i| sim.core.ledger().qty(i)), [Qty::shares(50), Qty::shares(30)]);
    assert_eq!(sim.state(&order), OrderState::Matched);
}

#[test]
fn a_kill_switch_of_an_earlier_run_stays_on_until_a_person_resets_it() {
    let (mut sim, script) = scripted();
    sim.hear(Event::Recovered(RecoveredEvent::Killed(KillReason::DailyLoss)));
    sim.user(UserEvent::Up);
    sim.reply(ReplyEvent::GatewayUp);
    sim.tick(0);
    sim.agree();
    sim.book(BOOK.0, BOOK.1);
    assert_eq!(sim.place(&script, buy(YES, 4_700, 50)), None);
    assert_eq!(sim.refusals(), [("kill_switch", 1)]);
    never(&sim.control(ControlEvent::Resume(M)), |a| matches!(a, Action::Place(_)));
    assert_eq!(sim.place(&script, buy(YES, 4_700, 50)), None);
    sim.control(ControlEvent::ResetKill);
    assert!(sim.place(&script, buy(YES, 4_700, 50)).is_some());
}

#[test]
fn orders_of_an_earlier_run_that_find_no_room_halt_their_market() {
    let (mut sim, script) = open();
    for n in 0..=WORKING_MAX as u8 {
        let created = Nanos(BEGAN);
        let order = Event::Recovered(RecoveredEvent::Order {
            order: OrderHash([n + 1; 32]),
            intent: Intent { epoch: u32::from(n), ..buy(YES, 4_000, 5) },
            created,
            arrived: false,
        });
        assert!(!sim.core.market_gate(M).has(MarketClosed::Halted), "at {n}");
        sim.hear(order);
    }
    assert!(sim.core.market_gate(M).has(MarketClosed::Halted));
    assert_eq!(sim.place(&script, buy(NO, 4_700, 50)), None);
    assert!(sim.place(&script, buy(InstrumentIx(2), 4_700, 50)).is_some(), "the other market trades");
}
