//! (wire/http)
