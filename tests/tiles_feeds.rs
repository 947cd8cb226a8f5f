//! The feeds against scripted WebSocket servers: what is lost is said, what is broken comes back, nothing panics.
#![cfg(feature = "embedded")]

mod tiles_support;

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use polyloly_fast::{
    feeds::{FeedTile, Shared, market::MarketFeed, socket::SocketConfig, user::UserFeed},
    stage::{
        Stage,
        counters::Counters,
        endpoint::{Endpoint, Trust, tls_config},
        ring::{Rx, Tx, ring},
    },
    sys::tsc::Clock,
    types::{
        Event, InstrumentIx, Stamp, Stamped,
        event::{GapReason, MarketEvent, UserEvent},
    },
    wire::auth::Credentials,
    wiring::instruments_of,
};
use tiles_support::{
    CONDITION, listen, universe, until,
    ws::{frame, read_text, shake_hands},
};

fn book(token: &str) -> String {
    format!(
        r#"{{"event_type":"book","market":"{CONDITION}","asset_id":"{token}","timestamp":"1790779105520","hash":"",
        "bids":[{{"price":"0.40","size":"10"}}],"asks":[{{"price":"0.60","size":"10"}}],"tick_size":"0.01"}}"#
    )
}

fn config(addr: SocketAddr) -> SocketConfig {
    let tls = tls_config(Trust::Public).expect("trust");
    let endpoint = Endpoint::resolve(&format!("ws://127.0.0.1:{}/ws/market", addr.port()), &tls).expect("an endpoint");
    SocketConfig { endpoint, ping_every_ns: 0, stale_after_ns: 0, silent_after_ns: 0 }
}

fn tile(market: Option<MarketFeed>, user: Option<UserFeed>, counters: &Arc<Counters>) -> FeedTile {
    let (samples, _) = ring("samples", 0, 1_024);
    FeedTile {
        market,
        user,
        sports: None,
        shared: Shared { clock: Clock::new(), samples, counters: Arc::clone(counters) },
    }
}

struct Rig {
    tile: FeedTile,
    events: Rx<Stamped>,
    resync: Tx<InstrumentIx>,
    counters: Arc<Counters>,
}

fn market_rig(addr: SocketAddr, depth: usize) -> Rig {
    let (universe, counters) = (universe(), Arc::new(Counters::default()));
    let (tx, events) = ring("market", 0, depth);
    let (resync, rx) = ring("resync", 0, 16);
    let feed = MarketFeed::new(config(addr), &universe, instruments_of(0, 1, 1), tx, rx, 1);
    Rig { tile: tile(Some(feed), None, &counters), events, resync, counters }
}

impl Rig {
    fn next(&mut self) -> MarketEvent {
        until("an event", || {
            self.tile.poll();
            self.events.pop().map(|event| match event.event {
                Event::Market(event) => event,
                other => panic!("not a market event: {other:?}"),
            })
        })
    }

    /// Everything up to and with the next gap.
    fn up_to_gap(&mut self) -> (usize, Option<InstrumentIx>, GapReason) {
        let mut before = 0;
        loop {
            match self.next() {
                MarketEvent::Gap { instrument, reason } => return (before, instrument, reason),
                _ => before += 1,
            }
        }
    }
}

/// Serves `first` to the first connection after its subscription, in pieces of `piece` bytes, then does `then`; a
/// snapshot to every later one.
fn serve(first: Vec<u8>, piece: usize, hold: bool) -> SocketAddr {
    listen(move |n, mut socket| {
        if shake_hands(&mut socket).is_none() || read_text(&mut socket).is_none() {
            return;
        }
        if n == 0 {
            for bytes in first.chunks(piece) {
                if socket.write_all(bytes).is_err() {
                    return;
                }
            }
            if !hold {
                return;
            }
        } else {
            socket.write_all(&frame(1, book("111").as_bytes())).expect("a snapshot");
        }
        while read_text(&mut socket).is_some() {}
    })
}

#[test]
fn single_bytes_make_the_same_events() {
    let frames =
        [frame(1, b"PONG"), frame(9, b"hi"), frame(1, format!("[{},{}]", book("111"), book("222")).as_bytes())]
            .concat();
    let mut rig = market_rig(serve(frames, 1, true), 64);
    let mut ends = 0;
    let mut snapshots = Vec::new();
    while ends < 2 {
        match rig.next() {
            MarketEvent::SnapshotEnd { instrument } => snapshots.push(instrument),
            MarketEvent::FrameEnd { .. } => ends += 1,
            MarketEvent::Gap { reason, .. } => panic!("a gap: {reason:?}"),
            _ => {}
        }
    }
    assert_eq!(snapshots, [InstrumentIx(0), InstrumentIx(1)]);
}

