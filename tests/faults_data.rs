//! Fault catalogue, protocol and data (D rows): what the core does with books, trades and markets that are not what
//! they should be. Rows about bytes are proved beside their parsers; here is what follows from them.

mod desk_support;

use desk_support::*;
use polyloly_fast::{
    engine::{Action, limits::Limits, strategy::Wish},
    types::{
        InstrumentIx, Nanos, Price, Qty, Side, TickSize, TimeInForce, TradeKey, Usdc, amounts,
        event::{
            AckStatus, BookSide, CancelRefusal, ControlEvent, GapReason, KillReason, MarketEvent, MarketFacts,
            MatchEvent, MatchPhase, OrderChange, Payout, ReadEvent, RejectReason, ReplyEvent, TradeStatus, UserEvent,
        },
        order::{Intent, OrderState},
    },
    wire::user::UserParser,
};
use proptest::prelude::*;

/// One side of a book: (units, shares).
type Levels = &'static [(u16, u64)];
/// A book of 0.48 and 0.52.
const BOOK: (Levels, Levels) = (&[(4_800, 100)], &[(5_200, 100)]);

fn open() -> (Sim<Script>, Script) {
    let (sim, script) = scripted();
    let mut sim = sim.open();
    sim.book(BOOK.0, BOOK.1);
    sim.book_of(M2, BOOK.0, BOOK.1);
    (sim, script)
}

fn reason(sim: &Sim<Script>) -> Vec<&'static str> {
    sim.refusals().into_iter().map(|(why, _)| why).collect()
}

fn delta(instrument: InstrumentIx, side: BookSide, units: u16, shares: u64) -> MarketEvent {
    MarketEvent::Delta { instrument, side, price: Price::from_units(units).unwrap(), qty: Qty::shares(shares) }
}

#[test]
fn d05_delta_before_snapshot() {
    let (sim, script) = scripted();
    let mut sim = sim.open();
    for (i, side) in [(YES, BookSide::Bid), (NO, BookSide::Ask)] {
        sim.market(delta(i, side, 4_800, 100));
    }
    sim.market(MarketEvent::FrameEnd { venue_ms: 0 });
    assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None);
    assert_eq!(reason(&sim), ["book_untrusted"]);
    // A gap spoils a book that was good, until the next snapshot.
    sim.book(BOOK.0, BOOK.1);
    assert!(sim.place(&script, buy(YES, 4_700, 10)).is_some());
    let asked = sim.market(MarketEvent::Gap { instrument: Some(YES), reason: GapReason::Malformed });
    assert!(asked.contains(&Action::Resync { instrument: YES }), "{asked:?}");
    assert_eq!(sim.place(&script, buy(YES, 4_600, 10)), None);
    sim.book(BOOK.0, BOOK.1);
    assert!(sim.place(&script, buy(YES, 4_600, 10)).is_some());
}

/// A flood after a pause tells of a market that is gone: it moves the books, and leads to no order.
#[test]
fn d05_stale_changes_lead_to_no_order() {
    let (mut sim, script) = open();
    let late_ms = u64::from(Limits::default().late_ms);
    let now_ms = |sim: &Sim<Script>| sim.now / MS;
    let frame = |sim: &mut Sim<Script>, ago_ms: u64, shares: u64| {
        sim.market(delta(YES, BookSide::Bid, 4_800, shares));
        sim.market(delta(NO, BookSide::Ask, 5_200, shares));
        let venue_ms = now_ms(sim) + 1 - ago_ms;
        sim.market(MarketEvent::FrameEnd { venue_ms })
    };
    frame(&mut sim, 50, 90);
    assert!(sim.place(&script, buy(YES, 4_700, 10)).is_some());
    let asked = frame(&mut sim, late_ms + 500, 80);
    assert!(asked.contains(&Action::Resync { instrument: YES }));
    assert_eq!(sim.place(&script, buy(YES, 4_600, 10)), None);
    assert_eq!(reason(&sim), ["market_late"]);
    assert_eq!(sim.core.book(YES).best(BookSide::Bid).unwrap().qty, Qty::shares(80), "the book moved all the same");
    frame(&mut sim, 50, 70);
    assert!(sim.place(&script, buy(YES, 4_600, 10)).is_some(), "on time again");
}

