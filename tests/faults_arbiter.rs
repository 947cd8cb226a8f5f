//! Several lines, one stream: whatever the lines do, each book given out is the venue's own at some moment, moments
//! never run backwards, and what cannot be proved is a gap. Simulated in virtual time: a venue, lines with delays and
//! faults, and an engine's book at the other end.

mod market_support;

use std::collections::VecDeque;

use polyloly_fast::{
    engine::book::Book,
    feeds::arbiter::{Arbiter, Rules},
    types::{
        InstrumentIx, Nanos, Price, Qty, TickSize,
        event::{BookSide, GapReason, MarketEvent},
    },
};

const YES: InstrumentIx = InstrumentIx(0);
const NO: InstrumentIx = InstrumentIx(1);
const BOTH: [InstrumentIx; 2] = [YES, NO];
const MS: u64 = 1_000_000;
const START_MS: u64 = 1_790_000_000_000;
/// Random histories of each property.
const CASES: u64 = 10_000;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

type Levels = Vec<(BookSide, u16, u64)>;

/// The true book of one token: prices in ticks of 0.01.
#[derive(Clone, Default, PartialEq)]
struct Truth {
    bids: std::collections::BTreeMap<u16, u64>,
    asks: std::collections::BTreeMap<u16, u64>,
}

impl Truth {
    fn set(&mut self, side: BookSide, tick: u16, qty: u64) {
        let side = if side == BookSide::Bid { &mut self.bids } else { &mut self.asks };
        if qty == 0 {
            side.remove(&tick)
        } else {
            side.insert(tick, qty)
        };
    }

    fn levels(&self) -> Levels {
        let bids = self.bids.iter().map(|(t, q)| (BookSide::Bid, *t, *q));
        bids.chain(self.asks.iter().map(|(t, q)| (BookSide::Ask, *t, *q))).collect()
    }
}

fn price(tick: u16) -> Price {
    Price::from_units(tick * 100).expect("on the grid")
}

fn snapshot(instrument: InstrumentIx, levels: &Levels, venue_ms: u64) -> Vec<MarketEvent> {
    let mut out = vec![MarketEvent::SnapshotStart { instrument, tick: Some(TickSize::Cent), venue_ms }];
    let level = |(side, tick, qty): &(BookSide, u16, u64)| MarketEvent::Level {
        instrument,
        side: *side,
        price: price(*tick),
        qty: Qty(*qty),
    };
    out.extend(levels.iter().map(level));
    out.extend([MarketEvent::SnapshotEnd { instrument }, MarketEvent::FrameEnd { venue_ms }]);
    out
}

fn change(instrument: InstrumentIx, side: BookSide, tick: u16, qty: u64, venue_ms: u64) -> Vec<MarketEvent> {
    vec![MarketEvent::Delta { instrument, side, price: price(tick), qty: Qty(qty) }, MarketEvent::FrameEnd { venue_ms }]
}

/// A message on its way: its bytes' hash and its events.
#[derive(Clone)]
struct Message {
    raw: u64,
    events: Vec<MarketEvent>,
}

fn message(events: Vec<MarketEvent>) -> Message {
    // Any function of the content: equal texts have equal hashes.
    let raw = xxhash_rust::xxh3::xxh3_64(format!("{events:?}").as_bytes());
    Message { raw, events }
}

/// The engine's end: books, and every state they were ever seen in.
struct Engine {
    books: [Book; 2],
    gaps: Vec<(InstrumentIx, GapReason)>,
    /// Messages heard, not counting gaps.
    heard: Vec<Vec<MarketEvent>>,
    open: Vec<MarketEvent>,
}

impl Engine {
    fn new() -> Self {
        let book = || Book::new(TickSize::Cent);
        Self { books: [book(), book()], gaps: Vec::new(), heard: Vec::new(), open: Vec::new() }
    }

