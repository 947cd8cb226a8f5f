//! Bad input at the command line, each with its exit code and a sentence that names what is wrong and what is right.
#![cfg(feature = "embedded")]

mod support;

use std::{fs, net::TcpListener, path::Path};

use serde_json::Value;
use support::{Ended, Running, Scratch, polyloly};

/// Refused with exit code 2, before anything was started or written.
#[track_caller]
fn refused(dir: &Scratch, args: &[&str], words: &[&str]) {
    let ended = polyloly(dir.dir(), args).with(2).saying(words);
    assert_eq!(ended.stdout, "", "{args:?}");
    assert!(!dir.dir().join("journal").exists(), "{args:?} began a journal");
}

#[test]
fn configurations_that_cannot_be_are_refused_by_run() {
    let dir = Scratch::new("config");
    for (text, words) in [
        ("[run]\nspedd = 3", &["run.spedd = 3", "did you mean `run.speed`?"][..]),
        ("[risk]\nmarkt_usdc = 1", &["risk.markt_usdc = 1", "did you mean `risk.market_usdc`?"]),
        ("[risk]\norder_usdc = 0", &["risk.order_usdc = 0", "more than 0 pUSD"]),
        ("[risk]\norder_usdc = -1", &["risk.order_usdc = -1", "more than 0 pUSD"]),
        ("[risk]\ntotal_usdc = \"0\"", &["risk.total_usdc = 0", "more than 0 pUSD"]),
        ("[risk]\ndaily_loss_usdc = \"-1\"", &["risk.daily_loss_usdc = -1", "more than 0 pUSD"]),
        ("[risk]\norder_usdc = 600\nmarket_usdc = 500", &["risk.order_usdc = 600", "at most risk.market_usdc"]),
        ("[strategy.pair]\nmax_net_shares = 10", &["strategy.pair.max_net_shares = 10", "quote_shares"]),
        ("mode = \"live\"", &["markets.conditions = []", "account.funder"]),
        ("mode = \"live\"\n[run]\nspeed = 0", &["run.speed = 0", "1 to 1000"]),
        ("[run]\n= 3", &["line 2"]),
        ("[account]\nprivate_key = \"abc\"", &["account.private_key", "elete this line"]),
    ] {
        let file = dir.write("mine.toml", text);
        refused(&dir, &["run", "--config", &file], &[&["mine.toml"], words].concat());
    }
}

#[test]
fn configurations_that_cannot_be_read_are_refused_by_run() {
    let dir = Scratch::new("unreadable");
    refused(&dir, &["run", "--config", "absent.toml"], &["absent.toml: cannot be read"]);
    refused(&dir, &["run", "--config", "."], &["cannot be read"]);
    let file = dir.write("latin.toml", b"mode = \"\xff\xfe\"");
    refused(&dir, &["run", "--config", &file], &["latin.toml: cannot be read", "UTF-8"]);
    let deep = dir.write("deep.toml", format!("a = {}", "[".repeat(100_000)));
    refused(&dir, &["run", "--config", &deep], &["deep.toml"]);
}

#[test]
fn flags_that_cannot_be_are_refused() {
    let dir = Scratch::new("flags");
    let live = dir.write(
        "live.toml",
        "mode = \"live\"\n[account]\nsignature_type = 0\n[markets]\nconditions = \
         [\"0x0707070707070707070707070707070707070707070707070707070707070707\"]",
    );
    for (args, words) in [
        (&["run", "--live"][..], &["--live", "no real money", "drop the flag"][..]),
        (&["run", "--config", &live], &["trades real money", "--live"]),
        (&["run", "--cores", "0,0"], &["core 0 is named twice", "share_cores"]),
        (&["run", "--cores", "0-1,1"], &["core 1 is named twice"]),
        (&["run", "--cores", "9999"], &["9999", "there are"]),
        (&["run", "--cores", "x"], &["`x`", "0,1 or 2-5"]),
        (&["run", "--speed", "0"], &["0", "1..=1000"]),
        (&["run", "--speed", "1001"], &["1001", "1..=1000"]),
        (&["run", "--for", "soon"], &["`soon`", "500ms, 90s, 5m or 2h"]),
        (&["run", "--for", "0s"], &["run.duration"]),
        (&["run", "--seed", "-1"], &["-1"]),
        (&["run", "--scenario", "dota-bo9"], &["`dota-bo9`", "lol-bo3", "recording"]),
        (&["run", "--scenario", ""], &["run.scenario"]),
        (&["run", "--summary", "no/such/place.json"], &["--summary no/such/place.json"]),
        (&["run", "--log-file", "no/such/place.log"], &["log file no/such/place.log"]),
        (&["run", "--sped", "3"], &["--sped", "--speed"]),
        (&["run", "--live", "venue"], &["venue"]),
        (&["--seed", "1", "venue"], &["venue"]),
        (&["nonsense"], &["nonsense"]),
        (&["venue", "--scenario", "dota-bo9"], &["`dota-bo9`", "lol-bo3"]),
        (&["venue", "--speed", "0"], &["0.01 to 1000"]),
        (&["venue", "--listen", "0.0.0.0:0"], &["not a loopback address"]),
        (&["venue", "--fund", "0x12:5"], &["ADDRESS:USDC"]),
        (&["venue", "--faults", "no-such.toml"], &["--faults no-such.toml", "No such file"]),
    ] {
        refused(&dir, args, words);
    }
}

