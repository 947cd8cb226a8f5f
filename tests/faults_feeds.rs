//! The market and user feeds against a venue of a few lines that misbehaves on real sockets: what is frozen is found,
//! what breaks is replaced, and the engine hears one stream.
#![cfg(feature = "embedded")]

mod tiles_support;

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use polyloly_fast::{
    feeds::{
        FeedTile, Shared,
        arbiter::Rules,
        market::{MarketConfig, MarketFeed},
        socket::SocketConfig,
        user::UserFeed,
    },
    stage::{
        Stage,
        counters::Counters,
        dead_letter::{DeadLetter, Reason, Source},
        endpoint::{Endpoint, Trust, tls_config},
        ring::{Rx, ring},
    },
    sys::tsc::Clock,
    types::{
        Event, InstrumentIx, Stamped,
        event::{BookSide, GapReason, MarketEvent, UserEvent},
    },
    wire::auth::Credentials,
    wiring::instruments_of,
};
use tiles_support::{
    CONDITION, answer, listen, read_request, universe, until,
    ws::{frame, read_text, shake_hands, shake_hands_and},
};

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
const YES: InstrumentIx = InstrumentIx(0);
const NO: InstrumentIx = InstrumentIx(1);

/// One market socket as the venue sees it.
struct Client {
    socket: TcpStream,
    /// Gets no data, but its pings are answered.
    frozen: bool,
    alive: bool,
}

/// A venue with one book worth telling of: size at 0.40 and 0.60 of either token.
#[derive(Default)]
struct State {
    clients: Vec<Client>,
    /// Size at the best bid of each token, and the venue's time of it.
    size: [u64; 2],
    ms: u64,
    /// Snapshots that are still to be dropped.
    drop_snapshots: usize,
    /// What was asked for, by kind.
    subscribed: usize,
    resubscribed: usize,
    questions: usize,
    most_at_once: usize,
}

#[derive(Clone, Default)]
struct Hub(Arc<Mutex<State>>);

fn token(n: usize) -> &'static str {
    ["111", "222"][n]
}

impl State {
    fn book(&self, n: usize) -> String {
        format!(
            r#"{{"event_type":"book","market":"{CONDITION}","asset_id":"{}","timestamp":"{}","hash":"","bids":[{{
            "price":"0.40","size":"{}"}}],"asks":[{{"price":"0.60","size":"10"}}],"tick_size":"0.01"}}"#,
            token(n),
            self.ms,
            10 + self.size[n]
        )
    }

    fn tell(&mut self, text: &str) {
        let bytes = frame(1, text.as_bytes());
        for client in self.clients.iter_mut().filter(|c| c.alive && !c.frozen) {
            client.alive = client.socket.write_all(&bytes).is_ok();
        }
    }
}

