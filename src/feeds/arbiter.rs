//! Step 2 of 9: several sockets, one stream: the first copy wins, every later copy is a checksum. Pure.
//!
//! The channel has no sequence numbers, so each book's stream is numbered here: what was given out gets the next
//! number, and each socket (a *line*) has a place in that numbering. A line at the head may bring something new. A
//! line behind the head brings copies of what is known; if it brings something else, the lines contradict each other
//! and the book is not to be used until a witness has spoken. Nothing older than what was given out is ever given out,
//! so a change is never applied twice or late; and what cannot be proved to continue the stream is a gap.
//! Source: docs/PROTOCOL.md "integrity", "redundant sockets".

mod book;
mod log;

use std::collections::VecDeque;

use crate::{
    engine::book::Book,
    types::{
        InstrumentIx, MarketIx, Nanos, TickSize,
        event::{GapReason, MarketEvent},
    },
};
pub(super) use book::too_wide;
use book::{Shape, digest, is_ghost, replay, same, write};
use log::{Entry, Kind, Log};

/// Lines at one time: three, and one that is about to replace one of them.
pub const LINES_MAX: usize = 4;
/// Messages of a line that wait for a copy from another.
const PENDING_MAX: usize = 64;
/// Whose age is remembered, of the newest messages of a book.
const AGES: usize = 32;
/// A second snapshot on a line may come this long after the first: the one asked for, after one that was on its way.
const SECOND_SNAPSHOT_NS: u64 = 2_000_000_000;
/// Requests for a snapshot that may stay unanswered before the line is opened anew.
const REQUESTS_MAX: u8 = 3;
/// What went wrong longer ago than this is forgiven.
const FORGIVEN_NS: u64 = 60_000_000_000;
/// Messages that a line may skip within that time.
const LOSSES_MAX: u32 = 8;
/// A line that was opened anew for a snapshot that never came waits this long before it tries again.
const HOPELESS_NS: u64 = 30_000_000_000;
/// Questions about one book that may contradict without an end before all lines are asked anew.
const DOUBT_ANSWERS_MAX: u8 = 5;
/// A doubt without an answer ends by asking all lines anew.
const DOUBT_NS: u64 = 3_000_000_000;
/// Lines that were asked after a doubt must agree; asked again after this.
const AGREE_AGAIN_NS: u64 = 500_000_000;
/// After a gap, a book older than the one before it is not believed for this long.
const OLDER_NS: u64 = 10_000_000_000;
/// Urgent questions come this often.
const URGENT_NS: u64 = 200_000_000;

/// Deadlines, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A line that has not brought what another has for this long is frozen or lags.
    pub freeze_after_ns: u64,
    /// A line that brings something unknown while it is behind may still be vouched for by another for this long.
    pub dispute_after_ns: u64,
    /// A snapshot that has not come by then is asked for again.
    pub snapshot_after_ns: u64,
    /// A book of which no line said anything for this long is looked up elsewhere; 0 for never.
    pub witness_after_ns: u64,
    /// Another witness's word counts when it has stood uncontradicted for this long: a change may be in flight.
    pub witness_grace_ns: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            freeze_after_ns: 1_000_000_000,
            dispute_after_ns: 100_000_000,
            snapshot_after_ns: 5_000_000_000,
            witness_after_ns: 2_000_000_000,
            witness_grace_ns: 500_000_000,
        }
    }
}

/// What was counted. Nothing is passed over without being counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages given out, whole or in part.
    pub forwarded: u64,
    /// Copies of what was given out before.
    pub duplicates: u64,
    /// Changes older than what was given out, or repeated out of turn.
    pub stale: u64,
    /// Changes of books without a snapshot.
    pub before_snapshot: u64,
    /// Messages that a line skipped and another brought.
    pub losses: u64,
    /// Times that two lines contradicted each other about a book.
    pub disputes: u64,
    /// Lines taken out because they lied, lost too much or fell behind.
    pub quarantined: u64,
    /// Times that a line was frozen on a book while another was not.
    pub line_freezes: u64,
    /// Times that every line was frozen on a book.
    pub freezes: u64,
    /// Answers of the witness that were compared.
    pub witnessed: u64,
    /// Answers of the witness that differed from the book.
    pub mismatches: u64,
    /// Answers of the witness that nobody can believe: a book at both ends, or an old one.
    pub ghosts: u64,
    /// Gaps.
    pub gaps: u64,
    /// Book-time without a usable stream, since its first snapshot.
    pub gap_ns: u64,
    /// The longest of these.
    pub longest_gap_ns: u64,
    /// Book-time from the last word before every line froze until the stream went on.
    pub frozen_ns: u64,
    /// The longest that a copy came after the first, by line.
    pub lag_ns_max: [u64; LINES_MAX],
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It was given out, as far as it is about books that are followed.
    Forwarded,
    /// It is a copy, late, early, contradicted, or needs no event.
    Kept,
}

/// Where a line is in the stream of a book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The line is not open.
    #[default]
    Off,
    /// A fresh snapshot is to be asked for on it.
    Ask,
    /// A snapshot was asked for, and not retracted by anything since.
    Waiting,
    /// It has a snapshot that is not the book as we have it: where it stands is not known yet.
    Aligning,
    /// It is at [`Seat::cursor`].
    Following,
}

/// A line's place in the stream of one book.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    place: Place,
    /// When it came to this place.
    since: Nanos,
    /// Number of the next message of the book that it should bring.
    cursor: u32,
    /// Its snapshot has everything up to this venue time in it.
    snapshot_ms: u64,
    /// Content of its snapshot, while nothing has come after it.
    snapshot: u64,
    /// Its snapshot is the book as it was at this number, but says that it is newer.
    equals: Option<u32>,
    /// Its snapshot contradicts the book as it was at this number.
    against: Option<u32>,
    /// Until then another snapshot may follow.
    second_until: Nanos,
    /// Snapshots asked for without an answer.
    requests: u8,
    /// Not to be asked again before.
    not_before: Nanos,
    /// When it last had to be asked anew because it had frozen.
    froze_at: Option<Nanos>,
}

