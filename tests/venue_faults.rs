//! Every fault of docs/FAULTS.md over real sockets: what a client sees of it, and what is true behind it.
//!
//! Each test is named after its row of the fault catalogue where it has one. Waits are for events, bounded by
//! `PATIENCE`; what must not come is listened for during `SILENCE`.
#![cfg(feature = "embedded")]

#[path = "venue_support/mod.rs"]
mod venue_support;

use std::io::{ErrorKind, Read, Write};

use polyloly_fast::{
    types::{Side, market::SignatureType},
    venue::{
        Conduct, VenueHandle,
        faults::{Fault, Kind, Line, ModeName, PayoutName, Plan, What},
        limits::{Limits, Tier},
        verify::checksummed,
    },
};
use serde_json::{Value, json};
use tungstenite::Message;
use venue_support::*;

fn good() -> VenueHandle {
    start(Conduct::default())
}

fn eoa(venue: &VenueHandle) -> Client {
    Client::authenticated(venue, SignatureType::Eoa)
}

/// A resting bid for ten shares.
fn bid(c: &Client, cents: u64, salt: u64) -> Value {
    c.order(0, Side::Buy, cents, 10, "GTC", salt)
}

fn add(venue: &VenueHandle, fault: Fault) -> String {
    venue.faults().add(fault).unwrap()
}

fn once(what: What) -> Fault {
    Fault { count: Some(1), ..Fault::new(what) }
}

fn batch(orders: &[Value]) -> String {
    Value::Array(orders.to_vec()).to_string()
}

// ---- REST ----

#[test]
fn o01_the_order_is_in_the_book_and_its_answer_comes_late_or_never() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut other = c.beside();
    let never = add(&venue, once(What::StallAfterAccept));
    let order = bid(&c, 30, 1);
    c.send("POST", "/order", &order.to_string());
    soon("it rests", || other.open() == [c.id_of(&order)]);
    assert_eq!(c.hear(SILENCE), Heard::Nothing);
    assert_eq!(venue.faults().hits(&never), 1);

    let late = add(&venue, Fault { ms: Some(300), ..once(What::StallAfterAccept) });
    let second = bid(&c, 31, 2);
    let mut c = other.beside();
    c.send("POST", "/order", &second.to_string());
    // A request behind it on the same connection waits its turn.
    c.send("GET", "/data/orders", "");
    soon("it rests before it is answered", || other.open().len() == 2);
    let Heard::Answer(first) = c.hear(PATIENCE) else { panic!("no answer") };
    assert_eq!((first.status, first.json()["orderID"].as_str()), (200, Some(c.id_of(&second).as_str())));
    let Heard::Answer(next) = c.hear(PATIENCE) else { panic!("no answer") };
    assert_eq!(next.json()["count"], 2);
    assert_eq!(venue.faults().hits(&late), 1);
}

#[test]
fn o02_a_zombie_enters_the_book_after_it_was_not_found() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut other = c.beside();
    add(&venue, Fault { ms: Some(1_500), ..once(What::DelayedAccept) });
    let order = bid(&c, 30, 1);
    let id = c.id_of(&order);
    c.send("POST", "/order", &order.to_string());
    assert_eq!(c.hear(SILENCE), Heard::Nothing);
    assert_eq!(other.ask("GET", &format!("/data/order/{id}"), "").status, 404, "asked too early");
    soon("the zombie rests", || other.ask("GET", &format!("/data/order/{id}"), "").status == 200);
    assert_eq!(c.hear(SILENCE), Heard::Nothing, "and is never answered");
}

#[test]
fn o01_a_swallowed_order_never_enters() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut other = c.beside();
    let id =
        add(&venue, Fault { nth: Some(2), route: Some("POST /order".into()), ..Fault::new(What::StallBeforeAccept) });
    let (first, _) = c.place(&bid(&c, 30, 1));
    c.send("POST", "/order", &bid(&c, 31, 2).to_string());
    assert_eq!(c.hear(SILENCE), Heard::Nothing);
    let (third, _) = other.place(&bid(&other, 32, 3));
    assert_eq!(other.open(), [first, third], "the second of three is not there");
    assert_eq!(venue.faults().hits(&id), 1);
}

#[test]
fn t05_t20_the_connection_ends_instead_of_an_answer() {
    let venue = good();
    let c = eoa(&venue);
    let mut other = c.beside();
    let reset = |bytes, accepted| Fault { bytes, accepted, ..once(What::Reset) };
    let close = |accepted| Fault { accepted, ..once(What::Close) };
    for (n, (fault, rests)) in [
        (reset(None, None), true),
        (reset(Some(40), Some(true)), true),
        (reset(Some(40), Some(false)), false),
        (close(None), true),
        (close(Some(false)), false),
    ]
    .into_iter()
    .enumerate()
    {
        let wanted = fault.bytes.filter(|_| rests).unwrap_or(0);
        let is_reset = fault.what == What::Reset;
        add(&venue, fault.clone());
        let mut c = other.beside();
        let order = bid(&c, 30, n as u64 + 1);
        c.send("POST", "/order", &order.to_string());
        match c.hear(PATIENCE) {
            Heard::Reset(bytes) if is_reset => assert_eq!(bytes.len(), wanted, "{fault:?}"),
            Heard::Closed(bytes) if !is_reset => assert_eq!(bytes, b"", "{fault:?}"),
            heard => panic!("{fault:?}: {heard:?}"),
        }
        assert_eq!(other.open().contains(&c.id_of(&order)), rests, "{fault:?}");
    }
}

#[test]
fn o03_o04_answers_that_are_not_what_they_should_be() {
    let venue = good();
    let mut c = eoa(&venue);
    let with = |what, status, accepted| Fault { http_status: status, accepted: Some(accepted), ..once(what) };
    for (n, (fault, status, mime, begins)) in [
        (with(What::Html, None, false), 200, "text/html", "<!DOCTYPE html>"),
        (with(What::Html, Some(403), false), 403, "text/html", "<!DOCTYPE html>"),
        (with(What::Html, Some(503), true), 503, "text/html", "<!DOCTYPE html>"),
        (with(What::Empty, None, true), 200, "application/json", ""),
        (with(What::Garbled, None, false), 200, "application/json", "{\"success\":tru,"),
        (with(What::Gzip, Some(429), false), 429, "application/json", "\u{1f}"),
    ]
    .into_iter()
    .enumerate()
    {
        let rests = fault.accepted.unwrap();
        add(&venue, fault.clone());
        let order = bid(&c, 30, n as u64 + 1);
        let a = c.post(&order);
        assert_eq!(a.status, status, "{fault:?}");
        assert!(a.header("Content-Type").unwrap().starts_with(mime), "{fault:?}");
        assert!(String::from_utf8_lossy(&a.body).starts_with(begins) && a.json().is_null(), "{fault:?}: {a:?}");
        assert_eq!(c.open().contains(&c.id_of(&order)), rests, "{fault:?}");
    }
    add(&venue, once(What::SuccessWithError));
    let order = bid(&c, 33, 50);
    let said = c.post(&order);
    assert_eq!((said.status, &said.json()["success"], &said.json()["orderID"]), (200, &json!(true), &json!("")));
    assert!(!said.json()["errorMsg"].as_str().unwrap().is_empty());
    assert!(!c.open().contains(&c.id_of(&order)));
}

