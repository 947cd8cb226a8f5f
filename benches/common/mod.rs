//! What the benches and the allocation test share: realistic traffic, a scripted venue, the pipeline without its
//! sockets, the ordinary ways to do the same, and a stopwatch.

#![allow(dead_code, unused_imports, reason = "each bench uses a part")]

pub mod pipeline;
pub mod plain;
pub mod stage;
pub mod stopwatch;
pub mod traffic;
pub mod venue;

pub use stopwatch::{Bench, Row};
