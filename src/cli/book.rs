//! (cli/book)
