//! (cli/decode)
