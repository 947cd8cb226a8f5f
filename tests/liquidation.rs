//! What our accounts say that everything is worth, against what the venue pays for it: complete sets merged, the rest
//! sold into the book.
#![cfg(feature = "embedded")]

mod market_support;

use std::sync::Arc;

use polyloly_fast::{
    engine::{
        book::Book,
        position::{Ledger, NewTrade, liquidation},
    },
    simulate::hear,
    types::{
        Address, InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side, TimeInForce, Usdc,
        event::{MarketEvent, UserEvent},
        ids::Outcome,
        market::SignatureType,
        order::StrategyId,
    },
    venue::{
        accounts::{Account, AccountIx},
        exchange::Exchange,
        rules::NewOrder,
    },
};
use proptest::prelude::*;

const M: MarketIx = MarketIx(0);
const US: AccountIx = AccountIx(0);
const THEM: AccountIx = AccountIx(1);
const OPENING: Usdc = Usdc::dollars(10_000);
const CASES: u32 = 10_000;
/// Long enough for a trade to be final.
const SETTLED_NS: u64 = 120_000_000_000;

/// A venue with us and one other, and our ledger, which hears what the venue tells us.
struct Floor {
    venue: Exchange,
    ledger: Ledger,
    spec: MarketSpec,
    now: Nanos,
    sent: u64,
}

impl Floor {
    fn new() -> Self {
        let spec = MarketSpec { hold_ms: 0, ..market_support::market() };
        let mut venue = Exchange::new(vec![spec.clone()], 1, 1.0);
        for cash in [OPENING, Usdc::dollars(1_000_000)] {
            let of = |n: usize| Address([n as u8; 20]);
            venue.open(|n| Account::new(of(n), of(n), SignatureType::Eoa, cash, n));
        }
        let mut ledger = Ledger::new(1);
        ledger.open(OPENING);
        Self { venue, ledger, spec, now: Nanos(1_790_000_000_000_000_000), sent: 0 }
    }

    fn send(&mut self, who: AccountIx, i: InstrumentIx, side: Side, price: Price, qty: Qty, tif: TimeInForce) {
        self.sent += 1;
        let mut id = [0; 32];
        id[24..].copy_from_slice(&self.sent.to_be_bytes());
        let (cash, shares) = (qty.micro() * u64::from(price.units()) / 10_000, qty.micro());
        let (maker_amount, taker_amount) = if side == Side::Buy { (cash, shares) } else { (shares, cash) };
        let new = NewOrder {
            id: OrderHash(id),
            account: who,
            owner: Arc::from(if who == US { "us" } else { "them" }),
            tag: None,
            instrument: i,
            side,
            maker_amount,
            taker_amount,
            tif,
            post_only: false,
        };
        self.venue.submit(new, self.now).expect("taken");
    }

    /// The venue settles what was traded, and our ledger hears all that it told of us.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.now = self.now.plus(SETTLED_NS / 4);
            self.venue.advance(self.now);
        }
        let mut told = Vec::new();
        for note in self.venue.take_notes() {
            hear::user(&note, "us", &mut |event| told.push(event));
        }
        for event in told {
            let UserEvent::Trade { trade, order, instrument, side, qty, notional, taker_curve: curve, status } = event
            else {
                continue;
            };
            let (fees, strategy) = (self.spec.fee, Some(StrategyId::Pair));
            let new = NewTrade { instrument, side, qty, notional, curve, fees, status, strategy, limit: None };
            self.ledger.trade((trade, order), &new, self.now);
        }
    }

    /// We buy, as taker, from somebody who bids for the other token; or sell to somebody who bids for this one; or he
    /// comes to us.
    fn trade(&mut self, i: InstrumentIx, side: Side, price: Price, qty: Qty, taker: bool) {
        let (ours, theirs) = (TimeInForce::Gtc, TimeInForce::Fak);
        let (of, at) = if side == Side::Buy { (i.mirror(), price.complement()) } else { (i, price) };
        let them = |floor: &mut Self, tif| floor.send(THEM, of, Side::Buy, at, qty, tif);
        if taker {
            them(self, TimeInForce::Gtc);
            self.send(US, i, side, price, qty, TimeInForce::Fak);
        } else {
            self.send(US, i, side, price, qty, ours);
            them(self, theirs);
        }
        self.settle();
    }

    fn books(&self) -> [Book; 2] {
        [Outcome::Yes, Outcome::No].map(|o| {
            let mut book = Book::new(self.spec.tick);
            hear::snapshot(&self.venue.snapshot(M.instrument(o)), &mut |event| match event {
                MarketEvent::SnapshotStart { tick, .. } => book.snapshot_start(tick),
                MarketEvent::Level { side, price, qty, .. } => book.snapshot_level(side, price, qty),
                MarketEvent::SnapshotEnd { .. } => book.snapshot_end(),
                _ => {}
            });
            book
        })
    }
}

