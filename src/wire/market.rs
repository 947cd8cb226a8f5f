//! (wire/market)
