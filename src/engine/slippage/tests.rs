//! What the slippage guard says of books that a trader can read, and what holds for every book.

use proptest::prelude::*;

use super::*;
use crate::types::{
    InstrumentIx, TickSize, TimeInForce,
    order::{Purpose, StrategyId},
};

const SPORTS: FeeSchedule = FeeSchedule { rate_ppm: 50_000 };
const MIN: Qty = Qty::shares(5);
const NO_LIMIT: SlippageLimits = SlippageLimits { mid_bps: u32::MAX, intent_bps: u32::MAX };

fn p(units: u16) -> Price {
    Price::from_units(units).unwrap()
}

fn qty(text: &str) -> Qty {
    Qty::parse(text.as_bytes()).unwrap()
}

fn usdc(text: &str) -> Usdc {
    Usdc::parse(text.as_bytes()).unwrap()
}

fn book_on(tick: TickSize, bids: &[(u16, Qty)], asks: &[(u16, Qty)]) -> Book {
    let mut b = Book::new(tick);
    b.snapshot_start(None);
    bids.iter().for_each(|(units, qty)| b.snapshot_level(BookSide::Bid, p(*units), *qty));
    asks.iter().for_each(|(units, qty)| b.snapshot_level(BookSide::Ask, p(*units), *qty));
    b.snapshot_end();
    b
}

/// 100 at 0.49 and 200 at 0.48 bid; 100 at 0.51, 100 at 0.53 and 1000 at 0.60 asked.
fn book() -> Book {
    let shares = |levels: &[(u16, u64)]| levels.iter().map(|(u, q)| (*u, Qty::shares(*q))).collect::<Vec<_>>();
    let (bids, asks) = (shares(&[(4_900, 100), (4_800, 200)]), shares(&[(5_100, 100), (5_300, 100), (6_000, 1_000)]));
    book_on(TickSize::Cent, &bids, &asks)
}

/// Taken at any price, all of it or nothing.
fn all_of(side: Side, size: &str, reckoned: u16) -> Wanted {
    Wanted { side, qty: qty(size), reckoned: p(reckoned), limit: None, rests: false }
}

#[test]
fn the_walk_pays_every_level_and_the_fee_on_its_curve() {
    use Side::{Buy, Sell};
    for (side, size, limit, filled, cash, fee, worst) in [
        (Buy, "50", None, "50", "25.5", "0.62475", Some(5_100)),
        (Buy, "100", None, "100", "51", "1.2495", Some(5_100)),
        (Buy, "150", None, "150", "77.5", "1.87225", Some(5_300)),
        (Buy, "5000", None, "1200", "704", "14.495", Some(6_000)),
        (Buy, "150", Some(5_200), "100", "51", "1.2495", Some(5_100)),
        (Buy, "150", Some(5_300), "150", "77.5", "1.87225", Some(5_300)),
        (Buy, "150", Some(5_000), "0", "0", "0", None),
        (Buy, "0", None, "0", "0", "0", None),
        // 0.00012495 is rounded up to the venue's five decimals.
        (Buy, "0.01", None, "0.01", "0.0051", "0.00013", Some(5_100)),
        // Half a micro is rounded against us: up for a buyer, down for a seller.
        (Buy, "0.000001", None, "0.000001", "0.000001", "0.00001", Some(5_100)),
        (Sell, "0.000001", None, "0.000001", "0", "0.00001", Some(4_900)),
        (Sell, "150", None, "150", "73", "1.8735", Some(4_800)),
        (Sell, "150", Some(4_900), "100", "49", "1.2495", Some(4_900)),
        (Sell, "1000", None, "300", "145", "3.7455", Some(4_800)),
    ] {
        let expected = Walk { filled: qty(filled), cash: usdc(cash), worst: worst.map(p), fee: usdc(fee) };
        assert_eq!(walk(&book(), side, qty(size), limit.map(p), SPORTS), expected, "{side:?} {size} to {limit:?}");
    }
}

