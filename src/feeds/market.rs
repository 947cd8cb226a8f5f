//! Steps 1 and 2 of 9: the market channel: its sockets, their messages, and what follows when some are lost.
//!
//! Several sockets have the same subscription; the arbiter makes one stream of them. Here they are opened, replaced one
//! at a time before they break, asked for snapshots, and a witness is heard when all are silent.
//! Source: docs/PROTOCOL.md "market channel", "integrity", "redundant sockets".

use std::sync::{Arc, atomic::Ordering};

use super::{
    Shared,
    arbiter::{Arbiter, Counts as Heard, LINES_MAX, Rules, too_wide},
    objects, parsed_since,
    socket::{Cause, Change, Socket, SocketConfig},
    witness::{BOOKS_MAX, Testimony, Witness},
};
use crate::{
    stage::{
        counters::{Counters, add},
        dead_letter::{DeadLetter, Draft, Reason, Source},
        duty::Doorbell,
        endpoint::Endpoint,
        latency::Sample,
        ring::{Rx, Tx},
    },
    sys::tsc::Clock,
    types::{
        Event, InstrumentIx, Nanos, Stamp, Stamped, Universe,
        event::{GapReason, MarketEvent},
    },
    wire::market::{self, MarketParser, ParseErrorKind},
};

/// Snapshots are asked for at most this often on a line: a book that cannot be read must not become a flood of
/// requests.
const RESYNC_EVERY_NS: u64 = 200_000_000;
/// Sockets with the same subscription, at most: one more may be about to replace one of them.
pub const SOCKETS_MAX: usize = LINES_MAX - 1;
/// A socket that is to replace another has this long to catch up with it.
const TAKE_OVER_NS: u64 = 30_000_000_000;

/// What a market feed is made of.
#[derive(Clone, Debug)]
pub struct MarketConfig {
    /// Each socket.
    pub socket: SocketConfig,
    /// How many with the same subscription, 1 to [`SOCKETS_MAX`].
    pub sockets: usize,
    /// Deadlines of the comparison.
    pub rules: Rules,
    /// A socket is replaced by a fresh one after about this long, in nanoseconds; 0 for never. Sockets of the venue
    /// stop bringing data after 14 to 63 minutes. Source: docs/PROTOCOL.md "integrity".
    pub reconnect_every_ns: u64,
    /// REST base that is asked about silent books; `None`: nobody is asked.
    pub witness: Option<Endpoint>,
}

/// One socket, without a witness.
impl From<SocketConfig> for MarketConfig {
    fn from(socket: SocketConfig) -> Self {
        Self { socket, sockets: 1, rules: Rules::default(), reconnect_every_ns: 0, witness: None }
    }
}

/// One socket of several.
#[derive(Debug)]
struct Line {
    socket: Socket,
    /// When it is to be replaced.
    replace_at: Nanos,
    /// When snapshots were last asked for.
    asked: Nanos,
}

/// A socket that is about to take another's place.
#[derive(Clone, Copy, Debug)]
struct Replacement {
    fresh: usize,
    old: usize,
    since: Nanos,
}

/// The market channel for some instruments.
#[derive(Debug)]
pub struct MarketFeed {
    config: MarketConfig,
    lines: [Option<Line>; LINES_MAX],
    replacement: Option<Replacement>,
    witness: Option<Witness>,
    doorbell: Option<Doorbell>,
    /// Books that the engine does not trust.
    resync: Rx<InstrumentIx>,
    events: Tx<Stamped>,
    reading: Reading,
    universe: Arc<Universe>,
    instruments: Vec<InstrumentIx>,
    /// Books under consideration.
    books: Vec<InstrumentIx>,
    /// A gap that did not fit the ring. Until it does, messages are dropped: they would apply to nothing.
    owed: Option<GapReason>,
    /// Text under construction.
    text: Vec<u8>,
    random: u64,
    counts: Counts,
}

/// What turns a message into events.
#[derive(Debug)]
struct Reading {
    arbiter: Arbiter,
    parser: MarketParser,
    /// Events of the object that is being read.
    scratch: Vec<MarketEvent>,
    dead_letters: Draft,
}

/// Counted here, published in housekeeping.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    malformed: u64,
    ignored: u64,
    reconnects: u64,
    replaced: u64,
    questions: u64,
}