/// How far a book may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// No snapshot was given out since the beginning or the last gap.
    Down,
    /// Its changes are given out.
    Live,
    /// Its lines contradict each other: nothing is given out until a witness has spoken.
    Doubted {
        /// Since when.
        since: Nanos,
        /// The lines that contradict what was given out, a bit each.
        accusers: u8,
        /// Answers of the witness that did not settle it.
        answers: u8,
    },
}

/// One book's stream.
#[derive(Debug)]
struct Token {
    instrument: InstrumentIx,
    trust: Trust,
    /// After a doubt that nobody could settle: a snapshot counts only if two lines give the same.
    must_agree: bool,
    /// Its market is decided: silence means nothing any more.
    over: bool,
    /// Messages given out; the number of the next.
    head: u32,
    /// Number of the snapshot that its present stream began with.
    begun: u32,
    /// When the newest of them were read.
    ages: [Nanos; AGES],
    /// The newest venue time given out.
    last_ms: u64,
    last_trade_ms: u64,
    /// When something was last given out.
    heard: Nanos,
    /// The book as it was given out.
    mirror: Book,
    seats: [Seat; LINES_MAX],
    /// Since when its stream has been interrupted, and since when it had been silent if it was frozen.
    gap: Option<(Nanos, Option<Nanos>)>,
    /// When the witness was asked last.
    asked: Nanos,
    /// The witness contradicted the book, as of this number.
    suspicion: Option<(Nanos, u32)>,
    /// When every line was last found frozen on it.
    frozen_at: Option<Nanos>,
}

/// A message that a line brought and that nobody has vouched for.
#[derive(Clone, Debug)]
struct Pending {
    content: u64,
    at: Nanos,
    touches: heapless::Vec<InstrumentIx, { log::TOUCHES_MAX }>,
}

/// One socket.
#[derive(Debug, Default)]
struct Line {
    open: bool,
    /// It is only listened to, until it has been opened anew.
    quarantined: bool,
    /// It is to be opened anew.
    restart: bool,
    pending: VecDeque<Pending>,
    losses: u32,
    losses_since: Nanos,
}

/// Several lines in, one stream for each book out.
#[derive(Debug)]
pub struct Arbiter {
    rules: Rules,
    tokens: Vec<Token>,
    /// Position in `tokens` by instrument; `u16::MAX` for none.
    index: Vec<u16>,
    lines: [Line; LINES_MAX],
    log: Log,
    counts: Counts,
}

fn index_of(index: &[u16], instrument: InstrumentIx) -> Option<usize> {
    index.get(instrument.ix()).filter(|n| **n != u16::MAX).map(|n| usize::from(*n))
}

/// A book begins anew: what waited for it waits only for its other books, if any.
fn forget(pending: &mut VecDeque<Pending>, instrument: InstrumentIx) {
    pending.iter_mut().for_each(|p| p.touches.retain(|i| *i != instrument));
    pending.retain(|p| !p.touches.is_empty());
}

type Sink<'a> = &'a mut dyn FnMut(MarketEvent);

impl Arbiter {
    /// For these books, each with its grid.
    pub fn new(instruments: &[(InstrumentIx, TickSize)], rules: Rules) -> Self {
        let last = instruments.iter().map(|(i, _)| i.ix() + 1).max().unwrap_or(0);
        let mut index = vec![u16::MAX; last];
        let token = |n: usize, (instrument, tick): (InstrumentIx, TickSize), index: &mut Vec<u16>| {
            index[instrument.ix()] = n as u16;
            Token {
                instrument,
                trust: Trust::Down,
                must_agree: false,
                over: false,
                head: 0,
                begun: 0,
                ages: [Nanos(0); AGES],
                last_ms: 0,
                last_trade_ms: 0,
                heard: Nanos(0),
                mirror: Book::new(tick),
                seats: [Seat::default(); LINES_MAX],
                gap: None,
                asked: Nanos(0),
                suspicion: None,
                frozen_at: None,
            }
        };
        let tokens = instruments.iter().enumerate().map(|(n, i)| token(n, *i, &mut index)).collect();
        let lines = std::array::from_fn(|_| Line { pending: VecDeque::with_capacity(PENDING_MAX), ..Line::default() });
        Self { rules, tokens, index, lines, log: Log::new(), counts: Counts::default() }
    }

    fn token(&self, instrument: InstrumentIx) -> Option<usize> {
        index_of(&self.index, instrument)
    }

    /// A line was opened and subscribed to every book.
    pub fn open(&mut self, line: usize, now: Nanos) {
        let Some(it) = self.lines.get_mut(line) else { return };
        it.pending.clear();
        (it.open, it.quarantined, it.restart, it.losses) = (true, false, false, 0);
        for token in &mut self.tokens {
            let old = token.seats[line];
            // A snapshot that never came is not waited for by opening the line again and again.
            let (requests, not_before) = (old.requests, old.not_before);
            let hopeless = not_before > now;
            let requests = if hopeless { requests } else { 0 };
            token.seats[line] = Seat { place: Place::Waiting, since: now, requests, not_before, ..Seat::default() };
        }
    }

    /// A line is gone. Books that it alone was following have a gap, for this reason.
    pub fn close(&mut self, line: usize, reason: GapReason, now: Nanos, sink: Sink<'_>) {
        let Some(it) = self.lines.get_mut(line) else { return };
        it.pending.clear();
        (it.open, it.restart) = (false, false);
        let alone = !self.lines.iter().any(|l| l.open);
        for n in 0..self.tokens.len() {
            let seat = &mut self.tokens[n].seats[line];
            let (requests, not_before) = (seat.requests, seat.not_before);
            *seat = Seat { requests, not_before, ..Seat::default() };
            if self.tokens[n].trust != Trust::Down && !self.is_followed(n) {
                self.lose(n, Some(reason), now, sink);
            } else if alone {
                self.counts.gaps += 1;
                sink(MarketEvent::Gap { instrument: Some(self.tokens[n].instrument), reason });
            }
        }
    }