#[test]
fn slippage_is_in_basis_points_of_the_mid_and_of_the_intents_price() {
    use Side::{Buy, Sell};
    for (fee, side, size, reckoned, vs_mid, vs_intent, what) in [
        (FeeSchedule::FREE, Buy, "100", 5_100, 200, 0, "0.51 on 0.50, and on 0.51"),
        (FeeSchedule::FREE, Buy, "200", 5_100, 400, 197, "0.52; 196.08 is rounded up"),
        (FeeSchedule::FREE, Buy, "100", 5_200, 200, -192, "better than reckoned; −192.3 is rounded up"),
        (FeeSchedule::FREE, Sell, "100", 4_900, 200, 0, "0.49 on 0.50, and on 0.49"),
        (FeeSchedule::FREE, Sell, "300", 4_900, 334, 137, "0.48333: 333.3 and 136.05"),
        (FeeSchedule::FREE, Sell, "100", 4_800, 200, -208, "better than reckoned by 208.3"),
        (SPORTS, Buy, "100", 5_100, 450, 245, "0.522495: 449.9, and the fee alone"),
        (SPORTS, Sell, "100", 4_900, 450, 255, "0.477505: 449.9, and the fee alone"),
        (SPORTS, Buy, "100", 0, 450, UNMEASURED, "nothing can be reckoned with a price of nothing"),
    ] {
        let verdict = guard(&book(), &all_of(side, size, reckoned), fee, MIN, &NO_LIMIT);
        assert_eq!((verdict.vs_mid_bps, verdict.vs_intent_bps), (vs_mid, vs_intent), "{side:?} {size}: {what}");
    }
}

#[test]
fn what_to_do_instead() {
    use Recommendation::{Go, LimitAt, SmallerSize, WaitAsMaker};
    use Side::{Buy, Sell};
    let limits = |mid_bps, intent_bps| SlippageLimits { mid_bps, intent_bps };
    let resting = |w: Wanted| Wanted { rests: true, ..w };
    let to = |limit, w: Wanted| Wanted { limit: Some(p(limit)), ..w };
    for (wanted, limits, recommend, what) in [
        (all_of(Buy, "100", 5_100), limits(200, 1), Go, "exactly at the limit is within"),
        (all_of(Buy, "100", 5_100), limits(199, 1), WaitAsMaker, "a basis point less, and no size is"),
        (all_of(Buy, "200", 5_100), limits(300, 300), SmallerSize(qty("133.33")), "an average of 0.515"),
        (all_of(Buy, "200", 5_100), limits(10_000, 98), SmallerSize(qty("133.31")), "98 more than 0.51: 0.514998"),
        (all_of(Sell, "300", 4_900), limits(300, 300), SmallerSize(qty("200")), "an average of 0.485"),
        (resting(all_of(Buy, "200", 5_100)), limits(300, 300), LimitAt(p(5_100)), "the rest may wait"),
        (resting(all_of(Sell, "300", 4_900)), limits(300, 300), LimitAt(p(4_900)), "likewise"),
        (resting(all_of(Buy, "2000", 5_300)), limits(400, 300), LimitAt(p(5_300)), "two levels are good"),
        (resting(to(5_100, all_of(Buy, "200", 5_100))), limits(300, 300), Go, "its own limit holds it already"),
        (to(5_100, all_of(Buy, "200", 5_100)), limits(300, 300), SmallerSize(qty("100")), "the rest would be killed"),
        (to(5_000, all_of(Buy, "200", 5_000)), limits(300, 300), WaitAsMaker, "nothing to take at its limit"),
        (resting(to(5_000, all_of(Buy, "200", 5_000))), limits(300, 300), Go, "it takes nothing, and rests"),
        (all_of(Buy, "5", 4_900), limits(300, 300), WaitAsMaker, "408 more than it reckons with"),
        (all_of(Buy, "1500", 5_100), limits(10_000, 10_000), SmallerSize(qty("1200")), "a thin book"),
    ] {
        let verdict = guard(&book(), &wanted, FeeSchedule::FREE, MIN, &limits);
        assert_eq!((verdict.recommend, verdict.within), (recommend, recommend == Go), "{wanted:?}: {what}");
    }
    let wanted = all_of(Buy, "200", 5_100);
    let tight = guard(&book(), &wanted, FeeSchedule::FREE, qty("133.34"), &limits(300, 300));
    assert_eq!(tight.recommend, WaitAsMaker, "what stays within is less than the market takes");
    // 0.015 shares are 453.3 above the mid, 0.01 are 460: their fee of 0.00012495 is rounded up.
    let crumbs = book_on(TickSize::Cent, &[(4_900, Qty::ONE)], &[(5_100, qty("0.015")), (9_000, Qty::ONE)]);
    let verdict = guard(&crumbs, &all_of(Buy, "1", 5_100), SPORTS, Qty(LOT), &limits(455, 10_000));
    assert_eq!(verdict.recommend, WaitAsMaker, "what is recommended is asked again as it would be sent");
    let dear = guard(&book(), &all_of(Buy, "100", 5_100), SPORTS, MIN, &limits(10_000, 244));
    assert_eq!(dear.recommend, WaitAsMaker, "the fee alone is 245");
}

