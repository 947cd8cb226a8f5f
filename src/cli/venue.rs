//! (cli/venue)
