//! Baskets quoted: one leg is bid for, and the others are taken when the bid is filled.

use polyloly_fast::{
    engine::{Action, Approved, lattice::Lattice},
    strategies::{
        self, Params,
        baskets::{flight::Stage, seen::Reason},
    },
    types::{
        InstrumentIx, MarketIx, Price, Qty, Side, TimeInForce, Usdc,
        event::{ControlEvent, GapReason, KillReason, MarketEvent, Payout, ReplyEvent, TradeStatus, UserEvent},
        order::{OrderState, Purpose, StrategyId},
    },
};

use super::{
    A_SERIES, MAPS, TOTAL,
    baskets_support::{Book, Told, all_in, bo3, names, open, params, planted_with},
    desk_support::{cancels, placed, trade},
    fill, fill_as, kill, naive_pays,
};

const TOKENS: [InstrumentIx; 2] = [A_SERIES, names::B_PLUS];
/// Least that a quoted basket leaves here, ppm.
const EDGE: i64 = 10_000;

/// Bids may rest.
fn quoting() -> Params {
    let mut params = params();
    params.baskets.quote = true;
    params.baskets.quote_edge_ppm = EDGE as u32;
    params
}

/// A desk that knows no book but those that are shown, and prices of these tokens that leave so much if they are taken.
fn planted(params: &Params, tokens: &[InstrumentIx], units: i32) -> (Told, Vec<u16>) {
    let (_, prices) = planted_with(params, tokens, units);
    (bare(params), prices)
}

/// A desk without books: in those that are as wide as the quiet ones of other tests bids would rest.
fn bare(params: &Params) -> Told {
    Told::of(open(strategies::core(&bo3(), params)))
}

/// A basket that costs a cent too much to be taken, and the bid for one of its legs.
fn bid() -> (Told, Vec<u16>, Approved) {
    let (mut sim, prices) = planted(&quoting(), &TOKENS, -100);
    let sent = placed(&sim.told(&TOKENS, &prices));
    assert_eq!((sent.len(), sim.stage(), sim.tally().quoted), (1, Stage::Quoting, 1));
    sim.0.rests(sent[0].hash());
    (sim, prices, sent[0])
}

/// The leg that is not bid for, and its price.
fn other(bid: &Approved, prices: &[u16]) -> (InstrumentIx, u16) {
    let at = usize::from(bid.intent().instrument == TOKENS[0]);
    (TOKENS[at], prices[at])
}

/// So much of a bid is filled, as a maker's. What is sent then.
fn filled(sim: &mut Told, n: u8, bid: &Approved, shares: u64) -> Vec<Approved> {
    for status in [TradeStatus::Matched, TradeStatus::Confirmed] {
        sim.hear(polyloly_fast::types::Event::User(trade(n, bid, Qty::shares(shares), status)));
    }
    sim.last()
}

fn state(sim: &Told, order: &Approved) -> OrderState {
    sim.0.core.order(&order.hash()).unwrap().state
}

/// What a bid leaves of a share of each leg, ppm, if the other leg is bought at this price.
fn left(bid: &Approved, other: u16) -> i64 {
    1_000_000 - i64::from(bid.intent().price.units()) * 100 - all_in(other)
}

#[test]
fn a_bid_rests_on_the_leg_that_makes_the_basket_pay() {
    let (sim, prices, bid) = bid();
    let i = *bid.intent();
    assert_eq!((i.side, i.post_only, i.strategy, i.purpose), (Side::Buy, true, StrategyId::Baskets, Purpose::Leg));
    assert!(matches!(i.tif, TimeInForce::Gtd { .. }));
    // A tick over the best bid of others, which is two cents below the ask: more would be given away.
    let own = prices[usize::from(i.instrument != TOKENS[0])];
    assert_eq!((i.price.units(), i.qty), (own - 200 + 1, Qty::shares(100)));
    assert!(left(&bid, other(&bid, &prices).1) >= EDGE);
    let row = sim.row(&TOKENS).unwrap();
    assert_eq!((row.quoted, row.taken), (1, 0));
    // What can be lost by it is counted.
    assert!(sim.0.core.exposure().total() > Usdc::ZERO);
    // Without leave it stays away.
    let (mut sim, prices) = planted(&params(), &TOKENS, -100);
    assert!(placed(&sim.told(&TOKENS, &prices)).is_empty());
}

