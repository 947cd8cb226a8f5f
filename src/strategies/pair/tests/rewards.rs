//! Liquidity rewards: what qualifies, how the time is counted, and that nothing else follows.

use super::*;
use crate::{
    strategies::pair::rewards::{Sides, sides},
    types::market::Rewards,
};

/// The captured pool.
const POOL: Rewards = Rewards { daily: Usdc::dollars(29), min_size: Qty::shares(50), max_spread_units: 550 };

type Levels<'a> = &'a [(u16, u64)];
/// Bids and asks.
type Shown<'a> = (Levels<'a>, Levels<'a>);

/// A market that pays, its book and our orders.
fn paying(bids: Levels<'_>, asks: Levels<'_>, ours: &[Intent]) -> (Floor, Vec<OrderHash>) {
    let mut floor = Floor::new(PairParams::default());
    floor.spec.rewards = Some(POOL);
    floor.book(bids, asks);
    let hashes = ours.iter().map(|i| floor.rests(*i)).collect();
    (floor, hashes)
}

fn sale(instrument: InstrumentIx, units: u16, shares: u64) -> Intent {
    Intent { side: Side::Sell, ..bid(instrument, units, shares) }
}

fn immediate(i: Intent) -> Intent {
    Intent { tif: TimeInForce::Fak, post_only: false, ..i }
}