    fn hear(&mut self, event: MarketEvent) {
        use polyloly_fast::engine::book::Distrust;
        match event {
            MarketEvent::SnapshotStart { instrument, tick, .. } => self.books[instrument.ix()].snapshot_start(tick),
            MarketEvent::Level { instrument, side, price, qty } => {
                self.books[instrument.ix()].snapshot_level(side, price, qty);
            }
            MarketEvent::SnapshotEnd { instrument } => self.books[instrument.ix()].snapshot_end(),
            MarketEvent::Delta { instrument, side, price, qty } => self.books[instrument.ix()].delta(side, price, qty),
            MarketEvent::Gap { instrument, reason } => {
                for i in instrument.map_or(BOTH.to_vec(), |i| vec![i]) {
                    self.books[i.ix()].mark(Distrust::Gap(reason));
                    self.gaps.push((i, reason));
                }
                return;
            }
            _ => {}
        }
        self.open.push(event);
        if matches!(event, MarketEvent::FrameEnd { .. }) {
            self.heard.push(std::mem::take(&mut self.open));
        }
    }

    fn levels(&self, i: InstrumentIx) -> Levels {
        let book = &self.books[i.ix()];
        let side = |s: BookSide| book.levels(s).map(move |l| (s, l.price.units() / 100, l.qty.micro()));
        let mut all: Levels = side(BookSide::Bid).chain(side(BookSide::Ask)).collect();
        all.sort_by_key(|(s, t, _)| (*s == BookSide::Ask, *t));
        all
    }
}

/// What a line does to what passes it.
#[derive(Clone, Copy, Default)]
struct Fault {
    /// Says nothing.
    frozen: bool,
    /// Says nothing about this token.
    mute: Option<InstrumentIx>,
    /// Sizes of changes are wrong.
    lies: bool,
    /// Loses this percentage of its changes.
    loses: u64,
}

#[derive(Default)]
struct Line {
    open: bool,
    queue: VecDeque<Message>,
    fault: Fault,
    restarts: u32,
}

/// Everything.
struct World {
    now: Nanos,
    venue_ms: u64,
    truth: [Truth; 2],
    /// Every state that each book was in, with the venue's time of it.
    history: [Vec<Levels>; 2],
    changed_ms: [u64; 2],
    lines: Vec<Line>,
    arbiter: Arbiter,
    engine: Engine,
    /// Newest state that the engine's book was seen in.
    place: [usize; 2],
    /// No check against the history: a line lies and leads.
    lied_to: bool,
    witness: bool,
    /// Every message is about one book.
    single: bool,
    /// Every message has a millisecond of its own.
    distinct: bool,
}

impl World {
    fn new(lines: usize, rules: Rules) -> Self {
        let tokens = BOTH.map(|i| (i, TickSize::Cent));
        let mut world = Self {
            now: Nanos(START_MS * MS),
            venue_ms: START_MS,
            truth: Default::default(),
            history: Default::default(),
            changed_ms: [START_MS; 2],
            lines: (0..lines).map(|_| Line::default()).collect(),
            arbiter: Arbiter::new(&tokens, rules),
            engine: Engine::new(),
            place: [0; 2],
            lied_to: false,
            witness: true,
            single: false,
            distinct: false,
        };
        for i in BOTH {
            for (side, tick, qty) in [(BookSide::Bid, 40, 10), (BookSide::Bid, 39, 5), (BookSide::Ask, 60, 10)] {
                world.truth[i.ix()].set(side, tick, qty);
            }
            world.history[i.ix()].push(world.truth[i.ix()].levels());
        }
        for l in 0..lines {
            world.open(l);
        }
        world
    }

    fn open(&mut self, l: usize) {
        if std::env::var("SEED").is_ok() {
            eprintln!("open {l}");
        }
        self.lines[l].open = true;
        self.lines[l].queue.clear();
        self.arbiter.open(l, self.now);
        for i in BOTH {
            self.dump(l, i);
        }
    }

    fn dump(&mut self, l: usize, i: InstrumentIx) {
        let book = message(snapshot(i, &self.truth[i.ix()].levels(), self.changed_ms[i.ix()]));
        self.lines[l].queue.push_back(book);
    }

    fn close(&mut self, l: usize) {
        if std::env::var("SEED").is_ok() {
            eprintln!("close {l}");
        }
        self.lines[l].open = false;
        self.lines[l].queue.clear();
        let mut events = Vec::new();
        self.arbiter.close(l, GapReason::Disconnected, self.now, &mut |e| events.push(e));
        self.hear(events);
    }

