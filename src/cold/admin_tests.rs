//! The operator's interface alone.