#[test]
fn d06_crossed_or_locked_book_and_an_empty_side() {
    for (bids, asks) in [(&[(5_300, 100)][..], &[(5_200, 100)][..]), (&[(5_200, 100)][..], &[(5_200, 100)][..])] {
        let (mut sim, script) = open();
        sim.book(bids, asks);
        assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None, "{bids:?} {asks:?}");
        assert_eq!(reason(&sim), ["book_untrusted"]);
    }
    // The strategy quotes nothing on a book with an empty side, and pulls what rests.
    let mut sim = pair().open();
    let quotes = placed(&sim.book(BOOK.0, BOOK.1));
    assert_eq!(quotes.len(), 2);
    quotes.iter().for_each(|q| drop(sim.rests(q.hash())));
    let pulled = sim.book(&[(4_800, 100)], &[]);
    assert_eq!(cancels(&pulled).len(), 2, "{pulled:?}");
}

#[test]
fn d07_tick_size_changes_during_the_match() {
    let (mut sim, script) = open();
    let tick = TickSize::Mill;
    for instrument in [YES, NO] {
        sim.market(MarketEvent::TickSizeChange { instrument, tick });
    }
    sim.market(MarketEvent::FrameEnd { venue_ms: 0 });
    assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None, "nothing on the old grid's book");
    assert_eq!(reason(&sim), ["book_untrusted"]);
    for instrument in [YES, NO] {
        sim.market(MarketEvent::SnapshotStart { instrument, tick: Some(tick), venue_ms: 0 });
        for (side, units) in [(BookSide::Bid, 4_810), (BookSide::Ask, 5_190)] {
            let price = Price::from_units(units).unwrap();
            sim.market(MarketEvent::Level { instrument, side, price, qty: Qty::shares(100) });
        }
        sim.market(MarketEvent::SnapshotEnd { instrument });
    }
    sim.market(MarketEvent::FrameEnd { venue_ms: 0 });
    let fine = sim.place(&script, buy(YES, 4_815, 10));
    assert_eq!(fine, None, "half a tick of the new grid");
    assert!(reason(&sim).contains(&"off_grid"));
    assert!(sim.place(&script, buy(YES, 4_820, 10)).is_some());
    // The page of the market says so too, in case the message was missed.
    sim.facts(M, MarketFacts { accepting: true, tick: Some(TickSize::Cent), ..MarketFacts::default() });
    assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None);
}

fn tick() -> impl Strategy<Value = TickSize> {
    proptest::sample::select(TickSize::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// D08: over every grid, price and size, what is signed is never worse than the limit, and exactly it.
    #[test]
    fn d08_amounts_are_never_worse_than_the_limit(
        tick in tick(), step in any::<u16>(), cents in 1_u64..10_000_000, buys in any::<bool>()
    ) {
        let steps = 10_000 / tick.units() - 1;
        let price = Price::from_units((step % steps + 1) * tick.units()).unwrap();
        let qty = Qty(cents * 10_000);
        let side = if buys { Side::Buy } else { Side::Sell };
        let a = amounts::limit(side, price, qty);
        let (cash, shares) = if buys { (a.maker, a.taker) } else { (a.taker, a.maker) };
        prop_assert_eq!(shares, qty.micro());
        prop_assert_eq!(u128::from(cash) * 10_000, u128::from(shares) * u128::from(price.units()), "the price itself");
    }
}

#[test]
fn d09_minimum_size_is_refused_here_and_the_market_asked_after() {
    let (mut sim, script) = open();
    assert_eq!(sim.place(&script, buy(YES, 4_700, 4)), None);
    assert_eq!(reason(&sim), ["too_small"]);
    let order = sim.place(&script, buy(YES, 4_700, 5)).unwrap();
    sim.sent(order.hash());
    sim.refused(order.hash(), RejectReason::TickSize);
    assert!(sim.tick(0).contains(&Action::AskMarket { market: M }), "what the venue refuses for its terms is read");
    // However often the venue refuses: the breaker opens long before it is a loop.
    let mut sent = 1;
    for _ in 0..100 {
        let Some(order) = sim.place(&script, buy(YES, 4_700, 5)) else { break };
        sent += 1;
        sim.sent(order.hash());
        sim.refused(order.hash(), RejectReason::MinSize);
    }
    assert_eq!(sent, usize::from(Limits::default().rejects_to_break));
}

#[test]
fn d10_the_order_version_changes() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 10)).unwrap();
    sim.sent(order.hash());
    let actions = sim.refused(order.hash(), RejectReason::Version);
    assert!(actions.contains(&Action::CancelAll));
    assert_eq!(sim.core.killed(), Some(KillReason::Rejects));
    for instrument in [YES, NO, InstrumentIx(2)] {
        assert_eq!(sim.place(&script, buy(instrument, 4_700, 10)), None, "nothing more is signed");
    }
}

