//! What all tiles of a run share: has a stop been asked for, is the run over, did anything fail.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

use crate::types::Cycles;

/// The run goes on.
const RUNNING: u8 = 0;
/// The engine finished and left nothing behind.
const CLEAN: u8 = 1;
/// The engine finished, or could not, and something may be left at the venue.
const UNCLEAN: u8 = 2;

/// Shared by all tiles of a run.
///
/// A stop is asked for once; the hot tile turns it into an event, the engine cancels what is open and finishes, the hot
/// tile writes its last record and ends the run; only then do the other tiles wind down. A failure ends it at once.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    phase: AtomicU8,
    orders_off: AtomicBool,
    hot_beat: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Control {
    /// Asks for an orderly stop. The engine hears it next.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// True once a stop was asked for.
    #[inline]
    pub fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The kill switch was sequenced, or lifted. The hot tile says so before anything that follows it, the gateway
    /// looks last before it writes an order: none leaves that was approved before and not written yet.
    pub fn set_orders_off(&self, off: bool) {
        self.orders_off.store(off, Ordering::SeqCst);
    }

    /// True while no order may be written.
    #[inline]
    pub fn orders_off(&self) -> bool {
        self.orders_off.load(Ordering::SeqCst)
    }

    /// The hot tile's sign of life, at each of its turns of housekeeping. The gateway feeds the venue's dead man's
    /// switch only while it advances.
    pub fn beat(&self, now: Cycles) {
        self.hot_beat.store(now.0, Ordering::Relaxed);
    }

    /// The last sign of life; zero before the first.
    pub fn last_beat(&self) -> Cycles {
        Cycles(self.hot_beat.load(Ordering::Relaxed))
    }

    /// Ends the run: every tile winds down. Everything written to rings before is visible to whoever sees this. The
    /// first verdict stands, but `false` overrides.
    pub fn end(&self, clean: bool) {
        self.phase.fetch_max(if clean { CLEAN } else { UNCLEAN }, Ordering::AcqRel);
    }

    /// Records that a tile failed, and ends the run uncleanly. The text names the tile and what happened.
    pub fn fail(&self, what: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        self.end(false);
    }

    /// True once the run is over and tiles wind down.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.phase.load(Ordering::Acquire) != RUNNING
    }

    /// True once the run is over and nothing was left behind.
    pub fn is_clean(&self) -> bool {
        self.phase.load(Ordering::Acquire) == CLEAN
    }

    /// What failed, in order.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True once a tile failed.
    pub fn has_failed(&self) -> bool {
        !self.failures.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_overrides_a_clean_end_and_nothing_overrides_a_failure() {
        let control = Control::default();
        assert!(!control.is_over());
        control.end(true);
        assert!(control.is_over() && control.is_clean());
        control.fail("hot: a reason".into());
        control.end(true);
        assert!(!control.is_clean() && control.has_failed());
        assert_eq!(control.failures(), ["hot: a reason"]);
    }
}