#[test]
fn recordings_that_cannot_be_played_are_refused_by_run_and_venue() {
    let dir = Scratch::new("recordings");
    let book = r#"{"event_type":"book","market":"0x12","asset_id":"1","timestamp":"1","bids":[],"asks":[]}"#;
    for (name, bytes, words) in [
        ("empty.jsonl", &b""[..], &["nothing in it can be played"][..]),
        ("text.jsonl", b"hello", &["line 1", "not JSON"]),
        ("binary.jsonl", b"\xff\xfe\x00", &["line 1", "not JSON"]),
        ("untimed.jsonl", br#"{"event_type":"book"}"#, &["a message without a time"]),
        ("cut.jsonl.gz", &[0x1f, 0x8b, 8, 0], &["cannot read recording"]),
        ("capture.json", br#"{"meta":{},"frames":[]}"#, &["a capture of an unknown form"]),
        ("no-market.jsonl", book.as_bytes(), &["nothing in it can be played"]),
        ("deep.jsonl", "[".repeat(100_000).as_bytes(), &["line 1", "not JSON"]),
    ] {
        let file = dir.write(name, bytes);
        for command in [&["run", "--scenario", &file][..], &["venue", "--listen", "127.0.0.1:0", "--scenario", &file]] {
            refused(&dir, command, &[&[name], words].concat());
        }
    }
}

#[test]
fn a_port_in_use_is_named_by_venue_and_by_run() {
    let dir = Scratch::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = taken.local_addr().expect("bound").to_string();
    let ended = polyloly(dir.dir(), &["venue", "--plain", "--listen", &port]).with(1).saying(&[&port, "in use"]);
    assert_eq!(ended.stdout, "", "no ready line");
    let file = dir.write("mine.toml", format!("[health]\nlisten = \"{port}\""));
    polyloly(dir.dir(), &["run", "--cores", "0", "--config", &file]).with(1).saying(&[
        &port,
        "in use",
        "health.listen",
    ]);
}

#[test]
fn a_journal_that_cannot_be_written_stops_the_run_before_it_trades() {
    let dir = Scratch::new("journal");
    let file = dir.write("mine.toml", format!("[journal]\ndir = \"{}\"", dir.write("file", "not a directory")));
    polyloly(dir.dir(), &["run", "--cores", "0", "--config", &file]).with(1).saying(&["journal", "journal.dir"]);
}

#[test]
fn a_venue_that_is_not_there_or_is_none_is_refused_with_the_step() {
    let dir = Scratch::new("nobody");
    let key = support::random_key();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("loopback").to_string();
    let garbage = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let talker = garbage.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for mut socket in garbage.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut socket, b"220 smtp.example ready\r\n");
        }
    });
    for (at, words) in [(closed, "nobody listens there"), (talker, "GET /time")] {
        let file = dir.write(
            "live.toml",
            format!(
                "mode = \"live\"\n[venue]\nrest = \"http://{at}\"\ngeoblock = \"\"\n[account]\nsignature_type = 0\n[markets]\nconditions = \
                 [\"0x0707070707070707070707070707070707070707070707070707070707070707\"]"
            ),
        );
        let run = Running::start(
            dir.dir(),
            &["run", "--live", "--config", &file],
            &[("POLYMARKET_PRIVATE_KEY", key.as_str())],
        );
        run.end().with(3).saying(&["GET /time", words]);
    }
}