#[test]
fn d11_the_same_trade_again_and_one_trade_of_several_orders() {
    let (mut sim, script) = open();
    let orders = [4_700, 4_600].map(|units| {
        let order = sim.place(&script, buy(YES, units, 10)).unwrap();
        sim.rests(order.hash());
        order
    });
    for _ in 0..3 {
        for order in &orders {
            sim.trade(1, order, Qty::shares(6), TradeStatus::Matched);
        }
    }
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(12), "one fill for each order of the trade");
    assert_eq!(sim.core.report().fills.count, 2);
}

/// A taker buys NO and meets our bids for YES: the trade is about the other token, our fills are on ours.
#[test]
fn d12_a_fill_by_the_complementary_token() {
    let universe = universe();
    let key = "11111111-2222-3333-4444-555555555555";
    let order = format!("0x{}", "ab".repeat(32));
    let message = format!(
        r#"{{"event_type":"trade","type":"TRADE","id":"t-1","taker_order_id":"0x{taker}","market":"{market}",
        "asset_id":"{no}","side":"BUY","size":"30","price":"0.53","status":"MATCHED","owner":"someone-else",
        "trader_side":"MAKER","outcome":"Badgers","match_time":"1790000000","maker_orders":[
        {{"order_id":"{order}","owner":"{key}","matched_amount":"10","price":"0.47","asset_id":"{yes}"}},
        {{"order_id":"{order}","owner":"{key}","matched_amount":"5","price":"0.47","asset_id":"{yes}"}},
        {{"order_id":"0x{other}","owner":"third-party","matched_amount":"15","price":"0.53","asset_id":"{no}","side":"SELL"}}]}}"#,
        taker = "cd".repeat(32),
        other = "ef".repeat(32),
        market = universe.markets[0].condition,
        yes = universe.markets[0].tokens[0],
        no = universe.markets[0].tokens[1],
    );
    let mut events = Vec::new();
    UserParser::new(&universe, key).parse(&mut message.into_bytes(), &mut |e| events.push(e)).unwrap();
    let [polyloly_fast::types::Event::User(UserEvent::Trade { instrument, side, qty, notional, .. })] =
        events.as_slice()
    else {
        panic!("one fill for the order's two entries: {events:?}")
    };
    assert_eq!((*instrument, *side, *qty), (YES, Side::Buy, Qty::shares(15)));
    assert_eq!(*notional, Usdc::parse(b"7.05").unwrap(), "at our price, not at the taker's");
}

#[test]
fn d13_trade_before_ack_ack_after_fill_cancel_after_fill() {
    let steps: [fn(&mut Sim<Script>, &polyloly_fast::engine::Approved); 4] = [
        |sim, o| drop(sim.accepted(o.hash(), AckStatus::Live)),
        |sim, o| drop(sim.trade(1, o, Qty::shares(20), TradeStatus::Matched)),
        |sim, o| drop(sim.seen(o.hash(), OrderChange::Placed)),
        |sim, o| drop(sim.reply(ReplyEvent::Cancelled { order: o.hash() })),
    ];
    let mut ends = Vec::new();
    for (a, b, c, d) in (0..256).map(|n| (n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3)) {
        if (1 << a | 1 << b | 1 << c | 1 << d) != 15 {
            continue;
        }
        let (mut sim, script) = open();
        let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
        sim.sent(order.hash());
        [a, b, c, d].into_iter().for_each(|n| steps[n](&mut sim, &order));
        let known = *sim.core.order(&order.hash()).unwrap();
        ends.push((known.state, known.filled, known.leaves(), sim.core.ledger().qty(YES)));
    }
    assert_eq!(ends.len(), 24);
    assert!(
        ends.iter().all(|e| *e == (OrderState::Cancelled, Qty::shares(20), Qty::ZERO, Qty::shares(20))),
        "{ends:?}"
    );
}

