//! Prices, sizes, names and amounts as integers: what is written can be read, and no order is worse than its limit.

use polyloly_fast::types::{
    Price, Qty, Side, TickSize, TokenId, Usdc,
    amounts::{limit, market_buy},
    fees::{FeeSchedule, Rounding},
};
use proptest::prelude::*;

/// Any valid price of any grid.
fn on_a_grid() -> impl Strategy<Value = (TickSize, Price)> {
    (prop::sample::select(TickSize::ALL.to_vec()), any::<prop::sample::Index>()).prop_map(|(tick, at)| {
        let steps = usize::from(Price::UNITS / tick.units() - 1);
        let units = (at.index(steps) as u16 + 1) * tick.units();
        (tick, Price::from_units(units).unwrap())
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Buy, Side::Sell])
}

proptest! {
    #[test]
    fn a_limit_order_implies_exactly_its_limit((tick, price) in on_a_grid(), side in side(), micro in 0_u64..1 << 50) {
        prop_assert!(price.on_grid(tick));
        let a = limit(side, price, Qty(micro));
        let (cash, shares) = match side {
            Side::Buy => (a.maker, a.taker),
            Side::Sell => (a.taker, a.maker),
        };
        prop_assert_eq!(u128::from(cash) * 10_000, u128::from(shares) * u128::from(price.units()));
        prop_assert!(shares <= micro && micro - shares < 10_000, "only hundredths are cut off");
        // No more decimals than the grid's amounts have.
        prop_assert_eq!(cash % 10_u64.pow(6 - tick.amount_decimals()), 0);
    }

    #[test]
    fn a_market_buy_spends_whole_cents_and_wants_what_they_buy(
        (tick, price) in on_a_grid(),
        micro in 10_000_i64..1_000_000_000_000,
    ) {
        let a = market_buy(price, Usdc(micro), tick).unwrap();
        let unit = 10_u128.pow(6 - tick.amount_decimals());
        prop_assert!(a.maker <= micro as u64 && micro as u64 - a.maker < 10_000);
        prop_assert_eq!(u128::from(a.taker) % unit, 0);
        // Within one unit of the exact quotient: below it by the cut, above it only by the clients' ceiling, which is
        // ten thousand times finer than a unit.
        let (cash, taker) = (u128::from(a.maker) * 10_000, u128::from(a.taker));
        let p = u128::from(price.units());
        prop_assert!((taker + unit) * p > cash, "more than a unit was given away");
        prop_assert!(taker * p * 10_000 < cash * 10_000 + unit * p, "wants more than the cash buys");
    }

    #[test]
    fn prices_are_read_as_written((_, price) in on_a_grid(), zeros in 0_usize..4) {
        let text = format!("{price}{}", "0".repeat(zeros));
        prop_assert_eq!(Price::parse(text.as_bytes()), Ok(price));
        prop_assert_eq!(Price::parse(text.trim_start_matches('0').as_bytes()), Ok(price));
        prop_assert_eq!(price.complement().complement(), price);
    }

    #[test]
    fn sizes_and_money_are_read_as_written(micro in 0..=i64::MAX as u64) {
        prop_assert_eq!(Qty::parse(Qty(micro).to_string().as_bytes()), Some(Qty(micro)));
        let owed = Usdc(-(micro as i64));
        prop_assert_eq!(Usdc::parse(owed.to_string().as_bytes()), Some(owed));
    }

    #[test]
    fn token_ids_are_read_as_written(id: [u8; 32], leading in 0_usize..32) {
        let mut id = id;
        id[..leading].fill(0);
        let text = TokenId(id).to_string();
        prop_assert_eq!(TokenId::parse(text.as_bytes()), Some(TokenId(id)));
        prop_assert!(text == "0" || !text.starts_with('0'));
    }

    #[test]
    fn numbers_in_any_text_are_refused_or_mean_themselves(text in "[0-9.+e-]{0,12}") {
        let plain = !text.is_empty() && text.matches('.').count() <= 1
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text != ".";
        if let Some(qty) = Qty::parse(text.as_bytes()) {
            prop_assert!(plain, "{}", text);
            let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
            let digits = format!("{whole}{rest:0<6}");
            let exact = digits[..whole.len() + 6].trim_start_matches('0').to_owned();
            prop_assert_eq!(qty.micro().to_string(), if exact.is_empty() { "0".into() } else { exact });
        }
        if !plain {
            prop_assert_eq!(Price::parse(text.as_bytes()).ok(), None);
        }
    }

    #[test]
    fn fees_are_ordered_and_never_more_than_a_step_apart(
        (_, price) in on_a_grid(),
        micro in 0_u64..1 << 45,
        rate_ppm in 0_u32..200_000,
    ) {
        let schedule = FeeSchedule { rate_ppm };
        let [down, even, up] = [Rounding::Down, Rounding::HalfEven, Rounding::Up]
            .map(|r| schedule.taker_fee(Qty(micro), price, r).micro());
        prop_assert!(down <= even && even <= up && up - down <= 10);
        prop_assert!(down >= 0 && down % 10 == 0 && up % 10 == 0);
    }
}

#[test]
fn too_large_token_ids_are_refused() {
    let largest = TokenId([0xff; 32]).to_string();
    assert_eq!(TokenId::parse(largest.as_bytes()), Some(TokenId([0xff; 32])));
    let above = largest.trim_end_matches('5').to_owned() + "6";
    for text in [above.as_str(), &"9".repeat(78), &"1".repeat(79), "", "-1", "0x1", " 1"] {
        assert_eq!(TokenId::parse(text.as_bytes()), None, "{text}");
    }
}
