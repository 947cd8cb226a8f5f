//! Live-money failures that happened to somebody, each as a test: what happened, and what we do instead.
//!
//! What the wire and the arithmetic have to do with it is in `stories_wire.rs`.

mod desk_support;

use desk_support::*;
use polyloly_fast::{
    engine::{
        Action, Approved, Engine,
        book::Distrust,
        digest::StateHasher,
        gate::{Closed, MarketClosed},
        limits::Limits,
        refusal::Refusal,
        strategy::{NewFill, Strategy, View, Wish, Wishes},
    },
    strategies::{PairParams, Params},
    types::{
        Event, InstrumentIx, Price, Qty, Side, TickSize, TimeInForce, Usdc,
        event::{
            AckStatus, BookSide, CancelRefusal, ControlEvent, Dependency, KillReason, MarketEvent, OrderChange, Payout,
            ReadEvent, RecoveredEvent, RejectReason, ReplyEvent, TradeStatus, UserEvent, VenueMode,
        },
        order::{Intent, OrderState, Purpose, StrategyId},
    },
};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

const MATCHED: TradeStatus = TradeStatus::Matched;
const CONFIRMED: TradeStatus = TradeStatus::Confirmed;
const FAILED: TradeStatus = TradeStatus::Failed;

/// Open, with a book of 0.49 / 0.51 in the first market.
fn at_a_half() -> (Sim<Script>, Script) {
    let (sim, script) = scripted();
    let mut sim = sim.open();
    sim.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
    (sim, script)
}

/// A pair strategy that only makes, its two first quotes resting.
fn two_quotes(params: PairParams) -> (Sim<polyloly_fast::strategies::Both>, Approved, Approved) {
    let mut sim = pair_with(Params { pair: params, ..Params::default() }).open();
    let quotes = placed(&sim.book(&[(4_800, 100)], &[(5_200, 100)]));
    let &[yes, no] = &quotes[..] else { panic!("a quote a side: {quotes:?}") };
    assert_eq!((yes.intent().instrument, no.intent().instrument), (YES, NO));
    sim.rests(yes.hash());
    sim.rests(no.hash());
    (sim, yes, no)
}

fn maker_only() -> PairParams {
    PairParams { taker: false, ..PairParams::default() }
}

/// The worst loss that is possible now.
fn exposure<S: Strategy>(sim: &Sim<S>) -> Usdc {
    sim.core.brief().exposure[0]
}

/// Shares that are settled: what can be sold.
fn settled<S: Strategy>(sim: &Sim<S>, i: InstrumentIx) -> Qty {
    sim.core.ledger().settled(i)
}

/// Shares held, settled or not.
fn held<S: Strategy>(sim: &Sim<S>, i: InstrumentIx) -> Qty {
    sim.core.ledger().qty(i)
}

/// How often intents were refused for a reason.
fn refused<S: Strategy>(sim: &Sim<S>, why: Refusal) -> u64 {
    sim.core.report().rejections.iter().find(|(name, _)| *name == why.as_str()).map_or(0, |(_, n)| *n)
}

/// The word of the user stream on an order, with the total that matched.
fn word<S: Strategy>(sim: &mut Sim<S>, order: &Approved, change: OrderChange, matched: Option<Qty>) -> Vec<Action> {
    sim.user(UserEvent::Order { order: order.hash(), change, matched })
}

/// The answer to a look-up: not resting, with the total that matched if it said so.
fn gone<S: Strategy>(sim: &mut Sim<S>, order: &Approved, matched: Option<Qty>) -> Vec<Action> {
    sim.reply(ReplyEvent::OrderStatus { order: order.hash(), live: false, matched })
}

/// Buys among actions, of one token.
fn buys(actions: &[Action], of: InstrumentIx) -> Vec<Approved> {
    placed(actions).into_iter().filter(|a| a.intent().instrument == of && a.intent().side == Side::Buy).collect()
}

/// A FOK buy timed out after 5 s. The client signed it again, twice. All three filled.
#[test]
fn story_01_a_buy_that_hangs_is_one_order_and_never_three() {
    let (mut sim, script) = at_a_half();
    let fok = |units, epoch| Intent { tif: TimeInForce::Fok, epoch, ..take(YES, units, 20) };
    let order = sim.place_numbered(&script, fok(5_100, 1)).expect("nothing is wrong yet");
    sim.sent(order.hash());
    let cost = exposure(&sim);

    // Five seconds without an answer: the gateway gives up on the request, nobody gives up on the order.
    sim.tick(5_000);
    let actions = sim.reply(ReplyEvent::Unknown { order: order.hash() });
    assert_eq!(sim.state(&order.hash()), OrderState::Unknown);
    assert!(lookups(&actions).contains(&order.hash()), "it is asked after by its id: {actions:?}");
    assert!(cancels(&actions).contains(&order.hash()), "and cancelled by its id: {actions:?}");

    // Their client's two retries, in every form that a retry can take.
    for (retry, why) in [
        (fok(5_200, 1), Refusal::Duplicate),  // the same intent at another price
        (fok(5_100, 2), Refusal::Unresolved), // the same order as a new intent
        (fok(5_200, 3), Refusal::Unresolved), // "it did not go through, so a tick more"
    ] {
        let before = refused(&sim, why);
        assert_eq!(sim.place_numbered(&script, retry), None);
        assert_eq!(refused(&sim, why), before + 1, "{retry:?}");
    }
    assert_eq!(exposure(&sim), cost, "what may have filled counts as if it had");

    // The venue had filled the first.
    sim.trade(1, &order, Qty::shares(20), MATCHED);
    assert_eq!((sim.state(&order.hash()), held(&sim, YES)), (OrderState::Matched, Qty::shares(20)));
    assert_eq!(sim.core.report().orders.sent, 1, "one order was ever signed");
}

/// "Request exception", four times over. One of the orders had filled; the user stream said so 40 s later, to a bot
/// that had forgotten it.
#[test]
fn story_02_a_confirmation_after_forty_seconds_finds_its_order() {
    let (mut sim, script) = at_a_half();
    let order = sim.place(&script, take(YES, 5_100, 20)).expect("admitted");
    sim.sent(order.hash());
    sim.reply(ReplyEvent::Unknown { order: order.hash() });
    let cost = exposure(&sim);
    for second in 1..40 {
        // The venue is asked every second and knows nothing. That proves nothing.
        assert!(lookups(&sim.tick(1_000)).contains(&order.hash()), "asked in second {second}");
        gone(&mut sim, &order, None);
        assert_eq!(sim.state(&order.hash()), OrderState::Unknown, "second {second}");
        assert_eq!(exposure(&sim), cost, "second {second}");
    }
    word(&mut sim, &order, OrderChange::Matched, Some(Qty::shares(20)));
    sim.trade(1, &order, Qty::shares(20), MATCHED);
    assert_eq!((sim.state(&order.hash()), held(&sim, YES)), (OrderState::Matched, Qty::shares(20)));
    let report = sim.core.report();
    assert_eq!((report.orders.sent, report.orders.unresolved, report.fills.count), (1, 0, 1));
}

