//! What fills teach: how far away to stand, and when to stay away.

use super::*;
use crate::engine::strategy::Why;

/// A fill of YES at 0.49 in a book around a half, and the price thirty seconds later.
fn filled_then(floor: &mut Floor, mid: u16) {
    floor.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
    floor.fill(YES, Side::Buy, 10, 4_900);
    floor.wait(5_000);
    floor.decide();
    floor.wait(25_000);
    floor.book(&[(mid - 100, 1_000)], &[(mid + 100, 1_000)]);
    floor.decide();
    // Sold again, so that nothing leans.
    let at = Price::from_units(5_000).unwrap();
    floor.book_fill(YES, Side::Sell, Qty::shares(10), at, TradeStatus::Confirmed);
    floor.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
}

#[test]
fn a_side_that_is_picked_off_stands_further_away_and_forgets_with_time() {
    let mut floor = Floor::open(PairParams { off_fills: 24, ..PairParams::default() });
    let of = |floor: &Floor, leg| floor.pair.markouts.adverse_ppm(M, leg);
    assert_eq!(floor.quotes(), [Some((4_900, 50)), Some((4_900, 50))]);
    filled_then(&mut floor, 4_800);
    // One fill that lost two cents, beside four that are assumed to have lost nothing.
    assert_eq!((of(&floor, Outcome::Yes), of(&floor, Outcome::No)), (4_000, 0));
    assert_eq!(floor.quotes(), [Some((4_800, 50)), Some((4_900, 50))], "a cent and 0.4, on the grid");
    for _ in 0..8 {
        filled_then(&mut floor, 4_800);
    }
    let learnt = of(&floor, Outcome::Yes);
    assert!((10_000..20_000).contains(&learnt), "{learnt}: nearer to two cents with each");
    assert_eq!(floor.quotes()[0], Some((4_700, 50)));
    // Ten minutes halve it, an hour ends it.
    floor.wait(600_000);
    floor.decide();
    let half = of(&floor, Outcome::Yes);
    assert!(half < learnt * 3 / 4 && half > 0, "{half} of {learnt}");
    floor.wait(7_200_000);
    assert_eq!(floor.quotes(), [Some((4_900, 50)), Some((4_900, 50))]);
}

#[test]
fn fills_that_the_price_follows_bring_no_quote_nearer_than_a_tick() {
    let mut floor = Floor::open(PairParams::default());
    for _ in 0..5 {
        filled_then(&mut floor, 5_300);
    }
    assert_eq!(floor.pair.markouts.adverse_ppm(M, Outcome::Yes), 0);
    assert_eq!(floor.quotes(), [Some((4_900, 50)), Some((4_900, 50))]);
}

#[test]
fn one_wild_fill_counts_as_eight_ticks_and_what_is_assumed_as_four_fills() {
    let mut floor = Floor::open(PairParams::default());
    filled_then(&mut floor, 2_000);
    // Eight cents of the thirty it moved, over five.
    assert_eq!(floor.pair.markouts.adverse_ppm(M, Outcome::Yes), 16_000);
    let mut floor = Floor::open(PairParams { adverse_units: 50, ..PairParams::default() });
    assert_eq!(floor.quotes(), [Some((4_800, 50)), Some((4_800, 50))], "half a cent and a tick from the start");
    filled_then(&mut floor, 4_950 + 50);
    assert_eq!(floor.pair.markouts.adverse_ppm(M, Outcome::Yes), 4_000, "4 · 0.5 cents over five");
}

#[test]
fn fills_of_one_moment_are_one_observation() {
    let mut floor = Floor::open(PairParams::default());
    for _ in 0..10 {
        floor.fill(YES, Side::Buy, 5, 4_900);
    }
    floor.wait(2_000);
    floor.fill(YES, Side::Buy, 5, 4_900);
    floor.wait(40_000);
    floor.decide();
    assert_eq!(floor.pair.markouts.accounts(M).map(|a| a.fills), [2, 2]);
}

/// A run of fills that earn a cent of spread and lose three, slowly or at once.
fn run_over(floor: &mut Floor, fills: u32, early: bool) {
    for _ in 0..fills {
        floor.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
        floor.fill(YES, Side::Buy, 5, 4_900);
        floor.fill(NO, Side::Buy, 5, 4_900);
        floor.wait(5_000);
        if early {
            floor.book(&[(4_600, 1_000)], &[(4_800, 1_000)]);
        }
        floor.decide();
        floor.wait(25_000);
        floor.book(&[(4_600, 1_000)], &[(4_800, 1_000)]);
        floor.decide();
    }
    floor.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
}

