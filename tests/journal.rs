//! The journal's promises: what goes in comes out, any cut leaves a valid prefix, any flipped bit is noticed.

mod market_support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use polyloly_fast::{
    cold::journal::{Damage, End, Entry, Flaw, Header, Reader, Record, Unclean, Writer},
    engine::Action,
    strategies::Params,
    types::{
        Account, Address, Event, InstrumentIx, MarketSpec, Nanos, OrderHash, Price, Qty, Sequenced, Stamp, Universe,
        Usdc,
        event::{BookSide, MarketEvent},
        market::SignatureType,
    },
};

/// A directory of its own for one test, empty at first and gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("polyloly-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn header() -> Header {
    let market = MarketSpec { game_start: Some(Nanos(1)), ..market_support::market() };
    let account =
        Account { owner: Address([3; 20]), funder: Address([4; 20]), signature_type: SignatureType::Poly1271 };
    Header {
        run_id: "test".into(),
        version: "0.1.0".into(),
        mode: "embedded".into(),
        seed: 7,
        speed: 200,
        started: Nanos(42),
        universe: Universe { chain_id: 137, account, markets: vec![market], matches: Vec::new() },
        params: Params::default(),
    }
}

fn event(seq: u64) -> Record {
    let event = match seq {
        1 => Event::Start { run_tag: 5, cash: Usdc::dollars(1_000), match_feed: false },
        _ => Event::Market(MarketEvent::Level {
            instrument: InstrumentIx((seq % 2) as u16),
            side: BookSide::Bid,
            price: Price::from_units(4_900).unwrap(),
            qty: Qty(seq),
        }),
    };
    Record::Event(Sequenced { seq, stamp: Stamp { wall: Nanos(seq), ..Stamp::default() }, event })
}

fn records(events: u64) -> Vec<Record> {
    let mut all = Vec::new();
    for seq in 1..=events {
        all.push(event(seq));
        if seq % 3 == 0 {
            let order = OrderHash([seq as u8; 32]);
            all.push(Record::Action {
                seq,
                action: Action::Cancel { order, instrument: InstrumentIx(1), cause: Stamp::default() },
            });
        }
    }
    all.push(Record::StateHash { seq: events, hash: 0xfeed });
    all
}

fn write(dir: &Path, events: u64, segment_bytes: u64) -> Writer {
    let mut writer = Writer::create(dir, &header(), segment_bytes).unwrap();
    records(events).iter().for_each(|r| writer.append(r).unwrap());
    writer.flush().unwrap();
    writer
}

/// Everything a reader says about a journal, in comparable form.
#[derive(Debug, PartialEq)]
struct Seen {
    entries: Vec<String>,
    end: End,
}

fn read(dir: &Path) -> Result<Seen, Damage> {
    let mut reader = Reader::open(dir)?;
    assert_eq!(*reader.header(), header());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        entries.push(format!("{entry:?}"));
    }
    Ok(Seen { entries, end: reader.end().unwrap().clone() })
}

fn only_segment(dir: &Path) -> PathBuf {
    dir.join("segment-000000.journal")
}

#[test]
fn what_goes_in_comes_out() {
    let dir = Scratch::new("round-trip");
    let closing = write(&dir.0, 10, 1 << 20).close(true).unwrap();
    assert_eq!((closing.last_seq, closing.state_hash, closing.clean), (10, Some(0xfeed), true));
    let mut reader = Reader::open(&dir.0).unwrap();
    for expected in records(10) {
        let entry = reader.next().unwrap().unwrap();
        match (expected, entry) {
            (Record::Event(a), Entry::Event(b)) => assert_eq!(a, b),
            (Record::Action { seq: a, action }, Entry::Action { seq: b, bytes }) => {
                assert_eq!(a, b);
                assert_eq!(postcard::to_allocvec(&action).unwrap(), bytes);
            }
            (Record::StateHash { seq: a, hash: x }, Entry::StateHash { seq: b, hash: y }) => assert_eq!((a, x), (b, y)),
            (a, b) => panic!("wrote {a:?}, read {b:?}"),
        }
    }
    assert!(reader.next().unwrap().is_none());
    assert_eq!(*reader.end().unwrap(), End::Closed(closing));
}