/// The answer said `MATCHED` with the full size; settlement came 10 to 50 s later or never. The bot did not see the
/// shares, bought the "missing" leg again, and held twice what it wanted.
#[test]
fn story_03_a_match_that_has_not_settled_is_not_bought_again() {
    // The trade is told at once: it is inventory at once, but not settled.
    let (mut sim, yes, _) = two_quotes(maker_only());
    sim.trade(1, &yes, Qty::shares(50), MATCHED);
    assert_eq!((held(&sim, YES), settled(&sim, YES)), (Qty::shares(50), Qty::ZERO));

    // Nothing but the order's own word is told: the trade behind it is 45 s late.
    let (mut sim, yes, no) = two_quotes(maker_only());
    word(&mut sim, &no, OrderChange::Cancelled, Some(Qty::ZERO));
    let cost = exposure(&sim);
    // The book moves, we cancel, the venue says: too late, it matched.
    let mut actions = sim.book(&[(4_300, 100)], &[(4_700, 100)]);
    assert_eq!(cancels(&actions), [yes.hash()]);
    actions.extend(sim.cancel_refused(yes.hash(), CancelRefusal::Matched));
    for _ in 0..45 {
        let asked = sim.tick(1_000);
        // Every look-up says the same: it does not rest any more, all of it matched.
        if lookups(&asked).contains(&yes.hash()) {
            actions.extend(gone(&mut sim, &yes, Some(Qty::shares(50))));
        }
        actions.extend(asked);
        actions.extend(sim.agree());
        assert!(exposure(&sim) >= cost, "what matched stays on the books of risk");
    }
    assert_eq!(buys(&actions, YES), [], "no second buy of the leg while the first is not resolved");
    assert!(sim.core.brief().reconciliation.readings > 2, "the venue's trades are read in the meantime");
    actions.extend(sim.trade(1, &yes, Qty::shares(50), MATCHED));
    assert_eq!((held(&sim, YES), settled(&sim, YES)), (Qty::shares(50), Qty::ZERO));
    assert!(sim.state(&yes.hash()).is_terminal());

    // "Or never": the fill is taken out again, whole and once.
    sim.trade(1, &yes, Qty::shares(50), FAILED);
    sim.trade(1, &yes, Qty::shares(50), FAILED);
    assert_eq!((held(&sim, YES), settled(&sim, YES)), (Qty::ZERO, Qty::ZERO));
    assert_eq!((sim.core.ledger().cash(), sim.core.ledger().anomalies()), (Usdc::dollars(1_000), 0));
}

/// So many matched buys of five shares each; then the price goes to `later`, and the venue says of each how it ended.
fn buys_that_end(ends: &[(TradeStatus, u16)]) -> Sim<Script> {
    let (mut sim, script) = at_a_half();
    let orders: Vec<_> = ends
        .iter()
        .enumerate()
        .map(|(n, _)| {
            let order = sim.place(&script, buy(YES, 4_900, 5)).expect("admitted");
            sim.rests(order.hash());
            sim.trade(n as u8, &order, Qty::shares(5), MATCHED);
            sim.tick(1_000);
            sim.agree();
            order
        })
        .collect();
    for (n, (order, (end, mid))) in orders.iter().zip(ends).enumerate() {
        sim.book(&[(mid - 100, 1_000)], &[(mid + 100, 1_000)]);
        sim.trade(n as u8, order, Qty::shares(5), *end);
    }
    sim.tick(1_000);
    sim
}

/// About 35 % of one account's matched buys were reverted on chain, nearly all of them winners.
#[test]
fn story_04_winners_that_fail_are_a_pattern_and_profit_is_what_was_confirmed() {
    let (won, lost) = (6_000, 4_000);
    let seven_of_twenty = [[(FAILED, won); 7].as_slice(), &[(CONFIRMED, won); 13]].concat();
    let sim = buys_that_end(&seven_of_twenty);
    assert_eq!(sim.core.killed(), Some(KillReason::FailedWinners));
    let report = sim.core.report();
    assert_eq!((report.fills.count, report.fills.failed), (20, 7));
    assert_eq!((held(&sim, YES), settled(&sim, YES)), (Qty::shares(65), Qty::shares(65)));
    // 65 shares bought at 0.49 are worth 0.60: what was reverted earned nothing, however well it looked.
    assert_eq!(report.pnl.equity_change, Usdc::parse(b"7.15").unwrap());

    // The ratio alone is enough, whoever they were.
    let ten_of_fifty = [[(FAILED, won); 5].as_slice(), &[(FAILED, lost); 5], &[(CONFIRMED, 5_000); 40]].concat();
    assert_eq!(buys_that_end(&ten_of_fifty).core.killed(), Some(KillReason::FailedWinners));

    // Five of fifty, losers among them, is bad luck.
    let five_of_fifty = [[(FAILED, won); 2].as_slice(), &[(FAILED, lost); 3], &[(CONFIRMED, 5_000); 45]].concat();
    assert_eq!(buys_that_end(&five_of_fifty).core.killed(), None);
}

/// Both legs of a pair had matched. Then the counterparty of one made its trade fail on chain, on purpose, because it
/// had lost: the other leg stood alone.
#[test]
fn story_05_a_leg_that_the_counterparty_voids_is_bought_again() {
    let (mut sim, yes, no) = two_quotes(maker_only());
    let mut actions = sim.trade(1, &yes, Qty::shares(50), MATCHED);
    actions.extend(sim.trade(2, &no, Qty::shares(50), MATCHED));
    assert_eq!(sim.core.ledger().net(M), 0, "a pair, so far");
    actions.extend(placed(&actions).into_iter().flat_map(|o| sim.rests(o.hash())).collect::<Vec<_>>());

    // The match is as good as decided: at such prices nothing is quoted any more.
    actions.extend(sim.book(&[(9_600, 500)], &[(9_800, 500)]));
    for order in cancels(&actions) {
        sim.reply(ReplyEvent::Cancelled { order });
    }
    assert_eq!((sim.core.working().count(), placed(&sim.pass(1_000))), (0, vec![]));
    let pair_value = sim.core.report().pnl.equity_change;

    let told = sim.trade(1, &yes, Qty::shares(50), FAILED);
    assert_eq!(sim.core.ledger().net(M), -(Qty::shares(50).micro() as i64), "the winning leg is gone");
    assert!(sim.core.report().pnl.equity_change < pair_value, "and the pair's profit with it");
    let [repair] = placed(&told)[..] else { panic!("one order for the missing leg, at once: {told:?}") };
    let wanted = repair.intent();
    assert_eq!((wanted.instrument, wanted.purpose, wanted.qty), (YES, Purpose::Complete, Qty::shares(50)));
    assert!(wanted.price.units() >= 9_500, "at the price of today: {wanted:?}");

    sim.rests(repair.hash());
    sim.trade(3, &repair, Qty::shares(50), MATCHED);
    sim.trade(2, &no, Qty::shares(50), CONFIRMED);
    let merge = sim.trade(3, &repair, Qty::shares(50), CONFIRMED);
    assert!(merge.contains(&Action::Merge { market: M, qty: Qty::shares(50) }), "a pair after all: {merge:?}");
}