impl Hub {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("unpoisoned")
    }

    /// Serves sockets; returns where.
    fn sockets(&self) -> SocketAddr {
        let hub = self.clone();
        hub.lock().ms = 1_790_000_000_000;
        listen(move |_, mut socket| {
            if shake_hands(&mut socket).is_none() {
                return;
            }
            let me = {
                let mut state = hub.lock();
                let copy = socket.try_clone().expect("a handle");
                // Nothing is told before a subscription.
                state.clients.push(Client { socket: copy, frozen: false, alive: false });
                state.clients.len() - 1
            };
            while let Some(text) = read_text(&mut socket) {
                let mut state = hub.lock();
                if text == "PING" {
                    let _ = socket.write_all(&frame(1, b"PONG"));
                    continue;
                }
                if text.contains("unsubscribe") {
                    continue;
                }
                if text.contains("\"type\":\"market\"") {
                    state.subscribed += 1;
                    state.clients[me].alive = true;
                    let open = state.clients.iter().filter(|c| c.alive).count();
                    state.most_at_once = state.most_at_once.max(open);
                } else {
                    state.resubscribed += 1;
                }
                for n in (0..2).filter(|n| text.contains(token(*n))) {
                    if state.drop_snapshots > 0 {
                        state.drop_snapshots -= 1;
                    } else if !state.clients[me].frozen {
                        let book = state.book(n);
                        let _ = socket.write_all(&frame(1, book.as_bytes()));
                    }
                }
            }
            hub.lock().clients[me].alive = false;
        })
    }

    /// Answers `POST /books`.
    fn rest(&self) -> SocketAddr {
        let hub = self.clone();
        listen(move |_, mut socket| {
            while let Some((head, body)) = read_request(&mut socket) {
                assert!(head.starts_with("POST /books "), "{head}");
                let mut state = hub.lock();
                state.questions += 1;
                let books: Vec<_> = (0..2).filter(|n| body.contains(token(*n))).map(|n| state.book(n)).collect();
                if socket.write_all(answer(200, &format!("[{}]", books.join(","))).as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    /// One more share at the best bid of a token. Returns its new size.
    fn say(&self, n: usize) -> u64 {
        let mut state = self.lock();
        state.ms += 1;
        state.size[n] += 1;
        let (size, ms) = (10 + state.size[n], state.ms);
        state.tell(&change(n, size, ms));
        size
    }

    fn open(&self) -> usize {
        self.lock().clients.iter().filter(|c| c.alive).count()
    }
}

fn change(n: usize, size: u64, ms: u64) -> String {
    format!(
        r#"{{"event_type":"price_change","market":"{CONDITION}","timestamp":"{ms}","price_changes":[{{"asset_id":"{}",
        "price":"0.40","size":"{size}","side":"BUY","hash":"","best_bid":"0.40","best_ask":"0.60"}}]}}"#,
        token(n)
    )
}

fn endpoint(scheme: &str, addr: SocketAddr, path: &str) -> Endpoint {
    let tls = tls_config(Trust::Public).expect("trust");
    Endpoint::resolve(&format!("{scheme}://127.0.0.1:{}{path}", addr.port()), &tls).expect("an endpoint")
}

/// Deadlines that a test can wait for.
const RULES: Rules = Rules {
    freeze_after_ns: 300 * MS,
    dispute_after_ns: 100 * MS,
    snapshot_after_ns: 200 * MS,
    witness_after_ns: 300 * MS,
    witness_grace_ns: 100 * MS,
};

fn config(addr: SocketAddr, sockets: usize, witness: Option<SocketAddr>) -> MarketConfig {
    let endpoint_of = endpoint("ws", addr, "/ws/market");
    let socket = SocketConfig { endpoint: endpoint_of, ping_every_ns: 50 * MS, stale_after_ns: 0, silent_after_ns: 0 };
    let witness = witness.map(|addr| endpoint("http", addr, ""));
    MarketConfig { socket, sockets, rules: RULES, reconnect_every_ns: 0, witness }
}

struct Rig {
    tile: FeedTile,
    clock: Clock,
    events: Rx<Stamped>,
    letters: Rx<DeadLetter>,
    counters: Arc<Counters>,
    /// Sizes of the best bid of each token, as the engine heard them.
    heard: [Vec<u64>; 2],
    gaps: Vec<(Option<InstrumentIx>, GapReason)>,
    venue_ms: Vec<(u64, u64)>,
    _resync: polyloly_fast::stage::ring::Tx<InstrumentIx>,
}

fn rig(config: MarketConfig, depth: usize) -> Rig {
    let (universe, counters) = (universe(), Arc::new(Counters::default()));
    let (tx, events) = ring("market", 0, depth);
    let (resync, rx) = ring("resync", 0, 16);
    let (dead, letters) = ring("dead_letters", 0, 8);
    let market = MarketFeed::new(config, &universe, instruments_of(0, 1, 1), tx, rx, 7).with_dead_letters(dead);
    let (samples, _) = ring("samples", 0, 1_024);
    let shared = Shared { clock: Clock::new(), samples, counters: Arc::clone(&counters) };
    let tile = FeedTile { market: Some(market), user: None, sports: None, shared };
    Rig {
        tile,
        clock: Clock::new(),
        events,
        letters,
        counters,
        heard: Default::default(),
        gaps: Vec::new(),
        venue_ms: Vec::new(),
        _resync: resync,
    }
}

