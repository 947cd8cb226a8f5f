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
