//! (gateway/recv)
