//! A stock client, unmodified, trades against the embedded venue: the official Python package `py-clob-client-v2`.
//!
//! Skipped, loudly, where Python or the package cannot be had.
#![cfg(feature = "embedded")]

mod python;

use std::{
    io::Write,
    process::{Command as Process, Stdio},
};

use polyloly_fast::{
    scenario::{Books, Command, OrderTag, Scenario, Setup, SimTime, Size, Trader},
    types::{
        ConditionId, InstrumentIx, MarketSpec, Price, Qty, Side, TickSize, TimeInForce, TokenId, Usdc,
        fees::FeeSchedule,
        market::{Exchange, MarketKind},
    },
    venue::{Begin, Venue, VenueOptions, wallets},
};

/// One trader who rests 1000 YES bids at 0.50 and asks at 0.55, and nothing more.
struct Still {
    told: bool,
}

impl Scenario for Still {
    fn setup(&self) -> Setup {
        let market = MarketSpec {
            condition: ConditionId([0xc1; 32]),
            slug: "lol-aw-bf-2026-11-23".into(),
            tokens: [TokenId([0x11; 32]), TokenId([0x22; 32])],
            outcomes: ["Alpha Wolves".into(), "Beta Foxes".into()],
            exchange: Exchange::V2,
            tick: TickSize::Cent,
            min_size: Qty::shares(5),
            fee: FeeSchedule { rate_ppm: 50_000 },
            hold_ms: 0,
            clear_on_start: false,
            game_start: None,
            kind: MarketKind::Series,
            of_match: None,
        };
        Setup {
            title: "still".into(),
            markets: vec![market],
            matches: Vec::new(),
            traders: vec![Usdc::dollars(10_000)],
        }
    }

    fn next_at(&self) -> Option<SimTime> {
        (!self.told).then_some(SimTime(0))
    }

    fn step(&mut self, _: SimTime, _: &dyn Books, out: &mut Vec<Command>) {
        self.told = true;
        for (tag, token, price) in [(1, 0, b"0.50"), (2, 1, b"0.45")] {
            out.push(Command::Place {
                trader: Trader(0),
                tag: OrderTag(tag),
                instrument: InstrumentIx(token),
                side: Side::Buy,
                price: Price::parse(price).unwrap(),
                size: Size::Shares(Qty::shares(1_000)),
                tif: TimeInForce::Gtc,
                post_only: true,
            });
        }
    }
}

#[test]
fn the_official_python_client_trades_with_signature_types_0_1_2_and_3() {
    let python = match python::with_stock_client() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("SKIPPED: the stock client test needs Python 3 and its package: {why}");
            return;
        }
    };
    let venue = Venue::start(VenueOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: false,
        speed: 1.0,
        scenario: Box::new(Still { told: false }),
        seed: 1,
        chain_id: 137,
        accounts: wallets::development(Usdc::dollars(10_000)),
        on_thread: None,
        begin: Begin::AtOnce,
    })
    .unwrap();
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
