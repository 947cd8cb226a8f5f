//! The command line as scripts see it: what is printed, and every exit code.

mod market_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use polyloly_fast::{
    cold::journal::{Header, Record, Writer},
    engine::{Action, Actions},
    strategies::{Params, core},
    types::{
        Address, Event, InstrumentIx, Nanos, Price, Qty, Sequenced, Stamp, Usdc,
        event::{AckStatus, BookSide, MarketEvent, ReadEvent, ReplyEvent, UserEvent},
    },
};
use serde_json::Value;

/// A directory of its own for one test, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("polyloly-cli-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn polyloly(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_polyloly-fast")).args(args).output().unwrap()
}

/// Exit code, standard output, standard error.
fn outcome(args: &[&str]) -> (i32, String, String) {
    let out = polyloly(args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// What the engine hears in a short session: streams up, a book, its own orders taken, quiet.
fn script() -> impl Iterator<Item = Event> {
    let market = Event::Market;
    let mut events = vec![Event::Start { run_tag: 5, cash: Usdc::dollars(1_000), match_feed: false }];
    events.extend([Event::User(UserEvent::Up), Event::Reply(ReplyEvent::GatewayUp), Event::Tick]);
    let reading = [ReadEvent::Begin { round: 1 }, ReadEvent::End { round: 1, complete: true }];
    events.extend(reading.map(|read| Event::Reply(ReplyEvent::Read(read))));
    for (instrument, bid, ask) in [(InstrumentIx(0), 4_900, 5_100), (InstrumentIx(1), 4_900, 5_100)] {
        events.push(market(MarketEvent::SnapshotStart { instrument, tick: None, venue_ms: 0 }));
        for (side, units) in [(BookSide::Bid, bid), (BookSide::Ask, ask)] {
            let price = Price::from_units(units).unwrap();
            events.push(market(MarketEvent::Level { instrument, side, price, qty: Qty::shares(500) }));
        }
        events.push(market(MarketEvent::SnapshotEnd { instrument }));
    }
    events.push(market(MarketEvent::FrameEnd { venue_ms: 0 }));
    events.extend(std::iter::repeat_n(Event::Tick, 40));
    events.into_iter()
}

/// Records a session of the real core into `dir`. Returns how many actions it asked for.
fn record(dir: &Path, close: bool) -> u64 {
    record_through(dir, close, |record| vec![record])
}

/// The same, with every record passed through `edit` on its way.
fn record_through(dir: &Path, close: bool, mut edit: impl FnMut(Record) -> Vec<Record>) -> u64 {
    let params = Params::default().compressed(200);
    let header = Header {
        run_id: "recorded".into(),
        version: "0.1.0".into(),
        mode: "embedded".into(),
        seed: 1,
        speed: 200,
        started: Nanos(1),
        universe: market_support::universe(Address([3; 20]), vec![market_support::market()]),
        params,
    };
    let mut journal = Writer::create(dir, &header, 1 << 20).unwrap();
    let mut write = |record| edit(record).iter().for_each(|r| journal.append(r).unwrap());
    let mut core = core(&header.universe, &header.params);
    let mut waiting: std::collections::VecDeque<Event> = script().collect();
    let (mut seq, mut actions) = (0, 0);
    while let Some(event) = waiting.pop_front() {
        seq += 1;
        let wall = Nanos(1_790_000_000_000_000_000 + seq * 50_000_000);
        let event = Sequenced { seq, stamp: Stamp { wall, ..Stamp::default() }, event };
        let mut out = Actions::new();
        core.on(&event, &mut (), &mut out);
        write(Record::Event(event));
        for action in &out {
            write(Record::Action { seq, action: *action });
            actions += 1;
            if let Action::Place(approved) = action {
                let order = approved.hash();
                waiting.push_front(Event::Reply(ReplyEvent::Accepted { order, status: AckStatus::Live }));
                waiting.push_front(Event::Reply(ReplyEvent::Sent { order }));
            }
        }
    }
    write(Record::StateHash { seq, hash: core.state_hash() });
    if close {
        journal.close(true).unwrap();
    } else {
        journal.flush().unwrap();
    }
    actions
}

#[test]
fn every_command_has_help_and_a_version() {
    let version = format!(" {}\n", env!("CARGO_PKG_VERSION"));
    let mut commands = vec!["", "run", "replay", "check", "sign", "amounts", "book", "decode", "vectors"];
    if cfg!(feature = "embedded") {
        commands.push("venue");
    }
    for command in commands {
        let with = |flag| if command.is_empty() { outcome(&[flag]) } else { outcome(&[command, flag]) };
        let (code, stdout, _) = with("--help");
        assert!(code == 0 && stdout.contains("Usage: polyloly-fast"), "{command} --help: {code} {stdout}");
        let (code, stdout, _) = with("--version");
        assert!(code == 0 && stdout.ends_with(&version), "{command} --version: {code} {stdout}");
    }
    assert!(outcome(&["--help"]).1.contains("Examples:"));
}

#[test]
fn usage_errors_exit_2() {
    for args in
        [&["nonsense"] as &[&str], &["--nonsense"], &["replay"], &["replay", "a", "b"], &["check", "--cores", "x"]]
    {
        let (code, stdout, stderr) = outcome(args);
        assert!(code == 2 && stdout.is_empty() && !stderr.is_empty(), "{args:?}: {code} {stderr}");
    }
}

#[test]
fn this_machine_passes_with_the_defaults() {
    let (code, stdout, _) = outcome(&["check", "--json"]);
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &found["ok"]), (0, &Value::Bool(true)), "{found:#}");
    let names: Vec<&str> = found["checks"].as_array().unwrap().iter().map(|c| c["check"].as_str().unwrap()).collect();
    for name in ["configuration", "cores", "clock", "locked memory", "journal", "health"] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
    }
}

