//! The journal's bytes. All integers are little-endian; payloads are postcard.
//!
//! ```text
//! segment  = head record* zeros?
//! head     = magic[8] format:u32 index:u32 records_before:u64 chain:u64 checksum:u64
//! record   = length:u32 kind:u8 payload[length] checksum:u64
//! checksum = xxh3-64(previous checksum ‖ everything of this record before its checksum)
//! ```
//!
//! One value is both checksum and hash chain: a record that is changed, dropped, doubled or moved breaks it from
//! there on. A segment's head carries the chain over from the segment before. Kind 0 does not exist, so the zeros of
//! a preallocated tail cannot be taken for a record.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    strategies::Params,
    types::{Nanos, Universe},
};

/// Version of these bytes. A reader refuses a newer one by name.
pub const FORMAT: u32 = 1;

pub(super) const MAGIC: [u8; 8] = *b"polyjrnl";
/// Bytes of a segment's head.
pub(super) const HEAD: usize = 40;
/// Bytes of a record before its payload.
pub(super) const FRAME: usize = 5;
/// Bytes of a checksum.
pub(super) const SUM: usize = 8;
/// The longest payload that a reader accepts: only the header comes near, with thousands of markets.
pub(super) const PAYLOAD_MAX: usize = 16 << 20;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Header = 1,
    Event = 2,
    Action = 3,
    StateHash = 4,
    Gap = 5,
    SegmentEnd = 6,
    Closing = 7,
}

impl Kind {
    pub(super) const fn from_byte(b: u8) -> Option<Self> {
        match b {
            1 => Some(Self::Header),
            2 => Some(Self::Event),
            3 => Some(Self::Action),
            4 => Some(Self::StateHash),
            5 => Some(Self::Gap),
            6 => Some(Self::SegmentEnd),
            7 => Some(Self::Closing),
            _ => None,
        }
    }
}

/// The first record: everything that a replay needs besides the events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Names the run in logs, metrics and file names.
    pub run_id: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// `embedded`, `paper` or `live`.
    pub mode: String,
    /// Seed of the scenario, and of whatever else the run drew.
    pub seed: u64,
    /// How many times faster than life the match unfolded; 1 outside of embedded mode.
    pub speed: u32,
    /// Wall time at start.
    pub started: Nanos,
    /// The markets and the account.
    pub universe: Universe,
    /// What decides how the engine behaves, besides its events: as it was used, compressed by `speed`.
    pub params: Params,
}

/// The last record of a run that could still write one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Records before this one, the header and the segment ends included.
    pub records: u64,
    /// Place of the last event; 0 if there was none.
    pub last_seq: u64,
    /// The state hash after the last event, if the engine gave one.
    pub state_hash: Option<u64>,
    /// False if anything was left behind: a tile failed, an order is unresolved.
    pub clean: bool,
}

/// File of a segment.
pub(super) fn segment_path(dir: &Path, index: u32) -> PathBuf {
    dir.join(segment_name(index))
}

/// File name of a segment.
pub(super) fn segment_name(index: u32) -> String {
    format!("segment-{index:06}.journal")
}

/// The chain's next value.
pub(super) fn checksum(previous: u64, parts: [&[u8]; 2]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&previous.to_le_bytes());
    parts.iter().for_each(|part| hash.update(part));
    hash.digest()
}

/// A segment's head, and the chain after it.
pub(super) fn head(index: u32, records_before: u64, chain: u64) -> ([u8; HEAD], u64) {
    let mut bytes = [0; HEAD];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&index.to_le_bytes());
    bytes[16..24].copy_from_slice(&records_before.to_le_bytes());
    bytes[24..32].copy_from_slice(&chain.to_le_bytes());
    let sum = checksum(chain, [&bytes[..HEAD - SUM], &[]]);
    bytes[HEAD - SUM..].copy_from_slice(&sum.to_le_bytes());
    (bytes, sum)
}
