//! (feeds)
