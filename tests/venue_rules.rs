//! The embedded venue's trading rules as tables that a trader can read, and its conservation laws as properties.
#![cfg(feature = "embedded")]

mod market_support;

use std::sync::Arc;

use polyloly_fast::{
    types::{
        Address, InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side, TickSize, TimeInForce, Usdc,
        event::{BookSide, Payout},
        fees::FeeSchedule,
        ids::Outcome,
        market::SignatureType,
    },
    venue::{
        accounts::{Account, AccountIx},
        exchange::{Ack, Cancel, Exchange},
        notes::{Note, OrderEvent, TradeStatus},
        rules::{NewOrder, Refusal, taker_fee},
        settle::SetError,
    },
};
use proptest::prelude::*;

const YES: InstrumentIx = InstrumentIx(0);
const NO: InstrumentIx = InstrumentIx(1);
const A: AccountIx = AccountIx(0);
const B: AccountIx = AccountIx(1);
const C: AccountIx = AccountIx(2);
const T0: Nanos = Nanos(1_790_000_000_000_000_000);
use Side::{Buy, Sell};
use TimeInForce::{Fak, Fok, Gtc};

fn spec(hold_ms: u32) -> MarketSpec {
    MarketSpec { hold_ms, ..market_support::market() }
}

struct Desk {
    x: Exchange,
    now: Nanos,
    n: u64,
}

impl Desk {
    fn new(hold_ms: u32) -> Self {
        let mut x = Exchange::new(vec![spec(hold_ms)], 1, 1.0);
        for a in 0..3_u8 {
            x.open(|n| Account::new(Address([a; 20]), Address([a; 20]), SignatureType::Eoa, Usdc::dollars(1_000), n));
        }
        Self { x, now: T0, n: 0 }
    }

    fn id(n: u64) -> OrderHash {
        let mut id = [0; 32];
        id[24..].copy_from_slice(&n.to_be_bytes());
        OrderHash(id)
    }

    fn last(&self) -> OrderHash {
        Self::id(self.n)
    }

    /// An order of `shares` hundredths at `cents` of the grid's hundredths.
    fn order(
        &mut self,
        a: AccountIx,
        i: InstrumentIx,
        side: Side,
        price: &str,
        shares: &str,
        tif: TimeInForce,
    ) -> NewOrder {
        self.n += 1;
        let p = u64::from(Price::parse(price.as_bytes()).unwrap().units());
        let q = Qty::parse(shares.as_bytes()).unwrap().micro();
        let cash = q * p / 10_000;
        let (maker_amount, taker_amount) = if side == Buy { (cash, q) } else { (q, cash) };
        NewOrder {
            id: self.last(),
            account: a,
            owner: Arc::from(format!("key-{}", a.0)),
            tag: None,
            instrument: i,
            side,
            maker_amount,
            taker_amount,
            tif,
            post_only: false,
        }
    }

    fn send(
        &mut self,
        a: AccountIx,
        i: InstrumentIx,
        side: Side,
        price: &str,
        shares: &str,
        tif: TimeInForce,
    ) -> Result<Ack, Refusal> {
        let new = self.order(a, i, side, price, shares, tif);
        self.submit(new)
    }

    fn submit(&mut self, new: NewOrder) -> Result<Ack, Refusal> {
        let ack = self.x.submit(new, self.now);
        self.x.audit().unwrap();
        ack
    }

    fn after_ms(&mut self, ms: u64) {
        self.now = self.now.plus(ms * 1_000_000);
        self.x.advance(self.now);
        self.x.audit().unwrap();
    }

    fn cash(&self, a: AccountIx) -> String {
        self.x.account(a).cash.to_string()
    }

    fn shares(&self, a: AccountIx, i: InstrumentIx) -> String {
        self.x.account(a).holding(i).balance.to_string()
    }

