//! The warm hot path allocates nothing: from a frame's plaintext to a request's plaintext, fills and answers included.
//!
//! A counting allocator watches this thread, and only while bytes are inside the pipeline: the scripted venue beside it
//! allocates as it likes. What is counted is every allocation, growth and release.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    hint::black_box,
};

#[path = "../benches/common/mod.rs"]
mod common;

use common::{
    pipeline::{Leaving, OPENING, Pipeline},
    traffic::universe,
    venue::{Venue, params},
};
use polyloly_fast::{
    engine::{Action, Actions},
    gateway::asked::Asked,
    strategies::{self, Core},
    types::{
        Event, InMatch, InstrumentIx, MarketIx, MatchIx, MatchSpec, Nanos, Price, Qty, Sequenced, Stamp, Team,
        TradeKey, Universe, Usdc,
        event::{AckStatus, BookSide, MarketEvent, ReplyEvent, TradeStatus, UserEvent},
        ids::Outcome,
        market::{MarketKind, Rewards},
    },
};

/// Deliveries before counting begins: every kind of message and answer has come by then.
const WARM_UP: u32 = 20_000;
/// Deliveries that are counted.
const DELIVERIES: u32 = 100_000;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn count(what: &str, size: usize) {
        if !WATCHED.get() {
            return;
        }
        COUNT.set(COUNT.get() + 1);
        // Looking at the stack allocates too.
        WATCHED.set(false);
        FIRST.with_borrow_mut(|first| {
            first.get_or_insert_with(|| format!("{what} of {size} bytes\n{}", Backtrace::force_capture()));
        });
        WATCHED.set(true);
    }
}

#[allow(unsafe_code, reason = "an allocator can only be watched from inside one")]
// SAFETY: every call is passed on to the system's allocator as it came; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count("allocation", layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Self::count("release", layout.size());
        // SAFETY: `at` came from `System` with this layout, by the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count("growth", size);
        // SAFETY: `at` came from `System` with this layout, by the caller's contract.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Runs `hot` and gives what it returned, how often it allocated, and where it did so first.
fn watched<R>(hot: impl FnOnce() -> R) -> (R, u64, Option<String>) {
    COUNT.set(0);
    FIRST.with_borrow_mut(Option::take);
    WATCHED.set(true);
    let result = hot();
    WATCHED.set(false);
    (result, COUNT.get(), FIRST.with_borrow_mut(Option::take))
}

#[test]
fn an_allocation_is_seen_with_its_place_and_other_threads_are_not() {
    let (_, count, first) = watched(|| black_box(Vec::<u8>::with_capacity(black_box(64))));
    assert_eq!(count, 1);
    assert!(first.is_some_and(|place| place.contains("allocation of 64 bytes")));
    let (_, count, _) = watched(|| drop(black_box(String::new())));
    assert_eq!(count, 0);
    let other = std::thread::spawn(|| black_box(vec![1; 1_000]));
    assert!(other.join().is_ok());
    assert_eq!(watched(|| ()).1, 0);
}

