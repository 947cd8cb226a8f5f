//! The core as a trader would try it: a book, a fill, a word from the venue, and what it asks for.

use super::{Core, Params, core};
use crate::{
    engine::{Action, Actions, Approved},
    types::{
        Event, InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Sequenced, Side, Stamp, TickSize,
        TradeKey, Universe, Usdc,
        event::{
            AckStatus, BookSide, ControlEvent, GapReason, MarketEvent, MarketFacts, MatchEvent, MatchPhase,
            OrderChange, Payout, ReadEvent, ReplyEvent, TradeStatus, UserEvent,
        },
        order::Purpose,
        sample,
    },
};

const YES: InstrumentIx = InstrumentIx(0);
const NO: InstrumentIx = InstrumentIx(1);
const M: MarketIx = MarketIx(0);

fn universe() -> Universe {
    sample::universe(vec![MarketSpec { hold_ms: 1_000, clear_on_start: true, ..sample::market() }])
}

/// A core with its clock and its event counter.
struct Desk {
    core: Core,
    seq: u64,
    now: u64,
}

impl Desk {
    fn new(params: Params) -> Self {
        let mut desk = Self { core: core(&universe(), &params), seq: 0, now: 1_790_000_000_000_000_000 };
        desk.hear(Event::Start { run_tag: 5, cash: Usdc::dollars(1_000), match_feed: false });
        desk
    }

    /// Open for business: streams up, a book of 0.49 / 0.51.
    fn open() -> Self {
        let mut desk = Self::new(Params::default());
        desk.hear(Event::User(UserEvent::Up));
        desk.hear(Event::Reply(ReplyEvent::GatewayUp));
        let asked = desk.idle(0);
        desk.agree(&asked);
        desk
    }

    /// The venue's account of us, if it is asked for: the same as ours.
    fn agree(&mut self, asked: &[Action]) -> Vec<Action> {
        let round = asked.iter().find_map(|a| match a {
            Action::Reconcile { round, .. } => Some(*round),
            _ => None,
        });
        let Some(round) = round else { return Vec::new() };
        self.hear(Event::Reply(ReplyEvent::Read(ReadEvent::Begin { round })));
        self.hear(Event::Reply(ReplyEvent::Read(ReadEvent::End { round, complete: true })))
    }

    fn hear(&mut self, event: Event) -> Vec<Action> {
        self.seq += 1;
        self.now += 1_000_000;
        let mut out = Actions::new();
        let stamp = Stamp { wall: Nanos(self.now), ..Stamp::default() };
        self.core.on(&Sequenced { seq: self.seq, stamp, event }, &mut (), &mut out);
        out.to_vec()
    }

    fn market(&mut self, event: MarketEvent) -> Vec<Action> {
        self.hear(Event::Market(event))
    }

    /// Shows both tokens' books from the first's levels: (units, shares).
    fn book(&mut self, bids: &[(u16, u64)], asks: &[(u16, u64)]) -> Vec<Action> {
        for (instrument, flip) in [(YES, false), (NO, true)] {
            self.market(MarketEvent::SnapshotStart { instrument, tick: None, venue_ms: 0 });
            for (levels, side) in [(bids, BookSide::Bid), (asks, BookSide::Ask)] {
                for &(units, shares) in levels {
                    let price = Price::from_units(units).unwrap();
                    let (price, side) = if flip { (price.complement(), side.other()) } else { (price, side) };
                    self.market(MarketEvent::Level { instrument, side, price, qty: Qty::shares(shares) });
                }
            }
            self.market(MarketEvent::SnapshotEnd { instrument });
        }
        self.market(MarketEvent::FrameEnd { venue_ms: 0 })
    }

    fn ack(&mut self, order: OrderHash) -> Vec<Action> {
        self.hear(Event::Reply(ReplyEvent::Sent { order }));
        self.hear(Event::Reply(ReplyEvent::Accepted { order, status: AckStatus::Live }))
    }

    fn trade(&mut self, n: u8, order: &Approved, qty: Qty, status: TradeStatus) -> Vec<Action> {
        let i = order.intent();
        self.hear(Event::User(UserEvent::Trade {
            trade: TradeKey(u128::from(n)),
            order: order.hash(),
            instrument: i.instrument,
            side: i.side,
            qty,
            notional: qty.notional_floor(i.price),
            taker_curve: None,
            status,
        }))
    }

