//! The state hash: one number over everything that can influence a decision.

use core::fmt::{self, Debug, Write};

use xxhash_rust::xxh3::Xxh3;

/// Takes state in, in a fixed order. Not for the hot path: it is asked for at checkpoints.
#[derive(Default)]
pub struct StateHasher(Xxh3);

impl StateHasher {
    /// One number.
    pub fn u64(&mut self, v: u64) {
        self.0.update(&v.to_le_bytes());
    }

    /// One signed number.
    pub fn i64(&mut self, v: i64) {
        self.0.update(&v.to_le_bytes());
    }

    /// Some bytes, with their length.
    pub fn bytes(&mut self, v: &[u8]) {
        self.u64(v.len() as u64);
        self.0.update(v);
    }

    /// Anything by its debug text: for small enums, whose names are their meaning.
    pub fn debug(&mut self, v: &impl Debug) {
        // Writing into a hasher cannot fail.
        let _ = write!(self, "{v:?}\u{0}");
    }

    /// The hash.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}

impl Write for StateHasher {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.update(s.as_bytes());
        Ok(())
    }
}
