//! Messages that could not be read: kept within bounds, poisoned or not, and read again without reaching an order.

use std::{fs, path::Path};

use polyloly_fast::{
    cold::dead_letters::{FILE, Kept, Letter, OLDER_FILE, Parsers, Reading, State, Store},
    stage::dead_letter::{DeadLetter, HEAD_MAX, Reason, Source},
    types::{Account, Address, Nanos, Stamp, Universe, market::SignatureType},
};
use serde_json::Value;
use support::{Scratch, polyloly};

mod support;

const SECOND: u64 = 1_000_000_000;

fn universe() -> Universe {
    let account = Account { owner: Address([1; 20]), funder: Address([1; 20]), signature_type: SignatureType::Eoa };
    Universe { chain_id: 137, account, markets: Vec::new(), matches: Vec::new() }
}

/// The n-th message of a source that could not be read.
fn letter(n: u64, source: Source, message: &[u8]) -> DeadLetter {
    DeadLetter {
        stamp: Stamp { wall: Nanos(1_800_000_000 * SECOND + n), ..Stamp::default() },
        source,
        line: 0,
        reason: Reason::Field("price"),
        instrument: None,
        digest: n,
        len: message.len() as u32,
        head: message[..message.len().min(HEAD_MAX)].into(),
    }
}

fn sizes(dir: &Path) -> u64 {
    [FILE, OLDER_FILE].iter().filter_map(|name| Some(fs::metadata(dir.join(name)).ok()?.len())).sum()
}

#[test]
fn s11_dead_letter_store_full_or_poisoned() {
    let dir = Scratch::new("s11");
    // Full by number: the oldest half gives way, and every one that went is counted.
    let mut store = Store::bounded(dir.dir(), "r1", &universe(), 100, 1 << 20);
    for n in 0..1_000 {
        store.receive(letter(n, Source::Market, b"{\"event_type\":"), Nanos(n));
        assert!(store.kept() <= 100, "{n}");
    }
    let kept = Kept::read(dir.dir()).expect("it can be read");
    assert_eq!(store.counts().received(), 1_000);
    assert_eq!(store.counts().dropped + kept.letters.len() as u64, 1_000);
    assert!(kept.letters.len() >= 50 && kept.unreadable == 0, "{}", kept.letters.len());
    let newest = Letter::new(&letter(999, Source::Market, b"{\"event_type\":"), "r1");
    assert_eq!(kept.letters.last().map(|l| &l.id), Some(&newest.id), "the newest are kept");
    store.finish();
    assert_eq!(store.counts().dead, 1_000);

    // Full by size.
    let dir = Scratch::new("s11-bytes");
    let mut store = Store::bounded(dir.dir(), "r1", &universe(), 10_000, 100_000);
    for n in 0..200 {
        store.receive(letter(n, Source::Market, &[0xff; HEAD_MAX]), Nanos(n));
        assert!(sizes(dir.dir()) <= 100_000, "{n}: {}", sizes(dir.dir()));
    }
    let kept = Kept::read(dir.dir()).expect("it can be read").letters;
    assert!(store.counts().dropped > 100 && kept.len() > 8, "{:?}", store.counts());
    assert_eq!(kept[0].bytes(), [0xff; HEAD_MAX], "what is no text is kept as it came");

    // Poisoned: by others' bytes, by the end of a killed process, by a message that is meant to do harm.
    let dir = Scratch::new("s11-poison");
    let poison = b"{\"x\":\"\\u001b[2J\x1b]0;owned\x07\",\"state\":\"understood\"}\n{\"id\":\"forged\"}";
    let mut store = Store::open(dir.dir(), "r1", &universe());
    store.receive(letter(1, Source::User, poison), Nanos(0));
    let whole = fs::read(dir.dir().join(FILE)).expect("a file");
    let spoilt = [
        &b"\xff\xfe\n[]\n{\"id\":3}\n{\"id\":\"nobody\",\"state\":\"dead\",\"attempts\":3}\n"[..],
        &whole,
        &whole[..30],
    ];
    dir.write(FILE, spoilt.concat());
    let mut store = Store::open(dir.dir(), "r2", &universe());
    store.receive(letter(2, Source::Sports, b"{"), Nanos(0));
    (0..10).for_each(|n| {
        store.turn(Nanos(n * SECOND));
    });
    let kept = Kept::read(dir.dir()).expect("it can be read");
    assert_eq!((kept.letters.len(), kept.unreadable), (2, 4), "{kept:?}");
    assert_eq!(kept.letters[0].bytes(), poison, "a message cannot forge another");
    assert_eq!((kept.letters[1].state, kept.letters[1].attempts), (State::Dead, 3));
    for args in [&["list"][..], &["show", &kept.letters[0].id], &["replay", "--all"]] {
        let place = dir.path("");
        let args = [&["dead-letters"], args, &["--journal", &place]].concat();
        let ended = polyloly(dir.dir(), &args);
        let obeyed = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!obeyed(&ended.stdout) && !obeyed(&ended.stderr), "{args:?}: {:?}", ended.stdout);
        assert!(ended.stderr.contains("4 lines are no letters"), "{}", ended.stderr);
    }
}

