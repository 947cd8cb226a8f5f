//! Steps 1 and 2: sockets that bring market and match data, one file a feed.

pub mod market;
pub mod sports;
pub mod user;
