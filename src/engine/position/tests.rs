//! Accounts: what each fill, merge and payout does to them, and that they always add up.

use proptest::prelude::*;

use super::*;

const M: MarketIx = MarketIx(0);
const YES: InstrumentIx = InstrumentIx(0);
const NO: InstrumentIx = InstrumentIx(1);

fn ledger() -> Ledger {
    let mut l = Ledger::new(1);
    l.open(Usdc::dollars(1_000));
    l
}

fn fees() -> FeeSchedule {
    FeeSchedule { rate_ppm: 50_000 }
}

fn key(n: u8) -> (TradeKey, OrderHash) {
    (TradeKey(u128::from(n)), OrderHash([n; 32]))
}

fn buy(l: &mut Ledger, n: u8, i: InstrumentIx, shares: u64, price: u16, status: TradeStatus) -> Booked {
    let price = Price::from_units(price).expect("a price");
    let qty = Qty::shares(shares);
    trade(l, n, i, Side::Buy, qty, price, false, status)
}

#[allow(clippy::too_many_arguments, reason = "the fields of one trade, each of its own type")]
fn trade(
    l: &mut Ledger,
    n: u8,
    instrument: InstrumentIx,
    side: Side,
    qty: Qty,
    price: Price,
    taker: bool,
    status: TradeStatus,
) -> Booked {
    let curve = taker.then(|| price.curve(qty));
    let (notional, strategy) = (qty.notional_floor(price), Some(StrategyId::Pair));
    let told = NewTrade { instrument, side, qty, notional, curve, fees: fees(), status, strategy, limit: None };
    l.trade(key(n), &told, Nanos(0))
}

#[test]
fn a_pair_bought_below_one_and_merged_is_a_profit_whoever_wins() {
    let mut l = ledger();
    l.mark(M, 10_000);
    buy(&mut l, 1, YES, 100, 4_900, TradeStatus::Confirmed);
    buy(&mut l, 2, NO, 100, 4_800, TradeStatus::Confirmed);
    l.merge_asked(M, Qty::shares(100));
    assert_eq!(l.settled(YES), Qty::ZERO);
    l.merged(M, Qty::shares(100));
    assert_eq!(l.equity_change(), Usdc::dollars(3));
    let a = l.account(M);
    assert_eq!((a.pairs, a.pair_pnl, a.unpaired), (Qty::shares(100), Usdc::dollars(3), Qty::ZERO));
    assert!(l.balanced());
}

#[test]
fn a_merge_that_a_payout_overtakes_is_counted_once() {
    let mut l = ledger();
    buy(&mut l, 1, YES, 100, 4_900, TradeStatus::Confirmed);
    buy(&mut l, 2, NO, 100, 4_800, TradeStatus::Confirmed);
    l.merge_asked(M, Qty::shares(100));
    l.resolve(M, Payout::No);
    l.merged(M, Qty::shares(100));
    assert_eq!(l.equity_change(), Usdc::dollars(3));
    assert_eq!((l.account(M).merged, l.anomalies(), l.merging(M)), (Qty::shares(100), 0, false));
    assert!(l.balanced());
}

#[test]
fn a_failed_trade_voids_exactly_its_own_fill_once() {
    let mut l = ledger();
    assert_eq!(buy(&mut l, 1, YES, 10, 5_000, TradeStatus::Matched), Booked::New);
    assert_eq!(buy(&mut l, 2, YES, 10, 6_000, TradeStatus::Matched), Booked::New);
    assert_eq!(buy(&mut l, 1, YES, 10, 5_000, TradeStatus::Failed), Booked::Voided);
    assert_eq!(buy(&mut l, 1, YES, 10, 5_000, TradeStatus::Failed), Booked::Known);
    assert_eq!((l.qty(YES), l.cash()), (Qty::shares(10), Usdc::dollars(994)));
    assert!(l.balanced());
}