/// A bot took a match that had not settled after 2 s for a ghost and threw it away. It settled later; the bot went on
/// without the shares that it had.
#[test]
fn story_06_settlement_after_a_verdict_of_ghost_still_ends_with_the_right_inventory() {
    let whole = Qty::shares(20);

    // The verdict of the balance: nothing has arrived. Twice, so that it would be believed if it were news.
    let (mut sim, script) = at_a_half();
    let order = sim.place(&script, take(YES, 5_100, 20)).expect("admitted");
    sim.sent(order.hash());
    sim.accepted(order.hash(), AckStatus::Matched);
    sim.trade(1, &order, whole, MATCHED);
    sim.trade(1, &order, whole, TradeStatus::Retrying);
    sim.pass(31_000);
    for _ in 0..3 {
        sim.answer(&[], &[Qty::ZERO; 4], None);
        sim.pass(5_000);
        assert_eq!((held(&sim, YES), settled(&sim, YES)), (whole, Qty::ZERO), "under way, not lost");
    }
    sim.trade(1, &order, whole, CONFIRMED);
    assert_eq!((held(&sim, YES), settled(&sim, YES)), (whole, whole));
    assert_eq!(sim.core.report().reconciliation.mismatches, 0);

    // The verdict of the look-up: no such order, said until even we believe it.
    let (mut sim, script) = at_a_half();
    let order = sim.place(&script, take(YES, 5_100, 20)).expect("admitted");
    sim.sent(order.hash());
    sim.reply(ReplyEvent::Unknown { order: order.hash() });
    sim.tick(121_000);
    for _ in 0..4 {
        gone(&mut sim, &order, None);
    }
    assert_eq!(sim.state(&order.hash()), OrderState::Failed);
    sim.tick(45_000);
    sim.trade(1, &order, whole, CONFIRMED);
    assert_eq!((sim.state(&order.hash()), held(&sim, YES)), (OrderState::Matched, whole));
    assert_eq!(settled(&sim, YES), whole);

    // The verdict of the venue itself, which then changes its mind: nothing is traded on that, and the venue's count
    // of our shares is taken over.
    let (mut sim, script) = at_a_half();
    let order = sim.place(&script, take(YES, 5_100, 20)).expect("admitted");
    sim.sent(order.hash());
    sim.trade(1, &order, whole, MATCHED);
    sim.tick(2_000);
    sim.trade(1, &order, whole, FAILED);
    sim.tick(43_000);
    sim.trade(1, &order, whole, CONFIRMED);
    sim.tick(0);
    assert_eq!(sim.core.killed(), Some(KillReason::Accounts), "somebody is to look");
    for _ in 0..4 {
        sim.pass(31_000);
        sim.answer(&[], &[whole, Qty::ZERO, Qty::ZERO, Qty::ZERO], None);
    }
    assert_eq!((held(&sim, YES), settled(&sim, YES)), (whole, whole));
}

/// The bot polled for the order's state, the poll failed, and it booked the size that it had asked for.
#[test]
fn story_07_a_poll_that_fails_never_makes_inventory() {
    let shares = |n| ReadEvent::Shares { instrument: YES, qty: Qty::shares(n) };
    let table: [(&str, Vec<ReplyEvent>); 7] = [
        ("no answer at all", vec![]),
        ("neither resting nor a size", vec![ReplyEvent::OrderStatus { order: HASH, live: false, matched: None }]),
        ("resting, no size", vec![ReplyEvent::OrderStatus { order: HASH, live: true, matched: None }]),
        // Even a size is a promise of trades, and no trade.
        (
            "all of it matched",
            vec![ReplyEvent::OrderStatus { order: HASH, live: false, matched: Some(Qty::shares(20)) }],
        ),
        ("a cancel that nobody answers", vec![ReplyEvent::CancelUnknown { order: HASH }]),
        ("shares outside of a reading", vec![ReplyEvent::Read(shares(20))]),
        (
            "a reading that broke off",
            vec![
                ReplyEvent::Read(ReadEvent::Begin { round: ROUND }),
                ReplyEvent::Read(shares(20)),
                ReplyEvent::Read(ReadEvent::Cash { cash: Usdc::dollars(5) }),
                ReplyEvent::Read(ReadEvent::End { round: ROUND, complete: false }),
            ],
        ),
    ];
    for (poll, answers) in table {
        let (mut sim, script) = at_a_half();
        let order = sim.place(&script, take(YES, 5_100, 20)).expect("admitted");
        sim.sent(order.hash());
        sim.reply(ReplyEvent::Unknown { order: order.hash() });
        let cost = exposure(&sim);
        // As often as you like: three times is more than any rule that believes the second one.
        for _ in 0..3 {
            sim.pass(31_000);
            let round = sim.asked.unwrap_or(0);
            for answer in &answers {
                sim.reply(about(*answer, &order, round));
            }
            assert_eq!((held(&sim, YES), settled(&sim, YES)), (Qty::ZERO, Qty::ZERO), "{poll}");
            assert_eq!(sim.core.ledger().cash(), Usdc::dollars(1_000), "{poll}");
            assert_eq!(exposure(&sim), cost, "{poll}: what may be there counts against us, not for us");
        }
        assert_eq!((sim.core.report().fills.count, sim.core.killed()), (0, None), "{poll}");
    }
}

/// Stands for the order's own id in a table.
const HASH: polyloly_fast::types::OrderHash = polyloly_fast::types::OrderHash([0; 32]);
/// Stands for the reading that was asked for.
const ROUND: u32 = u32::MAX;

/// The same answer about this order and this reading.
fn about(answer: ReplyEvent, to: &Approved, asked: u32) -> ReplyEvent {
    match answer {
        ReplyEvent::OrderStatus { live, matched, .. } => ReplyEvent::OrderStatus { order: to.hash(), live, matched },
        ReplyEvent::CancelUnknown { .. } => ReplyEvent::CancelUnknown { order: to.hash() },
        ReplyEvent::Read(ReadEvent::Begin { .. }) => ReplyEvent::Read(ReadEvent::Begin { round: asked }),
        ReplyEvent::Read(ReadEvent::End { complete, .. }) => {
            ReplyEvent::Read(ReadEvent::End { round: asked, complete })
        }
        other => other,
    }
}

