//! Step 2 of 9: a message that is no known copy: given out, kept until another line vouches for it, or a gap.

use super::{
    AGES, Admission, Arbiter, LINES_MAX, PENDING_MAX, Pending, Place, Seat, Sink, Trust,
    book::{self, Shape, digest, replay, same},
    forget, index_of,
    log::{Entry, Kind, TOUCHES_MAX},
    rules::{OLDER_NS, SECOND_SNAPSHOT_NS},
};
use crate::types::{
    InstrumentIx, MarketIx, Nanos,
    event::{GapReason, MarketEvent},
};

impl Arbiter {
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

    /// The stream of a book goes on: its interruption is over, and counted.
    pub(super) fn resume(&mut self, n: usize, now: Nanos) {
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
        let mut followed = heapless::Vec::<usize, { TOUCHES_MAX }>::new();
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
        let mut ahead: [Option<heapless::Vec<InstrumentIx, { TOUCHES_MAX }>>; LINES_MAX] = [const { None }; LINES_MAX];
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
    pub(super) fn has_pending(&self, line: usize, instrument: InstrumentIx) -> bool {
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
}
