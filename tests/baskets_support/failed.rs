//! Trades that fail, or come, after their basket was done.

use polyloly_fast::{
    engine::Approved,
    strategies::baskets::flight::Stage,
    types::{
        InstrumentIx, Qty, Side,
        event::{OrderChange, TradeStatus},
    },
};

use super::{
    A_SERIES, TOTAL,
    baskets_support::{Told, at, fill_as, kill, names, params, planted},
    fill,
};

const TOKENS: [InstrumentIx; 2] = [A_SERIES, names::B_PLUS];

/// A basket whose legs are filled, and whose trades are not settled.
fn done() -> (Told, Vec<u16>, [Approved; 2]) {
    let (mut sim, prices) = planted(&TOKENS, 200);
    let orders = super::placed(&sim.told(&TOKENS, &prices));
    let legs = at(&orders, TOKENS);
    for leg in &legs {
        fill_as(&mut sim, leg, leg.intent().qty, &[TradeStatus::Matched]);
    }
    assert_eq!((sim.stage(), sim.tally().level, sim.last().len()), (Stage::Idle, 1, 0));
    (sim, prices, legs)
}

/// So that no other is taken, and what is missing is there at its price.
fn offer_again(sim: &mut Told, prices: &[u16], dearer: u16) {
    sim.book(A_SERIES, prices[0] + 300, 100);
    sim.book(names::B_PLUS, prices[1] + dearer, 100);
    sim.tick(2_000);
    sim.last();
}

fn fails(sim: &mut Told, leg: &Approved) {
    fill_as(sim, leg, leg.intent().qty, &[TradeStatus::Failed]);
}

#[test]
fn a_trade_that_fails_after_its_basket_was_done_is_made_up_for() {
    let (mut sim, prices, [series, plus]) = done();
    let q = plus.intent().qty;
    offer_again(&mut sim, &prices, 100);
    fails(&mut sim, &plus);
    // It is not level, whatever was said before, and what is missing is bought at once.
    let sent = sim.last();
    assert_eq!((sent.len(), sim.stage(), sim.flight().n), (1, Stage::Completing, 1));
    let i = sent[0].intent();
    assert_eq!((i.side, i.instrument, i.qty, i.price.units()), (Side::Buy, names::B_PLUS, q, prices[1] + 100));
    assert_eq!(sim.tally().level, 0);
    fill(&mut sim, &sent[0], q);
    let tally = sim.tally();
    assert_eq!((tally.sent, tally.level, tally.uneven, tally.shares), (1, 1, 0, q));
    assert_eq!(sim.stage(), Stage::Idle);
    let baskets = &sim.0.core.strategy().baskets;
    assert_eq!(TOKENS.map(|t| baskets.kept(t)), [q, q]);
    fill_as(&mut sim, &series, q, &[TradeStatus::Confirmed]);
    assert!(sim.0.core.ledger().balanced() && sim.0.core.ledger().anomalies() == 0);
}

#[test]
fn where_that_is_too_dear_the_other_leg_is_sold_once_it_is_settled() {
    let (mut sim, prices, [series, plus]) = done();
    let q = plus.intent().qty;
    offer_again(&mut sim, &prices, 1_500);
    fails(&mut sim, &plus);
    assert_eq!((sim.last().len(), sim.stage()), (0, Stage::Partial));
    fill_as(&mut sim, &series, q, &[TradeStatus::Confirmed]);
    let sent = sim.last();
    assert_eq!((sent.len(), sim.stage()), (1, Stage::Unwinding));
    let i = sent[0].intent();
    assert_eq!((i.side, i.instrument, i.qty), (Side::Sell, A_SERIES, q));
    fill(&mut sim, &sent[0], q);
    let tally = sim.tally();
    assert_eq!((tally.sent, tally.level, tally.nothing, tally.uneven), (1, 0, 1, 0));
    assert_eq!((tally.shares, tally.paid, tally.pays), Default::default());
}

#[test]
fn it_waits_until_the_one_that_is_on_its_way_is_over_and_goes_before_the_next() {
    let (mut sim, prices, [_, plus]) = done();
    offer_again(&mut sim, &prices, 600);
    let other = [names::A_MINUS, names::B_MINUS, TOTAL];
    let (_, others) = planted(&other, 200);
    let second = super::placed(&sim.told(&other, &others));
    assert_eq!((second.len(), sim.flight().n), (3, 2));
    fails(&mut sim, &plus);
    assert_eq!((sim.last().len(), sim.flight().n), (0, 2));
    second.iter().for_each(|o| kill(&mut sim, o));
    // There is a better basket to be had; what is not level comes first.
    sim.book(names::B_PLUS, prices[1] + 100, 100);
    sim.tick(2_000);
    let sent = sim.last();
    assert_eq!((sim.flight().n, sent.len(), sent[0].intent().instrument), (1, 1, names::B_PLUS));
}

#[test]
fn what_fails_again_and_again_is_given_up() {
    let (mut sim, prices, [_, plus]) = done();
    offer_again(&mut sim, &prices, 100);
    let (mut last, mut sent) = (plus, 0);
    for _ in 0..20 {
        fails(&mut sim, &last);
        sim.tick(2_000);
        let Some(next) = sim.last().first().copied() else { break };
        sent += 1;
        fill_as(&mut sim, &next, next.intent().qty, &[TradeStatus::Matched]);
        sim.tick(2_000);
        sim.last();
        last = next;
    }
    assert_eq!(sent, params().baskets.tries);
    let tally = sim.tally();
    assert_eq!((sim.stage(), tally.sent, tally.level, tally.uneven), (Stage::Idle, 1, 0, 1));
}

#[test]
fn a_trade_that_comes_after_its_order_was_taken_for_gone_is_counted_with_its_basket() {
    let (mut sim, prices) = planted(&TOKENS, 200);
    let orders = super::placed(&sim.told(&TOKENS, &prices));
    let [series, plus] = at(&orders, TOKENS);
    // Nothing of either is filled, as far as is said.
    for leg in [&series, &plus] {
        sim.0.sent(leg.hash());
        sim.0.seen(leg.hash(), OrderChange::Cancelled);
    }
    sim.tick(0);
    assert_eq!((sim.stage(), sim.tally().nothing), (Stage::Idle, 1));
    offer_again(&mut sim, &prices, 100);
    let part = Qty::shares(40);
    fill_as(&mut sim, &series, part, &[TradeStatus::Matched, TradeStatus::Confirmed]);
    let sent = sim.last();
    assert_eq!((sent.len(), sim.stage(), sent[0].intent().qty), (1, Stage::Completing, part));
    fill(&mut sim, &sent[0], part);
    let tally = sim.tally();
    assert_eq!((tally.sent, tally.level, tally.nothing, tally.shares), (1, 1, 0, part));
}