    fn best(&self, o: Outcome, side: BookSide) -> Option<(String, String)> {
        self.x.market(MarketIx(0)).book.best_of(o, side).map(|(p, q)| (p.to_string(), q.to_string()))
    }
}

fn shown(p: &str, q: &str) -> Option<(String, String)> {
    Some((p.into(), q.into()))
}

#[test]
fn buying_no_is_selling_yes() {
    let mut d = Desk::new(0);
    d.send(A, NO, Buy, "0.45", "10", Gtc).unwrap();
    assert_eq!(d.best(Outcome::Yes, BookSide::Ask), shown("0.55", "10"));
    assert_eq!(d.best(Outcome::No, BookSide::Bid), shown("0.45", "10"));
    assert_eq!(d.best(Outcome::Yes, BookSide::Bid), None);
}

/// Two buys mint, two sells merge, a buy and a sell swap; the resting price is the trade price.
#[test]
fn the_three_kinds_of_match() {
    let mut d = Desk::new(0);
    // Mint: A rests a bid for NO at 0.45, B takes YES at up to 0.60 and pays 0.55.
    d.send(A, NO, Buy, "0.45", "100", Gtc).unwrap();
    assert!(matches!(d.send(B, YES, Buy, "0.60", "100", Gtc), Ok(Ack::Matched { .. })));
    assert_eq!((d.cash(A), d.shares(A, NO)), ("955".into(), "100".into()));
    // 55 and a fee of 100 × 0.05 × 0.55 × 0.45 on top.
    assert_eq!((d.cash(B), d.shares(B, YES)), ("943.7625".into(), "100".into()));
    assert_eq!(d.x.market(MarketIx(0)).sets, Qty::shares(100));
    // Swap: B offers 40 YES at 0.58, C buys them.
    d.send(B, YES, Sell, "0.58", "40", Gtc).unwrap();
    d.send(C, YES, Buy, "0.58", "40", Gtc).unwrap();
    assert_eq!((d.cash(B), d.shares(B, YES)), ("966.9625".into(), "60".into()));
    assert_eq!((d.cash(C), d.shares(C, YES)), ("976.3128".into(), "40".into()));
    // Merge: A offers NO at 0.40, C sells YES into it at 0.60 and pays the fee out of the proceeds.
    d.send(A, NO, Sell, "0.40", "40", Gtc).unwrap();
    d.send(C, YES, Sell, "0.55", "40", Gtc).unwrap();
    assert_eq!((d.cash(A), d.shares(A, NO)), ("971".into(), "60".into()));
    assert_eq!((d.cash(C), d.shares(C, YES)), ("999.8328".into(), "0".into()));
    assert_eq!(d.x.market(MarketIx(0)).sets, Qty::shares(60));
}

#[test]
fn better_price_first_then_older_order() {
    let mut d = Desk::new(0);
    d.send(A, NO, Buy, "0.40", "10", Gtc).unwrap(); // YES ask 0.60, first
    let first = d.last();
    d.send(B, NO, Buy, "0.40", "10", Gtc).unwrap(); // YES ask 0.60, second
    let second = d.last();
    d.send(B, NO, Buy, "0.41", "10", Gtc).unwrap(); // YES ask 0.59, best
    let best = d.last();
    d.send(C, YES, Buy, "0.60", "25", Gtc).unwrap();
    let trade = d.x.trades().next().unwrap();
    let met: Vec<_> = trade.makers.iter().map(|f| (f.order, f.qty.to_string(), f.price.to_string())).collect();
    assert_eq!(
        met,
        [(best, "10".into(), "0.41".into()), (first, "10".into(), "0.4".into()), (second, "5".into(), "0.4".into())]
    );
    assert_eq!(trade.price.to_string(), "0.6", "several levels: the taker's limit");
}