    fn idle(&mut self, ms: u64) -> Vec<Action> {
        self.now += ms * 1_000_000;
        self.hear(Event::Tick)
    }
}

fn placed(actions: &[Action]) -> Vec<Approved> {
    actions
        .iter()
        .filter_map(|a| match a {
            Action::Place(a) => Some(*a),
            _ => None,
        })
        .collect()
}

fn cancels(actions: &[Action]) -> Vec<OrderHash> {
    actions
        .iter()
        .filter_map(|a| match a {
            Action::Cancel { order, .. } => Some(*order),
            _ => None,
        })
        .collect()
}

fn one_quote_a_side(desk: &mut Desk) -> (Approved, Approved) {
    let quotes = placed(&desk.book(&[(4_800, 100)], &[(5_200, 100)]));
    assert_eq!(quotes.len(), 2, "{quotes:?}");
    (quotes[0], quotes[1])
}

#[test]
fn a_flat_book_is_quoted_on_both_tokens_around_fair() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    for quote in [&yes, &no] {
        let i = quote.intent();
        assert_eq!((i.side, i.price.units(), i.qty, i.post_only), (Side::Buy, 4_900, Qty::shares(50), true));
        assert_eq!(i.purpose, Purpose::Quote);
    }
    assert_eq!((yes.intent().instrument, no.intent().instrument), (YES, NO));
    assert_ne!(yes.hash(), no.hash());
    assert!(yes.salt() < 1 << 53);
}

#[test]
fn nothing_is_placed_until_the_streams_are_up() {
    let mut desk = Desk::new(Params::default());
    assert!(placed(&desk.book(&[(4_800, 100)], &[(5_200, 100)])).is_empty());
    desk.hear(Event::User(UserEvent::Up));
    assert!(placed(&desk.idle(0)).is_empty());
    assert!(placed(&desk.hear(Event::Reply(ReplyEvent::GatewayUp))).is_empty());
    let asked = desk.idle(0);
    assert!(placed(&asked).is_empty(), "the venue has not said yet what it knows of us");
    assert_eq!(placed(&desk.agree(&asked)).len(), 2);
}

#[test]
fn nothing_is_placed_on_a_book_that_cannot_be_trusted() {
    let mut desk = Desk::open();
    assert!(placed(&desk.book(&[(5_200, 100)], &[(5_100, 100)])).is_empty());
    assert!(placed(&desk.idle(10)).is_empty());
}

#[test]
fn a_lost_feed_pulls_the_quotes() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    let actions = desk.market(MarketEvent::Gap { instrument: None, reason: GapReason::Disconnected });
    assert_eq!(cancels(&actions), [yes.hash(), no.hash()]);
}

#[test]
fn a_moved_book_moves_the_quotes_one_order_at_a_time() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    desk.now += 1_000_000_000;
    let actions = desk.book(&[(5_000, 100)], &[(5_400, 100)]);
    assert_eq!(cancels(&actions).len(), 2);
    assert!(placed(&actions).is_empty(), "the old order is cancelled before the new one is sent");
    // 0.51 for YES would meet our own 0.49 for NO, which still rests.
    assert!(placed(&desk.hear(Event::Reply(ReplyEvent::Cancelled { order: yes.hash() }))).is_empty());
    assert_eq!(desk.core.report().rejections, [], "it is not even wished for");
    let again = placed(&desk.hear(Event::Reply(ReplyEvent::Cancelled { order: no.hash() })));
    assert_eq!(again.iter().map(|a| a.intent().price.units()).collect::<Vec<_>>(), [5_100, 4_700]);
}

#[test]
fn a_fill_leans_the_price_and_the_lagging_leg_comes_first() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    let actions = desk.trade(1, &yes, Qty::shares(50), TradeStatus::Matched);
    let quotes = placed(&actions);
    assert_eq!(quotes.len(), 1, "the filled side is quoted again: {actions:?}");
    assert_eq!((quotes[0].intent().instrument, quotes[0].intent().price.units()), (YES, 4_800), "leaning away");
    // The other side's order stays: its price is the cap already.
    assert!(cancels(&actions).is_empty());
    let report = desk.core.report();
    assert_eq!((report.fills.count, report.markets[0].position), (1, [Qty::shares(50), Qty::ZERO]));
}

