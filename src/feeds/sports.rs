//! (feeds/sports)
