//! (wire/ws)