#[test]
fn o05_o07_o08_o17_refusals_of_every_status() {
    let venue = good();
    let mut c = eoa(&venue);
    let error = |status, text: &str, accepted| Fault {
        http_status: Some(status),
        text: Some(text.into()),
        accepted: Some(accepted),
        ..once(What::Error)
    };
    let limited = |after: Option<&str>| Fault { retry_after: after.map(str::to_owned), ..once(What::RateLimited) };
    for (n, (fault, status, text, after)) in [
        (once(What::TooEarly), 425, "restarting", None),
        (limited(None), 429, "Too Many Requests", None),
        (limited(Some("2")), 429, "Too Many Requests", Some("2")),
        (limited(Some("0")), 429, "Too Many Requests", Some("0")),
        (limited(Some("99999999999999999999")), 429, "Too Many Requests", Some("99999999999999999999")),
        (error(500, "could not insert order", false), 500, "could not insert order", None),
        (error(500, "order timed out", true), 500, "order timed out", None),
        (once(What::VersionMismatch), 400, "order_version_mismatch", None),
        (once(What::Unauthorized), 401, "Unauthorized/Invalid api key", None),
        (once(What::BalanceStuck), 400, "not enough balance / allowance", None),
        (once(What::Duplicated), 400, "is invalid. Duplicated.", None),
        (Fault { accepted: Some(true), ..once(What::Duplicated) }, 400, "is invalid. Duplicated.", None),
    ]
    .into_iter()
    .enumerate()
    {
        let rests = fault.accepted == Some(true);
        add(&venue, fault.clone());
        let order = bid(&c, 30, n as u64 + 1);
        let a = c.post(&order);
        assert_eq!((a.status, a.header("Retry-After")), (status, after), "{fault:?}");
        assert!(a.error().contains(text), "{fault:?}: {a:?}");
        let id = c.id_of(&order);
        if fault.what == What::Duplicated {
            assert!(a.error().contains(&id), "{a:?}");
        }
        assert_eq!(c.open().contains(&id), rests, "{fault:?}");
    }
    assert_eq!(c.post(&bid(&c, 29, 90)).status, 200, "each struck once");
}

#[test]
fn o12_d18_batches_answered_in_reverse_and_words_of_their_own() {
    let venue = good();
    let mut c = eoa(&venue);
    let orders = [bid(&c, 30, 1), bid(&c, 31, 2), bid(&c, 32, 3)];
    let ids: Vec<_> = orders.iter().map(|o| c.id_of(o)).collect();
    add(&venue, once(What::BatchReversed));
    let answer = c.ask("POST", "/orders", &batch(&orders)).json();
    let said: Vec<_> = answer.as_array().unwrap().iter().map(|l| l["orderID"].as_str().unwrap()).collect();
    assert_eq!(said, [ids[2].as_str(), &ids[1], &ids[0]]);
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(c.open()), sorted(ids));
    for (n, word) in ["delayed", "unmatched", "pondering"].into_iter().enumerate() {
        add(&venue, Fault { text: Some(word.into()), ..once(What::OrderStatus) });
        let (id, status) = c.place(&bid(&c, 20, 10 + n as u64));
        assert_eq!(status, word);
        assert!(c.open().contains(&id));
    }
}

#[test]
fn o10_o11_cancels_that_find_nothing_or_not_all() {
    let venue = good();
    let mut c = eoa(&venue);
    let ids: Vec<_> = (0..4).map(|n| c.place(&bid(&c, 20 + n, n)).0).collect();
    let refused = add(&venue, Fault::new(What::CancelRefused));
    for (method, target, body) in [
        ("DELETE", "/order", json!({"orderID": ids[0]}).to_string()),
        ("DELETE", "/orders", json!([ids[0], ids[1]]).to_string()),
        ("DELETE", "/cancel-all", String::new()),
        ("DELETE", "/cancel-market-orders", json!({"market": condition()}).to_string()),
    ] {
        let a = c.ask(method, target, &body);
        assert_eq!((a.status, &a.json()["canceled"]), (200, &json!([])), "{target}");
        let why = a.json()["not_canceled"][&ids[0]].as_str().unwrap().to_owned();
        assert!(why.contains("can't be found - already canceled or matched"), "{target}: {why}");
    }
    assert_eq!((venue.faults().hits(&refused), c.open().len()), (4, 4));
    venue.faults().clear();
    add(&venue, Fault { n: Some(3), ..once(What::CancelPartial) });
    let a = c.ask("DELETE", "/cancel-all", "").json();
    assert_eq!((a["canceled"].as_array().unwrap().len(), a["not_canceled"].as_object().unwrap().len()), (3, 1));
    assert_eq!(c.open(), [ids[3].clone()]);
    assert_eq!(c.ask("DELETE", "/cancel-all", "").json()["canceled"], json!([ids[3]]));
}

#[test]
fn o07_an_answer_that_takes_its_time() {
    let venue = good();
    let mut c = eoa(&venue);
    add(&venue, Fault { ms: Some(1_500), route: Some("GET /time".into()), ..once(What::Slow) });
    c.send("GET", "/time", "");
    assert_eq!(c.hear(SILENCE), Heard::Nothing);
    assert!(matches!(c.hear(PATIENCE), Heard::Answer(a) if a.status == 200));
}

#[test]
fn o19_heartbeats_refused_and_expired() {
    let venue = good();
    let mut c = eoa(&venue);
    let beat = |c: &mut Client, id: &str| c.ask("POST", "/v1/heartbeats", &json!({"heartbeat_id": id}).to_string());
    let first = beat(&mut c, "").json()["heartbeat_id"].as_str().unwrap().to_owned();
    add(&venue, once(What::HeartbeatRefused));
    let refused = beat(&mut c, &first);
    assert_eq!((refused.status, &refused.json()["error_msg"]), (400, &json!("Invalid Heartbeat ID")));
    let expected = refused.json()["heartbeat_id"].as_str().unwrap().to_owned();
    assert_ne!(expected, first);
    assert_eq!(beat(&mut c, &expected).status, 200, "the expected id is taken");
    c.place(&bid(&c, 30, 1));
    let mut user = c.user(&venue);
    add(&venue, Fault::new(What::HeartbeatExpiry));
    until(&mut user, |v| v["type"] == "CANCELLATION");
    assert_eq!(c.open(), Vec::<String>::new());
}