    /// True if a line that may be listened to follows the book.
    fn is_followed(&self, n: usize) -> bool {
        self.seated(n).any(|(_, seat)| seat.place == Place::Following)
    }

    fn seated(&self, n: usize) -> impl Iterator<Item = (usize, &Seat)> {
        let lines = &self.lines;
        self.tokens[n].seats.iter().enumerate().filter(|(l, _)| lines[*l].open && !lines[*l].quarantined)
    }

    /// True if the line follows every book that is given out: it could take over at once.
    pub fn is_aligned(&self, line: usize) -> bool {
        self.lines.get(line).is_some_and(|l| l.open && !l.quarantined && !l.restart)
            && self.tokens.iter().all(|t| t.over || t.trust == Trust::Down || t.seats[line].place == Place::Following)
    }

    /// True if the book's changes are given out.
    pub fn is_live(&self, instrument: InstrumentIx) -> bool {
        self.token(instrument).is_some_and(|n| self.tokens[n].trust == Trust::Live)
    }

    /// Messages given out so far that touch this book: its sequence number.
    pub fn sequence(&self, instrument: InstrumentIx) -> u32 {
        self.token(instrument).map_or(0, |n| self.tokens[n].head)
    }

    /// What was counted since this was asked last.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Before anything is parsed: `true` if these bytes are a copy of what is known, and nothing is left to do.
    /// `raw`: their hash. O(1), no allocation.
    #[inline]
    pub fn offer(&mut self, line: usize, raw: u64, now: Nanos) -> bool {
        let Some(number) = self.log.by_raw(raw, line) else { return false };
        self.copy(line, number, now)
    }

    /// A copy of a known message came in. False if it has to be looked at all the same.
    fn copy(&mut self, line: usize, number: u64, now: Nanos) -> bool {
        let entry = self.log.get(number);
        let (again, kind, venue_ms, at) = (entry.seen & (1 << line) != 0, entry.kind, entry.venue_ms, entry.at);
        let (partial, touches) = (entry.partial, entry.touches.clone());
        let (mut follows, mut newest, mut known) = (true, true, true);
        for (instrument, number) in &touches {
            let Some(token) = self.token(*instrument).map(|n| &self.tokens[n]) else { continue };
            let seat = &token.seats[line];
            follows &= token.trust != Trust::Down && seat.place == Place::Following;
            newest &= seat.cursor == token.head && venue_ms == token.last_ms && number.wrapping_add(1) != token.head;
            known &= *number >= token.begun;
        }
        // What was given out before a gap may come again after it, and then it is new. So may an old snapshot.
        if partial || !known || (kind == Kind::Book && !follows) {
            self.log.get(number).seen |= if partial { 0 } else { 1 << line };
            return false;
        }
        // A level that goes there and back within a millisecond makes the same text twice, with another in between.
        if again && kind != Kind::Other && follows && newest {
            return false;
        }
        self.counts.duplicates += 1;
        if again {
            // Out of turn it must not be applied; in a row it changes nothing.
            return true;
        }
        self.log.get(number).seen |= 1 << line;
        let lag = &mut self.counts.lag_ns_max[line];
        *lag = (*lag).max(now.since(at));
        for (instrument, number) in touches {
            self.brought(line, instrument, number, now);
        }
        true
    }

    /// A line brought the message of this number in a book's stream.
    fn brought(&mut self, line: usize, instrument: InstrumentIx, number: u32, now: Nanos) {
        let Some(n) = self.token(instrument) else { return };
        let waits = self.has_pending(line, instrument);
        let seat = &mut self.tokens[n].seats[line];
        seat.snapshot = 0;
        let next = number.wrapping_add(1);
        match seat.place {
            Place::Following if number >= seat.cursor => {
                let skipped = number - seat.cursor;
                seat.cursor = next;
                self.skipped(line, skipped, now);
            }
            // Aligned: whatever it brings next continues the stream, unless it has been ahead all the time.
            Place::Aligning if !waits => {
                (seat.place, seat.since, seat.cursor, seat.against) = (Place::Following, now, next, None);
            }
            _ => {}
        }
    }

    fn skipped(&mut self, line: usize, messages: u32, now: Nanos) {
        if messages == 0 {
            return;
        }
        self.counts.losses += u64::from(messages);
        let it = &mut self.lines[line];
        if now.since(it.losses_since) > FORGIVEN_NS {
            (it.losses, it.losses_since) = (0, now);
        }
        it.losses = it.losses.saturating_add(messages);
        if it.losses > LOSSES_MAX {
            self.quarantine(line);
        }
    }

    /// The line is not believed any more, and is to be opened anew. The last one that can be heard is opened anew, but
    /// listened to until then.
    fn quarantine(&mut self, line: usize) {
        let others = self.lines.iter().enumerate().any(|(l, it)| l != line && it.open && !it.quarantined);
        let it = &mut self.lines[line];
        if it.open && !it.restart {
            (it.restart, it.quarantined) = (true, others);
            self.counts.quarantined += 1;
        }
    }

    /// Takes a message that [`Self::offer`] did not know: gives its events to `sink`, or keeps it back.
    /// `events`: those of one object, whole.
    pub fn admit(&mut self, line: usize, raw: u64, events: &[MarketEvent], now: Nanos, sink: Sink<'_>) -> Admission {
        let shape = Shape::of(events);
        let content = digest(events);
        if !events.is_empty()
            && let Some(number) = self.log.by_content(content, line)
        {
            if self.log.get(number).partial {
                return self.late_part(line, number, &shape, events, now, sink);
            }
            // Trades can be equal and yet two: the same line would not say one of them twice.
            let another = shape.kind == Kind::Other && self.log.get(number).seen & (1 << line) != 0;
            if !another && self.copy(line, number, now) {
                return Admission::Kept;
            }
        }
        let entry = Entry {
            raw,
            content,
            at: now,
            venue_ms: shape.venue_ms,
            seen: 1 << line,
            kind: shape.kind,
            ..Entry::default()
        };
        match shape.kind {
            Kind::Other => self.other(line, entry, events, sink),
            Kind::Book => self.book(line, entry, &shape, events, now, sink),
            Kind::Change => self.change(line, entry, &shape, events, now, sink),
        }
    }

