//! Step 8 of 9: which orders the venue takes now, learnt from its answers, and when that is over. Pure.
//!
//! A restart and a full stop are over when a call that changes nothing says so: a cancel of an order that cannot exist goes
//! through the same door as orders, is refused while the door is shut, and does nothing once it is open. It is made after
//! 1 s, then at twice the wait each time, up to 30 s; cancels that wait keep to the same rhythm, and any that is taken
//! shows the same. After a restart the venue takes only post-only orders for two minutes, so that is believed unasked. The
//! other two modes end by the venue's time, or by a guess that doubles when it was wrong.
//! Source: docs/PROTOCOL.md "restarts and modes", "errors".

use crate::types::{
    Nanos,
    event::{RejectReason, ReplyEvent, VenueMode},
};

const SECOND_NS: u64 = 1_000_000_000;
/// First and longest wait between two tries at a shut door.
const TRY_FIRST_NS: u64 = SECOND_NS;
const TRY_LAST_NS: u64 = 30 * SECOND_NS;
/// Post-only orders alone are taken for so long after a restart.
const POST_ONLY_NS: u64 = 120 * SECOND_NS;
/// First guess for a mode without a time of its own, and the longest that any time is believed.
const GUESS_NS: u64 = 15 * SECOND_NS;
const BELIEVED_NS: u64 = 600 * SECOND_NS;

/// The mode an order was refused in, if that is why.
pub const fn mode_of(reason: RejectReason) -> Option<VenueMode> {
    match reason {
        RejectReason::PostOnlyMode => Some(VenueMode::PostOnly),
        RejectReason::CancelOnly => Some(VenueMode::CancelOnly),
        RejectReason::Disabled => Some(VenueMode::Disabled),
        RejectReason::Restarting => Some(VenueMode::Restarting),
        _ => None,
    }
}

/// Follows the venue's mode.
#[derive(Debug, Default)]
pub struct Modes {
    mode: VenueMode,
    /// When a mode with a time is over.
    until: Nanos,
    /// The next try at a shut door.
    try_at: Nanos,
    wait_ns: u64,
    /// The last guess, doubled when the mode was still on.
    guess_ns: u64,
    guessed_at: Nanos,
    trying: bool,
}

impl Modes {
    /// The mode now.
    pub const fn mode(&self) -> VenueMode {
        self.mode
    }

    /// True if an order can be sent.
    pub const fn takes(&self, post_only: bool) -> bool {
        match self.mode {
            VenueMode::Normal => true,
            VenueMode::PostOnly => post_only,
            VenueMode::CancelOnly | VenueMode::Disabled | VenueMode::Restarting => false,
        }
    }

    /// True while the door is shut for cancels as well.
    pub const fn is_shut(&self) -> bool {
        matches!(self.mode, VenueMode::Disabled | VenueMode::Restarting)
    }

    /// True if something may be tried at a shut door now; always true at an open one.
    pub fn may_try(&self, now: Nanos) -> bool {
        !self.is_shut() || (!self.trying && now >= self.try_at)
    }

    /// A try is under way.
    pub fn tries(&mut self) {
        self.trying = self.is_shut();
    }

    /// The venue refused something because of a mode. `retry_after_s`: its own time, if it said one.
    pub fn refused(&mut self, mode: VenueMode, retry_after_s: Option<u64>, now: Nanos) -> Option<ReplyEvent> {
        let changed = mode != self.mode;
        let told = retry_after_s.filter(|s| *s > 0).map(|s| s.saturating_mul(SECOND_NS).min(BELIEVED_NS));
        self.mode = mode;
        if self.is_shut() {
            // Several answers to what was sent together are one refusal.
            if changed || self.trying {
                self.trying = false;
                self.wait_ns = if changed { TRY_FIRST_NS } else { (self.wait_ns * 2).min(TRY_LAST_NS) };
                let told = told.unwrap_or(0).min(TRY_LAST_NS);
                self.try_at = now.plus(self.wait_ns.max(told));
            }
            return changed.then_some(ReplyEvent::Mode { mode, for_ms: 0 });
        }
        self.trying = false;
        let lasts = told.unwrap_or_else(|| self.guess(now));
        let until = now.plus(lasts);
        // The venue's own time counts, longer or shorter; a guess only makes it longer.
        let same = until.since(self.until).max(self.until.since(until)) <= SECOND_NS;
        if !changed && (same || (told.is_none() && until <= self.until)) {
            return None;
        }
        self.until = until;
        Some(ReplyEvent::Mode { mode, for_ms: (lasts / 1_000_000) as u32 })
    }

    /// A guess for a mode without a time: doubled if the last one has just run out.
    fn guess(&mut self, now: Nanos) -> u64 {
        let wrong = self.guess_ns > 0 && now.since(self.guessed_at) <= self.guess_ns.saturating_mul(2);
        let guess = if wrong { self.guess_ns.saturating_mul(2).min(BELIEVED_NS) } else { GUESS_NS };
        // Answers that come together are one.
        if !wrong || now.since(self.guessed_at) >= self.guess_ns {
            (self.guess_ns, self.guessed_at) = (guess, now);
        }
        self.guess_ns
    }