#[test]
fn pages_that_are_short_torn_or_lead_in_a_circle() {
    let venue = good();
    let mut c = eoa(&venue);
    (0..3).for_each(|n| drop(c.place(&bid(&c, 20 + n, n))));
    for target in ["/data/orders", "/data/trades"] {
        let only = |what| Fault { route: Some(format!("GET {target}")), ..once(what) };
        add(&venue, Fault { n: Some(0), ..only(What::PageShort) });
        let page = c.ask("GET", target, "").json();
        assert_eq!((&page["data"], &page["count"], &page["next_cursor"]), (&json!([]), &json!(0), &json!("LTE=")));
        add(&venue, only(What::CursorLoop));
        assert_eq!(c.ask("GET", &format!("{target}?next_cursor=MA=="), "").json()["next_cursor"], "MA==");
        add(&venue, Fault { bytes: Some(20), ..only(What::PageTorn) });
        let torn = c.ask("GET", target, "");
        assert_eq!((torn.status, torn.body.len(), torn.json()), (200, 20, Value::Null));
    }
    assert_eq!(c.open().len(), 3);
    let (id, _) = c.place(&c.order(0, Side::Buy, 55, 10, "FOK", 9));
    let target = format!("/data/order/{id}");
    assert_eq!(c.ask("GET", &target, "").json()["status"], "MATCHED");
    add(&venue, Fault::new(What::ForgetFinished));
    assert_eq!(c.ask("GET", &target, "").status, 404);
    let live = c.open()[0].clone();
    assert_eq!(c.ask("GET", &format!("/data/order/{live}"), "").status, 200);
}

#[test]
fn balances_that_are_wrong_or_late() {
    let venue = good();
    let mut c = eoa(&venue);
    let target = "/balance-allowance?asset_type=COLLATERAL&signature_type=0";
    let balance = |c: &mut Client| c.ask("GET", target, "").json()["balance"].as_str().unwrap().to_owned();
    assert_eq!(balance(&mut c), "10000000000");
    for (n, wanted) in [(-1, "9999999999"), (7, "10000000007"), (i64::MIN, "0")] {
        add(&venue, Fault { n: Some(n), ..once(What::BalanceWrong) });
        assert_eq!(balance(&mut c), wanted);
    }
    let user = format!("user={}", checksummed(c.who.funder));
    add(&venue, Fault::new(What::BalanceStale));
    add(&venue, Fault::new(What::DataStale));
    let mut events = c.user(&venue);
    c.place(&c.order(0, Side::Buy, 55, 10, "FOK", 1));
    until(&mut events, |v| v["status"] == "MINED");
    assert_eq!(balance(&mut c), "10000000000", "the trade is not seen");
    assert_eq!(c.get(&format!("/positions?{user}")), json!([]));
    assert_eq!(c.account()["cash"], "9994.37625", "though it is there");
    venue.faults().clear();
    assert_eq!(balance(&mut c), "9994376250");
    let position = &c.get(&format!("/positions?{user}"))[0];
    assert_eq!((&position["size"], &position["asset"]), (&json!(10), &json!(token(1))));
}

#[test]
fn geoblock_and_closed_only() {
    let venue = good();
    let mut c = eoa(&venue);
    assert_eq!(c.get("/api/geoblock")["blocked"], false);
    assert_eq!(c.ask("GET", "/auth/ban-status/closed-only", "").json(), json!({"closed_only": false}));
    c.place(&c.order(0, Side::Buy, 55, 20, "FOK", 1));
    add(&venue, Fault::new(What::ClosedOnly));
    assert_eq!(c.ask("GET", "/auth/ban-status/closed-only", "").json(), json!({"closed_only": true}));
    let buy = c.post(&bid(&c, 30, 2));
    assert_eq!(
        (buy.status, buy.error()),
        (400, format!("'{}' address in closed only mode", checksummed(c.who.funder)))
    );
    assert_eq!(c.post(&c.order(0, Side::Sell, 60, 10, "GTC", 3)).status, 200, "a sale only reduces");
    venue.faults().clear();
    add(&venue, Fault::new(What::Geoblock));
    let said = c.get("/api/geoblock");
    assert_eq!((&said["blocked"], said["country"].is_string(), said["ip"].is_string()), (&json!(true), true, true));
    assert_eq!(c.post(&bid(&c, 30, 4)).status, 403);
    assert_eq!(c.ask("DELETE", "/cancel-all", "").status, 200);
}

// ---- modes and limits ----

#[test]
fn o06_the_modes_of_the_venue() {
    let venue = good();
    let mut c = eoa(&venue);
    let post_only = |c: &Client, salt| {
        let mut order = bid(c, 30, salt);
        order["postOnly"] = true.into();
        order
    };
    let mode = |mode| Fault { mode: Some(mode), ..Fault::new(What::Mode) };
    for (n, (name, taker, maker, cancel)) in [
        (ModeName::Disabled, 503, 503, 503),
        (ModeName::CancelOnly, 503, 503, 200),
        (ModeName::PostOnly, 503, 200, 200),
        (ModeName::Restarting, 425, 425, 425),
        (ModeName::Normal, 200, 200, 200),
    ]
    .into_iter()
    .enumerate()
    {
        add(&venue, mode(name));
        let salt = 10 * n as u64;
        let order = bid(&c, 30, salt);
        assert_eq!(c.post(&order).status, taker, "{name:?}");
        let order = post_only(&c, salt + 1);
        assert_eq!(c.post(&order).status, maker, "{name:?}");
        let order = batch(&[post_only(&c, salt + 2), bid(&c, 30, salt + 3)]);
        assert_eq!(c.ask("POST", "/orders", &order).status, taker, "{name:?}");
        for (target, body) in [
            ("/order", json!({"orderID": "0x12"}).to_string()),
            ("/orders", "[]".into()),
            ("/cancel-all", String::new()),
            ("/cancel-market-orders", json!({"market": condition()}).to_string()),
        ] {
            assert_eq!(c.ask("DELETE", target, &body).status, cancel, "{name:?} {target}");
        }
    }
    for (name, words) in [
        (ModeName::Disabled, "Trading is currently disabled. Check polymarket.com for updates"),
        (
            ModeName::CancelOnly,
            "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.",
        ),
        (ModeName::PostOnly, "post-only mode: only post-only orders and cancels are allowed"),
    ] {
        add(&venue, Fault { ms: Some(60_000), ..mode(name) });
        let a = c.post(&bid(&c, 30, 99));
        assert_eq!(a.error(), words);
        if name == ModeName::PostOnly {
            let wait = a.json()["retry_after_seconds"].as_u64().unwrap();
            assert_eq!((a.json()["code"].as_str(), (1..=60).contains(&wait)), (Some("post_only_mode"), true));
            assert_eq!(a.header("Retry-After"), Some(wait.to_string().as_str()));
        }
    }
    venue.faults().clear();
    assert_eq!(c.post(&bid(&c, 30, 99)).status, 200, "all is well when the faults are cleared");
}