impl Rig {
    /// A turn of the thread, and of the engine.
    fn turn(&mut self) {
        self.tile.poll();
        self.tile.housekeep(self.clock.now());
        while let Some(Stamped { stamp, event }) = self.events.pop() {
            let Event::Market(event) = event else { panic!("not a market event: {event:?}") };
            match event {
                MarketEvent::Level { instrument, side: BookSide::Bid, qty, .. }
                | MarketEvent::Delta { instrument, side: BookSide::Bid, qty, .. } => {
                    self.heard[instrument.ix()].push(qty.micro() / 1_000_000);
                }
                MarketEvent::Gap { instrument, reason } => self.gaps.push((instrument, reason)),
                MarketEvent::FrameEnd { venue_ms } => self.venue_ms.push((venue_ms, stamp.wall.millis())),
                _ => {}
            }
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        until(what, || {
            self.turn();
            done(self).then_some(())
        });
    }

    fn for_ms(&mut self, ms: u64) {
        let end = self.clock.now().wall.plus(ms * MS);
        while self.clock.now().wall < end {
            self.turn();
        }
    }

    /// Both books were heard, and all sockets are open and have said everything.
    fn settled(&mut self, hub: &Hub, sockets: usize) {
        self.until("both books on every socket", |rig| {
            hub.open() == sockets && rig.heard.iter().all(|h| !h.is_empty())
        });
        self.for_ms(100);
    }

    fn count(&self, name: &str) -> u64 {
        self.counters.read().iter().find(|(n, _)| *n == name).map_or_else(|| panic!("{name}"), |(_, v)| *v)
    }
}

#[test]
fn t01_silent_freeze_with_pong_alive() {
    let hub = Hub::default();
    let mut rig = rig(config(hub.sockets(), 2, Some(hub.rest())), 1_024);
    rig.settled(&hub, 2);
    // One socket goes quiet, and answers every ping: the other carries on, and it is replaced.
    hub.lock().clients[0].frozen = true;
    let sizes: Vec<u64> = (0..30)
        .map(|_| {
            rig.for_ms(20);
            hub.say(0)
        })
        .collect();
    rig.until("the last change", |rig| rig.heard[0].last() == sizes.last());
    assert_eq!(rig.heard[0][1..], sizes, "every change, each once");
    assert_eq!(rig.gaps, [], "no decision was lost");
    assert!(rig.count("feed_line_freezes") >= 1);
    rig.until("a third socket in its place", |_| hub.lock().subscribed >= 3);
    rig.for_ms(200);
    let size = hub.say(0);
    rig.until("a change, twice", |rig| rig.heard[0].last() == Some(&size) && rig.count("market_duplicates") > 0);
    assert_eq!(rig.heard[0].iter().filter(|s| **s == size).count(), 1);
    assert_eq!(rig.gaps, []);
    // Every socket goes quiet: only the witness can know, and it is a gap.
    hub.lock().clients.iter_mut().for_each(|c| c.frozen = true);
    let before = rig.heard[0].len();
    let missed = hub.say(0);
    rig.until("the gap", |rig| !rig.gaps.is_empty());
    assert_eq!(rig.gaps, [(Some(YES), GapReason::Frozen)]);
    assert_eq!(rig.heard[0].len(), before, "nothing was given as fresh meanwhile");
    rig.until("a fresh socket with the book", |rig| rig.heard[0].last() == Some(&missed));
    rig.until("its price", |rig| rig.count("feed_frozen_ns") > 0 && rig.count("feed_longest_gap_ns") > 0);
}

#[test]
fn t01_freeze_of_one_token() {
    let hub = Hub::default();
    let mut rig = rig(config(hub.sockets(), 2, Some(hub.rest())), 1_024);
    rig.settled(&hub, 2);
    // One token moves and nobody says so; the other is talked of all the time.
    {
        let mut state = hub.lock();
        state.ms += 1;
        state.size[1] += 1;
    }
    until("the gap of the one token", || {
        hub.say(0);
        rig.for_ms(10);
        (!rig.gaps.is_empty()).then_some(())
    });
    assert_eq!(rig.gaps, [(Some(NO), GapReason::Frozen)]);
    rig.until("its snapshot", |rig| rig.heard[1].last() == Some(&11));
    assert!(rig.count("witness_mismatches") >= 2, "one could have been a change on its way");
}

#[test]
fn t02_first_snapshot_never_comes() {
    let hub = Hub::default();
    let addr = hub.sockets();
    hub.lock().drop_snapshots = 8;
    let mut rig = rig(config(addr, 1, None), 1_024);
    rig.until("the socket opened anew", |rig| {
        let opened = hub.lock().subscribed;
        assert!(opened > 1 || rig.heard.iter().all(Vec::is_empty), "nothing was taken for a book");
        opened >= 2
    });
    // Both tokens are in one request.
    assert_eq!(hub.lock().resubscribed, 3, "asked again three times, then no more");
    rig.until("the books", |rig| rig.heard.iter().all(|h| h == &[10]));
    assert_eq!(rig.count("market_reconnects"), 1);
}

#[test]
fn t03_burst_after_a_pause() {
    let hub = Hub::default();
    let mut rig = rig(config(hub.sockets(), 2, None), 1_024);
    rig.settled(&hub, 2);
    let from = rig.venue_ms.len();
    let burst: Vec<u8> =
        (1..=50).flat_map(|n| frame(1, change(0, 100 + n, 1_790_000_000_000 + n).as_bytes())).collect();
    for client in &mut hub.lock().clients {
        client.socket.write_all(&burst).expect("a burst");
    }
    rig.until("all of it", |rig| rig.heard[0].len() == 51);
    assert_eq!(rig.heard[0][1..], (101..=150).collect::<Vec<_>>());
    // The venue's time is given as it was said, the stamp is when it was read: together they tell how late it is.
    for (n, (venue_ms, read_ms)) in rig.venue_ms[from..].iter().enumerate() {
        assert_eq!(*venue_ms, 1_790_000_000_001 + n as u64);
        assert!(read_ms > venue_ms, "read after it happened");
    }
    assert_eq!(rig.gaps, []);
}

#[test]
fn t04_clean_and_abnormal_closes() {
    for goodbye in [Some(1000_u16), Some(1011), None] {
        // One of two: no gap.
        let hub = Hub::default();
        let mut rig = rig(config(hub.sockets(), 2, None), 1_024);
        rig.settled(&hub, 2);
        {
            let mut state = hub.lock();
            if let Some(code) = goodbye {
                state.clients[0].socket.write_all(&frame(8, &code.to_be_bytes())).expect("a goodbye");
            }
            state.clients[0].socket.shutdown(std::net::Shutdown::Both).expect("closed");
        }
        rig.until("a third socket", |_| hub.lock().subscribed == 3);
        let size = hub.say(1);
        rig.until("a change", |rig| rig.heard[1].last() == Some(&size));
        assert_eq!(rig.gaps, [], "{goodbye:?}");
    }
    // A venue that takes everybody in and throws everybody out is not stormed.
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let addr = listen(move |_, mut socket| {
        counted.fetch_add(1, SeqCst);
        if shake_hands(&mut socket).is_some() && read_text(&mut socket).is_some() {
            let _ = socket.write_all(&frame(8, &1011_u16.to_be_bytes()));
        }
    });
    let mut rig = rig(config(addr, 1, None), 1_024);
    rig.for_ms(1_500);
    let tries = tries.load(SeqCst);
    // Waits of about 75, 150, 300, 600, 1200 ms.
    assert!((2..=6).contains(&tries), "{tries} in a second and a half");
}

#[test]
fn t05_reset_in_the_middle_of_a_frame() {
    let hub = Hub::default();
    let mut rig = rig(config(hub.sockets(), 2, None), 1_024);
    rig.settled(&hub, 2);
    {
        let mut state = hub.lock();
        let whole = frame(1, change(0, 99, state.ms + 1).as_bytes());
        let client = &mut state.clients[1];
        client.socket.write_all(&whole[..whole.len() - 7]).expect("most of it");
        client.socket.shutdown(std::net::Shutdown::Both).expect("cut");
        client.alive = false;
    }
    rig.until("a third socket", |_| hub.lock().subscribed == 3);
    let size = hub.say(0);
    rig.until("a whole change", |rig| rig.heard[0].last() == Some(&size));
    assert_eq!(rig.heard[0], [10, size], "half a message is none");
    assert_eq!((rig.gaps.len(), rig.count("market_malformed")), (0, 0));
}

#[test]
fn t06_half_open_connection() {
    // The peer is there for the system and gone for everybody else: no frame, no answer to a ping.
    let opened = Arc::new(AtomicUsize::new(0));
    let keeps_alive = Arc::new(AtomicUsize::new(0));
    let (counted, checked) = (Arc::clone(&opened), Arc::clone(&keeps_alive));
    let addr = listen(move |_, mut socket| {
        if shake_hands(&mut socket).is_none() {
            return;
        }
        counted.fetch_add(1, SeqCst);
        let _ = read_text(&mut socket);
        // The kernel's timer of our end, as soon as nothing is under way: 02 is keepalive, which would find a peer
        // that is really gone.
        let port = format!(":{:04X}", socket.peer_addr().expect("a peer").port());
        let armed = (0..2_000).any(|_| {
            let sockets = std::fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
            let of = |l: &&str| l.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port));
            let ours = sockets.lines().find(of);
            ours.and_then(|l| l.split_whitespace().nth(5)).is_some_and(|timer| timer.starts_with("02:"))
        });
        checked.fetch_add(usize::from(armed), SeqCst);
        while read_text(&mut socket).is_some() {}
    });
    let mut half_open = config(addr, 1, None);
    half_open.socket.stale_after_ns = 300 * MS;
    half_open.rules.snapshot_after_ns = 60 * S;
    let mut rig = rig(half_open, 1_024);
    rig.until("another connection", |_| opened.load(SeqCst) >= 2 && keeps_alive.load(SeqCst) >= 1);
    assert_eq!(rig.gaps[..2], [(Some(YES), GapReason::Silent), (Some(NO), GapReason::Silent)]);
}