/// The user channel says nothing of a fill that the reading shows, or the venue's count of shares is another: halted
/// first, repaired by rule, resumed when a reading agrees.
#[test]
fn d14_two_sources_contradict() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    sim.trade(1, &order, Qty::shares(50), TradeStatus::Confirmed);
    let read = |sim: &mut Sim<Script>, shares: u64| {
        sim.pass(31_000);
        sim.answer(&[], &[Qty::shares(shares), Qty::ZERO, Qty::ZERO, Qty::ZERO], None)
    };
    read(&mut sim, 50);
    assert_eq!(sim.core.report().reconciliation.mismatches, 0);
    read(&mut sim, 42);
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(50), "nothing is believed at first sight");
    assert_eq!(sim.place(&script, buy(NO, 4_700, 10)), None);
    assert_eq!(reason(&sim), ["market_mismatch"]);
    assert!(sim.place(&script, buy(InstrumentIx(2), 4_700, 10)).is_some(), "the other market trades on");
    // The next reading is soon, and agrees with ours: it was a passing thing.
    sim.pass(2_000);
    sim.answer(&[], &[Qty::shares(50), Qty::ZERO, Qty::ZERO, Qty::ZERO], None);
    assert!(sim.place(&script, buy(NO, 4_700, 10)).is_some());
    // Found twice, it is taken over, and worth the rounding account.
    read(&mut sim, 42);
    sim.pass(2_000);
    sim.answer(&[], &[Qty::shares(42), Qty::ZERO, Qty::ZERO, Qty::ZERO], None);
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(42));
    assert_eq!(sim.place(&script, buy(NO, 4_600, 10)), None, "halted until a reading agrees");
    sim.pass(2_000);
    sim.answer(&[], &[Qty::shares(42), Qty::ZERO, Qty::ZERO, Qty::ZERO], None);
    assert!(sim.place(&script, buy(NO, 4_600, 10)).is_some());
    assert!(sim.core.ledger().balanced());
    assert!(sim.core.report().pnl.rounding < Usdc::ZERO);
    assert_eq!(sim.core.report().reconciliation.mismatches, 2);
}

/// Money that is not where it should be: everything stops, and when it is found again so, it stops for good.
#[test]
fn d14_collateral_that_is_not_there() {
    let (mut sim, script) = open();
    sim.pass(31_000);
    let cash = |usd: i64| Some(Usdc::dollars(usd));
    sim.answer(&[], &[Qty::ZERO; 4], cash(900));
    assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None);
    assert_eq!(reason(&sim), ["not_reconciled"]);
    sim.pass(2_000);
    sim.answer(&[], &[Qty::ZERO; 4], cash(1_000));
    assert!(sim.place(&script, buy(YES, 4_700, 10)).is_some(), "there it is again");
    for _ in 0..2 {
        sim.pass(31_000);
        sim.answer(&[], &[Qty::ZERO; 4], cash(900));
    }
    assert_eq!(sim.core.killed(), Some(KillReason::Accounts));
}

/// Half an answer is no answer: it never looks like an empty account.
#[test]
fn d14_an_incomplete_reading_changes_nothing() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    sim.trade(1, &order, Qty::shares(20), TradeStatus::Confirmed);
    sim.pass(31_000);
    let before = sim.core.report().reconciliation.readings;
    let round = sim.asked.take().unwrap();
    sim.read(ReadEvent::Begin { round });
    sim.read(ReadEvent::Shares { instrument: YES, qty: Qty::ZERO });
    sim.read(ReadEvent::Cash { cash: Usdc::ZERO });
    sim.read(ReadEvent::End { round, complete: false });
    let report = sim.core.report();
    assert_eq!((report.reconciliation.readings, report.reconciliation.mismatches), (before, 0));
    assert_eq!(sim.core.ledger().qty(YES), Qty::shares(20));
    assert_eq!(sim.state(&order.hash()), OrderState::PartiallyFilled);
    sim.pass(2_000);
    assert!(sim.asked.is_some(), "asked again");
    // At the start, or after a cut, nothing is placed on half an answer.
    sim.user(UserEvent::Down);
    sim.user(UserEvent::Up);
    sim.tick(0);
    let round = sim.asked.take().unwrap();
    sim.read(ReadEvent::Begin { round });
    sim.read(ReadEvent::End { round, complete: false });
    assert_eq!(sim.place(&script, buy(NO, 4_700, 10)), None);
    assert!(reason(&sim).contains(&"not_reconciled"));
}

