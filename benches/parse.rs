//! Steps 1 and 2 of 9, timed: frames out of bytes, events out of messages.

use std::{
    hint::black_box,
    io::{Cursor, Read, Write},
};

pub mod common;

use common::{
    Bench, Row,
    plain::{PriceChange, Snapshot},
    traffic::{Ladder, Rng, frame, price_change, universe},
    venue::Transcript,
};
use polyloly_fast::{
    types::{
        Event, Universe,
        event::{BookSide, MarketEvent},
        ids::Outcome,
    },
    wire::{
        json::Reader,
        market::MarketParser,
        ws::{Decoded, Decoder, Message},
    },
};
use tungstenite::{WebSocket, protocol::Role};

/// Messages that take turns, so that no routine learns one by heart.
const VARIETY: usize = 256;

fn main() {
    step(&mut Bench::full());
}

/// Every table of this step.
pub fn step(bench: &mut Bench) {
    let universe = universe(4);
    let mut rng = Rng(3);
    let spec = universe.markets[1].clone();
    let ladder = Ladder::around(50, 20, &mut rng);
    let ms = 1_795_418_400_123;
    let mut change = || {
        let tick = 30 + rng.below(20) as usize;
        price_change(&spec, &ladder, &[(BookSide::Bid, tick)], ms, &mut rng)
    };
    let changes: Vec<String> = (0..bench.scale(VARIETY, 4)).map(|_| change()).collect();
    let mut snapshot = || common::traffic::book(&spec, Outcome::Yes, &Ladder::around(50, 20, &mut rng), ms, &mut rng);
    let snapshots: Vec<String> = (0..bench.scale(VARIETY, 4)).map(|_| snapshot()).collect();
    frames(bench, &changes);
    messages(bench, &universe, &changes, &snapshots);
    ours_alone(bench);
}

/// A frame's header, its length and its text's UTF-8.
fn frames(bench: &mut Bench, texts: &[String]) {
    let bytes: Vec<u8> = texts.iter().flat_map(|t| frame(t)).collect();
    let (mut buffer, mut decoder, mut at) = (bytes.clone(), Decoder::default(), 0);
    let mut ours = move || {
        if at == buffer.len() {
            at = 0;
        }
        match decoder.decode(&mut buffer[at..]) {
            Ok(Decoded::Message(used, Message::Text(text))) => {
                at += used;
                text.len()
            }
            other => panic!("{other:?}"),
        }
    };
    let mut socket = WebSocket::from_raw_socket(Loop(Cursor::new(bytes)), Role::Client, None);
    let mut theirs = move || match socket.read() {
        Ok(tungstenite::Message::Text(text)) => text.len(),
        other => panic!("{other:?}"),
    };
    for text in texts {
        assert_eq!((ours(), theirs()), (text.len(), text.len()));
    }
    let what = format!("WebSocket frame of {} B", texts[0].len());
    let rows = vec![Row::new("polyloly-fast", 32, ours), Row::new("tungstenite", 32, theirs)];
    bench.table("parse", &what, rows);
}

/// A socket that gives the same bytes for ever.
struct Loop(Cursor<Vec<u8>>);

impl Read for Loop {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.0.position() == self.0.get_ref().len() as u64 {
            self.0.set_position(0);
        }
        self.0.read(buf)
    }
}