#[test]
fn a_settled_pair_is_merged_once() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    desk.trade(1, &yes, Qty::shares(50), TradeStatus::Confirmed);
    let merge = Action::Merge { market: M, qty: Qty::shares(50) };
    assert!(!desk.trade(2, &no, Qty::shares(50), TradeStatus::Mined).contains(&merge), "mined is not final");
    assert!(desk.trade(2, &no, Qty::shares(50), TradeStatus::Confirmed).contains(&merge));
    assert!(!desk.idle(100).contains(&merge));
    desk.hear(Event::Reply(ReplyEvent::Merged { market: M, qty: Qty::shares(50) }));
    let report = desk.core.report();
    assert_eq!(report.markets[0].pair_pnl, Usdc::dollars(1));
    assert_eq!((report.markets[0].pairs, report.pnl.equity_change), (Qty::shares(50), Usdc::dollars(1)));
}

#[test]
fn play_that_stops_means_no_quotes() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    let phase = |phase| Event::Match(MatchEvent { phase, map: 1, score: [0, 0] });
    assert_eq!(cancels(&desk.hear(phase(MatchPhase::Paused))).len(), 2);
}

#[test]
fn a_start_that_the_venue_moves_ends_quoting_before_the_book_is_cleared() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    let starts_in = |desk: &mut Desk, s: u64| {
        let game_start = Some(Nanos(desk.now).plus(s * 1_000_000_000));
        let facts = MarketFacts { accepting: true, game_start, ..MarketFacts::default() };
        desk.hear(Event::Reply(ReplyEvent::Market { market: M, facts }))
    };
    assert!(cancels(&starts_in(&mut desk, 3_600)).is_empty());
    assert!(cancels(&desk.idle(60_000)).is_empty());
    let mut pulled = starts_in(&mut desk, 100);
    pulled.extend(desk.idle(100));
    assert_eq!(cancels(&pulled), [yes.hash(), no.hash()], "brought forward: nothing is held, so nothing is quoted");
}

#[test]
fn the_core_says_where_its_strategy_stands() {
    let desk = Desk::open();
    assert_eq!(desk.core.standing(M), Some(crate::engine::strategy::Standing::Quoting));
    assert_eq!(desk.core.standing(MarketIx(9)), None, "no such market");
}

#[test]
fn without_a_word_of_a_configured_match_feed_nothing_is_quoted() {
    let mut desk = Desk::open();
    desk.hear(Event::Start { run_tag: 5, cash: Usdc::dollars(1_000), match_feed: true });
    desk.hear(Event::User(UserEvent::Up));
    let asked = desk.idle(0);
    desk.agree(&asked);
    assert!(placed(&desk.book(&[(4_800, 100)], &[(5_200, 100)])).is_empty());
    let running = Event::Match(MatchEvent { phase: MatchPhase::Running, map: 1, score: [0, 0] });
    let quotes = placed(&desk.hear(running));
    assert_eq!(quotes.len(), 2);
    quotes.iter().for_each(|q| drop(desk.ack(q.hash())));
    assert_eq!(cancels(&desk.idle(80_000)).len(), 2, "a feed that went silent knows nothing");
}

#[test]
fn after_the_user_stream_was_down_every_order_is_asked_after_first() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    desk.hear(Event::User(UserEvent::Down));
    desk.hear(Event::User(UserEvent::Up));
    assert_eq!(desk.core.closed().map(|r| r.as_str()), Some("not_reconciled"));
    let asked = desk.idle(100);
    for order in [yes.hash(), no.hash()] {
        assert!(asked.contains(&Action::Lookup { order }), "{asked:?}");
        desk.hear(Event::Reply(ReplyEvent::OrderStatus { order, live: false, matched: Some(Qty::ZERO) }));
    }
    assert_eq!(desk.core.closed().map(|r| r.as_str()), Some("not_reconciled"), "trades may have been missed");
    desk.agree(&asked);
    assert_eq!((desk.core.closed(), desk.core.report().orders.canceled), (None, 2));
}