#[test]
fn story_11_rolling_reconnects_without_a_decision_gap() {
    for sockets in [1, 2] {
        let hub = Hub::default();
        let mut rolling = config(hub.sockets(), sockets, Some(hub.rest()));
        rolling.reconnect_every_ns = S / 2;
        let mut rig = rig(rolling, 4_096);
        rig.settled(&hub, sockets);
        let mut sizes = Vec::new();
        until("four sockets replaced", || {
            sizes.push(hub.say(0));
            rig.for_ms(5);
            assert!(hub.open() >= sockets, "the fresh one comes before the old one goes");
            (rig.count("market_replaced") >= 4).then_some(())
        });
        rig.until("the last change", |rig| rig.heard[0].last() == sizes.last());
        assert_eq!(rig.heard[0][1..], sizes, "every change, each once");
        assert_eq!(rig.gaps, []);
        assert_eq!(hub.lock().most_at_once, sockets + 1, "one at a time");
    }
}

#[test]
fn story_12_a_socket_whose_pings_have_stopped_is_replaced() {
    // Nothing is sent by either side: the timer that should have sent pings is dead.
    let hub = Hub::default();
    let mut silent = config(hub.sockets(), 1, None);
    silent.socket.ping_every_ns = 0;
    silent.socket.stale_after_ns = 300 * MS;
    let mut rig = rig(silent, 1_024);
    rig.until("another socket, and its book", |rig| hub.lock().subscribed >= 2 && rig.heard[0].len() >= 2);
    assert!(rig.gaps.contains(&(Some(YES), GapReason::Silent)));
}

