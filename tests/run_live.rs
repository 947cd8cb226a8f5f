//! A live run against a venue in a process of its own, over TLS, with a key that nobody else knows: it trades, stops,
//! leaves nothing behind, and never tells the key.
#![cfg(feature = "embedded")]

mod support;

use std::{fs, path::Path};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use support::{Abroad, Running, Scratch, assert_clean, number, polyloly};

/// Every way in which a key could show: its bytes and each half of them, as they are, in hex, in base64.
fn shapes(key: &str) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> =
        (0..key.len() / 2).map(|n| u8::from_str_radix(&key[2 * n..2 * n + 2], 16).expect("hex")).collect();
    let mut all = Vec::new();
    for part in [&bytes[..16], &bytes[16..]] {
        all.push(part.to_vec());
        all.push(part.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes());
        // As a debug format writes a list.
        all.push(format!("{part:?}").trim_matches(['[', ']']).as_bytes().to_vec());
    }
    // Three bytes make four letters, so text inside a longer whole begins at one of three places.
    for offset in 0..3 {
        let shifted = [&vec![0; offset][..], &bytes].concat();
        for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            all.push(text.as_bytes()[4..40].to_vec());
        }
    }
    all
}

fn holds(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|w| w == needle)
}

/// Fails if any of these needles is in these bytes, whatever the case of its letters.
#[track_caller]
fn assert_silent(what: &str, bytes: &[u8], needles: &[Vec<u8>]) {
    let lower = bytes.to_ascii_lowercase();
    for needle in needles {
        let told = holds(bytes, needle) || holds(&lower, &needle.to_ascii_lowercase());
        assert!(!told, "{what} tells a secret");
    }
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_search_for_a_key_finds_it_in_every_shape() {
    let key = support::random_key();
    let bytes: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&key[2 * n..2 * n + 2], 16).expect("hex")).collect();
    let needles = shapes(&key);
    let texts = [
        format!("key 0x{key}").into_bytes(),
        key.to_uppercase().into_bytes(),
        [b"x", &bytes[..]].concat(),
        STANDARD_NO_PAD.encode(&bytes).into_bytes(),
        URL_SAFE_NO_PAD.encode([b"a", &bytes[..]].concat()).into_bytes(),
        format!("{bytes:?}").into_bytes(),
    ];
    for text in texts {
        let found = needles.iter().any(|n| holds(&text, n) || holds(&text.to_ascii_lowercase(), n));
        assert!(found, "missed in {}", String::from_utf8_lossy(&text));
    }
    assert_silent("nothing", b"nothing of it", &needles);
}

#[test]
fn a_live_run_trades_stops_clean_and_never_tells_its_key() {
    let dir = Scratch::new("live");
    let abroad = Abroad::start(&dir, &["--speed", "60"]);
    let config = abroad.configure(&dir, 1, [None; 4]);
    let run = abroad.trade(&dir, &config, &[]);
    run.orders_open(2);
    abroad.shows_open_orders();
    run.signal("INT");
    let ended = run.end().with(130);
    // Every step of the start was taken, in this order, before anything traded.
    let steps = [
        "place",
        "clock",
        "order version 2",
        "API key",
        "account may trade",
        "1 markets",
        "5000",
        "no open",
        "nothing",
    ];
    let told: Vec<&str> = ended.stderr.lines().filter_map(|line| line.strip_prefix("start: ")).collect();
    assert_eq!(told.len(), steps.len(), "{told:?}");
    for (line, step) in told.iter().zip(steps) {
        let place = step == "place" && line.contains("allowed from here");
        assert!(place || line.starts_with(step), "{step} is not {line}");
    }

    let summary = dir.json("summary.json");
    assert_eq!(summary["mode"], "live");
    assert_clean(&summary);
    assert!(number(&summary, "/orders/accepted") >= 2, "{summary:#}");
    let (credentials, open) = abroad.account();
    assert!(open.is_empty(), "left at the venue: {open:?}");
    polyloly(dir.dir(), &["replay", summary["journal"].as_str().expect("a journal")]).with(0);

    let mut needles = shapes(&abroad.key);
    needles.extend([credentials.secret.as_bytes().to_vec(), credentials.passphrase.as_bytes().to_vec()]);
    assert_silent("standard output", ended.stdout.as_bytes(), &needles);
    assert_silent("standard error", ended.stderr.as_bytes(), &needles);
    let written = files(dir.dir());
    for name in ["run.log", "summary.json", "segment-000000.journal"] {
        assert!(written.iter().any(|f| f.ends_with(name)), "{name} is missing from {written:?}");
    }
    for file in written {
        assert_silent(&file.display().to_string(), &fs::read(&file).expect("a file"), &needles);
    }
    abroad.venue.signal("TERM");
    abroad.venue.end().with(143);
}

#[test]
fn a_second_signal_does_not_wait_for_a_silent_venue_and_still_cancels() {
    let dir = Scratch::new("second");
    let abroad = Abroad::start(&dir, &["--speed", "60"]);
    let config = abroad.configure(&dir, 1, [None; 4]);
    let run = abroad.trade(&dir, &config, &[]);
    abroad.shows_open_orders();
    abroad.venue.signal("STOP");
    run.signal("INT");
    run.signal("TERM");
    // The journal is closed, and trimmed from the size that it was laid out in, although the venue says nothing.
    let journal = dir.dir().join("journal");
    let begun = std::time::Instant::now();
    while files(&journal).iter().any(|f| fs::metadata(f).expect("a file").len() >= 64 << 20) {
        assert!(begun.elapsed() < support::PATIENCE, "the journal stays open");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    abroad.venue.signal("CONT");
    run.end().with(1);
    let failures = dir.json("summary.json")["failures"].to_string();
    assert!(failures.contains("everything was cancelled by a call of its own"), "{failures}");
    let (_, open) = abroad.account();
    assert!(open.is_empty(), "left at the venue: {open:?}");
}

#[test]
fn real_money_needs_the_flag_and_a_key_of_ones_own() {
    let dir = Scratch::new("refused");
    let abroad = Abroad::start(&dir, &["--plain"]);
    let config = abroad.configure(&dir, 1, [None; 4]);
    let run = |args: &[&str], key: Option<&str>| {
        let env: Vec<_> = key.into_iter().map(|k| ("POLYMARKET_PRIVATE_KEY", k)).collect();
        Running::start(dir.dir(), &[&["run", "--config", &config], args].concat(), &env).end()
    };
    run(&[], Some(&abroad.key)).with(2).saying(&["mode = \"live\"", "--live"]);
    run(&["--live"], None).with(2).saying(&["POLYMARKET_PRIVATE_KEY"]);
    for wrong in ["", "0x12", "zz", &"f".repeat(64), &"0".repeat(64)] {
        let ended = run(&["--live"], Some(wrong)).with(2).saying(&["POLYMARKET_PRIVATE_KEY"]);
        assert!(wrong.len() < 4 || !ended.stderr.contains(wrong), "{}", ended.stderr);
    }
    let known = abroad.ready["accounts"][0]["private_key"].as_str().expect("a development key");
    run(&["--live"], Some(known)).with(2).saying(&["well-known development"]);
}
