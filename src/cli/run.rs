//! (cli/run)