#[test]
fn a_book_that_says_nothing_lets_nothing_through() {
    use Recommendation::{Go, Refuse, WaitAsMaker};
    let hundred = |units| [(units, Qty::shares(100))];
    let empty = book_on(TickSize::Cent, &[], &[]);
    let bids = book_on(TickSize::Cent, &hundred(4_900), &[]);
    let asks = book_on(TickSize::Cent, &[], &hundred(5_100));
    let crossed = book_on(TickSize::Cent, &hundred(5_100), &hundred(4_900));
    let mut stale = book();
    stale.mark(super::super::book::Distrust::NoSnapshot);
    for (book, rests, side, vs_mid, recommend, what) in [
        (&stale, false, Side::Buy, UNMEASURED, Refuse, "not to be trusted"),
        (&stale, true, Side::Buy, UNMEASURED, Refuse, "not even to rest on"),
        (&crossed, true, Side::Buy, UNMEASURED, Refuse, "crossed"),
        (&empty, false, Side::Buy, 0, Refuse, "nobody is there"),
        (&empty, true, Side::Buy, 0, Go, "it takes nothing"),
        (&bids, false, Side::Buy, 0, WaitAsMaker, "nobody sells"),
        (&asks, false, Side::Sell, 0, WaitAsMaker, "nobody buys"),
        (&asks, false, Side::Buy, UNMEASURED, Refuse, "there is no mid to measure by"),
        (&asks, true, Side::Buy, UNMEASURED, Refuse, "nor is there for one that would rest"),
        (&bids, false, Side::Sell, UNMEASURED, Refuse, "likewise"),
    ] {
        let verdict = guard(book, &Wanted { rests, ..all_of(side, "10", 5_000) }, SPORTS, MIN, &NO_LIMIT);
        assert_eq!((verdict.recommend, verdict.vs_mid_bps), (recommend, vs_mid), "{what}");
    }
}

#[test]
fn an_intent_takes_up_to_its_own_price_or_nothing() {
    let intent = Intent {
        instrument: InstrumentIx(0),
        side: Side::Sell,
        price: p(4_900),
        qty: Qty::shares(7),
        tif: TimeInForce::Gtc,
        post_only: false,
        strategy: StrategyId::Pair,
        purpose: Purpose::Complete,
        epoch: 1,
    };
    let wanted =
        |rests| Wanted { side: Side::Sell, qty: Qty::shares(7), reckoned: p(4_900), limit: Some(p(4_900)), rests };
    for (tif, rests) in [
        (TimeInForce::Gtc, true),
        (TimeInForce::Gtd { expires_s: 1 }, true),
        (TimeInForce::Fok, false),
        (TimeInForce::Fak, false),
    ] {
        assert_eq!(Wanted::of(&Intent { tif, ..intent }), Some(wanted(rests)));
        assert_eq!(Wanted::of(&Intent { tif, post_only: true, ..intent }), None);
    }
}