#[test]
fn a_closed_journal_has_no_unused_byte() {
    let dir = Scratch::new("trim");
    let writer = write(&dir.0, 10, 1 << 20);
    assert_eq!(fs::metadata(only_segment(&dir.0)).unwrap().len(), 1 << 20, "laid out in full while it runs");
    let before = writer.bytes();
    writer.close(true).unwrap();
    let after = fs::metadata(only_segment(&dir.0)).unwrap().len();
    assert!((before..before + 64).contains(&after), "{before} bytes written, {after} in the file");
}

#[test]
fn segments_rotate_and_read_as_one() {
    let (small, large) = (Scratch::new("small"), Scratch::new("large"));
    write(&small.0, 1_000, 4 << 10).close(true).unwrap();
    write(&large.0, 1_000, 1 << 20).close(true).unwrap();
    assert!(fs::read_dir(&small.0).unwrap().count() > 5);
    let (small, large) = (read(&small.0).unwrap(), read(&large.0).unwrap());
    assert_eq!(small.entries, large.entries);
}

#[test]
fn a_journal_is_never_overwritten() {
    let dir = Scratch::new("overwrite");
    write(&dir.0, 1, 1 << 20).close(true).unwrap();
    let refused = Writer::create(&dir.0, &header(), 1 << 20).unwrap_err();
    assert!(refused.to_string().contains("not empty"), "{refused}");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let dir = Scratch::new("flip");
    write(&dir.0, 12, 1 << 20).close(true).unwrap();
    let file = only_segment(&dir.0);
    let whole = fs::read(&file).unwrap();
    let pristine = read(&dir.0).unwrap();
    assert!(matches!(pristine.end, End::Closed(_)));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(&file, &bytes).unwrap();
            if let Ok(seen) = read(&dir.0) {
                // Only the last record may be taken for one that a crash cut short; never for a closed journal.
                let End::Unclean { offset, .. } = seen.end else { panic!("byte {at} bit {bit}: accepted as closed") };
                assert!(offset <= at as u64, "byte {at} bit {bit}: read past the damage, to {offset}");
                assert!(pristine.entries.starts_with(&seen.entries), "byte {at} bit {bit}: not a prefix");
            }
        }
    }
}

#[test]
fn every_flipped_byte_of_a_rotated_or_crashed_journal_is_noticed() {
    for (name, close) in [("flip-rotated", true), ("flip-crashed", false)] {
        let dir = Scratch::new(name);
        let writer = write(&dir.0, 120, 4 << 10);
        if close {
            writer.close(true).unwrap();
        }
        let pristine = read(&dir.0).unwrap();
        let mut files: Vec<_> = fs::read_dir(&dir.0).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert!(files.len() > 1);
        for file in files {
            let whole = fs::read(&file).unwrap();
            let used = whole.iter().rposition(|b| *b != 0).unwrap();
            // The zeros of a preallocated tail are all alike: every seventh will do.
            for at in (0..whole.len()).filter(|at| *at < used + 64 || at % 7 == 0) {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                fs::write(&file, &bytes).unwrap();
                if let Ok(seen) = read(&dir.0) {
                    assert!(matches!(seen.end, End::Unclean { .. }), "{name} {} byte {at}", file.display());
                    assert_ne!(seen, pristine, "{name} {} byte {at}", file.display());
                    assert!(pristine.entries.starts_with(&seen.entries));
                }
            }
            fs::write(&file, &whole).unwrap();
        }
    }
}