#[test]
fn an_order_that_ends_by_the_streams_own_word_needs_no_other() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    desk.hear(Event::User(UserEvent::Down));
    desk.hear(Event::User(UserEvent::Up));
    for order in [yes.hash(), no.hash()] {
        desk.hear(Event::User(UserEvent::Order { order, change: OrderChange::Cancelled, matched: None }));
    }
    let asked = desk.idle(100);
    assert!(!asked.iter().any(|a| matches!(a, Action::Lookup { .. })), "{asked:?}");
    desk.agree(&asked);
    assert_eq!(desk.core.closed(), None);
}

#[test]
fn a_payout_that_nobody_tells_is_asked_for_some_time_after_the_match() {
    let mut desk = Desk::open();
    let over = Event::Match(MatchEvent { phase: MatchPhase::Finished, map: 3, score: [2, 1] });
    let ask = Action::AskMarket { market: M };
    // The feed repeats itself; that is no new end.
    for _ in 0..3 {
        desk.hear(over);
        assert!(!desk.idle(18_000).contains(&ask));
    }
    desk.hear(over);
    assert!(desk.idle(18_000).contains(&ask));
}

#[test]
fn a_fill_that_the_stream_never_told_is_read_among_the_trades() {
    let mut desk = Desk::open();
    let (yes, _) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.hear(Event::User(UserEvent::Down));
    desk.hear(Event::User(UserEvent::Up));
    let asked = desk.idle(100);
    let Some(Action::Reconcile { round, trades_since }) =
        asked.iter().copied().find(|a| matches!(a, Action::Reconcile { .. }))
    else {
        panic!("{asked:?}")
    };
    assert!(trades_since < Nanos(desk.now), "trades of the time before the cut are read as well");
    desk.hear(Event::Reply(ReplyEvent::Read(ReadEvent::Begin { round })));
    desk.trade(1, &yes, Qty::shares(10), TradeStatus::Matched);
    let (order, matched) = (yes.hash(), Qty::shares(10));
    let listed = ReadEvent::Order { order, instrument: YES, side: Side::Buy, matched };
    desk.hear(Event::Reply(ReplyEvent::Read(listed)));
    let quotes = placed(&desk.hear(Event::Reply(ReplyEvent::Read(ReadEvent::End { round, complete: true }))));
    assert!(quotes.iter().all(|q| q.intent().instrument == NO), "{quotes:?}");
    let report = desk.core.report();
    assert_eq!((report.fills.count, report.markets[0].position[0]), (1, Qty::shares(10)));
    assert_eq!(report.kill_switch, None);
}

#[test]
fn a_resolution_that_cannot_be_read_is_asked_after() {
    let mut desk = Desk::open();
    desk.market(MarketEvent::ResolvedUnclear { market: M });
    assert!(desk.idle(100).contains(&Action::AskMarket { market: M }));
    desk.hear(Event::Reply(ReplyEvent::Market {
        market: M,
        facts: MarketFacts { accepting: true, ..MarketFacts::default() },
    }));
    assert!(desk.idle(3_000).contains(&Action::AskMarket { market: M }));
    desk.hear(Event::Reply(ReplyEvent::Market {
        market: M,
        facts: MarketFacts { closed: true, payout: Some(Payout::Half), ..MarketFacts::default() },
    }));
    assert_eq!(desk.core.report().markets[0].payout, Some("half"));
}

#[test]
fn a_refused_cancel_is_not_sent_again_at_once() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    let gap = MarketEvent::Gap { instrument: None, reason: GapReason::Disconnected };
    assert_eq!(cancels(&desk.market(gap)).len(), 2);
    assert!(cancels(&desk.hear(Event::Reply(ReplyEvent::CancelUnknown { order: yes.hash() }))).is_empty());
    assert!(cancels(&desk.idle(100)).is_empty());
    assert_eq!(cancels(&desk.idle(200)), [yes.hash()]);
}

#[test]
fn a_first_snapshot_that_never_comes_is_asked_for() {
    let mut desk = Desk::open();
    let resync = Action::Resync { instrument: YES };
    assert!(!desk.idle(1_000).contains(&resync), "a subscription brings it by itself");
    assert!(desk.idle(11_000).contains(&resync));
}

