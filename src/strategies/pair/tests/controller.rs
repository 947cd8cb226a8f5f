//! The leg-risk controller: each choice with its value worked out by hand.

use super::*;
use crate::strategies::pair::legs::{Choice, Legs, Maker};

const CONFIRMED: TradeStatus = TradeStatus::Confirmed;

/// At a half, one cent of half-spread and the fee of 1.25 cents: −22 500 for a taker before the hold.
const BASE: Legs = Legs {
    carry_ppm: 5_000,
    maker: Some(Maker { fill_ppm: 500_000, earns_ppm: 10_000 }),
    cross_ppm: 10_000,
    fee_ppm: 12_500,
    hold_ppm: 0,
    merge_ppm: 0,
    may_buy: true,
    may_sell: true,
};

#[test]
fn the_choice_is_the_best_expected_value() {
    let slow = Some(Maker { fill_ppm: 100_000, earns_ppm: 10_000 });
    let heavy = Legs { carry_ppm: 40_000, maker: slow, ..BASE };
    let table = [
        ("½·10 000 − ½·5 000 = +2 500 against −22 500 and −5 000", BASE, Choice::Make, 2_500),
        (
            "−25 500 against 0.1·10 000 − 0.9·40 000 = −35 000",
            Legs { hold_ppm: 3_000, ..heavy },
            Choice::Complete,
            -25_500,
        ),
        ("the same, without collateral", Legs { hold_ppm: 3_000, may_buy: false, ..heavy }, Choice::Unwind, -25_500),
        ("the same, a merge to be paid", Legs { hold_ppm: 3_000, merge_ppm: 1_000, ..heavy }, Choice::Unwind, -25_500),
        ("the hold costs 13 000: −35 500 against −35 000", Legs { hold_ppm: 13_000, ..heavy }, Choice::Make, -35_000),
        (
            "no quote possible, −22 500 against −20 000",
            Legs { carry_ppm: 20_000, maker: None, ..BASE },
            Choice::Hold,
            -20_000,
        ),
        (
            "no quote possible, −22 500 against −23 000",
            Legs { carry_ppm: 23_000, maker: None, ..BASE },
            Choice::Complete,
            -22_500,
        ),
        (
            "a maker that would lose more than carrying: ½·(−30 000) − ½·5 000 = −17 500",
            Legs { maker: Some(Maker { fill_ppm: 500_000, earns_ppm: -30_000 }), ..BASE },
            Choice::Hold,
            -5_000,
        ),
        ("neither collateral nor shares", Legs { may_buy: false, may_sell: false, ..heavy }, Choice::Make, -35_000),
    ];
    for (what, legs, choice, value) in table {
        assert_eq!(legs.choose(), choice, "{what}");
        let of = legs.values().into_iter().find(|(c, _)| *c == choice).and_then(|(_, v)| v);
        assert_eq!(of, Some(value), "{what}");
    }
}

/// What is held, and the taker's order that follows, if one does.
fn taken(params: PairParams, yes: u64, status: TradeStatus, dollars: i64, book: [&[(u16, u64)]; 2]) -> Option<Intent> {
    let mut floor = Floor::new(params);
    let tick =
        if book.iter().any(|side| side.iter().any(|(u, _)| u % 100 != 0)) { TickSize::Mill } else { TickSize::Cent };
    floor.tick(tick);
    floor.book(book[0], book[1]);
    floor.hold(YES, yes, status);
    floor.ledger.open(Usdc::dollars(dollars));
    floor.placed().into_iter().find(|i| i.tif.is_immediate())
}