    /// The venue changes one book, or both in one message, and tells every line.
    fn emit(&mut self, dice: &mut Dice) {
        if self.distinct || dice.chance(70) {
            self.venue_ms += 1 + dice.below(3);
        }
        let ms = self.venue_ms;
        let which: Vec<InstrumentIx> = match dice.below(3) {
            0 => vec![YES],
            1 => vec![NO],
            _ if self.single => vec![YES],
            _ => BOTH.to_vec(),
        };
        let mut events = Vec::new();
        for i in &which {
            let bid = dice.chance(50);
            let (side, base) = if bid { (BookSide::Bid, 30) } else { (BookSide::Ask, 55) };
            // Few levels and few sizes, so that the same state and the same change come again and again.
            let (tick, qty) = (base + dice.below(4) as u16, dice.below(3) * 10);
            self.truth[i.ix()].set(side, tick, qty);
            self.changed_ms[i.ix()] = ms;
            events.push(MarketEvent::Delta { instrument: *i, side, price: price(tick), qty: Qty(qty) });
            let levels = self.truth[i.ix()].levels();
            self.history[i.ix()].push(levels);
        }
        let book = (which.len() == 1 && dice.chance(10)).then_some(which[0]);
        let broadcast = match book {
            Some(i) => message(snapshot(i, &self.truth[i.ix()].levels(), ms)),
            None => {
                events.push(MarketEvent::FrameEnd { venue_ms: ms });
                message(events)
            }
        };
        for line in self.lines.iter_mut().filter(|l| l.open) {
            let mute = line.fault.mute.is_some_and(|m| which.contains(&m));
            if line.fault.frozen || mute || dice.chance(line.fault.loses) {
                continue;
            }
            let mut said = broadcast.clone();
            if line.fault.lies {
                for event in &mut said.events {
                    if let MarketEvent::Delta { qty, .. } | MarketEvent::Level { qty, .. } = event {
                        *qty = Qty(qty.micro() + 7);
                    }
                }
                said = message(said.events);
            }
            line.queue.push_back(said);
        }
    }

    /// A line brings its next message.
    fn deliver(&mut self, l: usize) -> bool {
        let Some(m) = self.lines[l].queue.pop_front() else { return false };
        self.bring(l, &m);
        true
    }

    fn bring(&mut self, l: usize, m: &Message) {
        let mut events = Vec::new();
        if !self.arbiter.offer(l, m.raw, self.now) {
            self.arbiter.admit(l, m.raw, &m.events, self.now, &mut |e| events.push(e));
        }
        if std::env::var("SEED").is_ok() {
            eprintln!("{} line {l} {:x} {:?} -> {:?}", self.now.0 / MS % 100000, m.raw >> 48, m.events, events.len());
        }
        self.hear(events);
    }

    fn hear(&mut self, events: Vec<MarketEvent>) {
        for event in events {
            self.engine.hear(event);
        }
        if self.lied_to {
            return;
        }
        for i in BOTH {
            if !self.engine.books[i.ix()].trusted() {
                continue;
            }
            let seen = self.engine.levels(i);
            let from = self.place[i.ix()];
            let at = self.history[i.ix()][from..].iter().position(|state| *state == seen);
            let at = at.unwrap_or_else(|| panic!("{i:?}: a book that never was, or was before: {seen:?}"));
            self.place[i.ix()] = from + at;
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(ms * MS);
        self.venue_ms = self.venue_ms.max(self.now.0 / MS);
        let mut events = Vec::new();
        self.arbiter.tick(self.now, &mut |e| events.push(e));
        self.hear(events);
        for l in 0..self.lines.len() {
            if self.arbiter.wants_restart(l) {
                self.lines[l].restarts += 1;
                self.close(l);
                self.open(l);
            }
            let mut wanted = Vec::new();
            self.arbiter.take_requests(l, self.now, &mut wanted);
            if !self.lines[l].fault.frozen {
                wanted.iter().for_each(|i| self.dump(l, *i));
            }
        }
        let mut asked = Vec::new();
        self.arbiter.take_questions(self.now, 8, &mut asked);
        if self.witness {
            asked.iter().for_each(|i| self.testify(*i));
        }
    }

    /// The witness tells the truth about a book.
    fn testify(&mut self, i: InstrumentIx) {
        let answer = snapshot(i, &self.truth[i.ix()].levels(), self.changed_ms[i.ix()]);
        self.answer(&answer);
    }

    fn answer(&mut self, answer: &[MarketEvent]) {
        let mut events = Vec::new();
        self.arbiter.witnessed(answer, self.now, self.now, &mut |e| events.push(e));
        self.hear(events);
    }

    /// Delivers everything, in turn.
    fn drain(&mut self) {
        // Every line has its turn, whether another had something or not.
        while (0..self.lines.len()).filter(|l| self.deliver(*l)).count() > 0 {}
    }

    /// Time passes in small steps, and everything is delivered.
    fn settle(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(50) {
            self.wait(50);
            self.drain();
        }
    }

    fn assert_in_step(&self, what: &str) {
        for i in BOTH {
            assert!(self.engine.books[i.ix()].trusted(), "{what}: {i:?} is not trusted");
            assert_eq!(self.engine.levels(i), self.truth[i.ix()].levels(), "{what}: {i:?}");
        }
    }
}

/// Steps of random life: the venue speaks, lines bring, a little time passes.
fn live(world: &mut World, dice: &mut Dice, steps: u64) {
    for _ in 0..steps {
        match dice.below(10) {
            0..4 => world.emit(dice),
            9 => world.wait(1 + dice.below(3)),
            _ => {
                let l = dice.below(world.lines.len() as u64) as usize;
                world.deliver(l);
            }
        }
    }
}

/// Runs a history per seed; a failure names its seed.
fn cases(run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|s| s.parse().ok());
    for seed in only.map_or(0..CASES, |s| s..s + 1) {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("seed {seed}");
        }
    }
}