#[test]
fn nothing_is_decided_in_the_middle_of_a_message() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    // One token's side of the change is in, the other's is not: the books do not mirror each other.
    let (side, price) = (BookSide::Bid, Price::from_units(4_900).unwrap());
    desk.market(MarketEvent::Delta { instrument: YES, side, price, qty: Qty::shares(60) });
    assert!(cancels(&desk.idle(1)).is_empty());
}

#[test]
fn an_order_without_an_answer_is_unknown_and_looked_up_and_never_sent_again() {
    let mut desk = Desk::open();
    let (yes, _) = one_quote_a_side(&mut desk);
    desk.hear(Event::Reply(ReplyEvent::Sent { order: yes.hash() }));
    desk.hear(Event::Reply(ReplyEvent::Unknown { order: yes.hash() }));
    let actions = desk.idle(2_000);
    assert!(actions.contains(&Action::Lookup { order: yes.hash() }));
    assert!(placed(&actions).iter().all(|a| a.intent().instrument != YES), "one intent, one order");
    assert_eq!(desk.core.report().orders.unresolved, 1);
    // "Not there" proves nothing while the order could still arrive, however often it is said.
    for _ in 0..10 {
        desk.idle(1_000);
        desk.hear(Event::Reply(ReplyEvent::OrderStatus { order: yes.hash(), live: false, matched: None }));
    }
    assert_eq!(desk.core.report().orders.unresolved, 1);
    desk.hear(Event::Reply(ReplyEvent::OrderStatus { order: yes.hash(), live: true, matched: None }));
    assert_eq!(desk.core.report().orders.unresolved, 0);
}

#[test]
fn an_order_that_never_showed_is_gone_after_its_own_expiry() {
    let mut desk = Desk::open();
    let (yes, _) = one_quote_a_side(&mut desk);
    desk.hear(Event::Reply(ReplyEvent::Unknown { order: yes.hash() }));
    desk.idle(1_000 * (60 + u64::from(Params::default().pair.ttl_s)));
    for _ in 0..4 {
        assert_eq!(desk.core.report().orders.unresolved, 1);
        desk.hear(Event::Reply(ReplyEvent::OrderStatus { order: yes.hash(), live: false, matched: None }));
    }
    assert_eq!(desk.core.report().orders.unresolved, 0);
}

#[test]
fn a_stop_cancels_counts_and_finishes() {
    let mut desk = Desk::open();
    let (yes, no) = one_quote_a_side(&mut desk);
    desk.ack(yes.hash());
    desk.ack(no.hash());
    assert!(desk.hear(Event::Control(ControlEvent::Stop)).contains(&Action::CancelAll));
    for order in [yes.hash(), no.hash()] {
        desk.hear(Event::User(UserEvent::Order { order, change: OrderChange::Cancelled, matched: None }));
    }
    assert!(desk.idle(100).contains(&Action::ReadCollateral));
    let actions = desk.hear(Event::Reply(ReplyEvent::Collateral { cash: Usdc::dollars(1_000) }));
    assert!(actions.contains(&Action::Finished { clean: true }));
}

#[test]
fn a_stop_that_the_venue_does_not_answer_ends_unclean() {
    let mut desk = Desk::open();
    one_quote_a_side(&mut desk);
    desk.hear(Event::Control(ControlEvent::Stop));
    assert!(desk.idle(6_000).contains(&Action::Finished { clean: false }));
}

#[test]
fn a_count_that_rounding_cannot_explain_is_an_error() {
    let mut desk = Desk::open();
    let facts = MarketFacts { closed: true, payout: Some(Payout::Half), ..MarketFacts::default() };
    desk.hear(Event::Reply(ReplyEvent::Market { market: M, facts }));
    assert!(desk.idle(100).contains(&Action::ReadCollateral));
    let actions = desk.hear(Event::Reply(ReplyEvent::Collateral { cash: Usdc(1_000_000_100) }));
    assert!(actions.contains(&Action::Finished { clean: false }));
    assert_eq!(desk.core.report().kill_switch, Some("accounts"));
}