    /// The venue's door is open: a cancel, real or not, had a clean answer.
    pub fn opened(&mut self, now: Nanos) -> Option<ReplyEvent> {
        self.trying = false;
        match self.mode {
            VenueMode::Restarting => {
                (self.mode, self.until) = (VenueMode::PostOnly, now.plus(POST_ONLY_NS));
                Some(ReplyEvent::Mode { mode: self.mode, for_ms: (POST_ONLY_NS / 1_000_000) as u32 })
            }
            VenueMode::Disabled => self.normal(),
            VenueMode::Normal | VenueMode::PostOnly | VenueMode::CancelOnly => None,
        }
    }

    /// A try had no clean answer, or was never made: again later.
    pub fn unclear(&mut self, now: Nanos) {
        if std::mem::take(&mut self.trying) {
            self.wait_ns = (self.wait_ns * 2).clamp(TRY_FIRST_NS, TRY_LAST_NS);
            self.try_at = now.plus(self.wait_ns);
        }
    }

    /// Time passes: a mode with a time is over.
    pub fn tick(&mut self, now: Nanos) -> Option<ReplyEvent> {
        let timed = matches!(self.mode, VenueMode::PostOnly | VenueMode::CancelOnly);
        if timed && now >= self.until { self.normal() } else { None }
    }

    fn normal(&mut self) -> Option<ReplyEvent> {
        self.mode = VenueMode::Normal;
        Some(ReplyEvent::Mode { mode: VenueMode::Normal, for_ms: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Nanos {
        Nanos(1_790_000_000 * SECOND_NS + ms * 1_000_000)
    }

    fn says(mode: VenueMode, for_ms: u32) -> Option<ReplyEvent> {
        Some(ReplyEvent::Mode { mode, for_ms })
    }

    #[test]
    fn a_restart_is_tried_at_ever_longer_waits_and_followed_by_post_only() {
        let mut modes = Modes::default();
        assert_eq!(modes.refused(VenueMode::Restarting, None, at(0)), says(VenueMode::Restarting, 0));
        assert_eq!(modes.refused(VenueMode::Restarting, None, at(1)), None, "answers that come together are one");
        let mut ms = 0;
        for wait_s in [1, 2, 4, 8, 16, 30, 30] {
            assert!(
                !modes.may_try(at(ms + wait_s * 1_000 - 1)) && modes.may_try(at(ms + wait_s * 1_000)),
                "{wait_s} s"
            );
            ms += wait_s * 1_000;
            modes.tries();
            assert!(!modes.may_try(at(ms + 60_000)), "one at a time");
            assert_eq!(modes.refused(VenueMode::Restarting, Some(0), at(ms)), None);
        }
        assert!(!modes.takes(true));
        assert_eq!(modes.opened(at(ms)), says(VenueMode::PostOnly, 120_000));
        assert!(modes.takes(true) && !modes.takes(false) && modes.may_try(at(ms)));
        assert_eq!(modes.refused(VenueMode::PostOnly, None, at(ms)), None, "a guess does not shorten it");
        assert_eq!(modes.tick(at(ms + 119_999)), None);
        assert_eq!(modes.tick(at(ms + 120_000)), says(VenueMode::Normal, 0));
    }

    #[test]
    fn a_time_of_the_venues_own_is_believed_within_bounds_and_a_guess_doubles() {
        let mut modes = Modes::default();
        assert_eq!(modes.refused(VenueMode::PostOnly, Some(3), at(0)), says(VenueMode::PostOnly, 3_000));
        assert_eq!(modes.tick(at(3_000)), says(VenueMode::Normal, 0));
        assert_eq!(modes.refused(VenueMode::PostOnly, Some(u64::MAX), at(0)), says(VenueMode::PostOnly, 600_000));
        let mut modes = Modes::default();
        let mut ms = 0;
        for guess in [15_000, 30_000, 60_000] {
            assert_eq!(modes.refused(VenueMode::CancelOnly, Some(0), at(ms)), says(VenueMode::CancelOnly, guess));
            assert_eq!(modes.refused(VenueMode::CancelOnly, None, at(ms + 5)), None, "the same refusal again");
            assert!(modes.may_try(at(ms)) && !modes.takes(true), "cancels are taken");
            ms += u64::from(guess);
            assert_eq!(modes.tick(at(ms)), says(VenueMode::Normal, 0));
        }
    }

    #[test]
    fn a_full_stop_ends_when_a_cancel_is_taken() {
        let mut modes = Modes::default();
        assert_eq!(modes.refused(VenueMode::Disabled, None, at(0)), says(VenueMode::Disabled, 0));
        assert_eq!(modes.tick(at(3_600_000)), None, "no time ends it");
        modes.tries();
        modes.unclear(at(2_000));
        assert!(!modes.may_try(at(3_999)) && modes.may_try(at(4_000)));
        assert_eq!(modes.opened(at(5_000)), says(VenueMode::Normal, 0));
        assert_eq!(modes.opened(at(5_000)), None);
    }
}
