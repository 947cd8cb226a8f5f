//! Step 8 of 9: how far our clock is ahead of the venue's. Pure.
//!
//! The venue says whole seconds. Questions a fifth of a second apart fall on every part of one, so the median of five is
//! right to about a tenth of a second, and one answer that was held up somewhere does not count.
//! Source: docs/PROTOCOL.md "public reads".

use crate::types::Nanos;

const MS: u64 = 1_000_000;
/// Questions of one measurement.
pub const SAMPLES: usize = 5;
/// Time between two of them.
pub const SAMPLE_EVERY_NS: u64 = 200 * MS;
/// Time between two measurements.
const EVERY_NS: u64 = 60_000 * MS;
/// Time until the next question after one that was not answered.
const RETRY_NS: u64 = 1_000 * MS;
/// An answer that took longer says too little.
const ROUND_TRIP_MAX_NS: u64 = 800 * MS;

/// Measures again and again.
#[derive(Debug, Default)]
pub struct VenueClock {
    ahead_ms: heapless::Vec<i64, SAMPLES>,
    asked_at: Nanos,
    in_flight: bool,
    next: Nanos,
}

impl VenueClock {
    /// True if the time is to be asked for now.
    pub fn is_due(&self, now: Nanos) -> bool {
        !self.in_flight && now >= self.next
    }

    /// It is asked for.
    pub fn asks(&mut self, now: Nanos) {
        (self.asked_at, self.in_flight) = (now, true);
    }

    /// The answer, in Unix seconds; `None` if there was none. Gives the offset in milliseconds, negative if we are behind,
    /// when a measurement is complete.
    pub fn hears(&mut self, venue_s: Option<u64>, now: Nanos) -> Option<i32> {
        self.in_flight = false;
        let venue_s = venue_s.filter(|_| now.since(self.asked_at) <= ROUND_TRIP_MAX_NS);
        let Some(venue_s) = venue_s else {
            self.next = now.plus(RETRY_NS);
            return None;
        };
        // There is room: a full one is emptied below.
        let _ = self.ahead_ms.push(ahead_ms(venue_s, self.asked_at, now));
        if !self.ahead_ms.is_full() {
            self.next = self.asked_at.plus(SAMPLE_EVERY_NS);
            return None;
        }
        let median = median(&mut self.ahead_ms);
        self.ahead_ms.clear();
        self.next = now.plus(EVERY_NS);
        Some(median)
    }
}

/// What one answer says: the middle of the second that it named, against the middle of our question's time.
pub fn ahead_ms(venue_s: u64, asked: Nanos, answered: Nanos) -> i64 {
    let ours = asked.plus(answered.since(asked) / 2).millis();
    ours as i64 - (venue_s.saturating_mul(1_000).saturating_add(500)) as i64
}

/// The middle one, bounded to what an event can carry.
pub fn median(ahead_ms: &mut [i64]) -> i32 {
    ahead_ms.sort_unstable();
    let middle = ahead_ms.get(ahead_ms.len() / 2).copied().unwrap_or(0);
    middle.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_measured_to_a_tenth_of_a_second_whatever_the_phase() {
        for true_ahead_ms in [-90_000_i64, -2_500, -300, 0, 40, 900, 5_000, 60_000] {
            for phase_ms in (0..1_000).step_by(70) {
                let mut clock = VenueClock::default();
                let mut ours_ms = 1_790_000_000_000_u64 + phase_ms;
                let measured = loop {
                    assert!(clock.is_due(Nanos(ours_ms * MS)));
                    clock.asks(Nanos(ours_ms * MS));
                    assert!(!clock.is_due(Nanos((ours_ms + 60_000) * MS)), "one question at a time");
                    // The venue looks at its clock half way through a round trip of 20 ms.
                    let venue_s = (ours_ms as i64 + 10 - true_ahead_ms) as u64 / 1_000;
                    match clock.hears(Some(venue_s), Nanos((ours_ms + 20) * MS)) {
                        Some(ms) => break i64::from(ms),
                        None => ours_ms += 200,
                    }
                };
                assert!((measured - true_ahead_ms).abs() <= 110, "{measured} instead of {true_ahead_ms}");
                assert!(!clock.is_due(Nanos((ours_ms + 59_000) * MS)) && clock.is_due(Nanos((ours_ms + 61_000) * MS)));
            }
        }
    }

    #[test]
    fn answers_that_took_too_long_or_never_came_are_asked_for_again() {
        let mut clock = VenueClock::default();
        for (answer, took_ms) in [(None, 10), (Some(1), 900)] {
            clock.asks(Nanos(0));
            assert_eq!(clock.hears(answer, Nanos(took_ms * MS)), None);
            assert!(!clock.is_due(Nanos((took_ms + 999) * MS)) && clock.is_due(Nanos((took_ms + 1_000) * MS)));
        }
        assert!(clock.ahead_ms.is_empty());
    }
}
