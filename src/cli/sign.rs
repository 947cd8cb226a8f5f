//! (cli/sign)