impl MarketFeed {
    /// The channel for `instruments` of the universe. `resync`: instruments that need a fresh snapshot. `seed` tells
    /// the feeds of a process apart.
    pub fn new(
        config: impl Into<MarketConfig>,
        universe: &Arc<Universe>,
        instruments: Vec<InstrumentIx>,
        events: Tx<Stamped>,
        resync: Rx<InstrumentIx>,
        seed: u64,
    ) -> Self {
        let config = config.into();
        let books: Vec<_> = instruments.iter().map(|i| (*i, universe.market(i.market()).tick)).collect();
        let reading = Reading {
            arbiter: Arbiter::new(&books, config.rules),
            parser: MarketParser::new(universe),
            // Two full ladders of the finest ordinary grid.
            scratch: Vec::with_capacity(4_096),
            dead_letters: Draft::new(None),
        };
        let mut feed = Self {
            lines: [const { None }; LINES_MAX],
            replacement: None,
            witness: config.witness.clone().map(|endpoint| Witness::new(endpoint, universe, seed ^ 0x77)),
            doorbell: None,
            resync,
            events,
            reading,
            universe: Arc::clone(universe),
            books: Vec::with_capacity(instruments.len()),
            instruments,
            owed: None,
            text: Vec::with_capacity(16 << 10),
            random: seed | 1,
            counts: Counts::default(),
            config,
        };
        for n in 0..feed.config.sockets.clamp(1, SOCKETS_MAX) {
            feed.add_line(n);
        }
        feed
    }

    /// Messages that cannot be read go there.
    #[must_use]
    pub fn with_dead_letters(mut self, to: Tx<DeadLetter>) -> Self {
        self.reading.dead_letters = Draft::new(Some(to));
        self
    }

    pub(super) fn attach(&mut self, doorbell: &Doorbell) {
        self.doorbell = doorbell.try_clone().ok();
        self.lines.iter_mut().flatten().for_each(|line| line.socket.attach(doorbell));
        if let Some(witness) = &mut self.witness {
            witness.attach(doorbell);
        }
    }

    /// A fresh socket in a free place. It begins to connect at its first turn.
    fn add_line(&mut self, n: usize) {
        let mut config = self.config.socket.clone();
        // They do not give up in the same moment.
        config.silent_after_ns += config.silent_after_ns / 2 * n as u64;
        let mut socket = Socket::new(config, self.draw() ^ n as u64);
        if let Some(doorbell) = &self.doorbell {
            socket.attach(doorbell);
        }
        self.lines[n] = Some(Line { socket, replace_at: Nanos(0), asked: Nanos(0) });
    }