#[test]
fn story_13_a_snapshot_that_comes_before_the_subscription_is_taken() {
    let hub = Hub::default();
    hub.lock().ms = 1_790_000_000_000;
    let book = frame(1, hub.lock().book(0).as_bytes());
    // In one segment with the answer to the upgrade, and never again.
    let addr = listen(move |_, mut socket| {
        if shake_hands_and(&mut socket, &book).is_some() {
            while read_text(&mut socket).is_some() {}
        }
    });
    let mut rig = rig(config(addr, 1, None), 64);
    rig.until("the book", |rig| rig.heard[0] == [10]);
}

#[test]
fn story_13_an_overrun_is_a_gap_until_the_next_snapshot() {
    let hub = Hub::default();
    let mut rig = rig(config(hub.sockets(), 1, None), 64);
    rig.settled(&hub, 1);
    let flood: Vec<u8> =
        (1..=200).flat_map(|n| frame(1, change(0, 100 + n, 1_790_000_000_000 + n).as_bytes())).collect();
    hub.lock().clients[0].socket.write_all(&flood).expect("a flood");
    // The thread runs, the engine does not: the ring overruns.
    until("the overrun", || {
        rig.tile.poll();
        (rig.events.stats().read().overflows > 0).then_some(())
    });
    hub.lock().size[0] = 290;
    hub.lock().ms += 300;
    rig.until("the snapshot", |rig| rig.heard[0].last() == Some(&300));
    assert!(
        rig.gaps.contains(&(Some(YES), GapReason::Overflow)) && rig.gaps.contains(&(Some(NO), GapReason::Overflow))
    );
    assert!(hub.lock().resubscribed >= 1, "it was asked for");
}