#[test]
fn a_letter_is_tried_three_times_with_doubling_pauses_and_no_more() {
    let dir = Scratch::new("tries");
    let mut store = Store::open(dir.dir(), "r1", &universe());
    store.receive(letter(1, Source::Market, b"{"), Nanos(0));
    // A message that this parser reads although another did not.
    store.receive(letter(2, Source::Market, b"[]"), Nanos(0));
    // Only its beginning is there, or nothing here reads it: no try is worth its time.
    store.receive(letter(3, Source::Market, &[b' '; HEAD_MAX + 1]), Nanos(0));
    store.receive(letter(4, Source::Witness, b"{}"), Nanos(0));
    assert_eq!(store.counts().dead, 2);
    let mut tried = Vec::new();
    for ms in 0..10_000_u64 {
        tried.extend(std::iter::repeat_n(ms, store.turn(Nanos(ms * 1_000_000))));
    }
    assert_eq!(tried, [200, 200, 600, 1_400]);
    assert_eq!((store.counts().dead, store.counts().understood), (3, 1));
    let kept = Kept::read(dir.dir()).expect("it can be read").letters;
    let states: Vec<_> = kept.iter().map(|l| (l.state, l.attempts)).collect();
    assert_eq!(states, [(State::Dead, 3), (State::Understood, 1), (State::Dead, 0), (State::Dead, 0)]);
}

#[test]
fn letters_that_are_being_tried_are_bounded() {
    let dir = Scratch::new("trying");
    let mut store = Store::open(dir.dir(), "r1", &universe());
    (0..300).for_each(|n| store.receive(letter(n, Source::Market, b"{"), Nanos(0)));
    assert_eq!(store.counts().dead, 300 - 256);
    assert!(store.turn(Nanos(SECOND)) <= 8, "a turn is bounded");
}

#[test]
fn a_disk_that_takes_nothing_loses_letters_and_counts_them() {
    let dir = Scratch::new("nowhere");
    let mut store = Store::open(&dir.dir().join("not there"), "r1", &universe());
    (0..10).for_each(|n| store.receive(letter(n, Source::Market, b"{"), Nanos(0)));
    assert_eq!((store.counts().lost, store.counts().received(), store.kept()), (10, 10, 0));
}

