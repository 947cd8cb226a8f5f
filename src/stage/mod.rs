//! The shape that every tile has, and the loop that runs one tile or several in turn on a thread.

pub mod backoff;
pub mod blocking;
pub mod buffer;
pub mod conn;
pub mod control;
pub mod counters;
pub mod dead_letter;
pub mod duty;
pub mod endpoint;
pub mod latency;
pub mod ring;

pub use control::Control;
pub use duty::{Doorbell, Running, run, spawn};

use crate::types::Stamp;

/// A tile: polled, never blocking, stopped in order. Fields go inputs, outputs, state, counters.
pub trait Stage: Send {
    /// Its name in the topology, logs and metrics.
    fn name(&self) -> &'static str;

    /// Before `start`, and only where the thread sleeps when idle: sockets registered here wake it. A tile that makes
    /// sockets later keeps a clone of the doorbell.
    fn attach(&mut self, doorbell: &Doorbell) {
        let _ = doorbell;
    }

    /// Once, on the tile's own thread, after pinning.
    fn start(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// Does a bounded amount of work and says how much. Never blocks; allocates only off the hot path.
    fn poll(&mut self) -> usize;

    /// About every 10 ms: deadlines, reconnects, publishing local counters.
    fn housekeep(&mut self, now: Stamp) {
        let _ = now;
    }

    /// Asked to wind down: called once; `poll` goes on until `stopped` is true or the deadline passes.
    fn stop(&mut self) {}

    /// True when nothing is left to do after `stop`.
    fn stopped(&self) -> bool {
        true
    }
}

/// Why a tile could not start. The text says what to do.
#[derive(Debug)]
pub struct StageError(pub String);

impl std::fmt::Display for StageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StageError {}
