//! The command line: one file per command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod amounts;
pub mod book;
pub mod check;
pub mod dead_letters;
pub mod decode;
pub mod replay;
pub mod run;
pub mod sign;
#[cfg(feature = "embedded")]
pub mod simulate;
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

const EXAMPLES: &str = "\
Examples:
  polyloly-fast                                 trade a made-up match on an embedded venue, about half a minute
  polyloly-fast --cores 0,1 --summary run.json  the same on two cores, with the figures as JSON
  polyloly-fast replay journal/RUN              recompute every action of that run from its events
  polyloly-fast venue --plain                   the embedded venue alone, for any Polymarket client
  polyloly-fast check --config mine.toml        is this machine, with this configuration, ready?

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 preflight refused, 4 verification mismatch,
130 or 143 after a signal when the stop was clean.";

/// A low-latency, pinned-core trading system for Polymarket esports markets. Without a command: run.
#[derive(Parser, Debug)]
#[command(name = "polyloly-fast", version, propagate_version = true, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Args,
}

#[derive(Subcommand, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once")]
enum Command {
    /// Trade: a made-up match on an embedded venue, or what the configuration says
    Run(run::Args),
    /// Play whole matches in virtual time, and say what they come to
    #[cfg(feature = "embedded")]
    Simulate(simulate::Args),
    /// The embedded venue alone, for any Polymarket client
    #[cfg(feature = "embedded")]
    Venue(venue::Args),
    /// Recompute every action of a recorded run from its events, and compare
    Replay(replay::Args),
    /// Validate the configuration, the machine, and the way to the venue
    Check(check::Args),
    /// Messages that could not be read: list, show, or read them again
    DeadLetters(dead_letters::Args),
    /// Sign orders: one JSON object a line on standard input
    Sign(sign::Args),
    /// Compute order amounts: one JSON object a line on standard input
    Amounts(amounts::Args),
    /// Feed recorded market-channel messages through the parser and the books
    Book(book::Args),
    /// Say what is understood of recorded messages of any source
    Decode(decode::Args),
    /// Check every file of a directory of test vectors
    Vectors(vectors::Args),
}

/// Reads the arguments and runs the command. Usage errors exit with 2 and never return here.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => run::run(cli.run),
        Some(Command::Run(args)) => run::run(args),
        #[cfg(feature = "embedded")]
        Some(Command::Simulate(args)) => simulate::run(args),
        #[cfg(feature = "embedded")]
        Some(Command::Venue(args)) => venue::run(args),
        Some(Command::Replay(args)) => replay::run(args),
        Some(Command::Check(args)) => check::run(args),
        Some(Command::DeadLetters(args)) => dead_letters::run(args),
        Some(Command::Sign(args)) => sign::run(args),
        Some(Command::Amounts(args)) => amounts::run(args),
        Some(Command::Book(args)) => book::run(args),
        Some(Command::Decode(args)) => decode::run(args),
        Some(Command::Vectors(args)) => vectors::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
