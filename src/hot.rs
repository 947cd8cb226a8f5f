//! (hot)