#[test]
fn what_is_sold_and_not_settled_is_not_sold_again_whatever_is_bought_meanwhile() {
    let mut l = ledger();
    let sell = |l: &mut Ledger, status| {
        let price = Price::from_units(5_000).expect("a price");
        trade(l, 3, YES, Side::Sell, Qty::shares(10), price, false, status)
    };
    buy(&mut l, 1, YES, 10, 5_000, TradeStatus::Confirmed);
    buy(&mut l, 2, YES, 10, 5_000, TradeStatus::Matched);
    assert_eq!(sell(&mut l, TradeStatus::Matched), Booked::New);
    // Ten are settled, ten are held, and none of these can be sold.
    assert_eq!((l.qty(YES), l.settled(YES)), (Qty::shares(10), Qty::ZERO));
    // The venue may count none, if only the sale is in its count, or twenty, if only the purchase is.
    assert_eq!(l.expected(YES), (Qty::ZERO, Qty::shares(20)));
    assert!(l.cash_is_moving());
    assert_eq!(sell(&mut l, TradeStatus::Failed), Booked::Voided);
    assert_eq!((l.qty(YES), l.settled(YES)), (Qty::shares(20), Qty::shares(10)));
    assert_eq!(l.expected(YES), (Qty::shares(10), Qty::shares(20)));
    assert!(l.balanced());
}

#[test]
fn a_repeated_trade_changes_nothing_and_a_changed_one_is_a_contradiction() {
    let mut l = ledger();
    buy(&mut l, 1, YES, 10, 5_000, TradeStatus::Matched);
    assert_eq!(buy(&mut l, 1, YES, 10, 5_000, TradeStatus::Mined), Booked::Known);
    assert_eq!(buy(&mut l, 1, YES, 11, 5_000, TradeStatus::Mined), Booked::Contradiction);
    assert_eq!(l.qty(YES), Qty::shares(10));
    assert_eq!(l.settled(YES), Qty::ZERO);
    buy(&mut l, 1, YES, 10, 5_000, TradeStatus::Confirmed);
    assert_eq!(l.settled(YES), Qty::shares(10));
}

#[test]
fn the_unpaired_leg_is_shown_beside_the_pairs_when_the_market_pays() {
    let mut l = ledger();
    buy(&mut l, 1, YES, 100, 4_900, TradeStatus::Confirmed);
    buy(&mut l, 2, NO, 60, 4_800, TradeStatus::Confirmed);
    l.resolve(M, Payout::No);
    let a = l.account(M);
    assert_eq!((a.pairs, a.unpaired), (Qty::shares(60), Qty::shares(40)));
    assert_eq!(a.pair_pnl, Usdc(1_800_000));
    assert_eq!(l.equity_change(), Usdc(1_800_000 - 19_600_000));
    assert!(l.balanced());
}

#[test]
fn a_trade_heard_of_after_the_payout_is_paid_too() {
    let mut l = ledger();
    l.resolve(M, Payout::Yes);
    buy(&mut l, 1, YES, 10, 6_000, TradeStatus::Matched);
    assert_eq!((l.qty(YES), l.equity_change()), (Qty::ZERO, Usdc::dollars(4)));
    assert!(l.balanced());
}

proptest! {
    /// Whatever happens, in whatever order: Δequity is the sum of its causes, to the micro-pUSD.
    #[test]
    fn the_accounts_add_up_at_every_event(
        steps in prop::collection::vec((0_u8..7, any::<bool>(), 1_u64..50_000_000, 1_u16..9_999, any::<u8>()), 1..200),
    ) {
        let mut l = ledger();
        for (kind, first, micro, at, n) in steps {
            let i = if first { YES } else { NO };
            let (qty, price) = (Qty(micro), Price::from_units(at).expect("a price"));
            match kind {
                0 | 1 => {
                    trade(&mut l, n, i, Side::Buy, qty, price, kind == 1, TradeStatus::Matched);
                }
                2 => {
                    let qty = qty.min(l.qty(i));
                    trade(&mut l, n, i, Side::Sell, qty, price, false, TradeStatus::Mined);
                }
                3 => l.mark(M, u32::from(at) * 2),
                4 => {
                    let pairs = l.qty(YES).min(l.qty(NO)).min(qty);
                    l.merge_asked(M, pairs);
                    l.merged(M, pairs);
                }
                5 => {
                    if let Some(f) = l.fills.get(&key(n)).map(|k| k.fill) {
                        trade(&mut l, n, f.instrument, f.side, f.qty, price, false, TradeStatus::Failed);
                    }
                }
                _ => {
                    let off = Usdc(l.cash().0 + i64::from(n) - 128);
                    l.reconcile_cash(off);
                }
            }
            prop_assert!(l.balanced());
        }
        l.resolve(M, Payout::Half);
        prop_assert!(l.balanced());
    }
}
