//! Steps 7 and 8: warm connections that carry orders out and answers in.

pub mod recv;
pub mod send;
