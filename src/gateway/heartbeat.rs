//! Step 7 of 9: the dead man's switch: while we beat, our orders stand; when we stop, the venue cancels them.
//!
//! Source: docs/PROTOCOL.md "heartbeat": armed by the first accepted beat; 10 s without one cancels every open order.

use crate::types::{Nanos, Stamp};

/// Time between two beats: one may be lost, and the next still comes in time.
const EVERY_NS: u64 = 4_000_000_000;
/// Longest wait for the answer to one.
pub const ANSWER_NS: u64 = 2_000_000_000;
/// Time until the next try after a beat that was not answered.
const RETRY_NS: u64 = 250_000_000;
/// So long after the last beat that was taken, the venue may be about to cancel.
const LATE_NS: u64 = 8_000_000_000;
/// A beat this late goes before orders.
const URGENT_AFTER_NS: u64 = 1_000_000_000;
/// Beats refused or unanswered in a row after which our orders may be gone at any moment.
const FAILURES_MAX: u32 = 2;

/// The chain of beats: each answer gives the id of the next.
#[derive(Debug, Default)]
pub struct Heartbeat {
    armed: bool,
    id: String,
    due_at: Nanos,
    in_flight: bool,
    failures: u32,
    /// When the last one was taken, or the first was due.
    taken_at: Nanos,
}

impl Heartbeat {
    /// Begins to beat: with the first order, so that a run that never quotes never arms the switch.
    pub fn arm(&mut self, now: Stamp) {
        if !self.armed {
            self.armed = true;
            self.due_at = now.wall;
            self.taken_at = now.wall;
        }
    }

    /// True when a beat is to be sent. `urgent`: only if it is late.
    pub fn is_due(&self, now: Stamp, urgent: bool) -> bool {
        let late = if urgent { URGENT_AFTER_NS } else { 0 };
        self.armed && !self.in_flight && now.wall >= self.due_at.plus(late)
    }

    /// The id of the beat that is sent now.
    pub fn send(&mut self, now: Stamp) -> &str {
        self.in_flight = true;
        self.due_at = now.wall.plus(EVERY_NS);
        &self.id
    }

    /// What became of the beat under way: the id to send next and whether it was taken; `None` if there was no clean
    /// answer.
    pub fn answered(&mut self, answer: Option<(String, bool)>, now: Stamp) {
        self.in_flight = false;
        match answer {
            Some((id, true)) => {
                self.id = id;
                self.failures = 0;
                self.taken_at = now.wall;
            }
            Some((id, false)) => {
                self.id = id;
                self.failures += 1;
                // The right id is known now, and the deadline was not extended: at once. Should that one be refused
                // too, somebody else beats with our key, and hurrying helps nobody.
                self.due_at = if self.failures == 1 { now.wall } else { now.wall.plus(RETRY_NS) };
            }
            None => {
                self.failures += 1;
                self.due_at = now.wall.plus(RETRY_NS);
            }
        }
    }

    /// False when the venue may be about to cancel everything: no new orders.
    pub fn is_healthy(&self, now: Stamp) -> bool {
        !self.armed || (self.failures < FAILURES_MAX && now.wall.since(self.taken_at) < LATE_NS)
    }

    /// True once it beats.
    pub fn is_armed(&self) -> bool {
        self.armed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Stamp {
        Stamp { wall: Nanos(1_000_000_000_000 + ms * 1_000_000), ..Stamp::default() }
    }

    #[test]
    fn it_beats_every_four_seconds_once_armed_with_the_id_of_the_last_answer() {
        let mut beat = Heartbeat::default();
        assert!(!beat.is_due(at(0), false));
        beat.arm(at(0));
        beat.arm(at(3_000));
        assert!(beat.is_due(at(0), false) && !beat.is_due(at(0), true));
        assert_eq!(beat.send(at(0)), "");
        assert!(!beat.is_due(at(9_000), false), "one at a time");
        beat.answered(Some(("a".into(), true)), at(10));
        assert!(!beat.is_due(at(3_999), false));
        assert!(beat.is_due(at(4_000), false) && beat.is_due(at(5_000), true));
        assert_eq!(beat.send(at(4_000)), "a");
    }

    #[test]
    fn a_wrong_id_is_put_right_at_once_and_two_failures_are_unhealthy() {
        let mut beat = Heartbeat::default();
        beat.arm(at(0));
        beat.send(at(0));
        beat.answered(Some(("b".into(), false)), at(10));
        assert!(beat.is_healthy(at(10)) && beat.is_due(at(10), false));
        assert_eq!(beat.send(at(10)), "b");
        beat.answered(None, at(20));
        assert!(!beat.is_healthy(at(20)) && !beat.is_due(at(20), false) && beat.is_due(at(270), false));
        beat.send(at(270));
        beat.answered(Some(("c".into(), true)), at(280));
        assert!(beat.is_healthy(at(280)));
    }

    #[test]
    fn one_lost_beat_costs_nothing_and_eight_seconds_without_one_are_unhealthy() {
        let mut beat = Heartbeat::default();
        assert!(beat.is_healthy(at(100_000)), "not armed, nothing to lose");
        beat.arm(at(0));
        beat.send(at(0));
        beat.answered(Some(("a".into(), true)), at(0));
        beat.send(at(4_000));
        beat.answered(None, at(6_000));
        assert!(beat.is_healthy(at(6_250)) && beat.is_due(at(6_250), false), "the next is in time");
        assert!(beat.is_healthy(at(7_999)) && !beat.is_healthy(at(8_000)));
    }
}
