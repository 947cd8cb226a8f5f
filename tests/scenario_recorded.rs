//! Recordings: what is played, when, and what is said of files that cannot be.

#![cfg(feature = "embedded")]

use std::path::PathBuf;

use polyloly_fast::{
    scenario::{self, Books, Command, Scenario, SimTime, Trader, recorded::Recorded},
    types::{InstrumentIx, MarketIx, Price, Qty, TickSize, TokenId, Usdc},
};
use serde_json::Value;

/// A recording asks nobody anything.
struct NoBooks;

impl Books for NoBooks {
    fn best_bid(&self, _: InstrumentIx) -> Option<(Price, Qty)> {
        None
    }
    fn best_ask(&self, _: InstrumentIx) -> Option<(Price, Qty)> {
        None
    }
    fn tick(&self, _: MarketIx) -> TickSize {
        TickSize::Cent
    }
    fn shares(&self, _: Trader, _: InstrumentIx) -> Qty {
        Qty::ZERO
    }
    fn cash(&self, _: Trader) -> Usdc {
        Usdc::ZERO
    }
}

/// Plays to the end: time in milliseconds and text of each message.
fn play(scenario: &mut dyn Scenario) -> Vec<(u64, String)> {
    let (mut played, mut out, mut finished) = (Vec::new(), Vec::new(), 0);
    while let Some(now) = scenario.next_at() {
        scenario.step(now, &NoBooks, &mut out);
        for command in out.drain(..) {
            match command {
                Command::Replay(text) => played.push((now.0 / 1_000_000, text)),
                Command::Finished => finished += 1,
                other => panic!("a recording only replays: {other:?}"),
            }
        }
    }
    assert_eq!(finished, 1);
    scenario.step(SimTime(u64::MAX), &NoBooks, &mut out);
    assert!(out.is_empty(), "nothing comes after the end");
    played
}

const MARKET: &str = "0x3c80445e6248383d45606d5c8cde91ffc86f8312fa366b68e62d18d8b5019322";

fn trade(asset: &str, at: u64, price: &str) -> String {
    format!(
        r#"{{"event_type":"last_trade_price","market":"{MARKET}","asset_id":"{asset}","price":"{price}","size":"5","side":"BUY","timestamp":"{at}"}}"#
    )
}

fn book(asset: &str, at: u64) -> String {
    format!(
        r#"{{"timestamp":"{at}","market":"{MARKET}","event_type":"book","asset_id":"{asset}","bids":[],"asks":[]}}"#
    )
}

#[test]
fn bare_messages_play_as_they_came_in_their_own_rhythm() {
    // The snapshot's own time is that of its last change, long ago; it must not delay what follows.
    let lines =
        [book("11", 5_000), trade("11", 1_000_000, "0.5"), trade("12", 1_000_250, "0.5"), trade("11", 999_000, "0.4")];
    let mut recorded = Recorded::from_bytes("day", lines.join("\n").as_bytes()).expect("a recording");
    let times = [0, 0, 250, 250];
    assert_eq!(play(&mut recorded), times.into_iter().zip(lines).collect::<Vec<_>>());

    let setup = recorded.setup();
    assert_eq!((setup.markets.len(), setup.traders.len()), (1, 0));
    assert_eq!(setup.markets[0].condition.to_string(), MARKET);
    assert_eq!(setup.markets[0].tokens.map(|t| t.to_string()), ["11", "12"]);
    assert_eq!((setup.markets[0].slug.as_str(), setup.markets[0].tick), ("day", TickSize::Cent));
}