/// Every refusal and its words.
#[test]
fn refusals() {
    let mut d = Desk::new(0);
    d.send(A, NO, Buy, "0.45", "100", Gtc).unwrap(); // YES ask 0.55 × 100
    let seen = d.last();
    type Case = (&'static str, Box<dyn Fn(&mut Desk) -> NewOrder>, &'static str);
    let cases: Vec<Case> = vec![
        (
            "twice",
            Box::new(move |d| NewOrder { id: seen, ..d.order(A, NO, Buy, "0.45", "100", Gtc) }),
            "is invalid. Duplicated.",
        ),
        (
            "off the grid",
            Box::new(|d| d.order(B, YES, Buy, "0.505", "10", Gtc)),
            "is invalid. Price (0.505) breaks minimum tick size rule: 0.01",
        ),
        (
            "a limit whose amounts are between two ticks",
            Box::new(|d| NewOrder { maker_amount: 5_000_001, ..d.order(B, YES, Buy, "0.50", "10", Gtc) }),
            "breaks minimum tick size rule: 0.01",
        ),
        (
            "too small to rest",
            Box::new(|d| d.order(B, YES, Buy, "0.50", "4.99", Gtc)),
            "is invalid. Size (4.99) lower than the minimum: 5",
        ),
        (
            "a marketable buy under a dollar",
            Box::new(|d| d.order(B, YES, Buy, "0.55", "1.81", Fak)),
            "invalid amount for a marketable BUY order ($0.9955), min size: $1",
        ),
        (
            "post-only and crossing",
            Box::new(|d| NewOrder { post_only: true, ..d.order(B, YES, Buy, "0.55", "10", Gtc) }),
            "invalid post-only order: order crosses book",
        ),
        (
            "more than the cash",
            Box::new(|d| d.order(B, YES, Buy, "0.50", "2000.02", Gtc)),
            "not enough balance / allowance",
        ),
        (
            "cash for the shares but not for the fee",
            Box::new(|d| d.order(B, YES, Buy, "0.55", "1818", Gtc)),
            "not enough balance / allowance",
        ),
        (
            "a sale of what is not owned",
            Box::new(|d| d.order(B, YES, Sell, "0.60", "10", Gtc)),
            "not enough balance / allowance",
        ),
        (
            "GTD under three minutes ahead",
            Box::new(|d| d.order(B, YES, Buy, "0.50", "10", TimeInForce::Gtd { expires_s: T0.secs() + 179 })),
            "invalid expiration",
        ),
        (
            "fill-or-kill for more than there is",
            Box::new(|d| d.order(B, YES, Buy, "0.55", "100.01", Fok)),
            "order couldn't be fully filled. FOK orders are fully filled or killed.",
        ),
        (
            "fill-and-kill where nothing is",
            Box::new(|d| d.order(B, YES, Buy, "0.54", "10", Fak)),
            "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found.",
        ),
    ];
    for (what, order, words) in cases {
        let new = order(&mut d);
        let said = d.submit(new).expect_err(what).to_string();
        assert!(said.contains(words), "{what}: {said}");
    }
    d.x.resolve(MarketIx(0), Payout::Yes, d.now);
    let said = d.send(A, YES, Buy, "0.50", "10", Gtc).unwrap_err().to_string();
    assert!(said.starts_with("the orderbook ") && said.ends_with(" does not exist"), "{said}");
}

#[test]
fn a_sell_is_limited_by_what_open_sells_leave() {
    let mut d = Desk::new(0);
    d.x.split(A, MarketIx(0), Qty::shares(10)).unwrap();
    d.send(A, YES, Sell, "0.60", "6", Gtc).unwrap();
    assert_eq!(d.send(A, YES, Sell, "0.61", "5", Gtc), Err(Refusal::Balance));
    let open = d.id_of_first();
    assert_eq!(d.x.cancel(&open, "key-1", d.now), Cancel::Gone, "another key's order is unknown");
    assert_eq!(d.x.cancel(&open, "key-0", d.now), Cancel::Canceled);
    assert_eq!(d.x.cancel(&open, "key-0", d.now).reason(), "Order not found or already canceled");
    d.send(A, YES, Sell, "0.61", "10", Gtc).unwrap();
}