#[test]
fn whatever_breaks_a_socket_is_a_gap_and_the_socket_comes_back() {
    let mut huge = vec![0x81, 127];
    huge.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    let whole = frame(1, book("111").as_bytes());
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("closed without a word", vec![]),
        ("closed in the middle of a frame", whole[..whole.len() / 2].to_vec()),
        ("goodbye", frame(8, &1001_u16.to_be_bytes())),
        ("a frame of a terabyte", huge),
        ("text that is not UTF-8", frame(1, &[0xff, 0xfe, 0xfd])),
        ("reserved bits", vec![0xf1, 0]),
        ("a masked server", vec![0x81, 0x80, 1, 2, 3, 4]),
        ("garbage", vec![0x83; 64]),
    ];
    for (what, bytes) in table {
        for piece in [1, 4_096] {
            let mut rig = market_rig(serve(bytes.clone(), piece, false), 64);
            for book in [0, 1] {
                assert_eq!(rig.up_to_gap(), (0, Some(InstrumentIx(book)), GapReason::Disconnected), "{what}");
            }
            assert!(matches!(rig.next(), MarketEvent::SnapshotStart { .. }), "{what}: it comes back");
        }
    }
}

#[test]
fn a_message_that_cannot_be_read_is_a_gap_and_its_book_is_asked_for_anew() {
    let nested = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let bad_price = book("222").replace("0.40", "4.0");
    for (bad, whose) in
        [("{", None), ("nonsense", None), (nested.as_str(), None), (bad_price.as_str(), Some(InstrumentIx(1)))]
    {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heard, bad) = (Arc::clone(&said), bad.to_owned());
        let addr = listen(move |_, mut socket| {
            if shake_hands(&mut socket).is_none() || read_text(&mut socket).is_none() {
                return;
            }
            socket.write_all(&frame(1, bad.as_bytes())).expect("a message");
            while let Some(text) = read_text(&mut socket) {
                heard.lock().expect("unpoisoned").push(text);
                socket.write_all(&frame(1, book("222").as_bytes())).expect("a snapshot");
            }
        });
        let mut rig = market_rig(addr, 64);
        assert_eq!(rig.up_to_gap(), (0, whose, GapReason::Malformed));
        until("the two requests", || {
            rig.tile.poll();
            (said.lock().expect("unpoisoned").len() >= 2).then_some(())
        });
        let said = said.lock().expect("unpoisoned").clone();
        let tokens = if whose.is_some() { r#"["222"]"# } else { r#"["111","222"]"# };
        assert!(said[0].contains("unsubscribe") && said[0].contains(tokens), "{said:?}");
        assert!(said[1].contains(r#""subscribe""#) && said[1].contains(tokens), "{said:?}");
        rig.tile.housekeep(Stamp::default());
        assert_eq!(rig.counters.market_malformed.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn the_engine_can_ask_for_a_book_anew() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let addr = listen(move |_, mut socket| {
        if shake_hands(&mut socket).is_none() {
            return;
        }
        while let Some(text) = read_text(&mut socket) {
            heard.lock().expect("unpoisoned").push(text);
            socket.write_all(&frame(1, book("222").as_bytes())).expect("a snapshot");
        }
    });
    let mut rig = market_rig(addr, 64);
    rig.resync.push(InstrumentIx(1)).expect("room");
    // What is asked before the socket is open comes with the subscription; what is asked after, by name.
    let count = |n: usize| move |asked: &Vec<String>| (asked.len() >= n).then_some(());
    until("the subscription", || {
        rig.tile.poll();
        count(1)(&asked.lock().expect("unpoisoned"))
    });
    while !matches!(rig.next(), MarketEvent::FrameEnd { .. }) {}
    rig.resync.push(InstrumentIx(1)).expect("room");
    until("the requests", || {
        rig.tile.poll();
        count(3)(&asked.lock().expect("unpoisoned"))
    });
    let asked = asked.lock().expect("unpoisoned");
    assert!(asked[0].contains(r#""type":"market""#) && asked[0].contains(r#""custom_feature_enabled":true"#));
    assert!(asked[1].contains("unsubscribe") && !asked[1].contains("111"));
    assert!(asked[2].contains(r#""subscribe""#) && asked[2].contains("222"));
}

#[test]
fn a_full_ring_drops_the_rest_says_so_and_asks_for_every_book() {
    // Room for three events; a snapshot has five and its message one more.
    let frames = frame(1, book("111").as_bytes());
    let mut rig = market_rig(serve(frames.repeat(3), 4_096, true), 3);
    until("the messages", || {
        rig.tile.poll();
        rig.tile.housekeep(Stamp::default());
        (rig.counters.market_messages.load(Ordering::Relaxed) == 3).then_some(())
    });
    assert!(matches!(
        rig.events.pop().expect("the first event").event,
        Event::Market(MarketEvent::SnapshotStart { .. })
    ));
    let (before, instrument, reason) = rig.up_to_gap();
    assert_eq!((before, instrument, reason), (2, Some(InstrumentIx(0)), GapReason::Overflow));
}

#[test]
fn a_refused_upgrade_is_tried_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let addr = listen(move |n, mut socket| {
        counted.fetch_add(1, Ordering::SeqCst);
        if n == 0 {
            let _ = socket.read(&mut [0; 4_096]);
            socket.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").expect("a refusal");
            return;
        }
        if shake_hands(&mut socket).is_some() && read_text(&mut socket).is_some() {
            socket.write_all(&frame(1, book("111").as_bytes())).expect("a snapshot");
            while read_text(&mut socket).is_some() {}
        }
    });
    let mut rig = market_rig(addr, 64);
    assert!(matches!(rig.next(), MarketEvent::SnapshotStart { .. }), "no gap: there was nothing to lose");
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

#[test]
fn silence_is_noticed_by_the_clock() {
    let addr = serve(frame(1, book("111").as_bytes()), 4_096, true);
    let (universe, counters) = (universe(), Arc::new(Counters::default()));
    let (tx, events) = ring("market", 0, 64);
    let (resync, rx) = ring("resync", 0, 16);
    let config = SocketConfig { silent_after_ns: 30_000_000_000, ..config(addr) };
    let feed = MarketFeed::new(config, &universe, instruments_of(0, 1, 1), tx, rx, 1);
    let mut rig = Rig { tile: tile(Some(feed), None, &counters), events, resync, counters };
    while !matches!(rig.next(), MarketEvent::FrameEnd { .. }) {}
    let mut later = Clock::new().now();
    rig.tile.housekeep(later);
    later.wall = later.wall.plus(31_000_000_000);
    rig.tile.housekeep(later);
    assert_eq!(rig.up_to_gap(), (0, Some(InstrumentIx(0)), GapReason::Silent));
}

#[test]
fn the_user_stream_is_up_once_its_subscription_was_read_and_loses_nothing_to_a_full_ring() {
    let order = |n: u32| {
        format!(
            r#"{{"event_type":"order","type":"PLACEMENT","id":"0x{n:064x}","owner":"key","market":"{CONDITION}",
            "asset_id":"111","side":"BUY","price":"0.5","original_size":"5","size_matched":"0","status":"LIVE",
            "timestamp":"1725842520990"}}"#
        )
    };
    let addr = listen(move |n, mut socket| {
        if shake_hands(&mut socket).is_none() {
            return;
        }
        let (subscription, ping) = (read_text(&mut socket).expect("a subscription"), read_text(&mut socket));
        assert!(subscription.contains(r#""secret":"c2VjcmV0""#) && ping.as_deref() == Some("PING"));
        socket.write_all(&frame(1, b"PONG")).expect("an answer");
        if n == 0 {
            for k in 0..20 {
                socket.write_all(&frame(1, order(k).as_bytes())).expect("a message");
            }
            return;
        }
        while read_text(&mut socket).is_some() {}
    });
    let (universe, counters) = (universe(), Arc::new(Counters::default()));
    let (tx, mut events) = ring("user", 0, 2);
    let credentials =
        Credentials { api_key: "key".into(), secret: "c2VjcmV0".to_owned().into(), passphrase: "p".to_owned().into() };
    let feed = UserFeed::new(config(addr), &universe, credentials, tx, 1);
    let mut tile = tile(None, Some(feed), &counters);
    let mut heard = Vec::new();
    while heard.iter().filter(|e| **e == UserEvent::Up).count() < 2 {
        // The reader is slower than the socket.
        for _ in 0..4 {
            tile.poll();
        }
        heard.extend(events.pop().map(|event| match event.event {
            Event::User(event) => event,
            other => panic!("not a user event: {other:?}"),
        }));
    }
    assert_eq!(heard.first(), Some(&UserEvent::Up));
    assert_eq!(heard.iter().filter(|e| matches!(e, UserEvent::Order { .. })).count(), 20);
    assert_eq!(heard[21..], [UserEvent::Down, UserEvent::Up]);
    assert_eq!(events.stats().read().overflows, 0, "waiting is not losing");
}