#[test]
fn what_cannot_be_is_named_with_its_key() {
    assert_eq!(SlippageLimits::default().validate(), Ok(()));
    for (limits, says) in [
        (SlippageLimits { mid_bps: 0, intent_bps: 1 }, "risk.slippage.mid_bps = 0: must be 1 to 10000 basis points"),
        (SlippageLimits { mid_bps: 1, intent_bps: 10_001 }, "risk.slippage.intent_bps = 10001: must be 1 to 10000"),
    ] {
        let bad = limits.validate().unwrap_err();
        assert!(bad.len() == 1 && bad[0].to_string().starts_with(says), "{bad:?} should say {says}");
    }
    assert!(toml::from_str::<SlippageLimits>("mid = 1").is_err());
}

/// Any uncrossed book, thin and empty ones as well, on any grid.
fn any_book() -> impl Strategy<Value = Book> {
    let size = || prop_oneof![1_u64..1_000_000, 1_000_000_u64..1 << 40, (1_u64..100_000).prop_map(|n| n * LOT)];
    let levels = || prop::collection::vec((any::<u16>(), size()), 0..8);
    (prop::sample::select(TickSize::ALL.to_vec()), any::<u16>(), levels(), levels()).prop_map(
        |(tick, split, bids, asks)| {
            let ticks = Price::UNITS / tick.units() - 1;
            let split = split % ticks + 1;
            let on = |from: u16, count: u16, levels: Vec<(u16, u64)>| -> Vec<(u16, Qty)> {
                let at = |n: u16| (from + n % count.max(1)) * tick.units();
                levels.into_iter().filter(|_| count > 0).map(|(n, qty)| (at(n), Qty(qty))).collect()
            };
            book_on(tick, &on(1, split - 1, bids), &on(split, ticks + 1 - split, asks))
        },
    )
}

