//! (wire/sports)