#[test]
fn d15_accepting_orders_though_the_match_ended() {
    let mut sim = pair().open();
    let quotes = placed(&sim.book(BOOK.0, BOOK.1));
    quotes.iter().for_each(|q| drop(sim.rests(q.hash())));
    assert_eq!(quotes.len(), 2);
    sim.facts(M, MarketFacts { accepting: true, ..MarketFacts::default() });
    let over = MatchEvent { phase: MatchPhase::Finished, map: 3, score: [2, 1] };
    let pulled = sim.hear(polyloly_fast::types::Event::Match(over));
    assert_eq!(cancels(&pulled).len(), 2, "the feed's word is enough to stop");
    quotes.iter().for_each(|q| drop(sim.reply(ReplyEvent::Cancelled { order: q.hash() })));
    for units in [4_700, 4_900, 5_300] {
        assert!(placed(&sim.book(&[(units, 100)], &[(units + 400, 100)])).is_empty());
    }
    // And the venue's word is, without any feed.
    let (mut sim, script) = open();
    for (facts, why) in [
        (MarketFacts { accepting: true, closed: true, ..MarketFacts::default() }, "market_over"),
        (MarketFacts { accepting: false, ..MarketFacts::default() }, "market_not_accepting"),
    ] {
        sim.facts(M, facts);
        assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None);
        assert!(reason(&sim).contains(&why), "{why}");
    }
}

#[test]
fn d16_resolved_half_or_disputed_while_quoting() {
    for payout in [Payout::Yes, Payout::No, Payout::Half] {
        let (mut sim, script) = open();
        let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
        sim.rests(order.hash());
        sim.trade(1, &order, Qty::shares(20), TradeStatus::Confirmed);
        sim.market(MarketEvent::Resolved { market: M, payout });
        assert_eq!(sim.place(&script, buy(NO, 4_700, 10)), None, "no order on a resolved market");
        // One socket's word is not booked: the market's page is asked, and its answer is.
        assert_eq!(sim.core.ledger().payout(M), None);
        assert!(sim.pass(2_100).contains(&Action::AskMarket { market: M }));
        sim.facts(M, MarketFacts { closed: true, payout: Some(payout), ..MarketFacts::default() });
        let paid = match payout {
            Payout::Yes => 20,
            Payout::No => 0,
            Payout::Half => 10,
        };
        let change = Usdc::dollars(paid) - Usdc::parse(b"9.4").unwrap();
        assert_eq!(sim.core.report().pnl.equity_change, change, "{payout:?}");
        // What rested is looked up until it is gone, and a second, other word stops everything.
        let asked = sim.pass(2_000);
        assert!(lookups(&asked).contains(&order.hash()));
        sim.market(MarketEvent::Resolved {
            market: M,
            payout: if payout == Payout::Yes { Payout::No } else { Payout::Yes },
        });
        sim.tick(0);
        assert_eq!(sim.core.killed(), Some(KillReason::Accounts), "a dispute");
    }
    // The word of it was lost: the market's page tells.
    let (mut sim, _) = open();
    sim.facts(M, MarketFacts { accepting: true, closed: true, payout: Some(Payout::No), ..MarketFacts::default() });
    assert_eq!(sim.core.report().markets[0].payout, Some("no"));
}