#[test]
fn any_interleaving_of_faithful_lines_is_one_stream_without_a_gap() {
    cases(|seed| {
        let mut dice = Dice(seed);
        let mut world = World::new(1 + seed as usize % 3, Rules::default());
        live(&mut world, &mut dice, 60);
        world.drain();
        assert_eq!(world.engine.gaps, [], "nothing was wrong");
        world.assert_in_step("in the end");
    });
}

/// Story of every silent freeze: one socket goes quiet and nobody downstream can tell.
#[test]
fn a_silent_freeze_of_one_line_costs_no_decision() {
    cases(|seed| {
        let mut dice = Dice(seed);
        let mut world = World::new(2, Rules::default());
        world.drain();
        let victim = dice.below(2) as usize;
        live(&mut world, &mut dice, 20);
        // A socket, or one token of it.
        if dice.chance(50) {
            world.lines[victim].fault.frozen = true;
        } else {
            world.single = true;
            world.lines[victim].fault.mute = Some(BOTH[dice.below(2) as usize]);
        }
        // What a frozen socket had on its way is lost too, or not.
        if world.lines[victim].fault.frozen && dice.chance(50) {
            world.lines[victim].queue.clear();
        }
        live(&mut world, &mut dice, 60);
        world.drain();
        assert_eq!(world.engine.gaps, [], "the other line went on");
        world.assert_in_step("the healthy line's stream, whole");
    });
}

/// Lines close, come back, are asked anew, fall far behind. Returns the world when all is well again.
fn troubled(seed: u64, loses: u64, freezes: bool) -> World {
    let mut dice = Dice(seed);
    let mut world = World::new(2 + seed as usize % 2, Rules::default());
    // A line that loses something may lead, and then nobody can know before another has spoken.
    world.lied_to = loses > 0 || freezes;
    // A snapshot has the venue's millisecond: after a gap, nobody can tell which of the states within it is the newer.
    world.distinct = !world.lied_to;
    world.lines[0].fault.loses = loses;
    for _ in 0..6 {
        live(&mut world, &mut dice, 15);
        let l = dice.below(world.lines.len() as u64) as usize;
        match dice.below(6) {
            0 => world.close(l),
            1 if !world.lines[l].open => world.open(l),
            2 => world.lines[l].fault.frozen ^= freezes,
            3 => world.arbiter.wanted(BOTH[dice.below(2) as usize], world.now),
            4 => world.wait(dice.below(2_000)),
            _ => {}
        }
    }
    for l in 0..world.lines.len() {
        world.lines[l].fault = Fault::default();
        if !world.lines[l].open {
            world.open(l);
        }
    }
    world.settle(20_000);
    world.assert_in_step("when all is well again");
    world
}

#[test]
fn closures_and_reopenings_never_show_a_book_that_never_was() {
    cases(|seed| drop(troubled(seed, 0, false)));
}

#[test]
fn after_losses_and_freezes_the_books_are_right_again() {
    cases(|seed| drop(troubled(seed, seed % 30, true)));
}

// ---- the catalogue, row by row ----