#[test]
fn an_order_qualifies_by_size_distance_and_side() {
    let around_half: Shown<'_> = (&[(4_900, 1_000)], &[(5_100, 1_000)]);
    // 49 shares at the touch and a thousand behind: without what is too small the midpoint is 0.49, not 0.50.
    let thin: Shown<'_> = (&[(4_900, 49), (4_500, 1_000)], &[(5_100, 49), (5_300, 1_000)]);
    let table: [(&str, Shown<'_>, &[Intent], Option<Sides>); 21] = [
        ("nothing rests", around_half, &[], Some(Sides::Neither)),
        ("bids on both tokens", around_half, &[bid(YES, 4_900, 50), bid(NO, 4_900, 50)], Some(Sides::Both)),
        (
            "a bid and an offer of one token",
            around_half,
            &[bid(YES, 4_900, 50), sale(YES, 5_100, 50)],
            Some(Sides::Both),
        ),
        (
            "a bid on YES and an offer of NO are one side",
            around_half,
            &[bid(YES, 4_900, 50), sale(NO, 5_100, 50)],
            Some(Sides::One),
        ),
        ("one bid", around_half, &[bid(NO, 4_900, 50)], Some(Sides::One)),
        ("a share too few", around_half, &[bid(YES, 4_900, 49), bid(NO, 4_900, 50)], Some(Sides::One)),
        (
            "two that are too small are not one",
            around_half,
            &[bid(YES, 4_900, 49), bid(YES, 4_800, 49)],
            Some(Sides::Neither),
        ),
        ("5.49 cents away", around_half, &[bid(YES, 4_451, 50)], Some(Sides::One)),
        ("5.5 cents away scores nothing", around_half, &[bid(YES, 4_450, 50)], Some(Sides::Neither)),
        ("5.49 cents away on the other side", around_half, &[bid(NO, 4_451, 50)], Some(Sides::One)),
        ("5.5 cents away on the other side", around_half, &[bid(NO, 4_450, 50)], Some(Sides::Neither)),
        ("immediate orders do not rest", around_half, &[immediate(bid(YES, 4_900, 50))], Some(Sides::Neither)),
        ("5 cents from the midpoint of what counts", thin, &[bid(YES, 4_400, 50)], Some(Sides::One)),
        ("no offer that counts", (&[(4_900, 1_000)], &[(5_100, 49)]), &[bid(YES, 4_900, 50)], None),
        ("no bid that counts", (&[(4_900, 49)], &[(5_100, 1_000)]), &[bid(YES, 4_900, 50)], None),
        ("0.90, one side", (&[(8_900, 1_000)], &[(9_100, 1_000)]), &[bid(YES, 8_900, 50)], Some(Sides::One)),
        ("0.905, one side", (&[(9_000, 1_000)], &[(9_100, 1_000)]), &[bid(YES, 9_000, 50)], Some(Sides::Neither)),
        (
            "0.905, both",
            (&[(9_000, 1_000)], &[(9_100, 1_000)]),
            &[bid(YES, 9_000, 50), bid(NO, 900, 50)],
            Some(Sides::Both),
        ),
        ("0.10, one side", (&[(900, 1_000)], &[(1_100, 1_000)]), &[bid(YES, 900, 50)], Some(Sides::One)),
        ("0.095, one side", (&[(900, 1_000)], &[(1_000, 1_000)]), &[bid(YES, 900, 50)], Some(Sides::Neither)),
        (
            "a bid above the midpoint, too far",
            (&[(4_900, 1_000)], &[(5_100, 49), (5_300, 1_000)]),
            &[bid(YES, 5_650, 50)],
            Some(Sides::Neither),
        ),
    ];
    for (what, (bids, asks), ours, expected) in table {
        let (floor, _) = paying(bids, asks, ours);
        assert_eq!(sides(&floor.view(), &POOL), expected, "{what}");
    }
}

#[test]
fn only_what_is_known_to_rest_counts_by_what_is_left_of_it() {
    let both = [bid(YES, 4_900, 60), bid(NO, 4_900, 60)];
    let (mut floor, ours) = paying(&[(4_900, 1_000)], &[(5_100, 1_000)], &both);
    let fills = [(10, Sides::Both), (1, Sides::One)];
    for (shares, expected) in fills {
        floor.orders.fill(&ours[0], Qty::shares(shares), floor.now).unwrap();
        assert_eq!(sides(&floor.view(), &POOL), Some(expected), "{shares} shares filled");
    }
    let (mut floor, _) = paying(&[(4_900, 1_000)], &[(5_100, 1_000)], &[]);
    assert!(floor.orders.recover(OrderHash([9; 32]), both[0], floor.now, false, floor.now));
    assert_eq!(sides(&floor.view(), &POOL), Some(Sides::Neither), "nobody knows whether it arrived");
    // The midpoint is 0.50005: half a unit counts.
    floor.tick(TickSize::TenthMill);
    floor.book(&[(4_900, 1_000)], &[(5_101, 1_000)]);
    floor.rests(bid(NO, 4_450, 50));
    assert_eq!(sides(&floor.view(), &POOL), Some(Sides::One), "5.495 cents away");
    for trust in [Trust::Settling, Trust::Bad] {
        floor.trust = trust;
        assert_eq!(sides(&floor.view(), &POOL), None, "{trust:?}");
    }
}

/// What happens, and how long nothing does after it.
enum Then {
    Decided(u64),
    /// The order of this number is filled whole.
    Filled(usize, u64),
    Trust(Trust, u64),
    Book(Levels<'static>, Levels<'static>, u64),
}

#[test]
fn each_moment_counts_as_what_was_true_at_the_look_before_it() {
    use Then::{Book as B, Decided as D, Filled as F, Trust as T};
    let table: [(&str, &[Then], [&str; 2]); 8] = [
        ("both, then one, then none", &[D(500), F(1, 250), F(0, 250), D(0)], ["50.0", "25.0"]),
        ("what comes after the last look is not known", &[D(500), F(1, 500)], ["100.0", "0.0"]),
        (
            "a settling book is what it was",
            &[D(200), T(Trust::Settling, 300), T(Trust::Good, 0), F(1, 500), D(0)],
            ["50.0", "50.0"],
        ),
        (
            "while it cannot be relied on nothing is measured",
            &[D(250), T(Trust::Bad, 9_000), T(Trust::Good, 250), F(1, 500), D(0)],
            ["50.0", "50.0"],
        ),
        (
            "nor while there is no midpoint",
            &[
                D(250),
                B(&[(4_900, 1_000)], &[(5_100, 10)], 9_000),
                B(&[(4_900, 1_000)], &[(5_100, 1_000)], 0),
                F(1, 750),
                D(0),
            ],
            ["25.0", "75.0"],
        ),
        ("the midpoint leaves our quotes", &[D(1), B(&[(6_000, 1_000)], &[(6_200, 1_000)], 2), D(0)], ["33.3", "0.0"]),
        ("filled at once", &[F(0, 0), F(1, 1_000), D(0)], ["0.0", "0.0"]),
        ("a look changes nothing by itself", &[D(1), D(1), D(1), F(0, 7), D(0)], ["30.0", "70.0"]),
    ];
    for (what, happens, [both, one]) in table {
        let (mut floor, ours) =
            paying(&[(4_900, 1_000)], &[(5_100, 1_000)], &[bid(YES, 4_900, 50), bid(NO, 4_900, 50)]);
        for then in happens {
            let ms = match *then {
                D(ms) => ms,
                F(n, ms) => {
                    floor.orders.fill(&ours[n], Qty::shares(50), floor.now).unwrap();
                    ms
                }
                T(trust, ms) => {
                    floor.trust = trust;
                    ms
                }
                B(bids, asks, ms) => {
                    floor.book(bids, asks);
                    ms
                }
            };
            floor.decide();
            floor.wait(ms);
        }
        let expected = format!(
            "m pays 29 pUSD a day to quotes of 50 shares within 5.5 c: ours qualified {both} % of the time on both \
             sides, {one} % on one"
        );
        assert_eq!(remarks(&floor), [expected], "{what}");
    }
}

fn remarks(floor: &Floor) -> Vec<String> {
    floor.pair.remarks(&sample::universe(vec![floor.spec.clone()]))
}

#[test]
fn only_a_market_that_pays_has_a_sentence_and_only_where_we_quote() {
    let (mut floor, _) = paying(&[(4_900, 1_000)], &[(5_100, 1_000)], &[]);
    let nothing =
        "m pays 29 pUSD a day to quotes of 50 shares within 5.5 c: there was no midpoint to measure ours from";
    assert_eq!(remarks(&floor), [nothing]);
    floor.spec.rewards = None;
    floor.decide();
    floor.wait(1_000);
    floor.decide();
    assert_eq!(remarks(&floor), Vec::<String>::new());
    let (mut off, _) = paying(&[(4_900, 1_000)], &[(5_100, 1_000)], &[]);
    off.pair = Pair::new(PairParams { enabled: false, ..PairParams::default() }, 1);
    off.decide();
    assert_eq!(remarks(&off), Vec::<String>::new());
}

/// The same minute in a market that pays and in one that does not: the same wishes, but another state.
#[test]
fn what_is_measured_is_state_and_decides_nothing() {
    let play = |rewards: Option<Rewards>| {
        let (mut floor, _) = paying(&[(4_900, 1_000)], &[(5_100, 1_000)], &[bid(YES, 4_900, 50), bid(NO, 4_700, 50)]);
        floor.spec.rewards = rewards;
        let mut wishes = Vec::new();
        for step in 0..60 {
            let at = 4_000 + 100 * (step * 7 % 20);
            floor.book(&[(at, 1_000)], &[(at + 200, 30), (at + 300, 1_000)]);
            wishes.extend(floor.decide());
            floor.wait(1_000);
        }
        let mut h = StateHasher::default();
        floor.pair.digest(&mut h);
        (wishes, h.finish())
    };
    let ((paid, measured), (unpaid, unmeasured)) = (play(Some(POOL)), play(None));
    assert!(paid.len() > 10);
    assert_eq!(paid, unpaid);
    assert_ne!(measured, unmeasured);
}
