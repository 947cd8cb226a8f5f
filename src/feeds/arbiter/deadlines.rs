//! Step 2 of 9: what is overdue: snapshots, copies, lines that fell behind; and what is asked of lines for it.

use super::{
    AGES, Arbiter, LINES_MAX, Place, Sink, Trust,
    log::TOUCHES_MAX,
    rules::{DOUBT_NS, FORGIVEN_NS, HOPELESS_NS, REQUESTS_MAX},
};
use crate::types::{InstrumentIx, Nanos, event::GapReason};

impl Arbiter {
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
                let live: heapless::Vec<usize, { TOUCHES_MAX }> = touches
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
    pub(super) fn can_spare(&self, line: usize) -> bool {
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
}
