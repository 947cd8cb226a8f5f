//! The cold tile: journal, metrics, health, logs, summary. It blocks where the others must not.

pub mod journal;
