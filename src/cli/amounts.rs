//! (cli/amounts)