    /// xorshift64: spreads reconnects, nothing more.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub(super) fn poll(&mut self, shared: &mut Shared) -> usize {
        self.resync.backlog();
        while let Some(instrument) = self.resync.pop() {
            let now = shared.clock.now();
            self.reading.arbiter.wanted(instrument, now.wall);
        }
        self.pay_gap(shared);
        let mut work = 0;
        for n in 0..LINES_MAX {
            work += self.poll_line(n, shared);
        }
        work + self.hear_witness(shared)
    }

    fn poll_line(&mut self, n: usize, shared: &mut Shared) -> usize {
        let Self { lines, events, reading, owed, counts, .. } = self;
        let Some(line) = &mut lines[n] else { return 0 };
        let Shared { clock, samples, counters } = shared;
        let turn = line.socket.turn(clock, &mut |text, stamp| {
            counts.messages += 1;
            if owed.is_some() {
                return true;
            }
            let mut full = false;
            let each = &mut |object: &mut [u8]| {
                let meter = Meter { clock, samples, counters, counts };
                full |= reading.object(n, object, stamp, meter, &mut |event| {
                    events.push(Stamped { stamp, event: Event::Market(event) }).is_err()
                });
            };
            if objects::for_each(text, each).is_err() {
                reading.dead_letters.note(text, None);
                full |= reading.unreadable(n, ParseErrorKind::NotJson, None, stamp, counts, &mut |event| {
                    events.push(Stamped { stamp, event: Event::Market(event) }).is_err()
                });
            }
            if full {
                *owed = Some(GapReason::Overflow);
                reading.arbiter.overflowed(stamp.wall);
            }
            true
        });
        match turn.change {
            Some(change) => self.changed(n, change, shared),
            None => self.ask_again(n, shared),
        }
        turn.work
    }

    fn changed(&mut self, n: usize, change: Change, shared: &mut Shared) {
        let now = shared.clock.now();
        match change {
            Change::Opened => {
                let every = self.config.reconnect_every_ns;
                let sockets = self.config.sockets.max(1) as u64;
                // Spread over the period, and within 15 % by chance.
                let share = if self.counts_as_first(n) { every / sockets * (n as u64 + 1) } else { every };
                let jitter = if every == 0 { 0 } else { self.draw() % (every * 3 / 10).max(1) };
                let Self { lines, reading, text, universe, instruments, counts, .. } = self;
                let Some(line) = &mut lines[n] else { return };
                line.replace_at = now.wall.plus((share + jitter).saturating_sub(every * 3 / 20));
                counts.reconnects += u64::from(line.socket.opened() > 1);
                text.clear();
                market::subscribe_first(text, universe, instruments);
                line.socket.send_text(text);
                reading.arbiter.open(n, now.wall);
            }
            Change::Closed(cause) => {
                let silent = matches!(cause, Cause::Silent | Cause::Stale);
                let reason = if silent { GapReason::Silent } else { GapReason::Disconnected };
                self.closed(n, reason, now);
            }
            Change::Failed(_) => {}
        }
    }

    fn counts_as_first(&self, n: usize) -> bool {
        self.lines[n].as_ref().is_some_and(|line| line.socket.opened() <= 1) && self.replacement.is_none()
    }

    fn closed(&mut self, n: usize, reason: GapReason, now: Stamp) {
        self.with_arbiter(now, |arbiter, sink| arbiter.close(n, reason, now.wall, sink));
    }

    /// Lets the arbiter speak outside of a message.
    fn with_arbiter(&mut self, stamp: Stamp, speak: impl FnOnce(&mut Arbiter, &mut dyn FnMut(MarketEvent))) {
        let Self { reading, events, owed, .. } = self;
        let mut full = false;
        speak(&mut reading.arbiter, &mut |event| {
            full |= owed.is_some() || events.push(Stamped { stamp, event: Event::Market(event) }).is_err();
        });
        if full {
            owed.get_or_insert(GapReason::Overflow);
            reading.arbiter.overflowed(stamp.wall);
        }
    }

    /// Sends the gap that is owed, once there is room.
    fn pay_gap(&mut self, shared: &Shared) {
        let Some(reason) = self.owed else { return };
        // Asked before pushing, so that waiting is not counted as one overflow a turn.
        if self.events.free() < self.instruments.len() {
            return;
        }
        // One for each of our books: those of other feed tiles lost nothing.
        let stamp = shared.clock.now();
        for &instrument in &self.instruments {
            let gap = MarketEvent::Gap { instrument: Some(instrument), reason };
            if self.events.push(Stamped { stamp, event: Event::Market(gap) }).is_err() {
                return;
            }
        }
        self.owed = None;
    }

    /// Asks for the books that are wanted: a subscription alone gives no snapshot of what is subscribed to already.
    fn ask_again(&mut self, n: usize, shared: &Shared) {
        let Some(line) = &mut self.lines[n] else { return };
        if self.owed.is_some() || !line.socket.is_open() || !self.reading.arbiter.has_requests(n) {
            return;
        }
        let now = shared.clock.now();
        if now.wall.since(line.asked) < RESYNC_EVERY_NS {
            return;
        }
        self.books.clear();
        self.reading.arbiter.take_requests(n, now.wall, &mut self.books);
        if self.books.is_empty() {
            return;
        }
        line.asked = now.wall;
        for write in [market::unsubscribe, market::subscribe] {
            self.text.clear();
            write(&mut self.text, &self.universe, &self.books);
            line.socket.send_text(&self.text);
        }
    }

    /// Asks the witness about silent and doubtful books, and hears it.
    fn hear_witness(&mut self, shared: &mut Shared) -> usize {
        let Self { witness: Some(witness), reading, events, owed, counts, .. } = self else { return 0 };
        let mut full = false;
        witness.turn(&shared.clock, &mut |Testimony { asked, stamp, body }| {
            if owed.is_some() {
                return;
            }
            full |= reading.testimony(body, asked, stamp, counts, &mut |event| {
                events.push(Stamped { stamp, event: Event::Market(event) }).is_err()
            });
            if full {
                *owed = Some(GapReason::Overflow);
                reading.arbiter.overflowed(stamp.wall);
            }
        })
    }

    pub(super) fn housekeep(&mut self, now: Stamp, shared: &mut Shared) {
        for n in 0..LINES_MAX {
            let change = self.lines[n].as_mut().and_then(|line| line.socket.housekeep(now));
            if let Some(change) = change {
                self.changed(n, change, shared);
            }
            if self.reading.arbiter.wants_restart(n)
                && let Some(change) = self.lines[n].as_mut().and_then(|line| line.socket.restart(now))
            {
                self.changed(n, change, shared);
            }
        }
        self.with_arbiter(now, |arbiter, sink| arbiter.tick(now.wall, sink));
        self.replace(now);
        if let Some(witness) = &mut self.witness
            && witness.is_free(now.wall)
        {
            self.books.clear();
            self.reading.arbiter.take_questions(now.wall, BOOKS_MAX, &mut self.books);
            if !self.books.is_empty() {
                self.counts.questions += 1;
                witness.ask(&self.books, now.wall);
            }
        }
        self.publish(shared);
    }

    /// Replaces sockets by fresh ones, one at a time: the fresh one subscribes, catches up, and only then the old one
    /// goes.
    fn replace(&mut self, now: Stamp) {
        let every = self.config.reconnect_every_ns;
        if every == 0 {
            return;
        }
        if let Some(Replacement { fresh, old, since }) = self.replacement {
            let open = self.lines[fresh].as_ref().is_some_and(|l| l.socket.is_open());
            let leaves = if open && self.reading.arbiter.is_aligned(fresh) {
                self.counts.replaced += 1;
                old
            } else if now.wall.since(since) >= TAKE_OVER_NS {
                if let Some(old) = &mut self.lines[old] {
                    old.replace_at = now.wall.plus(every / 4);
                }
                fresh
            } else {
                return;
            };
            if let Some(mut line) = self.lines[leaves].take() {
                line.socket.close();
            }
            self.closed(leaves, GapReason::Disconnected, now);
            self.replacement = None;
            return;
        }
        let all_well = self.lines.iter().enumerate().all(|(n, l)| l.is_none() || self.reading.arbiter.is_aligned(n));
        let due = |l: &Option<Line>| l.as_ref().is_some_and(|l| l.socket.is_open() && now.wall >= l.replace_at);
        let Some(old) = self.lines.iter().position(due).filter(|_| all_well) else { return };
        let Some(fresh) = self.lines.iter().position(Option::is_none) else { return };
        self.add_line(fresh);
        self.replacement = Some(Replacement { fresh, old, since: now.wall });
    }

    fn publish(&mut self, shared: &Shared) {
        let counters = &shared.counters;
        let counts = std::mem::take(&mut self.counts);
        add(&counters.market_messages, counts.messages);
        add(&counters.market_malformed, counts.malformed);
        add(&counters.market_ignored, counts.ignored);
        add(&counters.market_reconnects, counts.reconnects);
        add(&counters.market_replaced, counts.replaced);
        add(&counters.witness_requests, counts.questions);
        let Heard {
            forwarded,
            duplicates,
            stale,
            before_snapshot,
            losses,
            disputes,
            quarantined,
            line_freezes,
            freezes,
            witnessed,
            mismatches,
            ghosts,
            gaps,
            gap_ns,
            longest_gap_ns,
            frozen_ns,
            lag_ns_max,
        } = self.reading.arbiter.take_counts();
        for (counter, n) in [
            (&counters.market_forwarded, forwarded),
            (&counters.market_duplicates, duplicates),
            (&counters.market_stale, stale),
            (&counters.market_before_snapshot, before_snapshot),
            (&counters.feed_losses, losses),
            (&counters.feed_disputes, disputes),
            (&counters.feed_quarantined, quarantined),
            (&counters.feed_line_freezes, line_freezes),
            (&counters.feed_freezes, freezes),
            (&counters.feed_gaps, gaps),
            (&counters.feed_gap_ns, gap_ns),
            (&counters.feed_frozen_ns, frozen_ns),
            (&counters.witness_answers, witnessed),
            (&counters.witness_mismatches, mismatches),
            (&counters.witness_ghosts, ghosts),
            (&counters.dead_letters_lost, self.reading.dead_letters.take_lost()),
        ] {
            add(counter, n);
        }
        counters.feed_longest_gap_ns.fetch_max(longest_gap_ns, Ordering::Relaxed);
        let lags = [&counters.feed_lag_ns_0, &counters.feed_lag_ns_1, &counters.feed_lag_ns_2, &counters.feed_lag_ns_3];
        for (counter, ns) in lags.into_iter().zip(lag_ns_max) {
            counter.fetch_max(ns, Ordering::Relaxed);
        }
    }

    /// Closes every connection, for the end of the run.
    pub(super) fn close(&mut self) {
        self.lines.iter_mut().flatten().for_each(|line| line.socket.close());
        if let Some(witness) = &mut self.witness {
            witness.close();
        }
    }
}

