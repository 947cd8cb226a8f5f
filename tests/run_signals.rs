//! Stopping a run by a signal: what rests is cancelled, the journal is closed, the summary is told, the exit code says
//! which signal it was.
#![cfg(feature = "embedded")]

mod support;

use support::{Ended, Running, Scratch, assert_clean, number, polyloly};

/// A match that lasts longer than any test waits, so that only the signal can end it.
const LONG: [&str; 8] = ["run", "--cores", "0", "--speed", "30", "--summary", "summary.json", "--seed"];

/// Starts a run and waits until orders of it rest.
fn trading(dir: &Scratch, seed: &str) -> Running {
    let run = Running::start(dir.dir(), &[&LONG[..], &[seed]].concat(), &[]);
    run.orders_open(2);
    run
}

/// What a stop by a signal must leave behind.
#[track_caller]
fn stopped_clean(dir: &Scratch, ended: &Ended) {
    let summary = dir.json("summary.json");
    assert_eq!(summary["stop_reason"], "signal");
    assert_clean(&summary);
    assert!(number(&summary, "/orders/accepted") >= 2 && number(&summary, "/orders/canceled") >= 1, "{summary:#}");
    assert!(
        ended.stdout.contains("the venue's account of us is the same"),
        "the summary is printed:\n{}",
        ended.stdout
    );
    let journal = summary["journal"].as_str().expect("a journal");
    let replay = polyloly(dir.dir(), &["replay", journal, "--json"]).with(0);
    let verdict: serde_json::Value = serde_json::from_str(&replay.stdout).expect("JSON");
    assert_eq!(verdict["closed"], true);
    assert_eq!(verdict["state_hash"], summary["state_hash"]);
}

#[test]
fn sigint_cancels_closes_the_journal_tells_the_summary_and_exits_with_130() {
    let dir = Scratch::new("sigint");
    let run = trading(&dir, "1");
    run.signal("INT");
    let ended = run.end().with(130);
    stopped_clean(&dir, &ended);
}

#[test]
fn sigterm_does_the_same_and_exits_with_143() {
    let dir = Scratch::new("sigterm");
    let run = trading(&dir, "2");
    run.signal("TERM");
    let ended = run.end().with(143);
    stopped_clean(&dir, &ended);
}

#[test]
fn a_run_of_a_given_length_ends_by_itself_with_0() {
    let dir = Scratch::new("for");
    polyloly(dir.dir(), &["run", "--for", "2s", "--cores", "0", "--speed", "30", "--summary", "summary.json"]).with(0);
    let summary = dir.json("summary.json");
    assert_eq!(summary["stop_reason"], "duration");
    assert_clean(&summary);
    assert!(number(&summary, "/duration_ns") >= 2_000_000_000, "{summary:#}");
}
