//! Two clocks that cannot be mixed up: wall time, and the processor's cycle counter.
//!
//! The pure half never reads either; both arrive in each event's [`Stamp`].

use core::fmt;

use serde::{Deserialize, Serialize};

/// Wall time: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Nanoseconds from `earlier` to here; zero if `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time plus `ns` nanoseconds.
    #[inline]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Whole milliseconds since the epoch, the venue's unit for order timestamps.
    #[inline]
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds since the epoch, the venue's unit for authentication and expiry.
    #[inline]
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// A reading of the processor's cycle counter. Only differences mean anything, and only `sys::tsc` knows its rate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Cycles(pub u64);

/// When something became known to us, on both clocks: taken when the read that brought the bytes returned.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// Wall time; decisions may use it.
    pub wall: Nanos,
    /// Cycle counter; latency measurement uses it, decisions never do.
    pub cycles: Cycles,
}
