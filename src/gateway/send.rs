//! (gateway/send)