fn any_order() -> impl Strategy<Value = (Side, Qty)> {
    let lots = prop_oneof![1_u64..2_000, 1_u64..1 << 26];
    (any::<bool>(), lots).prop_map(|(buy, lots)| (if buy { Side::Buy } else { Side::Sell }, Qty(lots * LOT)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// The walk takes what the book's own `take` does, and never charges less than the exact sum, nor a step per
    /// level more.
    #[test]
    fn a_walk_is_exact_to_the_rounding_against_us(
        book in any_book(), (side, size) in any_order(), rate_ppm in 0_u32..=100_000,
        stop in prop::option::of(0_u16..=10_000),
    ) {
        let fee = FeeSchedule { rate_ppm };
        let (limit, of) = (stop.map(p), faced_by(side));
        let found = walk(&book, side, size, limit, fee);
        // Millionths of micros, of whatever is as good as the limit.
        let (mut left, mut cash, mut charged, mut levels, mut last) = (size.micro(), 0_i128, 0_i128, 0_i128, None);
        for level in book.levels(of) {
            let good = match side {
                Side::Buy => limit.is_none_or(|limit| level.price <= limit),
                Side::Sell => limit.is_none_or(|limit| level.price >= limit),
            };
            if !good || left == 0 { break }
            let part = left.min(level.qty.micro());
            left -= part;
            let (part, price) = (i128::from(part), i128::from(level.price.units()));
            cash += part * price * 100;
            charged += part * price * (10_000 - price) * i128::from(rate_ppm) / 100_000_000;
            levels += 1;
            last = Some(level.price);
        }
        prop_assert_eq!((found.filled, found.worst), (size - Qty(left), last));
        let rounding = match side {
            Side::Buy => i128::from(found.cash.micro()) * 1_000_000 - cash,
            Side::Sell => cash - i128::from(found.cash.micro()) * 1_000_000,
        };
        prop_assert!((0..=levels * 1_000_000).contains(&rounding), "cash is off by {rounding}");
        let rounding = i128::from(found.fee.micro()) * 1_000_000 - charged;
        prop_assert!((0..=levels * 10_000_001).contains(&rounding), "the fee is off by {rounding}");
        if limit.is_none() {
            let taken = book.take(of, size);
            prop_assert_eq!(taken.is_some(), found.filled == size);
            prop_assert!(taken.is_none_or(|t| t.cash == found.cash && Some(t.worst) == found.worst));
        }
    }

    /// What is within goes; what is not is told what would be, and that goes when it is asked again.
    #[test]
    fn what_is_recommended_goes_when_it_is_asked_again(
        book in any_book(), (side, size) in any_order(), rate_ppm in 0_u32..=100_000, reckoned in 1_u16..10_000,
        stop in prop::option::of(1_u16..10_000), rests: bool, mid_bps in 1_u32..3_000, intent_bps in 1_u32..6_000,
    ) {
        let (fee, limits) = (FeeSchedule { rate_ppm }, SlippageLimits { mid_bps, intent_bps });
        // Half of the time it reckons with about what there is.
        let touch = book.best(faced_by(side)).map_or(p(reckoned), |level| level.price);
        let reckoned = if reckoned % 2 == 0 { touch } else { p(reckoned) };
        let wanted = Wanted { side, qty: size, reckoned, limit: stop.map(p), rests };
        let ask = |wanted: &Wanted| guard(&book, wanted, fee, MIN, &limits);
        let verdict = ask(&wanted);
        let allowed = |v: &Verdict| {
            i64::from(v.vs_mid_bps) <= i64::from(mid_bps) && i64::from(v.vs_intent_bps) <= i64::from(intent_bps)
        };
        prop_assert_eq!(verdict.within, verdict.recommend == Recommendation::Go);
        let filled = walk(&book, side, size, wanted.limit, fee).filled;
        prop_assert_eq!(verdict.within, allowed(&verdict) && (rests || filled == size));
        match verdict.recommend {
            Recommendation::Go => {}
            Recommendation::SmallerSize(smaller) => {
                prop_assert!(MIN <= smaller && smaller < size && smaller == smaller.floor_to_cents());
                prop_assert!(ask(&Wanted { qty: smaller, ..wanted }).within, "{smaller} is not within");
                let more = smaller + Qty(LOT);
                let one_more = ask(&Wanted { qty: more, rests: false, ..wanted });
                prop_assert!(!one_more.within || more >= size, "{more} would be within as well");
            }
            Recommendation::LimitAt(price) => {
                prop_assert!(rests && ask(&Wanted { limit: Some(price), ..wanted }).within, "{price} is not within");
                let better = wanted.limit.is_none_or(|limit| match side {
                    Side::Buy => price < limit,
                    Side::Sell => price > limit,
                });
                prop_assert!(better, "{price} is not stricter than what it has");
            }
            Recommendation::WaitAsMaker => {
                prop_assert!(book.best(faced_by(side).other()).is_some(), "nobody to wait beside");
                // Five shares at ten cents cost enough for rounding to stay below a few basis points.
                let least = Wanted { qty: MIN, ..wanted };
                if book.tick() == TickSize::Tenth && size >= MIN {
                    let least = ask(&least);
                    let easily = i64::from(least.vs_mid_bps) + 3 <= i64::from(mid_bps)
                        && i64::from(least.vs_intent_bps) + 3 <= i64::from(intent_bps);
                    prop_assert!(!easily || !least.within, "five shares would have gone");
                }
            }
            Recommendation::Refuse => prop_assert_eq!(book.mid_half_units(), None),
        }
    }

    /// Basis points are the smallest whole number that covers what it costs.
    #[test]
    fn basis_points_are_rounded_against_us(
        cash in 0_i64..1 << 50, fee in 0_i64..1 << 40, filled in 1_u64..1 << 50, reference in 1_u32..20_000, buy: bool,
    ) {
        let walk = Walk { filled: Qty(filled), cash: Usdc(cash), worst: None, fee: Usdc(fee) };
        let side = if buy { Side::Buy } else { Side::Sell };
        let bps = walk.worse_bps(side, reference);
        let [cash, fee] = [cash, fee].map(|usdc| i128::from(usdc) * 20_000);
        let par = i128::from(filled) * i128::from(reference);
        let worse = if buy { cash + fee - par } else { par + fee - cash };
        if (i32::MIN + 1..i32::MAX).contains(&bps) {
            prop_assert!(i128::from(bps) * par >= worse * 10_000 && (i128::from(bps) - 1) * par < worse * 10_000);
        } else {
            prop_assert!(worse.abs() > par * 100_000);
        }
    }
}