impl Desk {
    fn id_of_first(&self) -> OrderHash {
        self.x.open_orders(|_| true)[0]
    }
}

/// The captured $5 buy: 9.615385 shares at 0.52 for exactly 5.
#[test]
fn an_immediate_buy_spends_its_amount() {
    let mut d = Desk::new(0);
    d.send(A, NO, Buy, "0.48", "50", Gtc).unwrap();
    let new = NewOrder { maker_amount: 5_000_000, taker_amount: 9_615_300, ..d.order(B, YES, Buy, "0.52", "10", Fok) };
    let Ok(Ack::Matched { qty, cash, .. }) = d.submit(new) else { panic!("not matched") };
    assert_eq!((qty.to_string(), cash.to_string()), ("9.615385".into(), "5".into()));
    // At a better price the same amount buys more shares than were signed for.
    let new = NewOrder { maker_amount: 5_500_000, taker_amount: 10_000_000, ..d.order(B, YES, Buy, "0.55", "10", Fak) };
    let Ok(Ack::Matched { qty, cash, .. }) = d.submit(new) else { panic!("not matched") };
    assert_eq!((qty.to_string(), cash.to_string()), ("10.576924".into(), "5.5".into()));
}

#[test]
fn fill_and_kill_takes_what_is_there_and_rests_nothing() {
    let mut d = Desk::new(0);
    d.send(A, NO, Buy, "0.45", "10", Gtc).unwrap();
    assert!(matches!(d.send(B, YES, Buy, "0.55", "30", Fak), Ok(Ack::Matched { qty, .. }) if qty == Qty::shares(10)));
    assert_eq!(d.best(Outcome::Yes, BookSide::Bid), None);
    assert_eq!(d.x.account(B).reserved, Usdc::ZERO);
}

/// Held, funds reserved, not cancellable; then it meets the book of that moment.
#[test]
fn the_sports_delay() {
    let mut d = Desk::new(1_000);
    d.send(A, NO, Buy, "0.45", "10", Gtc).unwrap();
    let maker = d.last();
    assert_eq!(d.send(B, YES, Buy, "0.55", "10", Gtc), Ok(Ack::Delayed));
    let held = d.last();
    assert_eq!(d.x.account(B).reserved.to_string(), "5.62375");
    assert_eq!(d.x.cancel(&held, "key-1", d.now), Cancel::Delayed);
    assert_eq!(d.send(B, YES, Buy, "0.50", "10", Gtc), Ok(Ack::Live), "resting orders are not held");
    // A second one finds the maker gone and rests.
    assert_eq!(d.send(C, YES, Buy, "0.55", "10", Gtc), Ok(Ack::Delayed));
    let late = d.last();
    d.after_ms(999);
    assert_eq!(d.x.order(&held).unwrap().phase.as_str(), "DELAYED");
    d.after_ms(1);
    assert_eq!(d.x.order(&held).unwrap().phase.as_str(), "MATCHED");
    assert_eq!(d.x.order(&maker).unwrap().phase.as_str(), "MATCHED");
    assert_eq!(d.x.order(&late).unwrap().phase.as_str(), "LIVE");
    assert_eq!(d.best(Outcome::Yes, BookSide::Bid), shown("0.55", "10"));
}

#[test]
fn a_held_fill_or_kill_dies_in_the_venues_words() {
    let mut d = Desk::new(1_000);
    d.send(A, NO, Buy, "0.45", "10", Gtc).unwrap();
    assert_eq!(d.send(B, YES, Buy, "0.55", "10.01", Fok), Ok(Ack::Delayed));
    let id = d.last();
    d.after_ms(1_000);
    let status = d.x.order(&id).unwrap().phase.as_str().to_owned();
    assert_eq!(status, "CANCELED_order couldn't be fully filled. FOK orders are fully filled or killed.");
    assert_eq!(d.x.account(B).reserved, Usdc::ZERO);
}