#[test]
fn a_market_that_runs_us_over_is_left_and_tried_again_small() {
    // Only one side is hit, always before the price goes through it: three cents lost, one earned.
    let mut floor = Floor::open(PairParams { off_fills: 8, ..PairParams::default() });
    let lose = |floor: &mut Floor, n: u32| {
        for _ in 0..n {
            filled_then(floor, 4_700);
        }
    };
    lose(&mut floor, 7);
    assert_eq!(floor.pair.standing(M), Some(Standing::Quoting));
    let quotes = [floor.rests(bid(YES, 4_500, 50)), floor.rests(bid(NO, 4_800, 50))];
    lose(&mut floor, 1);
    let Some(Standing::Off { why, until }) = floor.pair.standing(M) else { panic!("{:?}", floor.pair.standing(M)) };
    assert_eq!(why, Why::RunOver { loss_ppm: 20_000, fills: 8 });
    assert_eq!(why.to_string(), "quoting here is run over: 8 fills lost 2.00 cents a share");
    assert_eq!(until, floor.now.plus(120_000_000_000));
    assert_eq!(cancelled(&floor.decide()), quotes, "what rests is pulled");
    for order in quotes {
        floor.orders.apply(&order, crate::engine::life::Input::Gone, floor.now);
    }
    floor.wait(119_999);
    assert_eq!(floor.quotes(), [None, None]);
    floor.hold(YES, 20, TradeStatus::Confirmed);
    assert_eq!(floor.quotes()[0], None, "what is held is still completed");
    assert_eq!(floor.quotes()[1].map(|q| q.1), Some(20));
    floor.hold(NO, 20, TradeStatus::Confirmed);
    floor.wait(1);
    assert_eq!(floor.quotes().map(|q| q.map(|q| q.1)), [Some(5), Some(5)], "a trial, with the venue's smallest order");
    assert_eq!(floor.pair.standing(M), Some(Standing::Probing));
    // Again run over: off for twice as long.
    lose(&mut floor, 8);
    let Some(Standing::Off { until, .. }) = floor.pair.standing(M) else { panic!("{:?}", floor.pair.standing(M)) };
    assert_eq!(until, floor.now.plus(240_000_000_000));
    // The next trial goes well.
    floor.wait(240_000);
    floor.decide();
    for _ in 0..8 {
        assert_eq!(floor.pair.standing(M), Some(Standing::Probing));
        filled_then(&mut floor, 5_000);
    }
    assert_eq!(floor.pair.standing(M), Some(Standing::Quoting));
}

#[test]
fn fills_that_lose_at_once_mean_that_somebody_is_faster() {
    let mut floor = Floor::open(PairParams { off_fills: 8, ..PairParams::default() });
    for _ in 0..8 {
        floor.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
        floor.fill(YES, Side::Buy, 5, 4_900);
        floor.wait(5_000);
        floor.book(&[(4_700, 1_000)], &[(4_900, 1_000)]);
        floor.decide();
    }
    let Some(Standing::Off { why, .. }) = floor.pair.standing(M) else { panic!("{:?}", floor.pair.standing(M)) };
    assert_eq!(why, Why::FeedBehind { loss_ppm: 10_000, fills: 8 });
}

/// Nine fills as taker at once lose what takers pay; that says nothing of who is faster, and all of whether it pays.
#[test]
fn what_a_taker_pays_is_no_sign_of_a_slow_feed() {
    let mut floor = Floor::open(PairParams { off_fills: 8, ..PairParams::default() });
    for _ in 0..9 {
        let (qty, fee) = (Qty::shares(5), Usdc(62_500));
        let notional = qty.notional_ceil(price(5_100));
        let fill =
            NewFill { order: OrderHash([0; 32]), instrument: YES, side: Side::Buy, qty, notional, fee, taker: true };
        floor.with(|pair, view| pair.filled(view, &fill));
        floor.wait(30_000);
        floor.decide();
    }
    let Some(Standing::Off { why, .. }) = floor.pair.standing(M) else { panic!("{:?}", floor.pair.standing(M)) };
    assert_eq!(why, Why::RunOver { loss_ppm: 22_500, fills: 8 }, "a cent of half-spread and 1.25 of fee");
}

#[test]
fn two_sides_that_lose_and_gain_the_same_are_no_reason_to_stop() {
    let mut floor = Floor::open(PairParams { off_fills: 8, taker: false, ..PairParams::default() });
    run_over(&mut floor, 10, false);
    // YES lost two cents a share each time, NO gained four.
    assert_eq!(floor.pair.standing(M), Some(Standing::Quoting));
}

#[test]
fn a_feed_that_is_known_to_be_too_slow_keeps_quotes_away() {
    let mut floor = Floor::open(PairParams { lead_ms: 400, ..PairParams::default() });
    floor.timing = Timing { feed_lag_p90_ms: Some(2_000), cancel_path_p90_ms: Some(100) };
    assert_eq!(floor.quotes(), [None, None]);
    let Some(Standing::Off { why, .. }) = floor.pair.standing(M) else { panic!("off") };
    assert_eq!(why.to_string(), "your feed is 0.7 s too slow to quote here");
    floor.timing = Timing::default();
    floor.wait(120_000);
    assert!(floor.quotes().iter().all(Option::is_some));
}

#[test]
fn everything_that_is_learnt_is_in_the_hash() {
    let hash = |floor: &Floor| {
        let mut h = StateHasher::default();
        floor.pair.digest(&mut h);
        h.finish()
    };
    let mut floor = Floor::open(PairParams::default());
    let mut seen = vec![hash(&floor)];
    let mut changed = |floor: &Floor, what: &str| {
        let now = hash(floor);
        assert!(!seen.contains(&now), "{what} is not in the hash");
        seen.push(now);
    };
    floor.decide();
    changed(&floor, "the last price");
    floor.fill(YES, Side::Buy, 5, 4_900);
    changed(&floor, "a fill that waits");
    floor.wait(5_000);
    floor.decide();
    changed(&floor, "the early account");
    floor.wait(25_000);
    floor.decide();
    changed(&floor, "the late account");
    floor.rests(bid(YES, 4_900, 50));
    floor.decide();
    changed(&floor, "a place in the queue");
    let print = Print { instrument: YES, taker: Side::Sell, price: price(4_900), qty: Qty::ONE };
    floor.with(|pair, view| pair.traded(view.now, &print));
    changed(&floor, "a trade of others");
    floor.pair.memory[0].taken_at = floor.now;
    changed(&floor, "when it took");
    floor.timing = Timing { feed_lag_p90_ms: Some(9_000), cancel_path_p90_ms: Some(1) };
    floor.decide();
    changed(&floor, "its standing");
}