    /// Part of a known message was not given out, because its other book had no stream then. If that book has one now,
    /// on this line, the change belongs to it.
    fn late_part(
        &mut self,
        line: usize,
        number: u64,
        shape: &Shape,
        events: &[MarketEvent],
        now: Nanos,
        sink: Sink<'_>,
    ) -> Admission {
        let entry = self.log.get(number);
        let seen = entry.seen & (1 << line) != 0;
        entry.seen |= 1 << line;
        self.counts.duplicates += 1;
        let known = entry.touches.clone();
        if seen {
            return Admission::Kept;
        }
        for &(instrument, number) in &known {
            self.brought(line, instrument, number, now);
        }
        let mut admission = Admission::Kept;
        for instrument in shape.touches.iter().filter(|i| !known.iter().any(|(k, _)| k == *i)) {
            let waits = self.has_pending(line, *instrument);
            let Some(n) = self.token(*instrument) else { continue };
            let token = &mut self.tokens[n];
            let seat = token.seats[line];
            // Before its snapshot on this line, or while nothing is given out of it, it says nothing.
            if token.trust == Trust::Down || !matches!(seat.place, Place::Following | Place::Aligning) {
                continue;
            }
            let next = seat.place == Place::Following && seat.cursor == token.head && !waits;
            if token.trust != Trust::Live || !next || shape.venue_ms < token.last_ms {
                self.lose(n, Some(GapReason::Disputed), now, sink);
                continue;
            }
            for event in events {
                if book::instrument(event).is_none_or(|of| of == *instrument) {
                    sink(*event);
                }
            }
            let place = self.note(n, 1 << line, shape, events, now);
            let entry = self.log.get(number);
            let _ = entry.touches.push((*instrument, place));
            entry.partial = entry.touches.len() < shape.touches.len();
            admission = Admission::Forwarded;
        }
        self.counts.forwarded += u64::from(admission == Admission::Forwarded);
        admission
    }

    /// A book's stream goes on by one message, which these lines have given. Returns its number.
    fn note(&mut self, n: usize, seen: u8, shape: &Shape, events: &[MarketEvent], now: Nanos) -> u32 {
        let token = &mut self.tokens[n];
        let number = token.head;
        token.head = number.wrapping_add(1);
        token.ages[number as usize % AGES] = now;
        token.last_ms = token.last_ms.max(shape.venue_ms);
        (token.heard, token.suspicion) = (now, None);
        replay(events, token.instrument, &mut token.mirror);
        for (l, seat) in token.seats.iter_mut().enumerate() {
            if seat.cursor == number && seen & (1 << l) != 0 {
                seat.cursor = number.wrapping_add(1);
            }
        }
        number
    }

    /// Trades, resolutions, and messages without events: no book depends on them.
    fn other(&mut self, line: usize, entry: Entry, events: &[MarketEvent], sink: Sink<'_>) -> Admission {
        let venue_ms = entry.venue_ms;
        self.log.append(entry);
        if events.is_empty() || self.lines[line].quarantined {
            return Admission::Kept;
        }
        let mut late = false;
        for event in events {
            match *event {
                MarketEvent::LastTrade { instrument, .. } => {
                    if let Some(n) = self.token(instrument) {
                        late |= venue_ms != 0 && venue_ms < self.tokens[n].last_trade_ms;
                        self.tokens[n].last_trade_ms = self.tokens[n].last_trade_ms.max(venue_ms);
                    }
                }
                MarketEvent::Resolved { market, .. } => self.is_over(market),
                _ => {}
            }
        }
        if late {
            self.counts.stale += 1;
            return Admission::Kept;
        }
        events.iter().for_each(|e| sink(*e));
        self.counts.forwarded += 1;
        Admission::Forwarded
    }

    fn is_over(&mut self, market: MarketIx) {
        self.tokens.iter_mut().filter(|t| t.instrument.market() == market).for_each(|t| t.over = true);
    }

    /// A whole book.
    fn book(
        &mut self,
        line: usize,
        entry: Entry,
        shape: &Shape,
        events: &[MarketEvent],
        now: Nanos,
        sink: Sink<'_>,
    ) -> Admission {
        let Some(n) = shape.touches.first().and_then(|i| self.token(*i)) else { return Admission::Kept };
        if self.lines[line].quarantined {
            return Admission::Kept;
        }
        let seat = self.tokens[n].seats[line];
        match seat.place {
            // On its way since before we asked.
            Place::Off | Place::Ask => return Admission::Kept,
            Place::Following
                if seat.cursor == self.tokens[n].head && !self.has_pending(line, self.tokens[n].instrument) =>
            {
                return self.give(&[n], entry, shape, events, now, sink);
            }
            Place::Following if now > seat.second_until => {
                self.pend(line, entry.content, shape, now);
                self.contradicted(line, n, shape, now, sink);
                return Admission::Kept;
            }
            Place::Waiting | Place::Aligning | Place::Following => {}
        }
        let first = seat.place == Place::Waiting;
        let token = &mut self.tokens[n];
        // A line that lags gives an old book for a new one; but when nobody gives another, it is believed in the end.
        let before = self.log.by_content(entry.content, line).and_then(|e| self.log.get(e).touches.first().copied());
        let older = (shape.venue_ms != 0 && shape.venue_ms < token.last_ms)
            || before.is_some_and(|(_, number)| number.wrapping_add(1) < token.head);
        let early = token.gap.is_some_and(|(since, _)| now.since(since) < OLDER_NS);
        if token.trust == Trust::Down && older && early {
            self.counts.stale += 1;
            let seat = &mut token.seats[line];
            (seat.place, seat.since) = (Place::Ask, now);
            return Admission::Kept;
        }
        let second_until = if first { now.plus(SECOND_SNAPSHOT_NS) } else { seat.second_until };
        // What came before the snapshot is in it.
        forget(&mut self.lines[line].pending, token.instrument);
        token.seats[line] = Seat {
            place: Place::Aligning,
            since: now,
            snapshot_ms: shape.venue_ms,
            snapshot: entry.content,
            second_until,
            froze_at: seat.froze_at,
            ..Seat::default()
        };
        match token.trust {
            Trust::Down => {
                let agreed = self.seated(n).filter(|(_, s)| s.snapshot == entry.content).count() > 1;
                if self.tokens[n].must_agree && !agreed && self.lines.iter().filter(|l| l.open).count() > 1 {
                    return Admission::Kept;
                }
                self.begin(n, entry, shape, events, now, sink)
            }
            _ if same(events, &token.mirror) => {
                // A newer book can be the same again by chance, if the others have not brought yet what lies between.
                let (head, newer) = (token.head, shape.venue_ms > token.last_ms);
                let seat = &mut token.seats[line];
                (seat.place, seat.cursor) = (if newer { Place::Aligning } else { Place::Following }, head);
                seat.equals = newer.then_some(head);
                Admission::Kept
            }
            _ => {
                // As old as what we have and not the same; or newer than what we have.
                let against = shape.venue_ms >= token.last_ms && shape.venue_ms != 0;
                token.seats[line].against = against.then_some(token.head);
                Admission::Kept
            }
        }
    }