impl Write for Loop {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A parser that goes round some messages; gives the number of events and the sum of what they say.
fn reader(universe: &Universe, texts: &[String]) -> impl FnMut() -> (u32, u64) + use<> {
    let mut parser = MarketParser::new(universe);
    let mut texts: Vec<Vec<u8>> = texts.iter().map(|t| t.clone().into_bytes()).collect();
    let mut n = 0;
    move || {
        n = (n + 1) % texts.len();
        let (mut events, mut sum) = (0, 0);
        let mut sink = |event| {
            events += 1;
            if let Event::Market(MarketEvent::Delta { price, qty, .. } | MarketEvent::Level { price, qty, .. }) = event
            {
                sum += u64::from(price.units()) + qty.micro();
            }
        };
        parser.parse(&mut texts[n], &mut sink).expect("a message");
        (events, sum)
    }
}

/// The part of our parsing that is not ours.
fn tape(texts: &[String]) -> impl FnMut() -> bool + use<> {
    let mut reader = Reader::new();
    let mut texts: Vec<Vec<u8>> = texts.iter().map(|t| t.clone().into_bytes()).collect();
    let mut n = 0;
    move || {
        n = (n + 1) % texts.len();
        reader.read(&mut texts[n], |json| json.is_void()).expect("JSON")
    }
}

/// Messages into events; for the peer, into its struct.
fn messages(bench: &mut Bench, universe: &Universe, changes: &[String], snapshots: &[String]) {
    let sum = |price: rust_decimal::Decimal, size: rust_decimal::Decimal| {
        let scaled = price * rust_decimal::Decimal::from(10_000) + size * rust_decimal::Decimal::from(1_000_000);
        u64::try_from(scaled).expect("a whole number")
    };
    let mut ours = reader(universe, changes);
    let texts = changes.to_vec();
    let mut n = 0;
    for text in texts.iter().cycle().skip(1).take(texts.len()) {
        let typed: PriceChange<'_> = serde_json::from_str(text).expect("typed");
        let expected = typed.price_changes.iter().map(|c| sum(c.price, c.size)).sum::<u64>();
        assert_eq!(ours(), (5, expected), "two changes, two tops, an end");
    }
    let theirs = move || {
        n = (n + 1) % texts.len();
        let typed: PriceChange<'_> = serde_json::from_str(&texts[n]).expect("typed");
        black_box(&typed);
        typed.price_changes.len()
    };
    let rows = vec![
        Row::new("polyloly-fast", 16, ours),
        Row::new("  of which simd-json's tape", 16, tape(changes)),
        Row::new("serde_json, typed, rust_decimal", 16, theirs),
    ];
    bench.table("parse", &format!("price_change of two entries, {} B", changes[0].len()), rows);

    let mut ours = reader(universe, snapshots);
    let texts = snapshots.to_vec();
    for text in texts.iter().cycle().skip(1).take(texts.len()) {
        let typed: Snapshot<'_> = serde_json::from_str(text).expect("typed");
        let expected = typed.bids.iter().chain(&typed.asks).map(|l| sum(l.price, l.size)).sum::<u64>();
        assert_eq!(ours(), (43, expected), "forty levels, a start, two ends");
    }
    let mut n = 0;
    let theirs = move || {
        n = (n + 1) % texts.len();
        let typed: Snapshot<'_> = serde_json::from_str(&texts[n]).expect("typed");
        black_box(&typed);
        typed.bids.len()
    };
    let rows = vec![
        Row::new("polyloly-fast", 4, ours),
        Row::new("  of which simd-json's tape", 4, tape(snapshots)),
        Row::new("serde_json, typed, rust_decimal", 4, theirs),
    ];
    bench.table("parse", &format!("book of 20 levels a side, {} B", snapshots[0].len()), rows);
}

/// What we read from a run and have no peer for: the user channel, and answers to orders.
fn ours_alone(bench: &mut Bench) {
    use common::pipeline::{Inbound, Source};
    let transcript = Transcript::record(bench.scale(20_000, 1_500));
    for (what, wanted) in [
        ("user channel message", (|s| matches!(s, Source::User)) as fn(&Source) -> bool),
        ("answer to a request, HTTP head included", |s| matches!(s, Source::Answer(_))),
    ] {
        let chosen = transcript.deliveries.iter().filter(|d| wanted(&d.source)).take(VARIETY);
        let mut all: Vec<_> = chosen.map(|d| (d.source.clone(), d.bytes.clone())).collect();
        assert!(!all.is_empty());
        let mut inbound = Inbound::new(&transcript.universe);
        let mut n = 0;
        let mut ours = move || {
            n = (n + 1) % all.len();
            let (source, bytes) = &mut all[n];
            let mut events = 0;
            inbound.read(source, bytes, &mut |_| events += 1);
            events
        };
        assert!((0..VARIETY).all(|_| ours() > 0), "every message is an event");
        bench.table("parse", what, vec![Row::new("polyloly-fast", 16, ours)]);
    }
}