#[test]
fn o05_a_restart_then_post_only_then_open() {
    let venue = good();
    let mut c = eoa(&venue);
    let (before, _) = c.place(&bid(&c, 25, 1));
    add(&venue, Fault { ms: Some(1_000), post_only_ms: Some(1_000), ..Fault::new(What::Restart) });
    let mut seen = Vec::new();
    let mut salt = 2;
    soon("it is open", || {
        salt += 1;
        let a = c.post(&bid(&c, 30, salt));
        let said = if a.json()["code"] == "post_only_mode" { 503 } else { a.status };
        if seen.last() != Some(&said) {
            seen.push(said);
        }
        said == 200
    });
    assert_eq!(seen, [425, 503, 200]);
    assert!(c.open().contains(&before), "what rested rests");
}

#[test]
fn o07_buckets_of_each_signer() {
    let venue = good();
    let mut c = eoa(&venue);
    let a = c.post(&bid(&c, 30, 1));
    assert_eq!(
        (a.status, a.header("Poly-RateLimit-Tier"), a.header("Poly-RateLimit-Remaining")),
        (200, Some("Elite"), Some("899"))
    );
    assert!(a.header("Poly-RateLimit-Reset").unwrap().parse::<u64>().unwrap().abs_diff(unix_s()) <= 1);
    assert_eq!(a.header("Poly-RateLimit-Warning"), None);

    let plan = |enforce| Plan { limits: Limits { tier: Tier::Standard, enforce }, ..Plan::default() };
    let venue = start(Conduct { plan: plan(true), ..Conduct::default() });
    let mut c = eoa(&venue);
    let many = |c: &Client, n: u64| {
        batch(&(0..15).map(|k| c.order(0, Side::Buy, 1, 100, "GTC", 15 * n + k)).collect::<Vec<_>>())
    };
    let batches: Vec<_> = (0..12).map(|n| many(&c, n)).collect();
    let answers: Vec<_> = batches.iter().map(|b| c.ask("POST", "/orders", b)).collect();
    let refused = answers.iter().find(|a| a.status == 429).expect("the burst of 60 is spent");
    assert!(refused.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(
        (refused.header("Poly-RateLimit-Tier"), refused.error()),
        (Some("Standard"), "Too Many Requests".into())
    );
    let taken = answers.iter().filter(|a| a.status == 200).count();
    assert_eq!(c.open().len(), 15 * taken, "all or nothing");
    let mut other = Client::authenticated(&venue, SignatureType::Eoa);
    // The cancels have a bucket of their own, and cancel-all costs one more than it cancels.
    let a = other.ask("DELETE", "/cancel-all", "");
    let left: usize = a.header("Poly-RateLimit-Remaining").unwrap().parse().unwrap();
    assert_eq!((a.status, left), (200, 120 - 1 - 15 * taken));

    let venue = start(Conduct { plan: plan(false), ..Conduct::default() });
    let mut c = eoa(&venue);
    let warned = (0..12).any(|n| {
        let a = c.ask("POST", "/orders", &many(&c, n));
        assert_eq!(a.status, 200);
        a.header("Poly-RateLimit-Warning") == Some("true")
    });
    assert!(warned, "warned of and not refused");
}

// ---- user channel ----

#[test]
fn d11_d13_events_twice_in_another_order_or_not_at_all() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut user = c.user(&venue);
    add(&venue, Fault { event: Some("order".into()), count: Some(1), ..Fault::new(What::Duplicate) });
    c.place(&bid(&c, 30, 1));
    let told = pong(&mut user);
    assert_eq!((told.len(), told.first()), (2, told.last()), "twice the same");

    venue.faults().clear();
    c.place(&c.order(0, Side::Buy, 55, 5, "FOK", 2));
    let kinds = |told: &[Value]| told.iter().map(|v| v["event_type"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let usual = kinds(&pong(&mut user));
    assert_eq!(usual, ["order", "trade", "order"]);
    add(&venue, Fault { event: Some("order".into()), n: Some(1), ms: Some(60_000), ..once(What::HoldBack) });
    c.place(&c.order(0, Side::Buy, 55, 5, "FOK", 3));
    let told: Vec<_> =
        pong(&mut user).into_iter().filter(|v| v["status"] != "MINED" && v["status"] != "CONFIRMED").collect();
    assert_eq!(kinds(&told)[..2], ["trade", "order"], "the trade before its order");

    venue.faults().clear();
    let dropped =
        add(&venue, Fault { event: Some("trade".into()), status: Some("MATCHED".into()), ..Fault::new(What::Drop) });
    c.place(&c.order(0, Side::Buy, 55, 5, "FOK", 4));
    let told = pong(&mut user);
    assert!(told.iter().any(|v| v["event_type"] == "order"));
    assert!(!told.iter().any(|v| v["status"] == "MATCHED" && v["event_type"] == "trade"));
    assert_eq!(venue.faults().hits(&dropped), 1);
}

#[test]
fn d13_a_frame_held_back_for_others_that_do_not_come_comes_all_the_same() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut user = c.user(&venue);
    add(&venue, Fault { n: Some(9), ms: Some(100), ..once(What::HoldBack) });
    c.place(&bid(&c, 30, 1));
    until(&mut user, |v| v["type"] == "PLACEMENT");
}

#[test]
fn t01_the_user_channel_falls_silent_and_answers_pings() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut user = c.user(&venue);
    let id = add(&venue, Fault { channel: Some(Line::User), ..Fault::new(What::Freeze) });
    c.place(&bid(&c, 30, 1));
    assert_eq!(pong(&mut user), Vec::<Value>::new());
    assert_eq!(venue.faults().hits(&id), 1);
    // The fault of one account is not another's.
    venue.faults().clear();
    let mut other = Client::authenticated(&venue, SignatureType::PolyProxy);
    let mut second = other.user(&venue);
    let of = checksummed(listed(SignatureType::PolyProxy).funder);
    add(&venue, Fault { channel: Some(Line::User), account: Some(of), ..Fault::new(What::Freeze) });
    other.place(&bid(&other, 30, 2));
    c.place(&bid(&c, 31, 3));
    assert_eq!(pong(&mut second).len(), 0);
    assert_eq!(pong(&mut user).len(), 1);
}

// ---- disconnects ----

/// What a socket says at its end.
fn end_of(ws: &mut Ws) -> String {
    loop {
        match ws.read() {
            Ok(Message::Close(frame)) => return format!("close {}", frame.map_or(0, |f| u16::from(f.code))),
            Ok(_) => {}
            Err(tungstenite::Error::Io(e)) => return format!("{:?}", e.kind()),
            Err(tungstenite::Error::Protocol(e)) => return format!("{e:?}"),
            Err(e) => return e.to_string(),
        }
    }
}

