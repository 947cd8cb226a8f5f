//! A low-latency, pinned-core trading system for Polymarket esports markets.
//!
//! Bytes come in, a decision is made, bytes go out. The modules below are in the order of that flow; each file's
//! first line says which of the nine steps it is: 1 wire, 2 parse, 3 book, 4 strategy, 5 risk, 6 sign, 7 send,
//! 8 ack, 9 journal. The map is in `docs/ARCHITECTURE.md`.

// The pure half: values in, values out. No clock, socket, file, thread or lock; `tests/tidy.rs` holds it to that.
pub mod engine;
pub mod strategies;
pub mod types;
pub mod wire;

// The shells: sockets, clocks, disks.
pub mod cli;
pub mod cold;
pub mod config;
pub mod feeds;
pub mod gateway;
pub mod hot;
pub mod replay;
pub mod stage;
pub mod sys;
pub mod topology;
pub mod wal;
pub mod wiring;

// The embedded venue and what unfolds on it.
#[cfg(feature = "embedded")]
pub mod scenario;
#[cfg(feature = "embedded")]
pub mod simulate;
#[cfg(feature = "embedded")]
pub mod venue;
