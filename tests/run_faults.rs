//! A live run against a venue that misbehaves, over its real wire: what a person with another client sees is what we
//! say of ourselves; a feed that falls silent costs nothing while another speaks; a kill switch outlives its process.
#![cfg(feature = "embedded")]

mod python;
mod support;

use std::{collections::BTreeMap, io::Write, process::Stdio, time::Duration};

use serde_json::{Value, json};
use support::{Abroad, Operator, Running, Scratch, exchange, get, random_key, until};

/// Adds a fault to a venue that was started with a faults file.
fn fault(abroad: &Abroad, what: Value) {
    let (status, answer) = control(abroad, "POST", &what.to_string());
    assert_eq!(status, 200, "{what}: {answer}");
}

fn control(abroad: &Abroad, method: &str, body: &str) -> (u16, Value) {
    let at = abroad.at("control").trim_start_matches("http://").split('/').next().expect("an authority").to_owned();
    let request = format!(
        "{method} /control/faults HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(&at, request.as_bytes())
}

/// A venue without TLS that takes faults, and an account on it.
fn misbehaving(dir: &Scratch, speed: &str) -> Abroad {
    let faults = dir.write("faults.toml", "");
    Abroad::start(dir, &["--plain", "--speed", speed, "--faults", &faults])
}

/// How many requests a fault was asked about.
fn matched(list: &Value, id: &str) -> Option<u64> {
    match list {
        Value::Array(all) => all.iter().find_map(|one| matched(one, id)),
        Value::Object(o) if o.get("id").is_some_and(|i| i == id) => o.get("matched")?.as_u64(),
        Value::Object(o) => o.values().find_map(|one| matched(one, id)),
        _ => None,
    }
}

fn state(operator: &Operator) -> Value {
    get(&operator.at, "/state").expect("an answer")
}

fn micro(text: &Value) -> u64 {
    let text = text.as_str().expect("a decimal");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<6}").parse().expect("a number")
}

#[test]
fn a_stock_client_sees_what_our_state_says_after_a_run_with_faults() {
    let python = match python::with_stock_client() {
        Ok(python) => python,
        Err(why) => return eprintln!("SKIPPED: the view of a stock client needs Python 3 and its package: {why}"),
    };
    let dir = Scratch::new("view");
    let abroad = misbehaving(&dir, "60");
    for what in [
        json!({"what": "duplicate", "channel": "user", "probability": 0.3}),
        json!({"what": "hold_back", "channel": "user", "n": 2, "ms": 300, "probability": 0.2}),
        json!({"what": "drop", "channel": "user", "probability": 0.1}),
        json!({"what": "trade_failed", "kind": "matched", "probability": 0.2, "count": 2}),
        json!({"what": "stall_after_accept", "route": "POST /order", "ms": 8000, "nth": 9}),
        json!({"what": "error", "route": "POST /order", "http_status": 500, "accepted": true, "nth": 14}),
        json!({"what": "reset", "route": "POST /order", "bytes": 20, "nth": 19}),
        json!({"what": "html", "http_status": 503, "route": "DELETE /order", "nth": 4}),
        json!({"what": "disconnect", "channel": "user", "kind": "reset", "after_ms": 6000}),
    ] {
        fault(&abroad, what);
    }
    let config = abroad.configure(&dir, 2, [None; 4]);
    let run = abroad.trade(&dir, &config, &[]);
    let operator = Operator::of(&run, &dir);
    until("some fills", || {
        let now = state(&operator);
        assert!(now["kill_switch"].is_null(), "{now:#}");
        now["fills"]["count"].as_u64() >= Some(3)
    });
    assert_eq!(control(&abroad, "DELETE", "").0, 200);
    // Quiet: nothing new is placed, what was open is cancelled but for what rests now.
    until("a halt", || operator.post("halt", &random_key(), "{}").0 == 200);

    let tokens: Vec<Value> = abroad.ready["markets"].as_array().expect("markets")[..2]
        .iter()
        .flat_map(|m| m["tokens"].as_array().unwrap())
        .map(|t| t["token_id"].clone())
        .collect();
    let owner = abroad.address();
    let task = json!({
        "rest": abroad.at("rest"), "private_key": format!("0x{}", abroad.key), "funder": owner, "signature_type": 0,
        "tokens": tokens,
    });
    let theirs = || -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stock_view.py");
        let mut child = std::process::Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python");
        child.stdin.take().expect("piped").write_all(task.to_string().as_bytes()).expect("it reads");
        let out = child.wait_with_output().expect("an end");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).expect("JSON")
    };
    let ours = || -> Value {
        let state = state(&operator);
        let mut open: Vec<&str> =
            state["open_orders"].as_array().expect("orders").iter().map(|o| o["id"].as_str().expect("an id")).collect();
        open.sort_unstable();
        let shares: BTreeMap<&str, u64> = state["positions"]
            .as_array()
            .expect("positions")
            .iter()
            .flat_map(|p| p["tokens"].as_array().expect("tokens"))
            .map(|t| (t["token_id"].as_str().expect("an id"), micro(&t["shares"])))
            .collect();
        json!({
            "open": open, "fills": state["fills"]["count"], "failed": state["fills"]["failed"],
            "cash": micro(&state["cash_usdc"]), "shares": shares,
        })
    };
    // Trades settle, unknown orders resolve, and a reading finds what the streams swallowed.
    let mut last = (Value::Null, Value::Null);
    let start = std::time::Instant::now();
    loop {
        let pair = (theirs(), ours());
        if pair.0 == pair.1 && pair == last {
            break;
        }
        assert!(start.elapsed() < support::PATIENCE, "the client sees {}\nwe say {}", pair.0, pair.1);
        last = pair;
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(last.0["fills"].as_u64() >= Some(3), "{}", last.0);
    run.signal("INT");
    run.end().with(130);
}