#[test]
fn gtd_stops_a_minute_early() {
    let mut d = Desk::new(0);
    d.send(A, YES, Buy, "0.50", "10", TimeInForce::Gtd { expires_s: T0.secs() + 180 }).unwrap();
    let id = d.last();
    d.after_ms(119_999);
    assert_eq!(d.x.order(&id).unwrap().phase.as_str(), "LIVE");
    d.after_ms(1);
    assert_eq!(d.x.order(&id).unwrap().phase.as_str(), "CANCELED_EXPIRED_ORDER");
    assert_eq!(d.best(Outcome::Yes, BookSide::Bid), None);
}

#[test]
fn a_trade_is_matched_then_mined_then_confirmed_and_only_then_can_be_merged() {
    let mut d = Desk::new(0);
    d.send(A, NO, Buy, "0.45", "10", Gtc).unwrap();
    d.send(A, YES, Buy, "0.55", "10", Gtc).unwrap(); // its own other side: allowed, it mints a set
    assert_eq!(d.x.merge(A, MarketIx(0), Qty::shares(10), d.now), Err(SetError::TooMany), "not on chain yet");
    d.after_ms(2_000);
    let statuses: Vec<_> =
        d.x.take_notes()
            .into_iter()
            .filter_map(|n| match n {
                Note::Trade(t) => Some(t.status),
                _ => None,
            })
            .collect();
    assert_eq!(statuses, [TradeStatus::Matched, TradeStatus::Mined, TradeStatus::Confirmed]);
    d.x.merge(A, MarketIx(0), Qty::shares(10), d.now).unwrap();
    assert_eq!((d.shares(A, YES), d.shares(A, NO), d.cash(A)), ("0".into(), "0".into(), "999.87625".into()));
    d.x.audit().unwrap();
}

#[test]
fn merging_away_the_cover_of_a_sell_cancels_it() {
    let mut d = Desk::new(0);
    d.x.split(A, MarketIx(0), Qty::shares(10)).unwrap();
    d.send(A, YES, Sell, "0.60", "6", Gtc).unwrap();
    let id = d.last();
    d.x.merge(A, MarketIx(0), Qty::shares(5), d.now).unwrap();
    assert_eq!(d.x.order(&id).unwrap().phase.as_str(), "CANCELED_NOT_ENOUGH_BALANCE");
    d.x.audit().unwrap();
}

#[test]
fn resolution_pays_and_cancels() {
    for (payout, yes, no) in [(Payout::Yes, "10", "0"), (Payout::No, "0", "10"), (Payout::Half, "5", "5")] {
        let mut d = Desk::new(0);
        d.send(A, NO, Buy, "0.45", "10", Gtc).unwrap();
        d.send(B, YES, Buy, "0.55", "10", Gtc).unwrap();
        d.send(A, NO, Buy, "0.30", "10", Gtc).unwrap();
        let open = d.last();
        d.x.resolve(MarketIx(0), payout, d.now);
        assert_eq!(d.x.account(B).payouts.to_string(), yes, "{payout:?}");
        assert_eq!(d.x.account(A).payouts.to_string(), no, "{payout:?}");
        assert_eq!(d.x.order(&open).unwrap().phase.as_str(), "CANCELED_MARKET_RESOLVED");
        d.x.audit().unwrap();
    }
}

