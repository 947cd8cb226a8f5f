//! (feeds/market)
