//! The clock: raw cycles for measuring, and a wall time that never runs backwards.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::{Cycles, Nanos, Stamp};

/// How often the wall time is compared with the system's.
const ANCHOR_EVERY_NS: u64 = 1_000_000_000;
/// The fastest that the wall time is bent towards the system's: 500 parts per million, as NTP does.
const SLEW_PPM_MAX: i64 = 500;
/// The system is ahead by more than this: it was stepped, or the machine slept. Then we jump, forwards only.
const STEP_NS: i64 = 100_000_000;

/// Reads both clocks at the price of one counter read. Each thread has its own; clones agree to within microseconds.
#[derive(Clone, Debug)]
pub struct Clock {
    counter: quanta::Clock,
    anchor: Anchor,
}

/// Wall time as a line over the counter.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    raw: u64,
    wall_ns: u64,
    slew_ppm: i64,
}

impl Anchor {
    /// Wall time `elapsed_ns` after the anchor.
    fn at(&self, elapsed_ns: u64) -> u64 {
        let bend = i128::from(elapsed_ns) * i128::from(self.slew_ppm) / 1_000_000;
        (i128::from(self.wall_ns) + i128::from(elapsed_ns) + bend) as u64
    }

    /// The next line, from here: starts where this one is (or ahead, after a step) and bends towards the system's time.
    fn next(&self, raw: u64, elapsed_ns: u64, system_ns: u64) -> Self {
        let ours = self.at(elapsed_ns);
        let error = system_ns as i64 - ours as i64;
        if error > STEP_NS {
            return Self { raw, wall_ns: system_ns, slew_ppm: 0 };
        }
        // To be made good over the next period, but no faster than the limit.
        let slew_ppm = (error / (ANCHOR_EVERY_NS as i64 / 1_000_000)).clamp(-SLEW_PPM_MAX, SLEW_PPM_MAX);
        Self { raw, wall_ns: ours, slew_ppm }
    }
}

impl Clock {
    /// A calibrated clock. The first in a process takes some milliseconds to calibrate.
    pub fn new() -> Self {
        let counter = quanta::Clock::new();
        let anchor = Anchor { raw: counter.raw(), wall_ns: system_ns(), slew_ppm: 0 };
        Self { counter, anchor }
    }

    /// The counter alone.
    #[inline]
    pub fn cycles(&self) -> Cycles {
        Cycles(self.counter.raw())
    }

    /// Both clocks.
    #[inline]
    pub fn now(&self) -> Stamp {
        let raw = self.counter.raw();
        let elapsed = self.counter.delta_as_nanos(self.anchor.raw, raw);
        Stamp { wall: Nanos(self.anchor.at(elapsed)), cycles: Cycles(raw) }
    }

    /// Nanoseconds from one reading to a later one; zero if they are in the other order.
    #[inline]
    pub fn ns_between(&self, from: Cycles, to: Cycles) -> u64 {
        if to > from { self.counter.delta_as_nanos(from.0, to.0) } else { 0 }
    }

    /// Bends the wall time towards the system's, if a second has passed since the last time. For housekeeping.
    pub fn follow_system(&mut self) {
        let raw = self.counter.raw();
        let elapsed = self.counter.delta_as_nanos(self.anchor.raw, raw);
        if elapsed >= ANCHOR_EVERY_NS {
            self.anchor = self.anchor.next(raw, elapsed, system_ns());
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The system's wall time. Before 1970 it is 1970.
fn system_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_wall_time_bends_and_never_runs_backwards() {
        let start = Anchor { raw: 0, wall_ns: 50 * SECOND, slew_ppm: 0 };
        // (system minus ours after one second, slew that follows, jump)
        let table: [(i64, i64, u64); 6] = [
            (0, 0, 0),
            (100_000, 100, 0),
            (-100_000, -100, 0),
            (50_000_000, 500, 0),
            (-5_000_000_000, -500, 0),
            (3_000_000_000, 0, 3 * SECOND),
        ];
        for (error, slew, jump) in table {
            let system = (51 * SECOND as i64 + error) as u64;
            let next = start.next(1, SECOND, system);
            assert_eq!(next.slew_ppm, slew, "error {error}");
            assert_eq!(next.wall_ns, 51 * SECOND + jump, "error {error}");
            assert!(next.at(1) >= start.at(SECOND), "error {error}");
        }
    }

    #[test]
    fn readings_are_ordered_and_differences_never_negative() {
        let mut clock = Clock::new();
        let (a, b) = (clock.now(), clock.now());
        assert!(b.wall >= a.wall && b.cycles >= a.cycles);
        assert_eq!(clock.ns_between(Cycles(2), Cycles(1)), 0);
        clock.follow_system();
        assert!(clock.now().wall >= b.wall);
    }
}
