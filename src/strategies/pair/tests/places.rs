//! Places in the queue: how they are counted, and what they are worth.

use super::*;

/// What happens at 0.49, where 100 shares stood before our fifty came.
enum Happens {
    /// The market channel told of a trade: the taker's token, side, price, shares.
    Print(InstrumentIx, Side, u16, u64),
    /// The book shows so many shares of others at our price.
    Others(u64),
}

#[test]
fn a_place_is_counted_from_trades_and_from_what_leaves() {
    use Happens::{Others, Print as P};
    let (sell, buy) = (Side::Sell, Side::Buy);
    let table: [(&str, &[Happens], u64); 10] = [
        ("nothing", &[], 100),
        ("a sale into the bids", &[P(YES, sell, 4_900, 30), Others(70)], 70),
        ("a purchase of NO is the same", &[P(NO, buy, 5_100, 30), Others(70)], 70),
        ("told after the book showed it", &[Others(70), P(YES, sell, 4_900, 30)], 70),
        ("a trade at another price", &[P(YES, sell, 4_800, 30)], 100),
        ("a purchase of YES takes the other side", &[P(YES, buy, 4_900, 30)], 100),
        ("others come behind us", &[Others(180)], 100),
        ("half of all that stands there leaves", &[Others(200), Others(100)], 50),
        ("a trade and a withdrawal", &[Others(200), P(YES, sell, 4_900, 50), Others(120)], 40),
        ("more trades than stood before us", &[Others(200), P(YES, sell, 4_900, 130), Others(70)], 0),
    ];
    for (what, happens, ahead) in table {
        let mut floor = Floor::new(PairParams { taker: false, ..PairParams::default() });
        floor.book(&[(4_900, 100)], &[(5_100, 1_000)]);
        let order = floor.rests(bid(YES, 4_900, 50));
        // The book shows ours from now on.
        floor.book(&[(4_900, 150)], &[(5_100, 1_000)]);
        floor.decide();
        for h in happens {
            match *h {
                P(instrument, taker, units, shares) => {
                    let print = Print { instrument, taker, price: price(units), qty: Qty::shares(shares) };
                    floor.with(|pair, view| pair.traded(view.now, &print));
                }
                Others(shares) => {
                    floor.book(&[(4_900, shares + 50)], &[(5_100, 1_000)]);
                    floor.decide();
                }
            }
        }
        let got = floor.pair.queue.ahead_of(&floor.view(), floor.orders.get(&order).unwrap());
        assert_eq!(got, Qty::shares(ahead), "{what}");
    }
}

#[test]
fn better_prices_stand_before_us_too() {
    let mut floor = Floor::new(PairParams::default());
    floor.book(&[(4_900, 40), (4_800, 150), (4_700, 999)], &[(5_100, 1_000)]);
    let order = floor.rests(bid(YES, 4_800, 50));
    floor.decide();
    let got = floor.pair.queue.ahead_of(&floor.view(), floor.orders.get(&order).unwrap());
    assert_eq!(got, Qty::shares(140));
    assert_eq!(floor.pair.queue.ahead_of_new(&floor.view(), Outcome::Yes, price(4_800)), Qty::shares(140));
    assert_eq!(floor.pair.queue.ahead_of_new(&floor.view(), Outcome::Yes, price(5_000)), Qty::ZERO);
}

/// Twenty-five shares are taken to trade in thirty seconds; after a trade of a hundred, a hundred and twenty-five.
#[test]
fn how_likely_a_fill_is_follows_the_flow() {
    let mut floor = Floor::open(PairParams::default());
    let p = |floor: &Floor, ahead| {
        floor.pair.queue.fill_ppm(M, Outcome::Yes, Qty::shares(ahead), Qty::shares(50), floor.now)
    };
    assert_eq!((p(&floor, 0), p(&floor, 125)), (333_333, 125_000), "25 of 75, 25 of 200");
    let print = Print { instrument: YES, taker: Side::Sell, price: price(4_900), qty: Qty::shares(100) };
    floor.with(|pair, view| pair.traded(view.now, &print));
    assert_eq!(p(&floor, 75), 500_000, "125 of 250");
    floor.wait(15_000);
    assert_eq!(p(&floor, 75), 375_000, "75 of 200: half of the time has passed");
    floor.wait(15_000);
    assert_eq!(p(&floor, 125), 125_000);
}

/// We bid 0.48; the book moves so that 0.49 would be right. The place at 0.48 against one at 0.49.
#[test]
fn a_good_place_is_not_given_up_for_less_than_it_is_worth() {
    let table = [
        // others at 0.49 and at 0.48 before us; whether ours stays
        ("first at 0.48, nobody better", 0, 0, true),
        ("outbid, first at 0.48: no more trades before us there than at 0.49", 500, 0, true),
        ("outbid, and late at 0.48", 500, 900, false),
        ("nobody at 0.49, many before us at 0.48", 0, 900, false),
    ];
    for (what, better, before, stays) in table {
        let mut floor = Floor::new(PairParams { taker: false, ..PairParams::default() });
        let levels = |floor: &mut Floor, ours: u64, behind: u64| {
            let mut bids = vec![(4_800, before + ours + behind), (4_700, 1_000)];
            if better > 0 {
                bids.push((4_900, better));
            }
            floor.book(&bids, &[(5_200, 1_000)]);
        };
        levels(&mut floor, 0, 0);
        let order = floor.rests(bid(YES, 4_800, 50));
        floor.rests(bid(NO, 4_800, 50));
        floor.decide();
        levels(&mut floor, 50, 0);
        floor.decide();
        // Others come behind us, and our quotes have rested.
        levels(&mut floor, 50, 1_000);
        floor.wait(1_000);
        let wishes = floor.decide();
        assert_eq!(!cancelled(&wishes).contains(&order), stays, "{what}: {wishes:?}");
    }
}

/// A fill of fifty YES leans the price by a cent: what rests of the YES leg is a cent too near.
#[test]
fn what_is_held_leans_on_resting_quotes_too() {
    let mut floor = Floor::open(PairParams { taker: false, ..PairParams::default() });
    let yes = floor.rests(bid(YES, 4_900, 50));
    floor.rests(bid(NO, 4_900, 50));
    floor.book(&[(4_900, 1_050)], &[(5_100, 1_050)]);
    assert_eq!(cancelled(&floor.decide()), []);
    floor.hold(YES, 50, TradeStatus::Confirmed);
    assert_eq!(cancelled(&floor.decide()), [], "a moment's rest");
    floor.wait(1_000);
    assert!(cancelled(&floor.decide()).contains(&yes));
}

#[test]
fn a_price_that_lost_its_edge_is_pulled_whatever_its_place() {
    let mut floor = Floor::new(PairParams { taker: false, ..PairParams::default() });
    floor.book(&[(4_900, 50)], &[(5_100, 1_000)]);
    let order = floor.rests(bid(YES, 4_900, 50));
    floor.decide();
    floor.book(&[(4_900, 50), (4_700, 1_000)], &[(5_000, 1_000)]);
    let wishes = floor.decide();
    assert_eq!(cancelled(&wishes), [order], "fair is 0.485, and we are the only bid at 0.49");
}
