//! A run whose venue misbehaves on every socket: it survives, counts what came, asks for its books anew, ends clean.
//!
//! The venue itself is honest; between it and the run sits a tap that says things of its own and cuts.
#![cfg(feature = "embedded")]

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use serde_json::json;
use support::{Abroad, PATIENCE, Scratch, assert_clean, number, polyloly};

const MARKET: &str = "0x3c80445e6248383d45606d5c8cde91ffc86f8312fa366b68e62d18d8b5019322";
const YES: &str = "67744047186280837638581517121808286156526362225479265045687103593827108345440";
const NO: &str = "81755600237477282507222299225124336438083939235322593100586399872775751001085";

/// What a tap does to one connection: so many frames of the venue are passed on before each of these is said. Whoever
/// said the last one hangs up if told so; otherwise the rest is passed on.
#[derive(Clone, Default)]
struct Script {
    say: Vec<(usize, Vec<u8>)>,
    cut: bool,
}

/// Between a run and one socket of its venue.
struct Tap {
    at: SocketAddr,
    /// Frames passed on since the last connection with a script had ended.
    calm: Arc<AtomicUsize>,
}

impl Tap {
    /// Listens for connections to `venue`; the n-th is treated as the n-th script says, later ones honestly. `piece`
    /// reads what the venue says next, as a whole.
    fn new(venue: SocketAddr, scripts: Vec<Script>, piece: fn(&mut TcpStream) -> Option<Vec<u8>>, head: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let (at, calm) = (listener.local_addr().expect("bound"), Arc::new(AtomicUsize::new(0)));
        let passed = Arc::clone(&calm);
        std::thread::spawn(move || {
            for (n, client) in listener.incoming().flatten().enumerate() {
                let (script, passed) = (scripts.get(n).cloned(), Arc::clone(&passed));
                std::thread::spawn(move || {
                    let Ok(server) = TcpStream::connect(venue) else { return };
                    let upward = (client.try_clone(), server.try_clone());
                    if let (Ok(from), Ok(to)) = upward {
                        std::thread::spawn(move || pass_up(from, to));
                    }
                    let (mut from, mut to) = (server, client);
                    let _ = pass_down(&mut from, &mut to, script, &passed, piece, head);
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        });
        Self { at, calm }
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.at)
    }

    /// Waits until the last script is played and so much more was passed on.
    #[track_caller]
    fn is_calm(&self, what: &str, pieces: usize) {
        let begun = Instant::now();
        while self.calm.load(Ordering::SeqCst) < pieces {
            assert!(begun.elapsed() < PATIENCE, "the {what} socket did not come back");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn pass_up(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// `None` when either side is gone or the script says so.
fn pass_down(
    from: &mut TcpStream,
    to: &mut TcpStream,
    script: Option<Script>,
    passed: &AtomicUsize,
    piece: fn(&mut TcpStream) -> Option<Vec<u8>>,
    head: bool,
) -> Option<()> {
    if head {
        to.write_all(&http_head(from)?).ok()?;
    }
    let honest = script.is_none();
    let Script { say, cut } = script.unwrap_or_default();
    let mut count = 0;
    for (after, bytes) in say {
        while count < after {
            to.write_all(&piece(from)?).ok()?;
            count += 1;
        }
        to.write_all(&bytes).ok()?;
    }
    if cut {
        return None;
    }
    loop {
        to.write_all(&piece(from)?).ok()?;
        if honest {
            passed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn http_head(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(head)
}

/// The venue's next WebSocket frame.
fn ws_frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2];
    from.read_exact(&mut frame).ok()?;
    let more = match frame[1] {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    frame.resize(2 + more, 0);
    from.read_exact(&mut frame[2..]).ok()?;
    let long = frame[2..].iter().fold(0, |n, b| n << 8 | usize::from(*b));
    let (header, length) = (frame.len(), if more == 0 { usize::from(frame[1]) } else { long });
    frame.resize(header + length, 0);
    from.read_exact(&mut frame[header..]).ok()?;
    Some(frame)
}

/// The venue's next HTTP answer.
fn http_answer(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut answer = http_head(from)?;
    let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let length: usize = text.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok())?;
    let head = answer.len();
    answer.resize(head + length, 0);
    from.read_exact(&mut answer[head..]).ok()?;
    Some(answer)
}

/// A text frame of a server.
fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut out = vec![0x81];
    match payload.len() {
        n @ 0..126 => out.push(n as u8),
        n @ 126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

fn book(token: &str, bid: &str) -> String {
    json!({"event_type": "book", "market": MARKET, "asset_id": token, "timestamp": "1790779105520", "hash": "a",
        "bids": [{"price": bid, "size": "100"}], "asks": [{"price": "0.52", "size": "100"}]})
    .to_string()
}

fn change(price: &str) -> String {
    json!({"event_type": "price_change", "market": MARKET, "timestamp": "1790779105521", "price_changes": [{
        "asset_id": YES, "price": price, "size": "7", "side": "BUY", "hash": "b", "best_bid": "0.48",
        "best_ask": "0.52"}]})
    .to_string()
}

/// An hour of one market in its own rhythm: nobody there trades with us, so nothing but our own orders can be lost.
fn recording() -> String {
    // Played as it is, with its own times: it begins when the venue has read it, so that its changes are not late.
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock past 1970");
    let start = u64::try_from(since.as_millis()).expect("in this era") + 10_000;
    let snapshots: Vec<_> = [YES, NO]
        .iter()
        .map(|token| {
            let mut v: serde_json::Value = serde_json::from_str(&book(token, "0.48")).expect("JSON");
            v["timestamp"] = start.to_string().into();
            v
        })
        .collect();
    let mut lines = vec![json!(snapshots).to_string()];
    lines.extend((1..36_000).map(|n: u64| {
        let entry = |token: &str, price: &str, side: &str| {
            json!({"asset_id": token, "price": price, "size": (100 + n).to_string(), "side": side, "hash": "b",
                "best_bid": "0.48", "best_ask": "0.52"})
        };
        let changes = [entry(YES, "0.48", "BUY"), entry(NO, "0.52", "SELL")];
        json!({"event_type": "price_change", "market": MARKET, "timestamp": (start + n * 100).to_string(),
            "price_changes": changes})
        .to_string()
    }));
    lines.join("\n")
}

fn nested() -> Vec<u8> {
    [vec![b'['; 100_000], vec![b']'; 100_000]].concat()
}

/// Ways to break a socket so that it must be opened anew.
fn breaks() -> Vec<Vec<u8>> {
    let half = text(book(YES, "0.48"));
    let huge = [&[0x81, 127][..], &(1_u64 << 40).to_be_bytes()].concat();
    vec![
        half[..half.len() / 2].to_vec(),
        vec![0x83; 64],
        huge,
        text([0xff, 0xfe, 0xfd]),
        vec![0xf1, 0],
        vec![0x81, 0x80, 1, 2, 3, 4],
    ]
}

#[test]
fn a_run_survives_a_venue_that_misbehaves_on_every_socket() {
    let dir = Scratch::new("wire");
    let file = dir.write("quiet.jsonl", recording());
    let abroad = Abroad::start(&dir, &["--plain", "--scenario", &file]);
    let venue: SocketAddr = abroad.at("rest").trim_start_matches("http://").parse().expect("an address");
    let broken = |n: usize| -> Vec<Script> {
        breaks().into_iter().map(|bytes| Script { say: vec![(n, bytes)], cut: true }).collect()
    };

    let first = Script {
        say: vec![
            (0, text(change("0.49"))),
            (6, text("{")),
            (8, text(&book(YES, "0.48")[..60])),
            (10, text(nested())),
            (12, text(vec![b'['; 100_000])),
            (14, text(r#"{"event_type":"news_of_tomorrow","asset_id":"1"}"#)),
            (16, text(book(YES, "0.485"))),
            (24, text(change("0.4805"))),
            (32, text(change("1.5"))),
            (40, text(book(YES, "half"))),
            (44, text(vec![b'x'; 3 << 20])),
        ],
        cut: true,
    };
    let market = Tap::new(venue, [vec![first], broken(4)].concat(), ws_frame, true);

    let said = |bytes: Vec<u8>| Script { say: vec![(1, bytes)], cut: false };
    let unknown = [text(r#"{"event_type":"news_of_tomorrow"}"#), text("{")].concat();
    let user = [vec![said(unknown), said(text(nested())), said(text("[1,2]"))], broken(1)].concat();
    let user = Tap::new(venue, user, ws_frame, true);

    let odd = [text("{"), text(r#"{"gameId":"none"}"#), text(nested()), text("7")].concat();
    let odd = Script { say: vec![(0, odd)], cut: true };
    // Without a word of the match nothing is quoted: the last connection brings it.
    let running = r#"{"gameId":1,"leagueAbbreviation":"lol","homeTeam":"Yes","awayTeam":"No","status":"running",
        "score":"000-000|0-0|Bo3","period":"1/3","live":true,"ended":false}"#;
    let running = Script { say: vec![(0, text(running))], cut: false };
    let sports = Tap::new(venue, [vec![odd], broken(0), vec![running]].concat(), ws_frame, true);

    // The first connection is the start's. Each of the next answers a few times, and then not as it should.
    let answer = |after: usize, bytes: &[u8], cut: bool| Script { say: vec![(after, bytes.to_vec())], cut };
    let rest = vec![
        Script::default(),
        answer(2, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n\xff{[\xfe", true),
        answer(2, b"nobody speaks like this\r\n\r\n", true),
        answer(3, b"HTTP/1.1 200 OK\r\nContent-Le", true),
        answer(3, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", true),
    ];
    let rest = Tap::new(venue, rest, http_answer, false);

    let urls = [
        rest.url("http", ""),
        market.url("ws", "/ws/market"),
        user.url("ws", "/ws/user"),
        sports.url("ws", "/ws/sports"),
    ];
    let [a, b, c, d] = urls.each_ref().map(|url| Some(url.as_str()));
    let config = abroad.configure(&dir, 1, [a, b, c, d]);
    // One socket: what a second would cover is to be seen.
    let alone = std::fs::read_to_string(&config).expect("the configuration") + "[feeds]\nsockets = 1\n";
    let config = dir.write("alone.toml", alone);
    let run = abroad.trade(&dir, &config, &[]);
    market.is_calm("market", 20);
    user.is_calm("user", 1);
    // Afterwards it trades as if nothing had been.
    run.orders_open(1);
    run.signal("INT");
    run.end().with(130);

    let summary = dir.json("summary.json");
    assert_clean(&summary);
    assert_eq!(number(&summary, "/fills/count"), 0);
    for (counter, least) in [
        ("market_malformed", 6),
        ("market_ignored", 1),
        ("market_reconnects", 7),
        ("user_malformed", 2),
        ("user_ignored", 1),
        ("user_reconnects", 8),
        ("sports_malformed", 2),
        ("sports_reconnects", 1),
    ] {
        let count = number(&summary, &format!("/counters/{counter}"));
        assert!(count >= least, "{counter}: {count}, expected at least {least}: {}", summary["counters"]);
    }
    assert!(number(&summary, "/books/resyncs") >= 2, "{}", summary["books"]);
    let (_, open) = abroad.account();
    assert!(open.is_empty(), "left at the venue: {open:?}");
    polyloly(dir.dir(), &["replay", summary["journal"].as_str().expect("a journal")]).with(0);
}