#[test]
fn a_cent_less_and_nothing_is_bid_for_and_never_a_tick_too_much() {
    // Two cents below the ask there is just enough left; a tick more would be too much.
    let other = 4_700;
    let leaves = |own: u16| 1_000_000 - i64::from(own - 200) * 100 - all_in(other);
    let own = (4_700..6_000_u16).rev().find(|own| leaves(*own) >= EDGE).unwrap();
    assert!(leaves(own) < EDGE + 100);
    for (own, bids) in [(own, 1), (own + 1, 0), (own + 100, 0)] {
        let mut sim = bare(&quoting());
        let sent = placed(&sim.told(&TOKENS, &[own, other]));
        assert_eq!((sent.len(), u64::from(sim.stage() == Stage::Quoting)), (bids, bids as u64), "{own}");
        if let [bid] = sent[..] {
            let i = bid.intent();
            assert_eq!((i.instrument, i.price.units()), (A_SERIES, own - 200));
            assert!((EDGE..EDGE + 100).contains(&left(&bid, other)));
        }
    }
}

/// One quoted basket, from the bid to its payout, in one outcome under one reading.
fn paid_out(tokens: &[InstrumentIx], n: usize, second: bool) {
    let u = bo3();
    let lattice = Lattice::new(3).unwrap();
    let state = lattice.states()[n];
    let (mut sim, prices) = planted(&quoting(), tokens, -100);
    let sent = placed(&sim.told(tokens, &prices));
    assert_eq!(sent.len(), 1, "{tokens:?}");
    let bid = sent[0];
    sim.0.rests(bid.hash());
    let q = bid.intent().qty;
    let mut cost = q.notional_floor(bid.intent().price);
    let rest = filled(&mut sim, 1, &bid, q.micro() / 1_000_000);
    assert_eq!((rest.len(), sim.stage()), (tokens.len() - 1, Stage::Completing));
    for order in &rest {
        let i = order.intent();
        assert_eq!((i.qty, i.tif, i.post_only), (q, TimeInForce::Fak, false));
        cost += fill(&mut sim, order, q);
    }
    let tally = sim.tally();
    assert_eq!((tally.quoted, tally.sent, tally.level, tally.shares), (1, 1, 1, q));
    assert!(tally.pays - tally.paid >= Usdc(q.micro() as i64 / 1_000_000 * EDGE), "{tally:?}");
    let ledger = sim.0.core.ledger();
    assert!(tokens.iter().all(|t| ledger.qty(*t) == q) && ledger.balanced() && ledger.anomalies() == 0);
    for (m, spec) in (0..).map(MarketIx).zip(&u.markets) {
        let halves = lattice.payoff(state, spec.kind, spec.of_match.unwrap().first).unwrap().read(second);
        sim.resolves(m, [Payout::No, Payout::Half, Payout::Yes][usize::from(halves)]);
    }
    let pays = naive_pays(&u, &lattice, tokens, state)[usize::from(second)];
    let gain = sim.0.core.ledger().equity_change();
    assert_eq!(gain, Usdc(q.micro() as i64 / 2 * i64::from(pays)) - cost, "{state} {second}");
    assert!(gain >= Usdc(q.micro() as i64 / 1_000_000 * EDGE), "{state}: {gain} for {q}");
}

#[test]
fn what_was_bid_for_is_earned_under_every_outcome() {
    let three = [names::A_MINUS, names::B_MINUS, TOTAL];
    for n in 0..Lattice::new(3).unwrap().states().len() {
        for second in [false, true] {
            paid_out(&TOKENS, n, second);
            paid_out(&three, n, second);
        }
    }
}

#[test]
fn a_bid_is_pulled_with_the_event_after_which_the_others_carry_it_no_more() {
    // How much dearer the other leg's offer becomes, how much of it is left, and if the bid may stay.
    for (dearer, shares, stays) in [(0, 100, true), (0, 99, false), (10, 100, true), (200, 100, false), (0, 4, false)] {
        let (mut sim, prices, bid) = bid();
        let (leg, price) = other(&bid, &prices);
        let told = sim.book(leg, price + dearer, shares);
        assert_eq!(cancels(&told), if stays { vec![] } else { vec![bid.hash()] }, "{dearer} {shares}");
        assert_eq!(left(&bid, price + dearer) >= EDGE, dearer < 200);
        if !stays {
            sim.hear(polyloly_fast::types::Event::Reply(ReplyEvent::Cancelled { order: bid.hash() }));
            assert_eq!((sim.stage(), sim.tally().sent), (Stage::Idle, 0));
        }
    }
}