#[test]
fn the_kill_switch_cancels_and_nothing_leaves_after_it() {
    let mut desk = Desk::open();
    one_quote_a_side(&mut desk);
    let kill = Event::Control(ControlEvent::Kill(crate::types::event::KillReason::Manual));
    assert!(desk.hear(kill).contains(&Action::CancelAll));
    for _ in 0..50 {
        assert!(placed(&desk.idle(100)).is_empty());
        assert!(placed(&desk.book(&[(4_000, 100)], &[(4_400, 100)])).is_empty());
    }
}

#[test]
fn worst_case_stays_within_the_market_s_limit_whatever_fills() {
    let mut desk = Desk::open();
    let limit = Params::default().risk.market_usdc;
    let mut n = 0;
    let mut quotes = placed(&desk.book(&[(4_800, 100)], &[(5_200, 100)]));
    // Only the first outcome ever fills: the worst that can happen to a pair maker.
    for _ in 0..100 {
        n += 1;
        let Some(at) = quotes.iter().position(|q| q.intent().instrument == YES) else { break };
        let quote = quotes.swap_remove(at);
        desk.ack(quote.hash());
        quotes.extend(placed(&desk.trade(n, &quote, quote.intent().qty, TradeStatus::Matched)));
        let spent = -desk.core.report().markets[0].pnl;
        assert!(spent <= limit);
    }
    let held = desk.core.report().markets[0].position[0];
    assert!(held >= Qty::shares(100) && held <= Qty::shares(150), "{held}");
}

#[test]
fn every_part_of_the_state_is_in_the_hash() {
    let mut desk = Desk::open();
    let (yes, _) = one_quote_a_side(&mut desk);
    let base = desk.core.state_hash();
    assert_eq!(base, desk.core.state_hash());
    let mut seen = vec![base];
    let mut changed = |desk: &Desk, what: &str| {
        let hash = desk.core.state_hash();
        assert!(!seen.contains(&hash), "{what} is not in the hash");
        seen.push(hash);
    };
    desk.core.flip_level(YES);
    changed(&desk, "a level");
    desk.core.flip_order(&yes.hash());
    changed(&desk, "an order");
    desk.core.flip_ledger();
    changed(&desk, "a ledger entry");
    desk.core.flip_breaker(M);
    changed(&desk, "a breaker");
}

mod any_stream {
    use proptest::prelude::*;

    use super::*;
    use crate::types::event::{CancelRefusal, KillReason, RejectReason};

    fn price() -> impl Strategy<Value = Price> {
        (0_u16..=100).prop_map(|t| Price::from_units(t * 100).unwrap())
    }

    fn instrument() -> impl Strategy<Value = InstrumentIx> {
        // One that does not exist among them: nothing from outside may make the core panic.
        (0_u16..3).prop_map(InstrumentIx)
    }

    fn side() -> impl Strategy<Value = BookSide> {
        prop_oneof![Just(BookSide::Bid), Just(BookSide::Ask)]
    }

    fn market_event() -> impl Strategy<Value = MarketEvent> {
        let qty = || (0_u64..200).prop_map(Qty::shares);
        prop_oneof![
            1 => instrument().prop_map(|instrument| MarketEvent::SnapshotStart { instrument, tick: None, venue_ms: 0 }),
            4 => (instrument(), side(), price(), qty())
                .prop_map(|(instrument, side, price, qty)| MarketEvent::Level { instrument, side, price, qty }),
            2 => instrument().prop_map(|instrument| MarketEvent::SnapshotEnd { instrument }),
            8 => (instrument(), side(), price(), qty())
                .prop_map(|(instrument, side, price, qty)| MarketEvent::Delta { instrument, side, price, qty }),
            2 => (instrument(), prop::option::of(price()), prop::option::of(price()))
                .prop_map(|(instrument, bid, ask)| MarketEvent::Top { instrument, bid, ask }),
            8 => Just(MarketEvent::FrameEnd { venue_ms: 0 }),
            1 => instrument().prop_map(|instrument| MarketEvent::TickSizeChange { instrument, tick: TickSize::Mill }),
            1 => Just(MarketEvent::Gap { instrument: None, reason: GapReason::Overflow }),
            1 => (0_u16..2).prop_map(|m| MarketEvent::Resolved { market: MarketIx(m), payout: Payout::Half }),
        ]
    }

