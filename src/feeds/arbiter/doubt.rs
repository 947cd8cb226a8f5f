//! Step 2 of 9: what cannot be believed: lines that contradict each other, streams that broke, lines taken out.

use super::{
    Arbiter, Place, Seat, Sink, Trust,
    book::Shape,
    forget,
    rules::{AGREE_AGAIN_NS, FORGIVEN_NS, LOSSES_MAX, REQUESTS_MAX},
};
use crate::types::{
    InstrumentIx, Nanos,
    event::{GapReason, MarketEvent},
};

impl Arbiter {
    /// A line did not bring so many messages that others brought.
    pub(super) fn skipped(&mut self, line: usize, messages: u32, now: Nanos) {
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
    pub(super) fn quarantine(&mut self, line: usize) {
        let others = self.lines.iter().enumerate().any(|(l, it)| l != line && it.open && !it.quarantined);
        let it = &mut self.lines[line];
        if it.open && !it.restart {
            (it.restart, it.quarantined) = (true, others);
            self.counts.quarantined += 1;
        }
    }

    /// A line is behind on this book and brought something that is not what it should have brought.
    pub(super) fn contradicted(&mut self, line: usize, n: usize, shape: &Shape, now: Nanos, sink: Sink<'_>) {
        let token = &self.tokens[n];
        // Of the same moment and the same kind, and yet different: one of the two is not true.
        if shape.venue_ms == token.last_ms && token.head.wrapping_sub(token.seats[line].cursor) == 1 {
            self.dispute(line, &shape.touches, now, sink);
        }
    }

    /// Two lines contradict each other: nothing is given out of these books until a witness has spoken. Two lines
    /// against one need no witness.
    pub(super) fn dispute(&mut self, line: usize, touches: &[InstrumentIx], now: Nanos, sink: Sink<'_>) {
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

    /// No witness could settle it: both sides are asked anew, and must agree.
    pub(super) fn unsettled(&mut self, n: usize, now: Nanos, sink: Sink<'_>) {
        self.tokens[n].must_agree = true;
        // The engine has been told already.
        self.lose(n, None, now, sink);
    }

    /// Lines that had to agree, have all given a snapshot, and do not.
    pub(super) fn disagreed(&mut self, n: usize, now: Nanos) {
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

    /// The stream of a book is broken: a gap, and a fresh snapshot from every line.
    pub(super) fn lose(&mut self, n: usize, reason: Option<GapReason>, now: Nanos, sink: Sink<'_>) {
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
}
