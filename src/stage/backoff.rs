//! How long to wait before the next attempt: doubling, with jitter, bounded.

use crate::types::{Nanos, Stamp};

/// Waits of one connection. A success resets it.
#[derive(Clone, Debug)]
pub struct Backoff {
    base_ns: u64,
    cap_ns: u64,
    failures: u32,
    random: u64,
    not_before: Nanos,
}

impl Backoff {
    /// First wait about `base_ms`, never more than `cap_ms`. `seed` tells connections of one process apart, so that
    /// they do not come back all at once.
    pub const fn new(base_ms: u64, cap_ms: u64, seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { base_ns: base_ms * 1_000_000, cap_ns: cap_ms * 1_000_000, failures: 0, random, not_before: Nanos(0) }
    }

    /// It worked: the next failure waits the shortest time.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It failed: waits between half and all of base × 2^failures.
    pub fn failed(&mut self, now: Stamp) {
        let full = self.base_ns.saturating_mul(1 << self.failures.min(20)).min(self.cap_ns);
        self.failures = self.failures.saturating_add(1);
        // xorshift64: nobody predicts or needs more than this.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.not_before = now.wall.plus(full / 2 + self.random % (full / 2 + 1));
    }

    /// It worked for a while and ended: the shortest wait, without forgetting earlier failures.
    pub fn failed_softly(&mut self, now: Stamp) {
        let failures = std::mem::take(&mut self.failures);
        self.failed(now);
        self.failures = failures;
    }

    /// True when the next attempt may be made.
    pub fn is_due(&self, now: Stamp) -> bool {
        now.wall >= self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_stay_within_bounds_and_reset() {
        let now = Stamp { wall: Nanos(1_000_000_000_000), ..Stamp::default() };
        let mut backoff = Backoff::new(100, 5_000, 7);
        assert!(backoff.is_due(now));
        for full_ms in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            backoff.failed(now);
            let waited = backoff.not_before.since(now.wall);
            assert!((full_ms * 500_000..=full_ms * 1_000_000).contains(&waited), "{full_ms} ms: {waited}");
            assert!(!backoff.is_due(now));
        }
        backoff.succeeded();
        backoff.failed(now);
        assert!(backoff.not_before.since(now.wall) <= 100_000_000);
    }

    #[test]
    fn two_connections_do_not_come_back_together() {
        let now = Stamp::default();
        let (mut a, mut b) = (Backoff::new(1_000, 5_000, 1), Backoff::new(1_000, 5_000, 2));
        a.failed(now);
        b.failed(now);
        assert_ne!(a.not_before, b.not_before);
    }
}