#[test]
fn t04_t05_sockets_are_cut_in_every_way() {
    let venue = good();
    let mut c = eoa(&venue);
    for (kind, wanted) in [
        (Kind::Clean, "close 1000"),
        (Kind::Internal, "close 1011"),
        (Kind::Abrupt, "ResetWithoutClosingHandshake"),
        (Kind::Reset, "ConnectionReset"),
        (Kind::MidFrame, "ConnectionReset"),
    ] {
        let (mut m, mut user) = (market(&venue), c.user(&venue));
        let cut = add(&venue, Fault { kind: Some(kind), ..Fault::new(What::Disconnect) });
        assert_eq!(end_of(&mut m), wanted, "{kind:?}");
        assert_eq!(venue.faults().hits(&cut), 1);
        assert_eq!(pong(&mut user), Vec::<Value>::new(), "the user channel lives");
        add(&venue, Fault { kind: Some(kind), channel: Some(Line::User), ..Fault::new(What::Disconnect) });
        assert_eq!(end_of(&mut user), wanted, "{kind:?}");
    }
    // At a frame: the second one.
    let mut m = market(&venue);
    add(
        &venue,
        Fault {
            kind: Some(Kind::Clean),
            nth: Some(2),
            event: Some("price_change".into()),
            ..Fault::new(What::Disconnect)
        },
    );
    c.place(&bid(&c, 30, 1));
    until(&mut m, |v| v["event_type"] == "price_change");
    c.place(&bid(&c, 31, 2));
    assert_eq!(end_of(&mut m), "close 1000");
    assert_eq!(pong(&mut market(&venue)).len(), 0, "the next one lives");
}

#[test]
fn t17_an_upgrade_refused() {
    let venue = good();
    let down = Fault { route: Some("GET /ws/market".into()), http_status: Some(503), ..once(What::Error) };
    add(&venue, down);
    let stream = std::net::TcpStream::connect(venue.address).unwrap();
    assert!(tungstenite::client(format!("ws://{}/ws/market", venue.address), stream).is_err());
    market(&venue);
}

// ---- market channel ----

#[test]
fn t01_silent_freeze_of_one_connection_of_two_and_of_one_token() {
    let venue = good();
    let mut c = eoa(&venue);
    let (mut one, mut two) = (market(&venue), market(&venue));
    add(&venue, Fault { connection: Some(2), ..Fault::new(What::Freeze) });
    c.place(&bid(&c, 30, 1));
    assert!(!pong(&mut one).is_empty());
    assert_eq!(pong(&mut two), Vec::<Value>::new(), "no data, and yet a PONG");
    // A third connection is alive.
    assert_eq!(pong(&mut market(&venue)), Vec::<Value>::new());
    venue.faults().clear();
    // Of one token only what names it is missing.
    add(&venue, Fault { token: Some(token(2)), ..Fault::new(What::Freeze) });
    add(&venue, Fault { tick: Some("0.001".into()), ..Fault::new(What::TickSize) });
    let told = until(&mut one, |v| v["event_type"] == "tick_size_change");
    assert_eq!(told["asset_id"], token(1));
    assert!(!pong(&mut one).iter().any(|v| v["asset_id"] == token(2)));
}

#[test]
fn t02_the_first_snapshot_never_comes() {
    let venue = good();
    let mut c = eoa(&venue);
    add(&venue, Fault { count: Some(1), token: Some(token(2)), ..Fault::new(What::NoSnapshot) });
    let mut m = ws(&venue, "/ws/market", Some(market_hello()));
    let books = pong(&mut m);
    assert_eq!((books.len(), &books[0]["asset_id"]), (1, &json!(token(1))));
    c.place(&bid(&c, 30, 1));
    until(&mut m, |v| v["event_type"] == "price_change");
    // Asked for again, it comes.
    m.send(Message::text(json!({"operation": "unsubscribe", "assets_ids": [token(2)]}).to_string())).unwrap();
    m.send(Message::text(json!({"operation": "subscribe", "assets_ids": [token(2)]}).to_string())).unwrap();
    until(&mut m, |v| v["event_type"] == "book" && v["asset_id"] == token(2));
}

#[test]
fn t03_a_pause_and_then_a_flood() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut m = market(&venue);
    add(&venue, Fault { for_ms: Some(2_000), ..Fault::new(What::Pause) });
    let started = std::time::Instant::now();
    for n in 0..3 {
        c.place(&bid(&c, 31 + n, n));
    }
    let quiet = pong(&mut m).is_empty();
    for n in 0..3 {
        let v = until(&mut m, |v| v["event_type"] == "price_change");
        assert_eq!(v["price_changes"][0]["price"], format!("0.{}", 31 + n), "in their order");
    }
    assert!(quiet && started.elapsed().as_millis() >= 1_900);
}

#[test]
fn t08_a_feed_that_lags() {
    let venue = good();
    let mut c = eoa(&venue);
    let (mut fast, mut slow) = (market(&venue), market(&venue));
    add(&venue, Fault { ms: Some(1_500), connection: Some(2), ..Fault::new(What::Lag) });
    c.place(&bid(&c, 30, 1));
    let at_once = until(&mut fast, |v| v["event_type"] == "price_change");
    assert_eq!(pong(&mut slow), Vec::<Value>::new());
    // The end of the fault does not let a later frame overtake.
    venue.faults().clear();
    c.place(&bid(&c, 31, 2));
    assert_eq!(until(&mut slow, |v| v["event_type"] == "price_change"), at_once);
    let next = until(&mut slow, |v| v["event_type"] == "price_change");
    assert_eq!(next["price_changes"][0]["price"], "0.31");
}

#[test]
fn t18_one_connection_of_two_lies() {
    let venue = good();
    let mut c = eoa(&venue);
    let (mut honest, mut liar) = (market(&venue), market(&venue));
    add(&venue, Fault { connection: Some(2), n: Some(100), times: Some(2), ..Fault::new(What::Lie) });
    c.place(&bid(&c, 30, 1));
    let [a, b] = [&mut honest, &mut liar].map(|m| until(m, |v| v["event_type"] == "price_change"));
    let level = |v: &Value| (v["price_changes"][0]["price"].clone(), v["price_changes"][0]["size"].clone());
    assert_eq!((level(&a), level(&b)), ((json!("0.3"), json!("10")), (json!("0.31"), json!("20"))));
    assert_eq!(a["price_changes"][0]["hash"], b["price_changes"][0]["hash"]);
}

