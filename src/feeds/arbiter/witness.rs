//! Step 2 of 9: which books the witness is asked about, and what its answers settle.

use super::{
    Arbiter, LINES_MAX, Place, Seat, Sink, Trust,
    book::{Shape, is_ghost, same, write},
    log::Kind,
    rules::{DOUBT_ANSWERS_MAX, FORGIVEN_NS, URGENT_NS},
};
use crate::types::{
    InstrumentIx, Nanos,
    event::{GapReason, MarketEvent},
};

impl Arbiter {
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
