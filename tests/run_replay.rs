//! The journal of a real run: replayed it is the same, and nothing that was changed in it, or left out, or asked of it
//! in another way, passes.
#![cfg(feature = "embedded")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::{Ended, Running, Scratch, assert_clean, number, polyloly};

/// Bytes flipped besides the first and last thousand.
const SPREAD: usize = 400;

/// A short run, stopped once it has traded a little: its summary and the one segment of its journal.
fn recorded(dir: &Scratch) -> (Value, PathBuf) {
    let args = ["run", "--speed", "100", "--cores", "0", "--seed", "3", "--summary", "summary.json"];
    let run = Running::start(dir.dir(), &args, &[]);
    run.state("accepted orders", |s| (s["orders"]["accepted"].as_u64()? >= 4).then_some(()));
    run.signal("INT");
    run.end().with(130);
    let summary = dir.json("summary.json");
    assert_clean(&summary);
    let journal = PathBuf::from(summary["journal"].as_str().expect("a journal"));
    assert_eq!(fs::read_dir(&journal).expect("a directory").count(), 1);
    (summary, journal)
}

/// Exit code, and the damage or the difference that was told.
fn replay(dir: &Scratch, journal: &Path, more: &[&str]) -> Ended {
    polyloly(dir.dir(), &[&["replay", journal.to_str().expect("UTF-8")], more].concat())
}

#[test]
fn a_run_replays_to_its_own_hash_and_nothing_else_passes() {
    let dir = Scratch::new("replay");
    let (summary, journal) = recorded(&dir);

    let verdict = replay(&dir, &journal, &["--json"]).with(0);
    let verdict: Value = serde_json::from_str(&verdict.stdout).expect("JSON");
    assert_eq!((&verdict["same"], &verdict["closed"]), (&true.into(), &true.into()));
    assert_eq!(verdict["state_hash"], summary["state_hash"]);
    let events: u64 = summary["events"].as_object().expect("events").values().filter_map(Value::as_u64).sum();
    assert_eq!(verdict["events"], events);
    assert!(number(&verdict, "/actions") > 0);

    parameters(&dir, &journal);
    let segment = journal.join("segment-000000.journal");
    let whole = fs::read(&segment).expect("the segment");
    flipped(&dir, &journal, &segment, &whole);
    truncated(&dir, &journal, &segment, &whole);
    surplus(&dir, &journal, &segment, &whole);
    replay(&dir, &journal, &[]).with(0);
}

fn parameters(dir: &Scratch, journal: &Path) {
    let with = |text: &str| replay(dir, journal, &["--config", &dir.write("other.toml", text)]);
    with("").with(0);
    with("[run]\nseed = 77\nspeed = 3\n").with(0);
    with("[strategy.pair]\nquote_shares = 40\n").with(4).saying(&["strategy.pair.quote_shares", "50", "40"]);
    with("[risk]\ndaily_loss_usdc = \"499.999999\"\n").with(4).saying(&["risk.daily_loss_usdc", "499.999999"]);
    with("[strategy.pair]\nmarkout_ms = 15000\n").with(4).saying(&["strategy.pair.markout_ms"]);
    with("[strategy.pair]\nquote_share = 40\n").with(2).saying(&["strategy.pair.quote_shares"]);
}

/// One flipped bit in each of many bytes. Every place is refused with a sentence that names the journal.
fn flipped(dir: &Scratch, journal: &Path, segment: &Path, whole: &[u8]) {
    let end = whole.len();
    // The head and the closing record as a whole, and positions everywhere between.
    let places: BTreeSet<usize> =
        (0..64).chain((0..SPREAD).map(|n| end * n / SPREAD)).chain(end - 64..end).filter(|at| *at < end).collect();
    let name = journal.file_name().and_then(|n| n.to_str()).expect("a name");
    for (n, at) in places.into_iter().enumerate() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (n % 8);
        fs::write(segment, bytes).expect("a write");
        let ended = replay(dir, journal, &[]);
        assert_eq!(ended.code, 4, "byte {at} of {end}: {}{}", ended.stdout, ended.stderr);
        // A length that reaches beyond the end looks like a cut: not complete.
        let told = [name, "different", "not complete"].iter().any(|words| ended.stderr.contains(words));
        assert!(told && !ended.stderr.contains("panicked"), "byte {at}: {:?}", ended.stderr);
    }
    fs::write(segment, whole).expect("a write");
}

/// Cut anywhere, it is not complete; what is left of it can still be verified if that is asked for.
fn truncated(dir: &Scratch, journal: &Path, segment: &Path, whole: &[u8]) {
    for cut in [whole.len() - 1, whole.len() - 20, whole.len() * 2 / 3, whole.len() / 3] {
        fs::write(segment, &whole[..cut]).expect("a write");
        replay(dir, journal, &[]).with(4).saying(&["not complete", "--allow-unclean"]);
        let verdict = replay(dir, journal, &["--allow-unclean", "--json"]).with(0);
        let verdict: Value = serde_json::from_str(&verdict.stdout).expect("JSON");
        assert_eq!(verdict["closed"], false, "cut at {cut}");
    }
    // Nothing to verify is not verified.
    for cut in [0, 7, 8, 31, 40, 100] {
        fs::write(segment, &whole[..cut]).expect("a write");
        let ended = replay(dir, journal, &["--allow-unclean"]).with(4);
        assert!(!ended.stderr.is_empty(), "cut at {cut}");
    }
    fs::write(segment, whole).expect("a write");
}

/// More than was written is as wrong as less: bytes after the end, and files that do not belong there.
fn surplus(dir: &Scratch, journal: &Path, segment: &Path, whole: &[u8]) {
    fs::write(segment, [whole, b"x"].concat()).expect("a write");
    replay(dir, journal, &["--allow-unclean"]).with(4);
    fs::write(segment, [whole, &[0; 9]].concat()).expect("a write");
    replay(dir, journal, &[]).with(4);
    fs::write(segment, whole).expect("a write");
    let stray = journal.join("notes.txt");
    fs::write(&stray, "mine").expect("a write");
    replay(dir, journal, &[]).with(4).saying(&["notes.txt"]);
    fs::remove_file(stray).expect("a removal");
    replay(dir, &dir.dir().join("nothing"), &[]).with(4).saying(&["nothing"]);
}