#[test]
fn wrapped_messages_play_when_they_were_received() {
    let lines = [
        format!(r#"{{"t":"2026-02-06T06:16:24Z","message":{}}}"#, book("11", 1)),
        format!(r#"{{"t":1770358585000,"message":[{},{}]}}"#, book("12", 2), trade("11", 9, "0.515")),
    ];
    let mut recorded = Recorded::from_bytes("day", lines.join("\r\n").as_bytes()).expect("a recording");
    assert_eq!(recorded.setup().markets[0].tick, TickSize::Mill, "a price off the cent grid needs a finer one");
    let want = [(0, book("11", 1)), (1_000, book("12", 2)), (1_000, trade("11", 9, "0.515"))];
    assert_eq!(play(&mut recorded), want);
}

#[test]
fn a_missing_mirror_is_named_and_stays_the_same() {
    let line = trade("11", 1, "0.5");
    let names = || Recorded::from_bytes("x", line.as_bytes()).expect("a recording").setup().markets[0].tokens;
    let [first, second] = names();
    assert_eq!(first, TokenId::parse(b"11").expect("a token"));
    assert!(second != first && second != TokenId::default());
    assert_eq!(names(), [first, second]);
}

#[test]
fn bad_lines_are_counted_and_the_first_is_named() {
    let mut bytes = trade("11", 1, "0.5").into_bytes();
    bytes.extend_from_slice(b"\n\n{\"event_type\":\"book\"\n\xff\xfe\n7\n{\"a\":1}\n");
    bytes.extend_from_slice(format!("{}\n", "[".repeat(5_000)).as_bytes());
    bytes.extend_from_slice(br#"{"event_type":"book","market":"0x00"}"#);
    let recorded = Recorded::from_bytes("x", &bytes).expect("one line is good");
    assert_eq!((recorded.len(), recorded.skipped().count), (1, 6));
    let first = recorded.skipped().first.as_deref().expect("named");
    assert!(first.starts_with("line 3: not JSON"), "{first}");
    assert!(recorded.setup().title.contains(first));
}

#[test]
fn files_that_cannot_be_played_say_why() {
    let rows: [(&[u8], &str); 7] = [
        (b"", "no message that shows a market"),
        (b"\n \n", "no message that shows a market"),
        (b"hello", "line 1: not JSON"),
        (b"{\"event_type\":\"book\"}", "line 1: a message without a time"),
        (b"{\"t\":\"noon\",\"message\":{\"event_type\":\"book\"}}", "line 1: `t` is no time"),
        (b"{\"meta\":{},\"frames\":[]}", "unknown form: missing field `slug`"),
        (br#"{"meta":{"slug":"s","outcomes":["A","B"]},"frames":[{"ts":1}]}"#, "frame 1: missing field `bids`"),
    ];
    for (bytes, why) in rows {
        let error = Recorded::from_bytes("x", bytes).err().expect("an error");
        assert!(error.contains(why), "{error} should say {why}");
    }
}

#[test]
fn opening_names_what_there_is() {
    assert!(scenario::open("lol-bo3", 1).is_ok());
    for spec in ["lol-bo4", "", "/no/such/file", "/"] {
        let error = scenario::open(spec, 1).err().expect("an error");
        assert!(error.contains("lol-bo3") && error.contains(&format!("`{spec}`")), "{error}");
    }
}

#[test]
fn every_captured_message_can_be_played() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/samples/ws_market");
    let (mut lines, mut broadcast) = (Vec::new(), 0);
    for entry in std::fs::read_dir(dir).expect("fixtures") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a fixture");
        let mut message: Value = serde_json::from_str(&text).expect("JSON");
        // Captures of 2024 lack the time or the type that a recorder would have written beside them.
        if message.get("event_type").is_none() {
            message["event_type"] = "book".into();
        }
        broadcast += usize::from(matches!(message["event_type"].as_str(), Some("new_market" | "market_resolved")));
        lines.push(format!(r#"{{"t":1,"message":{message}}}"#));
    }
    let recorded = Recorded::from_bytes("samples", lines.join("\n").as_bytes()).expect("a recording");
    assert_eq!((recorded.len(), recorded.skipped().count), (lines.len(), 0));
    assert!(lines.len() > 6 && broadcast == 2);
    let markets = recorded.setup().markets;
    assert!(!markets.is_empty() && markets.len() <= lines.len() - broadcast);
}

#[cfg(feature = "tools")]
#[test]
fn gzip_is_read_and_broken_gzip_is_refused() {
    use std::io::Write;
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zip.write_all(trade("11", 1, "0.5").as_bytes()).expect("memory");
    let zipped = zip.finish().expect("memory");
    let dir = std::env::temp_dir();
    let (good, cut) = (
        dir.join(format!("polyloly-{}-good.jsonl.gz", std::process::id())),
        dir.join(format!("polyloly-{}-cut.jsonl.gz", std::process::id())),
    );
    std::fs::write(&good, &zipped).expect("a file");
    std::fs::write(&cut, &zipped[..zipped.len() / 2]).expect("a file");
    let (read, refused) = (Recorded::open(&good), Recorded::open(&cut).err());
    let _ = (std::fs::remove_file(&good), std::fs::remove_file(&cut));
    assert_eq!(read.expect("a recording").len(), 1);
    assert!(refused.expect("an error").contains("cut.jsonl.gz"));
}

/// The reference data, where it is at hand.
#[cfg(feature = "tools")]
fn shared(file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("POLYLOLY_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(file);
    if !path.is_file() {
        eprintln!("SKIPPED: no {}; set POLYLOLY_SHARED to the folder of the reference data", path.display());
        return None;
    }
    Some(path)
}

#[cfg(feature = "tools")]
#[test]
fn the_real_lol_market_plays_as_books_of_both_tokens() {
    let Some(path) = shared("data/polymarket/lol-tsw-mvk-2026-02-06.replay.json.gz") else { return };
    let mut scenario = scenario::open(path.to_str().expect("UTF-8"), 0).expect("the capture");
    let market = scenario.setup().markets.remove(0);
    assert_eq!((market.slug.as_str(), market.tick), ("lol-tsw-mvk-2026-02-06", TickSize::Cent));
    assert_eq!(market.outcomes, ["Team Secret Whales", "MVK Esports"]);

    let played = play(&mut *scenario);
    assert_eq!(played.len(), 120, "60 frames, two tokens");
    assert_eq!(played.last().expect("frames").0, 295_000, "06:16:24 to 06:21:19");
    let level = |v: &Value| {
        let text = |key: &str| v[key].as_str().expect("a string").to_owned();
        (Price::parse(text("price").as_bytes()).expect("a price"), Qty::parse(text("size").as_bytes()).expect("a size"))
    };
    for pair in played.chunks(2) {
        let [yes, no] = [0, 1].map(|i| serde_json::from_str::<Value>(&pair[i].1).expect("JSON"));
        let side = |v: &Value, key: &str| v[key].as_array().expect("levels").iter().map(level).collect::<Vec<_>>();
        for (book, token) in [(&yes, market.tokens[0]), (&no, market.tokens[1])] {
            assert_eq!(book["asset_id"], token.to_string());
            assert_eq!(book["market"], market.condition.to_string());
            let (bids, asks) = (side(book, "bids"), side(book, "asks"));
            assert!(bids.is_sorted() && asks.is_sorted_by(|a, b| a > b), "best last");
            assert!(bids.last().expect("bids").0 < asks.last().expect("asks").0);
        }
        let mirrored: Vec<_> = side(&yes, "bids").into_iter().map(|(p, q)| (p.complement(), q)).collect();
        assert_eq!(side(&no, "asks"), mirrored);
    }
    let first: Value = serde_json::from_str(&played[0].1).expect("JSON");
    assert_eq!(level(first["bids"].as_array().expect("bids").last().expect("a bid")).0.to_string(), "0.63");
    assert_eq!(level(first["asks"].as_array().expect("asks").last().expect("an ask")).1.to_string(), "100");
}