/// Selling right after buying: "not enough balance", because the shares had not arrived. It worked at the third to
/// tenth try, or never, and the bot tried for ever.
#[test]
fn story_08_only_settled_shares_are_sold_and_refusals_for_balance_are_bounded() {
    let (mut sim, script) = at_a_half();
    let sell = |shares| Intent { side: Side::Sell, purpose: Purpose::Unwind, ..take(YES, 4_900, shares) };
    let order = sim.place(&script, take(YES, 5_100, 20)).expect("admitted");
    sim.sent(order.hash());
    sim.accepted(order.hash(), AckStatus::Matched);
    for status in [MATCHED, TradeStatus::Mined, TradeStatus::Retrying] {
        sim.trade(1, &order, Qty::shares(20), status);
        assert_eq!(sim.place(&script, sell(20)), None, "{status:?}");
    }
    assert_eq!(refused(&sim, Refusal::NotHeld), 3);
    sim.trade(1, &order, Qty::shares(20), CONFIRMED);

    // Settled: it is offered once, not twice.
    let offered = sim.place(&script, sell(12)).expect("the shares are there");
    assert_eq!(sim.place(&script, Intent { price: Price::from_units(5_000).unwrap(), ..sell(12) }), None);
    assert_eq!(refused(&sim, Refusal::NotHeld), 4);

    // The venue still says no, for a minute, to a strategy that would try ten times a second.
    let (mut tries, mut refusal) = (0, Some(offered));
    sim.asked = None;
    for step in 0..600 {
        if let Some(sent) = refusal.take() {
            tries += 1;
            sim.sent(sent.hash());
            sim.refused(sent.hash(), RejectReason::Balance);
        }
        sim.tick(99);
        assert!(step < 20 || sim.asked.is_some() || sim.core.brief().reconciliation.readings > 1, "balances are read");
        sim.agree();
        refusal = sim.place(&script, sell(12));
    }
    let limits = Limits::default();
    assert!(tries >= u64::from(limits.rejects_to_break), "{tries}");
    assert!(tries <= u64::from(limits.rejects_to_break) + 4, "a trial after 5, 10, 20 and 40 s at most: {tries}");
    assert!(refused(&sim, Refusal::MarketBreaker) > 400);
    assert!(sim.core.report().reconciliation.breaker_trips > 0, "and the alarm is given");
}

/// The venue's own sum of our matched orders never went down. After ten to twenty FAK fills it refused every order for
/// lack of balance, in every market, with the money there.
#[test]
fn story_09_a_balance_that_the_venue_denies_halts_every_market_and_says_so() {
    let (mut sim, script) = at_a_half();
    sim.book_of(M2, &[(4_900, 1_000)], &[(5_100, 1_000)]);
    let breaker = |of, open| ReplyEvent::Breaker { of, open };
    assert!(sim.core.ledger().cash() > Usdc::ZERO);

    // The gateway has seen enough of them and opened its breaker.
    sim.reply(breaker(Dependency::OrdersBalance, true));
    assert_eq!(sim.core.closed(), Some(Refusal::Closed(Closed::BreakerOpen)));
    assert!(sim.core.gate().has(Closed::BreakerOpen), "readiness names it: {:?}", sim.core.gate());
    for (n, instrument) in [YES, NO, InstrumentIx(2), InstrumentIx(3)].into_iter().enumerate() {
        assert_eq!(sim.place(&script, buy(instrument, 4_900, 10)), None);
        assert_eq!(refused(&sim, Refusal::Closed(Closed::BreakerOpen)), n as u64 + 1, "whatever the market");
    }
    // Another dependency that mends does not lift it.
    sim.reply(breaker(Dependency::Reads, true));
    sim.reply(breaker(Dependency::Reads, false));
    assert_eq!(sim.core.closed(), Some(Refusal::Closed(Closed::BreakerOpen)));
    sim.reply(breaker(Dependency::OrdersBalance, false));
    assert!(sim.place(&script, buy(YES, 4_900, 10)).is_some());

    // What rests is pulled by the strategy: nobody knows what the venue would do with it.
    let (mut sim, yes, no) = two_quotes(maker_only());
    let pulled = cancels(&sim.reply(breaker(Dependency::OrdersBalance, true)));
    assert_eq!(pulled, [yes.hash(), no.hash()]);
}

/// The REST book showed 0.01 / 0.99 while the market traded at its price: a bot took the middle for fair.
#[test]
fn story_15_a_ghost_snapshot_is_not_believed_over_what_was_heard_a_moment_ago() {
    let ghost = (&[(100, 5_000)], &[(9_900, 5_000)]);
    let (mut sim, script) = at_a_half();
    sim.book(&[(7_900, 500)], &[(8_100, 500)]);
    let worth = sim.core.report().pnl;

    // After a book with a price.
    sim.tick(1_000);
    let mut actions = sim.book(ghost.0, ghost.1);
    assert_eq!(sim.core.book(YES).distrust(), Some(Distrust::Ghost));
    assert_eq!(sim.place(&script, buy(YES, 5_000, 20)), None, "its middle is nobody's price");
    assert_eq!(refused(&sim, Refusal::BookUntrusted), 1);
    actions.extend(sim.pass(3_000));
    for i in [YES, NO] {
        assert!(actions.contains(&Action::Resync { instrument: i }), "another snapshot is asked for: {i:?}");
    }
    assert_eq!(sim.core.report().pnl.equity_change, worth.equity_change, "nothing is marked to it");
    sim.book(&[(7_900, 500)], &[(8_100, 500)]);
    assert!(sim.place(&script, buy(YES, 7_900, 20)).is_some(), "a sound one ends it");

    // A trade, or the channel's own best prices, are as good a witness as a book.
    for witness in [
        MarketEvent::LastTrade {
            instrument: YES,
            side: Side::Buy,
            price: Price::from_units(8_000).unwrap(),
            qty: Qty::ONE,
        },
        MarketEvent::Top { instrument: YES, bid: Price::from_units(7_900), ask: Price::from_units(8_100) },
    ] {
        let (sim, script) = scripted();
        let mut sim = sim.open();
        sim.market(witness);
        sim.book(ghost.0, ghost.1);
        assert_eq!(sim.core.book(YES).distrust(), Some(Distrust::Ghost), "{witness:?}");
        assert_eq!(sim.place(&script, buy(YES, 5_000, 20)), None);
    }

    // A market where nothing was ever heard, or not for long, may be empty indeed.
    let (sim, _) = scripted();
    let mut sim = sim.open();
    sim.book(ghost.0, ghost.1);
    assert_eq!(sim.core.book(YES).distrust(), None);
    let (mut sim, _) = at_a_half();
    sim.tick(31_000);
    sim.book(ghost.0, ghost.1);
    assert_eq!(sim.core.book(YES).distrust(), None);
}

