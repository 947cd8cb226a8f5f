//! How fast we are: how late the market channel tells us, and how long a cancel of ours takes.
//!
//! Quotes rest on the market's own book, so its channel is the feed that decides whether they can be pulled in time.
//! Both delays are measured as they happen, in wall time: the nine times of ten that [`Timing`] gives are those of the
//! last thousand or so, and are looked at with each tick.

use super::{digest::StateHasher, strategy::Timing};
use crate::types::Nanos;

const MS: u64 = 1_000_000;
/// Eight bins an octave: what is read off is an eighth too much at most.
const PER_OCTAVE: u32 = 8;
/// Up to four minutes; what is longer counts as that.
const BINS: usize = 16 * PER_OCTAVE as usize;
/// As many samples are remembered whole; then each of them counts half.
const WINDOW: u32 = 1_024;
/// Fewer say nothing of nine in ten.
const FEEDS_MIN: u32 = 64;
const CANCELS_MIN: u32 = 16;

/// Delays, by how long they were.
#[derive(Clone, Debug)]
struct Delays {
    bins: [u16; BINS],
    count: u32,
}

impl Default for Delays {
    fn default() -> Self {
        Self { bins: [0; BINS], count: 0 }
    }
}

/// The bin of a delay: exact below 16 ms, then an eighth of an octave each.
fn bin(ms: u32) -> usize {
    if ms < 2 * PER_OCTAVE {
        return ms as usize;
    }
    let octave = ms.ilog2();
    let eighth = (ms >> (octave - 3)) & (PER_OCTAVE - 1);
    (((octave - 2) * PER_OCTAVE + eighth) as usize).min(BINS - 1)
}

/// The longest delay of a bin, in milliseconds.
fn longest(bin: usize) -> u32 {
    let bin = bin as u32;
    if bin < 2 * PER_OCTAVE {
        return bin;
    }
    let (octave, eighth) = (bin / PER_OCTAVE + 2, bin % PER_OCTAVE);
    ((PER_OCTAVE + eighth + 1) << (octave - 3)) - 1
}

impl Delays {
    fn add(&mut self, ms: u32) {
        if self.count >= WINDOW {
            self.bins.iter_mut().for_each(|n| *n /= 2);
            self.count = self.bins.iter().map(|n| u32::from(*n)).sum();
        }
        self.bins[bin(ms)] += 1;
        self.count += 1;
    }

    /// Nine of ten took no longer than this, in milliseconds. `None` while there are fewer than `least`.
    fn p90_ms(&self, least: u32) -> Option<u32> {
        if self.count < least {
            return None;
        }
        let mut left = (self.count * 9).div_ceil(10);
        let reached = self.bins.iter().position(|n| {
            left = left.saturating_sub(u32::from(*n));
            left == 0
        });
        reached.map(longest)
    }
}

/// What is measured of the way to us and from us.
#[derive(Debug, Default)]
pub struct Watch {
    feed: Delays,
    cancels: Delays,
    timing: Timing,
}

impl Watch {
    /// A change of a book was heard so long after the venue stamped it, clocks allowed for. A stamp from the future is
    /// a clock's fault, and no delay.
    pub fn heard(&mut self, late_ms: i64) {
        self.feed.add(u32::try_from(late_ms.max(0)).unwrap_or(u32::MAX));
    }

    /// A cancel was answered so long after it was decided on.
    pub fn cancelled(&mut self, asked: Nanos, now: Nanos) {
        let ms = now.since(asked).div_ceil(MS);
        self.cancels.add(u32::try_from(ms).unwrap_or(u32::MAX));
    }

    /// Time passes: what was measured is read off.
    pub fn tick(&mut self) {
        self.timing = Timing {
            feed_lag_p90_ms: self.feed.p90_ms(FEEDS_MIN),
            cancel_path_p90_ms: self.cancels.p90_ms(CANCELS_MIN),
        };
    }

    /// As of the last tick.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// All of it, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        for delays in [&self.feed, &self.cancels] {
            delays.bins.iter().for_each(|n| h.u64(u64::from(*n)));
        }
        h.debug(&self.timing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_holds_its_delay_and_is_an_eighth_too_long_at_most() {
        for ms in (0..5_000).chain((5_000..200_000).step_by(37)) {
            let read = longest(bin(ms));
            assert!(read >= ms && u64::from(read) * 8 <= u64::from(ms) * 9, "{ms} ms is read as {read}");
        }
        assert_eq!((bin(u32::MAX), bin(1 << 20)), (BINS - 1, BINS - 1));
    }

    /// Delays in milliseconds with how many of each, and what nine of ten took at most.
    #[test]
    fn nine_of_ten_took_no_longer() {
        type Row = (&'static [(u32, u32)], Option<u32>);
        let table: [Row; 6] = [
            (&[(5, 63)], None),
            (&[(5, 64)], Some(5)),
            (&[(5, 90), (1_000, 10)], Some(5)),
            (&[(5, 89), (1_000, 11)], Some(1_023)),
            (&[(0, 64)], Some(0)),
            // A thousand slow ones are forgotten within a few thousand quick ones.
            (&[(9_000, 1_000), (5, 4_000)], Some(5)),
        ];
        for (samples, p90) in table {
            let mut delays = Delays::default();
            samples.iter().for_each(|&(ms, times)| (0..times).for_each(|_| delays.add(ms)));
            assert_eq!(delays.p90_ms(FEEDS_MIN), p90, "{samples:?}");
        }
    }

    #[test]
    fn what_is_measured_is_read_off_with_the_tick() {
        let mut watch = Watch::default();
        for _ in 0..CANCELS_MIN {
            watch.cancelled(Nanos(0), Nanos(11 * MS + 1));
        }
        (0..FEEDS_MIN).for_each(|_| watch.heard(-30));
        assert_eq!(watch.timing(), Timing::default());
        watch.tick();
        assert_eq!(watch.timing(), Timing { feed_lag_p90_ms: Some(0), cancel_path_p90_ms: Some(12) });
    }
}
