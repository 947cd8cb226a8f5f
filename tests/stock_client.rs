//! A stock client, unmodified, trades against the embedded venue: the official Python package `py-clob-client-v2`.
//!
//! Skipped, loudly, where Python or the package cannot be had.
#![cfg(feature = "embedded")]

mod python;
mod venue_support;

use std::{
    io::Write,
    process::{Command as Process, Stdio},
};

use polyloly_fast::{
    scenario::SimTime,
    venue::{Begin, Conduct},
};
use venue_support::{open, rests};

#[test]
fn the_official_python_client_trades_with_signature_types_0_1_2_and_3() {
    let python = match python::with_stock_client() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("SKIPPED: the stock client test needs Python 3 and its package: {why}");
            return;
        }
    };
    // One trader who rests 1000 YES bids at 0.50 and asks at 0.55, and nothing more.
    let script = [rests(1, 0, "0.50", 1_000), rests(2, 1, "0.45", 1_000)].map(|order| (SimTime(0), order));
    let venue = open(false, script.to_vec(), Begin::AtOnce, Conduct::default());
    let task = serde_json::json!({
        "rest": venue.ready.rest,
        "token": venue.ready.markets[0].tokens[0].token_id,
        "accounts": venue.ready.accounts[..4],
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stock_client.py");
    let mut child = Process::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}\n{errors}");
    let lines: Vec<serde_json::Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let expected: Vec<_> = (0..4).map(|kind| serde_json::json!({"signature_type": kind, "trades": 3})).collect();
    assert_eq!(lines, expected);
    venue.join().unwrap();
}
