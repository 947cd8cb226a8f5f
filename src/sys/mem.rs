//! (sys/mem)
