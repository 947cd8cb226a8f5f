//! Step 9 of 9: what the engine heard and asked for, in order, checksummed and hash-chained.
//!
//! A journal is a directory of segments, `segment-000000.journal` and on. The first record says everything that a
//! replay needs; the last one closes the books. The bytes are described in [`format`]; [`Writer`] appends them,
//! [`Reader`] gives back the valid prefix and says where and why it ends. Decision: docs/adr/0005-journal.md.

pub mod format;
mod read;
mod write;

pub use format::{Closing, FORMAT, Header};
pub use read::{Damage, End, Entry, Flaw, Reader, Unclean};
pub use write::{JournalError, Writer};

use crate::{engine::Action, types::Sequenced};

/// One thing to write down, as the hot tile hands it over.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "moves by value through a ring")]
pub enum Record {
    /// The engine heard this.
    Event(Sequenced),
    /// The engine asked for this because of event `seq`.
    Action {
        /// The event's place in the stream.
        seq: u64,
        /// What was asked for.
        action: Action,
    },
    /// The state hash after event `seq`; made every 65 536 events and at the end.
    StateHash {
        /// The event's place in the stream.
        seq: u64,
        /// The hash.
        hash: u64,
    },
    /// The ring was full: this many records after event `seq` are missing. A replay refuses to pass it.
    Gap {
        /// The last event written.
        seq: u64,
        /// How many records are missing.
        lost: u64,
    },
}
