//! (wire/user)
