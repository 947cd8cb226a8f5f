//! (cli/vectors)