#[test]
fn a_bid_that_is_not_at_the_venue_yet_is_pulled_as_soon_as_it_is() {
    let (mut sim, prices) = planted(&quoting(), &TOKENS, -100);
    let bid = placed(&sim.told(&TOKENS, &prices))[0];
    let (leg, price) = other(&bid, &prices);
    assert!(cancels(&sim.book(leg, price + 500, 100)).is_empty());
    assert_eq!(cancels(&sim.0.rests(bid.hash())), [bid.hash()]);
}

#[test]
fn whatever_closes_a_leg_pulls_the_bid() {
    type Close = fn(&mut Told, InstrumentIx) -> Vec<Action>;
    let closes: [(&str, Close); 5] = [
        ("kill", |sim, _| sim.0.control(ControlEvent::Kill(KillReason::Manual))),
        ("halt", |sim, leg| sim.0.control(ControlEvent::Halt(leg.market()))),
        ("lost", |sim, leg| sim.0.market(MarketEvent::Gap { instrument: Some(leg), reason: GapReason::Disconnected })),
        ("user", |sim, _| sim.0.user(UserEvent::Down)),
        ("stop", |sim, _| sim.0.control(ControlEvent::Stop)),
    ];
    for (what, close) in closes {
        let (mut sim, prices, bid) = bid();
        let told = close(&mut sim, other(&bid, &prices).0);
        assert_eq!(cancels(&told), [bid.hash()], "{what}");
        assert_eq!(state(&sim, &bid), OrderState::CancelPending, "{what}");
    }
}

#[test]
fn what_is_filled_after_the_other_leg_went_away_is_completed_at_a_bounded_loss_or_sold() {
    // How much dearer the other leg became, and what is done.
    for (dearer, side) in [(250, Side::Buy), (450, Side::Sell), (2_000, Side::Sell)] {
        let (mut sim, prices, bid) = bid();
        let (leg, price) = other(&bid, &prices);
        // The bid is far over what its leg can be sold for.
        let own = bid.intent().instrument;
        let at = bid.intent().price.units();
        sim.book_with(own, Book { bid: at - 300, ask: at + 200, shares: 300 });
        assert_eq!(cancels(&sim.book(leg, price + dearer, 200)), [bid.hash()]);
        let sent = filled(&mut sim, 1, &bid, 100);
        assert_eq!(sent.len(), 1, "{dearer}");
        let i = sent[0].intent();
        let token = if side == Side::Buy { leg } else { own };
        assert_eq!((i.side, i.instrument, i.qty), (side, token, Qty::shares(100)), "{dearer}");
        fill(&mut sim, &sent[0], Qty::shares(100));
        let tally = sim.tally();
        let ends = if side == Side::Buy { (1, 0, 0) } else { (0, 1, 0) };
        assert_eq!((tally.level, tally.nothing, tally.uneven), ends, "{dearer}");
        let lost = Usdc(100 * i64::from(params().baskets.max_loss_ppm));
        assert!(side == Side::Sell || tally.paid - tally.pays <= lost, "{tally:?}");
        assert!(sim.0.core.ledger().balanced() && sim.stage() == Stage::Idle);
    }
}

#[test]
fn a_bid_that_is_filled_by_parts_is_made_level_part_by_part() {
    let (mut sim, _, bid) = bid();
    let first = filled(&mut sim, 1, &bid, 30);
    // The other leg is bought for what was filled, and the rest of the bid is pulled.
    assert_eq!((first.len(), first[0].intent().qty, sim.stage()), (1, Qty::shares(30), Stage::Completing));
    assert_eq!(state(&sim, &bid), OrderState::CancelPending);
    // More of it is filled before the venue reads that.
    assert!(filled(&mut sim, 2, &bid, 20).is_empty());
    fill(&mut sim, &first[0], Qty::shares(30));
    sim.hear(polyloly_fast::types::Event::Reply(ReplyEvent::Cancelled { order: bid.hash() }));
    sim.tick(2_000);
    let second = sim.last();
    assert_eq!((second.len(), second[0].intent().qty, sim.stage()), (1, Qty::shares(20), Stage::Completing));
    fill(&mut sim, &second[0], Qty::shares(20));
    let tally = sim.tally();
    assert_eq!((tally.quoted, tally.sent, tally.level, tally.shares), (1, 1, 1, Qty::shares(50)));
    assert_eq!(sim.stage(), Stage::Idle);
}