/// What is measured and counted while reading.
struct Meter<'a> {
    clock: &'a Clock,
    samples: &'a mut Tx<Sample>,
    counters: &'a Counters,
    counts: &'a mut Counts,
}

/// Gives an event to the engine's ring; true if it did not fit.
type Push<'a> = &'a mut dyn FnMut(MarketEvent) -> bool;

impl Reading {
    /// One object of a message. True if some of it did not fit the ring.
    fn object(&mut self, line: usize, object: &mut [u8], stamp: Stamp, meter: Meter<'_>, push: Push<'_>) -> bool {
        let Meter { clock, samples, counters, counts } = meter;
        let before = clock.cycles();
        let raw = xxhash_rust::xxh3::xxh3_64(object);
        // The second copy costs its hash and a look, not a parse.
        if self.arbiter.offer(line, raw, stamp.wall) {
            return false;
        }
        self.dead_letters.note(object, Some(raw));
        let Self { parser, scratch, .. } = self;
        scratch.clear();
        let parsed = parser.parse(object, &mut |event| {
            if let Event::Market(event) = event {
                scratch.push(event);
            }
        });
        parsed_since(before, clock, samples, counters);
        match parsed {
            Ok(_) if too_wide(scratch) => {
                self.unreadable(line, ParseErrorKind::Value("price_changes"), None, stamp, counts, push)
            }
            Ok(parsed) => {
                counts.ignored += u64::from(parsed.ignored());
                let mut full = false;
                self.arbiter.admit(line, raw, &self.scratch, stamp.wall, &mut |event| full |= full || push(event));
                full
            }
            Err(error) => self.unreadable(line, error.kind, error.instrument, stamp, counts, push),
        }
    }

