//! Live-money failures that came from numbers and from bytes, each as a test: what happened, and what we do instead.

mod desk_support;

use core::any::TypeId;

use desk_support::*;
use polyloly_fast::{
    engine::{Approved, refusal::Refusal},
    types::{
        Event, Price, Qty, Side, TickSize, TimeInForce, Usdc,
        amounts::{self, Amounts},
        event::{AckStatus, MarketEvent, OrderChange, RejectReason, TradeStatus::Confirmed as CONFIRMED, UserEvent},
        order::{Intent, OrderState},
    },
    wire::user::UserParser,
};
use proptest::prelude::{ProptestConfig, prop, prop_assert_eq, proptest};

const ME: &str = "a93a3d32-74fa-dd2b-4b67-98bfa6fc5cb5";

/// Every price where an order may stand on a grid.
fn prices(tick: TickSize) -> impl Iterator<Item = Price> {
    (1..Price::UNITS / tick.units()).filter_map(move |n| Price::from_units(n * tick.units()))
}

/// Any of them, on any grid.
fn on_a_grid() -> impl proptest::strategy::Strategy<Value = (TickSize, Price)> {
    let all: Vec<_> = TickSize::ALL.into_iter().flat_map(|tick| prices(tick).map(move |p| (tick, p))).collect();
    prop::sample::select(all)
}

/// What a limit order, and a market buy that spends as much, say about their price.
fn implied_price_is_never_worse(tick: TickSize, price: Price, qty: Qty) -> Result<(), String> {
    let p = u128::from(price.units());
    for side in [Side::Buy, Side::Sell] {
        let Amounts { maker, taker } = amounts::limit(side, price, qty);
        let (cash, shares) = if side == Side::Buy { (maker, taker) } else { (taker, maker) };
        // cash / shares ≥ price for a buy and ≤ price for a sell, without a division: here both, so the price.
        if u128::from(cash) * 10_000 != u128::from(shares) * p {
            return Err(format!("limit {side:?} of {qty} at {price}: {cash} for {shares}"));
        }
    }
    let spend = qty.notional_floor(price);
    let Some(Amounts { maker: cash, taker: shares }) = amounts::market_buy(price, spend, tick) else {
        return Err(format!("no amounts for {spend} at {price}"));
    };
    if u128::from(cash) * 10_000 < u128::from(shares) * p {
        return Err(format!("market buy of {spend} at {price} on {tick}: {cash} for {shares} is below the ask"));
    }
    Ok(())
}