#[test]
fn the_warm_hot_path_allocates_nothing() {
    let mut universe = universe(4);
    // Markets that pay makers: how long we qualify is measured on the way.
    let pool = Rewards { daily: Usdc::dollars(29), min_size: Qty::shares(50), max_spread_units: 550 };
    universe.markets.iter_mut().for_each(|m| m.rewards = Some(pool));
    let mut venue = Venue::new(&universe, 1);
    let mut pipeline = Pipeline::new(&universe, &params(), venue.stamp());
    let (mut orders, mut cancels, mut batches) = (0, 0, 0);
    let warm = (0..WARM_UP + DELIVERIES).fold(0, |warm, n| {
        let mut delivery = venue.deliver();
        let (source, stamp) = (&delivery.source, delivery.stamp);
        let ((), count, first) = watched(|| {
            pipeline.take_in(source, stamp, &mut delivery.bytes);
            pipeline.written(stamp);
        });
        if n >= WARM_UP {
            assert_eq!(count, 0, "delivery {n}, {source:?}: {}", first.unwrap_or_default());
            for leaves in pipeline.leaving() {
                match leaves {
                    Leaving::Request(Asked::Orders(sent), _) => {
                        orders += sent.len();
                        batches += usize::from(sent.len() > 1);
                    }
                    Leaving::Request(Asked::Cancels(sent), _) => cancels += sent.len(),
                    _ => {}
                }
            }
        }
        venue.hear(&pipeline);
        assert!(!pipeline.ended(), "the engine gave up");
        if n == WARM_UP { pipeline.latest(venue.stamp()).seq } else { warm }
    });
    let latest = pipeline.latest(venue.stamp());
    let (events, brief) = (latest.seq - warm, latest.brief);
    println!("{events} events, {orders} orders, {batches} batches, {cancels} cancels; {:?}", venue.counts());
    println!("{:?} {:?} {:?}", brief.orders, brief.fills, brief.books);
    // A pipeline that does nothing allocates nothing: this one traded.
    assert!(events >= 100_000, "{events} events");
    assert!(orders >= 1_000 && batches > 10, "{orders} orders, {batches} batches");
    assert!(cancels >= 500, "{cancels} cancels");
    assert!(brief.fills.count >= 1_000 && brief.fills.taker > 0 && brief.fills.failed > 0, "{:?}", brief.fills);
    assert!(brief.orders.accepted > 1_000 && brief.orders.rejected > 0, "{:?}", brief.orders);
    assert!(brief.books.resyncs > 0 && venue.counts().merges > 10 && venue.counts().checked > 10);
    assert_eq!(brief.kill_switch, None);
    // No ring was full, no record was lost.
    let wrong = ["journal_lost", "samples_lost", "orders_refused_ring_full"];
    assert!(pipeline.counters().iter().all(|(name, _)| !wrong.contains(name)), "{:?}", pipeline.counters());
}

/// The series and the three maps of one match.
fn linked() -> Universe {
    let mut universe = universe(4);
    let teams = universe.markets[0].outcomes.clone();
    universe.matches.push(MatchSpec { slug: "aaa-bbb".into(), best_of: 3, teams, tournament: "Winter Cup".into() });
    for (n, market) in (0..).zip(&mut universe.markets) {
        market.kind = if n == 0 { MarketKind::Series } else { MarketKind::Map(n) };
        market.of_match = Some(InMatch { index: MatchIx(0), first: Team::First });
    }
    universe
}

/// An engine that is told events one by one, watched.
struct Watching {
    core: Core,
    out: Actions,
    now: Nanos,
    seq: u64,
    /// Allocations, and where the first was.
    seen: (u64, Option<String>),
}

impl Watching {
    fn hear(&mut self, event: Event) {
        self.seq += 1;
        self.now = self.now.plus(1_000_000);
        let event = Sequenced { seq: self.seq, stamp: Stamp { wall: self.now, ..Stamp::default() }, event };
        self.out.clear();
        let ((), count, first) = watched(|| {
            self.core.on(&event, &mut (), &mut self.out);
            self.core.tell_fates(|_, _| ());
        });
        self.seen.0 += count;
        self.seen.1 = self.seen.1.take().or(first);
        for action in self.out.clone() {
            self.answer(&action);
        }
    }

