//! Arguments → configuration → topology → run.

use std::process::ExitCode;

fn main() -> ExitCode {
    polyloly_fast::cli::main()
}
