//! Step 3 of 9, timed: one token's book.

pub mod common;

use common::{
    Bench, Row,
    plain::MapBook,
    traffic::{Ladder, Rng, price},
};
use polyloly_fast::{
    engine::book::Book,
    types::{Qty, TickSize, event::BookSide},
};
use rust_decimal::Decimal;

const SIDES: [BookSide; 2] = [BookSide::Bid, BookSide::Ask];

fn main() {
    step(&mut Bench::full());
}

/// One level's new total, for both books.
#[derive(Clone, Copy)]
struct Change {
    side: BookSide,
    tick: usize,
    qty: Qty,
    price_decimal: Decimal,
    qty_decimal: Decimal,
}

impl Change {
    fn new(side: BookSide, tick: usize, qty: Qty) -> Self {
        let qty_decimal = Decimal::from_i128_with_scale(i128::from(qty.micro()), 6).normalize();
        Self { side, tick, qty, price_decimal: Decimal::new(tick as i64, 2), qty_decimal }
    }
}

/// Every level of a ladder.
fn levels(ladder: &Ladder) -> Vec<Change> {
    let of = |side: BookSide| {
        let level = move |(tick, qty): (usize, &u64)| (*qty > 0).then(|| Change::new(side, tick, Qty(*qty)));
        ladder.side(side).iter().enumerate().filter_map(level).collect::<Vec<_>>()
    };
    SIDES.into_iter().flat_map(of).collect()
}

fn fill(book: &mut Book, levels: &[Change]) {
    book.snapshot_start(None);
    levels.iter().for_each(|l| book.snapshot_level(l.side, price(l.tick), l.qty));
    book.snapshot_end();
}

fn fill_map(book: &mut MapBook, levels: &[Change]) {
    book.clear();
    levels.iter().for_each(|l| book.set(l.side, l.price_decimal, l.qty_decimal));
}

/// Every table of this step.
pub fn step(bench: &mut Bench) {
    let mut rng = Rng(11);
    let ladder = Ladder::around(50, 49, &mut rng);
    let levels = levels(&ladder);
    let mut book = Book::new(TickSize::Cent);
    let mut map = MapBook::default();
    fill(&mut book, &levels);
    fill_map(&mut map, &levels);
    updates(bench, book.clone(), map.clone(), &mut rng);
    walks(bench, book, map);
    snapshots(bench, &levels);
}

/// A level set, and both best prices read.
fn updates(bench: &mut Bench, mut book: Book, mut map: MapBook, rng: &mut Rng) {
    let mut change = || {
        let (side, k) = (SIDES[rng.below(2) as usize], 1 + rng.below(10) as usize);
        let tick = if side == BookSide::Bid { 50 - k } else { 50 + k };
        let qty = if rng.below(4) == 0 { Qty::ZERO } else { rng.size() };
        Change::new(side, tick, qty)
    };
    let changes: Vec<Change> = (0..bench.scale(4_096, 64)).map(|_| change()).collect();
    for c in &changes {
        book.delta(c.side, price(c.tick), c.qty);
        map.set(c.side, c.price_decimal, c.qty_decimal);
        let as_decimal = |side| book.best(side).map(|l| Decimal::new(i64::from(l.price.units()), 4).normalize());
        let (bid, ask) = map.top();
        assert_eq!(
            (as_decimal(BookSide::Bid), as_decimal(BookSide::Ask)),
            (bid.map(|d| d.normalize()), ask.map(|d| d.normalize()))
        );
    }
    let prices: Vec<_> = changes.iter().map(|c| (c.side, price(c.tick), c.qty)).collect();
    let mut n = 0;
    let ours = move || {
        n = (n + 1) % prices.len();
        let (side, price, qty) = prices[n];
        book.delta(side, price, qty);
        (book.best(BookSide::Bid), book.best(BookSide::Ask))
    };
    let mut n = 0;
    let theirs = move || {
        n = (n + 1) % changes.len();
        let c = &changes[n];
        map.set(c.side, c.price_decimal, c.qty_decimal);
        map.top()
    };
    let rows = vec![Row::new("polyloly-fast", 256, ours), Row::new("BTreeMap of Decimal", 256, theirs)];
    bench.table("book", "level set, both best prices read", rows);
}

/// What 5 000 shares cost.
fn walks(bench: &mut Bench, book: Book, map: MapBook) {
    let cost = book.take(BookSide::Ask, Qty::shares(5_000)).expect("deep enough").cash;
    let plain = map.cost(Decimal::from(5_000)).expect("deep enough");
    let exact = Decimal::from_i128_with_scale(i128::from(cost.micro()), 6);
    // Ours rounds up per level.
    assert!(exact >= plain && exact - plain < Decimal::new(50, 6), "{exact} and {plain}");
    let ours = move || book.take(BookSide::Ask, std::hint::black_box(Qty::shares(5_000)));
    let theirs = move || map.cost(std::hint::black_box(Decimal::from(5_000)));
    let rows = vec![Row::new("polyloly-fast", 64, ours), Row::new("BTreeMap of Decimal", 64, theirs)];
    bench.table("book", "cost of 5000 shares", rows);
}

/// A whole snapshot put in.
fn snapshots(bench: &mut Bench, levels: &[Change]) {
    let (mut book, mut map) = (Book::new(TickSize::Cent), MapBook::default());
    let (mine, theirs) = (levels.to_vec(), levels.to_vec());
    fill(&mut book, &mine);
    assert!(book.trusted() && book.levels(BookSide::Bid).count() == 49);
    let ours = move || {
        fill(&mut book, &mine);
        book.trusted()
    };
    let theirs = move || {
        fill_map(&mut map, &theirs);
        map.top()
    };
    let rows = vec![Row::new("polyloly-fast", 4, ours), Row::new("BTreeMap of Decimal", 4, theirs)];
    bench.table("book", "snapshot of 49 levels a side", rows);
}