#[test]
fn too_little_to_buy_the_others_for_waits_for_more_and_is_held_if_none_comes() {
    let (mut sim, prices, bid) = bid();
    assert!(filled(&mut sim, 1, &bid, 3).is_empty());
    assert_eq!((sim.stage(), state(&sim, &bid)), (Stage::Quoting, OrderState::PartiallyFilled));
    let then = filled(&mut sim, 2, &bid, 4);
    assert_eq!((then.len(), then[0].intent().qty), (1, Qty::shares(7)));
    // The same, but the other leg goes away.
    let (mut sim, _, bid) = self::bid();
    assert!(filled(&mut sim, 1, &bid, 3).is_empty());
    let (leg, price) = other(&bid, &prices);
    assert_eq!(cancels(&sim.book(leg, price + 900, 100)), [bid.hash()]);
    sim.hear(polyloly_fast::types::Event::Reply(ReplyEvent::Cancelled { order: bid.hash() }));
    let tally = sim.tally();
    assert_eq!((sim.stage(), tally.sent, tally.uneven), (Stage::Idle, 1, 1));
}

#[test]
fn a_bid_is_renewed_at_a_better_price_but_not_at_once_and_never_twice() {
    let (mut sim, prices, bid) = bid();
    let own = bid.intent().instrument;
    let at = bid.intent().price.units();
    let ask = prices[usize::from(own != TOKENS[0])];
    // Others bid more than we do; there is no haste.
    let outbid = Book { bid: at + 9, ask, shares: 100 };
    assert!(cancels(&sim.book_with(own, outbid)).is_empty());
    sim.tick(2_000);
    assert_eq!((sim.last().len(), state(&sim, &bid)), (0, OrderState::CancelPending));
    // While it may still be filled there is no other.
    sim.tick(2_000);
    assert!(sim.last().is_empty());
    sim.hear(polyloly_fast::types::Event::Reply(ReplyEvent::Cancelled { order: bid.hash() }));
    sim.tick(2_000);
    let next = sim.last();
    // On the other leg, where it leaves more by now.
    let (leg, price) = other(&bid, &prices);
    assert_eq!((next.len(), next[0].intent().instrument, next[0].intent().price.units()), (1, leg, price - 199));
}

#[test]
fn a_basket_that_can_be_taken_is_taken_and_the_bid_makes_way() {
    let (mut sim, prices, bid) = bid();
    let three = [names::A_MINUS, names::B_MINUS, TOTAL];
    let (_, cheap) = planted(&quoting(), &three, 200);
    sim.told(&three, &cheap);
    assert_eq!((sim.stage(), state(&sim, &bid)), (Stage::Quoting, OrderState::CancelPending));
    sim.hear(polyloly_fast::types::Event::Reply(ReplyEvent::Cancelled { order: bid.hash() }));
    sim.tick(0);
    let sent = sim.last();
    assert_eq!((sent.len(), sim.stage()), (3, Stage::Sent));
    sent.iter().for_each(|o| kill(&mut sim, o));
    assert_eq!(prices.len(), 2);
}

#[test]
fn a_basket_whose_trade_failed_goes_before_a_bid() {
    let (mut sim, prices) = planted(&quoting(), &TOKENS, 200);
    let legs = placed(&sim.told(&TOKENS, &prices));
    for leg in &legs {
        fill_as(&mut sim, leg, leg.intent().qty, &[TradeStatus::Matched]);
    }
    // It is done, and now too dear to be taken again.
    sim.book(TOKENS[0], prices[0] + 150, 100);
    sim.book(TOKENS[1], prices[1] + 150, 100);
    sim.tick(2_000);
    let bid = sim.last()[0];
    sim.0.rests(bid.hash());
    assert_eq!((sim.stage(), sim.tally().level), (Stage::Quoting, 1));
    fill_as(&mut sim, &legs[0], legs[0].intent().qty, &[TradeStatus::Failed]);
    assert_eq!((sim.stage(), state(&sim, &bid)), (Stage::Quoting, OrderState::CancelPending));
    sim.hear(polyloly_fast::types::Event::Reply(ReplyEvent::Cancelled { order: bid.hash() }));
    sim.tick(0);
    let sent = sim.last();
    assert_eq!((sim.flight().n, sent.len(), sent[0].intent().instrument), (1, 1, legs[0].intent().instrument));
}

