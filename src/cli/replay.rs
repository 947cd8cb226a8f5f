//! `polyloly-fast replay JOURNAL`: recomputes every action of a run from its events alone.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;

use super::exit;
use crate::{config::Config, replay};

/// Recomputes every action of a recorded run from its events alone, and compares.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The journal: the directory that the run named at its end.
    pub journal: PathBuf,
    /// Take the engine's parameters from this file instead of the journal. Any changed one is a difference.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Accept a journal without a closing record: the run was killed, and what it wrote is verified.
    #[arg(long)]
    pub allow_unclean: bool,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Runs it. Exit 0 if everything is the same, 4 on any difference, gap or damage, 2 if the configuration is wrong.
pub fn run(args: Args) -> ExitCode {
    let params = match args.config.as_deref().map(Config::load).transpose() {
        Ok(config) => config.map(|c| c.engine),
        Err(problems) => {
            eprintln!("{problems}");
            return exit::USAGE.into();
        }
    };
    let verdict = match replay::replay(&args.journal, params.as_ref()) {
        Ok(verdict) => verdict,
        Err(damage) => {
            if args.json {
                println!("{}", json!({ "same": false, "damage": damage.to_string() }));
            }
            eprintln!("{damage}");
            return exit::MISMATCH.into();
        }
    };
    let accepted = verdict.same() && (verdict.closed || args.allow_unclean);
    if args.json {
        let mut object = json!(verdict);
        object["same"] = json!(accepted);
        println!("{object}");
    } else {
        print(&verdict);
    }
    if !accepted {
        eprintln!("{}", complaint(&verdict));
    }
    if accepted { exit::DONE.into() } else { exit::MISMATCH.into() }
}

fn print(v: &replay::Verdict) {
    println!("run         {} (written by version {})", v.run_id, v.version);
    println!("events      {}", v.events);
    println!("actions     {} the same, byte for byte", v.actions);
    println!("checkpoints {} state hashes the same", v.checkpoints);
    println!("state hash  {}", v.state_hash);
    println!("speed       {} events per second", v.events_per_second);
    if !v.end.is_empty() {
        println!("journal     {}", v.end);
    }
    if v.same() && v.closed {
        println!("verdict     the same");
    }
}

/// One sentence per reason not to call it the same.
fn complaint(v: &replay::Verdict) -> String {
    let mut lines: Vec<String> = v.changed.iter().map(|c| format!("parameter changed: {c}")).collect();
    match &v.difference {
        Some(difference) => lines.push(format!("different: {difference}")),
        None if !v.changed.is_empty() => lines.push("no recorded event led to a different action".into()),
        None => lines.push(format!(
            "not complete: the journal is {}; the {} events before that are the same (--allow-unclean accepts this)",
            v.end, v.events
        )),
    }
    lines.join("\n")
}
