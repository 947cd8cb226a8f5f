//! Where quotes stand, how large, in which form, and when there are none.

use super::*;
use crate::types::event::MatchEvent;

const CONFIRMED: TradeStatus = TradeStatus::Confirmed;
const MATCHED: TradeStatus = TradeStatus::Matched;

/// A skew of one cent a quote at a half; a quote is fifty shares, three of them the most.
#[test]
fn the_reservation_price_leans_against_what_is_held() {
    let table = [
        // net position; bid for YES; bid for NO, at most a tick over the others' 0.49
        (0, Some((4_900, 50)), Some((4_900, 50))),
        (50, Some((4_800, 50)), Some((5_000, 50))),
        (100, Some((4_700, 50)), Some((5_000, 100))),
        (120, Some((4_600, 30)), Some((5_000, 120))),
        (150, None, Some((5_000, 150))),
        (-50, Some((5_000, 50)), Some((4_800, 50))),
        (-150, Some((5_000, 150)), None),
    ];
    for (net, yes, no) in table {
        let mut floor = Floor::open(PairParams { taker: false, ..PairParams::default() });
        let longer = if net > 0 { YES } else { NO };
        floor.hold(longer, i64::unsigned_abs(net), MATCHED);
        assert_eq!(floor.quotes(), [yes, no], "{net} shares net");
    }
}

/// Bids of 100 and asks of 300 push the fair price down by a quarter of the spread, which is half a tick.
#[test]
fn quotes_are_floored_on_every_grid() {
    for tick in TickSize::ALL {
        let t = tick.units();
        let mut floor = Floor::new(PairParams::default());
        floor.tick(tick);
        floor.book(&[(5_000 - t, 100)], &[(5_000 + t, 300)]);
        let [Some((yes, _)), Some((no, _))] = floor.quotes() else { panic!("{tick}: two quotes") };
        // r = 0.5 − t/2: floor(r − t) is one and a half ticks down, floor(1 − r − t) half a tick.
        assert_eq!((yes, no), (5_000 - 2 * t, 5_000 - t), "{tick}");
        assert!(price(yes).on_grid(tick) && price(no).on_grid(tick));
    }
}

/// Fifty YES are held, so fifty NO are wanted at 0.50: or, which is the same, fifty YES offered at 0.50.
#[test]
fn what_is_confirmed_is_sold_where_collateral_is_short() {
    let cases = [
        // collateral, status of the fifty YES, then: token, side, shares, why
        (1_000, CONFIRMED, Some((NO, Side::Buy, 50, Purpose::Complete))),
        (20, CONFIRMED, Some((YES, Side::Sell, 50, Purpose::Unwind))),
        (1_000, MATCHED, Some((NO, Side::Buy, 50, Purpose::Complete))),
        // Not confirmed cannot be sold; twenty pUSD buy forty at a half.
        (20, MATCHED, Some((NO, Side::Buy, 40, Purpose::Complete))),
        (2, MATCHED, None),
    ];
    for (dollars, status, expected) in cases {
        let mut floor = Floor::open(PairParams { taker: false, ..PairParams::default() });
        floor.hold(YES, 50, status);
        floor.ledger.open(Usdc::dollars(dollars));
        // The YES leg already has its order.
        floor.game_start = Some(floor.now.plus(60_000_000_000));
        let placed = floor.placed();
        let got = placed.first().map(|i| (i.instrument, i.side, i.qty.micro() / 1_000_000, i.purpose));
        assert_eq!(got, expected, "{dollars} pUSD, {status:?}: {placed:?}");
        assert!(placed.iter().all(|i| i.post_only && i.price.units() == 5_000 && leg_price(i).units() == 5_000));
    }
}

#[test]
fn shares_that_are_offered_already_are_not_offered_again() {
    let mut floor = Floor::open(PairParams { taker: false, ..PairParams::default() });
    floor.hold(YES, 50, CONFIRMED);
    floor.ledger.open(Usdc::dollars(20));
    let offer = Intent { side: Side::Sell, strategy: StrategyId::Manual, ..bid(YES, 5_200, 46) };
    floor.rests(offer);
    assert!(floor.placed().iter().all(|i| i.side == Side::Buy), "four are left, and five is the least");
}

/// In the last two minutes before the book is cleared only the longer leg is made shorter. A rest below the venue's
/// five shares is rounded up to five, or sold as five; one below half of that would only change sides.
#[test]
fn a_rest_below_the_minimum_is_rounded_up_or_sold() {
    let table = [
        // YES and NO held, collateral; then: token, side, shares
        ((3, 0), 1_000, Some((NO, Side::Buy, 5))),
        ((8, 5), 1_000, Some((NO, Side::Buy, 5))),
        ((8, 5), 1, Some((YES, Side::Sell, 5))),
        ((5, 8), 1, Some((NO, Side::Sell, 5))),
        ((7, 0), 1_000, Some((NO, Side::Buy, 7))),
        ((2, 0), 1_000, None),
        ((5, 5), 1_000, None),
    ];
    for ((yes, no), dollars, expected) in table {
        let mut floor = Floor::open(PairParams { taker: false, merge_shares: 100, ..PairParams::default() });
        floor.hold(YES, yes, CONFIRMED);
        floor.hold(NO, no, CONFIRMED);
        floor.ledger.open(Usdc::dollars(dollars));
        floor.game_start = Some(floor.now.plus(60_000_000_000));
        let placed = floor.placed();
        let got: Vec<_> = placed.iter().map(|i| (i.instrument, i.side, i.qty.micro() / 1_000_000)).collect();
        assert_eq!(got, Vec::from_iter(expected), "{yes} YES, {no} NO, {dollars} pUSD");
    }
}