#[test]
fn t13_one_byte_segments_and_fragments() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut whole = market(&venue);
    // Raw, to see what comes by and by.
    let mut raw = std::net::TcpStream::connect(venue.address).unwrap();
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    raw.write_all(
        b"GET /ws/market HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut b = [0];
        raw.read_exact(&mut b).unwrap();
        head.push(b[0]);
    }
    // A client's frame: masked with zeros, so that the text stands as it is.
    let hello = json!({"assets_ids": [token(1)], "type": "market", "initial_dump": false}).to_string();
    let length = u16::try_from(hello.len()).unwrap().to_be_bytes();
    raw.write_all(&[&[0x81, 0xfe], length.as_slice(), &[0; 4], hello.as_bytes()].concat()).unwrap();
    raw.write_all(&[&[0x81, 0x84, 0, 0, 0, 0], b"PING".as_slice()].concat()).unwrap();
    let mut answer = [0; 6];
    raw.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x81\x04PONG");
    add(&venue, Fault { connection: Some(2), n: Some(3), ..Fault::new(What::Fragment) });
    c.place(&bid(&c, 30, 1));
    let honest = until(&mut whole, |v| v["event_type"] == "price_change");
    let mut text = Vec::new();
    let mut kinds = Vec::new();
    loop {
        let mut head = [0; 2];
        raw.read_exact(&mut head).unwrap();
        let n = match head[1] {
            126 => {
                let mut long = [0; 2];
                raw.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            n => usize::from(n),
        };
        let mut part = vec![0; n];
        raw.read_exact(&mut part).unwrap();
        kinds.push(head[0]);
        if head[0] & 0x0f < 8 {
            text.extend(part);
        }
        if head[0] & 0x8f == 0x80 {
            break;
        }
    }
    assert_eq!(kinds, [0x01, 0x89, 0x00, 0x80], "a text frame, a ping, a continuation, the last");
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), honest);
    venue.faults().clear();

    let id = add(&venue, Fault { connection: Some(1), ..Fault::new(What::OneByte) });
    c.place(&bid(&c, 31, 2));
    let v = until(&mut whole, |v| v["event_type"] == "price_change");
    assert_eq!((&v["price_changes"][0]["price"], venue.faults().hits(&id) > 0), (&json!("0.31"), true));
}

// ---- markets ----

#[test]
fn d07_d15_d16_d17_the_market_changes_under_us() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut m = market(&venue);
    let mut user = c.user(&venue);
    let clob = format!("/clob-markets/{}", condition());
    let full = format!("/markets/{}", condition());
    add(&venue, Fault { tick: Some("0.001".into()), ..Fault::new(What::TickSize) });
    let told = until(&mut m, |v| v["event_type"] == "tick_size_change");
    assert_eq!((&told["old_tick_size"], &told["new_tick_size"]), (&json!("0.01"), &json!("0.001")));
    assert_eq!((&c.get(&clob)["mts"], &c.get(&full)["minimum_tick_size"]), (&json!(0.001), &json!(0.001)));

    let before = c.get(&clob)["gst"].clone();
    add(&venue, Fault { n: Some(1_800), ..Fault::new(What::StartMoved) });
    let after = c.get(&clob)["gst"].clone();
    assert!(after.is_string() && after != before && c.get(&full)["game_start_time"] == after);
    add(&venue, Fault { n: Some(-1_800), market: Some("lol-aw-bf-2026-11-23".into()), ..Fault::new(What::StartMoved) });
    assert_ne!(c.get(&clob)["gst"], after);
    add(&venue, Fault { n: Some(9), market: Some("another".into()), ..Fault::new(What::StartMoved) });

    let (id, _) = c.place(&bid(&c, 30, 1));
    add(&venue, Fault::new(What::BookClear));
    let gone = until(&mut user, |v| v["type"] == "CANCELLATION");
    assert_eq!(gone["id"], id);
    let book = c.get(&format!("/book?token_id={}", token(1)));
    assert_eq!((&book["bids"], &book["asks"]), (&json!([]), &json!([])));

    add(&venue, Fault::new(What::AcceptingStays));
    add(&venue, Fault { payout: Some(PayoutName::Yes), ..Fault::new(What::Resolve) });
    let told = until(&mut m, |v| v["event_type"] == "market_resolved");
    assert_eq!(told["winning_outcome"], "Alpha Wolves");
    assert_eq!((&c.get(&clob)["ao"], &c.get(&full)["accepting_orders"]), (&json!(true), &json!(true)));
    assert_eq!(c.post(&bid(&c, 30, 2)).status, 400, "what it says is not what it does");
    venue.faults().clear();
    assert_eq!((&c.get(&clob)["ao"], &c.get(&full)["accepting_orders"]), (&json!(false), &json!(false)));
}

#[test]
fn d16_a_resolution_that_is_half_and_one_that_nobody_tells() {
    for (silent, payout, is_half) in [(false, PayoutName::Half, true), (true, PayoutName::No, false)] {
        let venue = good();
        let mut c = eoa(&venue);
        let mut m = market(&venue);
        add(&venue, Fault { payout: Some(payout), silent: Some(silent), ..Fault::new(What::Resolve) });
        let full = c.get(&format!("/markets/{}", condition()));
        assert_eq!((&full["closed"], &full["is_50_50_outcome"]), (&json!(true), &json!(is_half)));
        let told: Vec<_> = pong(&mut m).into_iter().filter(|v| v["event_type"] == "market_resolved").collect();
        assert_eq!(told.len(), usize::from(!silent));
        assert!(told.iter().all(|v| v["winning_outcome"].is_null()), "no winner of a 50-50");
    }
}

// ---- trades ----

/// What of an account must be as it was once a trade has failed.
fn books(c: &mut Client) -> Value {
    let mut a = c.account();
    a.as_object_mut().unwrap().remove("deposits");
    a
}

fn statuses(user: &mut Ws, id: &str, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|s| s != last) {
        let v = until(user, |v| v["event_type"] == "trade" && v["id"] == id);
        seen.push(v["status"].as_str().unwrap().to_owned());
    }
    seen
}

