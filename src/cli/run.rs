//! `polyloly-fast run`: the main job. Arguments → configuration → place → tiles → summary.

mod place;
mod tiles;
mod watch;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{place::Place, tiles::Session, watch::Ended};
use super::exit;
use crate::{
    cold::{RunFacts, Summary, logs, render},
    config::{Config, Cores, Level, Mode, Span},
    hot,
    sys::{cpu, mem, signal::Signals, tsc::Clock},
    topology::{Plan, Request},
    types::Nanos,
};

/// Trades: a made-up match on an embedded venue, or what the configuration says.
///
/// Without a configuration it starts a venue of its own on loopback, with TLS, traders and a match of about half a
/// minute, trades it with paper money, and ends by itself when the match is paid out.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// Configuration file; `config/default.toml` explains every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Cores to use, in order, such as 0,1 or 2-5 [default: every core that this process may use]
    #[arg(long, value_name = "LIST")]
    cores: Option<Cores>,
    /// Let a core be named twice; threads that share one do not spin
    #[arg(long)]
    share_cores: bool,
    /// Stop after this long, such as 90s or 5m [default: when everything is resolved]
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,
    /// Seed of the scenario
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What unfolds on the embedded venue: a name, or the path of a recording
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// How many times as fast as life the embedded match unfolds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    speed: Option<u32>,
    /// Write the summary as JSON to this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Decide and sign, but send nothing
    #[arg(long)]
    dry_run: bool,
    /// Trade with real money; needed beside a configuration that says mode = "live"
    #[arg(long)]
    live: bool,
    /// Write logs to this file instead of standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

/// Why a run did not begin: the exit code and what to say.
#[derive(Debug)]
struct Refused(u8, String);

impl Refused {
    fn usage(what: impl ToString) -> Self {
        Self(exit::USAGE, what.to_string())
    }

    fn preflight(what: impl ToString) -> Self {
        Self(exit::PREFLIGHT, what.to_string())
    }

    fn failed(what: impl ToString) -> Self {
        Self(exit::FAILED, what.to_string())
    }
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    match try_run(&args) {
        Ok(code) => code.into(),
        Err(Refused(code, why)) => {
            eprintln!("{why}");
            code.into()
        }
    }
}

fn try_run(args: &Args) -> Result<u8, Refused> {
    let config = configuration(args)?;
    let (allowed, usable) = (cpu::allowed(), cpu::usable());
    let asked = &config.topology.cores.0;
    let embedded = config.mode == Mode::Embedded;
    let request = |feed_tiles| Request {
        cores: (!asked.is_empty()).then_some(asked.as_slice()),
        allowed: &allowed,
        usable: &usable,
        share_cores: config.topology.share_cores,
        feed_tiles,
        venue: embedded,
    };
    // Contradictions in the cores are told before anything is started.
    let first = Plan::new(&request(1)).map_err(Refused::usage)?;
    if let Some(file) = &args.summary {
        writable(file)?;
    }
    let signals = Signals::install().map_err(|e| Refused::failed(format!("signals cannot be caught: {e}")))?;
    let run_id = run_id();
    let _logs = logs::install(config.log.level, config.log.file.as_deref(), &run_id).map_err(Refused::usage)?;

    let last_core = first.threads.last().map(|t| t.core);
    let mut place = Place::open(&config, last_core)?;
    let plan = Plan::new(&request(place.universe.markets.len())).map_err(Refused::usage)?;
    greet(&place, &plan, &config);

    let started = Instant::now();
    let mut session = Session::start(&config, &place, &plan, &run_id)?;
    if let Some(health) = session.health {
        say(&format!("health at http://{health}"));
        say(&format!("admin token {}", session.token));
    }
    let ended = watch::until_over(&mut session, &place, &config, &signals);
    let code = finish(args, &config, &mut place, &plan, session, &run_id, started.elapsed(), &ended)?;
    Ok(signals.exit_code().filter(|_| code == exit::DONE).unwrap_or(code))
}

