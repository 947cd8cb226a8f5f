//! The start of a live run, step by step: each that fails refuses with a text of its own that says what to do, and exit
//! code 3; and what an earlier run left is put in order first.
#![cfg(feature = "embedded")]

mod support;
mod tiles_support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use support::{Abroad, Running, Scratch, assert_clean};
use tiles_support::{answer, listen, read_request};

/// Stands between a run and its venue: answers for it where told to, and passes on the rest.
fn between(venue: &Abroad, says: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    let to = venue.at("rest").trim_start_matches("http://").to_owned();
    listen(move |_, mut socket| {
        while let Some((head, body)) = read_request(&mut socket) {
            let line = head.lines().next().unwrap_or("").trim_end_matches(" HTTP/1.1").to_owned();
            let bytes = match says(&line) {
                Some(said) => said.into_bytes(),
                None => {
                    let Ok(mut venue) = TcpStream::connect(&to) else { return };
                    let once = head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
                    let mut bytes = Vec::new();
                    if venue.write_all((once + &body).as_bytes()).is_err() || venue.read_to_end(&mut bytes).is_err() {
                        return;
                    }
                    bytes
                }
            };
            if socket.write_all(&bytes).is_err() {
                return;
            }
        }
    })
}

#[test]
fn each_step_of_the_start_refuses_with_a_text_of_its_own() {
    let dir = Scratch::new("live_start");
    let abroad = Abroad::start(&dir, &["--plain"]);
    let geo =
        |blocked| answer(200, &format!(r#"{{"blocked":{blocked},"ip":"192.0.2.1","country":"XX","region":"YY"}}"#));
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let funds = |balance: &str, allowance: &str| {
        let spender = "0xE111180000d2663C0091e4f400237545B87B996B";
        answer(200, &format!(r#"{{"balance":"{balance}","allowances":{{"{spender}":"{allowance}"}}}}"#))
    };
    let order = "0x00000000000000000000000000000000000000000000000000000000000000aa";
    let rests = format!(
        r#"{{"data":[{{"id":"{order}","status":"LIVE","market":"{order}","asset_id":"111","side":"BUY","price":"0.5",
        "original_size":"10","size_matched":"0"}}],"next_cursor":"LTE=","limit":100,"count":1}}"#
    );
    // What is answered instead of the venue's word, and what the refusal says.
    type Row = (&'static str, Box<dyn Fn() -> String + Send + Sync>, &'static [&'static str]);
    let table: Vec<Row> = vec![
        ("GET /api/geoblock", Box::new(move || geo(true)), &["does not allow trading from here", "XX YY"]),
        ("GET /api/geoblock", Box::new(|| answer(502, "")), &["could not be asked", "venue.geoblock"]),
        ("GET /time", Box::new(move || answer(200, &(now() - 30).to_string())), &["ahead of the venue's", "NTP"]),
        ("GET /version", Box::new(|| answer(200, r#"{"version":3}"#)), &["order version 3", "do not trade"]),
        ("GET /auth/derive-api-key", Box::new(|| answer(400, r#"{"error":"no"}"#)), &["no API credentials", "log in"]),
        (
            "GET /auth/ban-status/closed-only",
            Box::new(|| answer(200, r#"{"closed_only":true}"#)),
            &["only reduce positions"],
        ),
        ("GET /clob-markets/", Box::new(|| answer(404, r#"{"error":"market not found"}"#)), &["market not found"]),
        ("GET /balance-allowance?asset_type=COLL", Box::new(move || funds("0", "9")), &["no collateral", "deposit"]),
        (
            "GET /balance-allowance?asset_type=COLL",
            Box::new(move || funds("5000000", "0")),
            &["may not take the collateral", "approve"],
        ),
        ("GET /data/orders", Box::new(move || answer(200, &rests)), &["could not be cancelled", "1 of 1 orders"]),
        ("GET /data/trades", Box::new(|| answer(500, r#"{"error":"x"}"#)), &["could not be read", "/data/trades"]),
    ];
    for (route, says, words) in table {
        let at = between(&abroad, move |line| {
            if line.starts_with(route) {
                return Some(says());
            }
            match line {
                "GET /api/geoblock" => Some(geo(false)),
                // There is no key yet, wherever the derived one is asked about.
                "POST /auth/api-key" if route.starts_with("GET /auth/derive") => {
                    Some(answer(400, r#"{"error":"Could not create api key"}"#))
                }
                _ => None,
            }
        });
        let rest = format!("http://{at}");
        let config = abroad.configure(&dir, 1, [Some(&rest), None, None, None]);
        let text = std::fs::read_to_string(&config).expect("the configuration");
        let asked: Vec<String> =
            text.lines()
                .map(|l| {
                    if l.starts_with("geoblock") { format!("geoblock = \"{rest}/api/geoblock\"") } else { l.to_owned() }
                })
                .collect();
        let config = dir.write("live.toml", asked.join("\n"));
        let args = ["run", "--config", &config, "--live", "--cores", "0"];
        let ended = Running::start(dir.dir(), &args, &[("POLYMARKET_PRIVATE_KEY", &abroad.key)]).end();
        ended.with(3).saying(words);
    }
}

#[test]
fn what_a_killed_run_left_resting_is_cancelled_before_the_next_one_trades() {
    let dir = Scratch::new("left_resting");
    let abroad = Abroad::start(&dir, &["--speed", "60"]);
    let config = abroad.configure(&dir, 1, [None; 4]);
    let first = abroad.trade(&dir, &config, &[]);
    first.orders_open(2);
    abroad.shows_open_orders();
    first.signal("KILL");
    drop(first);
    let second = abroad.trade(&dir, &config, &[]);
    for step in ["clock", "order version", "API key", "account may trade", "1 markets"] {
        second.line(&format!("start: {step}"));
    }
    let cleared = second.line("start: ");
    assert!(!cleared.is_empty());
    second.orders_open(2);
    second.signal("INT");
    let ended = second.end().with(130);
    assert!(ended.stderr.contains("open orders of earlier runs cancelled, and gone"), "{}", ended.stderr);
    assert!(ended.stderr.contains("pUSD, and the exchanges may take it"), "{}", ended.stderr);
    let (_, open) = abroad.account();
    assert!(open.is_empty(), "left at the venue: {open:?}");
    let summary = dir.json("summary.json");
    assert_eq!(summary["orders"]["open"], 0);
    let _ = assert_clean;
}
