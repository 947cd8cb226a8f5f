//! `lol-bo3` from opening to end: its markets, its sports frames, and when the venue acts.

#![cfg(feature = "embedded")]

use std::collections::HashSet;

use polyloly_fast::{
    scenario::{Books, Command, Scenario, SimTime, Trader, game::What, lol_bo3::LolBo3},
    types::{
        InstrumentIx, MarketIx, Price, Qty, TickSize, Usdc, fees::FeeSchedule, market::Exchange, market::MarketKind,
    },
};
use serde_json::Value;

/// A venue whose series market shows these prices and nothing else.
struct Shows {
    bid: Option<u16>,
    ask: Option<u16>,
}

impl Books for Shows {
    fn best_bid(&self, i: InstrumentIx) -> Option<(Price, Qty)> {
        (i == InstrumentIx(0)).then_some((Price::from_units(self.bid?)?, Qty::ONE))
    }
    fn best_ask(&self, i: InstrumentIx) -> Option<(Price, Qty)> {
        (i == InstrumentIx(0)).then_some((Price::from_units(self.ask?)?, Qty::ONE))
    }
    fn tick(&self, _: MarketIx) -> TickSize {
        TickSize::Cent
    }
    fn shares(&self, _: Trader, _: InstrumentIx) -> Qty {
        Qty::ZERO
    }
    fn cash(&self, _: Trader) -> Usdc {
        Usdc::ZERO
    }
}

const EMPTY: Shows = Shows { bid: None, ask: None };

fn unfold(seed: u64) -> (LolBo3, Vec<(SimTime, Command)>) {
    let mut scenario = LolBo3::new(seed);
    let (mut all, mut out) = (Vec::new(), Vec::new());
    while let Some(now) = scenario.next_at() {
        scenario.step(now, &EMPTY, &mut out);
        all.extend(out.drain(..).map(|c| (now, c)));
    }
    (scenario, all)
}

#[test]
fn markets_have_the_venues_form() {
    let mut names = HashSet::new();
    for seed in 0..100 {
        let setup = LolBo3::new(seed).setup();
        let kinds = [MarketKind::Series, MarketKind::Map(1), MarketKind::Map(2), MarketKind::Map(3)];
        assert_eq!(setup.markets.iter().map(|m| m.kind).collect::<Vec<_>>(), kinds);
        let event = &setup.markets[0].slug;
        let parts: Vec<&str> = event.split('-').collect();
        assert_eq!((parts[0], &parts[3..]), ("lol", &["2026", "11", "23"][..]), "{event}");
        assert_ne!(parts[1], parts[2]);
        for (n, m) in setup.markets.iter().enumerate() {
            assert_eq!(m.slug, if n == 0 { event.clone() } else { format!("{event}-game{n}") });
            assert_eq!((m.exchange, m.tick, m.min_size), (Exchange::V2, TickSize::Cent, Qty::shares(5)));
            assert_eq!((m.fee, m.hold_ms), (FeeSchedule { rate_ppm: 50_000, exponent: 1 }, 1_000));
            assert_eq!(m.clear_on_start, n == 0);
            assert_eq!(m.outcomes, setup.markets[0].outcomes);
            for token in m.tokens {
                // The v1 test of docs/PROTOCOL.md "exchange, domain version, token ids", by either count of bits.
                assert!(token.0[5..13] != [0; 8] && token.0[19..27] != [0; 8]);
                assert!(names.insert(token.0), "a token twice");
            }
            assert!(names.insert(m.condition.0), "a condition twice");
        }
        let makers = setup.traders.len() - 8;
        assert!((4..=9).contains(&makers), "three to six makers and one to three informed");
    }
}

