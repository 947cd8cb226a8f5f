//! (cold)