#[test]
fn o14_a_trade_fails_and_everything_is_as_it_was() {
    let fails = |kind, retrying| Fault { kind, retrying, ..once(What::TradeFailed) };
    for (fault, wanted) in [
        (fails(None, None), &["MATCHED", "FAILED"][..]),
        (fails(Some(Kind::Matched), Some(true)), &["MATCHED", "RETRYING", "FAILED"]),
        (fails(Some(Kind::Mined), None), &["MATCHED", "MINED", "FAILED"]),
        (fails(Some(Kind::Mined), Some(true)), &["MATCHED", "MINED", "RETRYING", "FAILED"]),
    ] {
        let venue = good();
        let mut c = eoa(&venue);
        let mut user = c.user(&venue);
        let before = books(&mut c);
        add(&venue, fault);
        // A taker against a mint: the trader bids for NO.
        let a = c.post(&c.order(0, Side::Buy, 55, 10, "FOK", 1)).json();
        let trade = a["tradeIDs"][0].as_str().unwrap().to_owned();
        assert_ne!(books(&mut c), before);
        assert_eq!(statuses(&mut user, &trade, "FAILED"), wanted);
        assert_eq!(books(&mut c), before);
        let read = c.ask("GET", &format!("/data/trades?id={trade}"), "").json();
        assert_eq!(read["data"][0]["status"], "FAILED");
        // The next one settles.
        let a = c.post(&c.order(0, Side::Buy, 55, 10, "FOK", 2)).json();
        let trade = a["tradeIDs"][0].as_str().unwrap().to_owned();
        assert_eq!(statuses(&mut user, &trade, "CONFIRMED"), ["MATCHED", "MINED", "CONFIRMED"]);
        assert_eq!(c.account()["shares"][token(1)], "10");
    }
}

#[test]
fn o14_resting_sales_of_shares_that_never_came_are_ended() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut user = c.user(&venue);
    add(&venue, Fault { kind: Some(Kind::Mined), ..once(What::TradeFailed) });
    c.place(&c.order(0, Side::Buy, 55, 10, "FOK", 1));
    let (sale, _) = c.place(&c.order(0, Side::Sell, 60, 10, "GTC", 2));
    let ended = until(&mut user, |v| v["type"] == "CANCELLATION");
    assert_eq!((&ended["id"], &ended["status"]), (&json!(sale), &json!("CANCELED_NOT_ENOUGH_BALANCE")));
    until(&mut user, |v| v["status"] == "FAILED");
    assert_eq!((&c.account()["shares"], &c.account()["reserved"]), (&json!({}), &json!("0")));
}

#[test]
fn o14_a_trade_whose_shares_have_been_sold_on_settles() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut user = c.user(&venue);
    let first = add(&venue, Fault { kind: Some(Kind::Mined), ..once(What::TradeFailed) });
    let a = c.post(&c.order(0, Side::Buy, 55, 10, "FOK", 1)).json();
    let trade = a["tradeIDs"][0].as_str().unwrap().to_owned();
    c.place(&c.order(0, Side::Sell, 45, 10, "FOK", 2));
    assert_eq!(statuses(&mut user, &trade, "CONFIRMED"), ["MATCHED", "MINED", "CONFIRMED"]);
    assert_eq!(venue.faults().hits(&first), 1);
}

#[test]
fn o15_a_trade_that_stays_matched() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut user = c.user(&venue);
    add(&venue, once(What::TradeStuck));
    let stuck = c.post(&c.order(0, Side::Buy, 55, 10, "FOK", 1)).json()["tradeIDs"][0].as_str().unwrap().to_owned();
    let next = c.post(&c.order(0, Side::Buy, 55, 10, "FOK", 2)).json()["tradeIDs"][0].as_str().unwrap().to_owned();
    assert_eq!(statuses(&mut user, &next, "CONFIRMED").len(), 3);
    let read = c.ask("GET", &format!("/data/trades?id={stuck}"), "").json();
    assert_eq!((&read["data"][0]["status"], &read["data"][0]["transaction_hash"]), (&json!("MATCHED"), &json!("")));
}

#[test]
fn o16_only_the_winners_of_one_account_fail() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut maker = Client::authenticated(&venue, SignatureType::PolyProxy);
    let mut user = c.user(&venue);
    let victim = checksummed(c.who.funder);
    add(&venue, Fault { account: Some(victim), kind: Some(Kind::Mined), ..Fault::new(What::WinnersFailed) });
    let id = |a: Answer| a.json()["tradeIDs"][0].as_str().unwrap().to_owned();
    // Bought at 0.55 where the middle is 0.5: a loser.
    let loser = id(c.post(&c.order(0, Side::Buy, 55, 10, "FOK", 1)));
    assert_eq!(statuses(&mut user, &loser, "CONFIRMED").last().unwrap(), "CONFIRMED");
    // Bought at 0.46, and bids at 0.54 follow: a winner.
    maker.place(&maker.order(1, Side::Buy, 54, 10, "GTC", 2));
    let winner = id(c.post(&c.order(0, Side::Buy, 46, 10, "FOK", 3)));
    maker.place(&maker.order(0, Side::Buy, 54, 10, "GTC", 4));
    assert_eq!(statuses(&mut user, &winner, "FAILED").last().unwrap(), "FAILED");
    // The other account's winner is left alone: it takes from the traders at 0.55, and the price rises above.
    let mut other = maker.user(&venue);
    let fine = id(maker.post(&maker.order(0, Side::Buy, 55, 5, "FOK", 5)));
    assert_eq!(statuses(&mut other, &fine, "CONFIRMED").last().unwrap(), "CONFIRMED");
}

// ---- reads ----

#[test]
fn positions_as_the_data_api_tells_them() {
    let venue = good();
    let mut c = eoa(&venue);
    let mut user = c.user(&venue);
    let who = checksummed(c.who.funder);
    let v1 = format!("/positions?user={who}");
    let v2 = format!("/v2/positions?user={who}");
    assert_eq!(c.get(&v1), json!([]));
    c.place(&c.order(0, Side::Buy, 55, 10, "FOK", 1));
    until(&mut user, |v| v["status"] == "CONFIRMED");
    c.place(&c.order(1, Side::Buy, 55, 20, "FOK", 2));
    until(&mut user, |v| v["status"] == "CONFIRMED");
    let all = c.get(&v1);
    let [yes, no] = all.as_array().unwrap().as_slice() else { panic!("{all}") };
    assert_eq!(
        (&yes["proxyWallet"], &yes["asset"], &yes["conditionId"]),
        (&json!(who), &json!(token(1)), &json!(condition()))
    );
    assert_eq!((&yes["size"], &yes["avgPrice"], &yes["curPrice"]), (&json!(10), &json!(0.55), &json!(0.5)));
    assert_eq!((&no["size"], &no["outcome"], &no["outcomeIndex"]), (&json!(20), &json!("Beta Foxes"), &json!(1)));
    assert_eq!(
        (&no["mergeable"], &no["redeemable"], &no["negativeRisk"]),
        (&json!(true), &json!(false), &json!(false))
    );
    let page = c.get(&format!("{v2}&limit=1"));
    let first = &page["data"][0];
    assert_eq!(
        (&first["token_id"], &first["current_size"], &first["avg_price"]),
        (&json!(token(1)), &json!(10), &json!(0.55))
    );
    assert_eq!(
        (&first["status"], &first["negative_risk"], &first["mergeable"]),
        (&json!("OPEN"), &json!(false), &json!(true))
    );
    assert_eq!(page["pagination"]["has_more"], true);
    let cursor = page["pagination"]["next_cursor"].as_str().unwrap();
    let next = c.get(&format!("{v2}&limit=1&cursor={cursor}"));
    assert_eq!((&next["data"][0]["token_id"], &next["pagination"]["has_more"]), (&json!(token(2)), &json!(false)));
    assert_eq!(c.get(&format!("{v1}&market={}&sizeThreshold=15", condition())).as_array().unwrap().len(), 1);
    let stranger = "0x0000000000000000000000000000000000000001";
    assert_eq!(c.get(&format!("/v2/positions?user={stranger}"))["data"], json!([]));
    for bad in ["/positions", "/v2/positions", "/positions?user=me", "/v2/positions?user=0x1"] {
        assert_eq!(c.raw("GET", bad, &[], "").0, 400, "{bad}");
    }
}