/// A message as it may come from anywhere, and what is wrong with it.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let book = |price: &str| {
        format!(
            r#"{{"event_type":"book","market":"0x12","asset_id":"1","timestamp":"1","bids":[{{"price":"{price}","size":"5"}}],
            "asks":[]}}"#
        )
    };
    vec![
        ("malformed", br#"{"event_type":"book","bids":}"#.to_vec()),
        ("truncated", br#"{"event_type":"book","market":"0x"#.to_vec()),
        ("a long word", [&b"\""[..], &vec![b'a'; 8 << 20]].concat()),
        ("deep arrays", [vec![b'['; 100_000], vec![b']'; 100_000]].concat()),
        ("deep objects", [br#"{"a":"#.repeat(100_000), b"1".to_vec(), vec![b'}'; 100_000]].concat()),
        ("deep and never closed", vec![b'['; 1_000_000]),
        ("not UTF-8", b"{\"event_type\":\"b\xff\xfeok\"}".to_vec()),
        ("a lone surrogate", br#"{"event_type":"\ud800"}"#.to_vec()),
        ("zeros", vec![0; 64]),
        ("a price above one", book("1.5").into_bytes()),
        ("a price below zero", book("-0.5").into_bytes()),
        ("a price of 400 digits", book(&format!("0.{}", "3".repeat(400))).into_bytes()),
        ("a price in words", book("half").into_bytes()),
    ]
}

/// Every line of standard output is JSON; the number of those that are errors.
#[track_caller]
fn errors(what: &str, ended: &Ended) -> usize {
    let lines = ended.stdout.lines();
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{what}: {e}: {line:.200}"));
    lines.map(read).filter(|v| v["error"].as_str().is_some_and(|text| !text.is_empty())).count()
}

#[test]
fn hostile_messages_are_told_as_errors_by_book_and_decode() {
    let dir = Scratch::new("hostile");
    for (what, bytes) in hostile() {
        let file = dir.write("message.json", &bytes);
        let ended = polyloly(dir.dir(), &["book", &file]).with(1);
        assert!(errors(what, &ended) >= 1, "book, {what}: {}", ended.stdout);
        let totals: Value = serde_json::from_str(ended.stdout.lines().last().expect("totals")).expect("JSON");
        assert!(totals["rejected"].as_u64() >= Some(1), "{what}: {totals}");
        let ended = polyloly(dir.dir(), &["decode", &file]).with(1);
        assert!(errors(what, &ended) >= 1, "decode, {what}: {}", ended.stdout);
    }
    let cut = dir.write("cut.json.gz", [0x1f, 0x8b, 8, 0, 0]);
    for (file, words) in [("absent.json", "absent.json"), (".", "directory"), (&cut, "cut.json.gz")] {
        for command in ["book", "decode"] {
            let ended = polyloly(dir.dir(), &[command, file]).with(1);
            assert!(ended.stdout.contains(words) && errors(file, &ended) == 1, "{command} {file}: {}", ended.stdout);
        }
    }
}

#[test]
fn a_bad_message_among_good_ones_spoils_only_itself() {
    let dir = Scratch::new("among");
    let book = r#"{"event_type":"book","market":"0x12","asset_id":"1","timestamp":"1","bids":[{"price":"0.5","size":"5"}],"asks":[]}"#;
    let unknown = r#"{"event_type":"news_of_tomorrow","asset_id":"1","timestamp":"1"}"#;
    let early = r#"{"event_type":"price_change","market":"0x12","timestamp":"1","price_changes":[{"asset_id":"2","price":"0.4","size":"1","side":"BUY","best_bid":"0.4","best_ask":"1"}]}"#;
    let file = dir.write("mixed.jsonl", [early, book, unknown, "{", book].join("\n"));
    let ended = polyloly(dir.dir(), &["book", &file]).with(1);
    assert_eq!(errors("mixed", &ended), 1);
    let lines: Vec<Value> = ended.stdout.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let token = |id: &str| lines.iter().find(|l| l["token_id"] == id).unwrap_or_else(|| panic!("no token {id}"));
    assert_eq!((&token("1")["trusted"], &token("1")["best_bid"]), (&true.into(), &"0.5".into()));
    assert_eq!((&token("2")["trusted"], &token("2")["bids"]), (&false.into(), &0.into()), "a change before a snapshot");
    let totals = lines.last().expect("totals");
    assert_eq!((&totals["messages"], &totals["rejected"], &totals["ignored"]), (&5.into(), &1.into(), &1.into()));

    let ended = polyloly(dir.dir(), &["decode", &file]).with(1);
    assert_eq!((ended.stdout.lines().count(), errors("mixed", &ended)), (5, 1));
    assert!(ended.stdout.contains(r#""kind":"unknown""#), "{}", ended.stdout);
}

/// A command that answers a line a line, given these lines.
fn answers(dir: &Scratch, command: &str, lines: &[&[u8]]) -> Ended {
    let env = [("POLYMARKET_PRIVATE_KEY", "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")];
    Running::start(dir.dir(), &[command], &env).feed(&lines.join(&b'\n')).end()
}

#[test]
fn bad_lines_of_sign_and_amounts_are_told_and_the_rest_is_answered() {
    let dir = Scratch::new("lines");
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"kind":"{}"}}"#, "a".repeat(5 << 20));
    let bad: [&[u8]; 8] = [b"{", b"[]", b"null", b"\xff\xfe", b"{\"kind\":1}", deep.as_bytes(), long.as_bytes(), b"\0"];
    for command in ["sign", "amounts"] {
        let ended = answers(&dir, command, &bad).with(1);
        assert_eq!((ended.stdout.lines().count(), errors(command, &ended)), (bad.len(), bad.len()), "{command}");
    }
    let good = br#"{"kind":"limit","side":"BUY","tickSize":"0.01","price":"0.5","size":"10"}"#;
    let ended = answers(&dir, "amounts", &[bad[0], good, bad[3], good]).with(1);
    let told: Vec<bool> = ended.stdout.lines().map(|l| l.contains("makerAmount")).collect();
    assert_eq!(told, [false, true, false, true]);
    answers(&dir, "amounts", &[good]).with(0);

    let order = |amount: &str| {
        format!(
            r#"{{"order":{{"salt":"1","maker":"{0}","signer":"{0}","tokenId":"7","makerAmount":"{amount}","takerAmount":"5",
            "side":"BUY","signatureType":0,"timestamp":"1","metadata":"0x{1}","builder":"0x{1}"}},"chainId":137,
            "verifyingContract":"{0}","domainVersion":"2"}}"#,
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "0".repeat(64)
        )
        .replace('\n', "")
    };
    answers(&dir, "sign", &[order("5").as_bytes()]).with(0);
    for amount in ["-5", "5.5", "", "0x5", "five", &"9".repeat(80)] {
        let ended = answers(&dir, "sign", &[order(amount).as_bytes()]).with(1);
        assert_eq!(errors(amount, &ended), 1, "{amount}: {}", ended.stdout);
    }
}

