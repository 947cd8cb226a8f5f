//! `polyloly-fast simulate`: whole matches in virtual time, and what they come to.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    time::Instant,
};

use serde_json::json;

use super::exit;
use crate::{
    config::{Config, Span},
    scenario::family::Family,
    simulate::{Chapter, Settings},
    sys::cpu,
};

/// Added feed delays of the table that `--feed-delay all` prints, in milliseconds.
const DELAYS_MS: [u64; 6] = [0, 500, 1_000, 2_000, 5_000, 10_000];
/// A row of that table has one in so many of the matches.
const DELAY_SHARE: usize = 5;
/// Width of the progress bar, in characters.
const BAR: usize = 30;

/// Plays whole matches in virtual time: the same engine, the same venue's rules, no sockets.
///
/// Each family plays the same matches with other people: null (the market is ahead of our feed), realistic (the
/// recorded market), toxic (more people know more, earlier). The strategy knows nothing of families. Beside it plays a
/// baseline that always quotes the touch.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Matches of each family
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    matches: u32,
    /// One family: null, realistic or toxic [default: all three]
    #[arg(long, value_name = "NAME", value_parser = family)]
    family: Option<Family>,
    /// Seed of the first match; the next ones count on from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What our feeds are late by, beyond their own delay: 0ms, 500ms, 2s; or all, for a table of delays
    #[arg(long, value_name = "D", default_value = "0ms")]
    feed_delay: Delay,
    /// Threads [default: as many as cores that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    jobs: Option<u16>,
    /// Take the engine's parameters from this file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Play as a run does, so many times as fast as life and over a loopback, to compare the two
    #[arg(long, value_name = "SPEED", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    like_run: Option<u32>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// One added delay, or all of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    One(u64),
    All,
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let span: Span = text.parse().map_err(|e| format!("{e}; or all, for a table"))?;
        // A feed that is later than a match lasts is none.
        match u64::try_from(span.0.as_nanos()) {
            Ok(ns) if ns <= 600_000_000_000 => Ok(Self::One(ns)),
            _ => Err("at most 10m".into()),
        }
    }
}

fn family(text: &str) -> Result<Family, String> {
    let known = Family::ALL.into_iter().find(|f| f.short() == text);
    known.ok_or_else(|| format!("no family `{text}`: one of {}", Family::ALL.map(|f| f.short()).join(", ")))
}

/// Runs it. Exit 0; 2 if the configuration is wrong; 1 if the venue's books and ours differ anywhere.
pub fn run(args: Args) -> ExitCode {
    let config = match args.config.as_deref().map(Config::load).transpose() {
        Ok(config) => config.unwrap_or_default(),
        Err(problems) => {
            eprintln!("{problems}");
            return exit::USAGE.into();
        }
    };
    let families = args.family.map_or(Family::ALL.to_vec(), |f| vec![f]);
    let settings = Settings {
        matches: args.matches as usize,
        seed: args.seed,
        feed_delay_ns: if let Delay::One(ns) = args.feed_delay { ns } else { 0 },
        jobs: args.jobs.map_or_else(|| cpu::allowed().len().max(1), usize::from),
        params: config.engine,
        like_run: args.like_run,
    };
    let good = match args.feed_delay {
        Delay::One(_) => tables(&args, &settings, &families),
        Delay::All => delays(&args, settings, &families),
    };
    if good { exit::DONE.into() } else { exit::FAILED.into() }
}

/// A table for each family.
fn tables(args: &Args, settings: &Settings, families: &[Family]) -> bool {
    let last = settings.seed.wrapping_add(settings.matches as u64 - 1);
    if !args.json {
        println!(
            "simulate · seeds {}–{} · feed delay {} ms\n",
            settings.seed,
            last,
            settings.feed_delay_ns / 1_000_000
        );
    }
    let mut chapters = Vec::new();
    for family in families {
        let chapter = chapter(settings, family, family.short());
        if !args.json {
            println!("{}", chapter.text());
        }
        chapters.push(chapter);
    }
    if args.json {
        let delay_ms = settings.feed_delay_ns / 1_000_000;
        println!("{}", json!({ "seed": settings.seed, "feed_delay_ms": delay_ms, "families": chapters }));
    }
    chapters.iter().all(|c| c.faults.is_empty())
}

/// Equity against the added delay of our feeds.
fn delays(args: &Args, mut settings: Settings, families: &[Family]) -> bool {
    settings.matches = settings.matches.div_ceil(DELAY_SHARE);
    let mut rows = Vec::new();
    if !args.json {
        println!("equity against added feed delay · {} matches each · pUSD a match", settings.matches);
        println!("  {:<12}{:>8}{:>30}{:>30}{:>10}", "family", "delay", "ours", "ours at the fair price", "fills");
    }
    for family in families {
        for ms in DELAYS_MS {
            settings.feed_delay_ns = ms * 1_000_000;
            let chapter = chapter(&settings, family, &format!("{} +{ms} ms", family.short()));
            if !args.json {
                println!("{}", chapter.row(ms));
            }
            rows.push((ms, chapter));
        }
    }
    if args.json {
        let rows: Vec<_> = rows.iter().map(|(ms, c)| json!({ "feed_delay_ms": ms, "chapter": c })).collect();
        println!("{}", json!({ "seed": settings.seed, "delays": rows }));
    }
    rows.iter().all(|(_, c)| c.faults.is_empty())
}

fn chapter(settings: &Settings, family: &Family, label: &str) -> Chapter {
    let began = Instant::now();
    let bar = std::io::stderr().is_terminal();
    let mut shown = None;
    let played = settings.family(family, |done| {
        if bar && shown != Some(done) {
            shown = Some(done);
            let _ = write!(std::io::stderr(), "\r\x1b[2K{}", progress(label, done, settings.matches, began));
        }
        true
    });
    if bar {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
    }
    Chapter::of(family, &played.unwrap_or_default())
}

/// One line: what is played, a bar, how many, and how long it may still take.
fn progress(label: &str, done: usize, of: usize, began: Instant) -> String {
    let full = BAR * done / of.max(1);
    let left = match done {
        0 => String::new(),
        n => format!("{:.0} s left", began.elapsed().as_secs_f64() * (of - n) as f64 / n as f64),
    };
    format!("{label:<18} {}{} {done}/{of} {left}", "█".repeat(full), "░".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spans_or_all() {
        for (text, delay) in [
            ("0ms", Some(Delay::One(0))),
            ("500ms", Some(Delay::One(500_000_000))),
            ("2s", Some(Delay::One(2_000_000_000))),
            ("all", Some(Delay::All)),
            ("2", None),
            ("-1s", None),
            ("11m", None),
        ] {
            assert_eq!(text.parse().ok(), delay, "{text}");
        }
    }

    #[test]
    fn families_go_by_their_short_names() {
        for name in ["null", "realistic", "toxic"] {
            assert_eq!(family(name).map(|f| f.short()), Ok(name));
        }
        assert!(family("lol-bo3").unwrap_err().contains("null, realistic, toxic"));
    }

    #[test]
    fn the_bar_fills_up() {
        let at = |done| progress("null", done, 4, Instant::now()).matches('█').count();
        assert_eq!([at(0), at(1), at(4)], [0, BAR / 4, BAR]);
    }
}