/// An order's type rounded the shares of a protected FAK up, so that the price it implied fell below the ask it was
/// meant for: 63,000 of 96,000 orders died, for a month, and nothing said so.
#[test]
fn story_21_no_order_implies_a_price_worse_than_its_limit_and_dead_ones_are_counted() {
    // Every grid, every price of it, sizes with awkward last digits.
    let sizes = ["5", "7.77", "13.37", "99.99", "333.33", "12345.67"];
    let mut cases = 0;
    for tick in TickSize::ALL {
        for price in prices(tick) {
            for size in sizes.map(|s| Qty::parse(s.as_bytes()).unwrap()) {
                implied_price_is_never_worse(tick, price, size).unwrap();
                cases += 1;
            }
        }
    }
    assert!(cases > 60_000, "{cases}");

    // An immediate order that found nothing is a normal outcome. Nearly all of them finding nothing is not, and both
    // are counted, whichever way the venue tells.
    let (sim, script) = scripted();
    let mut sim = sim.open();
    sim.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
    type Told = fn(&mut Sim<Script>, &Approved);
    let table: [(&str, Told, u64); 6] = [
        ("refused: nothing to match", |sim, o| drop(sim.refused(o.hash(), RejectReason::NotFilled)), 1),
        ("taken, then killed", |sim, o| drop(sim.seen(o.hash(), OrderChange::Cancelled)), 2),
        ("filled", |sim, o| drop(sim.trade(1, o, Qty::shares(20), CONFIRMED)), 2),
        (
            "filled in part, the rest killed",
            |sim, o| {
                sim.trade(2, o, Qty::shares(5), CONFIRMED);
                sim.seen(o.hash(), OrderChange::Cancelled);
            },
            2,
        ),
        ("refused for something else", |sim, o| drop(sim.refused(o.hash(), RejectReason::TickSize)), 2),
        (
            "held, then killed, and told twice",
            |sim, o| {
                sim.accepted(o.hash(), AckStatus::Delayed);
                sim.seen(o.hash(), OrderChange::Cancelled);
                sim.seen(o.hash(), OrderChange::Cancelled);
            },
            3,
        ),
    ];
    for (n, (what, told, killed)) in table.iter().enumerate() {
        let order = sim.place(&script, take(YES, 5_100, 20)).expect(what);
        sim.sent(order.hash());
        told(&mut sim, &order);
        let orders = sim.core.brief().orders;
        assert_eq!((orders.immediate, orders.immediate_killed), (n as u64 + 1, *killed), "{what}");
    }
    // A quote that is cancelled is none of these.
    let quote = sim.place(&script, buy(YES, 4_900, 20)).expect("a quote");
    sim.rests(quote.hash());
    sim.seen(quote.hash(), OrderChange::Cancelled);
    let orders = sim.core.report().orders;
    assert_eq!((orders.immediate, orders.immediate_killed), (6, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The same over any size.
    #[test]
    fn story_21_any_size_implies_its_limit(
        (tick, price) in on_a_grid(), cents in 100_u64..1 << 32,
    ) {
        prop_assert_eq!(implied_price_is_never_worse(tick, price, Qty(cents * 10_000)), Ok(()));
    }

    /// What a market order is asked for in one unit never comes out in the other.
    #[test]
    fn story_24_cash_stays_cash(
        (tick, price) in on_a_grid(), cents in 1_i64..1 << 40,
    ) {
        let spent = amounts::market_buy(price, Usdc(cents * 10_000), tick).map(|a| a.maker);
        prop_assert_eq!(spent, Some(cents as u64 * 10_000));
        let bought = amounts::limit(Side::Buy, price, Qty(cents as u64 * 10_000)).taker;
        prop_assert_eq!(bought, cents as u64 * 10_000);
    }
}

/// Market orders on ticks of 0.001 were always refused: their amounts had five decimals where the class of order takes
/// two for the collateral and what the tick allows for the shares.
#[test]
fn story_20_amounts_keep_to_the_decimals_of_their_class_and_tick() {
    for tick in TickSize::ALL {
        let shares_step = 10_u64.pow(6 - tick.amount_decimals());
        for price in prices(tick) {
            for cents in [100_i64, 101, 777, 9_999, 1_234_567] {
                let a = amounts::market_buy(price, Usdc(cents * 10_000), tick).unwrap();
                assert_eq!(a.maker % 10_000, 0, "{tick:?} {price}: whole cents of collateral");
                assert_eq!(a.taker % shares_step, 0, "{tick:?} {price}: shares of the tick's decimals");
                let sold = amounts::limit(Side::Sell, price, Qty(cents as u64 * 10_000));
                assert_eq!(sold.maker % 10_000, 0, "{tick:?} {price}: hundredths of shares");
                assert_eq!(sold.taker % shares_step, 0, "{tick:?} {price}: collateral of the tick's decimals");
            }
        }
    }
}

/// Orders of proxies, Safes and deposit wallets, and of neg-risk markets, were signed for the wrong contract. Every
/// kind of wallet is checked with every kind of market, and the key with itself before the first order.
#[test]
fn story_31_every_wallet_signs_for_every_contract_and_the_key_is_tried_first() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors/orders.json"));
    let document: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    let rows = document.as_array().cloned().or_else(|| document["rows"].as_array().cloned());
    let rows =
        rows.or_else(|| document["orders"].as_array().cloned()).or_else(|| document["vectors"].as_array().cloned());
    let text_of = |row: &serde_json::Value| row.to_string();
    let rows = rows.expect("rows of orders");
    let all: String = rows.iter().map(text_of).collect();
    for kind in 0..4 {
        assert!(all.contains(&format!("\"signatureType\":{kind}")), "no vector of wallet type {kind}");
    }
    let contracts: std::collections::BTreeSet<String> =
        rows.iter().filter_map(|r| r["verifyingContract"].as_str().map(str::to_lowercase)).collect();
    assert!(contracts.len() >= 3, "standard, neg-risk and V3: {contracts:?}");
    // Each is reproduced by tests/vectors.rs. What those cannot show is this process's own key and curve.
    let key = polyloly_fast::engine::sign::SecretKey::from_hex(&[b'7'; 64]).unwrap();
    assert!(polyloly_fast::engine::sign::OrderSigner::new(key).verifies_itself());
}

/// The grid was checked by counting decimals: 0.007 has as many as 0.005, so it passed on a grid of 0.005, and the
/// venue refused it.
#[test]
fn story_22_a_price_is_on_the_grid_if_it_is_a_multiple_of_the_tick() {
    for (price, tick, on) in [
        ("0.007", TickSize::HalfCent, false),
        ("0.005", TickSize::HalfCent, true),
        ("0.0025", TickSize::QuarterCent, true),
        ("0.0075", TickSize::QuarterCent, true),
        ("0.0035", TickSize::QuarterCent, false),
        ("0.995", TickSize::HalfCent, true),
        ("0.997", TickSize::HalfCent, false),
        ("0.15", TickSize::Tenth, false),
    ] {
        assert_eq!(Price::parse(price.as_bytes()).unwrap().on_grid(tick), on, "{price} on {tick}");
    }
    // Every price there is against every grid there is: a grid is what adding the tick up reaches.
    for tick in TickSize::ALL {
        let mut grid = vec![false; usize::from(Price::UNITS) + 1];
        prices(tick).for_each(|p| grid[usize::from(p.units())] = true);
        for units in 0..=Price::UNITS {
            let price = Price::from_units(units).unwrap();
            assert_eq!(price.on_grid(tick), grid[usize::from(units)], "{price} on {tick}");
        }
    }
    // And nothing off it passes risk: the market goes over to 0.005, 0.497 is refused here and not at the venue.
    let (sim, script) = scripted();
    let mut sim = sim.open();
    for instrument in [YES, NO] {
        sim.market(MarketEvent::TickSizeChange { instrument, tick: TickSize::HalfCent });
    }
    sim.book(&[(4_900, 1_000)], &[(5_100, 1_000)]);
    assert_eq!(sim.place(&script, buy(YES, 4_970, 20)), None);
    assert_eq!(sim.refusals(), [(Refusal::OffGrid.as_str(), 1)]);
    assert!(sim.place(&script, buy(YES, 4_950, 20)).is_some());
}

/// Does not compile if there is a way from one type to the other without a price.
macro_rules! no_way_from_to {
    ($a:ty => $b:ty) => {{
        trait Ambiguous<Way> {
            fn only_one() {}
        }
        struct ThereIsOne;
        impl<T: ?Sized> Ambiguous<()> for T {}
        impl<T: Into<$b>> Ambiguous<ThereIsOne> for T {}
        // Two candidates if `$a` converts into `$b`, and then the compiler cannot tell which is meant.
        let _ = <$a as Ambiguous<_>>::only_one;
    }};
}

/// "Buy 100": of shares, meant the bot; of dollars, understood the venue, whose market buys are in dollars. At 0.05
/// that was two thousand shares.
#[test]
fn story_24_shares_and_dollars_are_different_types() {
    // A market buy takes money and a limit order shares. Each line stops compiling when its types change; neither
    // compiles with the other's.
    let _: fn(Price, Usdc, TickSize) -> Option<Amounts> = amounts::market_buy;
    let _: fn(Side, Price, Qty) -> Amounts = amounts::limit;
    assert_ne!(TypeId::of::<Qty>(), TypeId::of::<Usdc>());
    // There is no conversion that could be called by mistake: from one to the other it takes a price.
    no_way_from_to!(Qty => Usdc);
    no_way_from_to!(Usdc => Qty);
    no_way_from_to!(u64 => Qty);
    no_way_from_to!(i64 => Usdc);
    let _: fn(Qty, Price) -> Usdc = Qty::notional_floor;

    // An intent holds shares, whatever kind of order it becomes, and what is signed spends their price and no more.
    let (sim, script) = scripted();
    let mut sim = sim.open();
    sim.book(&[(400, 10_000)], &[(500, 10_000)]);
    for tif in [TimeInForce::Fak, TimeInForce::Fok, TimeInForce::Gtc] {
        let hundred: Qty = Qty::shares(100);
        let order = sim.place(&script, Intent { tif, qty: hundred, ..take(YES, 500, 0) }).expect("admitted");
        // Five dollars for a hundred shares, and not a hundred dollars for two thousand.
        assert_eq!(order.amounts(), Amounts { maker: 5_000_000, taker: 100_000_000 }, "{tif:?}");
        sim.sent(order.hash());
        sim.seen(order.hash(), OrderChange::Cancelled);
    }
}

/// One entry of a trade's `maker_orders`.
fn maker(order: &str, owner: &str, asset: &str, matched: &str, price: &str, side: &str) -> String {
    format!(
        r#"{{"order_id":"{order}","owner":"{owner}","asset_id":"{asset}","matched_amount":"{matched}",
        "price":"{price}","side":"{side}"}}"#
    )
}

