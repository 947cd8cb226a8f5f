//! Steps 1, 2, 7 and 8 without sockets: bytes in, events out; orders in, bytes out.

pub mod auth;
pub mod book_hash;
pub mod http;
pub mod json;
pub mod limits;
pub mod listing;
pub mod market;
pub mod order;
pub mod relayer;
pub mod reply;
pub mod rest;
pub mod sports;
pub mod tokens;
pub mod user;
pub mod ws;