    /// The stream of a book begins, or begins again, with this snapshot.
    fn begin(
        &mut self,
        n: usize,
        entry: Entry,
        shape: &Shape,
        events: &[MarketEvent],
        now: Nanos,
        sink: Sink<'_>,
    ) -> Admission {
        self.resume(n, now);
        let token = &mut self.tokens[n];
        // What went before is not compared with what comes now.
        token.last_ms = 0;
        let head = token.head;
        token.begun = head;
        for (l, seat) in token.seats.iter_mut().enumerate() {
            let same = seat.place == Place::Aligning && seat.snapshot == entry.content;
            if entry.seen & (1 << l) != 0 || same {
                (seat.place, seat.cursor) = (Place::Following, head);
            }
        }
        self.give(&[n], entry, shape, events, now, sink)
    }

    fn resume(&mut self, n: usize, now: Nanos) {
        let token = &mut self.tokens[n];
        (token.trust, token.must_agree, token.suspicion) = (Trust::Live, false, None);
        token.asked = now;
        if let Some((since, silent_since)) = token.gap.take() {
            let ns = now.since(since);
            self.counts.gap_ns += ns;
            self.counts.longest_gap_ns = self.counts.longest_gap_ns.max(ns);
            self.counts.frozen_ns += silent_since.map_or(0, |s| now.since(s));
        }
    }

    /// Changes of levels, or of a grid.
    fn change(
        &mut self,
        line: usize,
        mut entry: Entry,
        shape: &Shape,
        events: &[MarketEvent],
        now: Nanos,
        sink: Sink<'_>,
    ) -> Admission {
        let mut followed = heapless::Vec::<usize, { log::TOUCHES_MAX }>::new();
        let (mut aligned, mut subscribed, mut behind, mut stale) = (true, false, None, false);
        for instrument in &shape.touches {
            let Some(n) = self.token(*instrument) else { continue };
            let waits = self.has_pending(line, *instrument);
            let token = &mut self.tokens[n];
            let seat = &mut token.seats[line];
            seat.snapshot = 0;
            if token.trust == Trust::Down {
                entry.partial = true;
                continue;
            }
            // After something that could not be given out, nothing else of the same book can.
            aligned &= seat.place == Place::Following && !waits;
            subscribed |= matches!(seat.place, Place::Following | Place::Aligning);
            if seat.place == Place::Following && seat.cursor != token.head {
                behind = Some(n);
            }
            stale |= shape.venue_ms != 0 && shape.venue_ms < token.last_ms;
            // Cannot fail: there are no more touches than that.
            let _ = followed.push(n);
        }
        if followed.is_empty() {
            self.counts.before_snapshot += 1;
            return Admission::Kept;
        }
        // What comes before the snapshot that was asked for is in it.
        if self.lines[line].quarantined || !subscribed {
            return Admission::Kept;
        }
        if !aligned {
            self.pend(line, entry.content, shape, now);
            return Admission::Kept;
        }
        if let Some(n) = behind {
            self.pend(line, entry.content, shape, now);
            self.contradicted(line, n, shape, now, sink);
            return Admission::Kept;
        }
        if stale {
            // At the head, and yet older: whatever order is meant, it is not the one that was given out.
            self.counts.stale += 1;
            for n in followed {
                self.lose(n, Some(GapReason::Disputed), now, sink);
            }
            return Admission::Kept;
        }
        self.give(&followed, entry, shape, events, now, sink)
    }

    /// Gives a message out, and notes it.
    fn give(
        &mut self,
        followed: &[usize],
        mut entry: Entry,
        shape: &Shape,
        events: &[MarketEvent],
        now: Nanos,
        sink: Sink<'_>,
    ) -> Admission {
        let live = |n: &usize| self.tokens[*n].trust == Trust::Live;
        let admission = if followed.iter().all(live) && !entry.partial {
            events.iter().for_each(|e| sink(*e));
            Admission::Forwarded
        } else if followed.iter().any(live) {
            for event in events {
                let of = book::instrument(event).and_then(|i| self.token(i));
                if of.is_none_or(|n| self.tokens[n].trust == Trust::Live) {
                    sink(*event);
                }
            }
            Admission::Forwarded
        } else {
            Admission::Kept
        };
        self.counts.forwarded += u64::from(admission == Admission::Forwarded);
        for &n in followed {
            let number = self.note(n, entry.seen, shape, events, now);
            let _ = entry.touches.push((self.tokens[n].instrument, number));
        }
        // Lines that were ahead have brought it already.
        let content = entry.content;
        let mut ahead: [Option<heapless::Vec<InstrumentIx, { log::TOUCHES_MAX }>>; LINES_MAX] =
            [const { None }; LINES_MAX];
        for (l, line) in self.lines.iter_mut().enumerate() {
            if entry.seen & (1 << l) == 0
                && let Some(at) = line.pending.iter().position(|p| p.content == content)
            {
                entry.seen |= 1 << l;
                ahead[l] = line.pending.remove(at).map(|p| p.touches);
            }
        }
        let touches = entry.touches.clone();
        self.log.append(entry);
        for (l, waited) in ahead.iter().enumerate() {
            // A book that began anew on that line meanwhile has this message in it.
            let waited = touches.iter().filter(|(i, _)| waited.as_ref().is_some_and(|w| w.contains(i)));
            waited.for_each(|(i, number)| self.brought(l, *i, *number, now));
        }
        admission
    }