#[test]
fn a_bid_that_rested_long_and_is_filled_has_all_the_time_that_others_have() {
    let (mut sim, prices, bid) = bid();
    let (leg, _) = other(&bid, &prices);
    sim.tick(60_000);
    sim.0.control(ControlEvent::Halt(leg.market()));
    assert!(filled(&mut sim, 1, &bid, 100).is_empty());
    sim.tick(5_000);
    assert_eq!(sim.stage(), Stage::Partial);
    sim.control(ControlEvent::Resume(leg.market()));
    let sent = sim.last();
    assert_eq!((sent.len(), sent[0].intent().instrument, sim.stage()), (1, leg, Stage::Completing));
}

#[test]
fn a_bid_doubles_no_order_of_a_pair_and_keeps_pairs_out_while_it_rests() {
    let mut both = quoting();
    both.pair.enabled = true;
    let (mut sim, prices) = planted(&both, &TOKENS, -100);
    // Pairs quote both sides of both markets.
    sim.quotes_live(40);
    for (token, price) in TOKENS.iter().zip(&prices) {
        sim.book(*token, *price, 100);
    }
    sim.quotes_live(40);
    sim.last();
    let of = |sim: &Told, strategy| sim.0.core.working().filter(|o| o.intent.strategy == strategy).count();
    assert!(of(&sim, StrategyId::Pair) > 0 && of(&sim, StrategyId::Baskets) == 0, "{:?}", sim.stage());
    assert!(sim.row(&TOKENS).unwrap().not_taken[Reason::OwnQuote as usize] > 0);
    for _ in 0..200 {
        sim.quotes_live(1);
        sim.last();
        // No token is made longer by two of them.
        for o in sim.0.core.working().filter(|o| o.intent.strategy == StrategyId::Baskets) {
            let i = o.intent.instrument;
            let same = sim.0.core.working().filter(|p| {
                p.intent.strategy == StrategyId::Pair
                    && p.intent.instrument.market() == i.market()
                    && (p.intent.instrument == i) == (p.intent.side == Side::Buy)
            });
            assert_eq!(same.count(), 0);
        }
    }
    // While a bid rests its market is ours, and the others' are not.
    let (sim, prices, bid) = bid();
    let baskets = &sim.0.core.strategy().baskets;
    assert!(baskets.claims(bid.intent().instrument.market()));
    assert!(!baskets.claims(other(&bid, &prices).0.market()) && !baskets.claims(MAPS[0]));
}

#[test]
fn what_keeps_a_bid_from_resting_is_named() {
    let named = |why: Reason, shares: [u64; 2], prepare: &dyn Fn(&mut Told)| {
        let (mut sim, prices) = planted(&quoting(), &TOKENS, -100);
        prepare(&mut sim);
        let sent = placed(&sim.told_of(&TOKENS, &prices, &shares));
        assert!(sent.is_empty(), "{why:?} {sent:?}");
        let row = sim.row(&TOKENS).unwrap_or_else(|| panic!("{why:?}: nothing was written down"));
        assert!(row.not_taken[why as usize] > 0 && row.quoted == 0, "{why:?} {row:?}");
    };
    named(Reason::Size, [4, 4], &|_| ());
    named(Reason::Closed, [100, 100], &|sim| drop(sim.0.control(ControlEvent::Halt(names::B_PLUS.market()))));
    // Risk has the last word.
    let mut tight = quoting();
    tight.risk.order_usdc = Usdc::dollars(5);
    let (mut sim, prices) = planted(&tight, &TOKENS, -100);
    assert!(placed(&sim.told(&TOKENS, &prices)).is_empty());
    assert_eq!((sim.stage(), sim.tally().quoted), (Stage::Idle, 0));
    assert_eq!(sim.row(&TOKENS).unwrap().not_taken[Reason::Refused as usize], 1);
    assert_eq!(sim.0.core.report().rejections, [("order_limit", 1)]);
    assert!(Price::from_units(prices[0]).is_some());
}