const BID: BookSide = BookSide::Bid;

/// A quiet world in which everybody has the books.
fn settled(lines: usize) -> World {
    let mut world = World::new(lines, Rules::default());
    world.drain();
    world.assert_in_step("at first");
    world
}

impl World {
    /// The venue sets one level of one book and tells every line that is not at fault.
    fn say(&mut self, i: InstrumentIx, side: BookSide, tick: u16, qty: u64) {
        self.venue_ms += 1;
        self.truth[i.ix()].set(side, tick, qty);
        self.changed_ms[i.ix()] = self.venue_ms;
        let levels = self.truth[i.ix()].levels();
        self.history[i.ix()].push(levels);
        let said = message(change(i, side, tick, qty, self.venue_ms));
        for line in self.lines.iter_mut().filter(|l| l.open) {
            if !line.fault.frozen && line.fault.mute != Some(i) {
                let mut said = said.clone();
                if line.fault.lies {
                    said = message(change(i, side, tick, qty + 7, self.venue_ms));
                }
                line.queue.push_back(said);
            }
        }
    }

    fn counts(&mut self) -> polyloly_fast::feeds::arbiter::Counts {
        self.arbiter.take_counts()
    }

    fn gaps(&mut self) -> Vec<(InstrumentIx, GapReason)> {
        std::mem::take(&mut self.engine.gaps)
    }
}

#[test]
fn t01_freeze_of_one_token_on_every_line_is_found_by_the_witness_alone() {
    let mut world = settled(2);
    for line in &mut world.lines {
        line.fault.mute = Some(YES);
    }
    world.say(YES, BID, 41, 10);
    // The other token speaks all the time, and so do pings, which the arbiter never hears of.
    for n in 0..80 {
        world.say(NO, BID, 35, 10 + n);
        world.settle(50);
        if !world.engine.gaps.is_empty() {
            break;
        }
    }
    assert_eq!(world.gaps(), [(YES, GapReason::Frozen)], "and nothing of the other token");
    assert!(world.now.0 / MS - START_MS <= 4_000, "within the budget: 2 s of silence and two answers");
    let counts = world.counts();
    assert_eq!((counts.freezes, counts.line_freezes, counts.disputes), (1, 0, 0));
    world.settle(1_000);
    world.assert_in_step("a fresh snapshot was asked for");
    assert!(world.counts().frozen_ns >= 2_000 * MS, "the report says for how long");
}

#[test]
fn t01_freeze_of_both_lines_gives_nothing_as_fresh_and_ends_in_fresh_lines() {
    let mut world = settled(2);
    world.lines.iter_mut().for_each(|l| l.fault.frozen = true);
    world.say(YES, BID, 41, 10);
    let heard = world.engine.heard.len();
    // Requests for snapshots are not answered either, until a line is opened anew.
    while world.lines.iter().all(|l| l.restarts == 0) {
        assert_eq!(world.engine.heard.len(), heard, "nothing is given out");
        assert!(world.now.0 / MS - START_MS < 60_000, "a line is opened anew when its snapshots never come");
        world.settle(50);
    }
    assert_eq!(world.lines.iter().map(|l| l.restarts).sum::<u32>(), 1, "one at a time");
    world.settle(1_000);
    assert_eq!(world.gaps(), [(YES, GapReason::Frozen)], "and nothing of the book that has not moved");
    world.assert_in_step("by the fresh line");
}

#[test]
fn t18_one_of_two_lines_lags_and_is_taken_out_without_a_gap() {
    let mut world = settled(2);
    // Line 1 brings everything 600 ms late at first, which is allowed, then ever later.
    for n in 0..40_u64 {
        world.say(YES, BID, 35, 10 + n);
        while world.deliver(0) {}
        world.wait(100);
        if (6..12).contains(&n) {
            world.deliver(1);
        }
    }
    let counts = world.counts();
    assert_eq!(world.gaps(), []);
    assert!(counts.lag_ns_max[1] >= 500 * MS && counts.lag_ns_max[0] == 0, "{counts:?}");
    assert!(counts.line_freezes >= 1, "{counts:?}");
    world.settle(500);
    world.assert_in_step("the prompt line's stream");
}