    /// True if the line brought something about this book that nobody has vouched for yet.
    #[inline]
    fn has_pending(&self, line: usize, instrument: InstrumentIx) -> bool {
        self.lines[line].pending.iter().any(|p| p.touches.contains(&instrument))
    }

    /// Remembers a message that cannot be given out, in case that another line brings it too.
    fn pend(&mut self, line: usize, content: u64, shape: &Shape, now: Nanos) {
        let it = &mut self.lines[line].pending;
        if it.len() == PENDING_MAX
            && let Some(lost) = it.pop_front()
        {
            // Where it stands is not known any more.
            for n in lost.touches.iter().filter_map(|i| index_of(&self.index, *i)) {
                let seat = &mut self.tokens[n].seats[line];
                if matches!(seat.place, Place::Aligning | Place::Following) {
                    (seat.place, seat.since, seat.snapshot, seat.against) = (Place::Ask, now, 0, None);
                }
            }
        }
        let after_snapshot = |i: &&InstrumentIx| {
            index_of(&self.index, **i)
                .is_some_and(|n| matches!(self.tokens[n].seats[line].place, Place::Aligning | Place::Following))
        };
        it.push_back(Pending {
            content,
            at: now,
            touches: shape.touches.iter().filter(after_snapshot).copied().collect(),
        });
    }

    /// A line is behind on this book and brought something that is not what it should have brought.
    fn contradicted(&mut self, line: usize, n: usize, shape: &Shape, now: Nanos, sink: Sink<'_>) {
        let token = &self.tokens[n];
        // Of the same moment and the same kind, and yet different: one of the two is not true.
        if shape.venue_ms == token.last_ms && token.head.wrapping_sub(token.seats[line].cursor) == 1 {
            self.dispute(line, &shape.touches, now, sink);
        }
    }

    /// Two lines contradict each other: nothing is given out of these books until a witness has spoken. Two lines
    /// against one need no witness.
    fn dispute(&mut self, line: usize, touches: &[InstrumentIx], now: Nanos, sink: Sink<'_>) {
        self.counts.disputes += 1;
        for instrument in touches {
            let Some(n) = self.token(*instrument) else { continue };
            let behind = self.tokens[n].seats[line].cursor;
            let past = |s: &Seat| s.place == Place::Following && s.cursor > behind;
            if self.seated(n).filter(|(l, s)| *l != line && past(s)).count() > 1 {
                return self.quarantine(line);
            }
        }
        for instrument in touches {
            let Some(n) = self.token(*instrument) else { continue };
            let token = &mut self.tokens[n];
            let seat = &mut token.seats[line];
            (seat.place, seat.since, seat.against) = (Place::Aligning, now, None);
            match &mut token.trust {
                Trust::Down => {}
                Trust::Doubted { accusers, .. } => *accusers |= 1 << line,
                Trust::Live => {
                    token.trust = Trust::Doubted { since: now, accusers: 1 << line, answers: 0 };
                    token.asked = Nanos(0);
                    token.gap.get_or_insert((now, None));
                    self.counts.gaps += 1;
                    sink(MarketEvent::Gap { instrument: Some(*instrument), reason: GapReason::Disputed });
                }
            }
        }
        touches.iter().for_each(|i| forget(&mut self.lines[line].pending, *i));
    }

    /// The stream of a book is broken: a gap, and a fresh snapshot from every line.
    fn lose(&mut self, n: usize, reason: Option<GapReason>, now: Nanos, sink: Sink<'_>) {
        let token = &mut self.tokens[n];
        let was = std::mem::replace(&mut token.trust, Trust::Down);
        token.suspicion = None;
        let silent = (reason == Some(GapReason::Frozen)).then_some(token.heard);
        if was != Trust::Down {
            let gap = token.gap.get_or_insert((now, None));
            gap.1 = gap.1.or(silent);
        }
        if let Some(reason) = reason {
            self.counts.gaps += 1;
            sink(MarketEvent::Gap { instrument: Some(token.instrument), reason });
        }
        for seat in &mut token.seats {
            if matches!(seat.place, Place::Aligning | Place::Following) {
                (seat.place, seat.since, seat.snapshot, seat.against) = (Place::Ask, now, 0, None);
            }
        }
        let instrument = token.instrument;
        for line in &mut self.lines {
            forget(&mut line.pending, instrument);
        }
    }

    /// The engine wants this book anew. Nothing to do while that is under way.
    pub fn wanted(&mut self, instrument: InstrumentIx, now: Nanos) {
        if let Some(n) = self.token(instrument)
            && self.tokens[n].trust == Trust::Live
        {
            self.lose(n, None, now, &mut |_| ());
        }
    }

    /// Events were lost on the way to the engine, who is told by somebody else: every book begins anew.
    pub fn overflowed(&mut self, now: Nanos) {
        for n in 0..self.tokens.len() {
            self.lose(n, None, now, &mut |_| ());
        }
    }