/// Both pairs cost 0.98 before the fee. Carrying costs 2.5 skews of a cent, times 4·p·(1 − p), at a net of 150.
#[test]
fn there_is_no_flat_threshold_between_a_pair_that_is_taken_and_one_that_is_not() {
    let params = || PairParams { skew_units: 110, adverse_units: 1_000, ..PairParams::default() };
    // YES was bought at 0.49; NO is 0.45 / 0.49: half-spread 2 cents, fee 1.25, carrying 2.74.
    let even = taken(params(), 150, CONFIRMED, 1_000, [&[(5_100, 500)], &[(5_500, 500)]]);
    assert_eq!(even, None);
    // YES was bought at 0.10; NO is 0.878 / 0.880: half-spread 0.1 cents, fee 0.53, carrying 1.17.
    let far = taken(params(), 150, CONFIRMED, 1_000, [&[(1_200, 500)], &[(1_220, 500)]]).expect("it is completed");
    assert_eq!((far.instrument, far.side, far.price.units(), far.qty), (NO, Side::Buy, 8_800, Qty::shares(50)));
    // What a taker of both legs makes of a pair: 0.49 + 0.49 loses, 0.10 + 0.88 earns.
    let fee = sample::market().fee;
    let earns = |a: u16, b: u16| {
        let cost = |u| Qty::ONE.notional_ceil(price(u)) + fee.taker_fee(Qty::ONE, price(u), Rounding::Up);
        Usdc::dollars(1) - cost(a) - cost(b)
    };
    assert_eq!((earns(4_900, 4_900), earns(1_000, 8_800)), (Usdc(-5_000), Usdc(10_220)));
}

/// Carrying is made so dear that a taker's price is paid at once.
#[test]
fn a_taker_buys_the_lagging_leg_or_sells_the_leading_one() {
    let dear = || PairParams { skew_units: 2_500, ..PairParams::default() };
    let book: [&[(u16, u64)]; 2] = [&[(4_900, 1_000)], &[(5_100, 1_000)]];
    let table = [
        ("collateral is there", CONFIRMED, 1_000, Some((NO, Side::Buy, 5_100, Purpose::Complete))),
        ("collateral is short", CONFIRMED, 20, Some((YES, Side::Sell, 4_900, Purpose::Unwind))),
        ("and nothing is confirmed", TradeStatus::Mined, 20, None),
        ("nothing is confirmed", TradeStatus::Mined, 1_000, Some((NO, Side::Buy, 5_100, Purpose::Complete))),
    ];
    for (what, status, dollars, expected) in table {
        let order = taken(dear(), 50, status, dollars, book);
        assert_eq!(order.map(|i| (i.instrument, i.side, i.price.units(), i.purpose)), expected, "{what}");
    }
    assert_eq!(taken(PairParams { taker: false, ..dear() }, 50, CONFIRMED, 1_000, book), None);
}

#[test]
fn an_offer_as_maker_is_taken_back_before_the_shares_are_sold_as_taker() {
    let mut floor = Floor::open(PairParams { skew_units: 2_500, ..PairParams::default() });
    floor.hold(YES, 50, CONFIRMED);
    floor.ledger.open(Usdc::dollars(20));
    let offer = floor.rests(Intent { side: Side::Sell, ..bid(YES, 5_000, 50) });
    let wishes = floor.decide();
    assert_eq!(cancelled(&wishes), [offer]);
    assert!(places(&wishes).iter().all(|i| !i.tif.is_immediate() && i.instrument == YES && i.side == Side::Buy));
    floor.orders.apply(&offer, crate::engine::life::Input::Gone, floor.now);
    let sold = floor.placed();
    let immediate: Vec<_> = sold.iter().filter(|i| i.tif.is_immediate()).map(|i| (i.instrument, i.side)).collect();
    assert_eq!(immediate, [(YES, Side::Sell)], "{sold:?}");
}

/// Seventy-five YES too many in a market that moves a cent a second. Carrying costs 4 cents: a maker is worth
/// −⅔·4 = −2.67, a taker −1 − 1.25, less 0.4·√3 = 0.69 for a hold of three seconds.
#[test]
fn what_may_happen_while_the_venue_holds_a_taker_is_part_of_its_price() {
    for (hold_ms, taken) in [(0, true), (3_000, false)] {
        let mut floor = Floor::new(PairParams { skew_units: 400, ..PairParams::default() });
        floor.spec.hold_ms = hold_ms;
        for n in 0..100_u16 {
            let mid = 5_000 + 100 * (n % 2);
            floor.book(&[(mid - 100, 1_000)], &[(mid + 100, 1_000)]);
            floor.decide();
            floor.wait(1_000);
        }
        floor.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
        floor.hold(YES, 75, CONFIRMED);
        let placed = floor.placed();
        assert_eq!(placed.iter().any(|i| i.tif.is_immediate()), taken, "held for {hold_ms} ms: {placed:?}");
    }
}