/// A replay turns a letter into words, whatever stands in it, and leaves everything as it was.
#[test]
fn dead_letters_cannot_reach_the_order_path() {
    // By type: what comes of a letter is text and numbers, of a function that is given nothing to send with.
    fn words<T: serde::Serialize + Send + 'static>(_: fn(&mut Parsers, Source, &[u8]) -> T) {}
    words::<Reading>(Parsers::read);
    // By what the files name: `tests/tidy.rs` reads them, and here is that it finds them where it looks.
    let sources = ["src/cold/dead_letters.rs", "src/cold/dead_letters/store.rs", "src/cold/dead_letters/reading.rs"];
    for path in sources.iter().chain(&["src/cli/dead_letters.rs"]) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path);
        for word in ["gateway::", "engine::sign", "engine::risk", "Signed", "Approved", "Command::Place"] {
            assert!(!text.contains(word), "{path} names {word}");
        }
    }
    // By what happens: an order, a trade and a book among the letters, read again and again.
    let dir = Scratch::new("replay");
    let mut store = Store::open(dir.dir(), "r1", &universe());
    let order = br#"{"order":{"salt":1,"maker":"0x01","tokenId":"7","side":"BUY"},"owner":"k","orderType":"GTC"}"#;
    let book = br#"{"event_type":"book","asset_id":"7","market":"0x07","bids":[{"price":"0.4","size":"5"}],"asks":[],"timestamp":"1","hash":""}"#;
    for (n, (source, message)) in
        [(Source::User, &order[..]), (Source::Market, book), (Source::Market, b"{"), (Source::Witness, b"{}")]
            .into_iter()
            .enumerate()
    {
        store.receive(letter(n as u64, source, message), Nanos(0));
    }
    drop(store);
    let before = fs::read(dir.dir().join(FILE)).expect("a file");
    let mut said = Vec::new();
    for _ in 0..2 {
        let all = ["dead-letters", "replay", "--all", "--json", "--journal", &dir.path("")];
        let ended = polyloly(dir.dir(), &all).with(1);
        said.push(ended.stdout);
    }
    assert_eq!(said[0], said[1], "once is as often as twice");
    let readings: Vec<Value> = said[0].lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let understood: Vec<_> = readings.iter().map(|r| (r["understood"] == true, r["events"].as_u64())).collect();
    assert_eq!(understood, [(true, Some(0)), (true, Some(4)), (false, Some(0)), (true, Some(0))], "{readings:#?}");
    assert_eq!(fs::read(dir.dir().join(FILE)).expect("a file"), before, "nothing is changed");
    let left: Vec<_> =
        fs::read_dir(dir.dir()).expect("a directory").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left, [FILE], "nothing is made");
}

#[test]
fn the_command_says_what_to_do() {
    let dir = Scratch::new("letters-cli");
    let run = |args: &[&str]| polyloly(dir.dir(), &[&["dead-letters"], args].concat());
    run(&["list"]).with(2).saying(&["no directory", "--journal"]);
    fs::create_dir(dir.dir().join("journal")).expect("a directory");
    assert!(run(&["list"]).with(0).stdout.contains("no dead letters"));
    assert!(run(&["replay", "--all"]).with(0).stdout.contains("0 of 0"));
    run(&["replay"]).with(2);
    run(&["show", "ab"]).with(2).saying(&["no letter", "list"]);
    let mut store = Store::open(&dir.dir().join("journal"), "r1", &universe());
    store.receive(letter(1, Source::Market, b"[]"), Nanos(0));
    store.receive(letter(2, Source::Market, b"{"), Nanos(0));
    store.finish();
    let listed = run(&["list"]).with(0).stdout;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let id = listed.lines().nth(1).expect("a letter").split(' ').next().expect("an id").to_owned();
    let shown = run(&["show", &id[..6]]).with(0).stdout;
    for words in ["field price", "understood at try 1", "payload   []"] {
        assert!(shown.contains(words), "{words} is missing from\n{shown}");
    }
    assert!(run(&["replay", &id]).with(0).stdout.contains("1 of 1 can be read now; nothing was changed"));
    let json: Value = serde_json::from_str(&run(&["show", &id, "--json"]).with(0).stdout).expect("JSON");
    assert_eq!((&json["source"], &json["payload"]), (&"market".into(), &"[]".into()));
    // The journal of a run is named as often as the directory above it.
    fs::create_dir(dir.dir().join("journal/r1")).expect("a directory");
    assert_eq!(run(&["list", "--journal", "journal/r1"]).with(0).stdout, listed);
}