#[test]
fn a_wrong_configuration_or_core_fails_the_check() {
    let dir = Scratch::new("check");
    let file = dir.file("mine.toml", "[run]\nsped = 1\n[risk]\norder_usdc = 0\n");
    let (code, stdout, _) = outcome(&["check", "--config", &file]);
    assert_eq!(code, 3, "{stdout}");
    for words in ["✗ configuration", "run.sped = 1", "risk.order_usdc = 0", "more than 0 pUSD"] {
        assert!(stdout.contains(words), "{words} is missing from\n{stdout}");
    }
    let (code, stdout, _) = outcome(&["check", "--cores", "9999"]);
    assert!(code == 3 && stdout.contains("9999") && stdout.contains("there are"), "{stdout}");
}

#[test]
fn a_taken_port_fails_the_check() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = Scratch::new("port");
    let file = dir.file("mine.toml", &format!("[health]\nlisten = \"{}\"\n", taken.local_addr().unwrap()));
    let (code, stdout, _) = outcome(&["check", "--config", &file]);
    assert!(code == 3 && stdout.contains("in use"), "{stdout}");
}

#[test]
fn a_replay_of_a_finished_run_is_the_same() {
    let dir = Scratch::new("same");
    let journal = dir.0.join("run");
    let actions = record(&journal, true);
    assert!(actions >= 2, "the core quoted: {actions} actions");
    let path = journal.display().to_string();
    let (code, stdout, stderr) = outcome(&["replay", &path, "--json"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let verdict: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(verdict["same"], true);
    assert_eq!(verdict["actions"], actions);
    assert!(verdict["state_hash"].as_str().unwrap().starts_with("0x"));
    assert!(verdict["events_per_second"].as_u64().unwrap() > 0);
    let (code, stdout, _) = outcome(&["replay", &path]);
    assert!(code == 0 && stdout.contains("the same"), "{stdout}");
}

#[test]
fn a_changed_parameter_is_a_mismatch_that_names_it() {
    let dir = Scratch::new("changed");
    let journal = dir.0.join("run");
    record(&journal, true);
    let path = journal.display().to_string();
    let same = dir.file("same.toml", "[strategy.pair]\nquote_shares = 50\n");
    assert_eq!(outcome(&["replay", &path, "--config", &same]).0, 0, "the recorded value is no change");
    let other = dir.file("other.toml", "[strategy.pair]\nquote_shares = 40\n");
    let (code, _, stderr) = outcome(&["replay", &path, "--config", &other]);
    assert_eq!(code, 4);
    for words in ["strategy.pair.quote_shares: recorded 50, given 40", "different: event ", "recomputed Place"] {
        assert!(stderr.contains(words), "{words} is missing from\n{stderr}");
    }
    let idle = dir.file("idle.toml", "[strategy.pair]\nttl_s = 3600\n[risk]\nbreak_ms = 4999\n");
    let (code, _, stderr) = outcome(&["replay", &path, "--config", &idle]);
    assert!(code == 4 && stderr.contains("risk.break_ms"), "{stderr}");
    let wrong = dir.file("wrong.toml", "[strategy.pair]\nquote_share = 40\n");
    assert_eq!(outcome(&["replay", &path, "--config", &wrong]).0, 2);
}

#[test]
fn damage_and_a_missing_end_are_mismatches() {
    let dir = Scratch::new("damage");
    let journal = dir.0.join("run");
    record(&journal, true);
    let path = journal.display().to_string();
    let segment = journal.join("segment-000000.journal");
    let whole = fs::read(&segment).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&segment, bytes).unwrap();
        let (code, _, stderr) = outcome(&["replay", &path]);
        assert!(code == 4 && !stderr.is_empty(), "byte {at}: {code} {stderr}");
    }
    fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    let (code, _, stderr) = outcome(&["replay", &path]);
    assert!(code == 4 && stderr.contains("--allow-unclean"), "{stderr}");
    assert_eq!(outcome(&["replay", &path, "--allow-unclean"]).0, 0);
    let (code, _, stderr) = outcome(&["replay", &dir.0.join("nothing").display().to_string()]);
    assert!(code == 4 && stderr.contains("not a journal"), "{stderr}");
}

