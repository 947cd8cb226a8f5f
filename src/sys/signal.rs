//! SIGINT and SIGTERM as numbers to look at: the first asks for an orderly stop, the second for a quick one.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicUsize, Ordering},
    },
};

use signal_hook::consts::{SIGINT, SIGTERM};

/// What arrived so far. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    count: Arc<AtomicUsize>,
    first: Arc<AtomicI32>,
}

impl Signals {
    /// Starts to listen. Errors: the system refuses a handler.
    pub fn install() -> io::Result<Self> {
        let signals = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signals.hook(signal)?;
        }
        Ok(signals)
    }

    #[allow(unsafe_code)]
    fn hook(&self, signal: i32) -> io::Result<()> {
        let this = self.clone();
        // SAFETY: the handler only touches atomics that live as long as the process (signal-hook keeps the closure and
        // with it the Arcs): async-signal-safe, no allocation, no lock, no panic.
        unsafe { signal_hook::low_level::register(signal, move || this.record(signal)) }.map(drop)
    }

    fn record(&self, signal: i32) {
        let _ = self.first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Release);
    }

    /// How many have arrived.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// The exit code that the first one asks for: 130 after SIGINT, 143 after SIGTERM.
    pub fn exit_code(&self) -> Option<u8> {
        match self.first.load(Ordering::Relaxed) {
            0 => None,
            n => Some(128 + n as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_decides_the_exit_code() {
        let signals = Signals::default();
        assert_eq!((signals.count(), signals.exit_code()), (0, None));
        signals.record(SIGTERM);
        signals.record(SIGINT);
        assert_eq!((signals.count(), signals.exit_code()), (2, Some(143)));
    }

    #[test]
    fn a_raised_signal_is_counted_and_does_not_kill() {
        let signals = Signals::install().expect("handlers");
        signal_hook::low_level::raise(SIGINT).expect("raise");
        assert_eq!((signals.count(), signals.exit_code()), (1, Some(130)));
    }
}
