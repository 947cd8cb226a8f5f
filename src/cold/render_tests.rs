//! The page for people, against a golden text.

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::{
    cold::{Outcome, RunFacts},
    engine::{
        Report,
        report::{Fills, Market, Orders, Pnl},
    },
    stage::{
        latency::{Latency, Sample},
        ring::ring,
    },
    types::event::{MatchEvent, MatchPhase},
};

fn summary() -> Summary {
    let mut outcome = Outcome::default();
    outcome.flow.state_of_match = Some(MatchEvent { phase: MatchPhase::Finished, map: 3, score: [2, 1] });
    for n in 1..=1_000 {
        outcome.latency.record(Sample { what: Latency::Parse, ns: 400 + n });
        outcome.latency.record(Sample { what: Latency::TickToTrade, ns: 40_000 + n * 100 });
        outcome.latency.record(Sample { what: Latency::Ack, ns: 900_000 + n * 10_000 });
    }
    for (name, index, depth) in [("market", 0, 16_384), ("orders", 0, 512), ("journal", 0, 32_768), ("user", 0, 1_024)]
    {
        let (tx, _rx) = ring::<u8>(name, index, depth);
        outcome.rings.insert(tx.stats().label(), tx.stats().read());
    }
    outcome.rings.get_mut("market").unwrap().high_water = 1_204;
    outcome.rings.get_mut("orders").unwrap().overflows = 2;
    let market = |slug: &str, payout, pairs: u64, pnl: i64| Market {
        slug: slug.into(),
        payout,
        position: [Qty::ZERO, Qty(12_345_678)],
        fills: [12, 9],
        merged: Qty::shares(pairs / 2),
        pairs: Qty::shares(pairs),
        unpaired: Qty(12_345_678),
        pair_pnl: Usdc(pnl * 2),
        unpaired_pnl: Usdc(-pnl),
        fees: Usdc(12_340),
        pnl: Usdc(pnl),
        ..Market::default()
    };
    let report = Report {
        orders: Orders { sent: 212, accepted: 209, rejected: 3, canceled: 180, unknown: 1, ..Orders::default() },
        fills: Fills { count: 31, taker: 2, notional: Usdc(412_504_999), ..Fills::default() },
        pnl: Pnl {
            equity_change: Usdc(3_214_567),
            spread: Usdc(5_000_000),
            inventory: Usdc(-1_600_000),
            fees: Usdc(185_434),
            rounding: Usdc(1),
            ..Pnl::default()
        },
        markets: vec![
            market("lol-aw-bf-2026-11-23", Some("yes"), 120, 1_500_000),
            market("lol-aw-bf-2026-11-23-game1", Some("no"), 4_321, -2_500_000),
            market("a-market-with-a-very-long-name-lol-aw-bf-2026-11-23-game3", None, 0, 0),
        ],
        ..Report::default()
    };
    let facts = RunFacts {
        version: "0.1.0".into(),
        run_id: "20261123-064200-7".into(),
        mode: "embedded".into(),
        title: "Alpha Wolves vs Beta Foxes, best of three".into(),
        seed: 7,
        speed: 200,
        duration: Duration::from_millis(31_249),
        cores: vec![0, 1],
        stop_reason: "resolved and paid out".into(),
        journal: Some(PathBuf::from("/tmp/my runs/20261123-064200-7")),
        venue_equity_change: Some(Usdc(3_214_567)),
        failures: vec!["gateway: something that should not happen".into()],
        ..RunFacts::default()
    };
    Summary::new(facts, report, outcome)
}

#[test]
fn the_page_is_as_it_was() {
    let page = page(&summary(), false);
    let golden = include_str!("../../tests/fixtures/summary.txt");
    assert!(page == golden, "the page is now:\n{page}");
}

#[test]
fn the_page_is_at_most_100_columns_wide() {
    let mut summary = summary();
    summary.report.markets[0].pnl = Usdc(-123_456_789_012);
    summary.report.markets[0].pair_pnl = Usdc(123_456_789_012);
    for line in page(&summary, false).lines() {
        assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let mut plain = page(&summary(), true);
    for code in [RED, GREEN, DIM, BOLD, RESET] {
        plain = plain.replace(code, "");
    }
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, page(&summary(), false).lines().collect::<Vec<_>>());
}

#[test]
fn durations_keep_three_digits() {
    let table = [
        (0, "0 ns"),
        (812, "812 ns"),
        (1_000, "1.00 µs"),
        (41_549, "41.5 µs"),
        (999_999, "999 µs"),
        (1_240_000, "1.24 ms"),
        (2_310_000_000, "2.31 s"),
        (60_000_000_000, "60.0 s"),
    ];
    for (ns, text) in table {
        assert_eq!(duration(ns), text);
    }
}

#[test]
fn money_is_cut_towards_zero_and_signed() {
    let table = [
        (0, 2, "0.00"),
        (1_239_999, 2, "+1.23"),
        (-1_239_999, 2, "−1.23"),
        (-1, 6, "−0.000001"),
        (5_000_000, 0, "+5"),
        (i64::MIN, 6, "−9223372036854.775808"),
    ];
    for (micro, decimals, text) in table {
        assert_eq!(money(Usdc(micro), decimals), text);
    }
}

#[test]
fn the_json_has_what_the_contract_names() {
    let json = summary().json();
    for path in [
        "/version",
        "/run_id",
        "/mode",
        "/seed",
        "/duration_ns",
        "/cores",
        "/stop_reason",
        "/state_hash",
        "/journal",
        "/events/market",
        "/books/messages",
        "/books/resyncs",
        "/books/untrusted_ns",
        "/orders/intents",
        "/orders/sent",
        "/orders/accepted",
        "/orders/rejected",
        "/orders/unknown",
        "/orders/unresolved",
        "/orders/canceled",
        "/orders/deduplicated",
        "/fills/count",
        "/fills/failed",
        "/fills/notional_usdc",
        "/pnl/realized_usdc",
        "/pnl/unrealized_usdc",
        "/pnl/fees_usdc",
        "/pnl/rebates_usdc",
        "/pnl/rounding_usdc",
        "/pnl/locked_usdc",
        "/pnl/equity_change_usdc",
        "/pnl/venue_equity_change_usdc",
        "/pnl/by_market",
        "/pnl/by_strategy",
        "/pnl/by_cause/spread",
        "/positions/0/yes",
        "/latency/tick_to_trade/p999_ns",
        "/latency/event_to_order/count",
        "/latency/sign/max_ns",
        "/edge_windows",
        "/risk/rejections",
        "/risk/kill_switch",
        "/rings/market/depth",
        "/rings/market/high_water",
        "/rings/market/overflows",
        "/dead_letters",
    ] {
        assert!(json.pointer(path).is_some(), "{path} is missing from {json:#}");
    }
    assert_eq!(json["pnl"]["equity_change_usdc"], "3.214567");
    assert_eq!(json["pnl"]["by_cause"]["fees"], "-0.185434");
    assert_eq!(json["positions"][0]["no"], "12.345678");
    let summary = summary();
    assert_eq!(summary.venue_agrees(), Some(true));
}
