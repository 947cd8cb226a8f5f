//! Whole matches in virtual time, through the same engine and the same venue's rules as a run.
//!
//! Nothing is sent, signed or parsed: [`hear`] turns what the venue tells into the engine's events, [`door`] carries
//! out what the engine asks for, and [`link`] says how long either takes. [`course`] plays one match; the rest counts.

pub mod account;
pub mod course;
pub mod crew;
pub mod door;
pub mod hear;
pub mod link;
pub mod report;
pub mod series;
pub mod stats;

pub use report::Chapter;
pub use series::{Played, Settings};