#[test]
fn before_the_book_is_cleared_nothing_new_is_bought() {
    let table = [
        // seconds to the start, cleared at all; quotes of an empty position, of one fifty YES long
        (121, true, [true, true], [true, true]),
        (120, true, [false, false], [false, true]),
        (1, true, [false, false], [false, true]),
        (60, false, [true, true], [true, true]),
    ];
    for (seconds, clears, flat, long) in table {
        for (held, expected) in [(0, flat), (50, long)] {
            let mut floor = Floor::open(PairParams { taker: false, ..PairParams::default() });
            floor.spec.clear_on_start = clears;
            floor.game_start = Some(floor.now.plus(seconds * 1_000_000_000));
            floor.hold(YES, held, CONFIRMED);
            assert_eq!(floor.quotes().map(|q| q.is_some()), expected, "{seconds} s before, {held} YES");
        }
    }
}

#[test]
fn a_start_that_moves_moves_the_end_of_quoting() {
    let mut floor = Floor::open(PairParams::default());
    floor.game_start = Some(floor.now.plus(60_000_000_000));
    assert_eq!(floor.quotes(), [None, None]);
    floor.game_start = Some(floor.now.plus(3_600_000_000_000));
    assert!(floor.quotes().iter().all(Option::is_some), "postponed by an hour");
    let quotes = [floor.rests(bid(YES, 4_900, 50)), floor.rests(bid(NO, 4_900, 50))];
    floor.game_start = Some(floor.now.plus(60_000_000_000));
    assert_eq!(cancelled(&floor.decide()), quotes, "brought forward again");
}

#[test]
fn no_quotes_in_pauses_nor_at_the_extremes() {
    let playing = |phase| Play::Known(MatchEvent { phase, map: 1, score: [0, 0] });
    let table = [
        (playing(MatchPhase::Running), 5_000, true),
        (playing(MatchPhase::Paused), 5_000, false),
        (Play::Unknown, 5_000, false),
        (Play::NoFeed, 800, true),
        (Play::NoFeed, 700, false),
        (Play::NoFeed, 9_300, false),
    ];
    for (play, mid, quoted) in table {
        let mut floor = Floor::new(PairParams::default());
        floor.play = play;
        floor.book(&[(mid - 100, 1_000)], &[(mid + 100, 1_000)]);
        let quotes = [floor.rests(bid(YES, mid - 100, 50)), floor.rests(bid(NO, 9_900 - mid, 50))];
        let expected = if quoted { vec![] } else { quotes.to_vec() };
        assert_eq!(cancelled(&floor.decide()), expected, "{play:?} at {mid}");
    }
}

#[test]
fn complete_sets_are_merged_when_many_or_when_collateral_is_short() {
    let table = [
        // sets, collateral, what a call costs in micro-pUSD; merged
        (20, 1_000, 10_000, true),
        (19, 1_000, 10_000, false),
        (19, 49, 10_000, true),
        (1, 49, 10_000, false), // a set earns a cent at best, and the call costs one
        (2, 49, 10_000, true),
        (20, 1_000, 200_000, false),
        (21, 1_000, 200_000, true),
    ];
    for (sets, dollars, cost, merged) in table {
        let params = PairParams { merge_cost_usdc: Usdc(cost), ..PairParams::default() };
        let mut floor = Floor::open(params);
        floor.hold(YES, sets, CONFIRMED);
        floor.hold(NO, sets + 3, CONFIRMED);
        floor.ledger.open(Usdc::dollars(dollars));
        let got = floor.decide().contains(&Wish::Merge(Qty::shares(sets)));
        assert_eq!(got, merged, "{sets} sets, {dollars} pUSD, {cost}");
    }
}

#[test]
fn a_quote_that_would_meet_our_own_is_not_wished_for() {
    let mut floor = Floor::open(PairParams::default());
    // NO at 0.51 of ours rests, by hand: YES at 0.49 would meet it.
    floor.rests(Intent { strategy: StrategyId::Manual, ..bid(NO, 5_100, 50) });
    floor.book(&[(4_900, 1_050)], &[(5_100, 1_000)]);
    assert!(floor.placed().iter().all(|i| i.instrument != YES));
}

#[test]
fn quotes_take_the_size_that_risk_leaves_them() {
    // Parts per million of a clip of 50; below the market's minimum nothing new is quoted.
    for (ppm, shares) in [(1_000_000, Some(50)), (500_000, Some(25)), (100_000, Some(5)), (99_000, None), (0, None)] {
        let mut floor = Floor::open(PairParams::default());
        floor.size_ppm = ppm;
        assert_eq!(floor.quotes(), [shares.map(|n| (4_900, n)); 2], "{ppm}");
    }
}