/// A taker bought YES; our bids for NO were what it bought from, by a mint. The adapter filtered trades by the taker's
/// token and never saw our fills; where it did, it took the first of our orders and dropped the others.
#[test]
fn story_32_fills_of_several_of_our_makers_on_the_other_token_are_all_booked() {
    let (sim, script) = scripted();
    let mut sim = sim.open();
    sim.book(&[(4_900, 1_000)], &[(5_200, 1_000)]);
    let hex = |o: &Approved| o.hash().0.iter().fold(String::from("0x"), |s, b| s + &format!("{b:02x}"));
    let first = sim.place(&script, buy(NO, 4_700, 20)).expect("a bid for NO");
    let second = sim.place(&script, buy(NO, 4_600, 20)).expect("another, deeper");
    let untouched = sim.place(&script, buy(NO, 4_500, 20)).expect("a third that is not reached");
    for order in [&first, &second, &untouched] {
        sim.rests(order.hash());
    }

    let universe = universe();
    let token = |i| universe.token(i).decimal(&mut [0; 78]).to_owned();
    let (yes, no) = (token(YES), token(NO));
    let stranger = format!("0x{:064x}", 0xbeef);
    // Ours twice by the first order, once by the second; between them somebody else's, on each token.
    let makers = [
        maker(&hex(&first), ME, &no, "12", "0.47", "BUY"),
        maker(&stranger, "somebody", &yes, "30", "0.53", "SELL"),
        maker(&hex(&first), ME, &no, "8", "0.47", "BUY"),
        maker(&stranger, "somebody", &no, "4", "0.47", "BUY"),
        maker(&hex(&second), ME, &no, "7.5", "0.46", "BUY"),
    ]
    .join(",");
    let trade = |status: &str| {
        format!(
            r#"{{"event_type":"trade","type":"TRADE","id":"28c4d2eb-bbea-40e7-a9f0-b2fdb56b2c2e","status":"{status}",
            "taker_order_id":"0x{:064x}","asset_id":"{yes}","side":"BUY","size":"61.5","price":"0.54",
            "owner":"somebody-else","trader_side":"MAKER","maker_orders":[{makers}]}}"#,
            0xcafe
        )
    };
    let mut parser = UserParser::new(&universe, ME);
    let mut hear = |sim: &mut Sim<Script>, status: &str| {
        let mut events: Vec<UserEvent> = Vec::new();
        let parsed = parser
            .parse(trade(status).as_bytes().to_vec().as_mut_slice(), &mut |e| match e {
                Event::User(e) => events.push(e),
                other => panic!("{other:?}"),
            })
            .expect("readable");
        assert_eq!((parsed.fills, parsed.not_ours, parsed.unknown_tokens), (2, 0, 0));
        events.into_iter().for_each(|e| drop(sim.user(e)));
    };
    for (status, settled) in [("MATCHED", "0"), ("MINED", "0"), ("CONFIRMED", "27.5"), ("CONFIRMED", "27.5")] {
        hear(&mut sim, status);
        let ledger = sim.core.ledger();
        let qty = |text: &str| Qty::parse(text.as_bytes()).unwrap();
        assert_eq!((ledger.qty(YES), ledger.qty(NO)), (Qty::ZERO, qty("27.5")), "{status}");
        assert_eq!(ledger.settled(NO), qty(settled), "{status}");
        // 20 at 0.47 and 7.5 at 0.46: our own prices, not the taker's and not one minus.
        assert_eq!(ledger.cash(), Usdc::dollars(1_000) - Usdc::parse(b"12.85").unwrap(), "{status}");
        assert_eq!(sim.core.report().fills.taker, 0, "a maker pays no fee");
    }
    assert_eq!(sim.state(&first.hash()), OrderState::Matched);
    assert_eq!(sim.state(&second.hash()), OrderState::PartiallyFilled);
    assert_eq!(sim.state(&untouched.hash()), OrderState::Live);
    assert_eq!((sim.core.report().fills.count, sim.core.ledger().anomalies()), (2, 0));
}