#[test]
fn vectors_that_cannot_be_read_or_differ_are_told() {
    let dir = Scratch::new("vectors");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors");
    for file in fs::read_dir(&fixtures).expect("fixtures") {
        let file = file.expect("an entry").path();
        fs::copy(&file, dir.dir().join(file.file_name().expect("a name"))).expect("a copy");
    }
    let check = || polyloly(dir.dir(), &["vectors", "."]);
    check().with(0);
    let amounts = dir.dir().join("amounts.json");
    let whole = fs::read_to_string(&amounts).expect("amounts");
    for (text, code) in [
        (whole[..whole.len() / 2].to_owned(), 1),
        ("[".repeat(100_000), 1),
        (String::new(), 1),
        (r#"{"vectors":[{}]}"#.into(), 4),
        (r#"{"vectors":[1,null,"x"]}"#.into(), 4),
    ] {
        fs::write(&amounts, text).expect("a write");
        let ended = check().with(code).saying(&["amounts.json"]);
        assert!(!ended.stderr.is_empty());
    }
    fs::remove_file(&amounts).expect("a removal");
    check().with(1).saying(&["amounts.json"]);
    polyloly(dir.dir(), &["vectors", "nowhere"]).with(1).saying(&["nowhere"]);
}

#[test]
fn a_bad_faults_file_is_refused_by_line_and_key() {
    let dir = Scratch::new("faults");
    for (name, text, words) in [
        ("unknown.toml", "\n[[fault]]\nwhat = \"slow\"\nmz = 3\n", &["line 4", "mz"][..]),
        ("value.toml", "[[fault]]\nwhat = \"slow\"\nms = 3\nprobability = 7.0\n", &["line 4", "`probability`"]),
        ("word.toml", "[[fault]]\nwhat = \"sloth\"\n", &["line 2", "sloth"]),
    ] {
        let file = dir.write(name, text);
        refused(&dir, &["venue", "--listen", "127.0.0.1:0", "--faults", &file], &[&[name], words].concat());
    }
}