#[test]
fn a_message_that_cannot_be_read_is_kept_and_the_other_socket_goes_on() {
    let hub = Hub::default();
    let mut rig = rig(config(hub.sockets(), 2, None), 1_024);
    rig.settled(&hub, 2);
    let bad = change(0, 12, 1_790_000_000_001).replace("0.40", "4.0");
    hub.lock().clients[1].socket.write_all(&frame(1, bad.as_bytes())).expect("a message");
    let letter = until("a letter", || {
        rig.turn();
        rig.letters.pop()
    });
    assert_eq!((letter.source, letter.reason), (Source::Market, Reason::Value("price")));
    assert_eq!((letter.instrument, &*letter.head), (Some(YES), bad.as_bytes()));
    assert_eq!(letter.digest, xxhash_rust::xxh3::xxh3_64(bad.as_bytes()));
    let size = hub.say(0);
    rig.until("the next change", |rig| rig.heard[0].last() == Some(&size));
    assert_eq!(rig.gaps, [], "the other socket was following");
}

#[test]
fn the_user_stream_is_down_when_it_is_silent_and_its_unreadable_messages_hold_no_key() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let addr = listen(move |n, mut socket| {
        if shake_hands(&mut socket).is_none() || read_text(&mut socket).is_none() {
            return;
        }
        counted.fetch_add(1, SeqCst);
        // It is up; then it says something unreadable, and the next one nothing at all, not even to pings.
        let _ = socket.write_all(&frame(1, b"PONG"));
        if n == 0 {
            let _ = socket.write_all(&frame(1, br#"{"event_type":"order","owner":"key-of-ours","id":7}"#));
        }
        while read_text(&mut socket).is_some() {
            if n == 0 {
                let _ = socket.write_all(&frame(1, b"PONG"));
            }
        }
    });
    let (universe, counters) = (universe(), Arc::new(Counters::default()));
    let (tx, mut events) = ring("user", 0, 64);
    let (dead, mut letters) = ring("dead_letters", 0, 8);
    let credentials = Credentials {
        api_key: "key-of-ours".into(),
        secret: "c2VjcmV0".to_owned().into(),
        passphrase: "p".to_owned().into(),
    };
    let socket = SocketConfig {
        endpoint: endpoint("ws", addr, "/ws/user"),
        ping_every_ns: 50 * MS,
        stale_after_ns: 300 * MS,
        silent_after_ns: 0,
    };
    let user = UserFeed::new(socket, &universe, credentials, tx, 1).with_dead_letters(dead);
    let (samples, _) = ring("samples", 0, 64);
    let clock = Clock::new();
    let shared = Shared { clock: Clock::new(), samples, counters };
    let mut tile = FeedTile { market: None, user: Some(user), sports: None, shared };
    let mut heard = Vec::new();
    until("three connections", || {
        tile.poll();
        tile.housekeep(clock.now());
        heard.extend(events.pop().map(|e| e.event));
        (opened.load(SeqCst) >= 3).then_some(())
    });
    let (up, down) = (Event::User(UserEvent::Up), Event::User(UserEvent::Down));
    assert_eq!(heard[..4], [up, down, up, down], "unreadable, then silent");
    let letter = letters.pop().expect("a letter");
    assert_eq!(letter.source, Source::User);
    assert!(!String::from_utf8_lossy(&letter.head).contains("key-of-ours"));
}
