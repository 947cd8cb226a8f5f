//! (feeds/user)
