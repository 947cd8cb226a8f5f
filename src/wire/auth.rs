//! (wire/auth)
