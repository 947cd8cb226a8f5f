//! What the operating system gives: cores, clocks, memory. The only place for `unsafe`.

pub mod cpu;
pub mod mem;
pub mod tsc;