#[test]
fn a_kill_switch_survives_a_restart_and_only_an_authenticated_reset_lifts_it() {
    let dir = Scratch::new("kill-switch");
    let abroad = misbehaving(&dir, "30");
    // No fault at all: the venue counts the orders that reach it.
    fault(&abroad, json!({"id": "orders", "what": "slow", "ms": 0, "route": "POST /order"}));
    fault(&abroad, json!({"id": "batches", "what": "slow", "ms": 0, "route": "POST /orders"}));
    let reached = || {
        let (_, list) = control(&abroad, "GET", "");
        ["orders", "batches"].map(|id| matched(&list, id).unwrap_or_else(|| panic!("no count of {id}: {list}")))
    };
    let config = abroad.configure(&dir, 1, [None; 4]);
    let run = abroad.trade(&dir, &config, &[]);
    abroad.shows_open_orders();
    let operator = Operator::of(&run, &dir);
    let wrong = Operator { token: "0".repeat(operator.token.len()), at: operator.at.clone() };
    assert_eq!(wrong.post("kill", &random_key(), "{}").0, 401);
    assert_eq!(operator.post("kill", "kill-once", "{}").0, 200);
    until("an empty book", || abroad.account().1.is_empty());
    until("the word of it", || state(&operator)["kill_switch"] == "manual");
    let last = reached();
    assert!(last[0] + last[1] > 0, "orders were counted: {last:?}");
    // Killed, not stopped: the process dies without a word.
    run.signal("KILL");
    drop(run);

    let run = abroad.trade(&dir, &config, &[]);
    let operator = Operator::of(&run, &dir);
    until("a kill switch that a restart does not lift", || state(&operator)["kill_switch"] == "manual");
    until("a reading", || operator.ready()["closed"]["not_reconciled"] == false);
    let wrong = Operator { token: "0".repeat(operator.token.len()), at: operator.at.clone() };
    let reason = r#"{"reason":"looked at it"}"#;
    assert_eq!(wrong.post("reset-kill-switch", &random_key(), reason).0, 401);
    assert_eq!(operator.post("reset-kill-switch", &random_key(), "{}").0, 400, "a reason is wanted");
    assert_eq!(operator.post("kill", "kill-once", "{}").0, 409, "a request that was seen before, by the run that died");
    assert_eq!(operator.post("resume", &random_key(), "{}").0, 200);
    let now = state(&operator);
    assert_eq!((&now["kill_switch"], &now["orders"]["sent"]), (&json!("manual"), &json!(0)));
    assert!(abroad.account().1.is_empty());
    assert_eq!(reached(), last, "not one order reached the venue since");
    until("a reset", || operator.post("reset-kill-switch", &random_key(), reason).0 == 200);
    run.orders_open(1);
    run.signal("INT");
    run.end().with(130);
}

fn metric(run: &Running, name: &str) -> u64 {
    let health = run.line("health at http://");
    let text = support::get_text(&health, "/metrics").expect("metrics");
    let line = text.lines().find(|l| l.starts_with(&format!("polyloly_{name} ")));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
}

#[test]
fn t01_a_silent_freeze_of_one_socket_costs_no_decision_and_of_both_pulls_the_quotes() {
    let dir = Scratch::new("freeze");
    let abroad = misbehaving(&dir, "30");
    let config = abroad.configure(&dir, 1, [None; 4]);
    let run = abroad.trade(&dir, &config, &[]);
    run.orders_open(2);
    let operator = Operator::of(&run, &dir);
    let sent = || state(&operator)["orders"]["sent"].as_u64().expect("a number");
    let untrusted = || state(&operator)["books"]["untrusted_ns"].as_u64().expect("a number");
    // One of the two market sockets says nothing any more, and answers every ping.
    fault(&abroad, json!({"id": "one", "what": "freeze", "channel": "market", "connection": 1}));
    let (before, dark) = (sent(), untrusted());
    until("more orders while one socket is frozen", || sent() >= before + 20);
    assert_eq!(untrusted(), dark, "not a moment without a book that can be trusted");
    // Now every socket, the ones that are opened anew too.
    fault(&abroad, json!({"id": "all", "what": "freeze", "channel": "market"}));
    until("pulled quotes", || abroad.account().1.is_empty());
    until("the word of it", || untrusted() > dark);
    let stopped = sent();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(sent(), stopped, "nothing is decided on frozen books");
    assert_eq!(control(&abroad, "DELETE", "").0, 200);
    until("trading again", || sent() > stopped);
    assert!(metric(&run, "feed_frozen_ns_total") > 0, "the report says for how long");
    run.signal("INT");
    run.end().with(130);
}