/// One side of the YES book was empty. The bot took the NO bid for the YES ask, and had every price upside down.
#[test]
fn story_17_a_missing_side_is_missing_and_the_mirror_is_one_minus() {
    let best = |sim: &Sim<Script>, i, side| sim.core.book(i).best(side).map(|l| l.price.units());
    let tops = |sim: &Sim<Script>| {
        [(YES, BookSide::Bid), (YES, BookSide::Ask), (NO, BookSide::Bid), (NO, BookSide::Ask)]
            .map(|(i, side)| best(sim, i, side))
    };
    type Levels = &'static [(u16, u64)];
    // What is in the book; bids and asks of YES; best bid and ask of YES and of NO; whether anything is placed on it.
    type Row = (&'static str, Levels, Levels, [Option<u16>; 4], bool);
    let table: [Row; 4] = [
        ("both sides", &[(7_000, 100)], &[(7_200, 100)], [Some(7_000), Some(7_200), Some(2_800), Some(3_000)], true),
        ("bids only", &[(7_000, 100)], &[], [Some(7_000), None, None, Some(3_000)], false),
        ("asks only", &[], &[(7_200, 100)], [None, Some(7_200), Some(2_800), None], false),
        ("empty", &[], &[], [None; 4], false),
    ];
    for (what, bids, asks, expected, admitted) in table {
        let (sim, script) = scripted();
        let mut sim = sim.open();
        sim.book(bids, asks);
        assert_eq!(tops(&sim), expected, "{what}");
        // Near enough to every price there is, so that it is the missing side alone which refuses it.
        assert_eq!(sim.place(&script, buy(YES, 6_900, 20)).is_some(), admitted, "{what}");
        assert_eq!(sim.place(&script, buy(NO, 2_700, 20)).is_some(), admitted, "{what}");
        let cheap = sim.place(&script, buy(YES, 5_500, 20));
        assert_eq!(cheap.is_some(), admitted, "{what}: nor is it priced off a half");

        // The strategy that trades sees nothing to quote either, and where it does, each token at its own price.
        let mut sim = pair().open();
        let quotes = placed(&sim.book(bids, asks));
        let quoted: Vec<_> = quotes.iter().map(|q| (q.intent().instrument, q.intent().price.units())).collect();
        let wanted: &[_] = if admitted { &[(YES, 7_100 - 100), (NO, 2_900 - 100)] } else { &[] };
        assert_eq!(quoted.len(), wanted.len(), "{what}: {quoted:?}");
        for ((i, price), (wanted_i, wanted_price)) in quoted.iter().zip(wanted) {
            assert_eq!((i, price), (wanted_i, wanted_price), "{what}");
        }
    }

    // Two books that show the same numbers are not mirrors of each other: one of them is upside down.
    let (sim, script) = scripted();
    let mut sim = sim.open();
    for instrument in [YES, NO] {
        sim.market(MarketEvent::SnapshotStart { instrument, tick: None, venue_ms: 0 });
        for (side, units) in [(BookSide::Bid, 7_000), (BookSide::Ask, 7_200)] {
            let price = Price::from_units(units).unwrap();
            sim.market(MarketEvent::Level { instrument, side, price, qty: Qty::shares(100) });
        }
        sim.market(MarketEvent::SnapshotEnd { instrument });
    }
    sim.market(MarketEvent::FrameEnd { venue_ms: 0 });
    assert_eq!(sim.place(&script, buy(YES, 7_000, 20)), None);
    let actions = sim.pass(1_500);
    assert_eq!(sim.core.book(YES).distrust(), Some(Distrust::MirrorMismatch));
    assert!(actions.contains(&Action::Resync { instrument: YES }));
}

/// The tick size changed in the middle of a market's life; bots kept levels and orders of the old grid.
#[test]
fn story_19_a_new_tick_size_drops_the_book_and_what_rested_on_the_old_grid() {
    let change = |sim: &mut Sim<_>, tick| -> Vec<Action> {
        let both = [YES, NO].map(|instrument| sim.market(MarketEvent::TickSizeChange { instrument, tick }));
        [both.concat(), sim.market(MarketEvent::FrameEnd { venue_ms: 0 })].concat()
    };
    let (mut sim, yes, no) = two_quotes(maker_only());
    let pulled = cancels(&change(&mut sim, TickSize::Mill));
    assert_eq!(pulled, [yes.hash(), no.hash()]);
    for order in pulled {
        sim.reply(ReplyEvent::Cancelled { order });
    }
    // Nothing of the old epoch stands, and changes alone do not build a new one.
    assert_eq!(sim.core.book(YES).distrust(), Some(Distrust::TickChanged));
    assert_eq!(sim.core.book(YES).best(BookSide::Bid), None);
    let price = Price::from_units(4_800).unwrap();
    sim.market(MarketEvent::Delta { instrument: YES, side: BookSide::Bid, price, qty: Qty::shares(5) });
    sim.market(MarketEvent::FrameEnd { venue_ms: 0 });
    assert_eq!(sim.core.book(YES).best(BookSide::Bid), None);
    assert_eq!(placed(&sim.pass(500)), []);

    // A snapshot of the new grid opens it, and the new grid is used.
    let quotes = placed(&sim.book(&[(4_810, 100)], &[(5_190, 100)]));
    assert_eq!(quotes.iter().map(|q| q.intent().price.units()).collect::<Vec<_>>(), [4_820, 4_820]);
    quotes.iter().for_each(|q| drop(sim.rests(q.hash())));

    // Back to cents: what rests between the ticks is pulled, and levels between the ticks spoil a snapshot.
    let pulled = cancels(&change(&mut sim, TickSize::Cent));
    assert_eq!(pulled.len(), 2, "0.482 is off the grid now");
    pulled.into_iter().for_each(|order| drop(sim.reply(ReplyEvent::Cancelled { order })));
    assert_eq!(placed(&sim.book(&[(4_810, 100)], &[(5_190, 100)])), []);
    assert_eq!(sim.core.book(YES).distrust(), Some(Distrust::OffGrid));
    let quotes = placed(&sim.book(&[(4_800, 100)], &[(5_200, 100)]));
    assert_eq!(quotes.len(), 2);
    assert!(quotes.iter().all(|q| q.intent().price.on_grid(TickSize::Cent)), "{quotes:?}");

    // Whoever still computes on the old grid does not get past risk.
    let (mut sim, script) = at_a_half();
    assert_eq!(sim.place(&script, buy(YES, 4_820, 20)), None);
    assert_eq!(refused(&sim, Refusal::OffGrid), 1);
}

/// The first answer to a FAK was "live, 0 shares", or `delayed`; the bot read it as "nothing filled" and tried again
/// inside the delay. Then both filled. Others hung for ever, because the end of the delay had a word they did not know.
#[test]
fn story_25_what_is_delayed_is_neither_filled_nor_gone_until_the_venue_says_which() {
    type Told = fn(&mut Sim<Script>, &Approved);
    let table: [(&str, Told, OrderState, u64); 7] = [
        ("filled", |sim, o| drop(sim.trade(1, o, Qty::shares(20), MATCHED)), OrderState::Matched, 20),
        ("unmatched", |sim, o| drop(sim.seen(o.hash(), OrderChange::Cancelled)), OrderState::Cancelled, 0),
        ("invalid", |sim, o| drop(sim.seen(o.hash(), OrderChange::Invalid)), OrderState::Cancelled, 0),
        (
            "in part",
            |sim, o| {
                sim.trade(1, o, Qty::shares(8), MATCHED);
                word(sim, o, OrderChange::Cancelled, Some(Qty::shares(8)));
            },
            OrderState::Cancelled,
            8,
        ),
        (
            "in part, the word before the trade",
            |sim, o| {
                word(sim, o, OrderChange::Cancelled, Some(Qty::shares(8)));
                let eight = Qty::shares(8).notional_ceil(o.intent().price);
                assert!(exposure(sim) >= eight, "eight are ours although no trade says so yet");
                sim.trade(1, o, Qty::shares(8), MATCHED);
            },
            OrderState::Cancelled,
            8,
        ),
        (
            "nobody tells: it is asked after, and not there",
            |sim, o| {
                for _ in 0..2 {
                    assert!(lookups(&sim.pass(6_000)).contains(&o.hash()));
                    gone(sim, o, None);
                }
            },
            OrderState::Cancelled,
            0,
        ),
        (
            "nobody tells: it is asked after, and matched",
            |sim, o| {
                for _ in 0..3 {
                    assert!(lookups(&sim.pass(6_000)).contains(&o.hash()));
                    gone(sim, o, Some(Qty::shares(20)));
                }
                assert!(!sim.state(&o.hash()).is_terminal(), "its trades are still to come");
                sim.trade(1, o, Qty::shares(20), MATCHED);
            },
            OrderState::Matched,
            20,
        ),
    ];
    for answer in [AckStatus::Delayed, AckStatus::Live] {
        for (end, told, state, shares) in &table {
            let (mut sim, script) = at_a_half();
            let order = sim.place(&script, take(YES, 5_100, 20)).expect("admitted");
            let epoch = order.intent().epoch;
            let cost = exposure(&sim);
            sim.sent(order.hash());
            sim.accepted(order.hash(), answer);
            // Inside the delay: held, counted whole, not cancelled in vain, and the same wish is not a second order.
            for _ in 0..9 {
                let mut actions = sim.pass(100);
                actions.extend(sim.wish(&script, M, Wish::Cancel(order.hash())));
                actions.extend(sim.wish(&script, M, Wish::Place(take(YES, 5_100, 20))));
                actions.extend(sim.wish(&script, M, Wish::Place(Intent { epoch, ..take(YES, 5_200, 20) })));
                assert_eq!((placed(&actions), cancels(&actions)), (vec![], vec![]), "{answer:?}, {end}");
                assert_eq!(exposure(&sim), cost, "{answer:?}, {end}");
            }
            // A cancel that was sent all the same is refused, and that is no harm.
            sim.cancel_refused(order.hash(), CancelRefusal::Delayed);
            assert!(!sim.state(&order.hash()).is_terminal());
            told(&mut sim, &order);
            assert_eq!(
                (sim.state(&order.hash()), held(&sim, YES)),
                (*state, Qty::shares(*shares)),
                "{answer:?}, {end}"
            );
            let spent = Qty::shares(*shares).notional_floor(order.intent().price);
            assert_eq!(exposure(&sim), spent, "{answer:?}, {end}: what is not ours is not held any more");
        }
    }

    // The strategy that trades completes a leg as taker: inside the delay it does not ask for the rest again, even
    // when the book moves.
    let eager = PairParams { skew_units: 2_500, taker_pause_ms: 1, ..PairParams::default() };
    let (mut sim, yes, no) = two_quotes(eager);
    word(&mut sim, &no, OrderChange::Cancelled, Some(Qty::ZERO));
    let taken = |actions: &[Action]| -> Vec<Approved> {
        placed(actions).into_iter().filter(|a| a.intent().tif.is_immediate()).collect()
    };
    let actions = sim.trade(1, &yes, Qty::shares(50), MATCHED);
    let [first] = taken(&actions)[..] else { panic!("it completes at once: {actions:?}") };
    sim.sent(first.hash());
    sim.accepted(first.hash(), AckStatus::Delayed);
    for step in 0..10 {
        let ask = 5_200 + 100 * (step % 2);
        let mut actions = sim.book(&[(10_000 - ask - 400, 100)], &[(ask, 100)]);
        actions.extend(sim.book(&[(4_800, 100)], &[(5_200, 100)]));
        actions.extend(sim.pass(300));
        assert_eq!(taken(&actions), [], "step {step}");
    }
    let mut after = sim.seen(first.hash(), OrderChange::Cancelled);
    after.extend(sim.pass(200));
    assert_eq!(taken(&after).len(), 1, "unmatched after the delay: now it may");
}

/// A taker inside the venue's delay cannot be cancelled, and its funds are reserved. The kill switch was pulled, the
/// bot called itself flat, and then it was filled.
#[test]
fn story_26_the_kill_switch_during_the_delay_counts_the_order_and_cancels_again_after_it() {
    for fills in [false, true] {
        let (mut sim, script) = at_a_half();
        let marketable = Intent { post_only: false, ..buy(YES, 5_100, 20) };
        let order = sim.place(&script, marketable).expect("admitted");
        let cost = exposure(&sim);
        sim.sent(order.hash());
        sim.accepted(order.hash(), AckStatus::Delayed);
        let killed = sim.control(ControlEvent::Kill(KillReason::Manual));
        assert!(killed.contains(&Action::CancelAll));
        sim.cancel_refused(order.hash(), CancelRefusal::Delayed);
        assert_eq!((sim.state(&order.hash()), exposure(&sim)), (OrderState::Delayed, cost), "not flat yet");
        let during = sim.pass(3_000);
        assert!(during.contains(&Action::CancelAll), "it is not forgotten");
        assert_eq!(exposure(&sim), cost);

        if fills {
            sim.trade(1, &order, Qty::shares(20), MATCHED);
            assert_eq!((held(&sim, YES), exposure(&sim)), (Qty::shares(20), Usdc::parse(b"10.2").unwrap()));
        } else {
            sim.seen(order.hash(), OrderChange::Placed);
            assert!(sim.pass(1_100).contains(&Action::CancelAll), "what rests after the delay is cancelled");
            sim.seen(order.hash(), OrderChange::Cancelled);
            assert_eq!(exposure(&sim), Usdc::ZERO);
        }
        let after = sim.pass(3_000);
        assert!(!after.contains(&Action::CancelAll), "nothing is open any more");
        assert_eq!(sim.core.report().orders.sent, 1);
    }
}

/// Every order of some things.
fn permutations(of: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for n in 0..of {
        all = all
            .into_iter()
            .flat_map(|p| {
                (0..=p.len()).map(move |at| {
                    let mut q: Vec<usize> = p.clone();
                    q.insert(at, n);
                    q
                })
            })
            .collect();
    }
    all
}

/// A trade came after its order's last word, matched more than the order had, and the engine panicked. Elsewhere orders
/// never ended, or went back and forth between filled and not, for a hundredth of a share.
#[test]
fn story_33_order_trade_and_cancel_in_every_sequence_end_the_same_and_nothing_panics() {
    type Tell = fn(&mut Sim<Script>, &Approved);
    let sent: Tell = |sim, o| drop(sim.sent(o.hash()));
    let acked: Tell = |sim, o| drop(sim.accepted(o.hash(), AckStatus::Live));
    let rests: Tell = |sim, o| drop(sim.seen(o.hash(), OrderChange::Placed));
    let first: Tell = |sim, o| drop(sim.trade(1, o, Qty::shares(8), MATCHED));
    let first_settles: Tell = |sim, o| drop(sim.trade(1, o, Qty::shares(8), CONFIRMED));
    let rest: Tell = |sim, o| drop(sim.trade(2, o, Qty::shares(12), CONFIRMED));
    let rest_fails: Tell = |sim, o| drop(sim.trade(2, o, Qty::shares(12), FAILED));
    let dust: Tell = |sim, o| drop(sim.trade(2, o, Qty(11_995_000), CONFIRMED));
    let too_much: Tell = |sim, o| drop(sim.trade(2, o, Qty::shares(15), CONFIRMED));
    let cancelled: Tell = |sim, o| drop(word(sim, o, OrderChange::Cancelled, Some(Qty::shares(8))));
    let cancel_answered: Tell = |sim, o| drop(sim.reply(ReplyEvent::Cancelled { order: o.hash() }));
    let cancel_too_late: Tell = |sim, o| drop(sim.cancel_refused(o.hash(), CancelRefusal::Matched));
    let lost: Tell = |sim, o| drop(sim.reply(ReplyEvent::Unknown { order: o.hash() }));

    use OrderState::{Cancelled, Matched};
    // What is told in every sequence; the end of the order, shares held and settled, whether the market is halted.
    let eight = Qty::shares(8);
    type Row<'a> = (&'a str, &'a [Tell], OrderState, Qty, Qty, bool);
    let table: [Row<'_>; 7] = [
        ("filled", &[sent, acked, rests, first, first_settles, rest], Matched, Qty::shares(20), Qty::shares(20), false),
        ("cancelled", &[sent, acked, first, first_settles, cancelled, cancel_answered], Cancelled, eight, eight, false),
        (
            "too late to cancel",
            &[sent, acked, first, rest, cancel_too_late],
            Matched,
            Qty::shares(20),
            Qty::shares(12),
            false,
        ),
        (
            "the answer is lost",
            &[lost, rests, first, first_settles, rest],
            Matched,
            Qty::shares(20),
            Qty::shares(20),
            false,
        ),
        ("a trade fails", &[sent, acked, first, first_settles, rest_fails, rest_fails], Matched, eight, eight, false),
        ("dust is left", &[sent, acked, rests, first, dust], Matched, Qty(19_995_000), Qty(11_995_000), false),
        ("too much", &[sent, acked, rests, first, too_much], Matched, Qty::shares(23), Qty::shares(15), true),
    ];
    for (what, told, state, shares, settles, halted) in table {
        for order_of_telling in permutations(told.len()) {
            let (mut sim, script) = at_a_half();
            let order = sim.place(&script, buy(YES, 4_900, 20)).expect("admitted");
            let most = exposure(&sim).max(Qty::shares(23).notional_ceil(order.intent().price));
            for &n in &order_of_telling {
                told[n](&mut sim, &order);
                assert!(exposure(&sim) <= most, "{what} {order_of_telling:?}");
            }
            // Everything again, as a feed that comes back tells it.
            for &n in &order_of_telling {
                told[n](&mut sim, &order);
            }
            assert_eq!(sim.state(&order.hash()), state, "{what} {order_of_telling:?}");
            assert_eq!((held(&sim, YES), settled(&sim, YES)), (shares, settles), "{what} {order_of_telling:?}");
            assert_eq!(sim.core.working().count(), 0, "{what} {order_of_telling:?}");
            assert_eq!((sim.core.ledger().anomalies(), sim.core.ledger().balanced()), (0, true), "{what}");
            assert_eq!(sim.place(&script, buy(YES, 4_800, 20)).is_none(), halted, "{what} {order_of_telling:?}");
            if halted {
                assert_eq!(refused(&sim, Refusal::Market(MarketClosed::Mismatch)), 1, "{what}");
            }
        }
    }
}

/// Two pieces of code saw one signal, gave it two ids, and bought one market twice.
#[test]
fn story_34_one_number_is_one_order_whoever_wishes_for_it() {
    // Two wishes of one number, differing in whatever two pieces of code may differ in.
    let one = buy(YES, 4_900, 20);
    let at = |units| Price::from_units(units).unwrap();
    let table: [(&str, Intent); 6] = [
        ("the same", one),
        ("another price", Intent { price: at(4_800), ..one }),
        ("another size", Intent { qty: Qty::shares(30), price: at(4_800), ..one }),
        ("the other token", Intent { instrument: NO, price: at(4_700), ..one }),
        ("as taker", Intent { price: at(5_100), tif: TimeInForce::Fak, post_only: false, ..one }),
        ("fill or kill", Intent { price: at(5_100), tif: TimeInForce::Fok, post_only: false, ..one }),
    ];
    for (what, other) in table {
        // In one decision, and in two.
        for apart in [false, true] {
            let (mut sim, script) = at_a_half();
            let [first, second] = [one, other].map(|intent| (M, Wish::Place(Intent { epoch: 7, ..intent })));
            script.wishes.borrow_mut().push_back(first);
            let mut actions = if apart { sim.tick(0) } else { vec![] };
            script.wishes.borrow_mut().push_back(second);
            actions.extend(sim.tick(0));
            assert_eq!(placed(&actions).len(), 1, "{what}, apart: {apart}");
            assert_eq!(refused(&sim, Refusal::Duplicate), 1, "{what}, apart: {apart}");
            // Nor when the first is over and done with.
            let order = placed(&actions)[0];
            sim.rests(order.hash());
            sim.trade(1, &order, Qty::shares(20), CONFIRMED);
            script.wishes.borrow_mut().push_back(second);
            assert_eq!(placed(&sim.tick(5_000)), [], "{what}, after the first filled");
            // The next signal has the next number.
            let next = Intent { epoch: 8, ..one };
            assert!(sim.place_numbered(&script, next).is_some(), "{what}");
        }
    }
    // A number belongs to a market: another market's is its own.
    let (mut sim, script) = at_a_half();
    sim.book_of(M2, &[(4_900, 1_000)], &[(5_100, 1_000)]);
    for instrument in [YES, InstrumentIx(2)] {
        assert!(sim.place_numbered(&script, Intent { epoch: 7, ..buy(instrument, 4_900, 20) }).is_some());
    }
}

/// Wishes for everything, always: a bid on both tokens of the market, and a merge.
#[derive(Debug)]
struct Greedy;

impl Strategy for Greedy {
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes) {
        for (n, i) in [0, 1].into_iter().enumerate() {
            let epoch = view.epochs[StrategyId::Manual as usize] + n as u32;
            let _ = out.push(Wish::Place(Intent {
                tif: TimeInForce::Gtc,
                epoch,
                ..buy(InstrumentIx(view.market.0 * 2 + i), 4_900, 10)
            }));
        }
        let _ = out.push(Wish::Merge(Qty::ONE));
    }

    fn filled(&mut self, _: &View<'_>, _: &NewFill) {}

    fn digest(&self, _: &mut StateHasher) {}
}

/// What may happen around a stop. Orders are named by when they were placed.
#[derive(Clone, Copy, Debug)]
enum Next {
    Hear(Event),
    Agree,
    Book(u16),
    Wait(u64),
    Order(usize, u8),
    Fill(usize, u8),
}

fn anything() -> impl proptest::strategy::Strategy<Value = Next> {
    use proptest::prelude::Strategy as _;
    let recovered = RecoveredEvent::Shares { instrument: YES, qty: Qty::shares(5) };
    let events = vec![
        Event::User(UserEvent::Up),
        Event::User(UserEvent::Down),
        Event::Reply(ReplyEvent::GatewayUp),
        Event::Reply(ReplyEvent::GatewayDown),
        Event::Reply(ReplyEvent::Heartbeat { healthy: true }),
        Event::Reply(ReplyEvent::Heartbeat { healthy: false }),
        Event::Reply(ReplyEvent::ClockAhead { ms: 0 }),
        Event::Reply(ReplyEvent::Mode { mode: VenueMode::Normal, for_ms: 0 }),
        Event::Reply(ReplyEvent::Mode { mode: VenueMode::Restarting, for_ms: 90_000 }),
        Event::Reply(ReplyEvent::Breaker { of: Dependency::OrdersBalance, open: false }),
        Event::Reply(ReplyEvent::Collateral { cash: Usdc::dollars(1_000) }),
        Event::Reply(ReplyEvent::MergeFailed { market: M, qty: Qty::ONE }),
        Event::Reply(ReplyEvent::MergeFailed { market: M2, qty: Qty::ONE }),
        Event::Control(ControlEvent::Stop),
        Event::Control(ControlEvent::Kill(KillReason::Manual)),
        Event::Control(ControlEvent::ResetKill),
        Event::Control(ControlEvent::Resume(M)),
        Event::Control(ControlEvent::Resume(M2)),
        Event::Control(ControlEvent::Halt(M)),
        Event::Control(ControlEvent::JournalDown),
        Event::Control(ControlEvent::JournalUp),
        Event::Control(ControlEvent::CancelAll),
        Event::Start { run_tag: 6, cash: Usdc::dollars(1_000), match_feed: false },
        Event::Recovered(recovered),
        Event::Market(MarketEvent::Resolved { market: M2, payout: Payout::Yes }),
    ];
    prop_oneof![
        6 => prop::sample::select(events).prop_map(Next::Hear),
        2 => proptest::strategy::Just(Next::Agree),
        2 => (40_u16..60).prop_map(Next::Book),
        2 => (0_u64..40_000).prop_map(Next::Wait),
        3 => (0_usize..8, 0_u8..7).prop_map(|(n, what)| Next::Order(n, what)),
        2 => (0_usize..8, any::<u8>()).prop_map(|(n, trade)| Next::Fill(n, trade)),
    ]
}

/// Lets one thing happen.
fn happen<S: Strategy>(sim: &mut Sim<S>, next: Next, orders: &[Approved]) -> Vec<Action> {
    match next {
        Next::Hear(event) => sim.hear(event),
        Next::Agree => sim.agree(),
        Next::Book(cents) => sim.book(&[(cents * 100, 500)], &[(cents * 100 + 200, 500)]),
        Next::Wait(ms) => sim.tick(ms),
        Next::Order(n, what) => {
            let Some(order) = orders.get(n).map(Approved::hash) else { return vec![] };
            match what {
                0 => sim.sent(order),
                1 => sim.accepted(order, AckStatus::Live),
                2 => sim.accepted(order, AckStatus::Delayed),
                3 => sim.refused(order, RejectReason::Crosses),
                4 => sim.reply(ReplyEvent::Unknown { order }),
                5 => sim.reply(ReplyEvent::NeverSent { order }),
                _ => sim.seen(order, OrderChange::Cancelled),
            }
        }
        Next::Fill(n, trade) => {
            orders.get(n).copied().map_or_else(Vec::new, |o| sim.trade(trade, &o, Qty::shares(10), CONFIRMED))
        }
    }
}

/// A kill switch crashed and orders went on; orders left after the stop; a reconnect brought a stopped bot back.
/// Ten thousand stories of a run, each with a stop somewhere in it.
#[test]
fn story_35_a_stop_is_for_good_whatever_comes_after_it() {
    use std::cell::Cell;
    let (runs, placed_before) = (10_000, Cell::new(0_usize));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(runs));
    let stories = (
        prop::collection::vec(anything(), 0..12),
        prop::sample::select(vec![ControlEvent::Stop, ControlEvent::Kill(KillReason::Manual)]),
        prop::collection::vec(anything(), 1..24),
    );
    let told = runner.run(&stories, |(before, stop, after)| {
        let core = Engine::new(&universe(), Limits::default(), Greedy);
        let mut sim = Sim { core, seq: 0, now: BEGAN, asked: None };
        sim.hear(Event::Start { run_tag: 5, cash: Usdc::dollars(1_000), match_feed: false });
        let mut sim = sim.open();
        let mut orders = placed(&sim.book(&[(4_900, 500)], &[(5_100, 500)]));
        for next in before {
            let actions = happen(&mut sim, next, &orders);
            orders.extend(placed(&actions));
        }
        placed_before.set(placed_before.get() + orders.len());
        sim.control(stop);
        let shut = if stop == ControlEvent::Stop { Closed::Stopping } else { Closed::KillSwitch };
        for next in after {
            // A kill is lifted by whoever may lift it, and by nobody else; a stop by nobody at all.
            if stop != ControlEvent::Stop && matches!(next, Next::Hear(Event::Control(ControlEvent::ResetKill))) {
                continue;
            }
            let actions = happen(&mut sim, next, &orders);
            prop_assert_eq!(placed(&actions), vec![], "after {:?}: {:?}", stop, next);
            prop_assert!(sim.core.gate().has(shut), "{:?} reopened the gate after {:?}", next, stop);
            let merges = actions.iter().any(|a| matches!(a, Action::Merge { .. }));
            prop_assert!(!merges || shut != Closed::Stopping, "merged after a stop: {:?}", next);
        }
        Ok(())
    });
    if let Err(error) = told {
        panic!("{error}");
    }
    assert!(placed_before.get() > runs as usize, "the strategy would have traded: {}", placed_before.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same with the strategy that trades, through the word of every order and book that it meets.
    #[test]
    fn story_35_the_strategy_that_trades_stays_stopped(
        before in prop::collection::vec(anything(), 0..30), after in prop::collection::vec(anything(), 1..60),
    ) {
        let mut sim = pair().open();
        let mut orders = placed(&sim.book(&[(4_800, 500)], &[(5_200, 500)]));
        for next in before {
            let actions = happen(&mut sim, next, &orders);
            orders.extend(placed(&actions));
        }
        sim.control(ControlEvent::Stop);
        for next in after {
            prop_assert_eq!(placed(&happen(&mut sim, next, &orders)), vec![]);
        }
    }
}
