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
    pipeline::{Leaving, Pipeline},
    traffic::universe,
    venue::{Venue, params},
};
use polyloly_fast::{
    gateway::asked::Asked,
    types::{Qty, Usdc, market::Rewards},
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