    /// A line brought something that cannot be read. Whoever else follows the book goes on.
    pub fn unreadable(&mut self, line: usize, instrument: Option<InstrumentIx>, now: Nanos, sink: Sink<'_>) {
        let named = instrument.and_then(|i| self.token(i));
        let mut whole = instrument.is_none();
        for n in 0..self.tokens.len() {
            if named.is_some_and(|only| only != n) {
                continue;
            }
            let seat = &mut self.tokens[n].seats[line];
            if matches!(seat.place, Place::Aligning | Place::Following) {
                (seat.place, seat.since, seat.snapshot, seat.against) = (Place::Ask, now, 0, None);
            } else if seat.place == Place::Waiting {
                // It may have been the snapshot itself. One that can never be read must not become a flood of requests.
                seat.place = Place::Ask;
                seat.requests = seat.requests.saturating_add(1);
                if seat.requests > REQUESTS_MAX {
                    seat.not_before = now.plus(self.rules.snapshot_after_ns);
                }
            }
            if self.is_followed(n) {
                whole = false;
                continue;
            }
            if named.is_some() || self.tokens[n].trust != Trust::Down {
                self.lose(n, Some(GapReason::Malformed), now, sink);
                whole = false;
            }
        }
        if whole {
            self.counts.gaps += 1;
            sink(MarketEvent::Gap { instrument: None, reason: GapReason::Malformed });
        }
    }

    /// Books to ask for anew on a line; they are noted as asked for.
    pub fn take_requests(&mut self, line: usize, now: Nanos, out: &mut Vec<InstrumentIx>) {
        if !self.lines.get(line).is_some_and(|l| l.open && !l.restart) {
            return;
        }
        for token in &mut self.tokens {
            let seat = &mut token.seats[line];
            if seat.place == Place::Ask && now >= seat.not_before {
                (seat.place, seat.since) = (Place::Waiting, now);
                out.push(token.instrument);
            }
        }
    }

    /// True if there is anything to ask for on a line.
    #[inline]
    pub fn has_requests(&self, line: usize) -> bool {
        self.tokens.iter().any(|t| t.seats[line].place == Place::Ask)
    }

    /// True if the line is to be closed and opened anew.
    pub fn wants_restart(&self, line: usize) -> bool {
        self.lines.get(line).is_some_and(|l| l.open && l.restart)
    }

    /// Deadlines. About every 10 ms.
    pub fn tick(&mut self, now: Nanos, sink: Sink<'_>) {
        self.pending_overdue(now, sink);
        for n in 0..self.tokens.len() {
            for line in 0..LINES_MAX {
                if self.lines[line].open && !self.lines[line].restart {
                    self.seat_overdue(n, line, now, sink);
                }
            }
            // Whoever told us last may have been taken out.
            if self.tokens[n].trust != Trust::Down && !self.is_followed(n) {
                self.lose(n, Some(GapReason::Disconnected), now, sink);
            }
            if let Trust::Doubted { since, .. } = self.tokens[n].trust
                && now.since(since) >= DOUBT_NS
            {
                self.unsettled(n, now, sink);
            }
            self.disagreed(n, now);
        }
    }

    /// Messages that no other line has vouched for in time.
    fn pending_overdue(&mut self, now: Nanos, sink: Sink<'_>) {
        for line in 0..LINES_MAX {
            while let Some(first) = self.lines[line].pending.front() {
                let age = now.since(first.at);
                let touches = first.touches.clone();
                let live: heapless::Vec<usize, { log::TOUCHES_MAX }> = touches
                    .iter()
                    .filter_map(|i| self.token(*i))
                    .filter(|n| self.tokens[*n].trust == Trust::Live)
                    .collect();
                let follows = live.iter().all(|n| self.tokens[*n].seats[line].place == Place::Following);
                if age < if follows { self.rules.dispute_after_ns } else { self.rules.freeze_after_ns } {
                    break;
                }
                self.lines[line].pending.pop_front();
                if follows {
                    self.dispute(line, &touches, now, sink);
                } else {
                    // It has been ahead for so long: the others are frozen, or it makes things up.
                    for n in live {
                        self.counts.freezes += 1;
                        self.lose(n, Some(GapReason::Frozen), now, sink);
                    }
                }
            }
        }
    }

    fn seat_overdue(&mut self, n: usize, line: usize, now: Nanos, sink: Sink<'_>) {
        let rules = self.rules;
        let token = &mut self.tokens[n];
        let (head, over) = (token.head, token.over);
        let seat = &mut token.seats[line];
        match seat.place {
            Place::Waiting if !over && now.since(seat.since) >= rules.snapshot_after_ns => {
                if seat.requests < REQUESTS_MAX {
                    seat.requests += 1;
                    (seat.place, seat.since) = (Place::Ask, now);
                } else if now >= seat.not_before && self.can_spare(line) {
                    // Opened anew once; after that it is asked for now and then.
                    self.tokens[n].seats[line].not_before = now.plus(HOPELESS_NS);
                    self.lines[line].restart = true;
                }
            }
            Place::Aligning => {
                // Nothing came since, on any line: there was nothing between.
                if seat.equals == Some(head) && seat.snapshot != 0 && now.since(seat.since) >= rules.freeze_after_ns {
                    (seat.place, seat.cursor) = (Place::Following, head);
                    return;
                }
                if seat.against != Some(head) {
                    seat.against = None;
                    return;
                }
                let newer = seat.snapshot_ms > token.last_ms;
                let limit = if newer { rules.freeze_after_ns } else { rules.dispute_after_ns };
                if now.since(seat.since) < limit || token.trust != Trust::Live {
                    return;
                }
                seat.against = None;
                let instrument = token.instrument;
                if newer {
                    // A fresh subscription knows more than anybody else has said since.
                    self.counts.freezes += 1;
                    self.lose(n, Some(GapReason::Frozen), now, sink);
                } else {
                    self.dispute(line, &[instrument], now, sink);
                }
            }
            Place::Following if seat.cursor != head => {
                let oldest = seat.cursor.max(head.saturating_sub(AGES as u32));
                let age = now.since(token.ages[oldest as usize % AGES]);
                if age < rules.freeze_after_ns {
                    return;
                }
                self.counts.line_freezes += 1;
                let again = seat.froze_at.is_some_and(|at| now.since(at) < FORGIVEN_NS);
                seat.froze_at = Some(now);
                (seat.place, seat.since, seat.snapshot) = (Place::Ask, now, 0);
                if again {
                    self.quarantine(line);
                }
            }
            _ => {}
        }
    }

