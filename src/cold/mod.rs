//! The cold tile: journal, metrics, health, logs, summary. It blocks where the others must not.

pub mod flow;
pub mod journal;
pub mod logs;
pub mod metrics;
pub mod status;