#[test]
fn the_book_is_cleared_at_game_start() {
    let mut d = Desk::new(0);
    for price in ["0.40", "0.41", "0.42"] {
        d.send(A, YES, Buy, price, "10", Gtc).unwrap();
    }
    d.x.take_notes();
    d.x.clear_book(MarketIx(0), d.now);
    let told = d.x.take_notes();
    let cancels = told.iter().filter(|n| matches!(n, Note::Order(o) if o.event == OrderEvent::Cancellation)).count();
    assert_eq!(cancels, 3);
    let emptied = told.iter().find_map(|n| match n {
        Note::Levels { changes, tops, .. } => Some((changes.clone(), *tops)),
        _ => None,
    });
    let (changes, tops) = emptied.unwrap();
    assert_eq!(changes.iter().filter(|(_, _, total)| total.is_zero()).count(), 3);
    assert_eq!(tops, [None, None]);
    d.x.audit().unwrap();
}

#[test]
fn a_coarse_price_stays_valid_on_a_finer_grid() {
    let mut d = Desk::new(0);
    assert!(d.send(A, YES, Buy, "0.505", "10", Gtc).is_err());
    d.x.set_tick(MarketIx(0), TickSize::Mill);
    d.send(A, YES, Buy, "0.505", "10", Gtc).unwrap();
    d.send(A, YES, Buy, "0.50", "10", Gtc).unwrap();
}

