//! What the operating system gives: cores, clocks, disks, memory, sockets, signals. The only place for `unsafe`.

pub mod cpu;
pub mod disk;
pub mod lock;
pub mod map;
pub mod mem;
pub mod net;
pub mod signal;
pub mod tsc;
