//! Latency samples: stamped where they happen, recorded on the cold tile.

use serde::Serialize;

/// What a sample measures. The names are those of `--summary` and `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// Plaintext in → typed event.
    Parse,
    /// Event → books changed.
    Book,
    /// Books changed → intents.
    Decide,
    /// Intents → approved.
    Risk,
    /// Fields → signature, the hashes included.
    Sign,
    /// Signed order → request bytes.
    Encode,
    /// Write entered → returned.
    Send,
    /// Read of the causing bytes returned → the order's last byte written.
    TickToTrade,
    /// Read of the causing bytes returned → the cancel's last byte written.
    TickToCancel,
    /// Match-feed bytes read → order written.
    EventToOrder,
    /// Order written → answer read.
    Ack,
}

impl Latency {
    /// Every kind, in the order of the pipeline.
    pub const ALL: [Self; 11] = [
        Self::Parse,
        Self::Book,
        Self::Decide,
        Self::Risk,
        Self::Sign,
        Self::Encode,
        Self::Send,
        Self::TickToTrade,
        Self::TickToCancel,
        Self::EventToOrder,
        Self::Ack,
    ];

    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Book => "book",
            Self::Decide => "decide",
            Self::Risk => "risk",
            Self::Sign => "sign",
            Self::Encode => "encode",
            Self::Send => "send",
            Self::TickToTrade => "tick_to_trade",
            Self::TickToCancel => "tick_to_cancel",
            Self::EventToOrder => "event_to_order",
            Self::Ack => "ack",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What was measured.
    pub what: Latency,
    /// How long it took.
    pub ns: u64,
}