/// The file's values under the flags'.
fn configuration(args: &Args) -> Result<Config, Refused> {
    let mut config = match &args.config {
        Some(path) => Config::load(path).map_err(Refused::usage)?,
        None => Config::default(),
    };
    if let Some(cores) = &args.cores {
        config.topology.cores = cores.clone();
    }
    config.topology.share_cores |= args.share_cores;
    config.run.dry_run |= args.dry_run;
    config.run.duration = args.duration.or(config.run.duration);
    config.run.seed = args.seed.unwrap_or(config.run.seed);
    config.run.speed = args.speed.unwrap_or(config.run.speed);
    if let Some(scenario) = &args.scenario {
        config.run.scenario.clone_from(scenario);
    }
    if let Some(file) = &args.log_file {
        config.log.file = Some(file.clone());
    }
    config.check().map_err(Refused::usage)?;
    config.check_flags(args.live).map_err(Refused::usage)?;
    if config.mode == Mode::Embedded {
        config.engine = config.engine.compressed(config.run.speed);
    }
    Ok(config)
}

/// A summary that cannot be written is told before the run, not after it.
fn writable(file: &Path) -> Result<(), Refused> {
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .map(drop)
        .map_err(|e| Refused::usage(format!("--summary {}: {e}", file.display())))
}

/// Names a run: its start in UTC, sortable, and the process that ran it.
fn run_id() -> String {
    let Nanos(now) = Clock::new().now().wall;
    let time = logs::rfc3339(now);
    let digits: String = time.chars().take(19).filter(char::is_ascii_digit).collect();
    format!("{}-{}-{}", &digits[..8.min(digits.len())], &digits[8.min(digits.len())..], std::process::id())
}

fn greet(place: &Place, plan: &Plan, config: &Config) {
    let what = if config.mode == Mode::Embedded {
        format!("embedded venue at {}, seed {}, {}× as fast as life", place.rest, config.run.seed, config.run.speed)
    } else {
        format!("{} at {}", config.mode.as_str(), place.rest)
    };
    say(&format!("{}\n{what}\n{plan}", place.title));
}

/// A line for people. Nobody may be listening; the run goes on.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Everything after the last event: the venue's own account of us, the summary, the verdict.
#[allow(clippy::too_many_arguments, reason = "what a run leaves behind, once")]
fn finish(
    args: &Args,
    config: &Config,
    place: &mut Place,
    plan: &Plan,
    session: Session,
    run_id: &str,
    duration: Duration,
    ended: &Ended,
) -> Result<u8, Refused> {
    let (control, health, journal) = (Arc::clone(&session.control), session.health, session.journal.clone());
    let (hot, cold) = session.join();
    let mut failures = control.failures();
    let dry_run = config.run.dry_run;
    if !control.is_clean() && !dry_run {
        // Whatever failed: nothing of ours may keep resting.
        match place.cancel_all() {
            Ok(()) => failures.push("the stop was not clean; everything was cancelled by a call of its own".into()),
            Err(e) => failures.push(format!("the stop was not clean, and cancelling everything failed too: {e}")),
        }
    }
    let hot::Outcome { report, state_hash, .. } = hot.unwrap_or_default();
    let theirs = if dry_run { None } else { place.venue_equity(&report, &mut failures) };
    let venue_equity_change = theirs.map(|equity| equity - report.started_with);
    place.close();

    let facts = RunFacts {
        version: env!("CARGO_PKG_VERSION").into(),
        run_id: run_id.into(),
        mode: config.mode.as_str().into(),
        title: place.title.clone(),
        seed: config.run.seed,
        speed: if config.mode == Mode::Embedded { config.run.speed } else { 1 },
        duration,
        cores: plan.cores(),
        plan: Some(plan.clone()),
        stop_reason: ended.reason.into(),
        state_hash,
        journal,
        venue_equity_change,
        health: health.map(|at| format!("http://{at}")),
        resident_bytes: mem::resident_bytes(),
        failures,
    };
    let summary = Summary::new(facts, report, cold);
    print!("{}", render::page(&summary, render::colour_wanted()));
    if let Some(file) = &args.summary {
        fs::write(file, format!("{:#}\n", summary.json()))
            .map_err(|e| Refused::failed(format!("--summary {}: {e}", file.display())))?;
    }
    let agreed = summary.venue_agrees() != Some(false);
    let good = control.is_clean() && agreed && summary.facts.failures.is_empty();
    Ok(if good { exit::DONE } else { exit::FAILED })
}

/// True if logs at `info` or below share the terminal with the progress line.
fn logs_on_stderr(config: &Config) -> bool {
    config.log.file.is_none() && config.log.level <= Level::Info
}