#[test]
fn t18_one_of_two_lines_lies_and_the_witness_tells_which() {
    for (liar, leads) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = settled(2);
        world.lied_to = true;
        world.lines[liar].fault.lies = true;
        world.say(YES, BID, 35, 20);
        world.deliver(leads);
        world.deliver(1 - leads);
        assert_eq!(world.gaps(), [(YES, GapReason::Disputed)], "at once: liar {liar}, leader {leads}");
        // Honest by now, but it stays out until it was opened anew.
        world.lines[liar].fault.lies = false;
        world.say(YES, BID, 36, 30);
        world.settle(2_000);
        assert_eq!((world.lines[liar].restarts, world.lines[1 - liar].restarts), (1, 0), "liar {liar}, leader {leads}");
        assert_eq!(world.gaps(), [], "no second gap");
        world.assert_in_step("as the witness has it");
    }
}

#[test]
fn t18_without_a_witness_a_disputed_book_waits_until_two_lines_agree() {
    let mut world = settled(2);
    (world.lied_to, world.witness) = (true, false);
    world.lines[1].fault.lies = true;
    world.say(YES, BID, 35, 20);
    world.drain();
    assert_eq!(world.gaps(), [(YES, GapReason::Disputed)]);
    world.settle(2_000);
    assert!(!world.engine.books[YES.ix()].trusted(), "nobody can tell");
    world.settle(3_000);
    world.assert_in_step("fresh snapshots of both agree");
}

#[test]
fn t18_one_fresh_snapshot_alone_does_not_settle_what_two_lines_disputed() {
    let mut world = settled(2);
    (world.lied_to, world.witness) = (true, false);
    world.lines[1].fault.lies = true;
    world.say(YES, BID, 35, 20);
    world.drain();
    // Both are asked anew, and one does not answer.
    (world.lines[1].fault.lies, world.lines[1].fault.frozen) = (false, true);
    world.settle(4_000);
    assert!(!world.engine.books[YES.ix()].trusted(), "it may have been this one that lied");
    world.lines[1].fault.frozen = false;
    world.settle(20_000);
    world.assert_in_step("both agree");
}

#[test]
fn t18_two_lines_against_one_need_no_witness() {
    let mut world = settled(3);
    (world.lied_to, world.witness) = (true, false);
    world.lines[2].fault.lies = true;
    world.say(YES, BID, 35, 20);
    for l in [0, 1, 2] {
        world.deliver(l);
    }
    assert_eq!(world.gaps(), []);
    world.settle(300);
    assert_eq!(world.lines.iter().map(|l| l.restarts).collect::<Vec<_>>(), [0, 0, 1]);
    world.assert_in_step("what two have said");
}

#[test]
fn d05_delta_before_snapshot_gap_duplicate_stale() {
    let mut world = settled(1);
    let heard = |w: &World| w.engine.heard.len();
    // Before a snapshot.
    let mut fresh = World::new(1, Rules::default());
    fresh.lines[0].queue.clear();
    fresh.bring(0, &message(change(YES, BID, 35, 20, START_MS + 1)));
    assert_eq!((heard(&fresh), fresh.counts().before_snapshot), (0, 1), "before a snapshot nothing is given out");
    // A duplicate, in a row and out of turn.
    let (a, b) = (change(YES, BID, 35, 20, START_MS + 5), change(YES, BID, 35, 30, START_MS + 6));
    world.lied_to = true;
    let before = heard(&world);
    for m in [&a, &a, &b, &b, &a] {
        world.bring(0, &message(m.clone()));
    }
    assert_eq!(heard(&world) - before, 2, "each once");
    assert_eq!(world.engine.books[YES.ix()].qty_at(BID, price(35)), Qty(30), "the old one is not applied again");
    assert_eq!(world.gaps(), []);
    // Older than what was given out, and never seen.
    world.bring(0, &message(change(YES, BID, 36, 20, START_MS + 4)));
    assert_eq!(heard(&world) - before, 2, "stale: dropped");
    assert_eq!(world.counts().stale, 1);
    assert_eq!(world.gaps(), [(YES, GapReason::Disputed)], "and a snapshot is asked for");
    let mut wanted = Vec::new();
    world.arbiter.take_requests(0, world.now, &mut wanted);
    assert_eq!(wanted, [YES]);
}