fn cents(n: u16) -> Price {
    Price::from_units(n * 100).expect("a price")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Opening collateral + realised + unrealised (what is locked in complete sets is in it) − fees is what is there
    /// when all of it has been merged and sold. Never more, and for each level eleven micro-dollars less at most: the
    /// venue rounds fees to ten, and cash to one, where we round against ourselves.
    #[test]
    fn what_we_say_that_it_is_worth_is_what_the_venue_pays(
        trades in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 20_u16..81, 5_u64..60), 1..6),
        middle in 8_u16..92,
        levels in prop::collection::vec((1_u16..4, 500_u64..9_000), 0..4),
    ) {
        let mut floor = Floor::new();
        for (yes, sell, taker, at, shares) in trades {
            let i = M.instrument(if yes { Outcome::Yes } else { Outcome::No });
            let (qty, held) = (Qty::shares(shares), floor.ledger.settled(i));
            if sell && held >= Qty::shares(5) {
                floor.trade(i, Side::Sell, cents(at), qty.min(held), taker);
            } else {
                floor.trade(i, Side::Buy, cents(at), qty, taker);
            }
        }
        // Somebody bids for both tokens, less and less; sizes down to hundredths of a share.
        for (outcome, top) in [(Outcome::Yes, middle), (Outcome::No, 100 - middle)] {
            let mut at = top;
            for (step, hundredths) in &levels {
                at = at.saturating_sub(*step);
                if at >= 1 {
                    let qty = Qty(hundredths * 10_000);
                    floor.send(THEM, M.instrument(outcome), Side::Buy, cents(at), qty, TimeInForce::Gtc);
                }
            }
        }
        let [yes, no] = [Outcome::Yes, Outcome::No].map(|o| floor.ledger.qty(M.instrument(o)));
        let [yes_book, no_book] = floor.books();
        let worth = liquidation(yes, no, [&yes_book, &no_book], floor.spec.fee);
        let pnl = floor.ledger.pnl();
        let unrealised = worth.total() - floor.ledger.cost();
        let said = OPENING + pnl.realized + unrealised - pnl.fees + pnl.rounding;
        prop_assert_eq!(worth.pairs, Usdc(yes.min(no).micro() as i64));

        // And now it is done.
        if worth.pairs > Usdc::ZERO {
            floor.venue.merge(US, M, yes.min(no), floor.now).expect("merged");
        }
        let (leg, rest) = if yes > no { (Outcome::Yes, yes - no) } else { (Outcome::No, no - yes) };
        let before = floor.venue.account(US).cash;
        if worth.walked > Usdc::ZERO {
            let sold = rest - worth.unsold;
            floor.send(US, M.instrument(leg), Side::Sell, cents(1), sold, TimeInForce::Fak);
            floor.settle();
        }
        let got = floor.venue.account(US).cash;
        prop_assert_eq!(got > before, worth.walked > Usdc::ZERO);
        let short = (got - said).micro();
        prop_assert!((0..=11 * levels.len() as i64).contains(&short), "said {}, got {}", said, got);
        prop_assert_eq!(floor.venue.audit(), Ok(()));
    }
}
