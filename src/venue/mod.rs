//! (venue)
