//! The pure core: one sequenced stream of events in, actions out.

pub mod action;
pub mod risk;
pub mod sign;
