//! The operator's interface of a running instance: over a socket, against a live engine, over a restart, under abuse.
#![cfg(feature = "embedded")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::Instant,
};

use serde_json::Value;
use support::{Operator, PATIENCE, Running, Scratch, assert_clean, exchange, get, number, polyloly, until};

/// A match that lasts longer than any test waits.
const LONG: [&str; 7] = ["run", "--cores", "0", "--speed", "20", "--summary", "summary.json"];

#[test]
fn an_operator_halts_resumes_kills_and_resets_a_running_engine() {
    let dir = Scratch::new("operator");
    let run = Running::start(dir.dir(), &LONG, &[]);
    run.orders_open(2);
    let operator = Operator::of(&run, &dir);
    let token_file = fs::metadata(dir.dir().join("journal/admin-token")).expect("the token's file");
    assert_eq!(token_file.permissions().mode() & 0o777, 0o600);
    let state = || get(&operator.at, "/state").expect("an answer");
    let all_in = |name: &str| {
        let ready = operator.ready();
        ready["markets"].as_object().expect("markets").values().all(|s| s == name)
    };

    // What is open is listed one by one, with the names that the venue gives it.
    let listed = run
        .state("an order that rests", |s| s["open_orders"].as_array()?.iter().find(|o| o["state"] == "live").cloned());
    for key in ["id", "token_id", "side", "price", "size", "filled"] {
        assert!(listed[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {listed}");
    }
    let positions = state()["positions"].as_array().expect("positions").clone();
    assert!(!positions.is_empty() && positions.iter().all(|p| p["tokens"].as_array().is_some_and(|t| t.len() == 2)));

    // Halt: every market, and the quotes go. Resume: they come back.
    let (status, said) = operator.post("halt", "halt-1", "");
    assert_eq!((status, said["accepted"].as_bool()), (200, Some(true)), "{said}");
    assert_eq!(said["markets"].as_array().map(Vec::len), Some(positions.len()), "{said}");
    until("every market halts", || all_in("halt"));
    let sent = |s: &Value| number(s, "/orders/sent");
    let before = sent(&state());
    assert_eq!(operator.post("resume", "resume-1", "").0, 200);
    until("new orders", || sent(&state()) > before);

    // Kill: not ready, nothing open; and no reset without a reason, or by the same request twice.
    assert_eq!(operator.post("kill", "kill-1", r#"{"reason":"a test"}"#).0, 200);
    until("the kill switch is on", || state()["kill_switch"] == "manual");
    let ready = operator.ready();
    assert_eq!((&ready["ready"], &ready["closed"]["kill_switch"]), (&false.into(), &true.into()), "{ready}");
    until("nothing is open", || number(&state(), "/orders/open") == 0);
    assert_eq!(operator.post("reset-kill-switch", "reset-1", "").0, 400);
    let mut tries = 0;
    until("the switch is lifted", || {
        tries += 1;
        let (status, said) =
            operator.post("reset-kill-switch", &format!("reset-again-{tries}"), r#"{"reason":"it was a test"}"#);
        assert!(status == 200 || said["error"].as_str().is_some_and(|e| e.contains("not while this holds")), "{said}");
        status == 200
    });
    until("it is off", || state()["kill_switch"].is_null());
    run.orders_open(1);

    // The level of logs, while it runs.
    let audit = || fs::read_to_string(dir.dir().join("journal/audit.jsonl")).expect("an audit");
    assert!(!audit().contains("\"about\""));
    assert_eq!(operator.post("log-level", "log-1", r#"{"level":"error"}"#).0, 200);
    assert_eq!(operator.post("cancel-all", "cancel-1", "").0, 200);
    assert!(audit().contains("\"about\":\"error\""), "what was asked for is written down");
    run.signal("INT");
    let ended = run.end().with(130);
    assert!(ended.stderr.contains("\"event_type\":\"kill_switch\""), "an alert is written:\n{}", ended.stderr);
    assert!(
        ended.stderr.contains("\"request_id\":\"kill-1\"") && !ended.stderr.contains("\"request_id\":\"cancel-1\"")
    );
    let summary = dir.json("summary.json");
    assert_clean(&summary);
    assert_eq!((&summary["risk"]["kill_switch"], number(&summary, "/risk/kills/manual")), (&Value::Null, 1));
    // What the operator did is an event like any other: the run replays.
    polyloly(dir.dir(), &["replay", summary["journal"].as_str().expect("a journal")]).with(0);
    for text in
        [&ended.stderr, &ended.stdout, &fs::read_to_string(dir.dir().join("journal/audit.jsonl")).expect("an audit")]
    {
        assert!(!text.contains(&operator.token), "the token is told");
    }
}

#[test]
fn a_request_is_not_replayed_even_over_a_restart() {
    let dir = Scratch::new("restart");
    let env = [("POLYLOLY_ADMIN_TOKEN", "a-token-of-a-test-only")];
    for (round, expected) in [(1, 200), (2, 409)] {
        let run = Running::start(dir.dir(), &LONG, &env);
        let at = run.line("health at http://");
        assert_eq!(run.line("admin token in "), "POLYLOLY_ADMIN_TOKEN");
        assert!(!dir.dir().join("journal/admin-token").exists(), "no other token is made");
        let operator = Operator { at, token: env[0].1.into() };
        assert_eq!(operator.post("cancel-all", "once", "").0, expected, "round {round}");
        assert_eq!(operator.post("cancel-all", "once", "").0, 409, "round {round}");
        run.signal("INT");
        run.end().with(130);
    }
    let short = Running::start(dir.dir(), &LONG, &[("POLYLOLY_ADMIN_TOKEN", "short")]);
    short.end().with(2).saying(&["POLYLOLY_ADMIN_TOKEN", "at least 16"]);
}

#[test]
fn p08_slow_and_oversized_clients_cost_themselves_and_nobody_else() {
    let dir = Scratch::new("abuse");
    let run = Running::start(dir.dir(), &LONG, &[]);
    run.orders_open(1);
    let operator = Operator::of(&run, &dir);
    let connect = || TcpStream::connect(&operator.at).expect("it listens");
    // More than there are places, each saying half a request, or asking for a page that it does not read.
    let slow: Vec<_> = (0..40)
        .map(|n| {
            let mut socket = connect();
            let request: &[u8] =
                if n % 2 == 0 { b"POST /admin/kill HTTP/1.1\r\nX" } else { b"GET /metrics HTTP/1.1\r\n\r\n" };
            socket.write_all(request).expect("it is taken");
            socket
        })
        .collect();
    for (request, status) in [
        ([b"POST /admin/kill HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 9_000]].concat(), 431),
        (b"POST /admin/kill HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n".to_vec(), 413),
        ([b"POST /admin/kill HTTP/1.1\r\nContent-Length: 5000\r\n\r\n".as_slice(), &[b'a'; 5_000]].concat(), 413),
        (b"POST /admin/kill HTTP/1.1\r\nContent-Length: 0\r\n\r\n".to_vec(), 401),
        (b"GET /admin/kill HTTP/1.1\r\n\r\n".to_vec(), 401),
        (b"POST /metrics HTTP/1.1\r\n\r\n".to_vec(), 405),
    ] {
        assert_eq!(exchange(&operator.at, &request).0, status, "{}", String::from_utf8_lossy(&request[..40]));
    }
    assert_eq!(operator.post("cancel-all", "still-here", "").0, 200);
    // The engine hears its ticks all the while, and is alive by its own stamp.
    let ticks = || number(&get(&operator.at, "/state").expect("an answer"), "/seq");
    let before = ticks();
    until("the engine goes on", || ticks() > before + 10);
    assert_eq!(get(&operator.at, "/health/live").expect("an answer")["live"], true);
    drop(slow);
    run.signal("INT");
    run.end().with(130);
    assert_eq!(dir.json("summary.json")["risk"]["kill_switch"], Value::Null, "nobody without a token did anything");
}