    /// What was noted last cannot be read. True if the gap did not fit the ring.
    fn unreadable(
        &mut self,
        line: usize,
        kind: ParseErrorKind,
        instrument: Option<InstrumentIx>,
        stamp: Stamp,
        counts: &mut Counts,
        push: Push<'_>,
    ) -> bool {
        counts.malformed += 1;
        self.dead_letters.post(stamp, Source::Market, line as u8, Reason::from(kind), instrument);
        let mut full = false;
        self.arbiter.unreadable(line, instrument, stamp.wall, &mut |event| full |= full || push(event));
        full
    }

    /// Books as the witness has them. True if what follows did not fit the ring.
    fn testimony(&mut self, body: &mut [u8], asked: Nanos, stamp: Stamp, counts: &mut Counts, push: Push<'_>) -> bool {
        self.dead_letters.note(body, None);
        let Self { arbiter, parser, scratch, dead_letters } = self;
        scratch.clear();
        let parsed = parser.parse(body, &mut |event| {
            if let Event::Market(event) = event {
                scratch.push(event);
            }
        });
        if let Err(error) = parsed {
            // No book suffers: it was only a second opinion.
            counts.malformed += 1;
            dead_letters.post(stamp, Source::Witness, 0, Reason::from(error.kind), error.instrument);
            return false;
        }
        let mut full = false;
        for book in scratch.split_inclusive(|e| matches!(e, MarketEvent::FrameEnd { .. })) {
            arbiter.witnessed(book, asked, stamp.wall, &mut |event| full |= full || push(event));
        }
        full
    }
}
