//! (cli/replay)
