//! (wire/relayer)