    /// True if the line can be opened anew without a gap in any book, or is the only one.
    fn can_spare(&self, line: usize) -> bool {
        let mut others = self.lines.iter().enumerate().filter(|(l, it)| *l != line && it.open);
        let alone = others.clone().next().is_none();
        let one_by_one = !others.any(|(_, it)| it.restart);
        let followed_elsewhere = |n: usize| {
            self.tokens[n].trust == Trust::Down
                || self.tokens[n].seats[line].place != Place::Following
                || self.seated(n).any(|(l, s)| l != line && s.place == Place::Following)
        };
        alone || (one_by_one && (0..self.tokens.len()).all(followed_elsewhere))
    }

    /// Lines that had to agree, have all given a snapshot, and do not.
    fn disagreed(&mut self, n: usize, now: Nanos) {
        let token = &self.tokens[n];
        if !token.must_agree || token.trust != Trust::Down {
            return;
        }
        let ready = self.seated(n).all(|(_, s)| s.place == Place::Aligning && now.since(s.since) >= AGREE_AGAIN_NS);
        let any = self.seated(n).next().is_some();
        if ready && any {
            for seat in self.tokens[n].seats.iter_mut().filter(|s| s.place == Place::Aligning) {
                (seat.place, seat.since, seat.snapshot) = (Place::Ask, now, 0);
            }
        }
    }

    /// No witness could settle it: both sides are asked anew, and must agree.
    fn unsettled(&mut self, n: usize, now: Nanos, sink: Sink<'_>) {
        self.tokens[n].must_agree = true;
        // The engine has been told already.
        self.lose(n, None, now, sink);
    }

    /// Books that the witness is to be asked about now, `max` at most; they are noted as asked for.
    pub fn take_questions(&mut self, now: Nanos, max: usize, out: &mut Vec<InstrumentIx>) {
        let rules = self.rules;
        if rules.witness_after_ns == 0 {
            return;
        }
        for token in &mut self.tokens {
            let since_asked = now.since(token.asked);
            let due = match token.trust {
                Trust::Down => false,
                Trust::Doubted { .. } => since_asked >= URGENT_NS,
                Trust::Live if token.over => false,
                Trust::Live if token.suspicion.is_some() => since_asked >= rules.witness_grace_ns,
                Trust::Live => {
                    now.since(token.heard) >= rules.witness_after_ns && since_asked >= rules.witness_after_ns
                }
            };
            if due && out.len() < max {
                token.asked = now;
                out.push(token.instrument);
            }
        }
    }

    /// The witness's answer about one book, as a snapshot, to a question asked at `asked`.
    pub fn witnessed(&mut self, events: &[MarketEvent], asked: Nanos, now: Nanos, sink: Sink<'_>) {
        let shape = Shape::of(events);
        let Some(n) = shape.touches.first().and_then(|i| self.token(*i)).filter(|_| shape.kind == Kind::Book) else {
            return;
        };
        let token = &mut self.tokens[n];
        self.counts.witnessed += 1;
        if same(events, &token.mirror) {
            token.suspicion = None;
            if let Trust::Doubted { accusers, .. } = token.trust {
                // What was given out is true: the accusers are not.
                self.resume(n, now);
                let token = &mut self.tokens[n];
                write(&token.mirror, token.instrument, token.last_ms, sink);
                (0..LINES_MAX).filter(|l| accusers & (1 << l) != 0).for_each(|l| self.quarantine(l));
            }
            return;
        }
        self.counts.mismatches += 1;
        // Answers from caches, and the placeholder of a market that a replica does not know, prove nothing.
        let old = shape.venue_ms < token.last_ms;
        if old || is_ghost(events) {
            self.counts.ghosts += 1;
            return;
        }
        // Something came meanwhile: the answer may be on either side of it.
        let moved = token.heard > asked;
        match &mut token.trust {
            Trust::Down => {}
            Trust::Doubted { answers, accusers, .. } => {
                *answers += 1;
                let (answers, accusers) = (*answers, *accusers);
                let settled = !moved && token.suspicion.is_some_and(|(_, head)| head == token.head);
                token.suspicion = Some((now, token.head));
                if settled {
                    // What was given out is not true: whoever said so is taken out, the others begin anew.
                    let said_so = |(l, s): &(usize, &Seat)| s.place == Place::Following && accusers & (1 << l) == 0;
                    let liars: heapless::Vec<usize, LINES_MAX> =
                        self.seated(n).filter(said_so).map(|(l, _)| l).collect();
                    self.lose(n, None, now, sink);
                    liars.iter().for_each(|l| self.quarantine(*l));
                } else if answers >= DOUBT_ANSWERS_MAX {
                    self.unsettled(n, now, sink);
                }
            }
            Trust::Live if moved => token.suspicion = None,
            Trust::Live => match token.suspicion {
                Some((since, head)) if head == token.head => {
                    if now.since(since) >= self.rules.witness_grace_ns {
                        self.frozen(n, now, sink);
                    }
                }
                _ => token.suspicion = Some((now, token.head)),
            },
        }
    }

    /// Every line is silent about a book that has moved: fresh snapshots, and at the second time fresh lines, one after
    /// the other.
    fn frozen(&mut self, n: usize, now: Nanos, sink: Sink<'_>) {
        self.counts.freezes += 1;
        let token = &mut self.tokens[n];
        let again = token.frozen_at.is_some_and(|at| now.since(at) < FORGIVEN_NS);
        token.frozen_at = Some(now);
        self.lose(n, Some(GapReason::Frozen), now, sink);
        let open = |l: &usize| self.lines[*l].open && !self.lines[*l].restart;
        let line = (0..LINES_MAX).filter(open).find(|l| self.can_spare(*l)).or((0..LINES_MAX).find(open));
        if let Some(line) = line.filter(|_| again) {
            self.lines[line].restart = true;
        }
    }
}