#[test]
fn sports_frames_tell_the_match_late_and_whole() {
    for seed in 0..20 {
        let (scenario, all) = unfold(seed);
        let outcomes = scenario.setup().markets[0].outcomes.clone();
        let frames: Vec<(SimTime, Value)> = all
            .iter()
            .filter_map(|(at, c)| match c {
                Command::Sports(text) => Some((*at, serde_json::from_str(text).expect("JSON"))),
                _ => None,
            })
            .collect();
        let (mut phase, mut told) = (0, 0);
        for pair in frames.windows(2) {
            assert!(pair[1].0.0 - pair[0].0.0 <= 20_000_000_000, "seed {seed}: silent for too long");
        }
        for (at, f) in &frames {
            assert_eq!(f["leagueAbbreviation"], "lol");
            let teams = [&f["homeTeam"], &f["awayTeam"]].map(|t| t.as_str().expect("a name").to_owned());
            assert!(teams == outcomes || teams == [outcomes[1].clone(), outcomes[0].clone()]);
            let now = match (f["status"].as_str(), f["live"].as_bool(), f["ended"].as_bool()) {
                (Some("not_started"), Some(false), Some(false)) => 0,
                (Some("running"), Some(true), Some(false)) => 1,
                (Some("finished"), Some(false), Some(true)) => 2,
                other => panic!("seed {seed}: {other:?}"),
            };
            assert!(now >= phase, "seed {seed}: {f}");
            phase = now;
            let score = f["score"].as_str().expect("a score");
            let maps: Vec<u8> =
                score.split('|').nth(1).expect("maps").split('-').map(|s| s.parse().expect("n")).collect();
            assert!(score.starts_with("000-000|") && score.ends_with("|Bo3"));
            // Nothing is told before it happened, nothing is taken back.
            let truth = scenario.story().moments[scenario.story().index_at(*at)].series.score();
            assert!(maps[0] + maps[1] <= truth[0] + truth[1] && maps[0] + maps[1] >= told, "seed {seed}: {f}");
            told = maps[0] + maps[1];
        }
        assert_eq!(phase, 2, "seed {seed}");
        assert_eq!(frames.iter().filter(|(_, f)| f["ended"] == true).count(), 1, "the end is told once");
        assert!(frames.last().expect("frames").1.get("finishedTimestamp").is_some());
    }
}

#[test]
fn the_venue_clears_the_series_once_at_the_scheduled_start() {
    for seed in 0..20 {
        let (scenario, all) = unfold(seed);
        let cleared: Vec<_> = all.iter().filter(|(_, c)| matches!(c, Command::ClearBook(_))).collect();
        let start = scenario.game_start().expect("a schedule");
        assert!(matches!(cleared[..], [(at, Command::ClearBook(MarketIx(0)))] if *at == start), "seed {seed}");
        let first = scenario.story().moments.iter().find(|m| m.what == What::MapStart).expect("a map").at;
        assert!(start <= first && first.0 - start.0 <= 120_000_000_000, "seed {seed}");
        assert!(matches!(all.last(), Some((_, Command::Finished))), "seed {seed}");
        // Nobody quotes the series when it is cleared.
        let near = |at: SimTime| at > SimTime(start.0 - 2_900_000_000) && at <= start;
        let late = all.iter().any(|(at, c)| {
            near(*at) && matches!(c, Command::Place { instrument: InstrumentIx(0 | 1), post_only: true, .. })
        });
        assert!(!late, "seed {seed}");
    }
}

#[test]
fn the_grid_is_refined_once_when_the_price_leaves_the_middle() {
    let rows = [
        (Some(9_500), Some(9_600), false),
        (Some(9_600), Some(9_700), true),
        (Some(9_700), None, true),
        (Some(9_600), None, false),
        (Some(300), Some(400), true),
        (Some(400), Some(500), false),
        (None, Some(300), true),
        // One bid far from anything says nothing about the price.
        (Some(100), None, false),
        (None, None, false),
    ];
    for (bid, ask, fine) in rows {
        let mut scenario = LolBo3::new(1);
        let mut out = Vec::new();
        for s in 1..20 {
            scenario.step(SimTime::from_secs_f64(f64::from(s)), &Shows { bid, ask }, &mut out);
        }
        let refined = out.iter().filter(|c| matches!(c, Command::TickSize(MarketIx(0), TickSize::Mill))).count();
        let any = out.iter().filter(|c| matches!(c, Command::TickSize(..))).count();
        assert_eq!((refined, any), (usize::from(fine), usize::from(fine)), "{bid:?} {ask:?}");
    }
}