#[test]
fn d16_a_resolution_that_one_socket_made_up_pays_nothing() {
    let (mut sim, script) = open();
    let order = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(order.hash());
    sim.trade(1, &order, Qty::shares(20), TradeStatus::Confirmed);
    sim.market(MarketEvent::Resolved { market: M, payout: Payout::No });
    sim.tick(0);
    sim.facts(M, MarketFacts { accepting: true, ..MarketFacts::default() });
    assert!(sim.pass(3_000).contains(&Action::AskMarket { market: M }), "asked until the page knows");
    assert_eq!(sim.core.ledger().payout(M), None);
    // The truth is the other way round.
    sim.facts(M, MarketFacts { closed: true, payout: Some(Payout::Yes), ..MarketFacts::default() });
    assert_eq!(sim.core.report().markets[0].payout, Some("yes"));
    assert_eq!(sim.core.report().pnl.equity_change, Usdc::parse(b"10.6").unwrap());
    assert_eq!(sim.core.killed(), None);
}

#[test]
fn d17_the_book_is_cleared_at_game_start_and_the_start_moves() {
    let (mut sim, script) = open();
    let resting = sim.place(&script, buy(YES, 4_700, 50)).unwrap();
    sim.rests(resting.hash());
    let at = |sim: &Sim<Script>, s: u64| MarketFacts {
        accepting: true,
        game_start: Some(Nanos(sim.now + s * 1_000 * MS)),
        ..MarketFacts::default()
    };
    // An hour ahead, then suddenly in ten seconds.
    let facts = at(&sim, 3_600);
    sim.facts(M, facts);
    assert!(sim.place(&script, buy(NO, 4_700, 10)).is_some());
    let facts = at(&sim, 10);
    sim.facts(M, facts);
    sim.tick(0);
    assert_eq!(sim.place(&script, buy(NO, 4_600, 10)), None);
    assert_eq!(reason(&sim), ["book_clearing"]);
    let asked = sim.pass(11_000);
    assert!(lookups(&asked).contains(&resting.hash()), "whether it was cleared is asked for, not assumed");
    assert!(asked.iter().any(|a| matches!(a, Action::Reconcile { .. })));
    assert!(!sim.state(&resting.hash()).is_terminal());
    sim.seen(resting.hash(), OrderChange::Cancelled);
    sim.agree();
    assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None, "not in the same breath");
    for _ in 0..40 {
        sim.pass(1_000);
        sim.agree();
    }
    assert!(sim.place(&script, buy(YES, 4_700, 10)).is_some(), "in play");
}

/// The hold of marketable orders: what is held counts in full and is not sent again, and each of its ends is known.
#[test]
fn d18_delayed_then_matched_unmatched_live_or_invalid() {
    type End = fn(&mut Sim<Script>, &polyloly_fast::engine::Approved);
    let ends: [(End, OrderState, u64); 5] = [
        (|sim, o| drop(sim.trade(1, o, Qty::shares(50), TradeStatus::Matched)), OrderState::Matched, 50),
        (|sim, o| drop(sim.trade(1, o, Qty::shares(20), TradeStatus::Matched)), OrderState::PartiallyFilled, 20),
        (|sim, o| drop(sim.seen(o.hash(), OrderChange::Placed)), OrderState::Live, 0),
        (|sim, o| drop(sim.seen(o.hash(), OrderChange::Cancelled)), OrderState::Cancelled, 0),
        (|sim, o| drop(sim.seen(o.hash(), OrderChange::Invalid)), OrderState::Cancelled, 0),
    ];
    for (end, state, filled) in ends {
        let (mut sim, script) = open();
        let order = sim.place(&script, take(YES, 5_200, 50)).unwrap();
        sim.sent(order.hash());
        sim.accepted(order.hash(), AckStatus::Delayed);
        assert_eq!(sim.state(&order.hash()), OrderState::Delayed);
        assert!(sim.core.brief().exposure[0] >= Usdc::dollars(26), "it counts in full, fee included");
        let cancel = sim.wish(&script, M, Wish::Cancel(order.hash()));
        assert!(cancels(&cancel).is_empty(), "it cannot be cancelled now, so nobody asks");
        assert_eq!(sim.place(&script, take(YES, 5_200, 50)), None, "and it is not sent again");
        end(&mut sim, &order);
        assert_eq!((sim.state(&order.hash()), sim.core.ledger().qty(YES)), (state, Qty::shares(filled)));
    }
    // A word that we do not know, and silence: the order is asked after.
    let (mut sim, script) = open();
    let order = sim.place(&script, take(YES, 5_200, 50)).unwrap();
    sim.sent(order.hash());
    sim.accepted(order.hash(), AckStatus::Unmatched);
    assert_eq!(sim.state(&order.hash()), OrderState::Unknown);
    assert!(lookups(&sim.tick(0)).contains(&order.hash()));
    let held = sim.place(&script, take(InstrumentIx(2), 5_200, 20)).unwrap();
    sim.sent(held.hash());
    sim.accepted(held.hash(), AckStatus::Delayed);
    assert!(lookups(&sim.pass(6_000)).contains(&held.hash()), "a hold that does not end");
    sim.cancel_refused(held.hash(), CancelRefusal::Delayed);
    assert_eq!(sim.state(&held.hash()), OrderState::Delayed);
}