#[test]
fn every_difference_is_told_in_a_sentence() {
    type Edit = fn(Record) -> Vec<Record>;
    let table: [(&str, Edit, &str); 6] = [
        (
            "an action that was never recorded",
            |r| if matches!(r, Record::Action { .. }) { vec![] } else { vec![r] },
            "recorded nothing",
        ),
        (
            "an action that nobody asked for",
            |r| match r {
                Record::Event(e) if e.seq == 5 => vec![r, Record::Action { seq: 5, action: Action::CancelAll }],
                _ => vec![r],
            },
            "event 5: recorded CancelAll, recomputed nothing",
        ),
        (
            "another action",
            |r| match r {
                Record::Action { seq, .. } => vec![Record::Action { seq, action: Action::CancelAll }],
                _ => vec![r],
            },
            "a different action: recorded CancelAll, recomputed Reconcile",
        ),
        (
            "another state",
            |r| match r {
                Record::StateHash { seq, hash } => vec![Record::StateHash { seq, hash: hash ^ 1 }],
                _ => vec![r],
            },
            "state hash recorded",
        ),
        (
            "a missing event",
            |r| if matches!(r, Record::Event(e) if e.seq == 3) { vec![] } else { vec![r] },
            "event 4 follows event 2",
        ),
        (
            "a gap",
            |r| match r {
                Record::Event(e) if e.seq == 5 => vec![r, Record::Gap { seq: 5, lost: 7 }],
                _ => vec![r],
            },
            "after event 5: 7 records are missing",
        ),
    ];
    for (n, (what, edit, sentence)) in table.into_iter().enumerate() {
        let dir = Scratch::new(&format!("edited-{n}"));
        let journal = dir.0.join("run");
        record_through(&journal, true, edit);
        let (code, _, stderr) = outcome(&["replay", &journal.display().to_string(), "--allow-unclean"]);
        assert!(code == 4 && stderr.contains(sentence), "{what}: {code} {stderr}");
    }
}

#[test]
fn a_killed_run_is_verified_as_far_as_it_goes() {
    let dir = Scratch::new("killed");
    let journal = dir.0.join("run");
    let actions = record(&journal, false);
    let path = journal.display().to_string();
    assert_eq!(outcome(&["replay", &path]).0, 4);
    let (code, stdout, _) = outcome(&["replay", &path, "--allow-unclean", "--json"]);
    let verdict: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &verdict["actions"], &verdict["closed"]), (0, &actions.into(), &false.into()));
}
