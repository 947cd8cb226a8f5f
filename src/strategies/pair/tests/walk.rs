//! Ten thousand decisions in worlds made up at random, and what no order may ever do.

use proptest::{
    prelude::{ProptestConfig, any, prop, prop_assert, prop_oneof, proptest},
    strategy::Strategy as Any,
};

use super::*;
use crate::engine::{life::Input, strategy::Strategy};

/// What happens between two decisions.
#[derive(Clone, Debug)]
enum Step {
    /// The grid, the best bid and the spread in ticks, sizes.
    Book(TickSize, u16, u16, u64, u64),
    /// So many hundredths of the n-th working order are filled; settled or not.
    Fill(usize, u64, bool),
    /// The n-th working order is gone.
    Gone(usize),
    Cash(i64),
    Wait(u64),
    Start(u64),
}

fn step() -> impl Any<Value = Step> {
    let tick = prop::sample::select(TickSize::ALL.to_vec());
    prop_oneof![
        4 => (tick, 1_u16..9_000, 1_u16..6, 1_u64..400, 1_u64..400)
            .prop_map(|(t, b, w, q, r)| Step::Book(t, b, w, q, r)),
        4 => (0_usize..8, 1_u64..=100, any::<bool>()).prop_map(|(n, part, settled)| Step::Fill(n, part, settled)),
        2 => (0_usize..8).prop_map(Step::Gone),
        1 => (0_i64..300).prop_map(Step::Cash),
        2 => (1_u64..20_000).prop_map(Step::Wait),
        1 => (0_u64..600).prop_map(Step::Start),
    ]
}

fn take(floor: &mut Floor, step: &Step) {
    let nth = |floor: &Floor, n: usize| floor.orders.working(M).nth(n).copied();
    match *step {
        Step::Book(tick, bid, spread, bids, asks) => {
            let t = tick.units();
            let ticks = Price::UNITS / t;
            let low = (bid / t).clamp(1, ticks - 2);
            let high = (low + spread).min(ticks - 1);
            floor.tick(tick);
            floor.book(&[(low * t, bids)], &[(high * t, asks)]);
        }
        Step::Fill(n, part, settled) => {
            let Some(o) = nth(floor, n) else { return };
            let qty = Qty(o.leaves().micro() * part / 100);
            if qty.is_zero() {
                return;
            }
            let status = if settled { TradeStatus::Confirmed } else { TradeStatus::Matched };
            let i = o.intent;
            floor.book_fill(i.instrument, i.side, qty, i.price, status);
            floor.orders.fill(&o.hash, qty, floor.now).expect("no more than it leaves");
            let notional = qty.notional_floor(i.price);
            let (order, instrument, side) = (o.hash, i.instrument, i.side);
            let fill = NewFill { order, instrument, side, qty, notional, fee: Usdc::ZERO, taker: false };
            floor.with(|pair, view| pair.filled(view, &fill));
        }
        Step::Gone(n) => {
            if let Some(o) = nth(floor, n) {
                floor.orders.apply(&o.hash, Input::Gone, floor.now);
            }
        }
        Step::Cash(dollars) => floor.ledger.open(Usdc::dollars(dollars)),
        Step::Wait(ms) => floor.wait(ms),
        Step::Start(s) => floor.game_start = Some(floor.now.plus(s * 1_000_000_000)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_order_is_off_the_grid_or_meets_our_own_or_leads_beyond_the_limit(
        skew in 0_u16..2_500,
        steps in prop::collection::vec(step(), 20..40),
    ) {
        let params = PairParams { skew_units: skew, ..PairParams::default() };
        let max = Qty::shares(u64::from(params.max_net_shares)).micro() as i64;
        let mut floor = Floor::open(params);
        for step in &steps {
            take(&mut floor, step);
            let wishes = floor.decide();
            for hash in cancelled(&wishes) {
                floor.orders.apply(&hash, Input::CancelAsked, floor.now);
            }
            for i in places(&wishes) {
                let leg = leg_of(i.instrument, i.side);
                let tick = floor.books[0].tick();
                prop_assert!(i.price.on_grid(tick), "{i:?} on {tick}");
                prop_assert!(i.qty >= floor.spec.min_size && i.qty == i.qty.floor_to_cents(), "{i:?}");
                let meets = |o: &Order| {
                    leg_of(o.intent.instrument, o.intent.side) != leg
                        && leg_price(&o.intent).units() + leg_price(&i).units() >= Price::UNITS
                };
                prop_assert!(!floor.orders.working(M).any(meets), "{i:?} meets our own");
                let view = floor.view();
                let same = view.orders.working(M).filter(|o| leg_of(o.intent.instrument, o.intent.side) == leg);
                let open = same.fold(Qty::ZERO, |sum, o| sum + o.leaves()) + i.qty;
                let worst = excess(&view, leg) + open.micro() as i64;
                prop_assert!(worst <= max, "{i:?} leads to {worst}");
                if i.side == Side::Sell {
                    let outcome = i.instrument.outcome();
                    prop_assert!(i.qty <= sellable(&view, outcome), "{i:?} is not held");
                } else {
                    let cost = i.qty.notional_ceil(i.price);
                    prop_assert!(cost <= free(&view), "{i:?} is not paid for");
                }
                floor.rests(i);
            }
        }
    }
}