#[test]
fn gtd_minimum_and_a_market_that_is_not_ready() {
    let (mut sim, script) = open();
    let expires = |sim: &Sim<Script>, s: u64| TimeInForce::Gtd { expires_s: sim.now / 1_000_000_000 + s };
    let near = Intent { tif: expires(&sim, 170), ..buy(YES, 4_700, 10) };
    assert_eq!(sim.place(&script, near), None);
    assert_eq!(reason(&sim), ["expiration"]);
    let far = Intent { tif: expires(&sim, 190), ..buy(YES, 4_700, 10) };
    let order = sim.place(&script, far).unwrap();
    sim.sent(order.hash());
    sim.refused(order.hash(), RejectReason::MarketClosed);
    assert!(sim.pass(200).contains(&Action::AskMarket { market: M }));
    assert_eq!(sim.place(&script, buy(YES, 4_700, 10)), None);
    assert!(reason(&sim).contains(&"market_not_ready"));
    sim.pass(6_000);
    assert!(sim.place(&script, buy(YES, 4_700, 10)).is_some());
}

/// Nothing leaves a market that is finalizing, halted or paid, whatever is wished for.
#[test]
fn late_orders_are_impossible_while_finalizing() {
    let (mut sim, script) = open();
    let over = MatchEvent { phase: MatchPhase::Finished, map: 3, score: [2, 1] };
    sim.hear(polyloly_fast::types::Event::Match(over));
    for purpose in [
        polyloly_fast::types::order::Purpose::Quote,
        polyloly_fast::types::order::Purpose::Complete,
        polyloly_fast::types::order::Purpose::Unwind,
    ] {
        assert_eq!(sim.place(&script, Intent { purpose, ..buy(YES, 4_700, 10) }), None);
    }
    assert_eq!(sim.refusals(), [("state", 3)]);
    // A correction: it is played on.
    let on = MatchEvent { phase: MatchPhase::Running, map: 3, score: [1, 1] };
    sim.hear(polyloly_fast::types::Event::Match(on));
    assert!(sim.place(&script, buy(YES, 4_700, 10)).is_some());
    sim.control(ControlEvent::Halt(M));
    assert_eq!(sim.place(&script, buy(NO, 4_700, 10)), None);
    sim.control(ControlEvent::Resume(M));
    assert!(sim.place(&script, buy(NO, 4_700, 10)).is_some());
}

/// A market channel that comes back after a cut: the account is read, because nobody knows what the cut swallowed.
#[test]
fn after_a_cut_of_the_market_channel_the_account_is_read() {
    let (mut sim, _) = open();
    assert!(sim.asked.is_none());
    sim.market(MarketEvent::Gap { instrument: None, reason: GapReason::Disconnected });
    let asked = sim.tick(0);
    assert!(asked.iter().any(|a| matches!(a, Action::Reconcile { .. })));
}

/// A trade of an order that we never sent, with our wallet: the account is read at once.
#[test]
fn a_stranger_s_trade_leads_to_a_reading() {
    let (mut sim, _) = open();
    sim.user(UserEvent::Trade {
        trade: TradeKey(77),
        order: polyloly_fast::types::OrderHash([3; 32]),
        instrument: YES,
        side: Side::Buy,
        qty: Qty::shares(10),
        notional: Usdc::dollars(5),
        taker_curve: None,
        status: TradeStatus::Matched,
    });
    assert!(sim.tick(0).iter().any(|a| matches!(a, Action::Reconcile { .. })));
}
