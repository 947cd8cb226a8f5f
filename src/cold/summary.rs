//! What a run was: the JSON of `--summary`, exact to the micro-dollar.

mod pnl;

use std::{collections::BTreeMap, fmt::Display, path::PathBuf, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    dead_letters,
    flow::{EVENT_KINDS, Flow},
    metrics::Quantiles,
    tile::Outcome,
};
use crate::{
    engine::{
        Report,
        report::{Brief, Market},
    },
    stage::ring::RingReading,
    topology::Plan,
    types::{
        Usdc,
        event::{Dependency, KillReason, MatchEvent},
    },
};

/// What only the command knows about its run.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// Version of the program.
    pub version: String,
    /// Names the run.
    pub run_id: String,
    /// `embedded`, `paper` or `live`.
    pub mode: String,
    /// For people: `Alpha Wolves vs Beta Foxes, best of three`.
    pub title: String,
    /// Seed of the scenario.
    pub seed: u64,
    /// How many times faster than life it unfolded.
    pub speed: u32,
    /// From the first event to the last tile's end.
    pub duration: Duration,
    /// Cores used, in order.
    pub cores: Vec<usize>,
    /// What ran where.
    pub plan: Option<Plan>,
    /// `resolved`, `duration`, `signal`, `kill_switch`, `failure`, …
    pub stop_reason: String,
    /// The engine's state hash after the last event.
    pub state_hash: u64,
    /// Absolute path of the journal.
    pub journal: Option<PathBuf>,
    /// Change of our equity by the venue's own account of us, where it gives one.
    pub venue_equity_change: Option<Usdc>,
    /// Where HTTP was served.
    pub health: Option<String>,
    /// Resident memory at the end, in bytes.
    pub resident_bytes: Option<u64>,
    /// What failed, a sentence each.
    pub failures: Vec<String>,
}

/// Everything that is said about a run at its end.
#[derive(Clone, Debug)]
pub struct Summary {
    /// From the command.
    pub facts: RunFacts,
    /// From the engine.
    pub report: Report,
    /// From the records.
    pub flow: Flow,
    /// Latency of each stage that has any, in the order of the pipeline.
    pub latency: Vec<(&'static str, Quantiles)>,
    /// Counters of the shells.
    pub counters: Vec<(&'static str, u64)>,
    /// Rings by label.
    pub rings: BTreeMap<String, RingReading>,
    /// Messages that could not be read.
    pub letters: dead_letters::Counts,
    /// The engine's numbers as it showed them last.
    pub brief: Brief,
}

impl Summary {
    /// Joins what the command, the engine and the cold tile know.
    pub fn new(facts: RunFacts, report: Report, outcome: Outcome) -> Self {
        let mut facts = facts;
        facts.failures.extend(outcome.failure);
        Self {
            facts,
            report,
            latency: outcome.latency.all().map(|(what, q)| (what.as_str(), q)).collect(),
            flow: outcome.flow,
            counters: outcome.counters,
            rings: outcome.rings,
            letters: outcome.letters,
            brief: outcome.status.map(|s| s.brief).unwrap_or_default(),
        }
    }

    /// Teams' score, once a feed has told it.
    pub fn score(&self) -> Option<[u8; 2]> {
        self.flow.state_of_match.map(|MatchEvent { score, .. }| score)
    }

    /// True if the venue's account of us agrees with ours to the micro-dollar; `None` where it gives none.
    pub fn venue_agrees(&self) -> Option<bool> {
        self.facts.venue_equity_change.map(|theirs| theirs == self.report.pnl.equity_change)
    }

    /// The JSON of `--summary`. Money and sizes are decimal strings.
    pub fn json(&self) -> Value {
        let (f, r) = (&self.facts, &self.report);
        let events: Map<String, Value> =
            EVENT_KINDS.iter().zip(self.flow.events).map(|(kind, n)| ((*kind).to_owned(), n.into())).collect();
        let latency: Map<String, Value> = self.latency.iter().map(|(k, q)| ((*k).to_owned(), json!(q))).collect();
        let rejections: Map<String, Value> = r.rejections.iter().map(|(k, n)| ((*k).to_owned(), (*n).into())).collect();
        let mut orders = json!(r.orders);
        orders["rejected_by"] =
            r.rejected_by.iter().map(|(k, n)| ((*k).to_owned(), (*n).into())).collect::<Map<_, Value>>().into();
        let counted = |names: &mut dyn Iterator<Item = (&'static str, u64)>| -> Map<String, Value> {
            names.filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n.into())).collect()
        };
        let kills = counted(&mut KillReason::ALL.map(KillReason::as_str).into_iter().zip(self.flow.kills));
        let mut trips = counted(&mut Dependency::ALL.map(Dependency::as_str).into_iter().zip(self.flow.breaker_trips));
        if self.brief.reconciliation.breaker_trips > 0 {
            trips.insert("market".into(), self.brief.reconciliation.breaker_trips.into());
        }
        json!({
            "version": f.version, "run_id": f.run_id, "mode": f.mode, "title": f.title, "seed": f.seed,
            "speed": f.speed, "duration_ns": f.duration.as_nanos() as u64, "cores": f.cores, "topology": f.plan,
            "stop_reason": f.stop_reason, "state_hash": format!("{:#018x}", f.state_hash),
            "journal": f.journal, "health": f.health, "resident_bytes": f.resident_bytes, "failures": f.failures,
            "score": self.score(),
            "events": events,
            "books": r.books,
            "orders": orders,
            "fills": {
                "count": r.fills.count, "failed": r.fills.failed, "taker": r.fills.taker,
                "notional_usdc": text(r.fills.notional),
            },
            "pnl": self.pnl(),
            "positions": r.markets.iter().map(position).collect::<Vec<_>>(),
            "latency": latency,
            "edge_windows": {},
            "risk": {
                "rejections": rejections, "kill_switch": r.kill_switch, "kills": kills, "breaker_trips": trips,
                "reconcile_mismatches": self.brief.reconciliation.mismatches,
            },
            "remarks": r.remarks,
            "rings": self.rings,
            "counters": self.counters.iter().map(|(k, n)| ((*k).to_owned(), (*n).into())).collect::<Map<_, Value>>(),
            "dead_letters": self.letters.dead,
            "dead_letters_by": {
                "reason": counted(&mut self.letters.by_reason()), "received": self.letters.received(),
                "understood": self.letters.understood, "dropped": self.letters.dropped, "lost": self.letters.lost,
            },
        })
    }
}

fn position(m: &Market) -> Value {
    json!({
        "market": m.slug, "payout": m.payout,
        "yes": text(m.position[0]), "no": text(m.position[1]),
        "bought": [text(m.bought[0]), text(m.bought[1])], "sold": [text(m.sold[0]), text(m.sold[1])],
        "fills": m.fills, "pairs": text(m.pairs), "merged": text(m.merged), "unpaired": text(m.unpaired),
        "pair_pnl_usdc": text(m.pair_pnl), "unpaired_pnl_usdc": text(m.unpaired_pnl),
        "fees_usdc": text(m.fees), "rounding_usdc": text(m.rounding), "pnl_usdc": text(m.pnl),
        "by_strategy": m.by_strategy.iter().map(|s| (s.name.to_owned(), pnl::strategy(s))).collect::<Map<_, Value>>(),
    })
}

/// A decimal string.
fn text<T: Display + Serialize>(value: T) -> Value {
    Value::String(value.to_string())
}
