//! (sys/cpu)
