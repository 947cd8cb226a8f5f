//! Recorded markets, played by the venue and traded by a run: it ends by itself, counts every message, and its books
//! are trusted.
#![cfg(feature = "embedded")]

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Running, Scratch, assert_clean, number, polyloly};

const MARKET: &str = "0x3c80445e6248383d45606d5c8cde91ffc86f8312fa366b68e62d18d8b5019322";
const YES: &str = "67744047186280837638581517121808286156526362225479265045687103593827108345440";
const NO: &str = "81755600237477282507222299225124336438083939235322593100586399872775751001085";
/// First message, in Unix milliseconds.
const START: u64 = 1_790_779_105_520;

/// A snapshot of one token round `bid` hundredths.
fn book(token: &str, at: u64, bid: u64) -> Value {
    let level = |price: u64, size: &str| json!({"price": format!("0.{price:02}"), "size": size});
    json!({
        "event_type": "book", "market": MARKET, "asset_id": token, "timestamp": at.to_string(), "hash": "a",
        "bids": [level(bid - 1, "300"), level(bid, "100")], "asks": [level(bid + 5, "300"), level(bid + 4, "100")],
        "tick_size": "0.01",
    })
}

/// One level of YES and its mirror on NO.
fn change(at: u64, size: u64) -> Value {
    let entry = |token: &str, price: &str, side: &str, bid: &str, ask: &str| {
        json!({"asset_id": token, "price": price, "size": size.to_string(), "side": side, "hash": "b",
            "best_bid": bid, "best_ask": ask})
    };
    json!({
        "event_type": "price_change", "market": MARKET, "timestamp": at.to_string(),
        "price_changes": [entry(YES, "0.48", "BUY", "0.48", "0.52"), entry(NO, "0.52", "SELL", "0.48", "0.52")],
    })
}

/// Ten minutes of one market: two snapshots, a change a second, a message of a kind that nobody knows, and a line that
/// is none.
fn recording() -> (String, u64) {
    let mut lines: Vec<String> = vec![json!([book(YES, START, 48), book(NO, START, 48)]).to_string()];
    lines.extend((1..600).map(|n| change(START + n * 1_000, 100 + n).to_string()));
    lines.push(
        json!({"event_type": "heartbeat_of_tomorrow", "market": MARKET, "asset_id": YES,
        "timestamp": (START + 600_000).to_string()})
        .to_string(),
    );
    let messages = lines.len() as u64 + 1;
    lines.push("half a line {".into());
    (lines.join("\n"), messages)
}

#[test]
fn a_recording_is_played_to_its_end_and_traded_on_trusted_books() {
    let dir = Scratch::new("recorded");
    let (text, messages) = recording();
    let file = dir.write("mine.jsonl", text);
    let args = ["run", "--scenario", &file, "--speed", "100", "--cores", "0", "--summary", "summary.json"];
    let ended = polyloly(dir.dir(), &args).with(0).saying(&["1 left out"]);
    assert!(ended.stdout.contains("mine"), "{}", ended.stdout);
    let summary = dir.json("summary.json");
    assert_clean(&summary);
    assert_eq!(summary["stop_reason"], "scenario_over");
    assert!(number(&summary, "/counters/market_messages") >= messages - 1, "{summary:#}");
    assert_eq!(number(&summary, "/counters/market_malformed"), 0);
    assert!(number(&summary, "/counters/market_ignored") >= 1, "the unknown kind is counted");
    assert!(number(&summary, "/orders/accepted") >= 2, "a trusted book is quoted: {summary:#}");
    trusted(&summary);
    let journal = summary["journal"].as_str().expect("a journal");
    polyloly(dir.dir(), &["replay", journal]).with(0);
}

/// Books may be asked for anew now and then, but are not to be used for no more than a tenth of the time.
#[track_caller]
fn trusted(summary: &Value) {
    let (untrusted, books) = (number(summary, "/books/untrusted_ns"), 2 * number(summary, "/duration_ns"));
    assert!(untrusted * 10 <= books, "untrusted {untrusted} of {books} ns: {summary:#}");
}

#[test]
fn a_venue_alone_lists_the_markets_of_its_recording() {
    let dir = Scratch::new("listed");
    let file = dir.write("mine.jsonl", recording().0);
    let venue = Running::start(dir.dir(), &["venue", "--plain", "--listen", "127.0.0.1:0", "--scenario", &file], &[]);
    let markets = &venue.ready()["markets"];
    assert_eq!(markets.as_array().map(Vec::len), Some(1), "{markets}");
    assert_eq!(markets[0]["condition_id"], MARKET);
    assert_eq!((&markets[0]["tokens"][0]["token_id"], &markets[0]["tokens"][1]["token_id"]), (&YES.into(), &NO.into()));
    assert_eq!((&markets[0]["tick_size"], &markets[0]["neg_risk"]), (&"0.01".into(), &false.into()));
    venue.signal("INT");
    venue.end().with(130);
}

#[test]
fn a_real_market_of_a_league_of_legends_match_is_played_to_its_end() {
    let shared = std::env::var_os("POLYLOLY_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let file = shared.join("data/polymarket/lol-tsw-mvk-2026-02-06.replay.json.gz");
    if !file.is_file() {
        eprintln!("SKIPPED: {} is not there; POLYLOLY_SHARED names the directory of shared data", file.display());
        return;
    }
    let file = file.display().to_string();
    let dir = Scratch::new("real");
    let args = ["run", "--scenario", &file, "--speed", "100", "--cores", "0", "--summary", "summary.json"];
    polyloly(dir.dir(), &args).with(0);
    let summary = dir.json("summary.json");
    assert_clean(&summary);
    assert_eq!(summary["stop_reason"], "scenario_over");
    let messages = number(&summary, "/counters/market_messages");
    assert!(messages >= 100, "{messages} messages");
    assert_eq!(number(&summary, "/counters/market_malformed"), 0);
    trusted(&summary);

    let venue = Running::start(dir.dir(), &["venue", "--plain", "--listen", "127.0.0.1:0", "--scenario", &file], &[]);
    let ready = venue.ready();
    let slug = ready["markets"][0]["slug"].as_str().expect("a slug");
    assert!(slug.contains("lol-tsw-mvk"), "{slug}");
    venue.signal("TERM");
    venue.end().with(143);
}
