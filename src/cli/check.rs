//! (cli/check)