#[test]
fn every_truncation_leaves_a_valid_prefix() {
    let dir = Scratch::new("truncate");
    write(&dir.0, 12, 1 << 20).close(true).unwrap();
    let file = only_segment(&dir.0);
    let whole = fs::read(&file).unwrap();
    let pristine = read(&dir.0).unwrap();
    let mut longest = 0;
    for length in 0..whole.len() {
        // Once as a file that ends there, once as one whose preallocated rest is zeros.
        for padding in [0, 4_096] {
            let mut bytes = whole[..length].to_vec();
            bytes.resize(length + padding, 0);
            fs::write(&file, &bytes).unwrap();
            let Ok(seen) = read(&dir.0) else {
                assert_eq!(longest, 0, "{length}: what was readable is not any more");
                continue;
            };
            assert!(matches!(seen.end, End::Unclean { .. }), "{length}+{padding}");
            assert!(pristine.entries.starts_with(&seen.entries), "{length}+{padding}");
            assert!(seen.entries.len() >= longest, "{length}+{padding}");
            longest = seen.entries.len();
        }
    }
    assert_eq!(longest, pristine.entries.len());
}

#[test]
fn a_crash_is_told_from_damage() {
    let dir = Scratch::new("crash");
    drop(write(&dir.0, 12, 1 << 20));
    let seen = read(&dir.0).unwrap();
    assert!(matches!(seen.end, End::Unclean { why: Unclean::NoClosing, .. }), "{:?}", seen.end);
    assert_eq!(seen.entries.len(), records(12).len(), "nothing that was flushed is lost");

    let file = only_segment(&dir.0);
    let mut bytes = fs::read(&file).unwrap();
    let far = bytes.len() - 1;
    bytes[far] = 1;
    fs::write(&file, &bytes).unwrap();
    assert!(matches!(read(&dir.0).unwrap_err().flaw, Flaw::Trailing));
}

#[test]
fn missing_swapped_and_stray_segments_are_refused() {
    let made = |name| {
        let dir = Scratch::new(name);
        write(&dir.0, 400, 4 << 10).close(true).unwrap();
        let segment = |n| dir.0.join(format!("segment-{n:06}.journal"));
        assert!(segment(3).exists());
        (segment(1), segment(2), dir)
    };
    let (one, _, dir) = made("missing");
    fs::remove_file(one).unwrap();
    assert!(matches!(read(&dir.0).unwrap_err().flaw, Flaw::Stray(_)));

    let (one, two, dir) = made("swapped");
    let (a, b) = (fs::read(&one).unwrap(), fs::read(&two).unwrap());
    fs::write(&one, b).unwrap();
    fs::write(&two, a).unwrap();
    assert!(matches!(read(&dir.0).unwrap_err().flaw, Flaw::Head));

    let (_, _, dir) = made("stray");
    fs::write(dir.0.join("notes.txt"), "hello").unwrap();
    assert!(matches!(read(&dir.0).unwrap_err().flaw, Flaw::Stray(name) if name == "notes.txt"));

    let (one, _, dir) = made("cut-in-the-middle");
    let bytes = fs::read(&one).unwrap();
    fs::write(&one, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(read(&dir.0).unwrap_err().flaw, Flaw::Early));
}

#[test]
fn what_is_not_a_journal_is_said_plainly() {
    let dir = Scratch::new("absent");
    let said = Reader::open(&dir.0).unwrap_err().to_string();
    assert!(said.contains("not a journal"), "{said}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let dir = Scratch::new("newer");
    write(&dir.0, 1, 1 << 20).close(true).unwrap();
    let file = only_segment(&dir.0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[8] += 1;
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&0_u64.to_le_bytes());
    hash.update(&bytes[..32]);
    bytes[32..40].copy_from_slice(&hash.digest().to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let said = read(&dir.0).unwrap_err().to_string();
    assert!(said.contains("format 2 is newer"), "{said}");
}

#[test]
fn a_gap_is_kept() {
    let dir = Scratch::new("gap");
    let mut writer = write(&dir.0, 2, 1 << 20);
    writer.append(&Record::Gap { seq: 2, lost: 9 }).unwrap();
    writer.close(false).unwrap();
    let seen = read(&dir.0).unwrap();
    assert_eq!(seen.entries.last().unwrap(), "Gap { seq: 2, lost: 9 }");
    assert!(matches!(seen.end, End::Closed(c) if !c.clean));
}
