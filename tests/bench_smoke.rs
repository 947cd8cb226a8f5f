//! Every bench runs small as a test, its checked answers included, so that none rots.

#![allow(dead_code, reason = "the benches' own `main` stays unused here")]
#![allow(clippy::duplicate_mod, reason = "each bench brings the common part along, as it does when it runs alone")]

#[path = "../benches/book.rs"]
mod book;
#[path = "../benches/decide.rs"]
mod decide;
#[path = "../benches/encode.rs"]
mod encode;
#[path = "../benches/parse.rs"]
mod parse;
#[path = "../benches/risk.rs"]
mod risk;
#[path = "../benches/sign.rs"]
mod sign;
#[path = "../benches/wire_to_wire.rs"]
mod wire_to_wire;

macro_rules! smoke {
    ($($step:ident),*) => {
        $(#[test]
        fn $step() {
            crate::$step::step(&mut crate::$step::common::Bench::Smoke);
        })*
    };
}

mod smoke {
    smoke!(parse, book, decide, risk, sign, encode, wire_to_wire);
}