#[test]
fn a_line_that_lost_something_is_not_followed_over_the_loss() {
    let mut world = settled(2);
    // Line 1 loses one message, and then line 0 dies before anybody could compare.
    world.say(YES, BID, 35, 20);
    world.lines[1].queue.clear();
    world.drain();
    world.close(0);
    world.say(YES, BID, 36, 30);
    world.drain();
    let waited = world.engine.levels(YES).iter().any(|l| l.1 == 36);
    assert!(!waited, "its next message does not continue the stream");
    world.lied_to = true;
    world.settle(10_000);
    assert!(!world.gaps().is_empty());
    world.assert_in_step("after a fresh snapshot");
}

#[test]
fn story_10_hours_of_silence_are_silence_only_if_the_witness_agrees() {
    let mut world = settled(2);
    world.settle(60_000);
    assert_eq!(world.gaps(), [], "a quiet market is a quiet market");
    assert!(world.counts().witnessed > 20);
    world.lines.iter_mut().for_each(|l| l.fault.frozen = true);
    world.say(NO, BID, 41, 10);
    let from = world.now;
    while world.engine.gaps.is_empty() && world.now.since(from) < 10_000 * MS {
        world.settle(50);
    }
    assert_eq!(world.gaps(), [(NO, GapReason::Frozen)]);
    assert!(world.now.since(from) <= 4_000 * MS, "{} ms", world.now.since(from) / MS);
}

#[test]
fn story_14_no_change_is_given_out_before_the_first_snapshot_of_its_book() {
    let mut world = World::new(2, Rules::default());
    // One token's snapshot comes on neither line; changes of both come in one message.
    world.lines.iter_mut().for_each(|l| l.queue.retain(|m| m.events[0] == m.events[0] && !touches(m, NO)));
    world.drain();
    for n in 0..20 {
        let mut events = change(YES, BID, 35, 10 + n, START_MS + 1 + n);
        events.insert(1, MarketEvent::Delta { instrument: NO, side: BID, price: price(30), qty: Qty(n + 1) });
        let m = message(events);
        world.lied_to = true;
        (0..2).for_each(|l| world.bring(l, &m));
    }
    let of_no = world
        .engine
        .heard
        .iter()
        .flatten()
        .filter(|e| matches!(e, MarketEvent::Delta { instrument, .. } if *instrument == NO));
    assert_eq!(of_no.count(), 0);
    assert_eq!(world.engine.books[YES.ix()].qty_at(BID, price(35)), Qty(29), "the other book goes on");
}

fn touches(m: &Message, i: InstrumentIx) -> bool {
    m.events.iter().any(|e| matches!(e, MarketEvent::SnapshotStart { instrument, .. } if *instrument == i))
}

#[test]
fn story_15_a_ghost_or_an_old_book_over_rest_never_freezes_a_live_one() {
    let mut world = settled(1);
    world.witness = false;
    let ghost = vec![(BID, 1, 30_790), (BookSide::Ask, 99, 30_918)];
    let levels = world.truth[0].levels();
    let older: Levels = levels[1..].to_vec();
    for n in 0..50 {
        world.settle(500);
        let ms = world.now.0 / MS;
        world.answer(&snapshot(YES, &ghost, ms));
        world.answer(&snapshot(YES, &older, START_MS - 1_000 - n));
    }
    assert_eq!(world.gaps(), []);
    assert_eq!(world.counts().ghosts, 100);
}

#[test]
fn story_16_another_hash_or_time_of_the_same_levels_never_asks_for_anything() {
    let mut world = settled(2);
    world.witness = false;
    let levels = world.truth[0].levels();
    for n in 0..200 {
        world.settle(100);
        // The hash is not even read; the time of the answer differs every time.
        world.answer(&snapshot(YES, &levels, START_MS + n));
    }
    let counts = world.counts();
    assert_eq!((world.gaps(), counts.mismatches, counts.witnessed), (vec![], 0, 200));
    let mut wanted = Vec::new();
    (0..2).for_each(|l| world.arbiter.take_requests(l, world.now, &mut wanted));
    assert_eq!(wanted, []);
}

#[test]
fn a_change_in_flight_is_no_freeze() {
    let mut world = settled(1);
    world.witness = false;
    world.say(YES, BID, 41, 10);
    // The answer overtakes the stream, which comes within the grace.
    world.testify(YES);
    world.wait(300);
    world.drain();
    world.wait(300);
    world.testify(YES);
    assert_eq!(world.gaps(), []);
}

