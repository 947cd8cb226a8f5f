//! The embedded venue: a stand-in for the real one that speaks its wire protocol on loopback.
//!
//! Rules are pure and written from the reference, not from our client: `book`, `accounts`, `rules`, `exchange`,
//! `settle` trade; `verify` and `auth` admit, with digests and key recovery of their own; `host` puts these and the
//! scenario together; `rest` and `stream` speak; `server` is the one thread with sockets and a clock.
//!
//! It misbehaves on command: `faults` decides what strikes, `verdict` what that does, `misbehave` does it; `modes` and
//! `limits` are what the real venue refuses on its own. The catalogue is docs/FAULTS.md.

pub mod accounts;
pub mod auth;
pub mod book;
pub mod conn;
pub mod exchange;
pub mod faults;
pub mod heartbeat;
pub mod host;
pub mod http;
pub mod intake;
pub mod limits;
mod matching;
mod misbehave;
pub mod modes;
pub mod notes;
mod positions;
pub mod recorded;
pub mod relayer;
pub mod rest;
pub mod rules;
pub mod server;
pub mod settle;
pub mod stream;
pub mod tls;
pub mod verdict;
pub mod verify;
pub mod views;
pub mod wallets;

/// API key under which every scenario trader's orders stand.
pub const TRADERS_KEY: &str = "00000000-0000-0000-0000-000000000000";

pub use misbehave::{Conduct, FaultHandle};
pub use server::{Begin, Ready, Venue, VenueError, VenueHandle, VenueOptions, VenueStats};
pub use wallets::Listed;