#[test]
fn every_fee_vector() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors/fees.json");
    let all: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rows = all["vectors"].as_array().unwrap();
    assert_eq!(rows.len(), 24);
    for v in rows {
        let text = |k: &str| v[k].as_str().unwrap();
        let rate_ppm = Usdc::parse(text("rate").as_bytes()).unwrap().micro() as u32;
        let schedule = FeeSchedule { rate_ppm };
        let (qty, price) =
            (Qty::parse(text("shares").as_bytes()).unwrap(), Price::parse(text("price").as_bytes()).unwrap());
        let expected = Usdc::parse(text("fee5_halfEven").as_bytes()).unwrap();
        assert_eq!(taker_fee(&schedule, qty, price), expected, "{}", v["id"]);
    }
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Order { who: u8, no: bool, sell: bool, cents: u16, hundredths: u64, kind: u8, post_only: bool },
    Spend { who: u8, no: bool, cents: u16, dollars_cents: u64 },
    Cancel(usize),
    Wait(u16),
    Merge { who: u8, shares: u8 },
    Split { who: u8, shares: u8 },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_u8;
    prop_oneof![
        8 => (who.clone(), any::<bool>(), any::<bool>(), 40..60_u16, 500..3_000_u64, 0..4_u8, any::<bool>()).prop_map(
            |(who, no, sell, cents, hundredths, kind, post_only)| Step::Order {
                who, no, sell, cents, hundredths, kind, post_only
            }
        ),
        3 => (who.clone(), any::<bool>(), 40..60_u16, 100..2_000_u64)
            .prop_map(|(who, no, cents, dollars_cents)| Step::Spend { who, no, cents, dollars_cents }),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (0..2_000_u16).prop_map(Step::Wait),
        1 => (who.clone(), 1..20_u8).prop_map(|(who, shares)| Step::Merge { who, shares }),
        1 => (who, 1..20_u8).prop_map(|(who, shares)| Step::Split { who, shares }),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Nothing is lost or made: deposits equal cash, locked collateral and fees; YES supply equals NO supply; no
    /// account goes below zero; the book is never crossed; each level is the sum of its orders; both tokens' books
    /// are mirrors. After resolution everything is paid.
    #[test]
    fn conservation(steps in prop::collection::vec(step(), 1..120), hold in prop::bool::ANY, payout in 0..3_u8) {
        let mut d = Desk::new(if hold { 300 } else { 0 });
        for s in steps {
            match s {
                Step::Order { who, no, sell, cents, hundredths, kind, post_only } => {
                    let (i, side) = (InstrumentIx(u16::from(no)), if sell { Sell } else { Buy });
                    let tif = [Gtc, Fok, Fak, TimeInForce::Gtd { expires_s: d.now.secs() + 181 }][usize::from(kind)];
                    let (p, q) = (format!("0.{cents}"), Qty(hundredths * 10_000).to_string());
                    let new = d.order(AccountIx(u32::from(who)), i, side, &p, &q, tif);
                    let _ = d.submit(NewOrder { post_only: post_only && !tif.is_immediate(), ..new });
                }
                Step::Spend { who, no, cents, dollars_cents } => {
                    let maker_amount = dollars_cents * 10_000;
                    let taker_amount = maker_amount * 100 / u64::from(cents) / 100 * 100;
                    let i = InstrumentIx(u16::from(no));
                    let new = d.order(AccountIx(u32::from(who)), i, Buy, &format!("0.{cents}"), "5", Fak);
                    let _ = d.submit(NewOrder { maker_amount, taker_amount, ..new });
                }
                Step::Cancel(n) => {
                    let open = d.x.open_orders(|_| true);
                    if let Some(id) = open.get(n % open.len().max(1)).copied() {
                        let owner = d.x.order(&id).unwrap().new.owner.clone();
                        d.x.cancel(&id, &owner, d.now);
                    }
                }
                Step::Wait(ms) => d.after_ms(u64::from(ms)),
                Step::Merge { who, shares } => {
                    let _ = d.x.merge(AccountIx(u32::from(who)), MarketIx(0), Qty::shares(u64::from(shares)), d.now);
                }
                Step::Split { who, shares } => {
                    let _ = d.x.split(AccountIx(u32::from(who)), MarketIx(0), Qty::shares(u64::from(shares)));
                }
                Step::Clear => d.x.clear_book(MarketIx(0), d.now),
            }
            prop_assert_eq!(d.x.audit(), Ok(()));
            let book = &d.x.market(MarketIx(0)).book;
            for side in [BookSide::Bid, BookSide::Ask] {
                let yes: Vec<_> = book.levels_of(Outcome::Yes, side).collect();
                let mirror: Vec<_> =
                    book.levels_of(Outcome::No, side.other()).map(|(p, q)| (p.complement(), q)).collect();
                prop_assert_eq!(&yes, &mirror);
            }
            let in_book: u64 = [BookSide::Bid, BookSide::Ask]
                .into_iter()
                .flat_map(|s| book.levels(s))
                .map(|(_, q)| q.micro())
                .sum();
            let resting: u64 =
                d.x.orders().filter(|o| o.phase.as_str() == "LIVE").map(|o| o.leaves().micro()).sum();
            prop_assert_eq!(in_book, resting);
        }
        d.x.resolve(MarketIx(0), [Payout::Yes, Payout::No, Payout::Half][usize::from(payout)], d.now);
        prop_assert_eq!(d.x.audit(), Ok(()));
        prop_assert!((0..3).all(|a| d.x.account(AccountIx(a)).reserved == Usdc::ZERO));
    }

    /// Every trade is at the resting price, and never worse than the taker's limit.
    #[test]
    fn the_resting_price_is_the_trade_price(
        makers in prop::collection::vec((40..60_u16, 500..2_000_u64), 1..12),
        limit in 45..60_u16,
        size in 500..9_000_u64,
    ) {
        let mut d = Desk::new(0);
        let mut rested = std::collections::HashMap::new();
        for (cents, hundredths) in makers {
            if d.send(A, NO, Buy, &format!("0.{cents}"), &Qty(hundredths * 10_000).to_string(), Gtc).is_ok() {
                rested.insert(d.last(), (cents, d.n));
            }
        }
        let _ = d.send(B, YES, Buy, &format!("0.{limit}"), &Qty(size * 10_000).to_string(), Gtc);
        if let Some(trade) = d.x.trades().next() {
            let mut last = (u16::MAX, 0);
            for f in &trade.makers {
                let (cents, seq) = rested[&f.order];
                prop_assert_eq!(f.price.units(), cents * 100);
                prop_assert!(100 - cents <= limit);
                prop_assert!(cents < last.0 || (cents == last.0 && seq > last.1), "price, then time");
                last = (cents, seq);
            }
        }
    }
}
