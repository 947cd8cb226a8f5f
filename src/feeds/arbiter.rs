//! Step 2 of 9: several sockets, one stream: the first copy wins, every later copy is a checksum. Pure.
//!
//! The channel has no sequence numbers, so each book's stream is numbered here: what was given out gets the next
//! number, and each socket (a *line*) has a place in that numbering. A line at the head may bring something new. A
//! line behind the head brings copies of what is known; if it brings something else, the lines contradict each other
//! and the book is not to be used until a witness has spoken. Nothing older than what was given out is ever given out,
//! so a change is never applied twice or late; and what cannot be proved to continue the stream is a gap.
//! Source: docs/PROTOCOL.md "integrity", "redundant sockets".
//!
//! Here: what is known of books and lines, and copies. `admit`: what is no copy. `doubt`: what cannot be believed.
//! `deadlines`: what is overdue. `witness`: what another source says. `rules`: how long for what.

mod admit;
mod book;
mod deadlines;
mod doubt;
mod log;
mod rules;
mod witness;

use std::collections::VecDeque;

use crate::{
    engine::book::Book,
    types::{
        InstrumentIx, Nanos, TickSize,
        event::{GapReason, MarketEvent},
    },
};
pub(super) use book::too_wide;
use log::{Kind, Log};
pub use rules::Rules;

/// Lines at one time: three, and one that is about to replace one of them.
pub const LINES_MAX: usize = 4;
/// Messages of a line that wait for a copy from another.
const PENDING_MAX: usize = 64;
/// Whose age is remembered, of the newest messages of a book.
const AGES: usize = 32;

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
}
