//! (wire/rest)