#[test]
fn trades_are_found_by_time_id_and_market_page_by_page() {
    let venue = good();
    let mut c = eoa(&venue);
    let trade = |a: Answer| a.json()["tradeIDs"][0].as_str().unwrap().to_owned();
    let mut placed = vec![trade(c.post(&c.order(0, Side::Buy, 55, 100, "FOK", 1)))];
    placed.extend((0..100).map(|n| trade(c.post(&c.order(0, Side::Sell, 45, 1, "FOK", 2 + n)))));
    let of = |c: &mut Client, query: &str| c.ask("GET", &format!("/data/trades?{query}"), "").json();
    let all = of(&mut c, "");
    assert_eq!((&all["count"], &all["limit"], &all["data"][0]["id"]), (&json!(100), &json!(100), &json!(placed[100])));
    let cursor = all["next_cursor"].as_str().unwrap();
    let rest = of(&mut c, &format!("next_cursor={cursor}"));
    assert_eq!(
        (&rest["count"], &rest["data"][0]["id"], &rest["next_cursor"]),
        (&json!(1), &json!(placed[0]), &json!("LTE="))
    );
    assert_eq!(of(&mut c, "next_cursor=LTE%3D")["count"], 0);
    assert_eq!(of(&mut c, &format!("id={}", placed[7]))["data"][0]["id"], placed[7]);
    assert_eq!(of(&mut c, &format!("id={}", placed[7]))["count"], 1);
    assert_eq!(of(&mut c, &format!("market={}", condition()))["count"], 100);
    assert_eq!(c.ask("GET", "/data/trades?market=0x12", "").status, 404);
    assert_eq!(of(&mut c, &format!("asset_id={}", token(2)))["count"], 0);
    let time = all["data"][0]["match_time"].as_str().unwrap().parse::<u64>().unwrap();
    for (query, count) in [("after", 0), ("before", 100)] {
        assert_eq!(of(&mut c, &format!("{query}={}", time + 1_000))["count"], count, "{query}");
        assert_eq!(of(&mut c, &format!("{query}={}", time - 1_000))["count"], 100 - count, "{query}");
    }
}

// ---- how faults come in ----

#[test]
fn the_control_endpoint_adds_lists_and_clears() {
    let venue = start(Conduct { control: true, ..Conduct::default() });
    let mut c = eoa(&venue);
    let control = venue.ready.control.clone().unwrap();
    assert!(control.ends_with("/control/faults") && venue.ready.geoblock.ends_with("/api/geoblock"));
    let add = |c: &mut Client, body: &str| c.raw("POST", "/control/faults", &[], body);
    let (status, said) = add(&mut c, r#"{"what":"error","http_status":500,"count":2}"#);
    assert_eq!((status, &said), (200, &json!({"id": "error-1"})));
    assert_eq!(c.post(&bid(&c, 30, 1)).status, 500);
    let list = c.get("/control/faults");
    assert_eq!((&list["faults"][0]["id"], &list["faults"][0]["hits"]), (&json!("error-1"), &json!(1)));
    for (body, word) in [
        ("", "EOF"),
        ("[]", "expected struct Fault"),
        (r#"{"what":"nothing"}"#, "nothing"),
        (r#"{"what":"slow"}"#, "`ms`"),
        (r#"{"what":"slow","ms":1,"kind":"clean"}"#, "`kind`"),
        (r#"{"what":"slow","ms":1,"id":"error-1"}"#, "`id`"),
    ] {
        let (status, said) = add(&mut c, body);
        assert!(status == 400 && said["error"].as_str().unwrap().contains(word), "{body}: {said}");
    }
    assert_eq!(c.raw("DELETE", "/control/faults", &[], ""), (200, json!({"cleared": 1})));
    assert_eq!(c.post(&bid(&c, 30, 2)).status, 200);
    let (status, _) = c.raw("GET", "/control/faults", &[("Origin", "http://localhost".into())], "");
    assert_eq!(status, 403);
    add(&mut c, r#"{"what":"mode","mode":"disabled"}"#);
    assert_eq!(c.post(&bid(&c, 30, 3)).status, 503, "in force before the answer");

    let venue = good();
    let mut c = eoa(&venue);
    assert_eq!(c.raw("GET", "/control/faults", &[], "").0, 404, "not unless it was asked for");
    assert_eq!(venue.ready.control, None);
}

#[test]
fn a_seed_repeats_which_requests_are_struck() {
    let struck = |seed| {
        let fault = Fault { probability: Some(0.5), ..Fault::new(What::TooEarly) };
        let plan = Plan { seed: Some(seed), faults: vec![fault], ..Plan::default() };
        let venue = start(Conduct { plan, ..Conduct::default() });
        let mut c = eoa(&venue);
        (0..24).map(|n| c.post(&bid(&c, 30, n)).status == 425).collect::<Vec<_>>()
    };
    let one = struck(5);
    assert_eq!(one, struck(5));
    assert_ne!(one, struck(6));
    assert!(one.contains(&true) && one.contains(&false));
}

#[test]
fn the_examples_can_be_read_and_a_venue_starts_with_them() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/config/faults");
    let mut n = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let plan = Plan::parse(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        drop(start_tls(true, Conduct { control: true, plan }));
        n += 1;
    }
    assert!(n >= 3, "{n} examples");
}

#[test]
fn a_stalled_client_that_hangs_up_or_floods_is_let_go() {
    let venue = good();
    let c = eoa(&venue);
    add(&venue, Fault { route: Some("GET /ok".into()), ..Fault::new(What::StallBeforeAccept) });
    let mut gone = c.beside();
    gone.send_raw("GET", "/ok", &[], "");
    drop(gone);
    let mut flood = c.beside();
    flood.send_raw("GET", "/ok", &[], "");
    flood.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let junk = vec![b'x'; 64 << 10];
    let ended = (0..2_000).find_map(|_| flood.stream.write_all(&junk).err());
    assert!(ended.is_some_and(|e| matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)));
    assert!(c.beside().get("/time").as_u64().unwrap().abs_diff(unix_s()) <= 1);
}