/// A frame as it was captured, and frames made up, for there is no recorded session of the channel: buyers are bids
/// and sellers are asks, for either token.
#[test]
fn story_18_no_change_is_applied_to_the_wrong_side() {
    use polyloly_fast::{
        types::{Address, Event},
        wire::market::MarketParser,
    };
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/samples/ws_market");
    let captured = std::fs::read_to_string(samples.join("price_change_2026-09-30_a.json")).expect("a fixture");
    let captured: serde_json::Value = serde_json::from_str(&captured).expect("JSON");
    let captured = if captured.is_array() { captured[0].clone() } else { captured };
    let entries = captured["price_changes"].as_array().expect("changes").clone();
    let text = |v: &serde_json::Value| v.as_str().expect("a text").to_owned();
    let tokens: Vec<String> = entries.iter().map(|e| text(&e["asset_id"])).collect();
    assert_eq!(tokens.len(), 2, "both tokens of a market");
    let market = market_support::named(&text(&captured["market"]), [&tokens[0], &tokens[1]]);
    let mut parser = MarketParser::new(&market_support::universe(Address([1; 20]), vec![market]));
    let mut read = |text: &str| {
        let mut events = Vec::new();
        let keep = &mut |e| match e {
            Event::Market(e) => events.push(e),
            other => panic!("{other:?}"),
        };
        parser.parse(&mut text.as_bytes().to_vec(), keep).expect("a message");
        events
    };
    // As captured.
    for (event, entry) in read(&captured.to_string()).iter().zip(&entries) {
        let MarketEvent::Delta { side, price: at, qty, .. } = event else { panic!("{event:?}") };
        assert_eq!(*side, if text(&entry["side"]) == "BUY" { BID } else { BookSide::Ask });
        assert_eq!(Price::parse(text(&entry["price"]).as_bytes()), Ok(*at));
        assert_eq!(Qty::parse(text(&entry["size"]).as_bytes()), Some(*qty));
    }
    // Made up: a history through two lines ends in the same book as a naive reading of it.
    let mut dice = Dice(18);
    for _ in 0..200 {
        let mut world = settled(2);
        world.lied_to = true;
        let mut naive = world.truth.clone();
        for n in 1..30 {
            let (t, buy) = (dice.below(2) as usize, dice.chance(50));
            let (tick, size) = (if buy { 30 } else { 55 } + dice.below(5) as u16, dice.below(4));
            let said = format!(
                r#"{{"event_type":"price_change","market":"0x1","timestamp":"{}","price_changes":[{{"asset_id":"{}","price":"0.{tick}","size":"{size}","side":"{}"}}]}}"#,
                START_MS + n,
                tokens[t],
                if buy { "BUY" } else { "SELL" }
            );
            naive[t].set(if buy { BID } else { BookSide::Ask }, tick, size * 1_000_000);
            let m = message(read(&said));
            (0..2).for_each(|l| world.bring(l, &m));
        }
        for i in BOTH {
            assert_eq!(world.engine.levels(i), naive[i.ix()].levels());
        }
    }
}

#[test]
fn a_newer_book_that_is_the_same_by_chance_is_not_followed() {
    let mut world = settled(1);
    // There and back again, which line 0 has not brought yet when line 1 comes with a fresh book.
    world.lines.push(Line::default());
    world.say(YES, BID, 41, 10);
    world.say(YES, BID, 41, 0);
    world.open(1);
    world.say(YES, BID, 35, 10);
    while world.deliver(1) {}
    assert_eq!(world.engine.heard.len(), 2, "nothing new can be given out before the others have caught up");
    world.drain();
    assert_eq!(world.engine.heard.len(), 5, "all three, in order");
    assert_eq!(world.gaps(), []);
    world.assert_in_step("in the end");
    assert!(world.arbiter.is_aligned(1), "and the fresh line is aligned");
}

#[test]
fn a_snapshot_that_can_never_be_read_is_not_asked_for_without_end() {
    let mut world = settled(1);
    let mut asked = 0;
    for _ in 0..600 {
        let mut events = Vec::new();
        world.arbiter.unreadable(0, Some(YES), world.now, &mut |e| events.push(e));
        world.hear(events);
        let mut wanted = Vec::new();
        world.arbiter.take_requests(0, world.now, &mut wanted);
        asked += wanted.len();
        world.now = world.now.plus(100 * MS);
    }
    assert!((10..=20).contains(&asked), "{asked} in a minute");
}
