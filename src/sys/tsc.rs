//! (sys/tsc)
