//! Whole matches on the embedded venue in virtual time, without a socket: every market is decided and paid out, and
//! not a micro-dollar is missing at any moment.
#![cfg(feature = "embedded")]

use polyloly_fast::{
    scenario,
    types::{Nanos, Usdc},
    venue::{
        host::{Host, Out},
        notes::Note,
        stream, wallets,
    },
};

struct Seen {
    trades: usize,
    levels: usize,
    sports: usize,
    resolved: usize,
}

/// Runs a scenario to its end in virtual time, auditing at every step.
fn whole_match(seed: u64, speed: f64) -> (Host, Seen) {
    let mut host = Host::new(
        scenario::open("lol-bo3", seed).unwrap(),
        &wallets::development(Usdc::dollars(10_000)),
        137,
        seed,
        speed,
    );
    let mut now = Nanos(1_790_000_000_000_000_000);
    host.begin(now);
    let mut seen = Seen { trades: 0, levels: 0, sports: 0, resolved: 0 };
    while !host.is_finished() {
        now = host.next_due().expect("an unfinished match has something due").max(now);
        host.advance(now);
        for out in host.take_out(now) {
            match &out {
                Out::Note(Note::Trade(_)) => seen.trades += 1,
                Out::Note(Note::Levels { .. }) => seen.levels += 1,
                Out::Note(Note::Resolved(..)) => seen.resolved += 1,
                Out::Sports(_) => seen.sports += 1,
                _ => {}
            }
            for frame in stream::frames(&host, &out, now) {
                assert!(serde_json::from_str::<serde_json::Value>(&frame.text).is_ok());
            }
        }
        host.exchange.audit().unwrap();
    }
    (host, seen)
}

#[test]
fn matches_are_played_to_the_end_and_paid_out() {
    for seed in 1..=3 {
        let (host, seen) = whole_match(seed, 60.0);
        assert_eq!(seen.resolved, host.exchange.markets().len(), "seed {seed}");
        assert!(host.exchange.markets().iter().all(|m| m.resolved.is_some()));
        assert!(seen.trades > 50 && seen.levels > 500 && seen.sports > 5, "seed {seed}");
        assert_eq!(host.exchange.open_orders(|_| true), [], "seed {seed}");
        eprintln!(
            "seed {seed}: {} trade events, {} book changes, {} sports frames, {} trader orders refused",
            seen.trades, seen.levels, seen.sports, host.trader_refusals
        );
    }
}

/// Ten silent seconds after a heartbeat cancel everything of that key, and of no other.
#[test]
fn a_silent_key_loses_its_orders() {
    use std::sync::Arc;

    use polyloly_fast::{
        types::{InstrumentIx, OrderHash, Side, TimeInForce},
        venue::{accounts::AccountIx, rules::NewOrder},
    };
    let mut host =
        Host::new(scenario::open("lol-bo3", 1).unwrap(), &wallets::development(Usdc::dollars(100)), 137, 1, 1.0);
    let at = |ms: u64| Nanos(1_790_000_000_000_000_000 + ms * 1_000_000);
    let account = host.funder(&wallets::development(Usdc::ZERO)[0].funder).unwrap();
    let place = |host: &mut Host, n: u8, key: &str, account: AccountIx| {
        let new = NewOrder {
            id: OrderHash([n; 32]),
            account,
            owner: Arc::from(key),
            tag: None,
            instrument: InstrumentIx(0),
            side: Side::Buy,
            maker_amount: 1_000_000,
            taker_amount: 10_000_000,
            tif: TimeInForce::Gtc,
            post_only: true,
        };
        host.exchange.submit(new, at(0)).unwrap();
    };
    place(&mut host, 1, "beating", account);
    place(&mut host, 2, "other", account);
    host.heartbeats.beat(&Arc::from("beating"), "", at(0)).unwrap();
    let open = |host: &Host| host.exchange.open_orders(|_| true).len();
    for (ms, left) in [(5_000, 2), (9_999, 2), (10_000, 1), (20_000, 1)] {
        host.advance(at(ms));
        assert_eq!(open(&host), left, "after {ms} ms");
    }
    let status = |n: u8| host.exchange.order(&OrderHash([n; 32])).unwrap().phase.as_str().to_owned();
    assert_eq!((status(1), status(2)), ("CANCELED".into(), "LIVE".into()));
}
