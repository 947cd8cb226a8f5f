//! The cold tile: journal, metrics, health, operator, logs, summary. It blocks where the others must not.

pub mod admin;
pub mod alerts;
pub mod dead_letters;
pub mod flow;
pub mod health;
pub mod journal;
pub mod logs;
pub mod metrics;
pub mod progress;
pub mod render;
pub mod status;
pub mod summary;
pub mod tile;

pub use status::{Latest, Slot};
pub use summary::{RunFacts, Summary};
pub use tile::{ColdTile, Outcome, Parts};