    /// What happens next: to the market, or to the n-th order placed so far.
    #[derive(Clone, Debug)]
    enum Next {
        Market(MarketEvent),
        Book(u16),
        Order(usize, u8),
        Fill(usize, u8, TradeStatus, u64),
        Wait(u64),
        Control(ControlEvent),
    }

    fn next() -> impl Strategy<Value = Next> {
        let status = prop::sample::select(vec![
            TradeStatus::Matched,
            TradeStatus::Mined,
            TradeStatus::Confirmed,
            TradeStatus::Retrying,
            TradeStatus::Failed,
        ]);
        prop_oneof![
            20 => market_event().prop_map(Next::Market),
            10 => (2_u16..95).prop_map(Next::Book),
            20 => (0_usize..40, 0_u8..11).prop_map(|(n, what)| Next::Order(n, what)),
            10 => (0_usize..40, any::<u8>(), status, 1_u64..60).prop_map(|(n, t, s, q)| Next::Fill(n, t, s, q)),
            5 => (1_u64..5_000).prop_map(Next::Wait),
            1 => prop::sample::select(vec![
                ControlEvent::Halt(M),
                ControlEvent::Resume(M),
                ControlEvent::Halt(MarketIx(9)),
                ControlEvent::JournalDown,
                ControlEvent::JournalUp,
                ControlEvent::Kill(KillReason::Manual),
                ControlEvent::Stop,
            ])
            .prop_map(Next::Control),
        ]
    }

    fn reply(order: OrderHash, what: u8) -> Event {
        let user = |change| Event::User(UserEvent::Order { order, change, matched: None });
        Event::Reply(match what {
            0 => ReplyEvent::Sent { order },
            1 => ReplyEvent::Accepted { order, status: AckStatus::Live },
            2 => ReplyEvent::Accepted { order, status: AckStatus::Delayed },
            3 => ReplyEvent::Rejected { order, reason: RejectReason::Crosses },
            4 => ReplyEvent::NeverSent { order },
            5 => ReplyEvent::Unknown { order },
            6 => ReplyEvent::Cancelled { order },
            7 => ReplyEvent::CancelRefused { order, reason: CancelRefusal::Matched },
            8 => ReplyEvent::OrderStatus { order, live: false, matched: None },
            9 => return user(OrderChange::Placed),
            _ => return user(OrderChange::Cancelled),
        })
    }

    fn play(steps: &[Next]) -> (Vec<Action>, u64) {
        let mut desk = Desk::open();
        let (mut all, mut orders) = (Vec::new(), Vec::new());
        for step in steps {
            let actions = match step.clone() {
                Next::Market(e) => desk.market(e),
                Next::Book(bid) => desk.book(&[(bid * 100, 80)], &[((bid + 3) * 100, 90)]),
                Next::Wait(ms) => desk.idle(ms),
                Next::Control(c) => desk.hear(Event::Control(c)),
                Next::Order(n, what) => {
                    orders.get(n).map_or_else(Vec::new, |o: &Approved| desk.hear(reply(o.hash(), what)))
                }
                Next::Fill(n, trade, status, shares) => {
                    orders.get(n).copied().map_or_else(Vec::new, |o| desk.trade(trade, &o, Qty::shares(shares), status))
                }
            };
            orders.extend(placed(&actions));
            all.extend(actions);
        }
        (all, desk.core.state_hash())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// The same stream gives the same actions and the same hash; no stream gives a panic.
        #[test]
        fn replays_exactly(steps in prop::collection::vec(next(), 1..200)) {
            prop_assert_eq!(play(&steps), play(&steps));
        }

        /// After the kill switch nothing is placed, whatever follows.
        #[test]
        fn nothing_is_placed_after_a_kill(before in prop::collection::vec(next(), 0..60), after in prop::collection::vec(next(), 0..60)) {
            let kill = Next::Control(ControlEvent::Kill(KillReason::Manual));
            let (first, _) = play(&before);
            let (all, _) = play(&[before, vec![kill], after].concat());
            prop_assert_eq!(placed(&all).len(), placed(&first).len());
        }
    }
}
