//! The command line: one file per command.

use std::process::ExitCode;

pub mod amounts;
pub mod book;
pub mod check;
pub mod decode;
pub mod replay;
pub mod run;
pub mod sign;
pub mod vectors;
#[cfg(feature = "embedded")]
pub mod venue;

/// Exit codes that scripts rely on.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// Failed.
    pub const FAILED: u8 = 1;
    /// Usage or configuration.
    pub const USAGE: u8 = 2;
    /// Preflight or readiness refused.
    pub const PREFLIGHT: u8 = 3;
    /// Verification mismatch.
    pub const MISMATCH: u8 = 4;
}

/// Reads the arguments and runs the command.
pub fn main() -> ExitCode {
    ExitCode::from(exit::DONE)
}