    /// What was asked for is done: orders are filled whole and settle, or rest and are cancelled.
    fn answer(&mut self, action: &Action) {
        match *action {
            Action::Place(order) => {
                let (id, i) = (order.hash(), *order.intent());
                let rests = !i.tif.is_immediate();
                let status = if rests { AckStatus::Live } else { AckStatus::Matched };
                self.hear(Event::Reply(ReplyEvent::Sent { order: id }));
                self.hear(Event::Reply(ReplyEvent::Accepted { order: id, status }));
                // One that rests is filled now and then.
                if rests && !self.seq.is_multiple_of(7) {
                    return;
                }
                let trade = TradeKey(u128::from(self.seq));
                for status in [TradeStatus::Matched, TradeStatus::Confirmed] {
                    self.hear(Event::User(UserEvent::Trade {
                        trade,
                        order: id,
                        instrument: i.instrument,
                        side: i.side,
                        qty: i.qty,
                        notional: i.qty.notional_ceil(i.price),
                        taker_curve: (!rests).then(|| i.price.curve(i.qty)),
                        status,
                    }));
                }
            }
            Action::Cancel { order, .. } => self.hear(Event::Reply(ReplyEvent::Cancelled { order })),
            Action::Merge { market, qty } => self.hear(Event::Reply(ReplyEvent::Merged { market, qty })),
            Action::ReadCollateral => {
                let cash = self.core.ledger().cash();
                self.hear(Event::Reply(ReplyEvent::Collateral { cash }));
            }
            _ => {}
        }
    }

    /// Shows a token's book and its mirror's, of so many shares a level.
    fn book(&mut self, i: InstrumentIx, bid: u16, ask: u16, shares: u64) {
        for (instrument, bid, ask) in [(i, bid, ask), (i.mirror(), 10_000 - ask, 10_000 - bid)] {
            let market = |e| Event::Market(e);
            self.hear(market(MarketEvent::SnapshotStart { instrument, tick: None, venue_ms: 0 }));
            for (side, units) in [(BookSide::Bid, bid), (BookSide::Ask, ask)] {
                let price = Price::from_units(units).expect("a price");
                self.hear(market(MarketEvent::Level { instrument, side, price, qty: Qty::shares(shares) }));
            }
            self.hear(market(MarketEvent::SnapshotEnd { instrument }));
        }
        self.hear(Event::Market(MarketEvent::FrameEnd { venue_ms: 0 }));
    }
}

#[test]
fn baskets_over_linked_books_allocate_nothing() {
    let universe = linked();
    let mut params = params();
    params.risk.reconcile_s = 86_400;
    // A bid for a basket keeps away from what pairs quote.
    params.pair.enabled = false;
    (params.baskets.stood_ms, params.baskets.quote) = (0, true);
    let now = Nanos(1_790_000_000_000_000_000);
    let core = strategies::core(&universe, &params);
    let mut it = Watching { core, out: Actions::new(), now, seq: 0, seen: (0, None) };
    OPENING.into_iter().for_each(|event| it.hear(event));
    let sent =
        |it: &Watching| it.core.strategy().baskets.tallies().map(|(_, t)| [t.sent, t.quoted]).collect::<Vec<_>>();
    let mut warm = Vec::new();
    for n in 0..1_000 {
        if n == 300 {
            (it.seen, warm) = ((0, None), sent(&it));
        }
        // Whoever loses the series has lost one of the first two maps: three tokens that pay 1 at least, cheap and dear
        // by turns; then dear but for one leg's bid.
        let ask = [3_000, 4_500, 3_500][n % 3];
        it.book(MarketIx(0).instrument(Outcome::Yes), ask - 500, ask, 100);
        for map in [1, 2] {
            it.book(MarketIx(map).instrument(Outcome::No), 2_500, [3_000, 4_500, 3_200][n % 3], 100);
        }
        it.book(MarketIx(3).instrument(Outcome::Yes), 4_900, 5_100, 100);
        it.now = it.now.plus(5_000_000_000);
        it.hear(Event::Tick);
    }
    assert_eq!(it.seen.0, 0, "{}", it.seen.1.unwrap_or_default());
    println!("{warm:?} {:?} {:?}", sent(&it), it.core.brief().fills);
    let more = |k: usize| sent(&it)[0][k] - warm[0][k];
    assert!(more(0) > 50 && more(1) > 50, "baskets taken and bids for one: {warm:?} {:?}", sent(&it));
    assert_eq!(it.core.killed(), None);
}
